"""Log likelihood of the hierarchical binomial model, cluster effects integrated out."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wavewise.shared.compiled import compile_with
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "ARMS_AT_ONCE",
    "SingleArray",
    "add_log_likelihood",
    "add_log_likelihood_single",
    "compiled",
    "exp_in_place",
    "inlined",
    "node_count",
    "node_step",
    "softplus_table",
]


# Exponentials and logs of whole vectors, plain arithmetic only, for the likelihood's inner loops.

SingleArray: TypeAlias = npt.NDArray[np.float32]

_LOG2_E = 1.4426950408889634
_LN2 = 0.6931471805599453
_TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to whole numbers
_EXPONENT_BITS = np.int64(52)
_ONE_BITS = np.int64(1023) << np.int64(52)
_LARGEST = 700.0
# the same in single precision: twice as many at once
_F = np.float32
_LARGEST_SINGLE, _LOG2_E_SINGLE = _F(87.0), _F(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_TO_WHOLE_SINGLE = _F(12582912.0)  # 1.5 * 2^23
_ONE_HALF, _ONE = _F(0.5), _F(1.0)
_C3, _C4, _C5, _C6 = _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720)
_EXPONENT_BITS_SINGLE, _ONE_BITS_SINGLE = np.int32(23), np.int32(127 << 23)


# What only compiled functions call needs no entrance from Python.
compiled = compile_with(
    nogil=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True
)
inlined = compile_with(
    nogil=True,
    error_model="numpy",
    fastmath={"contract"},
    no_cfunc_wrapper=True,
    no_cpython_wrapper=True,
)


@inlined
def exp_in_place(x: FloatArray, power: FloatArray, bits: IntArray, n: int) -> None:
    """X becomes exp(x) for its first n elements, to 1e-8 of itself; |x| is cut at 700.

    `power` is scratch of at least n elements, `bits` the same memory seen as whole numbers.
    """
    for i in range(n):
        v = min(max(x[i], -_LARGEST), _LARGEST)
        shifted = v * _LOG2_E + _TO_WHOLE
        power[i] = shifted
        whole = shifted - _TO_WHOLE
        r = v - whole * _LN2
        s = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040)))
        x[i] = 1 + r * (1 + r * (0.5 + r * (1 / 6 + r * s)))
    for i in range(n):
        bits[i] = (bits[i] << _EXPONENT_BITS) + _ONE_BITS
    for i in range(n):
        x[i] *= power[i]


@inlined
def exp_single(x: np.float32) -> np.float32:
    """Exp of one number in single precision, to 2e-7 of itself; |x| is cut at 87."""
    v = min(max(x, -_LARGEST_SINGLE), _LARGEST_SINGLE)
    shifted = np.float32(v * _LOG2_E_SINGLE + _TO_WHOLE_SINGLE)
    whole = shifted - _TO_WHOLE_SINGLE
    r = (v - whole * _LN2_HIGH) - whole * _LN2_LOW
    high = _C3 + r * (_C4 + r * (_C5 + r * _C6))
    near = _ONE + r * (_ONE + r * (_ONE_HALF + r * high))
    power = np.int32((shifted.view(np.int32) << _EXPONENT_BITS_SINGLE) + _ONE_BITS_SINGLE)
    return near * power.view(np.float32)


@inlined
def softplus_in_place(
    x: FloatArray, prob: FloatArray, power: FloatArray, bits: IntArray, n: int
) -> None:
    """X becomes log(1 + exp(x)) and `prob` logistic(x), for the first n elements.

    Notes
    -----
    log(1 + e) with e = exp(-|x|) in (0, 1] is 2 atanh(w), w = e / (2 + e) <= 1/3: ten terms of
    its series give 1e-10, and the exponential 1e-8 of e.
    """
    for i in range(n):
        prob[i] = -abs(x[i])
    exp_in_place(prob, power, bits, n)
    for i in range(n):
        e = prob[i]
        w = e / (2 + e)
        q = w * w
        high = 1 / 11 + q * (1 / 13 + q * (1 / 15 + q * (1 / 17 + q * (1 / 19))))
        series = 1 + q * (1 / 3 + q * (0.2 + q * (1 / 7 + q * (1 / 9 + q * high))))
        positive = x[i] > 0
        x[i] = max(x[i], 0.0) + 2 * w * series
        prob[i] = (1.0 if positive else e) / (1 + e)


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
            successes, trials, near, single, centers[i], kappa, low, step, n_nodes, x, total
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


# Log likelihood at points so far out that sums relative to the mode leave the range of exp.


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
