"""Adaptive experiments with a known truth: waves whose shares follow the outcomes before them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavewise.decide.rules import rule_named
from wavewise.decide.wave_shares import shares_of_many
from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "AdaptiveData",
    "AdaptiveDesign",
    "ManyAdaptive",
    "assign_again",
    "marginal_means",
    "simulate_adaptive_waves",
    "simulate_many",
]

_N_DRAWS = 2000
_PRIOR = 1.0  # successes and failures before the first wave


@dataclass(frozen=True, eq=False)
class AdaptiveDesign:
    """How an adaptive experiment is run, and the truth behind it."""

    # (n_arms,): True success probability of each arm, or its mean where outcomes are normal.
    means: FloatArray
    # n_units, n_waves: Units in all, in waves of the same size.
    n_units: int
    n_waves: int
    # Rule of the shares from the second wave on; those of the first are equal.
    rule: Literal["exploration", "thompson", "equal"] = "exploration"
    floor: float = 0.0  # Least share of each arm.
    # Kind of outcome; normal ones have variance 1 within clusters.
    outcome: Literal["binary", "normal"] = "binary"
    n_clusters: int = 0  # Clusters over which all waves' units are spread at random; 0 for none.
    # Standard deviation of the cluster's effect: on the log odds, or on the mean.
    cluster_sd: float = 0.0

    def __post_init__(self) -> None:
        if self.n_waves < 1 or self.n_units < self.n_waves * len(self.means):
            raise InputError(
                f"found {self.n_units} units in {self.n_waves} waves for {len(self.means)} arms; "
                "needed one unit an arm and wave at least"
            )


@dataclass(frozen=True, eq=False)
class AdaptiveData:
    """What an adaptive experiment left behind."""

    outcome: FloatArray  # (n_units,)
    # arm, wave, cluster: (n_units,): Codes from 0; clusters are the units themselves where there
    # are none.
    arm: IntArray
    wave: IntArray
    cluster: IntArray
    propensities: FloatArray  # (n_units, n_arms): Probability of every arm.
    truth: FloatArray  # (n_arms,): Mean outcome of each arm over all clusters.

    @property
    def propensity(self) -> FloatArray:
        """Probability of the arm that was drawn, shape (n_units,)."""
        own: FloatArray = self.propensities[np.arange(self.arm.size), self.arm]
        return own


@dataclass(frozen=True, eq=False)
class ManyAdaptive:
    """What many runs of one design left behind."""

    outcome: FloatArray  # (n_runs, n_units)
    # arm, cluster: (n_runs, n_units)
    arm: IntArray
    cluster: IntArray
    wave: IntArray  # (n_units,): The same in all runs.
    share: FloatArray  # (n_runs, n_waves, n_arms): Probability of every arm in each wave.
    truth: FloatArray  # (n_arms,)

    def run(self, number: int) -> AdaptiveData:
        """One of the runs."""
        return AdaptiveData(
            self.outcome[number],
            self.arm[number],
            self.wave,
            self.cluster[number],
            self.share[number][self.wave],
            self.truth,
        )

    @property
    def propensity(self) -> FloatArray:
        """Probability of the arm that was drawn, shape (n_runs, n_units)."""
        runs = np.arange(self.arm.shape[0])[:, None]
        own: FloatArray = self.share[runs, self.wave, self.arm]
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
    return simulate_many(design, 1, rng).run(0)


def simulate_many(design: AdaptiveDesign, n_runs: int, rng: np.random.Generator) -> ManyAdaptive:
    """Runs of the experiment side by side, wave by wave: many times faster than one by one."""
    cluster = _clusters(design, n_runs, rng)
    n_effects = int(cluster.max()) + 1
    effect = rng.normal(0.0, design.cluster_sd or 0.0, (n_runs, n_effects))
    runs = np.arange(n_runs)[:, None]

    def outcomes(now: slice, arm: IntArray) -> FloatArray:
        return _outcomes(design, arm, effect[runs, cluster[:, now]], rng)

    arm, outcome, share = _run(design, n_runs, outcomes, rng)
    truth = marginal_means(design)
    return ManyAdaptive(outcome, arm, cluster, _waves(design), share, truth)


def assign_again(
    design: AdaptiveDesign, outcomes: FloatArray, rng: np.random.Generator
) -> IntArray:
    """Arms of all units drawn anew, later waves' shares following given outcomes, (n_units,)."""
    units = np.arange(design.n_units)

    def given(now: slice, arm: IntArray) -> FloatArray:
        return np.asarray(outcomes[units[now], arm[0]], dtype=np.float64)[None]

    return np.asarray(_run(design, 1, given, rng)[0][0])


def _run(
    design: AdaptiveDesign,
    n_runs: int,
    outcomes: Callable[[slice, IntArray], FloatArray],
    rng: np.random.Generator,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Arms and outcomes, (n_runs, n_units), and shares, (n_runs, n_waves, n_arms)."""
    n_arms = len(design.means)
    ends = np.searchsorted(_waves(design), np.arange(design.n_waves + 1))
    arm = np.empty((n_runs, design.n_units), dtype=np.int64)
    outcome = np.empty((n_runs, design.n_units))
    share = np.empty((n_runs, design.n_waves, n_arms))
    n, total = np.zeros((n_runs, n_arms)), np.zeros((n_runs, n_arms))
    for w in range(design.n_waves):
        now = slice(int(ends[w]), int(ends[w + 1]))
        share[:, w] = _shares(design, n, total, rng)
        arm[:, now] = _draw(share[:, w], now.stop - now.start, rng)
        outcome[:, now] = outcomes(now, arm[:, now])
        cell = (arm[:, now] + n_arms * np.arange(n_runs)[:, None]).ravel()
        n += np.bincount(cell, minlength=n.size).reshape(n.shape)
        total += np.bincount(cell, outcome[:, now].ravel(), n.size).reshape(n.shape)
    return arm, outcome, share


def _waves(design: AdaptiveDesign) -> IntArray:
    return np.arange(design.n_units, dtype=np.int64) * design.n_waves // design.n_units


def _clusters(design: AdaptiveDesign, n_runs: int, rng: np.random.Generator) -> IntArray:
    if design.n_clusters == 0:
        return np.broadcast_to(np.arange(design.n_units, dtype=np.int64), (n_runs, design.n_units))
    return np.asarray(rng.integers(0, design.n_clusters, (n_runs, design.n_units)))


def _shares(
    design: AdaptiveDesign, n: FloatArray, total: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Shares of the next wave from units and sums of outcomes so far, (n_runs, n_arms)."""
    n_arms = n.shape[1]
    if not n.any() or design.rule == "equal":
        return np.full(n.shape, 1 / n_arms)
    size = (n.shape[0], _N_DRAWS, n_arms)
    if design.outcome == "binary":
        draws = rng.beta((_PRIOR + total)[:, None], (_PRIOR + n - total)[:, None], size=size)
    else:
        draws = (total / np.maximum(n, 1))[:, None] + rng.normal(size=size) / np.sqrt(
            np.maximum(n, 0.1)
        )[:, None]
    first = draws.argmax(axis=2)
    best = np.stack([(first == k).sum(axis=1) for k in range(n_arms)], axis=1) / _N_DRAWS
    sure = best.max(axis=1) == 1.0  # exploration sampling needs a rival
    best[sure] = (best[sure] + 1 / _N_DRAWS) / (1 + n_arms / _N_DRAWS)
    rule = rule_named(design.rule)
    return shares_of_many(best, rule, 0.0, floor=design.floor)[:, :n_arms]


def _draw(share: FloatArray, n_units: int, rng: np.random.Generator) -> IntArray:
    """Arms of a wave: counts within one of their expectation, by systematic sampling."""
    points = (np.arange(n_units) + rng.random((share.shape[0], 1))) / n_units
    ends = np.cumsum(share, axis=1)[:, :-1]
    arms = np.zeros(points.shape, dtype=np.int64)
    for end in ends.T:
        arms += points >= end[:, None]
    return np.asarray(rng.permuted(arms, axis=1))


def _outcomes(
    design: AdaptiveDesign, arm: IntArray, effect: FloatArray, rng: np.random.Generator
) -> FloatArray:
    means = np.asarray(design.means, dtype=np.float64)
    if design.outcome == "normal":
        return np.asarray(means[arm] + effect + rng.normal(size=arm.shape))
    odds = np.log(means / (1 - means))[arm] + effect
    return (rng.random(arm.shape) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def marginal_means(design: AdaptiveDesign) -> FloatArray:
    """Mean outcome of each arm over all clusters, shape (n_arms,)."""
    means = np.asarray(design.means, dtype=np.float64)
    if design.outcome == "normal" or not design.n_clusters or design.cluster_sd == 0:
        return means
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    odds = np.log(means / (1 - means))[:, None] + design.cluster_sd * nodes
    return np.asarray((1 / (1 + np.exp(-odds))) @ weights / weights.sum())
