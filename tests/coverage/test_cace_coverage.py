"""How often intervals of the complier average causal effect hold it."""

import numpy as np
import pytest

from wavewise.estimate.effects.instruments import cace

LEVEL, TRUTH = 0.9, 0.8


def units(rng):
    """Strata of 40, reach that goes with the outcome, unequal spread."""
    strata = np.repeat(np.arange(10), 40)
    arm = np.where(np.tile(np.arange(40), 10) % 2, "a", "control")
    willing = rng.normal(size=400)
    reached = (arm == "a") * (willing > -0.2)
    y = willing + 0.2 * strata + reached * (TRUTH + rng.normal(size=400))
    return cace(y, arm, reached, strata=strata, level=LEVEL)


def clusters(rng):
    """60 clusters of 8, assigned whole, with a common part."""
    cluster = np.repeat(np.arange(60), 8)
    arm = np.where(cluster % 2, "a", "control")
    willing = rng.normal(size=480) + rng.normal(size=60)[cluster]
    reached = (arm == "a") * (willing > -0.5)
    return cace(willing + TRUTH * reached, arm, reached, cluster=cluster, level=LEVEL)


def few_clusters(rng):
    """3 of 12 clusters of 3 to 25 units treated; .05 of them are reached, or .6."""
    cluster = np.repeat(np.arange(12), np.linspace(3, 25, 12).astype(int))
    treated = rng.permutation(12) < 3
    willing = rng.normal(size=cluster.size)
    reached = treated[cluster] * (willing > rng.choice([-0.25, 1.6]))
    y = willing + rng.normal(size=12)[cluster] + TRUTH * reached
    if not reached.any():
        return None
    return cace(y, treated[cluster], reached, control=False, cluster=cluster, level=LEVEL)


def test_anderson_rubin_holds_with_few_clusters_and_weak_receipt() -> None:
    """At least the level: with three treated clusters degrees of freedom are cautious."""
    found = [few_clusters(rng) for rng in np.random.default_rng(2025).spawn(400)]
    held = [TRUTH in one.anderson_rubin()["True"] for one in found if one is not None]
    assert np.mean(held) > LEVEL - 3.5 * np.sqrt(LEVEL * (1 - LEVEL) / len(held))


@pytest.mark.parametrize("draw", [units, clusters])
@pytest.mark.parametrize(
    "n", [pytest.param(600, id="short"), pytest.param(20_000, marks=pytest.mark.slow, id="long")]
)
def test_intervals_hold_the_truth(draw, n) -> None:
    rng = np.random.default_rng(2024)
    hits = []
    for _ in range(n):
        low, high = draw(rng)["a"].conf
        hits.append(low <= TRUTH <= high)
    error = np.sqrt(LEVEL * (1 - LEVEL) / n)
    # The interval of a ratio is not exact: 1 point of slack besides the simulation's own error.
    assert abs(np.mean(hits) - LEVEL) < 0.01 + 3.5 * error
