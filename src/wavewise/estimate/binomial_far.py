"""Log likelihood at points so far out that sums relative to the mode leave the range of exp."""

import math

import numpy as np

from wavewise.estimate.binomial_exp import SingleArray, compiled, inlined
from wavewise.results import FloatArray

__all__ = ["far_log_likelihood", "leaves_range"]

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@inlined
def leaves_range(total: FloatArray, copies: FloatArray, most: float) -> bool:
    """Whether a cluster's sum is so large or small that terms of it were cut."""
    least, largest = most, 0.0
    for c in range(total.size):
        value = total[c] if copies[c] > 0 else 1.0
        least, largest = min(least, value), max(largest, value)
    return not (least > 1 / most and largest < most)


@compiled
def far_log_likelihood(
    successes: FloatArray | SingleArray,
    trials: FloatArray | SingleArray,
    copies: FloatArray,
    table: FloatArray,
    n_arms: int,
    center: float,
    kappa: float,
    low: float,
    step: float,
    n_nodes: int,
) -> float:
    """Sum of the clusters' log likelihoods at one point, each relative to its own largest term.

    `table` holds softplus(beta_k + kappa z_q), arm after arm; the rest is as for
    `binomial_likelihood.add_log_likelihood`. Slower than sums relative to the mode, and right at
    any point: few points need it.
    """
    log_step = math.log(step) - _LOG_ROOT_2PI
    terms = np.empty(n_nodes)
    value = 0.0
    for c in range(successes.size):
        if copies[c] == 0:
            continue
        for q in range(n_nodes):
            z = low + q * step
            term = log_step - 0.5 * z * z + (center + kappa * z) * successes[c]
            for k in range(n_arms):
                term -= trials[k, c] * table[k * n_nodes + q]
            terms[q] = term
        top = terms.max()
        total = 0.0
        for q in range(n_nodes):
            total += math.exp(terms[q] - top)
        value += copies[c] * (math.log(total) + top)
    return value
