"""Posterior of the difference of two independent beta variables, by quadrature."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from wavewise.estimate.intervals_beta import checked_prob
from wavewise.estimate.quadrature import integrate
from wavewise.estimate.quadrature_best import best_of
from wavewise.estimate.quadrature_beta import TURN_LOGITS, LogitBetas
from wavewise.results import FloatArray, read_only

__all__ = ["BetaContrast", "beta_contrast"]

_RELATIVE = 1e-8
_HALVINGS = 48


@dataclass(frozen=True, eq=False)
class BetaContrast:
    """Posterior of theta_arm - theta_against.

    Parameters
    ----------
    arm, against : str
        Names of the two arms.
    mean, sd : float
        Posterior mean and standard deviation of the difference.
    log_prob_greater : float
        Log of P(theta_arm > theta_against).
    a, b : (2,) array of float
        Parameters of the two betas, `arm` first.
    """

    arm: str
    against: str
    mean: float
    sd: float
    log_prob_greater: float
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
        """Equal-tailed credible interval of the difference, (2,): lower, upper.

        Parameters
        ----------
        prob : float
            Posterior probability of the interval, in (0, 1).
        """
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

    def to_dict(self) -> dict[str, Any]:
        """The contrast as plain values, for JSON."""
        lower, upper = self.cred_int().tolist()
        return {
            "version": 1,
            "kind": "beta contrast",
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

    Parameters
    ----------
    names : (str, str)
        Names of the two arms.
    a, b : (2,) array of float
        Parameters, above 0.

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
