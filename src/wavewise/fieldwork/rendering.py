"""Messages written out for units: language, per-unit fields, fallbacks; what is missing, and where.

All units of a message at once: a text is a row of pieces, its fields are columns.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Literal

import polars as pl

from wavewise.design.messages import Flow, Message
from wavewise.errors import Fault

__all__ = ["Rendered", "matched_language", "render", "sms_length", "text_notes"]

SEND_FIELD = "set"
_LONGEST_PUSH_BYTES = 3_500  # FCM takes 4,096 bytes of JSON in all
_MOST_SEGMENTS = 10


@dataclass(frozen=True)
class Rendered:
    """A message written out for units."""

    # (n_units, 4): language, title, text, and fields (a struct of texts, where there are any).
    rows: pl.DataFrame
    faults: tuple[Fault, ...]  # What cannot be sent, counted by field or by length.
    is_bad: pl.Series  # (n_units,): Whose message cannot be sent.
    # For SMS: number of segments, and of units with so many.
    n_segments: Mapping[int, int] = field(default_factory=dict)


def render(
    message: Message, fields: pl.DataFrame, languages: pl.Series, flow: Flow | None = None
) -> Rendered:
    """A message for units.

    Parameters
    ----------
    message : Message
        As in the study file.
    fields : DataFrame, shape (n_units, n_columns)
        Columns of the people file, and derived fields.
    languages : Series of str, shape (n_units,)
        Each unit's own language, such as ``es`` or ``es-PE``; null where there is none.
    flow : Flow or None
        The message's call flow, whose prompts hold fields too.

    Notes
    -----
    A unit gets the text of its language, else of its language without the region, else the first
    of the message. A field that is empty takes the message's fallback; without one it is a fault.
    """
    known = _fields(message, fields)
    chosen = _languages(message, languages)
    text = _by_language(message.text, known, chosen)
    title = _by_language(message.title, known, chosen)
    spoken = flow_fields(flow) if flow is not None else set()
    own = {name: _column(known, name) for name in sorted(spoken | set(message.fields))}
    parts = [text, title, *own.values()]
    used = {name for part in _texts(message) for name in _names(part)} | spoken
    faults = list(_missing(message, known, used, chosen))
    is_bad = pl.select(pl.any_horizontal([part.is_null() for part in parts])).to_series()
    lengths, too_long, longest = _lengths(message, text)
    if too_long.any():
        place = f"messages['{message.id}'].text"
        faults.append(Fault(place, f"{too_long.sum():,} texts that are too long", longest))
    rows = pl.DataFrame(
        {"language": chosen, "title": title.fill_null(""), "text": text.fill_null("")}
    )
    if own:
        rows = rows.with_columns(fields=pl.DataFrame(list(own.values())).to_struct())
    return Rendered(rows, tuple(faults), is_bad | too_long, lengths)


def flow_fields(flow: Flow) -> set[str]:
    """Names of the per-unit fields in the prompts of a call flow."""
    names = {name for step in flow.steps.values() for name in _names(step.prompt)}
    return names - {SEND_FIELD}


def _fields(message: Message, fields: pl.DataFrame) -> pl.DataFrame:
    """Fields as texts, empty ones null, fallbacks filled in, the message's own on top."""
    texts = [_text(column) for column in fields.iter_columns()]
    known = pl.DataFrame(texts) if texts else pl.DataFrame()
    known = known.with_columns(
        pl.col(name).fill_null(pl.lit(text))
        for name, text in message.fallback.items()
        if name in known.columns
    )
    own = [_written(text, known).alias(name) for name, text in message.fields.items()]
    filled = [
        column.fill_null(message.fallback[column.name])
        if column.name in message.fallback
        else column
        for column in own
    ]
    return known.with_columns(filled) if filled else known


def _text(column: pl.Series) -> pl.Series:
    written = column.cast(pl.String).str.strip_chars()
    return written.set(written == "", None)


def _column(known: pl.DataFrame, name: str) -> pl.Series:
    if name in known.columns:
        return known[name]
    return pl.repeat(None, known.height, dtype=pl.String, eager=True).alias(name)


def _languages(message: Message, languages: pl.Series) -> pl.Series:
    listed = list(message.text)
    if not listed:
        return pl.repeat("", len(languages), eager=True).alias("language")
    found = {own: matched_language(own, listed) for own in languages.drop_nulls().unique()}
    chosen = languages.replace_strict(found, default=None, return_dtype=pl.String)
    return chosen.fill_null(listed[0]).alias("language")


def matched_language(own: str, listed: Sequence[str]) -> str | None:
    """The listed language that a unit's means (BCP 47, RFC 4647); None where none does.

    Examples
    --------
    >>> [matched_language(own, ["en", "es-419"]) for own in ("ES_pe", "en-GB", "spa", "qu")]
    ['es-419', 'en', 'es-419', None]
    """
    tag = own.strip().replace("_", "-").lower()
    exact = {name.lower(): name for name in listed}
    parts = tag.split("-")
    for n in range(len(parts), 0, -1):
        if (found := exact.get("-".join(parts[:n]))) is not None:
            return found
    if not re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", tag):
        return None
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        found, distance = langcodes.closest_match(tag, list(listed), 9)
    except LanguageTagError:
        return None
    return found if distance < 10 else None


def _by_language(texts: Mapping[str, str], known: pl.DataFrame, chosen: pl.Series) -> pl.Series:
    """The text of each unit's language; of the first language where it has none of its own."""
    if not texts:
        return pl.repeat("", len(chosen), dtype=pl.String, eager=True)
    listed = list(texts)
    result = _written(texts[listed[0]], known, len(chosen))
    for name in listed[1:]:
        result = _written(texts[name], known, len(chosen)).zip_with(chosen == name, result)
    return result


def _written(text: str, known: pl.DataFrame, n_rows: int | None = None) -> pl.Series:
    """A text with its fields filled in, (n_units,); null where one of them is missing."""
    n = known.height if n_rows is None else n_rows
    pieces: list[pl.Expr] = []
    for literal, name, _, _ in Formatter().parse(text):
        if literal:
            pieces.append(pl.lit(literal))
        if name is not None:
            pieces.append(pl.col(name) if name in known.columns else pl.lit(None, pl.String))
    if not pieces:
        return pl.repeat("", n, dtype=pl.String, eager=True)
    frame = known if known.width else pl.DataFrame({"": pl.repeat("", n, eager=True)})
    return frame.with_columns(pl.concat_str(pieces).alias("written"))["written"]


def _names(text: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def _texts(message: Message) -> list[str]:
    return [*message.text.values(), *message.title.values(), *message.fields.values()]


def _missing(
    message: Message, known: pl.DataFrame, used: set[str], chosen: pl.Series
) -> list[Fault]:
    faults = []
    for name in sorted(used):
        n = known[name].null_count() if name in known.columns else len(chosen)
        if n:
            found = f"{n:,} of {len(chosen):,} units without {{{name}}}"
            fix = f'fill it in, or add fallback = {{ {name} = "..." }}'
            faults.append(Fault(f"messages['{message.id}']", found, "a value or a fallback", fix))
    return faults


def _lengths(message: Message, text: pl.Series) -> tuple[dict[int, int], pl.Series, str]:
    """SMS segments, whose text is too long, and what is the longest."""
    if message.channel == "sms":
        different = text.drop_nulls().unique()
        lengths = {one: sms_length(one).n_segments for one in different}
        n = text.replace_strict(lengths, default=None, return_dtype=pl.Int64)
        counts = n.drop_nulls().value_counts().iter_rows()
        limit = f"at most {_MOST_SEGMENTS} segments"
        return dict(sorted(counts)), (n > _MOST_SEGMENTS).fill_null(value=False), limit
    if message.channel in {"push", "web-push"}:
        too_long = (text.str.len_bytes() > _LONGEST_PUSH_BYTES).fill_null(value=False)
        return {}, too_long, f"at most {_LONGEST_PUSH_BYTES:,} bytes"
    return {}, pl.repeat(value=False, n=len(text), eager=True), ""


# What a text that can be sent may yet get wrong for some people.

# Fields that often hold a name by which nobody is addressed.
_SURNAME = re.compile(
    r"(sur|last|family)_?name|apellido|teacher|docente|maestr|profe", re.IGNORECASE
)


def text_notes(message: Message, fields: pl.DataFrame, languages: pl.Series) -> tuple[str, ...]:
    """Texts that a field makes an SMS part longer for some units; that open with a surname."""
    known = _fields(message, fields)
    chosen = _languages(message, languages)
    notes = []
    for language, text in message.text.items():
        mask, place = chosen == language, f"messages['{message.id}'].text.{language}"
        own = known.filter(mask) if known.width else known
        if mask.any():
            notes += [_part_note(message, text, own, place), _surname_note(text, own, place)]
    return tuple(note for note in notes if note)


def _part_note(message: Message, text: str, known: pl.DataFrame, place: str) -> str:
    names = list(dict.fromkeys(_names(text)))
    if message.channel != "sms" or not names:
        return ""
    written = _written(text, known).drop_nulls()
    lengths = {one: sms_length(one).n_segments for one in written.unique()}
    parts = written.replace_strict(lengths, return_dtype=pl.Int64)
    least, most = min(lengths.values(), default=0), max(lengths.values(), default=0)
    if least == most:
        return ""
    listed = " and ".join(f"{{{name}}}" for name in names)
    more = int((parts > least).sum())
    return (
        f"{place}: {listed} makes {more:,} of {len(parts):,} texts longer than {least} SMS "
        f"part{'s' if least > 1 else ''} (up to {most}); each part is billed: shorten the text so "
        "that it fits for the longest."
    )


def _surname_note(text: str, known: pl.DataFrame, place: str) -> str:
    """That a text opens with a bare surname, where its first field holds single words."""
    first = re.match(r"\s*\{(\w+)\}", text)
    if first is None or not _SURNAME.search(first[1]) or first[1] not in known.columns:
        return ""
    values = known[first[1]].drop_nulls()
    bare = int((~values.str.strip_chars().str.contains(r"\s")).sum())
    if not len(values) or bare <= len(values) / 2:
        return ""
    return (
        f"{place}: opens with {{{first[1]}}}, a single word for {bare:,} of {len(values):,} units, "
        "such as a bare surname; write before it how the person is addressed."
    )


# How long a text message is: letters, encoding and segments.

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_LIMITS = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass(frozen=True)
class SmsLength:
    """Length of a text message."""

    # One letter outside the 7-bit alphabet makes the whole message UCS-2.
    encoding: Literal["GSM-7", "UCS-2"]
    n_letters: int  # Seven-bit septets, or 16-bit units.
    n_segments: int  # Messages that are billed.
    foreign: str = ""  # The letters that do not fit the 7-bit alphabet, each once.


def sms_length(text: str) -> SmsLength:
    """Letters, encoding and segments of a text.

    Examples
    --------
    >>> sms_length("a" * 160).n_segments, sms_length("a" * 161).n_segments
    (1, 2)
    >>> sms_length("¿Practicó hoy?")
    SmsLength(encoding='UCS-2', n_letters=14, n_segments=1, foreign='ó')
    """
    foreign = "".join(dict.fromkeys(c for c in text if c not in _BASIC and c not in _EXTENDED))
    encoding: Literal["GSM-7", "UCS-2"] = "UCS-2" if foreign else "GSM-7"
    if foreign:
        sizes = [2 if ord(c) > 0xFFFF else 1 for c in text]
    else:
        sizes = [2 if c in _EXTENDED else 1 for c in text]
    whole, part = _LIMITS[encoding]
    n_letters = sum(sizes)
    n_segments = 1 if n_letters <= whole else _parts(sizes, part)
    return SmsLength(encoding, n_letters, n_segments, foreign)


def _parts(sizes: list[int], room: int) -> int:
    """Parts that letters fill, where a letter of two units is never cut."""
    n, left = 1, room
    for size in sizes:
        if size > left:
            n, left = n + 1, room
        left -= size
    return n
