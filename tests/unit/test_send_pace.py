"""Turns of one worker: in order, late ones lost, none beside those that were reserved.

The clock is the loop's own, so that a busy machine loses no turn.
"""

import asyncio
import math

import pytest

import virtual_time
from wavewise.workflow.send.channel_worker import RateLimiter

RATE = 100.0


class Turns:
    """Hands out turns as the database does, for one worker."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def reserve(self, n: int) -> float:
        self.asked.append(n)
        return 0.0


async def used(pace: RateLimiter, n: int) -> list[float]:
    stop, at = asyncio.Event(), []
    for i in range(n):
        assert await pace.turn(n - i, lambda: True, stop)
        at.append(asyncio.get_running_loop().time())
    return at


def test_turns_are_used_in_order_and_at_their_times() -> None:
    async def run() -> None:
        turns = Turns()
        pace = RateLimiter(RATE, turns.reserve)
        now = asyncio.get_running_loop().time()
        pace.take(5, 0.3)
        pace.take(5, 0.1)
        at = await used(pace, 10)
        starts = [*(0.1 + i / RATE for i in range(5)), *(0.3 + i / RATE for i in range(5))]
        assert all(t - now >= start - 0.001 for t, start in zip(at, starts, strict=True))
        assert turns.asked == []

    virtual_time.run(run())


def test_turns_that_passed_are_lost_and_new_ones_reserved() -> None:
    async def run() -> None:
        turns = Turns()
        pace = RateLimiter(RATE, turns.reserve)
        pace.take(30, 0.0)
        asyncio.get_running_loop().pass_seconds(0.2)
        # of 30 turns about 20 passed; 10 of those are late by less than a tenth of a second
        at = await used(pace, 25)
        assert turns.asked[0] <= 10
        assert 1 <= len(turns.asked) <= 3
        assert at[-1] - at[0] < 1.0

    virtual_time.run(run())


@pytest.mark.parametrize("how", ["stop", "no more"])
def test_a_long_wait_ends_when_told(how: str) -> None:
    async def run() -> None:
        pace, stop, goes_on = RateLimiter(0.001, Turns().reserve), asyncio.Event(), [True]
        pace.take(1, 900.0)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, stop.set if how == "stop" else goes_on.clear)
        began = loop.time()
        may = await pace.turn(1, lambda: bool(goes_on) and not stop.is_set(), stop)
        assert not may
        assert loop.time() - began < 3.0

    virtual_time.run(run())


def test_sends_that_were_begun_together_go_out_one_by_one() -> None:
    async def run() -> None:
        pace, at = RateLimiter(RATE, Turns().reserve), []

        async def one() -> None:
            await pace.apart()
            at.append(asyncio.get_running_loop().time())

        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(one() for _ in range(21)))
        assert all(t - began >= i / RATE - 0.001 for i, t in enumerate(at))

    virtual_time.run(run())


def test_no_limit_reserves_nothing_but_can_be_held() -> None:
    async def run() -> None:
        turns = Turns()
        pace = RateLimiter(math.inf, turns.reserve)
        at = await used(pace, 1_000)
        assert at[-1] - at[0] < 0.5
        pace.hold(0.2)
        assert not pace.is_held
        assert (await used(pace, 1))[0] - at[-1] >= 0.2
        pace.hold(5.0)
        assert pace.is_held
        assert turns.asked == []

    virtual_time.run(run())
