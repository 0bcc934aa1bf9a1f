"""Facts of units as of a wave: columns that were measured again, or derived from events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from wavewise.design.enrolment import ANSWERED, NO_ANSWER, Enrolment, Sender
from wavewise.design.messages import Derived, placeholders
from wavewise.design.spec import StudySpec
from wavewise.errors import Fault
from wavewise.fieldwork.facts import (
    EventFacts,
    fact_columns,
    fact_window_us,
    facts_from_events,
)
from wavewise.fieldwork.people import derived_fields
from wavewise.store.frames import decode_json_rows
from wavewise.workflow.study import Study

__all__ = [
    "WaveFacts",
    "changed_facts",
    "changed_text",
    "event_rules",
    "facts_as_of",
    "frozen_facts",
    "has_facts",
]

RULES, UNTIL = "facts", "facts_received_until"  # in a wave's own row


@dataclass(frozen=True)
class WaveFacts:
    """What units look like as of a wave, beside their rows of the people file."""

    values: pl.DataFrame = field(default_factory=pl.DataFrame)  # (n_units, n_facts)
    faults: tuple[Fault, ...] = ()  # What cannot be said.
    # Why facts are not complete yet: kinds that were never seen, events that may still arrive.
    incomplete: tuple[Fault, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)  # For the wave's own row.


def has_facts(study: Study) -> bool:
    """Whether columns of units may differ between waves."""
    answers = any(one.answers for one in study.spec.enrolment)
    return (
        answers or bool(event_rules(study.spec)) or not study.store.units.measurements().is_empty()
    )


def event_rules(spec: StudySpec) -> dict[str, Derived]:
    """Facts that are made of events: name and rule."""
    return {name: rule for name, rule in spec.derived.items() if rule.event is not None}


def facts_as_of(
    study: Study, wave: Sender, ids: pl.Series, time_zone: pl.Series, encoded: pl.Series
) -> WaveFacts:
    """Facts of units as of a wave, from what is known now; units by their ids, in any order."""
    measured = _measured(study, wave, ids, encoded)
    rules = event_rules(study.spec)
    found = WaveFacts()
    if rules:
        made = _from_events(study, wave, rules, ids, time_zone)
        found = _checked(study, wave, rules, _zones(study, time_zone), made)
    values = pl.DataFrame([*measured, *found.values, *_answers(study, wave, ids)])
    named = {*study.spec.design_columns} & study.spec.made_columns
    cut = {name: rule for name, rule in study.spec.derived.items()
           if rule.cut and (rule.event is not None or name in named)}  # fmt: skip
    if cut:
        known = decode_json_rows(encoded).with_columns(*values)
        values = values.with_columns(*derived_fields(cut, known))
    return WaveFacts(values, found.faults, found.incomplete, found.record)


def _measured(study: Study, wave: Sender, ids: pl.Series, encoded: pl.Series) -> list[pl.Series]:
    """Columns that were measured up to a wave; before, and where a cell is empty, as before."""
    rows = study.store.units.measurements()
    starts = {one.id: one.starts.isoformat() for one in study.spec.waves}
    day = pl.coalesce("as_of", pl.col("for_wave").replace_strict(starts, default=None))
    rows = rows.with_columns(day=day).filter(
        pl.col("day") <= wave.starts.isoformat(), pl.col("unit_id").is_in(ids.implode())
    )
    if rows.is_empty():
        return []
    rows = rows.sort("day", "measurement_id")
    # read together, so that a column has one type
    both = decode_json_rows(pl.concat([encoded, rows["fields_json"]]))
    names = decode_json_rows(rows["fields_json"]).columns
    every = pl.DataFrame({"unit_id": pl.concat([ids, rows["unit_id"]])})
    return [
        every.with_columns(both[name].alias("value"))
        .group_by("unit_id", maintain_order=True)
        .agg(pl.col("value").drop_nulls().last())["value"]
        .alias(name)
        for name in names
    ]


def _answers(study: Study, wave: Sender, ids: pl.Series) -> list[pl.Series]:
    """Who answered the enrolment before a wave; nobody had while it is not closed."""
    one = wave if isinstance(wave, Enrolment) else study.spec.enrolment_of(wave.id)
    if one is None or one.answers is None:
        return []
    rows = study.store.enrolments.units(one.id)
    answered = ids.is_in(rows.filter(pl.col("answered"))["unit_id"].implode())
    words = pl.when(answered).then(pl.lit(ANSWERED)).otherwise(pl.lit(NO_ANSWER))
    return [pl.select(words.alias(one.answers))[one.answers]]


def _from_events(
    study: Study, wave: Sender, rules: Mapping[str, Derived], ids: pl.Series, time_zone: pl.Series
) -> EventFacts:
    default, zones = study.spec.study.time_zone, _zones(study, time_zone)
    windows = [fact_window_us(rule, wave.starts, zone) for rule in rules.values() for zone in zones]
    end = max(high for _, high in windows)
    start = None
    if all(rule.within_days for rule in rules.values()):
        start = min(low for low, _ in windows)
    return facts_from_events(
        study.store.events.batches(fact_columns(rules), _kinds(rules), start, end),
        pl.DataFrame({"unit_id": ids, "time_zone": time_zone}),
        rules,
        starts=wave.starts,
        default_time_zone=default,
    )


def _zones(study: Study, time_zone: pl.Series) -> list[str]:
    default = study.spec.study.time_zone
    return time_zone.fill_null(default).unique().to_list() or [default]


def _checked(
    study: Study, wave: Sender, rules: Mapping[str, Derived], zones: Sequence[str], made: EventFacts
) -> WaveFacts:
    """Facts with what is wrong of those that the wave uses; others are for later waves."""
    record: dict[str, Any] = {RULES: {name: _plain(rule) for name, rule in rules.items()}}
    used = {name: rule for name, rule in rules.items() if name in _used(study.spec, wave)}
    faults = tuple(fault for name, fault in made.faults.items() if name in used)
    if not used:
        return WaveFacts(made.values, record=record)
    incomplete = tuple(_never_seen(study, used))
    if not incomplete:
        end = max(fact_window_us(rule, wave.starts, z)[1] for rule in used.values() for z in zones)
        until = _received_until(study, _kinds(used), end)
        if until is not None:
            incomplete = (_still_arriving(wave, used, until, end),)
            record[UNTIL] = until.isoformat()
    return WaveFacts(made.values, faults, incomplete, record)


def _used(spec: StudySpec, wave: Sender) -> set[str]:
    """Columns that a wave is drawn or compared by, or that messages show, and their sources."""
    shown = [
        name
        for message in spec.messages
        for text in (*message.text.values(), *message.title.values(), *message.fields.values())
        for name in placeholders(text)
    ]
    named = {*spec.columns_of(wave), *shown}
    rules = (spec.derived[name] for name in named if name in spec.derived)
    return named | {rule.from_ for rule in rules if rule.from_ is not None}


def _kinds(rules: Mapping[str, Derived]) -> list[str]:
    return list(dict.fromkeys(kind for rule in rules.values() for kind in rule.event or ()))


def _plain(rule: Derived) -> dict[str, Any]:
    return rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _never_seen(study: Study, rules: Mapping[str, Derived]) -> list[Fault]:
    """Facts none of whose kinds of events was ever seen."""
    return [
        Fault(
            f"derived.{name}.event",
            f"no event of kind {' or '.join(map(repr, rule.event or ()))} yet",
            "one at least, or every unit is taken to have had none",
            "deliver the events with `wavewise observe DIR FILE --kind KIND`, or amend the kind",
        )
        for name, rule in rules.items()
        if not any(study.store.events.was_seen(kind) for kind in rule.event or ())
    ]


def _received_until(study: Study, kinds: list[str], end_us: int) -> datetime | None:
    """Until when events were received, where that is before the end of what facts count."""
    if study.store.events.received_since(kinds, end_us):
        return None
    until = study.store.events.received_until(kinds)
    return datetime.fromtimestamp((until or 0) / 1e6, UTC)


def _still_arriving(
    wave: Sender, rules: Mapping[str, Derived], until: datetime, end_us: int
) -> Fault:
    end = datetime.fromtimestamp(end_us / 1e6, UTC)
    return Fault(
        f"derived ({', '.join(rules)})",
        f"events received until {until:%Y-%m-%d %H:%M} UTC",
        f"all events before wave '{wave.id}', until {end:%Y-%m-%d %H:%M} UTC",
        "deliver them with `wavewise observe DIR FILE` after that moment, then open the wave",
    )


def changed_facts(
    study: Study, wave: Sender, ids: pl.Series, time_zone: pl.Series
) -> dict[str, int] | None:
    """Fact: number of units for which later events would have changed it; None without facts."""
    row = study.store.waves.get(wave.id)
    told = {} if row is None else row.details.get(RULES, {})
    if not told:
        return None
    rules = {name: Derived.model_validate(rule) for name, rule in told.items()}
    now = _from_events(study, wave, rules, ids, time_zone).values
    cut = {name: rule for name, rule in rules.items() if rule.cut}
    now = now.with_columns(*derived_fields(cut, now)) if cut else now
    before = frozen_facts(study, wave.id, ids)
    return {
        name: int(before[name].cast(now[name].dtype).ne_missing(now[name]).sum()) for name in rules
    }


def changed_text(changed: Mapping[str, int], wave_id: str, units: str) -> str:
    """How many frozen values the events of today would change, in a sentence."""
    told = [f"{name} of {n:,} {units}" for name, n in changed.items() if n]
    if not told:
        return f"Facts of wave {wave_id} are frozen, and the events of today give the same."
    return (
        f"Facts of wave {wave_id} stay as they were frozen; events of today would change "
        f"{', '.join(told)}."
    )


def frozen_facts(study: Study, wave_id: str, ids: pl.Series) -> pl.DataFrame:
    """What was frozen of units when a wave was opened, in their order: a column a fact."""
    found = study.store.waves.facts(wave_id)
    if found.is_empty():
        return pl.DataFrame()
    wanted = pl.DataFrame({"unit_id": ids})
    return wanted.join(found, on="unit_id", how="left", maintain_order="left").drop("unit_id")
