"""Plain documents: sections of paragraphs, lists and tables, as HTML or Markdown."""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from wavewise.errors import UnavailableError
from wavewise.report.blocks import environment
from wavewise.report.figures.draw import figure_files

if TYPE_CHECKING:
    from wavewise.report.figures.draw import Figure

__all__ = [
    "Block",
    "Bullets",
    "Changes",
    "Document",
    "Grid",
    "Picture",
    "Section",
    "html",
    "markdown",
    "paragraphs",
    "pdf",
    "source",
]


LEAST_ALIKE = 0.3  # Texts less alike than this are shown whole, without marks.


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
class Changes:
    """Texts before and after, a row each; on a page, what differs is marked."""

    caption: str
    rows: tuple[tuple[str, str, str], ...]  # Name, before, after.

    @property
    def grid(self) -> Grid:
        """The same as a plain table."""
        return Grid(self.caption, ("Field", "Before", "After"), self.rows)

    def marked(self) -> Iterator[tuple[str, "Parts", "Parts"]]:
        """Each row with its texts in parts, and of each part whether it differs."""
        for name, before, after in self.rows:
            yield name, *_parts(before, after)


Parts = list[tuple[str, bool]]


def _parts(before: str, after: str) -> tuple[Parts, Parts]:
    """Both texts cut where they begin or cease to differ, word by word."""
    old, new = (re.findall(r"\s+|[^\s]+", text) for text in (before, after))
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:  # a new text: marks in it would only confuse
        return [(before, False)], [(after, False)]
    parts: tuple[Parts, Parts] = ([], [])
    for kind, i, j, k, m in matcher.get_opcodes():
        for side, words in zip(parts, (old[i:j], new[k:m]), strict=True):
            if words:
                side.append(("".join(words), kind != "equal"))
    return parts


@dataclass(frozen=True)
class Picture:
    """A figure with its caption."""

    figure: "Figure"

    def svg(self, *, narrow: bool) -> str:
        """The drawing for a screen or a phone."""
        from wavewise.report.figures.draw import inline_svg

        return inline_svg(self.figure, narrow=narrow)


Block = str | Bullets | Grid | Changes | Picture


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
    style: str = ""  # "form": short sections close together.


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
    elif isinstance(block, Grid | Changes):
        yield from _grid_lines(block if isinstance(block, Grid) else block.grid)
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


# Documents typeset as PDF, by typst.

_HEAD = """\
#set document(title: {title})
#set page(paper: "a4", margin: (x: 2.2cm, y: 2.2cm), numbering: "1")
#set text(size: 10pt, lang: "en")
#set par(justify: false, leading: 0.62em)
#show heading.where(level: 1): set text(size: 18pt)
#show heading.where(level: 2): it => block(above: 1.6em, below: 0.8em, text(size: 13pt, it.body))
#show figure.caption: it => align(left, text(size: 8.5pt, fill: luma(90), it.body))
#show table: set text(size: 8.5pt)
"""


def pdf(document: Document) -> bytes:
    """The document as a PDF file; :class:`UnavailableError` where typst is not installed."""
    try:
        import typst
    except ImportError:
        raise UnavailableError(
            "a PDF needs the package typst: pip install 'wavewise[pdf]', or use the page in HTML"
        ) from None
    pictures = [block.figure for section in document.sections for block in section.blocks
                if isinstance(block, Picture)]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for figure in pictures:
            path = Path(folder) / f"{figure.name}.png"
            path.write_bytes(figure_files(figure)[f"figures/{figure.name}.png"])
        main = Path(folder) / "main.typ"
        main.write_text(source(document), encoding="utf-8")
        compiled: bytes = typst.compile(str(main), root=folder)
    return compiled


def source(document: Document) -> str:
    """The document in typst's language; every text is a string literal, so that none is code."""
    return "\n".join(_typst_lines(document))


def _typst_lines(document: Document) -> Iterator[str]:
    yield _HEAD.format(title=_text(document.title))
    yield f"#heading(level: 1, {_text(document.title)})"
    for line in (document.kind, *document.meta):
        yield f"#block(text(fill: luma(90), {_text(line)}))"
    for notice in document.notices:
        yield f"#block(fill: luma(240), inset: 6pt, width: 100%, {_text(notice)})"
    for section in document.sections:
        yield f"#heading(level: 2, {_text(section.title)})"
        for block in section.blocks:
            yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Bullets):
        yield f"#list({', '.join(_text(item) for item in block.items)})"
    elif isinstance(block, Picture):
        yield f"#block(strong({_text(block.figure.title)}), below: 0.4em, sticky: true)"
        yield (
            f'#figure(image("{block.figure.name}.png", width: 100%), '
            f"caption: {_text(block.figure.caption)}, supplement: none)"
        )
    elif isinstance(block, Grid | Changes):
        yield from _grid(block if isinstance(block, Grid) else block.grid)
    else:
        yield f"#block({_text(block)})"


def _grid(grid: Grid) -> Iterator[str]:
    sides = ", ".join("right" if i in grid.numeric else "left" for i in range(len(grid.columns)))
    widths = ", ".join("auto" if i in grid.numeric else "1fr" for i in range(len(grid.columns)))
    head = ", ".join(f"strong({_text(column)})" for column in grid.columns)
    yield f"#block(strong({_text(grid.caption)}), below: 0.5em, sticky: true)"
    lines = "stroke: (x, y) => (bottom: 0.4pt + luma(200)), inset: (x: 4pt, y: 3.5pt)"
    yield f"#table(columns: ({widths},), align: ({sides},), {lines},"
    yield f"  table.header({head}),"
    for row in grid.rows:
        yield f"  {', '.join(_text(cell) for cell in row)},"
    yield ")"


def _text(text: str) -> str:
    """A string literal of typst: the escapes of JSON, but for code points."""
    literal = json.dumps(" ".join(text.split()), ensure_ascii=False)
    return re.sub(r"\\u([0-9a-f]{4})", r"\\u{\1}", literal)
