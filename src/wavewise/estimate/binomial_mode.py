"""Mode of the log posterior: Newton steps in all parameters, or in beta at a given kappa."""

import math

import numpy as np

from wavewise.estimate.binomial_exp import compiled
from wavewise.estimate.binomial_slopes import Problem, Scratch, slopes_at
from wavewise.results import FloatArray

__all__ = ["FOUND", "NO_MODE", "NO_STEP", "N_STEPS", "climb", "inverse_of_negative"]

FOUND, NO_MODE, NO_STEP = 0, 1, 2
N_STEPS = 60
_N_HALVINGS = 30
_LONGEST = 2.0  # in any coordinate of one step


@compiled
def inverse_of_negative(hess: FloatArray, n: int, inverse: FloatArray) -> float:
    """Inverse of minus the first n rows and columns of a Hessian; half its log determinant.

    Directions in which the log posterior is not concave get the curvature of their own size.
    """
    root = np.empty((n, n))
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
                return _inverse_where_not_concave(hess, n, inverse)
    half_log_det = 0.0
    column = np.empty(n)
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


@compiled
def _inverse_where_not_concave(hess: FloatArray, n: int, inverse: FloatArray) -> float:
    values, vectors = np.linalg.eigh(-hess[:n, :n].copy())
    floor = 1e-6 * max(np.abs(values).max(), 1e-6)
    half_log_det = 0.0
    for m in range(n):
        half_log_det -= 0.5 * math.log(max(values[m], floor))
    for i in range(n):
        for j in range(n):
            total = 0.0
            for m in range(n):
                total += vectors[i, m] * vectors[j, m] / max(values[m], floor)
            inverse[i, j] = total
    return half_log_det


@compiled
def climb(
    problem: Problem, point: FloatArray, n_free: int, enough: float, out: Scratch
) -> tuple[int, float]:
    """Newton steps in the first `n_free` coordinates, shortened until they gain.

    Ends when half a step's gain is below `enough`. Moves `point`; `out` holds the slopes one step
    before the mode, the returned value that gain too. A status other than FOUND says why not.
    """
    n_dims = point.size
    inverse, step, moved = np.empty((n_free, n_free)), np.empty(n_free), np.empty(n_dims)
    trial = Scratch(
        np.empty(n_dims),
        np.empty((n_dims, n_dims)),
        np.empty(out.reference.size),
        np.empty(out.effect.shape),
    )
    value = slopes_at(problem, point, out)
    for _ in range(N_STEPS):
        inverse_of_negative(out.hess, n_free, inverse)
        gain, longest = 0.0, 1e-300
        for i in range(n_free):
            step[i] = 0.0
            for j in range(n_free):
                step[i] += inverse[i, j] * out.grad[j]
            gain += 0.5 * out.grad[i] * step[i]
            longest = max(longest, abs(step[i]))
        part = min(1.0, _LONGEST / longest)
        if gain < enough:
            for i in range(n_free):
                point[i] += part * step[i]
            return FOUND, value + gain
        for halving in range(_N_HALVINGS + 1):
            if halving == _N_HALVINGS:
                return NO_STEP, value
            moved[:] = point
            for i in range(n_free):
                moved[i] += part * step[i]
            found = slopes_at(problem, moved, trial)
            if math.isfinite(found) and found >= value - 1e-9 * abs(value):
                break
            part *= 0.5
        point[:] = moved
        value = found
        out.grad[:] = trial.grad
        out.hess[:] = trial.hess
        out.reference[:] = trial.reference
        out.effect[:] = trial.effect
    return NO_MODE, value
