"""Importance sampling of a density in few dimensions, on quasi-random points."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy import special

from wavewise.errors import EstimationError
from wavewise.shared.results import FloatArray, IntArray, read_only

__all__ = [
    "Peak",
    "Proposal",
    "Weighted",
    "find_peak",
    "importance",
    "lattice",
    "pareto_k",
    "quasi_random",
    "split_t",
    "systematic",
]


# Quasi-random points: a rank-1 lattice, shifted at random.

# an embedded lattice for 2^10 to 2^20 points with equal weights (Cools, Kuo and Nuyens 2006), the
# first coordinates of the list that its authors give
_GENERATOR = np.array(
    [
        *(1, 182667, 469891, 498753, 110745, 446247, 250185, 118627, 245333, 283199),
        *(408519, 391023, 246327, 126539, 399185, 461527, 300343, 69681, 516695, 436179),
    ],
    dtype=np.int64,
)
_BITS = 20
_EDGE = 2.0**-40


def lattice(n_points: int, n_dims: int, rng: np.random.Generator) -> FloatArray:
    """Points in the open unit cube, each uniform, together even, (n_points, n_dims).

    Notes
    -----
    Point i is (v_i z + shift) mod 1, with v_i the radical inverse of i in base 2, so that any
    number of points is even; with a power of 2 they are the whole lattice. The first twenty
    dimensions lie on the lattice, further ones and points after 2^20 are independent draws.
    """
    out = rng.random((n_points, n_dims))
    on_lattice, n_even = min(n_dims, _GENERATOR.size), min(n_points, 1 << _BITS)
    shift = rng.random(on_lattice)
    fraction = _radical_inverse(n_even)[:, None] * _GENERATOR[:on_lattice] + shift
    out[:n_even, :on_lattice] = fraction - np.floor(fraction)
    return np.clip(out, _EDGE, 1 - _EDGE)


@lru_cache(maxsize=8)
def _radical_inverse(n: int) -> FloatArray:
    """Binary digits of 0 ... n - 1 mirrored at the point, (n,)."""
    out, index, weight = np.zeros(n), np.arange(n), 0.5
    while index.any():
        out += weight * (index & 1)
        index >>= 1
        weight /= 2
    return read_only(out)


# Peak and curvature of a log density in few dimensions, by damped Newton steps.

LogDensity = Callable[[FloatArray], FloatArray]
_STEP = 1e-3
_MOST_STEPS = 200
_TOLERANCE = 1e-6
_LONGEST = 1.5


@dataclass(frozen=True, eq=False)
class Peak:
    """Mode of a log density, its value there, and a root of the inverse curvature."""

    mode: FloatArray  # (n_dims,)
    log_density: float
    # (n_dims, n_dims): Lower triangle whose product with its transpose approximates the
    # covariance.
    root: FloatArray


def find_peak(log_density: LogDensity, start: FloatArray) -> Peak:
    """Mode of `log_density`, from `start`."""
    x, value = start, float(log_density(start[None, :])[0])
    for _ in range(_MOST_STEPS):
        gradient, curvature = _derivatives(log_density, x)
        step = _bounded(np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64))
        if float(gradient @ step) < _TOLERANCE:
            return Peak(x, value, np.linalg.cholesky(np.linalg.inv(curvature)))
        x, value = _search(log_density, x, value, step)
    raise EstimationError(
        f"standard deviations: found no peak of their posterior in {_MOST_STEPS} steps; needed "
        "scores that are not fitted exactly, or priors that bound every standard deviation"
    )


def _derivatives(log_density: LogDensity, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient, and minus the second derivatives made positive definite."""
    d = x.size
    units = np.eye(d) * _STEP
    pairs = [(i, j) for i in range(d) for j in range(i)]
    points = [x, *(x + units), *(x - units)]
    points += [x + units[i] + units[j] for i, j in pairs]
    points += [x - units[i] - units[j] for i, j in pairs]
    values = log_density(np.array(points))
    if not np.isfinite(values).all():
        raise EstimationError(
            "standard deviations: found a posterior that is not finite near its peak; needed "
            "scores that the arms and periods do not fit exactly, in moderate units"
        )
    centre, up, down = values[0], values[1 : 1 + d], values[1 + d : 1 + 2 * d]
    both_up, both_down = values[1 + 2 * d :].reshape(2, -1)
    hessian = np.diag((up - 2 * centre + down) / _STEP**2)
    for (i, j), plus, minus in zip(pairs, both_up, both_down, strict=True):
        cross = plus + minus - up[i] - down[i] - up[j] - down[j] + 2 * centre
        hessian[i, j] = hessian[j, i] = cross / (2 * _STEP**2)
    return (up - down) / (2 * _STEP), _positive(-hessian)


def _positive(matrix: FloatArray) -> FloatArray:
    """The matrix with its eigenvalues' sizes, none near 0."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(np.abs(values), 0.02)) @ vectors.T)


def _bounded(step: FloatArray) -> FloatArray:
    return step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))


def _search(
    log_density: LogDensity, x: FloatArray, value: float, step: FloatArray
) -> tuple[FloatArray, float]:
    """The longest of ever shorter steps that raises the density; x itself if none does."""
    points = x + step * 0.5 ** np.arange(30.0)[:, None]
    values = log_density(points)
    better = np.flatnonzero(values > value)
    if better.size == 0:
        return x, value
    return points[better[0]], float(values[better[0]])


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
    """Student t by axis, each with a scale below the centre and one above (Geweke 1989)."""

    centre: FloatArray  # (n_dims,)
    root: FloatArray  # (n_dims, n_dims): The columns are the axes.
    # below, above: (n_dims,): Scales along the axes.
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


def pareto_k(log_weights: FloatArray) -> float:
    """Shape of a generalized Pareto distribution fitted to the largest weights.

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


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weighted points and how good they are."""

    x: FloatArray  # (n_points, n_dims)
    weights: FloatArray  # (n_points,): Sum to 1.
    ess_share: float  # 1 / (n_points * sum of squared weights), in (0, 1].
    pareto_k: float  # Shape of the weights' upper tail; below 0.7 is good.
    n_broken: int  # Points at which the arithmetic broke down.

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
    """Points from the proposal, weighted to stand for the target."""
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
