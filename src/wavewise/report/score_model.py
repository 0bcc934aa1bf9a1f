"""A model of scores by period as the report shows it: two samples side by side, drawn and told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavewise.report.figures.draw import Figure
from wavewise.report.figures.ridges import RidgePanel, ridge_figure
from wavewise.report.numbers import percent
from wavewise.report.tables import Column, Table

if TYPE_CHECKING:
    from wavewise.report.contents import Outcome

__all__ = ["ScoreModelContents", "score_model_figure", "score_model_table"]


@dataclass(frozen=True)
class ScoreModelContents:
    """A model of scores in two samples.

    Parameters
    ----------
    name : str
        Of the model in the study file.
    outcome : Outcome
        What was measured.
    learned_on : tuple of str
        Waves whose units it holds.
    columns : (str, str)
        Names of the two samples.
    rows : tuple of (str, str, str)
        Heading or term, and what stands in each sample's column.
    note : str
        What the columns hold, and what is assumed.
    panels : tuple of RidgePanel
        Distributions of the arms' effects, a sample each.
    prob : float
        In the intervals.
    """

    name: str
    outcome: "Outcome"
    learned_on: tuple[str, ...]
    columns: tuple[str, str]
    rows: tuple[tuple[str, str, str], ...]
    note: str
    panels: tuple[RidgePanel, ...] = ()
    prob: float = 0.95


def score_model_table(model: ScoreModelContents) -> Table:
    """Effects by arm and pooled, a sample a column, as the study's Table 4 has them."""
    unit = f" ({model.outcome.unit})" if model.outcome.unit else ""
    return Table(
        f"Effects on {model.outcome.label}{unit}, before and after by unit",
        (Column("Term", numeric=False), *(Column(name) for name in model.columns)),
        model.rows,
        note=f"{model.note} Data of {', '.join(model.learned_on)}.",
    )


def score_model_figure(name: str, model: ScoreModelContents) -> Figure | None:
    """Posterior distributions of the arms' effects, a sample below the other; None without any."""
    if not model.panels:
        return None
    unit = f", {model.outcome.unit}" if model.outcome.unit else ""
    return ridge_figure(
        model.panels,
        name=name,
        title=f"Effect on {model.outcome.label} by arm",
        x_title=f"effect against the control{unit}",
        caption=f"Bars are medians, shaded the {percent(model.prob, 0)} HPD interval.",
        effects=True,
    )
