"""A table of cells as aligned text, HTML and LaTeX."""

from collections.abc import Sequence
from html import escape

__all__ = ["html_table", "latex_table", "text_table"]

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}
Cells = Sequence[Sequence[str]]


def text_table(head: Sequence[str], rows: Cells) -> list[str]:
    """Lines of aligned columns."""
    every = [head, *rows]
    widths = [max(len(row[j]) for row in every) for j in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]


def html_table(head: Sequence[str], rows: Cells, notes: Sequence[str]) -> str:
    """A ``table`` element; the notes are its caption."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    caption = "<br>".join(map(escape, notes))
    return (
        f"<table>\n<caption>{caption}</caption>\n<thead><tr>{top}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def latex_table(head: Sequence[str], rows: Cells, notes: Sequence[str]) -> str:
    """A ``tabular`` of the package booktabs, the notes in a box below it."""
    lines = [" & ".join(map(_latex, row)) + r" \\" for row in rows]
    return "\n".join(
        [
            f"\\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(map(_latex, head)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip",
            f"\\parbox{{\\linewidth}}{{\\footnotesize {_latex(' '.join(notes))}}}",
        ]
    )


def _latex(text: str) -> str:
    # a bracket that starts a cell after a line's end would be read as its option
    safe = "".join(_LATEX.get(character, character) for character in text)
    return f"{{}}{safe}" if safe.startswith("[") else safe
