"""Log posterior of (beta, log kappa) at one point with its derivatives, compiled as a whole."""

import math
from typing import NamedTuple

from wavewise.estimate.binomial_derivatives import block_slopes
from wavewise.estimate.binomial_exp import compiled
from wavewise.estimate.binomial_priors import FLAT, NORMAL, STUDENT_T
from wavewise.results import FloatArray, IntArray

__all__ = ["Problem", "Scratch", "log_prior_slopes", "slopes_at"]


class Problem(NamedTuple):
    """Counts, nodes and priors as compiled code takes them.

    Parameters
    ----------
    arm_successes, arm_trials : (n_arms,) array of float
    successes, copies : (n_distinct,) array of float
    trials : (n_arms * n_distinct,) array of float
        Block after block, each (n_arms, n).
    info : (n_blocks,) array of float
    starts : (n_blocks + 1,) array of int
    span : (n_blocks, 2) array of float
        First and last node in z.
    coarse : float
        Step of the nodes for derivatives.
    prior : (6,) array of float
        `BinomialPrior.code`.
    """

    arm_successes: FloatArray
    arm_trials: FloatArray
    successes: FloatArray
    trials: FloatArray
    copies: FloatArray
    info: FloatArray
    starts: IntArray
    span: FloatArray
    coarse: float
    prior: FloatArray


class Scratch(NamedTuple):
    """What the slopes at a point are written to.

    Parameters
    ----------
    grad : (n_arms + 1,) array of float
        In beta and log kappa.
    hess : (n_arms + 1, n_arms + 1) array of float
    reference : (n_distinct,) array of float
        Log likelihood of each distinct cluster.
    effect : (2, n_distinct) array of float
        Posterior mean and standard deviation of each distinct cluster's z.
    """

    grad: FloatArray
    hess: FloatArray
    reference: FloatArray
    effect: FloatArray


@compiled
def log_prior_slopes(kind: float, df: float, scale: float, x: float) -> tuple[float, float, float]:
    """Log density of one coordinate's prior up to a constant, and its two derivatives."""
    if kind == FLAT:
        return 0.0, 0.0, 0.0
    if kind == NORMAL:
        return -0.5 * (x / scale) ** 2, -x / scale**2, -1 / scale**2
    if kind == STUDENT_T:
        spread, squared = df * scale * scale, x * x
        value = -0.5 * (df + 1) * math.log1p(squared / spread)
        first = -(df + 1) * x / (spread + squared)
        return value, first, -(df + 1) * (spread - squared) / (spread + squared) ** 2
    power = df / 2 + 1  # inverse chi-square
    value = -power * math.log(x) - 0.5 / x
    return value, -power / x + 0.5 / x**2, power / x**2 - 1 / x**3


@compiled
def slopes_at(problem: Problem, point: FloatArray, out: Scratch) -> float:
    """Log posterior at a point; gradient and Hessian in (beta, log kappa) go into `out`."""
    n_arms = problem.arm_successes.size
    grad, hess = out.grad, out.hess
    hess[:] = 0.0
    grad[n_arms] = 0.0
    total, center = 0.0, 0.0
    for k in range(n_arms):
        grad[k] = problem.arm_successes[k]
        total += problem.arm_successes[k]
        center += point[k] * problem.arm_successes[k]
    center /= max(total, 1e-300)
    value = 0.0
    for k in range(n_arms):
        value += problem.arm_successes[k] * (point[k] - center)
    for b in range(problem.info.size):
        first, last = problem.starts[b], problem.starts[b + 1]
        value += block_slopes(
            point,
            center,
            problem.successes[first:last],
            problem.trials[n_arms * first : n_arms * last].reshape(n_arms, last - first),
            problem.copies[first:last],
            problem.info[b],
            problem.span[b, 0],
            problem.span[b, 1],
            problem.coarse,
            grad,
            hess,
            out.reference[first:last],
            out.effect[:, first:last],
        )
    return value + _add_prior(problem.prior, point, grad, hess)


@compiled
def _add_prior(prior: FloatArray, point: FloatArray, grad: FloatArray, hess: FloatArray) -> float:
    """Add the prior, and turn derivatives in kappa into derivatives in its log."""
    n_arms = point.size - 1
    value = 0.0
    for k in range(n_arms):
        on_arm, first, second = log_prior_slopes(prior[0], prior[1], prior[2], point[k])
        value += on_arm
        grad[k] += first
        hess[k, k] += second
    kappa = math.exp(point[n_arms])
    on_kappa, first, second = log_prior_slopes(prior[3], prior[4], prior[5], kappa)
    grad[n_arms] = (grad[n_arms] + first) * kappa
    hess[n_arms, n_arms] = (hess[n_arms, n_arms] + second) * kappa**2 + grad[n_arms]
    grad[n_arms] += 1.0
    for k in range(n_arms):
        hess[k, n_arms] *= kappa
    for k in range(n_arms + 1):
        for j in range(k):
            hess[k, j] = hess[j, k]
    return float(value + on_kappa + point[n_arms])
