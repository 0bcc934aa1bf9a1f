"""Worlds with a known truth, many at once: what each arm is worth, and outcomes drawn from it."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import special

from wavewise.estimate.hierarchical_success import over_new_clusters
from wavewise.results import FloatArray, IntArray

__all__ = ["Truth", "Worlds", "cluster_worlds", "rate_worlds", "success_over_clusters"]


@dataclass(frozen=True, eq=False)
class Worlds:
    """Several worlds.

    Parameters
    ----------
    success_prob : (n, n_arms) array of float
        Of each arm in truth, over clusters that were not seen.
    prob : (n, n_clusters, n_arms) array of float
        At each cluster.
    beta : (n, n_arms) array of float, or None
        What the hierarchical estimator calls so.
    control_rate : (n,) array of float, or None
        Success of the control, where it has outcomes.
    first_successes, first_trials : (n_clusters, n_arms) array of float, or None
        What was observed before, in all worlds.
    first_belief : (2, n_arms) array of float, or None
        Probability of being best, and regret, given that.
    pools : (n_clusters, n_arms, most) array of float, or None
        Successes of observed units, from which outcomes are resampled.
    pool_sizes : (n_clusters, n_arms) array of int, or None
    """

    success_prob: FloatArray
    prob: FloatArray
    beta: FloatArray | None = None
    control_rate: FloatArray | None = None
    first_successes: FloatArray | None = None
    first_trials: FloatArray | None = None
    first_belief: FloatArray | None = None
    pools: FloatArray | None = None
    pool_sizes: IntArray | None = None

    def successes(self, counts: IntArray, trials: int, rng: np.random.Generator) -> FloatArray:
        """Successes of so many units by cluster and arm, (n, n_clusters, n_arms)."""
        if self.pools is None or self.pool_sizes is None:
            drawn: Any = rng.binomial(trials * counts, self.prob)
            return np.asarray(drawn, dtype=np.float64)
        cell = np.repeat(np.arange(counts.size), counts.ravel())
        place = cell % (counts.shape[1] * counts.shape[2])
        pick = rng.integers(0, self.pool_sizes.ravel()[place])
        drawn = self.pools.reshape(-1, self.pools.shape[2])[place, pick]
        summed: Any = np.bincount(cell, weights=drawn, minlength=counts.size)
        return np.asarray(summed.reshape(counts.shape), dtype=np.float64)


@runtime_checkable
class Truth(Protocol):
    """Where worlds come from."""

    def worlds(
        self, n: int, n_arms: int, n_clusters: int | None, rng: np.random.Generator
    ) -> Worlds:
        """So many worlds."""

    def describe(self) -> str:
        """In words, for reports."""


def success_over_clusters(beta: FloatArray, kappa: FloatArray) -> FloatArray:
    """Mean success probability over new clusters, (n, n_arms)."""
    with np.errstate(divide="ignore"):
        log_kappa = np.maximum(np.log(kappa), -30.0)
    return over_new_clusters(np.column_stack([beta, log_kappa]))


def cluster_worlds(
    beta: FloatArray,
    kappa: FloatArray,
    n_clusters: int | None,
    rng: np.random.Generator,
    control_rate: FloatArray | None = None,
) -> Worlds:
    """Worlds of the hierarchical model; without clusters the mean success probabilities alone.

    Parameters
    ----------
    beta : (n, n_arms) array of float
    kappa : (n,) array of float
    """
    success = success_over_clusters(beta, kappa)
    if n_clusters is None:
        return rate_worlds(success, control_rate)
    effect = kappa[:, None] * rng.standard_normal((beta.shape[0], n_clusters))
    prob = special.expit(beta[:, None, :] + effect[:, :, None])
    return Worlds(success, prob, beta, control_rate)


def rate_worlds(rate: FloatArray, control_rate: FloatArray | None = None) -> Worlds:
    """Worlds without clusters, (n, n_arms) rates."""
    return Worlds(rate, rate[:, None, :], None, control_rate)
