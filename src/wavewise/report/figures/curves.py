"""Curves over the share of units messaged, with bands of their confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wavewise.report.figures.style import BEST, INK, OTHER, SECOND, Spec, base, text_width

__all__ = ["CurveLine", "curves_figure"]

WIDE, NARROW = 668, 344
HEIGHT = 250
COLOURS = (BEST, SECOND, OTHER, INK)
DASHES: tuple[list[int], ...] = ([1, 0], [7, 4], [2, 3], [9, 3, 2, 3])
LEGEND_ROW = 20


@dataclass(frozen=True)
class CurveLine:
    """A curve: its name and (x, y, low, high) at each point, all as printed."""

    label: str
    points: tuple[tuple[float, float, float, float], ...]


def curves_figure(
    lines: Sequence[CurveLine], x_title: str, y_title: str, description: str, *, narrow: bool
) -> Spec:
    """Curves that share their axes, each with its own colour and dashes."""
    total, top = (NARROW if narrow else WIDE), 14 + LEGEND_ROW * len(lines)
    padding: dict[str, float] = {"left": 62, "right": 14, "top": top, "bottom": 48}
    spec = base(total - 76, HEIGHT, padding, description)
    values = [
        {"line": i, "x": x, "y": y, "low": low, "high": high}
        for i, line in enumerate(lines)
        for x, y, low, high in line.points
    ]
    spec["data"] = {"values": values}
    spec["encoding"] = {"x": _x(x_title), "color": _by_line(len(lines))}
    spec["layer"] = [_zero(), _bands(y_title), *(_line(i) for i in range(len(lines)))]
    spec["layer"] += _legend(lines)
    return spec


def _x(title: str) -> Spec:
    axis = {"title": title, "tickCount": 6, "labelExpr": "format(datum.value, '~g') + ' %'"}
    return {"field": "x", "type": "quantitative", "scale": {"domain": [0, 100]}, "axis": axis}


def _by_line(n_lines: int) -> Spec:
    scale = {"domain": list(range(n_lines)), "range": list(COLOURS[:n_lines])}
    return {"field": "line", "type": "nominal", "scale": scale, "legend": None}


def _zero() -> Spec:
    return {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": INK, "strokeWidth": 1, "opacity": 0.55},
        "encoding": {
            "x": None,
            "y": {"field": "zero", "type": "quantitative"},
            "color": {"value": INK},
        },
    }


def _bands(title: str) -> Spec:
    axis = {"title": title, "tickCount": 6, "labelExpr": _SIGNED}
    return {
        "mark": {"type": "area", "opacity": 0.15, "line": False},
        "encoding": {
            "y": {"field": "low", "type": "quantitative", "axis": axis},
            "y2": {"field": "high"},
        },
    }


_SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+~g')"


def _line(index: int) -> Spec:
    return {
        "transform": [{"filter": f"datum.line == {index}"}],
        "mark": {"type": "line", "strokeWidth": 2.25, "strokeDash": DASHES[index]},
        "encoding": {"y": {"field": "y", "type": "quantitative"}},
    }


def _legend(lines: Sequence[CurveLine]) -> list[Spec]:
    """A key above the plot: a stroke and a name for each curve."""
    found: list[Spec] = []
    for index, line in enumerate(lines):
        y = LEGEND_ROW * (index - len(lines)) + 4
        place: dict[str, Any] = {"x": {"value": 0}, "y": {"value": y}}
        colour = {"color": {"value": COLOURS[index]}}
        stroke = {"type": "rule", "strokeWidth": 2.25, "strokeDash": DASHES[index], "clip": False}
        found.append(
            {
                "data": {"values": [{}]},
                "mark": stroke,
                "encoding": {**place, "x2": {"value": 30}, "y2": {"value": y}, **colour},
            }
        )
        text = {"type": "text", "align": "left", "baseline": "middle", "text": line.label}
        found.append(
            {
                "data": {"values": [{}]},
                "mark": {**text, "limit": round(text_width(line.label) + 20), "clip": False},
                "encoding": {**place, "x": {"value": 38}, "color": {"value": INK}},
            }
        )
    return found
