"""An event loop with a clock of its own: waiting takes no time, a slow machine changes nothing."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _NothingHappens(selectors.SelectSelector):
    """Instead of waiting, the clock goes on by as much."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.seconds += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that waits for nothing but its own timers."""

    def __init__(self) -> None:
        self._idle = _NothingHappens()
        super().__init__(self._idle)

    def time(self) -> float:
        return 1_000.0 + self._idle.seconds

    def pass_seconds(self, seconds: float) -> None:
        """Time in which the loop does not run, as when the machine is busy."""
        self._idle.seconds += seconds


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run in such a loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)
