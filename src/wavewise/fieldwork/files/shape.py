"""The shape of a CSV file (rows, cells a row, quotation marks) from its bytes."""

import numpy as np

from wavewise.fieldwork.files.faults import FaultLog
from wavewise.shared.results import BoolArray, IntArray

__all__ = ["Shape"]

_QUOTE, _LINE_END, _RETURN = ord('"'), ord("\n"), ord("\r")
_BLANK_ROW = -1
_STRAYS = {  # found, needed, what to do
    "mark": (
        "a quotation mark inside a cell",
        "marks around whole cells only, doubled inside them",
        'write "" for a mark inside a cell, and put the cell in marks',
    ),
    "return": (
        "a carriage return (CR) without a line feed",
        "line ends LF or CR LF",
        "save the file anew, as plain CSV",
    ),
}


class Shape:
    """Counts rows and their cells as the bytes of a file go by.

    Quotation marks follow RFC 4180: they surround a whole cell and are doubled inside it. A row
    is a record, which line ends inside quotation marks do not end; row 1 is the header.

    Examples
    --------
    >>> shape = Shape(",")
    >>> shape.feed(bytes([97, 44, 98, 10, 49, 44]))  # a,b LF 1,
    >>> shape.feed(bytes([50, 10, 51, 10]))  # 2 LF 3 LF
    >>> log = FaultLog()
    >>> shape.finish(log)
    >>> shape.header, shape.n_rows, [str(fault) for fault in log.faults]
    (b'a,b', 3, ['row 3: found 1 cell; needed 2, as in the header'])
    """

    def __init__(self, separator: str, n_above: int = 0) -> None:
        self.n_above = n_above  # lines above the header, which are not fed
        self._separator = ord(separator)
        self._in_quotes = False
        self._last = _LINE_END
        self._n_separators = 0  # in the row that the last piece ended in
        self._n_bytes = 0
        self._cells: list[IntArray] = []
        self._head: list[bytes] = []
        self._opened_in_row = 1
        self._stray: tuple[int, str] | None = None  # the first row that cannot be cut, and why
        self.n_rows = 0
        self.is_ragged = False  # whether all that is wrong is the number of cells of some rows

    @property
    def is_cut(self) -> bool:
        """Whether the first row can be told from the second."""
        return self._stray is None or self._stray[0] > 1

    @property
    def header(self) -> bytes:
        """The bytes of row 1, without its line end."""
        return b"".join(self._head).removesuffix(b"\r")

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if not piece:
            return
        data = np.frombuffer(piece, np.uint8)
        outside = self._outside(data)
        ends = np.flatnonzero((data == _LINE_END) & outside)
        separators = np.flatnonzero((data == self._separator) & outside)
        if not self._cells:
            self._head.append(piece[: ends[0]] if len(ends) else piece)
        if self._stray is None:
            self._check_quotes(data, outside, ends)
            self._check_returns(data, outside, ends)
        self._count(data, ends, separators)
        self._last = int(data[-1])
        self._in_quotes = not outside[-1]

    def _outside(self, data: np.ndarray) -> BoolArray:
        """Which bytes lie outside quotation marks (a closing mark does, an opening one not)."""
        # Only the parity matters, so that eight bits are enough for the running count.
        n_quotes = np.cumsum(data == _QUOTE, dtype=np.uint8)
        outside: BoolArray = ((n_quotes + np.uint8(self._in_quotes)) & 1) == 0
        return outside

    def _count(self, data: np.ndarray, ends: IntArray, separators: IntArray) -> None:
        if not len(ends):
            self._n_separators += len(separators)
            self._n_bytes += len(data)
            return
        up_to = np.searchsorted(separators, ends)
        cells = np.diff(up_to, prepend=0) + 1
        lengths = np.diff(ends, prepend=-1) - 1
        cells[0] += self._n_separators
        before = np.where(ends > 0, data[ends - 1], self._last)
        is_blank = (lengths == 0) | ((lengths == 1) & (before == _RETURN))
        is_blank[0] &= self._n_bytes == 0 or (self._n_bytes == 1 and self._last == _RETURN)
        self._cells.append(np.where(is_blank, _BLANK_ROW, cells))
        self.n_rows += len(ends)
        self._n_separators = len(separators) - int(up_to[-1])
        self._n_bytes = len(data) - int(ends[-1]) - 1

    def _check_quotes(self, data: np.ndarray, outside: BoolArray, ends: IntArray) -> None:
        quotes = np.flatnonzero(data == _QUOTE)
        if not len(quotes) and self._last != _QUOTE:
            return
        opening = quotes[~outside[quotes]]
        closing = quotes[outside[quotes]]
        before = np.where(opening > 0, data[opening - 1], self._last)
        after = closing[closing + 1 < len(data)] + 1
        if self._last == _QUOTE and not self._in_quotes:
            after = np.concatenate([[0], after])
        stray = np.concatenate(
            [opening[~self._may_touch(before)], after[~self._may_touch(data[after])]]
        )
        if len(stray):
            self._note_stray(int(stray.min()), ends, "mark")
        if len(opening):
            self._opened_in_row = self._row_of(int(opening[-1]), ends)

    def _check_returns(self, data: np.ndarray, outside: BoolArray, ends: IntArray) -> None:
        """Outside quotation marks, a CR without its LF ends a row for some readers only."""
        returns = np.flatnonzero((data == _RETURN) & outside)
        after = returns[returns + 1 < len(data)] + 1
        if self._last == _RETURN and not self._in_quotes:
            after = np.concatenate([[0], after])
        lone = after[data[after] != _LINE_END]
        if len(lone):
            self._note_stray(int(lone[0]), ends, "return")

    def _note_stray(self, at: int, ends: IntArray, kind: str) -> None:
        found = (self._row_of(at, ends), kind)
        self._stray = found if self._stray is None else min(self._stray, found)

    def _may_touch(self, values: np.ndarray) -> BoolArray:
        return np.isin(values, [self._separator, _LINE_END, _RETURN, _QUOTE])

    def _row_of(self, at: int, ends: IntArray) -> int:
        return self.n_rows + int(np.searchsorted(ends, at)) + 1

    def finish(self, log: FaultLog) -> None:
        """End the file: note all that is wrong with its shape."""
        if self._last == _RETURN and not self._in_quotes and self._stray is None:
            self._stray = (self.n_rows + 1, "return")
        if self._n_bytes or self._n_separators:
            is_blank = self._n_bytes == 1 and self._last == _RETURN
            self._cells.append(np.array([_BLANK_ROW if is_blank else self._n_separators + 1]))
            self.n_rows += 1
        cells = self._without_blank_end()
        if self._stray is not None:
            row, kind = self._stray
            log.add(f"row {row + self.n_above}", *_STRAYS[kind])
            cells = cells[: row - 1]
        elif self._in_quotes:
            log.add(
                f"row {self._opened_in_row + self.n_above}",
                "a quotation mark that is never closed",
                "one at the end of the cell too",
            )
            cells = cells[: self._opened_in_row - 1]
        n_before = log.n
        self._note_cells(log, cells)
        self.is_ragged = n_before == 0 and log.n > 0

    def _without_blank_end(self) -> IntArray:
        cells = np.concatenate(self._cells) if self._cells else np.array([], np.int64)
        filled = np.flatnonzero(cells != _BLANK_ROW)
        self.n_rows = int(filled[-1]) + 1 if len(filled) else 0
        return cells[: self.n_rows]

    def _note_cells(self, log: FaultLog, cells: IntArray) -> None:
        if not len(cells):
            return
        n_needed = int(cells[0])
        is_blank = cells == _BLANK_ROW
        if n_needed > 1:
            rows = np.flatnonzero(is_blank) + 1 + self.n_above
            log.add_rows(rows, None, "an empty row", "cells, or no row")
        wrong = np.flatnonzero((cells != n_needed) & ~is_blank)
        found = [f"{n} cell" if n == 1 else f"{n} cells" for n in cells[wrong].tolist()]
        log.add_rows(wrong + 1 + self.n_above, None, found, f"{n_needed}, as in the header")
