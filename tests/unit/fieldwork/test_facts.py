"""Facts of units from events, against counting by hand."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.design.messages import Derived
from wavewise.fieldwork.facts import facts_from_events

STARTS = date(2023, 11, 13)
UNITS = pl.DataFrame(
    {"unit_id": ["a", "b", "c"], "time_zone": ["America/Lima", None, "Asia/Tokyo"]}
)
SUMMARIES = ("any", "count", "sum", "days since last", "days since first", "first")


def rule(**keys: object) -> Derived:
    return Derived.model_validate({"event": "login", **keys})


def facts(events: list[tuple], rules: dict[str, Derived], *, parts: int = 1) -> pl.DataFrame:
    types = {"unit_id": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC"),
             "value": pl.Float64, "item": pl.String}  # fmt: skip
    rows = [(*row, *[None] * (5 - len(row))) for row in events]
    frame = pl.DataFrame(rows, schema=types, orient="row")
    frame = frame.with_columns(at_utc_us=pl.col("at").dt.timestamp("us")).drop("at")
    batches = [frame[i::parts] for i in range(parts)]
    found = facts_from_events(batches, UNITS, rules, starts=STARTS, default_time_zone="UTC")
    assert not found.faults, found.faults
    return found.values


def at(day: int, hour: int = 12, zone: str = "UTC") -> datetime:
    return datetime(2023, 11, day, hour, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_every_summary_of_a_week() -> None:
    events = [
        ("a", "login", at(5, zone="America/Lima"), 1.0),  # eight days before
        ("a", "login", at(6, 0, "America/Lima"), 2.0),  # the first moment of the week
        ("a", "login", at(12, 23, "America/Lima"), 4.0),
        ("a", "login", at(13, 0, "America/Lima"), 8.0),  # the wave has begun
        ("b", "session", at(8), 3.0),
        ("d", "login", at(8), 3.0),  # of nobody
    ]
    rules = {name: rule(summary=name, within_days=7) for name in SUMMARIES}
    found = facts(events, rules)
    assert found.rows() == [
        (True, 2, 6.0, 1, 7, 2.0),
        (False, 0, 0.0, None, None, None),
        (False, 0, 0.0, None, None, None),
    ]
    assert found.dtypes[:3] == [pl.Boolean, pl.Int64, pl.Float64]


def test_days_are_those_of_the_units_own_clock() -> None:
    moment = datetime(2023, 11, 12, 16, tzinfo=UTC)  # in Tokyo it is the 13th
    found = facts([(u, "login", moment) for u in "abc"], {"n": rule(summary="count")})
    assert found["n"].to_list() == [1, 1, 0]
    found = facts([("c", "login", moment - timedelta(hours=2))],
                  {"d": rule(summary="days since last")})  # fmt: skip
    assert found["d"].to_list() == [None, None, 1]


def test_a_date_instead_of_the_wave_and_all_time_before_it() -> None:
    events = [("b", "login", at(day)) for day in (1, 3, 9)]
    rules = {"n": rule(summary="count", before=date(2023, 11, 4)), "ever": rule(summary="count")}
    assert facts(events, rules).row(1) == (2, 3)


def test_conditions_on_kinds_values_and_items() -> None:
    events = [
        ("b", "login", at(9), None, "app"),
        ("b", "login", at(9), 5.0, "web"),
        ("b", "session", at(9), 20.0, "app"),
    ]
    made = {
        "kinds": rule(event=["login", "session"], summary="count"),
        "long": rule(event="session", summary="count", where={"at_least": 10, "at_most": 20}),
        "five": rule(summary="count", where={"value": 5}),
        "app": rule(event=["login", "session"], summary="count", where={"item": ["app", "tv"]}),
    }
    assert facts(events, made).row(1) == (3, 1, 1, 2)


def test_values_that_lack_are_a_fault_and_no_zero() -> None:
    frame = pl.DataFrame(
        {"unit_id": ["b", "b"], "kind": ["login"] * 2,
         "at_utc_us": [int(at(9).timestamp() * 1e6)] * 2, "value": [None, 2.0]}
    )  # fmt: skip
    found = facts_from_events(
        [frame], UNITS, {"s": rule(summary="sum")}, starts=STARTS, default_time_zone="UTC"
    )
    (fault,) = found.faults.values()
    assert "1 of 2 'login' events before the wave without a value" in fault.found


_EVENT = st.tuples(
    st.sampled_from("abcx"),
    st.sampled_from(["login", "session"]),
    st.integers(0, 20 * 24).map(lambda h: datetime(2023, 10, 28, tzinfo=UTC) + timedelta(hours=h)),
    st.floats(-1e6, 1e6),
)


@given(st.lists(_EVENT, max_size=30), st.randoms(use_true_random=False), st.integers(1, 4))
def test_neither_order_nor_batches_change_a_fact(events: list, random, parts: int) -> None:
    rules = {name: rule(summary=name, within_days=7) for name in SUMMARIES}
    before = facts(events, rules)
    random.shuffle(events)
    assert facts(events, rules, parts=parts).equals(before)


@given(st.lists(_EVENT, max_size=30))
def test_equals_counting_by_hand(events: list) -> None:
    rules = {name: rule(summary=name, within_days=7) for name in SUMMARIES}
    found = facts(events, rules)
    zones = UNITS["time_zone"].fill_null("UTC")
    for place, (unit, zone) in enumerate(zip(UNITS["unit_id"], zones, strict=True)):
        own = [event for event in events if event[:2] == (unit, "login")]
        days = [(when.astimezone(ZoneInfo(zone)).date(), when, value) for *_, when, value in own]
        inside = sorted(x for x in days if STARTS - timedelta(days=7) <= x[0] < STARTS)
        row = found.row(place, named=True)
        assert row["any"] == bool(inside)
        assert row["count"] == len(inside)
        assert row["sum"] == pytest.approx(sum(x[2] for x in inside))
        gaps = [(STARTS - x[0]).days for x in inside]
        assert row["days since last"] == min(gaps, default=None)
        assert row["days since first"] == max(gaps, default=None)
        assert row["first"] == (inside[0][2] if inside else None)
