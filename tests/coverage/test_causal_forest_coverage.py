"""How often pointwise intervals hold the truth, and how often a forest sees what is not there.

One point a repetition, so that hits are independent and their number binomial.
"""

import numpy as np
import pytest
from scipy.special import bdtr, bdtrc

from wavewise.estimate.forest.causal_forest import causal_forest

NAMES = np.array(["control", "a", "b"])
SHARES = dict.fromkeys(NAMES, 1 / 3)


def one(seed, effect, n=900, n_trees=200, **options):
    rng = np.random.default_rng(seed)
    X, code = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    outcome = X[:, 1] + effect(X) * (code == 1) + rng.normal(size=n)
    forest = causal_forest(
        X,
        NAMES[code],
        outcome,
        control="control",
        propensity=SHARES,
        n_trees=n_trees,
        rng=rng,
        **options,
    )
    X_new = rng.normal(size=(1, 3))
    return forest, forest.effects(X_new)[0, 0], forest.std_error(X_new)[0, 0], effect(X_new)[0]


def hits(n_repetitions, effect, **options):
    rows = [one(k, effect, **options)[1:] for k in range(n_repetitions)]
    return sum(abs(estimate - truth) < 1.96 * error for estimate, error, truth in rows)


def constant(X):
    return np.full(len(X), 0.3)


def smooth(X):
    return 0.5 * X[:, 0]


def within(found, n, low, high):
    """Whether so many hits are likely under some coverage from low to high, at one in 10,000."""
    return bdtrc(found - 1, n, high) > 1e-4 and bdtr(found, n, low) > 1e-4


@pytest.mark.full
def test_intervals_hold_a_constant_effect():
    assert within(hits(40, constant, min_arm_leaf=5), 40, 0.93, 1.0)
    assert within(hits(40, constant, min_arm_leaf=40, shrink=False), 40, 0.9, 1.0)


def test_intervals_of_small_leaves_hold_a_changing_effect():
    assert within(hits(40, smooth, min_arm_leaf=5), 40, 0.85, 1.0)


@pytest.mark.slow
def test_intervals_whole_study():
    for effect, low in ((constant, 0.93), (smooth, 0.85)):
        assert within(hits(500, effect, min_arm_leaf=5, n_trees=500), 500, low, 1.0)
    assert within(hits(500, constant, n_trees=500), 500, 0.93, 1.0)


def test_differences_that_are_not_there_are_mostly_shrunk_away():
    spread = [one(k, constant)[0].effects_oob.std(axis=0).mean() for k in range(12)]
    raw = [
        one(k, constant, shrink=False, min_arm_leaf=5)[0].effects_oob.std(axis=0).mean()
        for k in range(12)
    ]
    assert np.mean(spread) < 0.5 * np.mean(raw)
