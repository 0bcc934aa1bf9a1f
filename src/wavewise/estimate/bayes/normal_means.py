"""Posterior of arm means of an outcome of any kind: flat prior, normal likelihood, exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import log_ndtr, logsumexp, ndtri

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.bayes.draws import KINDS, IntervalKind, checked_prob
from wavewise.estimate.effects.ate import ate
from wavewise.shared.inputs import aligned, list_names, read_arms, read_outcome
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, read_only

__all__ = ["NormalMeans", "normal_means"]

# points of the integral over an arm's mean, and how far it goes in standard deviations
_POINTS, _REACH = 8_001, 12.0


@dataclass(frozen=True, eq=False)
class NormalMeans(Result, kind="posterior of means"):
    """Posterior of the arms' mean outcomes, independent normal ones."""

    arms: tuple[str, ...]
    mean: FloatArray  # (n_arms,): Posterior means.
    sd: FloatArray  # (n_arms,): Posterior standard deviations.
    log_prob_optimal: FloatArray  # (n_arms,): Log probability that the arm's mean is the highest.
    policy_regret: FloatArray  # (n_arms,): Expected loss from choosing the arm.
    n_units: IntArray  # (n_arms,): Units with an outcome.
    provenance: Provenance

    @property
    def prob_optimal(self) -> FloatArray:
        """Posterior probability that the arm is best, (n_arms,); sums to 1."""
        return read_only(np.exp(self.log_prob_optimal))

    def cred_int(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> FloatArray:
        """Credible interval of each mean, (n_arms, 2); of a normal both kinds are the same."""
        if kind not in KINDS:
            raise InputError(f"kind: found {kind!r}; needed one of {', '.join(KINDS)}")
        half = ndtri((1 + checked_prob(prob)) / 2) * self.sd
        return read_only(np.column_stack([self.mean - half, self.mean + half]))

    def _frame(self, prob: float = 0.95) -> pl.DataFrame:
        bounds = self.cred_int(prob)
        columns = {
            "arm": list(self.arms),
            "mean": self.mean,
            "sd": self.sd,
            "cred_low": bounds[:, 0],
            "cred_high": bounds[:, 1],
            "prob_optimal": self.prob_optimal,
            "policy_regret": self.policy_regret,
            "n_units": self.n_units,
        }
        return pl.DataFrame(columns, schema_overrides={"arm": pl.String})

    def _facts(self) -> dict[str, Any]:
        return {"arms": self.arms, "rows": self._frame(), "assumptions": self.assumptions}

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the posterior to mean what it says."""
        return ("Flat prior; means are taken as normal with their estimated standard errors.",)


@aligned("outcome", "arm", "cluster")
def normal_means(
    outcome: Any, arm: Any, *, cluster: Any = None, arms: Sequence[Any] | None = None
) -> NormalMeans:
    """Posterior of the arms' mean outcomes, for outcomes of any kind: counts, sums, an index.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Higher is better; not-a-number where it is missing. Such units are left out.
    arm : array-like, shape (n_units,)
        Label of each unit's arm.
    cluster : array-like, shape (n_units,), optional
        Labels of the groups whose outcomes may be alike.
    arms : sequence of labels, optional
        All arms, in the order of the result; found in `arm` by default, and sorted.

    Returns
    -------
    NormalMeans
        What :func:`wavewise.decide.best_arm` and :func:`wavewise.decide.next_shares` take.

    Raises
    ------
    InputError
        Arrays do not fit together.
    EstimationError
        An arm has less than two units, or its outcome does not vary.

    Notes
    -----
    ``theta_k ~ N(m_k, v_k)``, independent, with m_k the mean of the arm and v_k its squared
    standard error (``s^2 / n``; CR2 over clusters). With ``z`` standard normal,
    ``P(k best) = E[prod_j Phi((m_k + z sqrt(v_k) - m_j) / sqrt(v_j))]``, and the expected maximum
    is the sum over k of ``E[theta_k; k best]``: integrals over a line by the trapezoid rule, exact
    to rounding for such integrands. Nothing is drawn.

    Examples
    --------
    >>> found = normal_means([1.0, 2.0, 3.0, 2.0, 3.0, 4.0], ["sms"] * 3 + ["call"] * 3)
    >>> found.arms, found.prob_optimal.round(3)
    (('call', 'sms'), array([0.89, 0.11]))
    """
    values = read_outcome(outcome)
    names, codes = read_arms(arm, values.size, arms)
    counts = np.bincount(codes[~np.isnan(values)], minlength=len(names))
    few = [name for name, n in zip(names, counts, strict=True) if n < 2]
    if few:
        raise EstimationError(
            f"arm: found less than two units with an outcome in {list_names(few)}; needed two or "
            "more in each arm, to know how much outcomes vary"
        )
    if len(names) < 2:
        raise EstimationError(f"found the arm '{names[0]}' alone; needed two or more to compare")
    table = ate(outcome, arm, control=names[0], cluster=cluster, arms=names)
    means = table.means()
    flat = means.filter(pl.col("std_error").is_null())["arm"].to_list()
    if flat:
        raise EstimationError(
            f"outcome: found no variation in {list_names(flat)}; needed a standard error of each "
            "arm's mean; wait for more data, or leave the arm out"
        )
    mean, sd = means["mean"].to_numpy(), means["std_error"].to_numpy()
    log_prob, regret = _best(mean, sd)
    method = "flat prior, normal means" + ("" if cluster is None else ", CR2")
    provenance = Provenance(method, table.provenance.data_hash)
    return NormalMeans(names, mean, sd, log_prob, regret, counts, provenance)


def _best(mean: FloatArray, sd: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log probability that each mean is the highest, and the expected loss from choosing it."""
    top = float(mean.max())
    log_prob, highest = np.empty(mean.size), 0.0
    for k in range(mean.size):
        z = np.linspace(-_REACH, _REACH + (top - mean[k]) / sd[k], _POINTS)
        value = mean[k] + sd[k] * z
        others = np.arange(mean.size) != k
        below = log_ndtr((value[:, None] - mean[others]) / sd[others]).sum(axis=1)
        mass = below - z**2 / 2 + np.log((z[1] - z[0]) / np.sqrt(2 * np.pi))
        log_prob[k] = logsumexp(mass)
        highest += float(np.exp(mass) @ (value - top))  # from the largest mean: no digit is lost
    return log_prob - logsumexp(log_prob), np.maximum(highest + (top - mean), 0.0)
