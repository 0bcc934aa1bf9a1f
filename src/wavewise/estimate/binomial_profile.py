"""Posterior of beta given kappa, along a grid of log kappa: what the proposal is made of."""

from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_mode import beta_mode, inverse_of_negative, joint_mode
from wavewise.estimate.binomial_posterior import LogPosterior, Slopes
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.results import FloatArray

__all__ = ["Profile", "profile"]

# the grid ends where the density of log kappa is this much (in logs) below its peak
_DROP = 10.0
_STEP_SD, _LONGEST_STEP, _SHORTEST_STEP = 1.4, 0.7, 0.02
_N_NODES_A_SIDE = 80
# the nodes reach this far from 0, tried in turn until they reach beyond every cluster's effect
_WIDE = (5.5, 11.0, 25.0)


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
    point: FloatArray
    slopes: Slopes
    covariance: FloatArray
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
        point, slopes = joint_mode(posterior)
        if float((np.abs(slopes.effect[0]) + 2 * slopes.effect[1]).max()) < wide:
            break
    spread = float(np.sqrt(inverse_of_negative(slopes.hess)[-1, -1]))
    step = float(np.clip(_STEP_SD * spread, _SHORTEST_STEP, _LONGEST_STEP))
    centre = _node(posterior, point)
    up = _march(posterior, centre, step)
    down = _march(posterior, centre, -step)
    nodes = _uphill([*reversed(down), centre, *up])
    return _assemble(posterior, nodes)


def _node(posterior: LogPosterior, point: FloatArray) -> _Node:
    moved, slopes = beta_mode(posterior, point)
    covariance = inverse_of_negative(slopes.hess[:-1, :-1])
    half_log_det = 0.5 * float(np.linalg.slogdet(covariance)[1])
    return _Node(moved, slopes, covariance, slopes.value + half_log_det)


def _march(posterior: LogPosterior, centre: _Node, step: float) -> list[_Node]:
    """Nodes a step apart, until the density has dropped."""
    slope = centre.covariance @ centre.slopes.hess[:-1, -1]
    nodes, peak = [centre], centre.log_density
    for _ in range(_N_NODES_A_SIDE):
        last = nodes[-1].point
        ahead = last.copy()
        ahead[:-1] += slope * step
        ahead[-1] += step
        nodes.append(_node(posterior, ahead))
        slope = (nodes[-1].point[:-1] - last[:-1]) / step
        peak = max(peak, nodes[-1].log_density)
        if nodes[-1].log_density < peak - _DROP:
            return nodes[1:]
    raise EstimationError(
        f"kappa: found a posterior that does not end within log kappa = {nodes[-1].point[-1]:.1f}; "
        "needed one that falls; give a tighter prior on kappa, such as HalfNormal(1)"
    )


def _uphill(nodes: list[_Node]) -> list[_Node]:
    """The nodes whose density is not negligible, with one more at each end."""
    heights = np.array([node.log_density for node in nodes])
    kept = np.flatnonzero(heights > heights.max() - _DROP)
    return nodes[max(kept[0] - 1, 0) : kept[-1] + 2]


def _common(node: _Node) -> float:
    """Standard deviation of the arms' common level, over kappa."""
    precision = np.linalg.inv(node.covariance)
    return float(1 / np.sqrt(max(precision.sum(), 1e-300)) / np.exp(node.point[-1]))


def _assemble(posterior: LogPosterior, nodes: list[_Node]) -> Profile:
    log_density = np.array([node.log_density for node in nodes])
    best = nodes[int(np.argmax(log_density))]
    reaches = [posterior.reach(node.slopes.effect, _common(node)) for node in nodes]
    low = np.min([reach[0] for reach in reaches], axis=0)
    high = np.max([reach[1] for reach in reaches], axis=0)
    return Profile(
        log_kappa=np.array([node.point[-1] for node in nodes]),
        log_density=log_density - log_density.max(),
        mean=np.array([node.point[:-1] for node in nodes]),
        root=np.linalg.cholesky(np.array([node.covariance for node in nodes])),
        own_variance=1 / np.diag(np.linalg.inv(best.covariance)),
        posterior=posterior.around(best.slopes.reference, low, high),
    )
