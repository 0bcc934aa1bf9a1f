"""``data-check``: what people and events look like, before anything is frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from wavewise.design.spec import StudySpec
from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.fieldwork.data_check import (
    DataFinding,
    KindsInUse,
    event_dates,
    event_kinds,
    languages_without_text,
    near_equal_labels,
    numbers_as_text,
    shared_contacts,
    small_strata,
    unmatched_ids,
)
from wavewise.fieldwork.outcomes import window_us
from wavewise.shared.text_tables import text_table
from wavewise.workflow.files import unmatched_ids as unmatched
from wavewise.workflow.frames import unit_data, wave_data
from wavewise.workflow.intake import score_outcomes
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.preview import readiness
from wavewise.workflow.study import Study

# What is judged when a wave is closed, by the names that --accept takes.
CLOSING_CHECKS = ("event-kinds", "unmatched-ids", "event-dates")

__all__ = ["CLOSING_CHECKS", "DataCheck", "close_findings", "data_check", "require_accepted"]


@dataclass(frozen=True, eq=False)
class DataCheck(VerbResult):
    """The verdict on a study's data."""

    findings: tuple[DataFinding, ...]
    n_units: int
    n_events: int
    shows_ids: bool = False

    @property
    def verdict(self) -> str:
        """The worst of the findings' verdicts."""
        return max((f.verdict for f in self.findings), key=("pass", "warn", "fail").index)

    def facts(self) -> dict[str, Any]:
        """Verdict, counts and findings; ids only where they were asked for."""
        rows = [
            {
                "check": f.name,
                "verdict": f.verdict,
                "count": f.count,
                "text": f.text,
                "advice": f.advice,
                "rows": list(f.rows),
                **({"ids": list(f.ids)} if self.shows_ids and f.ids else {}),
            }
            for f in self.findings
        ]
        counts = {"n_units": self.n_units, "n_events": self.n_events}
        return {"verdict": self.verdict, **counts, "checks": rows}

    def summary(self) -> str:
        """One line per check, then what to do about those that do not pass."""
        head = f"{self.n_units:,} units, {self.n_events:,} events: {self.verdict}."
        table = text_table(
            ("check", "verdict", "count"),
            [(f.name, f.verdict, f"{f.count:,}") for f in self.findings],
        )
        return "\n".join([head, "", table, *self._told()])

    def _told(self) -> Iterator[str]:
        for f in self.findings:
            if f.verdict != "pass":
                yield f"\n{f.name}: {f.verdict}. {f.text} {f.advice}"
            if self.shows_ids and f.ids:
                yield text_table(list(f.ids[0]), [list(row.values()) for row in f.ids])

    def _frame(self) -> pl.DataFrame:
        rows = [(f.name, f.verdict, f.count, f.text, f.advice) for f in self.findings]
        return pl.DataFrame(rows, ["check", "verdict", "count", "text", "advice"], orient="row")


def data_check(study: Study, wave_id: str | None = None, *, ids: bool = False) -> DataCheck:
    """Judge people and events; of one wave, or of all that are open."""
    units = unit_data(study)
    people = list(_of_people(study, units)) if len(units) else []
    events = study.store.events.by_unit_and_kind()
    waves = [study.wave(wave_id)] if wave_id else _open_waves(study)
    found = [*people, *_of_events(study, units.ids, events, waves)]
    return DataCheck(tuple(found), len(units), int(events["n"].sum()), ids)


def close_findings(study: Study, wave: Wave) -> list[DataFinding]:
    """What must be right before a wave's outcomes are frozen."""
    events = study.store.events.by_unit_and_kind()
    return list(_of_events(study, unit_data(study).ids, events, [wave]))


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


def _open_waves(study: Study) -> list[Wave]:
    open_ids = {row.wave_id for row in study.store.waves.all() if row.state != "closed"}
    return [wave for wave in study.spec.waves if wave.id in open_ids and wave.imported is None]


def kinds_in_use(spec: StudySpec) -> KindsInUse:
    """Kinds of events and the outcomes that are made of them."""
    kinds: dict[str, tuple[str, ...]] = {}
    for outcome in spec.outcomes:
        kind = outcome.event or (outcome.id if outcome.kind == "score" else None)
        if kind is not None and outcome not in score_outcomes(spec):
            kinds[kind] = (*kinds.get(kind, ()), outcome.id)
    return kinds


def _of_people(study: Study, units: Any) -> Iterator[DataFinding]:
    spec, fields = study.spec, units.fields
    yield near_equal_labels(fields, [*spec.units.strata, *spec.units.covariates])
    yield numbers_as_text(fields, spec.units.covariates)
    if spec.units.strata:
        arms = [len(spec.arms_of(wave)) for wave in spec.waves if wave.imported is None]
        yield small_strata(units.stratum(spec), max(arms, default=1))
    if spec.units.language is not None and spec.units.language in fields.columns:
        texts = [name for message in spec.messages for name in message.text]
        yield languages_without_text(fields[spec.units.language].cast(pl.String), texts)
    if spec.units.address:
        yield shared_contacts(study.store.contacts.units_per_detail())
    yield _message_fields(study)


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


def _of_events(
    study: Study, ids: pl.Series, events: pl.DataFrame, waves: list[Wave]
) -> Iterator[DataFinding]:
    kinds = kinds_in_use(study.spec)
    if not kinds or not waves:
        return
    by_kind = dict(events.group_by("kind").agg(pl.col("n").sum()).iter_rows())
    yield event_kinds(by_kind, kinds)
    used = events.filter(pl.col("kind").is_in(list(kinds)))
    by_id = used.group_by("unit_id").agg(events=pl.col("n").sum())
    lost = unmatched(by_id["unit_id"], ids).drop("n_rows")
    lost = lost.join(by_id, left_on="id", right_on="unit_id").select(
        "id", "events", "cause", "unit"
    )
    people = study.spec.units.name
    yield unmatched_ids(lost.sort("id"), int(used["n"].sum()), len(ids), people=people)
    zone = study.spec.study.time_zone
    for wave in waves:
        window = window_us(wave.starts, wave.window_days, zone)
        members = wave_data(study, wave.id).units.ids
        placed = study.store.events.around(*window, kinds=list(kinds)).filter(
            pl.col("unit_id").is_in(members.implode())
        )
        counts = placed.select("before", "inside", "after").sum().row(0, named=True)
        first, last = placed["first_us"].min(), placed["last_us"].max()
        yield event_dates(counts, first, last, window)  # type: ignore[arg-type]
