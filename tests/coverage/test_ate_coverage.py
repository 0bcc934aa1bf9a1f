"""How often intervals hold the truth, with bounds from the binomial error of the simulation."""

import numpy as np
import pytest

from wavewise.estimate.effects.ate import ate

LEVEL = 0.9


def within(hits, slack=0.0, sd=4.0):
    """Coverage within `sd` binomial standard errors of the level, `slack` below allowed."""
    rate, n = np.mean(hits), len(hits)
    error = sd * np.sqrt(LEVEL * (1 - LEVEL) / n)
    assert LEVEL - slack - error <= rate <= LEVEL + slack + error, f"{rate:.4f} of {n}"


def holds(result, truth):
    conf = result.conf_int()
    return (conf[:, 0] <= truth) & (truth <= conf[:, 1])


def few_units(rng):
    """7 treated with three times the spread, 30 controls."""
    arm = np.repeat(["control", "a"], [30, 7])
    y = rng.normal(size=37) * np.where(arm == "a", 3, 1)
    return holds(ate(y, arm, level=LEVEL), 0)[0]


def equal_units(rng):
    """Two arms of 8, equal spread: the interval is Student's, exactly."""
    arm = np.repeat(["control", "a"], 8)
    return holds(ate(rng.normal(size=16), arm, level=LEVEL), 0)[0]


def small_strata(rng):
    """30 strata of 4 with one treated: effects within strata, HC2 leverages hold the strata."""
    strata = np.repeat(np.arange(30), 4)
    arm = np.tile(["a", "control", "control", "control"], 30)
    y = rng.normal(size=120) + 3 * rng.normal(size=30)[strata]
    return holds(ate(y, arm, strata=strata, level=LEVEL), 0)[0]


def few_clusters(rng):
    """6 of 14 clusters treated, of 2 to 12 units, strong correlation within."""
    size = rng.integers(2, 13, 14)
    cluster = np.repeat(np.arange(14), size)
    arm = np.where(cluster < 6, "a", "control")
    y = rng.normal(size=cluster.size) + rng.normal(size=14)[cluster]
    return holds(ate(y, arm, cluster=cluster, level=LEVEL), 0)[0]


def equal_clusters(rng):
    """10 clusters of 5, half treated: the interval is Student's on cluster means, exactly."""
    cluster = np.repeat(np.arange(10), 5)
    arm = np.where(cluster < 5, "a", "control")
    y = rng.normal(size=50) + rng.normal(size=10)[cluster]
    return holds(ate(y, arm, cluster=cluster, level=LEVEL), 0)[0]


def clusters_in_strata(rng):
    """Households of 1 to 3 within 8 strata, randomized within strata."""
    cluster = np.repeat(np.arange(64), rng.integers(1, 4, 64))
    strata = cluster // 8
    arm = np.where(rng.permuted(np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)), axis=1).ravel() == 1,
                   "a", "control")[cluster]  # fmt: skip
    y = rng.normal(size=cluster.size) + rng.normal(size=64)[cluster] + rng.normal(size=8)[strata]
    return holds(ate(y, arm, strata=strata, cluster=cluster, level=LEVEL), 0)[0]


def lin_adjustment(rng):
    """A covariate whose slope differs by arm; the truth is the effect at the population mean."""
    n = 80
    x, arm = rng.normal(size=n), rng.permutation(np.repeat(["control", "a"], n // 2))
    y = rng.normal(size=n) + np.where(arm == "a", 1.0, 0.5) * (x - x.mean())
    return holds(ate(y, arm, covariates=x, level=LEVEL), 0)[0]


def joint(rng):
    """Three arms beside a larger control: all max-t intervals at once."""
    arm = np.repeat(["control", *"abc"], [40, 15, 15, 15])
    result = ate(rng.normal(size=85), arm, level=LEVEL)
    conf = result.adjusted("max-t").conf
    return bool(((conf[:, 0] <= 0) & (conf[:, 1] >= 0)).all())


EXACT = {"equal units": equal_units, "equal clusters": equal_clusters}
# approximate in small samples: how far below or above the level the study lets them be
APPROXIMATE = {
    "few units": (few_units, 0.02),
    "small strata": (small_strata, 0.01),
    "few clusters": (few_clusters, 0.02),
    "clusters in strata": (clusters_in_strata, 0.015),
    "interacted covariate": (lin_adjustment, 0.015),
}


def study(draw, n, seed):
    streams = np.random.SeedSequence(seed).spawn(n)
    return [draw(np.random.default_rng(stream)) for stream in streams]


@pytest.mark.parametrize("name", EXACT)
def test_exact_intervals(name):
    within(study(EXACT[name], 500, 7))


@pytest.mark.parametrize("name", APPROXIMATE)
def test_small_samples(name):
    draw, slack = APPROXIMATE[name]
    within(study(draw, 400, 8), slack)


@pytest.mark.full
def test_joint_intervals():
    within(study(joint, 120, 9), 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_exact_intervals_at_length(name):
    within(study(EXACT[name], 8000, 17), sd=3.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPROXIMATE)
def test_small_samples_at_length(name):
    draw, slack = APPROXIMATE[name]
    within(study(draw, 6000, 18), slack, sd=3.5)


@pytest.mark.slow
def test_joint_intervals_at_length():
    within(study(joint, 1500, 19), 0.01, sd=3.5)
