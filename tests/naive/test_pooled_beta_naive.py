"""The partly pooled beta-binomial model against sums over a fine grid in other coordinates."""

import numpy as np
import pytest
from scipy import special, stats

import wavewise as ww
from wavewise.errors import InputError

Y = np.array([[12, 30, 4], [2, 1, 0], [0, 0, 0], [40, 55, 30]])
N = np.array([[100, 100, 20], [10, 4, 3], [0, 0, 0], [200, 190, 210]])


def grid(y, n):
    """Points (m, c) with their weights: midpoints in m and s = (1 + c)^(-1/2)."""
    m, s = np.meshgrid((np.arange(600) + 0.5) / 600, (np.arange(600) + 0.5) / 600)
    m, c = m.ravel(), s.ravel() ** -2.0 - 1
    log_weight = np.zeros(m.size)
    for successes, trials in zip(y, n, strict=True):
        log_weight += stats.betabinom(trials, m * c, (1 - m) * c).logpmf(successes)
    weight = np.exp(log_weight - log_weight.max())
    return m, c, weight / weight.sum()


def cells(y, n):
    """Mean and standard deviation of one arm in each stratum."""
    m, c, weight = grid(y, n)
    for successes, trials in zip(y, n, strict=True):
        a, b = m * c + successes, (1 - m) * c + trials - successes
        mean = weight @ (a / (a + b))
        second = weight @ (a * (a + 1) / (a + b) / (a + b + 1))
        yield mean, np.sqrt(second - mean**2)


def test_means_and_standard_deviations() -> None:
    found = ww.estimate.pooled_beta_binomial(Y, N)
    for k in range(3):
        expected = np.array(list(cells(Y[:, k], N[:, k])))
        assert found.mean[:, k] == pytest.approx(expected[:, 0], abs=2e-4)
        assert found.sd[:, k] == pytest.approx(expected[:, 1], abs=4e-4)


def test_probabilities_and_regret_against_draws() -> None:
    found, rng, n_draws = ww.estimate.pooled_beta_binomial(Y, N), np.random.default_rng(1), 200_000
    theta = np.empty((4, 3, n_draws))
    for k in range(3):
        m, c, weight = grid(Y[:, k], N[:, k])
        pick = rng.choice(m.size, n_draws, p=weight)
        for x in range(4):
            theta[x, k] = rng.beta(
                m[pick] * c[pick] + Y[x, k], (1 - m[pick]) * c[pick] + N[x, k] - Y[x, k]
            )
    best = (theta == theta.max(axis=1, keepdims=True)).mean(axis=2)
    regret = (theta.max(axis=1, keepdims=True) - theta).mean(axis=2)
    assert found.prob_optimal == pytest.approx(best, abs=0.005)
    assert found.policy_regret == pytest.approx(regret, abs=0.002)


def test_probabilities_sum_to_one_and_regret_follows_from_means() -> None:
    """E[max] is the same from every arm: its mean plus its regret."""
    found = ww.estimate.pooled_beta_binomial(Y, N)
    assert found.prob_optimal.sum(axis=1) == pytest.approx(1)
    best = found.mean + found.policy_regret
    assert best == pytest.approx(np.broadcast_to(best[:, :1], best.shape), abs=5e-4)


def test_many_trials_leave_each_stratum_its_own_rate() -> None:
    y = np.array([[1000, 3000], [9000, 7000]])
    found = ww.estimate.pooled_beta_binomial(y, np.full((2, 2), 100_000))
    assert found.mean == pytest.approx(y / 100_000, abs=1e-3)
    exact = [ww.estimate.beta_binomial(row, [100_000] * 2).prob_optimal for row in y]
    assert found.prob_optimal == pytest.approx(np.array(exact), abs=1e-6)


def test_strata_that_are_alike_are_pooled() -> None:
    """Twenty strata of twenty trials at one rate: each mean is near the arm's, not its own."""
    y = np.random.default_rng(2).binomial(20, 0.3, (20, 2))
    found = ww.estimate.pooled_beta_binomial(y, np.full((20, 2), 20))
    assert np.ptp(found.mean) < 0.5 * np.ptp(y / 20)
    assert found.spread.max() < 0.1


def test_without_data_all_arms_are_alike() -> None:
    found = ww.estimate.pooled_beta_binomial(np.zeros((2, 4)), np.zeros((2, 4)))
    assert found.mean == pytest.approx(0.5, abs=1e-6)
    assert found.prob_optimal == pytest.approx(0.25, abs=1e-6)


def test_calibrated_over_the_prior() -> None:
    """With truths from the prior, an arm that is best with probability p is best that often."""
    rng, sure, hits = np.random.default_rng(3), [], []
    for _ in range(40):
        m, s = rng.random((2, 2))
        c = s**-2.0 - 1
        theta = rng.beta(m * c, (1 - m) * c, (5, 2))
        found = ww.estimate.pooled_beta_binomial(rng.binomial(12, theta), np.full((5, 2), 12))
        sure.append(found.prob_optimal[:, 0])
        hits.append(theta[:, 0] > theta[:, 1])
    gap = np.concatenate(hits) - np.concatenate(sure)
    by_experiment = gap.reshape(40, 5).mean(axis=1)
    assert abs(by_experiment.mean()) < 4 * by_experiment.std() / np.sqrt(40)
    assert np.mean(gap**2) < special.expit(0) ** 2 * 0.8


def test_a_stratum_serves_decisions_and_bad_counts_are_named() -> None:
    found = ww.estimate.pooled_beta_binomial(Y, N, arms=["a", "b", "c"], strata=list("wxyz"))
    shares = ww.decide.next_shares(found.stratum("w"), rule="tempered Thompson", floor=0.1)
    assert shares.shares.sum() == pytest.approx(1)
    assert ww.decide.best_arm(found.stratum("z")).arm == "b"
    assert found.to_frame().height == 12
    assert type(found).from_dict(found.to_dict()) == found
    with pytest.raises(InputError, match="needed one of w, x, y, z"):
        found.stratum("v")
    for y, n in (([[3, 1]], [[2, 1]]), ([[0.5, 1]], [[2, 1]]), ([1, 2], [3, 4])):
        with pytest.raises(InputError):
            ww.estimate.pooled_beta_binomial(y, n)
