"""How often intervals of the arm that came out best hold its true value."""

import numpy as np
import pytest

from wavewise.estimate.adaptive.winner import winner

LEVEL = 0.9


def simulate(mean, cov, method, n, rank=0, seed=11):
    """Shares of intervals that hold the truth, and of estimates above it."""
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(mean, cov, size=n)
    found = [winner(row, cov, method=method, level=LEVEL, rank=rank) for row in x]
    truth = np.array([mean[w.arm] for w in found])
    holds = [w.conf_low <= t <= w.conf_high for w, t in zip(found, truth, strict=True)]
    above = [w.estimate > t for w, t in zip(found, truth, strict=True)]
    naive = np.abs([w.naive_estimate - t for w, t in zip(found, truth, strict=True)])
    usual = np.mean(naive <= 1.6449 * np.sqrt(np.diag(cov))[[w.arm for w in found]])
    return np.mean(holds), np.mean(above), usual


MEANS = {"no effect": np.zeros(6), "near tie": np.array([0, 0, 0, 0, 1.0, 1.3]),
         "one clear winner": np.array([0, 0, 0, 0, 0, 5.0])}  # fmt: skip
SHARED = 0.5 + np.diag([0.3, 0.5, 0.7, 0.9, 1.1, 1.3])


@pytest.mark.parametrize("design", MEANS)
@pytest.mark.parametrize("cov", [np.eye(6), SHARED], ids=["independent", "control in common"])
def test_coverage(design, cov):
    n = 1500
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    for method in ("one-sided", "conditional", "projection", "hybrid"):
        covered, above, usual = simulate(MEANS[design], cov, method, n)
        assert covered >= LEVEL - error, method
        if method == "conditional":
            assert covered <= LEVEL + error
        if method == "hybrid":  # between 1 - alpha and (1 - alpha) / (1 - beta)
            assert covered <= LEVEL / (1 - 0.1 * (1 - LEVEL)) + error
        if method in {"hybrid", "conditional"}:
            assert abs(above - 0.5) < 4 * 0.5 / np.sqrt(n) + (0.02 if method == "hybrid" else 0)
    if design == "no effect":
        assert usual < 0.85  # the reason for all this: the usual interval holds it too rarely


def test_second_and_last_rank():
    n = 1500
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    for rank in (1, 5):
        covered, above, _ = simulate(MEANS["near tie"], SHARED, "conditional", n, rank, seed=12)
        assert abs(covered - LEVEL) < error
        assert abs(above - 0.5) < 2 / np.sqrt(n)


FULL = pytest.mark.full


@pytest.mark.parametrize("gap", [0.0, *(pytest.param(gap, marks=FULL) for gap in (1.0, 3.0))])
def test_two_arms_exactly_where_exchangeable_and_at_least_otherwise(gap):
    """The full study, 2 to 16 arms: tests/coverage/winner_coverage.py."""
    n = 1500
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    exact, _, _ = simulate(np.array([gap, 0]), 0.5 + np.eye(2), "one-sided", n)
    assert abs(exact - LEVEL) < error
    for cov in (np.diag([1.0, 100.0]), np.diag([100.0, 1.0]), [[1.0, 1.5], [1.5, 4.0]]):
        covered, _, _ = simulate(np.array([gap, 0]), np.array(cov), "one-sided", n)
        assert covered > LEVEL - error


def test_best_three_hold_together():
    rng, n = np.random.default_rng(14), 1500
    mean = np.array([0.0, 0.0, 0.5, 0.5, 3.0])
    held = 0
    for x in mean + rng.normal(size=(n, 5)):
        best = [winner(x, np.ones(5), level=LEVEL, rank=r, n_best=3) for r in range(3)]
        held += all(w.conf_low <= mean[w.arm] <= w.conf_high for w in best)
    assert held / n > LEVEL - 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)


def test_hybrid_holds_where_estimates_are_often_tied():
    """Discrete outcomes: arms of 40 units with a share of a half tie at the top in a sixth."""
    rng, n_units, n = np.random.default_rng(13), 40, 3000
    share = rng.binomial(n_units, 0.5, size=(n, 4)) / n_units
    found = [winner(row, np.full(4, 0.25 / n_units), method="hybrid", level=LEVEL) for row in share]
    tied = np.array([w.n_tied > 0 for w in found])
    holds = np.array([w.conf_low <= 0.5 <= w.conf_high for w in found])
    assert 0.1 < tied.mean() < 0.3
    assert holds.mean() > LEVEL - 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    assert holds[tied].mean() > 0.98
