"""Voice calls of a study: what a person did is kept, and providers are told what to play next."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import Heard
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.fieldwork.voice.answers import africas_talking_xml, call_from_query, twiml
from wavewise.fieldwork.voice.call import Call, Script, make_script
from wavewise.store import to_us
from wavewise.store.outbox_rows import OutboxRow
from wavewise.workflow.contacts import ContactBook, sealed_contacts
from wavewise.workflow.refusals import refuse
from wavewise.workflow.study import Study

__all__ = [
    "CHANGE_ASKED",
    "call_back",
    "call_ended",
    "call_script",
    "keep_heard",
    "next_step",
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
        Seals a new number; without it only the wish is kept, as an event, and no number.
    """
    now = study.clock()
    events = [(f"call:{call_id}:{one.step}", one.event) for one in heard if one.event is not None]
    for one in heard:
        if one.action == "opt out":
            refuse(study, [row.unit_id], "opt-out call", call_id)
        elif one.action == "change number":
            events.append((f"call:{call_id}:{one.step}:number", CHANGE_ASKED))
            if ring is not None and one.number:
                sealed = _sealed(row.unit_id, one.number, ring)
                of = pl.Series([row.unit_id])
                study.store.put_contacts(sealed, now, channels=[VOICE], of=of)
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


def _sealed(unit_id: str, number: str, ring: KeyRing) -> pl.DataFrame:
    return sealed_contacts(pl.Series([unit_id]), {VOICE: pl.Series([number])}, ring)


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
    attempts = row.content.get("attempts") or {}
    now, n_calls = study.clock(), row.attempts
    if n_calls >= int(attempts.get("most", 1)):
        return study.store.end_call(row.outbox_id, f"{reason} ({n_calls} calls)", now, None)
    wait = timedelta(hours=float(attempts.get("every_hours", 2.0)))
    return study.store.end_call(row.outbox_id, reason, now, now + wait)


def call_back(study: Study, ring: KeyRing | None, number: str) -> int:
    """Call somebody at once who rang: the call that waits for them longest goes first.

    Only where the schedule's attempts say so. Gives the number of calls that were moved.
    """
    if ring is None or not number:
        return 0
    units = ContactBook(study.store, ring).units_at(VOICE, number)
    now, moved = study.clock(), 0
    for row in study.store.waiting_messages(VOICE, units)[:1]:
        wave = study.spec.wave(row.wave_id)
        schedule = study.spec.schedules.get((wave.schedule if wave else None) or "")
        if schedule is None or not schedule.attempts.call_back or row.due_at_utc_us > to_us(now):
            continue  # nothing is due yet: the exercise set of a later day is not brought forward
        until = to_us(now + timedelta(hours=1))
        moved += study.store.postpone_messages([row.outbox_id], to_us(now), until)
    return moved
