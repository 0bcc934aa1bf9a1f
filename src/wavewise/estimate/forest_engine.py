"""A forest of arm means: grown and applied by threads, the same to the last bit for any number."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from wavewise.estimate.forest_apply import sum_groups
from wavewise.estimate.forest_grow import grow_groups
from wavewise.estimate.forest_parts import Columns, Data, Rules
from wavewise.results import FloatArray, IntArray

__all__ = ["ArmTrees", "GroupSums", "Units", "apply_trees", "grow_trees", "in_threads"]

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
    """Training units in canonical order.

    Parameters
    ----------
    bins : (n_units, n_covariates) array of uint8
    n_bins : (n_covariates,) array of int
    arm : (n_units,) array of int
        Code, 0 for the control.
    n_arms : int
    outcome, weight : (n_units,) array of float
    part : (n_units,) array of int
        Cluster, or the unit itself.
    """

    bins: ByteArray
    n_bins: IntArray
    arm: IntArray
    n_arms: int
    outcome: FloatArray
    weight: FloatArray
    part: IntArray

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.arm.size)


@dataclass(frozen=True, eq=False)
class ArmTrees:
    """Grown trees, two a group.

    Parameters
    ----------
    nodes : (n_nodes, 4) array of int32
        Covariate (-1 in a leaf), lowest bin that goes left, span of such bins, left child within
        the tree, or the leaf within the tree.
    means : (n_leaves, n_arms) array of float
        Mean outcome of each arm in the estimation half.
    size : (n_leaves,) array of int32
        Units of the estimation half.
    n_nodes, n_leaves : (n_trees,) array of int
    inside : (n_groups, n_bytes) array of uint8
        Bits: the units in each group's half.
    """

    nodes: Int32Array
    means: FloatArray
    size: Int32Array
    n_nodes: IntArray
    n_leaves: IntArray
    inside: ByteArray

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
    """Moments over groups of trees, for each unit and value.

    Parameters
    ----------
    n_groups : (n_units,) array of int
    mean : (n_units, n_values) array of float
    square, within : (n_units, n_values) array of float
        Mean square of the groups' values; mean square of the difference of a group's two trees.
        Without rows where they were not asked for.
    """

    n_groups: IntArray
    mean: FloatArray
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
    """Mean of leaf values over groups for each unit, over those that it was not in, if asked.

    Parameters
    ----------
    trees : ArmTrees
    values : (n_leaves, n_values) array of float
    bins : (n_units, n_covariates) array of uint8
    out_of_bag : bool
        Whether the units are those of training, in canonical order.
    moments : bool
        Whether squares are wanted too.
    n_threads : int, optional
    """
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
