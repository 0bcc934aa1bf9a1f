"""``send``: the delivery worker of a study, and the words of a human to the outbox."""

import asyncio
import contextlib
import math
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.messages import Schedule
from wavewise.errors import ChannelError, InputError, RegistrationError, WavewiseError
from wavewise.fieldwork.channels.base import CallEvent, Channel
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, open_channel
from wavewise.fieldwork.contact_details import AddressBook, KeyRing
from wavewise.fieldwork.schedule import after_quiet, expiry
from wavewise.shared.log import log
from wavewise.shared.text_tables import text_table
from wavewise.store import from_us, to_us
from wavewise.store.rows import OutboxRow
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.backup import (
    GoneOut,
    note_sending,
    require_not_held,
    resume_restored,
)
from wavewise.workflow.send.calls import call_again, listening, record_call_events
from wavewise.workflow.send.channel_worker import ChannelWorker, SendStats, lease_seconds
from wavewise.workflow.send.health import Pulse, WorkerClock
from wavewise.workflow.send.outbox_writer import OutboxWriter
from wavewise.workflow.send.plan import FollowedPlan, SendPlan, find_send_plan, is_addressed
from wavewise.workflow.send.queue import open_senders, queue_wave, unqueued
from wavewise.workflow.send.wording import REWORDED, queued_in_old_words
from wavewise.workflow.study import Study

__all__ = [
    "SendPlan",
    "SendingThread",
    "address_outbox",
    "find_send_plan",
    "require_registered_plan",
    "run_worker",
    "send",
    "sending",
]

Until = Literal["nothing is due", "done", "stopped"]
OutboxWord = Literal["pause", "resume", "cancel", "resend", "retry", "reword"]

QUEUE_AHEAD = timedelta(days=1)
_POLL_SECONDS = 1.0
_PLAN_SECONDS = 60.0
_EXPIRED_AT_ONCE = 5_000
LATE = "late: it could not go out in time"


def send(
    study: Study,
    *,
    until_done: bool = False,
    key_file: Path | None = None,
    book: AddressBook | None = None,
) -> "SendRun":
    """Send what is due; with ``until_done``, until every message of all open waves is at an end.

    What is sent is what is registered: a plan that was changed and not amended is refused.
    """
    require_registered_plan(study)
    note_sending(study)
    require_not_held(study)
    until: Until = "done" if until_done else "nothing is due"
    followed = FollowedPlan(study, key_file, book=book)
    stats = _run_to_end(followed, until)
    held = _held(study, followed.plan)
    if held:
        raise ChannelError(
            f"{held}. Its messages stay queued; correct {CHANNELS_FILE}, the secret or the "
            "provider, then run `wavewise send` again"
        )
    return _send_run(study, stats)


def require_registered_plan(study: Study) -> None:
    """Refuse to send what is not registered, but for studies that were opened without it."""
    if study.version is None and not study.is_exploratory:
        raise RegistrationError(
            f"the study is not registered; needed a registered plan before messages are sent; run "
            f"`wavewise register {study.folder}`"
        )
    study.require_registered(exploratory=True)


def _held(study: Study, plan: SendPlan) -> str:
    """Channels that are held with messages due, and why; empty where none is."""
    due = set(study.store.deliveries.due_by_channel(study.clock())["channel"])
    return "; ".join(
        f"{hold.channel}: held since {from_us(hold.held_at_utc_us):%Y-%m-%d %H:%M} UTC: "
        f"{hold.reason}"
        for hold in study.store.outbox.held()
        if hold.channel in plan.settings and hold.channel in due
    )


async def run_worker(
    study: Study,
    plan: SendPlan,
    until: Until,
    stop: asyncio.Event | None = None,
    followed: FollowedPlan | None = None,
    pulse: Pulse | None = None,
) -> SendStats:
    """One worker, in this event loop, until its work is done or ``stop`` is set.

    With ``followed``, it goes on with another plan and other channels once those have changed.
    """
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    owner = f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}-{uuid.uuid4().hex[:12]}"
    clock = WorkerClock(study)
    study = replace(study, clock=clock)
    writer = OutboxWriter(study.store, owner, clock, _longest_lease(plan))
    if until != "nothing is due":
        writer.patience_seconds = math.inf
    watch = asyncio.create_task(_end_soon(stop, writer))
    stats = SendStats()
    try:
        is_changed = True
        while is_changed:
            crew = _Crew(study, plan, writer, stats, until, pulse or Pulse(), clock)
            is_changed = await crew.work(stop, followed)
            if is_changed and followed is not None:
                study, plan = replace(followed.study, clock=clock), followed.plan
                writer.lease_seconds = _longest_lease(plan)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await writer.close()
    return stats


def _longest_lease(plan: SendPlan) -> float:
    return max((lease_seconds(one) for one in plan.settings.values()), default=60.0)


async def _end_soon(stop: asyncio.Event, writer: OutboxWriter) -> None:
    await stop.wait()
    writer.end_soon()


class _Crew:
    """The channels of a worker, for as long as its plan does not change."""

    def __init__(
        self,
        study: Study,
        plan: SendPlan,
        writer: OutboxWriter,
        stats: SendStats,
        until: Until,
        pulse: Pulse,
        clock: WorkerClock,
    ) -> None:
        self._study, self._plan, self._writer = study, plan, writer
        self._stats, self._until, self._pulse, self._clock = stats, until, pulse, clock
        self._channels: list[Channel] = []
        self._workers: list[ChannelWorker] = []
        self._running: dict[str, asyncio.Task[int]] = {}
        self._settling: dict[str, asyncio.Task[None]] = {}
        self._halt = asyncio.Event()

    async def work(self, stop: asyncio.Event, followed: FollowedPlan | None) -> bool:
        """Send until the work is done or told to stop; gives whether the plan has changed."""
        study, writer, stats = self._study, self._writer, self._stats
        halting = asyncio.create_task(_halt_on(stop, self._halt))
        try:
            for name, one in self._plan.settings.items():
                self._open(name, one)
            names = list(self._plan.settings)
            await writer.call(study.store.outbox.probe_now, names)
            down = stats.mark_listener_down
            async with listening(study, writer, self._plan.ring, self._channels, down):
                return await self._rounds(stop, followed)
        finally:
            tasks = (halting, *self._running.values(), *self._settling.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            closing = (channel.close() for channel in self._channels)
            await asyncio.gather(*closing, return_exceptions=True)

    def _open(self, name: str, settings: ChannelSettings) -> None:
        channel = open_channel(settings, self._plan.secrets)
        self._channels.append(channel)
        study, writer, plan = self._study, self._writer, self._plan
        worker = ChannelWorker(
            channel,
            settings,
            study.store,
            writer,
            plan.book if is_addressed(study, name) else None,
            self._stats,
            partial(_record_opt_out, study, writer),
            partial(_record_call, study, writer, plan.ring),
            partial(call_again, study),
        )
        worker.link_of = plan.links.get(name)
        if settings.flows:
            hashes = [version.hash for version in study.store.versions.all()]
            worker.flows = {one: study.as_registered(one).spec.flows for one in hashes}
        self._workers.append(worker)

    async def _rounds(self, stop: asyncio.Event, followed: FollowedPlan | None) -> bool:
        """Run the channels side by side: a call of minutes holds up no other one, nor planning."""
        loop, planned_at = asyncio.get_running_loop(), -_PLAN_SECONDS
        while not stop.is_set():
            if loop.time() - planned_at >= _PLAN_SECONDS:
                planned_at = loop.time()
                await self._writer.call(note_sending, self._study)
                await self._writer.call(_prepare, self._study)
                await self._settle()
            if followed is not None and await self._writer.call(followed.has_changed):
                self._halt.set()
                await asyncio.gather(*self._running.values())
                return True
            await self._writer.call(self._clock.set_right)
            self._pulse.beat()
            for worker in self._workers:
                if worker.name not in self._running:
                    task = asyncio.create_task(worker.run(self._halt, stop))
                    self._running[worker.name] = task
            n_claimed = await _ended(self._running)
            if n_claimed or self._running:
                continue
            if not self._is_settling() and await self._is_at_end():
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_SECONDS)
        await asyncio.gather(*self._running.values())
        return False

    async def _settle(self) -> None:
        """Settle unknown messages beside sending; what only goes back to the queue, before it."""
        for worker in self._workers:
            before = self._settling.get(worker.name)
            if before is None or before.done():
                if before is not None:
                    before.result()
                self._settling[worker.name] = asyncio.create_task(worker.reconcile())
        again = [self._settling[one.name] for one in self._workers if one.sends_again]
        await asyncio.gather(*again)

    def _is_settling(self) -> bool:
        """Whether somebody who sends once waits for what the provider says."""
        left = any(not task.done() for task in self._settling.values())
        return left and self._until != "stopped"

    async def _is_at_end(self) -> bool:
        if self._until == "done":
            able = [worker for worker in self._workers if not worker.needs_person]
            return await self._writer.call(_is_done, self._study, able)
        return self._until == "nothing is due"


async def _halt_on(stop: asyncio.Event, halt: asyncio.Event) -> None:
    await stop.wait()
    halt.set()


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
    for wave in open_senders(study):
        queue_wave(study, wave.id, now + QUEUE_AHEAD)
    _end_expired(study, now)


def _end_expired(study: Study, now: datetime) -> None:
    """Drop or shift what could not go out in time, as the wave's schedule says."""
    while True:
        rows = study.store.outbox.expired(now, _EXPIRED_AT_ONCE)
        for (wave_id, zone), part in rows.group_by("wave_id", "time_zone"):
            ids = part["outbox_id"].to_list()
            schedule = _schedule(study, str(wave_id))
            if schedule is None or schedule.if_late == "skip":
                study.store.outbox.end_expired(ids, now, LATE)
            else:
                study.store.outbox.postpone(ids, *_allowed_from(now, str(zone), schedule))
        if rows.height < _EXPIRED_AT_ONCE:
            return


def _schedule(study: Study, wave_id: str) -> Schedule | None:
    wave = study.spec.sender(wave_id)
    return study.spec.schedules.get((wave.schedule if wave else None) or "")


def _allowed_from(now: datetime, zone: str, schedule: Schedule | None) -> tuple[int, int | None]:
    """From when and until when a message may go out that goes out late, in microseconds of UTC."""
    if schedule is None:
        return to_us(now), None
    at = after_quiet(now, ZoneInfo(zone), schedule.quiet_hours)
    ends = expiry(at, ZoneInfo(zone), schedule)
    return to_us(at), None if ends is None else to_us(ends)


def _bring_back(
    study: Study, state: Literal["unknown", "failed"], wave_id: str | None, reason: str
) -> int:
    """Queue unknown or failed messages again, outside of quiet hours; gives their number."""
    now, plan = study.clock(), study.as_registered()
    rows = study.store.outbox.stranded(state, wave_id, reason)
    return sum(
        study.store.outbox.bring_back(
            part["outbox_id"].to_list(),
            now,
            *_allowed_from(now, str(zone), _schedule(plan, str(wave))),
        )
        for (wave, zone), part in rows.group_by("wave_id", "time_zone", maintain_order=True)
    )


def _is_done(study: Study, workers: Iterable[ChannelWorker]) -> bool:
    """Whether nothing that this worker can send is left, now or later."""
    names = {worker.name for worker in workers}
    left = study.store.deliveries.counts().filter(
        pl.col("state").is_in(["queued", "leased", "sending"]), pl.col("channel").is_in(names)
    )
    return left.is_empty() and not _later_slots(study)


def _later_slots(study: Study) -> bool:
    far = study.clock() + timedelta(days=4_000)
    return any(next(unqueued(study, wave, far), None) is not None for wave in open_senders(study))


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


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)


def address_outbox(
    study: Study,
    word: OutboxWord,
    wave_id: str | None = None,
    reason: str = "",
    gone_out: GoneOut | None = None,
) -> "OutboxChange":
    """What somebody asks of the outbox: pause, resume, cancel, resend, retry, reword.

    ``reason`` is why messages failed that are retried, or how that begins; ``gone_out`` what went
    out since the copy was made that was restored.
    """
    if wave_id is not None:
        study.sender(wave_id)
    now, outbox = study.clock(), study.store.outbox
    if word == "pause":
        outbox.pause(now, wave_id or "")
        return OutboxChange(word, wave_id)
    if word == "resume" and study.store.copies.is_held():
        if gone_out is None or wave_id is not None:
            require_not_held(study)
        else:
            n_unknown = resume_restored(study, gone_out)
            return OutboxChange(word, None, n_unknown, was_paused=True)
    if word == "resume":
        return OutboxChange(word, wave_id, was_paused=outbox.resume(wave_id or ""))
    return OutboxChange(word, wave_id, _n_changed(study, word, wave_id, reason))


def _n_changed(study: Study, word: OutboxWord, wave_id: str | None, reason: str) -> int:
    if word == "cancel":
        return study.store.outbox.cancel("cancelled on request", study.clock(), wave_id=wave_id)
    if word == "resend":
        return _bring_back(study, "unknown", wave_id, "")
    if word == "retry":
        if not reason.strip():
            raise InputError(
                "found no reason; needed the one for which the messages failed, as `wavewise "
                f"status {study.folder}` shows it, or its first words"
            )
        return _bring_back(study, "failed", wave_id, reason.strip())
    require_registered_plan(study)
    old = queued_in_old_words(study, study.spec)
    if wave_id is not None:
        old = old.filter(wave_id=wave_id)
    return study.store.versions.reword(old.select(REWORDED).rows(), study.clock())


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
            "retry": {"n_queued": self.n_messages},
            "reword": {"n_reworded": self.n_messages},
        }
        return facts[self.word]

    def summary(self) -> str:
        """The same in a sentence."""
        texts: dict[OutboxWord, str] = {
            "pause": f"Paused {self._waves}: no more messages are sent.",
            "resume": f"{self._waves} {'resumed' if self.was_paused else 'was not paused'}."
            + (
                f" {self.n_messages:,} messages may have gone out already: they are unknown, and "
                "not sent again."
                if self.n_messages
                else ""
            ),
            "cancel": f"Cancelled {self.n_messages:,} messages of {self._waves}.",
            "resend": f"Queued {self.n_messages:,} messages of unknown fate of {self._waves} "
            "again; some may arrive twice.",
            "retry": f"Queued {self.n_messages:,} failed messages of {self._waves} again.",
            "reword": f"Took back {self.n_messages:,} messages of {self._waves} that were queued "
            "in other words; they are queued anew as the plan has them.",
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


def _run_to_end(followed: FollowedPlan, until: Until) -> SendStats:
    """A worker in a loop of its own: in a thread where there is a loop already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_worker(followed.study, followed.plan, until, followed=followed))
    worker = SendingThread(followed, until)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(_POLL_SECONDS)
    finally:
        worker.end()
    return worker.stats()


# A delivery worker beside something else in the same process, such as the HTTP interface.


@contextmanager
def sending(
    study: Study, key_file: Path | None = None, on_death: Callable[[], object] = lambda: None
) -> Iterator["SendingThread"]:
    """A worker that sends what is due while the block runs, and ends in order with it.

    ``on_death`` is called should it end by itself; its error is raised at the end of the block.
    Call it in the main thread.
    """
    require_registered_plan(study)
    followed = FollowedPlan(study, key_file, every_table=True)
    # A server that has ended in order sends itself the signal again, which would kill the worker.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        worker = SendingThread(followed, "stopped", on_death)
        worker.start()
        try:
            yield worker
        finally:
            worker.end()
        worker.stats()
    finally:
        signal.signal(signal.SIGTERM, before)


class SendingThread(threading.Thread):
    """A worker in a thread of its own."""

    def __init__(
        self,
        followed: FollowedPlan,
        until: Until,
        on_death: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name="sending", daemon=True)
        self._followed, self._until, self._on_death = followed, until, on_death
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._stats: SendStats | None = None
        self._error: BaseException | None = None
        self.pulse = Pulse()

    def run(self) -> None:
        """Send until the end; whatever ends it otherwise is kept and told."""
        try:
            self._stats = self._loop.run_until_complete(self._send())
        except BaseException as error:  # noqa: BLE001  (raised where the thread is joined)
            self._error = error
            text = str(error) if isinstance(error, WavewiseError) else type(error).__name__
            log("sending ended", reason=text)
        finally:
            self._loop.close()
            if not self._ending.is_set():
                self._on_death()

    async def _send(self) -> SendStats:
        study, plan = self._followed.study, self._followed.plan
        return await run_worker(study, plan, self._until, self._ending, self._followed, self.pulse)

    def stats(self) -> SendStats:
        """What was sent, once the worker has ended; its error where it ended by one."""
        if self._error is not None:
            raise self._error
        if self._stats is None:
            raise RuntimeError("the worker has not ended")
        return self._stats

    def stop(self) -> None:
        """Begin no more messages, and end soon; from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._ending.set)

    def end(self) -> None:
        """Tell the worker to end, and wait for it."""
        self.stop()
        self.join()
