"""False alarms of the quality checks are as rare as they say, where nothing is wrong."""

import numpy as np
import pytest

from wavewise.evaluate import checks

N, ALPHA = 400, 0.05


def missing(r):
    arm = r.permutation(np.repeat(["a", "b", "c"], [60, 40, 20]))
    return checks.missing_outcomes(np.where(r.random(120) < 0.3, np.nan, 1.0), arm, size=ALPHA)


def late(r):
    y, arm = r.exponential(30, 300), r.choice(["a", "b"], 300)
    return checks.late_deliveries(y, arm, r.random(300) < 0.2, size=ALPHA)


def drift(r):
    wave = np.repeat([1, 2, 3], 60)
    return checks.control_drift(r.exponential(size=180), ["control"] * 180, wave, size=ALPHA)


def dose(r):
    arm = r.permutation(np.repeat(["a", "b", "c"], 50))
    return checks.dose_by_arm(r.binomial(9, 0.7, 150), np.full(150, 9), arm, size=ALPHA)


def clusters(r):
    school = np.repeat(np.arange(30), 12)
    y = (r.normal(45, 15, 360) + 6 * r.normal(size=30)[school]).round()
    return checks.implausible_clusters(y, school, size=ALPHA)


def heaping(r):
    return checks.heaping(r.normal(60, 20, 400).round(), size=ALPHA)


@pytest.mark.parametrize(
    ("check", "slack"),
    # drift: Wald with 180 skewed outcomes; clusters: three signs, robust spread of 30 means
    [(missing, 0.0), (late, 0.0), (drift, 0.03), (dose, 0.0), (clusters, 0.15), (heaping, 0.0)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_false_alarms(check, slack):
    alarms = np.mean([check(r).passed is False for r in np.random.default_rng(40).spawn(N)])
    assert alarms <= ALPHA + slack + 4 * np.sqrt(ALPHA * (1 - ALPHA) / N), alarms
