"""Figures of a design: what it loses, what it finds, what waves are worth."""

from collections.abc import Sequence
from typing import Any

from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.figures.style import BEST, MUTED, TRUTH, Spec, base

__all__ = ["design_figure", "size_figure"]

_WIDE, _NARROW, _HEIGHT = 560, 280, 260
_TICKS = 5


def design_figure(
    name: str, rows: Sequence[tuple[str, float, float]], title: str, axis: str, digits: int
) -> Figure:
    """Designs with a mean that should be low, and twice its Monte-Carlo error.

    Parameters
    ----------
    name : str
        Of the file.
    rows : sequence of (design, value, Monte-Carlo error)
    title, axis : str
    digits : int
        Behind the point of the printed values.
    """
    least = min(value for _, value, _ in rows)
    drawn = [
        IntervalRow(
            label, value, value - 2 * error, value + 2 * error,
            f"{value:,.{digits}f} ± {error:,.{digits}f}", best=value == least,
        )
        for label, value, error in rows
    ]  # fmt: skip
    alt = "; ".join(f"{row.label}: {row.text}" for row in drawn)
    wide, narrow = (
        interval_figure(drawn, axis, alt, narrow=small, effects=False) for small in (False, True)
    )
    caption = "Points are means over simulated experiments, bars two Monte-Carlo standard errors."
    return Figure(name, wide, narrow, title, alt, caption)


def size_figure(
    name: str, curves: dict[str, list[tuple[float, float]]], title: str, x: str, y: str
) -> Figure:
    """Smallest effects by number of units, one line a direction.

    Parameters
    ----------
    name : str
    curves : mapping of str to list of (units, effect)
    title, x, y : str
    """
    values = [
        {"line": line, "n": n, "effect": effect, "place": i}
        for line, points in curves.items()
        for i, (n, effect) in enumerate(points)
    ]
    alt = "; ".join(
        f"{line}: " + ", ".join(f"{effect:.3g} at {n:,.0f}" for n, effect in points)
        for line, points in curves.items()
    )
    wide, narrow = (_lines(values, list(curves), x, y, alt, width) for width in (_WIDE, _NARROW))
    caption = "Both axes are logarithmic: four times the units halve the smallest effect."
    return Figure(name, wide, narrow, title, alt, caption)


def _lines(
    values: list[dict[str, Any]], lines: list[str], x: str, y: str, alt: str, width: int
) -> Spec:
    spec = base(width, _HEIGHT, {"left": 64, "right": 24, "top": 32, "bottom": 56}, alt)
    ticks = sorted({value["n"] for value in values})
    effects = [value["effect"] for value in values]
    spec["data"] = {"values": values}
    spec["encoding"] = {
        "x": {
            "field": "n",
            "type": "quantitative",
            "title": x,
            "scale": {"type": "log", "domain": [ticks[0], ticks[-1]], "nice": False},
            "axis": {"values": ticks[:: 2 if width == _NARROW else 1], "format": ",d"},
        },
        "y": {
            "field": "effect",
            "type": "quantitative",
            "title": y,
            "scale": {"type": "log", "domain": [0.9 * min(effects), 1.1 * max(effects)]},
            "axis": {"tickCount": _TICKS, "format": ".2~g"},
        },
        "color": {
            "field": "line",
            "type": "nominal",
            "scale": {"domain": lines, "range": [BEST, TRUTH][: len(lines)]},
            "legend": {"orient": "none", "legendX": 0, "legendY": -30, "direction": "horizontal",
                       "title": None, "labelColor": MUTED, "labelFontSize": 12},
        },
    }  # fmt: skip
    spec["layer"] = [
        {"mark": {"type": "line", "strokeWidth": 2}},
        {"mark": {"type": "point", "filled": True, "size": 40}},
    ]
    return spec
