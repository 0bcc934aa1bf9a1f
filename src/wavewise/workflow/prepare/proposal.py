"""A study file proposed from the columns of a people file: a start, every guess marked as one."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from string import Template

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.files.cells import Cells, is_time_zone
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.workflow.files import Table

__all__ = ["propose_study"]

_CHANNELS = {  # what a column's name says of the contact detail in it
    "sms": r"phone|mobile|msisdn|whatsapp|\btel|telefon|celular|movil|numero",
    "email": r"e-?mail|correo",
    "push": r"token|push|fcm",
}
_IDS = r"(^|_| )(id|code|codigo|folio|dni|key)($|_| )|id$"
_GROUPS = r"school|class|village|household|clinic|colegio|escuela|hogar|cluster|centro"
_NAMES = r"name|nombre|teacher|docente"
_LANGUAGES = r"^(language|lang|idioma|lengua)$"
_MOST_LEVELS = 6
_FEWEST_PER_LEVEL = 20
_WEEKS_AHEAD = 3


@dataclass
class _Columns:
    """What each column is taken for."""

    id: str = ""
    address: dict[str, str] = field(default_factory=dict)
    time_zone: str | None = None
    language: str | None = None
    cluster: str | None = None
    strata: list[str] = field(default_factory=list)
    covariates: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)


_STUDY = """\
# Proposed from $source: read each line, then `wavewise check` and `wavewise register`.
# Columns that are not named here are not imported.

[study]
id = "$study"
title = "Which message works?"
seed = $seed                            # every random draw comes from it
time_zone = "UTC"                          # of people who bring none of their own: put yours

[units]                                    # columns of the people file
$units
$reading
$messages

[schedules.weekly]
days = ["mon"]
at = "10:00"                               # local time
weeks = 2

[[outcomes]]
id = "came"
label = "share who came"
primary = true
kind = "any"                               # at least one event in the window
event = "visit"                            # the kind of event in the events file

[[waves]]
id = "wave-1"
starts = $starts
schedule = "weekly"
window_days = 21                           # from the start
control_share = "1/3"                      # gets no message
arms = ["message-a", "message-b"]

[planning]
n_units = $n_units
power = 0.8
baseline = { came = { mean = 0.2 } }       # share expected without messages: put yours
"""


def propose_study(table: Table, study_id: str, today: date) -> str:
    """Text of a study file for these people: valid, and to be edited."""
    columns, encoding = _sorted_out(table), table.reading.encoding
    channel = next(iter(columns.address), "sms")
    title = 'title.en = "..."\n' if channel in {"email", "push"} else ""
    greeting = f"{{{columns.fields[0]}}}, " if columns.fields else ""
    messages = [
        f'[[messages]]\nid = "{name}"\nchannel = "{channel}"\n{title}text.en = "{greeting}{words}"'
        for name, words in (("message-a", "write a text here"), ("message-b", "and another here"))
    ]
    monday = today + timedelta(days=7 * _WEEKS_AHEAD - today.weekday())
    return Template(_STUDY).substitute(
        source=table.name,
        study=re.sub(r"[^a-z0-9]+", "-", study_id.lower()).strip("-") or "study",
        seed=f"{today:%Y%m%d}",
        units="\n".join(_units(columns)),
        reading=f"\n[import.people]\nencoding = {_text(encoding)}\n" if encoding else "",
        messages="\n\n".join(messages),
        starts=monday,
        n_units=table.frame.height,
    )


def _units(columns: _Columns) -> Iterator[str]:
    yield f"id = {_text(columns.id)}"
    yield 'name = "people"                            # what reports call them'
    yield f"strata = {_text(columns.strata)}    # shares hold within each stratum"
    yield f"covariates = {_text(columns.covariates)}"
    yield f"fields = {_text(columns.fields)}    # may appear in messages"
    if columns.address:
        pairs = ", ".join(f"{name} = {_text(c)}" for name, c in columns.address.items())
        yield f"address = {{ {pairs} }}    # kept apart, encrypted"
    for key in ("time_zone", "language", "cluster"):
        column = getattr(columns, key)
        if column is not None:
            yield f"{key} = {_text(column)}"


def _sorted_out(table: Table) -> _Columns:
    frame = table.frame.select(pl.all().cast(pl.String))
    found = _Columns(id=_id_column(table, frame))
    cells = Cells(
        table.frame, FaultLog(), table.first_row, reading=table.reading, separator=table.separator
    )
    for name in frame.columns:
        if name == found.id:
            continue
        column, plain = frame[name].drop_nulls(), _plain(name)
        channel = _channel(column, plain)
        if channel is not None:
            found.address.setdefault(channel, name)
        elif len(column) and column.head(50).map_elements(_is_zone, pl.Boolean).all():
            found.time_zone = found.time_zone or name
        elif re.search(_LANGUAGES, plain):
            found.language = found.language or name
        else:
            _as_covariate(found, name, plain, cells.covariate(name).drop_nulls(), len(frame))
    found.strata = found.strata[:2]
    return found


def _as_covariate(found: _Columns, name: str, plain: str, values: pl.Series, n_rows: int) -> None:
    n_levels = values.n_unique()
    if re.search(_NAMES, plain) and n_levels > _MOST_LEVELS:
        found.fields.append(name)
    elif values.dtype.is_numeric():
        found.covariates.append(name)
    elif 1 < n_levels <= _MOST_LEVELS and n_rows >= _FEWEST_PER_LEVEL * n_levels:
        found.strata.append(name)
        found.covariates.append(name)
    elif re.search(_GROUPS, plain) and n_levels < n_rows:
        found.cluster = found.cluster or name
    elif n_levels <= n_rows / 10:
        found.covariates.append(name)


def _id_column(table: Table, frame: pl.DataFrame) -> str:
    """The first column of distinct values, one that is called an id before the others."""
    whole = [c for c in frame.columns if not frame[c].null_count() and frame[c].is_unique().all()]
    called = [c for c in whole if re.search(_IDS, _plain(c))]
    others = [c for c in whole if _channel(frame[c], _plain(c)) is None]
    for name in (*called, *others):
        return name
    raise InputError(
        f"{table.name}: found no column whose values are all there and all different; needed one "
        "as the id of the people; add one, or correct the repeated rows"
    )


def _channel(column: pl.Series, plain: str) -> str | None:
    if len(column) and column.str.contains("@", literal=True).mean() > 0.8:  # type: ignore[operator]
        return "email"
    called = [channel for channel, words in _CHANNELS.items() if re.search(words, plain)]
    digits = column.str.count_matches(r"\d").median() if len(column) else None
    if called and called[0] == "sms" and (not isinstance(digits, float) or digits < 7):
        return None
    return called[0] if called else None


def _is_zone(cell: str) -> bool:
    return "/" in cell and is_time_zone(cell)


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).strip()


def _text(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)
