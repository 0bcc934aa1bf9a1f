"""Slow second implementations: adaptive quadrature a cluster, a dense grid over the parameters."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, special, stats

from wavewise.estimate.binomial.data import collapse, read_rows, to_cells
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.overdispersed import OverdispersedPosterior, _tally
from wavewise.estimate.binomial.posterior import LogPosterior
from wavewise.estimate.binomial.priors import BinomialPrior, HalfNormal, Normal
from wavewise.estimate.binomial.success import over_new_clusters
from wavewise.estimate.numerics.importance import Peak, importance, split_t


def naive_cluster(log_lik):
    """Log of the integral of exp(log_lik(z)) times the standard normal density."""
    grid = np.linspace(-12, 12, 4001)
    top = max(log_lik(z) - 0.5 * z * z for z in grid)
    peak = grid[np.argmax([log_lik(z) - 0.5 * z * z for z in grid])]

    def integrand(z):
        return np.exp(log_lik(z) - 0.5 * z * z - top)

    points = [peak - 1, peak - 0.1, peak, peak + 0.1, peak + 1]
    value = integrate.quad(integrand, -12, 12, points=points, limit=400, epsabs=1e-13)[0]
    return np.log(value) + top - 0.5 * np.log(2 * np.pi)


def naive_log_likelihood(successes, trials, point):
    beta, kappa = np.array(point[:-1]), np.exp(point[-1])

    def one(y, n):
        def log_lik(z):
            eta = beta + kappa * z
            return float(np.sum(y * eta - n * np.logaddexp(0, eta)))

        return naive_cluster(log_lik)

    return sum(one(y, n) for y, n in zip(successes, trials, strict=True))


def some_cells(seed, n_clusters=6, n_arms=3, most=40):
    rng = np.random.default_rng(seed)
    trials = rng.integers(0, most, (n_clusters, n_arms)).astype(float)
    return np.floor(trials * rng.beta(2, 6, trials.shape)), trials


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kappa", [0.02, 0.5, 3.5])
def test_log_likelihood_is_that_of_adaptive_quadrature(seed, kappa):
    successes, trials = some_cells(seed)
    point = np.array([-1.0, -2.0, -0.5, np.log(kappa)])
    posterior = LogPosterior.of(collapse(successes, trials), BinomialPrior(), 9.0).finer()
    ours = posterior.values(point[None, :])[0] - posterior.prior.log_density(point[None, :])[0]
    assert ours == pytest.approx(naive_log_likelihood(successes, trials, point), abs=2e-6)


def test_a_very_large_cluster_beside_empty_ones():
    successes, trials = np.zeros((8, 2)), np.full((8, 2), 4.0)
    successes[0], trials[0] = [80, 83], [340, 362]
    point = np.array([-4.0, -4.2, np.log(1.7)])
    posterior = LogPosterior.of(collapse(successes, trials), BinomialPrior(), 9.0).finer()
    ours = posterior.values(point[None, :])[0] - posterior.prior.log_density(point[None, :])[0]
    assert ours == pytest.approx(naive_log_likelihood(successes, trials, point), abs=2e-6)


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("size", [1, 20])
def test_far_from_the_mode_no_term_is_cut(is_single, size):
    """Arms far apart move likelihood from cluster to cluster by more than exp can hold."""
    successes = size * np.array([[10.0, 0], [10, 1], [10, 3], [10, 6], [10, 7], [10, 2]])
    trials = np.full((6, 2), size * 10.0)
    points = np.array([[34.1, 1.1, 0.95], [2.0, -12.0, 0.5], [-20.0, 14.0, -4.0]])
    posterior = LogPosterior.of(collapse(successes, trials), BinomialPrior(), 9.0).finer()
    posterior = replace(posterior, is_single=is_single)
    ours = posterior.values(points) - posterior.prior.log_density(points)
    naive = [naive_log_likelihood(successes, trials, point) for point in points]
    assert ours == pytest.approx(naive, rel=1e-6)


@pytest.mark.parametrize("kappa", [0.05, 0.6, 2.5])
def test_derivatives_are_the_slopes_of_the_values(kappa):
    successes, trials = some_cells(1)
    prior = BinomialPrior(Normal(3), HalfNormal(2))
    posterior = LogPosterior.of(collapse(successes, trials), prior, 9.0).finer()
    point = np.array([-1.0, -2.0, -0.5, np.log(kappa)])
    slopes = posterior.slopes(point)
    step = 1e-4
    steps = np.eye(4) * step
    up, down = posterior.values(point + steps), posterior.values(point - steps)
    assert slopes.grad == pytest.approx((up - down) / (2 * step), abs=2e-3)
    for j in range(4):
        change = posterior.slopes(point + steps[j]).grad - posterior.slopes(point - steps[j]).grad
        assert slopes.hess[j] == pytest.approx(change / (2 * step), abs=1e-3)
    assert slopes.value == pytest.approx(posterior.values(point[None, :])[0], abs=1e-4)


def test_beta_binomial_likelihood_is_scipys():
    rng = np.random.default_rng(3)
    arm, cluster = rng.integers(0, 2, 40), rng.integers(0, 5, 40)
    trials = rng.integers(2, 10, 40)
    successes = rng.binomial(trials, 0.3)
    rows = read_rows(successes, trials, arm, cluster)
    cells = to_cells(rows)
    prior = BinomialPrior()
    plain = LogPosterior.of(collapse(cells.successes, cells.trials), prior, 9.0)
    kinds, tally = _tally(rows, cells)
    ours = OverdispersedPosterior(
        plain.counts, prior, plain.span, plain.reference, 0.5, kinds, tally
    )
    points = np.array([[-1.0, -0.5, np.log(0.7), -1.0], [-0.8, -0.9, np.log(0.3), 0.5]])

    def naive(point):
        phi = np.exp(-point[3])

        def one(c):
            inside = cluster == c

            def log_lik(z):
                theta = special.expit(point[arm[inside]] + np.exp(point[2]) * z)
                a, b = theta * phi, (1 - theta) * phi
                return stats.betabinom.logpmf(successes[inside], trials[inside], a, b).sum()

            return naive_cluster(log_lik)

        return sum(one(c) for c in range(5))

    on_rho = np.log(special.expit(points[:, 3]) * special.expit(-points[:, 3]))
    values = ours.values(points) - prior.log_density(points[:, :-1]) - on_rho
    # binomial coefficients are constants
    assert values[1] - values[0] == pytest.approx(naive(points[1]) - naive(points[0]), abs=1e-5)


@pytest.mark.parametrize("kappa", [0.01, 0.5, 3.0, 12.0])
def test_success_probability_of_new_clusters(kappa):
    points = np.array([[-2.6, 0.4, 3.0, np.log(kappa)]])

    def exact(b):
        return integrate.quad(
            lambda z: special.expit(b + kappa * z) * stats.norm.pdf(z),
            -12,
            12,
            points=[-b / kappa] if abs(b / kappa) < 12 else None,
            limit=400,
        )[0]

    wanted = [exact(b) for b in points[0, :3]]
    assert over_new_clusters(points)[0] == pytest.approx(wanted, abs=1e-6)


def test_posterior_is_that_of_a_dense_grid():
    successes = np.array([[3, 6], [1, 4], [6, 9], [0, 3]], dtype=float)
    trials = np.array([[12, 14], [10, 9], [11, 12], [8, 10]], dtype=float)
    posterior = LogPosterior.of(collapse(successes, trials), BinomialPrior(), 8.0)
    beta = np.linspace(-7, 5, 121)
    log_kappa = np.linspace(-9, 1.7, 90)
    grid = np.stack(np.meshgrid(beta, beta, log_kappa, indexing="ij"), axis=-1).reshape(-1, 3)
    values = posterior.values(grid)
    weight = np.exp(values - values.max())
    weight /= weight.sum()
    mean = weight @ grid
    best = weight @ (grid[:, 1] > grid[:, 0]) + 0.5 * weight @ (grid[:, 1] == grid[:, 0])

    cluster, arm = np.repeat(np.arange(4), 2), np.tile(["a", "b"], 4)
    post = hierarchical_binomial(
        successes.ravel(),
        trials.ravel(),
        arm,
        cluster,
        rng=np.random.default_rng(0),
        n_draws=32768,
    )
    assert post.mean == pytest.approx(mean[:2], abs=0.01)
    assert post.sd == pytest.approx(np.sqrt(weight @ (grid[:, :2] - mean[:2]) ** 2), rel=0.01)
    assert post.prob_optimal[1] == pytest.approx(best, abs=0.003)
    assert post.kappa_mean == pytest.approx(weight @ np.exp(grid[:, 2]), rel=0.01)


def test_a_point_of_infinite_density_is_left_out_and_counted():
    peak = Peak(np.zeros(2), 0.0, np.eye(2))

    def log_density(x):
        return np.where(np.arange(len(x)) == 3, np.inf, -0.5 * (x**2).sum(axis=1))

    proposal = split_t(log_density, peak)
    found = importance(log_density, proposal, np.random.default_rng(1).random((500, 2)))
    assert found.usable
    assert found.n_broken == 1
    assert found.weights[3] == 0
    assert found.weights.sum() == pytest.approx(1)
