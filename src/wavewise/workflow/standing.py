"""Where a study stands, and which step comes next: read from counts, never from rows of people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeAlias

import polars as pl

from wavewise.design.spec import StudySpec
from wavewise.design.versions import spec_hash
from wavewise.design.waves import AllocationRule, Wave
from wavewise.store import WaveRow
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

__all__ = ["NextStep", "Standing", "WaveStanding", "standing"]

# Verbs in the order in which a study takes them.
NextVerb: TypeAlias = Literal[
    "register",
    "amend",
    "people_import",
    "wave_import",
    "wave_open",
    "observe",
    "wave_close",
    "analyze",
    "decide",
    "evaluate",
    "report",
]


@dataclass(frozen=True)
class NextStep:
    """The step that comes next."""

    verb: NextVerb
    wave: str | None = None  # Of those that are about one.
    not_before: datetime | None = None  # When it can be taken, where that is yet to come.


@dataclass(frozen=True)
class WaveStanding:
    """How far one wave is."""

    id: str
    label: str
    starts: date
    state: Literal["not open", "open", "closed"]
    is_imported: bool
    n_units: int  # Drawn; 0 where it is not open.
    n_held_out: int
    opened_at: datetime | None
    closed_at: datetime | None
    window_ends: datetime | None  # From then on it can be closed.
    close_planned: datetime | None  # The same, after the registered wait for late data.
    needs_decision: bool  # Later waves, or the final choice, follow from it.
    needs_evaluation: bool  # It tests policies.
    # What was found last, as the verbs print it for machines.
    analysis: Mapping[str, Any] | None = field(repr=False)
    decision: Mapping[str, Any] | None = field(repr=False)
    evaluation: Mapping[str, Any] | None = field(repr=False)

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.state == "closed" and not any(
            (
                self.analysis is None,
                self.needs_decision and self.decision is None,
                self.needs_evaluation and self.evaluation is None,
            )
        )


@dataclass(frozen=True, eq=False)
class Standing(VerbResult):
    """Where a study stands."""

    title: str
    units: str  # What the study calls them.
    n_units: int
    version: int | None  # The active registered version.
    registered_at: datetime | None
    hash: str | None
    is_changed: bool  # The study file says something else than that version.
    is_exploratory: bool
    waves: tuple[WaveStanding, ...]
    steps: tuple[NextStep, ...]  # That can be taken, the next one first.

    @property
    def next(self) -> NextStep:
        """The step that comes next; in the end there is always a report to write."""
        return self.steps[0]

    def summary(self) -> str:
        """One line."""
        verb = self.next.verb.replace("_", " ")
        return f"{self.title}: {self.n_units:,} {self.units}; next: {verb}"

    def wave(self, wave_id: str) -> WaveStanding | None:
        """One wave of the study."""
        return next((wave for wave in self.waves if wave.id == wave_id), None)

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame([(w.id, w.state, w.n_units) for w in self.waves], orient="row")


def standing(study: Study) -> Standing:
    """Where a study stands now."""
    version, n_units = study.version, study.store.units.count()
    rows = {row.wave_id: row for row in study.store.waves.all()}
    waves = tuple(_wave(study, wave, rows.get(wave.id)) for wave in study.spec.waves)
    changed = version is not None and version.hash != spec_hash(study.spec)
    return Standing(
        title=study.spec.study.title,
        units=study.spec.units.name,
        n_units=n_units,
        version=None if version is None else version.number,
        registered_at=None if version is None else version.created_at,
        hash=None if version is None else version.hash,
        is_changed=changed,
        is_exploratory=any(row.exploratory for row in rows.values()),
        waves=waves,
        steps=tuple(_steps(study, waves, n_units, is_changed=changed)),
    )


def _wave(study: Study, wave: Wave, row: WaveRow | None) -> WaveStanding:
    def kept(wave_id: str, kind: str) -> Mapping[str, Any] | None:
        found = study.store.results.latest(wave_id, kind)
        return None if found is None else found.payload

    counts = row.details.get("counts", ()) if row is not None else ()
    starts_at = row.starts_at if row is not None else None
    ends = None if starts_at is None else starts_at + timedelta(days=study.spec.decided_after(wave))
    wait = timedelta(days=study.spec.registration.wait_days or 0)
    tests = any(arm.policy is not None for arm in study.spec.arms_of(wave))
    kind = _decision_kind(study.spec, wave.id)
    return WaveStanding(
        id=wave.id,
        label=wave.name,
        starts=wave.starts,
        state="not open" if row is None else "closed" if row.state == "closed" else "open",
        is_imported=wave.imported is not None,
        n_units=sum(int(one["n_units"]) for one in counts),
        n_held_out=sum(int(one.get("n_held_out") or 0) for one in counts),
        opened_at=None if row is None else row.opened_at,
        closed_at=None if row is None else row.closed_at,
        window_ends=ends,
        close_planned=None if ends is None else ends + wait,
        needs_decision=kind is not None,
        needs_evaluation=tests,
        analysis=kept(wave.id, "analysis") if row is not None else None,
        decision=None if kind is None or row is None else kept(*kind),
        evaluation=kept(wave.id, "evaluation") if tests and row is not None else None,
    )


def _decision_kind(spec: StudySpec, wave_id: str) -> tuple[str, str] | None:
    """Under which wave and kind the decision that follows from a wave is kept."""
    order = [wave.id for wave in spec.waves]
    for wave in spec.waves:
        rule = wave.shares
        if isinstance(rule, AllocationRule) and max(rule.learned_on, key=order.index) == wave_id:
            return wave.id, "next-shares"
    for wave in spec.waves:
        rules = [arm.policy for arm in spec.arms_of(wave) if arm.policy is not None]
        teachers = [name for one in rules for name in one.learned_on]
        if teachers and max(teachers, key=order.index) == wave_id:
            return wave.id, "policies"
    decision = spec.decision
    if decision is not None and max(decision.learned_on, key=order.index) == wave_id:
        return wave_id, "decision"
    return None


def _steps(
    study: Study, waves: tuple[WaveStanding, ...], n_units: int, *, is_changed: bool
) -> Iterator[NextStep]:
    """Steps that can be taken, the next one first."""
    if study.version is None:
        yield NextStep("register")
    elif is_changed:
        yield NextStep("amend")
    if not n_units:
        first = waves[0]
        imported = first.is_imported
        yield NextStep("wave_import", first.id) if imported else NextStep("people_import")
        return
    for wave in waves:
        if wave.state == "not open":
            if study.version is not None:
                yield NextStep("wave_import" if wave.is_imported else "wave_open", wave.id)
            return
        if wave.state == "open":
            if not wave.is_imported and (
                wave.window_ends is None or study.clock() < wave.window_ends
            ):
                yield NextStep("observe")
            yield NextStep("wave_close", wave.id, wave.window_ends)
            return
        if wave.analysis is None:
            yield NextStep("analyze", wave.id)
            return
        if wave.needs_decision and wave.decision is None:
            yield NextStep("decide", wave.id)
            return
        if wave.needs_evaluation and wave.evaluation is None:
            yield NextStep("evaluate", wave.id)
            return
    yield NextStep("report")
