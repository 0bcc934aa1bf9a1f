"""Posterior of beta given kappa, along a grid of log kappa: what the proposal is made of."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_exp import compiled
from wavewise.estimate.binomial_mode import (
    FOUND,
    N_STEPS,
    NO_MODE,
    NO_STEP,
    climb,
    inverse_of_negative,
)
from wavewise.estimate.binomial_posterior import REACH, LogPosterior
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.estimate.binomial_slopes import Problem, Scratch
from wavewise.results import FloatArray

__all__ = ["Profile", "profile"]

# the grid ends where the density of log kappa is this much (in logs) below its peak
_DROP = 10.0
_STEP_SD, _LONGEST_STEP, _SHORTEST_STEP = 1.4, 0.7, 0.02
_N_NODES_A_SIDE = 80
# the nodes reach this far from 0, tried in turn until they reach beyond every cluster's effect
_WIDE = (5.5, 11.0, 25.0)
# a search ends where half a Newton step's gain is below this: near enough to be a centre
_ENOUGH_JOINTLY, _ENOUGH_IN_BETA = 0.01, 0.02
_ENDLESS = 3


@dataclass(frozen=True, eq=False)
class Profile:
    """Normal approximations of beta given log kappa, on an even grid of log kappa.

    Parameters
    ----------
    log_kappa : (n_grid,) array of float
    log_density : (n_grid,) array of float
        Of log kappa, beta integrated out by Laplace's rule; its largest value is 0.
    mean : (n_grid, n_arms) array of float
        Mode of beta given kappa.
    root : (n_grid, n_arms, n_arms) array of float
        Lower triangle with root root' the covariance of beta given kappa.
    own_variance : (n_arms,) array of float
        Variance of each arm's beta given the other arms, at the peak.
    posterior : LogPosterior
        With nodes that reach as far as the clusters' effects do anywhere on the grid.
    """

    log_kappa: FloatArray
    log_density: FloatArray
    mean: FloatArray
    root: FloatArray
    own_variance: FloatArray
    posterior: LogPosterior

    @property
    def peak(self) -> int:
        """Place of the highest density on the grid."""
        return int(np.argmax(self.log_density))


class _Grid(NamedTuple):
    """Nodes of the grid on one side of the centre, and what the nodes of z must reach.

    Parameters
    ----------
    point : (n, n_arms + 1) array of float
    covariance : (n, n_arms, n_arms) array of float
        Of beta given kappa.
    log_density : (n,) array of float
    low, high : (n_distinct,) array of float
        Least and largest z that matter in each cluster at any node so far.
    reference : (n_distinct,) array of float
        Log likelihoods at the best node so far.
    best : (1,) array of float
        Its log density.
    """

    point: FloatArray
    covariance: FloatArray
    log_density: FloatArray
    low: FloatArray
    high: FloatArray
    reference: FloatArray
    best: FloatArray


def profile(counts: Counts, prior: BinomialPrior) -> Profile:
    """Posterior of beta given kappa along a grid that covers the posterior of kappa.

    Raises
    ------
    EstimationError
        No mode, or a posterior of kappa that does not end.

    Notes
    -----
    With H the negative Hessian in beta at its mode given kappa, Laplace's rule gives::

        log p(log kappa | data) = log p(beta_mode, log kappa | data) - log det(H) / 2 + constant

    References
    ----------
    Tierney and Kadane (1986), equation 4.1; Rue, Martino and Chopin (2009), section 3.1.
    """
    n_dims, n = counts.n_arms + 1, int(counts.starts[-1])
    slopes = Scratch(np.empty(n_dims), np.empty((n_dims, n_dims)), np.empty(n), np.empty((2, n)))
    for wide in _WIDE:
        posterior = LogPosterior.of(counts, prior, wide)
        problem = posterior.problem
        point = _start(counts)
        _raise(climb(problem, point, n_dims, _ENOUGH_JOINTLY, slopes)[0])
        if float((np.abs(slopes.effect[0]) + 2 * slopes.effect[1]).max()) < wide:
            break
    inverse = np.empty((n_dims, n_dims))
    inverse_of_negative(slopes.hess, n_dims, inverse)
    spread = math.sqrt(inverse[-1, -1])
    step = min(max(_STEP_SD * spread, _SHORTEST_STEP), _LONGEST_STEP)
    grid = _empty_grid(n_dims, n)
    status, n_down, n_up = _march(problem, point, step, grid, slopes)
    if status == _ENDLESS:
        raise EstimationError(
            "kappa: found a posterior that does not end within log kappa = "
            f"{grid.point[_N_NODES_A_SIDE + n_up, -1]:.1f}; needed one that falls; give a tighter "
            "prior on kappa, such as HalfNormal(1)"
        )
    _raise(status)
    return _assemble(posterior, grid, slice(_N_NODES_A_SIDE - n_down, _N_NODES_A_SIDE + n_up + 1))


def _start(counts: Counts) -> FloatArray:
    failures = counts.arm_trials - counts.arm_successes
    odds = np.log((counts.arm_successes + 0.5) / (failures + 0.5))
    return np.append(odds, math.log(0.5))


def _raise(status: int) -> None:
    """The error of a search that found no mode."""
    if status == NO_MODE:
        raise EstimationError(
            f"hierarchical binomial model: found no mode in {N_STEPS} Newton steps; needed one; "
            "look for arms with almost no successes or failures, or give a proper prior on beta"
        )
    if status == NO_STEP:
        raise EstimationError(
            "hierarchical binomial model: found no step that raises the posterior; needed one; the "
            "counts may be too large for the quadrature"
        )


def _empty_grid(n_dims: int, n_distinct: int) -> _Grid:
    size, n_arms = 2 * _N_NODES_A_SIDE + 1, n_dims - 1
    return _Grid(
        np.empty((size, n_dims)),
        np.empty((size, n_arms, n_arms)),
        np.empty(size),
        np.full(n_distinct, np.inf),
        np.full(n_distinct, -np.inf),
        np.empty(n_distinct),
        np.array([-np.inf]),
    )


@compiled
def _march(
    problem: Problem, point: FloatArray, step: float, grid: _Grid, slopes: Scratch
) -> tuple[int, int, int]:
    """Nodes a step apart on both sides of a point, until the density has dropped.

    Returns a status, and how many nodes there are below and above the centre.
    """
    n_arms = point.size - 1
    centre = _N_NODES_A_SIDE
    grid.point[centre] = point
    status = _node(problem, centre, grid, slopes)
    if status != FOUND:
        return status, 0, 0
    tangent = np.zeros(n_arms)  # of the mode of beta along log kappa
    for i in range(n_arms):
        for j in range(n_arms):
            tangent[i] += grid.covariance[centre, i, j] * slopes.hess[j, n_arms]
    ends = np.zeros(2, dtype=np.int64)
    for side in range(2):
        move = step if side == 0 else -step
        slope, peak, last = tangent.copy(), grid.log_density[centre], centre
        for n in range(1, _N_NODES_A_SIDE + 1):
            ahead = centre + n if side == 0 else centre - n
            for i in range(n_arms):
                grid.point[ahead, i] = grid.point[last, i] + slope[i] * move
            grid.point[ahead, n_arms] = grid.point[last, n_arms] + move
            status = _node(problem, ahead, grid, slopes)
            if status != FOUND:
                return status, 0, 0
            for i in range(n_arms):
                slope[i] = (grid.point[ahead, i] - grid.point[last, i]) / move
            last, ends[side] = ahead, n
            peak = max(peak, grid.log_density[ahead])
            if grid.log_density[ahead] < peak - _DROP:
                break
            if n == _N_NODES_A_SIDE:
                return _ENDLESS, 0, ends[0] if side == 0 else -n
    return FOUND, ends[1], ends[0]


@compiled
def _node(problem: Problem, at: int, grid: _Grid, slopes: Scratch) -> int:
    """Mode of beta at the kappa of one place of the grid, from the point that is there."""
    n_arms = grid.point.shape[1] - 1
    point = grid.point[at]
    status, value = climb(problem, point, n_arms, _ENOUGH_IN_BETA, slopes)
    if status != FOUND:
        return status
    half_log_det = inverse_of_negative(slopes.hess, n_arms, grid.covariance[at])
    grid.log_density[at] = value + half_log_det
    if grid.log_density[at] > grid.best[0]:
        grid.best[0] = grid.log_density[at]
        grid.reference[:] = slopes.reference
    inverse = np.empty((n_arms, n_arms))  # of the covariance, which is made positive definite
    inverse_of_negative(-grid.covariance[at], n_arms, inverse)
    precision = inverse.sum()
    # standard deviation of the common level, over kappa: as beta rises, z falls, by as much times
    # 1 - var(z), the weight of the cluster's data against the prior
    common = 1 / math.sqrt(max(precision, 1e-300)) / math.exp(point[n_arms])
    for c in range(grid.low.size):
        variance = slopes.effect[1, c] ** 2
        moved = common * max(1 - variance, 0.0)
        width = REACH * math.sqrt(variance + moved * moved)
        grid.low[c] = min(grid.low[c], slopes.effect[0, c] - width)
        grid.high[c] = max(grid.high[c], slopes.effect[0, c] + width)
    return FOUND


def _assemble(posterior: LogPosterior, grid: _Grid, found: slice) -> Profile:
    """The nodes whose density is not negligible, with one more at each end."""
    heights = grid.log_density[found]
    kept = np.flatnonzero(heights > heights.max() - _DROP)
    first = found.start + max(kept[0] - 1, 0)
    used = slice(first, min(found.start + kept[-1] + 2, found.stop))
    best = found.start + int(np.argmax(heights))
    return Profile(
        log_kappa=grid.point[used, -1],
        log_density=grid.log_density[used] - heights.max(),
        mean=np.ascontiguousarray(grid.point[used, :-1]),
        root=np.asarray(np.linalg.cholesky(grid.covariance[used]), dtype=np.float64),
        own_variance=1 / np.diag(np.linalg.inv(grid.covariance[best])),
        posterior=posterior.around(grid.reference, grid.low, grid.high),
    )
