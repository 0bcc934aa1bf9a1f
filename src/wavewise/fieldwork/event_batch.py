"""Events as JSON objects, one batch a request, read into the frame that files are read into."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from wavewise.errors import Fault
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.faults import MOST_SHOWN
from wavewise.fieldwork.json_cells import kind_of, wrong_number, wrong_text

__all__ = ["MOST_EVENTS", "Batch", "read_batch"]

MOST_EVENTS = 1_000

_TEXTS = ("event_id", "unit_id", "kind", "at", "item")
_KEYS = {*_TEXTS, "value"}
_NEEDED = ("event_id", "unit_id", "kind", "at")
_SCHEMA = {**dict.fromkeys(_TEXTS, pl.String), "value": pl.Float64}
_PLACE = re.compile(r"row (\d+)(?:, column '(\w+)')?")


@dataclass(frozen=True)
class Batch:
    """The good events of a batch, and what is wrong with the others.

    Parameters
    ----------
    events : DataFrame
        Columns event_id, unit_id, kind, at_utc_us, value, item.
    faults : tuple of Fault
        The first faults, at most 50, with paths such as ``events[3].at``.
    n_bad : int
        Number of events that were left out.
    """

    events: pl.DataFrame
    faults: tuple[Fault, ...]
    n_bad: int


def read_batch(objects: Sequence[Any], *, default_time_zone: str | None = None) -> Batch:
    """The events of a batch. One that is wrong is reported, and leaves the others alone.

    Parameters
    ----------
    objects : sequence
        JSON values; each good one is an object with event_id, unit_id, kind, at and, where they
        apply, value (a number) and item.
    default_time_zone : str or None
        IANA name for times without an offset; None makes such times faults.

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
    checked = check_events(frame, default_time_zone=default_time_zone, first_row=0, name="events")
    faults += [replace(fault, path=_path(fault.path, places)) for fault in checked.faults]
    n_bad = len(objects) - checked.events.height
    faults.sort(key=lambda fault: int(fault.path.partition("[")[2].partition("]")[0]))
    return Batch(checked.events, tuple(faults[:MOST_SHOWN]), n_bad)


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


def _path(path: str, places: Sequence[int]) -> str:
    match = _PLACE.fullmatch(path)
    if match is None:
        return path
    column = f".{match[2]}" if match[2] else ""
    return f"events[{places[int(match[1])]}]{column}"
