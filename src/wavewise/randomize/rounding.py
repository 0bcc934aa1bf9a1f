"""Cells to whole counts: two-way dependent rounding along cycles, exact in every margin.

The cells that are no whole number form a graph between strata and arms. Since every margin is
whole (one extra row makes the arm totals so), no vertex has a single such cell, hence there is a
cycle. Along it cells go up and down in turn by the largest amount that keeps all in bounds, one
way or the other, with the odds that leave every expectation as it was; one cell at least becomes
whole. Strata come one by one, and what is left between them is kept a forest, which has fewer
strata than arms.
"""

from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.shared.compiled import compiled
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = [
    "IntegerShares",
    "integer_shares",
    "round_counts",
    "round_fractions",
    "shuffle_into_arms",
    "small_fractions",
]


# Whole counts to units: the labels of each stratum dealt out at random.


@compiled
def shuffle_into_arms(
    stratum: IntArray, order: IntArray, count: IntArray, bits: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int16]:
    """Arm of each unit: a uniformly random permutation of the stratum's labels; (n_units,).

    Notes
    -----
    Each unit takes one of the labels that are left in its stratum, each equally likely (up to
    2^-64: the high word of bits times the number left).
    """
    n_strata, n_arms = count.shape
    labels = np.empty(stratum.size, dtype=np.int16)
    start = np.zeros(n_strata, dtype=np.int64)
    left = np.zeros(n_strata, dtype=np.int64)
    filled = 0
    for s in range(n_strata):
        start[s] = filled
        for arm in range(n_arms):
            for _ in range(count[s, arm]):
                labels[filled] = arm
                filled += 1
        left[s] = filled - start[s]
    dealt = np.empty(stratum.size, dtype=np.int16)
    for position in range(stratum.size):
        unit = order[position] if order.size > 0 else position
        s = stratum[unit]
        pick = start[s] + _below(bits[position], left[s])
        left[s] -= 1
        last = start[s] + left[s]
        dealt[unit] = labels[pick]
        labels[pick] = labels[last]
    return dealt


@compiled
def _below(bits: np.uint64, bound: int) -> np.int64:
    """The high word of a 64 by 32 bit product: uniform in [0, bound)."""
    shift, mask, size = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(bound)
    high, low = bits >> shift, bits & mask
    return np.int64((high * size + ((low * size) >> shift)) >> shift)


# Shares as whole-number parts over one denominator, so that counting is exact.

_MAX_DENOMINATOR = 10**6
_TOLERANCE = 1e-14  # what arithmetic in doubles may have added
# A fraction a/b is believed only if it is far closer than 1/b^2, as chance would give.
_BELIEF = 1e-3
# n * part stays below 2^62; parts themselves stay exact in a double.
_MAX_TOTAL = 2**62
_MAX_PART = 2**50


@dataclass(frozen=True)
class IntegerShares:
    """Whole-number parts: arm k's share in stratum s is ``part[s, k] / whole``."""

    part: IntArray  # (n_strata, n_arms): Rows sum to ``whole``.
    whole: int  # The common denominator D; D times the number of units stays below 2^62.

    @property
    def share(self) -> FloatArray:
        """Probability of each arm, exactly as drawn; (n_strata, n_arms)."""
        return self.part / float(self.whole)


def integer_shares(share: FloatArray, n_units: int) -> IntegerShares:
    """Whole-number parts nearest to the shares.

    Notes
    -----
    With L the least common multiple of the denominators of the shares that are small fractions,
    D = L if all are, else D = L 2^k with the largest k that keeps D n below 2^62. The parts of
    small fractions are exact; the others share what is left by largest remainder, each within
    1/D + n_arms 1e-14 of its share. At up to a million units 1/D is then below 5e-13.
    """
    if n_units >= 2**31:
        raise InputError(f"units: found {n_units:,}, needed fewer than 2^31; split the wave")
    limit = min(_MAX_TOTAL // n_units, _MAX_PART)
    rows, back = _distinct_rows(share)
    numerator, divisor = small_fractions(rows)
    common = _common_multiple(divisor, limit)
    exact = (divisor > 0) & (common % np.maximum(divisor, 1) == 0)
    part = np.where(exact, numerator * (common // np.maximum(divisor, 1)), 0)
    exact &= _consistent(part, exact, common)[:, None] | (rows == 0.0)
    denominator = common if bool(exact.all()) else _refined(common, limit)
    part = np.where(exact, part * (denominator // common), 0)
    part = _fill(part, exact, rows, denominator)
    return IntegerShares(part[back], denominator)


def _distinct_rows(share: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows, and which of them each row is."""
    if bool((share == share[0]).all()):
        return share[:1], np.zeros(share.shape[0], dtype=np.int64)
    rows, back = np.unique(share, axis=0, return_inverse=True)
    return rows, back.reshape(-1).astype(np.int64)


def small_fractions(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Numerators and denominators of the values in [0, 1] that are small fractions, else 0 and 0.

    Notes
    -----
    Convergents of the continued fraction, by the usual recurrence (Hardy and Wright 1979, section
    10.2), all values at once.
    """
    numerator = np.zeros(values.shape, dtype=np.int64)
    divisor = np.zeros(values.shape, dtype=np.int64)
    p, q = np.zeros_like(values), np.ones_like(values)
    p_before, q_before = np.ones_like(values), np.zeros_like(values)
    rest = values.copy()
    while True:
        error = np.abs(values - p / q)
        hit = (divisor == 0) & (q <= _MAX_DENOMINATOR) & (error < _TOLERANCE)
        hit &= error * q * q < _BELIEF
        numerator[hit], divisor[hit] = p[hit].astype(np.int64), q[hit].astype(np.int64)
        open_ = (divisor == 0) & (q <= _MAX_DENOMINATOR) & (rest > 0.0)
        if not bool(open_.any()):
            return numerator, divisor
        inverse = np.divide(1.0, rest, out=np.zeros_like(rest), where=open_)
        step = np.floor(inverse)
        rest = inverse - step
        p, p_before = np.where(open_, step * p + p_before, p), np.where(open_, p, p_before)
        q, q_before = np.where(open_, step * q + q_before, q), np.where(open_, q, q_before)


def _common_multiple(divisor: IntArray, limit: int) -> int:
    common = 1
    for value in np.unique(divisor[divisor > 0]).tolist():
        multiple = lcm(common, value)
        if multiple <= limit:
            common = multiple
    return common


def _consistent(part: IntArray, exact: BoolArray, common: int) -> BoolArray:
    """Whether a row's exact parts leave room for the others, or fill it when there are none."""
    total = part.sum(axis=1)
    fits: BoolArray = np.where(exact.all(axis=1), total == common, total < common)
    return fits


def _refined(common: int, limit: int) -> int:
    return common << ((limit // common).bit_length() - 1)


def _fill(part: IntArray, exact: BoolArray, share: FloatArray, denominator: int) -> IntArray:
    """The parts with what exact ones leave given to the others by largest remainder."""
    left = denominator - part.sum(axis=1)
    loose = np.where(exact, 0.0, share)
    total = loose.sum(axis=1, keepdims=True)
    target = np.divide(loose * left[:, None], total, out=np.zeros_like(loose), where=total > 0.0)
    floor = np.floor(target)
    short = left - floor.sum(axis=1).astype(np.int64)
    remainder = np.where(exact, -1.0, target - floor)
    rank = _rank_descending(remainder)
    filled: IntArray = part + floor.astype(np.int64) + (rank < short[:, None])
    return filled


def _rank_descending(values: FloatArray) -> npt.NDArray[np.int64]:
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(values.shape[1])[None, :], axis=1)
    return rank


class Forest(NamedTuple):
    """Open cells as edges between arms and rows, kept as parent pointers.

    Vertices 0 to n_arms - 1 are arms; the rest are slots for rows. ``value[v]`` is the open cell
    between v and its parent; ``owner`` is the row in a slot; ``path`` and ``sign`` hold a cycle.
    """

    parent: IntArray
    value: IntArray
    degree: IntArray
    owner: IntArray
    path: IntArray
    sign: IntArray


def round_counts(size: IntArray, parts: IntegerShares, rng: np.random.Generator) -> IntArray:
    """Whole counts by stratum and arm, random with the right expectation; (n_strata, n_arms).

    Notes
    -----
    With x_sk = n_s q_sk: counts are floor or ceil of x_sk; rows sum to n_s; arm totals are floor
    or ceil of sum_s x_sk; the expectation is x_sk. Strata, and arms within each, come in random
    order, so that neighbours in the order of labels are no more alike or unlike than others.

    References
    ----------
    Cox, L. H. (1987), A constructive procedure for unbiased controlled rounding, JASA 82.
    Gandhi, R., Khuller, S., Parthasarathy, S., Srinivasan, A. (2006), Dependent rounding and its
    applications to approximation algorithms, Journal of the ACM 53.
    """
    denominator = parts.whole
    base, fraction = np.divmod(size[:, None] * parts.part, denominator)
    balancing = -fraction.sum(axis=0) % denominator
    table = np.vstack([fraction, balancing])
    n_rows, n_arms = table.shape
    row_order = np.argsort(rng.random(n_rows), kind="stable")
    arm_order = np.argsort(rng.random((n_rows, n_arms)), axis=1, kind="stable")
    draws = rng.random(n_rows * n_arms)
    up = round_fractions(table, denominator, row_order, arm_order, draws)
    return np.asarray(base + up[:-1], dtype=np.int64)


@compiled
def round_fractions(
    fraction: IntArray, whole: int, row_order: IntArray, arm_order: IntArray, draws: FloatArray
) -> BoolArray:
    """Whether each cell is rounded up; (n_rows, n_arms).

    Notes
    -----
    A row is done when all its cells are whole or at least two are open, so rows in the forest
    are fewer than arms, and paths are short: the work is O(n_rows n_arms^2) in practice.
    """
    n_rows, n_arms = fraction.shape
    up = np.zeros((n_rows, n_arms), dtype=np.bool_)
    forest = _no_edges(2 * n_arms + 1)
    n_used = 0
    for row in row_order:
        slot = _free_slot(forest, n_arms)
        forest.owner[slot] = row
        for arm in arm_order[row]:
            cell = fraction[row, arm]
            if cell == 0:
                continue
            length = _cycle(forest, slot, arm)
            if length > 0:
                highest, lowest = _room(forest, whole, cell, length)
                goes_up = draws[n_used] < lowest / (highest + lowest)
                n_used += 1
                shift = highest if goes_up else -lowest
                cell += shift
                _shift(forest, up, whole, shift, length)
            if 0 < cell < whole:
                _link(forest, slot, arm, cell)
            elif cell == whole:
                up[row, arm] = True
    return up


@compiled
def _no_edges(n_vertices: int) -> Forest:
    zeros = np.zeros((5, n_vertices), dtype=np.int64)
    return Forest(zeros[0] - 1, zeros[0], zeros[1], zeros[2], zeros[3], zeros[4])


@compiled
def _free_slot(forest: Forest, n_arms: int) -> int:
    """The first slot without an open cell."""
    slot = n_arms
    while forest.degree[slot] > 0:
        slot += 1
    return slot


@compiled
def _cycle(forest: Forest, slot: int, arm: int) -> int:
    """Number of forest edges that a new edge between slot and arm closes into a cycle, or 0.

    Each edge is named in ``path`` by its lower vertex; ``sign`` is the way in which it moves when
    the new edge goes up. The two ways to the common ancestor alternate from the new edge's ends.
    """
    length, root = _climb(forest, arm, -1, 0)
    vertex = slot
    while forest.parent[vertex] >= 0:
        vertex = forest.parent[vertex]
    if vertex != root:
        return 0
    meeting, n_arm_side = _meeting(forest, slot, length, root)
    return _climb(forest, slot, meeting, n_arm_side)[0]


@compiled
def _climb(forest: Forest, vertex: int, stop: int, length: int) -> tuple[int, int]:
    """Note the edges from a vertex up to ``stop`` (or the root) in the path, from ``length`` on."""
    direction = -1
    while vertex != stop and forest.parent[vertex] >= 0:
        forest.path[length], forest.sign[length] = vertex, direction
        length, vertex, direction = length + 1, forest.parent[vertex], -direction
    return length, vertex


@compiled
def _meeting(forest: Forest, slot: int, length: int, root: int) -> tuple[int, int]:
    """The common ancestor of slot and the path's start, and how many edges lead up to it."""
    vertex = slot
    while vertex != root:
        for position in range(length):
            if forest.path[position] == vertex:
                return vertex, position
        vertex = forest.parent[vertex]
    return root, length


@compiled
def _room(forest: Forest, whole: int, cell: int, length: int) -> tuple[int, int]:
    """How far the new cell can go up, and down, with all cells of its cycle in bounds."""
    highest, lowest = whole - cell, cell
    for position in range(length):
        below = forest.value[forest.path[position]]
        above = whole - below
        if forest.sign[position] < 0:
            above, below = below, above
        highest, lowest = min(highest, above), min(lowest, below)
    return highest, lowest


@compiled
def _shift(forest: Forest, up: BoolArray, whole: int, shift: int, length: int) -> None:
    """Move the cycle's cells; those that become whole are noted and leave the forest."""
    for position in range(length):
        vertex = forest.path[position]
        forest.value[vertex] += forest.sign[position] * shift
        if 0 < forest.value[vertex] < whole:
            continue
        above = forest.parent[vertex]
        slot, arm = max(vertex, above), min(vertex, above)
        up[forest.owner[slot], arm] = forest.value[vertex] == whole
        forest.degree[slot] -= 1
        forest.parent[vertex], forest.value[vertex] = -1, 0


@compiled
def _link(forest: Forest, slot: int, arm: int, cell: int) -> None:
    """Add an open cell: make the slot its tree's root (turn the pointers round), then join it."""
    below, carried, vertex = -1, 0, slot
    while vertex >= 0:
        above, edge = forest.parent[vertex], forest.value[vertex]
        forest.parent[vertex], forest.value[vertex] = below, carried
        below, carried, vertex = vertex, edge, above
    forest.parent[slot], forest.value[slot] = arm, cell
    forest.degree[slot] += 1
