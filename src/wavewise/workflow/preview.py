"""``preview``: a wave's messages as one unit would get them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.messages import Message
from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.fieldwork.rendering import render
from wavewise.fieldwork.schedule import Send
from wavewise.fieldwork.sms_length import sms_length
from wavewise.workflow.done import Done
from wavewise.workflow.outgoing import (
    WordedUnits,
    message_faults,
    messages_of,
    refuse_faults,
    wave_sends,
    worded_units,
)
from wavewise.workflow.readiness import address_lines, without_address
from wavewise.workflow.study import Study

__all__ = ["DeliveryPlan", "delivery_plan", "preview"]


def preview(study: Study, wave_id: str, unit: str | None = None) -> Done:
    """Every message of a wave as a unit would get it, and when.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        A wave of the spec, open or not.
    unit : str, optional
        Id of the unit; the first one by default.

    Raises
    ------
    InputError
        There is no such unit.
    """
    wave = study.wave(wave_id)
    units = worded_units(study)
    own = units.where(units.ids == unit) if unit is not None else _first(units)
    if not len(own.ids):
        raise InputError(
            "found no unit of this id; needed an imported one; ids are kept exactly as written; "
            f"import people with `wavewise people import {study.folder} FILE`"
        )
    shown = [_shown(study, message, own) for message in messages_of(study, wave)]
    zone = own.time_zone[0]
    due = _due(study, wave, zone)
    lines = [f"Time zone {zone}.", *(_lines(one) for one in shown)]
    if due:
        lines += ["Due:", *(f"  {moment:%a %Y-%m-%d %H:%M %Z}" for moment in due)]
    facts = {
        "wave": wave.id,
        "time_zone": zone,
        "messages": shown,
        "due": [moment.isoformat() for moment in due],
    }
    return Done("\n".join(lines), facts)


@dataclass(frozen=True)
class DeliveryPlan:
    """What will go out in a wave, and when.

    Parameters
    ----------
    lines : tuple of str
        For people: due times of each send, lengths of text messages.
    due : tuple of dict
        For each send: its number, the first and the last moment over all time zones, and in how
        many of them it is skipped as late.
    without_address : mapping of str to int
        Channel: number of the wave's units that it cannot reach.
    """

    lines: tuple[str, ...] = ()
    due: tuple[dict[str, object], ...] = ()
    without_address: Mapping[str, int] = field(default_factory=dict)


def delivery_plan(study: Study, wave: Wave, ids: pl.Series) -> DeliveryPlan:
    """The plan of a wave that is about to open, every message written out for every unit.

    Raises
    ------
    InputError
        A message lacks a field for some units, or is too long: nothing could send it.
    """
    plan = wave_sends(study, wave, study.clock())
    if plan is None:
        return DeliveryPlan()
    units = worded_units(study).of(ids)
    faults, lengths = message_faults(study, wave, units)
    refuse_faults(faults)
    zones = units.time_zone.unique().sort().to_list()
    due = tuple(
        _due_slot(slot, [plan.of(zone)[slot] for zone in zones], zones)
        for slot in range(plan.n_sends)
    )
    lacking = without_address(study, wave, units.ids)
    lines = (*(str(one.pop("text")) for one in due), *lengths)
    return DeliveryPlan((*lines, *address_lines(study, lacking, len(ids))), due, lacking)


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
        "text": f"{text}.",
    }


def _first(units: WordedUnits) -> WordedUnits:
    return units.where(pl.int_range(len(units.ids), eager=True) == 0)


def _shown(study: Study, message: Message, own: WordedUnits) -> dict[str, object]:
    flow = study.spec.flows.get(message.flow or "")
    rendered = render(message, own.fields, own.language, flow)
    row = rendered.rows.row(0, named=True)
    facts: dict[str, object] = {"message": message.id, "channel": message.channel, **row}
    facts["missing"] = [str(fault) for fault in rendered.faults]
    if message.channel == "sms" and row["text"]:
        length = sms_length(row["text"])
        facts |= {"encoding": length.encoding, "n_segments": length.n_segments}
        facts |= {"n_letters": length.n_letters, "letters_outside_gsm": length.foreign}
    return facts


def _lines(shown: dict[str, object]) -> str:
    head = f"\n{shown['message']} ({shown['channel']}, {shown['language'] or 'no language'})"
    lines = [head]
    lines += [f"  {shown[part]}" for part in ("title", "text") if shown[part]]
    if shown.get("fields"):
        lines.append(f"  fields: {shown['fields']}")
    if "n_segments" in shown:
        lines.append(
            f"  {shown['n_segments']} segments, {shown['n_letters']} letters {shown['encoding']}"
        )
    missing = shown["missing"]
    lines += [f"  MISSING: {text}" for text in missing] if isinstance(missing, list) else []
    return "\n".join(lines)


def _due(study: Study, wave: Wave, zone: str) -> list[datetime]:
    row = study.store.wave(wave.id)
    plan = wave_sends(study, wave, None if row is None else row.opened_at)
    return [] if plan is None else [s.due_at.astimezone(ZoneInfo(zone)) for s in plan.of(zone)]
