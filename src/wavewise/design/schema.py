"""The JSON Schema of study files, so that editors complete and check them."""

from typing import Any

from wavewise.design.spec import StudySpec

__all__ = ["json_schema"]

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
