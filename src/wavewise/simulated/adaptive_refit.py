"""An adaptive experiment with clusters, fitted to data and run again."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.shared.labels import group_sum
from wavewise.shared.results import FloatArray
from wavewise.simulated.adaptive_waves import AdaptiveDesign, marginal_means, simulate_many

__all__ = ["ExperimentAgain", "cluster_effects_sd", "experiment_again"]

_NEWTON = 60


def experiment_again(
    design: AdaptiveDesign, outcome: Any, arm: Any, cluster: Any
) -> "ExperimentAgain":
    """The experiment as a function of arm means, for `wavewise.estimate.bootstrap_chosen_arm`."""
    codes = np.unique(np.asarray(cluster), return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1
    if n_clusters < 2:
        raise InputError("cluster: found one cluster; needed two or more to tell their spread")
    sd = cluster_effects_sd(outcome, arm, cluster, design.outcome == "binary")
    fitted = replace(design, n_clusters=n_clusters, cluster_sd=sd)

    return ExperimentAgain(fitted)


@dataclass(frozen=True, eq=False)
class ExperimentAgain:
    """The experiment as a function of arm means: one run, or many side by side."""

    design: AdaptiveDesign  # Its means are replaced.

    def __call__(
        self, means: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Estimates and standard errors of one run, shape (n_arms,) each."""
        estimate, std_error = self.many(means, 1, rng)
        return estimate[0], std_error[0]

    def many(
        self, means: FloatArray, n_runs: int, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Estimates and clustered standard errors of many runs, shape (n_runs, n_arms) each.

        As `wavewise.estimate.weighted_m` gives them; not-a-number for an arm without one.
        """
        runs = simulate_many(replace(self.design, means=_conditional(self.design, means)),
                             n_runs, rng)  # fmt: skip
        n_arms, place = len(means), np.arange(n_runs)[:, None]
        weight = runs.propensity**-0.5
        cell = place * n_arms + runs.arm
        size = group_sum(cell.ravel(), weight.ravel(), n_runs * n_arms)
        total = group_sum(cell.ravel(), (weight * runs.outcome).ravel(), size.size)
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = total / size
            left = weight * (runs.outcome - estimate[cell]) / size[cell]
        groups = self.design.n_clusters
        key = (place * groups + runs.cluster) * n_arms + runs.arm
        scores = group_sum(key.ravel(), left.ravel(), n_runs * groups * n_arms)
        variance = (scores.reshape(n_runs, groups, n_arms) ** 2).sum(axis=1)
        estimate = estimate.reshape(n_runs, n_arms)
        known = (
            variance
            > np.finfo(np.float64).eps * np.maximum(1.0, np.nanmax(np.abs(runs.outcome))) ** 2
        )
        return (np.where(known, estimate, np.nan), np.where(known, np.sqrt(variance), np.nan))


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
