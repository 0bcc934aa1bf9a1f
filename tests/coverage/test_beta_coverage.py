"""Credible intervals and probabilities hold on average over the prior, exactly at their level."""

import numpy as np
import pytest

from wavewise.decide import exploration_shares
from wavewise.estimate import beta_binomial

LEVEL = 0.9
BOUND = 4.0  # standard errors of the simulation


def within(hits, n, level):
    return abs(hits - n * level) < BOUND * np.sqrt(n * level * (1 - level))


def truths(rng, prior, shape):
    return rng.beta(*prior, size=shape)


@pytest.mark.parametrize("kind", ["hpd", "equal-tailed"])
@pytest.mark.parametrize("prior", [(1.0, 1.0), (2.0, 20.0)])
def test_intervals_cover_at_their_level_over_the_prior(kind, prior):
    rng = np.random.default_rng(41)
    n_arms, n_studies, hits = 40, 60, 0
    for _ in range(n_studies):
        theta = truths(rng, prior, n_arms)
        trials = rng.integers(0, 60, n_arms)
        posterior = beta_binomial(rng.binomial(trials, theta), trials, prior=prior)
        low, high = posterior.cred_int(LEVEL, kind).T
        hits += int(((low <= theta) & (theta <= high)).sum())
    assert within(hits, n_arms * n_studies, LEVEL)


def test_contrast_intervals_cover_at_their_level_over_the_prior():
    rng = np.random.default_rng(43)
    n_studies, hits = 250, 0
    for _ in range(n_studies):
        theta = truths(rng, (1, 1), 2)
        trials = rng.integers(1, 60, 2)
        contrast = beta_binomial(rng.binomial(trials, theta), trials).contrast("1", "2")
        tail = contrast.cdf(float(theta[0] - theta[1]))
        hits += (1 - LEVEL) / 2 <= tail <= (1 + LEVEL) / 2
    assert within(hits, n_studies, LEVEL)


def adaptive_study(rng, n_waves, wave_size, n_arms, prior):
    """Truth and final posterior of a study whose shares are set by exploration sampling."""
    theta = truths(rng, prior, n_arms)
    successes, trials = np.zeros(n_arms, dtype=int), np.zeros(n_arms, dtype=int)
    shares = np.full(n_arms, 1 / n_arms)
    for _ in range(n_waves):
        counts = rng.multinomial(wave_size, shares)
        successes = successes + rng.binomial(counts, theta)
        trials = trials + counts
        posterior = beta_binomial(successes, trials, prior=prior)
        shares = exploration_shares(posterior)
    return theta, posterior


def calibration(rng, n_studies):
    """Hits of the intervals, of the chosen arm's interval, of being best; and their expectation."""
    n_arms, prior = 4, (5.0, 20.0)
    intervals = chosen = right = expected = loss = regret = 0.0
    spread, squares = 0.0, 0.0
    for _ in range(n_studies):
        theta, posterior = adaptive_study(rng, 3, 120, n_arms, prior)
        low, high = posterior.cred_int(LEVEL).T
        inside = (low <= theta) & (theta <= high)
        best = int(posterior.policy_regret.argmin())
        p = float(posterior.prob_optimal[best])
        intervals += inside.sum()
        chosen += inside[best]
        right += theta[best] == theta.max()
        expected += p
        spread += p * (1 - p)
        gap = float(theta.max() - theta[best])
        loss += gap
        regret += float(posterior.policy_regret[best])
        squares += (gap - float(posterior.policy_regret[best])) ** 2
    assert within(intervals, n_arms * n_studies, LEVEL)
    assert within(chosen, n_studies, LEVEL)
    assert abs(right - expected) < BOUND * np.sqrt(spread)
    assert abs(loss - regret) < BOUND * np.sqrt(squares)


def test_adaptive_waves_leave_the_posterior_calibrated():
    """Also for the arm that was chosen, and also prob_optimal and policy_regret themselves."""
    calibration(np.random.default_rng(47), 300)


@pytest.mark.slow
def test_adaptive_waves_leave_the_posterior_calibrated_in_a_large_study():
    calibration(np.random.default_rng(53), 20_000)
