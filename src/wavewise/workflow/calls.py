"""Voice calls of a study: what a person did is kept, and providers are told what to play next."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.messages import Schedule
from wavewise.errors import InputError
from wavewise.fieldwork.addresses import written_like
from wavewise.fieldwork.channels.base import Heard
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.fieldwork.schedule import after_quiet, expiry
from wavewise.fieldwork.voice.answers import africas_talking_xml, call_from_query, twiml
from wavewise.fieldwork.voice.call import Call, Script, make_script
from wavewise.store import to_us
from wavewise.store.outbox_rows import OutboxRow
from wavewise.workflow.contacts import ContactBook, sealed_contacts
from wavewise.workflow.refusals import refuse
from wavewise.workflow.study import Study

__all__ = [
    "CHANGE_ASKED",
    "VOICE",
    "call_again",
    "call_ended",
    "call_script",
    "keep_heard",
    "next_step",
    "schedule_of",
    "times_from",
]

VOICE = "voice"
CHANGE_ASKED = "number_change_asked"


def keep_heard(
    study: Study,
    row: OutboxRow,
    call_id: str,
    heard: Sequence[Heard],
    ring: KeyRing | None = None,
) -> None:
    """Keep what a person did during a call; the same call told twice counts once.

    Parameters
    ----------
    study : Study
        An open study.
    row : OutboxRow
        The message that was called for; events carry its number of the send, so that successes
        out of sets follow.
    call_id : str
        Names the call for good.
    heard : sequence of Heard
        In order.
    ring : KeyRing, optional
        Seals a new number, which calls go to from now on; what was there before is kept, sealed
        too, with the day of the change. Without a ring only the wish is kept, as an event.
    """
    now = study.clock()
    events = [(f"call:{call_id}:{one.step}", one.event) for one in heard if one.event is not None]
    for one in heard:
        if one.action == "opt out":
            refuse(study, [row.unit_id], "opt-out call", call_id)
        elif one.action == "change number":
            events.append((f"call:{call_id}:{one.step}:number", CHANGE_ASKED))
            if ring is not None and one.number:
                _change_number(study, row.unit_id, one.number, f"call:{call_id}:{one.step}", ring)
    if events:
        frame = pl.DataFrame(
            {
                "event_id": [name for name, _ in events],
                "unit_id": [row.unit_id] * len(events),
                "kind": [kind for _, kind in events],
                "at_utc_us": [to_us(now)] * len(events),
                "value": pl.Series([None] * len(events), dtype=pl.Float64),
                "item": [str(row.slot + 1)] * len(events),
            }
        )
        study.store.add_events(frame.unique("event_id", maintain_order=True), now)


def _change_number(study: Study, unit: str, number: str, change_id: str, ring: KeyRing) -> None:
    former = ContactBook(study.store, ring).addresses(VOICE, [unit]).get(unit)
    column = {VOICE: pl.Series([written_like(number, former)])}
    sealed = sealed_contacts(pl.Series([unit]), column, ring)
    study.store.change_contact(sealed, change_id, "call", study.clock())


def call_script(study: Study, row: OutboxRow) -> Script:
    """The call flow of a message, written out for its unit and send.

    Raises
    ------
    InputError
        The message is no call, or its flow lacks a field.
    """
    name = row.content.get("flow")
    flow = study.spec.flows.get(str(name))
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
    """What a provider plays next, as its XML; what the step recorded is kept before it is told.

    Parameters
    ----------
    study, row, call_id, ring
        As for :func:`keep_heard`.
    provider : {"twilio", "africas-talking"}
        Whose XML.
    query : mapping of str to str
        Of the address that the provider called: where the call is.
    digits : str or None
        Keys that were pressed; empty where time ran out; None when the call begins.
    url : str
        Address that the provider calls with the next keys, without the place in the call.
    prompt_base : str
        Public address of the folder of prompts.
    """
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
        keep_heard(study, row, call_id, answer.call.records, ring)
    return answer.text


def call_ended(study: Study, key: str, reason: str) -> bool:
    """A call that nobody took: tried again as the schedule's attempts say, or failed.

    Gives whether the message was still waiting for news.
    """
    row = study.store.message_by_key(key)
    if row is None:
        return False
    again = call_again(study, row)
    told = reason if again is not None else f"{reason} ({row.attempts} calls)"
    return study.store.end_call(row.outbox_id, told, study.clock(), again)


def call_again(study: Study, row: OutboxRow) -> tuple[int, int | None] | None:
    """When a call that nobody took is tried again, and until when, in microseconds of UTC.

    None where it was tried as often as the schedule says, or where the next call would fall into
    its quiet hours and ``if_late`` says to skip what is late.

    Parameters
    ----------
    study : Study
        An open study.
    row : OutboxRow
        The message, with the number of calls that were made.
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
    """The schedule of a message's wave; None where it has none any more."""
    wave = study.spec.wave(row.wave_id)
    return study.spec.schedules.get((wave.schedule if wave else None) or "")
