"""Exploration-sampling shares and the control beside them."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.decide import exploration_shares, with_control
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import beta_binomial


def test_the_formula():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    expected = p * (1 - p) / (p * (1 - p)).sum()
    np.testing.assert_allclose(exploration_shares(p), expected, rtol=1e-14)


def test_kenya_second_wave_targets():
    """Draw counts of 8,000 after wave 1, control one seventh: the published target shares."""
    prob_optimal = np.array([302, 5931, 1334, 35, 398, 0]) / 8000
    shares = with_control(exploration_shares(prob_optimal), 1 / 7)
    published = [7.44, 39.26, 28.45, 0.89, 9.68, 0.00, 14.29]
    np.testing.assert_allclose(100 * shares, published, atol=0.00501)
    assert prob_optimal[1] == pytest.approx(0.7414, abs=5e-5)


def test_one_all_but_certain_arm_leaves_the_others_in_proportion():
    shares = exploration_shares([1.0, 3e-200, 1e-200])
    np.testing.assert_allclose(shares, [0.5, 0.375, 0.125], rtol=1e-12)


def test_a_posterior_gives_shares_where_probabilities_round_to_one():
    posterior = beta_binomial([1000, 5000, 900], [10_000, 10_000, 10_000])
    assert posterior.prob_optimal.tolist() == [0.0, 1.0, 0.0]
    shares = exploration_shares(posterior)
    assert shares[1] == pytest.approx(0.5, rel=1e-12)
    assert shares[0] == pytest.approx(0.5, rel=1e-6)
    with pytest.raises(DecisionError, match="probability exactly 1"):
        exploration_shares(posterior.prob_optimal)


def test_two_arms_are_always_halved():
    np.testing.assert_allclose(exploration_shares([0.999, 0.001]), 0.5, rtol=1e-14)


@pytest.mark.parametrize("prob", [[1.0], [0.0, 1.0, 0.0]])
def test_certainty_is_no_share(prob):
    with pytest.raises(DecisionError, match="nothing is left to explore; choose that arm"):
        exploration_shares(prob)


def test_shares_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        exploration_shares([0.5, 0.5])[0] = 1


@pytest.mark.parametrize(
    ("prob", "found"),
    [
        ([0.5, 0.6], "sum of 1.1"),
        ([50, 50], "found 50"),
        ([-0.1, 1.1], "found -0.1"),
        ([np.nan, 1.0], "found nan"),
        ([], r"shape \(0,\)"),
        ([[0.5, 0.5]], r"shape \(1, 2\)"),
        ("abc", "no array"),
    ],
)
def test_bad_probabilities_are_named(prob, found):
    with pytest.raises(InputError, match=found):
        exploration_shares(prob)


def test_control_share_beside_the_others():
    np.testing.assert_allclose(with_control([0.75, 0.25], 0.2), [0.6, 0.2, 0.2])
    assert with_control([1.0], 0).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("control_share", [-0.1, 1.0, 20, np.nan])
def test_bad_control_shares_are_named(control_share):
    with pytest.raises(InputError, match="control_share"):
        with_control([0.5, 0.5], control_share)


def test_names_are_reached_from_the_package():
    assert ww.decide.exploration_shares is exploration_shares
    assert "next_shares" in dir(ww.decide)
    with pytest.raises(AttributeError, match="no attribute"):
        ww.decide.nothing  # noqa: B018
