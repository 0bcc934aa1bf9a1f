"""The bound that all of several correlated standard normals stay within."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

from wavewise.estimate.max_normal_lines import leading_line_bound, own_lines_curve
from wavewise.estimate.multivariate_t import increasing_root
from wavewise.results import FloatArray

__all__ = ["independent_bound", "max_abs_quantile"]

_DIAGONAL = 1e-12
_SAME = 1e-12
# from this share of the variance on, one common shock beats a line for each coordinate
_COMMON_SHARE = 0.85
_MOST_NODES = 40_000
_FARTHEST = 9.0  # where a factor's density is 1e-18

_Tail = Callable[[float], float]


def max_abs_quantile(corr: FloatArray, prob: float) -> float:
    """The c with ``P(max_k |Z_k| <= c) = prob`` for standard normals of a given correlation.

    Parameters
    ----------
    corr : array of float, shape (n, n)
        Correlations, of full rank; as near singular as they like.
    prob : float
        In (0, 1).

    Notes
    -----
    Exact for one coordinate, for independent ones, for two (``P(max |Z| > c) = 4 [T(c, a) + T(c,
    1 / a)]`` with Owen's T and ``a^2 = (1 - r) / (1 + r)``) and for correlations ``r_jk = l_j l_k``
    of one factor, such as contrasts with a control (one integral). Otherwise by quasi Monte Carlo
    along lines, see `max_normal_lines`: to 1e-4 for most matrices of 16 coordinates, to 1e-5 for
    four. The points are fixed and no sum depends on threads, so the same matrix gives the same
    bound; coordinates are sorted first, so that their order matters little.

    References
    ----------
    Owen (1956); Dunnett (1964).
    """
    n = corr.shape[0]
    if n == 1 or np.abs(corr - np.eye(n)).max() < _DIAGONAL:
        return independent_bound(n, prob)
    order = np.argsort(-np.round((corr**2).sum(axis=0), 10), kind="stable")
    ordered = np.ascontiguousarray(corr[np.ix_(order, order)], dtype=np.float64)
    return _correlated(ordered.tobytes(), n, float(prob))


def independent_bound(n: int, prob: float) -> float:
    """The bound for independent normals: each stays within it with probability prob^(1/n)."""
    tail = -np.expm1(np.log(prob) / n) / 2
    return float(-ndtri(tail))


@lru_cache(maxsize=256)
def _correlated(key: bytes, n: int, prob: float) -> float:
    corr = np.frombuffer(key).reshape(n, n)
    target = float(np.log1p(-prob))
    # Sidak (1967): no correlation makes the bound larger than independence does
    low, high = float(-ndtri((1 - prob) / 2)), independent_bound(n, prob)
    tail = _exact_tail(corr)
    if tail is not None:
        return increasing_root(lambda bound: target - np.log(tail(bound)), low, high)
    if np.linalg.eigvalsh(corr)[-1] > _COMMON_SHARE * n:
        return leading_line_bound(corr, target, low, high)
    bounds, log_tail = _curve(key, n)
    return float(np.clip(np.interp(-target, -log_tail, bounds), low, high))


def _exact_tail(corr: FloatArray) -> _Tail | None:
    """``P(max |Z| > c)`` as a function of c for two coordinates, or for one factor."""
    if corr.shape[0] == 2:
        return _two(float(corr[0, 1]))
    loads = _one_factor(corr)
    nodes = np.inf if loads is None else _n_nodes(loads)
    return None if loads is None or nodes > _MOST_NODES else _factor_tail(loads, int(nodes))


@lru_cache(maxsize=64)
def _curve(key: bytes, n: int) -> tuple[FloatArray, FloatArray]:
    return own_lines_curve(np.frombuffer(key).reshape(n, n))


def _two(corr: float) -> _Tail:
    slope = float(np.sqrt((1 - corr) / (1 + corr)))
    return lambda bound: float(4 * (owens_t(bound, slope) + owens_t(bound, 1 / slope)))


def _one_factor(corr: FloatArray) -> FloatArray | None:
    """Loadings with ``corr[j, k] = loads[j] loads[k]`` off the diagonal, or none.

    ``l_k^2 = r_jk r_kk' / r_jk'`` for any pair of others; the pair with the largest correlation
    keeps most digits, and the sign follows from that of the products with the first of them.
    """
    off = corr - np.eye(corr.shape[0])
    j, k = np.unravel_index(int(np.abs(off).argmax()), off.shape)
    others = np.delete(np.arange(corr.shape[0]), [j, k])
    third = others[int(np.abs(off[j, others] * off[k, others]).argmax())]
    if off[k, third] == 0:
        return None
    square = off[j, k] * off[j, third] / off[k, third]
    if not 0 < square < 1:
        return None
    loads = off[j] / np.sqrt(square)
    loads[j] = np.sqrt(square)
    product = np.outer(loads, loads)
    np.fill_diagonal(product, 0.0)
    fits = np.abs(product - off).max() < _SAME and np.abs(loads).max() < 1
    return np.asarray(loads) if fits else None


def _n_nodes(loads: FloatArray) -> float:
    """Nodes at half the width of the sharpest step: the trapezium rule is then exact to 1e-16."""
    sharpest = float((np.sqrt(1 - loads**2) / np.maximum(np.abs(loads), 1e-3)).min())
    return float(2 * np.ceil(_FARTHEST / min(0.25, sharpest / 2)) + 1)


def _factor_tail(loads: FloatArray, n_nodes: int) -> _Tail:
    """``1 - integral of prod_k P(|l_k z + s_k e| <= c) phi(z) dz``, without cancellation."""
    factor = np.linspace(-_FARTHEST, _FARTHEST, n_nodes)
    weight = np.exp(-(factor**2) / 2)
    weight /= weight.sum()
    centre, own = np.outer(loads, factor), np.sqrt(1 - loads**2)[:, None]

    def tail(bound: float) -> float:
        out = ndtr((centre - bound) / own) + ndtr(-(centre + bound) / own)
        with np.errstate(divide="ignore"):
            within = np.log1p(-np.minimum(out, 1)).sum(axis=0)
        return float(weight @ -np.expm1(within))

    return tail
