"""Data files as frames: CSV, Parquet and NDJSON, with every fault named by row and column."""

import csv
import difflib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.faults import FaultLog, place
from wavewise.fieldwork.shape import Shape
from wavewise.fieldwork.sources import NotUtf8, chunks, in_utf8, opened, sound

__all__ = ["first_row", "read_table"]

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
    """The rows of a data file.

    Parameters
    ----------
    path : Path or str
        A name that ends in .csv, .tsv, .ndjson or .jsonl (each also with .gz), or in .parquet.
    encoding : str
        Encoding of a text file.
    columns_needed : sequence of str
        Columns that must be there.
    max_line_bytes : int
        The longest line that is taken for a line of a table.

    Returns
    -------
    DataFrame
        CSV: text columns, an empty cell is null. Parquet and NDJSON: the columns' own types.

    Raises
    ------
    InputError
        Every fault by row and column. Row 1 is the header, as a spreadsheet shows it; in Parquet
        and NDJSON, row 1 is the first record.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == ".parquet":
        frame = _read_parquet(path)
    elif kind in _JSON_LINES:
        frame = _read_json_lines(path, encoding, max_line_bytes)
    else:
        frame = _read_csv(path, _SEPARATORS[kind], encoding, max_line_bytes)
    log = FaultLog()
    _note_absent(frame.columns, columns_needed, log)
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


def _note_absent(columns: Sequence[str], needed: Sequence[str], log: FaultLog) -> None:
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
