"""The figure of any result: what its `plot` finds by name, since results know nothing of reports.

A result is drawn by what it holds: a posterior as densities, a table with intervals as points with
intervals, a curve as a curve, shares as shaded cells.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from wavewise.decide import NextShares
from wavewise.errors import UnavailableError
from wavewise.estimate import (
    BetaBinomial,
    HierarchicalBinomial,
    HierarchicalNormal,
    PriorSensitivity,
    ScorePanels,
)
from wavewise.evaluate import CostCurve, TargetingCurve
from wavewise.report.figures.curves import CurveLine, curves_figure
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.figures.matrix import matrix_figure
from wavewise.report.figures.ridges import posterior_figure
from wavewise.report.figures.style import Spec
from wavewise.report.numbers import MINUS, decimals_for, fixed, percent
from wavewise.shared.results import NotEstimable, Result

__all__ = ["figure_of", "plotted"]

_BOUNDS = (("estimate", "conf_low", "conf_high"), ("mean", "cred_low", "cred_high"))
_Z = 1.959963984540054
_LEAST_SHARE = 0.05  # before it a curve is noise, and would flatten the rest


def plotted(result: Result, **options: Any) -> Any:
    """The figure as an Altair chart where Altair is installed; else the figure itself."""
    figure = figure_of(result, **options)
    try:
        altair = import_module("altair")
    except ImportError:
        return figure
    return altair.Chart.from_dict(_across(figure.wide))


def _across(spec: Any) -> Any:
    """The same drawing, where a line across the plot says so: Altair knows no null channel."""
    if isinstance(spec, list):
        return [_across(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    ends = {"x": "width", "y": "height"}
    found = {name: _across(part) for name, part in spec.items()}
    for name in (name for name in ends if name in spec and spec[name] is None):
        found |= {name: {"value": 0}, f"{name}2": {"value": ends[name]}}
    return found


def figure_of(result: Result, **options: Any) -> Figure:
    """The figure of a result; options are those of its table, or of `posterior_figure`."""
    for kinds, draw in _DRAWN:
        if isinstance(result, kinds):
            return draw(result, **options)
    return _intervals(result, **options)


def _name(result: Result) -> str:
    return str(result.facts()["kind"])


def _unavailable(result: Result, why: str) -> UnavailableError:
    return UnavailableError(
        f"plot: found {why} in the {type(result).__name__}; needed estimates with intervals, a "
        "posterior, a curve or shares; take to_frame() and draw what you need"
    )


def _figure(result: Result, title: str, text: str, spec: Callable[[str, bool], Spec]) -> Figure:
    alt = f"{title}. {text}."
    stem = "-".join(type(result).__name__.lower().split())
    return Figure(stem, spec(alt, False), spec(alt, True), title, alt, text)


def _intervals(result: Result, **options: Any) -> Figure:
    """Points with intervals, a row of the table each."""
    frame = result.to_frame("polars", **options)
    columns = next((c for c in _BOUNDS if set(c) <= set(frame.columns)), None)
    if columns is None:
        raise _unavailable(result, "no estimates with intervals")
    drawn = frame.filter(
        frame.select(columns).map_rows(lambda row: all(_is_finite(x) for x in row)).to_series()
    )
    if drawn.is_empty():
        raise _unavailable(result, "no interval with two finite ends")
    labels = [name for name in frame.columns[: frame.columns.index(columns[0])]
              if not frame[name].dtype.is_numeric()]  # fmt: skip
    rows = [_interval_row(row, labels, columns) for row in drawn.iter_rows(named=True)]
    level = getattr(result, "level", 0.95)
    title = f"{_title(result)} with {percent(level, 0)} intervals"
    told = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return _figure(
        result, title, told, lambda alt, small: interval_figure(rows, title, alt, narrow=small)
    )


def _title(result: Result) -> str:
    name = _name(result)
    return name[:1].upper() + name[1:]


def _is_finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value))


def _interval_row(
    row: dict[str, Any], labels: Sequence[str], columns: tuple[str, str, str]
) -> IntervalRow:
    value, low, high = (float(row[name]) for name in columns)
    decimals = decimals_for((high - low) / (2 * _Z), 2) if high > low else 3
    text = f"{fixed(value, decimals)} ({fixed(low, decimals)} to {fixed(high, decimals)})"
    known = [str(row[name]) for name in labels if row[name] is not None]
    return IntervalRow(", ".join(known) or "estimate", value, low, high, text)


def _targeting(result: TargetingCurve) -> Figure:
    share, toc, error = (result.curve[name].to_numpy() for name in ("share", "toc", "std_error"))
    ends = (toc - _Z * error, toc + _Z * error)
    points = zip(100 * share, toc, *ends, strict=True)
    line = CurveLine("units ranked first", tuple(p for p in points if p[0] >= 100 * _LEAST_SHARE))
    return _curve(result, line, "Share of units messaged", "more than average")


def _spending(result: CostCurve, n_points: int = 50) -> Figure:
    frame = result.to_frame("polars", n_points=n_points)
    spend, gain, error = (frame[name].to_numpy() for name in ("spend", "gain", "std_error"))
    points = zip(
        100 * spend / result.max_spend, gain, gain - _Z * error, gain + _Z * error, strict=True
    )
    line = CurveLine("best use of each spend", ((0.0, 0.0, 0.0, 0.0), *points))
    return _curve(result, line, "Spend, of the most that is of use", "gain in mean outcome")


def _curve(result: Result, line: CurveLine, x_title: str, y_title: str) -> Figure:
    told = ", ".join(f"{y:.3g} at {x:.0f} %" for x, y, _, _ in line.points[9::10])
    told = f"{x_title} and {y_title}: {told}".replace("-", MINUS)
    return _figure(
        result,
        _title(result),
        told,
        lambda alt, small: curves_figure([line], x_title, y_title, alt, narrow=small),
    )


def _shares(result: NextShares) -> Figure:
    compared = result.arms[: result.prob_optimal.size]
    columns = [
        ("share", dict(zip(result.arms, result.shares.tolist(), strict=True))),
        (
            "probability of being best",
            dict(zip(compared, result.prob_optimal.tolist(), strict=True)),
        ),
    ]
    told = "; ".join(f"{arm}: {percent(share, 1)}" for arm, share in columns[0][1].items())
    return _figure(
        result,
        "Shares of the next wave",
        told,
        lambda alt, small: matrix_figure(result.arms, columns, alt, narrow=small),
    )


def _panels(result: ScorePanels, **options: Any) -> Figure:
    fits = {panel.name: panel.by_arm for panel in result.panels}
    return _several(result, fits, **options)


def _priors(result: PriorSensitivity, **options: Any) -> Figure:
    fits = {str(p): fit for p, fit in zip(result.priors, result.posteriors, strict=True)}
    return _several(result, fits, **options)


def _several(result: Result, fits: dict[str, Any], **options: Any) -> Figure:
    known = {name: fit for name, fit in fits.items() if not isinstance(fit, NotEstimable)}
    if not known:
        raise _unavailable(result, "no posterior")
    return posterior_figure(known, **options)


_DRAWN: tuple[tuple[Any, Callable[..., Figure]], ...] = (
    (BetaBinomial | HierarchicalBinomial | HierarchicalNormal, posterior_figure),
    (ScorePanels, _panels),
    (PriorSensitivity, _priors),
    (TargetingCurve, _targeting),
    (CostCurve, _spending),
    (NextShares, _shares),
)
