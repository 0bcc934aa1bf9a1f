"""What every value of a report must be: finite, in range, named once; and how it becomes JSON."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from wavewise.errors import InputError
from wavewise.results import CheckResult

__all__ = ["plain", "require_distinct", "require_finite", "require_share"]


def plain(value: Any) -> Any:
    """Dataclasses, tuples and numpy scalars as JSON's own values."""
    if isinstance(value, CheckResult):
        return plain(value.to_dict())
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def require_finite(row: Any, what: str) -> None:
    """Refuse numbers that are not finite: what is not estimable is a reason."""
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                f"report: {what}: found {field.name} {value}; needed a finite number; "
                "give a reason instead where the quantity is not estimable"
            )


def require_share(name: str, arm: str, value: float) -> None:
    """Refuse a share or probability outside [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"report: arm {arm!r}: found {name} {value}; needed a value in [0, 1]")


def require_distinct(what: str, names: list[str]) -> None:
    """Refuse names that stand more than once."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"report: {what}: found {repeated} more than once; needed each name once")
