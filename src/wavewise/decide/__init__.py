"""Decisions from what was learned: the next wave's shares, the arm to choose, whether to go on.

Functions on posteriors or plain arrays, with no study at all. Each loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.shared.renamed import current_name

if TYPE_CHECKING:
    from wavewise.decide.another_wave import StopOrGo, stop_or_go
    from wavewise.decide.arm_choice import BestArm, best_arm
    from wavewise.decide.evidence import with_control, with_floor
    from wavewise.decide.policy import (
        Policy,
        best_on_average,
        load_policy,
        personalize,
        random_policy,
        safe_policy,
        target,
        uniform,
        uniform_best,
    )
    from wavewise.decide.rules import exploration_shares
    from wavewise.decide.tree_search import policy_tree
    from wavewise.decide.wave_shares import NextShares, next_shares, shares

__all__ = [
    "BestArm",
    "NextShares",
    "Policy",
    "StopOrGo",
    "best_arm",
    "best_on_average",
    "exploration_shares",
    "load_policy",
    "next_shares",
    "personalize",
    "policy_tree",
    "random_policy",
    "safe_policy",
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
    "best_on_average": "wavewise.decide.policy",
    "safe_policy": "wavewise.decide.policy",
    "load_policy": "wavewise.decide.policy",
    "personalize": "wavewise.decide.policy",
    "policy_tree": "wavewise.decide.tree_search",
    "random_policy": "wavewise.decide.policy",
    "target": "wavewise.decide.policy",
    "uniform": "wavewise.decide.policy",
    "uniform_best": "wavewise.decide.policy",
    "BestArm": "wavewise.decide.arm_choice",
    "NextShares": "wavewise.decide.wave_shares",
    "StopOrGo": "wavewise.decide.another_wave",
    "best_arm": "wavewise.decide.arm_choice",
    "exploration_shares": "wavewise.decide.rules",
    "next_shares": "wavewise.decide.wave_shares",
    "shares": "wavewise.decide.wave_shares",
    "stop_or_go": "wavewise.decide.another_wave",
    "with_control": "wavewise.decide.evidence",
    "with_floor": "wavewise.decide.evidence",
}


_FORMER = {"cautious": "safe_policy"}  # taken for one version


def __getattr__(name: str) -> Any:
    name = current_name("ww.decide", name, _FORMER)
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.decide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
