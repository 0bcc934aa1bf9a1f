"""Data files as frames, with every fault named by row and column."""

import csv
import difflib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from wavewise.design.spec import Reading
from wavewise.errors import InputError
from wavewise.fieldwork.files.binary import KINDS as BINARY
from wavewise.fieldwork.files.binary import read_binary
from wavewise.fieldwork.files.faults import FaultLog, place
from wavewise.fieldwork.files.shape import Shape
from wavewise.fieldwork.files.text import NotUtf8, TextFile, not_utf8

__all__ = ["Table", "as_told", "note_absent", "read_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON_LINES = {".ndjson", ".jsonl"}
_SHEETS = {".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"}
_SHOWN = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}
_BLANKS = " \t\r\n\u00a0\u2007\u202f\u200b\ufeff"
_QUALTRICS = '{"ImportId":'
_FEW = 20  # rows in which the names of the columns are looked for, where the first has none


@dataclass(frozen=True)
class Table:
    """Rows to import, how messages call them, and how they were read."""

    frame: pl.DataFrame
    name: str  # Of the file, or that it is a frame.
    first_row: int  # Number of the first row of data, as people count it.
    reading: Reading = field(default_factory=Reading)  # What was told of the file.
    separator: str | None = None  # Between the cells of a text file.
    notes: tuple[str, ...] = ()  # What was found out about the file as a whole.


def read_table(
    path: Path | str,
    reading: Reading | None = None,
    *,
    columns_needed: Sequence[str] = (),
    max_line_bytes: int = 1 << 20,
) -> Table:
    """The rows of a data file, its columns under the study's names."""
    path, told = Path(path), reading or Reading()
    kind = _kind(path)
    if kind in _SHEETS:
        raw = read_binary(path, kind, sheet=told.sheet)
        table = _headed(raw, told.header_row, Table(raw, path.name, told.header_row + 1, told))
    elif kind in BINARY:
        frame = read_binary(path, kind, value_labels=told.value_labels)
        table = Table(frame, path.name, 1, told)
    elif kind in _JSON_LINES:
        frame = _read_json_lines(path, told.encoding, max_line_bytes)
        table = Table(frame, path.name, 1, told)
    else:
        table = _read_csv(path, kind, told, max_line_bytes)
    return as_told(table, columns_needed)


def as_told(table: Table, columns_needed: Sequence[str] = ()) -> Table:
    """A table with the study's names for its columns, and empty cells where it says so."""
    frame, log = _renamed(table.frame, table.reading), FaultLog()
    note_absent(frame.columns, columns_needed, log, _row_of_names(table, columns_needed))
    log.raise_if_any(table.name)
    words = [word.strip(_BLANKS) for word in table.reading.missing]
    if words:
        frame = frame.with_columns(
            pl.when(pl.col(c).cast(pl.String).str.strip_chars(_BLANKS).is_in(words))
            .then(None)
            .otherwise(pl.col(c))
            .alias(c)
            for c, kind in frame.schema.items()
            if not kind.is_nested() and kind != pl.Binary
        )
    return replace(table, frame=frame)


def _renamed(frame: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    theirs = {reading.column(ours).from_: ours for ours in reading.columns}
    names = {name: ours for name, ours in theirs.items() if name in frame.columns}
    taken = [c for c in frame.columns if c in names.values() and c not in names]
    return frame.drop(taken).rename(names)  # the map says which of the two columns is meant


def _row_of_names(table: Table, needed: Sequence[str]) -> int | None:
    """A row further down that has all the names, where titles stand above them."""
    wanted = {table.reading.column(name).from_ or name for name in needed}
    for i, row in enumerate(table.frame.head(_FEW).iter_rows()):
        if wanted and wanted <= {str(cell).strip(_BLANKS) for cell in row if cell is not None}:
            return i + table.first_row
    return None


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    if kind not in {*_SEPARATORS, *_JSON_LINES, *BINARY}:
        raise InputError(
            f"{path.name}: found a file of the kind {kind or 'without an ending'!r}; needed .csv, "
            ".tsv, .txt, .ndjson, .jsonl (each also with .gz), .xlsx, .xls, .ods, .dta, .sav or "
            ".parquet; save it as one of these"
        )
    if kind in BINARY and path.suffix.lower() == ".gz":
        raise InputError(f"{path.name}: found {kind} with .gz; needed it unpacked; unpack it")
    return kind


def _read_csv(path: Path, kind: str, told: Reading, max_line_bytes: int) -> Table:
    text, n_above = TextFile(path, told.encoding, max_line_bytes), 0
    separator: str | None = told.separator
    try:
        lines = text.first_lines()
        given = re.fullmatch(r"(?i)\ufeff?\"?sep=(.)\"?\s*", lines[0]) if lines else None
        n_above = told.header_row - 1 + (given is not None)
        if separator is None:
            separator = given[1] if given else _separator_of(lines[n_above:], kind, path.name)
        shape, kept = Shape(separator, n_above), []
        for piece in _without_lines(text.pieces(), n_above):
            shape.feed(piece)
            kept.append(piece)
    except NotUtf8:
        raise not_utf8(path, separator or _SEPARATORS[kind]) from None
    frame = _rows(b"".join(kept), shape, separator, path.name, lines[n_above:])
    word = _SHOWN.get(separator, separator)
    other = "" if separator == _SEPARATORS[kind] else f"cells are separated by {word}"
    notes = tuple(filter(None, (text.note, other)))
    return _tidy(Table(frame, path.name, n_above + 2, told, separator, notes))


def _rows(
    whole: bytes, shape: Shape, separator: str, name: str, lines: Sequence[str]
) -> pl.DataFrame:
    """The rows of a text whose shape is known."""
    log = FaultLog()
    shape.finish(log)
    n_of_shape = log.n
    names = _header(shape, separator, log)
    if shape.is_ragged and log.n == n_of_shape:
        rows = _trimmed(whole, separator, names)
        if rows is not None:
            return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    if log.n and (row := _row_of_most(lines, separator)):
        fix = f"if titles stand above the names, pass --header-row {shape.n_above + row}"
        log.add(f"row {shape.n_above + 1}", "fewer cells than most rows have", "the names", fix)
    log.raise_if_any(name)
    frame = _parse(whole, separator, name)[: shape.n_rows - 1]
    _require_one_reading(frame, shape, names, name)
    frame.columns = names
    return frame


def _require_one_reading(frame: pl.DataFrame, shape: Shape, names: list[str], name: str) -> None:
    if frame.height != shape.n_rows - 1 or frame.width != len(names):
        raise InputError(
            f"{name}: found a table that reads as {frame.height} rows or as "
            f"{shape.n_rows - 1}; needed one reading; put cells with quotation marks or line ends "
            "in quotation marks"
        )


def _trimmed(whole: bytes, separator: str, names: list[str]) -> list[list[str | None]] | None:
    """Rows without empty cells beyond the columns with names; None where others differ too."""
    n_named = len([name for name in names if not name.startswith(_NAMELESS)])
    if any(name.startswith(_NAMELESS) for name in names[:n_named]):
        return None
    made: list[list[str | None]] = []
    lines = io.StringIO(whole.decode().rstrip("\r\n"), newline="")
    for i, row in enumerate(csv.reader(lines, delimiter=separator)):
        if len(row) < n_named or any(row[n_named:]):
            return None
        if i:
            cells: list[str | None] = [*row[:n_named], *[None] * (len(names) - n_named)]
            made.append(cells)
    return made


def _tidy(table: Table) -> Table:
    """Without empty columns that have no name, empty rows at the end, and Qualtrics' own rows."""
    frame = table.frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    nameless = [c for c in frame.columns if c.startswith(_NAMELESS)]
    filled = [c for c in nameless if frame[c].null_count() < frame.height]
    log = FaultLog()
    for name in filled:
        place_ = f"row {table.first_row - 1}, column {name.removeprefix(_NAMELESS)}"
        log.add(place_, "no name", "a name for each column", _names_below(table, len(nameless)))
    log.raise_if_any(table.name)
    frame = frame.drop(nameless)
    while frame.height and all(cell is None for cell in frame.row(-1)):
        frame = frame[: _last_filled(frame)]
    first, notes = table.first_row, list(table.notes)
    if frame.height > 1 and any(str(cell).startswith(_QUALTRICS) for cell in frame.row(1)):
        frame, first = frame[2:], first + 2
        notes.append("the two rows below the names are Qualtrics' own, and were left out")
    return replace(table, frame=frame, first_row=first, notes=tuple(notes))


def _names_below(table: Table, n_nameless: int) -> str:
    """What to do where titles stand above the names."""
    n_named = table.frame.width - n_nameless
    for i, row in enumerate(table.frame.head(_FEW).iter_rows(), start=table.first_row):
        if sum(cell is not None for cell in row) > n_named:
            return f"if row {i} has the names, pass --header-row {i}"
    return ""


def _last_filled(frame: pl.DataFrame) -> int:
    is_filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    places = is_filled.arg_true()
    return int(places[-1]) + 1 if len(places) else 0


def _headed(raw: pl.DataFrame, header_row: int, table: Table) -> Table:
    """The table of a sheet whose row of names is given."""
    log = FaultLog()
    cells = raw.row(header_row - 1) if raw.height >= header_row else ()
    names = [str(cell or "").strip(_BLANKS) for cell in cells]
    if not any(names):
        log.add(*_no_names(header_row, raw.height, _first_full(raw)))
    frame = raw[header_row:]
    _note_names(names, header_row, log)
    log.raise_if_any(table.name)
    frame.columns = _unique_names(names)
    return _tidy(replace(table, frame=frame))


def _first_full(raw: pl.DataFrame) -> int | None:
    """Number of the first row with a cell, for a hint."""
    rows = enumerate(raw.head(_FEW).iter_rows(), start=1)
    return next((i for i, row in rows if any(cell is not None for cell in row)), None)


def _no_names(row: int, n_rows: int, hint: int | None) -> tuple[str, str, str, str]:
    found = "an empty row" if n_rows else "an empty file"
    fix = f"pass --header-row {hint} if they are there" if hint else ""
    return f"row {row}", found, "the names of the columns", fix


def _parse(text: bytes, separator: str, name: str) -> pl.DataFrame:
    try:
        return pl.read_csv(text, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{name}: found a file that does not read as a table; needed a CSV file with a header; "
            "open it in a spreadsheet and save it anew"
        ) from error


_NAMELESS = "\x1fcolumn "  # what columns without a name are called until they are dropped


def _header(shape: Shape, separator: str, log: FaultLog) -> list[str]:
    """Names of the columns; faults go to the log."""
    if not shape.is_cut:
        return []
    line, row = shape.header.decode(), shape.n_above + 1
    names = []
    if line.strip():
        cells = next(csv.reader(io.StringIO(line, newline=""), delimiter=separator))
        names = [cell.strip(_BLANKS) for cell in cells]
    if not any(names):
        log.add(*_no_names(row, shape.n_rows, None))
        return []
    _note_names(names, row, log)
    return _unique_names(names)


def _note_names(names: list[str], row: int, log: FaultLog) -> None:
    for name, n in Counter(filter(None, names)).items():
        if n > 1:
            log.add(place(row, name), f"this name {n} times", "each name once", "rename the others")


def _unique_names(names: list[str]) -> list[str]:
    return [name or f"{_NAMELESS}{i + 1}" for i, name in enumerate(names)]


# What separates the cells, from the first rows.


def _separator_of(lines: Sequence[str], kind: str, name: str) -> str:
    """The one separator that cuts all rows alike; refused where two of them do."""
    usual = _SEPARATORS[kind]
    if not lines:
        return usual
    fits = {}
    for mark in _SHOWN:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
        except csv.Error:
            continue
        if counts and counts[0] > 1:
            fits[mark] = sum(n == counts[0] for n in counts) / len(counts)
    good = [mark for mark in fits if fits[mark] == 1.0]
    if len(good) == 1:
        return good[0]
    if not good:
        return max(fits, key=lambda mark: (fits[mark], mark == usual), default=usual)
    shown = " or ".join(f"{_SHOWN[mark]} (--separator {_word(mark)})" for mark in good)
    raise InputError(
        f"{name}: found rows that {shown} cut into equally many cells; needed to know which; "
        "pass the one that is right"
    )


def _row_of_most(lines: Sequence[str], separator: str) -> int | None:
    """The first row that has as many cells as most have, where it is not the first of all."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
    except csv.Error:
        return None
    usual = Counter(counts).most_common(1)[0][0] if counts else 0
    return counts.index(usual) + 1 if usual > 1 and counts[0] < usual else None


def _word(mark: str) -> str:
    return {"\t": "tab", ",": ","}.get(mark, f"'{mark}'")


def _without_lines(pieces: Iterator[bytes], n: int) -> Iterator[bytes]:
    """The bytes after the first ``n`` lines."""
    for piece in pieces:
        while n and piece:
            _, end, piece = piece.partition(b"\n")  # noqa: PLW2901
            n -= bool(end)
        if piece:
            yield piece


_ALIKE = {  # names that survey software gives to what an import needs
    "event_id": ("key", "instanceid", "meta-instanceid", "meta/instanceid", "_uuid", "responseid"),
    "at": ("submissiondate", "endtime", "recordeddate", "enddate", "_submission_time", "starttime"),
}


def note_absent(
    columns: Sequence[str], needed: Sequence[str], log: FaultLog, names_row: int | None = None
) -> None:
    """Note the columns that are needed and not there, with the nearest name."""
    alike = {c.strip().casefold(): c for c in columns}
    for name in dict.fromkeys(needed):
        if name in columns:
            continue
        near = difflib.get_close_matches(name.casefold(), list(alike), n=1)
        near = near or [other for other in _ALIKE.get(name, ()) if other in alike]
        fix = (
            f"is it {alike[near[0]]!r}? Then pass --column '{name}={alike[near[0]]}'"
            if near
            else (f"add it, pass --column '{name}=ITS NAME', or correct the study file")
        )
        if names_row is not None:
            fix = f"row {names_row} has the names: pass --header-row {names_row}"
        log.add("row 1", f"no column {name!r} among {list(columns)}", f"a column {name!r}", fix)


def _read_json_lines(path: Path, encoding: str | None, max_line_bytes: int) -> pl.DataFrame:
    try:
        text = b"".join(TextFile(path, encoding, max_line_bytes).pieces())
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
