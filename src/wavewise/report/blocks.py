"""What pages are made of: sections of paragraphs, tables, figures, lists and folded parts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from wavewise.report.figures.draw import Figure, inline_svg
from wavewise.shared.results import CheckResult

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "Block",
    "Bullets",
    "Cell",
    "CheckList",
    "Column",
    "Fold",
    "Heading",
    "Matrix",
    "Note",
    "Pairs",
    "Section",
    "Table",
    "environment",
    "figures_of",
]


@dataclass(frozen=True)
class Column:
    """A heading, whether its cells are numbers, and whether they are prose that may wrap."""

    label: str
    numeric: bool = True
    prose: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text; ``marked`` is the first cell of the row to set off, ``total`` the last."""

    kind: ClassVar[str] = "table"

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: str | None = None
    total: tuple[str, ...] = ()
    note: str = ""
    stack: bool = False  # On a phone each row becomes a block.


@dataclass(frozen=True)
class Cell:
    """A number with its interval, how strong it is from 1 to 5, and what is said of it."""

    value: str
    interval: str
    strength: int
    is_largest: bool = False
    is_shown: bool = True  # Whether it differs from 0 after adjustment.


@dataclass(frozen=True)
class Matrix:
    """Numbers by row and column, with the mean of each row, of each column and of all."""

    kind: ClassVar[str] = "matrix"

    title: str
    unit: str
    rows_are: str
    columns_are: str
    labels: tuple[str, ...]  # Of rows and columns alike.
    cells: tuple[tuple[Cell, ...], ...]
    row_means: tuple[Cell, ...]
    column_means: tuple[Cell, ...]
    mean: Cell
    note: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"

    text: str


@dataclass(frozen=True)
class Note:
    """A paragraph in small print."""

    kind: ClassVar[str] = "note"

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    kind: ClassVar[str] = "list"

    items: tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """Terms, each with its text."""

    kind: ClassVar[str] = "pairs"

    rows: tuple[tuple[str, str], ...]
    style: str = "pairs"


@dataclass(frozen=True)
class CheckList:
    """Checks, each with the wave that it is of and its numbers."""

    kind: ClassVar[str] = "checks"

    rows: tuple[tuple[str, CheckResult, Table | None], ...]


@dataclass(frozen=True)
class Fold:
    """A part that opens when its line is clicked."""

    kind: ClassVar[str] = "fold"

    line: str
    blocks: tuple["Block", ...]
    style: str = ""
    is_open: bool = False


Block = str | Heading | Note | Bullets | Pairs | CheckList | Fold | Matrix | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading, its name in the contents, what it holds."""

    anchor: str
    title: str
    short: str
    blocks: tuple[Block, ...]
    folded: bool = False  # Whether it opens only when its heading is clicked.


def figures_of(blocks: Iterable[Block]) -> Iterator[Figure]:
    """Every figure among some blocks, folded ones too."""
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Fold):
            yield from figures_of(block.blocks)


@cache
def environment() -> "Environment":
    """Templates of this package."""
    found = strict_environment("wavewise.report", keep_trailing_newline=True)
    found.globals["svg"] = _svg
    return found


def strict_environment(package: str, **options: Any) -> "Environment":
    """Templates of a package; values are escaped, a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def _svg(figure: Figure, narrow: bool) -> Markup:
    """A drawing for a screen or a phone."""
    # The drawing library escapes the texts of the marks; inline_svg escapes its own.
    return Markup(inline_svg(figure, narrow=narrow))  # noqa: S704
