"""Hierarchical normal posterior of arm effects on a repeated score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.bayes.draws import DrawsContrast, IntervalKind
from wavewise.estimate.normal.data import Panel, PanelSums, panel_sums, read_panel
from wavewise.estimate.normal.marginal import SdPosterior, coefficient_draws
from wavewise.estimate.normal.posterior import (
    METHODS,
    Diagnostics,
    Method,
    fit_sds,
    student_t_draws,
)
from wavewise.estimate.normal.priors import NormalPriors, scaled_priors
from wavewise.shared.inputs import aligned
from wavewise.shared.results import (
    BoolArray,
    CheckResult,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    read_only,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["HierarchicalNormal", "hierarchical_normal"]


@dataclass(frozen=True, eq=False)
class HierarchicalNormal(Result, kind="hierarchical normal posterior"):
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

    def _frame(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> "pl.DataFrame":
        """One row a term (the constant, then the arms): mean, sd, interval, probabilities, regret.

        Probabilities and regret are null for the constant.
        """
        return effect_frame(self, prob, kind)

    def missing_frame(self) -> "pl.DataFrame":
        """One row per arm and period: scores observed and missing, and the share observed."""
        return missing_frame(self)

    def summary(self, pooled: "HierarchicalNormal | None" = None) -> str:
        """Table of effects with 95% HPD intervals, a sentence, and what is assumed.

        Parameters
        ----------
        pooled : HierarchicalNormal, optional
            The fit of the same rows with ``pooled=True``, for the second panel.
        """
        return summary_text(self, pooled)

    def _facts(self) -> dict[str, Any]:
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
            "arms": self.arms,
            "control": self.control,
            "periods": self.periods,
            "pooled": self.pooled,
            "terms": self._frame(),
            "period_effects": self.period_draws.mean(axis=0),
            **sds,
            "n_draws": int(self.draws.shape[0]),
            "n_observed": self.n_observed,
            "n_missing": self.n_missing,
            "n_units": self.n_units,
            "n_clusters": self.n_clusters,
            "prior": self.prior.to_dict(),
            "diagnostics": self.diagnostics.to_dict(),
            "checks": self.checks,
            "not_estimable": {name: why.reason for name, why in self.not_estimable.items()},
        }


@aligned("score", "unit", "cluster", "period", "arm", "treated")
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
        One row per unit and period; not-a-number where the score is missing. Such rows are counted
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


# Checks that ride along with the normal model: gates, and what the effects rest on.


def checks_of(panel: Panel, diagnostics: Diagnostics) -> tuple[CheckResult, ...]:
    """Gates of the sampler; arms told from periods; units seen before and after treatment."""
    return (_gates(diagnostics), _told_apart(panel), _switchers(panel))


def _gates(diagnostics: Diagnostics) -> CheckResult:
    d = diagnostics
    tail = (
        f"split R-hat {d.split_r_hat:.3f}" if d.pareto_k is None else f"Pareto k {d.pareto_k:.2f}"
    )
    return CheckResult(
        name="sampler",
        scope=f"standard deviations, {d.n_points:,} points by {d.method} sampling",
        passed=not d.faults(),
        text=(
            f"effective sample size {d.ess:,.0f} ({d.ess_share:.0%} of the points), {tail}, "
            f"{d.n_refinements} refinements"
        ),
        table=(d.to_dict(),),
    )


def _told_apart(panel: Panel) -> CheckResult:
    """Arms and periods that no shared cell joins differ by the prior of the period effects alone.

    Arms (with the control) and periods are nodes, cells with scores are edges: with one component
    every difference of arms has a comparison within periods.
    """
    groups = _groups(panel.n_observed > 0)
    n_groups = np.unique(groups).size
    names = (panel.control, *panel.arms)
    apart = [name for name, g in zip(names, groups, strict=True) if g != groups[0]]
    text = (
        "every arm can be compared with the control within periods, if need be through other arms"
        if n_groups == 1
        else f"no period joins {', '.join(apart)} to the control: those effects rest on the prior "
        "of the period effects"
    )
    scope = f"all {len(panel.arms)} arms, {len(panel.periods)} periods"
    return CheckResult("arms told from periods", scope, n_groups == 1, text)


def _groups(present: BoolArray) -> IntArray:
    """Component of each arm in the graph of arms and periods, (1 + n_arms,)."""
    group = np.arange(present.shape[0])
    for _ in range(present.shape[0]):
        by_period = np.where(present, group[:, None], present.shape[0]).min(axis=0)
        group = np.where(present, by_period, present.shape[0]).min(axis=1)
    return np.asarray(group, dtype=np.int64)


def _switchers(panel: Panel) -> CheckResult:
    n = panel.n_switchers
    scope = f"all {panel.n_units:,} units"
    if n:
        text = f"{n:,} units have a score both before treatment and after it"
        return CheckResult("units seen before and after", scope, True, text)
    text = (
        "no unit has a score both before treatment and after it, so that effects compare units "
        "alone; if arm holds the assignment, give treated= to say when it began"
    )
    return CheckResult("units seen before and after", scope, None, text)


# Tables and sentences of the normal model.


def effect_frame(post: "HierarchicalNormal", prob: float, kind: IntervalKind) -> "pl.DataFrame":
    """One row a term: the constant, then the arms."""
    import polars as pl

    draws = np.column_stack([post.constant_draws, post.draws])
    bounds = arm_draws.cred_int(draws, prob, kind)
    return pl.DataFrame(
        {
            "term": ["(constant)", *post.arms],
            "mean": draws.mean(axis=0),
            "sd": draws.std(axis=0),
            "cred_low": bounds[:, 0],
            "cred_high": bounds[:, 1],
            "interval": [kind] * draws.shape[1],
            "prob_positive": [None, *post.prob_positive.tolist()],
            "prob_optimal": [None, *post.prob_optimal.tolist()],
            "policy_regret": [None, *post.policy_regret.tolist()],
        }
    )


def missing_frame(post: "HierarchicalNormal") -> "pl.DataFrame":
    """One row per arm and period."""
    import polars as pl

    n_periods = len(post.periods)
    names = (f"{post.control} or not yet treated", *post.arms)
    observed, missing = post.n_observed.ravel(), post.n_missing.ravel()
    frame = pl.DataFrame(
        {
            "arm": np.repeat(names, n_periods).tolist(),
            "period": list(post.periods) * len(names),
            "n_observed": observed,
            "n_missing": missing,
        }
    )
    rows = pl.col("n_observed") + pl.col("n_missing")
    share = pl.when(rows > 0).then(pl.col("n_observed") / rows)
    return frame.with_columns(observed_share=share)


def summary_text(post: "HierarchicalNormal", pooled: "HierarchicalNormal | None") -> str:
    """The layout of the published table: effects, then the pooled effect, then the sizes."""
    lines = _panel("Pooled treatment effect" if post.pooled else "Treatment effects", post)
    if pooled is not None:
        lines += ["", *_panel("Pooled treatment effect", pooled)]
    lines += [
        "",
        f"Scores {post.n_scores:,}, units {post.n_units:,}, clusters {post.n_clusters:,}, periods "
        f"{len(post.periods)}; missing scores {int(post.n_missing.sum()):,}.",
        _spread(post),
        *(f"{name}: {why}." for name, why in post.not_estimable.items()),
        _best(post),
        *(f"{c.name}: {c.text}." for c in post.checks if c.passed is not True),
        f"Posterior means and 95% HPD intervals; * zero outside. Prior: {post.prior}. Assumed: "
        "effects alike in every period after treatment; unit, cluster and period effects and noise "
        "normal; scores missing at random.",
    ]
    return "\n".join(lines)


def _panel(title: str, post: "HierarchicalNormal") -> list[str]:
    width = max(len("(constant)"), *(len(name) for name in post.arms))
    columns = np.column_stack([post.constant_draws, post.draws])
    rows = zip(("(constant)", *post.arms), columns.T, strict=True)
    return [title, *(_row(name, column, width) for name, column in rows)]


def _row(name: str, column: FloatArray, width: int) -> str:
    low, high = arm_draws.smooth_interval(column, 0.95, "hpd")
    star = "*" if low > 0 or high < 0 else " "
    return f"{name:<{width}}  {column.mean():8.2f}{star} [{low:.2f}; {high:.2f}]"


def _spread(post: "HierarchicalNormal") -> str:
    parts = (
        ("clusters", post.cluster_sd_draws),
        ("units", post.unit_sd_draws),
        ("noise", post.noise_sd_draws),
        ("periods", post.period_sd_draws),
    )
    shown = ", ".join(f"{name} {x.mean():.2f} ({x.std():.2f})" for name, x in parts)
    return f"Standard deviations, posterior mean (sd): {shown}."


def _best(post: "HierarchicalNormal") -> str:
    best = int(np.argmin(post.policy_regret))
    above = f"above the control with probability {post.prob_positive[best]:.3f}"
    if len(post.arms) == 1:
        return f"{post.arms[0]} is {above}."
    return (
        f"{post.arms[best]} has the lowest expected regret, {post.policy_regret[best]:.2f}; it is "
        f"best of the arms with probability {post.prob_optimal[best]:.3f} and {above}."
    )
