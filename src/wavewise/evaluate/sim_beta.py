"""Many beta-binomial posteriors at once: probabilities of being best and regrets, to about 1e-6.

`ww.estimate.beta_binomial` is exact and made for one data set; simulations need hundreds of
thousands.
"""

import math

import numpy as np

from wavewise.randomize.compiled import compiled
from wavewise.randomize.rounding import round_fractions
from wavewise.results import FloatArray, IntArray

__all__ = ["best_of_many", "whole_counts"]

_DROP = 27.0  # the log density falls so far at the ends: 2e-12
_STEP = 0.25  # of the narrowest standard deviation on the logit scale
_MOST_POINTS = 20_000
_GRID_BITS = 40


def best_of_many(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Probability that each arm is best, and its expected regret, each (n, n_arms).

    Parameters
    ----------
    a, b : (n, n_arms) array of float
        Parameters of the beta posteriors, above 0.

    Notes
    -----
    On the logit scale, where the densities have no singular ends, with one uniform grid from where
    the largest arm can lie::

        prob_k   = sum_g h f_k(t_g) prod_{j != k} F_j(t_g)
        regret_k = sum_g h x_g sum_j f_j(t_g) prod_{i != j} F_i(t_g) - mean_k

    The trapezoid rule converges exponentially for these sums. The distribution functions come from
    the densities and their slopes (Hermite's rule, error h^4 / 720).

    Examples
    --------
    >>> prob, regret = best_of_many(np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]]))
    >>> prob.round(6).tolist(), regret.round(6).tolist()
    ([[0.666667, 0.333333]], [[0.083333, 0.25]])
    """
    prob, regret = np.empty(a.shape), np.empty(a.shape)
    _best_of_many(np.ascontiguousarray(a), np.ascontiguousarray(b), prob, regret)
    return prob, regret


@compiled
def _best_of_many(a: FloatArray, b: FloatArray, prob: FloatArray, regret: FloatArray) -> None:
    n, n_arms = a.shape
    density = np.empty((n_arms, _MOST_POINTS))
    below = np.empty((n_arms, _MOST_POINTS))
    for i in range(n):
        if n_arms == 1:
            prob[i, 0], regret[i, 0] = 1.0, 0.0
            continue
        start, stop, step = _range(a[i], b[i])
        n_points = min(int((stop - start) / step) + 2, _MOST_POINTS)
        step = (stop - start) / (n_points - 1)
        _densities(a[i], b[i], start, step, n_points, density, below)
        _sums(a[i], b[i], start, step, n_points, density, below, prob[i], regret[i])


@compiled
def _fall(total: float, mean: float, d: float) -> float:
    """How far the log density has fallen at a distance d from its mode."""
    if d > 500.0:
        return total * (math.log(mean) + d - mean * d)
    return total * (math.log1p(mean * math.expm1(d)) - mean * d)


@compiled
def _reach(total: float, mean: float, sd: float, sign: float) -> float:
    """Distance at which the density has fallen by the drop; a little beyond where it is skewed."""
    d = math.sqrt(2.0 * _DROP) * sd
    while _fall(total, mean, sign * d) < _DROP:
        d *= 1.1
    return d


@compiled
def _range(a: FloatArray, b: FloatArray) -> tuple[float, float, float]:
    """Where the largest arm can lie, and the step for the narrowest arm that reaches there."""
    n_arms = a.size
    start, stop = -np.inf, -np.inf
    for k in range(n_arms):
        total, mean = a[k] + b[k], a[k] / (a[k] + b[k])
        sd, mode = math.sqrt(total / a[k] / b[k]), math.log(a[k] / b[k])
        start = max(start, mode - _reach(total, mean, sd, -1.0))
        stop = max(stop, mode + _reach(total, mean, sd, 1.0))
    step = np.inf
    for k in range(n_arms):
        total, mean = a[k] + b[k], a[k] / (a[k] + b[k])
        sd, mode = math.sqrt(total / a[k] / b[k]), math.log(a[k] / b[k])
        if mode + _reach(total, mean, sd, 1.0) > start:
            step = min(step, _STEP * min(sd, 1.0))
    return start, stop, step


@compiled
def _densities(
    a: FloatArray,
    b: FloatArray,
    start: float,
    step: float,
    n_points: int,
    density: FloatArray,
    below: FloatArray,
) -> None:
    """Densities on the logit scale, and distribution functions, at the points of the grid."""
    for k in range(a.size):
        total, mode = a[k] + b[k], math.log(a[k] / b[k])
        mean = a[k] / total
        peak = (
            math.lgamma(total) - math.lgamma(a[k]) - math.lgamma(b[k])
            + a[k] * math.log(mean) + b[k] * math.log1p(-mean)
        )  # fmt: skip
        above, later, slope_later = 0.0, 0.0, 0.0
        for g in range(n_points - 1, -1, -1):
            t = start + g * step
            f = math.exp(peak - _fall(total, mean, t - mode))
            slope = f * (a[k] - total / (1.0 + math.exp(-t)))
            if g < n_points - 1:
                above += 0.5 * step * (f + later) - step * step / 12.0 * (slope_later - slope)
            density[k, g], later, slope_later = f, f, slope
            below[k, g] = min(max(1.0 - above, 0.0), 1.0)


@compiled
def _sums(
    a: FloatArray,
    b: FloatArray,
    start: float,
    step: float,
    n_points: int,
    density: FloatArray,
    below: FloatArray,
    prob: FloatArray,
    regret: FloatArray,
) -> None:
    n_arms = a.size
    prob[:] = 0.0
    largest = 0.0
    for g in range(n_points):
        x = 1.0 / (1.0 + math.exp(-(start + g * step)))
        for k in range(n_arms):
            part = density[k, g]
            if part < 1e-300:
                continue
            for j in range(n_arms):
                if j != k:
                    part *= below[j, g]
            prob[k] += part
            largest += x * part
    whole = prob.sum()
    for k in range(n_arms):
        prob[k] /= whole
        regret[k] = max(largest / whole - a[k] / (a[k] + b[k]), 0.0)


def whole_counts(shares: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Units of each arm in many waves without strata, (n, n_arms).

    Parameters
    ----------
    shares : (n, n_arms) array of float
        Rows sum to 1.
    size : int
        Units of each wave, below 2^22.
    rng : numpy.random.Generator

    Notes
    -----
    The rounding of `ww.randomize.assign` in one stratum: floor or ceiling of size times share, with
    that expectation; shares are whole multiples of 2^-40.
    """
    n, n_arms = shares.shape
    out = np.empty((n, n_arms), dtype=np.int64)
    draws = rng.random((n, 5 * n_arms))
    _whole_counts(np.ascontiguousarray(shares), size, draws, out)
    return out


@compiled
def _whole_counts(shares: FloatArray, size: int, draws: FloatArray, out: IntArray) -> None:
    n, n_arms = shares.shape
    whole = 1 << _GRID_BITS
    part, table = np.empty(n_arms, np.int64), np.empty((2, n_arms), np.int64)
    row_order, order = np.array([0, 1]), np.empty((2, n_arms), np.int64)
    for i in range(n):
        for k in range(n_arms):
            part[k] = round(shares[i, k] * whole)
        part[np.argmax(shares[i])] += whole - part.sum()
        for k in range(n_arms):
            table[0, k] = size * part[k] % whole
            table[1, k] = (whole - table[0, k]) % whole
        order[0] = np.argsort(draws[i, :n_arms])
        order[1] = np.argsort(draws[i, n_arms : 2 * n_arms])
        up = round_fractions(table, whole, row_order, order, draws[i, 2 * n_arms : 5 * n_arms])
        for k in range(n_arms):
            out[i, k] = size * part[k] // whole + up[0, k]
