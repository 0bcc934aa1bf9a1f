"""Every rule: sums, floors, order of arms; and the expected gain of a wave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.decide import shares, stop_or_go, with_floor
from wavewise.decide.rules import RULES
from wavewise.estimate import beta_binomial

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=2, max_size=9).filter(
    lambda weights: sum(w > 0 for w in weights) > 1
)
ADAPTIVE = st.sampled_from([name for name in RULES if name != "fixed"])
COUNTS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), min_size=2, max_size=5
)
few = settings(max_examples=80, deadline=None, derandomize=True)


def probabilities(weights):
    return np.array(weights, float) / sum(weights)


@few
@given(WEIGHTS, ADAPTIVE, st.floats(0, 0.9), st.floats(0, 0.999))
def test_sum_floor_and_control(weights, rule, control_share, part):
    matched = rule == "control-augmented"
    floor = part * (1 - control_share) / (len(weights) + matched)
    if matched:
        floor = part / (len(weights) + 1) * (1 - control_share)
    wave = shares(probabilities(weights), rule=rule, control_share=control_share, floor=floor)
    assert abs(wave.sum() - 1) < 1e-12
    assert wave[: len(weights)].min() >= floor
    if control_share > 0 and not matched:
        assert wave[-1] == control_share
    if matched:
        assert wave[-1] >= control_share
        assert wave[-1] == pytest.approx(max(control_share, wave[:-1].max()))


@few
@given(WEIGHTS, ADAPTIVE, st.floats(0, 0.1), st.randoms(use_true_random=False))
def test_the_order_of_arms_does_not_matter(weights, rule, floor, random):
    order = list(range(len(weights)))
    random.shuffle(order)
    prob = probabilities(weights)
    first = shares(prob, rule=rule, control_share=0.05, floor=floor / 2)
    second = shares(prob[order], rule=rule, control_share=0.05, floor=floor / 2)
    np.testing.assert_allclose(first[[*order, -1]], second, rtol=1e-11, atol=1e-300)


@few
@given(WEIGHTS, ADAPTIVE)
def test_a_likelier_arm_never_gets_less(weights, rule):
    prob = probabilities(weights)
    wave = shares(prob, rule=rule)[: prob.size]
    assert (np.diff(wave[np.argsort(prob)]) >= -1e-12).all()


@few
@given(WEIGHTS, st.floats(0, 0.1))
def test_raising_a_floor_twice_is_raising_it_once(weights, floor):
    once = with_floor(probabilities(weights), floor)
    np.testing.assert_allclose(with_floor(once, floor), once, rtol=1e-12)


@few
@given(COUNTS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_expected_gain_lies_between_nothing_and_the_regret_in_any_order(pairs, n_next, random):
    order = list(range(len(pairs)))
    random.shuffle(order)
    first, second = (
        stop_or_go(
            beta_binomial([y for y, _ in rows], [n for _, n in rows]),
            n_next=n_next * len(pairs),
            rule="equal",
            trials_per_unit=2,
            cost_per_unit=1.0,
            cost_per_wave=1.0,
            beneficiaries=1e3,
            value_per_success=1.0,
        )
        for rows in (pairs, [pairs[k] for k in order])
    )
    assert 0 <= first.regret_reduction <= first.policy_regret
    assert 0 <= first.prob_change <= 1
    assert first.units[order].tolist() == second.units.tolist()
    assert first.regret_reduction == second.regret_reduction
    assert first.prob_change == pytest.approx(second.prob_change, abs=1e-12)


def test_draws_in_another_order_of_arms_give_the_same_gain():
    class Drawn:
        def __init__(self, draws):
            self.draws = draws
            self.arms = tuple(map(str, range(draws.shape[1])))
            best = draws.argmax(axis=1)
            self.prob_optimal = np.bincount(best, minlength=draws.shape[1]) / len(draws)
            self.log_prob_optimal = np.log(self.prob_optimal)
            self.policy_regret = draws.max(axis=1).mean() - draws.mean(axis=0)

    draws = np.random.default_rng(2).normal([0.1, 0.3, 0.0, 0.2], 1.0, (2000, 4))
    order = [2, 0, 3, 1]
    first, second = (
        stop_or_go(
            Drawn(np.ascontiguousarray(values)),
            n_next=100,
            cost_per_unit=1.0,
            cost_per_wave=1.0,
            beneficiaries=1e3,
            value_per_success=1.0,
            outcome_sd=4.0,
            rng=np.random.default_rng(7),
            n_draws=4000,
        )
        for values in (draws, draws[:, order])
    )
    assert first.units[order].tolist() == second.units.tolist()
    assert first.regret_reduction == pytest.approx(second.regret_reduction, rel=1e-12)
