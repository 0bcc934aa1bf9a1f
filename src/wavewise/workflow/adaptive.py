"""Arms of an adaptive experiment by several estimators, and what the arm at the top is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.waves import AllocationRule
from wavewise.errors import EstimationError
from wavewise.estimate import adaptive_comparison
from wavewise.results import NotEstimable
from wavewise.workflow.compared import outcome_values
from wavewise.workflow.frames import stack, wave_data
from wavewise.workflow.rerandomize import procedure_waves
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import WinnerTable

__all__ = ["AdaptiveWaves", "adaptive_waves"]


@dataclass(frozen=True)
class AdaptiveWaves:
    """A wave with the waves that its shares were learned on, compared across.

    Parameters
    ----------
    outcome : Outcome
        The primary one.
    waves : tuple of str
        In time.
    table : WinnerTable or NotEstimable
        Arms by estimator; or why there is none.
    """

    outcome: Outcome
    waves: tuple[str, ...]
    table: "WinnerTable | NotEstimable"

    @property
    def text(self) -> str:
        """Heading and table, or heading and reason."""
        heading = f"{self.outcome.name}, waves {', '.join(self.waves)} together"
        if isinstance(self.table, NotEstimable):
            return f"{heading}\n{self.table}"
        return f"{heading}\n{self.table.summary()}"

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        facts: dict[str, Any] = {"outcome": self.outcome.id, "waves": list(self.waves)}
        if isinstance(self.table, NotEstimable):
            return {**facts, "not_estimable": self.table.reason}
        return {**facts, **self.table.to_dict()}


def adaptive_waves(study: Study, wave_id: str) -> AdaptiveWaves | None:
    """Arms of a closed wave and of those it learned on; None where it learned on none.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        A closed wave.

    Notes
    -----
    Units are weighted with the propensity that was stored when they were drawn. The control is
    shown and cannot win. Outcomes of any kind are compared by their means.
    """
    if not isinstance(study.wave(wave_id).shares, AllocationRule):
        return None
    waves = procedure_waves(study, wave_id)
    if len(waves) < 2:
        return None
    primary = study.spec.primary
    try:
        table: WinnerTable | NotEstimable = _table(study, waves, primary)
    except EstimationError as error:
        table = NotEstimable(error.message)
    return AdaptiveWaves(primary, tuple(waves), table)


def _table(study: Study, waves: Sequence[str], primary: Outcome) -> "WinnerTable":
    planned = [study.wave(wave_id) for wave_id in waves]
    if any(wave.held_out_share for wave in planned):
        raise EstimationError(
            "a wave holds out units within arms, whose arm says nothing about what they got; "
            "compare within waves"
        )
    parts = {wave_id: wave_data(study, wave_id) for wave_id in waves}
    lacking = [name for name, part in parts.items() if primary.id not in part.outcomes.columns]
    if lacking:
        raise EstimationError(f"outcome {primary.id} was not imported in {', '.join(lacking)}")
    data = stack(parts)
    arms = [arm.id for wave in planned for arm in study.spec.arms_of(wave)]
    controls = {wave.control_id for wave in planned} - {None}
    return adaptive_comparison(
        outcome_values(data, primary).to_numpy(),
        data.arm.to_numpy(),
        data.propensity.cast(pl.Float64).to_numpy(),
        wave=pl.concat([pl.repeat(n, len(p), eager=True) for n, p in parts.items()]).to_numpy(),
        cluster=data.units.cluster.to_numpy() if study.spec.units.error_cluster else None,
        level=study.spec.study.level,
        arms=list(dict.fromkeys(arms)),
        control=controls.pop() if len(controls) == 1 else None,
        lower_is_better=not primary.higher_is_better,
    )
