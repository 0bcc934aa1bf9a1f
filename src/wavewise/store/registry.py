"""Registered versions of the spec: added, never changed."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, func, insert, select, update

from wavewise.errors import InputError, StateError
from wavewise.store.engine import Part
from wavewise.store.frames import plain_json
from wavewise.store.outbox import take_back
from wavewise.store.rows import ResultRow, VersionRow, from_us, to_us
from wavewise.store.schema import api_key, result, study_version, wave

QUEUED_SLOTS = "queued-slots"  # kind of the result that says which slots are in the outbox

__all__ = ["QUEUED_SLOTS", "ApiKeys", "Results", "Versions", "put_result"]


def latest_version(connection: Connection) -> int | None:
    """Number of the newest registered version; None before registration."""
    number: int | None = connection.scalar(select(func.max(study_version.c.number)))
    return number


class Versions(Part):
    """The registry's table."""

    def add(
        self,
        number: int,
        created_at: datetime,
        reason: str,
        *,
        spec_toml: str,
        spec_json: str,
        hash: str,  # noqa: A002  (the registry's own word)
        waves_seen: Sequence[str] = (),
        reword: Sequence[tuple[str, str, int, str, str | None]] = (),
    ) -> int:
        """Add the next version of the spec.

        Messages of ``reword`` are taken back, so that they are queued anew; gives their number.
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
            # Whoever queues messages now has ended, or sees this version.
            connection.execute(select(wave.c.wave_id).with_for_update())
            connection.execute(insert(study_version).values(values))
            return _reword(connection, reword, created_at)

    def reword(
        self, messages: Sequence[tuple[str, str, int, str, str | None]], now: datetime
    ) -> int:
        """Take messages back that wait, so that they are queued anew; gives their number."""
        with self._writing() as connection:
            return _reword(connection, messages, now)

    def all(self) -> tuple[VersionRow, ...]:
        """All registered versions, the first one first."""
        query = select(study_version).order_by(study_version.c.number)
        with self._reading() as connection:
            return tuple(_version(row) for row in connection.execute(query))


def _reword(
    connection: Connection,
    messages: Sequence[tuple[str, str, int, str, str | None]],
    now: datetime,
) -> int:
    """Take messages back, and the mark that their slots are queued."""
    slots: dict[str, set[int]] = {}
    for wave_id, _, slot, _, _ in messages:
        slots.setdefault(wave_id, set()).add(slot)
    for wave_id, gone in slots.items():
        queued = latest_result(connection, wave_id, QUEUED_SLOTS)
        left = sorted(set(queued["slots"] if queued else ()) - gone)
        put_result(connection, wave_id, QUEUED_SLOTS, {"slots": left}, now)
    return take_back(connection, messages)


def latest_result(connection: Connection, wave_id: str, kind: str) -> Mapping[str, Any] | None:
    """What the newest result of a wave and kind says, in the caller's transaction."""
    query = select(result.c.payload_json).where(result.c.wave_id == wave_id, result.c.kind == kind)
    text = connection.scalar(query.order_by(result.c.id.desc()).limit(1))
    return None if text is None else json.loads(text)


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


# Keys of the HTTP interface: only their hashes are kept.


class ApiKeys(Part):
    """The table of keys."""

    def add(self, key_id: str, name: str, hash: str, created_at: datetime) -> None:  # noqa: A002
        """Keep a new key's hash under its id."""
        values = {
            "key_id": key_id,
            "name": name,
            "hash": hash,
            "created_at_utc_us": to_us(created_at),
        }
        with self._writing() as connection:
            connection.execute(insert(api_key).values(values))

    def hash(self, key_id: str) -> str | None:
        """Hash of a key that may be used; None where there is none, or it was revoked."""
        is_valid = (api_key.c.key_id == key_id) & api_key.c.revoked_at_utc_us.is_(None)
        with self._reading() as connection:
            found: str | None = connection.scalar(select(api_key.c.hash).where(is_valid))
        return found

    def all(self) -> tuple[dict[str, Any], ...]:
        """All keys, the oldest first: key_id, name, created_at, revoked_at (None: active)."""
        query = select(api_key).order_by(api_key.c.created_at_utc_us, api_key.c.key_id)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return tuple(
            {
                "key_id": row.key_id,
                "name": row.name,
                "created_at": from_us(row.created_at_utc_us),
                "revoked_at": None
                if row.revoked_at_utc_us is None
                else from_us(row.revoked_at_utc_us),
            }
            for row in rows
        )

    def revoke(self, key_id: str, revoked_at: datetime) -> None:
        """Revoke a key; once more does nothing."""
        with self._writing() as connection:
            known = connection.scalar(select(api_key.c.key_id).where(api_key.c.key_id == key_id))
            if known is None:
                raise InputError(
                    "found no key of this id; needed one of `wavewise keys list`; nothing changed"
                )
            in_force = (api_key.c.key_id == key_id) & api_key.c.revoked_at_utc_us.is_(None)
            connection.execute(
                update(api_key).where(in_force).values(revoked_at_utc_us=to_us(revoked_at))
            )


# Results of waves: all are kept, the latest of a kind counts.


def put_result(
    connection: Connection, wave_id: str, kind: str, payload: Mapping[str, Any], now: datetime
) -> int:
    """Keep a result in the caller's transaction; gives its id."""
    values = {
        "wave_id": wave_id,
        "kind": kind,
        "created_at_utc_us": to_us(now),
        "payload_json": plain_json(payload),
    }
    version = latest_version(connection)
    done = connection.execute(insert(result).values(**values, version=version))
    return int(cast("Row[Any]", done.inserted_primary_key)[0])


class Results(Part):
    """The results' table."""

    def put(self, wave_id: str, kind: str, payload: Mapping[str, Any], created_at: datetime) -> int:
        """Keep a result, with the active version of the spec; gives its id."""
        with self._writing() as connection:
            return put_result(connection, wave_id, kind, payload, created_at)

    def latest(self, wave_id: str, kind: str) -> ResultRow | None:
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

    def all(self, kind: str) -> tuple[ResultRow, ...]:
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
