"""Reports: plain sentences, tables and figures made from the same numbers.

``render`` takes :class:`ReportContents` and gives a self-contained page and its figures;
``posterior_figure`` draws a posterior by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.report.contents import (
        ArmRow,
        DecisionContents,
        Density,
        EffectRow,
        EffectsContents,
        Outcome,
        PosteriorContents,
        PosteriorRow,
        ReasonRow,
        ReportContents,
        ShareRow,
        TruthContents,
        TruthRow,
        WaveContents,
    )
    from wavewise.report.figures.draw import Figure
    from wavewise.report.figures.ridges import posterior_figure
    from wavewise.report.page import RenderedReport, render

__all__ = [
    "ArmRow",
    "DecisionContents",
    "Density",
    "EffectRow",
    "EffectsContents",
    "Figure",
    "Outcome",
    "PosteriorContents",
    "PosteriorRow",
    "ReasonRow",
    "RenderedReport",
    "ReportContents",
    "ShareRow",
    "TruthContents",
    "TruthRow",
    "WaveContents",
    "posterior_figure",
    "render",
]

_HOMES = {
    "Figure": "figures.draw",
    "RenderedReport": "page",
    "posterior_figure": "figures.ridges",
    "render": "page",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = _HOMES.get(name, "contents")
        return getattr(import_module(f"wavewise.report.{module}"), name)
    raise AttributeError(f"module 'wavewise.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
