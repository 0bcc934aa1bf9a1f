"""Batches of events: what is good is kept, what is wrong is named by its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.fieldwork.events import read_batch

GOOD = {"event_id": "e", "unit_id": "u", "kind": "login", "at": "2024-03-04T12:00:00Z"}


def good(i: int, **more: Any) -> dict[str, Any]:
    return {**GOOD, "event_id": f"e{i}", **more}


@pytest.mark.parametrize(
    ("bad", "path", "found"),
    [
        (7, "events[1]", "a JSON number"),
        (None, "events[1]", "a JSON null"),
        ([], "events[1]", "a JSON list"),
        ({}, "events[1].event_id", "nothing"),
        ({**GOOD, "unit": "x"}, "events[1]", "the unknown keys"),
        ({**GOOD, "unit_id": None}, "events[1].unit_id", "nothing"),
        ({**GOOD, "unit_id": " "}, "events[1].unit_id", "nothing"),
        ({**GOOD, "unit_id": True}, "events[1].unit_id", "a JSON truth value"),
        ({**GOOD, "unit_id": {}}, "events[1].unit_id", "a JSON object"),
        ({**GOOD, "event_id": "a\x00"}, "events[1].event_id", "a NUL"),
        ({**GOOD, "at": "noon"}, "events[1].at", "'noon'"),
        ({**GOOD, "at": 17}, "events[1].at", "'17'"),
        ({**GOOD, "value": "x"}, "events[1].value", "a JSON text"),
        ({**GOOD, "value": 10**400}, "events[1].value", "over 300 digits"),
    ],
)
def test_one_bad_event_is_named_and_loses_no_other(bad: Any, path: str, found: str) -> None:
    batch = read_batch([good(0), bad, good(2, value=3, item=4)])
    assert batch.events["event_id"].to_list() == ["e0", "e2"]
    assert batch.events["value"].to_list() == [None, 3.0]
    assert batch.events["item"].to_list() == [None, "4"]
    assert batch.n_bad == 1
    assert batch.faults[0].path == path
    assert found in batch.faults[0].found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "value", "item", "x"]), inner, max_size=7)
    ),
    max_leaves=12,
)


@given(st.lists(JSON | st.builds(good, st.integers(0, 9)), max_size=6))
def test_whatever_comes_every_event_is_kept_or_counted(objects: list[Any]) -> None:
    batch = read_batch(objects)
    assert batch.events.height + batch.n_bad == len(objects)
    assert (batch.n_bad == 0) == (not batch.faults)
    assert batch.events["at_utc_us"].null_count() == 0


def test_places_count_all_events_of_the_batch() -> None:
    batch = read_batch([0, good(1), {**GOOD, "at": "x"}, good(3), {**GOOD, "at": "y"}])
    assert [fault.path for fault in batch.faults] == ["events[0]", "events[2].at", "events[4].at"]
