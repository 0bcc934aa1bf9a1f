"""Long steps, each in a process of its own: shown, cancelled, and begun again after a kill.

A verb writes all of it or nothing, also where its process is killed. So a cancelled step is killed,
and one whose server was killed begins again, unless it had been done just before.
"""

import multiprocessing
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from wavewise.errors import StoreError, WavewiseError
from wavewise.shared.log import log
from wavewise.store.team.jobs import JobRow
from wavewise.workflow.study import Study, utc_now
from wavewise.workflow.team.audit import without_personal_data

__all__ = ["LONG_VERBS", "JobWorker", "RunVerb"]

# Verbs that take long where a study is large. Each may run twice: the second time finds the same,
# or that it was done.
LONG_VERBS = frozenset(
    ["wave_open", "wave_close", "analyze", "decide", "evaluate", "report", "design", "rehearse"]
)
_ENDED_FROM_OUTSIDE = "The process of this step was ended from outside; ask for it again."
_LEASE_SECONDS, _BEAT_SECONDS, _LOOK_SECONDS = 30.0, 1.0, 0.5
Progress = tuple[str, int, int]


class RunVerb(Protocol):
    """Opens a study in a new process and calls one of its verbs; gives what the verb says."""

    def __call__(
        self,
        folder: Path,
        store: str,
        verb: str,
        arguments: Mapping[str, Any],
        *,
        ahead: timedelta,
        progress: Callable[[str, int, int], None],
    ) -> str:
        """What the verb says."""
        ...


class JobWorker:
    """Takes long steps of a study, one at a time, until it is stopped."""

    def __init__(self, study: Study, store_url: str, run: RunVerb) -> None:
        self._study, self._url, self._run = study, store_url, run
        self._owner = secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="long steps", daemon=True)

    def __enter__(self) -> "JobWorker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                job = self._study.store.jobs.claim(self._owner, self._study.clock(), _LEASE_SECONDS)
                if job is not None:
                    self._take(job)
                    continue
            except StoreError as error:  # a lock, a server that starts again: it may pass
                log("no long step taken", reason=str(error))
            self._stop.wait(_LOOK_SECONDS)

    def _take(self, job: JobRow) -> None:
        if job.attempts > 1 and (said := done_before(self._study, job)):
            self._end(job, "done", said)
            return
        self._note(job, "begun", "")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        ahead = self._study.clock() - utc_now()
        target = (theirs, self._run, self._study.folder, self._url, job.verb, job.arguments, ahead)
        process = context.Process(target=_in_child, args=target, daemon=True)
        process.start()
        theirs.close()
        try:
            self._follow(job, ours)
        finally:
            ours.close()
            if process.is_alive():
                process.kill()
            process.join()
            process.close()

    def _follow(self, job: JobRow, pipe: Connection) -> None:
        """Keep the lease while the step runs, and write down how it ended."""
        progress: Progress = ("", 0, 0)
        beaten = 0.0
        while True:
            ended, progress = _news(pipe, progress)
            if ended is not None:
                self._end(job, *ended)
                return
            if self._stop.is_set():
                self._study.store.jobs.release(self._owner)
                return
            if time.monotonic() - beaten >= _BEAT_SECONDS:
                beaten = time.monotonic()
                if not self._beat(job, progress):
                    self._end(job, "cancelled", "Cancelled; nothing of it was kept.")
                    return

    def _beat(self, job: JobRow, progress: Progress) -> bool:
        try:
            return self._study.store.jobs.beat(
                job.job_id, self._owner, self._study.clock(), _LEASE_SECONDS, progress
            )
        except StoreError:  # the lease is longer than most locks
            return True

    def _end(self, job: JobRow, state: str, text: str) -> None:
        now = self._study.clock()
        if self._study.store.jobs.finish(job.job_id, self._owner, state, text, now):
            self._note(job, state, text if state == "failed" else "")

    def _note(self, job: JobRow, outcome: str, why: str) -> None:
        plain, reason = without_personal_data(job.arguments)
        self._study.store.audit.add(
            job.asked_by,
            job.verb,
            outcome,
            self._study.clock(),
            arguments={**plain, "job": job.job_id},
            reason=why.partition("\n")[0] or reason,
        )


def _news(pipe: Connection, progress: Progress) -> tuple[tuple[str, str] | None, Progress]:
    """How the step ended, if it has; and how far it came."""
    if not pipe.poll(0.1):
        return None, progress
    try:
        kind, *rest = pipe.recv()
    except EOFError:
        return ("failed", _ENDED_FROM_OUTSIDE), progress
    if kind == "progress":
        return None, (rest[0], rest[1], rest[2])
    return (kind, rest[0]), progress


def done_before(study: Study, job: JobRow) -> str:
    """What to say of a step that was done just before its worker was killed; "" if it was not."""
    if job.verb not in {"wave_open", "wave_close"}:
        return ""  # these find the same again
    row = study.store.waves.get(str(job.arguments.get("wave", "")))
    if row is None or (row.opened_at < job.asked_at and job.verb == "wave_open"):
        return ""
    if job.verb == "wave_open":
        return f"Wave {row.wave_id} was opened."
    return f"Wave {row.wave_id} was closed." if row.state == "closed" else ""


def _in_child(
    pipe: Connection,
    run: RunVerb,
    folder: Path,
    store: str,
    verb: str,
    arguments: Mapping[str, Any],
    ahead: timedelta,
) -> None:
    """The step itself; it ends with the server, whatever way that ends."""
    lock = threading.Lock()

    def tell(*news: object) -> None:
        with lock, suppress(OSError):
            pipe.send(news)

    def end_with_server() -> None:
        with suppress(EOFError, OSError):
            pipe.recv()
        os._exit(1)

    def progress(text: str, n_done: int, n_steps: int) -> None:
        tell("progress", text, n_done, n_steps)

    threading.Thread(target=end_with_server, daemon=True).start()
    try:
        tell("done", run(folder, store, verb, arguments, ahead=ahead, progress=progress))
    except WavewiseError as error:
        tell("failed", str(error))
    except Exception as error:  # noqa: BLE001  (whatever it is, the step has failed)
        log("a long step failed", verb=verb, error=type(error).__name__)
        tell("failed", f"Something failed here ({type(error).__name__}); look at the log.")
