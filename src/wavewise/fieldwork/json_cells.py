"""Values of JSON objects that stand for the cells of a table: what is wrong with their form."""

from typing import Any

from wavewise.errors import Fault

__all__ = ["kind_of", "wrong_number", "wrong_text"]

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
    if isinstance(value, str) and "\x00" in value:
        return Fault(f".{key}", "a NUL character", "text without it")
    return None


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
