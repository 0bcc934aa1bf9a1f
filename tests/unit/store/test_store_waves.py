"""Waves: opened whole, closed once, on each database."""

from datetime import UTC, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wavewise.errors import InputError, StateError
from wavewise.store import Store, WaveRow
from wavewise.store.waves import Waves

OPENED = datetime(2023, 10, 9, 8, 30, tzinfo=UTC)
CLOSED = datetime(2023, 11, 1, 12, 0, tzinfo=UTC)
ROW = WaveRow("w1", OPENED, exploratory=True, starts_at=OPENED, details={"arms": ["a", "ñ"]})


@pytest.fixture
def outcomes(units: pl.DataFrame) -> pl.DataFrame:
    values = [f'{{"login":{i % 2},"minutes":{i / 3},"score":null}}' for i in range(6)]
    return units.select("unit_id", values_json=pl.Series(values))


def opened(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> Store:
    store.units.add(units, OPENED)
    store.waves.open(ROW, assigned)
    return store


def test_wave_and_assignment_come_back(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    opened(store, units, assigned)
    assert store.waves.get("w1") == ROW
    assert store.waves.all() == (ROW,)
    assert_frame_equal(store.waves.assignment("w1"), assigned.sort("unit_id"), check_exact=True)
    assert store.waves.outcomes("w1").height == 0


def test_held_out_may_be_left_out(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    opened(store, units, assigned.drop("held_out"))
    assert store.waves.assignment("w1")["held_out"].null_count() == 6


def test_second_open_is_refused(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> None:
    opened(store, units, assigned)
    with pytest.raises(StateError, match=r"'w1' is already open \(opened 2023-10-09 08:30 UTC\)"):
        store.waves.open(WaveRow("w1", CLOSED), assigned.head(1))
    assert store.waves.get("w1") == ROW
    assert store.waves.assignment("w1").height == 6


def test_unknown_unit_leaves_no_wave(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units.head(5), OPENED)
    with pytest.raises(InputError, match="needed imported units only"):
        store.waves.open(ROW, assigned)
    assert store.waves.get("w1") is None
    store.waves.open(ROW, assigned.head(5))
    assert store.waves.assignment("w1").height == 5


def test_repeated_unit_is_refused(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, OPENED)
    with pytest.raises(InputError, match="1 repeated units"):
        store.waves.open(ROW, pl.concat([assigned, assigned.head(1)]))
    assert store.waves.all() == ()


def test_waves_come_in_the_order_of_opening(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, OPENED)
    store.waves.open(WaveRow("z", OPENED), assigned)
    store.waves.open(WaveRow("a", CLOSED), assigned.head(3))
    assert [wave.wave_id for wave in store.waves.all()] == ["z", "a"]
    assert store.waves.assignment("a").height == 3


def test_close_freezes_outcomes(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    opened(store, units, assigned)
    store.waves.close("w1", CLOSED, outcomes.sample(fraction=1, shuffle=True, seed=1))
    wave = store.waves.get("w1")
    assert (wave.state, wave.closed_at, wave.opened_at) == ("closed", CLOSED, OPENED)
    back = store.waves.outcomes("w1")
    expected = outcomes.sort("unit_id").select(
        "unit_id",
        login=pl.col("values_json").str.json_path_match("$.login").cast(pl.Int64),
        minutes=pl.col("values_json").str.json_path_match("$.minutes").cast(pl.Float64),
    )
    assert_frame_equal(back.drop("score"), expected, check_exact=True)
    assert back["score"].null_count() == 6


def test_close_before_open_is_refused(store: Store, outcomes: pl.DataFrame) -> None:
    with pytest.raises(StateError, match="'w1' was never opened"):
        store.waves.close("w1", CLOSED, outcomes)


def test_second_close_is_refused_and_changes_nothing(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    opened(store, units, assigned)
    store.waves.close("w1", CLOSED, outcomes.head(2))
    with pytest.raises(StateError, match=r"already closed \(closed 2023-11-01 12:00 UTC\)"):
        store.waves.close("w1", datetime(2024, 1, 1, tzinfo=UTC), outcomes)
    assert store.waves.outcomes("w1").height == 2
    assert store.waves.get("w1").closed_at == CLOSED


def test_open_of_a_closed_wave_is_refused(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    opened(store, units, assigned)
    store.waves.close("w1", CLOSED, outcomes)
    with pytest.raises(StateError, match="already closed"):
        store.waves.open(ROW, assigned)


def test_outcome_of_an_unassigned_unit_leaves_the_wave_open(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    opened(store, units, assigned.head(5))
    with pytest.raises(InputError, match="needed units of this wave only"):
        store.waves.close("w1", CLOSED, outcomes)
    assert store.waves.get("w1").state == "open"
    assert store.waves.outcomes("w1").height == 0


@pytest.mark.parametrize("read", [Waves.assignment, Waves.outcomes])
def test_rows_of_a_wave_that_never_was(store: Store, read) -> None:
    with pytest.raises(StateError, match="was never opened"):
        read(store.waves, "w1")


def test_units_of_a_wave_can_be_replaced(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    opened(store, units, assigned)
    store.units.add(units.with_columns(language=pl.lit("qu")), CLOSED, replace=True)
    assert store.units.all()["language"].unique().to_list() == ["qu"]
    assert store.waves.assignment("w1").height == 6


def test_details_that_are_not_json_are_refused(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, OPENED)
    with pytest.raises(InputError, match="not plain JSON"):
        store.waves.open(WaveRow("w1", OPENED, details={"share": float("nan")}), assigned)
    assert store.waves.all() == ()
