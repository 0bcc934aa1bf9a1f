"""The system of record: SQLite by default, PostgreSQL by URL.

Times are whole microseconds since 1970 in UTC, so that both databases order and compare them
alike; JSON is text. Names load on first use, so that ``wavewise --help`` pays nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.store.rows import (
        AddedEvents,
        AddedScores,
        ResultRow,
        VersionRow,
        WaveRow,
        from_us,
        to_us,
    )
    from wavewise.store.store import Store

__all__ = [
    "AddedEvents",
    "AddedScores",
    "ResultRow",
    "Store",
    "VersionRow",
    "WaveRow",
    "from_us",
    "to_us",
]

_HOMES = {"Store": "wavewise.store.store"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "wavewise.store.rows")), name)
    raise AttributeError(f"module 'wavewise.store' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
