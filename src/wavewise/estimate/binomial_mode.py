"""Mode of the log posterior: Newton steps in all parameters, or in beta at a given kappa."""

import math
from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.binomial_exp import compiled, inlined
from wavewise.estimate.binomial_slopes import Problem, Scratch, empty_scratch, slopes_at
from wavewise.results import FloatArray

__all__ = ["Peak", "climb"]

_N_STEPS, _N_HALVINGS = 60, 30
_LONGEST = 2.0  # in any coordinate of one step


@dataclass(frozen=True, eq=False)
class Peak:
    """Mode of the log posterior, in all coordinates or in beta.

    Parameters
    ----------
    point : (n_arms + 1,) array of float
        The mode: one Newton step beyond the point of the slopes.
    value : float
        Log posterior there: better by half the last step's gain than where the slopes are.
    slopes : Scratch
    inverse : (n_free, n_free) array of float
        Of minus the Hessian in the coordinates that were free.
    half_log_det : float
        Half the log determinant of `inverse`.
    """

    point: FloatArray
    value: float
    slopes: Scratch
    inverse: FloatArray
    half_log_det: float


@inlined
def _invert_negative(hess: FloatArray, n: int, inverse: FloatArray) -> float:
    """Inverse of minus the first n rows and columns of a Hessian; half its log determinant.

    Where the log posterior is not concave, the diagonal of the Hessian is lowered until it is.
    """
    root, column = np.empty((n, n)), np.empty(n)
    largest = 1e-6
    for i in range(n):
        largest = max(largest, abs(hess[i, i]))
    ridge = 1e-6 * largest
    while not _factored(hess, n, root):
        for i in range(n):
            hess[i, i] -= ridge
        ridge *= 10
    half_log_det = 0.0
    for c in range(n):
        half_log_det -= math.log(root[c, c])
        for i in range(c, n):  # root x = e_c
            total = 1.0 if i == c else 0.0
            for m in range(c, i):
                total -= root[i, m] * column[m]
            column[i] = total / root[i, i]
        for i in range(n - 1, c - 1, -1):  # root' y = x, of which only rows from c on are kept
            total = column[i]
            for m in range(i + 1, n):
                total -= root[m, i] * inverse[m, c]
            inverse[i, c] = total / root[i, i]
        for i in range(c, n):
            inverse[c, i] = inverse[i, c]
    return half_log_det


@inlined
def _factored(hess: FloatArray, n: int, root: FloatArray) -> bool:
    """Whether minus the Hessian has a Cholesky root, which is written out."""
    for i in range(n):
        for j in range(i + 1):
            total = -hess[i, j]
            for m in range(j):
                total -= root[i, m] * root[j, m]
            if i != j:
                root[i, j] = total / root[j, j]
            elif total > 0.0:
                root[i, i] = math.sqrt(total)
            else:
                return False
    return True


@compiled
def _newton_step(
    grad: FloatArray, hess: FloatArray, step: FloatArray, inverse: FloatArray
) -> tuple[float, float]:
    """Step in the first coordinates, no longer than a bound.

    Fills `inverse`, of minus the Hessian in these coordinates. Returns half the whole step's gain
    and half the log determinant of the inverse.
    """
    n_free = len(inverse)
    half_log_det = _invert_negative(hess, n_free, inverse)
    gain, longest = 0.0, 1e-300
    for i in range(step.size):
        step[i] = 0.0
    for i in range(n_free):
        for j in range(n_free):
            step[i] += inverse[i, j] * grad[j]
        gain += 0.5 * grad[i] * step[i]
        longest = max(longest, abs(step[i]))
    part = min(1.0, _LONGEST / longest)
    for i in range(n_free):
        step[i] *= part
    return gain, half_log_det


def climb(problem: Problem, point: FloatArray, n_free: int, enough: float) -> Peak:
    """Mode in the first `n_free` coordinates by Newton steps, shortened until they gain.

    Ends when half a step's gain is below `enough`.

    Raises
    ------
    EstimationError
        No mode was reached.
    """
    current, trial = empty_scratch(problem), None
    value, step = slopes_at(problem, point, current), np.empty(point.size)
    inverse = np.empty((n_free, n_free))
    for _ in range(_N_STEPS):
        gain, half_log_det = _newton_step(current.grad, current.hess, step, inverse)
        if gain < enough:
            return Peak(point + step, value + gain, current, inverse, half_log_det)
        trial = trial or empty_scratch(problem)
        for _ in range(_N_HALVINGS):
            found = slopes_at(problem, point + step, trial)
            if math.isfinite(found) and found >= value - 1e-9 * abs(value):
                break
            step *= 0.5
        else:
            raise EstimationError(
                "hierarchical binomial model: found no step that raises the posterior; needed one; "
                "the counts may be too large for the quadrature"
            )
        point, value, current, trial = point + step, found, trial, current
    raise EstimationError(
        f"hierarchical binomial model: found no mode in {_N_STEPS} Newton steps; needed one; look "
        "for arms with almost no successes or failures, or give a proper prior on beta"
    )
