"""Times as text, in any of the usual forms, read as microseconds since 1970 in UTC."""

from dataclasses import dataclass, replace

import polars as pl

__all__ = ["TimesRead", "read_times"]

_FORM = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})[T ](?P<clock>\d{2}:\d{2})(?P<seconds>:\d{2})?"
    r"(?:[.,](?P<fraction>\d{1,9}))?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)
_PARTS = "%Y-%m-%d %H:%M:%S"
_CLOCK = (
    r"(?:[T,\s]\s*(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?\s*[Mm]\.?)?)?"
    r"\s?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)
_NUMBERS = r"^(?P<a>\d{1,4})[/.\-](?P<b>\d{1,2})[/.\-](?P<c>\d{1,4})" + _CLOCK
_WORD = r"(?P<month>\p{L}{3,10})\.?"
_DAY_FIRST = (
    r"^(?P<a>\d{1,2})(?:\s+de)?[\s\-/]+" + _WORD + r"(?:\s+de)?,?[\s\-/]+(?P<c>\d{4})" + _CLOCK
)
_MONTH_FIRST = r"^" + _WORD + r"\s+(?P<a>\d{1,2}),?\s+(?P<c>\d{4})" + _CLOCK
_MONTHS = (
    "jan ene janv gen", "feb fév fev", "mar mär", "apr abr avr", "may mai mag", "jun juin giu",
    "jul juil lug", "aug ago aoû aou", "sep set", "oct out okt ott", "nov", "dec dic déc dez",
)  # fmt: skip
_LONG = {word: i for i, words in enumerate(_MONTHS, start=1) for word in words.split()}
_NOON = "12:00:00"
_SERIAL_DAYS = (20_000, 80_000)  # 1954 to 2119, as Excel counts days since 1899-12-30
_EPOCHS = ((1e9, 4.2e9, 1e6, "seconds"), (1e12, 4.2e12, 1e3, "milliseconds"))
_SERIAL_ZERO_DAYS = 25_569


@dataclass(frozen=True)
class TimesRead:
    """Times and where they could not be read."""

    at_utc_us: pl.Series  # Microseconds since 1970 in UTC; null where there is none.
    is_malformed: pl.Series  # Text that is not a date and a time.
    has_no_zone: pl.Series  # No offset, and no default time zone to take.
    # No offset, and in the default time zone the hour came twice or was skipped.
    is_ambiguous: pl.Series
    note: str = ""  # How they were read, where not as ISO 8601 says.
    doubt: str = ""  # Why the order of day and month cannot be told; nothing is read then.


def read_times(
    text: pl.Series, default_time_zone: str | None, date_format: str | None = None
) -> TimesRead:
    """Moments from text with an offset, or in a default time zone.

    ISO 8601 is read as it stands. Other forms are read where the column leaves no doubt of the
    order of day, month and year, or where ``date_format`` says it.

    Examples
    --------
    >>> read_times(pl.Series(["1970-01-01T01:00:01+01:00"]), None).at_utc_us.to_list()
    [1000000]
    >>> read_times(pl.Series(["25/3/1970 5:02 PM", "3/4/1970 0:00"]), "UTC").at_utc_us.to_list()
    [7232520000000, 7948800000000]
    >>> read_times(pl.Series(["5/3/1970", "3/4/1970"]), "UTC").doubt[:40]
    'dates such as 5/3/1970 have day or month'
    """
    if date_format is not None and "%" in date_format:
        return _by_pattern(text, default_time_zone, date_format)
    parts = text.str.extract_groups(_FORM).struct.unnest()
    local = _local(parts)
    is_other = text.is_not_null() & local.is_null()
    read = _placed(text, parts, local, default_time_zone)
    if not is_other.any():
        return read
    has_clock = text.str.contains(":", literal=True)
    if has_clock.any() and not has_clock.all():  # days among times: of what hour?
        clocked = read_times(text.set(~has_clock, None), default_time_zone, date_format)
        return replace(
            clocked, is_malformed=clocked.is_malformed | ~has_clock.fill_null(value=True)
        )
    other = _other_forms(text.filter(is_other), default_time_zone, date_format)
    mixes = date_format is None and other.note.startswith(("day", "month")) and not is_other.all()
    has_dates = mixes and text.filter(~is_other).drop_nulls().len() > 0
    if has_dates:
        note = "some dates are written year first and some not: a spreadsheet may have swapped days"
        other = replace(other, doubt=other.doubt or f"{note} and months")
    return _merged(read, other, is_other)


def _merged(read: TimesRead, other: TimesRead, where: pl.Series) -> TimesRead:
    def filled(name: str) -> pl.Series:
        whole: pl.Series = getattr(read, name).clone()
        return whole.scatter(where.arg_true(), getattr(other, name))

    names = ("at_utc_us", "is_malformed", "has_no_zone", "is_ambiguous")
    return TimesRead(**{name: filled(name) for name in names}, note=other.note, doubt=other.doubt)


def _placed(
    text: pl.Series, parts: pl.DataFrame, local: pl.Series, default_time_zone: str | None
) -> TimesRead:
    """Local times and their offsets as moments."""
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


# Forms other than ISO 8601.


def _by_pattern(text: pl.Series, zone: str | None, pattern: str) -> TimesRead:
    """Times by a pattern that was given."""
    bare = text.str.strip_chars()
    try:
        if "%z" in pattern:
            found = bare.str.to_datetime(pattern, strict=False, time_unit="us")
            local, has_offset = found.dt.convert_time_zone("UTC"), "Z"
        else:
            has_clock = any(mark in pattern for mark in ("%H", "%I", "%T", "%R", "%X"))
            whole = pattern if has_clock else f"{pattern} %T"
            cells = bare if has_clock else bare + f" {_NOON}"
            local, has_offset = cells.str.to_datetime(whole, strict=False, time_unit="us"), None
    except pl.exceptions.PolarsError:
        nothing = pl.repeat(None, len(text), dtype=pl.String, eager=True)
        return read_times(nothing.fill_null(text), zone)
    parts = pl.DataFrame({"utc": pl.repeat(has_offset, len(text), dtype=pl.String, eager=True)})
    parts = parts.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("sign", "hours", "minutes", "fraction")
    )
    return replace(
        _placed(text, parts, local.dt.replace_time_zone(None), zone), note=f"as {pattern}"
    )


def _other_forms(text: pl.Series, zone: str | None, order: str | None) -> TimesRead:
    """Numbers of days or seconds, dates in numbers or with the month in letters."""
    bare = text.str.strip_chars().str.replace_all("[\u00a0\u202f]", " ")
    number = bare.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    if number.is_not_null().all():
        return _numbers(text, number, zone)
    parts = bare.str.extract_groups(_NUMBERS).struct.unnest()
    if parts["a"].null_count() < len(text):
        return _in_numbers(text, parts, zone, order)
    for form in (_DAY_FIRST, _MONTH_FIRST):
        parts = bare.str.extract_groups(form).struct.unnest()
        if parts["a"].null_count() < len(text):
            short = parts["month"].str.to_lowercase()
            by_word = {**_LONG}
            month = short.str.slice(0, 4).replace_strict(
                by_word, default=None, return_dtype=pl.Int64
            )
            month = month.fill_null(
                short.str.slice(0, 3).replace_strict(by_word, default=None, return_dtype=pl.Int64)
            )
            named = parts.with_columns(
                day=pl.col("a"), month=month.cast(pl.String), year=pl.col("c")
            )
            return replace(_dated(text, named, zone), note="with the month in letters")
    return _dated(text, parts.with_columns(day=pl.lit(None), month=None, year=None), zone)


def _numbers(text: pl.Series, number: pl.Series, zone: str | None) -> TimesRead:
    """Days as a spreadsheet counts them, or seconds since 1970; one of them for all."""
    empty = pl.repeat(False, len(text), dtype=pl.Boolean, eager=True)
    low, high = _SERIAL_DAYS
    if number.is_between(low, high).all():
        microseconds = ((number - _SERIAL_ZERO_DAYS) * 86_400e3).round(0).cast(pl.Int64) * 1000
        is_day = bool((number == number.floor()).all())
        microseconds += 43_200_000_000 * is_day
        local = microseconds.cast(pl.Datetime("us"))
        parts = pl.DataFrame(
            {
                name: pl.repeat(None, len(text), dtype=pl.String, eager=True)
                for name in ("utc", "sign", "hours", "minutes", "fraction")
            }
        )
        note = f"spreadsheet day numbers, in {zone}" + (", at noon" if is_day else "")
        return replace(_placed(text, parts, local, zone), note=note)
    for least, most, factor, word in _EPOCHS:
        if number.is_between(least, most).all():
            at = (number * factor).round(0).cast(pl.Int64)
            return TimesRead(at, empty, empty, empty, note=f"{word} since 1970")
    nothing = pl.repeat(None, len(text), dtype=pl.Int64, eager=True)
    return TimesRead(nothing, text.is_not_null(), empty, empty)


def _in_numbers(
    text: pl.Series, parts: pl.DataFrame, zone: str | None, order: str | None
) -> TimesRead:
    """Dates such as 25/3/2024: the order as given, or as the column leaves no doubt of."""
    year_first = (parts["a"].str.len_chars() == 4) & (parts["c"].str.len_chars() <= 2)
    year_last = (parts["c"].str.len_chars() == 4) & (parts["a"].str.len_chars() <= 2)
    if year_first.fill_null(value=True).all():
        order = "YMD"
    doubt = ""
    if order is None:
        order, doubt = _order(parts, text, year_last)
    names = {"DMY": "abc", "MDY": "bac", "YMD": "cba"}[order]
    day, month, year = (pl.col(names[i]) for i in range(3))
    known = parts.with_columns(day=day, month=month, year=_full_year(year))
    right = year_first if order == "YMD" else year_last
    if not right.any():
        right = (parts["a"].str.len_chars() <= 2) & (parts["c"].str.len_chars() <= 2)
    known = known.with_columns(
        pl.when(right.fill_null(value=False)).then(pl.col(name)).alias(name)
        for name in ("day", "month", "year")
    )
    words = {"DMY": "day first", "MDY": "month first", "YMD": "year first"}
    return replace(_dated(text, known, zone), note=words[order], doubt=doubt)


def _order(parts: pl.DataFrame, text: pl.Series, year_last: pl.Series) -> tuple[str, str]:
    """The order that the numbers leave possible, and why it is in doubt."""
    first, second = (parts[name].cast(pl.Int64) for name in "ab")
    example = next(iter(text.drop_nulls()), "")
    if not year_last.fill_null(value=True).all():
        return "DMY", f"dates such as {example} have a year of two digits, or in no fixed place"
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first and month_first:
        return "DMY", f"dates such as {example} have the day first in some cells, not in others"
    if not day_first and not month_first and not (first == second).fill_null(value=True).all():
        return "DMY", f"dates such as {example} have day or month first: no day is above 12"
    return ("MDY" if month_first else "DMY"), ""


def _full_year(year: pl.Expr) -> pl.Expr:
    short = year.cast(pl.Int64)
    century = pl.when(short < 70).then(2000).otherwise(1900)
    full = pl.when(year.str.len_chars() <= 2).then(short + century).otherwise(short)
    return full.cast(pl.String)


def _dated(text: pl.Series, parts: pl.DataFrame, zone: str | None) -> TimesRead:
    """Days, months and years with their clock times; noon where there is none."""
    half = parts["half"].str.to_lowercase().str.slice(0, 1)
    hour = parts["h"].cast(pl.Int64)
    hour = hour.set((half.is_not_null() & ~hour.is_between(1, 12)).fill_null(value=False), None)
    hour = (hour % 12 + 12 * (half == "p").cast(pl.Int64)).zip_with(half.is_not_null(), hour)
    whole = parts.with_columns(hour=hour)
    clock = _padded("hour", 2) + ":" + pl.col("m") + ":" + pl.col("s").fill_null("00")
    clock = pl.when(pl.col("h").is_null()).then(pl.lit(_NOON)).otherwise(clock)
    day = _padded("year", 4) + "-" + _padded("month", 2) + "-" + _padded("day", 2)
    local = whole.select((day + " " + clock).str.to_datetime(_PARTS, strict=False, time_unit="us"))
    return _placed(text, parts, local.to_series(), zone)


def _padded(name: str, n: int) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.zfill(n)
