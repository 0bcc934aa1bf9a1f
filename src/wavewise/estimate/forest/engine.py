"""A forest of arm means: grown and applied by threads, the same to the last bit for any number."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from wavewise.estimate.forest.grow import grow_groups
from wavewise.estimate.forest.sample import Columns, Data, Rules
from wavewise.shared.compiled import compiled_nogil
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["ArmTrees", "GroupSums", "Units", "apply_trees", "grow_trees", "leaf_means"]

ByteArray = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
WordArray = npt.NDArray[np.uint64]
T = TypeVar("T")

_LANES = 4  # numbers that one instruction takes
_GROUPS_A_TASK, _UNITS_A_TASK = 4, 2048
_LEAST_SHARE = 0.05  # of a node, in either child; keeps leaves from the edges
_WEIGHT_STEPS = 16  # whole steps of an average weight in the choice of splits


@dataclass(frozen=True, eq=False)
class Units:
    """Training units in canonical order."""

    bins: ByteArray  # (n_units, n_covariates)
    n_bins: IntArray  # (n_covariates,)
    arm: IntArray  # (n_units,): Code, 0 for the control.
    n_arms: int
    # outcome, weight: (n_units,)
    outcome: FloatArray
    weight: FloatArray
    part: IntArray  # (n_units,): Cluster, or the unit itself.

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.arm.size)


@dataclass(frozen=True, eq=False)
class ArmTrees:
    """Grown trees, two a group."""

    # (n_nodes, 4): Covariate (-1 in a leaf), lowest bin that goes left, span of such bins, left
    # child within the tree, or the leaf within the tree.
    nodes: Int32Array
    means: FloatArray  # (n_leaves, n_arms): Mean outcome of each arm in the estimation half.
    size: Int32Array  # (n_leaves,): Units of the estimation half.
    # n_nodes, n_leaves: (n_trees,)
    n_nodes: IntArray
    n_leaves: IntArray
    inside: ByteArray  # (n_groups, n_bytes): Bits: the units in each group's half.

    @property
    def tree_of_leaf(self) -> IntArray:
        """Tree of each leaf, (n_leaves,)."""
        return np.repeat(np.arange(self.n_leaves.size), self.n_leaves)

    def tree_means(self, values: FloatArray) -> FloatArray:
        """Mean of leaf values over each tree's estimation half, (n_trees, n_values)."""
        tree, n_trees = self.tree_of_leaf, self.n_leaves.size
        total = np.bincount(tree, weights=self.size, minlength=n_trees)
        sums = [
            np.bincount(tree, weights=self.size * column, minlength=n_trees) for column in values.T
        ]
        means: FloatArray = np.stack(sums, axis=1) / np.maximum(total, 1)[:, None]
        return means


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Moments over groups of trees, for each unit and value."""

    n_groups: IntArray  # (n_units,)
    mean: FloatArray  # (n_units, n_values)
    # square, within: (n_units, n_values): Mean square of the groups' values; mean square of the
    # difference of a group's two trees. Without rows where they were not asked for.
    square: FloatArray
    within: FloatArray


def in_threads(
    work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], n_threads: int | None
) -> list[T]:
    """Results of independent tasks in their order; kernels leave the interpreter's lock free."""
    n_threads = n_threads or get_num_threads()
    if n_threads == 1:
        return [work(*task) for task in tasks]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda task: work(*task), tasks))


def grow_trees(
    units: Units,
    *,
    n_groups: int,
    min_leaf: int,
    n_tried: int,
    seed: int,
    factor: IntArray | None = None,
    n_threads: int | None = None,
) -> ArmTrees:
    """An even number of groups of two trees; the halves of a pair of groups are complements."""
    data, columns = _data(units), _columns(units)
    rules = _rules(units, data, min_leaf, n_tried, factor)
    tasks = [
        (np.uint64(seed), first, min(_GROUPS_A_TASK, n_groups - first), data, columns, rules)
        for first in range(0, n_groups, _GROUPS_A_TASK)
    ]
    done = in_threads(_grow, tasks, n_threads)
    return ArmTrees(*(np.concatenate(parts) for parts in zip(*done, strict=True)))


def _grow(*task: Any) -> tuple[npt.NDArray[Any], ...]:
    grown: tuple[npt.NDArray[Any], ...] = tuple(grow_groups(*task))
    return (*grown[:-1], np.packbits(grown[-1], axis=1))


def apply_trees(
    trees: ArmTrees,
    values: FloatArray,
    bins: ByteArray,
    *,
    out_of_bag: bool,
    moments: bool = False,
    n_threads: int | None = None,
) -> GroupSums:
    """Mean of leaf values over groups for each unit, over those that it was not in, if asked."""
    nodes, roots, leaf = _linked(trees)
    inside = trees.inside if out_of_bag else np.empty((0, 0), np.uint8)
    tasks = [
        (bins[a : a + _UNITS_A_TASK], a, nodes, roots, leaf, values, inside, moments)
        for a in range(0, len(bins), _UNITS_A_TASK)
    ]
    done = in_threads(sum_groups, tasks, n_threads)
    n_groups, *sums = (np.concatenate(parts) for parts in zip(*done, strict=True))
    counts = np.maximum(n_groups, 1)[:, None]
    for part in sums:
        np.divide(part, counts[: len(part)], out=part)
    return GroupSums(n_groups, *sums)


def leaf_means(trees: ArmTrees, values: FloatArray, bins: ByteArray) -> FloatArray:
    """Mean of values of units over all units in each leaf, (n_leaves, n_values)."""
    sums, counts = sum_leaves(bins, *_linked(trees), values, trees.size.size)
    return np.asarray(sums / np.maximum(counts, 1)[:, None])


def _linked(trees: ArmTrees) -> tuple[WordArray, IntArray, Int32Array]:
    """Nodes as words whose children are positions in the whole array; roots; rows of leaves."""
    first_node = np.cumsum(trees.n_nodes) - trees.n_nodes
    first_leaf = np.cumsum(trees.n_leaves) - trees.n_leaves
    column, low, span, child = trees.nodes.T.astype(np.int64)
    is_leaf = column < 0
    leaf = np.where(is_leaf, child + np.repeat(first_leaf, trees.n_nodes), 0)
    child = np.where(is_leaf, 0, child + np.repeat(first_node, trees.n_nodes))
    inner = column | low << 16 | span << 24 | child << 32
    words = np.where(is_leaf, 0, inner).astype(np.uint64)
    return words, np.where(trees.n_nodes > 0, first_node, -1), leaf.astype(np.int32)


def _data(units: Units) -> Data:
    """Packed units: bins and arm a byte each, weight and outcome in one whole number."""
    n, p = units.bins.shape
    cells = np.zeros((n, 8 * ((p + 8) // 8)), np.uint8)
    cells[:, :p], cells[:, -1] = units.bins, units.arm
    stratum = _strata(units)
    return Data(
        words=cells.view(np.uint64),
        value=_packed(units),
        outcome=np.ascontiguousarray(units.outcome, np.float64),
        weight=np.ascontiguousarray(units.weight, np.float64),
        part=units.part,
        stratum=stratum,
        n_by_stratum=np.bincount(stratum).astype(np.int64),
    )


def _strata(units: Units) -> IntArray:
    """Arm of each part, within which halves are drawn; one more for clusters of several arms."""
    n_parts = int(units.part.max()) + 1
    low, high = np.full(n_parts, units.n_arms), np.zeros(n_parts, np.int64)
    np.minimum.at(low, units.part, units.arm)
    np.maximum.at(high, units.part, units.arm)
    return np.where(low == high, high, units.n_arms)


def _packed(units: Units) -> IntArray:
    """Whole weight in the upper 32 bits, weight times outcome in whole steps in the lower."""
    weight = np.ones(units.n_units, np.int64)
    if np.ptp(units.weight) > 0:
        scaled = np.rint(units.weight / units.weight.mean() * _WEIGHT_STEPS)
        weight = np.maximum(scaled, 1).astype(np.int64)
    low, spread = units.outcome.min(), max(float(np.ptp(units.outcome)), 1e-300)
    steps = max((2**31 - 1) // int(weight.sum()), 1)
    outcome = np.rint((units.outcome - low) / spread * steps).astype(np.int64)
    packed: IntArray = weight * ((np.int64(1) << 32) + outcome)
    return packed


def _columns(units: Units) -> Columns:
    bins = units.n_bins.astype(np.int64)
    missing = (units.bins == 0).any(axis=0).astype(np.uint8)
    n_bins, n_lanes = int(bins.max()), _LANES * -(-bins.size // _LANES)
    return Columns(bins, missing, n_bins, n_lanes, units.n_arms * n_bins * n_lanes)


def _rules(units: Units, data: Data, min_leaf: int, n_tried: int, factor: IntArray | None) -> Rules:
    counts = np.bincount(units.arm, minlength=units.n_arms)
    alone = data.stratum.size == units.n_units
    kept = counts.min() // 4 + 2 if alone else counts.min()  # of the scarcest arm, at most
    weights = np.empty(0) if factor is None else _margin_weights(factor)
    return Rules(
        n_arms=units.n_arms,
        min_leaf=min_leaf,
        n_tried=n_tried,
        least_share=_LEAST_SHARE,
        factor=np.zeros((2, units.n_arms), np.int64) if factor is None else factor,
        n_margins=weights.size,
        margin_weight=weights,
        max_leaves=int(kept) // min_leaf + 1,
        n_slots=int(np.ceil(np.log2(units.n_units))) + 3,
    )


def _margin_weights(factor: IntArray) -> FloatArray:
    """One over each message's pairs, and less one over all pairs: squares of an additive fit."""
    n_pairs = np.bincount(factor[:, 1:].ravel())
    return np.append(1.0 / n_pairs, -1.0 / (factor.shape[1] - 1))


# Units through grown trees: sums of leaf values over groups, unit by unit in a fixed order.

_COLUMN, _LOW, _SPAN, _CHILD = np.uint64(0xFFFF), np.uint64(16), np.uint64(24), np.uint64(32)
_ZERO = np.uint64(0)


@compiled_nogil
def descend(
    nodes: WordArray,
    root: int,
    bins: ByteArray,
    units: IntArray,
    n: int,
    active: IntArray,
    at: IntArray,
) -> None:
    """Leaf of each listed unit: all go down one level at a time, those at a leaf drop out.

    A node is one word: covariate (16 bits), lowest bin that goes left and span of such bins (8
    bits each), left child (32 bits; 0, the first root, for a leaf).
    """
    for j in range(n):
        at[j] = root
        active[j] = j
    while n > 0:
        left = np.uint64(0)
        for k in range(n):
            j = np.uint64(active[k])
            word = nodes[np.uint64(at[j])]
            child = word >> _CHILD
            column = word & _COLUMN
            value = np.uint8(bins[np.uint64(units[j]), column] - np.uint8(word >> _LOW))
            if child > _ZERO:
                at[j] = np.int64(child) + np.int64(value > np.uint8(word >> _SPAN))
            active[left] = j
            left += np.uint64(child > _ZERO)
        n = np.int64(left)


@compiled_nogil
def sum_groups(
    bins: ByteArray,
    first: int,
    nodes: WordArray,
    roots: IntArray,
    leaf: Int32Array,
    values: FloatArray,
    inside: ByteArray,
    moments: bool,
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Number of groups; sums of their values, of the squares, of tree differences squared."""
    n, q = bins.shape[0], values.shape[1]
    n_groups = np.zeros(n, np.int64)
    n_squares = n if moments else 0
    sums, squares, within = np.zeros((n, q)), np.zeros((n_squares, q)), np.zeros((n_squares, q))
    units, active = np.empty(n, np.int64), np.empty(n, np.int64)
    one, two = np.empty(n, np.int64), np.empty(n, np.int64)
    for g in range(roots.size // 2):
        if roots[2 * g] < 0 or roots[2 * g + 1] < 0:
            continue
        m = 0
        for i in range(n):
            unit = first + i
            units[m] = i
            if inside.shape[0] == 0 or not (inside[g, unit >> 3] >> (7 - (unit & 7))) & 1:
                m += 1
        descend(nodes, roots[2 * g], bins, units, m, active, one)
        descend(nodes, roots[2 * g + 1], bins, units, m, active, two)
        for j in range(m):
            i = np.uint64(units[j])
            a, b = np.uint64(leaf[np.uint64(one[j])]), np.uint64(leaf[np.uint64(two[j])])
            n_groups[i] += 1
            if moments:
                for k in range(q):
                    middle = 0.5 * (values[a, k] + values[b, k])
                    apart = values[a, k] - values[b, k]
                    sums[i, k] += middle
                    squares[i, k] += middle * middle
                    within[i, k] += apart * apart
            else:
                for k in range(q):
                    sums[i, k] += 0.5 * (values[a, k] + values[b, k])
    return n_groups, sums, squares, within


@compiled_nogil
def sum_leaves(
    bins: ByteArray,
    nodes: WordArray,
    roots: IntArray,
    leaf: Int32Array,
    values: FloatArray,
    n_leaves: int,
) -> tuple[FloatArray, IntArray]:
    """Sums of values over the units of each leaf, and their number."""
    n, q = values.shape
    sums, counts = np.zeros((n_leaves, q)), np.zeros(n_leaves, np.int64)
    units, active, at = np.arange(n), np.empty(n, np.int64), np.empty(n, np.int64)
    for t in range(roots.size):
        if roots[t] < 0:
            continue
        descend(nodes, roots[t], bins, units, n, active, at)
        for i in range(n):
            place = leaf[at[i]]
            counts[place] += 1
            for k in range(q):
                sums[place, k] += values[i, k]
    return sums, counts
