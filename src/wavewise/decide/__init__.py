"""Decisions from what was learned: the next wave's shares, the arm to choose, whether to go on.

Functions on posteriors or plain arrays, with no study at all. Each loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.decide.allocation import NextShares, next_shares
    from wavewise.decide.another_wave import StopOrGo, stop_or_go
    from wavewise.decide.choice import BestArm, best_arm
    from wavewise.decide.exploration import exploration_shares
    from wavewise.decide.fractions import with_control, with_floor
    from wavewise.decide.wave_shares import shares

__all__ = [
    "BestArm",
    "NextShares",
    "StopOrGo",
    "best_arm",
    "exploration_shares",
    "next_shares",
    "shares",
    "stop_or_go",
    "with_control",
    "with_floor",
]

# No module bears the name of a function: importing it would hide the function.
_HOMES = {
    "BestArm": "wavewise.decide.choice",
    "NextShares": "wavewise.decide.allocation",
    "StopOrGo": "wavewise.decide.another_wave",
    "best_arm": "wavewise.decide.choice",
    "exploration_shares": "wavewise.decide.exploration",
    "next_shares": "wavewise.decide.allocation",
    "shares": "wavewise.decide.wave_shares",
    "stop_or_go": "wavewise.decide.another_wave",
    "with_control": "wavewise.decide.fractions",
    "with_floor": "wavewise.decide.fractions",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.decide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
