"""Registered versions of the spec: added, never changed."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from wavewise.errors import StateError
from wavewise.store.database import Database
from wavewise.store.rows import VersionRow, from_us, to_us
from wavewise.store.schema import study_version

__all__ = ["Versions", "latest_version"]


def latest_version(connection: Connection) -> int | None:
    """Number of the newest registered version; None before registration."""
    number: int | None = connection.scalar(select(func.max(study_version.c.number)))
    return number


class Versions(Database):
    """The registry's table."""

    def add_version(
        self,
        number: int,
        created_at: datetime,
        reason: str,
        *,
        spec_toml: str,
        spec_json: str,
        hash: str,  # noqa: A002  (the registry's own word)
        waves_seen: Sequence[str] = (),
    ) -> None:
        """Add the next version of the spec.

        Raises
        ------
        StateError
            The number is not the one that follows the newest version.
        """
        values = {
            "number": number,
            "created_at_utc_us": to_us(created_at),
            "reason": reason,
            "spec_toml": spec_toml,
            "spec_json": spec_json,
            "hash": hash,
            "waves_seen_json": json.dumps(list(waves_seen), ensure_ascii=False),
        }
        with self._writing() as connection:
            newest = latest_version(connection) or 0
            if number != newest + 1:
                raise StateError(
                    f"found version {number} to add after version {newest}; "
                    f"needed version {newest + 1}; read the history again, then amend"
                )
            connection.execute(insert(study_version).values(values))

    def versions(self) -> tuple[VersionRow, ...]:
        """All registered versions, the first one first."""
        query = select(study_version).order_by(study_version.c.number)
        with self._reading() as connection:
            return tuple(_version(row) for row in connection.execute(query))


def _version(row: Row[Any]) -> VersionRow:
    return VersionRow(
        number=row.number,
        created_at=from_us(row.created_at_utc_us),
        reason=row.reason,
        spec_toml=row.spec_toml,
        spec_json=row.spec_json,
        hash=row.hash,
        waves_seen=tuple(json.loads(row.waves_seen_json)),
    )
