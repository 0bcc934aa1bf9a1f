"""What follows from closed waves: shares, the arm, its worth; each without a database."""

import numpy as np
import pytest

import wavewise as ww
from closed_waves import RATES, closed
from study_folders import STUDY
from wavewise.errors import StateError
from wavewise.workflow.learn.decide import chosen_arm, shares_of_rule, wave_that_learns
from wavewise.workflow.learn.posteriors import evidence_of, posterior_of

COSTS = """
[planning]
n_units = 400
[planning.another_wave]
cost_per_unit = {cost}
cost_per_wave = 10
beneficiaries = 100_000
value_per_success = 1.0
"""


def decided(text: str = STUDY, n_next: int = 240):
    waves = closed(text, waves=["one"])
    wave = waves.spec.wave("two")
    return shares_of_rule(waves, wave, wave.shares, n_next)


def test_the_wave_that_learns_is_the_one_whose_last_teacher_closed() -> None:
    spec = closed().spec
    assert wave_that_learns(spec, "one").id == "two"
    assert wave_that_learns(spec, "two") is None


def test_the_posterior_is_that_of_the_counts_without_the_control() -> None:
    waves = closed()
    evidence = evidence_of(waves, waves.spec.models["login"], ["one", "two"])
    assert evidence.arms == ("peers", "teacher")
    counts = {row["arm"]: row for row in evidence.totals().to_dicts()}
    for arm, row in counts.items():
        login = [
            value
            for wave_id in waves.ids
            for value, own in zip(
                waves.data(wave_id).outcomes["login"], waves.data(wave_id).arm, strict=True
            )
            if own == arm
        ]
        assert (row["successes"], row["trials"]) == (sum(login), len(login))
    expected = ww.estimate.beta_binomial(
        [counts[arm]["successes"] for arm in evidence.arms],
        [counts[arm]["trials"] for arm in evidence.arms],
        arms=evidence.arms,
    )
    found = posterior_of(waves, "login", ["one", "two"])
    assert found.prob_optimal == pytest.approx(expected.prob_optimal, rel=1e-12)


def test_where_lower_is_better_failures_are_counted() -> None:
    lower = STUDY.replace("primary = true", "primary = true\nhigher_is_better = false")
    higher = posterior_of(closed(), "login", ["one"])
    found = posterior_of(closed(lower), "login", ["one"])
    assert found.success_prob == pytest.approx(1 - higher.success_prob)
    assert found.prob_optimal.argmax() != higher.prob_optimal.argmax()


def test_shares_keep_the_control_and_add_up() -> None:
    found = decided()
    assert found.shares["control"] == 0.25
    assert sum(found.shares.values()) == pytest.approx(1)
    facts = found.facts()
    assert set(facts) == {"for_wave", "shares", "decision", "prob_optimal"}
    assert facts["for_wave"] == "two"
    assert sum(facts["prob_optimal"].values()) == pytest.approx(1)
    assert found.summary().startswith("Shares of wave two:")
    assert dict(found.to_frame().select("arm", "share").iter_rows()) == found.shares


@pytest.mark.parametrize(("cost", "verdict"), [(0.001, "go on"), (1000, "stop")])
def test_the_value_of_information_needs_costs(cost: float, verdict: str) -> None:
    assert decided().value_of_information is None
    rates = {**RATES, "peers": 0.6}
    waves = closed(STUDY + COSTS.format(cost=cost), waves=["one"], rates=rates)
    wave = waves.spec.wave("two")
    found = shares_of_rule(waves, wave, wave.shares, 240)
    assert found.facts()["another_wave"]["verdict"] == verdict


def test_shares_without_a_model_are_refused() -> None:
    waves = closed(waves=["one"])
    wave = waves.spec.wave("two")
    with pytest.raises(StateError, match="name no model"):
        shares_of_rule(waves, wave, wave.shares.model_copy(update={"model": None}))


def test_the_arm_that_is_chosen_has_the_lowest_regret() -> None:
    waves = closed()
    found = chosen_arm(waves, waves.spec.decision, "two", waves.ids)
    posterior = posterior_of(waves, "login", ["one", "two"])
    best = posterior.arms[int(np.argmin(posterior.policy_regret))]
    assert (found.arm, found.runner_up) == (best, "peers")
    facts = found.facts()
    assert facts["learned_on"] == ["one", "two"]
    assert facts["policy_regret"] == posterior.policy_regret.min()
    assert found.summary().startswith(f"Chosen by lowest expected regret: {best}.")


def test_the_direction_is_said_where_lower_is_better() -> None:
    lower = STUDY.replace("primary = true", "primary = true\nhigher_is_better = false")
    waves = closed(lower)
    found = chosen_arm(waves, waves.spec.decision, "two", waves.ids)
    assert "Lower is better" in found.summary()
    assert "Lower is better" in found.facts()["text"]
