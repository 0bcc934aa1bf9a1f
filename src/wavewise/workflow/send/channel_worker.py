"""The delivery worker: claims, sends, records; at most once, whatever breaks."""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from wavewise.design.messages import Flow
from wavewise.errors import InputError
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
from wavewise.shared.log import log
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
_FEW = 5  # failures in a row that hold a channel; and most in flight before the first success
_PROBES = 3  # that were rejected too: this will not pass by itself
_LOOK_UPS_AT_ONCE = 16
_LOOK_UP_SECONDS = 30.0  # until the second look at an unknown message
_MOST_LOOK_UPS = 14  # three days
_GRACE_SECONDS = 3.0  # for what is in flight when the worker is told to end
_CALLING = "sip"  # a call is not cut off in the middle
_NO_ADDRESS = "no address"
_UNEXPECTED = "the channel failed: {}"

OnRefusal = Callable[[OutboxRow, str], None]
OnHeard = Callable[[OutboxRow, CallEvent], None]
CallAgain = Callable[[OutboxRow], "tuple[int, int | None] | None"]
# Hash of a version of the plan: its call flows.
FlowsByVersion: TypeAlias = Mapping[str, Mapping[str, Flow]]
_Batch: TypeAlias = list[tuple[OutboxRow, str]]


def lease_seconds(settings: ChannelSettings) -> float:
    """How long a claimed or begun message is a worker's: longer than any call can take."""
    return 2 * settings.timeout_seconds + 15.0


@dataclass
class SendStats:
    """What a worker did."""

    # Number of messages by the state that they were brought to; queued for those tried later.
    by_state: dict[str, int] = field(default_factory=dict)
    # Channel: why nobody who rang was heard, at least for a while.
    listeners_down: dict[str, str] = field(default_factory=dict)

    def add(self, state: str) -> None:
        """Count one message."""
        self.by_state[state] = self.by_state.get(state, 0) + 1

    def mark_listener_down(self, channel: str, reason: str) -> None:
        """Record that missed calls are not noticed."""
        if channel not in self.listeners_down:
            self.listeners_down[channel] = reason
            log("listener down", channel=channel, reason=reason)


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
        # Until the provider took something, few messages are in flight: should all fail alike, few
        # have gone astray.
        self._n_narrow = max(0, settings.concurrency - _FEW)
        self._free = asyncio.Semaphore(settings.concurrency - self._n_narrow)
        self._n_kept = self._n_to_keep = 0  # places of failed messages, until something is taken
        self._judge = Judge()
        self._looks = LookUps()
        self._probes: set[int] = set()  # messages that were claimed as probes
        self._is_held = self._halted = False  # whether for all workers; whether here and now
        self._sending: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.name = settings.channel
        self.link_of: LinkOf | None = None  # gives a unit's unsubscribe link
        self.flows: FlowsByVersion = {}

    @property
    def sends_again(self) -> bool:
        """Whether unknown messages are sent again: the provider drops what it has seen."""
        return self._channel.is_idempotent

    @property
    def needs_person(self) -> bool:
        """Whether the channel is held for a reason that does not pass by itself."""
        return self._judge.is_held and self._judge.needs_person

    async def run(self, halt: asyncio.Event, stop: asyncio.Event) -> int:
        """Send what is due now; gives the number of messages that were claimed.

        Nothing more is begun from ``halt`` on; with ``stop`` what is in flight gets a few seconds.
        """
        halted = asyncio.create_task(halt.wait())
        feed = asyncio.create_task(self._feed(halt))
        try:
            await asyncio.wait({halted, feed}, return_when=asyncio.FIRST_COMPLETED)
            if not feed.done():
                feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
            n_claimed = 0 if feed.cancelled() else feed.result()
            await self._drain(stop)
            self._raise_failure()
        finally:
            tasks = {halted, feed, *self._sending}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.flush()
        if self._halted or halt.is_set():
            await self._give_back()
        return n_claimed

    async def _drain(self, stop: asyncio.Event) -> None:
        """Wait for what is in flight."""
        while self._sending and not stop.is_set():
            await asyncio.wait(self._sending, timeout=_LOOK_SECONDS)
        if self._sending and self._settings.provider != _CALLING:
            await asyncio.wait(self._sending, timeout=_GRACE_SECONDS)
        elif self._sending:
            await asyncio.wait(self._sending)

    async def _give_back(self) -> None:
        """After a hold: what was claimed is free, what failed with the channel waits for it."""
        outbox, ids = self._store.outbox, self._judge.taken_along()
        if ids:
            await self._writer.call(outbox.unfail, ids, self._after(self._settings.backoff_seconds))
        await self._writer.call(outbox.release, self._writer.owner, self.name)

    async def _feed(self, stop: asyncio.Event) -> int:
        n_claimed = 0
        ahead: asyncio.Task[_Batch] | None = None

        def goes_on() -> bool:
            return not (stop.is_set() or self._halted or self._pace.is_held or self._failure)

        self._halted = False  # how much may be claimed is the database's word
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
        may = await self._writer.call(
            self._store.outbox.may_claim, self.name, self._settings.backoff_seconds
        )
        self._is_held = may != "all"
        if may == "nothing":
            return []
        claimed = await self._writer.call(
            self._store.outbox.claim,
            self.name,
            self._writer.owner,
            self._writer.clock(),
            self._writer.lease_seconds,
            self._claim_size() if may == "all" else 1,
            self._settings.rate_per_second,
            is_probe=self._is_held,
        )
        if not claimed:
            return []
        if self._is_held:
            self._probes |= {row.outbox_id for row in claimed}
        self._pace.take(len(claimed), claimed[0].wait_seconds)
        try:
            found = await self._found(claimed)
        except InputError as error:  # the key of nobody's address is there
            self._hold(str(error), 0.0, needs_person=True)
            return []
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
        try:
            return await self._writer.call(self._addresses.addresses, self.name, ids)
        except InputError:
            return await self._writer.call(self._readable, ids)

    def _readable(self, ids: list[str]) -> dict[str, str]:
        """Addresses of those units whose detail can be decrypted; an error where none can."""
        found: dict[str, str] = {}
        failure: InputError | None = None
        for unit in ids:
            try:
                found |= self._addresses.addresses(self.name, [unit]) if self._addresses else {}
            except InputError as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return found

    def _start(self, row: OutboxRow, address: str) -> None:
        task = asyncio.create_task(self._send_next(row, address))
        self._sending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if self._n_to_keep:
            self._n_to_keep -= 1
            self._n_kept += 1
        else:
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
            flows = self.flows.get(row.spec_hash or "", {})
            message = replace(message, flow=flows.get(message.content))
            return await asyncio.wait_for(self._channel.send(message), limit)
        except TimeoutError:
            return Unknown("the provider hung")
        except asyncio.CancelledError:
            self._writer.record(Recorded(row.outbox_id, "unknown", "the worker was told to end"))
            raise
        except Exception as error:  # noqa: BLE001
            return Unknown(_UNEXPECTED.format(type(error).__name__))

    def _take(self, row: OutboxRow, result: SendResult) -> None:
        self._weigh(row, result)
        recorded = self._recorded(row, result)
        self._writer.record(recorded)
        self._stats.add(recorded.state)
        if isinstance(result, Refused) and result.is_opt_out:
            self._on_refusal(row, result.reason)

    def _weigh(self, row: OutboxRow, result: SendResult) -> None:
        """What a result says of the channel: several failures in a row hold it, a success frees it.

        What is wrong with a message itself, and a provider that asks to wait, say nothing.
        """
        match result:
            case NotSent(stops_channel=True):
                self._hold(result.reason, 0.0, needs_person=True)
            case Unknown() | NotSent(of_provider=True):
                if not self._judge.is_own_fault(row, result):
                    is_new = self._judge.failed(row, result)
                    most = min(_FEW, self._settings.concurrency) - 1
                    if is_new and self._n_kept + self._n_to_keep < most:
                        self._n_to_keep += 1
                    is_probe = row.outbox_id in self._probes
                    if self._judge.n_failed >= _FEW or is_probe:
                        wait = result.retry_after_seconds or 0.0
                        self._judge.n_probes += is_probe
                        stays = _is_rejected(result) and self._judge.n_probes >= _PROBES
                        self._hold(result.reason, wait, needs_person=stays)
            case Accepted() | Refused() | NotSent(unanswered=True):
                self._works()
            case _:
                return

    def _works(self) -> None:
        if self._judge.is_held or self._is_held:
            self._writer.later(partial(self._store.outbox.unhold, self.name))
            log("channel free", channel=self.name)
        self._judge.works()
        self._is_held = False
        self._probes.clear()
        self._widen(self._n_narrow)
        self._n_narrow = 0

    def _widen(self, n: int) -> None:
        """Let more messages be in flight, and as many as failed before."""
        for _ in range(n + self._n_kept):
            self._free.release()
        self._n_kept = self._n_to_keep = 0

    def _hold(self, reason: str, wait: float, *, needs_person: bool) -> None:
        seconds = max(wait, self._settings.backoff_seconds)
        hold = partial(self._store.outbox.hold, needs_person=needs_person)
        self._writer.later(partial(hold, self.name, reason, seconds))
        if not self._judge.is_held:
            log("channel held", channel=self.name, reason=reason)
        self._judge.hold(needs_person=needs_person)
        self._widen(0)
        self._halted = True

    def _recorded(self, row: OutboxRow, result: SendResult) -> Recorded:
        match result:
            case Accepted(provider_id, state):
                return Recorded(row.outbox_id, state, None, provider_id)
            case Unknown():
                return self._unclear(row, result)
            case NotSent(unanswered=True):
                return self._call_again(row, result.reason)
            case NotSent() if result.retry or result.stops_channel or self._falls_with_it(result):
                return self._not_sent(row, result)
            case NotSent(reason) | Refused(reason):
                return Recorded(row.outbox_id, "failed", reason)

    def _falls_with_it(self, result: NotSent) -> bool:
        """Whether a message failed with its channel, and not for itself."""
        return result.of_provider and self._judge.is_held

    def _unclear(self, row: OutboxRow, result: Unknown) -> Recorded:
        self._wait(result.retry_after_seconds)
        if not self._channel.is_idempotent:
            return Recorded(row.outbox_id, "unknown", result.reason, result.provider_id)
        again = self._later(row, result.reason, result.retry_after_seconds)
        if again.state == "failed":  # it may have been taken each time
            return replace(again, state="unknown")
        return replace(again, is_doubtful=True, is_attempt=not self._judge.is_held)

    def _not_sent(self, row: OutboxRow, result: NotSent) -> Recorded:
        if result.stops_channel:
            return Recorded(row.outbox_id, "queued", result.reason, is_attempt=False)
        if not result.of_provider:
            self._wait(result.retry_after_seconds)
            return self._later(row, result.reason, result.retry_after_seconds)
        # It says nothing of this message; one that was rejected bears a mark of it.
        is_attempt = _is_rejected(result) and row.attempts == 0
        at = self._after(self._settings.backoff_seconds)
        return Recorded(row.outbox_id, "queued", result.reason, None, at, is_attempt=is_attempt)

    def _wait(self, seconds: float | None) -> None:
        """Hold the pace for as long as the provider asks for."""
        if seconds is not None:
            self._pace.hold(seconds)

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
        if n_begun >= MOST_ATTEMPTS and not self._judge.is_held:
            return Recorded(row.outbox_id, "failed", f"{reason} ({n_begun} attempts)")
        back_off = self._settings.backoff_seconds * 2.0 ** min(n_begun - 1, MOST_ATTEMPTS)
        seconds = min(max(back_off, wait or 0.0), LONGEST_WAIT_SECONDS)
        return Recorded(row.outbox_id, "queued", reason, None, self._after(seconds))

    def _after(self, seconds: float) -> int:
        return to_us(self._writer.clock() + timedelta(seconds=seconds))

    async def reconcile(self) -> None:
        """Settle unknown messages where the provider can.

        Either it drops a message whose key it has seen, which is sent again, or it can be asked.
        """
        if self._channel.is_idempotent:
            async for rows in self._unknown():
                ids = [row.outbox_id for row in rows if row.attempts < MOST_ATTEMPTS]
                now = self._writer.clock()
                await self._writer.call(self._store.outbox.resend_unknown, now, ids=ids)
        elif isinstance(self._channel, LooksUp):
            await self._look_up_all()

    async def _unknown(self) -> AsyncIterator[tuple[OutboxRow, ...]]:
        last = 0
        unknown = self._store.outbox.unknown
        while rows := await self._writer.call(unknown, _LOOK_UPS_AT_ONCE, last, self.name):
            last = rows[-1].outbox_id
            yield rows

    async def _look_up_all(self) -> None:
        """Ask for every unknown message whose turn it is, several at a time.

        Of several with the same words to the same address nobody can tell which one it lists.
        """
        rows = [row async for part in self._unknown() for row in part]
        found = await self._found(tuple(rows))
        pairs = {
            row.outbox_id: (found.get(row.unit_id, ""), row.content.get("text")) for row in rows
        }
        several = Counter(pairs[row.outbox_id] for row in rows if row.provider_id is None)
        due = [
            (row, address)
            for row in rows
            if (address := pairs[row.outbox_id][0])
            and (row.provider_id is not None or several[pairs[row.outbox_id]] == 1)
            and self._looks.begin(row.outbox_id, _now())
        ]
        for i in range(0, len(due), _LOOK_UPS_AT_ONCE):
            some = due[i : i + _LOOK_UPS_AT_ONCE]
            results = await asyncio.gather(*(self._looked_up(row, at) for row, at in some))
            settled = []
            for (row, _), result in zip(some, results, strict=True):
                if isinstance(result, Accepted):
                    settled.append(self._recorded(row, result))
                elif isinstance(result, NotSent | Refused):
                    settled.append(Recorded(row.outbox_id, "failed", result.reason))
            await self._writer.call(self._store.outbox.record, None, settled, self._writer.clock())

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


class LookUps:
    """When each unknown message is asked for: ever more seldom, and at last no more."""

    def __init__(self) -> None:
        self._looks: dict[int, tuple[int, float]] = {}  # number so far, and not before

    def begin(self, outbox_id: int, now: float) -> bool:
        """Whether it is a message's turn, which this takes."""
        n, at = self._looks.get(outbox_id, (0, now))
        if n >= _MOST_LOOK_UPS or at > now:
            return False
        self._looks[outbox_id] = (n + 1, now + _LOOK_UP_SECONDS * 2.0**n)
        return True


# Whether failures are the messages' own or their whole channel's.


class Judge:
    """Failures of a channel in a row.

    A message that is rejected after others were taken, and was rejected before, is at fault itself.
    """

    def __init__(self) -> None:
        self.is_held = self.needs_person = self._is_working = False
        self.n_probes = 0  # that failed
        self._in_a_row: set[int] = set()  # messages; one that fails again and again is only one
        self._ids: list[int] = []  # of messages that were recorded as failed

    @property
    def n_failed(self) -> int:
        """Number of messages that failed since one was taken."""
        return len(self._in_a_row)

    def is_own_fault(self, row: OutboxRow, result: Unknown | NotSent) -> bool:
        """Whether a message fails for itself, and its failure says nothing of the channel."""
        return self._is_working and row.attempts > 0 and _is_rejected(result)

    def failed(self, row: OutboxRow, result: Unknown | NotSent) -> bool:
        """Count a failure; gives whether its message had not failed since one was taken."""
        is_new = row.outbox_id not in self._in_a_row
        self._in_a_row.add(row.outbox_id)
        if _is_rejected(result) and not self.is_held:
            self._ids.append(row.outbox_id)
        return is_new

    def works(self) -> None:
        """The provider took a message, or said why it does not take this one."""
        self.is_held, self._is_working, self._ids = False, True, []
        self._in_a_row.clear()
        self.n_probes = 0

    def hold(self, *, needs_person: bool) -> None:
        """The channel is held."""
        self.is_held, self._is_working, self.needs_person = True, False, needs_person

    def taken_along(self) -> list[int]:
        """Messages that failed only with the channel; each is given once."""
        ids, self._ids = self._ids, []
        return ids


def _is_rejected(result: Unknown | NotSent) -> bool:
    """Whether nothing was taken, for a reason that does not pass by itself."""
    return isinstance(result, NotSent) and not result.retry


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
