"""Waves: opened with all their assignments, closed with all their outcomes."""

import json
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, select, update
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
from wavewise.store.rows import WaveRow, from_us, to_us
from wavewise.store.schema import assignment, outcome, wave

__all__ = ["Waves"]

_ASSIGNMENT = {
    "unit_id": pl.String,
    "stratum": pl.String,
    "arm": pl.String,
    "propensity": pl.Float64,
    "held_out": pl.Boolean,
    "content": pl.String,
    "content_propensity": pl.Float64,
}
_MAY_LACK = ["propensity", "held_out", "content", "content_propensity"]
_OUTCOME = {"unit_id": pl.String, "values_json": pl.String}


class Waves(Part):
    """The tables of waves, assignments and outcomes."""

    def open(
        self, row: WaveRow, assigned: pl.DataFrame, outcomes: pl.DataFrame | None = None
    ) -> None:
        """Write a wave and all its assignments: both or neither."""
        rows = _one_a_unit(ready(assigned, _ASSIGNMENT, optional=_MAY_LACK))
        values = None if outcomes is None else _one_a_unit(ready(outcomes, _OUTCOME))
        with self._writing() as connection:
            _claim(connection, row)
            _append_known(connection, assignment, _of_wave(rows, row.wave_id), "imported units")
            _append_outcomes(connection, row.wave_id, values)

    def close(
        self,
        wave_id: str,
        closed_at: datetime,
        outcomes: pl.DataFrame | None = None,
        scores: pl.DataFrame | None = None,
    ) -> None:
        """Freeze one outcome row per unit, and scores, and close the wave: all or nothing."""
        rows = None if outcomes is None else _one_a_unit(ready(outcomes, _OUTCOME))
        with self._writing() as connection:
            _close(connection, wave_id, closed_at)
            _append_outcomes(connection, wave_id, rows)
            append_frozen(connection, wave_id, scores)

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
        """A wave's assignments in the order of unit ids."""
        return self._rows_of(wave_id, assignment, _ASSIGNMENT)

    def outcomes(self, wave_id: str) -> pl.DataFrame:
        """A wave's frozen outcomes in the order of unit ids."""
        frame = self._rows_of(wave_id, outcome, _OUTCOME)
        columns = [frame["unit_id"], *decode_json_rows(frame["values_json"]).iter_columns()]
        return pl.DataFrame(columns)

    def _rows_of(self, wave_id: str, table: Any, types: dict[str, Any]) -> pl.DataFrame:
        query = select(*(table.c[name] for name in types)).where(table.c.wave_id == wave_id)
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
        "nothing was changed; analyse it"
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
        state=row.state,
        closed_at=None if row.closed_at_utc_us is None else from_us(row.closed_at_utc_us),
    )
