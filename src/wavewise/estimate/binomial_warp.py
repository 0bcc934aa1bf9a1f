"""Shapes of the arms' posteriors: normal scores to standard deviations from the mode."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from wavewise.estimate.binomial_exp import compiled
from wavewise.results import FloatArray

__all__ = ["LIMIT", "N_KNOTS", "Warps", "identity", "warp_at", "warp_of"]

LIMIT, N_KNOTS = 6.0, 97
_SCORES = np.linspace(-LIMIT, LIMIT, N_KNOTS)
_DROP = 22.0  # the slice ends where its log density is this much below its peak
_N_SLICE, _N_FINE = 41, 2001


@dataclass(frozen=True, eq=False)
class Warps:
    """Monotone maps T of normal scores, one an arm, by values and slopes at even knots.

    Parameters
    ----------
    values, slopes : (n_arms, N_KNOTS) array of float
        T and its derivative at the knots; cubic between them, straight beyond.
    plain : (n_arms,) array of bool
        The arm's T is the identity.
    """

    values: FloatArray
    slopes: FloatArray
    plain: np.ndarray


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

    Parameters
    ----------
    log_density : callable
        Log density up to a constant at positions in standard deviations from the mode.

    Notes
    -----
    T(v) is the quantile at ndtr(v), so that T of a standard normal has the density; T' is
    phi(v) / density(T(v)).
    """
    low, high = _end(log_density, -1.0), _end(log_density, 1.0)
    places = _spread(low, high, _N_SLICE)
    fine = _spread(low, high, _N_FINE)
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
        if height < top - _DROP:
            return sign * reach
        top, reach = max(top, height), 1.6 * reach
    return sign * reach


def _spread(low: float, high: float, n: int) -> FloatArray:
    """Places from low to high, denser around 0."""
    ends = np.arcsinh(np.array([low, high]) / 2)
    return 2 * np.sinh(np.linspace(ends[0], ends[1], n))


def _cubic(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    from scipy.interpolate import CubicSpline  # noqa: PLC0415 - for few fits

    return np.asarray(CubicSpline(np.arcsinh(x / 2), y)(np.arcsinh(at / 2)))


def _monotone(values: FloatArray, slopes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slopes cut to at most three times either neighbouring secant: the cubics then rise."""
    values = np.maximum.accumulate(values + 1e-12 * np.arange(values.size))
    secant = np.diff(values) / np.diff(_SCORES)
    least = np.minimum(np.append(secant, secant[-1]), np.append(secant[0], secant))
    return values, np.clip(slopes, 1e-9, 3 * least)
