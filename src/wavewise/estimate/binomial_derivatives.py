"""Gradient and Hessian of the log likelihood, cluster effects integrated out."""

import math
from dataclasses import dataclass

import numpy as np

from wavewise.estimate.binomial_counts import VECTOR, Block
from wavewise.estimate.binomial_exp import compiled, exp_in_place, inlined
from wavewise.estimate.binomial_likelihood import node_count, node_step, softplus_table
from wavewise.results import FloatArray, IntArray

__all__ = ["Nodes", "at_nodes", "block_slopes"]

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Nodes:
    """One block of clusters at the nodes, for one point of (beta, log kappa).

    Parameters
    ----------
    low, step : float
        Of the nodes in z.
    prob : (n_arms, n_nodes) array of float
        Success probability of each arm at each node.
    weight : (n_nodes, n_clusters) array of float
        Posterior weight of each node in each cluster.
    log_likelihood : (n_clusters,) array of float
    """

    low: float
    step: float
    prob: FloatArray
    weight: FloatArray
    log_likelihood: FloatArray


def at_nodes(
    block: Block, point: FloatArray, center: float, span: FloatArray, coarse: float
) -> Nodes:
    """Posterior weights of the nodes in each cluster.

    Parameters
    ----------
    block : Block
    point : (n_dims,) array of float
        beta of every arm, then log kappa.
    center : float
        Mean of beta weighted by the arms' successes.
    span : (2,) array of float
        First and last node.
    coarse : float
        Step in posterior standard deviations of the narrowest cluster.
    """
    n_arms, n = block.trials.shape
    kappa, low = math.exp(point[n_arms]), float(span[0])
    n_nodes = node_count(low, span[1], node_step(kappa, block.info, coarse))
    step = (float(span[1]) - low) / (n_nodes - 1)
    prob, scratch = np.empty((n_arms, n_nodes)), np.empty(max(n_arms * n_nodes, n))
    weight, logs = np.empty((n_nodes, n)), np.empty((2, n))
    table = np.empty(n_arms * n_nodes)
    bits = scratch.view(np.int64)
    softplus_table(point, n_arms, low, step, n_nodes, table, prob.reshape(-1), scratch, bits)
    _weigh(
        block.successes, block.trials, table, center, kappa, low, step, weight, logs, scratch, bits
    )
    return Nodes(low, step, prob, weight, logs[0])


@compiled
def block_slopes(
    point: FloatArray,
    share: FloatArray,
    successes: FloatArray,
    trials: FloatArray,
    copies: FloatArray,
    info: float,
    low: float,
    high: float,
    coarse: float,
    grad: FloatArray,
    hess: FloatArray,
    reference: FloatArray,
    effect: FloatArray,
) -> float:
    """Log likelihood of one block; adds its part of the gradient and the upper Hessian.

    `share` (n_arms,) are the arms' shares of all successes: around the mean of beta with these
    weights, the part of the log likelihood that is linear in beta sums to 0. Fills `reference`
    (n_clusters,), the clusters' log likelihoods, and `effect` (2, n_clusters), mean and standard
    deviation of each cluster's z.

    Notes
    -----
    With s the gradient of a cluster's log likelihood given z (Louis 1982)::

        grad = E[s | data],    hess = E[ds | data] + Var[s | data]

    References
    ----------
    Louis (1982), *JRSS B* 44, 226-233, equation 3.2.
    """
    n_arms, n = trials.shape
    kappa, center = math.exp(point[n_arms]), 0.0
    for k in range(n_arms):
        center += share[k] * point[k]
    n_nodes = node_count(low, high, node_step(kappa, info, coarse))
    step = (high - low) / (n_nodes - 1)
    prob, scratch = np.empty((n_arms, n_nodes)), np.empty(max(n_arms * n_nodes, n))
    weight, logs = np.empty((n_nodes, n)), np.empty((2, n))
    table = np.empty(n_arms * n_nodes)
    bits = scratch.view(np.int64)
    softplus_table(point, n_arms, low, step, n_nodes, table, prob.reshape(-1), scratch, bits)
    _weigh(successes, trials, table, center, kappa, low, step, weight, logs, scratch, bits)
    scores = np.empty((n_nodes, n))
    first, second = np.zeros(n), np.zeros(n)
    for c in range(n):
        effect[0, c], effect[1, c] = 0.0, 0.0
    _residuals(successes, trials, prob, weight, low, step, scores, first, second, effect)
    _add(
        trials,
        copies,
        prob,
        weight,
        scores,
        low,
        step,
        first,
        second,
        np.empty((n_arms, n)),
        np.empty(n),
        np.empty(n_nodes),
        grad,
        hess,
    )
    value = 0.0
    for c in range(n):
        effect[1, c] = math.sqrt(max(effect[1, c] - effect[0, c] * effect[0, c], 0.0))
        reference[c] = logs[0, c]
        value += copies[c] * logs[0, c]
    return value


@compiled
def _weigh(
    successes: FloatArray,
    trials: FloatArray,
    table: FloatArray,
    center: float,
    kappa: float,
    low: float,
    step: float,
    weight: FloatArray,
    logs: FloatArray,
    scratch: FloatArray,
    bits: IntArray,
) -> None:
    """Fill the weights, and the log likelihoods into logs[0]."""
    n_nodes, n = weight.shape
    n_arms = trials.shape[0]
    for c in range(n):
        logs[0, c], logs[1, c] = -1e308, 0.0
    for q in range(n_nodes):
        z = low + q * step
        for c in range(n):
            weight[q, c] = (center + kappa * z) * successes[c] - 0.5 * z * z
        for k in range(n_arms):
            softplus = table[k * n_nodes + q]
            for c in range(n):
                weight[q, c] -= trials[k, c] * softplus
        for c in range(n):
            logs[0, c] = max(logs[0, c], weight[q, c])
    for q in range(n_nodes):
        for c in range(n):
            weight[q, c] -= logs[0, c]
        exp_in_place(weight[q], scratch, bits, n)
        for c in range(n):
            logs[1, c] += weight[q, c]
    for q in range(n_nodes):
        for c in range(n):
            weight[q, c] /= logs[1, c]
    log_step = math.log(step) - _LOG_ROOT_2PI
    for c in range(n):
        logs[0, c] += math.log(logs[1, c]) + log_step


@inlined
def _residuals(
    successes: FloatArray,
    trials: FloatArray,
    prob: FloatArray,
    weight: FloatArray,
    low: float,
    step: float,
    scores: FloatArray,
    first: FloatArray,
    second: FloatArray,
    effect: FloatArray,
) -> None:
    """E[s] and E[s^2] of s = z (y - sum_k n_k p_k), E[z] and E[z^2]; `scores` is weight times s."""
    n_nodes, n = weight.shape
    for q in range(n_nodes):
        z = low + q * step
        for c in range(n):
            scores[q, c] = successes[c]
        for k in range(trials.shape[0]):
            p = prob[k, q]
            for c in range(n):
                scores[q, c] -= trials[k, c] * p
        for c in range(n):
            s, w = z * scores[q, c], weight[q, c]
            scores[q, c] = w * s
            first[c] += w * s
            second[c] += w * s * s
            effect[0, c] += w * z
            effect[1, c] += w * z * z


@inlined
def _expect(weight: FloatArray, values: FloatArray, out: FloatArray) -> None:
    """Sum over nodes of weight times a function of the node, by cluster; two nodes at once."""
    n_nodes, n = weight.shape
    odd = n_nodes % 2
    for c in range(n):
        out[c] = odd * weight[0, c] * values[0]
    for q in range(odd, n_nodes, 2):
        first, second = values[q], values[q + 1]
        for c in range(n):
            out[c] += weight[q, c] * first + weight[q + 1, c] * second


@inlined
def _total(x: FloatArray) -> float:
    """Sum of a whole number of vectors, in an order that lets the compiler add several at once."""
    for first in range(VECTOR, x.size, VECTOR):
        for j in range(VECTOR):
            x[j] += x[first + j]
    total = 0.0
    for j in range(VECTOR):
        total += x[j]
    return total


@inlined
def _add(
    trials: FloatArray,
    copies: FloatArray,
    prob: FloatArray,
    weight: FloatArray,
    scores: FloatArray,
    low: float,
    step: float,
    first: FloatArray,
    second: FloatArray,
    means: FloatArray,
    moment: FloatArray,
    values: FloatArray,
    grad: FloatArray,
    hess: FloatArray,
) -> None:
    """Sums over clusters: gradient, and the Hessian above its diagonal."""
    n_arms, n = trials.shape
    held = np.empty(n)
    for c in range(n):
        held[c] = copies[c] * (second[c] - first[c] * first[c])
        moment[c] = copies[c] * first[c]
    hess[n_arms, n_arms] += _total(held)
    grad[n_arms] += _total(moment)
    for k in range(n_arms):
        mean = means[k]
        _expect(weight, prob[k], mean)
        _expect(scores, prob[k], moment)
        for c in range(n):
            moment[c] = copies[c] * trials[k, c] * (moment[c] - mean[c] * first[c])
            held[c] = copies[c] * trials[k, c] * mean[c]
        hess[k, n_arms] -= _total(moment)
        grad[k] -= _total(held)
        for q in range(values.size):  # E[z^power p (1 - p)]
            for c in range(n):
                moment[c] = copies[c] * trials[k, c] * weight[q, c]
            z, spread = low + q * step, prob[k, q] * (1 - prob[k, q]) * _total(moment)
            hess[k, k] -= spread
            hess[k, n_arms] -= z * spread
            hess[n_arms, n_arms] -= z * z * spread
        for j in range(k + 1):
            for q in range(values.size):
                values[q] = prob[k, q] * prob[j, q]
            _expect(weight, values, moment)
            for c in range(n):
                pairs = copies[c] * trials[k, c] * trials[j, c]
                moment[c] = pairs * (moment[c] - mean[c] * means[j, c])
            hess[j, k] += _total(moment)
