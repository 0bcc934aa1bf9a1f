"""Columns of a data file as text or numbers, and where they are empty or wrong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import polars as pl

from wavewise.errors import Fault
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.shared.results import BoolArray, IntArray

__all__ = ["Cells", "kind_of", "read_times", "wrong_number", "wrong_text"]

_NO_NUMBER = re.compile(r"(?i)^[+-]?(nan|inf|infinity|na|n/a|null|none|\.|-)$")


class Cells:
    """The cells of a frame, with the log that their faults go to."""

    def __init__(
        self,
        frame: pl.DataFrame,
        log: FaultLog,
        first_row: int,
        numbers: pl.Series | None = None,
    ) -> None:
        self._frame, self.log, self._first_row = frame, log, first_row
        self._numbers = numbers
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self._frame.height

    def rows(self, where: pl.Series) -> IntArray:
        """Row numbers of the true places of a mask; null is not true."""
        mask: BoolArray = where.fill_null(value=False).to_numpy()
        places: IntArray = mask.nonzero()[0]
        if self._numbers is None:
            return places + self._first_row
        return self._numbers.gather(places).cast(pl.Int64).to_numpy()

    def has(self, *columns: str) -> bool:
        """Whether all columns are there; notes those that are not."""
        absent = [name for name in dict.fromkeys(columns) if name not in self._frame.columns]
        for name in absent:
            self.log.add(
                "row 1",
                f"no column {name!r} among {self._frame.columns}",
                f"a column {name!r}",
                "add it, or correct the study file",
            )
        return not absent

    def text(self, column: str) -> pl.Series:
        """A column as text exactly as written; an empty cell is null."""
        raw = self._frame[column]
        if raw.dtype.is_nested() or raw.dtype == pl.Binary:
            self.log.add(f"column {column!r}", f"lists or objects ({raw.dtype})", "plain values")
            return pl.repeat(None, len(raw), dtype=pl.String, eager=True).alias(column)
        text = raw.cast(pl.String)
        return text.set(text == "", None)

    def needed_text(self, column: str, needed: str, fix: str = "") -> pl.Series:
        """A column as text; notes cells that are empty or hold only blanks."""
        text = self.text(column)
        is_empty = text.is_null() | (text.str.strip_chars() == "")
        self.log.add_rows(self.rows(is_empty), column, "nothing", needed, fix=fix)
        return text

    def id(self, column: str) -> pl.Series:
        """A column of ids; notes empty ones and blanks around them. No id is ever shown."""
        text = self.needed_text(column, "an id")
        stripped = text.str.strip_chars()
        has_blanks = (stripped != text) & (stripped != "")
        self.log.add_rows(
            self.rows(has_blanks), column, "blanks around the id", "the bare id", fix="strip them"
        )
        if self._frame.schema[column].is_float():
            self.log.add(f"column {column!r}", "numbers with fractions", "ids as text or integers")
        return text

    def covariate(self, column: str) -> pl.Series:
        """A column as finite numbers where all cells are numbers, else as text.

        Words for a missing number among numbers ("nan", "inf", "NA") are faults.
        """
        text = self.text(column)
        trimmed = text.str.strip_chars()
        number = trimmed.cast(pl.Float64, strict=False)
        is_number = number.is_finite().fill_null(value=False)
        is_other = ~is_number & text.is_not_null()
        others = text.filter(is_other)
        # "inf" and 1e999 parse as numbers that are not finite; "NA" does not parse.
        unparsed = text.filter(is_other & number.is_null()).unique()
        if is_number.any() and all(_NO_NUMBER.match(cell.strip()) for cell in unparsed):
            self._note_no_number(text, is_other)
            return _whole_where_possible(number.set(~is_number, None)).alias(column)
        if not len(others):
            return _whole_where_possible(number).alias(column)
        if is_number.sum() > len(others):
            first = int(self.rows(is_other)[0])
            self.notes.append(
                f"column {column!r} was read as text: {len(others):,} of its cells are no numbers, "
                f"the first in row {first}"
            )
        return text

    def number(self, column: str) -> pl.Series:
        """A column as finite numbers; notes cells that are none. An empty cell is null."""
        text = self.text(column)
        number = text.str.strip_chars().cast(pl.Float64, strict=False)
        is_number = number.is_finite().fill_null(value=False)
        self._note_no_number(text, ~is_number & text.is_not_null())
        return number.set(~is_number, None).alias(column)

    def _note_no_number(self, text: pl.Series, where: pl.Series) -> None:
        found = [repr(cell) for cell in text.filter(where)]
        needed = "a finite number, or an empty cell where it is missing"
        self.log.add_rows(self.rows(where), text.name, found, needed)

    def level(self, column: str, levels: list[str] | None) -> pl.Series:
        """A column of strata; notes empty cells and levels that were not declared."""
        text = self.needed_text(column, "a stratum")
        if levels:
            unknown = ~text.is_in(levels) & (text.str.strip_chars() != "")
            found = [repr(cell) for cell in text.filter(unknown.fill_null(value=False))]
            shown = ", ".join(repr(level) for level in levels[:20])
            self.log.add_rows(
                self.rows(unknown), column, found, f"one of {shown}", fix="letters and blanks count"
            )
        return text

    def time_zone(self, column: str, *, has_default: bool) -> pl.Series:
        """A column of IANA time zones; notes unknown ones, and empty ones where all need one."""
        fix = "fill it in, or give the study a time zone"
        text = self.text(column) if has_default else self.needed_text(column, "a time zone", fix)
        wrong = [zone for zone in text.drop_nulls().unique() if not is_time_zone(zone)]
        near: Mapping[str, str] = {zone: near_time_zone(zone) for zone in wrong[:50]}
        is_wrong = text.is_in(wrong) & (text.str.strip_chars() != "")
        found = [
            repr(cell) + near.get(cell, "") for cell in text.filter(is_wrong.fill_null(value=False))
        ]
        self.log.add_rows(
            self.rows(is_wrong), column, found, "a name of the IANA list, such as 'America/Lima'"
        )
        return text


def is_time_zone(name: str) -> bool:
    """Whether the time-zone database has this name.

    Examples
    --------
    >>> is_time_zone("Africa/Nairobi"), is_time_zone("Nairobi"), is_time_zone("../etc")
    (True, False, False)
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def near_time_zone(name: str) -> str:
    """A hint at the zone that may be meant, such as `` (is it 'America/Lima'?)``; or nothing."""
    word = name.strip().casefold().replace(" ", "_")
    for zone in _all_zones():
        if word and word in {zone.casefold(), zone.casefold().rsplit("/", 1)[-1]}:
            return f" (is it {zone!r}?)"
    return ""


@cache
def _all_zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def _whole_where_possible(number: pl.Series) -> pl.Series:
    """Integers where no number has a fraction, so that 7 is not written 7.0."""
    is_whole = (number == number.round(0)) & (number.abs() < 2**53)
    return number.cast(pl.Int64) if is_whole.all() else number


# Values of JSON objects that stand for the cells of a table: what is wrong with their form.

_LARGEST = 1e300


def wrong_text(key: str, value: Any, *, needed: bool) -> Fault | None:
    """What is wrong with a text or a whole number that stands for one; None where it is sound.

    Examples
    --------
    >>> str(wrong_text("at", True, needed=True))
    '.at: found a JSON truth value; needed a text'
    >>> wrong_text("unit_id", 7, needed=True)
    """
    if value is None:
        return Fault(f".{key}", "nothing", "a text") if needed else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return Fault(f".{key}", f"a JSON {kind_of(value)}", "a text")
    if isinstance(value, str) and "\x00" in value:
        return Fault(f".{key}", "a NUL character", "text without it")
    return None


def wrong_number(key: str, value: Any) -> Fault | None:
    """What is wrong with a number; None where it is sound, or missing."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fault(f".{key}", f"a JSON {kind_of(value)}", "a number, or nothing")
    if abs(value) > _LARGEST:
        found = "a number of over 300 digits"
        return Fault(f".{key}", found, "a number that a computer can hold")
    return None


def kind_of(value: Any) -> str:
    """JSON's word for a value."""
    names = {bool: "truth value", str: "text", int: "number", float: "number", list: "list"}
    return "null" if value is None else names.get(type(value), "object")


# Times as text, read as microseconds since 1970 in UTC.

_FORM = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})[T ](?P<clock>\d{2}:\d{2})(?P<seconds>:\d{2})?"
    r"(?:[.,](?P<fraction>\d{1,9}))?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)
_PARTS = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class TimesRead:
    """Times and where they could not be read."""

    at_utc_us: pl.Series  # Microseconds since 1970 in UTC; null where there is none.
    is_malformed: pl.Series  # Text that is not a date and a time of ISO 8601.
    has_no_zone: pl.Series  # No offset, and no default time zone to take.
    # No offset, and in the default time zone the hour came twice or was skipped.
    is_ambiguous: pl.Series


def read_times(text: pl.Series, default_time_zone: str | None) -> TimesRead:
    """Moments from ISO 8601 text with an offset, or in a default time zone.

    Examples
    --------
    >>> read_times(pl.Series(["1970-01-01T01:00:01+01:00"]), None).at_utc_us.to_list()
    [1000000]
    """
    parts = text.str.extract_groups(_FORM).struct.unnest()
    local = _local(parts)
    has_offset = parts["utc"].is_not_null() | parts["sign"].is_not_null()
    offset = _offset_minutes(parts)
    is_malformed = text.is_not_null() & (local.is_null() | (has_offset & offset.is_null()))
    with_offset = local.dt.timestamp("us") - offset * 60_000_000
    zoneless = _in_zone(local, default_time_zone)
    at = with_offset.zip_with(has_offset, zoneless) + _fraction_us(parts)
    lacks = text.is_not_null() & ~has_offset & ~is_malformed
    no_default = default_time_zone is None
    return TimesRead(
        at_utc_us=at.set(is_malformed, None),
        is_malformed=is_malformed,
        has_no_zone=lacks & no_default,
        is_ambiguous=lacks & zoneless.is_null() & (not no_default),
    )


def _local(parts: pl.DataFrame) -> pl.Series:
    clock = pl.col("day") + " " + pl.col("clock") + pl.col("seconds").fill_null(":00")
    return parts.select(clock.str.to_datetime(_PARTS, time_unit="us", strict=False)).to_series()


def _offset_minutes(parts: pl.DataFrame) -> pl.Series:
    """Minutes east of UTC; null where there is no offset, or one beyond a day."""
    hours, minutes = pl.col("hours").cast(pl.Int64), pl.col("minutes").cast(pl.Int64).fill_null(0)
    sign = pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    size = pl.when((hours < 24) & (minutes < 60)).then(sign * (hours * 60 + minutes))
    return parts.select(pl.when(pl.col("utc").is_not_null()).then(0).otherwise(size)).to_series()


def _fraction_us(parts: pl.DataFrame) -> pl.Series:
    digits = pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
    return parts.select(digits.cast(pl.Int64)).to_series()


def _in_zone(local: pl.Series, zone: str | None) -> pl.Series:
    if zone is None:
        return pl.repeat(None, len(local), dtype=pl.Int64, eager=True)
    placed = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return placed.dt.timestamp("us")
