"""Results of waves: all are kept, the latest of a kind counts."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Row, insert, select

from wavewise.store.database import Database
from wavewise.store.packed import plain_json
from wavewise.store.rows import ResultRow, from_us, to_us
from wavewise.store.schema import result
from wavewise.store.versions import latest_version

__all__ = ["Results"]


class Results(Database):
    """The results' table."""

    def put_result(
        self, wave_id: str, kind: str, payload: Mapping[str, Any], created_at: datetime
    ) -> int:
        """Keep a result, with the version of the spec in force; gives its id.

        Raises
        ------
        InputError
            The payload is not plain JSON values, or holds a number that is not finite.
        """
        values = {
            "wave_id": wave_id,
            "kind": kind,
            "created_at_utc_us": to_us(created_at),
            "payload_json": plain_json(payload),
        }
        with self._writing() as connection:
            version = latest_version(connection)
            done = connection.execute(insert(result).values(**values, version=version))
            return int(cast("Row[Any]", done.inserted_primary_key)[0])

    def latest_result(self, wave_id: str, kind: str) -> ResultRow | None:
        """The newest result of a wave and kind; None where there is none."""
        query = (
            select(result)
            .where(result.c.wave_id == wave_id, result.c.kind == kind)
            .order_by(result.c.id.desc())
            .limit(1)
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _result(row)

    def results(self, kind: str) -> tuple[ResultRow, ...]:
        """All results of a kind, of all waves, the oldest first."""
        query = select(result).where(result.c.kind == kind).order_by(result.c.id)
        with self._reading() as connection:
            return tuple(_result(row) for row in connection.execute(query))


def _result(row: Row[Any]) -> ResultRow:
    return ResultRow(
        id=row.id,
        wave_id=row.wave_id,
        kind=row.kind,
        created_at=from_us(row.created_at_utc_us),
        version=row.version,
        payload=json.loads(row.payload_json),
    )
