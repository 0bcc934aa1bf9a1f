"""Posterior of the hierarchical binomial model: draws, and what a decision needs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate import arm_draws
from wavewise.estimate.arm_draws import DrawsContrast, IntervalKind
from wavewise.estimate.binomial_counts import Cells
from wavewise.estimate.binomial_diagnostics import BinomialDiagnostics
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.results import CheckResult, FloatArray, IntArray, Provenance, hash_arrays, read_only

if TYPE_CHECKING:
    import polars as pl

    from wavewise.estimate.binomial_posterior import LogPosterior

__all__ = ["HierarchicalBinomial", "Scale"]

Scale = Literal["beta", "success_prob"]
_SCALES = ("beta", "success_prob")


@dataclass(frozen=True, eq=False)
class HierarchicalBinomial:
    """Posterior of the arms' coefficients beta and of the spread kappa of the clusters.

    Parameters
    ----------
    cells : Cells
        Successes and trials by cluster and arm.
    prior : BinomialPrior
    points : (n_points, n_dims) array of float
        beta of every arm, log kappa, and with overdispersion the log odds of rho.
    weights : (n_points,) array of float
        Sum to 1. Means, probabilities and intervals are from the weighted points.
    sample : (n_draws, n_dims) array of float
        Points resampled by weight, in random order: each counts alike.
    point_success_prob : (n_points, n_arms) array of float
        Mean success probability over clusters at each point.
    sample_points : (n_draws,) array of int
        Point that each row of `sample` is.
    clusters : {"new", "these"}
        Over which clusters success probabilities are meant.
    overdispersion : {"beta-binomial"} or None
    diagnostics : BinomialDiagnostics
    log_posterior : LogPosterior
        The log posterior with its nodes, for predictions.
    best_shift : (n_arms,) array of float
        What more points of the proposal add to the probabilities of being best.
    """

    cells: Cells
    prior: BinomialPrior
    points: FloatArray
    weights: FloatArray
    sample: FloatArray
    point_success_prob: FloatArray
    clusters: str
    overdispersion: str | None
    diagnostics: BinomialDiagnostics
    log_posterior: "LogPosterior" = field(repr=False)
    sample_points: IntArray = field(repr=False)
    best_shift: FloatArray = field(repr=False)

    @cached_property
    def checks(self) -> tuple[CheckResult, ...]:
        """The gates of the computation."""
        return (self.diagnostics.check(),)

    @cached_property
    def provenance(self) -> Provenance:
        """The model, how it was computed, and a hash of its counts."""
        plain = self.overdispersion is None
        name = "hierarchical binomial" if plain else "hierarchical beta-binomial"
        return Provenance(
            method=f"{name}, {self.diagnostics.method}; priors {self.prior}",
            data_hash=hash_arrays(
                successes=self.cells.successes,
                trials=self.cells.trials,
                arms=list(self.cells.arms),
                clusters=list(self.cells.clusters),
            ),
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """Names, (n_arms,)."""
        return self.cells.arms

    @property
    def draws(self) -> FloatArray:
        """Draws of beta that count alike, (n_draws, n_arms)."""
        return read_only(self.sample[:, : len(self.arms)])

    @property
    def success_prob_draws(self) -> FloatArray:
        """Mean success probability over clusters in each draw, (n_draws, n_arms)."""
        return read_only(self.point_success_prob[self.sample_points])

    @property
    def kappa_draws(self) -> FloatArray:
        """Draws of kappa, the standard deviation of the cluster effects, (n_draws,)."""
        return read_only(np.exp(self.sample[:, len(self.arms)]))

    @property
    def rho_draws(self) -> FloatArray:
        """Draws of rho, the correlation of two trials of one unit, (n_draws,).

        Raises
        ------
        EstimationError
            The plain model, in which a unit's trials are independent given its cluster.
        """
        if self.overdispersion is None:
            raise EstimationError(
                "rho: found the plain binomial model, which has none; needed "
                "overdispersion='beta-binomial'"
            )
        return read_only(1 / (1 + np.exp(-self.sample[:, len(self.arms) + 1])))

    @property
    def beta(self) -> FloatArray:
        """Beta at the weighted points, (n_points, n_arms)."""
        return self.points[:, : len(self.arms)]

    @cached_property
    def mean(self) -> FloatArray:
        """Posterior mean of beta, (n_arms,)."""
        return read_only(arm_draws.mean(self.beta, self.weights))

    @cached_property
    def sd(self) -> FloatArray:
        """Posterior standard deviation of beta, (n_arms,)."""
        return read_only(arm_draws.sd(self.beta, self.weights))

    @cached_property
    def prob_optimal(self) -> FloatArray:
        """Posterior probability that the arm's beta is the largest, (n_arms,); sums to 1.

        Equation (4) of the study: the largest beta has the largest success probability in every
        cluster.
        """
        return read_only(arm_draws.prob_optimal(self.beta, self.weights, self.best_shift))

    @cached_property
    def log_prob_optimal(self) -> FloatArray:
        """Log of `prob_optimal`, (n_arms,); -inf where the arm was best at no point."""
        with np.errstate(divide="ignore"):
            return read_only(np.log(self.prob_optimal))

    @cached_property
    def success_prob(self) -> FloatArray:
        """Posterior mean over clusters of the success probability, (n_arms,)."""
        return read_only(arm_draws.mean(self.point_success_prob, self.weights))

    @cached_property
    def policy_regret(self) -> FloatArray:
        """E[max_j success_prob_j - success_prob_k], (n_arms,): expected loss from the arm."""
        return read_only(arm_draws.policy_regret(self.point_success_prob, self.weights))

    @cached_property
    def kappa_mean(self) -> float:
        """Posterior mean of kappa."""
        return float((self.weights * np.exp(self.points[:, len(self.arms)])).sum())

    @cached_property
    def kappa_sd(self) -> float:
        """Posterior standard deviation of kappa."""
        kappa = np.exp(self.points[:, len(self.arms)])
        return float(np.sqrt((self.weights * (kappa - self.kappa_mean) ** 2).sum()))

    def cred_int(
        self, prob: float = 0.95, kind: IntervalKind = "hpd", of: Scale = "beta"
    ) -> FloatArray:
        """Credible interval of each arm's beta or success probability, (n_arms, 2).

        Parameters
        ----------
        prob : float
            Posterior probability of each interval, in (0, 1).
        kind : {"hpd", "equal-tailed"}
            Highest posterior density, or equal probability below and above.
        of : {"beta", "success_prob"}
            What the interval is for.

        Raises
        ------
        InputError
            `prob`, `kind` or `of` is not one of these.
        """
        return arm_draws.cred_int(self._values(of), prob, kind, self.weights)

    def contrast(self, arm: str, against: str, of: Scale = "beta") -> DrawsContrast:
        """Posterior of one arm's beta or success probability minus another's.

        Raises
        ------
        InputError
            A name that is not an arm, or the same arm twice.
        """
        return arm_draws.contrast(self._values(of), self.arms, arm, against, self.weights)

    def to_frame(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> "pl.DataFrame":
        """One row an arm: counts, mean, sd, interval, probability of being best, regret."""
        import polars as pl  # noqa: PLC0415 - half the import time of the package

        return pl.DataFrame(dict(self._columns(prob, kind)))

    def to_dict(self) -> dict[str, Any]:
        """The posterior as plain values, for JSON."""
        columns = {name: np.asarray(v).tolist() for name, v in self._columns(0.95, "hpd").items()}
        kappa = arm_draws.cred_int(np.exp(self.sample[:, [len(self.arms)]]))[0]
        return {
            "version": 1,
            "kind": "hierarchical binomial posterior",
            "arms": columns,
            "cred_int": {"prob": 0.95, "kind": "hpd", "of": "beta"},
            "kappa": {"mean": self.kappa_mean, "sd": self.kappa_sd, "cred_int": kappa.tolist()},
            "prior": self.prior.to_dict(),
            "clusters": self.clusters,
            "overdispersion": self.overdispersion,
            "diagnostics": self.diagnostics.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        """Tables in the layout of Tables 1 and 3 of the study, a sentence, the assumptions."""
        from wavewise.estimate.hierarchical_text import summary  # noqa: PLC0415 - when asked

        return summary(self)

    def _values(self, of: str) -> FloatArray:
        if of not in _SCALES:
            raise InputError(f"of: found {of!r}; needed one of {', '.join(_SCALES)}")
        return self.beta if of == "beta" else self.point_success_prob

    def _columns(self, prob: float, kind: IntervalKind) -> Mapping[str, Any]:
        bounds = self.cred_int(prob, kind)
        return {
            "arm": list(self.arms),
            "successes": self.cells.successes.sum(axis=0).astype(np.int64),
            "trials": self.cells.trials.sum(axis=0).astype(np.int64),
            "mean": self.mean,
            "sd": self.sd,
            "cred_low": bounds[:, 0],
            "cred_high": bounds[:, 1],
            "prob_optimal": self.prob_optimal,
            "success_prob": self.success_prob,
            "policy_regret": self.policy_regret,
        }
