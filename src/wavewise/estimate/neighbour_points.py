"""An arm's units as points to search among: equal units in one point, near points in one block."""

from dataclasses import dataclass

import numpy as np

from wavewise.estimate.neighbour_kernel import BLOCK, GROUP, search
from wavewise.results import FloatArray, IntArray

__all__ = ["Averages", "Points", "make_points", "nearest", "order_units"]

_FAR = np.float32(1e30)
# a guess of the last neighbour's distance takes in this many times the neighbours
_AMPLE = 1.6


@dataclass(frozen=True, eq=False)
class Points:
    """Distinct covariate rows of one arm's units.

    Parameters
    ----------
    rows : array of float, shape (n_points, n_columns)
        In an order that keeps near points together.
    units : array of float, shape (n_points, 3)
        Units at each point, the sum of their outcomes, and of squared outcomes.
    point_of : array of int, shape (n_arm_units,)
        Point of each unit, in the order in which the units were given.
    """

    rows: FloatArray
    units: FloatArray
    point_of: IntArray


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the nearest units of one arm, shape (n_queries, n_ks) each.

    Parameters
    ----------
    mean, mean_square : array of float
        Weighted mean of outcomes and of squared outcomes.
    squared_weights : array of float
        Sum of the squared weights: 1 / k without ties.
    reach : array of float, shape (n_queries, 2)
        Distance to the last neighbour, and to the one half-way.
    """

    mean: FloatArray
    mean_square: FloatArray
    squared_weights: FloatArray
    reach: FloatArray


def order_units(rows: FloatArray, outcome: FloatArray) -> IntArray:
    """Order of units by their own values alone, so that nothing depends on the order of rows."""
    return np.lexsort((outcome, *rows.T[::-1]))


def make_points(rows: FloatArray, outcome: FloatArray, scale: FloatArray) -> Points:
    """Points of one arm.

    Parameters
    ----------
    rows : array of float, shape (n_units, n_columns)
    outcome : array of float, shape (n_units,)
    scale : array of float, shape (n_columns,)
        Size of a unit difference in each column.
    """
    order = order_units(rows, outcome)
    ordered, values = rows[order], outcome[order]
    new = np.ones(order.size, dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    sums = [np.add.reduceat(v, starts) for v in (np.ones(order.size), values, values**2)]
    near = _near_order(ordered[starts] * scale, BLOCK)
    place = np.empty(near.size, dtype=np.int64)
    place[near] = np.arange(near.size)
    point_of = np.empty(order.size, dtype=np.int64)
    point_of[order] = place[np.cumsum(new) - 1]
    units = np.ascontiguousarray(np.column_stack(sums)[near])
    return Points(np.ascontiguousarray(ordered[starts][near]), units, point_of)


def nearest(
    arms: list[Points],
    queries: FloatArray,
    *,
    weights: FloatArray,
    centre: FloatArray,
    ks: IntArray,
    own: list[IntArray] | None = None,
    own_outcome: FloatArray | None = None,
) -> list[Averages]:
    """Averages over the k nearest units of each arm; ties at the last distance are shared.

    Parameters
    ----------
    arms : list of Points
    queries : array of float, shape (n_queries, n_columns)
    weights, centre : array of float, shape (n_columns,)
        Weights of squared differences; a point that both precisions are centred on.
    ks : array of int, shape (n_ks,)
        Ascending numbers of neighbours; an arm with fewer units gives them all.
    own : list of array of int, shape (n_queries,), optional
        For each arm, each query's own point, which it is left out of; -1 where there is none.
    own_outcome : array of float, shape (n_queries,), optional
        Outcome that is left out.
    """
    scale = np.sqrt(weights)
    order = _near_order((queries - centre) * scale, GROUP)
    centred, nowhere = queries[order], np.full(order.size, -1, dtype=np.int64)
    left_out = np.zeros(order.size) if own_outcome is None else own_outcome[order]
    reach, results = None, []
    for number, points in enumerate(arms):
        n_units = _count(points)
        ratio = _count(arms[number - 1]) / n_units if number else 1.0
        found, reach = search(
            *_blocks(points.rows, scale, centre),
            points.rows,
            points.units,
            weights,
            centred,
            *_query(centred, scale, centre),
            nowhere if own is None else own[number][order],
            left_out,
            np.minimum(ks, n_units - (own is not None)).astype(np.int64),
            np.float32(4 * _slack(weights.size)),
            _guess(reach, order.size, ratio),
        )
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        mean, square, weight = np.moveaxis(found[back], 2, 0)
        results.append(Averages(mean, square, weight, reach[back]))
    return results


def _count(points: Points) -> int:
    return int(points.units[:, 0].sum())


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
