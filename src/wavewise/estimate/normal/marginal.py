"""Marginal likelihood of the standard deviations, every coefficient integrated out exactly."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from wavewise.estimate.normal.data import PanelSums
from wavewise.estimate.normal.priors import NormalPriors
from wavewise.shared.compiled import compile_with
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = ["SdPosterior", "coefficient_draws", "coefficient_moments", "log_likelihood"]

_compiled = compile_with(nogil=True)


def log_likelihood(sums: PanelSums, sds: FloatArray, effect_precision: float = 0.0) -> FloatArray:
    """Log marginal likelihood of (kappa, phi, sigma, rho), (n_points,), up to one constant.

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
    """Exact Gaussian draws of the coefficients, (n_draws, n_coefficients)."""
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


# Coordinates of the four standard deviations in which their posterior is close to normal.

# columns of the sds
CLUSTER, UNIT, NOISE, PERIOD = range(4)


@dataclass(frozen=True, eq=False)
class SdPosterior:
    """Posterior of (kappa, phi, sigma, rho) in free coordinates, (n_points, 4).

    Notes
    -----
    Two standard deviations a and b that are joined enter as log sqrt(a^2 + b^2) and as the logit of
    a^2 / (a^2 + b^2): where the data know the sum of squares alone the posterior is then long in
    one coordinate, not bent. What is not joined enters as its log. The map from the logs has the
    same determinant everywhere, 1/2 for each joint, so that densities need no more than the logs'
    own Jacobian, the product of the sds.
    """

    sums: PanelSums
    priors: NormalPriors  # For a score in standard deviations.
    # (int, int, int): Columns of kappa, phi and sigma: the two that are joined first, then the
    # third.
    order: tuple[int, int, int] = (UNIT, NOISE, CLUSTER)
    nested: bool = False  # Whether the third is joined too.

    @property
    def variants(self) -> "tuple[SdPosterior, ...]":
        """The same posterior in other coordinates, the most likely good ones first.

        Joined first are unit and noise, or cluster and unit where clusters have fewer units than
        units scores.
        """
        scores_per_unit = self.sums.n_rows / self.sums.n_units
        units_per_cluster = self.sums.n_units / self.sums.n_clusters
        orders = [(UNIT, NOISE, CLUSTER), (CLUSTER, UNIT, NOISE)]
        if scores_per_unit > units_per_cluster:
            orders.reverse()
        return tuple(replace(self, order=o, nested=n) for o in orders for n in (False, True))

    @property
    def effect_precision(self) -> float:
        """One over the variance of a normal prior of each arm effect; 0 is flat, or not normal."""
        sd = self.priors.effect_sd
        return 0.0 if sd is None or self.priors.effect_df is not None else 1.0 / sd**2

    def sds(self, x: FloatArray) -> FloatArray:
        """Standard deviations at coordinates, in standard deviations of the score."""
        a, b, c = self.order
        logs = np.array(x, dtype=np.float64)
        both = x[:, b]
        if self.nested:
            logs[:, c], both = _parted(x[:, c], x[:, b])
        logs[:, a], logs[:, b] = _parted(both, x[:, a])
        return np.exp(logs)

    def coordinates(self, sds: FloatArray) -> FloatArray:
        """Coordinates of standard deviations; undoes `sds`."""
        a, b, c = self.order
        logs = np.log(sds)
        x = logs.copy()
        x[:, b], x[:, a] = _joined(logs[:, a], logs[:, b])
        if self.nested:
            x[:, c], x[:, b] = _joined(logs[:, c], x[:, b])
        return x

    def log_density(self, x: FloatArray) -> FloatArray:
        """Log posterior density in these coordinates, (n_points,), up to a constant.

        Minus infinity where a standard deviation is 0 or infinite to the computer, or the density
        is certainly nil; not-a-number where the arithmetic broke down elsewhere, which `importance`
        counts.
        """
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            sds = self.sds(x)
            inside = ((sds > 1e-140) & (sds < 1e140)).all(axis=1)
            out = np.full(x.shape[0], -np.inf)
            kept = sds[inside]
            prior = self.priors.log_density(kept) + np.log(kept).sum(axis=1)
            values = prior + log_likelihood(self.sums, kept, self.effect_precision)
            broken = np.isnan(values)
            if broken.any():
                values[broken] = np.where(
                    self._certainly_nil(prior[broken], kept[broken, NOISE]), -np.inf, np.nan
                )
            out[inside] = values
        return out

    def _certainly_nil(self, log_prior: FloatArray, noise_sd: FloatArray) -> BoolArray:
        """Where even an upper bound is nil, as where rounding breaks down for a tiny noise sd.

        The residual sum of squares is at least that around unit, arm and period effects without
        priors, over sigma^2; log determinants are at most 650 per row, as the sds are bounded.
        """
        n_rows = self.sums.n_rows + self.sums.within.shape[0]
        upper = log_prior + 650 * n_rows - 0.5 * self.sums.within_residual / noise_sd**2
        return np.asarray(upper < -1e4 * n_rows - 1e5)


def _parted(total: FloatArray, logit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logs of two sds from the log of their root sum of squares and the first one's share."""
    return total + 0.5 * special.log_expit(logit), total + 0.5 * special.log_expit(-logit)


def _joined(log_a: FloatArray, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log of the root sum of squares, and logit of the first one's share of it."""
    return 0.5 * np.logaddexp(2 * log_a, 2 * log_b), 2 * (log_a - log_b)
