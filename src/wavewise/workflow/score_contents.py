"""Models of scores by period, as the report shows them."""

from typing import TYPE_CHECKING

from wavewise.estimate import HierarchicalNormal
from wavewise.report.figures.ridges import ridge_panel
from wavewise.report.score_model import ScoreModelContents
from wavewise.results import NotEstimable
from wavewise.workflow.effect_contents import is_closed, shown_outcome
from wavewise.workflow.score_models import ScoreFit, score_fits
from wavewise.workflow.scores import after_closing
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import WaveRow

__all__ = ["score_model_contents"]


def score_model_contents(
    study: Study, rows: "dict[str, WaveRow]"
) -> tuple[ScoreModelContents, ...]:
    """Every model of scores after the last closed wave."""
    closed = [wave.id for wave in study.spec.waves if is_closed(rows.get(wave.id))]
    if not closed:
        return ()
    late = " ".join(after_closing(study))
    return tuple(_contents(fit, late) for fit in score_fits(study, closed[-1]))


def _contents(fit: ScoreFit, late: str) -> ScoreModelContents:
    outcome, panels = shown_outcome(fit.outcome), fit.panels
    if isinstance(panels, NotEstimable):
        note = f"{panels}. {late}".strip()
        return ScoreModelContents(fit.model, outcome, fit.waves, ("", ""), (), note)
    drawn = [
        ridge_panel(panel.by_arm, title=panel.name)
        for panel in panels.panels
        if isinstance(panel.by_arm, HierarchicalNormal)
    ]
    return ScoreModelContents(
        name=fit.model,
        outcome=outcome,
        learned_on=fit.waves,
        columns=(panels.complete.name, panels.all.name),
        rows=tuple(panels.cells()),
        note=f"{panels.note()} {late}".strip(),
        panels=tuple(drawn),
    )
