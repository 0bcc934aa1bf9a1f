"""Hierarchical normal posterior of arm effects on a repeated score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate import arm_draws
from wavewise.estimate.arm_draws import DrawsContrast, IntervalKind
from wavewise.estimate.normal_chart import SdPosterior
from wavewise.estimate.normal_checks import checks_of
from wavewise.estimate.normal_effects import student_t_draws
from wavewise.estimate.normal_fit import METHODS, Diagnostics, Method, fit_sds
from wavewise.estimate.normal_marginal import coefficient_draws
from wavewise.estimate.normal_panel import Panel, read_panel
from wavewise.estimate.normal_priors import NormalPriors, scaled_priors
from wavewise.estimate.normal_sums import PanelSums, panel_sums
from wavewise.estimate.normal_text import effect_frame, missing_frame, summary_text
from wavewise.results import CheckResult, FloatArray, IntArray, NotEstimable, Provenance, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["HierarchicalNormal", "hierarchical_normal"]


@dataclass(frozen=True, eq=False)
class HierarchicalNormal:
    """Posterior of arm effects on a score, with unit, cluster and period effects.

    Parameters
    ----------
    arms : (n_arms,) tuple of str
        Arms that could be estimated; the control is the reference and not among them.
    control : str
    periods : (n_periods,) tuple of str
    draws : (n_draws, n_arms) array of float
        Effect of each arm against the control, in units of the score; every draw counts alike.
    constant_draws : (n_draws,) array of float
        Mean score without treatment, over periods, units and clusters.
    period_draws : (n_draws, n_periods) array of float
        Period effects around the constant.
    cluster_sd_draws, unit_sd_draws, noise_sd_draws, period_sd_draws : (n_draws,) array of float
        Standard deviations kappa, phi, sigma and rho, in units of the score.
    n_observed, n_missing : (1 + n_arms, n_periods) array of int
        Rows with and without a score; first those of the control and before treatment.
    n_units, n_clusters : int
        With a score or more.
    pooled : bool
        Whether all arms were taken as one treatment.
    prior : NormalPriors
    diagnostics : Diagnostics
        Method, effective sample size, Pareto k.
    checks : tuple of CheckResult
        Gates of the sampler; whether effects rest on comparisons or on priors.
    not_estimable : mapping of str to NotEstimable
        Planned arms that have no score after treatment.
    provenance : Provenance
        Hash of the data (whatever the order of rows), method, version.
    """

    arms: tuple[str, ...]
    control: str
    periods: tuple[str, ...]
    draws: FloatArray
    constant_draws: FloatArray
    period_draws: FloatArray
    cluster_sd_draws: FloatArray
    unit_sd_draws: FloatArray
    noise_sd_draws: FloatArray
    period_sd_draws: FloatArray
    n_observed: IntArray
    n_missing: IntArray
    n_units: int
    n_clusters: int
    pooled: bool
    prior: NormalPriors
    diagnostics: Diagnostics
    checks: tuple[CheckResult, ...]
    not_estimable: Mapping[str, NotEstimable]
    provenance: Provenance

    @property
    def mean(self) -> FloatArray:
        """Posterior mean of each arm's effect, (n_arms,)."""
        return read_only(self.draws.mean(axis=0))

    @property
    def sd(self) -> FloatArray:
        """Posterior standard deviation of each arm's effect, (n_arms,)."""
        return read_only(self.draws.std(axis=0))

    @property
    def prob_positive(self) -> FloatArray:
        """Posterior probability that the arm is better than the control, (n_arms,)."""
        return read_only((self.draws > 0).mean(axis=0))

    @property
    def prob_optimal(self) -> FloatArray:
        """Posterior probability that the arm is best of the arms, (n_arms,); sums to 1.

        The control is not among them: see `prob_positive` and `contrast`.
        """
        # whole counts, so that one arm gets exactly 1
        counts = np.bincount(self.draws.argmax(axis=1), minlength=len(self.arms))
        return read_only(counts / self.draws.shape[0])

    @property
    def log_prob_optimal(self) -> FloatArray:
        """Log of `prob_optimal`, (n_arms,); minus infinity where no draw was best."""
        with np.errstate(divide="ignore"):
            return read_only(np.log(self.prob_optimal))

    @property
    def policy_regret(self) -> FloatArray:
        """E[max_j beta_j - beta_k], (n_arms,): expected loss from choosing the arm."""
        return read_only((self.draws.max(axis=1, keepdims=True) - self.draws).mean(axis=0))

    @property
    def n_scores(self) -> int:
        """Rows with a score."""
        return int(self.n_observed.sum())

    def cred_int(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> FloatArray:
        """Credible interval of each arm's effect, (n_arms, 2): lower, upper.

        Parameters
        ----------
        prob : float
            Posterior probability of each interval, in (0, 1).
        kind : {"hpd", "equal-tailed"}

        Raises
        ------
        InputError
            `prob` or `kind` is not one of these.
        """
        return arm_draws.cred_int(self.draws, prob, kind)

    def contrast(self, arm: str, against: str | None = None) -> DrawsContrast:
        """Posterior of one arm's effect minus another's (by default, minus the control's, 0).

        Raises
        ------
        InputError
            A name that is neither an arm nor the control, or the same name twice.
        """
        with_control = np.column_stack([self.draws, np.zeros(self.draws.shape[0])])
        names = (*self.arms, self.control)
        other = self.control if against is None else against
        return arm_draws.contrast(with_control, names, arm, other)

    def to_frame(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> "pl.DataFrame":
        """One row a term (the constant, then the arms): mean, sd, interval, probabilities, regret.

        Probabilities and regret are null for the constant.
        """
        return effect_frame(self, prob, kind)

    def missing_frame(self) -> "pl.DataFrame":
        """One row an arm and period: scores observed and missing, and the share observed."""
        return missing_frame(self)

    def summary(self, pooled: "HierarchicalNormal | None" = None) -> str:
        """Table of effects with 95% HPD intervals, a sentence, and what is assumed.

        Parameters
        ----------
        pooled : HierarchicalNormal, optional
            The fit of the same rows with ``pooled=True``, for the second panel.
        """
        return summary_text(self, pooled)

    def to_dict(self) -> dict[str, Any]:
        """The posterior as plain values, for JSON (draws left out)."""
        sds = {
            f"{name}_sd": {"mean": float(x.mean()), "sd": float(x.std())}
            for name, x in (
                ("cluster", self.cluster_sd_draws),
                ("unit", self.unit_sd_draws),
                ("noise", self.noise_sd_draws),
                ("period", self.period_sd_draws),
            )
        }
        return {
            "version": 1,
            "kind": "hierarchical normal posterior",
            "arms": list(self.arms),
            "control": self.control,
            "periods": list(self.periods),
            "pooled": self.pooled,
            "terms": self.to_frame().to_dicts(),
            "period_effects": self.period_draws.mean(axis=0).tolist(),
            **sds,
            "n_draws": int(self.draws.shape[0]),
            "n_observed": self.n_observed.tolist(),
            "n_missing": self.n_missing.tolist(),
            "n_units": self.n_units,
            "n_clusters": self.n_clusters,
            "prior": self.prior.to_dict(),
            "diagnostics": self.diagnostics.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
            "not_estimable": {name: why.reason for name, why in self.not_estimable.items()},
            "provenance": self.provenance.to_dict(),
        }


def hierarchical_normal(
    score: Any,
    *,
    unit: Any,
    cluster: Any,
    period: Any,
    arm: Any,
    rng: np.random.Generator,
    control: Any = None,
    treated: Any = None,
    arms: Sequence[Any] | None = None,
    periods: Sequence[Any] | None = None,
    pooled: bool = False,
    prior: NormalPriors | None = None,
    method: Method = "auto",
    n_draws: int = 20_000,
) -> HierarchicalNormal:
    """Posterior of arm effects on a score that is seen in several periods.

    Parameters
    ----------
    score : array-like of float, shape (n_rows,)
        One row a unit and period; not-a-number where the score is missing. Such rows are counted
        and carry no information.
    unit, cluster, period : array-like, shape (n_rows,)
        Labels. A unit keeps to one cluster.
    arm : array-like, shape (n_rows,)
        The arm that the unit had experienced in that period or earlier: the control's label before
        its wave began. With `treated`, the arm that it was assigned to.
    rng : numpy.random.Generator
    control : label, optional
        Label of untreated rows; by default the one named control, else the one named C, 0 or none.
    treated : array-like of bool, shape (n_rows,), optional
        Whether the unit's wave had begun; where false the row counts as untreated whatever its arm.
    arms : sequence of labels, optional
        Planned arms, so that one without rows is reported; by default those found.
    periods : sequence of labels, optional
        In the order of time; then (or when period labels are numbers) a unit may not go back to the
        control.
    pooled : bool
        One effect for all arms together.
    prior : NormalPriors, optional
        By default `scaled_priors()`, relative to the standard deviation of the score.
    method : {"auto", "importance", "slice"}
        How the standard deviations are drawn: importance sampling, slice sampling, or the first and
        if its gates fail the second.
    n_draws : int
        Equally weighted draws, 1,000 or more; with 20,000 the standard error of `prob_optimal` is
        at most 0.0035.

    Returns
    -------
    HierarchicalNormal

    Raises
    ------
    InputError
        Lengths that differ, labels missing, scores that are not numbers, a unit in two clusters or
        arms, two rows of a unit in a period, options that are not known.
    EstimationError
        No scores, no variation, one arm only, no untreated score, or a gate that no attempt passes.

    Notes
    -----
    For the score of unit i in cluster s and period t, which had experienced arm k by then::

        y_it = beta_0 + beta_k + kappa eta_s + phi alpha_i + rho iota_t + sigma e_it
        eta_s, alpha_i, iota_t, e_it ~ N(0, 1);  beta_0, beta_k flat
        kappa, phi, sigma, rho ~ half-normal (`NormalPriors`)

    Given the four standard deviations all else is Gaussian and is integrated out exactly; their
    own posterior is drawn by importance sampling around its peak, and the coefficients are then
    drawn from their exact conditional. With a single period rho is not in the likelihood.

    Adaptive shares do not change this posterior, since they depend on observed outcomes only.
    Scores must be missing at random given what is observed. Effects are the same in every period
    after treatment, and the noise has one variance.

    References
    ----------
    Esposito and Sautmann (2022), World Bank Policy Research Working Paper 10098, equation (3),
    Table 4. Geweke (1989), *Econometrica* 57, 1317-1339.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> unit, period = np.tile(np.arange(400), 2), np.repeat([1, 2], 400)
    >>> cluster = unit // 20
    >>> arm = np.where((period == 2) & (unit % 2 == 1), "calls", "control")
    >>> level = rng.normal(40, 9, 20)[cluster] + rng.normal(0, 12, 400)[unit]
    >>> score = level + 5.0 * (arm == "calls") + rng.normal(0, 6, 800)
    >>> post = hierarchical_normal(
    ...     score, unit=unit, cluster=cluster, period=period, arm=arm, rng=rng
    ... )
    >>> post.arms, post.diagnostics.method, bool(abs(post.mean[0] - 5) < 3 * post.sd[0])
    (('calls',), 'importance', True)
    """
    priors = scaled_priors() if prior is None else prior
    _check_options(priors, method, n_draws, rng)
    panel = read_panel(
        score,
        unit=unit,
        cluster=cluster,
        period=period,
        arm=arm,
        control=control,
        treated=treated,
        arms=arms,
        periods=periods,
        pooled=pooled,
    )
    sums = panel_sums(panel)
    posterior = SdPosterior(sums, priors.in_units(sums.scale))
    coefficients, sds, diagnostics = _draws(posterior, n_draws, method, rng)
    return _result(panel, sums, priors, coefficients, sds, diagnostics, pooled=pooled)


def _draws(
    posterior: SdPosterior, n_draws: int, method: Method, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, Diagnostics]:
    """Coefficients and standard deviations, in standard deviations of the score."""
    sums, priors = posterior.sums, posterior.priors
    fit = fit_sds(posterior, n_draws, method, rng)

    def draw(n: int) -> tuple[FloatArray, IntArray]:
        index = fit.index if n == n_draws else np.repeat(fit.index, n // n_draws)
        normals = rng.standard_normal((n, sums.within.shape[0] - 1))
        drawn = coefficient_draws(sums, fit.sds, index, normals, posterior.effect_precision)
        return drawn, index

    if priors.effect_df is None or priors.effect_sd is None:
        coefficients, index = draw(n_draws)
        return coefficients, fit.sds[index] * sums.scale, fit.diagnostics
    coefficients, index, ess = student_t_draws(
        draw, sums.n_arms, n_draws, priors.effect_sd, priors.effect_df, rng
    )
    diagnostics = replace(fit.diagnostics, effect_ess=ess)
    return coefficients, fit.sds[index] * sums.scale, diagnostics


def _check_options(
    prior: NormalPriors, method: str, n_draws: int, rng: np.random.Generator
) -> None:
    if not isinstance(prior, NormalPriors):
        raise InputError(
            f"prior: found {type(prior).__name__}; needed NormalPriors, such as scaled_priors()"
        )
    prior.check()
    if method not in METHODS:
        raise InputError(f"method: found {method!r}; needed one of {', '.join(METHODS)}")
    if n_draws < 1000:
        raise InputError(f"n_draws: found {n_draws}; needed 1,000 or more")
    if not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng: found {type(rng).__name__}; needed a numpy.random.Generator, such as "
            "numpy.random.default_rng(7)"
        )


def _result(
    panel: Panel,
    sums: PanelSums,
    prior: NormalPriors,
    coefficients: FloatArray,
    sds: FloatArray,
    diagnostics: Diagnostics,
    *,
    pooled: bool,
) -> HierarchicalNormal:
    n_arms = sums.n_arms
    values = coefficients * sums.scale
    periods = values[:, 1 + n_arms :] if sums.n_periods else np.zeros((values.shape[0], 1))
    return HierarchicalNormal(
        arms=panel.arms,
        control=panel.control,
        periods=panel.periods,
        draws=read_only(np.ascontiguousarray(values[:, 1 : 1 + n_arms])),
        constant_draws=read_only(values[:, 0] + sums.centre),
        period_draws=read_only(np.ascontiguousarray(periods)),
        cluster_sd_draws=read_only(sds[:, 0].copy()),
        unit_sd_draws=read_only(sds[:, 1].copy()),
        noise_sd_draws=read_only(sds[:, 2].copy()),
        period_sd_draws=read_only(sds[:, 3].copy()),
        n_observed=read_only(panel.n_observed),
        n_missing=read_only(panel.n_missing),
        n_units=panel.n_units,
        n_clusters=panel.n_clusters,
        pooled=pooled,
        prior=prior,
        diagnostics=diagnostics,
        checks=checks_of(panel, diagnostics),
        not_estimable=panel.not_estimable,
        provenance=Provenance(
            method=f"hierarchical normal posterior, {diagnostics.method} sampling; {prior}",
            data_hash=panel.data_hash,
        ),
    )
