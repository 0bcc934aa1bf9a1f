"""Peak and curvature of a log density in few dimensions, by damped Newton steps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.results import FloatArray

__all__ = ["Peak", "find_peak"]

LogDensity = Callable[[FloatArray], FloatArray]
_STEP = 1e-3
_MOST_STEPS = 200
_TOLERANCE = 1e-6
_LONGEST = 1.5


@dataclass(frozen=True, eq=False)
class Peak:
    """Mode of a log density, its value there, and a root of the inverse curvature.

    Parameters
    ----------
    mode : (n_dims,) array of float
    log_density : float
    root : (n_dims, n_dims) array of float
        Lower triangle whose product with its transpose approximates the covariance.
    """

    mode: FloatArray
    log_density: float
    root: FloatArray


def find_peak(log_density: LogDensity, start: FloatArray) -> Peak:
    """Mode of `log_density`, from `start`.

    Raises
    ------
    EstimationError
        No step raises the density, or it rises without end.
    """
    x, value = start, float(log_density(start[None, :])[0])
    for _ in range(_MOST_STEPS):
        gradient, curvature = _derivatives(log_density, x)
        step = _bounded(np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64))
        if float(gradient @ step) < _TOLERANCE:
            return Peak(x, value, np.linalg.cholesky(np.linalg.inv(curvature)))
        x, value = _search(log_density, x, value, step)
    raise EstimationError(
        f"standard deviations: found no peak of their posterior in {_MOST_STEPS} steps; needed "
        "scores that are not fitted exactly, or priors that bound every standard deviation"
    )


def _derivatives(log_density: LogDensity, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient, and minus the second derivatives made positive definite."""
    d = x.size
    units = np.eye(d) * _STEP
    pairs = [(i, j) for i in range(d) for j in range(i)]
    points = [x, *(x + units), *(x - units)]
    points += [x + units[i] + units[j] for i, j in pairs]
    points += [x - units[i] - units[j] for i, j in pairs]
    values = log_density(np.array(points))
    if not np.isfinite(values).all():
        raise EstimationError(
            "standard deviations: found a posterior that is not finite near its peak; needed "
            "scores that the arms and periods do not fit exactly, in moderate units"
        )
    centre, up, down = values[0], values[1 : 1 + d], values[1 + d : 1 + 2 * d]
    both_up, both_down = values[1 + 2 * d :].reshape(2, -1)
    hessian = np.diag((up - 2 * centre + down) / _STEP**2)
    for (i, j), plus, minus in zip(pairs, both_up, both_down, strict=True):
        cross = plus + minus - up[i] - down[i] - up[j] - down[j] + 2 * centre
        hessian[i, j] = hessian[j, i] = cross / (2 * _STEP**2)
    return (up - down) / (2 * _STEP), _positive(-hessian)


def _positive(matrix: FloatArray) -> FloatArray:
    """The matrix with its eigenvalues' sizes, none near 0."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(np.abs(values), 0.02)) @ vectors.T)


def _bounded(step: FloatArray) -> FloatArray:
    return step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))


def _search(
    log_density: LogDensity, x: FloatArray, value: float, step: FloatArray
) -> tuple[FloatArray, float]:
    """The longest of ever shorter steps that raises the density; x itself if none does."""
    points = x + step * 0.5 ** np.arange(30.0)[:, None]
    values = log_density(points)
    better = np.flatnonzero(values > value)
    if better.size == 0:
        return x, value
    return points[better[0]], float(values[better[0]])
