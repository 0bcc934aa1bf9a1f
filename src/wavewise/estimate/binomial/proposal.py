"""Proposal: log kappa by its own density, beta given kappa nearly normal, shapes corrected."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from wavewise.errors import EstimationError
from wavewise.estimate.binomial.data import Counts
from wavewise.estimate.binomial.likelihood import compiled, inlined
from wavewise.estimate.binomial.posterior import (
    REACH,
    LogPosterior,
    Problem,
    Scratch,
    empty_scratch,
    slopes_at,
)
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.estimate.numerics.importance import lattice
from wavewise.shared.results import FloatArray

__all__ = ["profile", "proposal_of", "proposed_points", "warp_at", "warp_of"]


# Mode of the log posterior: Newton steps in all parameters, or in beta at a given kappa.

_N_STEPS, _N_HALVINGS = 60, 30
_LONGEST = 2.0  # in any coordinate of one step


@dataclass(frozen=True, eq=False)
class Peak:
    """Mode of the log posterior, in all coordinates or in beta."""

    point: FloatArray  # (n_arms + 1,): The mode: one Newton step beyond the point of the slopes.
    # Log posterior there: better by half the last step's gain than where the slopes are.
    value: float
    slopes: Scratch
    # (n_free, n_free): Of minus the Hessian in the coordinates that were free.
    inverse: FloatArray
    half_log_det: float  # Half the log determinant of `inverse`.


@inlined
def _invert_negative(hess: FloatArray, n: int, inverse: FloatArray) -> float:
    """Inverse of minus the first n rows and columns of a Hessian; half its log determinant.

    Where the log posterior is not concave, the diagonal of the Hessian is lowered until it is.
    """
    root, column = np.empty((n, n)), np.empty(n)
    largest = 1e-6
    for i in range(n):
        largest = max(largest, abs(hess[i, i]))
    ridge = 1e-6 * largest
    while not _factored(hess, n, root):
        for i in range(n):
            hess[i, i] -= ridge
        ridge *= 10
    half_log_det = 0.0
    for c in range(n):
        half_log_det -= math.log(root[c, c])
        for i in range(c, n):  # root x = e_c
            total = 1.0 if i == c else 0.0
            for m in range(c, i):
                total -= root[i, m] * column[m]
            column[i] = total / root[i, i]
        for i in range(n - 1, c - 1, -1):  # root' y = x, of which only rows from c on are kept
            total = column[i]
            for m in range(i + 1, n):
                total -= root[m, i] * inverse[m, c]
            inverse[i, c] = total / root[i, i]
        for i in range(c, n):
            inverse[c, i] = inverse[i, c]
    return half_log_det


@inlined
def _factored(hess: FloatArray, n: int, root: FloatArray) -> bool:
    """Whether minus the Hessian has a Cholesky root, which is written out."""
    for i in range(n):
        for j in range(i + 1):
            total = -hess[i, j]
            for m in range(j):
                total -= root[i, m] * root[j, m]
            if i != j:
                root[i, j] = total / root[j, j]
            elif total > 0.0:
                root[i, i] = math.sqrt(total)
            else:
                return False
    return True


@compiled
def _newton_step(
    grad: FloatArray, hess: FloatArray, step: FloatArray, inverse: FloatArray
) -> tuple[float, float]:
    """Step in the first coordinates, no longer than a bound.

    Fills `inverse`, of minus the Hessian in these coordinates. Returns half the whole step's gain
    and half the log determinant of the inverse.
    """
    n_free = len(inverse)
    half_log_det = _invert_negative(hess, n_free, inverse)
    gain, longest = 0.0, 1e-300
    for i in range(step.size):
        step[i] = 0.0
    for i in range(n_free):
        for j in range(n_free):
            step[i] += inverse[i, j] * grad[j]
        gain += 0.5 * grad[i] * step[i]
        longest = max(longest, abs(step[i]))
    part = min(1.0, _LONGEST / longest)
    for i in range(n_free):
        step[i] *= part
    return gain, half_log_det


def climb(problem: Problem, point: FloatArray, n_free: int, enough: float) -> Peak:
    """Mode in the first `n_free` coordinates by Newton steps, shortened until they gain.

    Ends when half a step's gain is below `enough`.
    """
    current, trial = empty_scratch(problem), None
    value, step = slopes_at(problem, point, current), np.empty(point.size)
    inverse = np.empty((n_free, n_free))
    for _ in range(_N_STEPS):
        gain, half_log_det = _newton_step(current.grad, current.hess, step, inverse)
        if gain < enough:
            return Peak(point + step, value + gain, current, inverse, half_log_det)
        trial = trial or empty_scratch(problem)
        for _ in range(_N_HALVINGS):
            found = slopes_at(problem, point + step, trial)
            if math.isfinite(found) and found >= value - 1e-9 * abs(value):
                break
            step *= 0.5
        else:
            raise EstimationError(
                "hierarchical binomial model: found no step that raises the posterior; needed one; "
                "the counts may be too large for the quadrature"
            )
        point, value, current, trial = point + step, found, trial, current
    raise EstimationError(
        f"hierarchical binomial model: found no mode in {_N_STEPS} Newton steps; needed one; look "
        "for arms with almost no successes or failures, or give a proper prior on beta"
    )


# Posterior of beta given kappa, along a grid of log kappa: what the proposal is made of.

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
    """Normal approximations of beta given log kappa, on an even grid of log kappa."""

    log_kappa: FloatArray  # (n_grid,)
    # (n_grid,): Of log kappa, beta integrated out by Laplace's rule; its largest value is 0.
    log_density: FloatArray
    mean: FloatArray  # (n_grid, n_arms): Mode of beta given kappa.
    # (n_grid, n_arms, n_arms): Lower triangle with root root' the covariance of beta given kappa.
    root: FloatArray
    # (n_arms,): Variance of each arm's beta given the other arms, at the peak.
    own_variance: FloatArray
    # With nodes that reach as far as the clusters' effects do anywhere on the grid.
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


# Shapes of the arms' posteriors: normal scores to standard deviations from the mode.

LIMIT, N_KNOTS = 6.0, 97
_SCORES = np.linspace(-LIMIT, LIMIT, N_KNOTS)
_SLICE_DROP = 22.0  # the slice ends where its log density is this much below its peak
_N_SLICE, _N_SLICE_FINE = 41, 2001


@dataclass(frozen=True, eq=False)
class Warps:
    """Monotone maps T of normal scores, one per arm, by values and slopes at even knots."""

    # values, slopes: (n_arms, N_KNOTS): T and its derivative at the knots; cubic between them,
    # straight beyond.
    values: FloatArray
    slopes: FloatArray
    plain: np.ndarray  # (n_arms,): The arm's T is the identity.


@lru_cache(maxsize=8)
def identity(n_arms: int) -> Warps:
    """Maps that change nothing; they are shared, so copy before writing."""
    return Warps(
        np.tile(_SCORES, (n_arms, 1)), np.ones((n_arms, N_KNOTS)), np.ones(n_arms, dtype=bool)
    )


@compiled
def warp_at(values: FloatArray, slopes: FloatArray, score: float) -> tuple[float, float]:
    """T and its derivative at one score."""
    width = 2 * LIMIT / (N_KNOTS - 1)
    if score <= -LIMIT:
        return values[0] + slopes[0] * (score + LIMIT), slopes[0]
    if score >= LIMIT:
        return values[-1] + slopes[-1] * (score - LIMIT), slopes[-1]
    place = (score + LIMIT) / width
    i = min(int(place), N_KNOTS - 2)
    t = place - i
    a, b = values[i], values[i + 1]
    c, d = slopes[i] * width, slopes[i + 1] * width
    rise = b - a
    square, cube = 3 * rise - 2 * c - d, c + d - 2 * rise
    value = a + t * (c + t * (square + t * cube))
    return value, (c + t * (2 * square + 3 * t * cube)) / width


def warp_of(log_density: Callable[[FloatArray], FloatArray]) -> tuple[FloatArray, FloatArray]:
    """T and its derivative at the knots for a density of one variable with one peak.

    Notes
    -----
    T(v) is the quantile at ndtr(v), so that T of a standard normal has the density; T' is
    phi(v) / density(T(v)).
    """
    low, high = _end(log_density, -1.0), _end(log_density, 1.0)
    places = _evenly_spaced(low, high, _N_SLICE)
    fine = _evenly_spaced(low, high, _N_SLICE_FINE)
    heights = _cubic(places, log_density(places), fine)
    density = np.exp(heights - heights.max())
    area = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(fine))])
    inside = np.clip(ndtr(_SCORES), 1e-15, 1.0) * area[-1]
    upper = ndtr(-_SCORES) * area[-1]
    left = np.interp(inside, area, fine)
    right = np.interp(-upper, area - area[-1], fine)
    values = np.where(_SCORES < 0, left, right)
    at = np.maximum(np.interp(values, fine, density) / area[-1], 1e-300)
    slopes = np.exp(-0.5 * _SCORES**2) / np.sqrt(2 * np.pi) / at
    return _monotone(values, slopes)


def _end(log_density: Callable[[FloatArray], FloatArray], sign: float) -> float:
    """Where the log density has dropped, by doubling."""
    reach = 4.0
    top = float(log_density(np.zeros(1))[0])
    for _ in range(30):
        height = float(log_density(np.array([sign * reach]))[0])
        if height < top - _SLICE_DROP:
            return sign * reach
        top, reach = max(top, height), 1.6 * reach
    return sign * reach


def _evenly_spaced(low: float, high: float, n: int) -> FloatArray:
    """Places from low to high, denser around 0."""
    ends = np.arcsinh(np.array([low, high]) / 2)
    return 2 * np.sinh(np.linspace(ends[0], ends[1], n))


def _cubic(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(np.arcsinh(x / 2), y)(np.arcsinh(at / 2)))


def _monotone(values: FloatArray, slopes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slopes cut to at most three times either neighbouring secant: the cubics then rise."""
    values = np.maximum.accumulate(values + 1e-12 * np.arange(values.size))
    secant = np.diff(values) / np.diff(_SCORES)
    least = np.minimum(np.append(secant, secant[-1]), np.append(secant[0], secant))
    return values, np.clip(slopes, 1e-9, 3 * least)


_N_FINE = 400
# skewness of an arm's beta beyond which its own shape is computed
_SKEW = 0.2
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Distribution of (beta, log kappa) near the posterior, that can be drawn from."""

    profile: Profile
    places: FloatArray
    density: FloatArray
    upto: FloatArray
    warps: Warps

    def points(self, uniforms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and their log density."""
        log_kappa, on_kappa = self._log_kappa(uniforms[:, -1])
        points, log_density = np.empty_like(uniforms), np.empty(uniforms.shape[0])
        p = self.profile
        _spread(
            ndtri(uniforms[:, :-1]),
            log_kappa,
            p.log_kappa[0],
            p.log_kappa[1] - p.log_kappa[0],
            p.mean,
            p.root,
            self.warps.values,
            self.warps.slopes,
            self.warps.plain,
            points,
            log_density,
        )
        return points, log_density + on_kappa

    def _log_kappa(self, uniforms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Quantiles of log kappa, and their log density: exact for the piecewise linear density."""
        i = np.clip(np.searchsorted(self.upto, uniforms, side="right") - 1, 0, _N_FINE - 2)
        width = self.places[1] - self.places[0]
        first, second = self.density[i], self.density[i + 1]
        area = uniforms - self.upto[i]
        slope = (second - first) / width
        moved = 2 * area / (first + np.sqrt(np.maximum(first**2 + 2 * slope * area, 0.0)))
        moved = np.minimum(moved, width)
        return self.places[i] + moved, np.log(first + slope * moved)


def proposal_of(
    profile: Profile, trials: FloatArray, log_posterior: Callable[[FloatArray], FloatArray]
) -> Proposal:
    """Proposal from a profile."""
    places = np.linspace(profile.log_kappa[0], profile.log_kappa[-1], _N_FINE)
    step = profile.log_kappa[1] - profile.log_kappa[0]
    heights = np.exp(_cubics(places, profile.log_kappa[0], step, profile.log_density))
    width = places[1] - places[0]
    upto = np.concatenate([[0.0], np.cumsum(0.5 * (heights[1:] + heights[:-1]) * width)])
    return Proposal(
        profile, places, heights / upto[-1], upto / upto[-1], _warps(profile, trials, log_posterior)
    )


def _warps(
    profile: Profile, trials: FloatArray, log_posterior: Callable[[FloatArray], FloatArray]
) -> Warps:
    """The shape of each arm's posterior where it is far from normal, along its own ridge."""
    warps = identity(trials.size)
    covariance = profile.root[profile.peak] @ profile.root[profile.peak].T
    sd = np.sqrt(np.diag(covariance))
    skewness = profile.own_variance**2 / sd**3 * _third(profile, trials)
    skewed = np.flatnonzero(np.abs(skewness) > _SKEW)
    if not skewed.size:
        return warps
    warps = Warps(warps.values.copy(), warps.slopes.copy(), warps.plain.copy())
    centre = np.append(profile.mean[profile.peak], profile.log_kappa[profile.peak])
    for k in skewed:
        ridge = np.append(covariance[:, k] / sd[k], 0.0)

        def along(t: FloatArray, ridge: FloatArray = ridge) -> FloatArray:
            return log_posterior(centre + t[:, None] * ridge)

        warps.values[k], warps.slopes[k] = warp_of(along)
        warps.plain[k] = False
    return warps


def _third(profile: Profile, trials: FloatArray) -> FloatArray:
    """Third derivative over the second of the arm's own log likelihood: 2 p - 1."""
    # the information n p (1 - p) that the arm has of its own gives p on the side of its mode
    rarer = np.minimum(1 / profile.own_variance / trials, 0.25)
    side = np.sign(profile.mean[profile.peak])
    return np.asarray(side * np.sqrt(1 - 4 * rarer))


@compiled
def _cubics(at: FloatArray, first: float, step: float, values: FloatArray) -> FloatArray:
    """Catmull-Rom interpolation of one column on an even grid."""
    out = np.empty(at.size)
    for i in range(at.size):
        j, a, b, c, d = _four(at[i], first, step, values.size)
        n = values.size
        out[i] = (
            a * values[max(j - 1, 0)]
            + b * values[j]
            + c * values[j + 1]
            + d * values[min(j + 2, n - 1)]
        )
    return out


@inlined
def _four(at: float, first: float, step: float, n: int) -> tuple[int, float, float, float, float]:
    """Weights of the four grid points around a place; at the ends the slope is one-sided."""
    place = (at - first) / step
    j = max(min(int(place), n - 2), 0)
    t = min(max(place - j, 0.0), 1.0)
    # Hermite weights of the two values and of their slopes
    h1, h3 = t * (1 - t) * (1 - t), t * t * (t - 1)
    h2 = t * t * (3 - 2 * t)
    h0 = 1 - h2
    a, b, c, d = 0.0, h0, h2, 0.0
    if j > 0:
        a, c = a - 0.5 * h1, c + 0.5 * h1
    else:
        b, c = b - h1, c + h1
    if j < n - 2:
        b, d = b - 0.5 * h3, d + 0.5 * h3
    else:
        b, c = b - h3, c + h3
    return j, a, b, c, d


@compiled
def _spread(
    scores: FloatArray,
    log_kappa: FloatArray,
    first: float,
    step: float,
    mean: FloatArray,
    root: FloatArray,
    values: FloatArray,
    slopes: FloatArray,
    plain: FloatArray,
    points: FloatArray,
    log_density: FloatArray,
) -> None:
    """beta_k = mean_k + sd_k T_k((root score)_k / sd_k), all at the point's kappa."""
    n_grid, n_arms = mean.shape
    center, triangle = np.empty(n_arms), np.empty((n_arms, n_arms))
    for i in range(log_kappa.size):
        j, a, b, c, d = _four(log_kappa[i], first, step, n_grid)
        before, after = max(j - 1, 0), min(j + 2, n_grid - 1)
        total, volume = 0.0, 1.0
        for k in range(n_arms):
            center[k] = (
                a * mean[before, k] + b * mean[j, k] + c * mean[j + 1, k] + d * mean[after, k]
            )
            for m in range(k + 1):
                triangle[k, m] = (
                    a * root[before, k, m]
                    + b * root[j, k, m]
                    + c * root[j + 1, k, m]
                    + d * root[after, k, m]
                )
            triangle[k, k] = max(triangle[k, k], 1e-3 * root[j, k, k])
        for k in range(n_arms):
            moved, variance = 0.0, 0.0
            for m in range(k + 1):
                moved += triangle[k, m] * scores[i, m]
                variance += triangle[k, m] * triangle[k, m]
            total -= 0.5 * scores[i, k] * scores[i, k] + _HALF_LOG_2PI
            volume *= triangle[k, k]
            if volume < 1e-150:  # many arms: one log for all of them would not do
                total -= math.log(volume)
                volume = 1.0
            if not plain[k]:
                sd = math.sqrt(variance)
                value, slope = warp_at(values[k], slopes[k], moved / sd)
                moved = sd * value
                total -= math.log(slope)
            points[i, k] = center[k] + moved
        points[i, n_arms] = log_kappa[i]
        log_density[i] = total - math.log(volume)


_N_REFERENCE, _REFERENCE_SEED = 16384, 20261201


def proposed_points(counts: Counts, prior: BinomialPrior) -> FloatArray:
    """Points of the proposal alone, which need no likelihood, (n_reference, n_arms + 1)."""
    found = profile(counts, prior)
    proposal = proposal_of(found, counts.arm_trials, found.posterior.values)
    rng = np.random.default_rng(_REFERENCE_SEED)
    points, _ = proposal.points(lattice(_N_REFERENCE, counts.n_arms + 1, rng))
    return np.asarray(points)
