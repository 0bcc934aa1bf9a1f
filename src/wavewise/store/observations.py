"""Events and scores: kept as they came, each once; corrected or withdrawn with a reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import polars as pl
from sqlalchemy import (
    Connection,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from wavewise.errors import Fault, InputError
from wavewise.store.engine import Part, broken_rule, give_large_cache
from wavewise.store.frames import (
    BATCH_ROWS,
    append,
    batches,
    encode_json_rows,
    insert_into,
    n_inserted,
    ready,
    scan,
    staged,
)
from wavewise.store.rows import AddedEvents, AddedScores, to_us
from wavewise.store.schema import assignment, correction, event, frozen_score, score_delivery, unit

__all__ = ["Corrections", "Events", "Scores", "append_frozen"]

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
        with self._writing() as connection, staged(connection, event) as stage:
            return _add_events(connection, stage, rows, received_at)

    def correct(self, frame: pl.DataFrame, reason: str, now: datetime) -> AddedEvents:
        """Add a delivery; known ids take its content, and their former content stays as a trace.

        A withdrawn event counts again. Where an id comes twice, its last row is taken.
        """
        rows = ready(frame, _TYPES, optional=["value", "item"])
        rows = rows.unique("event_id", keep="last", maintain_order=True)
        with self._writing() as connection, staged(connection, event) as stage:
            n_corrected = _correct(connection, stage, event, ("event_id",), rows, reason, now)
            added = _add_events(connection, stage, rows, now)
        n_repeated = added.n_repeated - n_corrected
        return replace(added, n_repeated=n_repeated, n_corrected=n_corrected)

    def withdraw(self, event_ids: pl.Series, reason: str, now: datetime) -> tuple[int, int]:
        """Withdraw events: numbers withdrawn now, and of ids that are not known.

        They no longer count, and a delivery that brings them again adds nothing.
        """
        keys = pl.DataFrame({"event_id": event_ids}).unique(maintain_order=True)
        with self._writing() as connection:
            return _withdraw(connection, event, keys, reason, now)

    def all(
        self,
        kinds: Sequence[str] | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> pl.DataFrame:
        """Events that count, in the order of time, then of ids."""
        types = {**_TYPES, "received_at_utc_us": pl.Int64}
        query = select(*(event.c[name] for name in types))
        query = _counting(query, kinds, start_us, end_us)
        with self._reading() as connection:
            return scan(connection, query, types).sort("at_utc_us", "event_id")

    def batches(
        self,
        columns: Sequence[str],
        kinds: Sequence[str] | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Events that count, in no order, a batch at a time."""
        types = {name: _TYPES[name] for name in columns}
        query = _counting(select(*(event.c[name] for name in types)), kinds, start_us, end_us)
        with self._reading() as connection:
            yield from batches(connection, query, types)

    def was_seen(self, kind: str) -> bool:
        """Whether there is an event of a kind that counts."""
        query = _counting(select(event.c.event_id), [kind]).limit(1)
        with self._reading() as connection:
            return connection.scalar(query) is not None

    def received_since(self, kinds: Sequence[str], moment_us: int) -> bool:
        """Whether an event of these kinds was received at a moment or after it."""
        query = select(event.c.event_id).where(
            event.c.kind.in_(list(kinds)), event.c.received_at_utc_us >= moment_us
        )
        with self._reading() as connection:
            return connection.scalar(query.limit(1)) is not None

    def received_until(self, kinds: Sequence[str]) -> int | None:
        """When the last event of these kinds was received; None where there is none."""
        query = select(func.max(event.c.received_at_utc_us)).where(event.c.kind.in_(list(kinds)))
        with self._reading() as connection:
            found: int | None = connection.scalar(query)
        return found

    def by_unit_and_kind(self) -> pl.DataFrame:
        """Number of events by unit and kind: unit_id, kind, n."""
        types = {"unit_id": pl.String, "kind": pl.String, "n": pl.Int64}
        keys = (event.c.unit_id, event.c.kind)
        counts = event.c.withdrawn_at_utc_us.is_(None)
        query = select(*keys, func.count().label("n")).where(counts).group_by(*keys)
        with self._reading() as connection:
            return scan(connection, query, types)

    def around(
        self, start_us: int, end_us: int, *, kinds: Sequence[str], wave_id: str
    ) -> pl.DataFrame:
        """Events of a wave's units around a window by kind, with the first and last time.

        Columns kind, before, inside, after, a_year_off (of those outside, the ones in the
        same days a year earlier or later), valueless (of those inside, without a value).
        """
        at, inside = event.c.at_utc_us, event.c.at_utc_us.between(start_us, end_us - 1)
        year, leap_year = (days * 86_400_000_000 for days in (365, 366))
        moved = or_(
            at.between(start_us - leap_year, end_us - year - 1),
            at.between(start_us + year, end_us + leap_year - 1),
        )
        rules = {
            "before": at < start_us,
            "inside": inside,
            "after": at >= end_us,
            "a_year_off": and_(moved, not_(inside)),
            "valueless": and_(inside, event.c.value.is_(None)),
        }
        counts = [func.sum(case((rule, 1), else_=0)).label(name) for name, rule in rules.items()]
        times = (func.min(at).label("first_us"), func.max(at).label("last_us"))
        members = select(assignment.c.unit_id).where(assignment.c.wave_id == wave_id)
        query = select(event.c.kind, *counts, *times).where(
            event.c.kind.in_(list(kinds)),
            event.c.withdrawn_at_utc_us.is_(None),
            event.c.unit_id.in_(members),
        )
        types: dict[str, type[pl.DataType]] = {"kind": pl.String}
        types |= dict.fromkeys((*rules, "first_us", "last_us"), pl.Int64)
        with self._reading() as connection:
            return scan(connection, query.group_by(event.c.kind), types)

    def count(self) -> int:
        """Number of events that count."""
        query = select(func.count()).where(event.c.withdrawn_at_utc_us.is_(None))
        with self._reading() as connection:
            return connection.scalar(query) or 0


def _counting(
    query: Select[Any],
    kinds: Sequence[str] | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> Select[Any]:
    """A query of events that count; of some kinds, from a moment on, before a moment."""
    query = query.where(event.c.withdrawn_at_utc_us.is_(None))
    if kinds is not None:
        query = query.where(event.c.kind.in_(list(kinds)))
    if start_us is not None:
        query = query.where(event.c.at_utc_us >= start_us)
    if end_us is not None:
        query = query.where(event.c.at_utc_us < end_us)
    return query


def _add_events(
    connection: Connection, stage: Table, rows: pl.DataFrame, received_at: datetime
) -> AddedEvents:
    rows = rows.with_columns(received_at_utc_us=pl.lit(to_us(received_at), pl.Int64))
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
        rows = _with_places(frame)
        with self._writing() as connection, staged(connection, score_delivery) as stage:
            return _add_scores(connection, stage, rows, received_at)

    def correct(self, frame: pl.DataFrame, reason: str, now: datetime) -> AddedScores:
        """Add deliveries of scores; a known one takes the new score and date, with a trace."""
        rows = _with_places(frame)
        with self._writing() as connection, staged(connection, score_delivery) as stage:
            n_corrected = _correct(connection, stage, score_delivery, _KEY, rows, reason, now)
            added = _add_scores(connection, stage, rows, now)
        n_repeated = added.n_repeated - n_corrected
        return replace(added, n_repeated=n_repeated, n_corrected=n_corrected)

    def withdraw(self, keys: pl.DataFrame, reason: str, now: datetime) -> tuple[int, int]:
        """Withdraw delivered scores: numbers withdrawn now, and of those that are not known."""
        with self._writing() as connection:
            return _withdraw(connection, score_delivery, keys.select(_KEY).unique(), reason, now)

    def deliveries(self, outcome_ids: Sequence[str] | None = None) -> pl.DataFrame:
        """Every delivered score that counts, in the order of units, periods and dates."""
        query = select(*(score_delivery.c[name] for name in _KEPT_TYPES)).where(
            score_delivery.c.withdrawn_at_utc_us.is_(None)
        )
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


def _with_places(frame: pl.DataFrame) -> pl.DataFrame:
    return ready(frame, _SCORE_TYPES).with_columns(place=frame["row"])


def _add_scores(
    connection: Connection, stage: Table, rows: pl.DataFrame, received_at: datetime
) -> AddedScores:
    rows = rows.with_columns(received_at_utc_us=pl.lit(to_us(received_at), pl.Int64))
    counts = [_add(connection, stage, batch) for batch in rows.iter_slices(BATCH_ROWS)]
    n_new = sum(new for new, _ in counts)
    return AddedScores(n_new, rows.height - n_new, sum(unknown for _, unknown in counts))


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
            "give the revision its own date, or replace what is kept with --correct --reason TEXT",
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


# Corrections of what was kept: the former content stays, with the reason.

_FORMER: dict[str, tuple[Literal["event", "score"], Mapping[str, Any]]] = {
    "event": ("event", {**_TYPES, "received_at_utc_us": pl.Int64}),
    "score_delivery": ("score", _KEPT_TYPES),
}


class Corrections(Part):
    """What events and scores said before they were corrected or withdrawn."""

    def all(self) -> pl.DataFrame:
        """Every correction, the first one first; `former_json` is what stood there before."""
        types = {
            "correction_id": pl.Int64,
            **dict.fromkeys(
                ("observation", "action", "unit_id", "former_json", "reason"), pl.String
            ),
            "at_utc_us": pl.Int64,
        }
        with self._reading() as connection:
            query = select(*(correction.c[name] for name in types))
            return scan(connection, query, types).sort("correction_id")


def _correct(
    connection: Connection,
    stage: Table,
    table: Table,
    key: Sequence[str],
    rows: pl.DataFrame,
    reason: str,
    now: datetime,
) -> int:
    """Give known rows the content of new ones where it differs; number of those rows."""
    changed = [name for name in _FORMER[table.name][1] if name not in (*key, "received_at_utc_us")]
    same = [stage.c[name] == table.c[name] for name in key]
    differs = or_(
        *(stage.c[name].is_distinct_from(table.c[name]) for name in changed),
        table.c.withdrawn_at_utc_us.is_not(None),
    )
    new = {n: select(stage.c[n]).where(*same).limit(1).scalar_subquery() for n in changed}
    hit = select(stage.c.place).where(*same, differs).exists()
    placed = rows if "place" in rows.columns else rows.with_row_index("place")
    n_corrected = 0
    for batch in placed.iter_slices(BATCH_ROWS):
        append(connection, stage, batch)
        found = _trace(connection, table, [*same, differs], "corrected", reason, now)
        if found:
            connection.execute(update(table).where(hit).values(**new, withdrawn_at_utc_us=None))
        n_corrected += found
        connection.execute(delete(stage))
    return n_corrected


def _withdraw(
    connection: Connection, table: Table, keys: pl.DataFrame, reason: str, now: datetime
) -> tuple[int, int]:
    n_withdrawn = n_known = 0
    with staged(connection, table) as stage:
        same = [stage.c[name] == table.c[name] for name in keys.columns]
        counts = table.c.withdrawn_at_utc_us.is_(None)
        for batch in keys.with_row_index("place").iter_slices(BATCH_ROWS):
            append(connection, stage, batch)
            known = select(func.count()).select_from(stage.join(table, and_(*same)))
            n_known += connection.scalar(known) or 0
            n_withdrawn += _trace(connection, table, [*same, counts], "withdrawn", reason, now)
            hit = select(stage.c.place).where(*same).exists()
            done = update(table).where(hit, counts).values(withdrawn_at_utc_us=to_us(now))
            connection.execute(done)
            connection.execute(delete(stage))
    return n_withdrawn, keys.height - n_known


def _trace(
    connection: Connection,
    table: Table,
    where: Sequence[Any],
    action: Literal["corrected", "withdrawn"],
    reason: str,
    now: datetime,
) -> int:
    """Write down what rows say now; gives their number."""
    observation, types = _FORMER[table.name]
    found = scan(connection, select(*(table.c[name] for name in types)).where(*where), types)
    if found.height:
        rows = found.select("unit_id", former_json=encode_json_rows(found)).with_columns(
            observation=pl.lit(observation),
            action=pl.lit(action),
            reason=pl.lit(reason),
            at_utc_us=pl.lit(to_us(now), pl.Int64),
        )
        append(connection, correction, rows)
    return found.height
