"""One writer for a worker's many messages: what begins and what ended, written together.

A message may go out only after its intent is on disk. One transaction a message would wait for the
disk a thousand times a second; here each transaction carries all that came in while the one before
it was written.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wavewise.errors import StoreError
from wavewise.shared.log import log

if TYPE_CHECKING:
    from wavewise.store import Store
    from wavewise.store.rows import Recorded

__all__ = ["OutboxWriter"]

P = ParamSpec("P")
T = TypeVar("T")
# How long a database may be locked or full before a worker that sends once gives up; one that stays
# waits for as long as it takes. What was begun and could not be recorded is unknown then, and says
# so once its lease ends.
PATIENCE_SECONDS = 60.0
_LAST_SECONDS = 3.0  # of patience, once the worker is told to end
_FIRST_WAIT_SECONDS = 0.1


class OutboxWriter:
    """The store in a thread of its own, and group commits."""

    def __init__(
        self,
        store: "Store",
        owner: str,
        clock: Callable[[], datetime],
        lease_seconds: float,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._store, self.owner, self.clock = store, owner, clock
        self.lease_seconds, self.patience_seconds = lease_seconds, patience_seconds
        self._ends_at, self._is_down = math.inf, False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._begin: list[tuple[int, asyncio.Future[bool]]] = []
        self._results: list[Recorded] = []
        self._others: set[asyncio.Task[object]] = set()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failure: BaseException | None = None
        self._loop_task = asyncio.create_task(self._write())

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call of the store, tried again for a while where it cannot be used."""
        loop = asyncio.get_running_loop()
        wait, ends = _FIRST_WAIT_SECONDS, loop.time() + self.patience_seconds
        while True:
            try:
                done = await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))
            except StoreError as error:
                if not error.may_pass or loop.time() >= min(ends, self._ends_at):
                    raise
                self._mark_down(str(error))
            else:
                self._mark_down(None)
                return done
            await asyncio.sleep(wait)
            wait = min(2 * wait, 5.0)

    def _mark_down(self, reason: str | None) -> None:
        """Tell once that the database cannot be used, and once that it can again."""
        if self._is_down != (reason is not None):
            self._is_down = reason is not None
            log("database down" if self._is_down else "database back", reason=reason)

    def end_soon(self) -> None:
        """From here on a database that cannot be used is waited for a few seconds only."""
        self._ends_at = asyncio.get_running_loop().time() + _LAST_SECONDS

    async def begin(self, outbox_id: int) -> bool:
        """Whether a claimed message may be sent now; its intent is on disk then."""
        self._raise_failure()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._begin.append((outbox_id, future))
        self._wake()
        return await future

    def record(self, result: "Recorded") -> None:
        """Write down what became of a message, soon."""
        self._results.append(result)
        self._wake()

    def later(self, function: Callable[[], object]) -> None:
        """Another write of the store, soon; :meth:`flush` waits for it too."""
        task = asyncio.create_task(self.call(function))
        self._others.add(task)

    async def flush(self) -> None:
        """Wait until everything is written."""
        await self._idle.wait()
        self._raise_failure()
        others, self._others = self._others, set()
        await asyncio.gather(*others)

    async def close(self) -> None:
        """Give back what was claimed and not begun, and end the thread."""
        self._loop_task.cancel()
        await asyncio.gather(self._loop_task, return_exceptions=True)
        try:
            if self._failure is None:
                await self.call(self._store.outbox.release, self.owner)
        finally:
            self._thread.shutdown(wait=True)

    def _wake(self) -> None:
        self._idle.clear()
        self._work.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _write(self) -> None:
        while self._failure is None:
            await self._work.wait()
            self._work.clear()
            begin, self._begin = self._begin, []
            results, self._results = self._results, []
            if begin or results:
                await self._write_round(begin, results)
            if not (self._begin or self._results):
                self._idle.set()

    async def _write_round(
        self, begin: list[tuple[int, asyncio.Future[bool]]], results: "Sequence[Recorded]"
    ) -> None:
        ids = [outbox_id for outbox_id, _ in begin]
        try:
            may = await self.call(
                self._store.outbox.begin_and_record,
                self.owner,
                ids,
                results,
                self.clock(),
                self.lease_seconds,
            )
        except Exception as error:  # noqa: BLE001  (handed to everybody who waits)
            self._failure = error
            for _, future in [*begin, *self._begin]:
                if not future.done():
                    future.set_exception(error)
            self._idle.set()
            return
        for outbox_id, future in begin:
            if not future.done():
                future.set_result(outbox_id in may)
