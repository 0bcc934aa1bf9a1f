"""Posterior of the difference of two independent beta variables, by quadrature."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import special

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.bayes.beta_best import TURN_LOGITS, LogitBetas, best_of
from wavewise.estimate.numerics.quadrature import integrate
from wavewise.shared.results import FloatArray, Result, read_only

__all__ = ["BetaContrast", "beta_contrast"]

_RELATIVE = 1e-8
_HALVINGS = 48


@dataclass(frozen=True, eq=False)
class BetaContrast(Result, kind="beta contrast"):
    """Posterior of theta_arm - theta_against."""

    # arm, against: Names of the two arms.
    arm: str
    against: str
    # mean, sd: Posterior mean and standard deviation of the difference.
    mean: float
    sd: float
    log_prob_greater: float  # Log of P(theta_arm > theta_against).
    # a, b: (2,): Parameters of the two betas, `arm` first.
    a: FloatArray
    b: FloatArray

    @property
    def prob_greater(self) -> float:
        """Posterior probability that `arm` is better than `against`."""
        return float(np.exp(self.log_prob_greater))

    def cdf(self, difference: float) -> float:
        """Posterior probability that the difference is at most `difference`.

        Notes
        -----
        P(theta_1 - theta_2 <= d) = int f_2(y) F_1(y + d) dy, to about 1e-9.
        """
        if abs(difference) >= 1:
            return float(difference > 0)
        if difference == 0:  # a difference of logits, so also right where theta underflows
            return float(np.exp(best_of(self.a, self.b).log_prob[1]))
        betas = LogitBetas(self.a, self.b)
        total = integrate(
            lambda t: _cdf_integrand(betas, difference, t),
            _difference_edges(betas, difference),
            _RELATIVE,
            np.ones(1),
        )
        return float(np.clip(total[0], 0.0, 1.0))

    def cred_int(self, prob: float = 0.95) -> FloatArray:
        """Equal-tailed credible interval of the difference, (2,): lower, upper."""
        tail = 0.5 * (1 - checked_prob(prob))
        return read_only([self._quantile(tail), self._quantile(1 - tail)])

    def _quantile(self, prob: float) -> float:
        # Cantelli's inequality brackets every quantile
        low = max(self.mean - self.sd * np.sqrt((1 - prob) / prob), -1.0)
        high = min(self.mean + self.sd * np.sqrt(prob / (1 - prob)), 1.0)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if self.cdf(middle) < prob:
                low = middle
            else:
                high = middle
        return float(0.5 * (low + high))

    def _facts(self) -> dict[str, Any]:
        lower, upper = self.cred_int()
        return {
            "arm": self.arm,
            "against": self.against,
            "mean": self.mean,
            "sd": self.sd,
            "prob_greater": self.prob_greater,
            "log_prob_greater": self.log_prob_greater,
            "cred_int": {"prob": 0.95, "kind": "equal-tailed", "lower": lower, "upper": upper},
        }

    def summary(self) -> str:
        """The contrast as one sentence."""
        lower, upper = self.cred_int().tolist()
        return (
            f"{self.arm} minus {self.against}: {self.mean:+.4f} (95% credible interval "
            f"{lower:+.4f} to {upper:+.4f}); probability that {self.arm} is better: "
            f"{self.prob_greater:.4g}"
        )


def beta_contrast(names: tuple[str, str], a: FloatArray, b: FloatArray) -> BetaContrast:
    """Posterior of theta_1 - theta_2 for independent Beta(a_1, b_1) and Beta(a_2, b_2).

    Examples
    --------
    >>> c = beta_contrast(("new", "old"), np.array([2.0, 1.0]), np.array([1.0, 1.0]))
    >>> round(c.mean, 6), round(c.prob_greater, 6), round(c.cdf(0.0), 6)
    (0.166667, 0.666667, 0.333333)
    """
    total = a + b
    mean = (a[0] * b[1] - a[1] * b[0]) / (total[0] * total[1])
    variance = a / total * (b / total) / (total + 1)
    log_prob = best_of(a, b).log_prob[0]
    return BetaContrast(
        arm=names[0],
        against=names[1],
        mean=float(mean),
        sd=float(np.sqrt(variance.sum())),
        log_prob_greater=float(log_prob),
        a=read_only(a),
        b=read_only(b),
    )


def _cdf_integrand(betas: LogitBetas, difference: float, t: FloatArray) -> FloatArray:
    """f_2(t) F_1(x(t) + difference), (n_points, 1)."""
    first, second = np.array(0), np.array(1)
    shifted = special.expit(t) + difference
    inside = (shifted > 0) & (shifted < 1)
    rest = np.where(inside, special.expit(-t) - difference, 0.5)
    with np.errstate(divide="ignore"):
        logit = np.log(np.where(inside, shifted, 0.5)) - np.log(np.maximum(rest, 0.0))
    log_F = np.where(inside, betas.log_cdf(np.minimum(logit, 800.0), first), 0.0)
    below = np.where(shifted > 0, np.exp(log_F), 0.0)
    return np.asarray((np.exp(betas.log_density(t, second)) * below)[:, None])


def _difference_edges(betas: LogitBetas, difference: float) -> FloatArray:
    """Edges of the second beta, and those of the first shifted by the difference."""
    own = _edges(betas, 1)
    shifted = special.expit(_edges(betas, 0)) - difference
    kinks = np.concatenate([shifted, [-difference, 1 - difference]])
    kinks = kinks[(kinks > 0) & (kinks < 1)]
    logits = np.log(kinks) - np.log1p(-kinks)
    return np.unique(np.concatenate([own, logits[(logits > own.min()) & (logits < own.max())]]))


def _edges(betas: LogitBetas, arm: int) -> FloatArray:
    """Levels of one beta, and points ever further from its mode for a very wide one."""
    levels = betas.edges[arm]
    away = TURN_LOGITS * 2.0 ** np.arange(14)
    turns = betas.mode[arm] + np.concatenate([-away[::-1], away])
    inside = (turns > levels[0]) & (turns < levels[-1])
    return np.concatenate([levels, turns[inside]])


# Credible intervals of beta posteriors: equal-tailed and highest density.

KINDS: Final = ("hpd", "equal-tailed")
_BETA_HALVINGS: Final = 60


def checked_prob(prob: float) -> float:
    """Probability of an interval, above 0 and below 1."""
    if not 0 < prob < 1:
        raise InputError(f"prob: found {prob}; needed a probability between 0 and 1, such as 0.95")
    return float(prob)


def equal_tailed(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    """Interval with (1 - prob) / 2 below and above, (n_arms, 2).

    Examples
    --------
    >>> equal_tailed(np.array([1.0]), np.array([1.0]), 0.9).round(3).tolist()
    [[0.05, 0.95]]
    """
    tail = 0.5 * (1 - prob)
    return np.column_stack([special.betaincinv(a, b, tail), special.betainccinv(a, b, tail)])


def two_peaked(a: FloatArray, b: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Arms whose density rises to both ends (a < 1 and b < 1): the densest set is no interval."""
    return np.asarray((a < 1) & (b < 1))


def highest_density(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    """Shortest interval with probability prob, all of it denser than the rest, (n_arms, 2).

    Notes
    -----
    With one inner peak (a > 1, b > 1) the ends l < h solve F(h) - F(l) = prob and f(l) = f(h): a
    bisection in u = F(l), as log f(h) - log f(l) falls in u. A density that falls (rises) all the
    way gives an interval from 0 (to 1). The flat density has no shortest interval; its equal-tailed
    one is given.

    Examples
    --------
    >>> highest_density(np.array([1.0]), np.array([3.0]), 0.95).round(4).tolist()
    [[0.0, 0.6316]]
    """
    if two_peaked(a, b).any():
        raise EstimationError(
            f"highest-density interval: {int(two_peaked(a, b).sum())} of {a.size} arms have a "
            "posterior that rises to both ends (prior below 1 and next to no data), so that the "
            'densest set is two intervals; ask for kind="equal-tailed"'
        )
    u = _lower_tail(a, b, prob)
    lower = special.betaincinv(a, b, u)
    upper = special.betainccinv(a, b, np.maximum(1 - prob - u, 0.0))
    return np.column_stack([lower, upper])


def _lower_tail(a: FloatArray, b: FloatArray, prob: float) -> FloatArray:
    rest = 1 - prob
    falls, rises = (a <= 1) & (b >= 1), (a >= 1) & (b <= 1)
    u = np.select([falls & rises, falls, rises], [0.5 * rest, 0.0, rest])
    inner = (a > 1) & (b > 1)
    u[inner] = _balanced_tail(a[inner], b[inner], rest)
    return u


def _balanced_tail(a: FloatArray, b: FloatArray, rest: float) -> FloatArray:
    """F(l) at which the densities at both ends are equal, by bisection."""
    low, high = np.zeros(a.size), np.full(a.size, rest)
    for _ in range(_BETA_HALVINGS):
        u = 0.5 * (low + high)
        ends = special.betaincinv(a, b, u), special.betainccinv(a, b, rest - u)
        rising = _log_density(ends[1], a, b) > _log_density(ends[0], a, b)
        low, high = np.where(rising, u, low), np.where(rising, high, u)
    return np.asarray(0.5 * (low + high))


def _log_density(x: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x))
