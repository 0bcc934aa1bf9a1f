"""Posterior of the hierarchical binomial model: draws, and what a decision needs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.bayes.draws import DrawsContrast, IntervalKind
from wavewise.estimate.binomial.data import Cells
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.shared.results import (
    CheckResult,
    FloatArray,
    IntArray,
    Provenance,
    Record,
    Result,
    hash_arrays,
    read_only,
)

if TYPE_CHECKING:
    import polars as pl

    from wavewise.estimate.binomial.posterior import LogPosterior

__all__ = ["BinomialDiagnostics", "HierarchicalBinomial", "refused"]


# How a posterior of the hierarchical binomial model was reached, and the gates that it passed.

LEAST_ESS, MOST_PARETO_K, MOST_QUADRATURE_ERROR, MOST_R_HAT = 300.0, 0.7, 0.05, 1.02
# where few points were asked for, this share of them instead of LEAST_ESS
WANTED_SD_ESS = 600.0
_FEW_POINTS, _SHARE_OF_FEW = 500, 0.6


@dataclass(frozen=True)
class BinomialDiagnostics(Record):
    """How the posterior was reached, and how well."""

    method: str
    n_points: int  # Points of (beta, log kappa) at which the posterior was computed, or draws.
    ess_share: float  # Equally good number of independent points, over `n_points`.
    # Shape of the weights' upper tail (0.7 or less is good); None for NUTS.
    pareto_k: float | None
    n_nodes: int  # Quadrature nodes in each cluster's effect, at the posterior mode.
    # Distance of the nodes, in posterior standard deviations of the narrowest cluster.
    step_sd: float
    # Largest change of the log posterior, up to a constant, when the step is halved and the nodes
    # reach further.
    quadrature_error: float
    n_broken: int = 0  # Points at which the arithmetic broke down.
    n_refinements: int = 0  # Further attempts after the first.
    failed: tuple[str, ...] = ()  # Gates that earlier attempts did not pass.
    # Independent normal draws whose standard deviations would be as good, at the worst arm; None
    # for NUTS.
    sd_ess: float | None = None
    from_profile: bool = False  # Whether the points are those of the proposal along log kappa.
    r_hat: float | None = None  # Of NUTS (1.02 or less is good).

    @property
    def ess(self) -> float:
        """Equally good number of independent points."""
        return self.ess_share * self.n_points

    @property
    def least_ess(self) -> float:
        """Equally good number of points that is needed: 300, of fewer than 500 points 60%."""
        few = self.n_points < _FEW_POINTS
        return _SHARE_OF_FEW * self.n_points if few else LEAST_ESS

    @property
    def wants_points(self) -> bool:
        """Whether standard deviations are less sure than those of 600 draws, or 60% of fewer."""
        wanted = min(WANTED_SD_ESS, _SHARE_OF_FEW * self.n_points)
        return self.sd_ess is not None and self.sd_ess < wanted

    @cached_property
    def gates(self) -> tuple[dict[str, Any], ...]:
        """Each gate: its name, what was found, what was needed, whether it was passed."""
        rows = [
            ("finite values", self.n_broken, "0 points that are not", self.n_broken == 0),
            (
                "effective sample size",
                round(self.ess, 1),
                f"{self.least_ess:g} or more",
                self.ess >= self.least_ess,
            ),
            (
                "quadrature step",
                self.quadrature_error,
                f"an error of {MOST_QUADRATURE_ERROR:g} or less",
                self.quadrature_error <= MOST_QUADRATURE_ERROR,
            ),
        ]
        if self.pareto_k is not None:
            good = self.pareto_k <= MOST_PARETO_K
            rows.append(("Pareto k", self.pareto_k, f"{MOST_PARETO_K:g} or less", good))
        if self.r_hat is not None:
            rows.append(("R-hat", self.r_hat, f"{MOST_R_HAT:g} or less", self.r_hat <= MOST_R_HAT))
        names = ("gate", "found", "needed", "passed")
        return tuple(dict(zip(names, row, strict=True)) for row in rows)

    @property
    def faults(self) -> tuple[str, ...]:
        """Gates that are not passed, with the numbers."""
        return tuple(
            f"{row['gate']}: {row['found']:.3g}, needed {row['needed']}"
            for row in self.gates
            if not row["passed"]
        )

    def check(self) -> CheckResult:
        """The gates as one check."""
        wrong = self.faults
        good = f"all passed with {self.n_points:,} points by {self.method}"
        if self.sd_ess is not None:
            good += f"; standard deviations as sure as those of {self.sd_ess:,.0f} draws"
        return CheckResult(
            name="gates of the computation",
            scope="the whole posterior",
            passed=not wrong,
            text=f"Gates: {'; '.join(wrong) if wrong else good}.",
            table=self.gates,
        )

    def to_dict(self) -> dict[str, Any]:
        """The diagnostics as plain values, for JSON."""
        plain = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**plain, "failed": list(self.failed), "ess": self.ess}


def refused(diagnostics: BinomialDiagnostics, advice: str) -> EstimationError:
    """The error that names the gates which failed."""
    gates = "; ".join(diagnostics.failed + diagnostics.faults)
    return EstimationError(
        f"hierarchical binomial model by {diagnostics.method}: found gates that fail ({gates}); "
        f"needed all passed; {advice}"
    )


Scale = Literal["beta", "success_prob"]
_SCALES = ("beta", "success_prob")


@dataclass(frozen=True, eq=False)
class HierarchicalBinomial(Result, kind="hierarchical binomial posterior"):
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
    new_units : float
        Units of new clusters that count beside those of the data.
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
    new_units: float = 0.0

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
        return arm_draws.cred_int(self._values(of), prob, kind, self.weights, self._reference(of))

    @cached_property
    def _proposed(self) -> FloatArray | None:
        """Many points of the proposal, (n_reference, n_arms + 1), the same for every seed."""
        if not self.diagnostics.from_profile:
            return None
        from wavewise.estimate.binomial.proposal import proposed_points

        return proposed_points(self.log_posterior.counts, self.prior)

    def _reference(self, of: str) -> FloatArray | None:
        """Values at the proposal's points, (n_reference, n_arms), where they can be computed."""
        proposed = self._proposed
        if proposed is None or (of == "success_prob" and self.clusters == "these"):
            return None
        if of == "beta":
            return proposed[:, : len(self.arms)]
        from wavewise.estimate.binomial.success import over_new_clusters

        return over_new_clusters(proposed)

    def contrast(self, arm: str, against: str, of: Scale = "beta") -> DrawsContrast:
        """Posterior of one arm's beta or success probability minus another's.

        Raises
        ------
        InputError
            A name that is not an arm, or the same arm twice.
        """
        values, reference = self._values(of), self._reference(of)
        return arm_draws.contrast(values, self.arms, arm, against, self.weights, reference)

    def _frame(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> "pl.DataFrame":
        """One row per arm: counts, mean, sd, interval, probability of being best, regret."""
        import polars as pl

        return pl.DataFrame(dict(self._columns(prob, kind)))

    def _facts(self) -> dict[str, Any]:
        k = len(self.arms)
        reference = None if self._proposed is None else np.exp(self._proposed[:, [k]])
        values = np.exp(self.points[:, [k]])
        kappa = arm_draws.cred_int(values, weights=self.weights, reference=reference)[0]
        return {
            "arms": self._columns(0.95, "hpd"),
            "cred_int": {"prob": 0.95, "kind": "hpd", "of": "beta"},
            "kappa": {"mean": self.kappa_mean, "sd": self.kappa_sd, "cred_int": kappa},
            "prior": self.prior.to_dict(),
            "clusters": self.clusters,
            **({"new_units": self.new_units} if self.new_units else {}),
            "overdispersion": self.overdispersion,
            "diagnostics": self.diagnostics.to_dict(),
            "checks": self.checks,
        }

    def summary(self) -> str:
        """Tables in the layout of Tables 1 and 3 of the study, a sentence, the assumptions."""
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


# The hierarchical binomial posterior in words and tables.


def summary(post: "HierarchicalBinomial") -> str:
    """Coefficients as in Table 1, decision quantities as in Table 3, a sentence, assumptions."""
    return "\n".join([*_coefficients(post), "", *_decision(post), "", *_sentences(post)])


def _coefficients(post: "HierarchicalBinomial") -> list[str]:
    width = max(3, *(len(name) for name in post.arms))
    bounds = post.cred_int()
    lines = [f"{'Arm':<{width}}  {'Mean':>7}  95% HPD interval of beta (* excludes 0)"]
    lines += [
        f"{name:<{width}}  {mean:>7.2f}{' ' if low < 0 < high else '*'} [{low:.2f}; {high:.2f}]"
        for name, mean, (low, high) in zip(post.arms, post.mean, bounds.tolist(), strict=True)
    ]
    return [*lines, f"{'Rows':<{width}}  {post.cells.n_rows:>7,}"]


def _decision(post: "HierarchicalBinomial") -> list[str]:
    width = max(3, *(len(name) for name in post.arms))
    trials, successes = post.cells.trials.sum(axis=0), post.cells.successes.sum(axis=0)
    head = (
        f"{'Arm':<{width}}  {'Trials':>9}  {'Share':>7}  {'Mean':>6}  {'SD':>5}  "
        f"{'Prob. best':>10}  {'Success':>7}  {'Regret':>7}"
    )
    columns = (
        trials,
        successes / trials,
        post.mean,
        post.sd,
        post.prob_optimal,
        post.success_prob,
        post.policy_regret,
    )
    return [head, *(_row(n, r, width) for n, r in zip(post.arms, np.array(columns).T, strict=True))]


def _row(name: str, row: FloatArray, width: int) -> str:
    trials, share, mean, sd, best, success, regret = row.tolist()
    return (
        f"{name:<{width}}  {trials:>9,.0f}  {share:>7.2%}  {mean:>6.2f}  {sd:>5.2f}  "
        f"{best:>10.2%}  {success:>7.2%}  {regret:>7.2%}"
    )


def _sentences(post: "HierarchicalBinomial") -> list[str]:
    chosen = int(np.argmin(post.policy_regret))
    d = post.diagnostics
    where = {
        "new": "over new clusters, drawn from the same normal distribution",
        "these": "over the clusters of the data, by their sizes",
    }[post.clusters]
    if post.new_units:
        where += f", and {post.new_units:,.0f} units of new ones"
    lines = [
        f"{post.arms[chosen]} has the lowest expected policy regret, "
        f"{post.policy_regret[chosen]:.2%} of success probability, and is best with probability "
        f"{post.prob_optimal[chosen]:.4g}.",
        f"Standard deviation of cluster effects (kappa): {post.kappa_mean:.2f}, posterior sd "
        f"{post.kappa_sd:.2f}; {len(post.cells.clusters):,} clusters.",
        f"Success probabilities are means {where}. Priors: {post.prior}.",
        _assumed(post),
        f"Computed by {d.method}: {d.n_points:,} points, equally good as {d.ess:,.0f}"
        + ("" if d.pareto_k is None else f", Pareto k {d.pareto_k:.2f}")
        + ".",
    ]
    lines += [f"Check: {check.text}" for check in post.checks if check.passed is False]
    return lines


def _assumed(post: "HierarchicalBinomial") -> str:
    common = "the same arm effects in every cluster, normal cluster effects on the log-odds scale"
    if post.overdispersion is None:
        return (
            f"Assumed: {common}, and trials of a unit that are independent given its cluster "
            "(posterior_predictive_check tells)."
        )
    rho = float(np.mean(post.rho_draws))
    return f"Assumed: {common}; trials of one unit correlate by rho, posterior mean {rho:.2f}."
