"""Standard errors from influence values: each unit's part in an estimate."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from wavewise.estimate.effect_table import Estimate, single_estimate
from wavewise.results import FloatArray, IntArray, NotEstimable

__all__ = ["covariance", "influence_estimate", "interval", "p_value", "std_error"]


def std_error(influence: FloatArray, cluster: IntArray | None) -> float:
    """Standard error of a mean whose influence values average to 0.

    Notes
    -----
    ``sqrt(sum_i psi_i**2 / (n (n - 1)))``; with clusters the sums over clusters take the place of
    the units, with ``n`` clusters in the correction.
    """
    return float(np.sqrt(covariance(influence[:, None], cluster)[0, 0]))


def covariance(influence: FloatArray, cluster: IntArray | None) -> FloatArray:
    """Covariance of several means from their influence values, shape (n_means, n_means)."""
    n_units = influence.shape[0]
    parts = influence
    if cluster is not None:
        parts = np.column_stack([np.bincount(cluster, weights=part) for part in influence.T])
    n_parts = parts.shape[0]
    found: FloatArray = (parts.T @ parts) / n_units**2 * n_parts / max(n_parts - 1, 1)
    return found


def interval(
    estimate: float, error: float, level: float, df: float | None = None
) -> tuple[float, float]:
    """Confidence interval (lower, upper): normal, or Student's with degrees of freedom."""
    prob = (1 + level) / 2
    half = error * float(ndtri(prob) if df is None else stdtrit(df, prob))
    return estimate - half, estimate + half


def p_value(estimate: float, error: float, df: float | None = None) -> float:
    """Two-sided p value of no effect."""
    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    ratio = -abs(estimate / error)
    return float(2 * (ndtr(ratio) if df is None else stdtr(df, ratio)))


def influence_estimate(
    name: str, estimate: float, influence: FloatArray, cluster: IntArray | None, level: float
) -> Estimate:
    """An estimate with the standard error, interval and test that its influence values give."""
    error = std_error(influence, cluster)
    n_units = int(influence.size)
    # what rounding leaves of influence values that are all 0
    if error <= 1e-14 * max(1.0, abs(estimate)):
        nothing = NotEstimable("every unit's influence on it is 0 in this sample")
        return Estimate(name, estimate, 0.0, nothing, (estimate, estimate), nothing, level, n_units)
    n_parts = n_units if cluster is None else int(cluster.max()) + 1
    return single_estimate(name, estimate, (error, n_parts - 1.0), level, n_units)
