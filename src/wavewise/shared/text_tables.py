"""Tables of cells, as aligned text, Markdown, HTML and LaTeX."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Printed",
    "html_table",
    "latex_table",
    "listed",
    "markdown_table",
    "printed_rows",
    "text_table",
    "tied",
]

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


@dataclass(frozen=True)
class Printed:
    """A table as it is printed."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    right: Sequence[bool] | None = None  # Columns that stand to the right; all but the first.

    @property
    def to_the_right(self) -> Sequence[bool]:
        """Whether each column stands to the right."""
        return self.right or [j > 0 for j in range(len(self.head))]


def printed_rows(frame: "pl.DataFrame", notes: Sequence[str] = ()) -> Printed:
    """A frame's rows as text: numbers with four digits, a dash where there is none."""
    rows = [[_cell(value) for value in row] for row in frame.fill_nan(None).iter_rows()]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    return Printed(frame.columns, rows, notes, right)


def text_table(header: Sequence[str] | Printed, rows: Iterable[Sequence[object]] = ()) -> str:
    """Rows as aligned columns of text: words to the left, numbers to the right.

    Examples
    --------
    >>> print(text_table(["arm", "n"], [["control", 10], ["peers", 5]]))
    arm       n
    control  10
    peers     5
    """
    if isinstance(header, Printed):
        cells, right = [header.head, *header.rows], header.to_the_right
    else:
        values = [list(row) for row in rows]
        cells = [list(map(str, header)), *([_cell(value) for value in row] for row in values)]
        columns = range(len(header))
        right = [bool(values) and all(_is_number(row[i]) for row in values) for i in columns]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(shown: Printed) -> str:
    """A Markdown table, the notes as a paragraph below it."""
    rules = ["--:" if right else ":--" for right in shown.to_the_right]
    rows = [[_markdown(cell) for cell in row] for row in [shown.head, *shown.rows]]
    lines = [f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]]]
    notes = " ".join(map(_markdown, shown.notes))
    return "\n".join([*lines, *(["", notes] if notes else [])])


def html_table(shown: Printed, most_rows: int | None = None) -> str:
    """A ``table`` element; the notes are its caption."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in shown.head)
    rows, notes = shown.rows[:most_rows], list(shown.notes)
    if len(rows) < len(shown.rows):
        notes.append(f"The first {len(rows):,} of {len(shown.rows):,} rows.")
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{'<br>'.join(map(escape, notes))}</caption>\n" if notes else ""
    return f"<table>\n{caption}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def latex_table(shown: Printed) -> str:
    """A ``tabular`` of the package booktabs, the notes in a box below it."""
    lines = [" & ".join(map(_latex, row)) + r" \\" for row in shown.rows]
    columns = "".join("c" if right else "l" for right in shown.to_the_right)
    notes = _latex(" ".join(shown.notes))
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex, shown.head)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(
                [r"\par\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
                * bool(notes)
            ),
        ]
    )


def _latex(text: str) -> str:
    # a bracket that starts a cell after a line's end would be read as its option
    safe = "".join(_LATEX.get(character, character) for character in text)
    return f"{{}}{safe}" if safe.startswith("[") else safe


def _markdown(text: str) -> str:
    # an underscore within a word is no emphasis, so that std_error stays readable
    safe = re.sub(r"[\\`*|\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def tied(values: Sequence[float], *, decimals: int | None = None) -> list[int]:
    """Positions of the largest values: all that rounding, or print, cannot tell from it."""
    if decimals is not None:
        shown = [round(value, decimals) for value in values]
        return [k for k, value in enumerate(shown) if value == max(shown)]
    near = 1e-12 * max(abs(float(value)) for value in values)
    return [k for k, value in enumerate(values) if value >= max(values) - near]
