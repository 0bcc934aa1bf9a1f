"""Scores: every delivery kept, each once; a closed wave keeps what it used."""

from datetime import UTC, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wavewise.errors import InputError
from wavewise.store import AddedScores, Store, WaveRow
from wavewise.store import frames as bulk

NOW = datetime(2021, 7, 20, tzinfo=UTC)
SCHEMA = {
    "row": pl.Int64,
    "outcome_id": pl.String,
    "unit_id": pl.String,
    "period": pl.String,
    "delivery": pl.String,
    "delivered_at_utc_us": pl.Int64,
    "score": pl.Float64,
}
ROWS = [
    (2, "reading", "a", "E2", "first", 10, 40.0),
    (3, "reading", "a", "E2", "second", 20, 55.0),
    (4, "reading", "b", "E2", "second", 20, 61.5),
    (5, "reading", "nobody", "E2", "second", 20, 1.0),
]


def frame(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def test_all_deliveries_are_kept(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW)
    assert store.scores.add(frame(*reversed(ROWS)), NOW) == AddedScores(4, 0, n_unknown_unit=1)
    back = store.scores.deliveries(["reading"])
    wanted = frame(*ROWS).drop("row")
    assert_frame_equal(back.drop("received_at_utc_us"), wanted)
    assert store.scores.deliveries(["speaking"]).is_empty()


@pytest.mark.parametrize("batch_rows", [2, 50_000])
def test_what_is_known_adds_nothing(
    store: Store, units: pl.DataFrame, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavewise.store.observations.BATCH_ROWS", batch_rows)
    assert bulk.BATCH_ROWS == 50_000
    store.units.add(units, NOW)
    store.scores.add(frame(*ROWS[:2]), NOW)
    assert store.scores.add(frame(*ROWS, ROWS[0]), NOW) == AddedScores(2, 3, n_unknown_unit=1)
    assert store.scores.deliveries().height == 4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ((7, "reading", "a", "E2", "first", 10, 41.0), "41 where 40 is kept"),
        ((7, "reading", "a", "E2", "first", 11, 40.0), "another date"),
    ],
)
def test_contradiction_of_a_delivery_is_refused_and_nothing_added(
    store: Store, changed: tuple, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavewise.store.observations.BATCH_ROWS", 1)
    store.scores.add(frame(ROWS[0]), NOW)
    with pytest.raises(InputError, match="1 row that contradict") as caught:
        store.scores.add(frame(ROWS[1], changed), NOW)
    assert [fault.path for fault in caught.value.faults] == ["row 7"]
    assert told in str(caught.value)
    assert store.scores.deliveries().height == 1


def test_closing_freezes_scores_with_the_outcomes(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, NOW)
    store.waves.open(WaveRow("w1", NOW), assigned)
    store.scores.add(frame(*ROWS[:2]), NOW)
    used = frame(ROWS[1]).select(
        "outcome_id", "unit_id", "period", "score", "delivery", "delivered_at_utc_us"
    )
    outcomes = units.select("unit_id", values_json=pl.lit("{}"))
    with pytest.raises(InputError):
        store.waves.close("w1", NOW, outcomes, pl.concat([used, used]))
    assert store.waves.get("w1").state == "open"
    assert store.scores.frozen("w1").is_empty()
    store.waves.close("w1", NOW, outcomes, used)
    store.scores.add(frame((9, "reading", "a", "E2", "third", 30, 99.0)), NOW)
    assert_frame_equal(store.scores.frozen("w1"), used)
