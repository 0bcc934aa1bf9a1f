"""An adaptive experiment with clusters, fitted to data and run again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.weighted_m import weighted_m
from wavewise.results import FloatArray
from wavewise.simulated.adaptive_waves import (
    AdaptiveDesign,
    marginal_means,
    simulate_adaptive_waves,
)

__all__ = ["cluster_effects_sd", "experiment_again"]

_NEWTON = 60


def experiment_again(
    design: AdaptiveDesign, outcome: Any, arm: Any, cluster: Any
) -> Callable[[FloatArray, np.random.Generator], tuple[FloatArray, FloatArray]]:
    """The experiment as a function of arm means, for `wavewise.estimate.bootstrap_chosen_arm`.

    Parameters
    ----------
    design : AdaptiveDesign
        Units, waves, rule, floor and kind of outcome; its means and clusters are replaced.
    outcome, arm, cluster : array-like, shape (n_units,)
        The data; they tell the spread of cluster effects and the number of clusters.

    Returns
    -------
    callable
        Of means and a generator; gives `weighted_m` estimates with clustered standard errors.

    Raises
    ------
    InputError
        Where there are fewer than two clusters.
    """
    codes = np.unique(np.asarray(cluster), return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1
    if n_clusters < 2:
        raise InputError("cluster: found one cluster; needed two or more to tell their spread")
    sd = cluster_effects_sd(outcome, arm, cluster, design.outcome == "binary")
    fitted = replace(design, n_clusters=n_clusters, cluster_sd=sd)

    def simulate(means: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        data = simulate_adaptive_waves(replace(fitted, means=_conditional(fitted, means)), rng)
        found = weighted_m(
            data.outcome,
            data.arm,
            data.propensity,
            cluster=data.cluster,
            arms=range(len(means)),
        )
        return found.arm_estimate, found.std_error[: len(means)]

    return simulate


def cluster_effects_sd(outcome: Any, arm: Any, cluster: Any, binary: bool) -> float:
    """Standard deviation of cluster effects, on the log odds of binary outcomes.

    Notes
    -----
    Of outcomes less their arm's mean, the mean product of two different units of a cluster
    estimates the variance of cluster effects without bias but for the means; on the log odds it is
    divided by (p (1 - p))^2. Negative ones are set to 0.
    """
    y = np.asarray(outcome, dtype=np.float64)
    arms = np.unique(np.asarray(arm), return_inverse=True)[1]
    codes = np.unique(np.asarray(cluster), return_inverse=True)[1]
    mean = np.bincount(arms, weights=y) / np.bincount(arms)
    slope = (mean * (1 - mean))[arms] if binary else np.ones(y.size)
    left = (y - mean[arms]) / np.maximum(slope, 1e-6)
    # products weigh by the slopes, so that rare outcomes count little
    weight = slope**2
    total = np.bincount(codes, weights=weight * left)
    own = np.bincount(codes, weights=(weight * left) ** 2)
    size = np.bincount(codes, weights=weight)
    pairs = float((size**2 - np.bincount(codes, weights=weight**2)).sum())
    return float(np.sqrt(max(0.0, (total**2 - own).sum() / pairs))) if pairs > 0 else 0.0


def _conditional(design: AdaptiveDesign, means: FloatArray) -> FloatArray:
    """Means at a cluster effect of 0 that give the wanted means over clusters."""
    if design.outcome == "normal":
        return means
    wanted = np.clip(means, 1e-4, 1 - 1e-4)
    low, high = np.full_like(wanted, 1e-9), np.full_like(wanted, 1 - 1e-9)
    for _ in range(_NEWTON):
        middle = (low + high) / 2
        below = marginal_means(replace(design, means=middle)) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
