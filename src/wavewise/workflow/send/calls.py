"""Voice calls of a study: what a person did is kept, and providers are told what to play next."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.messages import Schedule
from wavewise.errors import InputError, WavewiseError
from wavewise.fieldwork.channels.base import CallEvent, Channel, Listens
from wavewise.fieldwork.contact_details import KeyRing, caller_addresses, written_like
from wavewise.fieldwork.schedule import after_quiet, expiry
from wavewise.fieldwork.voice.answers import africas_talking_xml, call_from_query, twiml
from wavewise.fieldwork.voice.call import Call, Script, make_script
from wavewise.store import to_us
from wavewise.store.rows import OutboxRow
from wavewise.workflow.contacts.contacts import ContactBook, encrypted_contacts
from wavewise.workflow.contacts.opt_outs import opt_out
from wavewise.workflow.send.outbox_writer import OutboxWriter
from wavewise.workflow.study import Study

__all__ = [
    "FLASH",
    "UNKNOWN_CALLER",
    "VOICE",
    "call_again",
    "call_back",
    "call_ended",
    "call_length",
    "listening",
    "next_step",
    "record_call_events",
]

VOICE = "voice"
CHANGE_ASKED = "number_change_asked"


def record_call_events(
    study: Study,
    row: OutboxRow,
    call_id: str,
    heard: Sequence[CallEvent],
    ring: KeyRing | None = None,
) -> None:
    """Keep what a person did during a call; the same call told twice counts once."""
    now = study.clock()
    events = [(f"call:{call_id}:{one.step}", one.event, one.seconds)
              for one in heard if one.event is not None]  # fmt: skip
    for one in heard:
        if one.action == "opt out":
            opt_out(study, [row.unit_id], "opt-out call", call_id)
        elif one.action == "change number":
            events.append((f"call:{call_id}:{one.step}:number", CHANGE_ASKED, None))
            if ring is not None and one.number:
                _change_number(study, row.unit_id, one.number, f"call:{call_id}:{one.step}", ring)
    if events:
        frame = pl.DataFrame(
            {
                "event_id": [name for name, _, _ in events],
                "unit_id": [row.unit_id] * len(events),
                "kind": [kind for _, kind, _ in events],
                "at_utc_us": [to_us(now)] * len(events),
                "value": pl.Series([seconds for *_, seconds in events], dtype=pl.Float64),
                "item": [str(row.slot + 1)] * len(events),
            }
        )
        study.store.events.add(frame.unique("event_id", maintain_order=True), now)


def _change_number(study: Study, unit: str, number: str, change_id: str, ring: KeyRing) -> None:
    former = (
        ContactBook(study.store, ring, study.spec.study.country).addresses(VOICE, [unit]).get(unit)
    )
    column = {VOICE: pl.Series([written_like(number, former, study.spec.study.country)])}
    encrypted = encrypted_contacts(pl.Series([unit]), column, ring)
    study.store.contacts.change(encrypted, change_id, "call", study.clock())


def call_script(study: Study, row: OutboxRow) -> Script:
    """The call flow of a message, written out for its unit and send."""
    name = row.content.get("flow")
    flow = study.as_registered(row.spec_hash).spec.flows.get(str(name))
    if flow is None:
        raise InputError(f"message '{row.message_id}': found no call flow; needed one of [flows]")
    fields = {key: str(value) for key, value in (row.content.get("fields") or {}).items()}
    return make_script(str(name), flow, {**fields, "set": str(row.slot + 1)})


def next_step(
    study: Study,
    row: OutboxRow,
    *,
    provider: Literal["twilio", "africas-talking"],
    call_id: str,
    query: Mapping[str, str],
    digits: str | None,
    url: str,
    prompt_base: str,
    ring: KeyRing | None = None,
) -> str:
    """What a provider plays next, as its XML; what the step recorded is kept before it is told."""
    script = call_script(study, row)
    begun = Call.begin(script)
    if digits is None:
        call = begun
    else:
        here = call_from_query(begun, dict(query))
        call = here.press_all(digits) if digits else here.silence()
    write = twiml if provider == "twilio" else africas_talking_xml
    answer = write(call, url, lambda name: f"{prompt_base.rstrip('/')}/{name}")
    if answer.call.records:
        record_call_events(study, row, call_id, answer.call.records, ring)
    return answer.text


def call_length(study: Study, key: str, call_id: str, seconds: str) -> None:
    """Keep how long an answered call was, as its provider tells; nothing where it does not."""
    row = study.store.calls.message(key)
    try:
        length = float(seconds)
    except ValueError:
        return
    if row is not None and math.isfinite(length) and length >= 0:
        record_call_events(study, row, call_id, [CallEvent.of_call(length)])


def call_ended(study: Study, key: str, reason: str) -> bool:
    """A call that nobody took: tried again as the schedule's attempts say, or failed.

    Gives whether the message was still waiting for a receipt.
    """
    row = study.store.calls.message(key)
    if row is None:
        return False
    again = call_again(study, row)
    told = reason if again is not None else f"{reason} ({row.attempts} calls)"
    return study.store.calls.end(row.outbox_id, told, study.clock(), again)


def call_again(study: Study, row: OutboxRow) -> tuple[int, int | None] | None:
    """When a call that nobody took is tried again, and until when, in microseconds of UTC.

    None where it was tried as often as the schedule says, or where the next call would fall into
    its quiet hours and ``if_late`` says to skip what is late.
    """
    attempts = row.content.get("attempts") or {}
    if row.attempts >= int(attempts.get("most", 1)):
        return None
    at = study.clock() + timedelta(hours=float(attempts.get("every_hours", 2.0)))
    schedule = schedule_of(study, row)
    if schedule is not None:
        allowed = after_quiet(at, ZoneInfo(row.time_zone), schedule.quiet_hours)
        if allowed > at and schedule.if_late == "skip":
            return None
        at = allowed
    return times_from(study, row, at)


def times_from(study: Study, row: OutboxRow, at: datetime) -> tuple[int, int | None]:
    """A time, and the one from which on it is too late by the schedule, in microseconds of UTC."""
    schedule = schedule_of(study, row)
    ends = None if schedule is None else expiry(at, ZoneInfo(row.time_zone), schedule)
    return to_us(at), None if ends is None else to_us(ends)


def schedule_of(study: Study, row: OutboxRow) -> Schedule | None:
    """The schedule of a message's wave or enrolment; None where it has none any more."""
    wave = study.spec.sender(row.wave_id)
    return study.spec.schedules.get((wave.schedule if wave else None) or "")


# People who ring the study's number (a "flash"): called back, and counted.

FLASH = "flash"
# In the place of a unit's id: the number of somebody who is not in the study is not kept.
UNKNOWN_CALLER = "unknown caller"
_AGAIN_SECONDS = 30.0  # after a line could not be opened


@dataclass(frozen=True)
class MissedCall:
    """What came of somebody's ringing."""

    n_units: int  # Units with this number; 0 where it is not known.
    n_moved: int  # Calls that go out at once now.


def call_back(study: Study, ring: KeyRing | None, caller: str, reference: str) -> MissedCall:
    """Keep that somebody rang, and call them at once: the call that waits for them longest.

    Only a call that is due and queued goes out, and only where the schedule's attempts say
    ``call_back``: nobody gets a call that the study did not plan, and whoever refused gets none,
    since nothing is queued for them.
    """
    addresses = caller_addresses(caller, study.spec.study.country)
    units: tuple[str, ...] = ()
    if ring is not None:
        book = ContactBook(study.store, ring, study.spec.study.country)
        units = tuple(sorted({u for one in addresses for u in book.units_at(VOICE, one)}))
    _keep(study, units or (UNKNOWN_CALLER,), reference)
    return MissedCall(len(units), _brought_forward(study, units))


def _brought_forward(study: Study, units: tuple[str, ...]) -> int:
    now = study.clock()
    for row in study.store.calls.waiting(VOICE, units):
        schedule = schedule_of(study, row)
        if row.due_at_utc_us > to_us(now):
            return 0  # the exercise set of a later day is not brought forward
        if schedule is not None and schedule.attempts.call_back:
            return study.store.outbox.postpone([row.outbox_id], *times_from(study, row, now))
    return 0


def _keep(study: Study, units: tuple[str, ...], reference: str) -> None:
    now = study.clock()
    rows = pl.DataFrame(
        {
            "event_id": [f"{FLASH}:{reference}:{unit}" for unit in units],
            "unit_id": list(units),
            "kind": [FLASH] * len(units),
            "at_utc_us": [to_us(now)] * len(units),
        }
    )
    study.store.events.add(rows, received_at=now)


@asynccontextmanager
async def listening(
    study: Study,
    writer: OutboxWriter,
    ring: KeyRing | None,
    channels: Iterable[Channel],
    on_down: Callable[[str, str], None],
) -> AsyncIterator[None]:
    """Hear who rings, on every channel that can be called, for as long as the block lasts."""

    async def called(caller: str) -> None:
        await writer.call(call_back, study, ring, caller, uuid.uuid4().hex)

    tasks = [
        asyncio.create_task(_listen(channel, called, on_down))
        for channel in channels
        if isinstance(channel, Listens)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(
    channel: Listens,
    called: Callable[[str], Awaitable[None]],
    on_down: Callable[[str, str], None],
) -> None:
    while True:
        try:
            await channel.listen(called)
        except Exception as error:  # noqa: BLE001  (the line is opened again, whatever it was)
            text = str(error) if isinstance(error, WavewiseError) else type(error).__name__
            on_down(getattr(channel, "name", VOICE), text)
        await asyncio.sleep(_AGAIN_SECONDS)
