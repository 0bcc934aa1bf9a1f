"""Events: kept as they came, each once."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table, delete, func, or_, select, true
from sqlalchemy.exc import SQLAlchemyError

from wavewise.store.bulk import BATCH_ROWS, append, batches, ready, scan, staged
from wavewise.store.conflicts import insert_into, n_inserted
from wavewise.store.database import Database
from wavewise.store.engine import give_large_cache
from wavewise.store.problems import broken_rule
from wavewise.store.rows import AddedEvents, to_us
from wavewise.store.schema import event, unit

__all__ = ["Events"]

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


class Events(Database):
    """The events' table."""

    def add_events(self, frame: pl.DataFrame, received_at: datetime) -> AddedEvents:
        """Add a delivery of events; an event id that is known already adds nothing.

        Parameters
        ----------
        frame : DataFrame
            Columns event_id, unit_id, kind, at_utc_us and, where there are any, value, item.
        received_at : datetime
            When the delivery came.

        Returns
        -------
        AddedEvents
            Counts of new, repeated and conflicting events.
        """
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

    def events(
        self,
        kinds: Sequence[str] | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> pl.DataFrame:
        """Events in the order of time, then of ids.

        Parameters
        ----------
        kinds : sequence of str or None
            Only these kinds.
        start_us, end_us : int or None
            Only events from ``start_us`` on and before ``end_us``.

        Returns
        -------
        DataFrame
            Columns event_id, unit_id, kind, at_utc_us, value, item, received_at_utc_us.
        """
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

    def event_batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All events in no order, a batch at a time.

        Parameters
        ----------
        columns : sequence of str
            Of event_id, unit_id, kind, at_utc_us, value, item; what is not needed is not read.
        """
        types = {name: _TYPES[name] for name in columns}
        with self._reading() as connection:
            yield from batches(connection, select(*(event.c[name] for name in types)), types)

    def n_events(self) -> int:
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
