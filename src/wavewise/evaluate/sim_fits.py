"""Hierarchical posteriors of many simulations; one that fails leaves the others as they are."""

from dataclasses import dataclass

import numpy as np

from wavewise.estimate.binomial_batch import BinomialBatch, fit_many
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.results import FloatArray

__all__ = ["Fitted", "fitted"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a simulation keeps of its posteriors, (n, n_arms) each; nan where there is none."""

    prob_optimal: FloatArray
    policy_regret: FloatArray
    success_prob: FloatArray
    beta_mean: FloatArray
    beta_sd: FloatArray


def fitted(
    successes: FloatArray, trials: FloatArray, prior: BinomialPrior, rng: np.random.Generator
) -> Fitted:
    """Posteriors of data sets of one shape, (n, n_clusters, n_arms).

    Notes
    -----
    Truths far from any real one (an arm that hardly ever fails) can leave the range of the
    numerical method. Then the sets are fitted one by one, each with a stream of its own, and the
    one that breaks counts as not estimable.
    """
    try:
        return _of(fit_many(successes, trials, prior=prior, rng=rng))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        pass
    rows = [
        _one(successes[i : i + 1], trials[i : i + 1], prior, rng) for i in range(len(successes))
    ]
    return Fitted(*(np.concatenate([getattr(row, name) for row in rows]) for name in _NAMES))


_NAMES = ("prob_optimal", "policy_regret", "success_prob", "beta_mean", "beta_sd")


def _one(
    successes: FloatArray, trials: FloatArray, prior: BinomialPrior, rng: np.random.Generator
) -> Fitted:
    try:
        return _of(fit_many(successes, trials, prior=prior, rng=rng))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return Fitted(*(np.full((1, successes.shape[2]), np.nan) for _ in _NAMES))


def _of(batch: BinomialBatch) -> Fitted:
    return Fitted(*(getattr(batch, name) for name in _NAMES))
