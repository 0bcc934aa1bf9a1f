"""Mode of the log posterior, in all parameters and in beta at a given kappa."""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from wavewise.errors import EstimationError
from wavewise.estimate.binomial_posterior import LogPosterior, Slopes
from wavewise.results import FloatArray

__all__ = ["beta_mode", "inverse_of_negative", "joint_mode"]

_N_STEPS = 60
_LONGEST = 2.0  # in any coordinate of one step


def inverse_of_negative(hess: FloatArray) -> FloatArray:
    """Inverse of minus a Hessian, made positive definite where it is not.

    Directions in which the log posterior is not concave get the curvature of their own size.
    """
    root, bad = dpotrf(-hess, lower=1)
    if bad == 0:
        inverse, _ = dpotri(root, lower=1)
        return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)
    values, vectors = np.linalg.eigh(-hess)
    floor = 1e-6 * max(float(np.abs(values).max()), 1e-6)
    return np.asarray((vectors / np.maximum(np.abs(values), floor)) @ vectors.T)


def joint_mode(posterior: LogPosterior) -> tuple[FloatArray, Slopes]:
    """Mode in (beta, log kappa), (n_arms + 1,), near enough to be a centre, and the slopes there.

    Raises
    ------
    EstimationError
        No mode was reached.
    """
    counts = posterior.counts
    failures = counts.arm_trials - counts.arm_successes
    start = np.log((counts.arm_successes + 0.5) / (failures + 0.5))
    point = np.concatenate([start, [np.log(0.5)]])
    return _climb(posterior, point, np.ones(point.size, dtype=bool), 0.01)


def beta_mode(posterior: LogPosterior, point: FloatArray) -> tuple[FloatArray, Slopes]:
    """Mode in beta with log kappa held, from a point near it, and the slopes at the last step.

    Notes
    -----
    The mode is one Newton step beyond the point of the slopes, and its value is better by half
    the step's gain: `value` says so already.
    """
    free = np.ones(point.size, dtype=bool)
    free[-1] = False
    return _climb(posterior, point, free, 0.02)


def _climb(
    posterior: LogPosterior, point: FloatArray, free: np.ndarray, enough: float
) -> tuple[FloatArray, Slopes]:
    """Newton steps, shortened until they gain, until half a step's gain is below `enough`."""
    index = np.flatnonzero(free)
    current = posterior.slopes(point)
    for _ in range(_N_STEPS):
        grad = current.grad[index]
        step = inverse_of_negative(current.hess[np.ix_(index, index)]) @ grad
        gain = 0.5 * float(grad @ step)
        step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        moved = point.copy()
        moved[index] += step
        if gain < enough:
            better = Slopes(
                current.value + gain, current.grad, current.hess, current.reference, current.effect
            )
            return moved, better
        point, current = _accepted(posterior, point, current, index, step)
    raise EstimationError(
        f"hierarchical binomial model: found no mode in {_N_STEPS} Newton steps; needed one; look "
        "for arms with almost no successes or failures, or give a proper prior on beta"
    )


def _accepted(
    posterior: LogPosterior, point: FloatArray, current: Slopes, index: np.ndarray, step: FloatArray
) -> tuple[FloatArray, Slopes]:
    """The longest of step, step / 2, step / 4 ... that does not lose."""
    for halving in range(30):
        moved = point.copy()
        moved[index] += step * 0.5**halving
        trial = posterior.slopes(moved)
        if np.isfinite(trial.value) and trial.value >= current.value - 1e-9 * abs(current.value):
            return moved, trial
    raise EstimationError(
        "hierarchical binomial model: found no step that raises the posterior; needed one; the "
        "counts may be too large for the quadrature"
    )
