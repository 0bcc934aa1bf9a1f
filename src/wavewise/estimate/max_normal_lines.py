"""How often correlated normals leave a cube, integrated exactly along lines.

A line through a point of a quasi Monte Carlo sequence leaves one normal of the n to be integrated
by its distribution function, so that no point is wasted on a rare event and nothing jumps.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from wavewise.estimate.multivariate_t import increasing_root
from wavewise.results import FloatArray

__all__ = ["leading_line_bound", "own_lines_curve"]

_SEED = 19_230_717
_CHUNK = 2048  # columns that stay in a core's cache
_FARTHEST_BOUND = 10.0
_BINS_PER_UNIT = 2048
_FINE = np.float32  # enough for distances whose distribution is averaged
_SMALLEST_LOAD = 1e-12

_FEW = 2**12  # points that give a start
_OWN_WORK, _FEWEST, _MOST = 2**23, 2**15, 2**17


def own_lines_curve(corr: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log of ``P(max_k |Z_k| > c)`` at a fine grid of c, by a line for each coordinate.

    Parameters
    ----------
    corr : array of float, shape (n, n)

    Returns
    -------
    tuple of array
        The bounds c and the logs, both of shape (n_bounds,).

    Notes
    -----
    ``P(max |Z| > c) = 2 sum_k P(Z_k > c, Z_k largest in absolute value)``. With ``W_j = Z_j - r_jk
    Z_k``, independent of Z_k, that holds where Z_k is above c and ``t_k = max_j max(W_j / (1 -
    r_jk), -W_j / (1 + r_jk))``: ``P = 2 sum_k E[Phi(-max(c, t_k))]``. The t_k do not depend on c,
    so that one set of points gives the whole curve; each point counts with both signs.
    """
    n = corr.shape[0]
    n_points = int(np.clip(2 ** np.floor(np.log2(_OWN_WORK / n**2)), _FEWEST, _MOST))
    shocks, triangle = _normals(n, n_points), np.linalg.cholesky(corr)
    lines = [_Line.of(corr, k) for k in range(n)]
    counts = np.zeros(int(_FARTHEST_BOUND * _BINS_PER_UNIT) + 1, dtype=np.int64)
    for start in range(0, n_points, _CHUNK):
        # einsum: the same sums on any number of threads
        normal = np.einsum("ij,jk->ik", triangle, shocks[:, start : start + _CHUNK]).astype(_FINE)
        starts = np.concatenate([part for line in lines for part in line.leads_from(normal)])
        bins = np.clip(starts, 0, _FARTHEST_BOUND) * _FINE(_BINS_PER_UNIT)
        counts += np.bincount(bins.astype(np.int32), minlength=counts.size)
    bounds = np.arange(counts.size) / _BINS_PER_UNIT
    middles = bounds + 0.5 / _BINS_PER_UNIT
    led = np.cumsum(counts) - counts  # lines that lead from below the bound
    later = np.cumsum((counts * ndtr(-middles))[::-1])[::-1]
    tail = np.maximum(led * ndtr(-bounds) + later, 1e-300) / n_points
    return bounds, np.minimum(np.log(tail), 0.0)


class _Line:
    """From where on a coordinate is the largest in absolute value, along its own line."""

    def __init__(self, arm: int, slope: Any, up: Any, ratio: Any) -> None:
        self.arm, self.slope, self.up, self.ratio = arm, slope, up, ratio

    @classmethod
    def of(cls, corr: FloatArray, arm: int) -> "_Line":
        slope = np.delete(corr[:, arm], arm)[:, None]
        columns = (slope, 1 / (1 - slope), (1 - slope) / (1 + slope))
        return cls(arm, *(column.astype(_FINE) for column in columns))

    def leads_from(self, normal: Any) -> tuple[Any, Any]:
        """The t of each column of normals and of their negatives."""
        arm, away = self.arm, self.slope * normal[self.arm]
        np.subtract(normal[:arm], away[:arm], out=away[:arm])
        np.subtract(normal[arm + 1 :], away[arm:], out=away[arm:])
        away *= self.up
        above, below = away.max(axis=0), away.min(axis=0)
        away *= self.ratio
        return np.maximum(above, -away.min(axis=0)), np.maximum(-below, away.max(axis=0))


def leading_line_bound(corr: FloatArray, log_prob: float, low: float, high: float) -> float:
    """The c with ``log P(max_k |Z_k| > c) = log_prob``, by lines along the leading eigenvector.

    Parameters
    ----------
    corr : array of float, shape (n, n)
    log_prob : float
    low, high : float
        Between which the bound lies.

    Notes
    -----
    ``Z = d s + W`` with s standard normal, d the leading eigenvector times the root of its
    eigenvalue, and W independent: Z leaves the cube where s leaves ``[max_j (-c - W_j) / d_j, min_j
    (c - W_j) / d_j]`` with all ``d_j > 0`` after a change of signs. Where one common shock has most
    of the variance, that interval hardly varies. The root for a few points is the start of two
    secant steps with all of them.
    """
    away, inverse = _leading_lines(corr)
    few = away[:, :_FEW]
    start = increasing_root(lambda c: log_prob - _log_leaving(few, inverse, c), low, high)
    ahead = start + 1e-2
    slope = (_log_leaving(few, inverse, ahead) - _log_leaving(few, inverse, start)) / 1e-2
    first = _log_leaving(away, inverse, start)
    bound = start + (log_prob - first) / slope
    second = _log_leaving(away, inverse, bound)
    if abs(bound - start) > 1e-6:
        bound += (log_prob - second) * (bound - start) / (second - first)
    return float(min(max(bound, low), high))


def _leading_lines(corr: FloatArray) -> tuple[Any, Any]:
    """``W_j / d_j`` at all points, and ``1 / d_j``."""
    values, vectors = np.linalg.eigh(corr)
    loads = vectors * np.sqrt(np.maximum(values, 0))
    leading, rest = loads[:, -1], loads[:, -2::-1]
    signs = np.where(leading < 0, -1.0, 1.0)
    inverse = 1 / np.maximum(np.abs(leading), _SMALLEST_LOAD)
    shocks = _normals(corr.shape[0] - 1, 2**16)
    away = np.einsum("ij,jk->ik", rest * (signs * inverse)[:, None], shocks)
    return away.astype(_FINE), inverse[:, None].astype(_FINE)


def _log_leaving(away: Any, inverse: Any, bound: float) -> float:
    total, reach = 0.0, inverse * _FINE(bound)
    for start in range(0, away.shape[1], _CHUNK):
        part = away[:, start : start + _CHUNK]
        high, low = (reach - part).min(axis=0), (reach + part).min(axis=0)
        out = ndtr(-high.astype(np.float64)) + ndtr(-low.astype(np.float64))
        total += float(np.minimum(out, 1.0).sum())
    return float(np.log(total / away.shape[1]))


@lru_cache(maxsize=8)
def _normals(dim: int, n_points: int) -> FloatArray:
    """Normals at a scrambled Sobol sequence, shape (dim, n_points)."""
    from scipy.stats import qmc  # noqa: PLC0415 - heavy

    uniform = qmc.Sobol(dim, seed=_SEED).random(n_points)
    return np.ascontiguousarray(ndtri(np.clip(uniform, 1e-16, 1 - 1e-16)).T)
