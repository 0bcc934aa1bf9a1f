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

from wavewise.estimate.forest_compiled import compiled, inlined
from wavewise.estimate.forest_parts import ByteArray, Columns, FloatArray, IntArray, Rules, Work

__all__ = ["SHIFT", "best_split"]

SHIFT = 32
_SHIFT, _MASK = np.int64(SHIFT), np.int64(0xFFFFFFFF)


@compiled
def best_split(
    cells: ByteArray,
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
        count_units(work.count, columns.bins[c], rules.n_arms, cells, start, end, c)
        bound[2] = 1.0
        for side in range(2):
            if bound[side] > 0.0:
                low, high = feasible(
                    work.count, columns.bins[c], rules.n_arms, side, rules.min_leaf
                )
                bound[side], bound[3 + side] = best_between(work.score[at, side], low, high)


@compiled
def score_all(histogram: IntArray, columns: Columns, rules: Rules, work: Work) -> None:
    """Scores of all thresholds of the covariates tried, and each covariate's largest."""
    bins, n_arms = columns.bins, rules.n_arms
    total = node_means(histogram[columns.offset[0] :], bins[0], work.mean, work.scale)
    least = max(int(rules.least_share * total), 1)
    for k in range(rules.n_tried):
        c = work.tried[k]
        part, nb = histogram[columns.offset[c] :], bins[c]
        work.bound[k, :] = 0.0
        for side in range(2):
            if side == 1 or (columns.missing[c] and has_missing(part, nb, n_arms)):
                score = work.score[k, side]
                scan(part, nb, side, score, rules, work)
                work.bound[k, side] = weigh(score, work.left, total, least, side, nb - 1)


@compiled
def node_means(histogram: IntArray, nb: int, mean: FloatArray, scale: FloatArray) -> int:
    """Weight of the node; each arm's mean and reciprocal weight, from the first covariate."""
    total = 0
    for a in range(mean.size):
        run = 0
        for b in range(nb):
            run += histogram[np.uint64(a * nb + b)]
        weight = run >> _SHIFT
        total += weight
        mean[a] = (run & _MASK) / weight if weight > 0 else 0.0
        scale[a] = 1.0 / weight if weight > 0 else 0.0
    return total


@compiled
def has_missing(histogram: IntArray, nb: int, n_arms: int) -> bool:
    """Whether any unit of the split half has the covariate missing."""
    for a in range(n_arms):  # noqa: SIM110 - the compiler takes loops
        if histogram[a * nb] != 0:
            return True
    return False


@compiled
def scan(
    histogram: IntArray, nb: int, side: int, score: FloatArray, rules: Rules, work: Work
) -> None:
    """Sum of squared arm differences of every threshold into score, left weights into work.

    Bins below `side` go right: 0 sends missing values left, 1 sends them right.
    """
    # named here once: each look-up in a tuple counts a reference
    run, left, control, other = work.run, work.left, work.control, work.other
    mean, scale, margin, factor = work.mean, work.scale, work.margin, rules.factor
    part = rules.margin_weight
    n_arms, n_margins = rules.n_arms, rules.n_margins
    for b in range(nb):
        score[b] = 0.0
        left[b] = 0
    margin[:] = 0.0
    for a in range(n_arms):
        # unsigned positions: no check for negative ones, so that the compiler takes whole vectors
        line, total = np.uint64(a * nb), np.int64(0)
        for b in range(nb):
            total += histogram[line + np.uint64(b)] if b >= side else 0
            run[b] = total
        deviate(run, left, control if a == 0 else other, nb, mean[a], scale[a])
        if a > 0 and n_margins == 0:
            for b in range(nb):
                d = other[b] - control[b]
                score[b] += d * d
        elif a > 0:
            for b in range(nb):
                d = other[b] - control[b]
                margin[factor[0, a], b] += d
                margin[factor[1, a], b] += d
                margin[n_margins - 1, b] += d
    if n_arms == 1:
        for b in range(nb):
            score[b] = control[b] * control[b]
    for g in range(n_margins):
        for b in range(nb):
            score[b] += part[g] * margin[g, b] * margin[g, b]


@inlined
def deviate(
    run: IntArray, left: IntArray, out: FloatArray, nb: int, mean: float, scale: float
) -> None:
    """One arm's deviation (S - W mean) / W_parent of every left child; its weight added to left."""
    for b in range(nb):
        weight = np.int32(run[b] >> _SHIFT)
        left[b] += weight
        out[b] = (float(np.int32(run[b] & _MASK)) - float(weight) * mean) * scale


@compiled
def weigh(score: FloatArray, left: IntArray, total: int, least: int, first: int, end: int) -> float:
    """Scores made comparable over the children's sizes, in place; the largest allowed one."""
    best = 0.0
    for b in range(end):
        right = total - left[b]
        if b < first or left[b] < least or right < least:
            score[b] = -1.0
        else:
            score[b] *= 1.0 / left[b] + 1.0 / right
            best = max(best, score[b])
    return best


@compiled
def highest(bound: FloatArray, n_tried: int) -> int:
    """The covariate with the highest bound above 0; the first of equals; -1 for none."""
    best, at = 0.0, -1
    for k in range(n_tried):
        top = max(bound[k, 0], bound[k, 1])
        if top > best:
            best, at = top, k
    return at


@compiled
def count_units(
    count: IntArray, nb: int, n_arms: int, cells: ByteArray, start: int, end: int, c: int
) -> None:
    """Units of the estimation half by arm and bin of one covariate."""
    for k in range(n_arms * nb):
        count[k] = 0
    arm, width = cells.shape[1] - 1, np.uint64(nb)
    cells = cells[start:end]
    for j in range(cells.shape[0]):
        count[np.uint64(cells[j, arm]) * width + np.uint64(cells[j, c])] += 1


@compiled
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


@compiled
def best_between(score: FloatArray, low: int, high: int) -> tuple[float, float]:
    """The largest score among thresholds low to high, and its threshold."""
    best, at = 0.0, 0
    for b in range(low, high + 1):
        if score[b] > best:
            best, at = score[b], b
    return best, float(at)
