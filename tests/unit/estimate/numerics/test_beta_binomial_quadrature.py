"""The rule, the halving of panels, and the panels' edges."""

import numpy as np
import pytest

from wavewise.errors import EstimationError
from wavewise.estimate.bayes.beta_best import EDGE_LEVELS, LogitBetas, best_of
from wavewise.estimate.numerics import quadrature
from wavewise.estimate.numerics.quadrature import (
    GAUSS_WEIGHTS,
    KRONROD_NODES,
    KRONROD_WEIGHTS,
    halves,
    integrate,
)


def test_the_rules_are_exact_for_polynomials():
    for degree in range(23):
        exact = 0.0 if degree % 2 else 2 / (degree + 1)
        assert KRONROD_WEIGHTS @ KRONROD_NODES**degree == pytest.approx(exact, abs=1e-15)
        if degree < 14:
            assert GAUSS_WEIGHTS @ KRONROD_NODES**degree == pytest.approx(exact, abs=1e-15)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    np.testing.assert_allclose(KRONROD_NODES[1::2], nodes, atol=1e-15)
    np.testing.assert_allclose(GAUSS_WEIGHTS[1::2], weights, atol=1e-15)
    assert not GAUSS_WEIGHTS[::2].any()


def test_panels_are_halved_until_a_step_is_found():
    def step(t):
        return np.column_stack([t > 0.3, np.exp(-((t - 0.7) ** 2) / 2e-8)])

    total = integrate(step, np.array([0.0, 0.69, 1.0]), 1e-9, np.zeros(2))
    assert total[0] == pytest.approx(0.7, abs=1e-8)
    assert total[1] == pytest.approx(np.sqrt(2 * np.pi) * 1e-4, rel=1e-9)


def test_panels_that_never_settle_are_an_error(monkeypatch):
    monkeypatch.setattr(quadrature, "MAX_HALVINGS", 5)
    with pytest.raises(EstimationError, match="1 panels did not settle in 5 halvings"):
        integrate(lambda t: 1.0 * (t[:, None] > 0.3), np.array([0.0, 1.0]), 1e-9, np.zeros(1))


def test_halves_cover_the_same_line():
    left, right = halves(np.array([0.0, 4.0]), np.array([2.0, 5.0]))
    assert sorted(zip(left, right, strict=True)) == [(0, 1), (1, 2), (4, 4.5), (4.5, 5)]


@pytest.mark.parametrize(
    ("a", "b"), [(0.001, 0.001), (0.5, 1e8), (1e8, 0.5), (1, 1), (3, 1e8), (5e7, 5e7), (0.01, 40)]
)
def test_edges_are_where_the_density_has_fallen(a, b):
    betas = LogitBetas(np.array([a], float), np.array([b], float))
    arm = np.zeros(1, dtype=int)
    edges = betas.edges[0]
    assert (np.diff(edges) > 0).all()
    fallen = betas.log_density(betas.mode, arm)[0] - betas.log_density(edges, arm)
    np.testing.assert_allclose(fallen, EDGE_LEVELS**2 / 2, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.001, 1e8), (1e8, 0.001), (0.02, 5.0), (0.3, 1e6)])
def test_very_skewed_densities_are_resolved(a, b):
    """On shared panels, whose sum `best_of` refuses beyond 1e-9 from 1."""
    log_prob = best_of(np.array([a, 2 * a]), np.array([b, b])).log_prob
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-12)
    best_of(np.array([a, b]), np.array([b, a]))


def test_slope_and_curvature_are_derivatives():
    betas = LogitBetas(np.array([3.0, 400.0]), np.array([7.0, 90.0]))
    arm, step = np.array([0, 1]), 1e-5
    t = np.array([0.3, 1.2])
    up, down = betas.log_density(t + step, arm), betas.log_density(t - step, arm)
    np.testing.assert_allclose(betas.slope(t, arm), (up - down) / (2 * step), rtol=1e-7)
    up, down = betas.slope(t + step, arm), betas.slope(t - step, arm)
    np.testing.assert_allclose(betas.curvature(t, arm), (up - down) / (2 * step), rtol=1e-7)


def test_both_tails_sum_to_one():
    betas = LogitBetas(np.array([3.0, 0.5, 1e6]), np.array([7.0, 0.5, 2e6]))
    t = np.linspace(-3, 3, 41)[:, None]
    arm = np.arange(3)
    total = np.exp(betas.log_cdf(t, arm)) + np.exp(betas.log_sf(t, arm))
    np.testing.assert_allclose(total, 1, rtol=1e-14)


def test_rare_and_common_panels_agree_where_both_can_see():
    """Probabilities on both sides of the threshold, as one arm moves away: no jump."""
    logs = [
        best_of(np.array([300.0, 300.0 - k]), np.array([700.0, 700.0 + k])).log_prob[1]
        for k in np.linspace(110, 150, 81)
    ]
    assert -40 < logs[-1] < np.log(1e-10) < logs[0]
    third = np.diff(logs, 3)
    assert np.abs(third).max() < 1e-4
