"""What was learned: effects and posteriors of closed waves, computed from the frozen data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.waves import Wave
from wavewise.errors import EstimationError
from wavewise.estimate import ate
from wavewise.results import CheckResult, NotEstimable
from wavewise.workflow.compared import control_of, outcome_values
from wavewise.workflow.frames import HELD_OUT, WaveData, stack, wave_data
from wavewise.workflow.quality import quality_checks
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import Effects

__all__ = [
    "OutcomeEffects",
    "WaveAnalysis",
    "analyse_waves",
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
    return WaveAnalysis(tuple(wave_ids), tuple(effects), quality_checks(study, data, wave_ids))


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
    control = control_of(waves[0])
    if control is None or any(control_of(wave) != control for wave in waves):
        return NotEstimable("the waves have no control arm in common to compare with")
    with_strata = len(waves) > 1 or (estimator != FOR_COMPARISON and plan.strata)
    cluster = data.units.cluster if study.spec.units.error_cluster else None
    try:
        return ate(
            outcome_values(data, outcome).to_numpy(),
            data.condition,
            control=control,
            strata=data.stratum if with_strata else None,
            covariates=_adjustment(data, plan.covariates, estimator),
            interact=estimator == "lin",
            cluster=cluster,
            se=plan.std_error or ("HC2" if cluster is None else "CR2"),
            level=study.spec.study.level,
            arms=_conditions(study, waves[-1]),
        )
    except EstimationError as error:
        return NotEstimable(str(error))


def _conditions(study: Study, wave: Wave) -> list[str]:
    arms = [arm.id for arm in study.spec.arms_of(wave)]
    return [*arms, HELD_OUT] if wave.held_out_share else arms


def _adjustment(data: WaveData, names: tuple[str, ...], estimator: str) -> pl.DataFrame | None:
    if estimator == FOR_COMPARISON or not names:
        return None
    return data.units.fields.select(names)
