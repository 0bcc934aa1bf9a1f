"""The best split of a node: a score for every threshold from packed histograms, and its limits.

The score is the gradient criterion of Athey, Tibshirani and Wager (2019, section 2.3). With one
indicator an arm and arm means as the local moment it needs only weight and sum of outcomes by arm:

    D_a   = (S_La - W_La mean_a) / W_Pa            of arm a in the left child L of parent P
    score = sum over arms (D_a - D_control)^2 (1 / W_L + 1 / W_R)

Ordered pairs as two factors replace the differences d_a = D_a - D_control by their additive fit:
with all pairs present its squares sum to M_first^2 / n_first over first messages, the same over
second messages, less M^2 / n, where M are sums of d_a over the n pairs of a message, or over all.

Weight and weighted sum of an arm in a bin are two fields of one whole number, so that a unit
enters by one addition, a sibling is an exact difference, and no order of additions matters.
"""

import numpy as np

from wavewise.estimate.forest.sample import Columns, Half, Rules, Work
from wavewise.shared.compiled import compiled_nogil
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["SHIFT", "best_split"]

SHIFT = 32
_SHIFT, _MASK = np.int64(SHIFT), np.int64(0xFFFFFFFF)


@compiled_nogil
def best_split(
    kept: Half,
    start: int,
    end: int,
    histogram: IntArray,
    columns: Columns,
    rules: Rules,
    work: Work,
) -> tuple[int, int, int]:
    """Covariate, last bin on the left and first bin on the left; covariate -1 for no split.

    The best threshold of each covariate by the split half alone is an upper bound. Counts of the
    estimation half are made only for the covariate with the highest bound, until a bound is met:
    the split is the same as if all were counted.
    """
    score_all(histogram, columns, rules, work)
    while True:
        at = highest(work.bound, rules.n_tried)
        if at < 0:
            return -1, 0, 0
        c, bound = work.tried[at], work.bound[at]
        if bound[2] > 0.0:
            side = 0 if bound[0] >= bound[1] else 1
            return c, int(bound[3 + side]), side
        count_units(work.count, columns.bins[c], rules.n_arms, kept, start, end, c)
        bound[2] = 1.0
        for side in range(2):
            if bound[side] > 0.0:
                low, high = feasible(
                    work.count, columns.bins[c], rules.n_arms, side, rules.min_leaf
                )
                bound[side], bound[3 + side] = best_between(
                    work.score[side], c, columns.n_lanes, low, high
                )


@compiled_nogil
def score_all(histogram: IntArray, columns: Columns, rules: Rules, work: Work) -> None:
    """Scores of all thresholds of all covariates, and the largest of each that is tried.

    A threshold is the last bin on the left. Side 0 sends missing values left, side 1 right; side 0
    is scored where the covariate is missing for a unit of the split half.
    """
    total = node_means(histogram, columns, work)
    least = max(int(rules.least_share * total), 1)
    any_missing = has_missing(histogram, columns, rules.n_arms)
    scan(histogram, columns, any_missing, rules, work)
    for side in range(2):
        if side == 1 or any_missing:
            weigh(work.score[side], work.left, columns, total, least, side, work.best[side])
    for k in range(rules.n_tried):
        c = work.tried[k]
        work.bound[k, :] = 0.0
        work.bound[k, 1] = work.best[1, c]
        if any_missing and columns.missing[c] and work.left[c] > 0:
            work.bound[k, 0] = work.best[0, c]


@compiled_nogil
def node_means(histogram: IntArray, columns: Columns, work: Work) -> int:
    """Weight of the node; each arm's mean and reciprocal weight, from the first covariate."""
    total, at = 0, np.uint64(0)
    mean, scale = work.mean, work.scale
    for a in range(mean.size):
        run = 0
        for _ in range(columns.n_bins):
            run += histogram[at]
            at += np.uint64(columns.n_lanes)
        weight = run >> _SHIFT
        total += weight
        mean[a] = (run & _MASK) / weight if weight > 0 else 0.0
        scale[a] = 1.0 / weight if weight > 0 else 0.0
    return total


@compiled_nogil
def has_missing(histogram: IntArray, columns: Columns, n_arms: int) -> bool:
    """Whether any unit of the split half has any covariate missing."""
    for c in range(columns.missing.size):
        if columns.missing[c]:
            for a in range(n_arms):
                if histogram[a * columns.n_bins * columns.n_lanes + c] != 0:
                    return True
    return False


@compiled_nogil
def scan(
    histogram: IntArray, columns: Columns, any_missing: bool, rules: Rules, work: Work
) -> None:
    """Sums of squared arm differences of every threshold, on both sides, and left weights.

    What is left of a threshold with missing values on the right is what is left of it with missing
    values on the left, less bin 0.
    """
    # named here once: each look-up in a tuple counts a reference
    left, control, other, row = work.left, work.control, work.other, work.row
    run, mean, scale = work.run, work.mean, work.scale
    with_0, without_0 = work.score[0], work.score[1]
    n_bins, n_lanes, n_arms = columns.n_bins, columns.n_lanes, rules.n_arms
    size, n_margins = n_bins * n_lanes, rules.n_margins
    for k in range(size):
        left[k] = 0
        with_0[k] = 0.0
        without_0[k] = 0.0
    work.margin[:] = 0.0
    accumulate(histogram, 0, row, run, n_bins, n_lanes)
    deviate(run, left, control, size, mean[0], scale[0])
    if n_arms == 1:
        add_squares(control, with_0, without_0, n_bins, n_lanes, any_missing, 1.0)
    for a in range(1, n_arms):
        accumulate(histogram, a * size, row, run, n_bins, n_lanes)
        deviate(run, left, other, size, mean[a], scale[a])
        subtract(control, other, size)
        if n_margins == 0:
            add_squares(other, with_0, without_0, n_bins, n_lanes, any_missing, 1.0)
        else:
            add_margins(other, work.margin, rules.factor, a, size)
    for g in range(n_margins):
        part = rules.margin_weight[g]
        add_squares(work.margin[g], with_0, without_0, n_bins, n_lanes, any_missing, part)


@compiled_nogil
def accumulate(
    histogram: IntArray, start: int, row: IntArray, run: IntArray, n_bins: int, n_lanes: int
) -> None:
    """Sums over an arm's bins up to each one, all covariates side by side."""
    row[:] = 0
    for b in range(n_bins):
        first = np.uint64(b * n_lanes)
        here = np.uint64(start) + first
        for c in range(np.uint64(n_lanes)):
            total = row[c] + histogram[here + c]
            row[c] = total
            run[first + c] = total


@compiled_nogil
def deviate(
    run: IntArray, left: IntArray, out: FloatArray, size: int, mean: float, scale: float
) -> None:
    """One arm's deviation (S - W mean) / W_parent of every left child; its weight added to left."""
    for k in range(size):
        weight = np.int32(run[k] >> _SHIFT)
        left[k] += weight
        out[k] = (float(np.int32(run[k] & _MASK)) - float(weight) * mean) * scale


@compiled_nogil
def subtract(control: FloatArray, other: FloatArray, size: int) -> None:
    """The arm's deviation less the control's, in place."""
    for k in range(size):
        other[k] -= control[k]


@compiled_nogil
def add_squares(
    difference: FloatArray,
    with_0: FloatArray,
    without_0: FloatArray,
    n_bins: int,
    n_lanes: int,
    any_missing: bool,
    part: float,
) -> None:
    """Squares of the differences, with bin 0 on the left (if any is missing) and without."""
    if not any_missing:  # then bin 0 is empty, and both sides are the same
        for k in range(n_bins * n_lanes):
            without_0[k] += part * difference[k] * difference[k]
        return
    for b in range(n_bins):
        first = np.uint64(b * n_lanes)
        for c in range(np.uint64(n_lanes)):
            d = difference[first + c]
            rest = d - difference[c]
            with_0[first + c] += part * d * d
            without_0[first + c] += part * rest * rest


@compiled_nogil
def add_margins(
    difference: FloatArray, margin: FloatArray, factor: IntArray, a: int, size: int
) -> None:
    """An arm's difference added to those of its first message, its second, and all pairs."""
    for g in (factor[0, a], factor[1, a], margin.shape[0] - 1):
        line = margin[g]
        for k in range(size):
            line[k] += difference[k]


@compiled_nogil
def weigh(
    score: FloatArray,
    left: IntArray,
    columns: Columns,
    total: int,
    least: int,
    side: int,
    best: FloatArray,
) -> None:
    """Scores made comparable over the children's sizes, in place; each covariate's largest."""
    n_lanes = columns.n_lanes
    best[:] = 0.0
    for b in range(side, columns.n_bins - 1):
        first = np.uint64(b * n_lanes)
        for c in range(np.uint64(n_lanes)):
            weight = left[first + c] - left[c] * side
            other = total - weight
            found = score[first + c] * (1.0 / weight + 1.0 / other)
            found = found if weight >= least and other >= least else -1.0
            score[first + c] = found
            best[c] = max(best[c], found)


@compiled_nogil
def highest(bound: FloatArray, n_tried: int) -> int:
    """The covariate with the highest bound above 0; the first of equals; -1 for none."""
    best, at = 0.0, -1
    for k in range(n_tried):
        top = max(bound[k, 0], bound[k, 1])
        if top > best:
            best, at = top, k
    return at


@compiled_nogil
def count_units(
    count: IntArray, nb: int, n_arms: int, kept: Half, start: int, end: int, c: int
) -> None:
    """Units of the estimation half by arm and bin of one covariate."""
    for k in range(n_arms * nb):
        count[k] = 0
    cells, index, n_bytes = kept.cells, kept.index, np.uint64(8 * kept.words.shape[1])
    column, width, one = np.uint64(c), np.uint64(nb), np.uint64(1)
    for j in range(np.uint64(start), np.uint64(end)):
        row = np.uint64(index[j]) * n_bytes
        arm = np.uint64(cells[row + n_bytes - one])
        count[arm * width + np.uint64(cells[row + column])] += 1


@compiled_nogil
def feasible(count: IntArray, nb: int, n_arms: int, side: int, min_leaf: int) -> tuple[int, int]:
    """First and last threshold that leave every arm enough units in both children; 1, 0 if none."""
    low, high = side, nb - 2
    for a in range(n_arms):
        at = a * nb
        run, b = 0, side - 1
        while run < min_leaf and b < high:
            b += 1
            run += count[at + b]
        if run < min_leaf:
            return 1, 0
        low = max(low, b)
        run, b = count[at] * side, nb  # with side 1 the missing are on the right
        while run < min_leaf and b > low + 1:
            b -= 1
            run += count[at + b]
        if run < min_leaf:
            return 1, 0
        high = min(high, b - 1)
        if low > high:
            return 1, 0
    return low, high


@compiled_nogil
def best_between(
    score: FloatArray, c: int, n_lanes: int, low: int, high: int
) -> tuple[float, float]:
    """The largest score of a covariate among thresholds low to high, and its threshold."""
    best, at = 0.0, 0
    for b in range(low, high + 1):
        found = score[b * n_lanes + c]
        if found > best:
            best, at = found, b
    return best, float(at)
