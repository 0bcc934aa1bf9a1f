"""Posterior of beta given kappa, along a grid of log kappa: what the proposal is made of."""

import math
from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_mode import Peak, climb
from wavewise.estimate.binomial_posterior import REACH, LogPosterior
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.estimate.binomial_slopes import Problem
from wavewise.results import FloatArray

__all__ = ["Profile", "profile"]

# the grid ends where the density of log kappa is this much (in logs) below its peak
_DROP = 10.0
_STEP_SD, _LONGEST_STEP, _SHORTEST_STEP = 2.0, 0.7, 0.02
_N_NODES_A_SIDE = 80
# the nodes reach this far from 0, tried in turn until they reach beyond every cluster's effect
_WIDE = (5.5, 11.0, 25.0)
# a search ends where half a Newton step's gain is below this: near enough to be a centre
_ENOUGH_JOINTLY, _ENOUGH_IN_BETA = 0.01, 0.02


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


@dataclass(frozen=True, eq=False)
class _Node:
    peak: Peak
    log_density: float


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
    for wide in _WIDE:
        posterior = LogPosterior.of(counts, prior, wide)
        problem = posterior.problem
        joint = climb(problem, _start(counts), counts.n_arms + 1, _ENOUGH_JOINTLY)
        effect = joint.slopes.effect
        if float((np.abs(effect[0]) + 2 * effect[1]).max()) < wide:
            break
    step = min(max(_STEP_SD * math.sqrt(joint.inverse[-1, -1]), _SHORTEST_STEP), _LONGEST_STEP)
    centre = _node(problem, joint.point)
    up = _march(problem, centre, step)
    down = _march(problem, centre, -step)
    nodes = _uphill([*reversed(down), centre, *up])
    return _assemble(posterior, nodes)


def _start(counts: Counts) -> FloatArray:
    failures = counts.arm_trials - counts.arm_successes
    odds = np.log((counts.arm_successes + 0.5) / (failures + 0.5))
    return np.append(odds, math.log(0.5))


def _node(problem: Problem, point: FloatArray) -> _Node:
    peak = climb(problem, point, point.size - 1, _ENOUGH_IN_BETA)
    return _Node(peak, peak.value + peak.half_log_det)


def _march(problem: Problem, centre: _Node, step: float) -> list[_Node]:
    """Nodes a step apart, until the density has dropped."""
    slope = centre.peak.inverse @ centre.peak.slopes.hess[:-1, -1]
    nodes, peak = [centre], centre.log_density
    for _ in range(_N_NODES_A_SIDE):
        last = nodes[-1].peak.point
        ahead = last.copy()
        ahead[:-1] += slope * step
        ahead[-1] += step
        nodes.append(_node(problem, ahead))
        slope = (nodes[-1].peak.point[:-1] - last[:-1]) / step
        peak = max(peak, nodes[-1].log_density)
        if nodes[-1].log_density < peak - _DROP:
            return nodes[1:]
    end = nodes[-1].peak.point[-1]
    raise EstimationError(
        f"kappa: found a posterior that does not end within log kappa = {end:.1f}; "
        "needed one that falls; give a tighter prior on kappa, such as HalfNormal(1)"
    )


def _uphill(nodes: list[_Node]) -> list[_Node]:
    """The nodes whose density is not negligible, with one more at each end."""
    heights = np.array([node.log_density for node in nodes])
    kept = np.flatnonzero(heights > heights.max() - _DROP)
    return nodes[max(kept[0] - 1, 0) : kept[-1] + 2]


def _reach(nodes: list[_Node]) -> tuple[FloatArray, FloatArray]:
    """Least and largest z that matter in each cluster at any node.

    As the arms' common level rises, z falls, by as much times 1 - var(z), the weight of the
    cluster's data against the prior.
    """
    effect = np.array([node.peak.slopes.effect for node in nodes])
    kappa = np.exp([node.peak.point[-1] for node in nodes])
    hess = np.array([node.peak.slopes.hess[:-1, :-1] for node in nodes])
    common = (1 / (np.sqrt(np.maximum(-hess.sum(axis=(1, 2)), 1e-300)) * kappa))[:, None]
    mean, variance = effect[:, 0], effect[:, 1] ** 2
    width = REACH * np.sqrt(variance + (common * np.maximum(1 - variance, 0.0)) ** 2)
    return (mean - width).min(axis=0), (mean + width).max(axis=0)


def _assemble(posterior: LogPosterior, nodes: list[_Node]) -> Profile:
    log_density = np.array([node.log_density for node in nodes])
    best = nodes[int(np.argmax(log_density))]
    points = np.array([node.peak.point for node in nodes])
    root = np.linalg.cholesky(np.array([node.peak.inverse for node in nodes]))
    return Profile(
        log_kappa=points[:, -1],
        log_density=log_density - log_density.max(),
        mean=np.ascontiguousarray(points[:, :-1]),
        root=np.asarray(root, dtype=np.float64),
        own_variance=-1 / np.diag(best.peak.slopes.hess)[:-1],
        posterior=posterior.around(best.peak.slopes.reference, *_reach(nodes)),
    )
