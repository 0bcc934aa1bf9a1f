"""Against mpmath at 30 digits: tails, huge counts, singular priors, many arms."""

from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest

from wavewise.estimate import beta_binomial
from wavewise.estimate.bayes.beta_best import LogitBetas, best_of

mp.mp.dps = 30


def log_beta(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def prob_greater(a1, b1, a0, b0):
    """P(Beta(a1, b1) > Beta(a0, b0)) for whole a1: a finite sum of positive terms."""
    term = mp.exp(log_beta(a0, b0 + b1) - mp.log(b1) - log_beta(1, b1) - log_beta(a0, b0))
    total = mp.mpf(0)
    for i in range(int(a1)):
        total += term
        up = mp.mpf(a0 + i) / (a0 + i + b0 + b1)  # B(a0 + i, b0 + b1) to the next i
        term *= up * (b1 + i) / (b1 + i + 1) * (mp.mpf(b1 + i + 1) / (i + 1))
    return total


def excess(a1, b1, a0, b0):
    """E[(theta_1 - theta_0)^+], by P under one more success."""
    mean1, mean0 = mp.mpf(a1) / (a1 + b1), mp.mpf(a0) / (a0 + b0)
    return mean1 * prob_greater(a1 + 1, b1, a0, b0) - mean0 * prob_greater(a1, b1, a0 + 1, b0)


def log_density(a, b, t):
    return -a * mp.log1p(mp.exp(-t)) - b * mp.log1p(mp.exp(t)) - log_beta(a, b)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(14)


def composite(f, edges):
    """Gauss-Legendre on given panels, in mpmath numbers."""
    total = mp.mpf(0)
    for left, right in pairwise(edges):
        half, middle = (right - left) / 2, (right + left) / 2
        for x, w in zip(NODES.tolist(), WEIGHTS.tolist(), strict=True):
            total += half * w * f(middle + half * x)
    return total


NEAR = (0, 2, 5, 10, 20, 45)
FAR = (0, 0.5, 1.5, 4, 10, 25, 60, 150, 400, 1000)


def tail(a, b, t, direction, reach=NEAR):
    """Probability beyond t on the logit scale, by integration outwards."""
    x = 1 / (1 + mp.exp(-t))
    length = 1 / (abs(a - (a + b) * x) + mp.sqrt(mp.mpf(a) * b / (a + b)))
    panels = [length * k for k in reach]
    return composite(lambda s: mp.exp(log_density(a, b, t + direction * s)), panels)


PAIRS = [
    (21, 81, 31, 71),
    (3, 500, 40, 60),
    (1, 2000, 900, 1101),
    (101, 1, 1, 5),
    (400, 3600, 1500, 2500),
    (2, 7, 2, 7),
    (5, 10**8, 400, 10**8),
]


@pytest.mark.parametrize(("a1", "b1", "a0", "b0"), PAIRS)
def test_two_arms_are_the_finite_sum_however_small(a1, b1, a0, b0):
    best = best_of(np.array([a1, a0], float), np.array([b1, b0], float))
    expected = prob_greater(a1, b1, a0, b0)
    assert best.log_prob[0] == pytest.approx(float(mp.log(expected)), rel=1e-13, abs=1e-8)
    assert best.log_prob[1] == pytest.approx(float(mp.log1p(-expected)), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("a1", "b1", "a0", "b0"), PAIRS)
def test_regret_of_a_leader_keeps_its_digits_however_small(a1, b1, a0, b0):
    best = best_of(np.array([a1, a0], float), np.array([b1, b0], float))
    mp.mp.dps, old = 400, mp.mp.dps  # the two terms may agree in hundreds of digits
    try:
        expected = float(excess(a1, b1, a0, b0))
    finally:
        mp.mp.dps = old
    assert best.shortfall[1] == pytest.approx(expected, rel=1e-7, abs=1e-300)


HUGE = [  # parameters of two arms with counts to 1e8: no finite sum in reach
    (5e7, 5e7, 5.002e7, 4.998e7),
    (1e7, 9e7, 1.0005e7, 8.9995e7),
    (1e7 + 0.5, 9e7 + 0.5, 1.2e7 + 0.5, 8.8e7 + 0.5),
    (0.5, 1e8 + 0.5, 30.5, 1e8 - 29.5),
    (0.5, 0.5, 3e7, 7e7),
]


@pytest.mark.parametrize(("a1", "b1", "a0", "b0"), HUGE)
def test_two_arms_with_huge_counts(a1, b1, a0, b0):
    """The peak of f_1 F_0 is near that of f_1 f_0, a beta density with the sums."""
    betas = LogitBetas(np.array([a1, a0]), np.array([b1, b0]))
    logs = best_of(betas.a, betas.b).log_prob
    if a1 == b1 == 0.5:  # wide against a needle: P(theta_1 > x) at the needle's mean
        expected = mp.log(2 / mp.pi * mp.acos(mp.sqrt(mp.mpf("0.3"))))
        assert logs[0] == pytest.approx(float(expected), abs=1e-8)
        return
    peak = mp.log(mp.mpf(a1 + a0) / (b1 + b0))
    width = mp.sqrt(1 / mp.mpf(a1 + a0) + 1 / mp.mpf(b1 + b0))
    panels = [peak + width * k for k in range(-12, 13, 2)]

    def integrand(t):
        low = t < mp.log(mp.mpf(a0) / b0)
        below = tail(a0, b0, t, -1) if low else 1 - tail(a0, b0, t, 1)
        return mp.exp(log_density(a1, b1, t)) * below

    expected = float(mp.log(composite(integrand, panels)))
    assert logs[0] == pytest.approx(expected, rel=1e-13, abs=1e-9)


def test_six_arms_with_tails_below_the_smallest_double():
    a = np.array([300.5, 10.5, 60.5, 900.5, 200.5, 40.5])
    b = np.array([400.5, 900.5, 500.5, 300.5, 100.5, 9.5])
    logs = best_of(a, b).log_prob
    for k in (1, 2):
        assert logs[k] == pytest.approx(float(mp.log(_prob_best(a, b, k))), abs=1e-7)
    assert logs[1] < -745


def _prob_best(a, b, k):
    """int f_k prod F_j from a grid search for the peak, in x."""

    def log_integrand(x):
        value = (a[k] - 1) * mp.log(x) + (b[k] - 1) * mp.log1p(-x) - log_beta(a[k], b[k])
        for j in range(a.size):
            if j != k:
                value += mp.log(mp.betainc(a[j], b[j], 0, x, regularized=True))
        return value

    peak = max((mp.mpf(i) / 50 for i in range(1, 50)), key=log_integrand)
    panels = [peak + mp.mpf(i) / 50 for i in range(-6, 7)]
    return composite(lambda x: mp.exp(log_integrand(x)), panels)


@pytest.mark.parametrize(
    ("a", "b"),
    [(0.5, 0.5), (1.0, 1.0), (0.01, 2.0), (3.0, 1e8), (5e7, 5e7), (1e8, 0.5), (140.0, 729.0)],
)
def test_logit_density_and_tails(a, b):
    betas, arm = LogitBetas(np.array([a]), np.array([b])), np.array([0])
    scale = np.sqrt(1 / a + 1 / b)
    for z in (-30.0, -7.0, -1.0, 0.5, 3.0, 40.0):
        t = np.array([float(betas.mode[0] + z * scale)])
        exact_density = float(log_density(mp.mpf(a), mp.mpf(b), mp.mpf(t[0])))
        tolerance = 1e-10 + 1e-14 * abs(exact_density)
        assert betas.log_density(t, arm)[0] == pytest.approx(exact_density, abs=tolerance)
        outward = 1 if z > 0 else -1
        exact_tail = float(mp.log(tail(mp.mpf(a), mp.mpf(b), mp.mpf(t[0]), outward, FAR)))
        ours = (betas.log_sf if z > 0 else betas.log_cdf)(t, arm)[0]
        assert ours == pytest.approx(exact_tail, abs=1e-9 + 1e-14 * abs(exact_tail))


def test_tails_do_not_jump_where_the_method_changes():
    """From 1e-60 to 1e-320, where library routines first lose digits and then give 0."""
    betas, arm = LogitBetas(np.array([39.0]), np.array([1592.0])), np.array([0])
    for t in np.linspace(-1.9, -0.45, 13):
        expected = float(mp.log(tail(mp.mpf(39), mp.mpf(1592), mp.mpf(float(t)), 1, FAR)))
        assert betas.log_sf(np.array([t]), arm)[0] == pytest.approx(expected, rel=1e-12)


def test_a_hundred_arms_sum_to_one_and_equal_arms_share():
    rng = np.random.default_rng(5)
    trials = rng.integers(0, 5000, 100)
    posterior = beta_binomial(rng.binomial(trials, rng.uniform(0.05, 0.2, 100)), trials)
    assert posterior.prob_optimal.sum() == pytest.approx(1, abs=1e-12)
    equal = beta_binomial([7] * 100, [50] * 100)
    np.testing.assert_allclose(equal.prob_optimal, 0.01, rtol=1e-12)
