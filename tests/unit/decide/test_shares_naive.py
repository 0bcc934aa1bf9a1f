"""Shares against slow second ways: units drawn one by one, floors raised one by one."""

from fractions import Fraction

import numpy as np
import pytest

from wavewise.decide import shares, with_floor

P = np.array([0.62, 0.25, 0.1, 0.03])
N_UNITS = 40_000


def drawn_one_by_one(prob, beta, rng):
    """Top-two Thompson sampling as it is described: draw, keep or draw anew until another comes."""
    counts = np.zeros(prob.size)
    for keep in rng.random(N_UNITS) < beta:
        first = arm = rng.choice(prob.size, p=prob)
        while not keep and arm == first:
            arm = rng.choice(prob.size, p=prob)
        counts[arm] += 1
    return counts / N_UNITS


def test_top_two_is_what_units_get_one_by_one():
    expected = shares(P, rule="top-two", beta=0.6)
    counted = drawn_one_by_one(P, 0.6, np.random.default_rng(5))
    std_error = np.sqrt(expected * (1 - expected) / N_UNITS)
    assert (np.abs(counted - expected) < 4.5 * std_error).all()


def test_top_two_depends_on_the_probabilities_alone_also_when_arms_are_dependent():
    """Arms that move together: the formula holds since the second draw is independent."""
    rng = np.random.default_rng(8)
    common = rng.standard_normal((4000, 1))
    draws = common * [1.0, 1.0, -1.0] + rng.standard_normal((4000, 3)) * [1.0, 1.2, 0.5]
    best = draws.argmax(axis=1)
    prob = np.bincount(best, minlength=3) / 4000
    counts = np.zeros(3)
    for keep in rng.random(N_UNITS) < 0.5:
        first = arm = best[rng.integers(4000)]
        while not keep and arm == first:
            arm = best[rng.integers(4000)]
        counts[arm] += 1
    expected = shares(prob, rule="top-two")
    assert (np.abs(counts / N_UNITS - expected) < 4.5 * np.sqrt(expected / N_UNITS)).all()


def raised_one_by_one(weights, floor, total):
    """Exact: put the lowest arm at the floor, share the rest in proportion, and look again."""
    at_floor = set()
    while True:
        rest = total - floor * len(at_floor)
        weight = sum(w for k, w in enumerate(weights) if k not in at_floor)
        result = [
            floor if k in at_floor else rest * w / weight for k, w in enumerate(weights)
        ]  # fmt: skip
        low = [k for k in range(len(weights)) if result[k] < floor]
        if not low:
            return result
        at_floor.add(min(low, key=lambda k: weights[k]))


@pytest.mark.parametrize("seed", range(40))
def test_a_floor_against_exact_fractions(seed):
    rng = np.random.default_rng(seed)
    n_arms = int(rng.integers(2, 9))
    counts = rng.integers(0, 40, n_arms) ** int(rng.integers(1, 4))
    counts[rng.integers(n_arms)] += 1
    weights = [Fraction(int(w), int(counts.sum())) for w in counts]
    total = Fraction(int(rng.integers(50, 101)), 100)
    floor = total / n_arms * Fraction(int(rng.integers(0, 101)), 100)
    exact = raised_one_by_one(weights, floor, total)
    assert sum(exact) == total
    np.testing.assert_allclose(
        with_floor([float(w) for w in weights], float(floor), float(total)),
        [float(share) for share in exact],
        rtol=1e-12,
        atol=1e-13,
    )
