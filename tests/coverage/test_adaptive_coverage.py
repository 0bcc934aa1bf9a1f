"""How often adaptive intervals hold the truth where plain means do not."""

import numpy as np
import pytest

from wavewise.estimate.adaptive.aipw import adaptive_aipw
from wavewise.estimate.adaptive.batched_ols import batched_ols
from wavewise.estimate.adaptive.weighted_m import weighted_m
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

LEVEL = 0.9


def rates(design, n, seed):
    """Share of repetitions in which each estimator's interval of `1 - 0` holds the truth."""
    hits = {name: [] for name in ("plain", "weighted_m", "aipw", "batched")}
    for rng in np.random.default_rng(seed).spawn(n):
        d = simulate_adaptive_waves(design, rng)
        truth = d.truth[1] - d.truth[0]
        own = d.propensity
        found = {
            "plain": weighted_m(d.outcome, d.arm, own, stabilizer="none", level=LEVEL),
            "weighted_m": weighted_m(d.outcome, d.arm, own, level=LEVEL),
            "aipw": adaptive_aipw(d.outcome, d.arm, d.propensities, d.wave, level=LEVEL),
            "batched": batched_ols(d.outcome, d.arm, d.wave, level=LEVEL),
        }
        for name, table in found.items():
            low, high = table["1 - 0"].conf
            hits[name].append(low <= truth <= high)
    return {name: float(np.mean(part)) for name, part in hits.items()}


@pytest.mark.parametrize("means", [(0.0, 0.0), (0.0, 0.4)], ids=["no effect", "clear winner"])
def test_thompson_sampling_of_two_arms(means):
    """Ten waves of 60 with Thompson shares, least share .05: plain means are off, these hold."""
    n = 600
    design = AdaptiveDesign(np.array(means), 600, 10, "thompson", 0.05, "normal")
    found = rates(design, n, seed=21)
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    for name in ("weighted_m", "aipw", "batched"):
        assert abs(found[name] - LEVEL) < error, found
    if means == (0.0, 0.0):
        assert found["plain"] < LEVEL - 0.02, found


def test_batches_that_are_large_hold_without_propensities():
    n = 400
    design = AdaptiveDesign(np.zeros(2), 1500, 3, "thompson", 0.1, "normal")
    found = rates(design, n, seed=22)
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    assert abs(found["batched"] - LEVEL) < error, found


def arm_means_in_clusters(n_units, n, seed):
    """Share of repetitions, with and without clusters given, that hold each arm's mean."""
    design = AdaptiveDesign(
        np.array([0.3, 0.3, 0.38, 0.4]), n_units, 4, "thompson", 0.1, n_clusters=40, cluster_sd=0.5
    )
    hits = {True: [], False: []}
    for rng in np.random.default_rng(seed).spawn(n):
        d = simulate_adaptive_waves(design, rng)
        for clustered, held in hits.items():
            table = adaptive_aipw(
                d.outcome,
                d.arm,
                d.propensities,
                d.wave,
                cluster=d.cluster if clustered else None,
                level=LEVEL,
            )
            bounds = table.conf_int()[:4]
            held.append((bounds[:, 0] <= d.truth) & (d.truth <= bounds[:, 1]))
    return {clustered: float(np.mean(held)) for clustered, held in hits.items()}


def test_arm_means_of_aipw_need_their_clusters():
    """Units of 40 clusters in all four waves; four arms of one experiment are not independent."""
    n = 200
    found = arm_means_in_clusters(3000, n, seed=23)
    assert abs(found[True] - LEVEL) < 4 * np.sqrt(LEVEL * (1 - LEVEL) / n), found
    assert found[False] < LEVEL - 0.1, found
