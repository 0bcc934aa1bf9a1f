"""Posterior densities on a grid, from draws."""

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate import arm_draws
from wavewise.results import FloatArray

__all__ = ["density_of_draws"]

_REACH = 3.5  # of bandwidths beyond the draws that are shown
_TAIL = 0.0005
_CHUNK = 4_000_000


def density_of_draws(
    draws: FloatArray, weights: FloatArray | None = None, n_points: int = 161
) -> tuple[FloatArray, FloatArray]:
    """Density of each arm's draws, on a grid of its own.

    Parameters
    ----------
    draws : (n_draws, n_arms) array of float
    weights : (n_draws,) array of float, optional
        By default the draws count alike.
    n_points : int
        Points of each grid, 2 or more.

    Returns
    -------
    grid, density : (n_points, n_arms) array of float
        The grid runs a little beyond the middle 99.9% of the draws.

    Raises
    ------
    InputError
        Fewer than two draws or points, or an arm whose draws are all the same.

    Notes
    -----
    A Gaussian kernel with the bandwidth h = 0.9 min(sd, IQR / 1.349) n^(-1/5), where n is the
    number of draws, or with weights the equally good number 1 / sum w^2. The estimate is wider than
    the density by h: with 1,000 draws its standard deviation is 2.5% too large. Intervals and
    medians are taken from the draws, never from it.

    References
    ----------
    Silverman (1986), *Density Estimation*, equation (3.31).

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(2.0, 3.0, (4_000, 1))
    >>> grid, density = density_of_draws(draws)
    >>> float(np.round(grid[density[:, 0].argmax(), 0]))
    2.0
    """
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or n_points < 2:
        raise InputError(
            f"draws: found shape {values.shape} and {n_points} points; needed (n_draws, n_arms) "
            "with two draws or more, and two points or more"
        )
    w = arm_draws.normalized(weights, values.shape[0])
    columns = [_one(values[:, k], w, n_points) for k in range(values.shape[1])]
    return np.stack([c[0] for c in columns], axis=1), np.stack([c[1] for c in columns], axis=1)


def _one(x: FloatArray, w: FloatArray, n_points: int) -> tuple[FloatArray, FloatArray]:
    low, q1, q3, high = arm_draws.quantile(x, [_TAIL, 0.25, 0.75, 1 - _TAIL], w)
    sd = float(np.sqrt(w @ (x - w @ x) ** 2))
    spread = min(sd, (q3 - q1) / 1.349) or sd
    if not spread > 0:
        raise InputError("draws: found an arm whose draws are all the same; needed a density")
    h = 0.9 * spread * float(1 / (w @ w)) ** -0.2
    grid = np.linspace(low - _REACH * h, high + _REACH * h, n_points)
    density = np.empty(n_points)
    step = max(_CHUNK // x.size, 1)
    for a in range(0, n_points, step):
        z = (grid[a : a + step, None] - x) / h
        density[a : a + step] = (np.exp(-0.5 * z * z) * w).sum(axis=1)
    return grid, density / (h * np.sqrt(2 * np.pi))
