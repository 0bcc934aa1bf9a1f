"""Estimators: arrays in, results out, with no study at all.

`ate` gives effects with frequentist intervals; `beta_binomial`, `hierarchical_binomial` and
`hierarchical_normal` the posteriors that adaptive waves learn from. Each loads on first use.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.lazy import LazyPackage

if TYPE_CHECKING:
    from wavewise.estimate.adaptive_aipw import adaptive_aipw
    from wavewise.estimate.adaptive_table import AdaptiveEstimates
    from wavewise.estimate.ate import Effects, ate
    from wavewise.estimate.batched_ols import batched_ols
    from wavewise.estimate.beta_binomial import BetaBinomial, beta_binomial
    from wavewise.estimate.binomial_priors import (
        BinomialPrior,
        Flat,
        HalfNormal,
        HalfT,
        InverseChiSquare,
        Normal,
        StudentT,
    )
    from wavewise.estimate.cace import Cace, cace
    from wavewise.estimate.causal_forest import CausalForest, causal_forest
    from wavewise.estimate.chosen_arm import ChosenArm, bootstrap_chosen_arm
    from wavewise.estimate.confidence_sequence import ConfidenceSequence, confidence_sequence
    from wavewise.estimate.contrasts import pair_margins
    from wavewise.estimate.hierarchical_binomial import hierarchical_binomial
    from wavewise.estimate.hierarchical_normal import HierarchicalNormal, hierarchical_normal
    from wavewise.estimate.hierarchical_posterior import HierarchicalBinomial
    from wavewise.estimate.hierarchical_predictive import posterior_predictive_check
    from wavewise.estimate.hierarchical_sensitivity import (
        PriorSensitivity,
        prior_sensitivity,
        score_prior_sensitivity,
    )
    from wavewise.estimate.neighbours import Neighbours, neighbours
    from wavewise.estimate.normal_predictive import score_predictive_check
    from wavewise.estimate.normal_priors import (
        NormalPriors,
        SdPrior,
        scaled_priors,
        study_priors,
        tried_priors,
    )
    from wavewise.estimate.randomization_test import RandomizationTest, randomization_test
    from wavewise.estimate.score_panels import ScorePanels, score_panels
    from wavewise.estimate.weighted_m import weighted_m
    from wavewise.estimate.winner import Winner, winner
    from wavewise.estimate.winner_table import (
        WinnerColumn,
        WinnerTable,
        adaptive_comparison,
        winner_table,
    )

__all__ = [
    "AdaptiveEstimates",
    "BetaBinomial",
    "BinomialPrior",
    "Cace",
    "CausalForest",
    "ChosenArm",
    "ConfidenceSequence",
    "Effects",
    "Flat",
    "HalfNormal",
    "HalfT",
    "HierarchicalBinomial",
    "HierarchicalNormal",
    "InverseChiSquare",
    "Neighbours",
    "Normal",
    "NormalPriors",
    "PriorSensitivity",
    "RandomizationTest",
    "ScorePanels",
    "SdPrior",
    "StudentT",
    "Winner",
    "WinnerColumn",
    "WinnerTable",
    "adaptive_aipw",
    "adaptive_comparison",
    "ate",
    "batched_ols",
    "beta_binomial",
    "bootstrap_chosen_arm",
    "cace",
    "causal_forest",
    "confidence_sequence",
    "hierarchical_binomial",
    "hierarchical_normal",
    "neighbours",
    "pair_margins",
    "posterior_predictive_check",
    "prior_sensitivity",
    "randomization_test",
    "scaled_priors",
    "score_panels",
    "score_predictive_check",
    "score_prior_sensitivity",
    "study_priors",
    "tried_priors",
    "weighted_m",
    "winner",
    "winner_table",
]

_HOMES = {
    "ChosenArm": "wavewise.estimate.chosen_arm",
    "bootstrap_chosen_arm": "wavewise.estimate.chosen_arm",
    "ConfidenceSequence": "wavewise.estimate.confidence_sequence",
    "confidence_sequence": "wavewise.estimate.confidence_sequence",
    "RandomizationTest": "wavewise.estimate.randomization_test",
    "randomization_test": "wavewise.estimate.randomization_test",
    "AdaptiveEstimates": "wavewise.estimate.adaptive_table",
    "adaptive_aipw": "wavewise.estimate.adaptive_aipw",
    "batched_ols": "wavewise.estimate.batched_ols",
    "weighted_m": "wavewise.estimate.weighted_m",
    "Neighbours": "wavewise.estimate.neighbours",
    "neighbours": "wavewise.estimate.neighbours",
    "Cace": "wavewise.estimate.cace",
    "cace": "wavewise.estimate.cace",
    "CausalForest": "wavewise.estimate.causal_forest",
    "causal_forest": "wavewise.estimate.causal_forest",
    "BetaBinomial": "wavewise.estimate.beta_binomial",
    "BinomialPrior": "wavewise.estimate.binomial_priors",
    "Effects": "wavewise.estimate.ate",
    "Flat": "wavewise.estimate.binomial_priors",
    "HalfNormal": "wavewise.estimate.binomial_priors",
    "HalfT": "wavewise.estimate.binomial_priors",
    "HierarchicalBinomial": "wavewise.estimate.hierarchical_posterior",
    "HierarchicalNormal": "wavewise.estimate.hierarchical_normal",
    "InverseChiSquare": "wavewise.estimate.binomial_priors",
    "Normal": "wavewise.estimate.binomial_priors",
    "NormalPriors": "wavewise.estimate.normal_priors",
    "PriorSensitivity": "wavewise.estimate.hierarchical_sensitivity",
    "ScorePanels": "wavewise.estimate.score_panels",
    "score_panels": "wavewise.estimate.score_panels",
    "SdPrior": "wavewise.estimate.normal_priors",
    "StudentT": "wavewise.estimate.binomial_priors",
    "ate": "wavewise.estimate.ate",
    "beta_binomial": "wavewise.estimate.beta_binomial",
    "hierarchical_binomial": "wavewise.estimate.hierarchical_binomial",
    "hierarchical_normal": "wavewise.estimate.hierarchical_normal",
    "pair_margins": "wavewise.estimate.contrasts",
    "posterior_predictive_check": "wavewise.estimate.hierarchical_predictive",
    "prior_sensitivity": "wavewise.estimate.hierarchical_sensitivity",
    "scaled_priors": "wavewise.estimate.normal_priors",
    "score_predictive_check": "wavewise.estimate.normal_predictive",
    "score_prior_sensitivity": "wavewise.estimate.hierarchical_sensitivity",
    "study_priors": "wavewise.estimate.normal_priors",
    "tried_priors": "wavewise.estimate.normal_priors",
    "Winner": "wavewise.estimate.winner",
    "winner": "wavewise.estimate.winner",
    "WinnerColumn": "wavewise.estimate.winner_table",
    "WinnerTable": "wavewise.estimate.winner_table",
    "adaptive_comparison": "wavewise.estimate.winner_table",
    "winner_table": "wavewise.estimate.winner_table",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.estimate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = LazyPackage
