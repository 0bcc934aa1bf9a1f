"""Events: kept as they came, each once."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table, case, delete, func, or_, select, true
from sqlalchemy.exc import SQLAlchemyError

from wavewise.errors import Fault, InputError
from wavewise.store.engine import Part, broken_rule, give_large_cache
from wavewise.store.frames import (
    BATCH_ROWS,
    append,
    batches,
    insert_into,
    n_inserted,
    ready,
    scan,
    staged,
)
from wavewise.store.rows import AddedEvents, AddedScores, to_us
from wavewise.store.schema import event, frozen_score, score_delivery, unit

__all__ = ["Events", "Scores", "append_frozen"]

# From here on it pays to try a plain insert first, and to count units outside of the database.
MANY_ROWS = 20_000
# Rows that a plain insert takes in the order of ids: the longer, the fewer pages of the key it
# touches twice.
RUN_ROWS = 500_000

_TYPES = {
    "event_id": pl.String,
    "unit_id": pl.String,
    "kind": pl.String,
    "at_utc_us": pl.Int64,
    "value": pl.Float64,
    "item": pl.String,
}
_CONTENT = ("unit_id", "kind", "at_utc_us", "value", "item")


class Events(Part):
    """The events' table."""

    def add(self, frame: pl.DataFrame, received_at: datetime) -> AddedEvents:
        """Add a delivery of events; an event id that is known already adds nothing."""
        rows = ready(frame, _TYPES, optional=["value", "item"])
        rows = rows.with_columns(received_at_utc_us=pl.lit(to_us(received_at), pl.Int64))
        with self._writing() as connection, staged(connection, event) as stage:
            units = None
            if rows.height >= MANY_ROWS:
                units = _unit_ids(connection)
                give_large_cache(connection)
            counts = [
                count
                for run in rows.with_row_index("place").iter_slices(RUN_ROWS)
                for count in _add_run(connection, stage, run, units)
            ]
        n_new = sum(new for new, _, _ in counts)
        n_conflicting = sum(conflicting for _, conflicting, _ in counts)
        return AddedEvents(
            n_new=n_new,
            n_repeated=rows.height - n_new - n_conflicting,
            n_conflicting=n_conflicting,
            n_unknown_unit=sum(unknown for _, _, unknown in counts),
        )

    def all(
        self,
        kinds: Sequence[str] | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> pl.DataFrame:
        """Events in the order of time, then of ids."""
        types = {**_TYPES, "received_at_utc_us": pl.Int64}
        query = select(*(event.c[name] for name in types))
        if kinds is not None:
            query = query.where(event.c.kind.in_(list(kinds)))
        if start_us is not None:
            query = query.where(event.c.at_utc_us >= start_us)
        if end_us is not None:
            query = query.where(event.c.at_utc_us < end_us)
        with self._reading() as connection:
            return scan(connection, query, types).sort("at_utc_us", "event_id")

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All events in no order, a batch at a time."""
        types = {name: _TYPES[name] for name in columns}
        with self._reading() as connection:
            yield from batches(connection, select(*(event.c[name] for name in types)), types)

    def by_unit_and_kind(self) -> pl.DataFrame:
        """Number of events by unit and kind: unit_id, kind, n."""
        types = {"unit_id": pl.String, "kind": pl.String, "n": pl.Int64}
        keys = (event.c.unit_id, event.c.kind)
        query = select(*keys, func.count().label("n")).group_by(*keys)
        with self._reading() as connection:
            return scan(connection, query, types)

    def around(self, start_us: int, end_us: int, *, kinds: Sequence[str]) -> pl.DataFrame:
        """Events of a unit before, in and after a window: unit_id, counts, first and last time."""
        at = event.c.at_utc_us
        counts = {"before": at < start_us, "inside": at.between(start_us, end_us - 1)}
        counts["after"] = at >= end_us
        columns = [func.sum(case((rule, 1), else_=0)).label(name) for name, rule in counts.items()]
        times = (func.min(at).label("first_us"), func.max(at).label("last_us"))
        query = select(event.c.unit_id, *columns, *times).where(event.c.kind.in_(list(kinds)))
        types = {"unit_id": pl.String} | dict.fromkeys((*counts, "first_us", "last_us"), pl.Int64)
        with self._reading() as connection:
            return scan(connection, query.group_by(event.c.unit_id), types)

    def count(self) -> int:
        """Number of events."""
        with self._reading() as connection:
            return connection.scalar(select(func.count()).select_from(event)) or 0


def _unit_ids(connection: Connection) -> pl.Series:
    return scan(connection, select(unit.c.unit_id), {"unit_id": pl.String})["unit_id"]


def _add_run(
    connection: Connection, stage: Table, run: pl.DataFrame, units: pl.Series | None
) -> Iterator[tuple[int, int, int]]:
    """Numbers of new events, of conflicting ones, and of new ones without a known unit.

    The whole run at once where all of it is new; else batch by batch.
    """
    if units is not None and _all_new(connection, run.drop("place")):
        unknown = run.select((~pl.col("unit_id").is_in(units.implode())).sum()).item()
        yield run.height, 0, int(unknown)
    elif run.height > BATCH_ROWS:
        for batch in run.iter_slices(BATCH_ROWS):
            yield from _add_run(connection, stage, batch, units)
    else:
        yield _add_staged(connection, stage, run)


def _all_new(connection: Connection, batch: pl.DataFrame) -> bool:
    """Whether the whole batch went in at once, as none of its ids was known; else nothing did."""
    ordered = batch.sort("event_id")
    if (ordered["event_id"] == ordered["event_id"].shift()).any():
        return False
    savepoint = connection.begin_nested()
    try:
        append(connection, event, ordered)
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as error:
        savepoint.rollback()
        if broken_rule(error) != "known key":
            raise
        return False
    savepoint.commit()
    return True


def _add_staged(connection: Connection, stage: Table, batch: pl.DataFrame) -> tuple[int, int, int]:
    """The same where some ids may be known."""
    append(connection, stage, batch)
    n_unknown = _n_unknown_unit(connection, stage)
    names = [column.name for column in event.columns]
    # In the order of the delivery: of one id twice in a file, the first is kept.
    new_rows = select(*(stage.c[name] for name in names)).where(true()).order_by(stage.c.place)
    statement = insert_into(connection, event).from_select(names, new_rows)
    n_new = n_inserted(connection, statement.on_conflict_do_nothing())
    n_conflicting = _n_conflicting(connection, stage)
    connection.execute(delete(stage))
    return n_new, n_conflicting, n_unknown


def _n_unknown_unit(connection: Connection, stage: Table) -> int:
    is_known = select(event.c.event_id).where(event.c.event_id == stage.c.event_id).exists()
    has_unit = select(unit.c.unit_id).where(unit.c.unit_id == stage.c.unit_id).exists()
    query = select(func.count(stage.c.event_id.distinct())).where(~is_known, ~has_unit)
    return connection.scalar(query) or 0


def _n_conflicting(connection: Connection, stage: Table) -> int:
    differs = or_(*(stage.c[name].is_distinct_from(event.c[name]) for name in _CONTENT))
    both = stage.join(event, stage.c.event_id == event.c.event_id)
    return connection.scalar(select(func.count()).select_from(both).where(differs)) or 0


# Scores: every delivery kept as it came, each once; and what closed waves used of them.

_KEY = ("outcome_id", "unit_id", "period", "delivery")
_SCORE_TYPES = {
    **dict.fromkeys(_KEY, pl.String),
    "delivered_at_utc_us": pl.Int64,
    "score": pl.Float64,
}
_KEPT_TYPES = {**_SCORE_TYPES, "received_at_utc_us": pl.Int64}
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


class Scores(Part):
    """The tables of delivered and of frozen scores."""

    def add(self, frame: pl.DataFrame, received_at: datetime) -> AddedScores:
        """Add deliveries of scores: all or none; what is known already adds nothing."""
        rows = ready(frame, _SCORE_TYPES).with_columns(
            received_at_utc_us=pl.lit(to_us(received_at), pl.Int64), place=frame["row"]
        )
        with self._writing() as connection, staged(connection, score_delivery) as stage:
            counts = [_add(connection, stage, batch) for batch in rows.iter_slices(BATCH_ROWS)]
        n_new = sum(new for new, _ in counts)
        return AddedScores(n_new, rows.height - n_new, sum(unknown for _, unknown in counts))

    def deliveries(self, outcome_ids: Sequence[str] | None = None) -> pl.DataFrame:
        """Every delivered score, in the order of units, periods and dates."""
        query = select(*(score_delivery.c[name] for name in _KEPT_TYPES))
        if outcome_ids is not None:
            query = query.where(score_delivery.c.outcome_id.in_(list(outcome_ids)))
        with self._reading() as connection:
            kept = scan(connection, query, _KEPT_TYPES)
        return kept.sort("outcome_id", "unit_id", "period", "delivered_at_utc_us", "delivery")

    def frozen(self, wave_id: str) -> pl.DataFrame:
        """The scores that a wave froze when it was closed; no rows where it froze none."""
        query = select(*(frozen_score.c[name] for name in FROZEN_SCORES))
        with self._reading() as connection:
            frozen = scan(connection, query.where(frozen_score.c.wave_id == wave_id), FROZEN_SCORES)
        return frozen.sort("outcome_id", "unit_id", "period")


def append_frozen(connection: Connection, wave_id: str, scores: pl.DataFrame | None) -> None:
    """Freeze scores for a wave, in the caller's transaction."""
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
    n_unknown = _n_scores_of_unknown_units(connection, stage)
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
            row=row,
        )
        for row, new, old in found[:_MOST_SHOWN]
    ]
    more = "" if len(found) == 1 else "s"
    raise InputError(
        f"scores: {len(found):,} row{more} that contradict what is kept; nothing was added", faults
    )


def _n_scores_of_unknown_units(connection: Connection, stage: Table) -> int:
    same = [stage.c[name] == score_delivery.c[name] for name in _KEY]
    is_known = select(score_delivery.c.unit_id).where(*same).exists()
    has_unit = select(unit.c.unit_id).where(unit.c.unit_id == stage.c.unit_id).exists()
    query = select(func.count()).select_from(stage).where(~is_known, ~has_unit)
    return connection.scalar(query) or 0
