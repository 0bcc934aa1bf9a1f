"""Probabilities of arms, alone and together, by drawing many times."""

import numpy as np
import pytest
from scipy.special import bdtr, bdtrc

from wavewise.randomize.rounding import integer_shares, round_counts, shuffle_into_arms

N_DRAWS = 20_000
# Chance that any one of a test's comparisons falls outside, were the probabilities right.
TAIL = 1e-7


def within_binomial_bounds(hits, probability, n_draws=N_DRAWS):
    """Whether counts of hits are credible for the probabilities, each tail at TAIL."""
    hits, probability = np.broadcast_arrays(np.asarray(hits), np.asarray(probability, dtype=float))
    below = np.array(
        [bdtr(h, n_draws, p) for h, p in zip(hits.flat, probability.flat, strict=True)]
    )
    above = np.array(
        [
            1.0 if h == 0 else bdtrc(h - 1, n_draws, p)
            for h, p in zip(hits.flat, probability.flat, strict=True)
        ]
    )
    return bool((np.minimum(below, above) > TAIL).all())


def draw_many(sizes, share, seed):
    """Arm codes of all units, over many draws; (n_draws, n_units)."""
    sizes = np.array(sizes)
    parts = integer_shares(np.array(share, dtype=float), int(sizes.sum()))
    stratum = np.repeat(np.arange(sizes.size), sizes)
    rng = np.random.default_rng(seed)
    empty = np.empty(0, dtype=np.int64)
    draws = np.empty((N_DRAWS, stratum.size), dtype=np.int16)
    for r in range(N_DRAWS):
        counts = round_counts(sizes, parts, rng)
        bits = rng.integers(0, 2**64, stratum.size, dtype=np.uint64)
        draws[r] = shuffle_into_arms(stratum, empty, counts, bits)
    return draws, stratum


@pytest.fixture(scope="module")
def mixed():
    """Strata of several sizes, with shares that differ and one arm that a stratum lacks."""
    share = [[0.5, 0.3, 0.2], [0.1, 0.0, 0.9], [1 / 3, 1 / 3, 1 / 3], [0.123, 0.456, 0.421]]
    draws, stratum = draw_many([5, 3, 1, 4], share, seed=11)
    return draws, stratum, np.array(share)


def test_each_unit_has_its_shares(mixed):
    draws, stratum, share = mixed
    hits = np.stack([(draws == k).sum(axis=0) for k in range(3)], axis=1)
    assert (hits[stratum == 1, 1] == 0).all()
    possible = share[stratum] > 0
    assert within_binomial_bounds(hits[possible], share[stratum][possible])


def test_two_units_of_a_stratum_share_an_arm_as_the_formula_says(mixed):
    # P = (x(x - 1) + f(1 - f)) / (n(n - 1)) with x = n q and f its fractional part.
    draws, stratum, share = mixed
    for s, n in ((0, 5), (1, 3), (3, 4)):
        first, second = np.flatnonzero(stratum == s)[:2]
        for k in range(3):
            x = n * share[s, k]
            f = x % 1
            joint = (x * (x - 1) + f * (1 - f)) / (n * (n - 1))
            both = int(((draws[:, first] == k) & (draws[:, second] == k)).sum())
            if joint > 1e-12:
                assert within_binomial_bounds(both, joint)


def test_strata_of_one_unit_are_a_simple_random_sample():
    # Halves over 6 strata of one: any two units are both treated with 1/4 (6 - 2) / (6 - 1).
    draws, _ = draw_many([1] * 6, [[0.5, 0.5]] * 6, seed=3)
    assert (draws.sum(axis=1) == 3).all()
    pairs = [(i, j) for i in range(6) for j in range(i)]
    both = [int((draws[:, i] & draws[:, j]).sum()) for i, j in pairs]
    assert within_binomial_bounds(both, 0.2)


def test_arms_of_one_stratum_are_a_simple_random_sample():
    # Two units over four arms of 1/4: each pair of arms is drawn equally often.
    draws, _ = draw_many([2], [[0.25] * 4], seed=4)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    hits = [int(((draws == i).any(axis=1) & (draws == j).any(axis=1)).sum()) for i, j in pairs]
    assert sum(hits) == N_DRAWS
    assert within_binomial_bounds(hits, 1 / 6)


def test_arm_totals_vary_by_less_than_one():
    draws, _ = draw_many([5, 3, 1, 4], [[0.37, 0.63]] * 4, seed=5)
    totals = (draws == 0).sum(axis=1)
    assert set(totals.tolist()) == {4, 5}
    assert within_binomial_bounds(int((totals == 5).sum()), 13 * 0.37 - 4)
