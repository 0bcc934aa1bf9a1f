"""Shares or probabilities of the arms wave by wave: a number in every cell, shaded by size."""

from collections.abc import Mapping, Sequence
from typing import Any

from wavewise.report.figures.style import ON_SHADE, SHADE, Spec, base, text_width, wrapped
from wavewise.report.numbers import fixed

__all__ = ["matrix_figure"]

WIDE, NARROW = 668, 344
ROW, LINE = 28, 15
LEAST_CELL, MOST_CELL = 36, 96
PALE = "#F3F6FA"


def matrix_figure(
    arms: Sequence[str],
    columns: Sequence[tuple[str, Mapping[str, float]]],
    description: str,
    *,
    narrow: bool = False,
) -> Spec:
    """Percent by arm and wave."""
    characters = 18 if narrow else 30
    names = [wrapped(arm, characters) for arm in arms]
    left = 14 + max((text_width(line) for name in names for line in name), default=0)
    cell = _cell_width(NARROW if narrow else WIDE, left, len(columns))
    heads = [_heading(name, cell) for name, _ in columns]
    top = 12 + LINE * max(map(len, heads), default=1)
    row = max(ROW, LINE * max(map(len, names), default=1) + 8)
    padding = {"left": left, "right": 4, "top": top, "bottom": 4}
    spec = base(cell * len(columns), row * len(arms), padding, description)
    spec["layer"] = [*_cells(arms, columns), _names(names), _heads(heads)]
    return spec


def _cell_width(total: float, left: float, n_columns: int) -> float:
    return max(LEAST_CELL, min(MOST_CELL, (total - left - 4) // max(n_columns, 1)))


def _heading(name: str, cell: float) -> list[str]:
    return wrapped(name, max(int(cell / 6.6), 5))


def _cells(arms: Sequence[str], columns: Sequence[tuple[str, Mapping[str, float]]]) -> list[Spec]:
    values: list[dict[str, Any]] = [
        {"x": j, "x2": j + 1, "y": i, "y2": i + 1, "share": shares[arm], "text": _cell(shares[arm])}
        for j, (_, shares) in enumerate(columns)
        for i, arm in enumerate(arms)
        if arm in shares
    ]
    top = max((value["share"] for value in values), default=1.0) or 1.0
    data = {"values": values}
    x, y = _axis("x", len(columns), False), _axis("y", len(arms), True)
    shade = {"domain": [0, top], "range": [PALE, SHADE]}
    colour = {"field": "share", "type": "quantitative", "scale": shade, "legend": None}
    middle = [{"calculate": "datum.x + 0.5", "as": "x"}, {"calculate": "datum.y + 0.5", "as": "y"}]
    return [
        {
            "data": data,
            "mark": {"type": "rect", "stroke": "white", "strokeWidth": 2},
            "encoding": {
                "x": x,
                "x2": {"field": "x2"},
                "y": y,
                "y2": {"field": "y2"},
                "color": colour,
            },
        },
        {
            "data": data,
            "transform": middle,
            "mark": {"type": "text", "baseline": "middle", "fontSize": 12, "color": ON_SHADE},
            "encoding": {"x": x, "y": y, "text": {"field": "text"}},
        },
    ]


def _cell(share: float) -> str:
    """Percent in a few characters; what would print as zero says so."""
    if share == 0:
        return "0"
    if share < 0.0005:
        return "<0.1"
    return fixed(100 * share, 1) if share < 0.9995 else ">99.9" if share < 1 else "100"


def _axis(field: str, n: int, reverse: bool) -> Spec:
    scale = {"domain": [0, n], "nice": False, "zero": False, "reverse": reverse}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": None}


def _names(names: Sequence[list[str]]) -> Spec:
    values = [{"y": i + 0.5, "text": name} for i, name in enumerate(names)]
    up = f"-{LINE / 2} * (length(datum.text) - 1)"
    mark = {"type": "text", "align": "right", "baseline": "middle", "dx": -10}
    return {
        "data": {"values": values},
        "mark": {**mark, "dy": {"expr": up}, "lineHeight": LINE},
        "encoding": {
            "x": {"value": 0},
            "y": {"field": "y", "type": "quantitative"},
            "text": {"field": "text"},
        },
    }


def _heads(heads: Sequence[list[str]]) -> Spec:
    values = [{"x": j + 0.5, "text": head} for j, head in enumerate(heads)]
    up = f"-10 - {LINE} * (length(datum.text) - 1)"
    mark = {"type": "text", "align": "center", "baseline": "middle", "fontSize": 12}
    return {
        "data": {"values": values},
        "mark": {**mark, "dy": {"expr": up}, "lineHeight": LINE},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"value": 0},
            "text": {"field": "text"},
        },
    }
