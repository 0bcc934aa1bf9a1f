"""Posteriors of a study's models, from closed waves."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.decide import best_arm, next_shares
from wavewise.design.spec import Model, Outcome, StudySpec
from wavewise.design.wave_references import first_periods
from wavewise.design.waves import AllocationRule, Wave, not_randomized
from wavewise.errors import EstimationError, InputError
from wavewise.estimate import posterior_predictive_check
from wavewise.estimate.bayes.beta_binomial import beta_binomial
from wavewise.estimate.bayes.normal_means import normal_means
from wavewise.estimate.bayes.pooled_beta import pooled_beta_binomial
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.priors import BinomialPrior, Normal
from wavewise.estimate.normal.panels import score_panels
from wavewise.report.models import ScoreFit
from wavewise.shared.results import CheckResult, FloatArray, NotEstimable, Record
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import tied
from wavewise.workflow.frames import ClosedWaves, WaveData, outcome_values
from wavewise.workflow.intake import score_outcomes

if TYPE_CHECKING:
    from wavewise.decide import NextShares
    from wavewise.decide.evidence import Posterior
    from wavewise.estimate import (
        BetaBinomial,
        HierarchicalBinomial,
        HierarchicalNormal,
        NormalMeans,
        ScorePanels,
    )
    from wavewise.estimate.bayes.pooled_beta import StratumPosterior

__all__ = [
    "PriorRow",
    "StratumShares",
    "beta_priors",
    "evidence_of",
    "learned_shares",
    "model_check",
    "pooled_posteriors",
    "posterior_of",
    "posteriors_within",
    "prior_rows",
    "score_fits",
    "score_model_names",
    "shares_of_strata",
    "shares_within",
]

if TYPE_CHECKING:
    ArmPosterior = BetaBinomial | NormalMeans | HierarchicalBinomial | HierarchicalNormal

N_DRAWS = 8192  # of posteriors that decide: a probability of 1/2 is then known to .006


@dataclass(frozen=True)
class Evidence:
    """What a model learns from: one row per unit, the control left out."""

    # All arms of the waves but the control, in the order of the study file.
    arms: tuple[str, ...]
    rows: pl.DataFrame  # Columns ``arm``, ``successes``, ``trials``, ``cluster``.
    higher_is_better: bool = True
    # (n_clusters,): Units that each cluster counts for, clusters sorted; None: its trials.
    cluster_sizes: FloatArray | None = None
    is_reversed: bool = False  # Whether failures are counted for successes.

    def columns(self) -> tuple[FloatArray, FloatArray, list[str], list[str]]:
        """Successes, trials, arms and clusters of the units, each of length (n_units,)."""
        rows = self.rows
        counts = rows["successes"].to_numpy(), rows["trials"].to_numpy()
        return *counts, rows["arm"].to_list(), rows["cluster"].to_list()

    @property
    def wanted(self) -> "Evidence":
        """The same with failures for successes where fewer successes are wanted."""
        if self.higher_is_better:
            return self
        failures = pl.col("trials") - pl.col("successes")
        rows = self.rows.with_columns(successes=failures)
        return replace(self, rows=rows, higher_is_better=True, is_reversed=True)

    def totals(self) -> pl.DataFrame:
        """Successes and trials of each arm, zero where it has no units."""
        sums = self.rows.group_by("arm").agg(pl.col("successes", "trials").sum())
        table = pl.DataFrame({"arm": self.arms})
        return table.join(sums, on="arm", how="left", maintain_order="left").fill_null(0.0)


def learned_shares(posterior: "Posterior", wave: Wave, rule: AllocationRule) -> "NextShares":
    """Shares of a wave by its own rule; drawn again, a wave follows the very same."""
    return next_shares(
        posterior,
        rule=rule.rule,
        control=wave.control_id if wave.control_share is not None else None,
        control_share=wave.control_share or 0.0,
        learned_on=rule.learned_on,
        floor=rule.floor,
        temper=rule.temper,
        uniform_share=rule.uniform_share,
        beta=rule.beta,
    )


# Shares within strata: each stratum learns by itself, or from the others too.


@dataclass(frozen=True, eq=False)
class StratumShares(Record):
    """Shares of a wave by stratum, with what they were learned from."""

    columns: tuple[str, ...]  # Whose values make the strata.
    shares: "Mapping[str, NextShares]"  # By stratum, sorted.
    n_units: Mapping[str, int]  # Units of each stratum in the waves learned on.

    @property
    def average(self) -> dict[str, float]:
        """Share of each arm over all strata, by their numbers of units."""
        total = sum(self.n_units.values())
        rows = list(self.shares.items())
        return {
            arm: sum(self.n_units[name] / total * float(one.shares[k]) for name, one in rows)
            for k, arm in enumerate(rows[0][1].arms)
        }

    def text(self, over_all: "NextShares") -> str:
        """How many strata each arm has the largest share in, beside the rule in words."""
        leads = [tied(one.shares[: len(one.prob_optimal)].tolist(), decimals=3)
                 for one in self.shares.values()]  # fmt: skip
        first = Counter(over_all.arms[lead[0]] for lead in leads if len(lead) == 1)
        parts = [f"{arm} gets the largest share in {n:,}" for arm, n in first.most_common()]
        n_tied = len(leads) - sum(first.values())
        parts += [f"several arms the same largest in {n_tied:,}"] if n_tied else []
        return (
            f"Learned within {len(leads):,} strata of {', '.join(self.columns)}: "
            f"{'; '.join(parts)}. A stratum without units in {', '.join(over_all.learned_on)} gets "
            f"the shares over all units. Over all units: {over_all.text}"
        )

    @property
    def by_stratum(self) -> dict[str, dict[str, float]]:
        """Stratum: {arm: share}."""
        return {name: _by_arm(one) for name, one in self.shares.items()}


def _by_arm(shares: "NextShares") -> dict[str, float]:
    return dict(zip(shares.arms, map(float, shares.shares), strict=True))


def shares_within(
    closed: ClosedWaves, wave: Wave, rule: AllocationRule, model_name: str
) -> StratumShares:
    """Shares of a wave by its rule, learned within strata."""
    columns = rule.columns_within(closed.spec.strata_of(wave))
    labels = closed.labels(rule.learned_on, columns)
    counts = dict(pl.concat(labels.values()).value_counts().iter_rows())
    names = sorted(counts)
    posteriors = posteriors_within(closed, model_name, names, labels)
    shares = {name: learned_shares(posteriors[name], wave, rule) for name in names}
    return StratumShares(columns, shares, {name: counts[name] for name in names})


def posteriors_within(
    closed: ClosedWaves, model_name: str, names: Sequence[str], labels: Mapping[str, pl.Series]
) -> "dict[str, ArmPosterior | StratumPosterior]":
    """Posterior of the arms in each stratum, from closed waves."""
    model = closed.spec.models[model_name]
    parts = {name: closed.in_stratum(name, labels) for name in names}
    if model.pooling == "partial":
        evidence = [evidence_of(part, model, list(labels)).wanted for part in parts.values()]
        return pooled_posteriors(names, [one.totals() for one in evidence], evidence[0].arms)
    found: dict[str, ArmPosterior | StratumPosterior] = {}
    for name, part in parts.items():
        try:
            found[name] = posterior_of(part, model_name, list(labels))
        except EstimationError as error:
            raise EstimationError(
                f"stratum '{name}': {error.message}; for shares within strata that small take a "
                'model of kind "beta binomial" with pooling = "partial", or fewer columns in '
                "`within`"
            ) from error
    return found


def pooled_posteriors(
    names: Sequence[str], totals: Sequence[pl.DataFrame], arms: Sequence[str]
) -> "dict[str, ArmPosterior | StratumPosterior]":
    """Posteriors of strata that inform each other, from successes and trials by arm in each."""
    y, n = (np.array([total[name].to_numpy() for total in totals])
            for name in ("successes", "trials"))  # fmt: skip
    pooled = pooled_beta_binomial(y, n, arms=arms, strata=names)
    return {name: pooled.stratum(name) for name in names}


def shares_of_strata(
    by_stratum: Mapping[str, Mapping[str, float]],
    elsewhere: Mapping[str, float],
    strata: pl.Series,
    within: pl.Series,
) -> dict[str, dict[str, float]]:
    """Shares by the strata of a draw, from those of the strata that were learned within.

    A stratum that no wave was learned in takes the shares that were learned over all.
    """
    pairs = pl.DataFrame({"stratum": strata, "within": within}).unique().sort("stratum")
    return {stratum: dict(by_stratum.get(name, elsewhere)) for stratum, name in pairs.iter_rows()}


# Priors: what the study file says of all arms, of single ones, and of an earlier study.


def beta_priors(
    model: Model, arms: Sequence[str], *, prior_weight: float = 1.0, is_reversed: bool = False
) -> FloatArray:
    """Beta prior of each arm, (n_arms, 2); of failures where these are counted for successes.

    What is known of single arms counts by its weight: between the common prior and the arm's own,
    and as that share of the earlier study's successes and failures.
    """
    common, found = np.array(model.prior), []
    for arm in arms:
        own = np.array(model.arm_priors.get(arm, model.prior))
        pair = common + prior_weight * (own - common)
        if model.earlier is not None and arm in model.earlier.results:
            y, n = model.earlier.results[arm]
            pair = pair + prior_weight * model.earlier.weight * np.array([y, n - y])
        found.append(pair[::-1] if is_reversed else pair)
    return np.array(found)


def log_odds_priors(
    model: Model, arms: Sequence[str], *, prior_weight: float = 1.0, is_reversed: bool = False
) -> BinomialPrior:
    """Priors of the hierarchical model: normal where an earlier study knows the arm, else flat."""
    earlier = model.earlier
    weight = 0.0 if earlier is None else prior_weight * earlier.weight
    if earlier is None or weight == 0:
        return BinomialPrior()
    sign = -1.0 if is_reversed else 1.0
    known = {arm: earlier.results[arm] for arm in arms if arm in earlier.results}
    each = {arm: Normal(sd / weight**0.5, sign * mean) for arm, (mean, sd) in known.items()}
    return BinomialPrior(beta=each) if each else BinomialPrior()


@dataclass(frozen=True)
class PriorRow(Record):
    """The decision with the prior at some weight."""

    weight: float  # Of what the study file says of single arms: 0, half, or full.
    arm: str | None  # Of lowest expected regret; None where there is no posterior.
    prob_optimal: float | None
    policy_regret: float | None
    shares: Mapping[str, float]  # Of the next wave, where it is about one.
    reason: str = ""  # Why there is no posterior.


def prior_rows(
    closed: ClosedWaves,
    model_name: str,
    wave_ids: Sequence[str],
    shares: "Callable[[ArmPosterior], NextShares] | None" = None,
) -> tuple[PriorRow, ...]:
    """The decision without the prior's evidence, with half of it, and with all; none without any.

    Half is the prior's density to the power 1/2, as if half of the earlier units had been seen
    (Ibrahim and Chen 2000, *Statistical Science* 15, 46-60).
    """
    if not closed.spec.models[model_name].has_evidence:
        return ()
    rows = []
    for weight in (0.0, 0.5, 1.0):
        try:
            posterior = posterior_of(closed, model_name, wave_ids, prior_weight=weight)
            choice = best_arm(posterior)
            by_arm = {} if shares is None else _by_arm(shares(posterior))
            rows.append(
                PriorRow(weight, choice.arm, choice.prob_optimal, choice.policy_regret, by_arm)
            )
        except EstimationError as error:
            rows.append(PriorRow(weight, None, None, None, {}, error.message))
    return tuple(rows)


def posterior_of(
    closed: ClosedWaves, model_name: str, wave_ids: Sequence[str], *, prior_weight: float = 1.0
) -> "ArmPosterior":
    """Posterior of the arms from closed waves, the control left out.

    The weight is that of what the study file knows of single arms beforehand.

    Where lower is better it is the posterior of the reversed outcome: of failures instead of
    successes, of scores times -1. The best arm is then the one that brings the lowest outcome.
    """
    fit = _FITS[closed.spec.models[model_name].kind]
    return fit(closed, model_name, wave_ids, prior_weight)


def _beta_posterior(
    closed: ClosedWaves, name: str, wave_ids: Sequence[str], prior_weight: float
) -> "BetaBinomial":
    model = closed.spec.models[name]
    evidence = evidence_of(closed, model, wave_ids).wanted
    total = evidence.totals()
    counts = total["successes"].to_numpy(), total["trials"].to_numpy()
    prior = beta_priors(
        model, evidence.arms, prior_weight=prior_weight, is_reversed=evidence.is_reversed
    )
    return beta_binomial(*counts, prior=prior, arms=evidence.arms)


def _normal_posterior(
    closed: ClosedWaves, name: str, wave_ids: Sequence[str], _: float = 1.0
) -> "NormalMeans":
    """Posterior of means of the outcome, turned round where lower is better."""
    model = closed.spec.models[name]
    outcome = closed.spec.outcome(model.outcome)
    waves = [closed.plan(wave_id) for wave_id in wave_ids]
    _require_randomized(waves)
    arms = dict.fromkeys(
        arm.id for wave in waves for arm in closed.spec.arms_of(wave) if arm.id != wave.control_id
    )
    parts = [closed.data(wave_id) for wave_id in wave_ids]
    why = next((d.not_estimable[outcome.id] for d in parts if outcome.id in d.not_estimable), None)
    if why is not None:
        raise EstimationError(why)
    value = pl.concat([outcome.sign * outcome_values(data, outcome) for data in parts])
    arm = pl.concat([data.arm for data in parts])
    cluster = pl.concat([cluster_column(data, model) for data in parts])
    taken = arm.is_in(list(arms))
    return normal_means(
        value.filter(taken),
        arm.filter(taken),
        cluster=None if model.cluster is None else cluster.filter(taken),
        arms=list(arms),
    )


def _cluster_posterior(
    closed: ClosedWaves, name: str, wave_ids: Sequence[str], prior_weight: float
) -> "HierarchicalBinomial":
    model = closed.spec.models[name]
    part = () if closed.stratum is None else (closed.stratum,)
    rng = stream(closed.spec.study.seed, "posterior", name, *wave_ids, *part)
    return _hierarchical(evidence_of(closed, model, wave_ids).wanted, model, rng, prior_weight)


def _hierarchical(
    evidence: Evidence, model: Model, rng: np.random.Generator, prior_weight: float = 1.0
) -> "HierarchicalBinomial":
    seen = sorted(set(evidence.rows["arm"]))
    return hierarchical_binomial(
        *evidence.columns(),
        prior=log_odds_priors(
            model, seen, prior_weight=prior_weight, is_reversed=evidence.is_reversed
        ),
        overdispersion=model.overdispersion,
        clusters=model.clusters,
        cluster_sizes=evidence.cluster_sizes,
        new_units=model.new_units,
        rng=rng,
        n_draws=N_DRAWS,
    )


def model_check(
    closed: ClosedWaves, model_name: str, wave_ids: Sequence[str]
) -> CheckResult | None:
    """Whether a hierarchical model could have made the data, and what the choice would change.

    None for models that have no such check.
    """
    model = closed.spec.models[model_name]
    if model.kind != "hierarchical binomial":
        return None
    rng = stream(closed.spec.study.seed, "model check", model_name, *wave_ids)
    evidence = evidence_of(closed, model, wave_ids)
    plain = _hierarchical(evidence, model, rng)
    check = posterior_predictive_check(plain, *evidence.columns(), rng=rng)
    if check.passed is not False or model.overdispersion is not None:
        return check
    other = model.model_copy(update={"overdispersion": "beta-binomial"})
    wanted = evidence.wanted
    chosen = plain if wanted is evidence else _hierarchical(wanted, model, rng)
    return replace(check, text=f"{check.text} {_change(chosen, _hierarchical(wanted, other, rng))}")


def _change(plain: "HierarchicalBinomial", other: "HierarchicalBinomial") -> str:
    """What the overdispersed model would decide, beside the plain one."""
    chosen, instead = best_arm(plain), best_arm(other)
    same = "the same arm" if chosen.arm == instead.arm else f"{instead.arm} instead"
    return (
        f"That model chooses {same}: {instead.arm} is best with probability "
        f"{instead.prob_optimal:.3f} and expected to lose {100 * instead.policy_regret:.2f} "
        f"percentage points; in the plain model {chosen.arm} is best with probability "
        f"{chosen.prob_optimal:.3f}."
    )


def evidence_of(closed: ClosedWaves, model: Model, wave_ids: Sequence[str]) -> Evidence:
    """Rows of the units whose outcome is known, over closed waves."""
    waves = [closed.plan(wave_id) for wave_id in wave_ids]
    _require_randomized(waves)
    arms = dict.fromkeys(
        arm.id for wave in waves for arm in closed.spec.arms_of(wave) if arm.id != wave.control_id
    )
    rows = pl.concat([_rows(closed.data(wave.id), model, wave.control_id) for wave in waves])
    return Evidence(
        tuple(arms),
        rows,
        closed.spec.outcome(model.outcome).higher_is_better,
        _cluster_sizes(closed, model, wave_ids, rows["cluster"]),
    )


def _cluster_sizes(
    closed: ClosedWaves, model: Model, wave_ids: Sequence[str], used: pl.Series
) -> FloatArray | None:
    """Units that each cluster is to count for, by the column that says so; clusters sorted."""
    name = model.cluster_size
    if name is None:
        return None
    parts = [closed.data(wave_id) for wave_id in wave_ids]
    rows = pl.concat([
        pl.DataFrame({"cluster": cluster_column(part, model),
                      "size": part.units.select(name)[name].cast(pl.Float64, strict=False)})
        for part in parts
    ])  # fmt: skip
    sizes = rows.group_by("cluster").agg(
        pl.col("size").drop_nulls().first(),
        n=pl.col("size").drop_nulls().n_unique(),
        lost=pl.col("size").min(),
    )
    wrong = sizes.filter((pl.col("n") != 1) | ~(pl.col("lost") >= 0))
    if wrong.height:
        raise InputError(
            f"cluster_size: found {wrong.height:,} of {sizes.height:,} clusters with no number, a "
            f"negative one or several in the column '{name}'; needed one number from 0 on for all "
            "units of a cluster; correct it with `wavewise people import DIR FILE --replace`"
        )
    found = sizes.filter(pl.col("cluster").is_in(used.implode()))
    return np.asarray(found.sort("cluster")["size"].to_numpy(), dtype=np.float64)


def _require_randomized(waves: Sequence[Wave]) -> None:
    chosen = not_randomized(waves)
    if chosen:
        raise EstimationError(
            f"waves {', '.join(chosen)}: found arms that were not randomized; needed randomized "
            "ones, since the model takes units of all arms to be alike"
        )


def _rows(data: WaveData, model: Model, control: str | None) -> pl.DataFrame:
    trials = f"{model.outcome}.trials"
    one = pl.repeat(1.0, len(data), eager=True)
    frame = pl.DataFrame(
        {
            "arm": data.arm,
            "successes": data.outcomes[model.outcome].cast(pl.Float64),
            "trials": data.outcomes[trials].cast(pl.Float64) if trials in data.outcomes else one,
            "cluster": cluster_column(data, model),
        }
    )
    return frame.filter(pl.col("successes").is_not_null() & (pl.col("arm") != (control or "")))


# Models of scores by period: rows from what closed waves froze, and their posteriors.

N_SCORE_DRAWS = 20_000


def score_fits(closed: ClosedWaves, wave_ids: tuple[str, ...]) -> tuple[ScoreFit, ...]:
    """Every model of scores, from the units of these waves."""
    return tuple(_score_fit(closed, name, wave_ids) for name in score_model_names(closed.spec))


def _score_fit(closed: ClosedWaves, name: str, wave_ids: tuple[str, ...]) -> ScoreFit:
    panels: ScorePanels | NotEstimable
    try:
        panels = panels_of(closed, name, wave_ids)
    except (EstimationError, InputError) as error:
        panels = NotEstimable(error.message)
    return ScoreFit(name, closed.spec.outcome(closed.spec.models[name].outcome), wave_ids, panels)


def score_model_names(spec: StudySpec) -> tuple[str, ...]:
    """Models of kind "hierarchical normal", in the order of the study file."""
    return tuple(name for name, model in spec.models.items() if model.kind == "hierarchical normal")


def panels_of(
    closed: ClosedWaves,
    name: str,
    wave_ids: Sequence[str],
    *,
    check: bool = True,
    sign: float = 1.0,
) -> "ScorePanels":
    """A model of scores in the complete panel and in all units, from closed waves.

    The scores are those that the last of the waves froze when it was closed, times `sign`.
    """
    rng = stream(closed.spec.study.seed, "score panels", name, *wave_ids)
    rows = score_arguments(closed, name, wave_ids)
    rows["score"] = sign * rows["score"]
    return score_panels(**rows, rng=rng, n_draws=N_SCORE_DRAWS, check=check)


def score_posterior(
    closed: ClosedWaves, name: str, wave_ids: Sequence[str], _: float = 1.0
) -> "HierarchicalNormal":
    """Posterior of the arms' effects from all units with a score before and after: that decides.

    Of scores times -1 where lower is better.
    """
    sign = closed.spec.outcome(closed.spec.models[name].outcome).sign
    fit = panels_of(closed, name, wave_ids, check=False, sign=sign).all.by_arm
    if isinstance(fit, NotEstimable):
        raise EstimationError(fit.reason)
    return fit


_FITS: "Mapping[str, Callable[[ClosedWaves, str, Sequence[str], float], ArmPosterior]]" = {
    "beta binomial": _beta_posterior,
    "normal": _normal_posterior,
    "hierarchical binomial": _cluster_posterior,
    "hierarchical normal": score_posterior,
}


def score_arguments(closed: ClosedWaves, name: str, wave_ids: Sequence[str]) -> dict[str, Any]:
    """What `score_panels` takes: one row per unit and period, the control, arms, periods."""
    model = closed.spec.models[name]
    outcome = closed.spec.outcome(model.outcome)
    waves = [closed.plan(wave_id) for wave_id in wave_ids]
    _require_randomized(waves)
    controls = {wave.control_id for wave in waves}
    if len(controls) > 1 or None in controls:
        raise InputError(
            f"model '{name}': found no control arm that {', '.join(wave_ids)} have in common; "
            "needed one, since effects on scores are differences from it"
        )
    rows = _score_rows(closed, model, outcome, wave_ids)
    arms = dict.fromkeys(arm.id for wave in waves for arm in closed.spec.arms_of(wave))
    return {
        "score": rows["score"].fill_null(np.nan).to_numpy(),
        "unit": rows["unit_id"].to_list(),
        "cluster": rows["cluster"].to_list(),
        "period": rows["period"].to_list(),
        "arm": rows["arm"].to_list(),
        "treated": rows["treated"].to_numpy(),
        "control": controls.pop(),
        "arms": list(arms),
        "periods": list(outcome.periods) or [outcome.id],
    }


def _score_rows(
    closed: ClosedWaves, model: Model, outcome: Outcome, wave_ids: Sequence[str]
) -> pl.DataFrame:
    """One row per unit and period; a score is null where it is missing."""
    units = pl.concat([_units(closed.data(wave_id), model, wave_id) for wave_id in wave_ids])
    if outcome not in score_outcomes(closed.spec):
        scores = [_single(closed.data(wave_id), outcome) for wave_id in wave_ids]
        one = {"period": pl.lit(outcome.id), "treated": pl.lit(value=True)}
        return units.with_columns(score=pl.concat(scores), **one)
    begins = first_periods(outcome, [wave.id for wave in closed.spec.waves]) or {}
    frozen = closed.scores(wave_ids).filter(outcome_id=outcome.id)
    periods = pl.DataFrame({"period": outcome.periods}).with_row_index("place")
    starts = {wave: outcome.periods.index(begins[wave]) for wave in wave_ids}
    start = pl.col("wave").replace_strict(starts, return_dtype=pl.Int64)
    return (
        units.join(periods, how="cross")
        .with_columns(treated=pl.col("place") >= start)
        .join(
            frozen.select("unit_id", "period", "score"),
            on=["unit_id", "period"],
            how="left",
            maintain_order="left",
        )
    )


def _single(data: WaveData, outcome: Outcome) -> pl.Series:
    """Scores of an outcome without periods, one per unit."""
    if outcome.id not in data.outcomes.columns:
        return pl.repeat(None, len(data), dtype=pl.Float64, eager=True)
    return data.outcomes[outcome.id].cast(pl.Float64)


def _units(data: WaveData, model: Model, wave_id: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit_id": data.units.ids,
            "wave": pl.repeat(wave_id, len(data), eager=True),
            "arm": data.arm,
            "cluster": cluster_column(data, model),
        }
    )


def cluster_column(data: WaveData, model: Model) -> pl.Series:
    """Cluster of each unit of a wave; one for all where the model has none."""
    if model.cluster is None:
        return pl.repeat("all", len(data), eager=True)
    if model.cluster not in data.units.fields.columns:
        raise InputError(
            f"found no column '{model.cluster}' in the people file; needed the clusters of the "
            "model; name it in [units]"
        )
    return data.units.fields[model.cluster].cast(pl.String)
