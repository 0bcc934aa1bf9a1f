"""Beta distributions on the logit scale, exact far into both tails.

With ``t = log(theta / (1 - theta))`` the density of Beta(a, b) becomes::

    f(t) = x^a (1 - x)^b / B(a, b),   x = 1 / (1 + exp(-t)),

which has no singular ends whatever a and b are, is log-concave in t, and so has log-concave
distribution and survival functions. Its mode is log(a / b).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.results import FloatArray, IntArray

__all__ = ["EDGE_LEVELS", "TURN_LOGITS", "LogitBetas"]

Arms = npt.NDArray[np.intp] | IntArray

# Levels z of the panel edges: where log f has fallen by z^2 / 2. Beyond 9 lie about 1e-19.
EDGE_LEVELS = np.array([-9.0, -6.75, -4.5, -2.25, 0.0, 2.25, 4.5, 6.75, 9.0])

# However wide a density (1 / a logits to the left), it turns within this distance of its mode.
TURN_LOGITS = 12.0

_FAR_TAIL = 1e-80  # the incomplete beta function loses all digits near 1e-240
_HIGH_LOGIT = 5.0
_FAR_LOGIT = 690.0  # beyond this exp(-|t|) is near the smallest double
_LAGUERRE_NODES, _LAGUERRE_WEIGHTS = np.polynomial.laguerre.laggauss(20)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def _stirling_error(z: FloatArray) -> FloatArray:
    """Gap of log Gamma(z) from Stirling's (z - 1/2) log z - z + log(2 pi) / 2."""
    small = np.minimum(z, 16.0)
    exact = special.gammaln(small + 1) - (small + 0.5) * np.log(small) + small
    large = np.maximum(z, 16.0)
    series = np.polynomial.polynomial.polyval(large**-2.0, _STIRLING) / large
    return np.asarray(np.where(z < 16.0, exact - 0.5 * np.log(2 * np.pi), series))


@dataclass(frozen=True)
class LogitBetas:
    """Independent beta distributions on the logit scale.

    Parameters
    ----------
    a, b : (n_arms,) array of float
        Parameters, above 0.

    Notes
    -----
    Each method takes points ``t`` and arm indices ``arm`` that broadcast against each other, and
    returns an array of their common shape. No method subtracts large logarithms: the density is
    computed from its peak by the deviance, so that it keeps 1e-11 at a + b = 1e8 where
    ``a log x + b log(1 - x) - log B(a, b)`` keeps 1e-8.

    References
    ----------
    Loader (2000), *Fast and Accurate Computation of Binomial Probabilities* (deviance form).
    """

    a: FloatArray
    b: FloatArray

    @cached_property
    def total(self) -> FloatArray:
        """Sum of both parameters, (n_arms,)."""
        return self.a + self.b

    @cached_property
    def mode(self) -> FloatArray:
        """Logit at which the density on the logit scale is highest, log(a / b)."""
        return np.asarray(np.log(self.a) - np.log(self.b))

    @cached_property
    def _smaller_mean(self) -> FloatArray:
        return np.asarray(np.minimum(self.a, self.b) / self.total)

    @cached_property
    def _sign(self) -> FloatArray:
        # reflected to a mean of at most 1/2, where m d and log(1 + m(e^d - 1)) stay small
        return np.where(self.a <= self.b, 1.0, -1.0)

    @cached_property
    def _log_peak(self) -> FloatArray:
        error = _stirling_error(self.total) - _stirling_error(self.a) - _stirling_error(self.b)
        return np.asarray(0.5 * np.log(self.a / (2 * np.pi) * (self.b / self.total)) + error)

    def _deviance(self, d: FloatArray, arm: Arms) -> FloatArray:
        mean = self._smaller_mean[arm]
        bounded = np.minimum(d, 700.0)  # beyond, the logarithm is linear in d
        rise = np.log1p(mean * np.expm1(bounded)) + (d - bounded)
        return np.asarray(self.total[arm] * (rise - mean * d))

    def log_density(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log density on the logit scale."""
        d = self._sign[arm] * (t - self.mode[arm])
        return np.asarray(self._log_peak[arm] - self._deviance(d, arm))

    def slope(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Derivative of the log density, a - (a + b) x."""
        return np.asarray(
            self.a[arm] * special.expit(-t) - self.b[arm] * special.expit(np.asarray(t))
        )

    def curvature(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Second derivative of the log density, -(a + b) x (1 - x)."""
        return np.asarray(-self.total[arm] * special.expit(-t) * special.expit(np.asarray(t)))

    def log_cdf(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log of the distribution function."""
        below, log_tail = self._log_tail(t, arm)
        return np.where(below, log_tail, _log1m_exp(log_tail))

    def log_sf(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log of the survival function."""
        below, log_tail = self._log_tail(t, arm)
        return np.where(below, _log1m_exp(log_tail), log_tail)

    def _log_tail(self, t: FloatArray, arm: Arms) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        """Whether t lies below the mode, and the log probability of the tail on that side."""
        t, arm = np.broadcast_arrays(t, arm)
        below = t < self.mode[arm]
        tail = self._tail(t, arm, below)
        far = (tail < _FAR_TAIL) | (np.abs(t) > _FAR_LOGIT)
        log_tail = np.log(np.where(far, 1.0, tail))
        if far.any():
            log_tail[far] = self._log_far_tail(t[far], arm[far], below[far])
        return below, log_tail

    def _tail(self, t: FloatArray, arm: Arms, below: npt.NDArray[np.bool_]) -> FloatArray:
        a, b = self.a[arm], self.b[arm]
        first, second = np.where(below, a, b), np.where(below, b, a)
        outward = np.where(below, t, -t)
        tail = np.asarray(special.betainc(first, second, special.expit(outward)))
        # where the argument rounds too near to 1: by its complement (five times slower)
        high = outward > _HIGH_LOGIT
        if high.any():
            small = special.expit(-outward[high])
            tail[high] = special.betaincc(second[high], first[high], small)
        return tail

    def _log_far_tail(self, t: FloatArray, arm: Arms, below: npt.NDArray[np.bool_]) -> FloatArray:
        """Log tail from the density and the integral of its decay beyond t.

        F(t) = f(t) int_0^inf exp(l(t - s) - l(t)) ds, where the exponent is exactly
        -a s - (a + b) log(1 + x (exp(-s) - 1)) and nearly -s l'(t): Laguerre's rule.
        """
        outward = np.where(below, t, -t)
        shape = np.where(below, self.a[arm], self.b[arm])
        x = special.expit(outward)
        rate = np.abs(self.slope(t, arm))
        s = _LAGUERRE_NODES / rate[..., None]
        decay = -shape[..., None] * s - self.total[arm][..., None] * np.log1p(
            x[..., None] * np.expm1(-s)
        )
        ratio = (np.exp(decay + _LAGUERRE_NODES) @ _LAGUERRE_WEIGHTS) / rate
        return np.asarray(self.log_density(t, arm) + np.log(ratio))

    @cached_property
    def edges(self) -> FloatArray:
        """Logits at which the log density has fallen by z^2 / 2, (n_arms, n_levels)."""
        z = EDGE_LEVELS * self._sign[:, None]
        arm = np.arange(self.a.size)[:, None]
        mean, total = self._smaller_mean[:, None], self.total[:, None]
        drop = 0.5 * z**2
        rate = total * np.where(z < 0, mean, 1 - mean)
        d = z / np.sqrt(total * mean * (1 - mean)) + np.sign(z) * drop / rate
        fold = drop / (total * mean)  # upwards the deviance first grows like a(e^d - 1 - d)
        d = np.minimum(d, np.log1p(2 * fold + np.sqrt(8 * fold)))
        logit_mean = np.log(mean) - np.log1p(-mean)
        for _ in range(8):  # Newton's method on a convex function
            x = special.expit(logit_mean + d)
            gap = self._deviance(d, arm) - drop
            d = d - np.divide(gap, total * (x - mean), out=np.zeros_like(d), where=z != 0)
        return np.asarray(self.mode[:, None] + self._sign[:, None] * d)


def _log1m_exp(log_p: FloatArray) -> FloatArray:
    """log(1 - exp(log_p)) for log_p <= 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(
            np.where(
                log_p > -0.7,
                np.log(-np.expm1(np.minimum(log_p, 0.0))),
                np.log1p(-np.exp(log_p)),
            )
        )
