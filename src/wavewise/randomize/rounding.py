"""Cells to whole counts: two-way dependent rounding along cycles, exact in every margin.

The cells that are no whole number form a graph between strata and arms. Since every margin is
whole (one extra row makes the arm totals so), no vertex has a single such cell, hence there is a
cycle. Along it cells go up and down in turn by the largest amount that keeps all in bounds, one
way or the other, with the odds that leave every expectation as it was; one cell at least becomes
whole. Strata come one by one, and what is left between them is kept a forest, which has fewer
strata than arms.
"""

from typing import NamedTuple

import numpy as np

from wavewise.randomize.compiled import compiled
from wavewise.randomize.parts import Parts
from wavewise.results import BoolArray, FloatArray, IntArray

__all__ = ["round_counts", "round_fractions"]


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


def round_counts(size: IntArray, parts: Parts, rng: np.random.Generator) -> IntArray:
    """Whole counts by stratum and arm, random with the right expectation; (n_strata, n_arms).

    Parameters
    ----------
    size : (n_strata,) int array
        Units (or clusters) in each stratum.
    parts : Parts
        The shares as whole-number parts.
    rng : numpy.random.Generator
        Source of the random numbers.

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

    Parameters
    ----------
    fraction : (n_rows, n_arms) int array
        In [0, whole); every row and every column sums to a multiple of ``whole``.
    whole : int
        What counts as one.
    row_order, arm_order : (n_rows,) and (n_rows, n_arms) int arrays
        The order in which rows come, and arms within each row.
    draws : (n_rows * n_arms,) array
        Uniform in [0, 1), used one a cycle.

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
