"""What the arm that came out best is worth, once it is allowed for that it was picked for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import ndtr, ndtri

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.table import check_level
from wavewise.estimate.numerics.multivariate_t import (
    max_abs_quantile,
    max_quantile,
    normal_points,
)
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, Provenance, Result, hash_arrays, read_only

__all__ = ["WHICH_INTERVAL", "Winner", "WinnerMethod", "read_ranked", "truncation_set", "winner"]


# Means that put an observed value at a given quantile of a truncated normal, in log space.

Interval = tuple[float, float]

_ROOT_2 = math.sqrt(2.0)
_LOG_HALF_PI = 0.5 * math.log(math.pi / 2.0)
# below this log ratio of the densities at the ends the difference of two tails would cancel
_NARROW = 1.0
_FARTHEST = 1e300
_POINTS, _WEIGHTS = (part.tolist() for part in np.polynomial.legendre.leggauss(20))


def log_mass(low: float, high: float, mean: float) -> float:
    """Log of the integral of ``exp(mean x - x^2 / 2)`` from `low` to `high`.

    That is the log probability of the interval under N(mean, 1) but for a constant that depends on
    the mean alone, which cancels in ratios: it would drown the rest where the mean is far away.
    """
    if not low < high:
        return -math.inf
    if low >= mean:
        return _right_tail(low, high, mean)
    if high <= mean:
        return _right_tail(-high, -low, -mean)
    left, right = _right_tail(-mean, -low, -mean), _right_tail(mean, high, mean)
    top = max(left, right)
    return top + math.log(math.exp(left - top) + math.exp(right - top))


def log_odds_below(intervals: Sequence[Interval], mean: float) -> float:
    """Log odds that a normal truncated to the intervals lies below 0."""
    below = _log_sum([log_mass(low, min(high, 0.0), mean) for low, high in intervals])
    above = _log_sum([log_mass(max(low, 0.0), high, mean) for low, high in intervals])
    return below - above


def mean_at_quantile(
    intervals_at: Callable[[float], Sequence[Interval]],
    prob: float,
    within: Interval = (-math.inf, math.inf),
) -> float:
    """The mean at which a share `prob` of the truncated normal lies below 0.

    Notes
    -----
    The share falls as the mean grows, so that there is one root. It is bracketed by doubling the
    distance from 0, or by halving that from the ends of `within`, and found by Brent's method on
    the log odds.
    """
    from scipy.optimize import brentq

    target = math.log(prob) - math.log1p(-prob)

    def gap(mean: float) -> float:
        # held finite for Brent's method; the root lies elsewhere
        value = log_odds_below(intervals_at(mean), mean) - target
        return min(max(value, -_FARTHEST), _FARTHEST)

    start = gap(0.0)
    if start == 0.0:
        return 0.0
    near, far = 0.0, _farther(0.0, within, start > 0)
    while (gap(far) > 0) == (start > 0):
        near, far = far, _farther(far, within, start > 0)
        if abs(far) >= _FARTHEST or far == near:
            return far
    return float(brentq(gap, near, far, xtol=1e-14 * max(1.0, abs(near)), rtol=1e-14))


def _farther(mean: float, within: Interval, upwards: bool) -> float:
    end = within[1] if upwards else within[0]
    if math.isinf(end):
        return math.copysign(max(1.0, 4.0 * abs(mean)), end)
    return end - (end - mean) / 4.0


def _right_tail(low: float, high: float, mean: float) -> float:
    """As `log_mass` where ``mean <= low < high``."""
    start = mean * low - 0.5 * low * low
    if math.isinf(high):
        return start + _log_mills(low - mean)
    drop = (high - low) * (0.5 * (low + high) - mean)
    if drop < _NARROW:
        return start + _log_narrow(low, high - low, mean)
    whole = _log_mills(low - mean)
    return start + whole + math.log1p(-math.exp(_log_mills(high - mean) - whole - drop))


def _log_narrow(low: float, width: float, mean: float) -> float:
    """Log integral over a piece in which the density falls by less than a factor of e."""
    half, slope = 0.5 * width, mean - low
    total = 0.0
    for point, weight in zip(_POINTS, _WEIGHTS, strict=True):
        x = half * (1.0 + point)
        total += weight * math.exp((slope - 0.5 * x) * x)
    return math.log(half) + math.log(total)


def _log_mills(z: float) -> float:
    """Log of (1 - Phi(z)) / phi(z) for z >= 0."""
    if z < 5.0:
        return _LOG_HALF_PI + 0.5 * z * z + math.log(math.erfc(z / _ROOT_2))
    # Laplace's continued fraction; 40 terms give all digits from z = 5 on
    fraction = z
    for term in range(40, 0, -1):
        fraction = z + term / fraction
    return -math.log(fraction)


def _log_sum(logs: list[float]) -> float:
    top = max(logs)
    if top == -math.inf or len(logs) == 1:
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in logs))


# Ranked estimates, and where one of them can move without changing its rank.

_SINGULAR = 1e-10
_ASYMMETRY = 1e-8
_ROUNDING = 64 * np.finfo(np.float64).eps  # by which a sum over units may differ with its order


@dataclass(frozen=True, eq=False)
class Ranked:
    """Estimates with their covariance, and the arm at a rank."""

    estimate: FloatArray  # (n_arms,)
    # cov, corr: (n_arms, n_arms)
    cov: FloatArray
    corr: FloatArray
    # arm, rank: Index of the arm, and how many estimates are larger.
    arm: int
    rank: int

    @property
    def value(self) -> float:
        """The usual estimate of the arm."""
        return float(self.estimate[self.arm])

    @property
    def std_error(self) -> float:
        """Its standard error."""
        return float(np.sqrt(self.cov[self.arm, self.arm]))

    @property
    def tied(self) -> tuple[int, ...]:
        """Indices of the other arms whose estimate is the same but for rounding."""
        apart = np.abs(self.estimate - self.value)
        same = apart <= _ROUNDING * np.maximum(np.abs(self.estimate), abs(self.value))
        return tuple(k for k in np.flatnonzero(same).tolist() if k != self.arm)


def read_ranked(estimate: Any, cov: Any, rank: Any) -> Ranked:
    """Estimates and covariance, checked."""
    values = _numbers(estimate, "estimate")
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"estimate: found shape {values.shape}; needed (n_arms,), 1 or more")
    matrix = _covariance(_numbers(cov, "cov"), values.size)
    corr = _correlation(matrix)
    whole = isinstance(rank, int | np.integer) and not isinstance(rank, bool)
    if not whole or not 0 <= rank < values.size:
        raise InputError(
            f"rank: found {rank!r}; needed a whole number from 0, the largest, to "
            f"{values.size - 1}, the smallest of {values.size} estimates"
        )
    arm = int(np.argsort(-values, kind="stable")[rank])
    return Ranked(read_only(values), read_only(matrix), read_only(corr), arm, int(rank))


def truncation_set(ranked: Ranked) -> list[Interval]:
    """Where the arm's estimate can move while its rank stays the same.

    In standard errors from the estimate itself: disjoint intervals, one of them around 0. The
    others' estimates move along by ``cov[k, j] / cov[j, j]`` of its move, so that each crosses it
    once at most, at ``gap_k / (slope_k - 1)``.

    Where another arm has exactly the same estimate the set ends at 0.
    """
    arm, others = ranked.arm, np.arange(ranked.estimate.size) != ranked.arm
    gap = (ranked.value - ranked.estimate[others]) / ranked.std_error
    lead = 1.0 - ranked.cov[arm, others] / ranked.cov[arm, arm]
    moves = np.abs(lead) > 0
    crossing = -gap[moves] / lead[moves]
    below = gap < 0  # arms with larger estimates where it stands now
    cuts = np.unique(crossing)
    starts = np.concatenate([[-np.inf], cuts])
    stops = np.concatenate([cuts, [np.inf]])
    # each crossing between 0 and the piece turns an arm from larger to smaller or back
    turned = (starts[:, None] < 0) & (crossing >= stops[:, None]) & (crossing < 0)
    turned |= (stops[:, None] > 0) & (crossing <= starts[:, None]) & (crossing > 0)
    n_larger = int(below[~moves].sum()) + (turned != below[moves]).sum(axis=1)
    kept = np.flatnonzero(n_larger == ranked.rank).tolist()
    return _joined([(float(starts[i]), float(stops[i])) for i in kept])


def _joined(pieces: list[Interval]) -> list[Interval]:
    """Neighbouring pieces as one."""
    joined: list[Interval] = []
    for low, high in pieces:
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def _numbers(values: Any, name: str) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found something else; needed numbers") from error
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise InputError(
            f"{name}: found {bad} numbers that are missing or infinite; needed finite ones; leave "
            "out arms that could not be estimated, and say so"
        )
    return numbers


def _covariance(cov: FloatArray, n_arms: int) -> FloatArray:
    if cov.shape == (n_arms,):
        cov = np.diag(cov)
    if cov.shape != (n_arms, n_arms):
        raise InputError(
            f"cov: found shape {cov.shape}; needed ({n_arms}, {n_arms}), or ({n_arms},) variances"
        )
    variances = np.diag(cov)
    if (variances < 0).any():
        raise InputError(f"cov: found a variance of {variances.min():g}; needed positive ones")
    if (variances == 0).any():
        raise EstimationError(
            f"cov: found {int((variances == 0).sum())} variances of zero; needed positive ones; "
            "leave out arms whose outcomes do not vary"
        )
    if np.abs(cov - cov.T).max() > _ASYMMETRY * np.abs(cov).max():
        raise InputError("cov: found a matrix that is not symmetric; needed a covariance")
    return np.asarray((cov + cov.T) / 2)


def _correlation(cov: FloatArray) -> FloatArray:
    scale = np.sqrt(np.diag(cov))
    corr: FloatArray = cov / np.outer(scale, scale)
    np.fill_diagonal(corr, 1.0)
    smallest = float(np.linalg.eigvalsh(corr)[0])
    if smallest < -_SINGULAR:
        raise InputError(
            f"cov: found a matrix with a negative eigenvalue ({smallest:.3g} as a correlation); "
            "needed a covariance"
        )
    if smallest < _SINGULAR:
        raise EstimationError(
            "cov: found a singular covariance: an estimate follows from the others; needed one of "
            "full rank; leave out the arm or contrast that repeats others"
        )
    return corr


# The interval with one end for having been picked, and the estimate less its bootstrap curse.

_SAME = 1e-9  # relative, of variances and covariances
_NODES_TO, _MOST_NODES = 8.5, 4097
_CURSE_POINTS, _CHUNK = 2**15, 2048  # of these as many at once as stay in a core's cache


def _keeps_order(cov: FloatArray) -> bool:
    """Whether a larger estimate can only raise an arm's own rank: no cov_jk is above var_j."""
    return bool((cov <= np.diag(cov)[:, None] * (1 + _SAME)).all())


def _exchangeable_pair(cov: FloatArray) -> bool:
    variances = np.diag(cov)
    return variances.size == 2 and bool(np.ptp(variances) <= _SAME * variances.max())


def _one_sided(ranked: Ranked, level: float, n_best: int | None) -> tuple[str, float, float]:
    """Kind of interval and its ends, in standard errors from the usual estimate."""
    n, size = ranked.estimate.size, 1 - level
    if n == 1 or (n_best in {None, 1} and _exchangeable_pair(ranked.cov)):
        return "usual", float(ndtri(size / 2)), float(-ndtri(size / 2))
    if not _keeps_order(ranked.cov):
        bound = max_abs_quantile(ranked.corr, level)
        return "projection", -bound, bound
    bound = max_quantile(ranked.corr, 1 - size / 2)
    n_above = ranked.rank + 1 if n_best is None else n_best
    n_below = n - ranked.rank if n_best is None else n
    low, high = (min(bound, -float(ndtri(size / 2 / k))) for k in (n_below, n_above))
    return "one-sided", -low, high


def bootstrap_curse(ranked: Ranked) -> float:
    """Mean error of the arm that comes out at the rank where the estimates are the true means.

    Notes
    -----
    ``E[e_J]`` with J the arm at the rank among ``X + e``, e ~ N(0, S). What all arms share does not
    change J: where all covariances are the same number below the variances, the errors are as good
    as independent, and one integral for each arm gives it. Otherwise a mean over Sobol points and
    their negatives, to about .001 standard errors.
    """
    x, cov, n = ranked.estimate, ranked.cov, ranked.estimate.size
    order = np.lexsort((np.diag(cov), x))[::-1]  # the order in which arms are given does not matter
    x, cov = x[order] - x[order[0]], cov[np.ix_(order, order)]
    if n == 1:
        return 0.0
    shared, own = cov[0, 1], np.diag(cov) - cov[0, 1]
    apart = np.abs(cov - shared)[~np.eye(n, dtype=bool)].max()
    if apart <= _SAME * np.diag(cov).max() and own.min() > _SAME * own.max():
        return _independent_curse(x, np.sqrt(own), ranked.rank)
    keys = x.tobytes(), cov.tobytes()
    if 0 < ranked.rank < n - 1:
        return float(_mean_errors(*keys, "argsort")[n - 1 - ranked.rank])
    return float(_mean_errors(*keys, "argmin" if ranked.rank else "argmax")[0])


def _independent_curse(x: FloatArray, sd: FloatArray, rank: int) -> float:
    """By the trapezium rule: a density times the chance that so many others are larger."""
    step = min(0.25, sd.min() / sd.max() / 2)
    nodes = np.linspace(-_NODES_TO, _NODES_TO, min(2 * int(_NODES_TO / step) + 1, _MOST_NODES))
    if 2 * rank >= x.size:  # the worst is the best of the negatives
        return -_independent_curse(-x, sd, x.size - 1 - rank)
    error = np.outer(sd, nodes)
    at = x[:, None] + error
    chance = np.zeros((rank + 1, *error.shape))  # of so many larger ones, by arm and node
    chance[0] = 1.0
    for k in range(x.size):
        larger = ndtr((x[k] - at) / sd[k])
        larger[k] = 0.0
        fewer = chance[:-1] * larger
        chance *= 1 - larger
        chance[1:] += fewer
    density = np.exp(-(nodes**2) / 2)
    return float((chance[rank] * error).sum(axis=0) @ density / density.sum())


@lru_cache(maxsize=64)
def _mean_errors(x_key: bytes, cov_key: bytes, which: str) -> FloatArray:
    """Over Sobol points and their negatives, of the arms that `which` of numpy's finds."""
    x = np.frombuffer(x_key)
    root = np.linalg.cholesky(np.frombuffer(cov_key).reshape(x.size, x.size))
    points, total = normal_points(x.size)[:, :_CURSE_POINTS], np.zeros(x.size)
    for start in range(0, points.shape[1], _CHUNK):
        error = np.einsum("ij,jk->ik", root, points[:, start : start + _CHUNK]).T.copy()
        for e in (error, -error):
            at = getattr(x + e, which)(axis=1).reshape(len(e), -1)
            total[: at.shape[1]] += np.take_along_axis(e, at, axis=1).sum(axis=0)
    return read_only(total / (2 * points.shape[1]))


WinnerMethod = Literal["one-sided", "hybrid", "conditional", "projection"]
_FIRST_STAGE_SHARE = 0.1  # of the error that the hybrid spends on the projection interval

WHICH_INTERVAL = (
    "Use the one-sided interval for the arm that came out best: it holds at its level over all "
    "studies, whichever arm that is, and near ties too. The conditional interval holds among just "
    "those studies that pick this arm, and near ties it can be of any length; the hybrid is that "
    "one within a projection interval, and shortest where one arm wins clearly. The projection "
    "interval holds however the arm was picked."
)
_AT_A_TIE = (
    "The arm shares its estimate with another: which of them has the rank tells nothing, and the "
    "hybrid is all of the projection interval that it always lies in."
)
_MEANING = {
    "one-sided": "lower end for having been picked from all arms, upper end nearly the usual one",
    "usual": "exact for one arm, and for the better of two with equal variances",
    "hybrid": "conditional on which arm came out at this rank and within a projection interval",
    "conditional": "conditional on which arm came out at this rank",
    "projection": "simultaneous over all arms, hence for whichever was picked",
}
_IN_PLACE = (
    "The one-sided interval needs estimates whose covariances are at most the variance of either "
    "arm; here one is larger, and the projection interval takes its place."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Winner(Result, kind="winner"):
    """Estimate and interval of the arm at a rank.

    Parameters
    ----------
    arm : int
        Index of the arm that has the rank.
    rank : int
        0 for the largest estimate.
    estimate : float
        The usual estimate for the one-sided and the projection interval, the median-unbiased one
        for the others.
    conf_low, conf_high : float
        Interval at `level`.
    method : str
        Name of the interval.
    level : float
        In (0, 1).
    naive_estimate, std_error : float
        The usual estimate of the arm and its standard error.
    median_unbiased : bool
        Whether `estimate` is above the truth as often as below it (the hybrid: nearly, and not at
        a tie).
    n_arms : int
        Arms that were ranked.
    n_tied : int
        Other arms with the same estimate.
    corrected_estimate : float or None
        With the one-sided interval: the usual estimate less its bootstrap curse, the mean error of
        the arm at the rank if the estimates were the true means.
    interval : str or None
        Interval that was used: `method`, or in place of the one-sided one ``usual`` (one arm, or
        two with equal variances) or ``projection`` (a covariance above a variance).
    n_best : int or None
        Number of best arms whose one-sided intervals hold together; None for this arm alone.
    provenance : Provenance
        Method and hash of the estimates.
    """

    arm: int
    rank: int
    estimate: float
    conf_low: float
    conf_high: float
    method: WinnerMethod
    level: float
    naive_estimate: float
    std_error: float
    median_unbiased: bool
    n_arms: int
    n_tied: int
    corrected_estimate: float | None = None
    interval: str | None = None
    n_best: int | None = None
    provenance: Provenance

    @property
    def conf(self) -> tuple[float, float]:
        """The interval (lower, upper)."""
        return self.conf_low, self.conf_high

    def summary(self) -> str:
        """The interval in a sentence with its name, and which one to use."""
        kind = self.interval or self.method
        notes = [WHICH_INTERVAL]
        if self.n_tied and kind == "hybrid":
            notes.insert(0, _AT_A_TIE)
        if (self.method, kind) == ("one-sided", "projection"):
            notes.insert(0, _IN_PLACE)
        if self.n_best is not None:
            notes.insert(0, f"The intervals of the best {self.n_best} arms hold together.")
        what = "Median-unbiased estimate" if self.median_unbiased else "Estimate (not corrected)"
        less = "" if self.corrected_estimate is None else (
            f"less its bootstrap curse {self.corrected_estimate:.6g}, "
        )  # fmt: skip
        lines = "\n".join(notes)
        return (
            f"Arm {self.arm}, rank {self.rank + 1} of {self.n_arms}: {what} {self.estimate:.6g}, "
            f"{self.level:.0%} {kind} interval {self.conf_low:.6g} to {self.conf_high:.6g} "
            f"({_MEANING[kind]}); usual estimate {self.naive_estimate:.6g}, {less}standard error "
            f"{self.std_error:.6g}.\n{lines}\n"
            "Assumes estimates that are normal with a known covariance: after adaptive assignment "
            "take weighted ones, not plain means."
        )


@renamed("method", "level", "rank")
def winner(
    estimate: Any,
    cov: Any,
    *,
    method: WinnerMethod = "one-sided",
    level: float = 0.95,
    rank: int = 0,
    n_best: int | None = None,
) -> Winner:
    """Estimate and interval of the arm with the largest estimate, or at another rank.

    Parameters
    ----------
    estimate : array-like, shape (n_arms,)
        Estimates of the arms, where more is better.
    cov : array-like, shape (n_arms, n_arms) or (n_arms,)
        Their covariance, or their variances where they are independent.
    method : {"one-sided", "hybrid", "conditional", "projection"}
        Kind of interval.
    level : float
        In (0, 1).
    rank : int
        0 for the largest estimate, 1 for the second, and so on.
    n_best : int, optional
        With the one-sided interval: let the intervals of the `n_best` best arms hold together, so
        that all of ranks 0 to ``n_best - 1`` contain their means with probability `level`. By
        default the interval holds for the arm at `rank` alone.

    Returns
    -------
    Winner
        Index of the arm, estimate, interval and its name.

    Raises
    ------
    InputError
        Where numbers are missing, the covariance is none, or an option is unknown.
    EstimationError
        Where the covariance is singular, or the interval is the conditional one and another arm
        has the same estimate.

    Notes
    -----
    Let X be normal with means mu and standard errors s, and j the arm at the rank. The one-sided
    interval of the best arm is ``[X_j - c s_j, X_j + z s_j]``, alpha = 1 - level, with c the ``1 -
    alpha / 2`` quantile of ``max_k (X_k - mu_k) / s_k`` and z that of one normal. It misses from
    above at most as often as the largest error is beyond c, and from below at most with alpha / 2,
    since a lower X_j makes it less likely that j wins, provided that no ``cov_jk`` is above
    ``var_j``. At rank r of n the ends are ``min(c, z_(alpha / 2 (n - r)))`` and ``min(c, z_(alpha /
    2 (r + 1)))``; for the best few together c and ``min(c, z_(alpha / 2 n_best))``. Two arms with
    equal variances have their usual interval, which is exact. Where a covariance is above a
    variance the projection interval is given, and the result says so.

    Given j, and given the part of X that is independent of X_j, X_j is normal but truncated to
    where the rank does not change: a union of intervals T. The conditional estimate and interval
    are the means at which X_j is the .5, ``(1 + level) / 2`` and ``(1 - level) / 2`` quantile of
    it. The projection interval is X_j plus and minus c standard errors, with c the `level` quantile
    of the largest absolute standardized error over all arms. The hybrid cuts T to ``[mu_j - c' se,
    mu_j + c' se]`` with c' for the error ``beta = alpha / 10`` and takes the quantiles for the
    error ``(alpha - beta) / (1 - beta)`` that is left, so that it lies within that projection
    interval and covers at `level` or a little more. All is computed in log space from distances to
    X_j: exact near ties and in far tails.

    At a tie the first arm in the list has the better rank. Given that, the estimate lies at the
    edge of T, where all quantiles of a conditional interval go to minus infinity: it does not
    exist. The hybrid is then the whole projection interval of error beta, of which any part would
    do by the argument for its coverage, and its estimate the usual one.

    References
    ----------
    Benjamini, Hechtlinger and Stark (2019), arXiv 1906.00505: intervals of the best few. Andrews,
    Kitagawa and McCloskey (2024), "Inference on winners": conditional, projection and hybrid
    inference.

    Examples
    --------
    >>> top = winner([0, 1, 2, 3, 4], [1, 1, 1, 1, 1])
    >>> top.arm, top.method
    (4, 'one-sided')
    >>> top.estimate, round(top.conf_low, 4), round(top.conf_high, 4)
    (4.0, 1.4277, 5.96)
    >>> round(top.corrected_estimate, 4)
    3.4382
    """
    check_level(level)
    if method not in get_args(WinnerMethod):
        known = "', '".join(get_args(WinnerMethod))
        raise InputError(f"method: found {method!r}; needed '{known}'")
    ranked = read_ranked(estimate, cov, rank)
    n_tied = len(ranked.tied)
    _check_n_best(n_best, ranked, method)
    used, corrected = str(method), None
    if method == "one-sided":
        used, least, most = _one_sided(ranked, level, n_best)
        ends = (least, 0.0, most)
        corrected = ranked.value - bootstrap_curse(ranked)
    elif method == "projection":
        ends = _projection(ranked, level)
    elif n_tied:
        ends = _at_a_tie(ranked, level, method)
    else:
        ends = _cut(ranked, level, method)
    low, middle, high = (ranked.value + ranked.std_error * end for end in ends)
    return Winner(
        arm=ranked.arm,
        rank=int(rank),
        estimate=middle,
        conf_low=low,
        conf_high=high,
        method=method,
        level=float(level),
        naive_estimate=ranked.value,
        std_error=ranked.std_error,
        median_unbiased=method in {"hybrid", "conditional"} and not n_tied,
        n_arms=ranked.estimate.size,
        n_tied=n_tied,
        corrected_estimate=corrected,
        interval=used,
        n_best=n_best,
        provenance=Provenance(
            f"inference on winners, {method}", hash_arrays(estimate=ranked.estimate, cov=ranked.cov)
        ),
    )


def _check_n_best(n_best: Any, ranked: Ranked, method: str) -> None:
    """Refuse a number of best arms that does not hold the rank, or with another interval."""
    if n_best is None:
        return
    if method != "one-sided":
        raise InputError(
            f"n_best: found {n_best!r} with method='{method}'; needed method='one-sided'; the "
            "projection intervals of all arms hold together as they are"
        )
    whole = isinstance(n_best, int | np.integer) and not isinstance(n_best, bool)
    if not whole or not ranked.rank < n_best <= ranked.estimate.size:
        raise InputError(
            f"n_best: found {n_best!r} with rank {ranked.rank}; needed a whole number above the "
            f"rank and at most {ranked.estimate.size}, the number of arms"
        )


def _projection(ranked: Ranked, level: float) -> tuple[float, float, float]:
    bound = max_abs_quantile(ranked.corr, level)
    return -bound, 0.0, bound


def _at_a_tie(ranked: Ranked, level: float, method: str) -> tuple[float, float, float]:
    """The first stage of the hybrid alone; the conditional interval has no limit that is one."""
    if method == "hybrid":
        return _projection(ranked, 1 - _FIRST_STAGE_SHARE * (1 - level))
    raise EstimationError(
        f"estimates: found {len(ranked.tied) + 1} arms that share the estimate at rank "
        f"{ranked.rank}; given which of them comes first, their order tells nothing about the "
        "values, and all quantiles of the conditional interval are infinite; needed estimates that "
        "differ; use method='hybrid' or 'projection'"
    )


def _cut(ranked: Ranked, level: float, method: str) -> tuple[float, float, float]:
    """Lower end, median and upper end in standard errors from the usual estimate."""
    pieces = truncation_set(ranked)
    if method == "conditional":
        tail = (1 - level) / 2
        at = [mean_at_quantile(lambda _: pieces, prob) for prob in (1 - tail, 0.5, tail)]
        return at[0], at[1], at[2]
    beta = _FIRST_STAGE_SHARE * (1 - level)
    tail = (1 - level - beta) / (1 - beta) / 2
    bound = max_abs_quantile(ranked.corr, 1 - beta)

    def cut(mean: float) -> list[tuple[float, float]]:
        low, high = mean - bound, mean + bound
        return [(max(a, low), min(b, high)) for a, b in pieces if a < high and b > low]

    ends = (-bound, bound)
    at = [mean_at_quantile(cut, prob, within=ends) for prob in (1 - tail, 0.5, tail)]
    return at[0], at[1], at[2]
