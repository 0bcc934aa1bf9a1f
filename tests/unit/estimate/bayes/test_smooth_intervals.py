"""Interval ends from a smoothed quantile function: close to the truth, and to each other."""

import numpy as np
import pytest
from scipy import stats

from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.bayes.draws import smooth_interval

NORMAL = np.array([-1.959964, 1.959964])


@pytest.mark.parametrize("kind", ["hpd", "equal-tailed"])
def test_ends_of_normal_draws(kind):
    """Root mean squared error of plain ends of highest density is .11."""
    rng = np.random.default_rng(1)
    off = [smooth_interval(rng.normal(size=1024), 0.95, kind) - NORMAL for _ in range(200)]
    assert np.sqrt(np.mean(np.square(off))) < 0.08
    assert np.abs(np.mean(off, axis=0)).max() < 0.025
    plain = [arm_draws.highest_density(rng.normal(size=1024), 0.95) - NORMAL for _ in range(200)]
    assert np.sqrt(np.mean(np.square(plain))) > 0.08


@pytest.mark.parametrize("kind", ["hpd", "equal-tailed"])
@pytest.mark.parametrize("prob", [0.5, 0.8, 0.95, 0.99])
def test_ends_of_skewed_and_heavy_distributions(kind, prob):
    """Against the exact ends, from a million quantiles: bias of the polynomial alone."""
    grid = (np.arange(200_000) + 0.5) / 200_000
    for law in (stats.gamma(4), stats.t(5), stats.beta(3, 40), stats.lognorm(0.4)):
        x = law.ppf(grid)
        found = smooth_interval(x, prob, kind)
        plain = arm_draws.highest_density if kind == "hpd" else arm_draws.equal_tailed
        assert np.allclose(found, plain(x, prob), atol=0.04 * law.std())
        assert law.cdf(found[1]) - law.cdf(found[0]) == pytest.approx(prob, abs=0.004)


def test_a_reference_takes_the_noise_of_the_draws_away():
    """Weights that are nearly equal: ends are those of the reference, moved by the weights."""
    reference = stats.norm.ppf((np.arange(16384) + 0.5) / 16384)
    ends = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=1024)
        weights = np.exp(0.1 * x)  # moves the mean by .1
        ends.append(smooth_interval(x, 0.95, "equal-tailed", weights, reference))
    assert np.abs(np.mean(ends, axis=0) - NORMAL - 0.1).max() < 0.02
    assert np.std(ends, axis=0).max() < 0.02


def test_few_draws_and_wide_intervals_end_at_draws():
    rng = np.random.default_rng(2)
    few, many = rng.normal(size=100), rng.normal(size=2000)
    assert np.isin(smooth_interval(few, 0.9, "hpd"), few).all()
    assert np.isin(smooth_interval(many, 0.999, "hpd"), many).all()
    ties = rng.integers(0, 5, 2000).astype(float)
    assert np.isin(smooth_interval(ties, 0.9, "hpd"), ties).all()


def test_location_and_scale():
    x = np.random.default_rng(3).gamma(3, size=1500)
    for kind in ("hpd", "equal-tailed"):
        ours = smooth_interval(x, 0.9, kind)
        assert np.allclose(smooth_interval(5 + 100 * x, 0.9, kind), 5 + 100 * ours)
