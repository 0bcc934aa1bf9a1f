"""Columns of a data file as ids, text or numbers, and where they are empty, wrong or doubtful."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import polars as pl

from wavewise.design.spec import Reading
from wavewise.errors import Fault
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.fieldwork.files.times import read_times
from wavewise.shared.results import BoolArray, IntArray

__all__ = [
    "BLANKS",
    "Cells",
    "ColumnRead",
    "clean_text",
    "is_no_value",
    "kind_of",
    "masked",
    "normal_ids",
    "text_fault",
    "wrong_number",
    "wrong_text",
]

_NO_NUMBER = re.compile(r"(?i)^[+-]?(nan|inf|infinity|na|n/a|null|none|\.|-)$")
BLANKS = " \t\r\n\u00a0\u2007\u202f\u200b\u2060\ufeff"
# Words that programs write where a value is missing, as they write them: a name may be Nan or Na.
_NULL_WORDS = (
    "NA", "N/A", "n/a", "na", "<NA>", "NULL", "Null", "null", "(null)", "NaN", "nan", "NAN", "NaT",
    "None", "none", "NONE", "nil", "NIL", "\\N", "undefined",
)  # fmt: skip
# What Excel, LibreOffice and Google Sheets write for errors, in the languages that translate them.
_ERROR_VALUE = (
    r"^#(?:[¡¿]?[\p{Lu}\d/ _]{2,20}[!?]|N/A|N/D|NV|NA|SPILL|GETTING_DATA)$"
    r"|^(Err|Error|Erreur|Fehler):\d{3}$"
)
_LOST_DIGITS = r"^\d(?:[.,]\d+)?[eE]\+?\d+$"
_DIGITS_AS_DECIMAL = r"^\d+\.0$"
_NUMBER_BY_MARK = {  # decimal mark: what a number may look like, with groups of thousands
    mark: rf"^[+-]?(?:\d+|[1-9]\d{{0,2}}(?:{other}\d{{3}})+|[1-9]\d{{0,2}}(?:[ '\u2019]\d{{3}})+)"
    rf"(?:{re.escape(mark)}\d+)?(?:[eE][+-]?\d+)?$|^[+-]?{re.escape(mark)}\d+$"
    for mark, other in ((".", ","), (",", r"\."))
}
# What a text may not hold: control characters but for tab and line ends, and half characters.
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_UNSOUND = re.compile(_CONTROL + "|[\ud800-\udfff]")
MOST_CHARACTERS = 300  # of an id, a kind, a name: an index of a database holds no more
MOST_LONG_TEXT = 10_000
_GROUPED = r"^[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+$"  # 1,234: one thousand or one and a bit


@dataclass(frozen=True)
class ColumnRead:
    """How one column was read."""

    column: str  # The study's name for it.
    source: str  # Its name in the file.
    kind: str  # id, text, label, number, time, time zone, language, contact
    n_empty: int
    examples: tuple[str, ...]  # First cells; of ids and contact details only their form.
    note: str = ""  # What was not as plain as it could be.


def masked(cell: str) -> str:
    """The form of an id or address: 0 for digits and a for letters.

    Examples
    --------
    >>> masked("P-007"), masked("+51 987")
    ('a-000', '+00 000')
    """
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", cell))


def is_no_value(cell: str) -> bool:
    """Whether a cell holds a spreadsheet's error value or a word for what is missing.

    Examples
    --------
    >>> is_no_value("#N/A"), is_no_value("NULL"), is_no_value("#7"), is_no_value("Nan")
    (True, True, False, False)
    """
    if cell in _NULL_WORDS:
        return True
    may_be = cell.startswith("#") or cell[-4:-3] == ":"  # one cell at a time: told before a frame
    return may_be and bool(_is_error(pl.Series([cell]))[0])


def _is_error(text: pl.Series) -> pl.Series:
    may_be = text.str.starts_with("#") | text.str.contains(r":\d{3}$")  # told at once
    return text.str.contains(_ERROR_VALUE) if may_be.any() else may_be


class Cells:
    """The cells of a frame, with the log that their faults go to."""

    def __init__(
        self,
        frame: pl.DataFrame,
        log: FaultLog,
        first_row: int,
        numbers: pl.Series | None = None,
        *,
        reading: Reading | None = None,
        separator: str | None = None,
    ) -> None:
        self._frame, self.log, self._first_row = frame, log, first_row
        self._numbers = numbers
        self._reading, self._separator = reading or Reading(), separator
        self.notes: list[str] = []
        self._looked_at: set[str] = set()
        self.reads: list[ColumnRead] = []  # How each column was read, in the order of reading.

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

    def note_read(self, column: str, kind: str, cells: pl.Series, note: str = "") -> None:
        """Keep how a column was read."""
        shown = [
            str(cell)[:30] for cell in cells.head(200).drop_nulls().unique(maintain_order=True)
        ]
        if kind in {"id", "contact"}:
            shown = list(dict.fromkeys(map(masked, shown)))
        source = self._reading.column(column).from_ or column
        read = ColumnRead(column, source, kind, cells.null_count(), tuple(shown[:3]), note)
        self.reads.append(read)

    def _as_written(self, column: str) -> pl.Series:
        raw = self._frame[column]
        if raw.dtype.is_nested() or raw.dtype == pl.Binary:
            self.log.add(f"column {column!r}", f"lists or objects ({raw.dtype})", "plain values")
            return pl.repeat(None, len(raw), dtype=pl.String, eager=True).alias(column)
        text = raw.cast(pl.String)
        if raw.dtype == pl.String:
            self._note_unsound(text)
        return text.set(text == "", None)

    def _note_unsound(self, text: pl.Series) -> None:
        """Note what no database holds, once a cell, however often its column is read."""
        if text.name in self._looked_at:
            return
        self._looked_at.add(text.name)
        for where, found in (
            (text.str.contains(_CONTROL), "a control character"),
            (text.str.len_chars() > MOST_LONG_TEXT, f"over {MOST_LONG_TEXT:,} characters"),
        ):
            if where.any():
                self.log.add_rows(self.rows(where), text.name, found, "text without it")

    def text(self, column: str, kind: str = "text") -> pl.Series:
        """A column as text, as written but for its Unicode form; an empty cell is null."""
        text = _composed(self._as_written(column))
        self._note_no_value(text)
        self.note_read(column, kind, text)
        return text

    def needed_text(
        self, column: str, needed: str, fix: str = "", kind: str = "label"
    ) -> pl.Series:
        """A column as text; notes cells that are empty or hold only blanks."""
        text = self.text(column, kind)
        is_empty = text.is_null() | (text.str.strip_chars(BLANKS) == "")
        self.log.add_rows(self.rows(is_empty), column, "nothing", needed, fix=fix)
        return text

    def _note_no_value(self, text: pl.Series) -> None:
        """Note error values of spreadsheets and words for what is missing."""
        column = self._reading.column(text.name)
        if column.as_text:
            return
        is_word = text.is_in(_NULL_WORDS)
        for where, what in ((_is_error(text), "an error value"), (is_word, "a word for nothing")):
            if not where.any():
                continue
            found = text.filter(where.fill_null(value=False))
            fix = "correct the file; or pass --missing WORD to take such a cell as an empty one"
            if what != "an error value":
                fix += f", or --as-text {text.name} if it is one"
            shown = [f"{cell!r}, {what}" for cell in found]
            self.log.add_rows(self.rows(where), text.name, shown, "a value, or nothing", fix=fix)

    def id(self, column: str) -> pl.Series:
        """A column of ids in their one form; notes empty ones. No id is ever shown.

        Blanks around them go, letters are composed (NFC), and whole numbers lose their fraction.
        """
        raw, note = self._frame[column], ""
        if raw.dtype.is_float():
            if not raw.drop_nulls().is_finite().all() or (raw != raw.round(0)).any():
                self.log.add(
                    f"column {column!r}", "numbers with fractions", "ids as text or integers"
                )
            text = raw.cast(pl.Int64, strict=False).cast(pl.String).alias(column)
        else:
            text = normal_ids(self._as_written(column))
            is_long = text.str.len_chars() > MOST_CHARACTERS
            found = f"over {MOST_CHARACTERS} characters"
            self.log.add_rows(self.rows(is_long), column, found, "a shorter id")
        if text.str.contains(_DIGITS_AS_DECIMAL).all() and text.drop_nulls().len():
            text, note = text.str.strip_suffix(".0"), "whole numbers written with .0"
        self.log.add_rows(self.rows(text.is_null()), column, "nothing", "an id")
        is_lost = text.str.contains(_LOST_DIGITS)
        if is_lost.all() or self._frame.schema[column] != pl.String:
            self.log.add_rows(
                self.rows(is_lost),
                column,
                "a number in scientific notation",
                "an id with all of its digits",
                fix="format the column as text in the spreadsheet, and save it anew",
            )
        self._note_no_value_of_ids(text, column)
        self.note_read(column, "id", text, note)
        return text

    def _note_no_value_of_ids(self, text: pl.Series, column: str) -> None:
        if self._reading.column(column).as_text:
            return
        where = _is_error(text) | text.is_in(_NULL_WORDS)
        what = "an error value, or a word for nothing"
        fix = f"correct the file, or pass --as-text {column} if it is an id"
        self.log.add_rows(self.rows(where), column, what, "an id", fix=fix)

    def covariate(self, column: str) -> pl.Series:
        """A column as finite numbers where all cells are numbers, else as text.

        Words for a missing number among numbers ("nan", "inf", "NA") are faults.
        """
        if self._reading.column(column).as_text:
            return self.text(column)
        text = self._as_written(column)
        number, note = self._numbers_of(text)
        is_number = number.is_finite().fill_null(value=False)
        is_other = ~is_number & text.is_not_null()
        # "inf" and 1e999 parse as numbers that are not finite; "NA" does not parse.
        unparsed = text.filter(is_other & number.is_null()).unique()
        words = [cell for cell in unparsed if not _NO_NUMBER.match(cell.strip())]
        if is_number.any() and not words:
            self._note_no_number(text, is_other)
            number = _whole_where_possible(number.set(~is_number, None))
        elif not is_other.any():
            number = _whole_where_possible(number)
        else:
            return self._text_covariate(text, is_number, is_other)
        self.note_read(column, "number", number, note)
        return number.alias(column)

    def _text_covariate(
        self, text: pl.Series, is_number: pl.Series, is_other: pl.Series
    ) -> pl.Series:
        """A covariate whose cells are not all numbers: labels, or numbers that are not sound."""
        column, note = text.name, ""
        others = text.filter(is_other)
        if is_number.sum() > len(others) or others.str.contains(r"^[^\p{L}]*\d[^\p{L}]*$").all():
            first = int(self.rows(is_other)[0])
            note = f"read as text: {len(others):,} of its cells are no numbers"
            note += f", the first in row {first}"
            if others.str.contains(r"^[^\p{L}]*\d[\d.,'\u2019 \p{Sc}%\p{L}]*$").all():
                self._note_no_number(text, is_other, as_text=True)
            else:
                self.notes.append(f"column {column!r} was {note}")
        text = _composed(text)
        self._note_no_value(text)
        self.note_read(column, "text", text, note)
        return text

    def number(self, column: str) -> pl.Series:
        """A column as finite numbers; notes cells that are none. An empty cell is null."""
        text = self._as_written(column)
        number, note = self._numbers_of(text)
        is_number = number.is_finite().fill_null(value=False)
        self._note_no_number(text, ~is_number & text.is_not_null())
        number = number.set(~is_number, None)
        self.note_read(column, "number", number, note)
        return number.alias(column)

    def _note_no_number(self, text: pl.Series, where: pl.Series, *, as_text: bool = False) -> None:
        found = [repr(cell) for cell in text.filter(where)]
        needed = "a finite number, or an empty cell where it is missing"
        fix = (
            f"pass --missing WORD for what stands for nothing, or --as-text {text.name} for labels"
        )
        self.log.add_rows(self.rows(where), text.name, found, needed, fix=fix if as_text else "")

    def _numbers_of(self, text: pl.Series) -> tuple[pl.Series, str]:
        """Numbers by the decimal mark that the column, the file or the user leaves no doubt of."""
        raw = self._frame[text.name]
        if raw.dtype.is_numeric():
            return raw.cast(pl.Float64), ""
        bare = text.str.strip_chars(BLANKS)
        plain = bare.cast(pl.Float64, strict=False)
        told = self._reading.column(text.name).decimal
        is_plain = plain.is_not_null() | bare.is_null()
        if told is None and is_plain.all() and self._separator in {None, ","}:
            return plain, ""
        if told is None and is_plain.all() and not bare.str.contains(_GROUPED).any():
            return plain, ""
        bare = bare.str.replace("\u2212", "-", literal=True).str.replace_all("[\u00a0\u202f]", " ")
        mark = told or self._decimal_mark(bare)
        if mark is None:
            return plain, ""
        fits = bare.str.contains(_NUMBER_BY_MARK[mark])
        digits = bare.str.replace_all("[ '\u2019.]" if mark == "," else "[ '\u2019,]", "")
        made = digits.str.replace(mark, ".", literal=True).cast(pl.Float64, strict=False)
        note = "decimal comma" if mark == "," else "thousands separated"
        number = made.zip_with(fits.fill_null(value=False), pl.Series([None], dtype=pl.Float64))
        if told is not None and (number.drop_nulls() == plain.filter(number.is_not_null())).all():
            note = ""
        return number.alias(text.name), note

    def _decimal_mark(self, bare: pl.Series) -> str | None:
        """The decimal mark that all cells fit; None where none does. Doubt is noted as a fault."""
        cells = bare.drop_nulls()
        if not (cells.str.contains(r"\d").any() and cells.str.contains(r"[.,'\u2019 ]").any()):
            return None
        shares = {m: cells.str.contains(p).sum() / len(cells) for m, p in _NUMBER_BY_MARK.items()}
        fits = [mark for mark, share in shares.items() if share == 1.0]
        if len(fits) == 1:
            return fits[0]
        if not fits:
            best = max(shares, key=lambda mark: shares[mark])
            return best if shares[best] > 0.5 and shares[best] != shares[_OTHER[best]] else None
        if not cells.str.contains(_GROUPED).any():
            return "."
        found = self._mark_of_other_columns(bare.name)
        if found is not None:
            return found
        example = cells.filter(cells.str.contains(_GROUPED))[0]
        self.log.add(
            f"column {bare.name!r}",
            f"numbers such as {example!r}, with a mark for decimals or for thousands",
            "to know which",
            "pass --decimal , or --decimal .",
        )
        return None

    def _mark_of_other_columns(self, name: str) -> str | None:
        """The decimal mark of the file's other columns, where they agree and leave no doubt."""
        marks = set()
        for column, kind in self._frame.schema.items():
            if kind != pl.String or column == name:
                continue
            cells = self._frame[column].drop_nulls().str.strip_chars(BLANKS)
            cells = cells.filter((cells != "") & cells.str.contains(r"[.,]"))
            fits = [
                m for m, p in _NUMBER_BY_MARK.items() if len(cells) and cells.str.contains(p).all()
            ]
            marks |= set(fits) if len(fits) == 1 else set()
        return marks.pop() if len(marks) == 1 else None

    def level(self, column: str, levels: list[str] | None) -> pl.Series:
        """A column of strata; notes empty cells and levels that were not declared."""
        if levels and set(levels) & set(_NULL_WORDS):
            text = self._as_written(column)
            self.log.add_rows(self.rows(text.is_null()), column, "nothing", "a stratum")
            self.note_read(column, "label", text)
        else:
            text = self.needed_text(column, "a stratum")
        if levels:
            unknown = ~text.is_in(levels) & (text.str.strip_chars() != "")
            found = [repr(cell) for cell in text.filter(unknown.fill_null(value=False))]
            shown = ", ".join(repr(level) for level in levels[:20])
            self.log.add_rows(
                self.rows(unknown), column, found, f"one of {shown}", fix="letters and blanks count"
            )
        return text

    def date_format(self, column: str) -> str | None:
        """The order or pattern of a column's dates, where it was given."""
        return self._reading.column(column).date_format

    def note_doubt(self, column: str, doubt: str) -> None:
        """Note dates whose order cannot be told."""
        if doubt:
            fix = "pass --date-format DMY, MDY or YMD"
            self.log.add(f"column {column!r}", doubt, "to know the order", fix)

    def times(self, column: str, default_time_zone: str | None) -> pl.Series:
        """A column of moments, in microseconds since 1970 in UTC; notes what is none."""
        kind = self._frame.schema[column]
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
            text = self._frame[column].dt.convert_time_zone("UTC")
            text = text.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        else:
            text = self._as_written(column)
        text = text.set(text.str.strip_chars(BLANKS) == "", None)
        self.log.add_rows(self.rows(text.is_null()), column, "nothing", "a date and a time")
        read = read_times(text, default_time_zone, self.date_format(column))
        self.note_doubt(column, read.doubt)
        clocks = f" in {default_time_zone}, where clocks changed and it came twice or never"
        for where, found, needed in (
            (read.is_malformed, "", "a date and a time as 2023-10-09T17:00:00-05:00 (ISO 8601)"),
            (read.has_no_zone, " without an offset", "an offset or Z at its end"),
            (read.is_ambiguous, clocks, "an offset or Z at its end"),
        ):
            shown = [f"{cell!r}{found}" for cell in text.filter(where.fill_null(value=False))]
            self.log.add_rows(self.rows(where), column, shown, needed)
        self.note_read(column, "time", text, read.note)
        return read.at_utc_us

    def time_zone(self, column: str, *, has_default: bool) -> pl.Series:
        """A column of IANA time zones; notes unknown ones, and empty ones where all need one."""
        fix = "fill it in, or give the study a time zone"
        text = (
            self.text(column, "time zone")
            if has_default
            else self.needed_text(column, "a time zone", fix, "time zone")
        ).str.strip_chars(BLANKS)
        wrong = [zone for zone in text.drop_nulls().unique() if not is_time_zone(zone)]
        near: Mapping[str, str] = {zone: near_time_zone(zone) for zone in wrong[:50]}
        is_wrong = text.is_in(wrong) & (text != "")
        found = [
            repr(cell) + near.get(cell, "") for cell in text.filter(is_wrong.fill_null(value=False))
        ]
        self.log.add_rows(
            self.rows(is_wrong), column, found, "a name of the IANA list, such as 'America/Lima'"
        )
        return text.set(text == "", None)


_OTHER = {".": ",", ",": "."}


def _composed(text: pl.Series) -> pl.Series:
    """Letters in their composed Unicode form (NFC), as most programs write them."""
    is_ascii = (text.str.len_bytes() == text.str.len_chars()).all()
    return text if is_ascii else text.str.normalize("NFC")


def normal_ids(text: pl.Series) -> pl.Series:
    """Ids in their one form: composed, without blanks around them; null where nothing is left."""
    bare = _composed(text).str.strip_chars(BLANKS)
    return bare.set(bare == "", None)


def is_time_zone(name: str) -> bool:
    """Whether the time-zone database has this name.

    Examples
    --------
    >>> is_time_zone("Africa/Nairobi"), is_time_zone("Nairobi"), is_time_zone("../etc")
    (True, False, False)
    """
    return name in _all_zones()


def near_time_zone(name: str) -> str:
    """A hint at the zone that may be meant, such as `` (is it 'America/Lima'?)``; or nothing.

    It is given only where all zones of this name have the same hours.
    """
    word = re.sub(r"[\s_]+", "_", name.strip(BLANKS).casefold())
    names = [z for z in _all_zones() if word in {z.casefold(), z.casefold().rsplit("/", 1)[-1]}]
    hours = {
        tuple(datetime(2024, m, 1, tzinfo=UTC).astimezone(ZoneInfo(z)).utcoffset() for m in (1, 7))
        for z in names
    }
    best = next((z for z in names if "/" in z), names[0] if names else "")
    return f" (is it {best!r}?)" if len(hours) == 1 else ""


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
    if isinstance(value, int):
        too_long = abs(value) >= 10**MOST_CHARACTERS
        found = f"a number of over {MOST_CHARACTERS} digits" if too_long else None
    else:
        found = text_fault(value)
    return None if found is None else Fault(f".{key}", found, "text without it")


def text_fault(text: str, most: int = MOST_CHARACTERS) -> str | None:
    r"""What no database, index or file can hold of a text; None where it is sound.

    Examples
    --------
    >>> text_fault("Ñandú\n"), text_fault("a\x00b"), text_fault("\ud83d"), text_fault("x" * 301)
    (None, 'a NUL character', 'half a character (a lone surrogate)', 'over 300 characters')
    """
    if len(text) > most:
        return f"over {most:,} characters"
    match = _UNSOUND.search(text)
    if match is None:
        return None
    if match[0] == "\0":
        return "a NUL character"
    return "half a character (a lone surrogate)" if match[0] > "\ud7ff" else "a control character"


def clean_text(text: str, most: int = MOST_LONG_TEXT) -> str:
    r"""A text without what nothing can hold, cut where it is over-long.

    Examples
    --------
    >>> clean_text("ST\x00OP\ud83d")
    'STOP'
    """
    return _UNSOUND.sub("", text[:most])


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
