"""From an open wave to rows of the outbox: who gets which message, when, in which words."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.enrolment import ENROLMENT, Enrolment, Sender
from wavewise.design.messages import Message, Schedule
from wavewise.design.waves import Arm
from wavewise.errors import Fault, InputError, StateError
from wavewise.fieldwork.people import derived_fields
from wavewise.fieldwork.rendering import Rendered, render, text_notes
from wavewise.fieldwork.schedule import Send, sends
from wavewise.store import to_us
from wavewise.store.enrolments import INVITED
from wavewise.store.frames import decode_json_rows
from wavewise.store.registry import QUEUED_SLOTS
from wavewise.workflow.facts import facts_as_of, frozen_facts, has_facts
from wavewise.workflow.frames import UnitData, levels
from wavewise.workflow.send.wording import wording_hash
from wavewise.workflow.study import Study

__all__ = [
    "NO_PROVIDER",
    "MessageContext",
    "message_context",
    "message_faults",
    "messages_of",
    "open_senders",
    "opened_at",
    "queue_wave",
    "require_no_faults",
    "unqueued",
    "wave_sends",
]

LATE_START = "late: the wave opened after it was due"
REFUSED = "refused"
INCOMPLETE = "a field is missing"
NO_PROVIDER = "letter"  # sent by hand


@dataclass(frozen=True)
class MessageContext:
    """What messages may say of units, row by row in the order of ids."""

    # ids, time_zone, language: (n_units,): The time zone is the study's where a unit has none of
    # its own.
    ids: pl.Series
    time_zone: pl.Series
    language: pl.Series
    fields: pl.DataFrame  # (n_units, n_columns): Columns of the people file, and derived fields.

    def where(self, mask: pl.Series) -> "MessageContext":
        """The units for which a mask is true."""
        return MessageContext(
            self.ids.filter(mask),
            self.time_zone.filter(mask),
            self.language.filter(mask),
            self.fields.filter(mask),
        )

    def of(self, ids: pl.Series) -> "MessageContext":
        """The units with these ids."""
        return self.where(self.ids.is_in(ids.implode()))


def message_context(
    study: Study, wave: Sender | None = None, people: UnitData | None = None
) -> MessageContext:
    """What messages may say of units as of a wave: of all, or of its people with their facts."""
    rows, spec = study.store.units.all(), study.spec
    if people is not None:
        rows = rows.filter(pl.col("unit_id").is_in(people.ids.implode()))
    facts = _facts(study, wave, rows) if people is None else people.facts
    shown = [levels(column) if column.dtype == pl.Boolean else column for column in facts]
    fields = decode_json_rows(rows["fields_json"]).with_columns(shown)
    rules = {n: rule for n, rule in spec.derived.items() if rule.from_ and n not in facts.columns}
    made = derived_fields(rules, _with_all(fields, spec.people_columns, rows.height))
    named = (*spec.units.fields, *spec.units.strata, *spec.derived)
    wanted = [c for c in named if c in fields.columns and c not in made.columns]
    # The ids keep the number of rows where there are no fields; no field has an empty name.
    context = pl.DataFrame({"": rows["unit_id"]}).with_columns(
        *(fields[name] for name in dict.fromkeys(wanted)), *made.iter_columns()
    )
    zone = rows["time_zone"].fill_null(spec.study.time_zone)
    return MessageContext(rows["unit_id"], zone, rows["language"], context)


def _facts(study: Study, wave: Sender | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Facts of units as a wave froze them, or as it would now."""
    if wave is None or not has_facts(study):
        return pl.DataFrame()
    if study.store.waves.get(wave.id) is not None:
        return frozen_facts(study, wave.id, rows["unit_id"])
    columns = (rows[name] for name in ("unit_id", "time_zone", "fields_json"))
    return facts_as_of(study, wave, *columns).values


def messages_of(study: Study, wave: Sender) -> tuple[Message, ...]:
    """Every message of an enrolment, or that a wave's arms can send, policies' choices included."""
    if isinstance(wave, Enrolment):
        return tuple(message for message in study.spec.messages if message.id in wave.messages)
    arms = study.spec.arms_of(wave)
    teachers = {name for arm in arms if arm.policy is not None for name in arm.policy.learned_on}
    taught = [arm for w in study.spec.waves if w.id in teachers for arm in study.spec.arms_of(w)]
    wanted = {name for arm in (*arms, *taught) for name in arm.sequence}
    return tuple(message for message in study.spec.messages if message.id in wanted)


def message_faults(
    study: Study, wave: Sender, units: MessageContext
) -> tuple[list[Fault], list[str]]:
    """What cannot be rendered for a wave's units, and notes on lengths and openings of texts."""
    faults: list[Fault] = []
    notes: list[str] = []
    for message in messages_of(study, wave):
        rendered = _rendered(study, message, units)
        faults += rendered.faults
        if rendered.n_segments:
            counts = ", ".join(
                f"{n:,} of {k} segment{'s' if k > 1 else ''}"
                for k, n in rendered.n_segments.items()
            )
            notes.append(f"Message {message.id}: {counts}.")
        notes += text_notes(message, units.fields, units.language)
    return faults, notes


def wave_sends(study: Study, wave: Sender, opened_at: datetime | None) -> "ZoneSends | None":
    """The sends of a wave in any time zone; None where the wave has no schedule."""
    schedule = study.spec.schedules.get(wave.schedule or "")
    return None if schedule is None else ZoneSends(schedule, wave, opened_at)


class ZoneSends:
    """Sends of a schedule by time zone, each zone worked out once."""

    def __init__(self, schedule: Schedule, wave: Sender, opened_at: datetime | None) -> None:
        self.n_sends = schedule.n_sends
        self._of = cache(lambda zone: sends(schedule, wave.starts, ZoneInfo(zone), opened_at))

    def of(self, zone: str) -> tuple[Send, ...]:
        """The sends in a zone."""
        return self._of(zone)


def opened_at(study: Study, wave: Sender) -> datetime | None:
    """When a wave or an enrolment was opened; None before."""
    store = study.store
    is_wave = not isinstance(wave, Enrolment)
    row = store.waves.get(wave.id) if is_wave else store.enrolments.get(wave.id)
    return None if row is None else row.opened_at


def open_senders(study: Study) -> list[Sender]:
    """Enrolments and waves that are open and send from here."""
    store = study.store
    rows = [row.enrolment_id for row in store.enrolments.all() if row.state == "open"]
    rows += [row.wave_id for row in store.waves.all() if row.state == "open"]
    found = [study.spec.sender(one) for one in rows]
    return [s for s in found if isinstance(s, Enrolment) or (s is not None and s.imported is None)]


def unqueued(study: Study, wave: Sender, until: datetime) -> Iterator[int]:
    """Slots of an open wave that are due somewhere before a time, and are not in the outbox yet."""
    plan = wave_sends(study, wave, opened_at(study, wave))
    if plan is None:
        return
    there = _queued_slots(study, wave.id)
    zones = study.store.units.time_zones() | {study.spec.study.time_zone}
    for slot in range(plan.n_sends):
        if slot not in there and min(plan.of(zone)[slot].due_at for zone in zones) < until:
            yield slot


def queue_wave(study: Study, wave_id: str, until: datetime) -> int:
    """Put the messages of an open wave or enrolment that are due before a time into the outbox.

    A slot is queued for all units at once, shortly before it is due, so that fields and derived
    fields are those of that day, in the words of the registered plan. Gives the number of new
    messages.
    """
    study = study.as_registered()
    wave = study.sender(wave_id)
    slots = list(unqueued(study, wave, until))
    if not slots:
        return 0
    version, opened = study.version, opened_at(study, wave)
    plan = wave_sends(study, wave, opened)
    if plan is None or opened is None:
        return 0
    spec_hash = None if version is None else version.hash
    given = _given(study, wave)
    units = message_context(study, wave).of(given["unit_id"])
    given = pl.DataFrame({"unit_id": units.ids}).join(
        given, on="unit_id", how="left", maintain_order="left"
    )
    n_new = 0
    for slot in slots:
        for frame in _slot_frames(study, wave, slot, given["arm"], units, plan):
            n_queued = study.store.outbox.queue(
                frame.with_columns(spec_hash=pl.lit(spec_hash, pl.String)),
                study.clock(),
                opened_at=opened,
                spec_hash=spec_hash,
            )
            if n_queued is None:  # the plan or the wave has changed: all anew at the next look
                return n_new
            n_new += n_queued
        _mark_queued(study, wave.id, slot)
    return n_new


def _queued_slots(study: Study, wave_id: str) -> set[int]:
    """Slots whose messages are all in the outbox.

    A slot that was queued half when its worker died has no mark: it is queued again, and what is
    there already stays.
    """
    found = study.store.results.latest(wave_id, QUEUED_SLOTS)
    return set() if found is None else set(found.payload["slots"])


def _mark_queued(study: Study, wave_id: str, slot: int) -> None:
    slots = sorted({*_queued_slots(study, wave_id), slot})
    study.store.results.put(wave_id, QUEUED_SLOTS, {"slots": slots}, study.clock())


def _given(study: Study, wave: Sender) -> pl.DataFrame:
    """Unit and the arm whose messages it gets; units that get nothing are left out."""
    if isinstance(wave, Enrolment):
        invited = study.store.enrolments.units(wave.id).filter(status=INVITED)
        return invited.select("unit_id", arm=pl.lit(ENROLMENT))
    rows = study.store.waves.assignment(wave.id)
    arms = _arms(study)
    if "held_out" in rows.columns:
        rows = rows.filter(~pl.col("held_out").fill_null(value=False))
    sent_arm = pl.col("arm")
    if "content" in rows.columns:
        sent_arm = pl.coalesce("content", "arm")
    rows = rows.select("unit_id", sent_arm.alias("arm"))
    policies = [arm.id for arm in arms.values() if arm.policy is not None]
    if rows["arm"].is_in(policies).any():
        raise StateError(
            f"wave '{wave.id}' has arms that are policies, and nothing says which message they "
            "give; open the wave with a frozen policy"
        )
    silent = [arm.id for arm in arms.values() if not arm.sequence]
    return rows.filter(~pl.col("arm").is_in(silent))


def _arms(study: Study) -> Mapping[str, Arm]:
    return {arm.id: arm for wave in study.spec.waves for arm in study.spec.arms_of(wave)}


def _slot_frames(
    study: Study, wave: Sender, slot: int, arm: pl.Series, units: MessageContext, plan: ZoneSends
) -> Iterator[pl.DataFrame]:
    """Rows of the outbox for one slot, a frame for each message."""
    sequence = {name: one.sequence for name, one in _arms(study).items()}
    if isinstance(wave, Enrolment):
        sequence = {ENROLMENT: wave.messages}
    message_of = {name: sequence[name][slot % len(sequence[name])] for name in arm.unique()}
    chosen = arm.replace_strict(message_of, return_dtype=pl.String)
    for message in study.spec.messages:
        mask = chosen == message.id
        if message.channel != NO_PROVIDER and mask.any():
            part = units.where(mask)
            yield _frame(study, wave, slot, message, arm.filter(mask), part, plan)


def _frame(
    study: Study,
    wave: Sender,
    slot: int,
    message: Message,
    arm: pl.Series,
    units: MessageContext,
    plan: ZoneSends,
) -> pl.DataFrame:
    rendered = _rendered(study, message, units)
    refused = study.store.opt_outs.units(message.channel)
    is_refused = units.ids.is_in(refused.implode())
    due = {zone: plan.of(zone)[slot] for zone in units.time_zone.unique()}
    rows = pl.DataFrame(
        {
            "unit_id": units.ids,
            "arm": arm,
            "time_zone": units.time_zone,
            "content_json": _contents(study, wave, message, rendered),
            "message_key": _keys(len(units.ids)),
            "is_refused": is_refused,
            "is_bad": rendered.is_bad,
        }
    )
    rows = rows.join(_due_frame(due), on="time_zone", how="left", maintain_order="left")
    ended = pl.col("reason").is_not_null()
    return rows.with_columns(
        wave_id=pl.lit(wave.id),
        slot=pl.lit(slot, pl.Int64),
        message_id=pl.lit(message.id),
        wording_hash=pl.lit(wording_hash(study.spec, message)),
        channel=pl.lit(message.channel),
        reason=pl.when("is_refused")
        .then(pl.lit(REFUSED))
        .when("is_late")
        .then(pl.lit(LATE_START))
        .when("is_bad")
        .then(pl.lit(INCOMPLETE)),
    ).with_columns(state=pl.when(ended).then(pl.lit("cancelled")).otherwise(pl.lit("queued")))


def _due_frame(due: Mapping[str, Send]) -> pl.DataFrame:
    rows = [
        (
            zone,
            to_us(send.due_at),
            to_us(send.due_at),
            None if send.expires_at is None else to_us(send.expires_at),
            send.is_late,
        )
        for zone, send in due.items()
    ]
    schema: dict[str, Any] = {
        "time_zone": pl.String,
        "due_at_utc_us": pl.Int64,
        "next_at_utc_us": pl.Int64,
        "expires_at_utc_us": pl.Int64,
        "is_late": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _contents(study: Study, wave: Sender, message: Message, rendered: Rendered) -> pl.Series:
    rows = rendered.rows
    if message.flow is not None:
        attempts = study.spec.schedules[wave.schedule or ""].attempts
        again = pl.struct(
            most=pl.lit(attempts.most), every_hours=pl.lit(float(attempts.every_hours))
        )
        rows = rows.with_columns(flow=pl.lit(message.flow), attempts=again)
    return rows.select(pl.struct(pl.all()).struct.json_encode().alias("content_json")).to_series()


def _rendered(study: Study, message: Message, units: MessageContext) -> Rendered:
    flow = study.spec.flows.get(message.flow or "")
    return render(message, units.fields, units.language, flow)


def _keys(n: int) -> list[str]:
    """Random names, so that no provider can tell from one whose message it is."""
    text = secrets.token_bytes(16 * n).hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]


def _with_all(fields: pl.DataFrame, names: tuple[str, ...], n_rows: int) -> pl.DataFrame:
    """Columns that no unit fills in, added empty."""
    absent = [name for name in names if name not in fields.columns]
    empty = [pl.repeat(None, n_rows, dtype=pl.String, eager=True).alias(name) for name in absent]
    return fields.with_columns(empty) if fields.width else pl.DataFrame(empty)


def require_no_faults(faults: list[Fault]) -> None:
    """Refuse messages that cannot be rendered."""
    if faults:
        raise InputError(
            f"{len(faults)} messages cannot be sent to everybody; nothing was changed", faults
        )
