"""One value of a study file changed in its text: comments and all else stay as they are."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from typing import Any

from wavewise.errors import InputError

__all__ = ["value_at", "with_value"]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(#.*)?$")
_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d+)\])?")


def value_at(values: Any, path: str) -> Any:
    """The value at a path such as ``waves[1].starts``; None where there is none."""
    for name, place in _steps(path):
        values = values.get(name) if isinstance(values, dict) else None
        if place is not None:
            inside = isinstance(values, list) and place < len(values)
            values = values[place] if inside else None
    return values


def with_value(text: str, path: str, value: Any) -> str:
    r"""The text of a study file with another value at a path; None takes the key out.

    Examples
    --------
    >>> print(with_value('[study]\nseed = 1  # of every draw\n', "study.seed", 2).rstrip())
    [study]
    seed = 2  # of every draw
    >>> print(with_value('[[waves]]\nid = "a"\n', "waves[0].window_days", 7).rstrip())
    [[waves]]
    window_days = 7
    id = "a"
    """
    before = _parsed(text)
    if value_at(before, path) == value:
        return text
    lines = text.splitlines(keepends=True)
    begin, end, key = _section(lines, path)
    span = _span(lines[begin:end], key)
    written = "" if value is None else f"{key} = {_toml(value)}"
    if span is not None:
        first, last, comment = span
        new = [] if value is None else [f"{written}{comment}\n"]
        lines[begin + first : begin + last] = new
    elif value is not None:
        lines.insert(begin, f"{written}\n")
    edited = "".join(lines)
    if value_at(_parsed(edited), path) != value or _without(edited, path) != _without(text, path):
        raise InputError(f"{path}: it cannot be changed by itself; change it in the text")
    return edited


def _steps(path: str) -> Iterator[tuple[str, int | None]]:
    for part in path.split("."):
        found = _STEP.fullmatch(part)
        if found is None:
            raise InputError(f"found the path {path!r}; needed one such as waves[1].starts")
        yield found[1], None if found[2] is None else int(found[2])


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the study file is no TOML: {error}; change it in the text") from None


def _section(lines: list[str], path: str) -> tuple[int, int, str]:
    """Lines of the table that holds a path's key, and the key in it."""
    steps = list(_steps(path))
    for n in range(len(steps) - 1, 0, -1):
        head, place = ".".join(name for name, _ in steps[:n]), steps[n - 1][1]
        found = -1
        for number, line in enumerate(lines):
            header = _HEADER.match(line)
            if header is None or header[2] != head or (header[1] == "[[") != (place is not None):
                continue
            found += 1
            if found == (place or 0):
                rest = (k for k in range(number + 1, len(lines)) if _HEADER.match(lines[k]))
                key = ".".join(name for name, _ in steps[n:])
                return number + 1, next(rest, len(lines)), key
    raise InputError(f"{path}: found no table that holds it; change it in the text")


def _span(lines: list[str], key: str) -> tuple[int, int, str] | None:
    """First and last line of a key's value, and the comment behind it."""
    begins = re.compile(rf"^\s*{re.escape(key)}\s*=")
    for first, line in enumerate(lines):
        if not begins.match(line):
            continue
        for last in range(first + 1, len(lines) + 1):
            whole = "".join(lines[first:last])
            if _is_sound(whole):
                return first, last, _comment(whole.rstrip("\n"))
    return None


def _comment(whole: str) -> str:
    """What stands behind a value, blanks included."""
    for at, letter in enumerate(whole):
        if letter == "#" and _is_sound(whole[:at]):
            bare = whole[:at].rstrip()
            return whole[len(bare) :]
    return ""


def _is_sound(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _without(text: str, path: str) -> Any:
    """All values but the one at a path."""
    values = _parsed(text)
    steps = list(_steps(path))
    inner: Any = values
    for name, place in steps[:-1]:
        inner = inner.get(name, {}) if place is None else inner[name][place]
    inner.pop(steps[-1][0], None)
    return values


def _toml(value: Any) -> str:
    """A value as a study file writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
