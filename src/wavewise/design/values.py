"""The small values that a study file is made of: shares, times of day, identifiers."""

import re
from contextlib import suppress
from datetime import date, time
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "TAG",
    "CalendarDay",
    "ClockTime",
    "Columns",
    "Country",
    "DateFormat",
    "DeliveryChoice",
    "Frozen",
    "Identifier",
    "Identifiers",
    "Level",
    "Names",
    "Numbers",
    "OpenShare",
    "Share",
    "Table",
    "TimeZone",
    "tagged",
]

# For editors: JSON Schema cannot say "a letter of any script".
_LOOSE_IDENTIFIER = r"""^[^\s._+\-][^\s"'\[\]{}()/\\,;:]*$"""
TAG = "form: "  # marks a union's branch in the place of a fault, where it is no part of the path

FIRST_YEAR, LAST_YEAR = 1970, 2199
DATE_ORDERS = ("DMY", "MDY", "YMD")


def tagged(name: str) -> Tag:
    """Tag of one form of a value that may take several."""
    return Tag(TAG + name)


def _fault(needed: str) -> PydanticCustomError:
    return PydanticCustomError("needed", "{needed}", {"needed": needed})


_SHARE = 'a share between 0 and 1, as a number (0.2) or a fraction in quotes ("1/7")'


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _fault(_SHARE)
    number = _fraction(value) if isinstance(value, str) else value
    if number is None or not 0 <= number <= 1:
        raise _fault(_SHARE)
    return float(number)


def _fraction(text: str) -> Fraction | None:
    """A fraction such as 1/7, or None."""
    parts = re.fullmatch(r"\s*(\d{1,12})\s*/\s*(\d{1,12})\s*", text, re.ASCII)
    if parts is None or int(parts[2]) == 0:
        return None
    return Fraction(int(parts[1]), int(parts[2]))


def _open_share(value: Any) -> float:
    share = _share(value)
    if not 0.0 < share < 1.0:
        raise _fault("a share between 0 and 1, neither of them included")
    return share


def _clock_time(value: Any) -> time:
    if isinstance(value, time) and value == time(value.hour, value.minute):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value, re.ASCII):
        return time.fromisoformat(value)
    raise _fault('a time of day in quotes, from "00:00" to "23:59"')


def _identifier(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^\W_][\w.+-]*", value):
        return value
    raise _fault(
        "a short name of letters, digits, '-', '_', '.' or '+', beginning with a letter or digit"
    )


def _day(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        with suppress(ValueError):
            value = date.fromisoformat(value)
    if type(value) is date and FIRST_YEAR <= value.year <= LAST_YEAR:
        return value
    raise _fault(f"a date such as 2023-10-09, in the years {FIRST_YEAR} to {LAST_YEAR}")


def _delivery(value: Any) -> date | str:
    if value in ("first", "latest"):
        return str(value)
    try:
        return _day(value)
    except PydanticCustomError:
        raise _fault('"first", "latest", or a date such as 2023-10-09') from None


def _country(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Z]{2}", value):
        return value
    raise _fault('two capital letters (ISO 3166), such as "PE" or "KE"')


def _date_format(value: Any) -> str:
    if isinstance(value, str) and (value in DATE_ORDERS or "%" in value):
        return value
    raise _fault('"DMY", "MDY", "YMD", or a pattern such as "%d.%m.%Y %H:%M"')


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _time_zone(value: Any) -> str:
    if isinstance(value, str) and value in _time_zones():
        return value
    raise _fault('an IANA time zone such as "America/Lima"')


Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*\d+\s*/\s*\d+\s*$"},
            ],
            "description": 'A share in [0, 1]: 0.2 or "1/7".',
        }
    ),
]
OpenShare = Annotated[
    float,
    BeforeValidator(_open_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                {"type": "string", "pattern": r"^\s*\d+\s*/\s*\d+\s*$"},
            ],
            "description": "A share between 0 and 1, neither of them included.",
        }
    ),
]
ClockTime = Annotated[
    time,
    BeforeValidator(_clock_time),
    PlainSerializer(lambda value: value.strftime("%H:%M"), when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"}),
]
CalendarDay = Annotated[
    date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})
]
DeliveryChoice = Annotated[
    Literal["first", "latest"] | date,
    BeforeValidator(_delivery),
    WithJsonSchema(
        {"anyOf": [{"enum": ["first", "latest"]}, {"type": "string", "format": "date"}]}
    ),
]
Identifier = Annotated[
    str, BeforeValidator(_identifier), Field(json_schema_extra={"pattern": _LOOSE_IDENTIFIER})
]
TimeZone = Annotated[str, BeforeValidator(_time_zone)]
Country = Annotated[
    str, BeforeValidator(_country), Field(json_schema_extra={"pattern": "^[A-Z]{2}$"})
]
DateFormat = Annotated[str, BeforeValidator(_date_format)]


def _one_or_list(kind: str) -> WithJsonSchema:
    some = {"type": "array", "items": {"type": kind}, "minItems": 1}
    return WithJsonSchema({"anyOf": [{"type": kind}, some]})


Identifiers = Annotated[
    tuple[Identifier, ...], Field(min_length=1), BeforeValidator(_listed), _one_or_list("string")
]

Names = Annotated[
    tuple[str, ...], Field(min_length=1), BeforeValidator(_listed), _one_or_list("string")
]
Numbers = Annotated[
    tuple[float, ...], Field(min_length=1), BeforeValidator(_listed), _one_or_list("number")
]
Level = StrictBool | str | int | float

Columns = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Frozen(BaseModel):
    """A part of the spec: frozen, and no key that is not known."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Table(Frozen):
    """A part of the spec that carries its own identifier."""

    id: Identifier
    """Short name, used everywhere else."""
