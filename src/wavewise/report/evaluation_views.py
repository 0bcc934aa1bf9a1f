"""The section on policies as the template takes it: sentences, drawn figures, tables."""

from collections.abc import Callable
from dataclasses import dataclass

from wavewise.report.evaluation_contents import EvaluationContents
from wavewise.report.evaluation_tables import (
    calibration_table,
    contrast_table,
    curve_table,
    policy_table,
    projection_table,
    spending_table,
)
from wavewise.report.evaluation_words import evaluation_sentences
from wavewise.report.figures.draw import Drawn, Figure, draw_figure
from wavewise.report.figures.policies import (
    contrasts_figure,
    policies_figure,
    spending_figure,
    targeting_figure,
)
from wavewise.report.names import Names
from wavewise.report.tables import Table

__all__ = ["EvaluationView", "evaluation_view"]


@dataclass(frozen=True)
class EvaluationView:
    """An evaluation of policies: what it says, and figures each with their tables."""

    shown: EvaluationContents
    sentences: tuple[str, ...]
    policies: Drawn | None
    policy_table: Table
    contrasts: Drawn | None
    contrast_table: Table | None
    targeting: Drawn | None
    curve_table: Table | None
    spending: Drawn | None
    spending_table: Table | None
    calibration_table: Table | None
    projection_table: Table | None

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Its figures, in their order."""
        found = (self.policies, self.contrasts, self.targeting, self.spending)
        return tuple(item.figure for item in found if item is not None)


def evaluation_view(names: Names, shown: EvaluationContents, unit_name: str) -> EvaluationView:
    """All that the section shows, drawn and printed."""

    def figure(stem: str, draw: Callable[[str, EvaluationContents], Figure | None]) -> Drawn | None:
        return draw_figure(draw(names.new(f"{stem}-{shown.wave}"), shown))

    return EvaluationView(
        shown,
        evaluation_sentences(shown, unit_name),
        figure("policies", policies_figure),
        policy_table(shown),
        figure("contrasts", contrasts_figure),
        contrast_table(shown) if shown.contrasts else None,
        figure("targeting", targeting_figure),
        curve_table(shown),
        figure("spending", spending_figure),
        spending_table(shown),
        calibration_table(shown),
        projection_table(shown),
    )
