"""Two phases: learn, freeze policies, randomize to them, test them on fresh outcomes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from policy_waves import at, first_phase, run_wave
from wavewise.decide import load_policy
from wavewise.design import template_text
from wavewise.errors import InputError, StateError
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld, simulate_families
from wavewise.workflow.frames import wave_data
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide
from wavewise.workflow.learn.evaluate import evaluate
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.report.report import write_report
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.study import Study, open_study

N = 4_000


@pytest.fixture(scope="module")
def world() -> FamilyWorld:
    return simulate_families(N, stream(3, "world"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, world: FamilyWorld) -> Iterator[Study]:
    """The summer study, its first phase closed and its policies not learned yet."""
    folder = tmp_path_factory.mktemp("summer")
    with first_phase(folder, template_text("peru-summer"), world) as study:
        yield study


@pytest.fixture(scope="module")
def tested(study: Study, world: FamilyWorld) -> Study:
    """The same, its second phase closed too."""
    first, second = (wave.id for wave in study.spec.waves)
    with pytest.raises(StateError, match="not learned yet"):
        open_wave(at(study, second, 0), second)
    decide(study, first)
    return run_wave(study, second, world)


def test_policies_are_frozen_and_named_in_the_store(tested: Study) -> None:
    second = tested.spec.waves[1]
    facts = tested.store.results.latest(second.id, "policies").payload["policies"]
    assert list(facts) == ["best", "forest", "neighbours", "random"]
    for name, one in facts.items():
        policy = load_policy(tested.folder / one["file"])
        assert policy.hash == one["hash"]
        assert policy.name == name
    row = tested.store.waves.get(second.id)
    with pytest.raises(StateError, match="frozen before it opened"):
        decide(tested, tested.spec.waves[0].id)
    assert row.details["held_out_share"] == 0.5


def test_halves_and_contents_are_drawn_within_strata(tested: Study) -> None:
    second = tested.spec.waves[1]
    drawn = tested.store.waves.assignment(second.id)
    assert drawn.height == N
    cells = drawn.group_by("stratum", "arm", "held_out").len()
    for _, stratum in cells.group_by("stratum"):
        assert stratum["len"].max() - stratum["len"].min() <= 1  # 8 equal cells
    assert drawn["propensity"].to_numpy() == pytest.approx(1 / 8)
    units = wave_data(tested, second.id).units
    for name in ("best", "forest", "neighbours"):
        is_own = drawn["arm"] == name
        own = drawn.filter(is_own)
        policy = load_policy(tested.folder / f"policies/{second.id}.{name}.npz")
        X = units.where(is_own).covariates(tested.spec.units.covariates)
        assert policy.assign(X).tolist() == own["content"].to_list()
        assert (own["content_propensity"] == 1).all()
    random = drawn.filter(pl.col("arm") == "random")
    assert random["content_propensity"].to_numpy() == pytest.approx(1 / 4)
    counts = random["content"].value_counts()["count"].to_numpy()
    assert ((counts - len(random) / 4) ** 2 / (len(random) / 4)).sum() < 16.3  # chi2(3), 0.1 %


def test_effects_are_against_all_held_out_units(tested: Study) -> None:
    second = tested.spec.waves[1]
    facts = analyze(tested, second.id).facts()
    rows = {row["arm"]: row for row in facts["effects"][0]["rows"]}
    drawn = tested.store.waves.assignment(second.id).join(
        tested.store.waves.outcomes(second.id), on="unit_id"
    )
    # by hand: differences within strata, weighted as least squares with strata effects weighs them
    outs, total, weight = drawn.filter("held_out"), 0.0, 0.0
    one = drawn.filter((pl.col("arm") == "best") & ~pl.col("held_out"))
    for stratum in drawn["stratum"].unique():
        a, b = (f.filter(pl.col("stratum") == stratum)["login"] for f in (one, outs))
        w = 1 / (1 / len(a) + 1 / len(b))
        total, weight = total + w * (a.mean() - b.mean()), weight + w
    assert rows["best"]["estimate"] == pytest.approx(total / weight, abs=2e-4)


def test_evaluation_agrees_with_the_truth(tested: Study, world: FamilyWorld) -> None:
    second = tested.spec.waves[1]
    facts = evaluate(tested, second.id).facts()
    json.dumps(facts, allow_nan=False)
    found = {row["policy"]: row for row in facts["against_nothing"]}
    best = load_policy(tested.folder / f"policies/{second.id}.best.npz").arms[0]
    truth = world.arm_mean((best,)) - world.arm_mean(())
    assert abs(found["best"]["estimate"] - truth) < 4 * found["best"]["std_error"]
    messages = [m.id for m in tested.spec.messages]
    mean = float(np.mean([world.arm_mean((m,)) for m in messages])) - world.arm_mean(())
    assert abs(found["random"]["estimate"] - mean) < 4 * found["random"]["std_error"]
    contrast = facts["contrasts"][0]
    assert (contrast["first"], contrast["second"]) == ("forest", "best")
    assert contrast["doubly_robust"]["basis"] == "fresh"
    assert contrast["doubly_robust"]["share_differs"] <= 1
    assert facts["targeting"]["content"] == best
    assert {curve["priority"] for curve in facts["targeting"]["curves"]} >= {"predicted outcome"}
    assert [row["spend"] for row in facts["spending"]["rows"]][-1] == 1.0
    assert tested.store.results.latest(second.id, "evaluation").payload["wave"] == second.id
    write_report(tested)


def test_the_same_study_learns_the_same_policies(tested: Study, world, tmp_path: Path) -> None:
    text = (tested.folder / "study.toml").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    people = pl.read_csv(tested.folder / "people.csv")
    people.sample(fraction=1.0, shuffle=True, seed=4).write_csv(tmp_path / "people.csv")
    with open_study(tmp_path, clock=lambda: datetime(2023, 12, 1, tzinfo=UTC)) as again:
        register(again)
        import_people(again, tmp_path / "people.csv")
        after = run_wave(again, again.spec.waves[0].id, world)
        facts = decide(after, again.spec.waves[0].id).facts()["policies"]
    first = tested.store.results.latest(tested.spec.waves[1].id, "policies").payload["policies"]
    assert {k: v["hash"] for k, v in facts.items()} == {k: v["hash"] for k, v in first.items()}


def test_a_changed_policy_file_is_refused(tested: Study) -> None:
    second = tested.spec.waves[1]
    path = tested.folder / f"policies/{second.id}.forest.npz"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + b"?")
        with pytest.raises(StateError, match="another file than the one that was frozen"):
            evaluate(tested, second.id)
        path.unlink()
        with pytest.raises(StateError, match="found no file"):
            evaluate(tested, second.id)
    finally:
        path.write_bytes(whole)


def test_what_cannot_be_evaluated_says_why(tested: Study) -> None:
    with pytest.raises(StateError, match="needed a wave whose arms are all policies"):
        evaluate(tested, tested.spec.waves[0].id)


def test_covariates_after_treatment_are_refused(tmp_path: Path, world: FamilyWorld) -> None:
    (tmp_path / "study.toml").write_text(template_text("peru-summer"), encoding="utf-8")
    world.people.with_columns(
        device_token=pl.lit("t"), time_zone=pl.lit("America/Lima"), language=pl.lit("es")
    ).write_csv(tmp_path / "people.csv")
    with open_study(tmp_path, clock=lambda: datetime(2030, 1, 1, tzinfo=UTC)) as late:
        register(late)
        import_people(late, tmp_path / "people.csv")  # years after the wave opens
        after = run_wave(late, late.spec.waves[0].id, world)
        with pytest.raises(InputError, match="imported after the wave was opened"):
            decide(after, late.spec.waves[0].id)


def test_a_frozen_policy_names_what_it_lacks_and_takes_unknown_categories(tested: Study) -> None:
    second = tested.spec.waves[1]
    X = wave_data(tested, second.id).units.covariates(tested.spec.units.covariates).head(50)
    for name in ("forest", "neighbours"):
        policy = load_policy(tested.folder / f"policies/{second.id}.{name}.npz")
        with pytest.raises(InputError, match="math_score"):
            policy.assign(X.drop("math_score"))
        # a region that no unit of the learning came from is like one that is not known
        strange = X.with_columns(region=pl.lit("elsewhere"))
        unknown = X.with_columns(region=pl.lit(None, dtype=pl.String))
        assert policy.assign(strange).tolist() == policy.assign(unknown).tolist()
