"""Densities of draws, against the law that the draws are from."""

import numpy as np
import pytest
from scipy import integrate, stats

from wavewise.errors import InputError
from wavewise.estimate.bayes.draws import density_of_draws


def test_density_is_that_of_the_law() -> None:
    draws = np.random.default_rng(1).normal([-2.0, 5.0], [0.1, 3.0], (40_000, 2))
    grid, density = density_of_draws(draws)
    for k, law in enumerate((stats.norm(-2, 0.1), stats.norm(5, 3))):
        error = np.abs(density[:, k] - law.pdf(grid[:, k])).max() / law.pdf(law.mean())
        assert error < 0.05
        assert integrate.trapezoid(density[:, k], grid[:, k]) == pytest.approx(1, abs=0.003)


def test_weights_count_as_repeated_draws() -> None:
    rng = np.random.default_rng(2)
    draws, weights = rng.normal(size=(500, 1)), rng.integers(1, 4, 500).astype(float)
    grid, density = density_of_draws(draws, weights)
    # an independent estimate at the same bandwidth, from the weighted sum itself
    w = weights / weights.sum()
    h = density_bandwidth(draws[:, 0], w)
    direct = [(w * stats.norm.pdf((x - draws[:, 0]) / h)).sum() / h for x in grid[:, 0]]
    assert np.allclose(density[:, 0], direct, rtol=1e-9)


def density_bandwidth(x: np.ndarray, w: np.ndarray) -> float:
    order = np.argsort(x)
    position = np.cumsum(w[order]) - w[order] / 2
    q1, q3 = np.interp([0.25, 0.75], position, x[order])
    sd = np.sqrt(w @ (x - w @ x) ** 2)
    return 0.9 * min(sd, (q3 - q1) / 1.349) * (w @ w) ** 0.2


@pytest.mark.parametrize("draws", [np.ones((5, 1)), np.ones((1, 2)), np.ones(5)])
def test_no_density_is_refused(draws: np.ndarray) -> None:
    with pytest.raises(InputError, match="draws"):
        density_of_draws(draws)
