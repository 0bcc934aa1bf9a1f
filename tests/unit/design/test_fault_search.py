"""A study file with any fault gives faults or a spec, never another exception."""

import copy
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavewise.design import StudySpec, canonical_json, find_faults, parse_spec
from wavewise.design.power import planned_effects
from wavewise.design.shares import planned_shares, planned_sizes
from wavewise.design.templates import template_names, template_text
from wavewise.errors import Fault, SpecError

KEYS = st.sampled_from(
    ["id", "message", "messages", "policy", "rule", "share", "where", "by_stratum", "learned_on",
     "starts", "shares", "arms", "units", "text", "flow", "steps", "keys", "", "nothing known"]
)  # fmt: skip
LEAVES = st.one_of(
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 0, 1, 2**63]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["control", "phase-1", "wave-1", "teacher", "{", "}", "{}", "{a.b}", "1/0",
                     "1/7", "1e999999999", "all", "rest", "equal", "mon", "24:00", "a\nb"]),
    st.sampled_from([date(2023, 10, 9), date.max, date.min, time(17), time(17, 0, 30),
                     datetime(2023, 10, 9, 17)]),
)  # fmt: skip
GARBAGE = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@cache
def _template(name: str) -> dict[str, Any]:
    return tomllib.loads(template_text(name))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Path of every key and list entry."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*path, key))


def _mutate(draw: st.DrawFn, raw: dict[str, Any]) -> None:
    *parents, last = draw(st.sampled_from(list(_places(raw))))
    holder: Any = raw
    for part in parents:
        holder = holder[part]
    match draw(st.sampled_from(["drop", "replace", "replace", "nest", "repeat", "add", "swap"])):
        case "drop":
            del holder[last]
        case "replace":
            holder[last] = draw(GARBAGE)
        case "nest":
            holder[last] = draw(st.sampled_from([[holder[last]], {"id": holder[last]}]))
        case "repeat" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        case "add" if isinstance(holder, dict):
            holder[draw(KEYS)] = draw(GARBAGE)
        case _:
            other = draw(st.sampled_from(list(_places(raw))))
            value: Any = raw
            for part in other:
                value = value[part]
            holder[last] = copy.deepcopy(value)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    raw = copy.deepcopy(_template(draw(st.sampled_from(template_names()))))
    for _ in range(draw(st.integers(1, 4))):
        if raw:
            _mutate(draw, raw)
    return raw


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_any_mutation_gives_faults_or_a_spec_that_can_be_used(raw: dict[str, Any]) -> None:
    faults = find_faults(raw)
    assert all(isinstance(fault, Fault) and fault.path and fault.found for fault in faults)
    assert len(set(faults)) == len(faults)
    if not faults:
        _use(StudySpec.model_validate(raw))


def _use(spec: StudySpec) -> None:
    """What is derived from any valid spec can be derived from this one."""
    assert canonical_json(spec)
    for wave in spec.waves:
        shares = planned_shares(spec, wave)
        assert shares is None or shares
        assert planned_sizes(spec, wave)
    planned_effects(spec)


@settings(max_examples=150, deadline=None)
@given(GARBAGE)
def test_a_file_of_garbage_gives_faults(raw: Any) -> None:
    assert find_faults(raw if isinstance(raw, dict) else {"study": raw})


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_gives_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_cut_through_a_template_gives_a_spec_error_or_a_spec(data: st.DataObject) -> None:
    text = template_text(data.draw(st.sampled_from(template_names())))
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(1, 40))
    try:
        spec = parse_spec(text[:start] + text[start + length :])
    except SpecError as error:
        assert error.faults
    else:
        _use(spec)
