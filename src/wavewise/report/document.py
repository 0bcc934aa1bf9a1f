"""Plain documents: sections of paragraphs, lists and tables, as HTML or Markdown."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavewise.report.environment import environment

if TYPE_CHECKING:
    from wavewise.report.figures.draw import Figure

__all__ = [
    "Block",
    "Bullets",
    "Document",
    "Grid",
    "Picture",
    "Section",
    "html",
    "markdown",
    "paragraphs",
]


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table of texts; ``numeric`` are the places of the columns that hold numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A figure with its caption."""

    figure: "Figure"

    def svg(self, *, narrow: bool) -> str:
        """The drawing for a screen or a phone."""
        from wavewise.report.figures.draw import inline_svg  # noqa: PLC0415 (loads a drawing engine)

        return inline_svg(self.figure, narrow=narrow)


Block = str | Bullets | Grid | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A document: what it is, its title, lines below the title, notices, sections."""

    kind: str
    title: str
    meta: tuple[str, ...]
    notices: tuple[str, ...]
    sections: tuple[Section, ...]


def paragraphs(text: str) -> tuple[str, ...]:
    r"""The paragraphs of a text, which blank lines divide.

    Examples
    --------
    >>> paragraphs("One.\n\nTwo\nlines.")
    ('One.', 'Two lines.')
    """
    return tuple(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())


def html(document: Document) -> str:
    """The document as one self-contained page; every text is escaped."""
    template = environment().get_template("document.html.j2")
    return template.render(document=document)


def markdown(document: Document) -> str:
    """The document as Markdown; what Markdown or HTML would read as a mark is escaped."""
    return "\n".join(_lines(document))


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {_escaped(document.title)}", "")
    for line in (*document.meta, *(f"Note: {notice}" for notice in document.notices)):
        yield from (_escaped(line), "")
    for section in document.sections:
        yield from (f"## {_escaped(section.title)}", "")
        for block in section.blocks:
            yield from _block_lines(block)


def _block_lines(block: Block) -> Iterator[str]:
    if isinstance(block, Bullets):
        yield from (*(f"- {_escaped(item)}" for item in block.items), "")
    elif isinstance(block, Grid):
        yield from _grid_lines(block)
    elif isinstance(block, Picture):
        yield from (f"{_escaped(block.figure.title)}: {_escaped(block.figure.alt)}", "")
    else:
        yield from (_escaped(block), "")


def _grid_lines(grid: Grid) -> Iterator[str]:
    yield from (f"{_escaped(grid.caption)}:", "")
    yield _row(grid.columns)
    marks = ["--:" if place in grid.numeric else "---" for place in range(len(grid.columns))]
    yield f"| {' | '.join(marks)} |"
    yield from (_row(row) for row in grid.rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    escaped = re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split("\n")))
    return re.sub(r"^([#+\-]|\d+[.)])(?=\s|$)", r"\\\1", escaped)
