"""Parts of the sampler on targets whose answer is known."""

import numpy as np
import pytest

from wavewise.errors import EstimationError
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.posterior import Diagnostics, fit_sds
from wavewise.estimate.numerics.importance import (
    find_peak,
    importance,
    pareto_k,
    quasi_random,
    split_t,
    systematic,
)
from wavewise.estimate.numerics.slice_sampler import kernels, slice_sample


def log_gammas(x):
    """Three independent log-gamma numbers, skewed to the left: shapes 1, 3 and 20."""
    return (x * [1.0, 3.0, 20.0] - np.exp(x)).sum(axis=1)


MEANS = [-0.57721566, 0.92278434, 2.97052399]  # digamma of 1, 3, 20
VARIANCES = [1.64493407, 0.39493407, 0.05127082]  # trigamma


def test_peak_of_log_gammas():
    peak = find_peak(log_gammas, np.array([3.0, -4.0, 0.0]))
    np.testing.assert_allclose(peak.mode, np.log([1, 3, 20]), atol=1e-3)
    np.testing.assert_allclose(peak.root @ peak.root.T, np.diag([1, 1 / 3, 1 / 20]), atol=1e-3)


def test_a_density_that_rises_without_end_has_no_peak():
    with pytest.raises(EstimationError, match="no peak"):
        find_peak(lambda x: x[:, 0], np.zeros(1))


def test_importance_sampling_of_log_gammas():
    rng = np.random.default_rng(2)
    proposal = split_t(log_gammas, find_peak(log_gammas, np.zeros(3)))
    found = importance(log_gammas, proposal, quasi_random(8192, 3, rng))
    mean = found.weights @ found.x
    np.testing.assert_allclose(mean, MEANS, atol=0.01)
    np.testing.assert_allclose(found.weights @ (found.x - mean) ** 2, VARIANCES, rtol=0.02)
    assert found.ess_share > 0.5
    assert found.pareto_k < 0.5
    assert found.n_broken == 0


def test_kernels_follow_a_bent_target():
    """A banana: x0 ~ N(0, 1), x1 | x0 ~ N(x0^2, 0.3), so that E[x1] = 1 and var[x1] = 2.09."""

    def bent(x):
        return -0.5 * x[:, 0] ** 2 - 0.5 * ((x[:, 1] - x[:, 0] ** 2) / 0.3) ** 2

    proposal = split_t(bent, find_peak(bent, np.array([0.1, 0.1])))
    rng = np.random.default_rng(6)
    found = importance(bent, proposal, quasi_random(2048, 2, rng))
    for _ in range(2):
        mixture = kernels(found.x[systematic(found.weights, 128, rng)], found.covariance_root())
        found = importance(bent, mixture, quasi_random(8192, 2, rng))
    mean = found.weights @ found.x
    np.testing.assert_allclose(mean, [0, 1], atol=0.06)
    np.testing.assert_allclose(found.weights @ (found.x - mean) ** 2, [1, 2.09], rtol=0.2)
    assert found.pareto_k < 0.7
    assert found.ess_share > 0.1


def test_slice_sampling_of_log_gammas():
    rng = np.random.default_rng(2)
    proposal = split_t(log_gammas, find_peak(log_gammas, np.zeros(3)))
    chains = slice_sample(log_gammas, proposal, n_chains=64, n_warm=30, n_kept=300, rng=rng)
    assert chains.split_r_hat < 1.02
    error = np.sqrt(np.array(VARIANCES) / chains.ess)
    assert (np.abs(chains.draws.mean(axis=0) - MEANS) < 4 * error).all()
    np.testing.assert_allclose(chains.draws.var(axis=0), VARIANCES, rtol=0.1)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_pareto_weights(k):
    """Weights that are Pareto with shape k give k, drawn a little to 0.5."""
    u = np.random.default_rng(4).random(200_000)
    assert pareto_k(-k * np.log(u)) == pytest.approx(k, abs=0.06)


def test_pareto_k_without_a_tail():
    assert pareto_k(np.zeros(1000)) == float("-inf")
    assert pareto_k(np.full(1000, -np.inf)) == float("inf")


def test_quasi_random_points_are_even():
    u = quasi_random(2048, 4, np.random.default_rng(1))
    assert ((u > 0) & (u < 1)).all()
    # far below the 1 / sqrt(12 n) = 0.0064 of independent points
    assert np.abs(u.mean(axis=0) - 0.5).max() < 0.001


def test_systematic_counts_are_within_one():
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.ones(50))
    counts = np.bincount(systematic(weights, 1000, rng), minlength=50)
    assert counts.sum() == 1000
    assert (np.abs(counts - 1000 * weights) < 1).all()


class Target:
    """Stands for the posterior of the sds, with any density of the coordinates."""

    def __init__(self, log_density):
        self.log_density = log_density
        self.variants = (self,)

    def sds(self, x):
        return np.exp(np.asarray(x) / 100)

    def coordinates(self, sds):
        return np.full((1, 4), 0.1)


def broken_beyond(x):
    return np.where(x[:, 0] > 1.5, np.nan, -0.5 * (x**2).sum(axis=1))


def heavy_tails(x):
    return -0.75 * np.log1p(x**2).sum(axis=1)


def test_gates_name_what_failed():
    bad = Diagnostics("importance", 2048, ess=10.0, ess_share=0.005, pareto_k=0.9, n_broken=3)
    text = " ".join(bad.faults())
    for gate in ("finite values", "effective sample size", "Pareto k"):
        assert gate in text


def test_broken_arithmetic_is_refused_or_goes_around():
    rng = np.random.default_rng(1)
    with pytest.raises(EstimationError, match="finite values"):
        fit_sds(Target(broken_beyond), 2000, "importance", rng)
    fit = fit_sds(Target(broken_beyond), 2000, "auto", rng)
    assert fit.diagnostics.method == "slice"
    assert "finite values" in fit.diagnostics.failed[0]
    assert fit.index.size == 2000


def test_tails_too_heavy_are_refused_by_name():
    with pytest.raises(EstimationError, match="Pareto k"):
        fit_sds(Target(heavy_tails), 2000, "importance", np.random.default_rng(1))
    with pytest.raises(EstimationError, match="split R-hat"):
        fit_sds(Target(heavy_tails), 2000, "auto", np.random.default_rng(1))


def test_slices_agree_with_importance_sampling():
    from normal_panels import Shape, simulate

    rows = simulate(Shape(60, 10, effects=(3.0, 5.0), seed=8))
    one = hierarchical_normal(**rows, rng=np.random.default_rng(1), n_draws=16000)
    two = hierarchical_normal(**rows, rng=np.random.default_rng(2), n_draws=16000, method="slice")
    assert two.diagnostics.method == "slice"
    assert two.diagnostics.split_r_hat < 1.02
    for name in ("cluster_sd_draws", "unit_sd_draws", "noise_sd_draws", "period_sd_draws"):
        a, b = getattr(one, name), getattr(two, name)
        assert abs(a.mean() - b.mean()) < 5 * a.std() / np.sqrt(1300)
        assert a.std() == pytest.approx(b.std(), rel=0.15)
    assert (np.abs(one.mean - two.mean) < 5 * one.sd / np.sqrt(8000)).all()
