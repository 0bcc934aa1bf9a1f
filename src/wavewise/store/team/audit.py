"""The audit log, which only grows, and steps that wait for a second person."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, text, update

from wavewise.errors import InputError, StateError
from wavewise.store.engine import Part
from wavewise.store.registry import latest_version
from wavewise.store.rows import from_us, to_us
from wavewise.store.schema import audit_entry, second_person

__all__ = ["AuditEntry", "AuditLog", "SecondPersonRow", "SecondPersons"]

FIRST_HASH = "0" * 64
# Any fixed number does: it names the lock of whoever adds an entry.
_LOCK_KEY = 7_288_175
_HASHED = (
    *("entry_id", "at_utc_us", "actor", "verb", "outcome", "arguments_json"),
    *("version", "reason", "previous_hash"),
)


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did, or asked for."""

    entry_id: int
    at: datetime
    actor: str  # An account's id, or "command line".
    verb: str
    outcome: str  # asked, begun, done, failed, refused or cancelled
    arguments: Mapping[str, Any]
    version: int | None  # Of the plan.
    reason: str
    hash: str


class AuditLog(Part):
    """Entries are added; the database refuses to change or delete one."""

    def add(
        self,
        actor: str,
        verb: str,
        outcome: str,
        now: datetime,
        *,
        arguments: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> AuditEntry:
        """Add an entry, with the active version of the plan and the hash of the one before it."""
        with self._writing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's writer is alone already
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            newest = select(audit_entry).order_by(audit_entry.c.entry_id.desc()).limit(1)
            last = connection.execute(newest).one_or_none()
            values = {
                "entry_id": 1 if last is None else last.entry_id + 1,
                "at_utc_us": to_us(now),
                "actor": actor,
                "verb": verb,
                "outcome": outcome,
                "arguments_json": _plain(arguments or {}),
                "version": latest_version(connection),
                "reason": reason,
                "previous_hash": FIRST_HASH if last is None else last.hash,
            }
            connection.execute(insert(audit_entry).values(**values, hash=_hash(values)))
            query = select(audit_entry).where(audit_entry.c.entry_id == values["entry_id"])
            return _entry(connection.execute(query).one())

    def all(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """All entries, or the last ones, the first one first."""
        query = select(audit_entry).order_by(audit_entry.c.entry_id.desc()).limit(limit)
        with self._reading() as connection:
            return tuple(_entry(row) for row in reversed(connection.execute(query).all()))

    def first_fault(self) -> int | None:
        """Number of the first entry that is not what was written, or is gone; None: all is whole.

        Entries that are gone from the end leave no trace here: an export made before shows them.
        """
        with self._reading() as connection:
            return next(_faults(connection), None)


def _faults(connection: Connection) -> Iterator[int]:
    before, expected = FIRST_HASH, 1
    query: Select[Any] = select(audit_entry).order_by(audit_entry.c.entry_id)
    for row in connection.execute(query):
        values = {name: getattr(row, name) for name in _HASHED}
        whole = row.previous_hash == before and row.hash == _hash(values)
        if row.entry_id != expected or not whole:
            yield expected
        before, expected = row.hash, row.entry_id + 1


def _hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of an entry with the hash of the one before it."""
    return hashlib.sha256(_plain([values[name] for name in _HASHED]).encode()).hexdigest()


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        entry_id=row.entry_id,
        at=from_us(row.at_utc_us),
        actor=row.actor,
        verb=row.verb,
        outcome=row.outcome,
        arguments=json.loads(row.arguments_json),
        version=row.version,
        reason=row.reason,
        hash=row.hash,
    )


# Steps that nobody does alone.


@dataclass(frozen=True)
class SecondPersonRow:
    """A step that one person asked for, and what another one said."""

    request_id: str
    step: str
    verb: str
    arguments: Mapping[str, Any]
    spec_hash: str  # Of the study file that the first one saw.
    reason: str
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    answered_by: str | None
    answered_at: datetime | None
    answer: str | None


class SecondPersons(Part):
    """Requests for a second person's word, each answered once."""

    def ask(
        self,
        request_id: str,
        step: str,
        verb: str,
        arguments: Mapping[str, Any],
        *,
        spec_hash: str,
        reason: str,
        asked_by: str,
        now: datetime,
        until: datetime,
    ) -> SecondPersonRow:
        """Keep that somebody asks for a step; a request for the same that waits is given back."""
        row = {
            "request_id": request_id,
            "step": step,
            "verb": verb,
            "arguments_json": _plain(arguments),
            "spec_hash": spec_hash,
            "reason": reason,
            "asked_by": asked_by,
            "asked_at_utc_us": to_us(now),
            "expires_at_utc_us": to_us(until),
        }
        same = [second_person.c[name] == row[name] for name in ("verb", "arguments_json")]
        same += [second_person.c[name] == row[name] for name in ("spec_hash", "asked_by")]
        with self._writing() as connection:
            query = select(second_person).where(*same, *_waits(now))
            known = connection.execute(query).first()
            if known is not None:
                return _request(known)
            connection.execute(insert(second_person).values(row))
            mine = second_person.c.request_id == request_id
            return _request(connection.execute(select(second_person).where(mine)).one())

    def waiting(self, now: datetime) -> tuple[SecondPersonRow, ...]:
        """Requests without an answer that have not expired, the oldest first."""
        query = select(second_person).where(*_waits(now)).order_by(second_person.c.asked_at_utc_us)
        with self._reading() as connection:
            return tuple(_request(row) for row in connection.execute(query))

    def answer(
        self, request_id: str, answer: str, answered_by: str, spec_hash: str, now: datetime
    ) -> SecondPersonRow:
        """Keep an answer: the one who asked may withdraw, and only another one may confirm."""
        mine = second_person.c.request_id == request_id
        with self._writing() as connection:
            query = select(second_person).where(mine, *_waits(now)).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                raise InputError(
                    "found no such request that waits; needed one without an answer that has not "
                    "expired; ask for the step again"
                )
            if answer == "confirmed" and row.asked_by == answered_by:
                raise StateError(
                    "found the person who asked for this step; needed a second one to confirm it; "
                    "somebody else signs in and confirms"
                )
            if answer == "withdrawn" and row.asked_by != answered_by:
                raise StateError(
                    "found another person than the one who asked; needed that one to withdraw it; "
                    "decline it instead"
                )
            if answer == "confirmed" and row.spec_hash != spec_hash:
                raise StateError(
                    "the study file has changed since this step was asked for; needed the file "
                    "that both have seen; decline it, and ask for the step again"
                )
            values = {
                "answer": answer,
                "answered_by": answered_by,
                "answered_at_utc_us": to_us(now),
            }
            connection.execute(update(second_person).where(mine).values(values))
            return _request(connection.execute(select(second_person).where(mine)).one())


def _waits(now: datetime) -> tuple[Any, ...]:
    return (second_person.c.answer.is_(None), second_person.c.expires_at_utc_us > to_us(now))


def _request(row: Row[Any]) -> SecondPersonRow:
    at = row.answered_at_utc_us
    return SecondPersonRow(
        request_id=row.request_id,
        step=row.step,
        verb=row.verb,
        arguments=json.loads(row.arguments_json),
        spec_hash=row.spec_hash,
        reason=row.reason,
        asked_by=row.asked_by,
        asked_at=from_us(row.asked_at_utc_us),
        expires_at=from_us(row.expires_at_utc_us),
        answered_by=row.answered_by,
        answered_at=None if at is None else from_us(at),
        answer=row.answer,
    )
