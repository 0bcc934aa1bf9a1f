"""Exact search for the best shallow tree over binned covariates, in whole numbers.

Gains are integers, so that the best tree depends on neither the order of units nor of additions.
"""

from typing import Any

import numpy as np

from wavewise.randomize.compiled import compiled

__all__ = ["best_split"]


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
    """Covariate and cut of the first split of the best tree of a depth; its gain.

    Parameters
    ----------
    bins : array of int, shape (n_units, n_covariates)
    gains : array of int, shape (n_units, 1 + n_arms)
        Ones, and each arm's gain.
    n_bins : int
    depth : int
        Levels of splits, 1 to 3.
    least : int
        Fewest units of a leaf.

    Returns
    -------
    tuple
        Covariate (-1 where no split does better than none), the last bin on the left, the gain.
    """
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
