"""``preview``: a wave's messages as one unit would get them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.enrolment import Sender
from wavewise.design.messages import Message
from wavewise.design.versions import spec_hash
from wavewise.errors import Fault, InputError
from wavewise.fieldwork.rendering import render, sms_length
from wavewise.fieldwork.schedule import Send
from wavewise.shared.streams import stream
from wavewise.workflow.facts import has_facts
from wavewise.workflow.frames import UnitData
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.queue import (
    MessageContext,
    message_context,
    message_faults,
    messages_of,
    opened_at,
    require_no_faults,
    wave_sends,
)
from wavewise.workflow.send.wording import queued_in_old_words
from wavewise.workflow.study import Study

__all__ = ["DeliveryPlan", "delivery_plan", "preview", "readiness"]


# What stands between the people of a study and its messages, before anything is sent.


def without_address(study: Study, wave: Sender, ids: pl.Series) -> dict[str, int]:
    """Numbers of units that have no address on a channel of a wave's messages.

    Channels whose addresses the study does not keep reach units by their ids, and are left out.
    """
    used = {str(message.channel) for message in messages_of(study, wave)}
    return {
        channel: len(ids) - int(ids.is_in(study.store.contacts.units(channel).implode()).sum())
        for channel in sorted(used & set(study.spec.units.address))
    }


@dataclass(frozen=True)
class Readiness:
    """What was found among the people, for the waves that still send."""

    n_units: int  # People of the study.
    # Fields that are missing without a fallback, and texts that are too long: a wave does not
    # open with them.
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]  # Units without an address, and the lengths of text messages.
    without_address: dict[str, int]  # Channel: number of units that no message of it can reach.


def readiness(study: Study) -> Readiness:
    """Every message of the waves that are not closed, written out for all people."""
    units, dated = message_context(study), has_facts(study)
    closed = {row.wave_id for row in study.store.waves.all() if row.state != "open"}
    waves = [
        wave
        for wave in study.spec.waves
        if wave.schedule and wave.imported is None and wave.id not in closed
    ]
    faults: dict[Fault, None] = {}
    notes: dict[str, None] = {}
    lacking: dict[str, int] = {}
    for wave in waves if len(units.ids) else []:
        context = message_context(study, wave) if dated else units
        found, lengths = message_faults(study, wave, context)
        faults |= dict.fromkeys(found)
        notes |= dict.fromkeys(lengths)
        lacking |= without_address(study, wave, units.ids)
    lines = address_lines(study, lacking, len(units.ids))
    return Readiness(len(units.ids), tuple(faults), (*lines, *notes), lacking)


def address_lines(study: Study, lacking: dict[str, int], n_units: int) -> tuple[str, ...]:
    """One sentence a channel for which addresses are missing."""
    return tuple(
        f"{n:,} of {n_units:,} {study.spec.units.name} have no address for {channel}: their "
        "messages fail for that reason, and they stay in intent to treat."
        for channel, n in lacking.items()
        if n
    )


def preview(
    study: Study, wave_id: str, unit: str | None = None, *, n_units: int = 1
) -> "MessagePreview":
    """Every message of a wave as a unit would get it, and when; or one message of each of some."""
    wave = study.sender(wave_id)
    units = message_context(study, wave)
    if unit is None and n_units > 1 and len(units.ids):
        return _of_several(study, wave, units, n_units)
    unit_context = units.where(units.ids == unit) if unit is not None else _first(units)
    if not len(unit_context.ids):
        raise InputError(
            "found no unit of this id; needed an imported one; ids are kept exactly as written; "
            f"import people with `wavewise people import {study.folder} FILE`"
        )
    zone = unit_context.time_zone[0]
    return MessagePreview(
        wave=wave.id,
        time_zone=zone,
        messages=tuple(
            _as_sent(study, message, unit_context) for message in messages_of(study, wave)
        ),
        due=tuple(_due(study, wave, zone)),
        note=_note(study, wave),
    )


def _of_several(
    study: Study, wave: Sender, units: MessageContext, n_units: int
) -> "MessagePreview":
    """Units drawn by the seed, rarer languages first; messages in turn."""
    rng = stream(study.spec.study.seed, wave.id, "preview")
    order = pl.Series("order", rng.permutation(len(units.ids)))
    drawn = (
        pl.DataFrame({"id": units.ids, "language": units.language, "order": order})
        .sort("order")
        .with_columns(turn=pl.int_range(pl.len()).over("language"), n=pl.len().over("language"))
        .sort("turn", "n", "order")
        .head(n_units)
    )
    messages = messages_of(study, wave)
    shown = []
    for number, unit_id in enumerate(drawn["id"] if messages else ()):
        one = units.where(units.ids == unit_id)
        rows = _as_sent(study, messages[number % len(messages)], one)
        shown.append({"unit": unit_id, "time_zone": one.time_zone[0], **rows})
    zone = study.spec.study.time_zone
    return MessagePreview(
        wave.id, zone, tuple(shown), tuple(_due(study, wave, zone)), _note(study, wave)
    )


@dataclass(frozen=True, eq=False)
class MessagePreview(VerbResult):
    """A wave's messages as one unit would get them."""

    wave: str
    time_zone: str  # The unit's.
    messages: tuple[Mapping[str, Any], ...]
    due: tuple[datetime, ...]
    note: str = ""  # Where other words are registered or queued.

    def facts(self) -> dict[str, Any]:
        """Messages and due times."""
        facts = {name: value for name, value in super().facts().items() if name != "note"}
        return facts | {"due": [moment.isoformat() for moment in self.due]}

    def summary(self) -> str:
        """Each message with its length, then due times."""
        lines = [f"Time zone {self.time_zone}.", *map(_lines, self.messages)]
        if self.due:
            lines += ["Due:", *(f"  {moment:%a %Y-%m-%d %H:%M %Z}" for moment in self.due)]
        return "\n".join([*lines, self.note] if self.note else lines)

    def _frame(self) -> pl.DataFrame:
        names = ("message", "channel", "language", "title", "text")
        rows = [{name: message.get(name) for name in names} for message in self.messages]
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _note(study: Study, wave: Sender) -> str:
    """That what was shown is not what goes out, where that is so."""
    version = study.version
    if version is not None and version.hash != spec_hash(study.spec):
        return (
            f"\nThe study file differs from version {version.number}, which is what is sent: run "
            f"`wavewise amend {study.folder} --reason TEXT`."
        )
    n = int(queued_in_old_words(study, study.spec).filter(wave_id=wave.id)["n"].sum())
    if not n:
        return ""
    return (
        f"\n{n:,} messages are queued in other words; to queue them in these: `wavewise outbox "
        f"reword {study.folder}`."
    )


@dataclass(frozen=True)
class DeliveryPlan:
    """What will go out in a wave, and when."""

    lines: tuple[str, ...] = ()  # For people: due times of each send, lengths of text messages.
    # For each send: its number, the first and the last moment over all time zones, and in how
    # many of them it is skipped as late.
    due: tuple[dict[str, object], ...] = ()
    # Channel: number of the wave's units that it cannot reach.
    without_address: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_late(self) -> bool:
        """Whether all sends are late already."""
        return bool(self.due) and all(one["is_late"] for one in self.due)


def delivery_plan(study: Study, wave: Sender, people: UnitData) -> DeliveryPlan:
    """The plan of a wave that is about to open, every message written out for every unit."""
    plan = wave_sends(study, wave, study.clock())
    if plan is None:
        return DeliveryPlan()
    units = message_context(study, wave, people)
    faults, lengths = message_faults(study, wave, units)
    require_no_faults(faults)
    zones = units.time_zone.unique().sort().to_list()
    due = tuple(
        _due_slot(slot, [plan.of(zone)[slot] for zone in zones], zones)
        for slot in range(plan.n_sends)
    )
    lacking = without_address(study, wave, units.ids)
    lines = (*(str(one.pop("text")) for one in due), *lengths)
    return DeliveryPlan((*lines, *address_lines(study, lacking, len(people))), due, lacking)


def _due_slot(slot: int, sends: list[Send], zones: list[str]) -> dict[str, object]:
    moments = [send.due_at for send in sends]
    first, last = min(moments), max(moments)
    local = first.astimezone(ZoneInfo(zones[moments.index(first)]))
    text = f"Message {slot + 1} is due {local:%a %Y-%m-%d %H:%M %Z}"
    if len(zones) > 1:
        text += f", in {len(zones)} time zones from {first:%m-%d %H:%M} to {last:%m-%d %H:%M} UTC"
    n_late = sum(send.is_late for send in sends)
    if n_late:
        text += f"; it is skipped as late in {n_late} of {len(zones)} time zones"
    return {
        "slot": slot + 1,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "n_zones_late": n_late,
        "is_late": n_late == len(zones),
        "text": f"{text}.",
    }


def _first(units: MessageContext) -> MessageContext:
    return units.where(pl.int_range(len(units.ids), eager=True) == 0)


def _as_sent(study: Study, message: Message, unit_context: MessageContext) -> dict[str, object]:
    flow = study.spec.flows.get(message.flow or "")
    rendered = render(message, unit_context.fields, unit_context.language, flow)
    row = rendered.rows.row(0, named=True)
    facts: dict[str, object] = {"message": message.id, "channel": message.channel, **row}
    facts["missing"] = [str(fault) for fault in rendered.faults]
    if message.channel == "sms" and row["text"]:
        length = sms_length(row["text"])
        facts |= {"encoding": length.encoding, "n_segments": length.n_segments}
        facts |= {"n_letters": length.n_letters, "letters_outside_gsm": length.foreign}
    return facts


def _lines(sent: Mapping[str, Any]) -> str:
    of = f"{sent['unit']}: " if "unit" in sent else ""
    head = f"\n{of}{sent['message']} ({sent['channel']}, {sent['language'] or 'no language'})"
    lines = [head]
    lines += [f"  {sent[part]}" for part in ("title", "text") if sent[part]]
    if sent.get("fields"):
        lines.append(f"  fields: {sent['fields']}")
    if "n_segments" in sent:
        lines.append(
            f"  {sent['n_segments']} segments, {sent['n_letters']} letters {sent['encoding']}"
        )
    missing = sent["missing"]
    lines += [f"  MISSING: {text}" for text in missing] if isinstance(missing, list) else []
    return "\n".join(lines)


def _due(study: Study, wave: Sender, zone: str) -> list[datetime]:
    plan = wave_sends(study, wave, opened_at(study, wave))
    return [] if plan is None else [s.due_at.astimezone(ZoneInfo(zone)) for s in plan.of(zone)]
