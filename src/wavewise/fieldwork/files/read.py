"""Data files as frames: CSV, Parquet and NDJSON, with every fault named by row and column."""

import codecs
import csv
import difflib
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import polars as pl

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.faults import FaultLog, place
from wavewise.shared.results import BoolArray, IntArray

__all__ = ["Shape", "first_row", "note_absent", "read_table"]


# The shape of a CSV file (rows, cells a row, quotation marks) from its bytes.

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

    def __init__(self, separator: str) -> None:
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
            log.add(f"row {row}", *_STRAYS[kind])
            cells = cells[: row - 1]
        elif self._in_quotes:
            log.add(
                f"row {self._opened_in_row}",
                "a quotation mark that is never closed",
                "one at the end of the cell too",
            )
            cells = cells[: self._opened_in_row - 1]
        self._note_cells(log, cells)

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
            log.add_rows(np.flatnonzero(is_blank) + 1, None, "an empty row", "cells, or no row")
        wrong = np.flatnonzero((cells != n_needed) & ~is_blank)
        found = [f"{n} cell" if n == 1 else f"{n} cells" for n in cells[wrong].tolist()]
        log.add_rows(wrong + 1, None, found, f"{n_needed}, as in the header")


_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = {".ndjson", ".jsonl"}
_ESCAPED = re.compile("[\udc80-\udcff]")


def read_table(
    path: Path | str,
    *,
    encoding: str = "utf-8",
    columns_needed: Sequence[str] = (),
    max_line_bytes: int = 1 << 20,
) -> pl.DataFrame:
    """The rows of a data file."""
    path = Path(path)
    kind = _kind(path)
    if kind == ".parquet":
        frame = _read_parquet(path)
    elif kind in _JSON_LINES:
        frame = _read_json_lines(path, encoding, max_line_bytes)
    else:
        frame = _read_csv(path, _SEPARATORS[kind], encoding, max_line_bytes)
    log = FaultLog()
    note_absent(frame.columns, columns_needed, log)
    log.raise_if_any(path.name)
    return frame


def first_row(path: Path | str) -> int:
    """The number of a file's first row of data: 2 below a header, else 1.

    Examples
    --------
    >>> first_row("people.csv.gz"), first_row("people.parquet")
    (2, 1)
    """
    return 2 if _kind(Path(path)) in _SEPARATORS else 1


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    if kind not in {*_SEPARATORS, *_JSON_LINES, ".parquet"}:
        raise InputError(
            f"{path.name}: found a file of the kind {kind or 'without an ending'!r}; needed .csv, "
            ".tsv, .ndjson, .jsonl (each also with .gz) or .parquet; save it as one of these"
        )
    return kind


def _read_csv(path: Path, separator: str, encoding: str, max_line_bytes: int) -> pl.DataFrame:
    shape, log = Shape(separator), FaultLog()
    kept: list[bytes] = []
    try:
        for piece in _pieces(path, encoding, max_line_bytes):
            shape.feed(piece)
            kept.append(piece)
    except NotUtf8:
        raise _not_utf8(path, separator) from None
    shape.finish(log)
    names = _header(shape, separator, log)
    log.raise_if_any(path.name)
    frame = _parse(b"".join(kept), separator, path.name)[: shape.n_rows - 1]
    if frame.height != shape.n_rows - 1 or frame.width != len(names):
        raise InputError(
            f"{path.name}: found a table that reads as {frame.height} rows or as "
            f"{shape.n_rows - 1}; needed one reading; put cells with quotation marks or line ends "
            "in quotation marks"
        )
    frame.columns = names
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _pieces(path: Path, encoding: str, max_line_bytes: int) -> Iterator[bytes]:
    with opened(path) as stream:
        yield from sound(in_utf8(chunks(stream), encoding, path.name), path.name, max_line_bytes)


def _parse(text: bytes, separator: str, name: str) -> pl.DataFrame:
    try:
        return pl.read_csv(text, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{name}: found a file that does not read as a table; needed a CSV file with a header; "
            "open it in a spreadsheet and save it anew"
        ) from error


def _header(shape: Shape, separator: str, log: FaultLog) -> list[str]:
    """Names of the columns; faults go to the log."""
    if not shape.is_cut:
        return []
    line = shape.header.decode()
    if not line.strip():
        found = "an empty row" if shape.n_rows else "an empty file"
        log.add("row 1", found, "the names of the columns")
        return []
    names = next(csv.reader(io.StringIO(line, newline=""), delimiter=separator))
    if len(names) == 1 and (other := _other_separator(line, separator)):
        log.add("row 1", f"one column, cut by {other}", f"cells cut by {separator!r}", "save anew")
    for i, name in enumerate(names):
        if not name.strip():
            log.add(f"row 1, column {i + 1}", "no name", "a name for each column")
    for name, n in Counter(names).items():
        if n > 1 and name.strip():
            log.add(place(1, name), f"this name {n} times", "each name once", "rename the others")
    return names


def _other_separator(line: str, separator: str) -> str | None:
    shown = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}
    return next((shown[c] for c in shown if c in line and c != separator), None)


def note_absent(columns: Sequence[str], needed: Sequence[str], log: FaultLog) -> None:
    """Note the columns that are needed and not there, with the nearest name."""
    for name in dict.fromkeys(needed):
        if name in columns:
            continue
        alike = {c.strip().casefold(): c for c in columns}
        near = difflib.get_close_matches(name.casefold(), list(alike), n=1)
        fix = f"is it {alike[near[0]]!r}?" if near else "add it, or correct the study file"
        log.add("row 1", f"no column {name!r} among {list(columns)}", f"a column {name!r}", fix)


def _not_utf8(path: Path, separator: str) -> InputError:
    """Where the bytes are that are not UTF-8; a slow second reading, only for the message."""
    log = FaultLog()
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        rows = csv.reader(text, delimiter=separator)
        header: list[str] = []
        try:
            for number, row in enumerate(rows, start=1):
                header = header or row
                _note_bytes(number, row, header, log)
        except csv.Error:
            log.add(f"row {rows.line_num}", "a cell of over 128 KiB", "UTF-8 text")
    return log.as_error(path.name)


def _note_bytes(number: int, row: list[str], header: list[str], log: FaultLog) -> None:
    for i, cell in enumerate(row):
        match = _ESCAPED.search(cell)
        if match is None:
            continue
        value = ord(match[0]) - 0xDC00
        has_name = number > 1 and i < len(header) and not _ESCAPED.search(header[i])
        log.add_rows(
            np.array([number]),
            header[i] if has_name else str(i + 1),
            f"the byte 0x{value:02X} ({bytes([value]).decode('latin-1')!r} in Latin-1)",
            "UTF-8 text",
            fix="save the file as UTF-8, or pass --encoding latin-1",
        )


def _read_parquet(path: Path) -> pl.DataFrame:
    with opened(path) as stream:
        try:
            return pl.read_parquet(stream)
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"{path.name}: found a file that does not read as Parquet; needed a whole one; "
                "write or copy it again"
            ) from error


def _read_json_lines(path: Path, encoding: str, max_line_bytes: int) -> pl.DataFrame:
    try:
        text = b"".join(_pieces(path, encoding, max_line_bytes))
    except NotUtf8:
        raise InputError(
            f"{path.name}: found bytes that are not UTF-8; needed UTF-8, as JSON is; save it anew"
        ) from None
    if not text.strip():
        raise InputError(f"{path.name}: found an empty file; needed one JSON object a line")
    try:
        return pl.read_ndjson(text, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        log = FaultLog()
        _note_not_json(text, log)
        raise log.as_error(path.name) from None


def _note_not_json(text: bytes, log: FaultLog) -> None:
    lines = text.decode().splitlines()
    wrong = [i for i, line in enumerate(lines, start=1) if line.strip() and not _is_object(line)]
    log.add_rows(np.array(wrong, np.int64), None, "no JSON object", "one JSON object a line")
    if not wrong:
        log.add("some row", "objects whose values differ in kind", "one kind a name")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


# The bytes of a data file in chunks, checked before anything parses them.

CHUNK_BYTES = 1 << 20

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotUtf8(Exception):  # noqa: N818  (a finding that the reader turns into places)
    """Bytes that are not UTF-8 were met; the file is sound otherwise."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed where its name ends in ``.gz``."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast("BinaryIO", stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path.name}: found broken gzip compression; needed a whole .gz file; "
            "copy or download it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path.name}: found no readable file ({error.strerror}); needed one; check the path"
        ) from error


def chunks(stream: BinaryIO, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a stream, ``size`` at a time."""
    while chunk := stream.read(size):
        yield chunk


def in_utf8(pieces: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    """Bytes of another encoding, as UTF-8; those of UTF-8 as they are."""
    codec = _codec(encoding, name)
    if codec.name == "utf-8":
        yield from pieces
        return
    decoder = codec.incrementaldecoder("strict")
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise InputError(
            f"{name}: found bytes that are not {codec.name} text; needed {codec.name}; "
            "pass --encoding with the file's own encoding, or save it as UTF-8"
        ) from error


def _codec(encoding: str, name: str) -> codecs.CodecInfo:
    try:
        codec = codecs.lookup(encoding)
        "".encode(encoding)  # refuses codecs that are not of text
    except LookupError:
        raise InputError(
            f"{name}: found the encoding {encoding!r}; needed a known one, "
            "such as utf-8, utf-8-sig, latin-1, cp1252 or utf-16"
        ) from None
    return codec


def sound(pieces: Iterator[bytes], name: str, max_line_bytes: int) -> Iterator[bytes]:
    """The same pieces, each checked before it is handed on."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = _LineLengths(name, max_line_bytes)
    is_first, is_utf8 = True, True
    for piece in pieces:
        if is_first:
            _refuse_mark(piece, name)
        lines.feed(piece)
        if b"\0" in piece:
            raise _nul(name, lines.n_before(piece.index(b"\0"), piece))
        is_utf8 = is_utf8 and _decodes(decoder, piece)
        is_first = False
        yield piece
    if not (is_utf8 and _decodes(decoder, b"", final=True)):
        raise NotUtf8


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


class _LineLengths:
    """Lines and their lengths as the bytes go by; never holds a line."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._n_lines = 0  # ended before the present piece
        self._n_open = 0  # bytes of the line that the present piece ends in
        self._n_next = 0

    def feed(self, piece: bytes) -> None:
        self._n_lines += self._n_next
        first, last = piece.find(b"\n"), piece.rfind(b"\n")
        self._check(self._n_open + (len(piece) if first < 0 else first), self._n_lines)
        if self._most < len(piece):
            self._check_inner(piece)
        self._n_next = piece.count(b"\n")
        self._n_open = self._n_open + len(piece) if last < 0 else len(piece) - last - 1

    def n_before(self, at: int, piece: bytes) -> int:
        """Number of line ends before a place in the present piece."""
        return self._n_lines + piece.count(b"\n", 0, at)

    def _check_inner(self, piece: bytes) -> None:
        for i, line in enumerate(piece.split(b"\n")[1:]):
            self._check(len(line), self._n_lines + 1 + i)

    def _check(self, length: int, n_lines: int) -> None:
        if length > self._most:
            fault = Fault(
                f"line {n_lines + 1}",
                f"more than {self._most:,} bytes without a line end",
                "lines no longer than that",
                "check that the file is a table in text form",
            )
            raise InputError(f"{self._name}: 1 error; nothing was imported", [fault])


def _refuse_mark(piece: bytes, name: str) -> None:
    for mark, encoding in _MARKS:
        if piece.startswith(mark):
            fault = Fault(
                "row 1, first column",
                f"a byte-order mark (bytes {mark.hex(' ').upper()})",
                "plain UTF-8",
                f"save the file as UTF-8 without it, or pass --encoding {encoding}",
            )
            raise InputError(f"{name}: 1 error; nothing was imported", [fault])


def _nul(name: str, n_lines: int) -> InputError:
    fault = Fault(
        f"line {n_lines + 1}",
        "a NUL byte",
        "text in UTF-8",
        "if a spreadsheet saved it as Unicode text, pass --encoding utf-16 (or utf-16-le)",
    )
    return InputError(f"{name}: 1 error; nothing was imported", [fault])
