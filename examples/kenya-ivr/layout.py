"""A table in the published layout, our figures beside the printed ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field

EXACT, IN_KIND, PARTLY = "reproduced exactly", "reproduced in kind", "reproduced in part exactly"


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    number, title : str
        As in the paper.
    verdict : str
        Whether published totals suffice: EXACT, IN_KIND or PARTLY.
    sentence : str
        Why.
    head : sequence of str
        Column names; a column of the paper is followed by "printed".
    rows : sequence of sequence of str
    numbers : dict
        The same unrounded, for programs.
    faults : sequence of str
        Where a figure that must agree does not.
    """

    number: str
    title: str
    verdict: str
    sentence: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: dict = field(default_factory=dict)
    faults: Sequence[str] = ()

    def text(self) -> str:
        """Table and sentence, for the terminal."""
        cells = [list(self.head), *map(list, self.rows)]
        widths = [max(len(row[j]) for row in cells) for j in range(len(self.head))]
        lines = [
            "  ".join(
                cell.ljust(width) if j == 0 else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        title = f"Table {self.number}: {self.title}"
        return "\n".join([title, *lines, f"{self.verdict.capitalize()}. {self.sentence}", ""])

    def to_dict(self) -> dict:
        """The table as plain values."""
        return {"verdict": self.verdict, "sentence": self.sentence, **self.numbers}


def interval(mean: float, low: float, high: float) -> str:
    """Mean and interval; a star where zero lies outside, as the paper has it."""
    star = "*" if low > 0 or high < 0 else " "
    return f"{mean:.2f}{star} [{low:.2f}; {high:.2f}]"


def percent(value: float) -> str:
    """A share or probability with two decimals."""
    return f"{100 * value:.2f}%"


def differing(name: str, ours: Sequence[float], printed: Sequence[float], by: float) -> list[str]:
    """Where two columns are further apart than `by`."""
    return [
        f"{name}: found {mine:.6g}, printed {theirs:.6g}; they may differ by {by:g}"
        for mine, theirs in zip(ours, printed, strict=True)
        if abs(mine - theirs) > by
    ]
