"""From a study file to a spec, with every fault at once."""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, Tag, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from wavewise.design.references import reference_faults
from wavewise.design.spec import SECTIONS, Reading, StudySpec
from wavewise.design.values import TAG
from wavewise.errors import Fault, InputError, SpecError

__all__ = ["find_faults", "json_schema", "parse_reading", "parse_spec", "read_toml"]


def parse_spec(text: str) -> StudySpec:
    """The spec that a study file holds.

    Parameters
    ----------
    text : str
        TOML.

    Raises
    ------
    SpecError
        With every fault: its path, what was found, what was needed, what to do.
    """
    raw = read_toml(text)
    faults = find_faults(raw)
    if faults:
        count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
        raise SpecError(
            f"the study file has {count}; fix them and run `wavewise check` again", faults
        )
    return StudySpec.model_validate(raw)


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises
    ------
    SpecError
        If the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault = Fault("study.toml", str(error), "valid TOML", "fix this place first")
        raise SpecError("the study file cannot be read", [fault]) from error


def find_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Every fault of a study file's tables, those of single keys first.

    Each section, and each entry of a list or table of entries, is validated by itself, so that one
    fault does not hide the next; references are then checked among the entries that are sound.
    """
    faults = list(_unknown_sections(raw))
    sound: dict[str, Any] = {}
    for name, field in SECTIONS.items():
        if name not in raw:
            if field.is_required():
                header = f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"
                faults.append(Fault(name, "nothing", f"the section {name}", f"add {header}"))
            continue
        sound[name], found = _validate_section(name, field, raw[name])
        faults.extend(found)
    faults += reference_faults(sound, raw)
    return list(dict.fromkeys(faults))  # entries that are alike have the same faults


def parse_reading(told: Mapping[str, Any]) -> Reading:
    """How a file is read, from the keys of [import.people]; every fault of them at once."""
    made, faults = _validate("reading", Reading, dict(told))
    if faults:
        raise InputError("found options for reading that are none; nothing was read", faults)
    return cast("Reading", made)


def _unknown_sections(raw: Mapping[str, Any]) -> Iterator[Fault]:
    known = list(SECTIONS)
    for name in raw:
        if name not in known:
            hint = did_you_mean(name, known)
            yield Fault(name or '""', "an unknown section", one_of(known), hint)


def _validate_section(name: str, field: FieldInfo, value: Any) -> tuple[Any, list[Fault]]:
    """The sound entries of a section, and the faults of the others."""
    origin, inner = get_origin(field.annotation), get_args(field.annotation)
    if origin is tuple:
        return _validate_list(name, inner[0], value, required=field.is_required())
    if origin is dict:
        return _validate_table(name, inner, value)
    return _validate(name, field.annotation, value)


def _validate_list(
    name: str, model: Any, value: Any, *, required: bool
) -> tuple[list[Any], list[Fault]]:
    if not isinstance(value, list):
        return [], [Fault(name, show(value), "a list of tables", f"write [[{name}]]")]
    if required and not value:
        return [], [Fault(name, "an empty list", "at least one entry", f"add [[{name}]]")]
    pairs = [_validate(_entry_path(name, i, entry), model, entry) for i, entry in enumerate(value)]
    return _sound(pairs)


def _validate_table(
    name: str, types: tuple[Any, ...], value: Any
) -> tuple[dict[str, Any], list[Fault]]:
    if not isinstance(value, dict):
        return {}, [Fault(name, show(value), "a table of tables", f"write [{name}.NAME]")]
    key_type, model = types
    faults: list[Fault] = []
    sound: dict[str, Any] = {}
    for key, entry in value.items():
        _, bad_key = _validate(f"{name}.{key}", key_type, key)
        sound[key], bad_entry = _validate(f"{name}.{key}", model, entry)
        faults += [*bad_key, *bad_entry]
    return {key: entry for key, entry in sound.items() if entry is not None}, faults


def _sound(pairs: list[tuple[Any, list[Fault]]]) -> tuple[list[Any], list[Fault]]:
    faults = [fault for _, found in pairs for fault in found]
    return [entry for entry, _ in pairs if entry is not None], faults


def _entry_path(name: str, position: int, entry: Any) -> str:
    label = entry.get("id") if isinstance(entry, dict) else None
    return f"{name}['{label}']" if isinstance(label, str) else f"{name}[{position + 1}]"


def _validate(path: str, model: Any, value: Any) -> tuple[Any, list[Fault]]:
    try:
        return TypeAdapter(model).validate_python(value), []
    except ValidationError as error:
        return None, [fault_of(path, model, details) for details in error.errors(include_url=False)]


# What is wrong with a key of a study file, in words: found, needed, what to do.

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
    """A validation error as a fault."""
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


# The JSON Schema of study files, so that editors complete and check them.

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``study.toml``, draft 2020-12.

    Notes
    -----
    It holds what can be said of single keys: names, types, enumerations, ranges. References between
    entries, sums of shares and the order of waves are for ``find_faults``. Dates are strings of
    format "date", as TOML editors present them.

    Examples
    --------
    >>> schema = json_schema()
    >>> schema["additionalProperties"], "waves" in schema["required"]
    (False, True)
    """
    schema = _tidy(StudySpec.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": DIALECT, "title": "Wavewise study file", **schema}


def _tidy(value: Any) -> Any:
    """A schema without what does not exist in TOML (null) or repeats the name of the key."""
    if isinstance(value, list):
        return [_tidy(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _tidy(entry) for key, entry in value.items() if not _superfluous(key, entry)}
    if "oneOf" in tidy:
        tidy["anyOf"] = tidy.pop("oneOf")
    branches = [branch for branch in tidy.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        del tidy["anyOf"]
        return {**branches[0], **tidy}
    if branches:
        tidy["anyOf"] = branches
    return tidy


def _superfluous(key: str, entry: Any) -> bool:
    generated = key == "title" and isinstance(entry, str)
    return generated or (key == "default" and entry is None) or key == "discriminator"
