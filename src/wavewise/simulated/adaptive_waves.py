"""Adaptive experiments with a known truth: waves whose shares follow the outcomes before them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavewise.decide.wave_shares import shares
from wavewise.errors import InputError
from wavewise.results import FloatArray, IntArray

__all__ = ["AdaptiveData", "AdaptiveDesign", "marginal_means", "simulate_adaptive_waves"]

_N_DRAWS = 2000
_PRIOR = 1.0  # successes and failures before the first wave


@dataclass(frozen=True, eq=False)
class AdaptiveDesign:
    """How an adaptive experiment is run, and the truth behind it.

    Parameters
    ----------
    means : array of float, shape (n_arms,)
        True success probability of each arm, or its mean where outcomes are normal.
    n_units, n_waves : int
        Units in all, in waves of the same size.
    rule : {"exploration", "thompson", "equal"}
        Rule of the shares from the second wave on; those of the first are equal.
    floor : float
        Least share of each arm.
    outcome : {"binary", "normal"}
        Kind of outcome; normal ones have variance 1 within clusters.
    n_clusters : int
        Clusters over which all waves' units are spread at random; 0 for none.
    cluster_sd : float
        Standard deviation of the cluster's effect: on the log odds, or on the mean.
    """

    means: FloatArray
    n_units: int
    n_waves: int
    rule: Literal["exploration", "thompson", "equal"] = "exploration"
    floor: float = 0.0
    outcome: Literal["binary", "normal"] = "binary"
    n_clusters: int = 0
    cluster_sd: float = 0.0

    def __post_init__(self) -> None:
        if self.n_waves < 1 or self.n_units < self.n_waves * len(self.means):
            raise InputError(
                f"found {self.n_units} units in {self.n_waves} waves for {len(self.means)} arms; "
                "needed one unit an arm and wave at least"
            )


@dataclass(frozen=True, eq=False)
class AdaptiveData:
    """What an adaptive experiment left behind.

    Parameters
    ----------
    outcome : array of float, shape (n_units,)
    arm, wave, cluster : array of int, shape (n_units,)
        Codes from 0; clusters are the units themselves where there are none.
    propensities : array of float, shape (n_units, n_arms)
        Probability of every arm.
    truth : array of float, shape (n_arms,)
        Mean outcome of each arm over all clusters.
    """

    outcome: FloatArray
    arm: IntArray
    wave: IntArray
    cluster: IntArray
    propensities: FloatArray
    truth: FloatArray

    @property
    def propensity(self) -> FloatArray:
        """Probability of the arm that was drawn, shape (n_units,)."""
        own: FloatArray = self.propensities[np.arange(self.arm.size), self.arm]
        return own


def simulate_adaptive_waves(design: AdaptiveDesign, rng: np.random.Generator) -> AdaptiveData:
    """One run of the experiment.

    Notes
    -----
    After each wave the arms' posteriors (beta for binary outcomes; normal with the arm's mean and
    variance otherwise) ignore the clusters, as a simple dashboard would; the shares follow by
    `wavewise.decide.shares`. Whole counts of each wave are drawn so that every unit's probability
    of an arm is its share.
    """
    n_arms, wave = len(design.means), _waves(design)
    cluster = _clusters(design, rng)
    effect = rng.normal(0.0, design.cluster_sd or 0.0, int(cluster.max()) + 1)
    arm, outcome = np.zeros(wave.size, dtype=np.int64), np.zeros(wave.size)
    propensities = np.empty((wave.size, n_arms))
    for w in range(design.n_waves):
        now, past = wave == w, wave < w
        share = _shares(design, arm[past], outcome[past], rng)
        arm[now] = _draw(share, int(now.sum()), rng)
        propensities[now] = share
        outcome[now] = _outcomes(design, arm[now], effect[cluster[now]], rng)
    return AdaptiveData(outcome, arm, wave, cluster, propensities, marginal_means(design))


def _waves(design: AdaptiveDesign) -> IntArray:
    return np.arange(design.n_units, dtype=np.int64) * design.n_waves // design.n_units


def _clusters(design: AdaptiveDesign, rng: np.random.Generator) -> IntArray:
    if design.n_clusters == 0:
        return np.arange(design.n_units, dtype=np.int64)
    return rng.integers(0, design.n_clusters, design.n_units)


def _shares(
    design: AdaptiveDesign, arm: IntArray, outcome: FloatArray, rng: np.random.Generator
) -> FloatArray:
    n_arms = len(design.means)
    if arm.size == 0 or design.rule == "equal":
        return np.full(n_arms, 1 / n_arms)
    n = np.bincount(arm, minlength=n_arms)
    total = np.bincount(arm, weights=outcome, minlength=n_arms)
    if design.outcome == "binary":
        draws = rng.beta(_PRIOR + total, _PRIOR + n - total, size=(_N_DRAWS, n_arms))
    else:
        draws = total / np.maximum(n, 1) + rng.normal(size=(_N_DRAWS, n_arms)) / np.sqrt(
            np.maximum(n, 0.1)
        )
    best = np.bincount(draws.argmax(axis=1), minlength=n_arms) / _N_DRAWS
    if best.max() == 1.0:  # exploration sampling needs a rival
        best = (best + 1 / _N_DRAWS) / (1 + n_arms / _N_DRAWS)
    return np.asarray(shares(best, rule=design.rule, floor=design.floor))


def _draw(share: FloatArray, n_units: int, rng: np.random.Generator) -> IntArray:
    """Arms of a wave: counts within one of their expectation, by systematic sampling."""
    points = (np.arange(n_units) + rng.random()) / n_units
    arms = np.searchsorted(np.cumsum(share)[:-1], points, side="right")
    return np.asarray(rng.permutation(arms), dtype=np.int64)


def _outcomes(
    design: AdaptiveDesign, arm: IntArray, effect: FloatArray, rng: np.random.Generator
) -> FloatArray:
    means = np.asarray(design.means, dtype=np.float64)
    if design.outcome == "normal":
        return np.asarray(means[arm] + effect + rng.normal(size=arm.size))
    odds = np.log(means / (1 - means))[arm] + effect
    return (rng.random(arm.size) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def marginal_means(design: AdaptiveDesign) -> FloatArray:
    """Mean outcome of each arm over all clusters, shape (n_arms,)."""
    means = np.asarray(design.means, dtype=np.float64)
    if design.outcome == "normal" or not design.n_clusters or design.cluster_sd == 0:
        return means
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    odds = np.log(means / (1 - means))[:, None] + design.cluster_sd * nodes
    return np.asarray((1 / (1 + np.exp(-odds))) @ weights / weights.sum())
