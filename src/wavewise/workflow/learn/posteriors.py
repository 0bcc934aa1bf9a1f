"""Posteriors of a study's models, from closed waves."""

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
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.normal.panels import score_panels
from wavewise.report.models import ScoreFit
from wavewise.shared.results import CheckResult, FloatArray, NotEstimable
from wavewise.shared.streams import stream
from wavewise.workflow.frames import ClosedWaves, WaveData, outcome_values
from wavewise.workflow.intake import score_outcomes

if TYPE_CHECKING:
    from wavewise.decide import NextShares
    from wavewise.estimate import (
        BetaBinomial,
        HierarchicalBinomial,
        HierarchicalNormal,
        NormalMeans,
        ScorePanels,
    )

__all__ = [
    "evidence_of",
    "learned_shares",
    "model_check",
    "posterior_of",
    "score_fits",
    "score_model_names",
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
        return Evidence(self.arms, self.rows.with_columns(successes=failures))

    def totals(self) -> pl.DataFrame:
        """Successes and trials of each arm, zero where it has no units."""
        sums = self.rows.group_by("arm").agg(pl.col("successes", "trials").sum())
        table = pl.DataFrame({"arm": self.arms})
        return table.join(sums, on="arm", how="left", maintain_order="left").fill_null(0.0)


def learned_shares(posterior: "ArmPosterior", wave: Wave, rule: AllocationRule) -> "NextShares":
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


def posterior_of(closed: ClosedWaves, model_name: str, wave_ids: Sequence[str]) -> "ArmPosterior":
    """Posterior of the arms from closed waves, the control left out.

    Where lower is better it is the posterior of the reversed outcome: of failures instead of
    successes, of scores times -1. The best arm is then the one that brings the lowest outcome.
    """
    return _FITS[closed.spec.models[model_name].kind](closed, model_name, wave_ids)


def _beta_posterior(closed: ClosedWaves, name: str, wave_ids: Sequence[str]) -> "BetaBinomial":
    model = closed.spec.models[name]
    evidence = evidence_of(closed, model, wave_ids)
    total = evidence.wanted.totals()
    counts = total["successes"].to_numpy(), total["trials"].to_numpy()
    a, b = model.prior
    prior = (a, b) if evidence.higher_is_better else (b, a)
    return beta_binomial(*counts, prior=prior, arms=evidence.arms)


def _normal_posterior(closed: ClosedWaves, name: str, wave_ids: Sequence[str]) -> "NormalMeans":
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
    closed: ClosedWaves, name: str, wave_ids: Sequence[str]
) -> "HierarchicalBinomial":
    model = closed.spec.models[name]
    rng = stream(closed.spec.study.seed, "posterior", name, *wave_ids)
    return _hierarchical(evidence_of(closed, model, wave_ids).wanted, model, rng)


def _hierarchical(
    evidence: Evidence, model: Model, rng: np.random.Generator
) -> "HierarchicalBinomial":
    return hierarchical_binomial(
        *evidence.columns(),
        overdispersion=model.overdispersion,
        clusters=model.clusters,
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
    return Evidence(tuple(arms), rows, closed.spec.outcome(model.outcome).higher_is_better)


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
    closed: ClosedWaves, name: str, wave_ids: Sequence[str]
) -> "HierarchicalNormal":
    """Posterior of the arms' effects from all units with a score before and after: that decides.

    Of scores times -1 where lower is better.
    """
    sign = closed.spec.outcome(closed.spec.models[name].outcome).sign
    fit = panels_of(closed, name, wave_ids, check=False, sign=sign).all.by_arm
    if isinstance(fit, NotEstimable):
        raise EstimationError(fit.reason)
    return fit


_FITS: "Mapping[str, Callable[[ClosedWaves, str, Sequence[str]], ArmPosterior]]" = {
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
