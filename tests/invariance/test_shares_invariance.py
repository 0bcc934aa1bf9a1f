"""Shares: sums, order, and the bound of one half."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wavewise.decide import exploration_shares, with_control

WEIGHTS = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=12)
few = settings(max_examples=100, deadline=None, derandomize=True)


def probabilities(weights):
    array = np.array(weights)
    assume((array > 1e-150).sum() >= 2)
    return array / array.sum()


@few
@given(WEIGHTS)
def test_shares_sum_to_one_and_none_exceeds_one_half(weights):
    shares = exploration_shares(probabilities(weights))
    assert abs(shares.sum() - 1) < 1e-15 * (2 + shares.size)
    assert (shares >= 0).all()
    assert shares.max() <= 0.5 * (1 + 1e-12)


@few
@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_of_arms_does_not_matter(weights, random):
    prob = probabilities(weights)
    order = list(range(prob.size))
    random.shuffle(order)
    np.testing.assert_allclose(
        exploration_shares(prob)[order], exploration_shares(prob[order]), rtol=1e-12, atol=1e-300
    )


@few
@given(WEIGHTS, st.floats(0, 0.99))
def test_a_control_keeps_the_others_in_proportion(weights, control_share):
    shares = exploration_shares(probabilities(weights))
    wave = with_control(shares, control_share)
    assert wave[-1] == control_share
    assert abs(wave.sum() - 1) < 1e-14
    np.testing.assert_allclose(wave[:-1], (1 - control_share) * shares, rtol=1e-13)


@few
@given(WEIGHTS)
def test_a_likelier_arm_never_gets_less_while_none_exceeds_one_half(weights):
    """p (1 - p) rises in p up to 1/2; above, arms are ordered by the sum of the others."""
    prob = probabilities(weights)
    shares = exploration_shares(prob)
    order = np.argsort(prob)
    assert (np.diff(shares[order]) >= -1e-12).all()
