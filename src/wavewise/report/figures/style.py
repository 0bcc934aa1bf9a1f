"""What all figures share: colours that colour-blind readers can tell apart, type, and sizes.

Every position is set here, not measured by the drawing library, so that a figure has the same
bytes on every machine. The font is one whose widths are those of Arial and Helvetica.
"""

import textwrap
from typing import Any

__all__ = [
    "BEST",
    "FONT",
    "GRID",
    "INK",
    "MUTED",
    "ON_SHADE",
    "OTHER",
    "PAPER",
    "SECOND",
    "SHADE",
    "TRUTH",
    "Spec",
    "base",
    "text_width",
    "wrapped",
]

Spec = dict[str, Any]
# Okabe and Ito's palette for what carries meaning; greys for the rest.
BEST = "#0072B2"
TRUTH = "#93416F"  # the known truth of a simulation, and nothing else
SECOND = "#D55E00"
PAPER = "white"
SHADE = "#56B4E9"
ON_SHADE = "#12212C"  # readable on it, in light and dark
OTHER = "#5F6B7A"
INK = "#1A211D"
MUTED = "#5F6B7A"
GRID = "#E4E7EB"
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
FONT_SIZE = 13

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"

_THIN, _WIDE = set("iljtfI.,:;'|!()[] "), set("mwMW%@")
_IDEOGRAPHS = 0x2E80  # from here on characters are as wide as they are high


def base(width: float, height: float, padding: dict[str, float], description: str) -> Spec:
    """A specification without marks: size, padding, type."""
    return {
        "$schema": SCHEMA,
        "description": description,
        "background": PAPER,
        "autosize": {"type": "none"},
        "width": round(width),
        "height": round(height),
        "padding": {side: round(size) for side, size in padding.items()},
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {
                "labelFontSize": 12,
                "labelColor": MUTED,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
                "titleColor": MUTED,
                "gridColor": GRID,
                "domain": False,
                "ticks": False,
                "labelPadding": 6,
                "titlePadding": 8,
                "titleLineHeight": 14,
            },
            "text": {"fontSize": FONT_SIZE, "color": INK},
        },
    }


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Width of a text in pixels, an upper estimate that also holds for bold."""
    return size * sum(map(_ems, text))


def _ems(character: str) -> float:
    if ord(character) >= _IDEOGRAPHS or character in _WIDE:
        return 1.02
    if character in _THIN:
        return 0.36
    return 0.79 if character.isupper() else 0.62


def wrapped(text: str, n_characters: int) -> list[str]:
    """A text in lines of at most so many characters, never cut."""
    return textwrap.wrap(text, n_characters, break_on_hyphens=True) or [text]
