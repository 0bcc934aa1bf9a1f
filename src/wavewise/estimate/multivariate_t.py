"""Distribution of the largest absolute value of a multivariate t, by quasi Monte Carlo."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtr, stdtrit

from wavewise.results import FloatArray

__all__ = ["MultivariateT"]

# quantiles of 12 correlated coordinates to about .001, in a few tenths of a second
_N_POINTS = 8191
_N_SHIFTS = 8
_SEED = 20_080_425

# a coordinate with less than this of its own variance follows from the others
_OWN_VARIANCE = 1e-10
# tail probabilities below this are not integrated
_RESOLVED = 1e-6


@dataclass(frozen=True, eq=False)
class MultivariateT:
    """Multivariate t with a correlation matrix, prepared for integration over cubes.

    Parameters
    ----------
    triangle : array of float, shape (n, n)
        Lower triangle with ``LL'`` the correlation, coordinates in the order of the pivots.
    df : float
        Degrees of freedom.
    points : array of float, shape (n_shifts, n_points, n)
        Points in the unit cube: one randomly shifted lattice a shift.
    scale : array of float, shape (n_shifts, n_points)
        Root of a chi-squared over its degrees of freedom at each point.

    Notes
    -----
    ``P(max_k |T_k| <= c) = E[P(|Z| <= c s)]`` with ``s^2`` a chi-squared over its degrees of
    freedom; the inner probability is a product of one-dimensional ones (separation of
    variables), averaged over a lattice of square roots of primes with the baker's transform. The
    spread over random shifts gives the error. The probability of a single coordinate, which is
    known, serves as a control variate. With one coordinate all is exact.

    References
    ----------
    Genz (1992); Genz and Bretz (2002), section 3.
    """

    triangle: FloatArray
    df: float
    points: FloatArray
    scale: FloatArray

    @classmethod
    def of(
        cls, corr: FloatArray, df: float, rng: np.random.Generator | None = None
    ) -> "MultivariateT":
        """Multivariate t of a correlation matrix, which may be singular.

        Parameters
        ----------
        corr : array of float, shape (n, n)
            Correlations.
        df : float
            Degrees of freedom, positive; infinity for the normal.
        rng : numpy.random.Generator, optional
            Shifts of the lattice; a fixed seed by default.
        """
        n = corr.shape[0]
        shifts = (rng or np.random.default_rng(_SEED)).random((_N_SHIFTS, 1, n + 1))
        points = _lattice(_N_POINTS, n + 1, shifts)
        return cls(_pivoted_cholesky(corr), df, points[..., :n], _chi_scale(points[..., n], df))

    def max_abs_cdf(self, bound: float) -> FloatArray:
        """``P(max_k |T_k| <= bound)``, one estimate a shift, shape (n_shifts,)."""
        if self.triangle.shape[0] == 1:
            return np.full(self.points.shape[0], 1 - 2 * stdtr(self.df, -bound))
        limit = bound * self.scale
        single = 2 * ndtr(limit) - 1
        inside = np.ones_like(limit)
        normal = np.zeros((*limit.shape, self.triangle.shape[0]))
        for k, own in enumerate(np.diag(self.triangle)):
            centre = normal[..., :k] @ self.triangle[k, :k]
            if own == 0:
                inside *= np.abs(centre) <= limit * (1 + 1e-9)
                continue
            low, high = ndtr((-limit - centre) / own), ndtr((limit - centre) / own)
            inside *= high - low
            normal[..., k] = ndtri(np.clip(low + self.points[..., k] * (high - low), 1e-300, None))
            np.clip(normal[..., k], -40, 40, out=normal[..., k])
        return _controlled(inside, single, float(1 - 2 * stdtr(self.df, -bound)))

    def max_abs_quantile(self, prob: float) -> float:
        """The bound that all absolute values stay within with the given probability."""
        alpha = 1 - prob
        low = float(stdtrit(self.df, 1 - alpha / 2))
        high = float(stdtrit(self.df, 1 - alpha / (2 * self.triangle.shape[0])))
        if high - low < 1e-12:
            return low
        return increasing_root(
            lambda bound: float(self.max_abs_cdf(bound).mean()) - prob, low, high
        )

    def max_abs_tail(self, values: FloatArray) -> FloatArray:
        """``P(max_k |T_k| >= value)``, held between a single test's p value and Bonferroni's.

        Where Bonferroni's is below 1e-6, under what the integration resolves, it is given itself.
        """
        single = 2 * stdtr(self.df, -values)
        tail: FloatArray = np.minimum(1, self.triangle.shape[0] * single)
        for k in np.flatnonzero(tail > _RESOLVED):
            joint = 1 - self.max_abs_cdf(float(values[k])).mean()
            tail[k] = np.clip(joint, single[k], tail[k])
        return tail

    def accuracy(self, bound: float) -> float:
        """Three standard errors of the probability of staying within the bound."""
        estimates = self.max_abs_cdf(bound)
        return float(3 * estimates.std(ddof=1) / np.sqrt(estimates.size))


def _chi_scale(points: FloatArray, df: float) -> FloatArray:
    if np.isinf(df):
        return np.ones_like(points)
    scale: FloatArray = np.sqrt(2 * gammaincinv(df / 2, points) / df)
    return scale


def _controlled(values: FloatArray, control: FloatArray, mean: float) -> FloatArray:
    """Mean by shift, corrected by a control variate whose mean is known exactly."""
    centred = control - control.mean()
    variance = float((centred**2).mean())
    slope = float((values * centred).mean()) / variance if variance > 1e-20 else 0.0
    means: FloatArray = values.mean(axis=1) - slope * (control.mean(axis=1) - mean)
    return means


def _pivoted_cholesky(corr: FloatArray) -> FloatArray:
    """Lower triangle of the correlation, largest remaining variance first; zeros where singular."""
    n = corr.shape[0]
    rest = corr.astype(np.float64).copy()
    order = np.arange(n)
    triangle = np.zeros((n, n))
    for k in range(n):
        pivot = k + int(np.argmax(np.diag(rest)[k:]))
        for matrix in (rest, rest.T, triangle):
            matrix[[k, pivot]] = matrix[[pivot, k]]
        order[[k, pivot]] = order[[pivot, k]]
        if rest[k, k] < _OWN_VARIANCE:
            break
        triangle[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        rest[k:, k:] -= np.outer(triangle[k:, k], triangle[k:, k])
    return triangle


def _lattice(n_points: int, dim: int, shifts: FloatArray) -> FloatArray:
    """Shifted and folded lattices, shape (n_shifts, n_points, dim).

    Steps are square roots of primes, and ``1 / n_points`` in the last coordinate, which the
    degrees of freedom use: it is then spread evenly by itself.
    """
    step = np.append(np.sqrt(primes(dim - 1)), 1 / n_points)
    points: FloatArray = np.abs(
        2 * ((np.arange(1, n_points + 1)[:, None] * step + shifts) % 1.0) - 1
    )
    return np.clip(points, 1e-12, 1 - 1e-12)


def primes(n: int) -> FloatArray:
    found: list[int] = []
    candidate = 2
    while len(found) < n:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return np.array(found, dtype=np.float64)


def increasing_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root of an increasing function by false position with the Illinois rule."""
    f_low, f_high = function(low), function(high)
    if f_low >= 0:
        return low
    if f_high <= 0:
        return high
    side = 0
    for _ in range(60):
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        value = function(middle)
        if abs(value) < 1e-8 or high - low < 1e-10:
            return middle
        if value < 0:
            low, f_low, f_high = middle, value, f_high / 2 if side == -1 else f_high
            side = -1
        else:
            high, f_high, f_low = middle, value, f_low / 2 if side == 1 else f_low
            side = 1
    return (low + high) / 2
