"""Estimators: arrays in, results out, with no study at all.

`ate` gives effects with frequentist intervals; `beta_binomial`, `hierarchical_binomial` and
`hierarchical_normal` the posteriors that adaptive waves learn from. Each loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.estimate.adaptive.aipw import adaptive_aipw
    from wavewise.estimate.adaptive.batched_ols import batched_ols
    from wavewise.estimate.adaptive.bootstrap import ChosenArm, bootstrap_chosen_arm
    from wavewise.estimate.adaptive.comparison import (
        WinnerColumn,
        WinnerTable,
        adaptive_comparison,
        winner_table,
    )
    from wavewise.estimate.adaptive.confidence_sequence import (
        ConfidenceSequence,
        confidence_sequence,
    )
    from wavewise.estimate.adaptive.randomization import RandomizationTest, randomization_test
    from wavewise.estimate.adaptive.results import AdaptiveEstimates
    from wavewise.estimate.adaptive.weighted_m import weighted_m
    from wavewise.estimate.adaptive.winner import Winner, winner
    from wavewise.estimate.bayes.beta_binomial import BetaBinomial, beta_binomial
    from wavewise.estimate.bayes.normal_means import NormalMeans, normal_means
    from wavewise.estimate.bayes.pooled_beta import PooledBeta, pooled_beta_binomial
    from wavewise.estimate.binomial.model import hierarchical_binomial
    from wavewise.estimate.binomial.predictive import posterior_predictive_check
    from wavewise.estimate.binomial.priors import (
        BinomialPrior,
        Flat,
        HalfNormal,
        HalfT,
        InverseChiSquare,
        Normal,
        StudentT,
    )
    from wavewise.estimate.binomial.results import HierarchicalBinomial
    from wavewise.estimate.effects.ate import ate
    from wavewise.estimate.effects.false_discovery import QValues, q_values
    from wavewise.estimate.effects.index import OutcomeIndex, index
    from wavewise.estimate.effects.instruments import Cace, cace
    from wavewise.estimate.effects.persistence import Persistence, persistence
    from wavewise.estimate.effects.results import Effects, pair_margins
    from wavewise.estimate.effects.surrogate import SurrogateIndex, surrogate_index
    from wavewise.estimate.effects.wild_bootstrap import WildBootstrap, wild_bootstrap
    from wavewise.estimate.forest.causal_forest import CausalForest, causal_forest
    from wavewise.estimate.learners.effect_learner import EffectLearner, effect_learner
    from wavewise.estimate.matching.neighbours import Neighbours, neighbours
    from wavewise.estimate.normal.model import HierarchicalNormal, hierarchical_normal
    from wavewise.estimate.normal.panels import ScorePanels, score_panels
    from wavewise.estimate.normal.predictive import score_predictive_check
    from wavewise.estimate.normal.priors import (
        NormalPriors,
        SdPrior,
        scaled_priors,
        study_priors,
        tried_priors,
    )
    from wavewise.estimate.observational import PropensityEstimate, propensity
    from wavewise.estimate.sensitivity import (
        PriorSensitivity,
        prior_sensitivity,
        score_prior_sensitivity,
    )

__all__ = [
    "AdaptiveEstimates",
    "BetaBinomial",
    "BinomialPrior",
    "Cace",
    "CausalForest",
    "ChosenArm",
    "ConfidenceSequence",
    "EffectLearner",
    "Effects",
    "Flat",
    "HalfNormal",
    "HalfT",
    "HierarchicalBinomial",
    "HierarchicalNormal",
    "InverseChiSquare",
    "Neighbours",
    "Normal",
    "NormalMeans",
    "NormalPriors",
    "OutcomeIndex",
    "Persistence",
    "PooledBeta",
    "PriorSensitivity",
    "PropensityEstimate",
    "QValues",
    "RandomizationTest",
    "ScorePanels",
    "SdPrior",
    "StudentT",
    "SurrogateIndex",
    "WildBootstrap",
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
    "effect_learner",
    "hierarchical_binomial",
    "hierarchical_normal",
    "index",
    "neighbours",
    "normal_means",
    "pair_margins",
    "persistence",
    "pooled_beta_binomial",
    "posterior_predictive_check",
    "prior_sensitivity",
    "propensity",
    "q_values",
    "randomization_test",
    "scaled_priors",
    "score_panels",
    "score_predictive_check",
    "score_prior_sensitivity",
    "study_priors",
    "surrogate_index",
    "tried_priors",
    "weighted_m",
    "wild_bootstrap",
    "winner",
    "winner_table",
]

_HOMES = {
    "ChosenArm": "wavewise.estimate.adaptive.bootstrap",
    "bootstrap_chosen_arm": "wavewise.estimate.adaptive.bootstrap",
    "ConfidenceSequence": "wavewise.estimate.adaptive.confidence_sequence",
    "confidence_sequence": "wavewise.estimate.adaptive.confidence_sequence",
    "RandomizationTest": "wavewise.estimate.adaptive.randomization",
    "randomization_test": "wavewise.estimate.adaptive.randomization",
    "AdaptiveEstimates": "wavewise.estimate.adaptive.results",
    "adaptive_aipw": "wavewise.estimate.adaptive.aipw",
    "batched_ols": "wavewise.estimate.adaptive.batched_ols",
    "weighted_m": "wavewise.estimate.adaptive.weighted_m",
    "Neighbours": "wavewise.estimate.matching.neighbours",
    "neighbours": "wavewise.estimate.matching.neighbours",
    "SurrogateIndex": "wavewise.estimate.effects.surrogate",
    "surrogate_index": "wavewise.estimate.effects.surrogate",
    "NormalMeans": "wavewise.estimate.bayes.normal_means",
    "normal_means": "wavewise.estimate.bayes.normal_means",
    "OutcomeIndex": "wavewise.estimate.effects.index",
    "index": "wavewise.estimate.effects.index",
    "Persistence": "wavewise.estimate.effects.persistence",
    "persistence": "wavewise.estimate.effects.persistence",
    "QValues": "wavewise.estimate.effects.false_discovery",
    "q_values": "wavewise.estimate.effects.false_discovery",
    "Cace": "wavewise.estimate.effects.instruments",
    "cace": "wavewise.estimate.effects.instruments",
    "EffectLearner": "wavewise.estimate.learners.effect_learner",
    "effect_learner": "wavewise.estimate.learners.effect_learner",
    "CausalForest": "wavewise.estimate.forest.causal_forest",
    "causal_forest": "wavewise.estimate.forest.causal_forest",
    "BetaBinomial": "wavewise.estimate.bayes.beta_binomial",
    "BinomialPrior": "wavewise.estimate.binomial.priors",
    "Effects": "wavewise.estimate.effects.results",
    "Flat": "wavewise.estimate.binomial.priors",
    "HalfNormal": "wavewise.estimate.binomial.priors",
    "HalfT": "wavewise.estimate.binomial.priors",
    "HierarchicalBinomial": "wavewise.estimate.binomial.results",
    "HierarchicalNormal": "wavewise.estimate.normal.model",
    "InverseChiSquare": "wavewise.estimate.binomial.priors",
    "Normal": "wavewise.estimate.binomial.priors",
    "NormalPriors": "wavewise.estimate.normal.priors",
    "PriorSensitivity": "wavewise.estimate.sensitivity",
    "PropensityEstimate": "wavewise.estimate.observational",
    "propensity": "wavewise.estimate.observational",
    "ScorePanels": "wavewise.estimate.normal.panels",
    "score_panels": "wavewise.estimate.normal.panels",
    "SdPrior": "wavewise.estimate.normal.priors",
    "StudentT": "wavewise.estimate.binomial.priors",
    "ate": "wavewise.estimate.effects.ate",
    "beta_binomial": "wavewise.estimate.bayes.beta_binomial",
    "PooledBeta": "wavewise.estimate.bayes.pooled_beta",
    "pooled_beta_binomial": "wavewise.estimate.bayes.pooled_beta",
    "hierarchical_binomial": "wavewise.estimate.binomial.model",
    "hierarchical_normal": "wavewise.estimate.normal.model",
    "pair_margins": "wavewise.estimate.effects.results",
    "posterior_predictive_check": "wavewise.estimate.binomial.predictive",
    "prior_sensitivity": "wavewise.estimate.sensitivity",
    "scaled_priors": "wavewise.estimate.normal.priors",
    "score_predictive_check": "wavewise.estimate.normal.predictive",
    "score_prior_sensitivity": "wavewise.estimate.sensitivity",
    "study_priors": "wavewise.estimate.normal.priors",
    "tried_priors": "wavewise.estimate.normal.priors",
    "Winner": "wavewise.estimate.adaptive.winner",
    "winner": "wavewise.estimate.adaptive.winner",
    "WinnerColumn": "wavewise.estimate.adaptive.comparison",
    "WinnerTable": "wavewise.estimate.adaptive.comparison",
    "adaptive_comparison": "wavewise.estimate.adaptive.comparison",
    "winner_table": "wavewise.estimate.adaptive.comparison",
    "WildBootstrap": "wavewise.estimate.effects.wild_bootstrap",
    "wild_bootstrap": "wavewise.estimate.effects.wild_bootstrap",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.estimate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
