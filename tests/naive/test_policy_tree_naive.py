"""The exact tree search against a search of every tree, one by one."""

import numpy as np
import pytest

from wavewise.decide.tree_search import policy_tree


def best_value(bins, scores, depth, least):
    """The largest sum of scores over all trees, by trying every split of every part."""
    best = scores.sum(axis=0).max()
    if depth == 0:
        return best
    for column in bins.T:
        for cut in np.unique(column)[:-1]:
            left = column <= cut
            if min(left.sum(), (~left).sum()) < least:
                continue
            value = best_value(bins[left], scores[left], depth - 1, least)
            best = max(best, value + best_value(bins[~left], scores[~left], depth - 1, least))
    return best


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("least", [1, 8])
def test_search_is_exact(depth, seed, least) -> None:
    rng = np.random.default_rng([seed, depth])
    X = rng.integers(0, 4, (70, 3)).astype(float)
    X[rng.random(70) < 0.1, 0] = np.nan
    scores = rng.normal(size=(70, 3))
    tree = policy_tree(X, scores, arms=["a", "b", "c"], depth=depth, min_leaf=least)
    value = (tree.probabilities(X) * scores).sum()
    with_missing_first = np.where(np.isnan(X), -1, X)
    assert value == pytest.approx(best_value(with_missing_first, scores, depth, least), abs=1e-7)
