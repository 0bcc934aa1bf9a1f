"""Effects in closed waves, and the checks of their data, computed from what was frozen."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from wavewise.design.spec import Outcome, StudySpec
from wavewise.design.waves import AllocationRule, SharesByStratum, Wave, not_randomized
from wavewise.errors import EstimationError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.false_discovery import q_values
from wavewise.estimate.effects.persistence import Persistence, persistence
from wavewise.estimate.observational import marked, propensity
from wavewise.evaluate import checks
from wavewise.fieldwork.outcomes import period_column
from wavewise.report.effects import DOUBLY_ROBUST, OutcomeEffects
from wavewise.shared.results import CheckResult, NotEstimable
from wavewise.workflow.frames import (
    HELD_OUT,
    ClosedWaves,
    WaveData,
    control_of,
    outcome_values,
    stack,
)
from wavewise.workflow.intake import score_outcomes
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import Effects

__all__ = ["FieldRecords", "effects_of", "quality_checks", "read_field_records"]

FOR_COMPARISON: Final = "difference in means"


@dataclass(frozen=True)
class Comparison:
    """What an estimator of effects is given: units of one wave or several, and how they compare."""

    data: WaveData
    outcome: pl.Series
    control: str
    arms: tuple[str, ...]  # In the order of the study file.
    covariates: pl.DataFrame | None
    cluster: pl.Series | None
    several: bool  # Whether there are several waves, each compared within itself.
    observed: pl.DataFrame | None  # Covariates for propensities, where arms were not randomized.
    with_strata: bool  # Whether the plan adjusts for strata.
    std_error: Any
    level: float
    propensity: Any  # (n_units,): Where shares differ by stratum; None elsewhere.


def effects_of(closed: ClosedWaves, wave_ids: Sequence[str]) -> tuple[OutcomeEffects, ...]:
    """Effects in closed waves; several waves are compared within each, never across.

    The primary outcome comes first, the registered estimator first.
    """
    data = stack({wave_id: closed.data(wave_id) for wave_id in wave_ids})
    waves = [closed.plan(wave_id) for wave_id in wave_ids]
    plan = closed.spec.analysis.effects
    outcomes = sorted(closed.spec.goals, key=lambda outcome: not outcome.primary)
    found = tuple(
        OutcomeEffects(
            outcome,
            _estimated(estimator, comparison),
            estimator=estimator,
            registered=estimator in (plan.estimator, DOUBLY_ROBUST),
            learned_on=tuple(wave_ids),
            costs=_costs(closed.spec, data, waves) if outcome.primary else {},
            currency=closed.spec.study.currency or "",
            curve=_curve(closed.spec, comparison, waves, outcome, estimator),
        )
        for outcome in outcomes
        if outcome.id in data.outcomes.columns or outcome.id in data.not_estimable
        for comparison in [_comparison(closed.spec, data, waves, outcome)]
        for estimator in _estimators(closed.spec, outcome, waves)
    )
    return found if plan.false_discovery == "none" else _with_q_values(closed.spec, found)


def _costs(spec: StudySpec, data: WaveData, waves: Sequence[Wave]) -> dict[str, float]:
    """What each arm's messages cost per unit in one wave; a policy's by what it gave its units."""
    if len(waves) > 1:
        return {}
    arms = spec.arms_of(waves[0])
    every = {arm.id: arm for arm in (*(a for w in spec.waves for a in spec.arms_of(w)), *arms)}
    costs = {name: spec.cost_per_unit(waves[0], arm) for name, arm in every.items()}
    for arm in arms:
        if arm.policy is not None:
            given = data.content.filter(data.arm == arm.id).drop_nulls()
            each = given.replace_strict(costs, default=None, return_dtype=pl.Float64)
            costs[arm.id] = (
                None if each.null_count() or each.is_empty() else float(each.to_numpy().mean())
            )
    return {arm.id: cost for arm in arms if (cost := costs[arm.id])}


def _with_q_values(
    spec: StudySpec, found: tuple[OutcomeEffects, ...]
) -> tuple[OutcomeEffects, ...]:
    """Effects with their q values: of each arm over all outcomes, by the registered estimator.

    Targets sum outcomes up and are no further tests of the family.
    """
    outcomes = {outcome.id for outcome in spec.outcomes}
    family = [item for item in found if item.registered and item.outcome.id in outcomes]
    by_arm: dict[str, dict[str, float]] = {}
    for item in family:
        if not isinstance(item.effects, NotEstimable):
            for arm, p in zip(item.effects.names, item.effects.p_value.tolist(), strict=True):
                by_arm.setdefault(arm, {})[item.outcome.id] = p
    method = spec.analysis.effects.false_discovery
    q = {arm: q_values(p, method=method) for arm, p in by_arm.items()}  # type: ignore[arg-type]
    own = {
        (arm, name): value
        for arm, result in q.items()
        for name, value in zip(result.names, result.q_value.tolist(), strict=True)
        if math.isfinite(value)
    }
    return tuple(
        replace(
            item,
            q_values={arm: own[arm, item.outcome.id] for arm in q if (arm, item.outcome.id) in own},
        )
        if item in family
        else item
        for item in found
    )


def _curve(
    spec: StudySpec,
    case: Comparison | NotEstimable,
    waves: Sequence[Wave],
    outcome: Outcome,
    estimator: str,
) -> "Persistence | NotEstimable | None":
    """Effects on an outcome by week, in one wave, by the registered estimator."""
    periods = spec.periods(outcome, waves[0])
    if len(waves) > 1 or len(periods) < 2 or estimator != spec.analysis.effects.estimator:
        return None
    if isinstance(case, NotEstimable):
        return case
    names = {period: period_column(outcome.id, period) for period in periods}
    if not set(names.values()) <= set(case.data.outcomes.columns):
        return NotEstimable("its weeks were not kept when the wave was closed")
    adjusted = estimator != FOR_COMPARISON
    try:
        return persistence(
            {period: case.data.outcomes[name].to_numpy() for period, name in names.items()},
            case.data.condition,
            control=case.control,
            n_during=spec.n_during(outcome, waves[0]),
            strata=case.data.stratum if adjusted and case.with_strata else None,
            covariates=case.covariates if adjusted else None,
            interact=estimator == "lin",
            cluster=case.cluster,
            se=case.std_error or ("HC2" if case.cluster is None else "CR2"),
            level=case.level,
            arms=list(case.arms),
        )
    except EstimationError as error:
        return NotEstimable(str(error))


def _estimators(spec: StudySpec, outcome: Outcome, waves: Sequence[Wave]) -> list[str]:
    """The registered one, and for the primary outcome of one wave another beside it."""
    if not_randomized(waves):
        return [DOUBLY_ROBUST]
    names: list[str] = [spec.analysis.effects.estimator]
    if outcome.primary and len(waves) == 1 and spec.strata_of(waves[0]):
        names.append("ols" if names[0] == FOR_COMPARISON else FOR_COMPARISON)
    return names


def _comparison(
    spec: StudySpec, data: WaveData, waves: Sequence[Wave], outcome: Outcome
) -> Comparison | NotEstimable:
    if outcome.id in data.not_estimable:
        return NotEstimable(data.not_estimable[outcome.id])
    plan, control = spec.analysis.effects, control_of(waves[0])
    if control is None or any(control_of(wave) != control for wave in waves):
        return NotEstimable("the waves have no control arm in common to compare with")
    arms = tuple(arm.id for arm in spec.arms_of(waves[-1]))
    return Comparison(
        data,
        outcome_values(data, outcome),
        control,
        (*arms, HELD_OUT) if waves[-1].held_out_share else arms,
        covariates=data.units.select(*plan.covariates) if plan.covariates else None,
        cluster=data.units.cluster if spec.error_cluster else None,
        several=len(waves) > 1,
        observed=data.units.covariates(spec.covariates_of(waves[-1]))
        if not_randomized(waves)
        else None,
        with_strata=plan.strata,
        std_error=plan.std_error,
        level=spec.study.level,
        propensity=_differing(data, waves),
    )


def _differing(data: WaveData, waves: Sequence[Wave]) -> Any:
    """Propensities of a wave whose shares differ by stratum, (n_units,); None for others.

    One mean over its strata would compare different ones; halves that are held out are beyond it.
    """
    by_stratum = any(
        isinstance(wave.shares, SharesByStratum)
        or (isinstance(wave.shares, AllocationRule) and wave.shares.within)
        for wave in waves
    )
    if not by_stratum or any(wave.held_out_share for wave in waves):
        return None
    values = data.propensity.cast(pl.Float64)
    return None if values.null_count() else values.to_numpy()


def _estimated(estimator: str, comparison: Comparison | NotEstimable) -> "Effects | NotEstimable":
    if isinstance(comparison, NotEstimable):
        return comparison
    try:
        effects = _ESTIMATORS[estimator](comparison)
        learned = comparison.data.surrogates.get(comparison.outcome.name)
        return effects if learned is None else _with_learning(effects, estimator, comparison)
    except EstimationError as error:
        return NotEstimable(str(error))


def _with_learning(effects: "Effects", estimator: str, case: Comparison) -> "Effects":
    """Effects on a surrogate index whose errors hold what is not known of its slopes."""
    learned = case.data.surrogates[case.outcome.name]
    parts = [case.data.outcomes[name].cast(pl.Float64) for name in learned.surrogates]
    complete = case.outcome.is_not_null()
    each = [
        replace(case, outcome=pl.select(pl.when(complete).then(part)).to_series()) for part in parts
    ]
    return learned.with_learning(effects, [_ESTIMATORS[estimator](part) for part in each])


def _fit(case: Comparison, *, adjusted: bool = True, interact: bool = False) -> "Effects":
    strata = case.data.stratum if case.several or (adjusted and case.with_strata) else None
    return ate(
        case.outcome.to_numpy(),
        case.data.condition,
        control=case.control,
        strata=strata,
        covariates=case.covariates if adjusted else None,
        interact=interact,
        cluster=case.cluster,
        weights=None if case.propensity is None or strata is not None else 1 / case.propensity,
        se=case.std_error or ("HC2" if case.cluster is None else "CR2"),
        level=case.level,
        arms=list(case.arms),
    )


def _doubly_robust(case: Comparison) -> "Effects":
    """Least squares weighted by one over estimated propensities, covariates interacted."""
    found = propensity(case.observed, case.data.arm, cluster=case.cluster)
    effects = ate(
        found.leave_out_trimmed(case.outcome),
        case.data.arm,
        control=case.control,
        strata=case.data.stratum if case.several else None,
        covariates=case.observed,
        missing_covariates="indicator",
        cluster=case.cluster,
        weights=found.weights,
        se=case.std_error or ("HC2" if case.cluster is None else "CR2"),
        level=case.level,
        arms=list(case.arms),
    )
    return cast("Effects", marked(effects, found))


_ESTIMATORS: "Mapping[str, Callable[[Comparison], Effects]]" = {
    FOR_COMPARISON: partial(_fit, adjusted=False),
    "ols": _fit,
    "lin": partial(_fit, interact=True),
    DOUBLY_ROBUST: _doubly_robust,
}


# Checks of a wave's data: those of `wavewise.evaluate.checks` that the study's data allow.

ARRIVED = ("delivered", "read", "answered")


@dataclass(frozen=True)
class FieldRecords:
    """What the field brought beside outcomes: messages by wave, deliveries of each score."""

    messages: Mapping[str, pl.DataFrame]
    score_deliveries: Mapping[str, pl.DataFrame]


def read_field_records(study: Study, wave_ids: Sequence[str]) -> FieldRecords:
    """Records that the checks of these waves need."""
    store = study.store
    return FieldRecords(
        {wave_id: store.deliveries.rows(wave_id) for wave_id in wave_ids},
        {o.id: store.scores.deliveries([o.id]) for o in score_outcomes(study.spec)},
    )


@dataclass(frozen=True)
class Checked:
    """Waves whose data are checked, with all closed waves so far and what the field brought."""

    closed: ClosedWaves
    wave_ids: tuple[str, ...]
    data: WaveData  # Of the waves together.
    records: FieldRecords


def quality_checks(
    closed: ClosedWaves, wave_ids: Sequence[str], records: FieldRecords
) -> tuple[CheckResult, ...]:
    """Missing outcomes and their bounds, scores, drift of the control, exposure to messages."""
    data = stack({wave_id: closed.data(wave_id) for wave_id in wave_ids})
    checked = Checked(closed, tuple(wave_ids), data, records)
    return tuple(result for check in _CHECKS for result in check(checked))


def _missing(of: Checked) -> Iterator[CheckResult]:
    closed, data, primary = of.closed, of.data, of.closed.spec.primary
    if primary.id not in data.outcomes.columns:
        scope = f"all {data.arm.n_unique()} arms, {len(data):,} units, outcome {primary.id}"
        yield CheckResult("missing outcomes", scope, None, "No outcome was imported.")
        return
    values = outcome_values(data, primary)
    yield checks.missing_outcomes(
        values.to_numpy(), data.arm, strata=data.stratum, cluster=data.units.groups(closed.spec)
    )
    controls = {control_of(closed.plan(wave_id)) for wave_id in of.wave_ids}
    if values.null_count() == 0 or len(controls) > 1 or None in controls:
        return
    low, high = (0.0, 1.0) if primary.scale == "binary" else (None, None)
    yield _or_reason(
        "bounds for missing outcomes",
        f"outcome {primary.id}",
        lambda: checks.attrition_bounds(
            values.to_numpy(), data.arm, control=controls.pop(), lowest=low, highest=high
        ),
    )


def _scores(of: Checked) -> Iterator[CheckResult]:
    """Heaping and implausible clusters of each score."""
    spec, data = of.closed.spec, of.data
    has_cluster = spec.error_cluster is not None
    for outcome in spec.outcomes:
        if outcome.kind != "score" or outcome.id not in data.outcomes.columns:
            continue
        measured = data.outcomes[outcome.id].is_not_null()
        if not measured.any():
            continue
        values = data.outcomes[outcome.id].filter(measured).cast(pl.Float64).to_numpy()
        cluster = data.units.cluster.filter(measured) if has_cluster else None
        yield checks.heaping(values, arm=data.arm.filter(measured), cluster=cluster)
        if cluster is not None:
            yield checks.implausible_clusters(values, cluster)


def _late(of: Checked) -> Iterator[CheckResult]:
    """Scores that came after the first delivery of their period, against the others."""
    spec, data = of.closed.spec, of.data
    units = pl.DataFrame(
        {"unit_id": data.units.ids, "arm": data.arm, "cluster": data.units.cluster}
    )
    for deliveries in of.records.score_deliveries.values():
        first = deliveries.sort("delivered_at_utc_us").unique(
            ["unit_id", "period"], keep="first", maintain_order=True
        )
        begun = first.group_by("period").agg(begins=pl.col("delivered_at_utc_us").min())
        rows = first.join(units, on="unit_id", maintain_order="left").join(begun, on="period")
        rows = rows.with_columns(late=pl.col("delivered_at_utc_us") > pl.col("begins"))
        if not rows["late"].any():
            continue
        yield checks.late_deliveries(
            rows["score"].to_numpy(),
            rows["arm"],
            rows["late"].to_numpy(),
            period=rows["period"],
            cluster=rows["cluster"] if spec.error_cluster else None,
        )


def _drift(of: Checked) -> Iterator[CheckResult]:
    """The control in these waves and in those that were closed before."""
    closed, wave_ids = of.closed, of.wave_ids
    order = [wave.id for wave in closed.spec.waves]
    control = control_of(closed.plan(wave_ids[0]))
    primary = closed.spec.primary
    parts = {
        name: closed.data(name)
        for name in closed.until(max(wave_ids, key=order.index))
        if control_of(closed.plan(name)) == control
        and primary.id in closed.data(name).outcomes.columns
    }
    if control is None or len(parts) < 2:
        return
    wave = pl.concat([pl.repeat(name, len(data), eager=True) for name, data in parts.items()])
    clusters = pl.concat([data.units.cluster for data in parts.values()])
    yield checks.control_drift(
        pl.concat([outcome_values(data, primary) for data in parts.values()]).to_numpy(),
        pl.concat([data.arm for data in parts.values()]),
        wave,
        control=control,
        cluster=clusters if closed.spec.error_cluster else None,
    )


def _exposure(of: Checked) -> Iterator[CheckResult]:
    """Messages due and delivered, where they went out through the outbox."""
    spec, data = of.closed.spec, of.data
    rows = pl.concat([of.records.messages[wave_id] for wave_id in of.wave_ids])
    if rows.is_empty():
        return
    arrived = ARRIVED if rows["state"].is_in(ARRIVED).any() else ("sent",)
    each = rows.group_by("unit_id").agg(
        due=pl.len(), delivered=pl.col("state").is_in(arrived).sum()
    )
    units = pl.DataFrame({"unit_id": data.units.ids}).join(
        each, on="unit_id", how="left", maintain_order="left"
    )
    yield checks.dose_by_arm(
        units["delivered"].fill_null(0).to_numpy(),
        units["due"].fill_null(0).to_numpy(),
        data.arm,
        strata=data.stratum,
        cluster=data.units.groups(spec),
    )


def _later(of: Checked) -> Iterator[CheckResult]:
    """Covariates that were measured after the draw: what they adjust for may be an effect."""
    plan = of.closed.spec
    used = {*plan.design_columns}
    later = [name for name in of.data.units.later if name in used]
    if later:
        yield CheckResult(
            "covariates measured after the draw",
            f"waves {', '.join(of.wave_ids)}",
            None,
            f"{', '.join(later)}: first imported or derived after the wave was opened. Where "
            "messages can change a covariate, adjusting for it, or learning policies from it, is "
            "biased.",
        )


_CHECKS = (_missing, _later, _scores, _late, _drift, _exposure)


def _or_reason(name: str, scope: str, check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except EstimationError as error:
        return CheckResult(name, scope, None, f"Inconclusive: {error.message}.")
