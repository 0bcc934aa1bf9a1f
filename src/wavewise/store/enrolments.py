"""Enrolments: opened with everybody who was looked at, closed with what became of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, delete, select, update

from wavewise.errors import StateError
from wavewise.store.engine import Part
from wavewise.store.frames import append, insert_into, n_inserted, plain_json, ready, scan
from wavewise.store.outbox import cancel_messages, n_begun
from wavewise.store.registry import put_result
from wavewise.store.rows import EnrolmentRow, from_us, to_us
from wavewise.store.schema import enrolment, enrolment_unit, outbox

__all__ = ["ENROLLED", "INVITED", "LEFT_OUT", "Enrolments"]

LEFT_OUT, INVITED, ENROLLED = "left out", "invited", "enrolled"
CLOSED = "the enrolment was closed"
_UNITS = {
    "unit_id": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "answered": pl.Boolean,
    "consented_at_utc_us": pl.Int64,
    **{f"consent_{name}": pl.String for name in ("proof", "message", "language")},
}
_MAY_LACK = [name for name in _UNITS if name not in {"unit_id", "status"}]


class Enrolments(Part):
    """The tables of enrolments and of their units."""

    def open(self, row: EnrolmentRow, units: pl.DataFrame) -> None:
        """Write an enrolment and all units that it looked at: both or neither."""
        values = {
            "enrolment_id": row.enrolment_id,
            "state": "open",
            "opened_at_utc_us": to_us(row.opened_at),
            "version": row.version,
            "exploratory": row.exploratory,
            "details_json": plain_json(row.details),
        }
        with self._writing() as connection:
            statement = insert_into(connection, enrolment).values(values).on_conflict_do_nothing()
            if not n_inserted(connection, statement):
                raise StateError(
                    f"enrolment {row.enrolment_id!r} is already open; needed one that is new; "
                    "nothing was changed; go on with it"
                )
            _write_units(connection, row.enrolment_id, units)

    def close(self, enrolment_id: str, closed_at: datetime, units: pl.DataFrame) -> int:
        """Keep what became of every unit, and end the enrolment; both or neither.

        Messages that were not begun are cancelled; gives their number.
        """
        is_open = enrolment.c.enrolment_id == enrolment_id, enrolment.c.state == "open"
        closed = update(enrolment).where(*is_open)
        with self._writing() as connection:
            done = connection.execute(
                closed.values(state="closed", closed_at_utc_us=to_us(closed_at))
            )
            if done.rowcount != 1:
                raise StateError(
                    f"enrolment {enrolment_id!r} is not open; needed one that is; nothing was "
                    "changed; go on with the waves that it prepares"
                )
            connection.execute(
                delete(enrolment_unit).where(enrolment_unit.c.enrolment_id == enrolment_id)
            )
            _write_units(connection, enrolment_id, units)
            return cancel_messages(connection, CLOSED, closed_at, wave_id=enrolment_id)

    def discard(self, enrolment_id: str, now: datetime, record: Mapping[str, Any]) -> None:
        """Take back an enrolment whose messages were never begun; the record is kept."""
        own = enrolment.c.enrolment_id == enrolment_id
        with self._writing() as connection:
            cancel_messages(connection, CLOSED, now, wave_id=enrolment_id)
            if n := n_begun(connection, enrolment_id):
                raise StateError(
                    f"enrolment {enrolment_id!r}: found {n:,} messages that went out or may "
                    "have; needed one of which nothing was sent; nothing was changed; close it "
                    "with `wavewise enrol close`"
                )
            connection.execute(delete(outbox).where(outbox.c.wave_id == enrolment_id))
            units = enrolment_unit.c.enrolment_id == enrolment_id
            connection.execute(delete(enrolment_unit).where(units))
            connection.execute(delete(enrolment).where(own))
            put_result(connection, enrolment_id, "queued-slots", {"slots": []}, now)
            put_result(connection, enrolment_id, "discarded", record, now)

    def all(self) -> tuple[EnrolmentRow, ...]:
        """All enrolments, the first opened first."""
        query = select(enrolment).order_by(enrolment.c.opened_at_utc_us, enrolment.c.enrolment_id)
        with self._reading() as connection:
            return tuple(_row(found) for found in connection.execute(query))

    def get(self, enrolment_id: str) -> EnrolmentRow | None:
        """One enrolment; None where it was never opened."""
        query = select(enrolment).where(enrolment.c.enrolment_id == enrolment_id)
        with self._reading() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else _row(found)

    def units(self, enrolment_id: str) -> pl.DataFrame:
        """What became of every unit so far, in the order of ids."""
        query = select(*(enrolment_unit.c[name] for name in _UNITS)).where(
            enrolment_unit.c.enrolment_id == enrolment_id
        )
        with self._reading() as connection:
            return scan(connection, query, _UNITS).sort("unit_id")

    def invited_now(self, unit_ids: Sequence[str]) -> tuple[str, ...]:
        """Those of these units that an open enrolment has invited."""
        own = enrolment_unit.c.enrolment_id == enrolment.c.enrolment_id
        query = select(enrolment_unit.c.unit_id).where(
            own,
            enrolment.c.state == "open",
            enrolment_unit.c.status == INVITED,
            enrolment_unit.c.unit_id.in_(list(unit_ids)),
        )
        with self._reading() as connection:
            return tuple(sorted(connection.scalars(query.distinct())))

    def invited(self) -> pl.Series:
        """Ids of all units that any enrolment has invited, whatever became of them."""
        query = select(enrolment_unit.c.unit_id).where(
            (enrolment_unit.c.status != LEFT_OUT) | enrolment_unit.c.answered.is_not(None)
        )
        with self._reading() as connection:
            return scan(connection, query.distinct(), {"unit_id": pl.String})["unit_id"].sort()


def _write_units(connection: Connection, enrolment_id: str, units: pl.DataFrame) -> None:
    rows = ready(units, _UNITS, optional=_MAY_LACK).sort("unit_id")
    append(
        connection,
        enrolment_unit,
        rows.select(pl.lit(enrolment_id).alias("enrolment_id"), pl.all()),
    )


def _row(found: Row[Any]) -> EnrolmentRow:
    closed = found.closed_at_utc_us
    return EnrolmentRow(
        enrolment_id=found.enrolment_id,
        opened_at=from_us(found.opened_at_utc_us),
        version=found.version,
        exploratory=found.exploratory,
        details=json.loads(found.details_json),
        state=found.state,
        closed_at=None if closed is None else from_us(closed),
    )
