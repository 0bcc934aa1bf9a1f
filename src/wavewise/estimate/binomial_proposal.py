"""Proposal: log kappa by its own density, beta given kappa nearly normal, shapes corrected."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from wavewise.estimate.binomial_exp import compiled, inlined
from wavewise.estimate.binomial_profile import Profile
from wavewise.estimate.binomial_warp import Warps, identity, warp_at, warp_of
from wavewise.results import FloatArray

__all__ = ["Proposal", "proposal_of"]

_N_FINE = 400
# skewness of an arm's beta beyond which its own shape is computed
_SKEW = 0.2
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Distribution of (beta, log kappa) near the posterior, that can be drawn from.

    Parameters
    ----------
    profile : Profile
    places, log_density, upto : (n_fine,) array of float
        Log kappa, the log of its density (piecewise linear between the places), the probability
        up to each.
    warps : Warps
    """

    profile: Profile
    places: FloatArray
    density: FloatArray
    upto: FloatArray
    warps: Warps

    def points(self, uniforms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and their log density.

        Parameters
        ----------
        uniforms : (n_points, n_arms + 1) array of float
            In (0, 1); the last column is kappa's.

        Returns
        -------
        points : (n_points, n_arms + 1) array of float
        log_density : (n_points,) array of float
        """
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
    """Proposal from a profile.

    Parameters
    ----------
    profile : Profile
    trials : (n_arms,) array of float
        All trials of each arm.
    log_posterior : callable
        Of points, (n_points, n_arms + 1).
    """
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
