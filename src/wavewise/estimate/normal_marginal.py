"""Marginal likelihood of the standard deviations, every coefficient integrated out exactly."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from wavewise.estimate.normal_sums import PanelSums
from wavewise.results import FloatArray, IntArray

__all__ = ["coefficient_draws", "coefficient_moments", "log_likelihood"]

F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    """The function compiled on first use; cached where the installation allows it."""
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no writable folder for the cache
        return cast(F, njit(nogil=True)(function))


def log_likelihood(sums: PanelSums, sds: FloatArray, effect_precision: float = 0.0) -> FloatArray:
    """Log marginal likelihood of (kappa, phi, sigma, rho), (n_points,), up to one constant.

    Parameters
    ----------
    sums : PanelSums
    sds : (n_points, 4) array of float
        Standard deviations of clusters, units, noise and periods, above 0, in standard deviations
        of the score.
    effect_precision : float
        One over the variance of the normal prior of each arm effect; 0 is flat.

    Returns
    -------
    array of float, shape (n_points,)
        Not-a-number where the arithmetic broke down.

    Notes
    -----
    With V the covariance of the scores given the coefficients b (constant, arm effects and period
    effects), and P the prior precision of b,

        log p(y | sds) = -1/2 (log|V| + log|Z'V^-1 Z + P| - log|P_period| + y'V^-1 y - b^'(...) b^).

    A unit of m scores has V_u = sigma^2 I + phi^2 11', so that z'V_u^-1 z is its sum of squares
    around the mean over sigma^2, plus m times the squared mean over sigma^2 + m phi^2. A cluster
    adds kappa^2 11', a change of rank one (Woodbury). Both use sums alone: the cost is the number
    of clusters, not of scores.
    """
    points = np.ascontiguousarray(sds, dtype=np.float64)
    return np.asarray(_log_likelihoods(_arrays(sums, effect_precision), points))


def coefficient_moments(
    sums: PanelSums, sds: FloatArray, effect_precision: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Mean (n_points, n_coefficients) and covariance of the coefficients given each point.

    The coefficients are the constant, the arm effects, and the period effects.
    """
    n_points, n_coefficients = sds.shape[0], sums.within.shape[0] - 1
    zeros = np.zeros((n_points, n_coefficients))
    means = coefficient_draws(sums, sds, np.arange(n_points), zeros, effect_precision)
    units = np.tile(np.eye(n_coefficients), (n_points, 1))
    index = np.repeat(np.arange(n_points), n_coefficients)
    roots = coefficient_draws(sums, sds, index, units, effect_precision)
    roots = roots.reshape(n_points, n_coefficients, n_coefficients) - means[:, None, :]
    return means, np.einsum("nij,nik->njk", roots, roots)


def coefficient_draws(
    sums: PanelSums,
    sds: FloatArray,
    index: IntArray,
    normals: FloatArray,
    effect_precision: float = 0.0,
) -> FloatArray:
    """Exact Gaussian draws of the coefficients, (n_draws, n_coefficients).

    Parameters
    ----------
    sums : PanelSums
    sds : (n_points, 4) array of float
    index : (n_draws,) array of int
        Point of each draw, never decreasing.
    normals : (n_draws, n_coefficients) array of float
        Standard normal numbers.
    effect_precision : float
        As in `log_likelihood`.
    """
    points = np.ascontiguousarray(sds, dtype=np.float64)
    return np.asarray(_draws(_arrays(sums, effect_precision), points, index, normals))


class _Arrays(NamedTuple):
    """The sums in a form that compiled code reads."""

    within: FloatArray
    between: FloatArray
    size: FloatArray
    n_units: FloatArray
    cell: FloatArray
    cell_size: IntArray
    start: IntArray
    n_arms: int
    n_periods: int
    effect_precision: float


def _arrays(sums: PanelSums, effect_precision: float) -> _Arrays:
    return _Arrays(
        sums.within,
        sums.between,
        sums.size,
        sums.n_units_by_size,
        sums.cell,
        sums.cell_size,
        sums.start,
        sums.n_arms,
        sums.n_periods,
        effect_precision,
    )


@_compiled
def _within_clusters(s: Any, sds: Any, weight: Any, A: Any) -> Any:
    """Z'V_u^-1 Z of units alone, lower triangle in A, their weights; returns log|V_u|."""
    phi2, sigma2 = sds[1] ** 2, sds[2] ** 2
    log_det = 0.0
    for j in range(s.size.size):
        weight[j] = 1.0 / (sigma2 + s.size[j] * phi2)
        log_det += s.n_units[j] * ((s.size[j] - 1.0) * np.log(sigma2) - np.log(weight[j]))
    for p in range(A.shape[0]):
        for q in range(p + 1):
            total = s.within[p, q] / sigma2
            for j in range(s.size.size):
                total += weight[j] * s.between[j, p, q]
            A[p, q] = total
    return log_det


@_compiled
def _less_clusters(s: Any, kappa2: Any, weight: Any, u: Any, A: Any) -> Any:
    """Take each cluster's change of rank one from A; returns its part of log|V|.

    In the column of the constant u_p - kappa^2 g u_p / (1 + kappa^2 g) is u_p / (1 + kappa^2 g),
    which keeps its digits however large kappa is.
    """
    log_det = 0.0
    A[:, 0] = 0.0
    for c in range(s.start.size - 1):
        u[:] = 0.0
        for i in range(s.start[c], s.start[c + 1]):
            w = weight[s.cell_size[i]]
            for p in range(u.size):
                u[p] += w * s.cell[i, p]
        growth = 1.0 + kappa2 * u[0]
        log_det += np.log(growth)
        for p in range(u.size):
            A[p, 0] += u[p] / growth
            f = kappa2 / growth * u[p]
            for q in range(1, p + 1):
                A[p, q] -= f * u[q]
    return log_det


@_compiled
def _add_priors(s: Any, rho: Any, A: Any) -> Any:
    """Period effects are rho times a standard normal: scale their part of A, add the priors."""
    first = 1 + s.n_arms
    for p in range(first, first + s.n_periods):
        for q in range(p):
            A[p, q] *= rho
        for q in range(p + 1, A.shape[0]):
            A[q, p] *= rho
        A[p, p] = A[p, p] * rho * rho + 1.0
    for p in range(1, first):
        A[p, p] += s.effect_precision


@_compiled
def _cholesky(A: Any) -> Any:
    """Lower Cholesky factor in place of the lower triangle; not-a-number if not positive."""
    for p in range(A.shape[0]):
        for q in range(p):
            total = A[p, q]
            for r in range(q):
                total -= A[p, r] * A[q, r]
            A[p, q] = total / A[q, q]
        total = A[p, p]
        for r in range(p):
            total -= A[p, r] * A[p, r]
        A[p, p] = np.sqrt(total) if total > 0.0 else np.nan


@_compiled
def _factor(s: Any, sds: Any, weight: Any, u: Any, A: Any) -> Any:
    """Cholesky factor, in A, of the equations bordered by the score; returns log|V|."""
    log_det = _within_clusters(s, sds, weight, A)
    log_det += _less_clusters(s, sds[0] ** 2, weight, u, A)
    _add_priors(s, sds[3], A)
    _cholesky(A)
    return log_det


@_compiled
def _log_likelihoods(s: Any, sds: Any) -> Any:
    last = s.within.shape[0] - 1
    A, u = np.empty((last + 1, last + 1)), np.empty(last + 1)
    weight, out = np.empty(s.size.size), np.empty(sds.shape[0])
    for n in range(sds.shape[0]):
        log_det = _factor(s, sds[n], weight, u, A)
        for p in range(last):
            log_det += 2.0 * np.log(A[p, p])
        out[n] = -0.5 * (log_det + A[last, last] ** 2)
    return out


@_compiled
def _draws(s: Any, sds: Any, index: Any, normals: Any) -> Any:
    last, first_period = s.within.shape[0] - 1, 1 + s.n_arms
    A, u = np.empty((last + 1, last + 1)), np.empty(last + 1)
    weight, out = np.empty(s.size.size), np.empty((index.size, last))
    for i in range(index.size):
        if i == 0 or index[i] != index[i - 1]:
            _factor(s, sds[index[i]], weight, u, A)
        # L'b = L^-1 Z'V^-1 y + e, with the first term in the border
        for p in range(last - 1, -1, -1):
            total = A[last, p] + normals[i, p]
            for q in range(p + 1, last):
                total -= A[q, p] * out[i, q]
            out[i, p] = total / A[p, p]
        for p in range(first_period, last):
            out[i, p] *= sds[index[i], 3]
    return out
