"""Evaluation on fresh data: what a policy is worth, whom to target, whether predictions hold.

Functions on arrays and frozen policies, with no study at all. Each loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.shared.renamed import current_name

if TYPE_CHECKING:
    from wavewise.evaluate import checks
    from wavewise.evaluate.calibration_regression import (
        Calibration,
        best_linear_projection,
        calibration,
    )
    from wavewise.evaluate.cost_curves import CostCurve, cost_curve
    from wavewise.evaluate.paired import PairedContrast, paired_contrast
    from wavewise.evaluate.policy_values import (
        PolicyEstimate,
        mixture_propensity,
        policy_contrast,
        policy_value,
    )
    from wavewise.evaluate.power_analysis import Power, power
    from wavewise.evaluate.scores import DoublyRobustScores, doubly_robust_scores
    from wavewise.evaluate.simulation.compare import compare, simulate
    from wavewise.evaluate.simulation.design import Design
    from wavewise.evaluate.simulation.exercises import (
        AnotherWave,
        BootstrapTruth,
        PosteriorTruth,
        ex_ante,
        ex_post,
        if_another_wave,
    )
    from wavewise.evaluate.simulation.personalization import (
        Assumptions,
        PersonalizationPower,
        personalization_power,
    )
    from wavewise.evaluate.simulation.results import Comparison, Estimate, Simulated
    from wavewise.evaluate.simulation.wave_plan import Benefit, Limits, WavePlan, plan_waves
    from wavewise.evaluate.simulation.worlds import FixedTruth, PriorTruth
    from wavewise.evaluate.standard_errors import Coefficients
    from wavewise.evaluate.targeting import TargetingCurve, toc

__all__ = [
    "AnotherWave",
    "Assumptions",
    "Benefit",
    "BootstrapTruth",
    "Calibration",
    "Coefficients",
    "Comparison",
    "CostCurve",
    "Design",
    "DoublyRobustScores",
    "Estimate",
    "FixedTruth",
    "Limits",
    "PairedContrast",
    "PersonalizationPower",
    "PolicyEstimate",
    "PosteriorTruth",
    "Power",
    "PriorTruth",
    "Simulated",
    "TargetingCurve",
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
    "personalization_power": "wavewise.evaluate.simulation.personalization",
    "PersonalizationPower": "wavewise.evaluate.simulation.personalization",
    "Assumptions": "wavewise.evaluate.simulation.personalization",
    "plan_waves": "wavewise.evaluate.simulation.wave_plan",
    "WavePlan": "wavewise.evaluate.simulation.wave_plan",
    "Limits": "wavewise.evaluate.simulation.wave_plan",
    "Benefit": "wavewise.evaluate.simulation.wave_plan",
    "PosteriorTruth": "wavewise.evaluate.simulation.exercises",
    "BootstrapTruth": "wavewise.evaluate.simulation.exercises",
    "if_another_wave": "wavewise.evaluate.simulation.exercises",
    "ex_post": "wavewise.evaluate.simulation.exercises",
    "ex_ante": "wavewise.evaluate.simulation.exercises",
    "AnotherWave": "wavewise.evaluate.simulation.exercises",
    "simulate": "wavewise.evaluate.simulation.compare",
    "compare": "wavewise.evaluate.simulation.compare",
    "FixedTruth": "wavewise.evaluate.simulation.worlds",
    "Simulated": "wavewise.evaluate.simulation.results",
    "PriorTruth": "wavewise.evaluate.simulation.worlds",
    "Estimate": "wavewise.evaluate.simulation.results",
    "Design": "wavewise.evaluate.simulation.design",
    "Comparison": "wavewise.evaluate.simulation.results",
    "Calibration": "wavewise.evaluate.calibration_regression",
    "Coefficients": "wavewise.evaluate.standard_errors",
    "CostCurve": "wavewise.evaluate.cost_curves",
    "DoublyRobustScores": "wavewise.evaluate.scores",
    "PairedContrast": "wavewise.evaluate.paired",
    "PolicyEstimate": "wavewise.evaluate.policy_values",
    "Power": "wavewise.evaluate.power_analysis",
    "TargetingCurve": "wavewise.evaluate.targeting",
    "best_linear_projection": "wavewise.evaluate.calibration_regression",
    "calibration": "wavewise.evaluate.calibration_regression",
    "cost_curve": "wavewise.evaluate.cost_curves",
    "doubly_robust_scores": "wavewise.evaluate.scores",
    "mixture_propensity": "wavewise.evaluate.policy_values",
    "paired_contrast": "wavewise.evaluate.paired",
    "policy_contrast": "wavewise.evaluate.policy_values",
    "policy_value": "wavewise.evaluate.policy_values",
    "power": "wavewise.evaluate.power_analysis",
    "toc": "wavewise.evaluate.targeting",
}


# taken for one version
_FORMER = {"Guess": "Assumptions", "VectorTruth": "FixedTruth"}


def __getattr__(name: str) -> Any:
    name = current_name("ww.evaluate", name, _FORMER)
    if name == "checks":
        return import_module("wavewise.evaluate.checks")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.evaluate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
