"""Data that come in: the rows of a file, or of a data frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.fieldwork.files.read import first_row, note_absent, read_table

__all__ = ["Table", "read_data"]

_FRAME = "the data frame"
_MISSING_AS_NAN = ("pandas", "modin", "cudf")  # Where NaN is the usual mark of a missing value.


@dataclass(frozen=True)
class Table:
    """Rows to import, and how messages call them."""

    frame: pl.DataFrame
    name: str  # Of the file, or that it is a frame.
    first_row: int  # Number of the first row of data, as people count it.


def read_data(data: Any, *, encoding: str = "utf-8", columns_needed: tuple[str, ...] = ()) -> Table:
    """The rows of a file, or of a data frame of any kind."""
    if isinstance(data, str | Path):
        path = Path(data)
        frame = read_table(path, encoding=encoding, columns_needed=columns_needed)
        return Table(frame, path.name, first_row(path))
    frame = _polars_frame(data)
    log = FaultLog()
    note_absent(frame.columns, columns_needed, log)
    log.raise_if_any(_FRAME)
    return Table(frame, _FRAME, 1)


def _polars_frame(data: Any) -> pl.DataFrame:
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    import narwhals as nw

    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise InputError(
            f"found a {type(data).__name__}; needed the path of a file, or a data frame of polars, "
            "pandas or pyarrow"
        ) from None
    missing = frame.implementation.value in _MISSING_AS_NAN
    return pl.DataFrame([_polars_series(frame[name], missing) for name in frame.columns])


def _polars_series(column: Any, missing_as_nan: bool) -> pl.Series:
    import narwhals as nw

    if column.dtype in {nw.Categorical, nw.Enum, nw.Object, nw.Unknown}:
        # mixed values as they print: what reads them says which are wrong
        values = [None if _is_missing(value) else str(value) for value in column.to_list()]
        return pl.Series(column.name, values, dtype=pl.String)
    values = column.to_list()
    if missing_as_nan:
        values = [None if _is_missing(value) else value for value in values]
    return pl.Series(column.name, values, strict=False)


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT or NA: whatever does not equal itself."""
    if value is None:
        return True
    same = value == value  # noqa: PLR0124
    return not isinstance(same, bool) or not same
