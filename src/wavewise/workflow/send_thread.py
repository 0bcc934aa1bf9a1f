"""A delivery worker beside something else in the same process, such as the HTTP interface."""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavewise.errors import WavewiseError
from wavewise.workflow.send import Ways, find_ways, run_worker
from wavewise.workflow.study import Study

__all__ = ["sending"]


@contextmanager
def sending(study: Study, key_file: Path | None = None) -> Iterator[None]:
    """A worker that sends what is due while the block runs, and ends in order with it.

    Call it in the main thread.

    Raises
    ------
    InputError
        A channel has no settings, or a secret is missing: before the block begins.
    """
    ways = find_ways(study, key_file, every_table=True)
    worker = _Worker(study, ways)
    # A server that has ended in order sends itself the signal again, which would kill the worker.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker.start()
    try:
        yield
    finally:
        worker.end()
        signal.signal(signal.SIGTERM, before)


class _Worker(threading.Thread):
    def __init__(self, study: Study, ways: Ways) -> None:
        super().__init__(name="sending", daemon=True)
        self._study, self._ways = study, ways
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._send())
        except WavewiseError as error:
            print(f"wavewise: sending stopped: {error}", file=sys.stderr, flush=True)
        finally:
            self._loop.close()

    async def _send(self) -> None:
        await run_worker(self._study, self._ways, "stopped", self._ending, _tell)

    def end(self) -> None:
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self.join()


def _tell(text: str) -> None:
    print(f"wavewise: {text}", file=sys.stderr, flush=True)
