"""Events: what units did, checked row by row before anything is kept."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.cells import Cells
from wavewise.fieldwork.faults import FaultLog
from wavewise.fieldwork.times import read_times
from wavewise.results import IntArray, read_only

__all__ = ["CheckedEvents", "check_events"]

_EVENTS = {
    "event_id": pl.String,
    "unit_id": pl.String,
    "kind": pl.String,
    "at_utc_us": pl.Int64,
    "value": pl.Float64,
    "item": pl.String,
}


@dataclass(frozen=True)
class CheckedEvents:
    """The events of a file, and what is wrong with the rest.

    Parameters
    ----------
    events : DataFrame
        One row a good row of the file, in its order: event_id, unit_id, kind, at_utc_us, value,
        item. Empty where a fault is of the file as a whole.
    faults : tuple of Fault
        The first faults, at most 50.
    n_faults : int
        Number of all faults.
    bad_rows : array of shape (n_bad_rows,)
        Numbers of the rows that are left out of ``events``.
    """

    events: pl.DataFrame
    faults: tuple[Fault, ...]
    n_faults: int
    bad_rows: IntArray
    _error: InputError | None = None

    def raise_if_bad(self) -> None:
        """Raise InputError with the faults where there is one."""
        if self._error is not None:
            raise self._error


def check_events(
    frame: pl.DataFrame,
    *,
    kind: str | None = None,
    default_time_zone: str | None = None,
    first_row: int = 2,
    name: str = "events",
) -> CheckedEvents:
    """The events of a file, with every fault by row and column.

    Parameters
    ----------
    frame : DataFrame
        Columns event_id, unit_id, kind (or event), at, and perhaps value and item.
    kind : str or None
        The kind of all events of a file without a column for it.
    default_time_zone : str or None
        IANA name for times without an offset; None makes such times faults.
    first_row : int
        Number of the first row, from :func:`wavewise.fieldwork.files.first_row`.
    name : str
        What to call the file in the error.

    Returns
    -------
    CheckedEvents
        The good rows and the faults.
    """
    log = FaultLog()
    cells = Cells(frame, log, first_row)
    kind_column = "event" if "event" in frame.columns and "kind" not in frame.columns else "kind"
    is_given = kind is not None and kind_column not in frame.columns
    needed = ["event_id", "unit_id", "at", *([] if is_given else [kind_column])]
    events = pl.DataFrame(schema=_EVENTS)
    given, nothing = (_constant(text, frame.height) for text in (kind, None))
    if cells.has(*needed):
        events = pl.DataFrame(
            {
                "event_id": cells.id("event_id"),
                "unit_id": cells.id("unit_id"),
                "kind": given if is_given else cells.needed_text(kind_column, "the kind of event"),
                "at_utc_us": _times(frame, cells, default_time_zone),
                "value": _value(frame, cells),
                "item": cells.text("item") if "item" in frame.columns else nothing,
            },
            schema=_EVENTS,
        )
    return CheckedEvents(
        events=events.clear() if log.is_fatal else _without(events, log.rows - first_row),
        faults=log.faults,
        n_faults=log.n,
        bad_rows=read_only(log.rows),
        _error=log.as_error(name) if log.n else None,
    )


def _constant(value: str | None, n_rows: int) -> pl.Series:
    return pl.repeat(value, n_rows, dtype=pl.String, eager=True)


def _value(frame: pl.DataFrame, cells: Cells) -> pl.Series:
    if "value" in frame.columns:
        return cells.number("value").cast(pl.Float64)
    return pl.repeat(None, frame.height, dtype=pl.Float64, eager=True)


def _times(frame: pl.DataFrame, cells: Cells, default_time_zone: str | None) -> pl.Series:
    kind = frame.schema["at"]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        text = frame["at"].dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        cells.log.add_rows(cells.rows(text.is_null()), "at", "nothing", "a date and a time")
    else:
        text = cells.needed_text("at", "a date and a time")
    read = read_times(text.set(text.str.strip_chars() == "", None), default_time_zone)
    for where, found, needed in (
        (read.is_malformed, "", "a date and a time as 2023-10-09T17:00:00-05:00 (ISO 8601)"),
        (read.has_no_zone, " without an offset", "an offset or Z at its end"),
        (
            read.is_ambiguous,
            f" in {default_time_zone}, where clocks changed and it came twice or never",
            "an offset or Z at its end",
        ),
    ):
        shown = [f"{cell!r}{found}" for cell in text.filter(where.fill_null(value=False))]
        cells.log.add_rows(cells.rows(where), "at", shown, needed)
    return read.at_utc_us


def _without(events: pl.DataFrame, places: IntArray) -> pl.DataFrame:
    is_good = np.ones(events.height, dtype=bool)
    is_good[places] = False
    return events.filter(pl.Series(is_good))
