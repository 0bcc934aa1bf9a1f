"""``data-check``: what people and events look like, before anything is frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from wavewise.design.spec import OPT_OUT, StudySpec
from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.fieldwork.data_check import (
    DataFinding,
    KindsInUse,
    Verdict,
    event_dates,
    event_kinds,
    event_values,
    languages_without_text,
    near_equal_labels,
    numbers_as_text,
    shared_contacts,
    small_strata,
    unmatched_ids,
)
from wavewise.fieldwork.outcomes import window_us
from wavewise.shared.text_tables import text_table
from wavewise.workflow.facts import changed_facts, changed_text
from wavewise.workflow.files import unmatched_ids as unmatched
from wavewise.workflow.frames import UnitData, unit_data, wave_data
from wavewise.workflow.intake import score_outcomes
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.preview import readiness
from wavewise.workflow.study import Study

# What is judged when a wave is closed, by the names that --accept takes.
CLOSING_CHECKS = ("event-kinds", "unmatched-ids", "event-dates")
LATE_EVENTS = (
    "The draw and the analysis use the frozen values; deliver events before a wave is opened."
)

__all__ = [
    "CLOSING_CHECKS",
    "DataCheck",
    "close_findings",
    "data_check",
    "findings_now",
    "people_notes",
    "require_accepted",
]


@dataclass(frozen=True, eq=False)
class DataCheck(VerbResult):
    """The verdict on a study's data."""

    findings: tuple[DataFinding, ...]
    n_units: int
    n_events: int
    shows_ids: bool = False

    @property
    def verdict(self) -> str:
        """The worst of the findings' verdicts; ``none`` where there is nothing to judge."""
        found = {f.verdict for f in self.findings}
        return next((one for one in ("fail", "warn", "pass") if one in found), "none")

    def facts(self) -> dict[str, Any]:
        """Verdict, counts and findings; ids only where they were asked for."""
        rows = [
            finding_facts(f)
            | {"rows": list(f.rows)}
            | ({"ids": list(f.ids)} if self.shows_ids and f.ids else {})
            for f in self.findings
        ]
        counts = {"n_units": self.n_units, "n_events": self.n_events}
        return {"verdict": self.verdict, **counts, "checks": rows}

    def summary(self) -> str:
        """One line per check, then what to do about those that do not pass."""
        if not self.findings:
            return "Nothing to judge yet: import people with `wavewise people import DIR FILE`."
        head = f"{self.n_units:,} units, {self.n_events:,} events: {self.verdict}."
        table = text_table(
            ("check", "verdict", "count"),
            [(f.name, f.verdict, f"{f.count:,}") for f in self.findings],
        )
        return "\n".join([head, "", table, *self._told()])

    def _told(self) -> Iterator[str]:
        for f in self.findings:
            if f.verdict != "pass":
                yield f"\n{f.line}"
            if self.shows_ids and f.ids:
                yield text_table(list(f.ids[0]), [list(row.values()) for row in f.ids])

    def _frame(self) -> pl.DataFrame:
        rows = [(f.name, f.verdict, f.count, f.text, f.advice) for f in self.findings]
        return pl.DataFrame(rows, ["check", "verdict", "count", "text", "advice"], orient="row")


def finding_facts(finding: DataFinding) -> dict[str, Any]:
    """A finding in plain words, without rows and ids."""
    f = finding
    facts = {"check": f.name, "verdict": f.verdict, "count": f.count}
    return {**facts, "text": f.text, "advice": f.advice}


def data_check(study: Study, wave_id: str | None = None, *, ids: bool = False) -> DataCheck:
    """Judge people and events; of one wave, or of all that are open."""
    events = study.store.events.by_unit_and_kind()
    waves = [study.wave(wave_id)] if wave_id else _waves(study, ("open", "reopened"))
    units = unit_data(study)
    people = [*people_findings(study, units), _message_fields(study)] if len(units) else []
    found = [*people, *_of_events(study, units.ids, events, waves), *_of_facts(study, waves)]
    return DataCheck(tuple(found), len(units), int(events["n"].sum()), ids)


def findings_now(study: Study) -> tuple[dict[str, Any], ...]:
    """Facts on people and events of all waves that were opened, as they are now."""
    waves, units = _waves(study, ("open", "reopened", "closed")), unit_data(study)
    if not waves or not len(units):
        return ()
    events = study.store.events.by_unit_and_kind()
    found = [
        *people_findings(study, units),
        *_of_events(study, units.ids, events, waves),
        *_of_facts(study, waves),
    ]
    return tuple(map(finding_facts, found))


def close_findings(study: Study, wave: Wave) -> list[DataFinding]:
    """What must be right before a wave's outcomes are frozen."""
    events = study.store.events.by_unit_and_kind()
    found = _of_events(study, unit_data(study).ids, events, [wave])
    # events without a value stop the outcomes themselves, and cannot be accepted
    return [one for one in found if one.name in CLOSING_CHECKS]


def require_accepted(
    study: Study, wave_id: str, findings: list[DataFinding], accept: Sequence[str], reason: str
) -> dict[str, Any] | None:
    """What was accepted and why, as a record; an error for failed findings that were not."""
    failed = {f.name: f for f in findings if f.verdict == "fail"}
    if accept and not reason.strip():
        raise InputError(
            "found --accept without --reason; needed why; add --reason TEXT, which goes on record"
        )
    unknown = sorted(set(accept) - set(CLOSING_CHECKS))
    if unknown:
        known = ", ".join(CLOSING_CHECKS)
        raise InputError(f"found --accept {', '.join(unknown)}; needed one of {known}")
    left = [f for name, f in failed.items() if name not in accept]
    if left:
        told = "\n".join(f"- {f.name}: {f.text} {f.advice}" for f in left)
        names = " ".join(f"--accept {f.name}" for f in left)
        raise InputError(
            f"wave '{wave_id}' was not closed, since these checks of its data fail:\n{told}\n"
            "Correct the data, or close it all the same: "
            f"`wavewise wave close {study.folder} {wave_id} {names} --reason TEXT`; the reason "
            "goes on record"
        )
    if not failed:
        return None
    told_of = [{"check": f.name, "count": f.count, "text": f.text} for f in failed.values()]
    return {"reason": reason.strip(), "checks": told_of}


def _waves(study: Study, states: Sequence[str]) -> list[Wave]:
    """Waves of messages in these states."""
    found = {row.wave_id for row in study.store.waves.all() if row.state in states}
    return [wave for wave in study.spec.waves if wave.id in found and wave.imported is None]


def kinds_in_use(spec: StudySpec) -> KindsInUse:
    """Kinds of events and the outcomes that are made of them."""
    kinds: dict[str, tuple[str, ...]] = {}
    for outcome in spec.outcomes:
        kind = outcome.event_kind
        if kind not in {None, OPT_OUT} and outcome not in score_outcomes(spec):
            kinds[kind] = (*kinds.get(kind, ()), outcome.id)
    return kinds


def people_findings(
    study: Study, units: UnitData, waves: Sequence[Wave] | None = None
) -> Iterator[DataFinding]:
    """What people are like, for the arms of these waves or of all."""
    spec, fields = study.spec, units.fields
    of = spec.waves if waves is None else waves
    covariates = [name for wave in of for name in spec.covariates_of(wave)]
    strata = [name for wave in of for name in spec.strata_of(wave)]
    yield near_equal_labels(fields, [*strata, *covariates])
    yield numbers_as_text(fields, list(dict.fromkeys(covariates)))
    for columns in dict.fromkeys(spec.strata_of(wave) for wave in of):
        known = columns and set(columns) <= set(fields.columns)
        drawn = [w for w in of if w.imported is None and spec.strata_of(w) == columns]
        if known and not any(fields[name].null_count() for name in columns):
            arms = [len(spec.arms_of(wave)) for wave in drawn]
            yield small_strata(units.stratum(columns), max(arms, default=1))
    if spec.units.language is not None:
        texts = [name for message in spec.messages for name in message.text]
        found = study.store.units.languages()
        yield languages_without_text(found, texts, people=spec.units.name)
    if spec.units.address:
        yield shared_contacts(_shared_contacts(study, units))


def people_notes(
    study: Study, units: UnitData, waves: Sequence[Wave] | None = None
) -> tuple[str, ...]:
    """What does not pass of people, in sentences."""
    found = people_findings(study, units, waves)
    return tuple(f.line for f in found if f.verdict != "pass")


def _shared_contacts(study: Study, units: UnitData) -> pl.DataFrame:
    """Details of several of these units, with the group that is drawn as one."""
    shared = study.store.contacts.shared().filter(pl.col("unit_id").is_in(units.ids.implode()))
    column = study.spec.units.randomize_by
    if column is None or column not in units.fields.columns:
        return shared.with_columns(group="unit_id")
    groups = pl.DataFrame({"unit_id": units.ids, "group": units.fields[column].cast(pl.String)})
    return shared.join(groups, on="unit_id", how="left")


def _message_fields(study: Study) -> DataFinding:
    faults = readiness(study).faults
    if not faults:
        return DataFinding("message-fields", "pass", 0, "Every message has its fields.")
    told = " ".join(f"{fault}" for fault in faults[:3])
    return DataFinding(
        "message-fields",
        "fail",
        len(faults),
        told,
        "Fill the cells, or give the message a fallback.",
    )


def _of_facts(study: Study, waves: list[Wave]) -> Iterator[DataFinding]:
    """Whether events came that would have changed what a wave froze."""
    for wave in waves:
        units = wave_data(study, wave.id).units
        changed = changed_facts(study, wave, units.ids, units.time_zone)
        if changed is not None:
            n = sum(changed.values())
            text = changed_text(changed, wave.id, study.spec.units.name)
            rows = tuple({"wave": wave.id, "fact": f, "units": k} for f, k in changed.items())
            verdict: Verdict = "warn" if n else "pass"
            yield DataFinding("frozen-facts", verdict, n, text, LATE_EVENTS if n else "", rows)


def _of_events(
    study: Study, ids: pl.Series, events: pl.DataFrame, waves: list[Wave]
) -> Iterator[DataFinding]:
    kinds = kinds_in_use(study.spec)
    if not kinds or not waves:
        return
    by_kind = dict(events.group_by("kind").agg(pl.col("n").sum()).iter_rows())
    yield event_kinds(by_kind, kinds)
    used = events.filter(pl.col("kind").is_in(list(kinds))).rename({"n": "events"})
    known = {kind: n for kind, n in by_kind.items() if kind in kinds}
    lost = unmatched(used["unit_id"], ids).drop("n_rows").rename({"id": "unit_id"})
    lost = used.join(lost, on="unit_id").rename({"unit_id": "id"})
    lost = lost.select("id", "kind", "events", "cause", "unit").sort("id", "kind")
    yield unmatched_ids(lost, known, len(ids), people=study.spec.units.name)
    made_of = {o.event_kind for o in study.spec.outcomes if o.kind in ("sum", "score")}
    valued = [kind for kind in kinds if kind in made_of]
    for wave in waves:
        name = wave.id if len(waves) > 1 else ""
        first, last = study.spec.span(wave)
        begins = wave.starts + timedelta(days=first - 1)
        window = window_us(begins, last - first + 1, study.spec.study.time_zone)
        around = study.store.events.around(*window, kinds=list(kinds), wave_id=wave.id)
        yield event_dates(around.drop("valueless"), window, wave=name)
        if valued:
            yield event_values(around, valued, wave=name)
