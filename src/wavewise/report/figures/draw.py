"""Specifications drawn: SVG for the page, SVG and PNG and JSON as files."""

import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, Protocol, TypedDict, cast

from wavewise.report.figures.style import (
    BEST,
    GRID,
    INK,
    MUTED,
    PAPER,
    SECOND,
    TRUTH,
    Spec,
)

__all__ = ["Figure", "Names", "figure_files", "inline_svg"]

VEGALITE = "5.21"
PNG_SCALE = 2.0


@dataclass(frozen=True)
class Figure:
    """One figure: its name, two specifications of the same numbers, and its words.

    Parameters
    ----------
    name : str
        File name without its ending; distinct within a report.
    wide, narrow : dict
        Vega-Lite specifications, for a screen and for a phone.
    title : str
        What is shown.
    alt : str
        The numbers in words, for those who do not see the figure.
    caption : str
        How to read it.
    """

    kind: ClassVar[str] = "figure"

    name: str
    wide: Spec
    narrow: Spec
    title: str
    alt: str
    caption: str

    def to_svg(self, *, narrow: bool = False) -> str:
        """The figure as SVG, for a screen or for a phone."""
        return _drawing().vegalite_to_svg(self.narrow if narrow else self.wide, **_OFFLINE)

    def to_png(self, *, narrow: bool = False, scale: float = PNG_SCALE) -> bytes:
        """The figure as PNG, ``scale`` pixels a point."""
        spec = self.narrow if narrow else self.wide
        return _drawing().vegalite_to_png(spec, scale=scale, **_OFFLINE)

    def to_dict(self, *, narrow: bool = False) -> Spec:
        """The figure as a Vega-Lite specification."""
        return self.narrow if narrow else self.wide

    def _repr_svg_(self) -> str:
        """For notebooks."""
        return self.to_svg()


class _Options(TypedDict):
    vl_version: str
    allowed_base_urls: list[str]


_OFFLINE: _Options = {"vl_version": VEGALITE, "allowed_base_urls": []}


class _Drawing(Protocol):
    def vegalite_to_svg(self, vl_spec: Spec, **options: Any) -> str: ...

    def vegalite_to_png(self, vl_spec: Spec, *, scale: float, **options: Any) -> bytes: ...


def _drawing() -> _Drawing:
    import vl_convert

    return cast(_Drawing, vl_convert)


def figure_files(figure: Figure) -> dict[str, bytes]:
    """The wide figure as SVG, PNG (two pixels a point) and Vega-Lite JSON, by path."""
    stem = f"figures/{figure.name}"
    text = json.dumps(figure.wide, ensure_ascii=False, indent=1, sort_keys=True)
    return {
        f"{stem}.svg": figure.to_svg().encode(),
        f"{stem}.png": figure.to_png(),
        f"{stem}.vl.json": f"{text}\n".encode(),
    }


def inline_svg(figure: Figure, *, narrow: bool) -> str:
    """A drawing for the page, with its title and text alternative.

    Ids carry the figure's name, since all drawings share the page.
    """
    suffix = "narrow" if narrow else "wide"
    svg = figure.to_svg(narrow=narrow)
    name = f"{figure.name}-{suffix}"
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    head, body = svg.split(">", 1)
    size = re.search(r'width="(\d+)" height="(\d+)"', head)
    width, height = size.groups() if size else ("720", "400")
    return (
        f'<svg class="{suffix}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(figure.title)}</title>'
        f'<desc id="{name}-desc">{escape(figure.alt)}</desc>{_plain(body)}'
    )


# Colours of a drawing that follow the page's own, so that it can be read in light and dark.
_TOKENS = {
    **{INK: "ink", MUTED: "muted", GRID: "line", PAPER: "card"},
    **{BEST: "bar", SECOND: "bad-edge", TRUTH: "truth"},
}


def _plain(body: str) -> str:
    """Marks in the page's colours, without roles that one text alternative makes needless."""
    body = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", body)
    tokens = {colour.lower(): f"var(--{name})" for colour, name in _TOKENS.items()}
    return re.sub(
        r'(fill|stroke)="([^"]+)"',
        lambda found: f'{found[1]}="{tokens.get(found[2].lower(), found[2])}"',
        body,
    )


# File names of figures: letters, digits and hyphens, each used once.


class Names:
    """Names that were given out, so that none is given twice.

    Examples
    --------
    >>> names = Names()
    >>> names.new("effects-log in"), names.new("effects-log.in")
    ('effects-log-in', 'effects-log-in-2')
    """

    def __init__(self) -> None:
        self._used: set[str] = set()

    def new(self, text: str) -> str:
        """A name close to a text."""
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"
        name, n = stem, 1
        while name in self._used:
            n += 1
            name = f"{stem}-{n}"
        self._used.add(name)
        return name
