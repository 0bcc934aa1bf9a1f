"""Parquet, Excel, Stata and SPSS files, opened in a process of their own with bounded memory.

A damaged or hostile file may end its reader or unfold to many times its size. That process then
ends, and says in one line what it found; nothing of the study was touched.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl

from wavewise.errors import InputError

__all__ = ["KINDS", "MOST_BYTES", "read_binary"]

KINDS = {
    ".parquet": "Parquet",
    ".xlsx": "Excel",
    ".xlsm": "Excel",
    ".xls": "Excel",
    ".xlsb": "Excel",
    ".ods": "OpenDocument",
    ".dta": "Stata",
    ".sav": "SPSS",
    ".zsav": "SPSS",
}
MOST_BYTES = 1 << 30  # of the table; its reader may take twice as much memory
_MOST_SECONDS = 600
_DAMAGED, _TOO_LARGE, _REFUSED = 3, 4, 5


def read_binary(
    path: Path, kind: str, *, sheet: str | None = None, value_labels: bool = False
) -> pl.DataFrame:
    """The table of a file; the cells of a sheet are text, without a header."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(
            f"{path.name}: found no readable file ({error.strerror}); needed one; check the path"
        ) from error
    with tempfile.TemporaryDirectory(prefix="wavewise-") as folder:
        out = Path(folder) / "table.arrow"
        words = [str(path), kind, sheet or "", "labels" if value_labels else "", str(out)]
        done = subprocess.run(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-c", f"from {__name__} import main; main()", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
            env=_environment(),
        )
        if done.returncode == 0:
            return pl.read_ipc(out)
    raise _error(path, kind, done.returncode, done.stdout.decode(errors="replace").strip())


def _environment() -> dict[str, str]:
    import os

    places = [str(Path(__file__).parents[3]), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "POLARS_MAX_THREADS": "2"}


def _error(path: Path, kind: str, code: int, said: str) -> InputError:
    if code == _REFUSED:
        return InputError(f"{path.name}: {said}")
    if code == _TOO_LARGE:
        return InputError(
            f"{path.name}: found a table that needs more than {MOST_BYTES / 2**30:.0f} GiB of "
            "memory; needed a smaller one; keep only the columns that the study uses, or cut it "
            "into several files"
        )
    return InputError(
        f"{path.name}: found a file that does not read as {KINDS[kind]}; needed a whole one; "
        "write or copy it again"
    )


# What runs in the other process.


class _Refused(Exception):  # noqa: N818  (a finding that becomes the caller's error)
    """What is to be said, in place of a table."""


def main() -> None:
    """Read a file and write its table, or end with a code that says why not."""
    path, kind, sheet, labels, out = sys.argv[1:]
    _limit_memory()
    try:
        frame = _reader(kind)(Path(path), sheet or None, bool(labels))
        if frame.estimated_size() > MOST_BYTES:
            sys.exit(_TOO_LARGE)
        frame.write_ipc(out)
    except _Refused as error:
        sys.stdout.write(str(error))
        sys.exit(_REFUSED)
    except MemoryError:
        sys.exit(_TOO_LARGE)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        is_large = any(word in str(error).lower() for word in ("alloc", "memory", "capacity"))
        sys.exit(_TOO_LARGE if is_large else _DAMAGED)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (2 * MOST_BYTES, 2 * MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _parquet(path: Path, _sheet: str | None, _labels: bool) -> pl.DataFrame:
    rows = pl.scan_parquet(path, glob=False)
    n_rows = rows.select(pl.len()).collect().item()
    if n_rows * sum(map(_width, rows.collect_schema().dtypes())) > MOST_BYTES:
        raise MemoryError
    return pl.read_parquet(path, glob=False)


def _width(kind: pl.DataType) -> int:
    """Least number of bytes of a value in memory."""
    if kind.is_numeric() or kind.is_temporal():
        return 1 if kind in {pl.Int8, pl.UInt8} else 2 if kind in {pl.Int16, pl.UInt16} else 4
    return 16 if kind in {pl.String, pl.Binary} else 1


def _stata(path: Path, _sheet: str | None, value_labels: bool) -> pl.DataFrame:
    return _stat(path, "read_dta", value_labels)


def _spss(path: Path, _sheet: str | None, value_labels: bool) -> pl.DataFrame:
    return _stat(path, "read_sav", value_labels)


def _stat(path: Path, reader: str, value_labels: bool) -> pl.DataFrame:
    import pyreadstat

    frame, _ = getattr(pyreadstat, reader)(
        str(path),
        apply_value_formats=value_labels,
        formats_as_category=False,
        output_format="polars",
    )
    return pl.DataFrame([_plain(column) for column in frame])


def _plain(column: pl.Series) -> pl.Series:
    """Mixed values as text; codes and whole numbers without their fraction."""
    if column.dtype == pl.Object:
        values = [None if x is None or x != x else _cell(x) for x in column.to_list()]  # noqa: PLR0124
        return pl.Series(column.name, values, dtype=pl.String)
    if column.dtype.is_float():
        known = column.fill_nan(None)
        is_whole = ((known == known.round(0)) & (known.abs() < 2**53)).all()
        return known.cast(pl.Int64) if is_whole else known
    return column


def _sheet(path: Path, sheet: str | None, _labels: bool) -> pl.DataFrame:
    import python_calamine

    book = python_calamine.load_workbook(str(path))
    shown = [s.name for s in book.sheets_metadata if "Visible" in str(s.visible)]
    names = shown or book.sheet_names
    if sheet is not None and sheet not in book.sheet_names:
        raise _Refused(f"found no sheet {sheet!r} among {names}; needed one of them")
    filled = {}
    for name in [sheet] if sheet is not None else names:
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        if any(cell != "" for row in rows[:1000] for cell in row):
            filled[name] = rows
    if len(filled) > 1:
        raise _Refused(
            f"found {len(filled)} sheets with data, {list(filled)}; needed to know which; "
            f'pass --sheet "{next(iter(filled))}", or another of them'
        )
    if not filled:
        return pl.DataFrame()
    name, rows = filled.popitem()
    table = [[_cell(cell) for cell in row] for row in rows]
    for row, column, text in _errors(path, name):
        if row < len(table) and column < len(table[row]):
            table[row][column] = text
    columns = [f"c{i}" for i in range(len(table[0]))]
    return pl.DataFrame(table, schema=dict.fromkeys(columns, pl.String), orient="row")


def _cell(value: Any) -> str | None:
    """A cell as a person would write it into a text file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) or None


_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_REL = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_ERROR_CELL = re.compile(
    rb'<c\b(?=[^>]*\bt="e")[^>]*\br="([A-Z]+)(\d+)"[^>]*>(?:<f\b[^<]*(?:</f>)?)?<v>([^<]*)</v>'
)


def _errors(path: Path, name: str) -> list[tuple[int, int, str]]:
    """Cells of a sheet that hold an error such as #N/A, which the reader gives as empty ones."""
    try:
        with zipfile.ZipFile(path) as parts:
            book = ET.fromstring(parts.read("xl/workbook.xml"))  # noqa: S314  (bounded memory)
            links = ET.fromstring(parts.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
            at = {s.get("name"): s.get(f"{_REL}id") for s in book.iter(f"{_MAIN}sheet")}[name]
            target = {link.get("Id"): link.get("Target", "") for link in links}[at].lstrip("/")
            text = parts.read(target if target.startswith("xl/") else f"xl/{target}")
    except (zipfile.BadZipFile, KeyError, ET.ParseError):
        return []  # not of this format: an older one, or OpenDocument
    found = _ERROR_CELL.findall(text)
    return [(int(row) - 1, _column(letters), value.decode()) for letters, row, value in found]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _reader(kind: str) -> Callable[[Path, str | None, bool], pl.DataFrame]:
    return {".parquet": _parquet, ".dta": _stata, ".sav": _spss, ".zsav": _spss}.get(kind, _sheet)
