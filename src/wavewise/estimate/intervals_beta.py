"""Credible intervals of beta posteriors: equal-tailed and highest density."""

from typing import Final

import numpy as np
from scipy import special

from wavewise.errors import EstimationError, InputError
from wavewise.results import FloatArray

__all__ = ["KINDS", "checked_prob", "equal_tailed", "highest_density", "two_peaked"]

KINDS: Final = ("hpd", "equal-tailed")
_HALVINGS: Final = 60


def checked_prob(prob: float) -> float:
    """Probability of an interval, above 0 and below 1."""
    if not 0 < prob < 1:
        raise InputError(f"prob: found {prob}; needed a probability between 0 and 1, such as 0.95")
    return float(prob)


def equal_tailed(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    """Interval with (1 - prob) / 2 below and above, (n_arms, 2).

    Examples
    --------
    >>> equal_tailed(np.array([1.0]), np.array([1.0]), 0.9).round(3).tolist()
    [[0.05, 0.95]]
    """
    tail = 0.5 * (1 - prob)
    return np.column_stack([special.betaincinv(a, b, tail), special.betainccinv(a, b, tail)])


def two_peaked(a: FloatArray, b: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Arms whose density rises to both ends (a < 1 and b < 1): the densest set is no interval."""
    return np.asarray((a < 1) & (b < 1))


def highest_density(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    """Shortest interval with probability prob, all of it denser than the rest, (n_arms, 2).

    Raises
    ------
    EstimationError
        A density rises to both ends (a < 1 and b < 1).

    Notes
    -----
    With one inner peak (a > 1, b > 1) the ends l < h solve F(h) - F(l) = prob and f(l) = f(h): a
    bisection in u = F(l), as log f(h) - log f(l) falls in u. A density that falls (rises) all the
    way gives an interval from 0 (to 1). The flat density has no shortest interval; its equal-tailed
    one is given.

    Examples
    --------
    >>> highest_density(np.array([1.0]), np.array([3.0]), 0.95).round(4).tolist()
    [[0.0, 0.6316]]
    """
    if two_peaked(a, b).any():
        raise EstimationError(
            f"highest-density interval: {int(two_peaked(a, b).sum())} of {a.size} arms have a "
            "posterior that rises to both ends (prior below 1 and next to no data), so that the "
            'densest set is two intervals; ask for kind="equal-tailed"'
        )
    u = _lower_tail(a, b, prob)
    lower = special.betaincinv(a, b, u)
    upper = special.betainccinv(a, b, np.maximum(1 - prob - u, 0.0))
    return np.column_stack([lower, upper])


def _lower_tail(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    rest = 1 - prob
    falls, rises = (a <= 1) & (b >= 1), (a >= 1) & (b <= 1)
    u = np.select([falls & rises, falls, rises], [0.5 * rest, 0.0, rest])
    inner = (a > 1) & (b > 1)
    u[inner] = _balanced_tail(a[inner], b[inner], rest)
    return u


def _balanced_tail(a: FloatArray, b: FloatArray, rest: float) -> FloatArray:
    """F(l) at which the densities at both ends are equal, by bisection."""
    low, high = np.zeros(a.size), np.full(a.size, rest)
    for _ in range(_HALVINGS):
        u = 0.5 * (low + high)
        ends = special.betaincinv(a, b, u), special.betainccinv(a, b, rest - u)
        rising = _log_density(ends[1], a, b) > _log_density(ends[0], a, b)
        low, high = np.where(rising, u, low), np.where(rising, high, u)
    return np.asarray(0.5 * (low + high))


def _log_density(x: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x))
