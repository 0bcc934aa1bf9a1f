"""Log posterior of (beta, log kappa), and its derivatives."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from wavewise.estimate.binomial.data import VECTOR, Block, Counts
from wavewise.estimate.binomial.likelihood import (
    add_log_likelihood,
    add_log_likelihood_single,
    compiled,
    exp_in_place,
    inlined,
    node_count,
    node_step,
    softplus_table,
)
from wavewise.estimate.binomial.priors import FLAT, NORMAL, STUDENT_T, BinomialPrior
from wavewise.shared.results import FloatArray, IntArray, Record

__all__ = [
    "REACH",
    "LogPosterior",
    "Nodes",
    "Problem",
    "Scratch",
    "at_nodes",
    "bounded",
    "empty_scratch",
    "slopes_at",
]


# Gradient and Hessian of the log likelihood, cluster effects integrated out.

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Nodes:
    """One block of clusters at the nodes, for one point of (beta, log kappa)."""

    # low, step: Of the nodes in z.
    low: float
    step: float
    prob: FloatArray  # (n_arms, n_nodes): Success probability of each arm at each node.
    weight: FloatArray  # (n_nodes, n_clusters): Posterior weight of each node in each cluster.
    log_likelihood: FloatArray  # (n_clusters,)


def at_nodes(
    block: Block, point: FloatArray, center: float, span: FloatArray, coarse: float
) -> Nodes:
    """Posterior weights of the nodes in each cluster."""
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


# Log posterior of (beta, log kappa) at one point with its derivatives.

Piece: TypeAlias = tuple[
    tuple[FloatArray, FloatArray, FloatArray, float, float, float, float], slice
]


@dataclass(frozen=True, eq=False)
class Problem:
    """Counts, nodes and priors, laid out for compiled code."""

    counts: Counts
    span: FloatArray  # (n_blocks, 2): First and last node in z.
    coarse: float  # Step of the nodes for derivatives.
    prior: FloatArray  # `BinomialPrior.code`.

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
    """What the slopes at a point are written to."""

    grad: FloatArray  # (n_arms + 1,): In beta and log kappa.
    hess: FloatArray  # (n_arms + 1, n_arms + 1)
    reference: FloatArray  # (n_distinct,): Log likelihood of each distinct cluster.
    # (2, n_distinct): Posterior mean and standard deviation of each distinct cluster's z.
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
    own = prior.size // 4 - 2  # blocks of four numbers: of each arm or of all, then of kappa
    for k in range(n_arms):
        j = 4 * min(k, own)
        x = point[k] - prior[j + 3]
        on_arm, first, second = log_prior_slopes(prior[j], prior[j + 1], prior[j + 2], x)
        value += on_arm
        grad[k] += first
        hess[k, k] += second
    kappa = math.exp(point[n_arms])
    j = 4 * (own + 1)
    on_kappa, first, second = log_prior_slopes(prior[j], prior[j + 1], prior[j + 2], kappa)
    grad[n_arms] = (grad[n_arms] + first) * kappa
    hess[n_arms, n_arms] = (hess[n_arms, n_arms] + second) * kappa**2 + grad[n_arms]
    grad[n_arms] += 1.0
    for k in range(n_arms):
        hess[k, n_arms] *= kappa
    for k in range(n_arms + 1):
        for j in range(k):
            hess[k, j] = hess[j, k]
    return float(value + on_kappa + point[n_arms])


# step of the nodes in posterior standard deviations of the narrowest cluster: a relative error of
# about 2 exp(-2 pi^2 / 1.8^2) = 5e-3 in that cluster's likelihood, far less in the others'
COARSE = 1.8
_LARGEST_LOG_KAPPA = 12.0
_FINER = 0.85  # for derivatives: variances are differences of large numbers
# nodes go this many posterior standard deviations beyond each cluster's mean effect
REACH = 4.2


def bounded(points: FloatArray, n_arms: int) -> FloatArray:
    """Points with log kappa at most 12: beyond, clusters succeed always or never anyway."""
    out = np.array(points, dtype=np.float64, order="C")
    out[:, n_arms] = np.minimum(out[:, n_arms], _LARGEST_LOG_KAPPA)
    return out


@dataclass(frozen=True, eq=False)
class Slopes:
    """Log posterior at one point, with derivatives."""

    value: float
    grad: FloatArray  # (n_arms + 1,): In beta and log kappa.
    hess: FloatArray  # (n_arms + 1, n_arms + 1)
    reference: FloatArray  # (n_clusters,): Log likelihood of each distinct cluster.
    # (2, n_clusters): Posterior mean and standard deviation of each distinct cluster's z.
    effect: FloatArray


@dataclass(frozen=True, eq=False)
class LogPosterior(Record):
    """Log p(beta, log kappa | data) up to a constant."""

    counts: Counts
    prior: BinomialPrior
    span: FloatArray  # (n_blocks, 2): First and last node in z, by block of clusters.
    reference: FloatArray  # (n_distinct,): Log likelihood of each distinct cluster near the mode.
    # Step of the nodes, in posterior standard deviations of a block's narrowest cluster.
    coarse: float = COARSE
    # Whether the sums over nodes are in single precision.
    is_single: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, counts: Counts, prior: BinomialPrior, wide: float = 5.5) -> "LogPosterior":
        """Log posterior with nodes from -wide to wide, to be moved to what is found."""
        span = np.tile([-wide, wide], (len(counts.blocks), 1))
        return cls(counts, prior, span, np.zeros(counts.starts[-1]))

    def values(self, points: FloatArray) -> FloatArray:
        """Log posterior at each point, (n_points,)."""
        c = self.counts
        inside = bounded(points, c.n_arms)
        centers = c.centers(inside)
        out = np.zeros(points.shape[0])  # around the centres, the linear part sums to 0
        for b, block in enumerate(c.blocks):
            reference = self.reference[c.starts[b] : c.starts[b + 1]]
            nodes = (block.info, self.span[b, 0], self.span[b, 1], self.coarse)
            if self.is_single:
                add_log_likelihood_single(
                    inside, centers, *c.single[b], block.copies, reference, *nodes, out
                )
            else:
                add_log_likelihood(
                    inside,
                    centers,
                    block.successes,
                    block.trials,
                    block.copies,
                    reference,
                    *nodes,
                    out,
                )
        return np.asarray(out + self.prior.log_density(points))

    @property
    def problem(self) -> Problem:
        """The same for compiled code, with the finer nodes that derivatives need."""
        return Problem(self.counts, self.span, _FINER * self.coarse, self.prior.code)

    def slopes(self, point: FloatArray) -> Slopes:
        """Log posterior and its derivatives at one point, (n_arms + 1,)."""
        out = empty_scratch(self.problem)
        return Slopes(slopes_at(self.problem, point, out), *out)

    def around(self, reference: FloatArray, low: FloatArray, high: FloatArray) -> "LogPosterior":
        """The same, with nodes between bounds and likelihoods relative to a reference."""
        starts = self.counts.starts[:-1]
        span = np.column_stack(
            [np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)]
        )
        return replace(self, span=span, reference=reference, is_single=self.counts.is_moderate)

    def finer(self) -> "LogPosterior":
        """The same with half the step and a wider span: what the nodes' error is measured by."""
        extra = np.array([-1.5, 1.5])
        return replace(self, span=self.span + extra, coarse=self.coarse / 2)
