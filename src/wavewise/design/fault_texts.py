"""What is wrong with a key of a study file, in words: found, needed, what to do."""

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import ErrorDetails

from wavewise.design.values import TAG
from wavewise.errors import Fault

__all__ = ["did_you_mean", "fault_of", "one_of", "show"]

Location = tuple[int | str, ...]
LONGEST_SHOWN = 80
NEEDED = {
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "finite_number": "a finite number",
}


def fault_of(path: str, model: Any, details: ErrorDetails) -> Fault:
    """A validation error as a fault.

    Parameters
    ----------
    path : str
        Place of the entry in the study file.
    model : type
        What the entry was validated as.
    details : ErrorDetails
        One of pydantic's errors.
    """
    location = details["loc"]
    place = _join(path, location)
    kind, context, found = details["type"], details.get("ctx", {}), show(details["input"])
    match kind:
        case "extra_forbidden":
            known = _keys_at(model, location)
            hint = did_you_mean(str(location[-1]), known) or "take it out"
            return Fault(place, "an unknown key", one_of(known) or "a known key", hint)
        case "missing":
            return Fault(place, "nothing", "a value", "add this key")
        case "needed":
            return Fault(place, found, context["needed"])
        case "literal_error":
            hint = _near(found, context["expected"])
            return Fault(place, found, f"one of {context['expected']}", hint)
        case _:
            return Fault(place, found, NEEDED.get(kind) or _plain(details["msg"]))


def show(value: Any) -> str:
    """A value as it stands in the file, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def one_of(known: list[str]) -> str:
    """``one of a, b``, or nothing."""
    return f"one of {', '.join(known)}" if known else ""


def did_you_mean(word: str, known: list[str]) -> str:
    """The nearest known word as a question, or nothing."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _join(path: str, location: Location) -> str:
    for part in location:
        if isinstance(part, int):
            path += f"[{part + 1}]"
        elif not part.startswith(TAG):
            path += f".{part}"
    return path


def _keys_at(model: Any, location: Location) -> list[str]:
    """Known keys beside an unknown one."""
    places = [model]
    for part in location[:-1]:
        places = [inner for place in places for inner in _inside(place, part)]
    models = [form for place in places for form in _forms(place) if _is_model(form)]
    return [field.alias or name for form in models for name, field in form.model_fields.items()]


def _inside(annotation: Any, part: int | str) -> Iterator[Any]:
    """Types that a part of a path leads to."""
    if isinstance(part, str) and part.startswith(TAG):
        yield from (form for form in _branches(annotation) if _tag(form) == part)
        return
    for form in _forms(annotation):
        if _is_model(form):
            fields = form.model_fields.items()
            yield from (f.annotation for name, f in fields if part in (name, f.alias))
        elif get_origin(form) in (tuple, dict):
            yield get_args(form)[0 if get_origin(form) is tuple else 1]


def _branches(annotation: Any) -> Iterator[Any]:
    """Branches of a union, their tags kept."""
    if get_origin(annotation) is Annotated and _tag(annotation) is None:
        yield from _branches(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    else:
        yield annotation


def _forms(annotation: Any) -> Iterator[Any]:
    """Plain types in a union, without what annotates them."""
    for branch in _branches(annotation):
        if get_origin(branch) is Annotated:
            yield from _forms(get_args(branch)[0])
        else:
            yield branch


def _tag(annotation: Any) -> str | None:
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((entry.tag for entry in metadata if isinstance(entry, Tag)), None)


def _is_model(form: Any) -> bool:
    return isinstance(form, type) and issubclass(form, BaseModel)


def _plain(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _near(found: str, expected: str) -> str:
    words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    return did_you_mean(found.strip("'"), words)
