"""Outcomes of windows in each unit's own zone, against a plain enumeration."""

import itertools
import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.errors import InputError
from wavewise.fieldwork.outcomes import EventFlow, OutcomeRule, outcome_values, window_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENTS = {
    "event_id": pl.String,
    "unit_id": pl.String,
    "kind": pl.String,
    "at_utc_us": pl.Int64,
    "value": pl.Float64,
    "item": pl.String,
}
RULES = [
    OutcomeRule("login", "any", "login"),
    OutcomeRule("logins", "count", "login"),
    OutcomeRule("minutes", "sum", "session"),
    OutcomeRule("engaged", "successes", "exercise", trials=4),
    OutcomeRule("reading", "score", "score"),
]
ZONES = [
    "America/Lima",
    "Europe/Berlin",  # clocks change at 02:00 and 03:00
    "America/Santiago",  # at midnight: 00:00 is skipped
    "Africa/Cairo",  # at midnight, both ways
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # by half an hour
    None,
]


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def units(*zones: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"unit_id": [f"u{i}" for i in range(len(zones))], "time_zone": list(zones)},
        schema={"unit_id": pl.String, "time_zone": pl.String},
    )


def compute(rows: list[tuple], who: pl.DataFrame, rules=RULES, starts=date(2023, 3, 24), days=3):
    return outcome_values(
        frame(rows), who, rules, starts=starts, window_days=days, default_time_zone="America/Lima"
    )


def test_units_without_events() -> None:
    found = compute([], units(None))
    assert found.values.row(0, named=True) == {
        "unit_id": "u0",
        "login": 0,
        "logins": 0,
        "minutes": 0.0,
        "engaged": 0,
        "engaged.trials": 4,
        "reading": None,
    }
    assert found.flow == EventFlow(0, 0, 0, 0, 0)
    found.raise_if_bad()


def test_window_includes_its_first_moment_and_not_its_end() -> None:
    start, end = window_us(date(2023, 3, 24), 3, "America/Lima")
    assert start == us(datetime(2023, 3, 24, 5, tzinfo=UTC))
    ids = zip("abcd", (start - 1, start, end - 1, end), strict=True)
    found = compute([(e, "u0", "login", at, None, None) for e, at in ids], units(None))
    assert found.values["logins"].to_list() == [2]
    assert found.flow == EventFlow(in_window=2, before=1, after=1, unknown_unit=0, other_kind=0)


def test_one_moment_is_inside_for_one_zone_and_before_for_another() -> None:
    moment = us(datetime(2023, 3, 24, 2, tzinfo=UTC))
    rows = [(f"e{i}", f"u{i}", "login", moment, None, None) for i in range(2)]
    found = compute(rows, units("Africa/Nairobi", "America/Lima"))
    assert found.values["login"].to_list() == [1, 0]
    assert (found.flow.in_window, found.flow.before) == (1, 1)


@pytest.mark.parametrize(
    ("zone", "starts", "days", "n_hours"),
    [
        ("Europe/Berlin", date(2023, 3, 25), 2, 47),
        ("Europe/Berlin", date(2023, 10, 28), 2, 49),
        ("America/Santiago", date(2023, 9, 3), 1, 23),  # begins at 01:00
        ("Africa/Cairo", date(2023, 4, 27), 2, 47),
        ("Australia/Lord_Howe", date(2023, 10, 1), 1, 23.5),
        ("America/Lima", date(2023, 3, 25), 21, 504),
    ],
)
def test_length_of_windows_over_clock_changes(zone, starts, days, n_hours) -> None:
    start, end = window_us(starts, days, zone)
    assert (end - start) / 3_600_000_000 == n_hours


def test_unknown_units_and_other_kinds_are_counted_once() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    rows = [("a", "who", "login", at, None, None), ("b", "who", "swim", at, None, None)]
    rows += [("c", "u0", "swim", at, None, None)]
    assert compute(rows, units(None)).flow == EventFlow(0, 0, 0, unknown_unit=2, other_kind=1)


def test_score_is_the_last_value_by_time_then_id() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    rows = [("b", "u0", "score", at, 2.0, None), ("c", "u0", "score", at, 3.0, None)]
    rows += [("d", "u0", "score", at - 1, 9.0, None), ("a", "u0", "score", at, 1.0, None)]
    assert compute(rows, units(None)).values["reading"].to_list() == [3.0]


def test_sum_without_a_value_is_a_fault_and_missing() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    rows = [("a", "u0", "session", at, None, None), ("b", "u1", "session", at, 2.5, None)]
    found = compute(rows, units(None, None))
    assert found.values["minutes"].to_list() == [None, 2.5]
    assert "1 'session' events of 1 units without a value" in str(found.faults[0])
    with pytest.raises(InputError, match="outcome 'minutes'"):
        found.raise_if_bad()


def test_successes_are_distinct_items_and_never_above_the_trials() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    items = [("u0", "1"), ("u0", "1"), ("u0", "2"), *(("u1", str(i)) for i in range(6))]
    rows = [(str(i), u, "exercise", at, None, item) for i, (u, item) in enumerate(items)]
    found = compute(rows, units(None, None))
    assert found.values["engaged"].to_list() == [2, None]
    assert "1 units with more than 4 distinct items, at most 6" in str(found.faults[0])


def test_successes_need_items() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    found = compute([("a", "u0", "exercise", at, None, None)], units(None))
    assert found.values["engaged"].to_list() == [None]
    assert "1 'exercise' events without an item" in str(found.faults[0])


@pytest.mark.parametrize("trials", [None, 0])
def test_successes_need_trials(trials: int | None) -> None:
    with pytest.raises(InputError, match=f"found trials {trials}"):
        OutcomeRule("engaged", "successes", "exercise", trials)


def test_window_without_days() -> None:
    with pytest.raises(InputError, match="window of 0 days"):
        compute([], units(None), days=0)


def test_as_the_store_freezes_them() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    found = compute([("a", "u0", "session", at, 0.1, None)], units(None), RULES[:3])
    assert found.to_store().rows() == [("u0", '{"login":0,"logins":0,"minutes":0.1}')]
    assert compute([], units(None), []).to_store().rows() == [("u0", "{}")]


def test_sums_do_not_depend_on_the_order_of_events() -> None:
    at = us(datetime(2023, 3, 24, 12, tzinfo=UTC))
    rows = [(f"{i:04d}", f"u{i % 3}", "session", at + i, 0.1 * i, None) for i in range(3_000)]
    there = compute(rows, units(None, None, None), RULES[2:3]).values
    back = compute(rows[::-1], units(None, None, None), RULES[2:3]).values
    assert there.equals(back)


event_rows = st.lists(
    st.tuples(
        st.integers(0, 7),  # u7 is in no wave
        st.sampled_from(["login", "session", "exercise", "score", "swim"]),
        st.integers(-30 * 60, 9 * 24 * 60),  # minutes from the start, UTC
        st.sampled_from([0.5, 1.0, 2.0]),
        st.sampled_from(["1", "2", "3"]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=120)
@given(
    event_rows,
    st.sampled_from([date(2023, 3, 24), date(2023, 4, 26), date(2023, 9, 1), date(2023, 10, 26)]),
    st.integers(1, 6),
)
def test_outcomes_are_those_of_a_plain_enumeration(drawn, starts: date, days: int) -> None:
    """An event is inside where its local calendar day is one of the window's days."""
    origin = datetime.combine(starts, datetime.min.time(), tzinfo=UTC)
    rows = [
        (f"e{i:02d}", f"u{u}", kind, us(origin + timedelta(minutes=m)), value, item)
        for i, (u, kind, m, value, item) in enumerate(drawn)
    ]
    found = compute(rows, units(*ZONES), starts=starts, days=days)
    where = [place(row, starts, days) for row in rows]
    flow = found.flow
    assert flow.to_dict() == {
        name: where.count(name)
        for name in ("in_window", "before", "after", "unknown_unit", "other_kind")
    }
    inside = [row for row, p in zip(rows, where, strict=True) if p == "in_window"]
    for values in found.values.iter_rows(named=True):
        own = [row for row in inside if row[1] == values["unit_id"]]
        assert values["logins"] == sum(row[2] == "login" for row in own)
        assert values["login"] == any(row[2] == "login" for row in own)
        assert math.isclose(values["minutes"], sum(r[4] for r in own if r[2] == "session"))
        assert values["engaged"] == len({row[5] for row in own if row[2] == "exercise"})
        scores = sorted((row[3], row[0], row[4]) for row in own if row[2] == "score")
        assert values["reading"] == (scores[-1][2] if scores else None)


def place(row: tuple, starts: date, days: int) -> str:
    _, unit, kind, at, _, _ = row
    if unit == "u7":
        return "unknown_unit"
    if kind == "swim":
        return "other_kind"
    zone = ZoneInfo(ZONES[int(unit[1:])] or "America/Lima")
    day = (EPOCH + timedelta(microseconds=at)).astimezone(zone).date()
    if day < starts:
        return "before"
    return "in_window" if day < starts + timedelta(days=days) else "after"


BATCH_RULES = (
    OutcomeRule("any", "any", "e"),
    OutcomeRule("n", "count", "e"),
    OutcomeRule("minutes", "sum", "e"),
    OutcomeRule("score", "score", "e"),
    OutcomeRule("done", "successes", "e", trials=6),
)


@pytest.mark.parametrize("seed", range(4))
def test_batches_of_any_size_and_order_give_the_same_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3_000
    start, _ = window_us(date(2024, 3, 4), 14, "America/Lima")
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(n)],
            "unit_id": [f"u{i}" for i in rng.integers(0, 60, n)],
            "kind": rng.choice(["e", "other"], n, p=[0.8, 0.2]),
            # few distinct times, so that ties decide too
            "at_utc_us": start + rng.integers(-20, 400, n) * 3_600_000_000,
            "value": rng.normal(size=n) * 10.0 ** rng.integers(-8, 8, n),
            "item": [f"i{i}" for i in rng.integers(0, 6, n)],
        }
    )
    units = pl.DataFrame(
        {"unit_id": [f"u{i}" for i in range(50)], "time_zone": ["America/Lima", None] * 25}
    )
    options = {"starts": date(2024, 3, 4), "window_days": 14, "default_time_zone": "Asia/Kolkata"}
    whole = outcome_values(frame, units, BATCH_RULES, **options)
    shuffled = frame[rng.permutation(n)]
    cuts = [0, *sorted(rng.integers(0, n, 5).tolist()), n]
    parts = [shuffled[a:b] for a, b in itertools.pairwise(cuts)]
    again = outcome_values(iter(parts), units, BATCH_RULES, **options)
    assert again.to_store().equals(whole.to_store())
    assert again.flow == whole.flow
    assert whole.flow.unknown_unit > 0
