"""Models of scores by period: rows from what closed waves froze, and their posteriors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.periods import first_periods
from wavewise.design.plan import Model
from wavewise.errors import EstimationError, InputError
from wavewise.estimate import score_panels
from wavewise.results import NotEstimable
from wavewise.streams import stream
from wavewise.workflow.frames import WaveData, wave_data
from wavewise.workflow.scores import score_outcomes
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import HierarchicalNormal, ScorePanels

__all__ = [
    "ScoreFit",
    "cluster_column",
    "panels_of",
    "score_arguments",
    "score_fits",
    "score_model_names",
    "score_posterior",
]

N_DRAWS = 20_000


@dataclass(frozen=True)
class ScoreFit:
    """A model of scores as it stands after some closed waves; or why it does not.

    Parameters
    ----------
    model : str
        Its name in the study file.
    outcome : Outcome
    waves : tuple of str
        Whose units it holds.
    panels : ScorePanels or NotEstimable
    """

    model: str
    outcome: Outcome
    waves: tuple[str, ...]
    panels: "ScorePanels | NotEstimable"

    @property
    def text(self) -> str:
        """Heading and table."""
        waves = ", ".join(self.waves)
        return f"Model {self.model} of {self.outcome.name}, units of {waves}\n" + (
            str(self.panels) if isinstance(self.panels, NotEstimable) else self.panels.summary()
        )

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain values, for JSON."""
        facts = {"model": self.model, "outcome": self.outcome.id, "waves": list(self.waves)}
        if isinstance(self.panels, NotEstimable):
            return {**facts, "not_estimable": self.panels.reason}
        return {**facts, **self.panels.to_dict()}


def score_fits(study: Study, wave_id: str) -> tuple[ScoreFit, ...]:
    """Every model of scores after a closed wave, from its units and those of closed ones before."""
    order = [wave.id for wave in study.spec.waves]
    so_far = order[: order.index(wave_id) + 1]
    rows = {row.wave_id: row for row in study.store.waves()}
    closed = tuple(w for w in so_far if w in rows and rows[w].state == "closed")
    return tuple(_score_fit(study, name, closed) for name in score_model_names(study))


def _score_fit(study: Study, name: str, waves: tuple[str, ...]) -> ScoreFit:
    wanted = study.spec.models[name].outcome
    outcome = next(item for item in study.spec.outcomes if item.id == wanted)
    panels: ScorePanels | NotEstimable
    try:
        panels = panels_of(study, name, waves)
    except (EstimationError, InputError) as error:
        panels = NotEstimable(error.message)
    return ScoreFit(name, outcome, waves, panels)


def score_model_names(study: Study) -> tuple[str, ...]:
    """Models of kind "hierarchical normal", in the order of the study file."""
    models = study.spec.models.items()
    return tuple(name for name, model in models if model.kind == "hierarchical normal")


def panels_of(
    study: Study, name: str, wave_ids: Sequence[str], *, check: bool = True, sign: float = 1.0
) -> "ScorePanels":
    """A model of scores in the complete panel and in all units, from closed waves.

    The scores are those that the last of the waves froze when it was closed, times `sign`.
    """
    rng = stream(study.spec.study.seed, "score panels", name, *wave_ids)
    rows = score_arguments(study, name, wave_ids)
    rows["score"] = sign * rows["score"]
    return score_panels(**rows, rng=rng, n_draws=N_DRAWS, check=check)


def score_posterior(study: Study, name: str, wave_ids: Sequence[str]) -> "HierarchicalNormal":
    """Posterior of the arms' effects from all units with a score before and after: that decides.

    Of scores times -1 where lower is better.

    Raises
    ------
    EstimationError
        The scores give no posterior.
    """
    wanted = study.spec.models[name].outcome
    sign = next(item.sign for item in study.spec.outcomes if item.id == wanted)
    fit = panels_of(study, name, wave_ids, check=False, sign=sign).all.by_arm
    if isinstance(fit, NotEstimable):
        raise EstimationError(fit.reason)
    return fit


def score_arguments(study: Study, name: str, wave_ids: Sequence[str]) -> dict[str, Any]:
    """What `hierarchical_normal` is given: a row a unit and period, the control, arms, periods.

    Raises
    ------
    InputError
        No control arm, or another one in every wave.
    """
    model = study.spec.models[name]
    outcome = next(item for item in study.spec.outcomes if item.id == model.outcome)
    waves = [study.wave(wave_id) for wave_id in wave_ids]
    controls = {wave.control_id for wave in waves}
    if len(controls) > 1 or None in controls:
        raise InputError(
            f"model '{name}': found no control arm that {', '.join(wave_ids)} have in common; "
            "needed one, since effects on scores are differences from it"
        )
    rows = _rows(study, model, outcome, wave_ids)
    arms = dict.fromkeys(arm.id for wave in waves for arm in study.spec.arms_of(wave))
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


def _rows(study: Study, model: Model, outcome: Outcome, wave_ids: Sequence[str]) -> pl.DataFrame:
    """One row a unit and period; a score is null where it is missing."""
    order = [wave.id for wave in study.spec.waves]
    units = pl.concat([_units(study, model, wave_id) for wave_id in wave_ids])
    if outcome not in score_outcomes(study):
        scores = [_single(wave_data(study, wave_id), outcome) for wave_id in wave_ids]
        one = {"period": pl.lit(outcome.id), "treated": pl.lit(value=True)}
        return units.with_columns(score=pl.concat(scores), **one)
    begins = first_periods(outcome, order) or {}
    frozen = study.store.frozen_scores(_closed_last(study, wave_ids))
    frozen = frozen.filter(outcome_id=outcome.id)
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


def _closed_last(study: Study, wave_ids: Sequence[str]) -> str:
    """The wave whose closing froze scores of all of them."""
    closed = {row.wave_id: row.closed_at for row in study.store.waves() if row.closed_at}
    return max(wave_ids, key=closed.__getitem__)


def _single(data: WaveData, outcome: Outcome) -> pl.Series:
    """Scores of an outcome without periods: one a unit."""
    if outcome.id not in data.outcomes.columns:
        return pl.repeat(None, len(data), dtype=pl.Float64, eager=True)
    return data.outcomes[outcome.id].cast(pl.Float64)


def _units(study: Study, model: Model, wave_id: str) -> pl.DataFrame:
    data = wave_data(study, wave_id)
    return pl.DataFrame(
        {
            "unit_id": data.units.ids,
            "wave": pl.repeat(wave_id, len(data), eager=True),
            "arm": data.arm,
            "cluster": cluster_column(data, model),
        }
    )


def cluster_column(data: WaveData, model: Model) -> pl.Series:
    """Cluster of each unit of a wave; one for all where the model has none.

    Raises
    ------
    InputError
        The people file has no such column.
    """
    if model.cluster is None:
        return pl.repeat("all", len(data), eager=True)
    if model.cluster not in data.units.fields.columns:
        raise InputError(
            f"found no column '{model.cluster}' in the people file; needed the clusters of the "
            "model; name it in [units]"
        )
    return data.units.fields[model.cluster].cast(pl.String)
