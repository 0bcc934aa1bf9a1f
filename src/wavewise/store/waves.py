"""Waves: opened with all their assignments, closed with all their outcomes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, delete, insert, literal, select, update
from sqlalchemy.exc import SQLAlchemyError

from wavewise.errors import InputError, StateError
from wavewise.store.engine import Part, broken_rule
from wavewise.store.frames import (
    append,
    decode_json_rows,
    insert_into,
    n_inserted,
    plain_json,
    ready,
    scan,
)
from wavewise.store.observations import append_frozen
from wavewise.store.outbox import cancel_messages, n_begun
from wavewise.store.registry import QUEUED_SLOTS, put_result
from wavewise.store.rows import WaveRow, from_us, to_us
from wavewise.store.schema import (
    assignment,
    former_outcome,
    former_score,
    frozen_fact,
    frozen_score,
    outbox,
    outcome,
    wave,
)

__all__ = ["ACCEPTED", "DISCARDED", "REOPENED", "WAVE_CLOSED", "Waves"]

# Kinds of result: the ways back of a wave, and checks that were accepted when it was closed.
DISCARDED, REOPENED = "discarded", "reopened"
ACCEPTED = "accepted checks"
WAVE_CLOSED = "the wave was closed"

_ASSIGNMENT = {
    "unit_id": pl.String,
    "stratum": pl.String,
    "arm": pl.String,
    "propensity": pl.Float64,
    "held_out": pl.Boolean,
    "content": pl.String,
    "content_propensity": pl.Float64,
    "randomized_with": pl.String,
}
_MAY_LACK = ["propensity", "held_out", "content", "content_propensity", "randomized_with"]
_OUTCOME = {"unit_id": pl.String, "values_json": pl.String}


class Waves(Part):
    """The tables of waves, assignments and outcomes."""

    def open(
        self,
        row: WaveRow,
        assigned: pl.DataFrame,
        outcomes: pl.DataFrame | None = None,
        facts: pl.DataFrame | None = None,
    ) -> None:
        """Write a wave, all its assignments and what its units look like: all or nothing."""
        rows = _one_a_unit(ready(assigned, _ASSIGNMENT, optional=_MAY_LACK))
        values = None if outcomes is None else _one_a_unit(ready(outcomes, _OUTCOME))
        frozen = None if facts is None else _one_a_unit(ready(facts, _OUTCOME))
        with self._writing() as connection:
            _claim(connection, row)
            _append_known(connection, assignment, _of_wave(rows, row.wave_id), "imported units")
            _append_outcomes(connection, row.wave_id, values)
            if frozen is not None:
                append(connection, frozen_fact, _of_wave(frozen, row.wave_id))

    def close(
        self,
        wave_id: str,
        closed_at: datetime,
        outcomes: pl.DataFrame | None = None,
        scores: pl.DataFrame | None = None,
        accepted: Mapping[str, Any] | None = None,
    ) -> int:
        """Freeze one outcome row per unit, and scores, and close the wave: all or nothing.

        ``accepted`` says which failed checks of the data were accepted and why; it is kept.
        Messages that were not begun are cancelled; gives their number.
        """
        rows = None if outcomes is None else _one_a_unit(ready(outcomes, _OUTCOME))
        with self._writing() as connection:
            _close(connection, wave_id, closed_at)
            _append_outcomes(connection, wave_id, rows)
            append_frozen(connection, wave_id, scores)
            if accepted is not None:
                put_result(connection, wave_id, ACCEPTED, accepted, closed_at)
            return cancel_messages(connection, WAVE_CLOSED, closed_at, wave_id=wave_id)

    def reopen(self, wave_id: str, now: datetime, record: Mapping[str, Any]) -> int:
        """Set a closed wave's outcomes aside, so that closing it makes the next version.

        Gives the number of that version. The record, with its number, is kept as a result.
        """
        with self._writing() as connection:
            there = _find(connection, wave_id)
            if there is None:
                raise _never_opened(wave_id)
            closed = wave.c.wave_id == wave_id, wave.c.state == "closed"
            version = there.outcome_version
            done = connection.execute(
                update(wave)
                .where(*closed)
                .values(
                    state="open",
                    closed_at_utc_us=None,
                    reopened_at_utc_us=to_us(now),
                    outcome_version=version + 1,
                )
            )
            if done.rowcount != 1:
                raise StateError(
                    f"wave {wave_id!r} is {_state(there)}; needed one that is closed; nothing was "
                    "changed; correct events as long as it is open, then close it"
                )
            _set_aside(connection, wave_id, version)
            put_result(connection, wave_id, REOPENED, {"version": version, **record}, now)
            return version + 1

    def discard(self, wave_id: str, now: datetime, record: Mapping[str, Any]) -> None:
        """Take a wave back whose messages were never begun, with its assignment.

        The record is kept as a result; the wave can be opened anew.
        """
        with self._writing() as connection:
            there = _find(connection, wave_id)
            if there is None:
                raise _never_opened(wave_id)
            # Begun now, or after this look: a worker's beginning waits for this transaction.
            cancel_messages(connection, DISCARDED, now, wave_id=wave_id)
            _require_unsent(connection, wave_id)
            if there.state == "closed":
                raise StateError(
                    f"wave {wave_id!r} is {_state(there)}; needed one that is open; nothing was "
                    f"changed; run `wavewise wave reopen DIR {wave_id} --reason TEXT` first"
                )
            for table in (outbox, outcome, frozen_score, frozen_fact, assignment, wave):
                connection.execute(delete(table).where(table.c.wave_id == wave_id))
            put_result(connection, wave_id, QUEUED_SLOTS, {"slots": []}, now)
            put_result(connection, wave_id, DISCARDED, record, now)

    def all(self) -> tuple[WaveRow, ...]:
        """All waves, the first opened first."""
        query = select(wave).order_by(wave.c.opened_at_utc_us, wave.c.wave_id)
        with self._reading() as connection:
            return tuple(_wave(row) for row in connection.execute(query))

    def get(self, wave_id: str) -> WaveRow | None:
        """One wave; None where it was never opened."""
        with self._reading() as connection:
            return _find(connection, wave_id)

    def assignment(self, wave_id: str) -> pl.DataFrame:
        """A wave's assignments in the order of unit ids; groups only where they were drawn."""
        rows = self._rows_of(wave_id, assignment, _ASSIGNMENT)
        is_whole = rows["randomized_with"].null_count() < rows.height
        return rows if is_whole else rows.drop("randomized_with")

    def outcomes(self, wave_id: str, version: int | None = None) -> pl.DataFrame:
        """A wave's frozen outcomes in the order of unit ids; of a former version by its number."""
        if version is None:
            frame = self._rows_of(wave_id, outcome, _OUTCOME)
        else:
            of_version = former_outcome.c.version == version
            frame = self._rows_of(wave_id, former_outcome, _OUTCOME, of_version)
        columns = [frame["unit_id"], *decode_json_rows(frame["values_json"]).iter_columns()]
        return pl.DataFrame(columns)

    def facts(self, wave_id: str) -> pl.DataFrame:
        """What a wave's units looked like when it was opened: unit_id and a column a fact.

        No rows where nothing was frozen but the rows of the people file.
        """
        frame = self._rows_of(wave_id, frozen_fact, _OUTCOME)
        return pl.DataFrame(
            [frame["unit_id"], *decode_json_rows(frame["values_json"]).iter_columns()]
        )

    def _rows_of(
        self, wave_id: str, table: Any, types: dict[str, Any], *where: Any
    ) -> pl.DataFrame:
        query = select(*(table.c[name] for name in types)).where(table.c.wave_id == wave_id, *where)
        with self._reading() as connection:
            if _find(connection, wave_id) is None:
                raise _never_opened(wave_id)
            return scan(connection, query, types).sort("unit_id")


def _claim(connection: Connection, row: WaveRow) -> None:
    """Write the wave's own row; of two processes only one can."""
    values = {
        "wave_id": row.wave_id,
        "state": "open",
        "opened_at_utc_us": to_us(row.opened_at),
        "version": row.version,
        "exploratory": row.exploratory,
        "starts_at_utc_us": None if row.starts_at is None else to_us(row.starts_at),
        "details_json": plain_json(row.details),
    }
    statement = insert_into(connection, wave).values(values).on_conflict_do_nothing()
    if n_inserted(connection, statement):
        return
    there = _find(connection, row.wave_id)
    raise StateError(
        f"wave {row.wave_id!r} is already {_state(there)}; needed a wave that is new; "
        "nothing was changed; go on with it, or open the next one"
    )


def _close(connection: Connection, wave_id: str, closed_at: datetime) -> None:
    statement = (
        update(wave)
        .where(wave.c.wave_id == wave_id, wave.c.state == "open")
        .values(state="closed", closed_at_utc_us=to_us(closed_at))
    )
    if connection.execute(statement).rowcount == 1:
        return
    there = _find(connection, wave_id)
    if there is None:
        raise _never_opened(wave_id)
    raise StateError(
        f"wave {wave_id!r} is already {_state(there)}; its outcomes are frozen; "
        "nothing was changed; analyse it, or set them aside with `wavewise wave reopen DIR "
        f"{wave_id} --reason TEXT`"
    )


def _set_aside(connection: Connection, wave_id: str, version: int) -> None:
    for table, former in ((outcome, former_outcome), (frozen_score, former_score)):
        names = [column.name for column in table.columns]
        rows = select(literal(version), *(table.c[name] for name in names))
        of_wave = table.c.wave_id == wave_id
        connection.execute(insert(former).from_select(["version", *names], rows.where(of_wave)))
        connection.execute(delete(table).where(of_wave))


def _require_unsent(connection: Connection, wave_id: str) -> None:
    if n := n_begun(connection, wave_id):
        raise StateError(
            f"wave {wave_id!r}: found {n:,} messages that went out or may have; needed a "
            "wave of which nothing was sent; nothing was changed; close it when its window has "
            "ended"
        )


def _append_outcomes(connection: Connection, wave_id: str, rows: pl.DataFrame | None) -> None:
    if rows is not None:
        _append_known(connection, outcome, _of_wave(rows, wave_id), "units of this wave")


def _append_known(connection: Connection, table: Any, rows: pl.DataFrame, needed: str) -> None:
    try:
        append(connection, table, rows)
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as error:
        if broken_rule(error) != "unknown reference":
            raise
        raise InputError(
            f"found units that are not known; needed {needed} only; nothing was written; "
            "import them first, or leave them out"
        ) from None


def _one_a_unit(rows: pl.DataFrame) -> pl.DataFrame:
    n_repeated = rows.height - rows["unit_id"].n_unique()
    if n_repeated:
        raise InputError(f"found {n_repeated} repeated units; needed one row per unit and wave")
    return rows


def _of_wave(rows: pl.DataFrame, wave_id: str) -> pl.DataFrame:
    # In the order of the key, so that the index grows at its end.
    return rows.sort("unit_id").select(pl.lit(wave_id).alias("wave_id"), pl.all())


def _find(connection: Connection, wave_id: str) -> WaveRow | None:
    row = connection.execute(select(wave).where(wave.c.wave_id == wave_id)).one_or_none()
    return None if row is None else _wave(row)


def _never_opened(wave_id: str) -> StateError:
    return StateError(
        f"wave {wave_id!r} was never opened; needed an open wave; open it first: "
        "wavewise wave open DIR WAVE"
    )


def _state(row: WaveRow | None) -> str:
    if row is None:
        return "being opened by another process"
    if row.state == "reopened":
        return f"reopened (its outcomes become version {row.outcome_version})"
    if row.closed_at is not None:
        return f"closed (closed {row.closed_at:%Y-%m-%d %H:%M} UTC)"
    return f"open (opened {row.opened_at:%Y-%m-%d %H:%M} UTC)"


def _wave(row: Row[Any]) -> WaveRow:
    return WaveRow(
        wave_id=row.wave_id,
        opened_at=from_us(row.opened_at_utc_us),
        version=row.version,
        exploratory=row.exploratory,
        starts_at=None if row.starts_at_utc_us is None else from_us(row.starts_at_utc_us),
        details=json.loads(row.details_json),
        state="reopened" if row.state == "open" and row.reopened_at_utc_us else row.state,
        outcome_version=row.outcome_version or 1,
        closed_at=None if row.closed_at_utc_us is None else from_us(row.closed_at_utc_us),
    )
