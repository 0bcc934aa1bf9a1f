"""From a study file to a spec, with every fault at once."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from wavewise.design.fault_texts import did_you_mean, fault_of, one_of, show
from wavewise.design.references import reference_faults
from wavewise.design.spec import StudySpec
from wavewise.errors import Fault, SpecError

__all__ = ["find_faults", "parse_spec", "read_toml"]


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
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SpecError(
            f"the study file has {count}; mend them and run `wavewise check` again", faults
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
        fault = Fault("study.toml", str(error), "valid TOML", "mend this place first")
        raise SpecError("the study file cannot be read", [fault]) from error


def find_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Every fault of a study file's tables, those of single keys first.

    Each section, and each entry of a list or table of entries, is validated by itself, so that one
    fault does not hide the next; references are then checked among the entries that are sound.
    """
    faults = list(_unknown_sections(raw))
    sound: dict[str, Any] = {}
    for name, field in StudySpec.model_fields.items():
        if name not in raw:
            if field.is_required():
                header = f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"
                faults.append(Fault(name, "nothing", f"the section {name}", f"add {header}"))
            continue
        sound[name], found = _validate_section(name, field, raw[name])
        faults.extend(found)
    faults += reference_faults(sound, raw)
    return list(dict.fromkeys(faults))  # entries that are alike have the same faults


def _unknown_sections(raw: Mapping[str, Any]) -> Iterator[Fault]:
    known = list(StudySpec.model_fields)
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
