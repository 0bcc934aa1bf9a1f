"""Reports: plain sentences, tables and figures made from the same numbers.

``render`` takes :class:`ReportContents` and gives a self-contained page and its figures;
``posterior_figure`` draws a posterior by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.design.spec import Outcome
    from wavewise.report.contents import (
        ArmRow,
        DecisionContents,
        ReportContents,
        TruthContents,
        TruthRow,
        WaveContents,
    )
    from wavewise.report.effects import EffectRow, OutcomeEffects
    from wavewise.report.evaluation import Evaluation, evaluation_sentences
    from wavewise.report.figures.draw import Figure
    from wavewise.report.figures.ridges import posterior_figure
    from wavewise.report.page import RenderedReport, render
    from wavewise.report.posteriors import OutcomePosterior

__all__ = [
    "ArmRow",
    "DecisionContents",
    "EffectRow",
    "Evaluation",
    "Figure",
    "Outcome",
    "OutcomeEffects",
    "OutcomePosterior",
    "RenderedReport",
    "ReportContents",
    "TruthContents",
    "TruthRow",
    "WaveContents",
    "evaluation_sentences",
    "posterior_figure",
    "render",
]

_HOMES = {
    "EffectRow": "wavewise.report.effects",
    "Evaluation": "wavewise.report.evaluation",
    "Figure": "wavewise.report.figures.draw",
    "Outcome": "wavewise.design.spec",
    "OutcomeEffects": "wavewise.report.effects",
    "OutcomePosterior": "wavewise.report.posteriors",
    "RenderedReport": "wavewise.report.page",
    "evaluation_sentences": "wavewise.report.evaluation",
    "posterior_figure": "wavewise.report.figures.ridges",
    "render": "wavewise.report.page",
}


# Classes that only repeated results, and what is given in their place.
_REPLACED = {
    "Density": "OutcomePosterior, which takes a posterior",
    "EffectsContents": "OutcomeEffects, which takes the result of ww.estimate.ate",
    "PosteriorContents": "OutcomePosterior, which takes a posterior",
    "PosteriorRow": "OutcomePosterior, which takes a posterior",
    "ReasonRow": "the reason as text",
    "ShareRow": "a mapping of arms to shares",
}


def __getattr__(name: str) -> Any:
    if name in _REPLACED:
        raise AttributeError(f"wavewise.report.{name} is gone; give {_REPLACED[name]}")
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "wavewise.report.contents")), name)
    raise AttributeError(f"module 'wavewise.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
