"""Log posterior of (beta, log kappa) at one point with its derivatives."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_derivatives import block_slopes
from wavewise.estimate.binomial_exp import compiled, inlined
from wavewise.estimate.binomial_priors import FLAT, NORMAL, STUDENT_T
from wavewise.results import FloatArray

__all__ = ["Problem", "Scratch", "add_prior", "empty_scratch", "log_prior_slopes", "slopes_at"]


Piece: TypeAlias = tuple[
    tuple[FloatArray, FloatArray, FloatArray, float, float, float, float], slice
]


@dataclass(frozen=True, eq=False)
class Problem:
    """Counts, nodes and priors, laid out for compiled code.

    Parameters
    ----------
    counts : Counts
    span : (n_blocks, 2) array of float
        First and last node in z.
    coarse : float
        Step of the nodes for derivatives.
    prior : (6,) array of float
        `BinomialPrior.code`.
    """

    counts: Counts
    span: FloatArray
    coarse: float
    prior: FloatArray

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """What each block gives to the compiled code, and its places among the clusters."""
        starts, spans = self.counts.starts.tolist(), self.span.tolist()
        return tuple(
            (
                (block.successes, block.trials, block.copies, block.info, *spans[b], self.coarse),
                slice(starts[b], starts[b + 1]),
            )
            for b, block in enumerate(self.counts.blocks)
        )


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


def empty_scratch(problem: Problem) -> Scratch:
    """Room for the slopes of a problem."""
    n_dims, n = problem.counts.n_arms + 1, int(problem.counts.starts[-1])
    return Scratch(np.empty(n_dims), np.empty((n_dims, n_dims)), np.empty(n), np.empty((2, n)))


@inlined
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


def slopes_at(problem: Problem, point: FloatArray, out: Scratch) -> float:
    """Log posterior at a point; gradient and Hessian in (beta, log kappa) go into `out`."""
    counts = problem.counts
    out.grad[:-1], out.grad[-1] = counts.arm_successes, 0.0
    out.hess.fill(0.0)
    share, value = counts.success_share, 0.0
    for given, place in problem.pieces:
        found = (out.grad, out.hess, out.reference[place], out.effect[:, place])
        value += block_slopes(point, share, *given, *found)
    return value + add_prior(problem.prior, point, out.grad, out.hess)


@compiled
def add_prior(prior: FloatArray, point: FloatArray, grad: FloatArray, hess: FloatArray) -> float:
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
