"""``demo``: the Peru study on simulated families, from plan to the test of what was learned."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.design.templates import template_text
from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.report.contents import TruthContents, TruthRow
from wavewise.report.evaluation import PolicyTruth
from wavewise.shared.results import Result
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import text_table
from wavewise.simulated import FamilyWorld, Season, simulate_families
from wavewise.workflow.frames import HELD_OUT, wave_data
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide
from wavewise.workflow.learn.evaluate import evaluate
from wavewise.workflow.learn.frozen_policies import frozen_policies
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.report.contents import SimulatedTruth
from wavewise.workflow.report.report import write_report
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.observe import close_wave, observe
from wavewise.workflow.run.open_wave import open_wave, window_start
from wavewise.workflow.study import DATABASE_FILE, STUDY_FILE, Study, open_study

__all__ = ["SEASONS", "run_demo"]

Step = Callable[[str, int, int], None]
Sequences = Mapping[str, tuple[str, ...]]
MARK = "# made by wavewise demo"
N_STEPS = 11
LEARN, TEST = "phase-1", "phase-2"
SEASONS: Mapping[Season, str] = {"school year": "peru-school-year", "summer": "peru-summer"}


def run_demo(
    folder: Path, *, n_units: int, seed: int, step: Step, season: Season = "school year"
) -> "DemoRun":
    """Register, randomize to messages, learn policies, randomize to policies, test them, report."""
    _prepare(folder, seed, season)
    numbers = count()

    def tell(text: str) -> None:
        step(text, next(numbers), N_STEPS)

    tell(f"simulate {n_units:,} families")
    world = simulate_families(n_units, stream(seed, "demo", "families"), season=season)
    world.people.write_csv(folder / "people.csv")
    with _demo_study(folder) as (study, at):
        register(study)
        tell("import people")
        import_people(study, folder / "people.csv")
        learned = _phase(study, LEARN, world, seed, at, tell)
        analyze(learned, LEARN)
        tell(f"{LEARN}: learn policies, and freeze them")
        decide(learned, LEARN)
        tested = _phase(study, TEST, world, seed, at, tell)
        tell(f"{TEST}: evaluate the policies on its outcomes")
        evaluated = evaluate(tested, TEST)
        truth = _truth(tested, world)
        tell("report")
        report = write_report(tested, simulated=True, truth=truth)
        return _demo_run(tested, truth, evaluated, report.facts()["page"])


def _phase(
    study: Study,
    wave_id: str,
    world: FamilyWorld,
    seed: int,
    at: Callable[..., Study],
    tell: Callable[[str], None],
) -> Study:
    """A wave from its opening to its closing, after the registered wait; the study on that day."""
    wave = study.wave(wave_id)
    tell(f"{wave_id}: randomize")
    opening = at(study, wave, days=0)
    _observe_before(opening, wave, world, seed)
    open_wave(opening, wave_id)
    tell(f"{wave_id}: send and observe")
    after = at(study, wave, days=wave.window_days + (study.spec.registration.wait_days or 1))
    _observe(after, wave, world, seed)
    tell(f"{wave_id}: close")
    close_wave(after, wave_id)
    return after


def _prepare(folder: Path, seed: int, season: Season) -> None:
    if season not in SEASONS:
        raise InputError(f"season: found {season!r}; needed {' or '.join(SEASONS)}")
    template = template_text(SEASONS[season])
    text = re.sub(r"(?m)^seed = \d+", f"seed = {seed}", template, count=1)
    path = folder / STUDY_FILE
    if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
        raise InputError(f"found another study in {folder}; give another folder with --out")
    if folder.exists() and not path.exists() and any(folder.iterdir()):
        raise InputError(f"found files in {folder}; give an empty or a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{DATABASE_FILE}{suffix}").unlink(missing_ok=True)
    path.write_text(f"{MARK}\n{text}", encoding="utf-8")


@contextmanager
def _demo_study(folder: Path) -> Iterator[tuple[Study, Callable[..., Study]]]:
    """The study, and a way to see it on a simulated day, so that runs are the same every day."""

    def at(study: Study, wave: Wave, *, days: int) -> Study:
        moment = window_start(study, wave) + timedelta(days=days)
        return replace(study, clock=lambda: moment)

    planned = datetime(2023, 10, 2, 9, tzinfo=UTC)
    with open_study(folder, clock=lambda: planned) as study:
        yield study, at


def _sequences(study: Study) -> Sequences:
    return {arm.id: arm.sequence for arm in study.spec.arms_of(study.wave(LEARN))}


def _observe_before(study: Study, wave: Wave, world: FamilyWorld, seed: int) -> None:
    """Logins until the wave begins, of which its strata and covariates are made."""
    rng, starts = stream(seed, "demo", wave.id, "before"), window_start(study, wave)
    if wave.id == LEARN:
        logins = world.logins_before(starts, rng)
    else:
        learned = study.wave(LEARN)
        ends = window_start(study, learned) + timedelta(days=learned.window_days)
        logins = world.logins_between(ends, starts, rng)
    path = study.folder / f"events-before-{wave.id}.csv"
    logins.write_csv(path)
    observe(study, path)


def _observe(study: Study, wave: Wave, world: FamilyWorld, seed: int) -> None:
    assigned = study.store.waves.assignment(wave.id)
    if wave.id == TEST:
        # held-out families do what families without messages do
        sent = pl.when("held_out").then(pl.lit("control")).otherwise("content")
        assigned = assigned.with_columns(arm=sent)
    events = world.events(
        assigned,
        _sequences(study),
        starts=window_start(study, wave),
        window_days=wave.window_days,
        rng=stream(seed, "demo", wave.id, "responses"),
        prefix=wave.id,
        later=wave.id == TEST,
    )
    path = study.folder / f"events-{wave.id}.csv"
    events.write_csv(path)
    observe(study, path)


def _truth(study: Study, world: FamilyWorld) -> SimulatedTruth:
    """Login rates of all families under each arm, in closed form from the simulated world."""
    sequences = _sequences(study)
    messages = {arm: sequence for arm, sequence in sequences.items() if sequence}
    outcome, before = study.spec.primary, world.arm_mean(())
    learned = [
        TruthRow(arm, mean := world.arm_mean(sequence), mean - before if sequence else None)
        for arm, sequence in sequences.items()
    ]
    units = wave_data(study, TEST).units
    places = pl.DataFrame({"parent_id": units.ids}).with_row_index("place")
    order = world.people.join(places, on="parent_id", maintain_order="left")["place"].to_numpy()
    covariates = units.covariates(study.spec.covariates_of(study.wave(TEST)))[order]
    nothing = world.arm_mean((), later=True)
    means = {
        name: world.policy_mean(policy.probabilities(covariates), policy.arms, messages)
        for name, policy in frozen_policies(study, study.wave(TEST)).items()
    }
    rows = [TruthRow(HELD_OUT, nothing)]
    rows += [TruthRow(name, mean, mean - nothing) for name, mean in means.items()]
    return SimulatedTruth(
        TruthContents(outcome, tuple(rows)),
        {LEARN: TruthContents(outcome, tuple(learned))},
        PolicyTruth(
            {name: mean - nothing for name, mean in means.items()},
            world.best_mean(messages) - nothing,
        ),
    )


@dataclass(frozen=True, eq=False)
class DemoRun(VerbResult):
    """What the demonstration learned, beside the truth of its simulated families."""

    report: str
    effects: tuple[Mapping[str, Any], ...]  # Of each arm in the first wave, and the true one.
    policies: tuple[Mapping[str, Any], ...]  # Against no message in the second, and the true one.
    contrasts: tuple[Mapping[str, Any], ...]
    chosen: str  # The policy with the largest estimate.
    best: str  # The policy that is truly best.
    ceiling: float  # What the best message for each family would give.
    evaluation: str  # The second wave's evaluation in words.

    def facts(self) -> dict[str, Any]:
        """Estimates beside the truth."""
        return {name: value for name, value in super().facts().items() if name != "evaluation"}

    def summary(self) -> str:
        """Estimates beside the truth, in percentage points."""
        head = ["effect (pp)", "95% low", "95% high", "truth (pp)"]
        effects = [_row(row["arm"], row) for row in self.effects]
        policies = [_row(row["policy"], row) for row in self.policies]
        return "\n".join(
            [
                f"Simulated families. {LEARN}: effects on the login rate, in percentage points:",
                text_table(["pair", *head], effects),
                "",
                f"{TEST}: policies learned on {LEARN}, against no message, on fresh outcomes:",
                text_table(["policy", *head], policies),
                f"If every family got what is truly best for it: {100 * self.ceiling:.2f}.",
                "",
                self.evaluation,
                "",
                f"Report: {self.report}",
            ]
        )

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.policies))


def _demo_run(study: Study, truth: SimulatedTruth, evaluated: Result, page: str) -> DemoRun:
    analysed = study.store.results.latest(LEARN, "analysis")
    effects = [] if analysed is None else analysed.payload["effects"]
    primary = study.spec.primary.id
    first = next(e for e in effects if e["outcome"] == primary and e["registered"])["rows"]
    found = evaluated.facts()
    tested = found["against_nothing"]
    gains, learned = truth.policies.effects, {r.arm: r.effect for r in truth.waves[LEARN].rows}
    return DemoRun(
        report=page,
        effects=tuple({**row, "truth": learned[row["arm"]]} for row in first),
        policies=tuple({**row, "truth": gains[row["policy"]]} for row in tested),
        contrasts=tuple(
            {**row, "truth": gains[row["first"]] - gains[row["second"]]}
            for row in found["contrasts"]
        ),
        chosen=max(tested, key=lambda row: row["estimate"])["policy"],
        best=max(gains, key=lambda name: gains[name]),
        ceiling=truth.policies.ceiling,
        evaluation=evaluated.summary(),
    )


def _row(name: str, row: Mapping[str, Any]) -> list[Any]:
    values = (row["estimate"], row["conf_low"], row["conf_high"], row["truth"])
    return [name, *(None if value is None else 100 * value for value in values)]
