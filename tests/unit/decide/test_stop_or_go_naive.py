"""Expected gain of another wave against brute force and closed forms."""

from fractions import Fraction
from itertools import product
from math import comb, prod

import numpy as np
import pytest
from scipy import special

from wavewise.decide.value_of_information import sample_information_beta, sample_information_normal
from wavewise.estimate import beta_binomial


def rising(x, n):
    return prod((Fraction(x) + i for i in range(n)), start=Fraction(1))


def beta_binomial_prob(s, n, a, b):
    """Probability of s successes in n trials, exact."""
    return comb(n, s) * rising(a, s) * rising(b, n - s) / rising(a + b, n)


def best_of(a, b):
    return max(range(len(a)), key=lambda k: Fraction(int(a[k]), int(a[k] + b[k])))


def brute_force(a, b, trials):
    """Every outcome of the next wave, in exact fractions."""
    today = max(Fraction(int(x), int(x + y)) for x, y in zip(a, b, strict=True))
    leader = best_of(a, b)
    expected = change = Fraction(0)
    for wave in product(*(range(n + 1) for n in trials)):
        rows = list(zip(wave, trials, map(int, a), map(int, b), strict=True))
        prob = Fraction(1)
        for s, n, x, y in rows:
            prob *= beta_binomial_prob(s, n, x, y)
        means = [Fraction(x + s, x + y + n) for s, n, x, y in rows]
        expected += prob * max(means)
        change += prob * (max(means) > means[leader])
    return float(expected - today), float(change)


@pytest.mark.parametrize(
    ("a", "b", "trials"),
    [
        ([1, 1], [1, 1], [1, 1]),
        ([3, 4], [9, 8], [5, 7]),
        ([3, 4, 2], [9, 8, 11], [4, 6, 3]),
        ([3, 4, 2], [9, 8, 11], [0, 6, 3]),
        ([3, 4, 2], [9, 8, 11], [5, 0, 0]),
        ([2, 2, 2, 2], [5, 5, 5, 5], [2, 2, 3, 3]),
        ([9, 1, 1], [2, 30, 40], [6, 6, 6]),
    ],
)
def test_beta_against_every_outcome(a, b, trials):
    reduction, change = brute_force(a, b, trials)
    found = sample_information_beta(
        np.array(a, float), np.array(b, float), np.array(trials), best_of(a, b)
    )
    assert found.regret_reduction == pytest.approx(reduction, rel=1e-11, abs=1e-300)
    assert found.prob_change == pytest.approx(change, rel=1e-11, abs=1e-300)
    assert found.mc_error == 0


def test_beta_without_limit_learns_all_there_is():
    posterior = beta_binomial([24, 30, 27], [100, 100, 100])
    regret = posterior.policy_regret.min()
    found = [
        sample_information_beta(posterior.a, posterior.b, np.full(3, n), 1).regret_reduction
        for n in (10, 1000, 100_000)
    ]
    assert found[0] < found[1] < found[2] < regret
    assert found[2] == pytest.approx(regret, rel=2e-3)


def test_beta_tiny_gains_are_resolved():
    """One trial of a rival far behind can hardly ever lift it above the leader."""
    a, b, n = np.array([900.0, 100.0]), np.array([100.0, 900.0]), np.array([0, 900])
    found = sample_information_beta(a, b, n, 0)
    s = np.arange(901)
    log_prob = (
        special.gammaln(901) - special.gammaln(s + 1) - special.gammaln(901 - s)
        + special.betaln(100 + s, 1800 - s) - special.betaln(100, 900)
    )  # fmt: skip
    gain = np.maximum((100 + s) / 1900 - 0.9, 0)
    assert found.regret_reduction == pytest.approx((np.exp(log_prob) * gain).sum(), abs=1e-300)
    a, b, n = np.array([60.0, 40.0]), np.array([40.0, 60.0]), np.array([0, 200])
    s = np.arange(201)
    log_prob = (
        special.gammaln(201) - special.gammaln(s + 1) - special.gammaln(201 - s)
        + special.betaln(40 + s, 260 - s) - special.betaln(40, 60)
    )  # fmt: skip
    expected = (np.exp(log_prob) * np.maximum((40 + s) / 300 - 0.6, 0)).sum()
    assert 0 < expected < 1e-4
    assert sample_information_beta(a, b, n, 0).regret_reduction == pytest.approx(expected, rel=1e-9)


def two_normal_arms(gap, covariance, noise):
    """Closed form for two arms: s (phi(z) - z Phi(-z)) with s the sd of the difference's move."""
    contrast = np.array([1.0, -1.0])
    reach = covariance @ np.linalg.solve(covariance + np.diag(noise), covariance)
    s = np.sqrt(contrast @ reach @ contrast)
    z = gap / s
    tail = special.erfcx(z / np.sqrt(2)) / 2
    density = np.exp(-(z**2) / 2)
    return s * density * (1 / np.sqrt(2 * np.pi) - z * tail), density * tail


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.5, 6.0])
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.9])
def test_normal_against_the_closed_form_for_two_arms(gap, correlation):
    covariance = np.array([[1.0, 0.7 * correlation], [0.7 * correlation, 0.49]])
    noise = np.array([0.5, 0.2])
    reduction, change = two_normal_arms(gap, covariance, noise)
    rng = np.random.default_rng(2)
    found = sample_information_normal(np.array([gap, 0.0]), covariance, noise, rng, 100_000)
    assert found.regret_reduction == pytest.approx(reduction, rel=1e-10)
    assert found.prob_change == pytest.approx(change, rel=1e-10)
    assert found.mc_error == found.prob_change_mc_error == 0


def test_an_arm_without_units_still_moves_with_its_neighbours():
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    noise = np.array([0.3, np.inf])
    s = np.sqrt((1.0 - 0.6) ** 2 / 1.3)
    found = sample_information_normal(
        np.zeros(2), covariance, noise, np.random.default_rng(4), 100_000
    )
    assert found.regret_reduction == pytest.approx(s / np.sqrt(2 * np.pi), rel=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 9.0])
def test_normal_rare_changes_keep_their_relative_error(scale):
    """Independent arms: int F_h (1 - prod F_j) dx on a fine grid, down to gains of 1e-19."""
    gaps = scale * np.array([0.0, 1.0, 1.05, 1.2])
    covariance, noise = np.diag([0.3, 1.0, 0.9, 0.8]), np.array([0.4, 0.5, 0.4, 0.3])
    sd = np.sqrt(np.diag(covariance) ** 2 / (np.diag(covariance) + noise))
    x = np.linspace(-12, 12, 400_001)
    log_below = special.log_ndtr((x[:, None] + gaps[1:]) / sd[1:]).sum(axis=1)
    expected = np.trapezoid(special.ndtr(x / sd[0]) * -np.expm1(log_below), x)
    found = sample_information_normal(gaps, covariance, noise, np.random.default_rng(12), 20_000)
    assert found.mc_error < 0.004 * expected
    assert abs(found.regret_reduction - expected) < 4 * found.mc_error + 1e-9 * expected


def test_normal_against_refitting_from_simulated_waves():
    """The next wave drawn, the posterior refitted by the textbook update in full, 20,000 times."""
    rng = np.random.default_rng(6)
    half = rng.standard_normal((3, 3))
    covariance, mean = half @ half.T + 0.2 * np.eye(3), np.array([0.2, 0.5, 0.0])
    noise = np.array([0.4, 0.1, 2.0])
    precision = np.linalg.inv(covariance)
    after = np.linalg.inv(precision + np.diag(1 / noise))
    truth = rng.multivariate_normal(mean, covariance, 20_000)
    seen = truth + rng.standard_normal((20_000, 3)) * np.sqrt(noise)
    means = (precision @ mean + seen / noise) @ after
    gain = means.max(axis=1) - means[:, 1]
    found = sample_information_normal(mean.max() - mean, covariance, noise, rng, 50_000)
    error = np.hypot(found.mc_error, gain.std() / np.sqrt(gain.size))
    assert abs(found.regret_reduction - gain.mean()) < 4 * error
    changed = (means.argmax(axis=1) != 1).mean()
    assert abs(found.prob_change - changed) < 4 * np.hypot(found.prob_change_mc_error, 0.0036)


def test_normal_and_exact_agree_on_large_counts():
    posterior = beta_binomial([240, 262, 255], [1000, 1000, 1000])
    trials = np.array([400, 500, 300])
    exact = sample_information_beta(posterior.a, posterior.b, trials, 1)
    gaps = posterior.policy_regret - posterior.policy_regret.min()
    noise = posterior.mean * (1 - posterior.mean) / trials
    near = sample_information_normal(
        gaps, np.diag(posterior.sd**2), noise, np.random.default_rng(9), 400_000
    )  # fmt: skip
    assert near.regret_reduction == pytest.approx(exact.regret_reduction, rel=0.01)
    assert near.prob_change == pytest.approx(exact.prob_change, abs=0.01)
