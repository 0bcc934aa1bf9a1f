"""Shares to whole counts to units: exact randomization, and the checks of what was drawn.

>>> import numpy as np
>>> from wavewise import randomize
>>> a = randomize.assign(range(10), None, {"control": 0.5, "peers": 0.5}, np.random.default_rng(1))
>>> int((a.arm == "peers").sum())
5
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.randomize.assignment import Assignment, Counts, assign
    from wavewise.randomize.balance_check import balance
    from wavewise.randomize.sample_ratio_check import sample_ratio

__all__ = ["Assignment", "Counts", "assign", "balance", "sample_ratio"]

# No module bears the name of a function: importing it would hide the function.
_HOMES = {
    "Assignment": "assignment",
    "Counts": "assignment",
    "assign": "assignment",
    "balance": "balance_check",
    "sample_ratio": "sample_ratio_check",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wavewise.randomize' has no attribute {name!r}")
    return getattr(import_module(f"wavewise.randomize.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
