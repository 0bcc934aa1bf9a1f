"""Distribution of the largest value, or absolute value, of a multivariate t or normal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, owens_t, stdtr, stdtrit

from wavewise.shared.results import FloatArray

__all__ = [
    "MultivariateT",
    "independent_bound",
    "max_abs_quantile",
    "max_quantile",
    "normal_points",
]

# quantiles of 12 correlated coordinates to about .001, in a few tenths of a second
_N_POINTS = 8191
_N_SHIFTS = 8
_SEED = 20_080_425
# a coordinate with less than this of its own variance follows from the others
_OWN_VARIANCE = 1e-10
# tail probabilities below this are not integrated
_RESOLVED = 1e-6


@dataclass(frozen=True, eq=False)
class MultivariateT:
    """Multivariate t with a correlation matrix, prepared for integration over cubes.

    Notes
    -----
    ``P(max_k |T_k| <= c) = E[P(|Z| <= c s)]`` with ``s^2`` a chi-squared over its degrees of
    freedom; the inner probability is a product of one-dimensional ones (separation of
    variables), averaged over a lattice of square roots of primes with the baker's transform. The
    spread over random shifts gives the error. The probability of a single coordinate, which is
    known, serves as a control variate. With one coordinate all is exact.

    References
    ----------
    Genz (1992); Genz and Bretz (2002), section 3.
    """

    # (n, n): Lower triangle with ``LL'`` the correlation, coordinates in the order of the pivots.
    triangle: FloatArray
    df: float  # Degrees of freedom.
    # (n_shifts, n_points, n): Points in the unit cube: one randomly shifted lattice a shift.
    points: FloatArray
    # (n_shifts, n_points): Root of a chi-squared over its degrees of freedom at each point.
    scale: FloatArray

    @classmethod
    def of(
        cls, corr: FloatArray, df: float, rng: np.random.Generator | None = None
    ) -> "MultivariateT":
        """Multivariate t of a correlation matrix, which may be singular."""
        n = corr.shape[0]
        shifts = (rng or np.random.default_rng(_SEED)).random((_N_SHIFTS, 1, n + 1))
        points = _lattice(_N_POINTS, n + 1, shifts)
        return cls(_pivoted_cholesky(corr), df, points[..., :n], _chi_scale(points[..., n], df))

    def max_abs_cdf(self, bound: float) -> FloatArray:
        """``P(max_k |T_k| <= bound)``, one estimate a shift, shape (n_shifts,)."""
        if self.triangle.shape[0] == 1:
            return np.full(self.points.shape[0], 1 - 2 * stdtr(self.df, -bound))
        limit = bound * self.scale
        single = 2 * ndtr(limit) - 1
        inside = np.ones_like(limit)
        normal = np.zeros((*limit.shape, self.triangle.shape[0]))
        for k, own in enumerate(np.diag(self.triangle)):
            centre = normal[..., :k] @ self.triangle[k, :k]
            if own == 0:
                inside *= np.abs(centre) <= limit * (1 + 1e-9)
                continue
            low, high = ndtr((-limit - centre) / own), ndtr((limit - centre) / own)
            inside *= high - low
            normal[..., k] = ndtri(np.clip(low + self.points[..., k] * (high - low), 1e-300, None))
            np.clip(normal[..., k], -40, 40, out=normal[..., k])
        return _controlled(inside, single, float(1 - 2 * stdtr(self.df, -bound)))

    def max_abs_quantile(self, prob: float) -> float:
        """The bound that all absolute values stay within with the given probability."""
        alpha = 1 - prob
        low = float(stdtrit(self.df, 1 - alpha / 2))
        high = float(stdtrit(self.df, 1 - alpha / (2 * self.triangle.shape[0])))
        if high - low < 1e-12:
            return low
        return increasing_root(
            lambda bound: float(self.max_abs_cdf(bound).mean()) - prob, low, high
        )

    def max_abs_tail(self, values: FloatArray) -> FloatArray:
        """``P(max_k |T_k| >= value)``, held between a single test's p value and Bonferroni's.

        Where Bonferroni's is below 1e-6, under what the integration resolves, it is given itself.
        """
        single = 2 * stdtr(self.df, -values)
        tail: FloatArray = np.minimum(1, self.triangle.shape[0] * single)
        for k in np.flatnonzero(tail > _RESOLVED):
            joint = 1 - self.max_abs_cdf(float(values[k])).mean()
            tail[k] = np.clip(joint, single[k], tail[k])
        return tail

    def accuracy(self, bound: float) -> float:
        """Three standard errors of the probability of staying within the bound."""
        estimates = self.max_abs_cdf(bound)
        return float(3 * estimates.std(ddof=1) / np.sqrt(estimates.size))


def _chi_scale(points: FloatArray, df: float) -> FloatArray:
    if np.isinf(df):
        return np.ones_like(points)
    scale: FloatArray = np.sqrt(2 * gammaincinv(df / 2, points) / df)
    return scale


def _controlled(values: FloatArray, control: FloatArray, mean: float) -> FloatArray:
    """Mean by shift, corrected by a control variate whose mean is known exactly."""
    centred = control - control.mean()
    variance = float((centred**2).mean())
    slope = float((values * centred).mean()) / variance if variance > 1e-20 else 0.0
    means: FloatArray = values.mean(axis=1) - slope * (control.mean(axis=1) - mean)
    return means


def _pivoted_cholesky(corr: FloatArray) -> FloatArray:
    """Lower triangle of the correlation, largest remaining variance first; zeros where singular."""
    n = corr.shape[0]
    rest = corr.astype(np.float64).copy()
    order = np.arange(n)
    triangle = np.zeros((n, n))
    for k in range(n):
        pivot = k + int(np.argmax(np.diag(rest)[k:]))
        for matrix in (rest, rest.T, triangle):
            matrix[[k, pivot]] = matrix[[pivot, k]]
        order[[k, pivot]] = order[[pivot, k]]
        if rest[k, k] < _OWN_VARIANCE:
            break
        triangle[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        rest[k:, k:] -= np.outer(triangle[k:, k], triangle[k:, k])
    return triangle


def _lattice(n_points: int, dim: int, shifts: FloatArray) -> FloatArray:
    """Shifted and folded lattices, shape (n_shifts, n_points, dim).

    Steps are square roots of primes, and ``1 / n_points`` in the last coordinate, which the
    degrees of freedom use: it is then spread evenly by itself.
    """
    step = np.append(np.sqrt(primes(dim - 1)), 1 / n_points)
    points: FloatArray = np.abs(
        2 * ((np.arange(1, n_points + 1)[:, None] * step + shifts) % 1.0) - 1
    )
    return np.clip(points, 1e-12, 1 - 1e-12)


def primes(n: int) -> FloatArray:
    found: list[int] = []
    candidate = 2
    while len(found) < n:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return np.array(found, dtype=np.float64)


def increasing_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root of an increasing function by false position with the Illinois rule."""
    f_low, f_high = function(low), function(high)
    if f_low >= 0:
        return low
    if f_high <= 0:
        return high
    side = 0
    for _ in range(60):
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        value = function(middle)
        if abs(value) < 1e-8 or high - low < 1e-10:
            return middle
        if value < 0:
            low, f_low, f_high = middle, value, f_high / 2 if side == -1 else f_high
            side = -1
        else:
            high, f_high, f_low = middle, value, f_low / 2 if side == 1 else f_low
            side = 1
    return (low + high) / 2


# The bound that all of several correlated standard normals stay within.

_DIAGONAL = 1e-12
_SAME = 1e-12
# from this share of the variance on, one common shock beats a line for each coordinate
_COMMON_SHARE = 0.85
_MOST_NODES = 40_000
_FARTHEST = 9.0  # where a factor's density is 1e-18

_Tail = Callable[[float], float]


def max_abs_quantile(corr: FloatArray, prob: float) -> float:
    """The c with ``P(max_k |Z_k| <= c) = prob`` for standard normals of a given correlation.

    Notes
    -----
    Exact for one coordinate, for independent ones, for two (``P(max |Z| > c) = 4 [T(c, a) + T(c,
    1 / a)]`` with Owen's T and ``a^2 = (1 - r) / (1 + r)``) and for correlations ``r_jk = l_j l_k``
    of one factor, such as contrasts with a control (one integral). Otherwise by quasi Monte Carlo
    along lines, see `own_lines_curve`: to 1e-4 for most matrices of 16 coordinates, to 1e-5 for
    four. The points are fixed and no sum depends on threads, so the same matrix gives the same
    bound; coordinates are sorted first, so that their order matters little.

    References
    ----------
    Owen (1956); Dunnett (1964).
    """
    return _bound(corr, prob, 2)


def max_quantile(corr: FloatArray, prob: float) -> float:
    """The c with ``P(max_k Z_k <= c) = prob``, by the means of `max_abs_quantile`.

    For two coordinates ``P(max Z > c) = Phi(-c) + 2 T(c, a)``.
    """
    return _bound(corr, prob, 1)


def _bound(corr: FloatArray, prob: float, sides: int) -> float:
    n = corr.shape[0]
    if n == 1 or np.abs(corr - np.eye(n)).max() < _DIAGONAL:
        return independent_bound(n, prob, sides)
    order = np.argsort(-np.round((corr**2).sum(axis=0), 10), kind="stable")
    ordered = np.ascontiguousarray(corr[np.ix_(order, order)], dtype=np.float64)
    return _correlated(ordered.tobytes(), n, float(prob), sides)


def independent_bound(n: int, prob: float, sides: int = 2) -> float:
    """The bound for independent normals: each stays within it with probability prob^(1/n)."""
    return float(-ndtri(-np.expm1(np.log(prob) / n) / sides))


@lru_cache(maxsize=256)
def _correlated(key: bytes, n: int, prob: float, sides: int) -> float:
    corr = np.frombuffer(key).reshape(n, n)
    target = float(np.log1p(-prob))
    low = float(-ndtri((1 - prob) / sides))
    # Sidak (1967): no correlation makes the bound larger than independence does; of one side,
    # negative ones do, and Bonferroni's bound holds
    high = independent_bound(n, prob) if sides == 2 else float(-ndtri((1 - prob) / n))
    tail = _exact_tail(corr, sides)
    if tail is not None:
        return increasing_root(lambda bound: target - np.log(tail(bound)), low, high)
    if np.linalg.eigvalsh(corr)[-1] > _COMMON_SHARE * n:
        return leading_line_bound(corr, target, low, high, sides)
    bounds, log_tail = _curve(key, n, sides)
    return float(np.clip(np.interp(-target, -log_tail, bounds), low, high))


def _exact_tail(corr: FloatArray, sides: int) -> _Tail | None:
    """``P(max |Z| > c)``, or of Z, as a function of c for two coordinates, or for one factor."""
    if corr.shape[0] == 2:
        return _two(float(corr[0, 1]), sides)
    loads = _one_factor(corr)
    nodes = np.inf if loads is None else _n_nodes(loads)
    return None if loads is None or nodes > _MOST_NODES else _factor_tail(loads, int(nodes), sides)


@lru_cache(maxsize=64)
def _curve(key: bytes, n: int, sides: int) -> tuple[FloatArray, FloatArray]:
    return own_lines_curve(np.frombuffer(key).reshape(n, n), sides)


def _two(corr: float, sides: int) -> _Tail:
    slope = float(np.sqrt((1 - corr) / (1 + corr)))
    if sides == 1:
        return lambda bound: float(ndtr(-bound) + 2 * owens_t(bound, slope))
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


def _factor_tail(loads: FloatArray, n_nodes: int, sides: int) -> _Tail:
    """``1 - integral of prod_k P(|l_k z + s_k e| <= c) phi(z) dz``, without cancellation."""
    factor = np.linspace(-_FARTHEST, _FARTHEST, n_nodes)
    weight = np.exp(-(factor**2) / 2)
    weight /= weight.sum()
    centre, own = np.outer(loads, factor), np.sqrt(1 - loads**2)[:, None]

    def tail(bound: float) -> float:
        out = ndtr((centre - bound) / own)
        if sides == 2:
            out += ndtr(-(centre + bound) / own)
        with np.errstate(divide="ignore"):
            within = np.log1p(-np.minimum(out, 1)).sum(axis=0)
        return float(weight @ -np.expm1(within))

    return tail


# How often correlated normals leave a cube, integrated exactly along lines.

_LINES_SEED = 19_230_717
_CHUNK = 2048  # columns that stay in a core's cache
_FARTHEST_BOUND = 10.0
_BINS_PER_UNIT = 2048
_FINE = np.float32  # enough for distances whose distribution is averaged
_SMALLEST_LOAD = 1e-12

_FEW = 2**12  # points that give a start
_OWN_WORK, _FEWEST, _MOST = 2**23, 2**15, 2**17


def own_lines_curve(corr: FloatArray, sides: int) -> tuple[FloatArray, FloatArray]:
    """Log of ``P(max_k |Z_k| > c)``, or of Z_k, at a fine grid of c, by a line per coordinate.

    Notes
    -----
    ``P(max |Z| > c) = 2 sum_k P(Z_k > c, Z_k largest in absolute value)``. With ``W_j = Z_j - r_jk
    Z_k``, independent of Z_k, that holds where Z_k is above c and ``t_k = max_j max(W_j / (1 -
    r_jk), -W_j / (1 + r_jk))``: ``P = 2 sum_k E[Phi(-max(c, t_k))]``. The t_k do not depend on c,
    so that one set of points gives the whole curve; each point counts with both signs. Of one side,
    ``P(max_k Z_k > c)`` is half of that sum with ``t_k = max_j W_j / (1 - r_jk)``.
    """
    n = corr.shape[0]
    shocks, triangle = normal_points(n), np.linalg.cholesky(corr)
    n_points = shocks.shape[1]
    lines = [_Line.of(corr, k) for k in range(n)]
    counts = np.zeros(int(_FARTHEST_BOUND * _BINS_PER_UNIT) + 1, dtype=np.int64)
    for start in range(0, n_points, _CHUNK):
        # einsum: the same sums on any number of threads
        normal = np.einsum("ij,jk->ik", triangle, shocks[:, start : start + _CHUNK]).astype(_FINE)
        starts = np.concatenate([part for line in lines for part in line.leads_from(normal, sides)])
        bins = np.clip(starts, 0, _FARTHEST_BOUND) * _FINE(_BINS_PER_UNIT)
        counts += np.bincount(bins.astype(np.int32), minlength=counts.size)
    bounds = np.arange(counts.size) / _BINS_PER_UNIT
    middles = bounds + 0.5 / _BINS_PER_UNIT
    led = np.cumsum(counts) - counts  # lines that lead from below the bound
    later = np.cumsum((counts * ndtr(-middles))[::-1])[::-1]
    tail = np.maximum(led * ndtr(-bounds) + later, 1e-300) * (sides / 2) / n_points
    return bounds, np.minimum(np.log(tail), 0.0)


class _Line:
    """From where on a coordinate is the largest, or so in absolute value, along its own line."""

    def __init__(self, arm: int, slope: Any, up: Any, ratio: Any) -> None:
        self.arm, self.slope, self.up, self.ratio = arm, slope, up, ratio

    @classmethod
    def of(cls, corr: FloatArray, arm: int) -> "_Line":
        slope = np.delete(corr[:, arm], arm)[:, None]
        columns = (slope, 1 / (1 - slope), (1 - slope) / (1 + slope))
        return cls(arm, *(column.astype(_FINE) for column in columns))

    def leads_from(self, normal: Any, sides: int) -> tuple[Any, Any]:
        """The t of each column of normals and of their negatives."""
        arm, away = self.arm, self.slope * normal[self.arm]
        np.subtract(normal[:arm], away[:arm], out=away[:arm])
        np.subtract(normal[arm + 1 :], away[arm:], out=away[arm:])
        away *= self.up
        above, below = away.max(axis=0), away.min(axis=0)
        if sides == 1:
            return above, -below
        away *= self.ratio
        return np.maximum(above, -away.min(axis=0)), np.maximum(-below, away.max(axis=0))


def leading_line_bound(
    corr: FloatArray, log_prob: float, low: float, high: float, sides: int
) -> float:
    """The c with ``log P(max_k |Z_k| > c) = log_prob``, by lines along the leading eigenvector.

    Notes
    -----
    ``Z = d s + W`` with s standard normal, d the leading eigenvector times the root of its
    eigenvalue, and W independent: Z leaves the cube where s leaves ``[max_j (-c - W_j) / d_j, min_j
    (c - W_j) / d_j]`` with all ``d_j > 0`` after a change of signs. Where one common shock has most
    of the variance, that interval hardly varies. Of one side, only the coordinates that kept their
    sign bound s from above, and only the others from below. The root for a few points is the start
    of two secant steps with all of them.
    """
    away, inverse, signs = _leading_lines(corr)
    bounding = (signs > 0, signs < 0) if sides == 1 else (slice(None), slice(None))

    def leaving(bound: float, n_points: int | None = None) -> float:
        return _log_leaving(away[:, :n_points], inverse, bound, bounding)

    start = increasing_root(lambda c: log_prob - leaving(c, _FEW), low, high)
    ahead = start + 1e-2
    slope = (leaving(ahead, _FEW) - leaving(start, _FEW)) / 1e-2
    first = leaving(start)
    bound = start + (log_prob - first) / slope
    second = leaving(bound)
    if abs(bound - start) > 1e-6:
        bound += (log_prob - second) * (bound - start) / (second - first)
    return float(min(max(bound, low), high))


def _leading_lines(corr: FloatArray) -> tuple[Any, Any, Any]:
    """``W_j / d_j`` at all points, ``1 / d_j``, and the signs that were changed."""
    values, vectors = np.linalg.eigh(corr)
    loads = vectors * np.sqrt(np.maximum(values, 0))
    leading, rest = loads[:, -1], loads[:, -2::-1]
    signs = np.where(leading < 0, -1.0, 1.0)
    inverse = 1 / np.maximum(np.abs(leading), _SMALLEST_LOAD)
    shocks = _normals(corr.shape[0] - 1, 2**16)
    away = np.einsum("ij,jk->ik", rest * (signs * inverse)[:, None], shocks)
    return away.astype(_FINE), inverse[:, None].astype(_FINE), signs


def _log_leaving(away: Any, inverse: Any, bound: float, bounding: tuple[Any, Any]) -> float:
    total, reach = 0.0, inverse * _FINE(bound)
    for start in range(0, away.shape[1], _CHUNK):
        part = away[:, start : start + _CHUNK]
        high = (reach - part)[bounding[0]].min(axis=0, initial=np.inf)
        low = (reach + part)[bounding[1]].min(axis=0, initial=np.inf)
        out = ndtr(-high.astype(np.float64)) + ndtr(-low.astype(np.float64))
        total += float(np.minimum(out, 1.0).sum())
    return float(np.log(total / away.shape[1]))


def normal_points(dim: int) -> FloatArray:
    """As many normal points as a quick answer allows, shape (dim, n_points)."""
    return _normals(dim, int(np.clip(2 ** np.floor(np.log2(_OWN_WORK / dim**2)), _FEWEST, _MOST)))


@lru_cache(maxsize=8)
def _normals(dim: int, n_points: int) -> FloatArray:
    """Normals at a scrambled Sobol sequence, shape (dim, n_points)."""
    from scipy.stats import qmc

    uniform = qmc.Sobol(dim, seed=_LINES_SEED).random(n_points)
    return np.ascontiguousarray(ndtri(np.clip(uniform, 1e-16, 1 - 1e-16)).T)
