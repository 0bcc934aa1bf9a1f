"""Exact nearest neighbours: a single-precision filter, then exact distances for what passes.

Distances are whole multiples of ``2**-24`` squared standard deviations, so that ties are exact and
sums of distances do not depend on the order of additions. The filter works on lower bounds: it can
let a far point through, never keep a near one out.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, prange

__all__ = ["BLOCK", "GRID", "GROUP", "search"]

BLOCK = 64  # points of a block: one inner loop of the filter
GROUP = 8  # queries that share the order in which blocks are visited
FIRST = 8  # nearest blocks, which give the first threshold
GRID = 2.0**24  # distances are whole numbers of 1 / GRID

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F, **options: Any) -> F:
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # no writable folder for the cache
        return cast(F, njit(**options)(function))


def _lower_bounds(block: Any, norms: Any, twice: Any, shift: Any, limit: Any, out: Any) -> int:
    """Lower bounds of a query's squared distances to a block; how many pass the limit."""
    n_columns = block.shape[0]
    for j in range(BLOCK):
        out[j] = norms[j] + shift
    c = 0
    while c + 4 <= n_columns:
        q0, q1, q2, q3 = twice[c], twice[c + 1], twice[c + 2], twice[c + 3]
        for j in range(BLOCK):
            out[j] -= (q0 * block[c, j] + q1 * block[c + 1, j]) + (
                q2 * block[c + 2, j] + q3 * block[c + 3, j]
            )
        c += 4
    while c < n_columns:
        for j in range(BLOCK):
            out[j] -= twice[c] * block[c, j]
        c += 1
    passed = 0
    for j in range(BLOCK):
        passed += out[j] <= limit
    return passed


def _kth_smallest(values: Any, n: int, k: int) -> Any:
    """The k-th smallest of the first n values (k from 0); reorders them (Hoare's selection)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


def _exact(points: Any, point: int, query: Any, weights: Any) -> float:
    """Squared distance on the grid: each covariate's part rounded to a whole number of steps."""
    total = 0.0
    for c in range(query.size):
        gap = points[point, c] - query[c]
        total += np.rint(gap * gap * weights[c] * GRID)
    return total


def _before(a: float, i: int, b: float, j: int) -> bool:
    return a < b or (a == b and i < j)


def _sort(distance: Any, index: Any, n: int) -> None:
    """Sort by distance, then by index, in place (Shell's method with Ciura's gaps)."""
    for gap in (1750, 701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, n):
            d, p, j = distance[i], index[i], i
            while j >= gap and _before(d, p, distance[j - gap], index[j - gap]):
                distance[j], index[j] = distance[j - gap], index[j - gap]
                j -= gap
            distance[j], index[j] = d, p


_bounds = _compiled(_lower_bounds, fastmath={"contract", "reassoc", "nsz", "nnan"})
_kth_smallest = _compiled(_kth_smallest)
_exact = _compiled(_exact)
_before = _compiled(_before)
_sort = _compiled(_sort)


def _box_gaps(low: Any, high: Any, queries: Any, gaps: Any) -> None:
    """Lower bounds of squared distances between the box of some queries and each block's."""
    for b in range(low.shape[0]):
        gaps[b] = 0.0
    for c in range(queries.shape[1]):
        least, most = queries[0, c], queries[0, c]
        for i in range(1, queries.shape[0]):
            least, most = min(least, queries[i, c]), max(most, queries[i, c])
        for b in range(low.shape[0]):
            below, above = low[b, c] - most, least - high[b, c]
            size = abs(low[b, c]) + abs(high[b, c]) + abs(least) + abs(most)
            gap = max(np.float32(0.0), max(below, above) - size * np.float32(1e-6))
            gaps[b] += gap * gap * np.float32(0.9999)


def _visit_order(gaps: Any, order: Any) -> None:
    """The nearest blocks first, then the others as they stand."""
    n_first = min(FIRST, order.size)
    for b in range(order.size):
        order[b] = b
    for place in range(n_first):
        best = place
        for b in range(place + 1, order.size):
            if gaps[order[b]] < gaps[order[best]]:
                best = b
        order[place], order[best] = order[best], order[place]


_box_gaps = _compiled(_box_gaps)
_visit_order = _compiled(_visit_order)


def _tighten(
    bound: Any, index: Any, n: int, k: int, slack: Any, norms: Any, norm: Any, work: Any
) -> Any:
    """A limit that the k nearest certainly respect; keeps the candidates within it."""
    if n < k:
        return np.float32(np.inf), n
    work[:n] = bound[:n]
    cut = _kth_smallest(work, n, k - 1)
    limit = cut
    for j in range(n):
        if bound[j] <= cut:
            p = index[j]
            size = norm + norms[p // BLOCK, p % BLOCK]
            limit = max(limit, bound[j] + slack * (np.float32(1.0) + size))
    kept = 0
    for j in range(n):
        if bound[j] <= limit:
            bound[kept], index[kept] = bound[j], index[j]
            kept += 1
    return limit, kept


_tighten = _compiled(_tighten)


def _within(
    blocks: Any, norms: Any, gaps: Any, twice: Any, norm: Any, limit: Any,
    index: Any, near: Any,
) -> int:  # fmt: skip
    """Points that can lie within a limit of one query; their number."""
    n = 0
    for b in range(blocks.shape[0]):
        if gaps[b] > limit or _bounds(blocks[b], norms[b], twice, norm, limit, near) == 0:
            continue
        for j in range(BLOCK):
            index[n] = b * BLOCK + j
            n += near[j] <= limit  # without a branch: most blocks hold a few
    return n


def _candidates(
    blocks: Any, norms: Any, gaps: Any, twice: Any, norm: Any, k: int, slack: Any,
    bound: Any, index: Any, work: Any, near: Any,
) -> Any:  # fmt: skip
    """Points that can be among the k nearest of one query; their number."""
    limit, n, full = np.float32(np.inf), 0, max(3 * k, FIRST * BLOCK)
    order = np.empty(gaps.size, np.int64)
    _visit_order(gaps, order)
    for place in range(order.size):
        b = order[place]
        if gaps[b] > limit:
            continue
        if place == FIRST or n >= full:
            limit, n = _tighten(bound, index, n, k, slack, norms, norm, work)
            full = max(2 * n, n + FIRST * BLOCK)
        if _bounds(blocks[b], norms[b], twice, norm, limit, near) == 0:
            continue
        for j in range(BLOCK):
            bound[n], index[n] = near[j], b * BLOCK + j
            n += near[j] <= limit
    _, kept = _tighten(bound, index, n, k, slack, norms, norm, work)
    return kept


def _measure(points: Any, index: Any, n: int, query: Any, weights: Any, distance: Any) -> None:
    """Exact distances of the candidates, sorted."""
    for j in range(n):
        distance[j] = _exact(points, index[j], query, weights)
    _sort(distance, index, n)


_within = _compiled(_within)
_candidates = _compiled(_candidates)
_measure = _compiled(_measure)


def _average(
    distance: Any, index: Any, n: int, ks: Any, units: Any, own: int, own_outcome: float, out: Any
) -> None:
    """Mean, mean square and sum of squared weights of the k nearest units, ties averaged."""
    start, done, s_done, q_done, which = 0, 0.0, 0.0, 0.0, 0
    while start < n and which < ks.size:
        stop, tied, s_tied, q_tied = start, 0.0, 0.0, 0.0
        while stop < n and distance[stop] == distance[start]:
            p = index[stop]
            tied, s_tied, q_tied = tied + units[p, 0], s_tied + units[p, 1], q_tied + units[p, 2]
            if p == own:
                tied -= 1.0
                s_tied -= own_outcome
                q_tied -= own_outcome * own_outcome
            stop += 1
        while which < ks.size and done + tied >= ks[which]:
            k, share = ks[which], (ks[which] - done) / tied
            out[which, 0] = (s_done + share * s_tied) / k
            out[which, 1] = (q_done + share * q_tied) / k
            out[which, 2] = (done + share * share * tied) / (k * k)
            which += 1
        start, done, s_done, q_done = stop, done + tied, s_done + s_tied, q_done + q_tied


_average = _compiled(_average)


def _search(
    blocks: Any, norms: Any, low: Any, high: Any, points: Any, units: Any, weights: Any,
    queries: Any, twice: Any, query_norms: Any, own: Any, own_outcome: Any, ks: Any, slack: Any,
    guess: Any,
) -> Any:  # fmt: skip
    """Averages over the nearest units of one arm, shape (n_queries, n_ks, 3).

    Parameters: the arm's points in blocks (single precision, norms a little too small), boxes of
    the blocks, points and (count, sum, sum of squares) of their units; the queries in both
    precisions, their own point to be left out (or -1) with its outcome; sorted numbers of
    neighbours; the relative error of the filter; a guess of each query's distance to its last
    neighbour (or -1). Also gives the distances to the last neighbour and to the one half-way.
    """
    n_queries, n_ks, n_points = queries.shape[0], ks.size, points.shape[0]
    out = np.full((n_queries, n_ks, 3), np.nan)
    reach = np.empty((n_queries, 2))
    for g in prange((n_queries + GROUP - 1) // GROUP):
        first, last = g * GROUP, min(n_queries, (g + 1) * GROUP)
        gaps = np.empty(blocks.shape[0], np.float32)
        _box_gaps(low, high, twice[first:last] * np.float32(0.5), gaps)
        room = (blocks.shape[0] + 1) * BLOCK
        bound, work = np.empty(room, np.float32), np.empty(room, np.float32)
        index, near = np.empty(room, np.int64), np.empty(BLOCK, np.float32)
        distance = np.empty(room, np.float64)
        for i in range(first, last):
            k, n = min(ks[n_ks - 1] + (own[i] >= 0), n_points), 0
            if guess[i] >= 0.0:
                limit = np.float32(guess[i] / GRID)
                n = _within(blocks, norms, gaps, twice[i], query_norms[i], limit, index, near)
                if n >= k:
                    _measure(points, index, n, queries[i], weights, distance)
            if n < k or distance[k - 1] > guess[i] * (1.0 - 1e-6):
                n = _candidates(
                    blocks, norms, gaps, twice[i], query_norms[i], k, slack,
                    bound, index, work, near,
                )  # fmt: skip
                _measure(points, index, n, queries[i], weights, distance)
            _average(distance, index, n, ks, units, own[i], own_outcome[i], out[i])
            reach[i, 0], reach[i, 1] = distance[k - 1], distance[k // 2]
    return out, reach


search = _compiled(_search, parallel=True)
