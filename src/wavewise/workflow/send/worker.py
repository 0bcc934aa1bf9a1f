"""``send``: the delivery worker of a study, and the words of a human to the outbox."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.errors import ChannelError, InputError, WavewiseError
from wavewise.fieldwork.channels.base import CallEvent, Channel
from wavewise.fieldwork.channels.settings import (
    CHANNELS_FILE,
    ChannelSettings,
    Secrets,
    open_channel,
    read_channels,
)
from wavewise.fieldwork.contact_details import AddressBook, KeyRing
from wavewise.fieldwork.schedule import after_quiet, expiry
from wavewise.shared.text_tables import text_table
from wavewise.store import from_us, to_us
from wavewise.store.rows import OutboxRow
from wavewise.workflow.contacts.keys import find_key_ring
from wavewise.workflow.contacts.opt_outs import LinkOf, unsubscribe_links
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.calls import call_again, listening, record_call_events
from wavewise.workflow.send.channel_worker import ChannelWorker, SendStats, lease_seconds
from wavewise.workflow.send.outbox_writer import OutboxWriter
from wavewise.workflow.send.queue import messages_of, queue_wave, unqueued
from wavewise.workflow.study import Study

__all__ = ["SendPlan", "address_outbox", "find_send_plan", "run_worker", "send", "sending"]

Until = Literal["nothing is due", "done", "stopped"]
OutboxWord = Literal["pause", "resume", "cancel", "resend"]

QUEUE_AHEAD = timedelta(days=1)
_POLL_SECONDS = 1.0
_PLAN_SECONDS = 60.0
_EXPIRED_AT_ONCE = 5_000
_NEEDS_ADDRESS = ("push", "sms", "email", "voice", "mqtt", "web-push")
LATE = "late: it could not go out in time"


@dataclass(frozen=True)
class SendPlan:
    """How messages of a study go out."""

    settings: Mapping[str, ChannelSettings]  # Channel of the study file: its table.
    secrets: Secrets  # Of the environment.
    book: AddressBook | None  # Where addresses come from.
    # Channel: what gives a unit's unsubscribe link.
    links: Mapping[str, LinkOf] = field(default_factory=dict)
    # Tells whose number calls, and encrypts numbers that people change to.
    ring: KeyRing | None = None


def send(
    study: Study,
    *,
    until_done: bool = False,
    key_file: Path | None = None,
    book: AddressBook | None = None,
) -> "SendRun":
    """Send what is due; with ``until_done``, until every message of all open waves is at an end."""
    plan = find_send_plan(study, key_file, book)
    until: Until = "done" if until_done else "nothing is due"
    stats = _run_to_end(study, plan, until)
    if stats.stopped:
        stopped = "; ".join(f"{name}: {reason}" for name, reason in sorted(stats.stopped.items()))
        raise ChannelError(
            f"{stopped}. Its messages stay queued; correct {CHANNELS_FILE} or the secret, then run "
            "`wavewise send` again"
        )
    return _send_run(study, stats)


async def run_worker(
    study: Study,
    plan: SendPlan,
    until: Until,
    stop: asyncio.Event | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> SendStats:
    """One worker, in this event loop, until its work is done or ``stop`` is set."""
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    owner = f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}-{uuid.uuid4().hex[:12]}"
    lease = max((lease_seconds(one) for one in plan.settings.values()), default=60.0)
    writer = OutboxWriter(study.store, owner, study.clock, lease)
    channels: list[Channel] = []
    stats = SendStats(tell=tell)
    try:
        workers = []
        for name, one in plan.settings.items():
            channel = open_channel(one, plan.secrets)
            channels.append(channel)
            own_book = plan.book if _is_addressed(study, name) else None
            opt_out = partial(_record_opt_out, study, writer)
            events = partial(_record_call, study, writer, plan.ring)
            again = partial(call_again, study)
            worker = ChannelWorker(
                channel, one, study.store, writer, own_book, stats, opt_out, events, again
            )
            worker.link_of = plan.links.get(name)
            workers.append(worker)
        async with listening(study, writer, plan.ring, channels, stats.mark_listener_down):
            await _rounds(study, writer, workers, stop, until)
    finally:
        try:
            await writer.close()
        finally:  # also where the database cannot be written any more
            await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)
    return stats


async def _rounds(
    study: Study,
    writer: OutboxWriter,
    workers: list[ChannelWorker],
    stop: asyncio.Event,
    until: Until,
) -> None:
    """Run the channels side by side: a call of minutes holds up no other one, and no planning."""
    loop = asyncio.get_running_loop()
    planned_at = -_PLAN_SECONDS
    running: dict[str, asyncio.Task[int]] = {}
    try:
        while not stop.is_set():
            if loop.time() - planned_at >= _PLAN_SECONDS:
                planned_at = loop.time()
                await writer.call(_prepare, study)
                for worker in workers:
                    await worker.reconcile()
            able = [worker for worker in workers if not worker.is_stopped]
            for worker in able:
                if worker.name not in running:
                    running[worker.name] = asyncio.create_task(worker.run(stop))
            n_claimed = await _ended(running)
            if n_claimed or running:
                continue
            if until == "nothing is due":
                return
            if until == "done" and await writer.call(_is_done, study, able):
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_SECONDS)
        await asyncio.gather(*running.values())
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def _ended(running: dict[str, "asyncio.Task[int]"]) -> int:
    """Wait a little for workers to end, and take them out; number of messages they had claimed."""
    if running:
        await asyncio.wait(running.values(), timeout=_POLL_SECONDS)
    done = {name: task for name, task in running.items() if task.done()}
    for name in done:
        del running[name]
    return sum(task.result() for task in done.values())


def _prepare(study: Study) -> None:
    """Leases that ended, messages whose time is over, messages that are due soon."""
    now = study.clock()
    study.store.outbox.sweep_leases(now)
    for row in study.store.waves.all():
        wave = study.spec.wave(row.wave_id)
        if row.state == "open" and wave is not None and wave.imported is None:
            queue_wave(study, row.wave_id, now + QUEUE_AHEAD)
    _end_expired(study, now)


def _end_expired(study: Study, now: datetime) -> None:
    """Drop or shift what could not go out in time, as the wave's schedule says."""
    while True:
        rows = study.store.outbox.expired(now, _EXPIRED_AT_ONCE)
        for (wave_id, zone), part in rows.group_by("wave_id", "time_zone"):
            ids = part["outbox_id"].to_list()
            wave = study.spec.wave(str(wave_id))
            schedule = study.spec.schedules.get((wave.schedule if wave else None) or "")
            if schedule is None or schedule.if_late == "skip":
                study.store.outbox.end_expired(ids, now, LATE)
                continue
            place = ZoneInfo(str(zone))
            at = after_quiet(now, place, schedule.quiet_hours)
            ends = expiry(at, place, schedule)
            study.store.outbox.postpone(ids, to_us(at), None if ends is None else to_us(ends))
        if rows.height < _EXPIRED_AT_ONCE:
            return


def _is_done(study: Study, workers: Iterable[ChannelWorker]) -> bool:
    """Whether nothing that this worker can send is left, now or later."""
    names = {worker.name for worker in workers}
    left = study.store.deliveries.counts().filter(
        pl.col("state").is_in(["queued", "leased", "sending"]), pl.col("channel").is_in(names)
    )
    return left.is_empty() and not _later_slots(study)


def _later_slots(study: Study) -> bool:
    far = study.clock() + timedelta(days=4_000)
    waves = [study.spec.wave(row.wave_id) for row in study.store.waves.all() if row.state == "open"]
    return any(
        next(unqueued(study, wave, far), None) is not None
        for wave in waves
        if wave is not None and wave.imported is None
    )


def _record_opt_out(study: Study, writer: OutboxWriter, row: OutboxRow, reason: str) -> None:
    """An opt-out that the provider reported: kept, and everything else to the unit cancelled."""
    now = study.clock()
    opt_out = {
        "opt_out_id": f"provider:{row.message_key}",
        "unit_id": row.unit_id,
        "channel": row.channel,
        "source": f"provider: {reason}",
        "at_utc_us": to_us(now),
    }

    def keep() -> None:
        study.store.opt_outs.add(pl.DataFrame([opt_out]), now)
        study.store.outbox.cancel("refused", now, unit_ids=[row.unit_id], channel=row.channel)

    writer.later(keep)


def _record_call(
    study: Study, writer: OutboxWriter, ring: KeyRing | None, row: OutboxRow, event: CallEvent
) -> None:
    """What a person did during a call, kept in the writer's own thread."""
    call_id = f"{row.message_key}:{row.attempts + 1}"
    writer.later(partial(record_call_events, study, row, call_id, [event], ring))


def _is_addressed(study: Study, channel: str) -> bool:
    return channel in study.spec.units.address


def find_send_plan(
    study: Study,
    key_file: Path | None,
    book: AddressBook | None = None,
    *,
    every_table: bool = False,
) -> SendPlan:
    """Channels that open waves need, and with ``every_table`` all that have a table."""
    in_file = read_channels(study.folder / CHANNELS_FILE, study.spec.flows)
    open_waves = [row.wave_id for row in study.store.waves.all() if row.state == "open"]
    waves = [wave for wave in study.spec.waves if wave.id in open_waves and wave.imported is None]
    messages = [message for wave in waves if wave.schedule for message in messages_of(study, wave)]
    used = {str(message.channel) for message in messages} - {"letter"}
    used |= set(study.store.deliveries.counts()["channel"])
    used |= set(in_file) if every_table else set()
    absent = sorted(used - set(in_file))
    if absent:
        raise InputError(
            f"found no settings of {', '.join(absent)} in {study.folder / CHANNELS_FILE}; needed a "
            f'table [{absent[0]}] with provider = "..."; nothing was sent'
        )
    lacking = sorted(
        name
        for name in used
        if name in _NEEDS_ADDRESS
        and not _is_addressed(study, name)
        and in_file[name].provider != "file"
    )
    if lacking:
        raise InputError(
            f"found no column of addresses for {', '.join(lacking)}; needed "
            f'{lacking[0]} = "COLUMN" in units.address of the study file; nothing was sent'
        )
    settings = {name: _placed(study, in_file[name]) for name in sorted(used)}
    needs_book = any(_is_addressed(study, name) for name in used)
    if book is None and needs_book:
        from wavewise.workflow.contacts.contacts import contact_book

        book = contact_book(study, key_file)
    links = unsubscribe_links(settings, key_file)
    ring = find_key_ring(key_file) if needs_book else None
    return SendPlan(settings, Secrets.read(os.environ), book, links, ring)


def _placed(study: Study, settings: ChannelSettings) -> ChannelSettings:
    """Paths of files are in the study folder."""
    path = settings.options.get("path")
    if settings.provider != "file":
        return settings
    place = study.folder / (path or f"outbox/{settings.channel}.ndjson")
    return replace(settings, options={**settings.options, "path": str(place)})


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)


def address_outbox(study: Study, word: OutboxWord, wave_id: str | None = None) -> "OutboxChange":
    """What somebody asks of the outbox: pause, resume, cancel, resend unknown messages."""
    if wave_id is not None:
        study.wave(wave_id)
    now, outbox = study.clock(), study.store.outbox
    if word == "pause":
        outbox.pause(now, wave_id or "")
        return OutboxChange(word, wave_id)
    if word == "resume":
        return OutboxChange(word, wave_id, was_paused=outbox.resume(wave_id or ""))
    n_messages = (
        outbox.cancel("cancelled on request", now, wave_id=wave_id)
        if word == "cancel"
        else outbox.resend_unknown(now, wave_id=wave_id)
    )
    return OutboxChange(word, wave_id, n_messages)


@dataclass(frozen=True, eq=False)
class OutboxChange(VerbResult):
    """What became of messages that were waiting."""

    word: OutboxWord
    wave: str | None  # None: all waves.
    n_messages: int = 0  # That were cancelled, or queued again.
    was_paused: bool = False

    @property
    def _waves(self) -> str:
        return "all waves" if self.wave is None else f"wave {self.wave}"

    def facts(self) -> dict[str, Any]:
        """What was paused or resumed; numbers of messages."""
        facts: dict[OutboxWord, dict[str, Any]] = {
            "pause": {"paused": self._waves},
            "resume": {"resumed": self.was_paused},
            "cancel": {"n_cancelled": self.n_messages},
            "resend": {"n_queued": self.n_messages},
        }
        return facts[self.word]

    def summary(self) -> str:
        """The same in a sentence."""
        texts: dict[OutboxWord, str] = {
            "pause": f"Paused {self._waves}: no more messages are sent.",
            "resume": f"{self._waves} {'resumed' if self.was_paused else 'was not paused'}.",
            "cancel": f"Cancelled {self.n_messages:,} messages of {self._waves}.",
            "resend": f"Queued {self.n_messages:,} messages of unknown fate of {self._waves} "
            "again; some may arrive twice.",
        }
        return texts[self.word]


@dataclass(frozen=True, eq=False)
class SendRun(VerbResult):
    """What one run of the worker did, and how the outbox stands."""

    this_run: Mapping[str, int]  # State: number of messages.
    outbox: tuple[Mapping[str, Any], ...]  # wave, channel, state, n
    next_due: datetime | None
    listeners_down: Mapping[str, str]  # Channel: why missed calls to it were not noticed.
    paused: tuple[str, ...]  # Ids of waves; an empty one stands for all.

    def facts(self) -> dict[str, Any]:
        """What this run did, the outbox, and when the next message is due."""
        next_due = None if self.next_due is None else self.next_due.isoformat()
        return {"this_run": self.this_run, "outbox": self.outbox, "next_due": next_due}

    def summary(self) -> str:
        """The outbox by wave, channel and state."""
        head = ["wave", "channel", "state", "messages"]
        lines = (
            [text_table(head, [list(row.values()) for row in self.outbox])]
            if self.outbox
            else ["No message is due in the next 24 hours."]
        )
        if self.next_due is not None:
            lines.append(f"The next message is due {self.next_due:%Y-%m-%d %H:%M} UTC.")
        lines += [
            f"Calls to {name} were not noticed: {why}" for name, why in self.listeners_down.items()
        ]
        if self.paused:
            lines.append(f"Paused: {', '.join(name or 'all waves' for name in self.paused)}.")
        return "\n".join(lines)

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.outbox))


def _send_run(study: Study, stats: SendStats) -> SendRun:
    by = study.store.deliveries.counts().group_by("wave_id", "channel", "state")
    rows = by.agg(pl.col("n").sum()).sort("wave_id", "channel", "state").rename({"wave_id": "wave"})
    next_us = study.store.deliveries.next_due_us()
    return SendRun(
        this_run=dict(stats.by_state),
        outbox=tuple(rows.to_dicts()),
        next_due=None if next_us is None else from_us(next_us),
        listeners_down=dict(stats.listeners_down),
        paused=tuple(study.store.outbox.paused_waves()),
    )


def _run_to_end(study: Study, plan: SendPlan, until: Until) -> SendStats:
    """A worker in a loop of its own: in a thread where there is a loop already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_worker(study, plan, until))
    worker = _Worker(study, plan, until)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(_POLL_SECONDS)
    finally:
        worker.end()
    return worker.stats()


# A delivery worker beside something else in the same process, such as the HTTP interface.


@contextmanager
def sending(study: Study, key_file: Path | None = None) -> Iterator[None]:
    """A worker that sends what is due while the block runs, and ends in order with it.

    Call it in the main thread.
    """
    plan = find_send_plan(study, key_file, every_table=True)
    # A server that has ended in order sends itself the signal again, which would kill the worker.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        worker = _Worker(study, plan, "stopped", _tell)
        worker.start()
        try:
            yield
        finally:
            worker.end()
    finally:
        signal.signal(signal.SIGTERM, before)


class _Worker(threading.Thread):
    def __init__(
        self,
        study: Study,
        plan: SendPlan,
        until: Until,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(name="sending", daemon=True)
        self._study, self._plan, self._until, self._tell = study, plan, until, tell
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._stats: SendStats | None = None
        self._error: WavewiseError | None = None

    def run(self) -> None:
        try:
            self._stats = self._loop.run_until_complete(self._send())
        except WavewiseError as error:
            self._error = error
            self._tell(f"sending stopped: {error}")
        finally:
            self._loop.close()

    async def _send(self) -> SendStats:
        return await run_worker(self._study, self._plan, self._until, self._ending, self._tell)

    def stats(self) -> SendStats:
        """What was sent, once the worker has ended."""
        if self._error is not None:
            raise self._error
        if self._stats is None:
            raise RuntimeError("the sending thread ended early; its error is printed above")
        return self._stats

    def end(self) -> None:
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self.join()


def _tell(text: str) -> None:
    print(f"wavewise: {text}", file=sys.stderr, flush=True)
