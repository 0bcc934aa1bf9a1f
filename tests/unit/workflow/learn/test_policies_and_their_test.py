"""Policies learned from closed waves in memory, and tested on a wave made of them."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from closed_waves import CLOSED, RATES, SHARES, closed, units
from study_folders import STUDY
from wavewise.decide import load_policy, random_policy, uniform_best
from wavewise.design import parse_spec
from wavewise.design.waves import PolicyRule
from wavewise.errors import InputError, StateError
from wavewise.report.evaluation import Evaluation
from wavewise.workflow.frames import HELD_OUT, ClosedWave, ClosedWaves, WaveData
from wavewise.workflow.learn.evaluate import FreshWave, PolicyEvaluation, evaluation_facts
from wavewise.workflow.learn.policies import Learner, learned_policies, rule_text, wave_of_policies

POLICIES = """
[[arms]]
id = "best"
[arms.policy]
rule = "best"
learned_on = ["one"]

[[arms]]
id = "random"
[arms.policy]
rule = "random"
learned_on = ["one"]
"""
TESTED = (
    STUDY.split('[[waves]]\nid = "two"')[0]
    + POLICIES
    + """
[[waves]]
id = "two"
units = "rest"
starts = 2024-04-01
window_days = 14
schedule = "weekly"
arms = ["best", "random"]
held_out_share = 0.25
"""
)


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(closed(TESTED, n=800, waves=["one"]))


def test_the_wave_of_policies_follows_its_last_teacher() -> None:
    spec = parse_spec(TESTED)
    assert wave_of_policies(spec, "one").id == "two"
    assert wave_of_policies(spec, "two") is None


def test_the_best_message_is_that_of_the_registered_effects(learner: Learner) -> None:
    policies = learned_policies(learner.spec.wave("two"), learner.spec, {("one",): learner})
    assert list(policies) == ["best", "random"]
    assert policies["best"].arms == ("teacher",)
    assert policies["random"].arms == ("peers", "teacher")
    assert policies["best"].hash == uniform_best(learner.effects, name="best").hash


def test_a_rule_that_learns_gives_the_same_policy_again(learner: Learner) -> None:
    rule = PolicyRule(rule="neighbours", learned_on=("one",))
    again = Learner(closed(TESTED, n=800, waves=["one"]))
    assert learner.policy(rule, "n").hash == again.policy(rule, "n").hash


def test_the_effect_learner_says_which_learners_carry_it(learner: Learner) -> None:
    policy = learner.policy(PolicyRule(rule="effect learner", learned_on=("one",)), "stack")
    assert policy.rule.model is learner.stack
    assert "effects by" in rule_text(learner.spec, policy)
    again = load_policy(BytesIO(policy.to_bytes()))
    assert again.describe() == policy.describe()
    assert (again.assign(learner.covariates) == policy.assign(learner.covariates)).all()


def test_covariates_imported_after_the_wave_opened_are_refused(learner: Learner) -> None:
    late = replace(learner, late_units={"one": (3, 800)})
    with pytest.raises(InputError, match="found 3 of 800 units of wave 'one'"):
        late.policy(PolicyRule(rule="neighbours", learned_on=("one",)), "n")
    assert late.policy(PolicyRule(rule="random", learned_on=("one",)), "r").arms


def test_policies_do_not_learn_from_waves_without_a_control() -> None:
    text = TESTED.replace("control_share = 0.25\n", "", 1)
    learner = Learner(closed(text, waves=["one"]))
    with pytest.raises(StateError, match="no control arm"):
        learner.policy(PolicyRule(rule="neighbours", learned_on=("one",)), "n")


@pytest.fixture(scope="module")
def fresh(learner: Learner) -> FreshWave:
    """A wave whose units are randomized to one message for all, or to any."""
    n, rng, spec = 4_000, np.random.default_rng(7), learner.spec
    members = units(n, 10_000)
    arm = rng.choice(["best", "random"], n)
    content = np.where(arm == "best", "teacher", rng.choice(["peers", "teacher"], n))
    held_out = rng.random(n) < 0.25
    rate = np.where(held_out, RATES["control"], np.vectorize(RATES.get)(content))
    data = WaveData(
        members,
        members.stratum(spec.units.strata),
        pl.Series("arm", arm.tolist()),
        pl.repeat(0.5, n, eager=True),
        pl.Series(held_out),
        pl.Series(content.tolist()),
        pl.Series(np.where(arm == "best", 1.0, 0.5)),
        pl.DataFrame({"login": (rng.random(n) < rate).astype(float)}),
    )
    wave = ClosedWave(
        spec.wave("two"), data, {"best": 0.5, "random": 0.5}, CLOSED + timedelta(days=40), None
    )
    policies = {
        "best": uniform_best(learner.effects, name="best"),
        "random": random_policy(("peers", "teacher"), name="random"),
    }
    return FreshWave(ClosedWaves(spec, {"two": wave}), policies, learner)


@pytest.fixture(scope="module")
def facts(fresh: FreshWave) -> dict:
    return evaluation_facts(fresh)


def test_values_cover_the_truth(facts: dict) -> None:
    assert sum(SHARES.values()) == 1
    truth = {"best": RATES["teacher"], "random": (RATES["peers"] + RATES["teacher"]) / 2}
    for row in facts["against_nothing"]:
        true = truth[row["policy"]] - RATES["control"]
        assert abs(row["estimate"] - true) < 4 * row["std_error"]
    (contrast,) = facts["contrasts"]
    assert (contrast["first"], contrast["second"]) == ("random", "best")
    difference = contrast["doubly_robust"]
    assert abs(difference["estimate"] + 0.1) < 4 * difference["std_error"]
    assert "draws by chance" in contrast["paired"]["not_estimable"]


def test_contents_are_as_probable_as_policies_and_halves_make_them(fresh: FreshWave) -> None:
    row = fresh.propensity.row(0, named=True)
    assert row == pytest.approx({"teacher": 0.5625, "peers": 0.1875, HELD_OUT: 0.25})


def test_parts_that_cannot_be_computed_have_a_reason(facts: dict) -> None:
    assert "no policy has a model of effects" in facts["spending"]["not_estimable"]


def test_a_kept_evaluation_is_read_back_with_the_same_numbers(facts: dict) -> None:
    kept = ww.report.Evaluation.of(facts, parse_spec(TESTED).primary, {"best": "one for all"})
    assert kept.facts == facts
    assert [row.policy for row in kept.policies] == ["best", "random"]
    assert kept.policies[0].rule == "one for all"
    assert kept.policies[0].effect.estimate == facts["against_nothing"][0]["estimate"]
    result = PolicyEvaluation(kept, "parents")
    assert result.facts() == facts
    assert "random does worse than best" in result.summary()
    assert isinstance(kept, Evaluation)
