"""The best shallow tree on doubly robust scores."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numba import get_num_threads

from wavewise.decide.policy import Policy
from wavewise.decide.policy_rules import Leaf, Question, TreeRule, numbers_by_name
from wavewise.errors import InputError
from wavewise.estimate.forest.engine import in_threads
from wavewise.shared.compiled import compiled, compiled_nogil
from wavewise.shared.inputs import aligned, read_matrix
from wavewise.shared.labels import label_text
from wavewise.shared.results import FloatArray, IntArray, hash_arrays

__all__ = ["policy_tree"]

_STEPS = 2.0**40  # scores are held in 1 / _STEPS of the largest
_MOST_BINS, _FEW_BINS = 64, 16  # where every value is too many: at depths 1 and 2, at depth 3
# Most additions, before anything is dropped, that a search of every value (by depth), and one by
# tables of bins, may need: seconds.
_SCAN, _TABLE = {2: 5e9, 3: 3e10}, 8e9

_MANY = 200_000  # numbers from which on threads are worth starting


@aligned("X", "scores")
def policy_tree(
    X: Any,
    scores: Any,
    *,
    arms: Sequence[Any] | None = None,
    depth: int = 2,
    min_leaf: int = 100,
    n_bins: int | None = None,
    cost: Any = None,
    name: str = "tree",
) -> Policy:
    """The policy of at most `depth` questions with the largest mean score.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Covariates: numbers, not-a-number where missing.
    scores : DoublyRobustScores, or array of shape (n_units, n_arms)
        Doubly robust score of each unit's outcome under each arm, from
        `ww.evaluate.doubly_robust_scores`; the control is an arm like the others.
    arms : sequence of labels, optional
        Needed where the scores are a plain array.
    depth : int
        Questions from the root to a leaf, 1 to 3.
    min_leaf : int
        Fewest units of a leaf.
    n_bins : int, optional
        Covariates are cut at quantiles into at most this many parts, 2 to 64, and the search is
        exact for those. By default every value may be a cut, where that takes seconds.
    cost : mapping of arm to float, optional
        Cost of an arm in units of the outcome, subtracted from its scores.
    name : str

    Raises
    ------
    InputError
        Where arrays do not fit together, a covariate is text, or an option is out of range.

    Notes
    -----
    ``argmax over trees of (1/n) sum_i Gamma_i,pi(x_i)``, over every tree with cuts between values:
    not greedy. With the smallest score of each unit taken away, the best value of a set of units
    only rises with the set, so that all cuts between two are dropped at once where the left units
    of the later and the right ones of the earlier fall short of the best so far. That takes seconds
    at depth 2 up to about 4,000 units with 10 continuous covariates, at depth 3 up to 500 with 5.
    Beyond, cuts lie between 64 quantiles of the units at a question, and the first of three
    questions is the first of the best tree over 16 quantiles, or that of the best two questions,
    whichever leads to more (hybrid search). Of trees with equal scores the one with the earlier
    covariate and the lower cut is kept; a question that gains nothing is not asked. Scores are
    whole multiples of ``2**-40`` of the largest, so that sums are exact. The mean score of the
    chosen tree is too high as a promise: evaluate it on units that it was not learned from.

    References
    ----------
    Athey and Wager (2021), *Policy learning with observational data*, Econometrica 89, 133-161;
    Zhou, Athey and Wager (2023), *Offline multi-action policy learning*, on tree search.

    Examples
    --------
    >>> x = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    >>> scores = np.column_stack([np.zeros(400), np.where(x > 1, 1.0, -1.0)])
    >>> policy_tree({"logins": x}, scores, arms=["control", "sms"], depth=1).describe()
    'if logins <= 1: control; otherwise: sms'
    """
    names, values = _scores(scores, arms)
    columns = numbers_by_name(X, ())
    _check(columns, values, depth=depth, min_leaf=min_leaf, n_bins=n_bins)
    known = ~np.isnan(values).any(axis=1)  # units without an outcome have no score
    if not known.any():
        raise InputError(f"scores: found none among {known.size:,} units; needed finite scores")
    if not known.all():
        values = values[known]
        columns = {covariate: column[known] for covariate, column in columns.items()}
    values = values - _costs(cost, names)
    cuts = {covariate: _cuts(column, n_bins) for covariate, column in columns.items()}
    bins = np.column_stack([_bin(columns[covariate], cuts[covariate]) for covariate in columns])
    step = max(float(np.abs(values).max()), 1e-300) / _STEPS
    gains = np.column_stack([np.ones(len(values)), np.rint(values / step)]).astype(np.int64)
    binned, ends = n_bins is not None, list(cuts.values())
    grower = _Grower(tuple(cuts), ends, names, bins, gains, step, min_leaf, binned)
    rule = TreeRule(grower.grow(np.arange(len(values)), depth)[0], names)
    if hasattr(scores, "provenance"):
        return Policy.learned_from(scores, rule, name)
    return Policy(name=name, rule=rule, trained_on=hash_arrays(scores=values, bins=bins))


class _Grower:
    """Units in bins with their gains; grows a tree from the root."""

    def __init__(
        self,
        covariates: tuple[str, ...],
        cuts: list[FloatArray],
        arms: tuple[str, ...],
        bins: IntArray,
        gains: IntArray,
        step: float,
        min_leaf: int,
        binned: bool,
    ) -> None:
        self.covariates, self.cuts, self.arms = covariates, cuts, arms
        self.bins, self.gains, self.step, self.min_leaf = bins, gains, step, min_leaf
        self.binned = binned  # by the caller's wish, so that the search is exact for the bins

    def grow(self, units: IntArray, depth: int) -> tuple[Question | Leaf, int]:
        """The best tree that was found over these units, and its gain."""
        trees = [self._ask(units, depth, *root) for root in self._roots(units, depth)]
        best: tuple[Question | Leaf, int] = max(trees, key=lambda tree: tree[1])  # first of equals
        return best

    def _ask(self, units: IntArray, depth: int, covariate: int, cut: int) -> Any:
        if covariate < 0:
            return self._leaf(self.gains[units])
        left = self.bins[units, covariate] <= cut
        grow = self.grow if depth > 1 else lambda part, _: self._leaf(self.gains[part])
        (below, gain), (above, more) = (grow(units[side], depth - 1) for side in (left, ~left))
        # bin 0 holds missing values, bin b the values up to cuts[b - 1]
        at_most = -np.inf if cut == 0 else float(self.cuts[covariate][cut - 1])
        missing = bool((self.bins[:, covariate] == 0).any())
        return Question(self.covariates[covariate], at_most, missing, below, above), gain + more

    def _roots(self, units: IntArray, depth: int) -> list[tuple[int, int]]:
        """First questions to try: the best tree's, or those of two searches that come near it."""
        levels, gains = self._levels(units, None), self.gains[units]
        n_levels, size = [len(values) for _, values in levels], gains.size * len(levels)
        widest, total = max(n_levels), sum(n_levels)
        scan = size * total ** (depth - 1)
        table = size * len(levels) ** (depth - 1) + total**depth * gains.shape[1]
        few = widest <= _MOST_BINS and (self.binned or table <= _TABLE)
        if few and 8 * table < scan:
            return [self._root(levels, gains, depth)]
        if depth == 1 or scan <= _SCAN[depth] or few:
            ranks = np.stack([codes for codes, _ in levels])
            short = ranks.astype(np.uint16) if widest <= 2**16 else ranks  # sorted in linear time
            order = np.argsort(short, axis=1, kind="stable")
            above_least = gains[:, 1:] - gains[:, 1:].min(axis=1, keepdims=True)
            covariate, cut, _ = search(order, ranks, above_least, self.min_leaf, depth)
            return [(covariate, int(levels[covariate][1][cut]) if covariate >= 0 else 0)]
        fine = self._root(self._levels(units, _MOST_BINS), gains, 2)
        if depth == 2:
            return [fine]
        return [self._root(self._levels(units, _FEW_BINS), gains, 3), fine]

    def _root(self, levels: Any, gains: IntArray, depth: int) -> tuple[int, int]:
        bins = np.column_stack([codes.astype(np.uint8) for codes, _ in levels])
        n_parts = min(get_num_threads(), len(levels)) if gains.size > _MANY else 1
        ends = np.linspace(0, len(levels), n_parts + 1).astype(int)
        given = (bins, gains, int(bins.max()) + 1, depth, self.min_leaf)
        found = in_threads(best_split, [(*given, *pair) for pair in pairwise(ends)], n_parts)
        covariate, cut, _ = max(found, key=lambda part: part[2])  # the first of equals
        return covariate, int(levels[covariate][1][cut]) if covariate >= 0 else 0

    def _levels(self, units: IntArray, most: int | None) -> list[tuple[IntArray, IntArray]]:
        """Bins of each covariate that these units are in, joined at quantiles: codes, last bins."""
        found = []
        for column in self.bins[units].T:
            counts = np.bincount(column)
            values = np.flatnonzero(counts)
            if most is not None and values.size > most:
                ranks = (np.arange(1, most) * column.size) // most
                ends = np.searchsorted(np.cumsum(counts), ranks)
                values = np.unique(np.append(ends, values[-1]))
            last = np.zeros(counts.size, np.int64)
            last[values] = 1
            found.append(((np.cumsum(last) - last)[column], values))
        return found

    def _leaf(self, gains: IntArray) -> tuple[Leaf, int]:
        totals = gains.sum(axis=0)
        arm = int(np.argmax(totals[1:]))
        mean = float(totals[1 + arm]) * self.step / int(totals[0])
        return Leaf(self.arms[arm], int(totals[0]), mean), int(totals[1 + arm])


def _scores(scores: Any, arms: Sequence[Any] | None) -> tuple[tuple[str, ...], FloatArray]:
    names = getattr(scores, "arms", arms)
    if names is None:
        raise InputError("arms: found none; needed one name for each column of the scores")
    table = scores.values if hasattr(scores, "arms") else scores
    values = read_matrix(table, "scores")
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(
            f"scores: found shape {values.shape}; needed finite scores of shape (n_units, "
            f"{len(names)})"
        )
    return tuple(label_text(name) for name in names), values


def _check(
    columns: dict[str, FloatArray], values: FloatArray, *, depth: int, min_leaf: int, n_bins: Any
) -> None:
    n_units = next(iter(columns.values())).size
    if n_units != values.shape[0]:
        raise InputError(f"X: found {n_units:,} units for {values.shape[0]:,} rows of scores")
    for name, value, least, most in (
        ("depth", depth, 1, 3),
        ("n_bins", _MOST_BINS if n_bins is None else n_bins, 2, _MOST_BINS),
        ("min_leaf", min_leaf, 1, max(1, n_units // 2)),
    ):
        if isinstance(value, float) or not least <= value <= most:
            raise InputError(
                f"{name}: found {value!r}; needed a whole number from {least} to {most:,}"
            )


def _costs(cost: Any, arms: tuple[str, ...]) -> FloatArray:
    if cost is None:
        return np.zeros(len(arms))
    unknown = sorted(set(map(str, cost)) - set(arms))
    if unknown:
        raise InputError(f"cost: found {', '.join(unknown)}; the arms are {', '.join(arms)}")
    return np.array([float(cost.get(arm, 0.0)) for arm in arms])


def _cuts(values: FloatArray, n_bins: int | None) -> FloatArray:
    """Values that end a bin, ascending: all of them where they are few, quantiles otherwise."""
    known = np.sort(values[~np.isnan(values)])
    distinct = known[np.append(True, known[1:] != known[:-1])[: known.size]]
    if n_bins is not None and distinct.size > n_bins:
        ranks = (np.arange(1, n_bins) * known.size) // n_bins
        distinct = np.unique(np.append(known[ranks - 1], known[-1]))
    cuts: FloatArray = distinct[:-1]
    return cuts


def _bin(values: FloatArray, cuts: FloatArray) -> IntArray:
    """0 where missing, else one more than the number of cuts below the value."""
    order = np.argsort(values)  # missing values last; neighbours are looked up together
    n_known = values.size - int(np.isnan(values).sum())
    place = np.zeros(values.size, np.int64)
    place[order[:n_known]] = 1 + np.searchsorted(cuts, values[order[:n_known]], side="left")
    return place


# Exact search over every value, in whole numbers.


@compiled
def _stump(order: Any, rank: Any, gains: Any, least: int) -> Any:
    """Covariate, last rank on the left and gain of the best question, or of none."""
    n_covariates, n_units = order.shape
    width = gains.shape[1]
    totals = np.zeros(width, np.int64)
    for i in range(n_units):
        for a in range(width):
            totals[a] += gains[order[0, i], a]
    best, best_covariate, best_cut = totals.max(), -1, -1
    left = np.empty(width, np.int64)
    for k in range(n_covariates):
        left[:] = 0
        for i in range(n_units - least):
            unit = order[k, i]
            lower, upper = np.int64(-(2**62)), np.int64(-(2**62))
            for a in range(width):
                left[a] += gains[unit, a]
                lower = max(lower, left[a])
                upper = max(upper, totals[a] - left[a])
            if i + 1 >= least and lower + upper > best and rank[k, unit] < rank[k, order[k, i + 1]]:
                best, best_covariate, best_cut = lower + upper, k, rank[k, unit]
    return best_covariate, best_cut, best


@compiled
def _ends(units: Any, rank: Any, least: int, ends: Any) -> int:
    """Fill in how many units lie on the left of each possible cut; their number."""
    n_ends = 0
    for i in range(max(least, 1), units.size - least + 1):
        if i < units.size and rank[units[i - 1]] < rank[units[i]]:
            ends[n_ends] = i
            n_ends += 1
    return n_ends


@compiled
def _parts(order: Any, rank: Any, cut: int, end: int) -> Any:
    """The order by each covariate of the units up to a cut, and of the others."""
    n_covariates, n_units = order.shape
    lower = np.empty((n_covariates, end), np.int64)
    upper = np.empty((n_covariates, n_units - end), np.int64)
    for c in range(n_covariates):
        a, b = 0, 0
        for unit in order[c]:
            if rank[unit] <= cut:
                lower[c, a] = unit
                a += 1
            else:
                upper[c, b] = unit
                b += 1
    return lower, upper


@compiled
def search(order: Any, rank: Any, gains: Any, least: int, depth: int) -> Any:
    """Covariate, last rank on the left and gain of the first question of the best tree.

    order (n_covariates, n_units) has the units of a part by each covariate; no gain is below 0, so
    that a part gains no less than any part of it.
    """
    if depth == 1:
        return _stump(order, rank, gains, least)
    n_covariates, n_units = order.shape
    whole = search(order, rank, gains, least, depth - 1)[2]
    totals = np.zeros(gains.shape[1], np.int64)
    for i in range(n_units):
        totals += gains[order[0, i]]
    best, best_covariate, best_cut = totals.max(), -1, -1
    ends = np.empty(n_units, np.int64)
    stack = np.empty((64, 4), np.int64)
    for k in range(n_covariates):
        n_ends = _ends(order[k], rank[k], least, ends)
        stack[0] = 0, n_ends, whole, whole
        n_open = 1
        while n_open:
            n_open -= 1
            first, last, most_left, most_right = stack[n_open]
            if first >= last:
                continue
            bound = most_left + most_right
            here = rank[k, order[k, ends[first] - 1]]
            if bound < best or (bound == best and not (best_covariate == k and here < best_cut)):
                continue
            middle = (first + last) // 2
            end = ends[middle]
            cut = rank[k, order[k, end - 1]]
            lower, upper = _parts(order, rank[k], cut, end)
            below = search(lower, rank, gains, least, depth - 1)[2]
            above = most_right
            if below + above >= best:
                above = search(upper, rank, gains, least, depth - 1)[2]
                gain = below + above
                if gain > best or (gain == best and best_covariate == k and cut < best_cut):
                    best, best_covariate, best_cut = gain, k, cut
            stack[n_open] = first, middle, below, most_right
            stack[n_open + 1] = middle + 1, last, most_left, above
            n_open += 2
    return best_covariate, best_cut, best


# Exact search for the best shallow tree over binned covariates, in whole numbers.


@compiled_nogil
def _best_leaf(totals: Any) -> Any:
    """The largest gain that one arm gives to all units of a leaf; counts stand in column 0."""
    best = totals[1]
    for arm in range(2, totals.size):
        best = max(best, totals[arm])
    return best


@compiled_nogil
def _best_stump(table: Any, totals: Any, least: int) -> Any:
    """The largest gain of one split, or of none; table (n_covariates, n_bins, 1 + n_arms)."""
    best = _best_leaf(totals)
    n_covariates, n_bins, width = table.shape
    for covariate in range(n_covariates):
        left = np.zeros(width, np.int64)
        for cut in range(n_bins - 1):
            if table[covariate, cut, 0] == 0:
                continue
            for column in range(width):
                left[column] += table[covariate, cut, column]
            if left[0] < least:
                continue
            if totals[0] - left[0] < least:
                break
            lower, upper = left[1], totals[1] - left[1]
            for arm in range(2, width):
                lower = max(lower, left[arm])
                upper = max(upper, totals[arm] - left[arm])
            best = max(best, lower + upper)
    return best


@compiled_nogil
def _best_pair(tables: Any, totals: Any, least: int) -> Any:
    """The largest gain of two levels; tables hold a stump's table for every covariate and bin."""
    n_covariates, n_bins = tables.shape[0], tables.shape[1]
    whole = tables[0].sum(axis=0)
    best = _best_leaf(totals)
    for covariate in range(n_covariates):
        lower, upper = np.zeros_like(whole), whole.copy()
        left = np.zeros_like(totals)
        for cut in range(n_bins - 1):
            here = tables[covariate, cut]
            lower += here
            upper -= here
            left += here[0].sum(axis=0)
            if left[0] < least or totals[0] - left[0] < least or here[0, :, 0].sum() == 0:
                continue
            gain = _best_stump(lower, left, least) + _best_stump(upper, totals - left, least)
            best = max(best, gain)
    return best


@compiled_nogil
def _add(table: Any, bins: Any, gains: Any, unit: int) -> None:
    for covariate in range(bins.shape[1]):
        b = bins[unit, covariate]
        for column in range(gains.shape[1]):
            table[covariate, b, column] += gains[unit, column]


@compiled_nogil
def _add_pairs(tables: Any, bins: Any, gains: Any, unit: int) -> None:
    """Add to the pairs of each covariate with itself and with later ones."""
    for covariate in range(bins.shape[1]):
        here = tables[covariate, bins[unit, covariate]]
        for other in range(covariate, bins.shape[1]):
            b = bins[unit, other]
            for column in range(gains.shape[1]):
                here[other, b, column] += gains[unit, column]


@compiled_nogil
def _mirror(tables: Any) -> None:
    """Fill in the pairs of each covariate with earlier ones."""
    for covariate in range(tables.shape[0]):
        for other in range(covariate):
            for b in range(tables.shape[1]):
                for c in range(tables.shape[1]):
                    tables[covariate, b, other, c] = tables[other, c, covariate, b]


@compiled_nogil
def _best_below(depth: int, tables: Any, table: Any, totals: Any, least: int) -> Any:
    if depth == 0:
        return _best_leaf(totals)
    if depth == 1:
        return _best_stump(table, totals, least)
    return _best_pair(tables, totals, least)


@compiled_nogil
def _by_bin(bins: Any, n_bins: int) -> Any:
    """Units by their bin, in order within it."""
    starts = np.zeros(n_bins + 1, np.int64)
    for b in bins:
        starts[b + 1] += 1
    for b in range(n_bins):
        starts[b + 1] += starts[b]
    order = np.empty(bins.size, np.int64)
    for unit in range(bins.size):
        order[starts[bins[unit]]] = unit
        starts[bins[unit]] += 1
    return order


@compiled_nogil
def best_split(
    bins: Any, gains: Any, n_bins: int, depth: int, least: int, first: int, last: int
) -> Any:
    """Covariate, from the first to before the last, cut and gain of the best tree's first split."""
    n_units, n_covariates = bins.shape
    width = gains.shape[1]
    totals = gains.sum(axis=0)
    best, best_covariate, best_cut = _best_leaf(totals), -1, -1
    side = (n_covariates, n_bins, width) if depth == 2 else (1, 1, width)
    pairs = (n_covariates, n_bins) if depth == 3 else (1, 1)
    inner = (n_covariates, n_bins, width) if depth == 3 else (1, 1, width)
    whole = np.zeros(side, np.int64)
    whole_pairs = np.zeros(pairs + inner, np.int64)
    for unit in range(n_units):
        if depth == 2:
            _add(whole, bins, gains, unit)
        if depth == 3:
            _add_pairs(whole_pairs, bins, gains, unit)
    if depth == 3:
        _mirror(whole_pairs)
    for covariate in range(first, last):
        order = _by_bin(bins[:, covariate], n_bins)
        left = np.zeros_like(totals)
        lower, lower_pairs = np.zeros_like(whole), np.zeros_like(whole_pairs)
        place = 0
        for cut in range(n_bins - 1):
            start = place
            while place < n_units and bins[order[place], covariate] == cut:
                unit = order[place]
                left += gains[unit]
                if depth == 2:
                    _add(lower, bins, gains, unit)
                if depth == 3:
                    _add_pairs(lower_pairs, bins, gains, unit)
                place += 1
            if place == start or left[0] < least or totals[0] - left[0] < least:
                continue
            if depth == 3:
                _mirror(lower_pairs)
            below = _best_below(depth - 1, lower_pairs, lower, left, least)
            above = _best_below(
                depth - 1, whole_pairs - lower_pairs, whole - lower, totals - left, least
            )
            if below + above > best:
                best, best_covariate, best_cut = below + above, covariate, cut
    return best_covariate, best_cut, best
