"""Decisions from what was learned: the next wave's shares, the arm to choose.

Functions on posteriors or plain arrays, with no study at all. Each loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.decide.allocation import NextShares, next_shares
    from wavewise.decide.choice import BestArm, best_arm
    from wavewise.decide.shares import exploration_shares, with_control

__all__ = [
    "BestArm",
    "NextShares",
    "best_arm",
    "exploration_shares",
    "next_shares",
    "with_control",
]

_HOMES = {
    "BestArm": "wavewise.decide.choice",
    "NextShares": "wavewise.decide.allocation",
    "best_arm": "wavewise.decide.choice",
    "exploration_shares": "wavewise.decide.shares",
    "next_shares": "wavewise.decide.allocation",
    "with_control": "wavewise.decide.shares",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.decide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
