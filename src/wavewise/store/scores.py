"""Scores: every delivery kept as it came, each once; and what closed waves used of them."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table, delete, func, select, true

from wavewise.errors import Fault, InputError
from wavewise.store.bulk import BATCH_ROWS, append, ready, scan, staged
from wavewise.store.conflicts import insert_into, n_inserted
from wavewise.store.database import Database
from wavewise.store.rows import AddedScores, to_us
from wavewise.store.schema import unit
from wavewise.store.score_schema import frozen_score, score_delivery

__all__ = ["FROZEN_SCORES", "Scores", "append_frozen"]

_KEY = ("outcome_id", "unit_id", "period", "delivery")
_TYPES = {
    **dict.fromkeys(_KEY, pl.String),
    "delivered_at_utc_us": pl.Int64,
    "score": pl.Float64,
}
_KEPT_TYPES = {**_TYPES, "received_at_utc_us": pl.Int64}
FROZEN_SCORES = {
    "outcome_id": pl.String,
    "unit_id": pl.String,
    "period": pl.String,
    "score": pl.Float64,
    "delivery": pl.String,
    "delivered_at_utc_us": pl.Int64,
}
_FROZEN_KEY = ("outcome_id", "unit_id", "period")
_MOST_SHOWN = 50


class Scores(Database):
    """The tables of delivered and of frozen scores."""

    def add_scores(self, frame: pl.DataFrame, received_at: datetime) -> AddedScores:
        """Add deliveries of scores: all or none; what is known already adds nothing.

        Parameters
        ----------
        frame : DataFrame
            Columns outcome_id, unit_id, period, delivery, delivered_at_utc_us, score, and the row
            of the file in ``row``; one row a unit, period and delivery.
        received_at : datetime
            When they came.

        Raises
        ------
        InputError
            Another score, or another date, is kept for the same unit, period and delivery; with the
            rows.
        """
        rows = ready(frame, _TYPES).with_columns(
            received_at_utc_us=pl.lit(to_us(received_at), pl.Int64), place=frame["row"]
        )
        with self._writing() as connection, staged(connection, score_delivery) as stage:
            counts = [_add(connection, stage, batch) for batch in rows.iter_slices(BATCH_ROWS)]
        n_new = sum(new for new, _ in counts)
        return AddedScores(n_new, rows.height - n_new, sum(unknown for _, unknown in counts))

    def score_deliveries(self, outcome_ids: Sequence[str] | None = None) -> pl.DataFrame:
        """Every delivered score, in the order of units, periods and dates.

        Parameters
        ----------
        outcome_ids : sequence of str or None
            Only scores of these outcomes.

        Returns
        -------
        DataFrame
            Columns outcome_id, unit_id, period, delivery, delivered_at_utc_us, score,
            received_at_utc_us.
        """
        query = select(*(score_delivery.c[name] for name in _KEPT_TYPES))
        if outcome_ids is not None:
            query = query.where(score_delivery.c.outcome_id.in_(list(outcome_ids)))
        with self._reading() as connection:
            kept = scan(connection, query, _KEPT_TYPES)
        return kept.sort("outcome_id", "unit_id", "period", "delivered_at_utc_us", "delivery")

    def frozen_scores(self, wave_id: str) -> pl.DataFrame:
        """The scores that a wave froze when it was closed; no rows where it froze none.

        Returns
        -------
        DataFrame
            Columns outcome_id, unit_id, period, score, delivery, delivered_at_utc_us.
        """
        query = select(*(frozen_score.c[name] for name in FROZEN_SCORES))
        with self._reading() as connection:
            frozen = scan(connection, query.where(frozen_score.c.wave_id == wave_id), FROZEN_SCORES)
        return frozen.sort("outcome_id", "unit_id", "period")


def append_frozen(connection: Connection, wave_id: str, scores: pl.DataFrame | None) -> None:
    """Freeze scores for a wave, in the caller's transaction.

    Raises
    ------
    InputError
        Two scores of one unit and period.
    """
    if scores is None:
        return
    rows = ready(scores, FROZEN_SCORES)
    n_repeated = rows.height - rows.select(_FROZEN_KEY).n_unique()
    if n_repeated:
        raise InputError(
            f"found {n_repeated:,} scores beyond the first of their unit and period; needed the "
            "one that counts"
        )
    append(connection, frozen_score, rows.with_columns(wave_id=pl.lit(wave_id)))


def _add(connection: Connection, stage: Table, batch: pl.DataFrame) -> tuple[int, int]:
    """Numbers of new scores, and of those among them whose unit is not known."""
    append(connection, stage, batch)
    _refuse_conflicts(connection, stage)
    n_unknown = _n_unknown_unit(connection, stage)
    names = [column.name for column in score_delivery.columns]
    # SQLite needs a WHERE before ON CONFLICT
    new_rows = select(*(stage.c[name] for name in names)).where(true())
    statement = insert_into(connection, score_delivery).from_select(names, new_rows)
    n_new = n_inserted(connection, statement.on_conflict_do_nothing())
    connection.execute(delete(stage))
    return n_new, n_unknown


def _refuse_conflicts(connection: Connection, stage: Table) -> None:
    kept = score_delivery.c
    same = [stage.c[name] == kept[name] for name in _KEY]
    differs = (stage.c.score != kept.score) | (
        stage.c.delivered_at_utc_us != kept.delivered_at_utc_us
    )
    query = select(stage.c.place, stage.c.score, kept.score).where(*same, differs)
    found = connection.execute(query.order_by(stage.c.place)).all()
    if not found:
        return
    faults = [
        Fault(
            f"row {row}",
            f"{new:g} where {old:g} is kept for the same unit, period and delivery"
            if new != old
            else "another date for a delivery that is known",
            "the same again, or a delivery of its own",
            "give the revision its own date",
        )
        for row, new, old in found[:_MOST_SHOWN]
    ]
    more = "" if len(found) == 1 else "s"
    raise InputError(
        f"scores: {len(found):,} row{more} that contradict what is kept; nothing was added", faults
    )


def _n_unknown_unit(connection: Connection, stage: Table) -> int:
    same = [stage.c[name] == score_delivery.c[name] for name in _KEY]
    is_known = select(score_delivery.c.unit_id).where(*same).exists()
    has_unit = select(unit.c.unit_id).where(unit.c.unit_id == stage.c.unit_id).exists()
    query = select(func.count()).select_from(stage).where(~is_known, ~has_unit)
    return connection.scalar(query) or 0
