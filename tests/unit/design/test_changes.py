"""Changes between versions: field, before, after; and the history of a study."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.design import canonical_dict, canonical_json, parse_spec
from wavewise.design.templates import template_names, template_text
from wavewise.design.versions import Change, VersionRecord, changes, history

YEAR = template_text("peru-school-year")


def _canonical(text: str) -> dict[str, Any]:
    return canonical_dict(parse_spec(text))


def _changed(*pairs: tuple[str, str]) -> tuple[Change, ...]:
    text = YEAR
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return changes(_canonical(YEAR), _canonical(text))


def test_nothing_changed() -> None:
    assert _changed() == ()


def test_changes_come_in_the_order_of_the_spec() -> None:
    found = _changed(
        ("n_units = 100_000", "n_units = 90_000"),
        ("control_share = 0.20", "control_share = 0.10"),
        ("starts = 2023-10-09", "starts = 2023-10-16"),
        ("window_days = 21                           # outcome", "window_days = 28  # outcome"),
        ('title = "How much', 'title = "What'),
        ('"17:00"', '"18:00"'),
    )
    assert found == (
        Change("study.title", "How much do we gain from personalization?",
               "What do we gain from personalization?"),
        Change("schedules.twice_weekly.at", "17:00", "18:00"),
        Change("waves['phase-1'].starts", "2023-10-09", "2023-10-16"),
        Change("waves['phase-1'].window_days", 21, 28),
        Change("waves['phase-1'].control_share", 0.2, 0.1),
        Change("planning.n_units", 100_000, 90_000),
    )  # fmt: skip


def test_the_order_survives_storage_as_sorted_json() -> None:
    before, after = _canonical(YEAR), _canonical(template_text("peru-summer"))
    stored = json.loads(canonical_json(parse_spec(template_text("peru-summer"))))
    fields = [change.field for change in changes(before, after)]
    assert [change.field for change in changes(before, stored)] == fields
    assert fields.index("study.title") < fields.index("waves['phase-1'].starts")


def test_entries_are_matched_by_id() -> None:
    found = _changed(('"La matemática de hoy', '"Hoy la matemática'))
    assert [change.field for change in found] == ["messages['future'].text.es"]
    found = _changed(('rule = "best",', 'rule = "tree",'))
    assert found == (Change("waves['phase-2'].arms['best'].policy.rule", "best", "tree"),)


def test_a_new_entry_and_one_that_is_gone() -> None:
    line = (
        '{ id = "random", label = "Random", policy = { rule = "random", learned_on = "phase-1" } },'
    )
    (change,) = (c for c in _changed((line, ""), (', ["best", "random"]', "")) if "arms" in c.field)
    assert change.field == "waves['phase-2'].arms['random']"
    assert change.after is None
    assert change.before["policy"]["rule"] == "random"


def test_a_new_section_is_told_key_by_key() -> None:
    old = {"study": {"id": "a"}}
    new = {"study": {"id": "a"}, "planning": {"n_units": 5, "power": 0.9}}
    assert changes(old, new) == (
        Change("planning.n_units", None, 5),
        Change("planning.power", None, 0.9),
    )
    assert changes(new, old) == (
        Change("planning.n_units", 5, None),
        Change("planning.power", 0.9, None),
    )


def test_another_form_of_a_value() -> None:
    old = {"waves": [{"id": "w", "shares": "equal", "arms": ["a", "b"]}]}
    new = {"waves": [{"id": "w", "shares": {"a": 0.2, "b": 0.8}, "arms": ["b", "a"]}]}
    assert changes(old, new) == (
        Change("waves['w'].arms", ["a", "b"], ["b", "a"]),
        Change("waves['w'].shares", "equal", {"a": 0.2, "b": 0.8}),
    )


def test_another_order_of_entries() -> None:
    old = {"waves": [{"id": "a"}, {"id": "b"}]}
    new = {"waves": [{"id": "b"}, {"id": "a"}]}
    assert changes(old, new) == (Change("order of waves", ["a", "b"], ["b", "a"]),)


def test_true_is_not_one() -> None:
    assert changes({"a": True}, {"a": 1}) == (Change("a", True, 1),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "id"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "waves", "arms", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TABLES = st.dictionaries(st.sampled_from(["study", "waves", "arms", "x"]), JSON, max_size=4)


@settings(max_examples=300, deadline=None)
@given(TABLES, TABLES)
def test_no_change_exactly_where_equal(before: dict[str, Any], after: dict[str, Any]) -> None:
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (changes(before, after) == ()) == same
    assert changes(before, copy.deepcopy(before)) == ()
    mirrored = {(c.field, str(c.after), str(c.before)) for c in changes(after, before)}
    assert mirrored == {(c.field, str(c.before), str(c.after)) for c in changes(before, after)}


@pytest.mark.parametrize("name", template_names())
@pytest.mark.parametrize("other", template_names())
def test_templates_differ_from_each_other(name: str, other: str) -> None:
    found = changes(_canonical(template_text(name)), _canonical(template_text(other)))
    assert (found == ()) == (name == other)


# History


def _versions() -> list[VersionRecord]:
    first = _canonical(YEAR)
    second = _canonical(YEAR.replace("control_share = 0.20", "control_share = 0.10"))
    third = _canonical(
        YEAR.replace("control_share = 0.20", "control_share = 0.10")
        .replace("held_out_share = 0.5", "held_out_share = 0.4")
        .replace('label = "Random"', 'label = "Drawn"')
    )
    return [
        VersionRecord(3, datetime(2023, 11, 2, tzinfo=UTC), "fewer held out", third, ("phase-1",)),
        VersionRecord(1, datetime(2023, 10, 1, tzinfo=UTC), "first registration", first),
        VersionRecord(2, datetime(2023, 10, 5, tzinfo=UTC), "more power for the messages", second),
    ]


def test_history_has_a_row_for_each_change_of_each_version() -> None:
    rows = history(_versions())
    assert [(row.version, row.field, row.before, row.after) for row in rows] == [
        (2, "waves['phase-1'].control_share", 0.2, 0.1),
        (3, "waves['phase-2'].held_out_share", 0.5, 0.4),
        (3, "waves['phase-2'].arms['random'].label", "Random", "Drawn"),
    ]
    assert [row.addendum for row in rows] == ["", *["after data of phase-1 were seen"] * 2]
    assert rows[0].reason == "more power for the messages"
    assert rows[0].to_dict()["date"] == "2023-10-05"


def test_addenda_after_several_waves() -> None:
    record = VersionRecord(2, datetime(2024, 1, 1, tzinfo=UTC), "", {}, ("a", "b", "c"))
    assert record.addendum == "after data of a, b and c were seen"


def test_a_single_version_has_no_history() -> None:
    assert history(_versions()[1:2]) == ()
