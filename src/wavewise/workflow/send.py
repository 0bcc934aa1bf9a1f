"""``send``: the delivery worker of a study, and the words of a human to the outbox."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.errors import ChannelError, InputError
from wavewise.fieldwork.channels.base import Channel, Heard
from wavewise.fieldwork.channels.registry import open_channel
from wavewise.fieldwork.channels.settings import (
    CHANNELS_FILE,
    ChannelSettings,
    Secrets,
    read_channels,
)
from wavewise.fieldwork.contacts import AddressBook
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.fieldwork.schedule import after_quiet, expiry
from wavewise.store import from_us, to_us
from wavewise.store.outbox_rows import OutboxRow
from wavewise.workflow.calls import call_again, keep_heard
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.keys import find_key_ring
from wavewise.workflow.outbox_writer import OutboxWriter
from wavewise.workflow.outgoing import messages_of, queue_wave, unqueued
from wavewise.workflow.rings import listening
from wavewise.workflow.send_worker import Lane, Tally, lease_seconds
from wavewise.workflow.study import Study
from wavewise.workflow.unsubscribe_links import LinkOf, unsubscribe_links

__all__ = ["Until", "Ways", "address_outbox", "find_ways", "run_worker", "send"]

Until = Literal["nothing is due", "done", "stopped"]

QUEUE_AHEAD = timedelta(days=1)
_POLL_SECONDS = 1.0
_PLAN_SECONDS = 60.0
_EXPIRED_AT_ONCE = 5_000
_NEEDS_ADDRESS = ("push", "sms", "email", "voice", "mqtt", "web-push")
LATE = "late: it could not go out in time"


@dataclass(frozen=True)
class Ways:
    """How messages of a study go out.

    Parameters
    ----------
    settings : mapping of str to ChannelSettings
        Channel of the study file: its table.
    secrets : Secrets
        Of the environment.
    book : AddressBook or None
        Where addresses come from.
    links : mapping of str to callable
        Channel: what gives a unit's unsubscribe link.
    ring : KeyRing or None
        Tells whose number rings, and seals numbers that people change to.
    """

    settings: Mapping[str, ChannelSettings]
    secrets: Secrets
    book: AddressBook | None
    links: Mapping[str, LinkOf] = field(default_factory=dict)
    ring: KeyRing | None = None


def send(
    study: Study,
    *,
    until_done: bool = False,
    key_file: Path | None = None,
    book: AddressBook | None = None,
) -> Done:
    """Send what is due; with ``until_done``, until every message of all open waves is at an end.

    Parameters
    ----------
    study : Study
        An open study.
    until_done : bool
        Stay until nothing is left, waiting for what is due later.
    key_file : Path, optional
        Key of the contact details; by default that of the environment.
    book : AddressBook, optional
        Addresses from elsewhere, for tests.

    Raises
    ------
    InputError
        A channel has no settings, or a secret is missing; nothing was sent.
    ChannelError
        A provider refused everything; its messages stay queued.
    """
    ways = find_ways(study, key_file, book)
    until: Until = "done" if until_done else "nothing is due"
    tally = asyncio.run(run_worker(study, ways, until))
    if tally.stopped:
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(tally.stopped.items()))
        raise ChannelError(
            f"{told}. Its messages stay queued; correct {CHANNELS_FILE} or the secret, then run "
            "`wavewise send` again"
        )
    return _told(study, tally)


async def run_worker(
    study: Study,
    ways: Ways,
    until: Until,
    stop: asyncio.Event | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Tally:
    """One worker, in this event loop, until its work is done or ``stop`` is set.

    Parameters
    ----------
    study : Study
        An open study; the worker uses its store from one thread of its own.
    ways : Ways
        Channels, secrets, addresses.
    until : {'nothing is due', 'done', 'stopped'}
        When to end: where nothing is due now, where nothing will be due, or only when told.
    stop : asyncio.Event, optional
        Set it to end the worker in order: what is in flight ends, the rest is given back.
    tell : callable
        Told of a channel that stops, when it does.
    """
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    owner = f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}-{uuid.uuid4().hex[:12]}"
    lease = max((lease_seconds(one) for one in ways.settings.values()), default=60.0)
    writer = OutboxWriter(study.store, owner, study.clock, lease)
    channels: list[Channel] = []
    tally = Tally(tell=tell)
    try:
        lanes = []
        for name, one in ways.settings.items():
            channel = open_channel(one, ways.secrets)
            channels.append(channel)
            own_book = ways.book if _is_addressed(study, name) else None
            refuse = partial(_refuse, study, writer)
            heard = partial(_hear, study, writer, ways.ring)
            again = partial(call_again, study)
            lane = Lane(channel, one, study.store, writer, own_book, tally, refuse, heard, again)
            lane.link_of = ways.links.get(name)
            lanes.append(lane)
        async with listening(study, writer, ways.ring, channels, tally.deafen):
            await _rounds(study, writer, lanes, stop, until)
    finally:
        await writer.close()
        await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)
    return tally


async def _rounds(
    study: Study, writer: OutboxWriter, lanes: list[Lane], stop: asyncio.Event, until: Until
) -> None:
    """Run the lanes side by side: a call of minutes holds up no other channel, and no planning."""
    loop = asyncio.get_running_loop()
    planned_at = -_PLAN_SECONDS
    running: dict[str, asyncio.Task[int]] = {}
    try:
        while not stop.is_set():
            if loop.time() - planned_at >= _PLAN_SECONDS:
                planned_at = loop.time()
                await writer.call(_prepare, study)
                for lane in lanes:
                    await lane.reconcile()
            able = [lane for lane in lanes if not lane.is_stopped]
            for lane in able:
                if lane.name not in running:
                    running[lane.name] = asyncio.create_task(lane.run(stop))
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
    """Wait a little for lanes to end, and take them out; number of messages they had claimed."""
    if running:
        await asyncio.wait(running.values(), timeout=_POLL_SECONDS)
    done = {name: task for name, task in running.items() if task.done()}
    for name in done:
        del running[name]
    return sum(task.result() for task in done.values())


def _prepare(study: Study) -> None:
    """Leases that ended, messages whose time is over, messages that are due soon."""
    now = study.clock()
    study.store.sweep_leases(now)
    for row in study.store.waves():
        wave = study.spec.wave(row.wave_id)
        if row.state == "open" and wave is not None and wave.imported is None:
            queue_wave(study, row.wave_id, now + QUEUE_AHEAD)
    _end_expired(study, now)


def _end_expired(study: Study, now: datetime) -> None:
    """Drop or shift what could not go out in time, as the wave's schedule says."""
    while True:
        rows = study.store.expired_messages(now, _EXPIRED_AT_ONCE)
        for (wave_id, zone), part in rows.group_by("wave_id", "time_zone"):
            ids = part["outbox_id"].to_list()
            wave = study.spec.wave(str(wave_id))
            schedule = study.spec.schedules.get((wave.schedule if wave else None) or "")
            if schedule is None or schedule.if_late == "skip":
                study.store.end_expired(ids, now, LATE)
                continue
            place = ZoneInfo(str(zone))
            at = after_quiet(now, place, schedule.quiet_hours)
            ends = expiry(at, place, schedule)
            study.store.postpone_messages(ids, to_us(at), None if ends is None else to_us(ends))
        if rows.height < _EXPIRED_AT_ONCE:
            return


def _is_done(study: Study, lanes: Iterable[Lane]) -> bool:
    """Whether nothing that this worker can send is left, now or later."""
    names = {lane.name for lane in lanes}
    left = study.store.outbox_counts().filter(
        pl.col("state").is_in(["queued", "leased", "sending"]), pl.col("channel").is_in(names)
    )
    return left.is_empty() and not _later_slots(study)


def _later_slots(study: Study) -> bool:
    far = study.clock() + timedelta(days=4_000)
    waves = [study.spec.wave(row.wave_id) for row in study.store.waves() if row.state == "open"]
    return any(
        next(unqueued(study, wave, far), None) is not None
        for wave in waves
        if wave is not None and wave.imported is None
    )


def _refuse(study: Study, writer: OutboxWriter, row: OutboxRow, reason: str) -> None:
    """A refusal that the provider reported: kept, and everything else to the unit cancelled."""
    now = study.clock()
    refusal = {
        "refusal_id": f"provider:{row.message_key}",
        "unit_id": row.unit_id,
        "channel": row.channel,
        "source": f"provider: {reason}",
        "at_utc_us": to_us(now),
    }

    def keep() -> None:
        study.store.add_refusals(pl.DataFrame([refusal]), now)
        study.store.cancel_messages("refused", now, unit_ids=[row.unit_id], channel=row.channel)

    writer.later(keep)


def _hear(
    study: Study, writer: OutboxWriter, ring: KeyRing | None, row: OutboxRow, heard: Heard
) -> None:
    """What a person did during a call, kept in the writer's own thread."""
    call_id = f"{row.message_key}:{row.attempts + 1}"
    writer.later(partial(keep_heard, study, row, call_id, [heard], ring))


def _is_addressed(study: Study, channel: str) -> bool:
    return channel in study.spec.units.address


def find_ways(
    study: Study,
    key_file: Path | None,
    book: AddressBook | None = None,
    *,
    every_table: bool = False,
) -> Ways:
    """Channels that open waves need, and with ``every_table`` all that have a table.

    Raises
    ------
    InputError
        A channel has no table, or no column of addresses.
    """
    known = read_channels(study.folder / CHANNELS_FILE)
    open_waves = [row.wave_id for row in study.store.waves() if row.state == "open"]
    waves = [wave for wave in study.spec.waves if wave.id in open_waves and wave.imported is None]
    messages = [message for wave in waves if wave.schedule for message in messages_of(study, wave)]
    used = {str(message.channel) for message in messages} - {"letter"}
    used |= set(study.store.outbox_counts()["channel"])
    used |= set(known) if every_table else set()
    absent = sorted(used - set(known))
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
        and known[name].provider != "file"
    )
    if lacking:
        raise InputError(
            f"found no column of addresses for {', '.join(lacking)}; needed "
            f'{lacking[0]} = "COLUMN" in units.address of the study file; nothing was sent'
        )
    settings = {name: _placed(study, known[name]) for name in sorted(used)}
    needs_book = any(_is_addressed(study, name) for name in used)
    if book is None and needs_book:
        from wavewise.workflow.contacts import contact_book  # noqa: PLC0415

        book = contact_book(study, key_file)
    links = unsubscribe_links(settings, key_file)
    ring = find_key_ring(key_file) if needs_book else None
    return Ways(settings, Secrets.read(os.environ), book, links, ring)


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


def address_outbox(study: Study, word: str, wave_id: str | None = None) -> Done:
    """A human's word to the outbox: pause, resume, cancel, resend unknown messages.

    Raises
    ------
    InputError
        The wave is none of the study file.
    """
    if wave_id is not None:
        study.wave(wave_id)
    now, what = study.clock(), "all waves" if wave_id is None else f"wave {wave_id}"
    if word == "pause":
        study.store.pause_messages(now, wave_id or "")
        return Done(f"Paused {what}: nothing more is begun.", {"paused": what})
    if word == "resume":
        was = study.store.resume_messages(wave_id or "")
        return Done(f"{what} {'goes on' if was else 'was not paused'}.", {"resumed": was})
    if word == "cancel":
        n = study.store.cancel_messages("cancelled on request", now, wave_id=wave_id)
        return Done(f"Cancelled {n:,} messages of {what}.", {"n_cancelled": n})
    n = study.store.resend_unknown(now, wave_id=wave_id)
    text = f"Queued {n:,} unknown messages of {what} again; some may arrive twice."
    return Done(text, {"n_queued": n})


def _told(study: Study, tally: Tally) -> Done:
    counts = study.store.outbox_counts()
    by = counts.group_by("wave_id", "channel", "state").agg(pl.col("n").sum())
    rows = by.sort("wave_id", "channel", "state").rows()
    next_us = study.store.next_due_us()
    lines = [text_table(["wave", "channel", "state", "messages"], rows)] if rows else []
    if not rows:
        lines.append("No message is due in the next 24 hours.")
    if next_us is not None:
        lines.append(f"The next message is due {from_us(next_us):%Y-%m-%d %H:%M} UTC.")
    lines += [f"Nobody who rang on {name} was heard: {why}" for name, why in tally.deaf.items()]
    paused = study.store.paused_waves()
    if paused:
        lines.append(f"Paused: {', '.join(name or 'all waves' for name in paused)}.")
    facts = {
        "this_run": dict(tally.by_state),
        "outbox": [dict(zip(("wave", "channel", "state", "n"), row, strict=True)) for row in rows],
        "next_due": None if next_us is None else from_us(next_us).isoformat(),
    }
    return Done("\n".join(lines), facts)
