"""When a worker may send next on a channel: in turns that are reserved for it, never besides."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

__all__ = ["LONGEST_WAIT_SECONDS", "Pace"]

LONGEST_WAIT_SECONDS = 3_600.0
_LATE_SECONDS = 0.1  # a turn may be used so late; what is older is lost
_LOOK_SECONDS = 1.0  # between looks, during a long wait, at whether there is anything to wait for


class Pace:
    """At most so many a second, with all other workers; held where the provider asks for it.

    Parameters
    ----------
    rate_per_second : float
        Of the channel; infinite for no limit.
    reserve : callable
        Reserves a number of turns; gives the seconds from now until the first.
    """

    def __init__(self, rate_per_second: float, reserve: Callable[[int], Awaitable[float]]) -> None:
        self._rate, self._reserve = rate_per_second, reserve
        self._spans: list[tuple[float, int]] = []  # first turn and number, none of them used
        self._held_until = 0.0
        self._last = 0.0

    def take(self, n: int, seconds: float) -> None:
        """Turns that were reserved: their number, and the seconds from now until the first."""
        self._spans = sorted([*self._spans, (_now() + seconds, n)])

    async def turn(self, n_wanted: int, goes_on: Callable[[], bool], stop: asyncio.Event) -> bool:
        """Wait for the next turn; gives whether it may be used.

        Turns that passed while nobody could send are lost. Where none is left, new ones are
        reserved: of those that are wanted, only as many as can be used before they pass too.
        """
        if not await self._wait(self._held_until, goes_on, stop):
            return False
        if math.isinf(self._rate):
            return True
        at = self._next()
        if at is None:
            n = min(n_wanted, max(1, int(self._rate * _LATE_SECONDS)))
            self.take(n, await self._reserve(n))
            at = self._next() or _now()
        return await self._wait(at, goes_on, stop)

    def _next(self) -> float | None:
        """The next turn that did not pass, taken out."""
        step, oldest = 1.0 / self._rate, _now() - _LATE_SECONDS
        while self._spans:
            first, n = self._spans.pop(0)
            n_lost = max(0, math.ceil((oldest - first) / step))
            if n_lost < n:
                at = first + n_lost * step
                if n_lost + 1 < n:
                    self._spans.insert(0, (at + step, n - n_lost - 1))
                return at
        return None

    async def _wait(self, until: float, goes_on: Callable[[], bool], stop: asyncio.Event) -> bool:
        while goes_on():
            left = until - _now()
            if left <= 0:
                return True
            if left < _LATE_SECONDS:
                await asyncio.sleep(left)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), min(left, _LOOK_SECONDS))
        return False

    async def apart(self) -> None:
        """Keep sends apart whose beginnings were written down together, by a slow disk."""
        now = _now()
        self._last = max(now, self._last + 1.0 / self._rate)
        if self._last > now:
            await asyncio.sleep(self._last - now)

    def hold(self, seconds: float) -> None:
        """Nothing more for a while."""
        until = _now() + min(seconds, LONGEST_WAIT_SECONDS)
        self._held_until = max(self._held_until, until)

    @property
    def is_held(self) -> bool:
        """Whether for longer than a moment."""
        return self._held_until > _now() + 1.0


def _now() -> float:
    return asyncio.get_running_loop().time()
