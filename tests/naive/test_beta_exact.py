"""Against exact rational arithmetic and Monte Carlo: slow second implementations."""

from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest

from wavewise.estimate import beta_binomial

Polynomial = list[Fraction]


def times(p: Polynomial, q: Polynomial) -> Polynomial:
    out = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, x in enumerate(p):
        for j, y in enumerate(q):
            out[i + j] += x * y
    return out


def integral(p: Polynomial) -> Fraction:
    """Over [0, 1]."""
    return sum((c / (i + 1) for i, c in enumerate(p)), Fraction(0))


def density(a: int, b: int) -> Polynomial:
    """Of Beta(a, b) with whole parameters, as coefficients of powers of x."""
    constant = Fraction(factorial(a + b - 1), factorial(a - 1) * factorial(b - 1))
    out = [Fraction(0)] * (a + b - 1)
    for i in range(b):
        out[a - 1 + i] = constant * comb(b - 1, i) * (-1) ** i
    return out


def distribution(a: int, b: int) -> Polynomial:
    return [Fraction(0)] + [c / (i + 1) for i, c in enumerate(density(a, b))]


def exact(a: list[int], b: list[int]) -> tuple[list[Fraction], list[Fraction]]:
    """prob_optimal and policy_regret as fractions."""
    arms = range(len(a))
    below = [distribution(a[k], b[k]) for k in arms]
    prob = []
    for k in arms:
        product = density(a[k], b[k])
        for j in arms:
            if j != k:
                product = times(product, below[j])
        prob.append(integral(product))
    joint: Polynomial = [Fraction(1)]
    for p in below:
        joint = times(joint, p)
    expected_max = 1 - integral(joint)
    return prob, [expected_max - Fraction(a[k], a[k] + b[k]) for k in arms]


@pytest.mark.parametrize(
    ("successes", "trials"),
    [
        ([0, 0], [0, 0]),
        ([1, 3, 2], [4, 5, 2]),
        ([0, 12, 5, 9], [12, 12, 9, 14]),
        ([2, 30], [40, 40]),
        ([0, 40, 3], [25, 40, 20]),
    ],
)
def test_prob_optimal_and_regret_are_those_of_exact_fractions(successes, trials):
    posterior = beta_binomial(successes, trials)
    a = [y + 1 for y in successes]
    b = [n - y + 1 for y, n in zip(successes, trials, strict=True)]
    prob, regret = exact(a, b)
    assert sum(prob) == 1
    np.testing.assert_allclose(posterior.prob_optimal, [float(p) for p in prob], rtol=1e-10)
    np.testing.assert_allclose(posterior.policy_regret, [float(r) for r in regret], rtol=1e-10)


def test_prob_optimal_and_regret_lie_within_monte_carlo_error():
    posterior = beta_binomial([14, 62, 32, 4, 16, 22], [86, 318, 176, 33, 98, 125])
    n_draws = 200_000
    draws = posterior.draws(n_draws, np.random.default_rng(20210105))
    assert draws.shape == (n_draws, 6)
    p = posterior.prob_optimal
    share_best = np.bincount(draws.argmax(axis=1), minlength=6) / n_draws
    assert (np.abs(share_best - p) < 4.5 * np.sqrt(p * (1 - p) / n_draws)).all()
    loss = draws.max(axis=1, keepdims=True) - draws
    error = loss.std(axis=0) / np.sqrt(n_draws)
    assert (np.abs(loss.mean(axis=0) - posterior.policy_regret) < 4.5 * error).all()
    assert (np.abs(draws.mean(axis=0) - posterior.mean) < 4.5 * posterior.sd / n_draws**0.5).all()


def test_contrast_is_that_of_the_draws():
    posterior = beta_binomial([3, 60], [20, 1000], prior=(0.5, 0.5), arms=["few", "many"])
    contrast = posterior.contrast("few", "many")
    draws = posterior.draws(200_000, np.random.default_rng(7))
    difference = draws[:, 0] - draws[:, 1]
    assert contrast.mean == pytest.approx(difference.mean(), abs=4.5 * contrast.sd / 200_000**0.5)
    lower, upper = contrast.cred_int(0.9)
    bound = 4.5 * np.sqrt(0.05 * 0.95 / 200_000)
    assert (difference < lower).mean() == pytest.approx(0.05, abs=bound)
    assert (difference > upper).mean() == pytest.approx(0.05, abs=bound)


def test_contrast_distribution_is_exact_for_whole_parameters():
    """P(U - V <= d) for two uniforms is 1 - (1 - d)^2 / 2 above 0."""
    contrast = beta_binomial([0, 0], [0, 0]).contrast("1", "2")
    for d in (0.0, 0.1, 0.5, 0.9):
        assert contrast.cdf(d) == pytest.approx(1 - (1 - d) ** 2 / 2, abs=1e-12)
        assert contrast.cdf(-d) == pytest.approx((1 - d) ** 2 / 2, abs=1e-12)
    np.testing.assert_allclose(contrast.cred_int(0.9), [0.1**0.5 - 1, 1 - 0.1**0.5], atol=1e-12)
    assert contrast.cdf(-1.0) == 0.0
    assert contrast.cdf(1.0) == 1.0
