"""The best shallow tree on doubly robust scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavewise.decide.policy import Policy
from wavewise.decide.policy_rules import Leaf, Question, TreeRule, numbers_by_name
from wavewise.errors import InputError
from wavewise.shared.compiled import compiled
from wavewise.shared.inputs import aligned, read_matrix
from wavewise.shared.labels import label_text
from wavewise.shared.results import FloatArray, IntArray, hash_arrays

__all__ = ["policy_tree"]

_STEPS = 2.0**40  # scores are held in 1 / _STEPS of the largest


@aligned("X", "scores")
def policy_tree(
    X: Any,
    scores: Any,
    *,
    arms: Sequence[Any] | None = None,
    depth: int = 2,
    min_leaf: int = 100,
    n_bins: int = 16,
    cost: Any = None,
    name: str = "tree",
) -> Policy:
    """The policy of at most `depth` questions with the largest mean score, found exactly.

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
    n_bins : int
        Covariates are cut at quantiles into at most this many parts, 2 to 64.
    cost : mapping of arm to float, optional
        Cost of an arm in units of the outcome, subtracted from its scores.
    name : str

    Raises
    ------
    InputError
        Where arrays do not fit together, a covariate is text, or an option is out of range.

    Notes
    -----
    ``argmax over trees of (1/n) sum_i Gamma_i,pi(x_i)`` over every tree whose cuts lie between the
    bins: the search is exact for them, not greedy. Of trees with equal scores the one with the
    earlier covariate and the lower cut is kept; a question that gains nothing is not asked. Scores
    are whole multiples of ``2**-40`` of the largest, so that sums are exact. The mean score of the
    chosen tree is too high as a promise: evaluate it on units that it was not learned from.

    References
    ----------
    Athey and Wager (2021), *Policy learning with observational data*, Econometrica 89, 133-161;
    Zhou, Athey and Wager (2023), *Offline multi-action policy learning*, on exact tree search.

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
    grower = _Grower(tuple(cuts), list(cuts.values()), names, bins, gains, step, min_leaf)
    rule = TreeRule(grower.grow(np.arange(len(values)), depth), names)
    rows = getattr(scores, "trained_rows", np.empty(0, dtype=np.uint64))
    origin = getattr(scores, "provenance", None)
    used = hash_arrays(scores=values, bins=bins) if origin is None else origin.data_hash
    return Policy(name=name, rule=rule, trained_on=used, trained_rows=np.sort(rows))


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
    ) -> None:
        self.covariates, self.cuts, self.arms = covariates, cuts, arms
        self.bins, self.gains, self.step, self.min_leaf = bins, gains, step, min_leaf

    def grow(self, units: IntArray, depth: int) -> Question | Leaf:
        """The best tree over these units."""
        bins, gains = self.bins[units], self.gains[units]
        n_bins = int(bins.max()) + 1
        covariate, cut, _ = best_split(bins, gains, n_bins, depth, self.min_leaf)
        if covariate < 0:
            return self._leaf(gains)
        left = bins[:, covariate] <= cut
        below, above = units[left], units[~left]
        parts = [self._below(part, depth - 1) for part in (below, above)]
        # bin 0 holds missing values, bin b the values up to cuts[b - 1]
        at_most = -np.inf if cut == 0 else float(self.cuts[covariate][cut - 1])
        missing = bool((self.bins[:, covariate] == 0).any())
        return Question(self.covariates[covariate], at_most, missing, parts[0], parts[1])

    def _below(self, units: IntArray, depth: int) -> Question | Leaf:
        return self.grow(units, depth) if depth else self._leaf(self.gains[units])

    def _leaf(self, gains: IntArray) -> Leaf:
        totals = gains.sum(axis=0)
        arm = int(np.argmax(totals[1:]))
        mean = float(totals[1 + arm]) * self.step / int(totals[0])
        return Leaf(self.arms[arm], int(totals[0]), mean)


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
    columns: dict[str, FloatArray], values: FloatArray, *, depth: int, min_leaf: int, n_bins: int
) -> None:
    n_units = next(iter(columns.values())).size
    if n_units != values.shape[0]:
        raise InputError(f"X: found {n_units:,} units for {values.shape[0]:,} rows of scores")
    for name, value, least, most in (
        ("depth", depth, 1, 3),
        ("n_bins", n_bins, 2, 64),
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


def _cuts(values: FloatArray, n_bins: int) -> FloatArray:
    """Values that end a bin, ascending: all of them where they are few, quantiles otherwise."""
    known = np.sort(values[~np.isnan(values)])
    distinct = np.unique(known)
    if distinct.size > n_bins:
        ranks = (np.arange(1, n_bins) * known.size) // n_bins
        distinct = np.unique(np.append(known[ranks - 1], known[-1]))
    return distinct[:-1]


def _bin(values: FloatArray, cuts: FloatArray) -> IntArray:
    """0 where missing, else one more than the number of cuts below the value."""
    absent = np.isnan(values)
    place = 1 + np.searchsorted(cuts, np.where(absent, 0.0, values), side="left")
    return np.where(absent, 0, place).astype(np.int64)


# Exact search for the best shallow tree over binned covariates, in whole numbers.


@compiled
def _best_leaf(totals: Any) -> Any:
    """The largest gain that one arm gives to all units of a leaf; counts stand in column 0."""
    best = totals[1]
    for arm in range(2, totals.size):
        best = max(best, totals[arm])
    return best


@compiled
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


@compiled
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


@compiled
def _add(table: Any, bins: Any, gains: Any, unit: int) -> None:
    for covariate in range(bins.shape[1]):
        b = bins[unit, covariate]
        for column in range(gains.shape[1]):
            table[covariate, b, column] += gains[unit, column]


@compiled
def _add_pairs(tables: Any, bins: Any, gains: Any, unit: int) -> None:
    for covariate in range(bins.shape[1]):
        _add(tables[covariate, bins[unit, covariate]], bins, gains, unit)


@compiled
def _best_below(depth: int, tables: Any, table: Any, totals: Any, least: int) -> Any:
    if depth == 0:
        return _best_leaf(totals)
    if depth == 1:
        return _best_stump(table, totals, least)
    return _best_pair(tables, totals, least)


@compiled
def best_split(bins: Any, gains: Any, n_bins: int, depth: int, least: int) -> Any:
    """Covariate and cut of the first split of the best tree of a depth; its gain."""
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
    for covariate in range(n_covariates):
        order = np.argsort(bins[:, covariate], kind="mergesort")
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
            below = _best_below(depth - 1, lower_pairs, lower, left, least)
            above = _best_below(
                depth - 1, whole_pairs - lower_pairs, whole - lower, totals - left, least
            )
            if below + above > best:
                best, best_covariate, best_cut = below + above, covariate, cut
    return best_covariate, best_cut, best
