"""The delivery worker: claims, sends, records; at most once, whatever breaks."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from wavewise.fieldwork.channels.base import (
    Accepted,
    CallEvent,
    Channel,
    LooksUp,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.settings import ChannelSettings
from wavewise.fieldwork.contact_details import AddressBook
from wavewise.store import from_us, to_us
from wavewise.store.rows import OutboxRow, Recorded
from wavewise.workflow.contacts.opt_outs import UNSUBSCRIBE_URL, LinkOf
from wavewise.workflow.send.outbox_writer import OutboxWriter

if TYPE_CHECKING:
    from wavewise.store import Store

__all__ = ["ChannelWorker", "RateLimiter", "SendStats", "lease_seconds"]

MOST_ATTEMPTS = 8
_CLAIM_SECONDS = 0.5  # of sending at full rate, in one claim
_MOST_CLAIMED = 1_000
_AGAIN_SECONDS = 1.0  # until the next claim, while the last messages are on their way
_NO_ADDRESS = "no address"
_UNEXPECTED = "the channel failed: {}"

OnRefusal = Callable[[OutboxRow, str], None]
OnHeard = Callable[[OutboxRow, CallEvent], None]
CallAgain = Callable[[OutboxRow], "tuple[int, int | None] | None"]
_Batch: TypeAlias = list[tuple[OutboxRow, str]]


def lease_seconds(settings: ChannelSettings) -> float:
    """How long a claimed or begun message is a worker's: longer than any call can take."""
    return 2 * settings.timeout_seconds + 15.0


@dataclass
class SendStats:
    """What a worker did."""

    # Number of messages by the state that they were brought to; queued for those tried later.
    by_state: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)  # Channel: why it was stopped.
    # Channel: why nobody who rang was heard, at least for a while.
    listeners_down: dict[str, str] = field(default_factory=dict)
    # Told of either when it happens: beside a server nobody waits for the end.
    tell: Callable[[str], object] = lambda _: None

    def add(self, state: str) -> None:
        """Count one message."""
        self.by_state[state] = self.by_state.get(state, 0) + 1

    def stop(self, channel: str, reason: str) -> None:
        """Keep that a channel sends no more."""
        if channel not in self.stopped:
            self.stopped[channel] = reason
            self.tell(f"channel {channel} stopped: {reason}")

    def mark_listener_down(self, channel: str, reason: str) -> None:
        """Record that missed calls are not noticed."""
        if channel not in self.listeners_down:
            self.listeners_down[channel] = reason
            self.tell(f"missed calls on channel {channel} are not noticed: {reason}")


class ChannelWorker:
    """One channel of one worker."""

    def __init__(
        self,
        channel: Channel,
        settings: ChannelSettings,
        store: "Store",
        writer: OutboxWriter,
        addresses: AddressBook | None,
        stats: SendStats,
        on_refusal: OnRefusal,
        on_heard: OnHeard,
        call_again: CallAgain,
    ) -> None:
        self._channel, self._settings, self._store = channel, settings, store
        self._writer, self._addresses, self._stats = writer, addresses, stats
        self._on_refusal, self._on_heard = on_refusal, on_heard
        self._when_again = call_again
        self._pace = RateLimiter(settings.rate_per_second, self._reserve)
        self._free = asyncio.Semaphore(settings.concurrency)
        self._sending: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.name = settings.channel
        self.link_of: LinkOf | None = None  # gives a unit's unsubscribe link

    @property
    def is_stopped(self) -> bool:
        """Whether the provider refuses everything."""
        return self.name in self._stats.stopped

    async def run(self, stop: asyncio.Event) -> int:
        """Send what is due now; gives the number of messages that were claimed."""
        try:
            n_claimed = await self._feed(stop)
            await asyncio.gather(*self._sending)
            self._raise_failure()
        finally:
            sending = set(self._sending)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        await self._writer.flush()
        return n_claimed

    async def _feed(self, stop: asyncio.Event) -> int:
        n_claimed = 0
        ahead: asyncio.Task[_Batch] | None = None

        def goes_on() -> bool:
            return not (stop.is_set() or self.is_stopped or self._pace.is_held or self._failure)

        try:
            while goes_on():
                rows = await (ahead or self._claim())
                ahead = None
                n_claimed += len(rows)
                if not rows:
                    if not self._sending:
                        break
                    # A call lasts minutes: what is due meanwhile does not wait for its end.
                    await asyncio.wait(self._sending, timeout=_AGAIN_SECONDS)
                    continue
                for i, (row, address) in enumerate(rows):
                    if i and i == len(rows) // 2:
                        ahead = asyncio.create_task(self._claim())
                    await self._free.acquire()
                    if not await self._pace.turn(len(rows) - i, goes_on, stop):
                        self._free.release()
                        break  # what is left stays leased, and is given back at the end
                    self._start(row, address)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        return n_claimed

    async def _claim(self) -> _Batch:
        """The next messages with their addresses; their turns are in the pace."""
        claimed = await self._writer.call(
            self._store.outbox.claim,
            self.name,
            self._writer.owner,
            self._writer.clock(),
            self._writer.lease_seconds,
            self._claim_size(),
            self._settings.rate_per_second,
        )
        if not claimed:
            return []
        self._pace.take(len(claimed), claimed[0].wait_seconds)
        found = await self._found(claimed)
        return [(row, found.get(row.unit_id, "")) for row in claimed]

    def _claim_size(self) -> int:
        size = min(_MOST_CLAIMED, self._settings.rate_per_second * _CLAIM_SECONDS)
        return max(1, int(size))

    async def _reserve(self, n: int) -> float:
        rate = self._settings.rate_per_second
        return await self._writer.call(self._store.outbox.reserve_sends, self.name, n, rate)

    async def _found(self, rows: tuple[OutboxRow, ...]) -> Mapping[str, str]:
        ids = [row.unit_id for row in rows]
        if self._addresses is None:
            return {unit: unit for unit in ids}
        return await self._writer.call(self._addresses.addresses, self.name, ids)

    def _start(self, row: OutboxRow, address: str) -> None:
        task = asyncio.create_task(self._send_next(row, address))
        self._sending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        self._free.release()
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _send_next(self, row: OutboxRow, address: str) -> None:
        if not await self._writer.begin(row.outbox_id):
            return
        await self._pace.apart()
        result = await self._send(row, address) if address else NotSent(_NO_ADDRESS)
        self._take(row, result)

    async def _send(self, row: OutboxRow, address: str) -> SendResult:
        """Send once; a fault of the adapter is a message of which nothing is known."""
        limit = self._settings.timeout_seconds * 1.5 + 5.0
        try:
            message = outgoing(row, address, self.link_of, partial(self._on_heard, row))
            return await asyncio.wait_for(self._channel.send(message), limit)
        except TimeoutError:
            return Unknown("the provider hung")
        except Exception as error:  # noqa: BLE001
            return Unknown(_UNEXPECTED.format(type(error).__name__))

    def _take(self, row: OutboxRow, result: SendResult) -> None:
        recorded = self._recorded(row, result)
        self._writer.record(recorded)
        self._stats.add(recorded.state)
        if isinstance(result, Refused) and result.is_opt_out:
            self._on_refusal(row, result.reason)

    def _recorded(self, row: OutboxRow, result: SendResult) -> Recorded:
        match result:
            case Accepted(provider_id, state):
                return Recorded(row.outbox_id, state, None, provider_id)
            case Unknown(reason, provider_id):
                if self._channel.is_idempotent:
                    return self._later(row, reason, None)
                return Recorded(row.outbox_id, "unknown", reason, provider_id)
            case NotSent(unanswered=True):
                return self._call_again(row, result.reason)
            case NotSent() if result.retry or result.stops_channel:
                return self._not_sent(row, result)
            case NotSent(reason) | Refused(reason):
                return Recorded(row.outbox_id, "failed", reason)

    def _not_sent(self, row: OutboxRow, result: NotSent) -> Recorded:
        if result.stops_channel:
            self._stats.stop(self.name, result.reason)
            return Recorded(row.outbox_id, "queued", result.reason, is_attempt=False)
        if result.retry_after_seconds is not None:
            self._pace.hold(result.retry_after_seconds)
        return self._later(row, result.reason, result.retry_after_seconds)

    def _call_again(self, row: OutboxRow, reason: str) -> Recorded:
        """A call that nobody took: as often, and as far apart, as the schedule says."""
        n_begun = row.attempts + 1
        again = self._when_again(replace(row, attempts=n_begun))
        if again is None:
            return Recorded(row.outbox_id, "failed", f"{reason} ({n_begun} calls)")
        at, until = again
        return Recorded(row.outbox_id, "queued", reason, None, at, until)

    def _later(self, row: OutboxRow, reason: str, wait: float | None) -> Recorded:
        n_begun = row.attempts + 1
        if n_begun >= MOST_ATTEMPTS:
            return Recorded(row.outbox_id, "failed", f"{reason} ({n_begun} attempts)")
        back_off = self._settings.backoff_seconds * 2.0 ** (n_begun - 1)
        seconds = min(max(back_off, wait or 0.0), LONGEST_WAIT_SECONDS)
        at = to_us(self._writer.clock() + timedelta(seconds=seconds))
        return Recorded(row.outbox_id, "queued", reason, None, at)

    async def reconcile(self) -> int:
        """Settle unknown messages where the provider can; gives their number.

        Either it can be asked, or it drops a message whose key it has seen, which is sent again.
        """
        if not (self._channel.is_idempotent or isinstance(self._channel, LooksUp)):
            return 0
        n_settled, last = 0, 0
        while rows := await self._writer.call(self._store.outbox.unknown, 200, last):
            last = rows[-1].outbox_id
            of_channel = [row for row in rows if row.channel == self.name]
            n_settled += await self._settle(of_channel)
        return n_settled

    async def _settle(self, rows: list[OutboxRow]) -> int:
        now = self._writer.clock()
        if self._channel.is_idempotent:
            ids = [row.outbox_id for row in rows]
            return (
                await self._writer.call(self._store.outbox.resend_unknown, now, ids=ids)
                if ids
                else 0
            )
        found = await self._found(tuple(rows))
        settled = []
        for row in rows:
            match await self._looked_up(row, found.get(row.unit_id, "")):
                case Accepted() as result:
                    settled.append(self._recorded(row, result))
                case NotSent(reason) | Refused(reason):
                    settled.append(Recorded(row.outbox_id, "failed", reason))
        await self._writer.call(self._store.outbox.record, None, settled, now)
        return len(settled)

    async def _looked_up(self, row: OutboxRow, address: str) -> SendResult | None:
        if not isinstance(self._channel, LooksUp) or not address:
            return None
        since: datetime = from_us(row.due_at_utc_us)
        with contextlib.suppress(TimeoutError):
            limit = self._settings.timeout_seconds * 1.5 + 5.0
            call = self._channel.look_up(outgoing(row, address), row.provider_id, since)
            return await asyncio.wait_for(call, limit)
        return None


def outgoing(
    row: OutboxRow,
    address: str,
    link_of: LinkOf | None = None,
    on_event: Callable[[CallEvent], None] = lambda _: None,
) -> Outgoing:
    """What a channel gets for a row of the outbox."""
    content = row.content
    fields = {name: str(value) for name, value in (content.get("fields") or {}).items()}
    if link_of is not None:
        fields[UNSUBSCRIBE_URL] = link_of(row.unit_id)
    return Outgoing(
        key=row.message_key,
        address=address,
        text=content.get("text", ""),
        title=content.get("title", ""),
        message_id=row.message_id,
        language=content.get("language") or "",
        fields={**fields, "set": str(row.slot + 1)},
        content=content.get("flow") or "",
        attempt=row.attempts + 1,
        on_event=on_event,
    )


# When a worker may send next on a channel: in turns that are reserved for it, never besides.

LONGEST_WAIT_SECONDS = 3_600.0
_LATE_SECONDS = 0.1  # a turn may be used so late; what is older is lost
_LOOK_SECONDS = 1.0  # between looks, during a long wait, at whether there is anything to wait for


class RateLimiter:
    """At most so many a second, with all other workers; held where the provider asks for it."""

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
