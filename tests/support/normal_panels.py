"""Simulated panels of scores, for tests of the hierarchical normal model."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Size and truth of a simulated panel; sds are of clusters, units, noise and periods."""

    n_units: int = 300
    n_clusters: int = 20
    n_periods: int = 3
    effects: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    sds: tuple[float, float, float, float] = (9.0, 20.0, 9.0, 2.0)
    missing: float = 0.1
    control_share: float = 0.2
    seed: int = 0
    balanced: bool = False
    decimals: int = 2


def simulate(shape: Shape) -> dict[str, Any]:
    """Rows of a panel: score (rounded), unit, cluster, period, arm; two waves start late."""
    rng = np.random.default_rng(shape.seed)
    kappa, phi, sigma, rho = shape.sds
    n, n_arms = shape.n_units, len(shape.effects)
    cluster = np.arange(n) % shape.n_clusters
    if not shape.balanced:
        # sizes from few to many, every cluster at least once where there are units enough
        spread = np.sort(rng.integers(0, shape.n_clusters, n) * rng.integers(0, 2, n))
        cluster = np.where(np.arange(n) < shape.n_clusters, cluster, spread)
    share = np.r_[shape.control_share, np.full(n_arms, (1 - shape.control_share) / n_arms)]
    arm = rng.choice(n_arms + 1, n, p=share)
    start = np.minimum(rng.integers(1, 3, n), shape.n_periods - 1)
    base = 46 + phi * rng.normal(size=n) + (kappa * rng.normal(size=shape.n_clusters))[cluster]
    period = rho * rng.normal(size=shape.n_periods)
    t = np.repeat(np.arange(shape.n_periods), n)
    unit = np.tile(np.arange(n), shape.n_periods)
    experienced = np.where(t >= start[unit], arm[unit], 0)
    score = base[unit] + np.r_[0.0, shape.effects][experienced] + period[t]
    score = score + sigma * rng.normal(size=t.size)
    score = np.where(rng.random(t.size) < shape.missing, np.nan, np.round(score, shape.decimals))
    names = np.array(["control", *(f"T{k + 1}" for k in range(n_arms))])
    return {
        "score": score,
        "unit": unit,
        "cluster": cluster[unit],
        "period": t,
        "arm": names[experienced],
    }


# the data sets of the long reference runs
REFERENCE = {
    "plain": Shape(),
    "balanced, complete": Shape(balanced=True, missing=0.0, seed=1),
    "half missing": Shape(missing=0.5, seed=2),
    "six arms, 60 clusters": Shape(400, 60, effects=(0.9, 1.7, 0.9, 1.8, 1.9, 1.8), seed=3),
    "two periods": Shape(n_periods=2, seed=4),
    "eight periods, long panel": Shape(80, 10, 8, effects=(1.0, 3.0), missing=0.3, seed=5),
    "no cluster effect": Shape(sds=(0.0, 20.0, 9.0, 2.0), seed=6),
    "no unit effect": Shape(sds=(9.0, 0.0, 9.0, 0.0), balanced=True, seed=7),
    "three clusters": Shape(120, 3, effects=(2.0, 4.0), seed=8),
    "each unit its own cluster": Shape(150, 150, effects=(2.0, 2.5), balanced=True, seed=9),
    "one period": Shape(300, 20, 1, effects=(1.0, 4.0, 5.0), missing=0.0, seed=10),
    "twenty units": Shape(20, 5, 3, effects=(8.0,), missing=0.2, control_share=0.5, seed=11),
}
