"""Log likelihood of the hierarchical binomial model, cluster effects integrated out."""

import math

import numpy as np

from wavewise.estimate.binomial_exp import (
    SingleArray,
    compiled,
    exp_in_place,
    exp_single,
    inlined,
    softplus_in_place,
)
from wavewise.estimate.binomial_far import far_log_likelihood, leaves_range
from wavewise.results import FloatArray, IntArray

__all__ = [
    "ARMS_AT_ONCE",
    "MAX_NODES",
    "add_log_likelihood",
    "add_log_likelihood_single",
    "node_count",
    "node_step",
    "softplus_table",
]

MAX_NODES = 4096
ARMS_AT_ONCE = 4  # in single precision: rows of trials come in whole groups
# beyond, terms of a cluster's sum may have been cut by the exponentials of binomial_exp
_MOST, _MOST_SINGLE = 1e250, 1e28
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@compiled
def node_step(kappa: float, info: float, coarse: float) -> float:
    """Step of the nodes in z: `coarse` posterior standard deviations of the narrowest cluster.

    Where clusters say little, all of them err alike and their errors add up: a finer step there.
    """
    return coarse * min(1 / math.sqrt(1 + kappa * kappa * info), 0.7)


@compiled
def node_count(low: float, high: float, step: float) -> int:
    """How many nodes a step apart cover an interval, at most MAX_NODES."""
    return min(math.ceil((high - low) / step) + 1, MAX_NODES)


@compiled
def softplus_table(
    point: FloatArray,
    n_arms: int,
    low: float,
    step: float,
    n_nodes: int,
    table: FloatArray,
    prob: FloatArray,
    power: FloatArray,
    bits: IntArray,
) -> None:
    """Softplus and logistic of beta_k + kappa z_q at every node, arm after arm.

    `table`, `prob` and the scratch `power` (with its `bits`) hold n_arms * n_nodes or more.
    """
    kappa = math.exp(point[n_arms])
    for k in range(n_arms):
        for q in range(n_nodes):
            table[k * n_nodes + q] = point[k] + kappa * (low + q * step)
    softplus_in_place(table, prob, power, bits, n_arms * n_nodes)


@inlined
def _sum_over_nodes(
    successes: FloatArray,
    trials: FloatArray,
    reference: FloatArray,
    table: FloatArray,
    center: float,
    kappa: float,
    low: float,
    step: float,
    n_nodes: int,
    x: FloatArray,
    power: FloatArray,
    bits: IntArray,
    total: FloatArray,
) -> None:
    """Each cluster's likelihood, relative to its reference, into `total`."""
    n_arms, n = trials.shape
    log_step = math.log(step) - _LOG_ROOT_2PI
    for c in range(n):
        total[c] = 0.0
    for q in range(n_nodes):
        z = low + q * step
        log_weight, slope = log_step - 0.5 * z * z, center + kappa * z
        for c in range(n):
            x[c] = log_weight - reference[c] + slope * successes[c]
        for k in range(n_arms // 2):
            even, odd = table[2 * k * n_nodes + q], table[(2 * k + 1) * n_nodes + q]
            for c in range(n):
                x[c] -= trials[2 * k, c] * even + trials[2 * k + 1, c] * odd
        if n_arms % 2:
            softplus = table[(n_arms - 1) * n_nodes + q]
            for c in range(n):
                x[c] -= trials[n_arms - 1, c] * softplus
        exp_in_place(x, power, bits, n)
        for c in range(n):
            total[c] += x[c]


@inlined
def _sum_over_nodes_single(
    successes: SingleArray,
    trials: SingleArray,
    reference: SingleArray,
    table: SingleArray,
    center: float,
    kappa: float,
    low: float,
    step: float,
    n_nodes: int,
    x: SingleArray,
    total: SingleArray,
) -> None:
    """The same in single precision, for clusters whose log likelihoods are moderate.

    Few passes over the clusters, each of several arms: memory is what takes time.
    """
    n = successes.size
    last = trials.shape[0] - ARMS_AT_ONCE
    log_step = math.log(step) - _LOG_ROOT_2PI
    for c in range(n):
        total[c] = np.float32(0.0)
    for q in range(n_nodes):
        z = low + q * step
        log_weight, slope = np.float32(log_step - 0.5 * z * z), np.float32(center + kappa * z)
        for c in range(n):
            x[c] = (log_weight - reference[c]) + slope * successes[c]
        for k in range(0, last, ARMS_AT_ONCE):
            t0, t1 = table[k * n_nodes + q], table[(k + 1) * n_nodes + q]
            t2, t3 = table[(k + 2) * n_nodes + q], table[(k + 3) * n_nodes + q]
            for c in range(n):
                x[c] -= (trials[k, c] * t0 + trials[k + 1, c] * t1) + (
                    trials[k + 2, c] * t2 + trials[k + 3, c] * t3
                )
        t0, t1 = table[last * n_nodes + q], table[(last + 1) * n_nodes + q]
        t2, t3 = table[(last + 2) * n_nodes + q], table[(last + 3) * n_nodes + q]
        for c in range(n):
            failed = (trials[last, c] * t0 + trials[last + 1, c] * t1) + (
                trials[last + 2, c] * t2 + trials[last + 3, c] * t3
            )
            total[c] += exp_single(x[c] - failed)


@inlined
def _sum_of_logs(total: FloatArray, copies: FloatArray, reference: FloatArray) -> float:
    """Sum of copies * (log(total) + reference), four logs at once where that is safe."""
    value = 0.0
    for c in range(total.size):
        value += copies[c] * reference[c]
    for c in range(0, total.size, 4):  # blocks are whole vectors
        a, b = total[c] * total[c + 1], total[c + 2] * total[c + 3]
        single = copies[c] * copies[c + 1] * copies[c + 2] * copies[c + 3] == 1.0
        if single and 1e-100 < a < 1e100 and 1e-100 < b < 1e100:
            value += math.log(a * b)
        else:
            for j in range(c, c + 4):
                if copies[j] > 0:
                    value += copies[j] * math.log(total[j])
    return value


@compiled
def add_log_likelihood_single(
    points: FloatArray,
    centers: FloatArray,
    successes: SingleArray,
    trials: SingleArray,
    copies: FloatArray,
    reference: FloatArray,
    info: float,
    low: float,
    high: float,
    coarse: float,
    out: FloatArray,
) -> None:
    """As :func:`add_log_likelihood`, the sums over nodes in single precision.

    A cluster's log likelihood is then right to about 2e-7 of its largest term: see
    `Counts.is_moderate`. The clusters' logs are added in double precision.
    """
    n_arms, n = points.shape[1] - 1, successes.size
    x, total, near = np.empty(n, np.float32), np.empty(n, np.float32), reference.astype(np.float32)
    wide, exact = np.empty(n), near.astype(np.float64)
    n_table = n_arms * MAX_NODES
    table, prob, power = np.empty(n_table), np.empty(n_table), np.empty(n_table)
    bits = power.view(np.int64)
    single = np.zeros(trials.shape[0] * MAX_NODES, np.float32)
    for i in range(points.shape[0]):
        kappa = math.exp(points[i, n_arms])
        n_nodes = node_count(low, high, node_step(kappa, info, coarse))
        step = (high - low) / (n_nodes - 1)
        softplus_table(points[i], n_arms, low, step, n_nodes, table, prob, power, bits)
        for j in range(n_arms * n_nodes):
            single[j] = table[j]
        for j in range(n_arms * n_nodes, trials.shape[0] * n_nodes):
            single[j] = np.float32(0.0)
        _sum_over_nodes_single(
            successes,
            trials,
            near,
            single,
            centers[i],
            kappa,
            low,
            step,
            n_nodes,
            x,
            total,
        )
        for c in range(n):
            wide[c] = total[c]
        if leaves_range(wide, copies, _MOST_SINGLE):
            nodes = (centers[i], kappa, low, step, n_nodes)
            out[i] += far_log_likelihood(successes, trials, copies, table, n_arms, *nodes)
        else:
            out[i] += _sum_of_logs(wide, copies, exact)


@compiled
def add_log_likelihood(
    points: FloatArray,
    centers: FloatArray,
    successes: FloatArray,
    trials: FloatArray,
    copies: FloatArray,
    reference: FloatArray,
    info: float,
    low: float,
    high: float,
    coarse: float,
    out: FloatArray,
) -> None:
    """Add one block's log p(data | beta, kappa), up to a constant, at each point.

    Parameters
    ----------
    points : (n_points, n_dims) array of float
        beta of every arm, then log kappa.
    centers : (n_points,) array of float
        b below: the mean of beta weighted by the arms' successes.
    successes : (n_clusters,) array of float
    trials : (n_arms, n_clusters) array of float
    copies : (n_clusters,) array of float
        How many clusters with these same counts there are.
    reference : (n_clusters,) array of float
        Log likelihood of each cluster near the mode, so that sums stay near 1.
    info : float
        Largest information sum n p (1 - p) of a cluster of the block.
    low, high : float
        First and last node.
    coarse : float
        Step in posterior standard deviations of the narrowest cluster.
    out : (n_points,) array of float
        Added to.

    Notes
    -----
    Equation (2) of the Kenya study, eta_s = z. The trapezoid rule on nodes z_q a step h apart::

        log p = sum_k Y_k (beta_k - b) + sum_c log sum_q h phi(z_q) exp(l_cq)
        l_cq  = (b + kappa z_q) y_c - sum_k n_ck softplus(beta_k + kappa z_q)

    for any b, which keeps l_cq moderate; the first sum is the caller's. softplus at the nodes is
    one table for all clusters of a block.
    """
    n_arms, n = trials.shape
    x, power, total = np.empty(n), np.empty(n), np.empty(n)
    bits = power.view(np.int64)
    n_table = n_arms * MAX_NODES
    table, prob, node_power = np.empty(n_table), np.empty(n_table), np.empty(n_table)
    node_bits = node_power.view(np.int64)
    for i in range(points.shape[0]):
        kappa = math.exp(points[i, n_arms])
        n_nodes = node_count(low, high, node_step(kappa, info, coarse))
        step = (high - low) / (n_nodes - 1)
        softplus_table(points[i], n_arms, low, step, n_nodes, table, prob, node_power, node_bits)
        _sum_over_nodes(
            successes,
            trials,
            reference,
            table,
            centers[i],
            kappa,
            low,
            step,
            n_nodes,
            x,
            power,
            bits,
            total,
        )
        if leaves_range(total, copies, _MOST):
            nodes = (centers[i], kappa, low, step, n_nodes)
            out[i] += far_log_likelihood(successes, trials, copies, table, n_arms, *nodes)
        else:
            out[i] += _sum_of_logs(total, copies, reference)
