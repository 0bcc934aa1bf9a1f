"""The language of a screen: its texts from a catalog, its times and numbers by its own rules.

Who reads it chose the language at the foot of a page, or their browser says it; else it is English,
which needs no catalog and loads no library. Catalogs are ``locale/*/LC_MESSAGES/pages.po``.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from wavewise.errors import InputError
from wavewise.report import numbers
from wavewise.server.pages.routes import Answer, Go, Visit, step

if TYPE_CHECKING:
    from gettext import GNUTranslations

    from babel import Locale
    from starlette.requests import Request

__all__ = [
    "COOKIE",
    "ENGLISH",
    "LANGUAGES",
    "N_",
    "clock_time",
    "count",
    "day",
    "fixed",
    "gettext",
    "language_of",
    "ngettext",
    "percent",
    "pgettext",
    "signed",
    "speak",
    "spoken",
    "word",
]

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "es": "Español", "sw": "Kiswahili"}  # Each by its own name.
COOKIE = "wavewise_language"
# Whose rules times and numbers follow.
_REGIONS = {"es": "es_419", "sw": "sw_KE"}
_spoken: ContextVar[str] = ContextVar("wavewise_language", default=ENGLISH)


def language_of(request: "Request") -> str:
    """The language that was chosen, else the one that the browser asks for, else English."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else _asked(request.headers.get("accept-language", ""))


def _asked(header: str) -> str:
    """The best of ``es-PE,es;q=0.9,en;q=0.5`` that there is."""
    best, weight = ENGLISH, 0.0
    for part in header[:1_000].split(","):
        tag, _semicolon, quality = part.partition(";")
        language = tag.strip().partition("-")[0].lower()
        try:
            q = float(quality.partition("=")[2]) if quality.strip() else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and weight < q <= 1:
            best, weight = language, q
    return best


def speak(language: str) -> None:
    """All that this request shows from here on is in this language."""
    _spoken.set(language)


def spoken() -> str:
    """The language of this request."""
    return _spoken.get()


@step("/language", "open", "", back="/sign-in")
def choose_language(visit: Visit) -> Answer:
    """Another language, kept in a cookie; then the screen on which it was chosen."""
    code, back = visit.form.get("language"), visit.form.get("back")
    if code not in LANGUAGES:
        raise InputError(f"found the language {code[:20]!r}; needed one of {', '.join(LANGUAGES)}")
    is_ours = back.startswith("/") and not back.startswith("//") and "\\" not in back
    return Go(back if is_ours and back.isprintable() else "/", cookies={COOKIE: code})


# Texts.


@cache
def _catalog(language: str) -> "GNUTranslations":
    """The texts of a language, as its translator wrote them down."""
    from gettext import GNUTranslations
    from io import BytesIO

    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    path = files("wavewise.server.pages").joinpath(f"locale/{language}/LC_MESSAGES/pages.po")
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def gettext(text: str) -> str:
    """A text in the reader's language: all that is visible goes through here."""
    language = spoken()
    return text if language == ENGLISH or not text else _catalog(language).gettext(text)


def ngettext(one: str, several: str, n: int) -> str:
    """The same for a number of things."""
    language = spoken()
    if language == ENGLISH:
        return one if n == 1 else several
    return _catalog(language).ngettext(one, several, n)


def pgettext(context: str, text: str) -> str:
    """The same for a word that means two things; the context says which."""
    language = spoken()
    return text if language == ENGLISH else _catalog(language).pgettext(context, text)


def N_(text: str) -> str:  # noqa: N802  (what translators' tools look for)
    """A text to translate where it is shown, not here."""
    return text


# Words that come from the study as they are: states, roles, kinds, units of differences, names of
# checks and estimators, and what each template is about.
_WORDS = (
    N_("not open"), N_("open"), N_("closed"),
    N_("queued"), N_("running"), N_("done"), N_("failed"), N_("cancelled"), N_("unknown"),
    N_("owner"), N_("analyst"), N_("field"), N_("viewer"),
    N_("Major"), N_("Minor"),
    N_("id"), N_("contact"), N_("number"), N_("text"), N_("label"), N_("time"),
    N_("percentage points"), N_("pp"), N_("yes"), N_("no"), N_("(none)"),
    N_("sample ratio"), N_("covariate balance"), N_("near equal labels"), N_("numbers as text"),
    N_("languages"), N_("shared contacts"), N_("message fields"), N_("event kinds"),
    N_("unmatched ids"), N_("event dates"), N_("event values"), N_("frozen facts"),
    N_("as randomized"), N_("doubly robust"), N_("no message"),
    N_("16 ordered pairs of push messages, then policies tested out of sample"),
    N_("4 single push messages, then policies tested out of sample"),
    N_("6 formats of interactive calls in two waves with exploration sampling"),
    N_("3 text messages in two waves, the second adapts; with data to run it on"),
    N_("2 e-mails against none in one wave; with data to run it on"),
    N_("an experiment that ran elsewhere: 4 letters, randomized by household"),
)  # fmt: skip


def word(code: object) -> str:
    """A state, a role or a unit in the reader's language; what is none of ours stays."""
    text = str(code)
    return gettext(text) if text in _WORDS else text


# Times and numbers. What English shows is what `report.numbers` prints.


@cache
def _locale(language: str) -> "Locale":
    from babel import Locale

    return Locale.parse(_REGIONS.get(language, language))


@cache
def _signs(language: str) -> tuple[Mapping[int, str], str]:
    """Separators of a language in place of ours, and what stands before its percent sign."""
    from babel.numbers import get_decimal_symbol, get_group_symbol

    locale = _locale(language)
    signs = {",": get_group_symbol(locale), ".": get_decimal_symbol(locale)}
    pattern = locale.percent_formats[None].pattern
    return str.maketrans(signs), "" if pattern.endswith("0%") else numbers.NBSP


def _written(text: str) -> str:
    """A number as the reader's language writes it: the same digits, its own signs."""
    language = spoken()
    if language == ENGLISH:
        return text
    signs, before_percent = _signs(language)
    return text.translate(signs).replace(f"{numbers.NBSP}%", f"{before_percent}%")


def count(value: int | None) -> str:
    """A number of units; a dash while it is not known."""
    return _written(numbers.count(value))


def fixed(value: float, decimals: int) -> str:
    """A number with a fixed number of decimals."""
    return _written(numbers.fixed(value, decimals))


def signed(value: float, decimals: int) -> str:
    """A number with its sign."""
    return _written(numbers.signed(value, decimals))


def percent(share: float, decimals: int | None = None) -> str:
    """A share in percent."""
    return _written(numbers.percent(share, decimals))


def day(moment: date) -> str:
    """A day with its weekday, as ``Mon 13 Nov 2023``."""
    language = spoken()
    if language == ENGLISH:
        return f"{moment:%a} {moment.day} {moment:%b %Y}"
    from babel.dates import format_skeleton

    return str(format_skeleton("yMMMEd", moment, tzinfo=_zone(moment), locale=_locale(language)))


def clock_time(moment: datetime) -> str:
    """A day and a time, as ``Mon 13 Nov 2023, 09:20``."""
    return f"{day(moment)}, {moment:%H:%M}"


def _zone(moment: date) -> Any:
    """Of a time, so that it is not moved to another."""
    return moment.tzinfo if isinstance(moment, datetime) else None
