"""The exact tree search against a search of every tree, one by one."""

import numpy as np
import pytest

from wavewise.decide import tree_search
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


@pytest.mark.parametrize(("n", "depth"), [(60, 2), (22, 3)])
@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("ties", [False, True])
def test_every_value_may_be_a_cut(n, depth, least, ties) -> None:
    rng = np.random.default_rng([n, least, ties])
    X = rng.normal(size=(n, 2)) if not ties else rng.integers(0, n // 2, (n, 2)).astype(float)
    X[rng.random(n) < 0.1, 1] = np.nan
    scores = rng.integers(-3, 4, (n, 3)).astype(float) if ties else rng.normal(size=(n, 3)) * 5
    tree = policy_tree(X, scores, arms=["a", "b", "c"], depth=depth, min_leaf=least)
    value = (tree.probabilities(X) * scores).sum()
    with_missing_first = np.where(np.isnan(X), -99, X)
    assert value == pytest.approx(best_value(with_missing_first, scores, depth, least), abs=1e-7)


def best_of_two_questions(X, scores, least):
    """The largest mean score of two levels of questions, from cumulative sums."""

    def best_question(rows):
        part, best = scores[rows], scores[rows].sum(axis=0).max() if len(rows) else 0.0
        for column in X[rows].T:
            order = np.argsort(column, kind="stable")
            below = np.cumsum(part[order], axis=0)
            gain = below.max(axis=1) + (below[-1] - below).max(axis=1)
            count = np.arange(1, len(rows) + 1)
            ends = np.append(np.diff(column[order]) > 0, False)
            ends &= (count >= least) & (len(rows) - count >= least)
            best = max(best, gain[ends].max(initial=-np.inf))
        return best

    best = best_question(np.arange(len(X)))
    for column in X.T:
        for cut in np.unique(column)[:-1]:
            left = column <= cut
            if min(left.sum(), (~left).sum()) >= least:
                parts = (np.flatnonzero(side) for side in (left, ~left))
                best = max(best, sum(best_question(rows) for rows in parts))
    return best / len(X)


def test_200_units_are_searched_exactly_where_64_parts_fall_short() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 3))
    scores = X[:, :1] * [0, 1, -1] + rng.normal(0, 2, (200, 3))
    arms, value = ["a", "b", "c"], {}
    for n_bins in (None, 64):
        tree = policy_tree(X, scores, arms=arms, min_leaf=1, n_bins=n_bins)
        value[n_bins] = (tree.probabilities(X) * scores).sum() / 200
    assert value[None] == pytest.approx(best_of_two_questions(X, scores, 1), abs=1e-9)
    assert value[64] < value[None]


@pytest.mark.parametrize("parity", [False, True])
def test_large_data_get_a_tree_no_worse_than_16_parts(parity, monkeypatch) -> None:
    monkeypatch.setattr(tree_search, "_SCAN", {2: 1e6, 3: 1e6})
    rng = np.random.default_rng(int(parity))
    X = rng.normal(size=(3000, 3))
    odd = (X > 0.2).sum(axis=1) % 2
    worth = odd - 0.5 if parity else X[:, 0] + X[:, 1]
    scores = np.column_stack([np.zeros(3000), worth + rng.normal(size=3000)])
    value = [
        (tree.probabilities(X) * scores).sum()
        for n_bins in (16, None)
        for tree in [policy_tree(X, scores, arms=["c", "t"], depth=3, n_bins=n_bins)]
    ]
    assert value[1] > value[0] > 0
