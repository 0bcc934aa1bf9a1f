"""Coverage of the joint band of effects by period, and of what is left after messages."""

import numpy as np
import pytest
from scipy import stats

import wavewise as ww

EFFECT = np.array([0.5, 0.5, 0.3, 0.15, 0.0])


def _covered(n_runs: int, n: int, seed: int) -> np.ndarray:
    """Runs in which the joint band, all pointwise bands, and the ratio's set hold the truth."""
    hits = np.zeros(3, int)
    ratio = EFFECT[2:].mean() / EFFECT[:2].mean()
    for run in range(n_runs):
        rng = np.random.default_rng([seed, run])
        arm = np.resize(["control", "sms"], n)
        noise = rng.normal(size=(n, 1)) + rng.normal(size=(n, EFFECT.size))
        panel = noise * np.where(arm == "sms", 1.5, 1.0)[:, None]
        panel += EFFECT * (arm == "sms")[:, None]
        found = ww.estimate.persistence(panel, arm, n_during=2)
        for k, joint in enumerate((True, False)):
            low, high = found.conf_int(joint=joint)[0].T
            hits[k] += bool((low <= EFFECT).all() and (high >= EFFECT).all())
        hits[2] += ratio in found.kept("sms")
    return hits


def _within(hits: int, n_runs: int) -> bool:
    """Whether a count is what a coverage of .95 gives in all but one in a thousand studies."""
    low, high = stats.binom.interval(0.999, n_runs, 0.95)
    return bool(low <= hits <= high)


@pytest.mark.slow
def test_joint_bands_and_ratios_hold_their_level() -> None:
    joint, pointwise, kept = _covered(400, 120, 1)
    assert _within(joint, 400)
    assert pointwise < joint - 20  # each by itself does not hold for all
    assert _within(kept, 400)


def test_the_joint_width_is_the_quantile_of_the_largest_of_all_periods() -> None:
    rng = np.random.default_rng(5)
    panel = rng.normal(size=(60, 1)) + rng.normal(size=(60, 3))
    found = ww.estimate.persistence(panel, np.resize(["control", "sms"], 60))
    corr = found.cov[0] / np.outer(found.std_error[0], found.std_error[0])
    width = np.full(3, found.critical_value[0])
    law = stats.multivariate_t(shape=corr, df=round(found.df[0]), seed=1)
    assert law.cdf(width, lower_limit=-width) == pytest.approx(0.95, abs=2e-3)
