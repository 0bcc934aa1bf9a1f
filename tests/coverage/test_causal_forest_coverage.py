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


def pooled(forests, part):
    """Fitted share over seeds, each by its precision, and its error from their spread.

    The share is a ratio. Where effects do not differ its numerator is 0 on average; the ratio is
    pulled below by the seeds whose denominator is small.
    """
    share, error = np.array([forest.fitted[part] for forest in forests]).T
    weight = 1 / error**2
    mean = (weight * share).sum() / weight.sum()
    return mean, np.sqrt((weight**2 * (share - mean) ** 2).sum()) / weight.sum()


@pytest.mark.parametrize("n_arms", [1, 4])
def test_shares_are_0_on_average_where_effects_do_not_differ(n_arms):
    """With averages that hold the unit itself the pooled share was -1 to -2."""
    names = np.array(["control", *(f"a{k}" for k in range(n_arms))])
    forests = []
    for seed in range(60):
        rng = np.random.default_rng([5, seed])
        X, code = rng.normal(size=(800, 4)), rng.integers(0, n_arms + 1, 800)
        forests.append(
            causal_forest(
                X, names[code], rng.normal(size=800) + 0.2 * (code > 0), control="control",
                propensity=dict.fromkeys(names, 1 / names.size), n_trees=60, min_arm_leaf=15,
                residualize=False, rng=rng,
            )
        )  # fmt: skip
    for part in forests[0].fitted:
        mean, error = pooled(forests, part)
        assert abs(mean) < 3 * error


def test_an_out_of_bag_ranking_is_not_harmful_where_nothing_is_there():
    """Units' own outcomes do not lower their rank: the sum over units of rank times outcome."""
    gaps = []
    for seed in range(40):
        rng = np.random.default_rng([6, seed])
        X, treated, y = rng.normal(size=(600, 3)), rng.integers(0, 2, 600), rng.normal(size=600)
        forest = causal_forest(
            X, np.where(treated, "t", "c"), y, control="c", propensity={"c": 0.5, "t": 0.5},
            n_trees=60, min_arm_leaf=60, shrink=False, residualize=False, rng=rng,
        )  # fmt: skip
        effects = forest.effects_oob[:, 0] - forest.effects_oob[:, 0].mean()
        score = 2 * (y - y.mean()) * np.where(treated, 1, -1)
        gaps.append((effects * score).sum() / np.sqrt(((effects * score) ** 2).sum()))
    assert abs(np.mean(gaps)) < 3.5 * np.std(gaps) / np.sqrt(40)
