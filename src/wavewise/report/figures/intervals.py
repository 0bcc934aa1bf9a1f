"""Rows of estimates with intervals: the layout that effects, posteriors and truth share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from wavewise.report.effects import EffectRow, OutcomeEffects, ranked_effects
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.style import (
    BEST,
    INK,
    MUTED,
    OTHER,
    TRUTH,
    Spec,
    base,
    text_width,
    wrapped,
)
from wavewise.report.numbers import Scale, fixed, percent, scale_of, signed
from wavewise.shared.results import NotEstimable

__all__ = ["IntervalRow", "effects_figure", "interval_figure", "persistence_figure"]

WIDE, NARROW, MARGIN = 668, 344, 16
LINE, FEW = 16, 8
NEGLIGIBLE = 0.002  # of the highest density; lower ones are not drawn
TITLE_LINE, TITLE_CHARACTER = 14, 6.2
LABEL_CHARACTERS, NARROW_CHARACTERS = 30, 44


@dataclass(frozen=True)
class IntervalRow:
    """One row: a name, a point, an interval, and what is printed beside it.

    ``outer`` is a wider interval drawn thin; ``truth`` a known value; ``density`` pairs of
    position and height; ``heading`` a row that holds nothing but its name.
    """

    label: str
    value: float
    low: float
    high: float
    text: str
    best: bool = False
    outer: tuple[float, float] | None = None
    truth: float | None = None
    density: tuple[tuple[float, float], ...] = ()
    heading: bool = False


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels: the plot, its padding, a row; where in a row things stand."""

    width: float
    left: float
    right: float
    step: float
    line: float  # where in a row (0 top, 1 bottom) the interval is drawn
    room: float  # height of a density, in rows
    characters: int  # of a line of a name
    narrow: bool
    text_down: float = 0.0  # how far under its name a narrow row's text stands


def interval_figure(
    rows: Sequence[IntervalRow],
    x_title: str,
    description: str,
    *,
    narrow: bool = False,
    effects: bool = True,
    ridges: bool = False,
) -> Spec:
    """Points with intervals, or densities, a row each, in the order given."""
    layout = _layout(rows, narrow)
    height = layout.step * len(rows)
    title = wrapped(x_title, max(int(layout.width / TITLE_CHARACTER), 16))
    bottom = 34 + TITLE_LINE * len(title)
    padding = {"left": layout.left, "right": layout.right, "top": 6, "bottom": bottom}
    spec = base(layout.width, height, padding, description)
    spec["data"] = {"values": [_datum(i, row, layout) for i, row in enumerate(rows)]}
    spec["encoding"] = {"y": _y(len(rows)), "x": _x("value", title, effects)}
    spec["layer"] = [
        *([_zero_line()] if effects else []),
        *(_ridges(rows, layout) if ridges else _marks(rows, layout)),
        *([_truth()] if any(row.truth is not None for row in rows) else []),
        *_texts(layout),
    ]
    return spec


def _marks(rows: Sequence[IntervalRow], layout: _Layout) -> list[Spec]:
    """Points with intervals, over densities where there are any."""
    return [
        *([_densities(rows, layout)] if any(row.density for row in rows) else []),
        *([_interval("outer_low", "outer_high", 1.25)] if any(row.outer for row in rows) else []),
        _interval("low", "high", 3),
        _points(),
    ]


def _ridges(rows: Sequence[IntervalRow], layout: _Layout) -> list[Spec]:
    """Densities, darker inside the interval, with a bar at the value."""
    inside = [replace(row, density=_between(row)) for row in rows]
    bar = {"type": "rule", "color": INK, "strokeWidth": 2}
    foot, top = layout.line, _top(rows)
    bars = [
        {
            "value": row.value,
            "foot": i + foot,
            "crest": i + foot - layout.room * _height(row, row.value) / top,
        }
        for i, row in enumerate(rows)
        if row.density
    ]
    return [
        _densities(rows, layout),
        _densities(inside, layout, opacity=0.5, top=top),
        {
            "data": {"values": bars},
            "mark": bar,
            "encoding": {
                "x": {"field": "value", "type": "quantitative"},
                "y": {"field": "crest", "type": "quantitative"},
                "y2": {"field": "foot"},
            },
        },
    ]


def _between(row: IntervalRow) -> tuple[tuple[float, float], ...]:
    """The density from the interval's lower end to its upper one."""
    within = [point for point in row.density if row.low < point[0] < row.high]
    ends = [(end, _height(row, end)) for end in (row.low, row.high)]
    return (ends[0], *within, ends[1]) if row.density else ()


def _height(row: IntervalRow, at: float) -> float:
    """The density at a place, straight between its points."""
    for (x0, y0), (x1, y1) in pairwise(row.density):
        if x0 <= at <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return 0.0


def _layout(rows: Sequence[IntervalRow], narrow: bool) -> _Layout:
    return _narrow_layout(rows) if narrow else _wide_layout(rows)


def _wide_layout(rows: Sequence[IntervalRow]) -> _Layout:
    names = [wrapped(row.label, LABEL_CHARACTERS) for row in rows]
    left = 18 + max((text_width(line) for name in names for line in name), default=0)
    right = 18 + max((text_width(row.text) for row in rows), default=0)
    tall = any(row.density for row in rows)
    airy = 36 if len(rows) <= FEW else 28
    step = max(48 if tall else airy, LINE * max(map(len, names), default=1) + 10)
    line = 0.7 if tall else 0.5
    return _Layout(
        WIDE - left - right, left, right, step, line, line - 0.08, LABEL_CHARACTERS, narrow=False
    )


def _narrow_layout(rows: Sequence[IntervalRow]) -> _Layout:
    width = NARROW - 2 * MARGIN
    together = max((text_width(row.label) + text_width(row.text) for row in rows), default=0)
    lines = max((len(wrapped(row.label, NARROW_CHARACTERS)) for row in rows), default=1)
    down = 0 if together < width + MARGIN else LINE * lines
    room = 26 if any(row.density for row in rows) else 0
    line = LINE * lines + (LINE if down else 0) + room + 8
    step = line + 16
    return _Layout(
        width, MARGIN, MARGIN, step, line / step, room / step, NARROW_CHARACTERS, True, down
    )


def _datum(i: int, row: IntervalRow, layout: _Layout) -> dict[str, Any]:
    datum: dict[str, Any] = {
        "row": i + layout.line,
        "label": wrapped(row.label, layout.characters),
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "text": row.text,
        "best": row.best or row.heading,
    }
    if row.outer is not None:
        datum |= {"outer_low": row.outer[0], "outer_high": row.outer[1]}
    if row.truth is not None:
        datum["truth"] = row.truth
    return datum


def _y(n_rows: int) -> Spec:
    scale = {"domain": [0, n_rows], "reverse": True, "nice": False, "zero": False}
    return {"field": "row", "type": "quantitative", "scale": scale, "axis": None}


def _x(field: str, title: list[str], effects: bool) -> Spec:
    signed = "datum.value == 0 ? '0' : format(datum.value, '+~g')"
    label = signed if effects else "format(datum.value, ',~g')"
    axis = {"title": title, "labelExpr": label, "tickCount": 6, "labelFlush": False}
    return {"field": field, "type": "quantitative", "scale": {"zero": effects}, "axis": axis}


def _colour() -> Spec:
    return {"condition": {"test": "datum.best", "value": BEST}, "value": OTHER}


def _zero_line() -> Spec:
    return {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": INK, "strokeWidth": 1, "opacity": 0.55},
        "encoding": {"x": {"field": "zero", "type": "quantitative"}, "y": None},
    }


def _interval(low: str, high: str, width: float) -> Spec:
    return {
        "mark": {"type": "rule", "strokeWidth": width, "strokeCap": "round"},
        "encoding": {
            "x": {"field": low, "type": "quantitative"},
            "x2": {"field": high},
            "color": _colour(),
        },
    }


def _points() -> Spec:
    return {
        "mark": {"type": "point", "filled": True, "opacity": 1, "stroke": "white"},
        "encoding": {
            "color": _colour(),
            "size": {"condition": {"test": "datum.best", "value": 130}, "value": 90},
        },
    }


def _truth() -> Spec:
    mark = {"type": "point", "shape": "diamond", "filled": False, "color": TRUTH}
    return {
        "transform": [{"filter": "isValid(datum.truth)"}],
        "mark": {**mark, "size": 110, "strokeWidth": 2, "opacity": 1},
        "encoding": {"x": {"field": "truth", "type": "quantitative"}},
    }


def _top(rows: Sequence[IntervalRow]) -> float:
    """The highest density, to which all are drawn."""
    return max((height for row in rows for _, height in row.density), default=1.0) or 1.0


def _densities(
    rows: Sequence[IntervalRow], layout: _Layout, *, opacity: float = 0.28, top: float = 0.0
) -> Spec:
    top = top or _top(rows)
    values = [
        {
            "index": i,
            "x": x,
            "foot": i + layout.line,
            "crest": i + layout.line - layout.room * height / top,
            "best": row.best,
        }
        for i, row in enumerate(rows)
        for x, height in row.density
        if height > NEGLIGIBLE * top
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "area", "opacity": opacity, "line": False},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "crest", "type": "quantitative"},
            "y2": {"field": "foot"},
            "detail": {"field": "index"},
            "color": _colour(),
        },
    }


def _texts(layout: _Layout) -> list[Spec]:
    middle = f"-{LINE / 2} * (length(datum.label) - 1)"
    if not layout.narrow:
        return [
            _text("label", 0, "right", dx=-12, dy=middle),
            _text("text", {"expr": "width"}, "left", dx=12, dy="0"),
        ]
    up = LINE / 2 - layout.line * layout.step
    x, side, dx = (0, "left", -10) if layout.text_down else ({"expr": "width"}, "right", 10)
    down = f"{layout.text_down - LINE} - {LINE} * (length(datum.label) - 1)"
    label = _text("label", 0, "left", dx=-10, dy=f"{up} + {down if layout.text_down else 0}")
    text = _text("text", x, side, dx=dx, dy=f"{up + layout.text_down}")
    return [_halo(label), label, _halo(text), text]


def _text(field: str, x: Any, align: str, *, dx: float, dy: str) -> Spec:
    mark: Spec = {"type": "text", "align": align, "baseline": "middle", "dx": dx}
    mark |= {"dy": {"expr": dy}, "lineHeight": LINE}
    colour: Spec = {"condition": {"test": "datum.best", "value": INK}, "value": MUTED}
    if field == "label":
        mark["fontWeight"] = {"expr": "datum.best ? 'bold' : 'normal'"}
        colour = {"value": INK}
    return {
        "mark": mark,
        "encoding": {"x": {"value": x}, "text": {"field": field}, "color": colour},
    }


def _halo(text: Spec) -> Spec:
    """White behind a text, so that no line of the grid runs through it."""
    mark = {**text["mark"], "stroke": "white", "strokeWidth": 5, "strokeJoin": "round"}
    return {"mark": mark, "encoding": {**text["encoding"], "color": {"value": "white"}}}


# Effects: an arm per row, best first, with intervals; the truth beside them if known.

LONGEST_CONTROL = 14


def persistence_figure(name: str, item: OutcomeEffects) -> Figure | None:
    """Effects of each arm by week: the pointwise interval, and thin the joint one."""
    curve = item.curve
    if curve is None or isinstance(curve, NotEstimable):
        return None
    scale, frame = scale_of(item.outcome), curve.to_frame("polars").drop_nulls()
    if frame.is_empty():
        return None
    decimals = max(scale.decimals(error) for error in frame["std_error"].to_list())
    rows: list[IntervalRow] = []
    for (arm,), part in frame.group_by("arm", maintain_order=True):
        rows.append(IntervalRow(str(arm), 0.0, 0.0, 0.0, "", heading=True))
        rows += [_week(row, scale, decimals) for row in part.iter_rows(named=True)]
    level = percent(curve.level, 0)
    unit = f"{scale.effect_unit} " if scale.effect_unit else ""
    x_title = f"{unit}against {curve.control}, {level} intervals; thin: joint over time"
    title = f"Effect of each arm on {item.outcome.name} over time"
    told = "; ".join(f"{row.label}: {row.text}" if row.text else row.label for row in rows)
    alt = f"{title}, {x_title}. {told}."
    return Figure(
        name,
        interval_figure(rows, x_title, alt),
        interval_figure(rows, _short(scale, "control", f"{level} interval"), alt, narrow=True),
        title,
        alt,
        "Thick: each week by itself; thin: all weeks of an arm together.",
    )


def _week(row: Mapping[str, Any], scale: Scale, decimals: int) -> IntervalRow:
    value, low, high, joint_low, joint_high = (
        scale.factor * row[name]
        for name in ("estimate", "conf_low", "conf_high", "joint_low", "joint_high")
    )
    text = f"{signed(value, decimals)} ({fixed(low, decimals)} to {fixed(high, decimals)})"
    return IntervalRow(row["period"], value, low, high, text, outer=(joint_low, joint_high))


def effects_figure(
    name: str,
    effects: OutcomeEffects,
    best: str | None,
    *,
    adjusted: bool = True,
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Effects of the arms against control with their intervals."""
    scale = scale_of(effects.outcome)
    ranked = ranked_effects(effects)
    decimals = max((scale.decimals(row.std_error) for row in ranked), default=1)
    rows = [
        _row(row, scale, decimals, best=best, adjusted=adjusted, truth=truth or {})
        for row in ranked
    ]
    unit = f"{scale.effect_unit} " if scale.effect_unit else ""
    level = f"{percent(effects.level, 0)} confidence interval"
    against = effects.control if len(effects.control) <= LONGEST_CONTROL else "control"
    x_title = f"{unit}against {against}, with {level}"
    title = f"Effect of each arm on {effects.outcome.name}"
    alt = f"{title}, {x_title}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."
    return Figure(
        name,
        interval_figure(rows, x_title, alt),
        interval_figure(rows, _short(scale, against, level), alt, narrow=True),
        title,
        alt,
        _caption(effects, rows, level),
    )


def _short(scale: Scale, control: str, level: str) -> str:
    unit = f"{scale.short_unit} " if scale.short_unit else ""
    return f"{unit}against {control}, {level}"


def _row(
    row: EffectRow,
    scale: Scale,
    decimals: int,
    *,
    best: str | None,
    adjusted: bool,
    truth: Mapping[str, float],
) -> IntervalRow:
    low, high = scale.bounds(row.conf_low, row.conf_high, decimals)
    outer = None
    if adjusted and row.adjusted_low is not None and row.adjusted_high is not None:
        outer = (scale.factor * row.adjusted_low, scale.factor * row.adjusted_high)
    return IntervalRow(
        label=row.arm,
        value=scale.factor * row.estimate,
        low=scale.factor * row.conf_low,
        high=scale.factor * row.conf_high,
        text=f"{signed(scale.factor * row.estimate, decimals)} ({low} to {high})",
        best=row.arm == best,
        outer=outer,
        truth=scale.factor * truth[row.arm] if row.arm in truth else None,
    )


def _caption(effects: OutcomeEffects, rows: list[IntervalRow], level: str) -> str:
    outer = any(row.outer for row in rows)
    parts = [f"Points are estimates, {'thick ' if outer else ''}lines {level}s"]
    if outer:
        how = f" ({effects.adjusted_by})" if effects.adjusted_by else ""
        parts.append(f"thin lines are adjusted for the number of arms{how}")
    if any(row.truth is not None for row in rows):
        parts.append("diamonds are the true effects of the simulation")
    text = "; ".join(parts)
    if effects.reasons:
        missing = ", ".join(arm for arm, _ in effects.reasons)
        return f"{text}. Not estimable, so not drawn: {missing}."
    return f"{text}."
