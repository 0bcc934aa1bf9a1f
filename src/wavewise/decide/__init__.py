"""Decisions from what was learned: the next wave's shares, the arm to choose, whether to go on.

Functions on posteriors or plain arrays, with no study at all. Each loads on first use.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.lazy import LazyPackage

if TYPE_CHECKING:
    from wavewise.decide.allocation import NextShares, next_shares
    from wavewise.decide.another_wave import StopOrGo, stop_or_go
    from wavewise.decide.choice import BestArm, best_arm
    from wavewise.decide.exploration import exploration_shares
    from wavewise.decide.fractions import with_control, with_floor
    from wavewise.decide.personalize import (
        best_on_average,
        cautious,
        personalize,
        random_policy,
        uniform,
        uniform_best,
    )
    from wavewise.decide.policy import Policy, load_policy
    from wavewise.decide.policy_tree import policy_tree
    from wavewise.decide.targeting import target
    from wavewise.decide.wave_shares import shares

__all__ = [
    "BestArm",
    "NextShares",
    "Policy",
    "StopOrGo",
    "best_arm",
    "best_on_average",
    "cautious",
    "exploration_shares",
    "load_policy",
    "next_shares",
    "personalize",
    "policy_tree",
    "random_policy",
    "shares",
    "stop_or_go",
    "target",
    "uniform",
    "uniform_best",
    "with_control",
    "with_floor",
]

_HOMES = {
    "Policy": "wavewise.decide.policy",
    "best_on_average": "wavewise.decide.personalize",
    "cautious": "wavewise.decide.personalize",
    "load_policy": "wavewise.decide.policy",
    "personalize": "wavewise.decide.personalize",
    "policy_tree": "wavewise.decide.policy_tree",
    "random_policy": "wavewise.decide.personalize",
    "target": "wavewise.decide.targeting",
    "uniform": "wavewise.decide.personalize",
    "uniform_best": "wavewise.decide.personalize",
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


sys.modules[__name__].__class__ = LazyPackage
