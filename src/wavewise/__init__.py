"""Wavewise: which message works, for whom, and whether to message at all.

The folders are importable as plain functions on arrays, with no study at all::

    import wavewise as ww
    ww.randomize.assign(...)
    ww.estimate.ate(...)
    ww.decide.exploration_shares(...)

Submodules load on first use, so that ``import wavewise`` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from wavewise._version import __version__

if TYPE_CHECKING:
    from types import ModuleType

    from wavewise import decide, design, errors, estimate, evaluate, randomize, report

__all__ = [
    "__version__",
    "decide",
    "design",
    "errors",
    "estimate",
    "evaluate",
    "randomize",
    "report",
]

_SUBMODULES = frozenset(__all__) - {"__version__"}


def __getattr__(name: str) -> "ModuleType":
    if name in _SUBMODULES:
        return import_module(f"wavewise.{name}")
    raise AttributeError(f"module 'wavewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
