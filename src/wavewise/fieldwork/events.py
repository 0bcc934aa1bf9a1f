"""Events: what units did, checked row by row before anything is kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from wavewise.design.spec import Reading
from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.cells import (
    BLANKS,
    Cells,
    ColumnRead,
    kind_of,
    wrong_number,
    wrong_text,
)
from wavewise.fieldwork.files.faults import MOST_SHOWN, FaultLog
from wavewise.shared.results import IntArray, read_only

__all__ = ["MOST_EVENTS", "CheckedEvents", "check_events", "read_batch"]

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
    """The events of a file, and what is wrong with the rest."""

    # One row a good row of the file, in its order: event_id, unit_id, kind, at_utc_us, value,
    # item. Empty where a fault is of the file as a whole.
    events: pl.DataFrame
    faults: tuple[Fault, ...]  # The first faults, at most 50.
    n_faults: int  # Number of all faults.
    bad_rows: IntArray  # (n_bad_rows,): Numbers of the rows that are left out of ``events``.
    reads: tuple[ColumnRead, ...] = ()  # How each column was read.
    has_made_ids: bool = False  # Whether the ids were made from the events' content.
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
    reading: Reading | None = None,
    separator: str | None = None,
) -> CheckedEvents:
    """The events of a file, with every fault by row and column.

    Events without an id get one made from their content: see :func:`made_ids`.
    """
    log = FaultLog()
    cells = Cells(frame, log, first_row, reading=reading, separator=separator)
    kind_column = "event" if "event" in frame.columns and "kind" not in frame.columns else "kind"
    is_given = kind is not None and kind_column not in frame.columns
    needed = ["unit_id", "at", *([] if is_given else [kind_column])]
    events = pl.DataFrame(schema=_EVENTS)
    given, nothing = (_constant(text, frame.height) for text in (kind, None))
    has_ids = "event_id" in frame.columns
    if cells.has(*needed):
        kinds = given if is_given else cells.needed_text(kind_column, "the kind of event")
        events = pl.DataFrame(
            {
                "event_id": cells.id("event_id") if has_ids else nothing,
                "unit_id": cells.id("unit_id"),
                "kind": kinds.str.strip_chars(BLANKS),
                "at_utc_us": cells.times("at", default_time_zone),
                "value": _value(frame, cells),
                "item": cells.text("item") if "item" in frame.columns else nothing,
            },
            schema=_EVENTS,
        )
    good = events.clear() if log.is_fatal else _without(events, log.rows - first_row)
    return CheckedEvents(
        events=good if has_ids else good.with_columns(event_id=made_ids(good)),
        faults=log.faults,
        n_faults=log.n,
        bad_rows=read_only(log.rows),
        reads=tuple(cells.reads),
        has_made_ids=not has_ids,
        _error=log.as_error(name) if log.n else None,
    )


def made_ids(events: pl.DataFrame) -> pl.Series:
    """Ids of events from their content: the same event in the same place of its likes, the same id.

    The SHA-256 of unit, kind, time in microseconds since 1970 in UTC, value and item, and how many
    events of the same content stand above it in the file.

    Examples
    --------
    >>> rows = {"unit_id": ["7", "7"], "kind": ["login"] * 2, "at_utc_us": [0, 0]}
    >>> made = made_ids(pl.DataFrame({**rows, "value": [None, None], "item": [None, None]}))
    >>> [name[:13] for name in made]
    ['made-3be3fb5f', 'made-593242c3']
    """
    content = ["unit_id", "kind", "at_utc_us", "value", "item"]
    place = events.select(pl.int_range(pl.len()).over(content)).to_series()
    rows = zip(*(events[name].to_list() for name in content), place.to_list(), strict=True)
    digests = (hashlib.sha256(repr(row).encode()).hexdigest() for row in rows)
    return pl.Series("event_id", [f"made-{digest[:32]}" for digest in digests], dtype=pl.String)


def _constant(value: str | None, n_rows: int) -> pl.Series:
    return pl.repeat(value, n_rows, dtype=pl.String, eager=True)


def _value(frame: pl.DataFrame, cells: Cells) -> pl.Series:
    if "value" in frame.columns:
        return cells.number("value").cast(pl.Float64)
    return pl.repeat(None, frame.height, dtype=pl.Float64, eager=True)


def _without(events: pl.DataFrame, places: IntArray) -> pl.DataFrame:
    is_good = np.ones(events.height, dtype=bool)
    is_good[places] = False
    return events.filter(pl.Series(is_good))


# Events as JSON objects, one batch a request, read into the frame that files are read into.

MOST_EVENTS = 1_000

_TEXTS = ("event_id", "unit_id", "kind", "at", "item")
_KEYS = {*_TEXTS, "value"}
_NEEDED = ("event_id", "unit_id", "kind", "at")  # an app that sends again needs its own ids
_SCHEMA = {**dict.fromkeys(_TEXTS, pl.String), "value": pl.Float64}


@dataclass(frozen=True)
class Batch:
    """The good events of a batch, and what is wrong with the others."""

    events: pl.DataFrame  # Columns event_id, unit_id, kind, at_utc_us, value, item.
    # The first faults, at most 50, with paths such as ``events[3].at``.
    faults: tuple[Fault, ...]
    n_bad: int  # Number of events that were left out.


def read_batch(objects: Sequence[Any], *, default_time_zone: str | None = None) -> Batch:
    """The events of a batch. One that is wrong is reported, and leaves the others alone.

    Examples
    --------
    >>> good = {"event_id": 1, "unit_id": "007", "kind": "login", "at": "2024-03-04T12:00:00Z"}
    >>> batch = read_batch([good, {**good, "at": "noon"}])
    >>> batch.events.height, batch.n_bad, batch.faults[0].path
    (1, 1, 'events[1].at')
    """
    rows, places = [], []
    faults: list[Fault] = []
    for i, found in enumerate(objects):
        wrong = _wrong(found)
        if wrong is None:
            rows.append(_row(found))
            places.append(i)
        else:
            faults.append(replace(wrong, path=f"events[{i}]{wrong.path}"))
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    events, found_in = _checked(frame, places, default_time_zone)
    faults += found_in
    n_bad = len(objects) - events.height
    faults.sort(key=lambda fault: int(fault.path.partition("[")[2].partition("]")[0]))
    return Batch(events, tuple(faults[:MOST_SHOWN]), n_bad)


def _checked(
    frame: pl.DataFrame, places: Sequence[int], time_zone: str | None
) -> tuple[pl.DataFrame, list[Fault]]:
    """The good events, and the faults of the others by their places in the batch.

    A doubt about a whole column, such as the order of day and month, is one about the events that
    raise it: the halves are read apart until it is theirs alone.
    """
    checked = check_events(frame, default_time_zone=time_zone, first_row=0, name="events")
    general = [fault for fault in checked.faults if fault.row is None]
    if not general:
        return checked.events, [replace(f, path=_path(f, places)) for f in checked.faults]
    if frame.height == 1:
        place = f"events[{places[0]}].at"
        return checked.events, [replace(fault, path=place) for fault in general]
    half = frame.height // 2
    first, first_faults = _checked(frame[:half], places[:half], time_zone)
    second, second_faults = _checked(frame[half:], places[half:], time_zone)
    return pl.concat([first, second]), first_faults + second_faults


def _row(found: dict[str, Any]) -> tuple[str | float | None, ...]:
    value = found.get("value")
    texts = (None if (t := found.get(key)) is None else str(t) for key in _TEXTS)
    return (*texts, None if value is None else float(value))


def _wrong(found: Any) -> Fault | None:
    """What is wrong with the form of one event; None where it is sound. No content is shown."""
    if not isinstance(found, dict):
        return Fault(
            "", f"a JSON {kind_of(found)}", "an object with event_id, unit_id, kind and at"
        )
    if unknown := found.keys() - _KEYS:
        shown = sorted(str(key)[:40] for key in unknown)[:5]
        return Fault("", f"the unknown keys {shown}", f"only {', '.join(sorted(_KEYS))}")
    texts = (wrong_text(key, found.get(key), needed=key in _NEEDED) for key in _TEXTS)
    return next(filter(None, texts), None) or wrong_number("value", found.get("value"))


def _path(fault: Fault, places: Sequence[int]) -> str:
    if fault.row is None:
        raise ValueError("a fault of no event")
    column = f".{fault.column}" if fault.column else ""
    return f"events[{places[fault.row]}]{column}"
