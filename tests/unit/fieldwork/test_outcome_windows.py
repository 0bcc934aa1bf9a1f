"""Outcomes with days of their own, week by week, and days to the first event."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.fieldwork.outcomes import OutcomeRule, outcome_values

STARTS = datetime(2024, 3, 4, tzinfo=UTC)
WEEKS = {f"week {k}": (7 * k - 6, 7 * k) for k in (1, 2, 3, 4)}


def us(days: float) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (STARTS + timedelta(days=days) - epoch) // timedelta(microseconds=1)


def made(moments: list[tuple[str, float]], rules: list[OutcomeRule], window_days: int = 14):
    events = pl.DataFrame(
        {
            "event_id": [str(k) for k in range(len(moments))],
            "unit_id": [unit for unit, _ in moments],
            "kind": ["login"] * len(moments),
            "at_utc_us": [us(days) for _, days in moments],
            "value": [1.0] * len(moments),
            "item": ["x"] * len(moments),
        },
        schema_overrides={"at_utc_us": pl.Int64, "unit_id": pl.String, "kind": pl.String},
    )
    units = pl.DataFrame({"unit_id": ["a", "b"], "time_zone": [None, None]},
                         schema={"unit_id": pl.String, "time_zone": pl.String})  # fmt: skip
    return outcome_values(
        [events.head(3), events.slice(3)], units, rules,
        starts=STARTS.date(), window_days=window_days, default_time_zone="UTC",
    )  # fmt: skip


def test_days_are_counted_from_one_and_both_ends_count() -> None:
    moments = [("a", 13.99), ("a", 14.0), ("a", 20.99), ("a", 21.0)]
    rules = [
        OutcomeRule("all", "count", "login"),
        OutcomeRule("third week", "count", "login", days=(15, 21)),
    ]
    found = made(moments, rules)
    assert found.values["all"].to_list() == [1, 0]
    assert found.values["third week"].to_list() == [2, 0]
    assert (found.flow.in_window, found.flow.after) == (3, 1)


def test_weeks_add_up_to_their_window() -> None:
    rng = np.random.default_rng(1)
    moments = [(["a", "b"][int(u)], float(d)) for u, d in
               zip(rng.integers(0, 2, 200), rng.uniform(-3, 35, 200), strict=True)]  # fmt: skip
    rule = OutcomeRule("logins", "count", "login", days=(1, 28), periods=WEEKS)
    values = made(moments, [rule]).values
    weeks = values.select(pl.sum_horizontal(f"logins.{week}" for week in WEEKS)).to_series()
    assert weeks.to_list() == values["logins"].to_list()


def test_days_to_the_first_event_or_the_whole_window() -> None:
    rules = [
        OutcomeRule("first", "days to first", "login"),
        OutcomeRule("later", "days to first", "login", days=(8, 28)),
    ]
    values = made([("a", 9.5), ("a", 2.25)], rules).values
    assert values["first"].to_list() == [2.25, 14.0]
    assert values["later"].to_list() == [2.5, 21.0]


def test_those_who_came_back() -> None:
    rule = OutcomeRule("back", "any", "login", at_least=2)
    assert made([("a", 1), ("a", 2), ("b", 3)], [rule]).values["back"].to_list() == [1, 0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(-5, 60)), max_size=25),
    st.integers(1, 30),
    st.integers(0, 25),
)
def test_any_window_counts_what_a_plain_loop_counts(moments, first, length) -> None:
    days = (first, first + length)
    rules = [
        OutcomeRule("n", "count", "login", days=days),
        OutcomeRule("first", "days to first", "login", days=days),
    ]
    values = made(moments, rules).values
    for row in values.iter_rows(named=True):
        inside = [d - (first - 1) for u, d in moments
                  if u == row["unit_id"]
                  and us(first - 1) <= us(d) < us(first + length)]  # fmt: skip
        assert row["n"] == len(inside)
        assert row["first"] == pytest.approx(min(inside, default=length + 1), abs=1e-9)


def test_a_day_on_which_clocks_go_back_is_one_day() -> None:
    moment = datetime(2024, 11, 4, 4, 30, tzinfo=UTC)  # 24.5 hours after local midnight
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    events = pl.DataFrame(
        {"unit_id": ["a"], "kind": ["login"],
         "at_utc_us": [(moment - epoch) // timedelta(microseconds=1)]}
    )  # fmt: skip
    units = pl.DataFrame({"unit_id": ["a"], "time_zone": ["America/New_York"]})
    rules = [OutcomeRule("first", "days to first", "login")]
    found = outcome_values(
        events, units, rules, starts=date(2024, 11, 3), window_days=1, default_time_zone="UTC"
    )
    assert found.values["first"].to_list() == [1.0]
