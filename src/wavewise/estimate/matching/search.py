"""An arm's units as points to search among: equal units in one point, near points in one block."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from wavewise.shared.compiled import compile_with
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["Averages", "LeftOut", "Points", "full", "make_points", "nearest", "order_units"]

_FAR = np.float32(1e30)
# a guess of the last neighbour's distance takes in this many times the neighbours
_AMPLE = 1.6


@dataclass(frozen=True, eq=False)
class Points:
    """Distinct covariate rows of one arm's units."""

    rows: FloatArray  # (n_points, n_columns): In an order that keeps near points together.
    # (n_points, 3): Units at each point, the sum of their outcomes, and of squared outcomes; or
    # (n_points, 4): their weights, weighted sums, and squared weights.
    units: FloatArray
    # (n_arm_units,): Point of each unit, in the order in which the units were given.
    point_of: IntArray


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the nearest units of one arm, shape (n_queries, n_ks) each."""

    # mean, mean_square: Weighted mean of outcomes and of squared outcomes.
    mean: FloatArray
    mean_square: FloatArray
    squared_weights: FloatArray  # Sum of squared weights that sum to 1: 1 / k without ties.
    reach: FloatArray  # (n_queries, 2): Distance to the last neighbour, and to the one half-way.


def order_units(rows: FloatArray, outcome: FloatArray) -> IntArray:
    """Order of units by their own values alone, so that nothing depends on the order of rows."""
    return np.lexsort((outcome, *rows.T[::-1]))


def make_points(
    rows: FloatArray, outcome: FloatArray, scale: FloatArray, weight: FloatArray | None = None
) -> Points:
    """Points of one arm."""
    order = order_units(rows, outcome)
    ordered, values = rows[order], outcome[order]
    new = np.ones(order.size, dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    held = np.ones(order.size) if weight is None else weight[order]
    columns = [held, held * values, held * values**2, *([] if weight is None else [held**2])]
    sums = [np.add.reduceat(v, starts) for v in columns]
    near = _near_order(ordered[starts] * scale, BLOCK)
    place = np.empty(near.size, dtype=np.int64)
    place[near] = np.arange(near.size)
    point_of = np.empty(order.size, dtype=np.int64)
    point_of[order] = place[np.cumsum(new) - 1]
    units = np.ascontiguousarray(np.column_stack(sums)[near])
    return Points(np.ascontiguousarray(ordered[starts][near]), units, point_of)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Units that are left out of the averages at themselves."""

    # point, outcome, weight: (n_queries,)
    point: IntArray
    outcome: FloatArray
    weight: FloatArray


def nearest(
    arms: list[Points],
    queries: FloatArray,
    *,
    weights: FloatArray,
    centre: FloatArray,
    ks: FloatArray,
    own: LeftOut | None = None,
    one_by_one: bool = False,
) -> list[Averages]:
    """Averages over the nearest units of each arm; ties at the last distance are shared.

    As many as have a weight of ``ks``, (n_arms, n_ks), in rising order. ``one_by_one`` adds them up
    from the nearest on, as earlier versions did: frozen policies break ties by the last digit.
    """
    scale = np.sqrt(weights)
    order = _near_order((queries - centre) * scale, GROUP)
    centred, nowhere = queries[order], np.full(order.size, -1, dtype=np.int64)
    reach, results, before = None, [], 1.0
    for points, amounts in zip(arms, ks, strict=True):
        units = full(points.units)
        held, most = np.sort(units[:, 0]), 0.0 if own is None else float(own.weight.max())
        needed = int(np.searchsorted(np.cumsum(held), amounts[-1] + most - 1e-9)) + 1
        share = amounts[-1] / float(held.sum())
        blocks = _blocks(points.rows, scale, centre)
        sums = np.zeros((4, blocks[1].size))  # with nothing at the points that fill the last block
        sums[:, : held.size] = units.T
        found, reach = search(
            *blocks,
            points.rows,
            np.ascontiguousarray(blocks[0].transpose(1, 0, 2).reshape(scale.size, -1)),
            units,
            sums,
            weights,
            centred,
            *_query(centred, scale, centre),
            nowhere if own is None else own.point[order],
            np.zeros((order.size, 2))
            if own is None
            else np.column_stack([own.outcome, own.weight])[order],
            np.asarray(amounts, np.float64),
            min(needed, held.size),
            not one_by_one and needed * WIDE > points.rows.shape[0],
            np.float32(4 * _slack(weights.size)),
            _guess(reach, order.size, share / before),
        )
        before = share
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        mean, square, weight = np.moveaxis(found[back], 2, 0)
        results.append(Averages(mean, square, weight, reach[back]))
    return results


def full(units: FloatArray) -> FloatArray:
    """Weights, weighted sums and squared weights of points; without weights each unit has 1."""
    return units if units.shape[1] == 4 else np.column_stack([units, units[:, 0]])


def _slack(n_columns: int) -> float:
    """Relative error of a lower bound in single precision, generously."""
    return (2 * n_columns + 8) * 2.0**-23


def _query(
    queries: FloatArray, scale: FloatArray, centre: FloatArray
) -> tuple[np.ndarray, np.ndarray]:
    single = ((queries - centre) * scale).astype(np.float32)
    norms = (single.astype(np.float64) ** 2).sum(axis=1)
    return 2 * single, _shrunk(norms, scale.size)


def _shrunk(norms: FloatArray, n_columns: int) -> np.ndarray:
    # half of the rounding of the grid, and of single precision, is taken off each side
    return (norms * (1 - _slack(n_columns)) - n_columns * 2.0**-24).astype(np.float32)


def _blocks(
    rows: FloatArray, scale: FloatArray, centre: FloatArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points in single precision by block and column; their norms; the boxes of the blocks."""
    n_points, n_columns = rows.shape
    n_blocks = -(-n_points // BLOCK)
    last = np.minimum(np.arange(n_blocks * BLOCK), n_points - 1)  # the last point fills the block
    single = ((rows - centre) * scale).astype(np.float32)[last].reshape(n_blocks, BLOCK, n_columns)
    norms = _shrunk((single.astype(np.float64) ** 2).sum(axis=2), n_columns)
    norms.reshape(-1)[n_points:] = _FAR
    blocks = np.ascontiguousarray(single.transpose(0, 2, 1))
    return blocks, norms, single.min(axis=1), single.max(axis=1)


def _guess(reach: FloatArray | None, n_queries: int, ratio: float) -> FloatArray:
    """Distance within which the next arm's neighbours probably lie, from the last arm's."""
    if reach is None:
        return np.full(n_queries, -1.0)
    whole, half = reach.T
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = whole * (whole / half) ** np.clip(np.log2(_AMPLE * ratio), -2.0, 3.0)
    return np.where((half > 0) & np.isfinite(guess), guess, -1.0)


def _near_order(rows: FloatArray, size: int) -> IntArray:
    """An order that keeps near rows together: halves along the widest column, again and again."""
    order = np.arange(rows.shape[0])
    pending, done = [order], []
    while pending:
        part = pending.pop()
        if part.size <= size:
            done.append(part)
            continue
        values = rows[part]
        column = int(np.argmax(values.max(axis=0) - values.min(axis=0)))
        part = part[np.argsort(values[:, column], kind="stable")]
        middle = (part.size // 2 + size - 1) // size * size
        pending += [part[middle:], part[:middle]]
    return np.concatenate(done)


# Exact nearest neighbours: a single-precision filter, then exact distances for what passes.

BLOCK = 64  # points of a block: one inner loop of the filter
GROUP = 8  # queries that share the order in which blocks are visited
FIRST = 8  # nearest blocks, which give the first threshold
GRID = 2.0**24  # distances are whole numbers of 1 / GRID
WIDE = 16  # from one in so many of an arm's points on all are summed and few are measured
FEW = 16  # points between the limits there, of which the last neighbour is one
MOST_TURNS = 24  # to find them
PIECE = 2**20  # points that are counted in single precision
STEEP = 2.5  # a density of points there, relative to the mean within: that of a few dimensions


def _bounds(columns: Any, norms: Any, twice: Any, shift: Any, out: Any) -> None:
    """Lower bounds of a query's squared distances to some points, given by column."""
    n_columns, n = columns.shape
    for p in range(n):
        out[p] = norms[p] + shift
    c = 0
    while c + 4 <= n_columns:
        q0, q1, q2, q3 = twice[c], twice[c + 1], twice[c + 2], twice[c + 3]
        for p in range(n):
            out[p] -= (q0 * columns[c, p] + q1 * columns[c + 1, p]) + (
                q2 * columns[c + 2, p] + q3 * columns[c + 3, p]
            )
        c += 4
    while c < n_columns:
        for p in range(n):
            out[p] -= twice[c] * columns[c, p]
        c += 1


def _n_within(block: Any, norms: Any, twice: Any, shift: Any, limit: Any, out: Any) -> int:
    """Lower bounds of a query's squared distances to a block; how many pass the limit."""
    _bounds(block, norms, twice, shift, out)
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


_bounds = compile_with(fastmath={"contract", "reassoc", "nsz", "nnan"})(_bounds)
_n_within = compile_with()(_n_within)
_kth_smallest = compile_with()(_kth_smallest)
_exact = compile_with()(_exact)
_before = compile_with()(_before)
_sort = compile_with()(_sort)


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


_box_gaps = compile_with()(_box_gaps)
_visit_order = compile_with()(_visit_order)


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


_tighten = compile_with()(_tighten)


def _within(
    blocks: Any, norms: Any, gaps: Any, twice: Any, norm: Any, limit: Any,
    index: Any, near: Any,
) -> int:  # fmt: skip
    """Points that can lie within a limit of one query; their number."""
    n = 0
    for b in range(blocks.shape[0]):
        if gaps[b] > limit or _n_within(blocks[b], norms[b], twice, norm, limit, near) == 0:
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
        if _n_within(blocks[b], norms[b], twice, norm, limit, near) == 0:
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


_within = compile_with()(_within)
_candidates = compile_with()(_candidates)
_measure = compile_with()(_measure)


def _leave_out(sums: Any, left_out: Any) -> None:
    """Take one unit out of sums."""
    y, w = left_out[0], left_out[1]
    sums[0] -= w
    sums[1] -= w * y
    sums[2] -= w * y * y
    sums[3] -= w * w


_leave_out = compile_with()(_leave_out)


def _average(
    distance: Any, index: Any, n: int, ks: Any, units: Any, own: int, left_out: Any, out: Any
) -> None:
    """Mean, mean square and squared weights of the nearest units, ties averaged."""
    start, which = 0, 0
    done, tied = np.zeros(4), np.empty(4)
    while start < n and which < ks.size:
        stop = start
        tied[:] = 0.0
        while stop < n and distance[stop] == distance[start]:
            p = index[stop]
            for c in range(4):
                tied[c] += units[p, c]
            if p == own:
                _leave_out(tied, left_out)
            stop += 1
        while which < ks.size and tied[0] > 0.0 and done[0] + tied[0] >= ks[which]:
            _write(done, tied, ks[which], out[which])
            which += 1
        start = stop
        for c in range(4):
            done[c] += tied[c]


def _write(done: Any, tied: Any, k: float, out: Any) -> None:
    """Averages over what is nearer and an equal part of each tie."""
    share = (k - done[0]) / tied[0]
    out[0] = (done[1] + share * tied[1]) / k
    out[1] = (done[2] + share * tied[2]) / k
    out[2] = (done[3] + share * share * tied[3]) / (k * k)


_write = compile_with()(_write)
_average = compile_with()(_average)


def _n_between(bound: Any, inside: Any, beyond: Any) -> Any:
    """Points whose lower bound lies between two limits, as a float: lanes of one width are fast."""
    count = np.float32(0.0)
    for p in range(bound.size):
        count += np.float32(1.0) if inside < bound[p] <= beyond else np.float32(0.0)
    return count


def _n_below(bound: Any, limit: Any) -> Any:
    """Points whose lower bound is within a limit, as a float."""
    count = np.float32(0.0)
    for p in range(bound.size):
        count += np.float32(1.0) if bound[p] <= limit else np.float32(0.0)
    return count


_n_between = compile_with(fastmath={"reassoc", "nsz"})(_n_between)
_n_below = compile_with(fastmath={"reassoc", "nsz"})(_n_below)


def _weight_within(bound: Any, held: Any, ones: bool, limit: Any) -> float:
    """Weight of the points whose lower bound is within a limit; ``ones``: a count of them."""
    total = 0.0
    if ones:
        for first in range(0, held.size, PIECE):
            total += _n_below(bound[first : first + PIECE], limit)
        return total
    for p in range(held.size):
        total += held[p] if bound[p] <= limit else 0.0
    return total


def _sums_within(bound: Any, sums: Any, limit: Any, out: Any) -> None:
    """Weights, weighted sums and squared weights of the points within a limit."""
    w, y, yy, ww = 0.0, 0.0, 0.0, 0.0
    for p in range(sums.shape[1]):
        inside = bound[p] <= limit
        w += sums[0, p] if inside else 0.0
        y += sums[1, p] if inside else 0.0
        yy += sums[2, p] if inside else 0.0
        ww += sums[3, p] if inside else 0.0
    out[0], out[1], out[2], out[3] = w, y, yy, ww


_weight_within = compile_with(fastmath={"reassoc", "nsz"})(_weight_within)
_sums_within = compile_with(fastmath={"reassoc", "nsz"})(_sums_within)


def _limits(
    bound: Any, held: Any, ones: bool, ks: Any, rest: float, few: float, guess: float, most: float,
    out: Any,
) -> None:  # fmt: skip
    """By k two lower bounds near each other: less weighs within the first, k within the second.

    Found by false position from a guess until a weight of ``few`` lies between; ``rest`` weighs at
    once, and nothing lies beyond ``most``.
    """
    low, under, middle, last = -_FAR, rest, np.float32(guess), np.float32(0.0)
    before, steep, slope = rest, STEEP, 0.0
    for which in range(ks.size):
        k, high, over = ks[which], np.float32(most), float(np.inf)
        if which > 0 and slope > 0.0:
            middle = np.float32(last + (k - before) / slope)
        for _ in range(MOST_TURNS):
            if not low < middle < high:
                middle = np.float32(0.5) * (max(low, np.float32(-1.0)) + high)
                if not low < middle < high:
                    break
            weight = rest + _weight_within(bound, held, ones, middle)
            if middle != last:
                slope = steep * (weight - before) / float(middle - last)
            last, before, steep = middle, weight, 1.0
            if weight < k:
                low, under = middle, weight
            else:
                high, over = middle, weight
            if over - under <= few:
                break
            # a little beyond k or short of it: the side that is farther away moves
            target = k + (0.4 if over - k > k - under else -0.4) * few
            if over < np.inf and low > -_FAR:
                part = min(max((target - under) / (over - under), 0.05), 0.95)
                middle = np.float32(low + np.float32(part) * (high - low))
            elif slope > 0.0:
                middle = np.float32(middle + (target - weight) / slope)
        out[which, 0], out[which, 1] = low, high


def _between(bound: Any, inside: Any, beyond: Any, index: Any) -> int:
    """Points whose lower bound lies between two limits; their number."""
    m = 0
    for block in range(bound.size // BLOCK):
        part = bound[block * BLOCK : (block + 1) * BLOCK]
        if _n_between(part, inside, beyond) > 0:
            for j in range(BLOCK):
                if inside < part[j] <= beyond:
                    index[m] = block * BLOCK + j
                    m += 1
    return m


_limits = compile_with()(_limits)
_between = compile_with()(_between)


def _doubt(limit: float, norm: float, slack: float) -> Any:
    """What a distance may exceed its lower bound by, where that is within a limit."""
    root = np.sqrt(max(norm, 0.0)) + np.sqrt(max(limit, 0.0))
    return slack * (1.0 + norm + root * root) * 1.01 + 1e-6 * max(limit, 0.0)


def _last(
    exact: Any, index: Any, m: int, units: Any, own: int, left_out: Any, nearer: float, k: float,
    tied: Any,
) -> Any:  # fmt: skip
    """Distance at which the weight k is reached, ``nearer`` lying within; the sums of its ties."""
    stop = 0
    while stop < m:
        start = stop
        tied[:] = 0.0
        while stop < m and exact[stop] == exact[start]:
            p = index[stop]
            for c in range(4):
                tied[c] += units[p, c]
            if p == own:
                _leave_out(tied, left_out)
            stop += 1
        if tied[0] > 0.0 and nearer + tied[0] >= k * (1.0 - 1e-12):
            return exact[start]
        nearer += tied[0]
    return np.inf


_doubt = compile_with()(_doubt)
_last = compile_with()(_last)


def _wide(
    bound: Any, guess: float, most: float, norm: float, slack: float, points: Any, units: Any,
    sums: Any, weights: Any, query: Any, own: int, left_out: Any, ks: Any, index: Any, exact: Any,
    kept: Any, ones: bool, few: float, out: Any,
) -> Any:  # fmt: skip
    """The same for a large part of an arm: all are summed, only those at a limit are measured.

    ``guess`` is where the first limit probably is, ``most`` where all points are; gives the former
    for a query near by. Sums are over all nearer points, wherever the limits were.
    """
    done, tied, limits, rest = np.empty(4), np.empty(4), np.empty((ks.size, 2)), 0.0
    if own >= 0:
        # at distance 0: what is left of it is measured with the others
        bound[own], rest = _FAR, units[own, 0] - left_out[1]
    _limits(bound, sums[0], ones, ks, rest, few, guess, most, limits)
    for which in range(ks.size):
        k, (low, high) = ks[which], limits[which]
        inside = np.float32(low - _doubt(low, norm, slack))
        m = _between(bound, inside, np.float32(high + _doubt(high, norm, slack)), index)
        if own >= 0 and rest > 0.0:
            index[m] = own
            m += 1
        _measure(points, index, m, query, weights, exact)
        within = _weight_within(bound, sums[0], ones, inside)
        last = _last(exact, index, m, units, own, left_out, within, k, tied)
        nearer = 0
        while nearer < m and exact[nearer] < last:
            kept[nearer], bound[index[nearer]] = bound[index[nearer]], -_FAR
            nearer += 1
        _sums_within(bound, sums, inside, done)
        for j in range(nearer):
            bound[index[j]] = kept[j]
            if index[j] == own:
                _leave_out(done, left_out)
        _write(done, tied, k, out[which])
    return limits[0, 1]


_wide = compile_with()(_wide)


def _sizes(norms: Any, n_points: int) -> Any:
    """Mean and largest squared distance of an arm's points from the centre."""
    total, most = 0.0, 0.0
    for p in range(n_points):
        norm = max(float(norms[p // BLOCK, p % BLOCK]), 0.0)
        total, most = total + norm, max(most, norm)
    return total / n_points, most


_sizes = compile_with()(_sizes)


def _search(
    blocks: Any, norms: Any, low: Any, high: Any, points: Any, columns: Any, units: Any,
    sums: Any, weights: Any, queries: Any, twice: Any, query_norms: Any, own: Any, left_out: Any,
    ks: Any, needed: int, wide: bool, slack: Any, guess: Any,
) -> Any:  # fmt: skip
    """Averages over the nearest units of one arm, shape (n_queries, n_ks, 3).

    Parameters: the arm's points in blocks (single precision, norms a little too small), boxes of
    the blocks, the points by row, and by column as in the blocks; weights, weighted sums and
    squared weights of their units, by point and by column; the queries in both precisions, their
    own point to be left out (or -1) with its outcome and weight; weights wanted, sorted; points
    that certainly hold the largest; whether they are so many that few are measured; the relative
    error of the filter; a guess of each query's distance to its last neighbour (or -1). Also gives
    the distances to the last neighbour and to the one half-way.
    """
    n_queries, n_ks = queries.shape[0], ks.size
    out = np.full((n_queries, n_ks, 3), np.nan)
    reach = np.zeros((n_queries, 2))
    inner, outer = _sizes(norms, points.shape[0])
    ones, few = bool((units[:, 0] == 1.0).all()), FEW * float(units[:, 0].mean())
    most = (np.sqrt(outer) + np.sqrt(max(query_norms.max(), 0.0))) ** 2 * 1.01 + 1.0
    for g in prange((n_queries + GROUP - 1) // GROUP):
        first, last = g * GROUP, min(n_queries, (g + 1) * GROUP)
        gaps = np.empty(blocks.shape[0], np.float32)
        _box_gaps(low, high, twice[first:last] * np.float32(0.5), gaps)
        room = (blocks.shape[0] + 1) * BLOCK
        bound, work = np.empty(room, np.float32), np.empty(room, np.float32)
        index, near = np.empty(room, np.int64), np.empty(BLOCK, np.float32)
        distance = np.empty(room, np.float64)
        # the mean distance
        top = min(max(query_norms[first], np.float32(0.0)) + inner + 1e-3, 0.5 * most)
        for i in range(first, last):
            if wide:
                _bounds(columns, norms.reshape(-1), twice[i], query_norms[i], bound)
                top = _wide(
                    bound[: sums.shape[1]], top, most, query_norms[i], slack, points, units, sums,
                    weights, queries[i], own[i], left_out[i], ks, index, distance, work, ones, few,
                    out[i],
                )  # fmt: skip
                continue
            k, n = needed, 0
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
            _average(distance, index, n, ks, units, own[i], left_out[i], out[i])
            reach[i, 0], reach[i, 1] = distance[k - 1], distance[k // 2]
    return out, reach


search = compile_with(parallel=True)(_search)
