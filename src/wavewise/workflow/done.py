"""What a verb gives back: a text for people, the same facts for machines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Done", "text_table"]


@dataclass(frozen=True)
class Done:
    """What a verb did.

    Parameters
    ----------
    text : str
        For people.
    facts : mapping
        Plain JSON values, for machines.
    """

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as aligned columns of text: words to the left, numbers to the right.

    Examples
    --------
    >>> print(text_table(["arm", "n"], [["control", 10], ["peers", 5]]))
    arm       n
    control  10
    peers     5
    """
    values = [list(row) for row in rows]
    cells = [[str(name) for name in header], *([_cell(value) for value in row] for row in values)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(values) and all(_is_number(row[i]) for row in values) for i in range(len(header))]
    lines = (
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
