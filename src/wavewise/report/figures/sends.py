"""How much of what was due arrived: a row of columns per arm, a column per send of the schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wavewise.report.deliveries import Reach, WaveDeliveries, reach_by_arm
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.style import BEST, GRID, INK, MUTED, Spec, base, text_width, wrapped
from wavewise.report.numbers import count, percent

__all__ = ["sends_figure"]

WIDE, NARROW, MARGIN = 668, 344, 8
TRACK, GAP, LINE, VALUE_LINE, AXIS = 34, 14, 16, 15, 38
MOST_CELL, PRINTED_CELL, FILLED = 72, 50, 0.86  # a column of 50 has room for 100.0 %
CHARACTERS, NARROW_CHARACTERS = 24, 42
DIGIT_ROOM = 12  # pixels that a number of a send has at least to its next, beside its own
MOST_IN_WORDS = 8  # sends whose shares are all written out


def sends_figure(name: str, delivery: WaveDeliveries) -> Figure | None:
    """Share of the due messages that were received, by arm and send; None if none was due."""
    arms = reach_by_arm(delivery)
    if not arms:
        return None
    title = f"Messages received of those due, by send: {delivery.title}"
    alt = f"{title}. " + "; ".join(map(_words, arms)) + "."
    wide, narrow = (_spec(arms, alt, narrow=small) for small in (False, True))
    caption = (
        "Each column is one send of the schedule. Grey at full height: every message that was due, "
        f"including refused ones; blue: the share received. Received: {delivery.received_means}."
    )
    return Figure(name, wide, narrow, title, alt, caption)


def _words(arm: Reach) -> str:
    """An arm's shares in words: of every send, or of the lowest and highest of many."""
    text = f"{arm.arm}: {_total(arm)}"
    if len(arm.sends) == 1:
        return text
    if len(arm.sends) <= MOST_IN_WORDS:
        return f"{text}; " + ", ".join(f"send {n} {percent(s, 1)}" for n, s in arm.sends)
    low, high = (pick(arm.sends, key=lambda send: send[1]) for pick in (min, max))
    if percent(low[1], 1) == percent(high[1], 1):
        return f"{text}; {percent(low[1], 1)} at every send"
    return (
        f"{text}; lowest at send {low[0]} ({percent(low[1], 1)}), "
        f"highest at send {high[0]} ({percent(high[1], 1)})"
    )


def _total(arm: Reach) -> str:
    return f"{count(arm.received)} of {count(arm.due)} ({percent(arm.share, 1)})"


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels: a send's cell, the columns' left end, a row and where in it they begin."""

    cell: float
    left: float
    width: float
    row: float
    down: float
    names: tuple[list[str], ...]
    narrow: bool


def _layout(arms: Sequence[Reach], n_sends: int, *, narrow: bool) -> _Layout:
    names = tuple(wrapped(arm.arm, NARROW_CHARACTERS if narrow else CHARACTERS) for arm in arms)
    lines = max(map(len, names))
    left = 0 if narrow else 14 + max(text_width(line) for name in names for line in name)
    right = 0 if narrow else 14 + max(text_width(_total(arm)) for arm in arms)
    total = (NARROW if narrow else WIDE) - 2 * MARGIN
    cell = min(MOST_CELL, (total - left - right) / n_sends)
    printed = VALUE_LINE if cell >= PRINTED_CELL else 0
    if narrow:
        down = LINE * (lines + 1) + printed + 4
        return _Layout(cell, 0, total, down + TRACK + GAP, down, names, narrow=True)
    height = max(TRACK, LINE * lines)
    width = left + cell * n_sends + right
    return _Layout(cell, left, width, printed + height + GAP, printed, names, narrow=False)


def _spec(arms: Sequence[Reach], description: str, *, narrow: bool) -> Spec:
    n_sends = max(send for arm in arms for send, _ in arm.sends)
    at = _layout(arms, n_sends, narrow=narrow)
    height = at.row * len(arms) + AXIS
    padding: dict[str, float] = dict.fromkeys(("left", "right", "top", "bottom"), MARGIN)
    spec = base(at.width, height, padding, description)
    columns = _columns(arms, at)
    texts = [*_texts(arms, at), *_axis_texts(n_sends, at, height)]
    if at.cell >= PRINTED_CELL:
        texts += [
            _text(value["middle"], value["full"] - 8, percent(value["share"], 1), "center", 11)
            for value in columns
        ]
    spec["layer"] = [
        _rects(columns, "full", GRID, at.width, height),
        _rects(columns, "top", BEST, at.width, height),
        *(_marks(texts, align, at.width, height) for align in ("left", "center", "right")),
    ]
    return spec


def _columns(arms: Sequence[Reach], at: _Layout) -> list[dict[str, Any]]:
    """A column per send that had messages due; others stay empty."""
    found = []
    for i, arm in enumerate(arms):
        full = i * at.row + at.down
        for send, share in arm.sends:
            left = at.left + at.cell * (send - 1)
            place = {
                "x": left,
                "x2": left + at.cell * FILLED,
                "middle": left + at.cell * FILLED / 2,
                "full": full,
                "top": full + TRACK * (1 - share),
                "foot": full + TRACK,
            }
            found.append({"arm": arm.arm, "send": send, "share": share, **place})
    return found


def _texts(arms: Sequence[Reach], at: _Layout) -> list[dict[str, Any]]:
    """Names of the arms and their totals: beside the columns, above them on a phone."""
    found, lines = [], max(map(len, at.names))
    for i, (arm, name) in enumerate(zip(arms, at.names, strict=True)):
        if at.narrow:
            y = i * at.row + LINE * (lines - len(name) + 0.5)
            found += [_text(0, y + LINE * j, line, "left") for j, line in enumerate(name)]
            found.append(_text(0, y + LINE * len(name), _total(arm), "left", muted=True))
            continue
        middle = i * at.row + at.down + TRACK / 2
        first = middle - LINE / 2 * (len(name) - 1)
        found += [
            _text(at.left - 12, first + LINE * j, line, "right") for j, line in enumerate(name)
        ]
        found.append(_text(at.width, middle, _total(arm), "right", muted=True))
    return found


def _axis_texts(n_sends: int, at: _Layout, height: float) -> list[dict[str, Any]]:
    """Numbers of the sends, as many as fit, and what they are."""
    y = height - AXIS + 2
    room = text_width(str(n_sends), 12) + DIGIT_ROOM
    step = math.ceil(room / at.cell)
    numbers = [
        _text(at.left + at.cell * (n + FILLED / 2), y, str(n + 1), "center", 12, muted=True)
        for n in range(0, n_sends, step)
    ]
    title = _text(at.left, y + 20, "Send of the schedule", "left", 12, muted=True)
    return [*numbers, title]


def _text(
    x: float, y: float, text: str, align: str, size: int = 13, *, muted: bool = False
) -> dict[str, Any]:
    return {"x": x, "y": y, "text": text, "align": align, "size": size, "muted": muted}


def _pixels(field: str, length: float, *, down: bool = False) -> Spec:
    scale = {"domain": [0, round(length)], "nice": False, "zero": False, "reverse": down}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": None}


def _rects(
    columns: list[dict[str, Any]], top: str, colour: str, width: float, height: float
) -> Spec:
    return {
        "data": {"values": columns},
        "mark": {"type": "rect", "color": colour},
        "encoding": {
            "x": _pixels("x", width),
            "x2": {"field": "x2"},
            "y": _pixels(top, height, down=True),
            "y2": {"field": "foot"},
        },
    }


def _marks(texts: list[dict[str, Any]], align: str, width: float, height: float) -> Spec:
    values = [text for text in texts if text["align"] == align]
    size = {"expr": "datum.size"}
    return {
        "data": {"values": values},
        "mark": {"type": "text", "align": align, "baseline": "middle", "fontSize": size,
                 "clip": False, "limit": 0},
        "encoding": {
            "x": _pixels("x", width),
            "y": _pixels("y", height, down=True),
            "text": {"field": "text"},
            "color": {"condition": {"test": "datum.muted", "value": MUTED}, "value": INK},
        },
    }  # fmt: skip
