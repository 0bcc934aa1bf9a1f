"""What was learned: effects and posteriors of closed waves, computed from the frozen data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.plan import Model
from wavewise.errors import EstimationError, StateError, UnavailableError
from wavewise.estimate import ate, beta_binomial
from wavewise.randomize import balance
from wavewise.results import CheckResult, NotEstimable
from wavewise.workflow.frames import WaveData, stack, wave_data
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import BetaBinomial, Effects

__all__ = [
    "OutcomeEffects",
    "WaveAnalysis",
    "analyse_waves",
    "arm_counts",
    "fitted_model",
    "posterior_from",
    "posterior_of",
    "require_closed",
]

FOR_COMPARISON: Final = "difference in means"


@dataclass(frozen=True)
class OutcomeEffects:
    """Effects on one outcome by one estimator; or why there are none."""

    outcome: Outcome
    estimator: str
    registered: bool
    effects: "Effects | NotEstimable"


@dataclass(frozen=True)
class WaveAnalysis:
    """What one wave, or several together, showed.

    Parameters
    ----------
    waves : tuple of str
        Whose data went in.
    effects : tuple of OutcomeEffects
        The primary outcome first, the registered estimator first.
    checks : tuple of CheckResult
        Of the data.
    """

    waves: tuple[str, ...]
    effects: tuple[OutcomeEffects, ...]
    checks: tuple[CheckResult, ...]


def analyse_waves(study: Study, wave_ids: Sequence[str]) -> WaveAnalysis:
    """Effects in closed waves; several waves are compared within each, never across.

    Raises
    ------
    StateError
        If a wave is not closed.
    """
    for wave_id in wave_ids:
        close = f"close it with `wavewise wave close {study.folder} {wave_id}`"
        study.require_state(wave_id, "closed", close)
    data = stack({wave_id: wave_data(study, wave_id) for wave_id in wave_ids})
    outcomes = sorted(study.spec.outcomes, key=lambda outcome: not outcome.primary)
    effects = [
        item
        for outcome in outcomes
        if outcome.id in data.outcomes.columns
        for item in _effects_on(study, data, wave_ids, outcome)
    ]
    return WaveAnalysis(tuple(wave_ids), tuple(effects), _missing_check(study, data))


def _effects_on(
    study: Study, data: WaveData, wave_ids: Sequence[str], outcome: Outcome
) -> list[OutcomeEffects]:
    plan = study.spec.analysis.effects
    names = [plan.estimator]
    if outcome.primary and len(wave_ids) == 1 and study.spec.units.strata:
        names.append("ols" if plan.estimator == FOR_COMPARISON else FOR_COMPARISON)
    return [
        OutcomeEffects(
            outcome,
            name,
            registered=name == plan.estimator,
            effects=_effects(study, data, wave_ids, outcome, name),
        )
        for name in names
    ]


def _effects(
    study: Study, data: WaveData, wave_ids: Sequence[str], outcome: Outcome, estimator: str
) -> "Effects | NotEstimable":
    plan, waves = study.spec.analysis.effects, [study.wave(wave_id) for wave_id in wave_ids]
    control = waves[0].control_id
    if control is None or any(wave.control_id != control for wave in waves):
        return NotEstimable("the waves have no control arm in common to compare with")
    with_strata = len(waves) > 1 or (estimator != FOR_COMPARISON and plan.strata)
    cluster = data.units.cluster if study.spec.units.error_cluster else None
    try:
        return ate(
            data.outcomes[outcome.id].cast(pl.Float64).to_numpy(),
            data.arm,
            control=control,
            strata=data.stratum if with_strata else None,
            covariates=_adjustment(data, plan.covariates, estimator),
            interact=estimator == "lin",
            cluster=cluster,
            se=plan.std_error or ("HC2" if cluster is None else "CR2"),
            level=study.spec.study.level,
            arms=[arm.id for arm in study.spec.arms_of(waves[-1])],
        )
    except EstimationError as error:
        return NotEstimable(str(error))


def _adjustment(data: WaveData, names: tuple[str, ...], estimator: str) -> pl.DataFrame | None:
    if estimator == FOR_COMPARISON or not names:
        return None
    return data.units.fields.select(names)


def _missing_check(study: Study, data: WaveData) -> tuple[CheckResult, ...]:
    """Whether outcomes are missing more often in some arms than in others."""
    primary, name = study.spec.primary.id, "missing outcomes"
    scope = f"all {data.arm.n_unique()} arms, {len(data):,} units, outcome {primary}"
    if primary not in data.outcomes.columns:
        return (CheckResult(name, scope, None, "No outcome was imported."),)
    n_missing = data.outcomes[primary].null_count()
    if n_missing == 0:
        return (CheckResult(name, scope, True, "No unit's outcome is missing."),)
    missing = pl.DataFrame({"outcome missing": data.outcomes[primary].is_null().cast(pl.Float64)})
    groups = data.units.groups(study.spec)
    tested = balance(missing, data.arm, strata=data.stratum, cluster=groups)
    text = f"{n_missing:,} of {len(data):,} outcomes are missing. {tested.text}"
    return (CheckResult(name, scope, tested.passed, text, tested.table),)


def posterior_of(study: Study, model_name: str, wave_ids: Sequence[str]) -> "BetaBinomial":
    """Posterior of the arms' success probabilities from closed waves, control left out.

    Raises
    ------
    StateError
        If a wave is not closed.
    UnavailableError
        If the model is of a kind that this version cannot fit.
    """
    model = fitted_model(study, model_name)
    return posterior_from(model, [arm_counts(study, model, wave_id) for wave_id in wave_ids])


def fitted_model(study: Study, model_name: str) -> Model:
    """A model of the spec that this version can fit.

    Raises
    ------
    UnavailableError
        If the model is of another kind.
    """
    model = study.spec.models[model_name]
    if model.kind != "beta binomial":
        raise UnavailableError(
            f"model '{model_name}' is of kind '{model.kind}'; this version fits 'beta binomial'"
        )
    return model


def posterior_from(model: Model, counts: Sequence[pl.DataFrame]) -> "BetaBinomial":
    """Posterior from the waves' counts, in the order in which the arms first appear."""
    total = (
        pl.concat(counts)
        .group_by("arm", maintain_order=True)
        .agg(pl.col("successes").sum(), pl.col("trials").sum())
    )
    return beta_binomial(
        total["successes"].to_numpy(),
        total["trials"].to_numpy(),
        prior=model.prior,
        arms=total["arm"].to_list(),
    )


def arm_counts(study: Study, model: Model, wave_id: str) -> pl.DataFrame:
    """Successes and trials of each arm but the control in a closed wave, in the spec's order.

    Raises
    ------
    StateError
        If the wave is not closed.
    """
    wave = study.wave(wave_id)
    close = f"close it with `wavewise wave close {study.folder} {wave.id}`"
    study.require_state(wave.id, "closed", close)
    arms = [arm.id for arm in study.spec.arms_of(wave) if arm.id != wave.control_id]
    data = wave_data(study, wave_id)
    frame = data.outcomes.with_columns(arm=data.arm).filter(pl.col(model.outcome).is_not_null())
    trials = f"{model.outcome}.trials"
    per_unit = pl.col(trials) if trials in frame.columns else pl.lit(1.0)
    sums = frame.group_by("arm").agg(
        pl.col(model.outcome).cast(pl.Float64).sum().alias("successes"),
        (per_unit.cast(pl.Float64) * pl.col(model.outcome).is_not_null()).sum().alias("trials"),
    )
    table = pl.DataFrame({"arm": arms}).join(sums, on="arm", how="left", maintain_order="left")
    return table.with_columns(pl.col("successes", "trials").fill_null(0.0))


def require_closed(study: Study, wave_ids: Sequence[str]) -> None:
    """Refuse where one of the waves is not closed.

    Raises
    ------
    StateError
        With the waves that are not.
    """
    rows = {wave_id: study.store.wave(wave_id) for wave_id in wave_ids}
    waiting = [name for name, row in rows.items() if row is None or row.state != "closed"]
    if waiting:
        raise StateError(
            f"waves {', '.join(waiting)} are not closed; needed the outcomes of "
            f"{', '.join(wave_ids)}; close them first"
        )
