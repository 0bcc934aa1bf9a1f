"""The flow of participants (CONSORT): boxes from everybody on file to the arms, and who left."""

from collections.abc import Iterator, Sequence
from typing import Any

from wavewise.report.contents import FlowStep, WaveContents
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.style import GRID, INK, MUTED, Spec, base, wrapped
from wavewise.report.numbers import count

__all__ = ["participants_figure"]

WIDE, NARROW, MARGIN = 668, 344, 8
LINE, PAD, GAP = 17, 8, 16
CHARACTERS, NARROW_CHARACTERS = 44, 38


def participants_figure(name: str, wave: WaveContents, unit_name: str) -> Figure | None:
    """Boxes of the steps, and beside each who left after it; None where nobody was counted."""
    if not wave.participants:
        return None
    title = f"Flow of {unit_name}: {wave.title}"
    arms = [_arm(wave, row.arm, row.n_assigned, row.n_with_outcome) for row in wave.arms]
    alt = f"{title}. " + "; ".join(map(_words, wave.participants)) + ". " + "; ".join(arms) + "."
    wide = _spec(wave.participants, arms, alt, narrow=False)
    narrow = _spec(wave.participants, arms, alt, narrow=True)
    caption = "Each number is the one above it without those who left."
    return Figure(name, wide, narrow, title, alt, caption)


def _words(step: FlowStep) -> str:
    left = ", ".join(f"{count(n)} {reason}" for reason, n in step.left)
    return f"{step.name}: {count(step.n)}" + (f" ({left})" if left else "")


def _arm(wave: WaveContents, arm: str, assigned: int | None, with_outcome: int | None) -> str:
    parts = [f"{count(assigned)} assigned"]
    if arm in wave.reached:
        parts.append(f"{count(wave.reached[arm])} received a message")
    if with_outcome is not None:
        parts.append(f"{count(with_outcome)} with outcome")
    return f"{arm}: {', '.join(parts)}"


def _spec(steps: Sequence[FlowStep], arms: list[str], alt: str, *, narrow: bool) -> Spec:
    width = (NARROW if narrow else WIDE) - 2 * MARGIN
    boxes: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    y = 0.0
    left_width = width if narrow else width * 0.42
    at = 24 if narrow else left_width + 28
    for step in steps:
        head = wrapped(f"{step.name}: {count(step.n)}", 24 if not narrow else NARROW_CHARACTERS)
        y = _box(boxes, texts, head, (0.0, left_width), y, is_main=True)
        lines = list(_left_lines(step, narrow=narrow))
        if lines:
            below = y + (GAP / 2 if narrow else -LINE)
            y = _box(boxes, texts, lines, (at, width), below, is_main=False)
        y += GAP
    of_arms = [line for arm in arms for line in wrapped(arm, CHARACTERS + (0 if narrow else 30))]
    y = _box(boxes, texts, of_arms, (0.0, width), y, is_main=True)
    padding: dict[str, float] = dict.fromkeys(("left", "right", "top", "bottom"), MARGIN)
    spec = base(width, y, padding, alt)
    spec["layer"] = [_rects(boxes, width, y), _marks(texts, width, y)]
    return spec


def _left_lines(step: FlowStep, *, narrow: bool) -> Iterator[str]:
    for reason, n in step.left:
        yield from wrapped(f"{count(n)} {reason}", NARROW_CHARACTERS if narrow else CHARACTERS)


def _box(
    boxes: list[dict[str, Any]],
    texts: list[dict[str, Any]],
    lines: list[str],
    sides: tuple[float, float],
    top: float,
    *,
    is_main: bool,
) -> float:
    """Add a box with lines of text; gives its lower end."""
    foot = top + 2 * PAD + LINE * len(lines)
    boxes.append({"x": sides[0], "x2": sides[1], "y": top, "y2": foot})
    texts += [
        {"x": sides[0] + PAD, "y": top + PAD + LINE * (i + 0.5), "text": line, "muted": not is_main}
        for i, line in enumerate(lines)
    ]
    return foot


def _pixels(name: str, length: float, *, down: bool = False) -> Spec:
    scale = {"domain": [0, round(length)], "nice": False, "zero": False, "reverse": down}
    return {"field": name, "type": "quantitative", "scale": scale, "axis": None}


def _rects(boxes: list[dict[str, Any]], width: float, height: float) -> Spec:
    return {
        "data": {"values": boxes},
        "mark": {"type": "rect", "fill": "white", "stroke": GRID, "strokeWidth": 1.5},
        "encoding": {
            "x": _pixels("x", width),
            "x2": {"field": "x2"},
            "y": _pixels("y", height, down=True),
            "y2": {"field": "y2"},
        },
    }


def _marks(texts: list[dict[str, Any]], width: float, height: float) -> Spec:
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 13, "limit": 0}
    return {
        "data": {"values": texts},
        "mark": mark,
        "encoding": {
            "x": _pixels("x", width),
            "y": _pixels("y", height, down=True),
            "text": {"field": "text"},
            "color": {"condition": {"test": "datum.muted", "value": MUTED}, "value": INK},
        },
    }
