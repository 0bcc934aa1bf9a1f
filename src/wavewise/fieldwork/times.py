"""Times as text, read as microseconds since 1970 in UTC."""

from dataclasses import dataclass

import polars as pl

__all__ = ["TimesRead", "read_times"]

_FORM = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})[T ](?P<clock>\d{2}:\d{2})(?P<seconds>:\d{2})?"
    r"(?:[.,](?P<fraction>\d{1,9}))?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)
_PARTS = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class TimesRead:
    """Times and where they could not be read.

    Parameters
    ----------
    at_utc_us : Series of int
        Microseconds since 1970 in UTC; null where there is none.
    is_malformed : Series of bool
        Text that is not a date and a time of ISO 8601.
    has_no_zone : Series of bool
        No offset, and no default time zone to take.
    is_ambiguous : Series of bool
        No offset, and in the default time zone the hour came twice or was skipped.
    """

    at_utc_us: pl.Series
    is_malformed: pl.Series
    has_no_zone: pl.Series
    is_ambiguous: pl.Series


def read_times(text: pl.Series, default_time_zone: str | None) -> TimesRead:
    """Moments from ISO 8601 text with an offset, or in a default time zone.

    Parameters
    ----------
    text : Series of str
        Such as ``2023-10-09T17:00:00-05:00`` or ``2023-10-09 22:00Z``; null stays null.
    default_time_zone : str or None
        IANA name for times without an offset.

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
