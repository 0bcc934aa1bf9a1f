"""Long steps as rows: queued, taken under a lease, and taken again where a worker was killed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Row, insert, or_, select, text, update

from wavewise.errors import InputError
from wavewise.store.engine import Part
from wavewise.store.rows import from_us, to_us
from wavewise.store.schema import job

__all__ = ["MOST_ATTEMPTS", "JobRow", "Jobs"]

MOST_ATTEMPTS = 3
# Any fixed number does: it names the lock of whoever looks for a job.
_LOCK_KEY = 7_288_176
_FAR_LEASE = timedelta(hours=1)  # longer than any lease: the clock was set back since
_ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobRow:
    """A long step, and how far it came."""

    job_id: int
    verb: str
    arguments: Mapping[str, Any]
    state: str
    asked_by: str
    asked_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    attempts: int
    cancel_asked: bool
    progress_text: str
    n_done: int
    n_steps: int  # 0: not known
    result_text: str  # What the verb said, or why it failed.

    @property
    def is_open(self) -> bool:
        """Whether it is queued or running."""
        return self.state not in _ENDED


class Jobs(Part):
    """Long steps of the study, one at a time."""

    def add(self, verb: str, arguments: Mapping[str, Any], asked_by: str, now: datetime) -> JobRow:
        """Queue a step; the same one that has not ended yet is given back instead."""
        kept = json.dumps(arguments, sort_keys=True)
        key = f"{verb} {kept}"
        row = {
            "verb": verb,
            "arguments_json": kept,
            "open_key": key,
            "state": "queued",
            "asked_by": asked_by,
            "asked_at_utc_us": to_us(now),
            "attempts": 0,
            "cancel_asked": False,
            "progress_text": "",
            "n_done": 0,
            "n_steps": 0,
            "result_text": "",
        }
        with self._writing() as connection:
            _alone(connection)
            known = connection.execute(select(job).where(job.c.open_key == key)).one_or_none()
            if known is not None:
                return _job(known)
            done = connection.execute(insert(job).values(row))
            job_id = int(cast("Row[Any]", done.inserted_primary_key)[0])
            return _job(connection.execute(select(job).where(job.c.job_id == job_id)).one())

    def claim(self, owner: str, now: datetime, lease_seconds: float) -> JobRow | None:
        """The next step, leased to one worker; None while another one runs, or none waits.

        One whose lease ended was killed with its worker: it begins again, three times at most.
        """
        at = to_us(now)
        until, far = job.c.lease_until_utc_us, at + _us(_FAR_LEASE.total_seconds())
        over = or_(until < at, until > far)
        with self._writing() as connection:
            _alone(connection)
            lost = update(job).where(job.c.state == "running", over)
            ended = {"open_key": None, "lease_owner": None, "ended_at_utc_us": at}
            given_up = {
                "state": "failed",
                "result_text": f"its worker ended {MOST_ATTEMPTS} times before it was done; look "
                "at the server's log, then ask for the step again",
            }
            connection.execute(lost.where(job.c.cancel_asked).values(state="cancelled", **ended))
            tried = job.c.attempts >= MOST_ATTEMPTS
            connection.execute(lost.where(tried).values(**given_up, **ended))
            connection.execute(lost.values(state="queued", lease_owner=None))
            running = select(job.c.job_id).where(job.c.state == "running").limit(1)
            if connection.scalar(running) is not None:
                return None
            query = select(job).where(job.c.state == "queued").order_by(job.c.job_id).limit(1)
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            mine = job.c.job_id == row.job_id
            taken = {
                "state": "running",
                "attempts": row.attempts + 1,
                "begun_at_utc_us": at,
                "lease_owner": owner,
                "lease_until_utc_us": at + _us(lease_seconds),
            }
            connection.execute(update(job).where(mine).values(taken))
            return _job(connection.execute(select(job).where(mine)).one())

    def beat(
        self,
        job_id: int,
        owner: str,
        now: datetime,
        lease_seconds: float,
        progress: tuple[str, int, int],
    ) -> bool:
        """Keep the lease and say how far it came; False where it is to stop: cancelled or lost."""
        progress_text, n_done, n_steps = progress
        values = {
            "lease_until_utc_us": to_us(now) + _us(lease_seconds),
            "progress_text": progress_text,
            "n_done": n_done,
            "n_steps": n_steps,
        }
        mine = _held_by(job_id, owner)
        with self._writing() as connection:
            if not connection.execute(update(job).where(*mine).values(values)).rowcount:
                return False
            return not connection.scalar(select(job.c.cancel_asked).where(*mine))

    def finish(self, job_id: int, owner: str, state: str, text: str, now: datetime) -> bool:
        """Keep how it ended; False where it is another worker's by now."""
        values = {
            "state": state,
            "result_text": text,
            "open_key": None,
            "lease_owner": None,
            "lease_until_utc_us": None,
            "ended_at_utc_us": to_us(now),
        }
        with self._writing() as connection:
            ended = update(job).where(*_held_by(job_id, owner)).values(values)
            return bool(connection.execute(ended).rowcount)

    def release(self, owner: str) -> None:
        """Give back what a worker runs that is told to stop: the next one begins it again."""
        free = {"state": "queued", "lease_owner": None, "attempts": job.c.attempts - 1}
        with self._writing() as connection:
            mine = update(job).where(job.c.lease_owner == owner, job.c.state == "running")
            connection.execute(mine.values(free))

    def cancel(self, job_id: int, now: datetime) -> JobRow:
        """Cancel a step: at once where it waits, at its next beat where it runs."""
        mine = job.c.job_id == job_id
        gone = {"state": "cancelled", "open_key": None, "ended_at_utc_us": to_us(now)}
        with self._writing() as connection:
            waits = update(job).where(mine, job.c.state == "queued")
            connection.execute(waits.values(gone))
            runs = update(job).where(mine, job.c.state == "running")
            connection.execute(runs.values(cancel_asked=True))
            row = connection.execute(select(job).where(mine)).one_or_none()
            if row is None:
                raise InputError("found no such step; needed one of the list; look at it again")
            return _job(row)

    def get(self, job_id: int) -> JobRow | None:
        """One step; None where there is none of this number."""
        with self._reading() as connection:
            row = connection.execute(select(job).where(job.c.job_id == job_id)).one_or_none()
        return None if row is None else _job(row)

    def all(self, limit: int = 50) -> tuple[JobRow, ...]:
        """The last steps, the latest first."""
        query = select(job).order_by(job.c.job_id.desc()).limit(limit)
        with self._reading() as connection:
            return tuple(_job(row) for row in connection.execute(query))


def _alone(connection: Connection) -> None:
    # SQLite's writer holds the whole file already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def _held_by(job_id: int, owner: str) -> tuple[Any, ...]:
    return (job.c.job_id == job_id, job.c.lease_owner == owner, job.c.state == "running")


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _job(row: Row[Any]) -> JobRow:
    begun, ended = row.begun_at_utc_us, row.ended_at_utc_us
    return JobRow(
        job_id=row.job_id,
        verb=row.verb,
        arguments=json.loads(row.arguments_json),
        state=row.state,
        asked_by=row.asked_by,
        asked_at=from_us(row.asked_at_utc_us),
        begun_at=None if begun is None else from_us(begun),
        ended_at=None if ended is None else from_us(ended),
        attempts=row.attempts,
        cancel_asked=row.cancel_asked,
        progress_text=row.progress_text,
        n_done=row.n_done,
        n_steps=row.n_steps,
        result_text=row.result_text,
    )
