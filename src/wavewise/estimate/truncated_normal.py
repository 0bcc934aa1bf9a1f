"""Means that put an observed value at a given quantile of a truncated normal, in log space.

Everything is relative to the observed value: intervals of the truncation set hold 0, the mean is
measured from 0, and the standard deviation is one. Bounds that lie 1e-12 from the value keep all
their digits, which they lose as differences of large numbers.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Interval", "log_mass", "log_odds_below", "mean_at_quantile"]

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

    Parameters
    ----------
    intervals_at : callable
        The truncation set given the mean: disjoint intervals, one of them with 0 inside.
    prob : float
        In (0, 1).
    within : tuple of float
        Range of means, open, at whose ends the share is one and zero.

    Notes
    -----
    The share falls as the mean grows, so that there is one root. It is bracketed by doubling the
    distance from 0, or by halving that from the ends of `within`, and found by Brent's method on
    the log odds.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - heavy

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
