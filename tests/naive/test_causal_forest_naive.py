"""Kernels against plain, slow implementations of the same definitions."""

import numpy as np
import pytest

from wavewise.estimate.forest.causal_forest import causal_forest
from wavewise.estimate.forest.engine import Units, apply_trees, grow_trees
from wavewise.estimate.forest.grow import MOVED
from wavewise.estimate.forest.model import bag_std_error
from wavewise.estimate.forest.shrinkage import (
    average_effects,
    fit_shrinkage,
    parts_of_arms,
    shrunk_averages,
)

N_ARMS = 3


def make_units(seed, n=400, weighted=False, n_arms=N_ARMS):
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 7, size=(n, 4)).astype(np.uint8)
    bins[:, 3] = np.maximum(bins[:, 3], 1)
    arm = rng.integers(0, n_arms, n)
    outcome = (bins[:, 0] > 3) * (arm == 1) + rng.normal(size=n)
    weight = rng.integers(1, 4, n) * 1.0 if weighted else np.ones(n)
    return Units(bins, np.full(4, 7), arm, n_arms, outcome, weight, np.arange(n))


def gradient_score(units, left, right):
    """sum_k (mean rho_k)^2 of both children times their sizes, with rho from the definition.

    rho_i = A^-1 (W_i - W_bar)(Y_i - mean of i's arm): Athey, Tibshirani and Wager (2019, eq. 20).
    """
    both = np.concatenate([left, right])
    arm, y = units.arm[both], units.outcome[both]
    W = (arm[:, None] == np.arange(1, units.n_arms)) * 1.0
    centred = W - W.mean(axis=0)
    A = centred.T @ centred / both.size
    means = np.array([y[arm == a].mean() if (arm == a).any() else 0 for a in range(units.n_arms)])
    rho = (np.linalg.solve(A, centred.T) * (y - means[arm])).T
    first, second = rho[: left.size], rho[left.size :]
    return (first.sum(0) ** 2).sum() / left.size + (second.sum(0) ** 2).sum() / right.size


def route(bins, node, nodes):
    """Leaf of one unit, as `ArmTrees.nodes` is documented."""
    while nodes[node, 0] >= 0:
        c, low, span, child = nodes[node]
        node = child if low <= bins[c] <= low + span else child + 1
    return nodes[node, 3]


def trees_of(trees):
    node, leaf = 0, 0
    for n_nodes, n_leaves in zip(trees.n_nodes, trees.n_leaves, strict=True):
        yield (
            trees.nodes[node : node + n_nodes],
            trees.means[leaf : leaf + n_leaves],
            trees.size[leaf : leaf + n_leaves],
        )
        node, leaf = node + n_nodes, leaf + n_leaves


def kept_halves(units, trees):
    """Which units could be in a leaf: those inside the group."""
    return np.unpackbits(trees.inside, axis=1, count=units.n_units).astype(bool)


@pytest.mark.parametrize("weighted", [False, True])
def test_leaf_means_are_those_of_half_of_the_group(weighted):
    """Each leaf's size and means come from a subset: found again by brute force over the group."""
    units = make_units(1, weighted=weighted)
    trees = grow_trees(units, n_groups=4, min_leaf=4, n_tried=4, seed=3)
    inside = kept_halves(units, trees)
    for t, (nodes, means, size) in enumerate(trees_of(trees)):
        group = np.flatnonzero(inside[t // 2])
        leaf = np.array([route(units.bins[i], 0, nodes) for i in group])
        assert size.sum() == pytest.approx(group.size / 2, abs=N_ARMS)
        assert (np.bincount(leaf, minlength=size.size) >= size).all()
        for k in range(size.size):
            for a in range(N_ARMS):
                members = group[(leaf == k) & (units.arm[group] == a)]
                y = units.outcome[members]
                assert y.min() - 1e-12 <= means[k, a] <= y.max() + 1e-12
                assert members.size >= 4


def test_group_sums_equal_a_walk_down_every_tree():
    units = make_units(2)
    trees = grow_trees(units, n_groups=6, min_leaf=3, n_tried=3, seed=5)
    effects = trees.means[:, 1:] - trees.means[:, :1]
    fast = apply_trees(trees, effects, units.bins, out_of_bag=True, moments=True)
    inside = kept_halves(units, trees)
    first = np.cumsum(trees.n_leaves) - trees.n_leaves
    values = np.stack(
        [
            [effects[first[t] + route(row, 0, nodes)] for row in units.bins]
            for t, (nodes, _, _) in enumerate(trees_of(trees))
        ]
    )
    for i in range(units.n_units):
        out = np.flatnonzero(~inside[:, i])
        a, b = values[2 * out, i], values[2 * out + 1, i]
        middle = (a + b) / 2
        assert fast.n_groups[i] == out.size == 3
        np.testing.assert_allclose(fast.mean[i], middle.mean(0), rtol=1e-12)
        np.testing.assert_allclose(fast.square[i], (middle**2).mean(0), rtol=1e-12)
        np.testing.assert_allclose(fast.within[i], ((a - b) ** 2).mean(0), rtol=1e-12)


def test_halves_are_drawn_within_arms_and_pairs_of_groups_are_complements():
    units = make_units(4, n=601)
    inside = kept_halves(units, grow_trees(units, n_groups=8, min_leaf=3, n_tried=4, seed=9))
    np.testing.assert_array_equal(inside[0::2], ~inside[1::2])
    for group in inside:
        for a in range(N_ARMS):
            of_arm = units.arm == a
            assert abs(group[of_arm].sum() - of_arm.sum() / 2) <= 0.5
    # every unit is as likely as any other
    many = kept_halves(units, grow_trees(units, n_groups=400, min_leaf=50, n_tried=1, seed=1))
    share = many[0::2].mean(axis=0)
    assert abs(share - 0.5).max() < 5 * np.sqrt(0.25 / 200)


@pytest.mark.parametrize("n_arms", [2, 3, 5])
def test_the_first_split_is_the_best_by_the_definition(n_arms):
    """Score of every threshold from pseudo-outcomes, on the units of the split half."""
    from wavewise.estimate.forest.engine import _columns, _data, _rules
    from wavewise.estimate.forest.grow import add_units, new_half, new_work
    from wavewise.estimate.forest.split import score_all

    units = make_units(6, n=300, n_arms=n_arms)
    data, columns = _data(units), _columns(units)
    rules = _rules(units, data, 1, 4, None)
    work = new_work(units.n_units, data.words.shape[1], columns, rules)
    work.histograms[0][:] = 0
    split = new_half(300, data.words.shape[1])
    split.words[:300], split.payload[:300], split.index[:300] = data.words, data.value, range(300)
    add_units(work.histograms[0], columns, split, 0, 300, 1)
    work.tried[:] = np.arange(4)
    score_all(work.histograms[0], columns, rules, work)
    scores = work.score.reshape(2, columns.n_bins, columns.n_lanes)
    y_step = np.ptp(units.outcome) / ((2**31 - 1) // 300)
    for c in range(4):
        for side in (0, 1):
            if side == 0 and c == 3:
                continue  # never missing
            ours, slow = [], []
            for t in range(side, 6):
                goes = (units.bins[:, c] <= t) & (units.bins[:, c] >= side)
                left, right = np.flatnonzero(goes), np.flatnonzero(~goes)
                if min(left.size, right.size) < 15:
                    assert scores[side, t, c] <= 0
                    continue
                ours.append(scores[side, t, c])
                slow.append(gradient_score(units, left, right))
            ours = np.array(ours) / y_step**2 * y_step**2
            np.testing.assert_allclose(ours / ours[0], np.array(slow) / slow[0], rtol=1e-4)


@pytest.mark.parametrize("n", [900, MOVED + 900])
def test_sorting_keeps_the_order_whether_rows_move_or_only_their_places(n):
    from wavewise.estimate.forest.engine import _columns, _data, _rules
    from wavewise.estimate.forest.grow import new_half, new_work, partition

    units = make_units(10, n=n)
    data, columns = _data(units), _columns(units)
    work = new_work(n, data.words.shape[1], columns, _rules(units, data, 1, 4, None))
    half = new_half(n, data.words.shape[1])
    half.words[:n], half.payload[:n], half.index[:n] = data.words, np.arange(n), np.arange(n)
    expected = np.arange(n)
    for start, end, c, low, span in ((0, n, 0, 1, 2), (0, n // 3, 1, 0, 3), (n // 2, n, 2, 2, 1)):
        part = expected[start:end]
        inside = (units.bins[part, c] >= low) & (units.bins[part, c] <= low + span)
        expected[start:end] = np.concatenate([part[inside], part[~inside]])
        border = partition(half, start, end, c, low, span, work)
        assert border == start + inside.sum()
        np.testing.assert_array_equal(half.payload[half.index[:n]], expected)
        np.testing.assert_array_equal(half.words[half.index[:n]], data.words[expected])


def test_standard_errors_by_hand():
    """Little bags in a few lines, where the positive part does not bite."""
    rng = np.random.default_rng(8)
    half = rng.normal(0, 2, size=(4000, 1))
    trees = half + rng.normal(0, 1, size=(4000, 2))
    from wavewise.estimate.forest.engine import GroupSums

    middle, apart = trees.mean(1), trees[:, 0] - trees[:, 1]
    sums = GroupSums(
        np.array([4000]),
        middle.mean()[None, None],
        (middle**2).mean()[None, None],
        (apart**2).mean()[None, None],
    )
    found = bag_std_error(sums)[0, 0] ** 2
    expected = middle.var() - (apart**2).mean() / 4 + middle.var() / 4000
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == pytest.approx(4.0, rel=0.1)


def means_by_arm(units, keep=slice(None)):
    arm, y, w = units.arm[keep], units.outcome[keep], units.weight[keep]
    return np.array([np.average(y[arm == a], weights=w[arm == a]) for a in range(units.n_arms)])


@pytest.mark.parametrize("kind", ["units", "weighted", "clusters", "clusters of several arms"])
def test_averages_without_a_unit_are_those_of_the_others(kind):
    rng = np.random.default_rng(11)
    units = make_units(3, n=120, weighted=kind == "weighted")
    if kind.startswith("clusters"):
        part = rng.integers(0, 30, 120)
        part = np.unique(part, return_inverse=True)[1]
        arm = units.arm if kind.endswith("arms") else (part * 7) % N_ARMS
        units = Units(units.bins, units.n_bins, arm, N_ARMS, units.outcome, units.weight, part)
    found, whole = average_effects(units), means_by_arm(units)
    np.testing.assert_allclose(found.ate, whole[1:] - whole[0], rtol=1e-12)
    for i in range(0, 120, 7):
        others = means_by_arm(units, units.part != units.part[i])
        np.testing.assert_allclose(found.ate + found.change[i], others[1:] - others[0], rtol=1e-10)
    if kind == "units":
        variance = [units.outcome[units.arm == a] for a in (1, 2)]
        variance = [y.var(ddof=1) / y.size for y in variance]
        np.testing.assert_allclose(found.covariance, np.diag(variance), rtol=1e-10)


def test_shares_are_posterior_means_of_the_loss_that_leaves_every_unit_out():
    """Least squares and its posterior on a fine grid, from averages computed unit by unit."""
    rng = np.random.default_rng(9)
    n, k = 600, 4
    tau = rng.normal(size=(n, k)) + rng.normal(size=(n, 1))
    arm = rng.integers(0, k + 1, n)
    e = np.full((n, k + 1), 1 / (k + 1))
    W = (arm[:, None] == np.arange(1, k + 1)) - e[:, 1:]
    outcome = 0.3 * (W * tau).sum(1) + 3 * rng.normal(size=n)
    units = Units(
        np.ones((n, 1), np.uint8), np.array([2]), arm, k + 1, outcome, np.ones(n), np.arange(n)
    )
    parts = parts_of_arms(None, k)
    np.testing.assert_allclose(sum(parts.values()), np.eye(k), atol=1e-12)
    fitted = fit_shrinkage(tau, units, e, parts)
    whole = means_by_arm(units)
    shrink = shrunk_averages(average_effects(units), parts)
    design, target = np.empty((n, 2)), np.empty(n)
    for i in range(n):
        others = means_by_arm(units, np.arange(n) != i)
        ate = others[1:] - others[0]
        deviation = tau[i] - (tau.mean(0) + ate - (whole[1:] - whole[0]))
        design[i] = [W[i] @ part @ deviation for part in parts.values()]
        target[i] = outcome[i] - W[i] @ shrink @ ate
    expected = np.linalg.lstsq(design, target)[0]
    rest = target - design @ expected
    errors = np.sqrt((design**2 * rest[:, None] ** 2).sum(0)) / (design**2).sum(0)
    np.testing.assert_allclose(list(fitted.fitted.values()), np.c_[expected, errors], rtol=1e-9)
    x = (np.arange(400) + 0.5) / 400
    gap = (x[:, None, None] - expected[0]), (x[None, :, None] - expected[1])
    gram = design.T @ design
    scale = (errors**2 * np.diag(gram))[:, None] ** 0.5  # noise by part, as the errors have it
    gram = gram / (scale @ scale.T)
    a, b = gap[0][:, :, 0], gap[1][:, :, 0]
    chance = np.exp(-0.5 * (gram[0, 0] * a**2 + 2 * gram[0, 1] * a * b + gram[1, 1] * b**2))
    means = [(chance * x[:, None]).sum() / chance.sum(), (chance * x).sum() / chance.sum()]
    np.testing.assert_allclose(list(fitted.parts.values()), means, atol=0.01)
    assert fitted.loss == pytest.approx(
        ((target - design @ list(fitted.parts.values())) ** 2).mean()
    )
    assert fitted.loss_of_averages == pytest.approx((target**2).mean())
    # standard errors use the largest shares that the data do not rule out
    upper = np.clip(np.maximum(np.maximum(expected, 0) + 1.645 * errors, means), 0, 1)
    roots = sum(np.sqrt(s) * part for s, part in zip(upper, parts.values(), strict=True))
    np.testing.assert_allclose(fitted.keep_error, roots, atol=1e-5)
    whole = fit_shrinkage(tau, units, e, parts, fixed=[1.0, 1.0])
    np.testing.assert_allclose(whole.keep_error, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(whole.averages, whole.ate, atol=1e-12)


@pytest.mark.parametrize("centre", [-900.0, -3.0, -0.2, 0.3, 0.5, 0.99, 1.4, 40.0])
@pytest.mark.parametrize("error", [0.01, 0.3, 5.0])
def test_mean_of_a_normal_between_0_and_1(centre, error):
    from mpmath import exp, mp, quad

    from wavewise.estimate.forest.shrinkage import _mean_between

    mp.dps = 30
    c, s = mp.mpf(centre), mp.mpf(error)
    top = min(max(c, 0), 1)
    ends = sorted({mp.mpf(0), mp.mpf(1), *(max(min(top + j * s**2, 1), 0) for j in (-1, 1)),
                   *(max(min(top + j * s, 1), 0) for j in (-6, -1, 1, 6))})  # fmt: skip
    density = lambda x: exp(-((x - c) ** 2 - (top - c) ** 2) / (2 * s**2))  # noqa: E731
    expected = quad(lambda x: x * density(x), ends) / quad(density, ends)
    assert _mean_between(centre, error) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


def test_averages_are_empirical_bayes_with_the_unequal_form():
    """Posterior means from the marginal of every arm, with a flat prior for their common mean."""
    from wavewise.estimate.forest.shrinkage import Averages

    y, v = np.array([0.9, -0.4, 0.2, 1.6, 0.1]), np.array([0.1, 0.3, 0.2, 0.6, 0.15])
    found = shrunk_averages(Averages(y, np.zeros((1, 5)), np.diag(v)), parts_of_arms(None, 5)) @ y
    spread = 6 * np.sqrt((np.trace(np.diag(v)) - v.mean()) / 4) * (np.arange(6000) + 0.5) / 6000
    weight = 1 / (spread[:, None] ** 2 + v)
    mean = (weight * y).sum(1) / weight.sum(1)
    log = 0.5 * (np.log(weight).sum(1) - np.log(weight.sum(1)))
    log -= 0.5 * (weight * (y - mean[:, None]) ** 2).sum(1)
    chance = np.exp(log - log.max())
    each = mean[:, None] + spread[:, None] ** 2 * weight * (y - mean[:, None])
    np.testing.assert_allclose(found, chance @ each / chance.sum(), atol=1e-5)
    # with equal variances, the share of each gap is E[t^2 / (t^2 + v)]
    equal = shrunk_averages(Averages(y, np.zeros((1, 5)), 0.2 * np.eye(5)), parts_of_arms(None, 5))
    gap = y - y.mean()
    t = 6 * np.sqrt(0.2) * (np.arange(6000) + 0.5) / 6000
    chance = (t**2 + 0.2) ** -2 * np.exp(-0.5 * (gap**2).sum() / (t**2 + 0.2))
    share = (chance * t**2 / (t**2 + 0.2)).sum() / chance.sum()
    np.testing.assert_allclose(equal @ y, y.mean() + share * gap, atol=1e-5)


def test_two_factor_parts_are_additive_effects():
    factor = np.array([[0, 0, 0, 1, 1], [0, 2, 3, 2, 3]])
    parts = parts_of_arms(factor, 4)
    assert list(parts) == ["all arms", "first message", "second message", "each pair"]
    np.testing.assert_allclose(sum(parts.values()), np.eye(4), atol=1e-12)
    first = np.array([1.0, 1, -1, -1])
    np.testing.assert_allclose(parts["first message"] @ first, first, atol=1e-12)
    np.testing.assert_allclose(parts["second message"] @ first, 0, atol=1e-12)
    for part in parts.values():
        np.testing.assert_allclose(part @ part, part, atol=1e-12)


def test_centring_is_what_it_says():
    """Without centring, shrinking and tuning the effects are plain means of leaf differences."""
    rng = np.random.default_rng(10)
    X, arm = rng.normal(size=(500, 2)), rng.choice(["c", "t"], 500)
    outcome = rng.normal(size=500)
    forest = causal_forest(
        X,
        arm,
        outcome,
        control="c",
        propensity={"c": 0.5, "t": 0.5},
        n_trees=12,
        rng=rng,
        min_arm_leaf=20,
        shrink=False,
        residualize=False,
    )
    trees, bins = forest._model.trees, forest._model.binning.bins(X)
    effects = trees.means[:, 1] - trees.means[:, 0]
    first = np.cumsum(trees.n_leaves) - trees.n_leaves
    slow = np.mean(
        [
            [effects[first[t] + route(row, 0, nodes)] for row in bins]
            for t, (nodes, _, _) in enumerate(trees_of(trees))
        ],
        axis=0,
    )
    shift = forest.effects(X)[:, 0] - slow
    np.testing.assert_allclose(shift, shift[0], atol=1e-12)  # recentred at the average effect
