"""Importance sampling of a density in few dimensions, on quasi-random points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from wavewise.estimate.normal_mode import Peak
from wavewise.results import FloatArray, IntArray, read_only

__all__ = [
    "Proposal",
    "SplitT",
    "Weighted",
    "importance",
    "pareto_k",
    "quasi_random",
    "split_t",
    "systematic",
]

LogDensity = Callable[[FloatArray], FloatArray]
_DF = 5.0
_REACH = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0])
_PRIMES = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29])


class Proposal(Protocol):
    """A density to draw points from."""

    @property
    def centre(self) -> FloatArray:
        """Middle, (n_dims,)."""

    @property
    def axes(self) -> FloatArray:
        """Directions, (n_dims, n_dims) by row, as long as the density is wide."""

    def points(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points from uniform numbers, and their log density up to a constant."""


@dataclass(frozen=True, eq=False)
class SplitT:
    """Student t by axis, each with a scale below the centre and one above (Geweke 1989).

    Parameters
    ----------
    centre : (n_dims,) array of float
    root : (n_dims, n_dims) array of float
        The columns are the axes.
    below, above : (n_dims,) array of float
        Scales along the axes.
    """

    centre: FloatArray
    root: FloatArray
    below: FloatArray
    above: FloatArray

    @property
    def axes(self) -> FloatArray:
        """Directions, (n_dims, n_dims) by row, as long as the proposal is wide."""
        return np.asarray(self.root.T * (self.below + self.above)[:, None] / 2)

    def points(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points (n_points, n_dims) from uniform numbers, and their log density up to a constant.

        Notes
        -----
        Half of the mass lies on each side, so that the density jumps at the centre.
        """
        z = special.stdtrit(_DF, uniform)
        scale = np.where(z < 0, self.below, self.above)
        log_density = -(_DF + 1) / 2 * np.log1p(z**2 / _DF) - np.log(scale)
        x = self.centre + ((z * scale)[:, None, :] * self.root).sum(axis=2)
        return x, np.asarray(log_density.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weighted points and how good they are.

    Parameters
    ----------
    x : (n_points, n_dims) array of float
    weights : (n_points,) array of float
        Sum to 1.
    ess_share : float
        1 / (n_points * sum of squared weights), in (0, 1].
    pareto_k : float
        Shape of the weights' upper tail; below 0.7 is good.
    n_broken : int
        Points at which the arithmetic broke down.
    """

    x: FloatArray
    weights: FloatArray
    ess_share: float
    pareto_k: float
    n_broken: int

    @property
    def ess(self) -> float:
        """Equally good number of independent points."""
        return self.ess_share * self.weights.size

    @property
    def usable(self) -> bool:
        """Whether there are weights at all."""
        return bool(np.isfinite(self.ess_share))

    def covariance_root(self) -> FloatArray:
        """Lower root of the covariance of the weighted points, (n_dims, n_dims)."""
        mean = (self.weights[:, None] * self.x).sum(axis=0)
        away = self.x - mean
        covariance = (self.weights[:, None, None] * away[:, :, None] * away[:, None, :]).sum(axis=0)
        ridge = 1e-10 * np.trace(covariance) + 1e-12
        return np.asarray(np.linalg.cholesky(covariance + ridge * np.eye(mean.size)))


def split_t(log_density: LogDensity, peak: Peak) -> SplitT:
    """Proposal whose density falls no faster than the target's along each axis, both ways.

    Notes
    -----
    For each axis and side the scale is the largest that matches the target's fall at several
    distances: with r = p(centre) / p(at distance d), d / sqrt(nu (r^(2/(nu + 1)) - 1)).

    References
    ----------
    Geweke (1989), *Econometrica* 57, 1317-1339, section 4.
    """
    d = peak.mode.size
    steps = np.concatenate([-_REACH, _REACH])
    away = steps[None, :, None] * peak.root.T[:, None, :]
    points = np.concatenate([peak.mode[None, :], (peak.mode + away).reshape(-1, d)])
    values = log_density(points)
    values = np.where(np.isnan(values), -np.inf, values)
    centre = values[0] if np.isfinite(values[0]) else values.max()
    fall = np.maximum(centre - values[1:].reshape(d, steps.size), 0.02)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.expm1(np.minimum(fall, 600.0) * 2 / (_DF + 1))
    scale = np.clip(np.abs(steps) / np.sqrt(_DF * ratio), 0.3, 8.0)
    n = _REACH.size
    return SplitT(peak.mode, peak.root, scale[:, :n].max(axis=1), scale[:, n:].max(axis=1))


def importance(log_density: LogDensity, proposal: Proposal, uniform: FloatArray) -> Weighted:
    """Points from the proposal, weighted to stand for the target.

    Parameters
    ----------
    log_density : callable
        Log target density at points, up to a constant.
    proposal : Proposal
    uniform : (n_points, n_dims) array of float
        Evenly spread in the unit cube.
    """
    x, log_proposal = proposal.points(uniform)
    target = log_density(x)
    broken = np.isnan(target) | (target == np.inf)
    log_weight = np.where(broken, -np.inf, target - log_proposal)
    top = float(log_weight.max())
    raw = np.exp(log_weight - top) if np.isfinite(top) else np.full(log_weight.size, np.nan)
    weights = raw / raw.sum()
    return Weighted(
        x=read_only(x),
        weights=read_only(weights),
        ess_share=float(1 / (weights.size * (weights**2).sum())),
        pareto_k=pareto_k(log_weight),
        n_broken=int(broken.sum()),
    )


def quasi_random(n_points: int, n_dims: int, rng: np.random.Generator) -> FloatArray:
    """Evenly spread points in the open unit cube, (n_points, n_dims), at random as a whole.

    Notes
    -----
    The multiples of the square roots of the first primes, modulo 1, shifted by one uniform vector.

    References
    ----------
    Niederreiter (1978), *Bull. Amer. Math. Soc.* 84, 957-1041, section 4.
    """
    shift = rng.random(n_dims)
    steps = np.arange(1, n_points + 1)[:, None] * np.sqrt(_PRIMES[:n_dims])
    return np.asarray(np.clip((steps + shift) % 1.0, 1e-12, 1 - 1e-12), dtype=np.float64)


def systematic(weights: FloatArray, n_draws: int, rng: np.random.Generator) -> IntArray:
    """Positions of `n_draws` points, each about n_draws times its weight often, in order.

    Notes
    -----
    One uniform number for all: each point's count is within 1 of its expectation, which is exact.
    """
    at = (np.arange(n_draws) + rng.random()) / n_draws
    upto = np.cumsum(weights)
    found = np.searchsorted(upto, at * upto[-1], side="right")
    return np.asarray(np.minimum(found, weights.size - 1), dtype=np.int64)


def pareto_k(log_weights: FloatArray) -> float:
    """Shape of a generalized Pareto distribution fitted to the largest weights.

    Parameters
    ----------
    log_weights : (n_points,) array of float

    Returns
    -------
    float
        Infinity where no tail of at least 5 weights exists.

    Notes
    -----
    The tail is the largest min(n / 5, 3 sqrt(n)) weights. The estimate is the posterior mean of
    Zhang and Stephens, drawn towards 0.5 as if ten more had been seen.

    References
    ----------
    Zhang and Stephens (2009), *Technometrics* 51, 316-325. Vehtari, Simpson, Gelman, Yao and Gabry
    (2024), *JMLR* 25(72), algorithm 1.
    """
    n_tail = int(min(0.2 * log_weights.size, 3 * np.sqrt(log_weights.size)))
    ordered = np.sort(log_weights)
    if n_tail < 5 or not np.isfinite(ordered[-n_tail - 1 :]).all():
        return float("inf")
    weights = np.exp(ordered - ordered[-1])
    excess = weights[-n_tail:] - weights[-n_tail - 1]
    if excess[-1] <= 0:  # all large weights are alike: no tail
        return float("-inf")
    return _shape(np.maximum(excess, 1e-300))


def _shape(excess: FloatArray) -> float:
    """Zhang and Stephens' estimate from sorted values above a threshold of 0."""
    n = excess.size
    n_grid = 30 + int(np.sqrt(n))
    quarter = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))) / (
        3 * quarter
    )
    shape = np.log1p(-theta[:, None] * excess).mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = n * (np.log(-theta / shape) - shape - 1)
    profile = np.where(np.isfinite(profile), profile, -np.inf)
    weight = np.exp(profile - profile.max())
    best = float((theta * weight).sum() / weight.sum())
    k = float(np.log1p(-best * excess).mean())
    return (n * k + 5.0) / (n + 10.0)
