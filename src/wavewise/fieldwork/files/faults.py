"""Faults of a data file, collected so that all are named and few are printed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavewise.errors import Fault, InputError
from wavewise.shared.results import IntArray

__all__ = ["MOST_SHOWN", "FaultLog", "place"]

MOST_SHOWN = 50


def place(row: int, column: str | None = None) -> str:
    """A place in a data file, as a spreadsheet numbers its rows.

    Examples
    --------
    >>> place(7, "grade")
    "row 7, column 'grade'"
    """
    return f"row {row}" if column is None else f"row {row}, column {column!r}"


@dataclass(frozen=True)
class _Group:
    """Faults of one kind in one column: an array of rows, not one object a row."""

    rows: IntArray
    column: str | None
    found: str | Sequence[str]
    needed: str
    fix: str

    def fault(self, i: int) -> Fault:
        found = self.found if isinstance(self.found, str) else self.found[i]
        row = int(self.rows[i])
        return Fault(place(row, self.column), found, self.needed, self.fix, row, self.column)


class FaultLog:
    """Faults found so far.

    Examples
    --------
    >>> log = FaultLog()
    >>> log.add_rows(np.array([3, 9]), "age", "nothing", "a number")
    >>> log.n, log.rows.tolist(), str(log.faults[0])
    (2, [3, 9], "row 3, column 'age': found nothing; needed a number")
    """

    def __init__(self) -> None:
        self._general: list[Fault] = []
        self._groups: list[_Group] = []
        self._also_bad: list[IntArray] = []

    def add(
        self, path: str, found: str, needed: str, fix: str = "", row: int | None = None
    ) -> None:
        """Note one fault of the file as a whole, or of a place given as text."""
        self._general.append(Fault(path, found, needed, fix, row))

    def add_rows(
        self,
        rows: IntArray,
        column: str | None,
        found: str | Sequence[str],
        needed: str,
        *,
        fix: str = "",
    ) -> None:
        """Note the same fault in many rows."""
        if len(rows):
            self._groups.append(_Group(np.asarray(rows, np.int64), column, found, needed, fix))

    def also_bad(self, rows: IntArray) -> None:
        """Mark rows that a fault noted elsewhere makes unusable too."""
        self._also_bad.append(np.asarray(rows, np.int64))

    @property
    def is_fatal(self) -> bool:
        """Whether a fault is of the file as a whole, so that no rows can be left out for it."""
        return bool(self._general)

    @property
    def n(self) -> int:
        """Number of faults."""
        return len(self._general) + sum(len(group.rows) for group in self._groups)

    @property
    def rows(self) -> IntArray:
        """Numbers of the rows that are unusable, ascending."""
        arrays = [*(group.rows for group in self._groups), *self._also_bad]
        return np.unique(np.concatenate(arrays)) if arrays else np.array([], np.int64)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The first faults in the order of rows, at most ``MOST_SHOWN``."""
        first = [
            (int(group.rows[i]), order, group.fault(i))
            for order, group in enumerate(self._groups)
            for i in np.argsort(group.rows, kind="stable")[:MOST_SHOWN].tolist()
        ]
        in_rows = [fault for _, _, fault in sorted(first, key=lambda item: item[:2])]
        return tuple([*self._general, *in_rows][:MOST_SHOWN])

    def as_error(self, name: str) -> InputError:
        """The error that lists the faults of the file ``name``."""
        one = "1 error" if self.n == 1 else f"{self.n:,} errors"
        more = self.n - MOST_SHOWN
        rest = f", the first {MOST_SHOWN} here, {more:,} more" if more > 0 else ""
        return InputError(f"{name}: {one}{rest}; nothing was imported", self.faults)

    def raise_if_any(self, name: str) -> None:
        """Raise :meth:`as_error` where there is a fault."""
        if self.n:
            raise self.as_error(name)
