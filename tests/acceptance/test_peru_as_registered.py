"""Peru as registered: phase 2 draws the same parents within strata of the week before it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from set_clock import Clock
from wavewise.design.templates import template_text
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld, simulate_families
from wavewise.workflow.frames import WaveData, wave_data
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide
from wavewise.workflow.learn.evaluate import evaluate
from wavewise.workflow.learn.frozen_policies import frozen_policies
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.report.report import write_report
from wavewise.workflow.run.data_check import data_check
from wavewise.workflow.run.observe import close_wave, observe
from wavewise.workflow.run.open_wave import open_wave, window_start
from wavewise.workflow.study import Study, open_study

N = 5_000
WEEK = timedelta(days=7)


class Run:
    """The study with everything that was delivered to it."""

    def __init__(self, study: Study, clock: Clock, world: FamilyWorld) -> None:
        self.study, self.clock, self.world = study, clock, world
        self.events: list[pl.DataFrame] = []

    def deliver(self, events: pl.DataFrame) -> None:
        observe(self.study, events)
        self.events.append(events.select("unit_id", "kind", "at"))

    def start(self, wave_id: str) -> datetime:
        return window_start(self.study, self.study.wave(wave_id))

    def logins_in(self, begin: datetime, end: datetime) -> dict[str, int]:
        """Logins of each parent in a span, counted here."""
        at = pl.col("at").str.to_datetime(time_zone="UTC")
        low, high = (moment.astimezone(UTC) for moment in (begin, end))
        inside = pl.concat(self.events).filter(pl.col("kind") == "login", at >= low, at < high)
        return dict(inside.group_by("unit_id").len().iter_rows())

    def phase(self, wave_id: str, arms: Any) -> None:
        wave, start = self.study.wave(wave_id), self.start(wave_id)
        sequences = {a.id: a.sequence for a in self.study.spec.arms_of(self.study.spec.waves[0])}
        events = self.world.events(
            arms, sequences, starts=start, window_days=wave.window_days,
            rng=stream(7, wave_id), prefix=wave_id, later=wave_id == "phase-2",
        )  # fmt: skip
        self.clock.now = start + timedelta(days=wave.window_days + 7)
        self.deliver(events)
        close_wave(self.study, wave_id)


def without_forest(text: str) -> str:
    """The study without the policy that takes minutes to learn."""
    kept = [line for line in text.splitlines() if 'rule = "causal forest"' not in line]
    return "\n".join(kept).replace('["forest", "best"], ', "")


@pytest.fixture(scope="module", params=["quick", pytest.param("whole", marks=pytest.mark.full)])
def policies(request: pytest.FixtureRequest) -> str:
    """With the causal forest, or without."""
    return str(request.param)


@pytest.fixture(scope="module")
def run(
    database: str, policies: str, request: pytest.FixtureRequest, tmp_path_factory: Any
) -> Iterator[Run]:
    folder: Path = tmp_path_factory.mktemp("peru")
    text = template_text("peru-school-year")
    text = text if policies == "whole" else without_forest(text)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    url = None
    if database == "postgresql":
        from postgres_server import new_database

        url = new_database(request.getfixturevalue("postgres"), f"peru_{policies}")
    world = simulate_families(N, stream(7, "families"))
    clock = Clock(datetime.fromisoformat("2023-10-02T12:00:00+00:00"))
    with open_study(folder, store_url=url, clock=clock) as study:
        made = Run(study, clock, world)
        register(study)
        import_people(study, world.people)
        clock.now = made.start("phase-1")
        made.deliver(world.logins_before(made.start("phase-1"), stream(7, "before")))
        open_wave(study, "phase-1")
        made.phase("phase-1", study.store.waves.assignment("phase-1"))
        analyze(study, "phase-1")
        decide(study, "phase-1")
        ends = made.start("phase-1") + timedelta(days=21)
        between = world.logins_between(ends, made.start("phase-2"), stream(7, "between"))
        clock.now = made.start("phase-2")
        made.deliver(between)
        open_wave(study, "phase-2")
        sent = pl.when("held_out").then(pl.lit("control")).otherwise("content")
        made.phase("phase-2", study.store.waves.assignment("phase-2").with_columns(arm=sent))
        yield made


def data(run: Run, wave_id: str) -> WaveData:
    return wave_data(run.study, wave_id)


@pytest.mark.parametrize("wave_id", ["phase-1", "phase-2"])
def test_each_phase_is_stratified_by_the_week_before_it(run: Run, wave_id: str) -> None:
    start, of_wave = run.start(wave_id), data(run, wave_id)
    logins = run.logins_in(start - WEEK, start)
    expected = ["yes" if unit in logins else "no" for unit in of_wave.units.ids]
    assert of_wave.stratum.to_list() == expected
    counts = pl.DataFrame({"s": of_wave.stratum, "a": of_wave.arm}).group_by("s", "a").len()
    n = dict(of_wave.stratum.value_counts().iter_rows())
    n_arms = of_wave.arm.n_unique()
    for stratum, arm, size in counts.iter_rows():
        share = 0.2 if arm == "control" else 0.8 / (n_arms - 1)
        share = 1 / n_arms if wave_id == "phase-2" else share
        assert abs(size - share * n[stratum]) <= 1


def test_logins_move_between_the_phases(run: Run) -> None:
    first, second = data(run, "phase-1"), data(run, "phase-2")
    assert first.units.ids.equals(second.units.ids)
    assert (first.stratum != second.stratum).sum() > 1_000


def test_prior_use_is_as_of_each_phase(run: Run) -> None:
    for wave_id in ("phase-1", "phase-2"):
        start, units = run.start(wave_id), data(run, wave_id).units
        logins = run.logins_in(start - 4 * WEEK, start)
        assert units.fields["logins_4_weeks"].to_list() == [logins.get(u, 0) for u in units.ids]


def test_policies_of_phase_1_choose_by_what_is_known_in_phase_2(run: Run) -> None:
    study, wave = run.study, run.study.wave("phase-2")
    name = "forest" if "forest" in {arm.id for arm in study.spec.arms_of(wave)} else "neighbours"
    policy, of_wave = frozen_policies(study, wave)[name], data(run, "phase-2")
    names = study.spec.covariates_of(wave)
    now, then = (data(run, w).units.covariates(names) for w in ("phase-2", "phase-1"))
    chosen, former = (
        np.asarray(policy.arms)[policy.probabilities(X).argmax(axis=1)] for X in (now, then)
    )
    in_arm = (of_wave.arm == name).to_numpy()
    assert of_wave.content.to_numpy()[in_arm].tolist() == chosen[in_arm].tolist()
    if len(set(chosen)) > 1:
        assert (chosen != former).any()


def test_the_evaluation_adjusts_for_the_strata_of_phase_2(run: Run) -> None:
    of_wave = data(run, "phase-2")
    found = evaluate(run.study, "phase-2").facts()
    effects = next(e for e in found["effects"] if e["outcome"] == "login" and e["registered"])
    condition = of_wave.condition.to_numpy()
    arms = sorted(set(condition) - {"held out"})
    columns = [np.ones(N), *((condition == arm).astype(float) for arm in arms)]
    X = np.column_stack([*columns, (of_wave.stratum == "yes").to_numpy().astype(float)])
    y = of_wave.outcomes["login"].cast(pl.Float64).to_numpy()
    slopes = dict(zip(arms, np.linalg.lstsq(X, y, rcond=None)[0][1:], strict=False))
    for row in effects["rows"]:
        assert row["estimate"] == pytest.approx(slopes[row["arm"]], abs=1e-9)


def test_a_late_login_is_told_and_changes_nothing(run: Run) -> None:
    start, before = run.start("phase-2"), data(run, "phase-2")
    silent = before.units.ids.filter(before.stratum == "no").head(25)
    late = pl.DataFrame(
        {"event_id": [f"late-{i}" for i in range(25)], "unit_id": silent, "kind": ["login"] * 25,
         "at": [(start - timedelta(days=2)).isoformat()] * 25}
    )  # fmt: skip
    frozen = run.study.store.waves.facts("phase-2")
    observe(run.study, late)
    assert run.study.store.waves.facts("phase-2").equals(frozen)
    (finding,) = (f for f in data_check(run.study, "phase-2").findings if f.name == "frozen-facts")
    assert f"logged_in_last_week of 25 {run.study.spec.units.name}" in finding.text
    again = replace(run.study, cache={})
    assert wave_data(again, "phase-2").stratum.equals(before.stratum)
    assert (
        "would change logged_in_last_week of 25 parents" in write_report(run.study).page.read_text()
    )
