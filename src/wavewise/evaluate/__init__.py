"""Evaluation on fresh data: what a policy is worth, whom to target, whether predictions hold.

Functions on arrays and frozen policies, with no study at all. Each loads on first use.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.lazy import LazyPackage

if TYPE_CHECKING:
    from wavewise.evaluate import checks
    from wavewise.evaluate.assigned import mixture_propensity
    from wavewise.evaluate.calibration import Calibration, best_linear_projection, calibration
    from wavewise.evaluate.contrast import PolicyEstimate, policy_contrast, policy_value
    from wavewise.evaluate.cost_curve import CostCurve, cost_curve
    from wavewise.evaluate.exercises import AnotherWave, ex_ante, ex_post, if_another_wave
    from wavewise.evaluate.paired import PairedContrast, paired_contrast
    from wavewise.evaluate.personalization import Guess, PersonalizationPower, personalization_power
    from wavewise.evaluate.power import power
    from wavewise.evaluate.power_result import Power
    from wavewise.evaluate.regression import Coefficients
    from wavewise.evaluate.scores import DoublyRobustScores, doubly_robust_scores
    from wavewise.evaluate.sim_design import Design
    from wavewise.evaluate.sim_observed import BootstrapTruth, PosteriorTruth
    from wavewise.evaluate.sim_result import Comparison, Estimate, Simulated
    from wavewise.evaluate.sim_truth import PriorTruth, VectorTruth
    from wavewise.evaluate.simulate import compare, simulate
    from wavewise.evaluate.toc import TargetingCurve, toc
    from wavewise.evaluate.wave_plan import Benefit, Limits, WavePlan, plan_waves

__all__ = [
    "AnotherWave",
    "Benefit",
    "BootstrapTruth",
    "Calibration",
    "Coefficients",
    "Comparison",
    "CostCurve",
    "Design",
    "DoublyRobustScores",
    "Estimate",
    "Guess",
    "Limits",
    "PairedContrast",
    "PersonalizationPower",
    "PolicyEstimate",
    "PosteriorTruth",
    "Power",
    "PriorTruth",
    "Simulated",
    "TargetingCurve",
    "VectorTruth",
    "WavePlan",
    "best_linear_projection",
    "calibration",
    "checks",
    "compare",
    "cost_curve",
    "doubly_robust_scores",
    "ex_ante",
    "ex_post",
    "if_another_wave",
    "mixture_propensity",
    "paired_contrast",
    "personalization_power",
    "plan_waves",
    "policy_contrast",
    "policy_value",
    "power",
    "simulate",
    "toc",
]

_HOMES = {
    "personalization_power": "wavewise.evaluate.personalization",
    "PersonalizationPower": "wavewise.evaluate.personalization",
    "Guess": "wavewise.evaluate.personalization",
    "plan_waves": "wavewise.evaluate.wave_plan",
    "WavePlan": "wavewise.evaluate.wave_plan",
    "Limits": "wavewise.evaluate.wave_plan",
    "Benefit": "wavewise.evaluate.wave_plan",
    "PosteriorTruth": "wavewise.evaluate.sim_observed",
    "BootstrapTruth": "wavewise.evaluate.sim_observed",
    "if_another_wave": "wavewise.evaluate.exercises",
    "ex_post": "wavewise.evaluate.exercises",
    "ex_ante": "wavewise.evaluate.exercises",
    "AnotherWave": "wavewise.evaluate.exercises",
    "simulate": "wavewise.evaluate.simulate",
    "compare": "wavewise.evaluate.simulate",
    "VectorTruth": "wavewise.evaluate.sim_truth",
    "Simulated": "wavewise.evaluate.sim_result",
    "PriorTruth": "wavewise.evaluate.sim_truth",
    "Estimate": "wavewise.evaluate.sim_result",
    "Design": "wavewise.evaluate.sim_design",
    "Comparison": "wavewise.evaluate.sim_result",
    "Calibration": "wavewise.evaluate.calibration",
    "Coefficients": "wavewise.evaluate.regression",
    "CostCurve": "wavewise.evaluate.cost_curve",
    "DoublyRobustScores": "wavewise.evaluate.scores",
    "PairedContrast": "wavewise.evaluate.paired",
    "PolicyEstimate": "wavewise.evaluate.contrast",
    "Power": "wavewise.evaluate.power_result",
    "TargetingCurve": "wavewise.evaluate.toc",
    "best_linear_projection": "wavewise.evaluate.calibration",
    "calibration": "wavewise.evaluate.calibration",
    "cost_curve": "wavewise.evaluate.cost_curve",
    "doubly_robust_scores": "wavewise.evaluate.scores",
    "mixture_propensity": "wavewise.evaluate.assigned",
    "paired_contrast": "wavewise.evaluate.paired",
    "policy_contrast": "wavewise.evaluate.contrast",
    "policy_value": "wavewise.evaluate.contrast",
    "power": "wavewise.evaluate.power",
    "toc": "wavewise.evaluate.toc",
}


def __getattr__(name: str) -> Any:
    if name == "checks":
        return import_module("wavewise.evaluate.checks")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.evaluate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = LazyPackage
