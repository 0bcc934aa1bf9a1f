"""Trees and what turns their leaves into effects and standard errors, for any units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.estimate.forest.binning import Binning
from wavewise.estimate.forest.data import Training
from wavewise.estimate.forest.engine import ArmTrees, GroupSums, apply_trees
from wavewise.estimate.forest.shrinkage import Shrinkage, product
from wavewise.shared.results import FloatArray, IntArray, hash_arrays

__all__ = ["ForestModel", "bag_std_error", "in_row_order"]

ByteArray = npt.NDArray[np.uint8]

_OF_TREES = ("nodes", "means", "size", "n_nodes", "n_leaves")
_OF_SHRINKAGE = ("ate", "centre", "keep", "keep_error", "averages")


@dataclass(frozen=True, eq=False)
class ForestModel:
    """A grown forest, arms in internal order."""

    trees: ArmTrees
    binning: Binning
    shrinkage: Shrinkage
    position: IntArray  # (n_effects,): Internal place of each public arm.
    n_threads: int | None
    training: Training | None  # None once loaded from a file.

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that decides the effects of binned units."""
        return hash_arrays(**self.to_arrays())

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of the file; texts and numbers stand in its header."""
        held = ((self.trees, _OF_TREES), (self.shrinkage, _OF_SHRINKAGE))
        arrays = {name: getattr(part, name) for part, names in held for name in names}
        if not self.shrinkage.fitted:  # of an earlier version: its hash stays
            del arrays["averages"]
        return arrays | {"position": self.position}

    @classmethod
    def from_parts(
        cls, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> "ForestModel":
        """A forest from a file's header and arrays, without its training units."""
        trees = ArmTrees(
            **{name: arrays[name] for name in _OF_TREES}, inside=np.empty((0, 0), np.uint8)
        )
        earlier = {"averages": arrays["ate"]}  # version 1 had no other averages
        shrinkage = Shrinkage(
            **{name: (earlier | dict(arrays))[name] for name in _OF_SHRINKAGE},
            parts=header["kept"],
            fitted={
                name: (share, error) for name, (share, error) in header.get("fitted", {}).items()
            },
            loss=header["loss"],
            loss_of_averages=header["loss_of_averages"],
        )
        binning = Binning.from_json(header["binning"])
        return cls(trees, binning, shrinkage, arrays["position"], None, None)

    def effects(self, bins: ByteArray) -> FloatArray:
        """Shrunk effects of binned units, (n_units, n_effects)."""
        leaf = self.trees.means[:, 1:] - self.trees.means[:, :1]
        sums = apply_trees(self.trees, leaf, bins, out_of_bag=False, n_threads=self.n_threads)
        return self.shrinkage.effects(sums.mean)[:, self.position]

    def std_error(self, bins: ByteArray, *, out_of_bag: bool = False) -> FloatArray:
        """Their standard errors, (n_units, n_effects)."""
        leaf = estimates_by_leaf(self.trees, self.shrinkage)
        sums = apply_trees(
            self.trees, leaf, bins, out_of_bag=out_of_bag, moments=True, n_threads=self.n_threads
        )
        return bag_std_error(sums)[:, self.position]

    def std_error_oob(self) -> FloatArray:
        """Standard errors of the training units from trees that they were not in."""
        if self.training is None:
            raise InputError("forest: found no training units; load gives the stored errors")
        errors = self.std_error(self.training.bins, out_of_bag=True)
        return in_row_order(self.training, errors, self.std_error)

    def importance(self) -> FloatArray:
        """Estimation units sorted by splits on each covariate, as shares."""
        trees, p = self.trees, len(self.binning.columns)
        size, column = node_sizes(trees), trees.nodes[:, 0]
        counts = np.bincount(column[column >= 0], weights=size[column >= 0], minlength=p)
        shares: FloatArray = counts / max(float(counts.sum()), 1.0)
        return shares


def node_sizes(trees: ArmTrees) -> FloatArray:
    """Estimation units in each node, (n_nodes,): leaves first, parents as sums."""
    first_leaf = np.repeat(np.cumsum(trees.n_leaves) - trees.n_leaves, trees.n_nodes)
    first_node = np.repeat(np.cumsum(trees.n_nodes) - trees.n_nodes, trees.n_nodes)
    column, child = trees.nodes[:, 0], trees.nodes[:, 3]
    size = np.zeros(column.size)
    is_leaf = column < 0
    size[is_leaf] = trees.size[(first_leaf + child)[is_leaf]]
    left = first_node + child
    waiting = np.flatnonzero(~is_leaf)
    while waiting.size:  # children are made after their parents: level by level from below
        ready = (size[left[waiting]] > 0) & (size[left[waiting] + 1] > 0)
        done = waiting[ready]
        size[done] = size[left[done]] + size[left[done] + 1]
        waiting = waiting[~ready]
    return size


def in_row_order(
    training: Training, values: FloatArray, of_new: Callable[[ByteArray], FloatArray]
) -> FloatArray:
    """Values from canonical order to the caller's rows; not-a-number where the arm was left out.

    Rows without an outcome were in no tree: their values are those of new units.
    """
    among_kept = np.empty_like(values)
    among_kept[training.order] = values
    rows = np.full((training.kept.size, values.shape[1]), np.nan)
    rows[training.kept] = among_kept
    if training.silent.any():
        rows[training.silent] = of_new(training.silent_bins)
    return rows


# Standard errors by little bags: how much forests on other halves of the units would differ.


def estimates_by_leaf(trees: ArmTrees, shrinkage: Shrinkage) -> FloatArray:
    """Each leaf's estimate had its tree been all: its own averages and its shrunk deviations.

    Deviations of which a share s is kept as the estimate enter with the root of s: where they are
    normal around the average, what is left open after shrinking has s times the variance of the
    deviation, not its square, since shrinking leaves a bias too. The share is the largest that the
    data do not rule out, since none found is not none there.

    The tree's own average effect and the tree's own centre take the place of the forest's, so that
    their uncertainty is in the spread between trees too. Less the forest's average effects.
    """
    effects = trees.means[:, 1:] - trees.means[:, :1]
    centres = trees.tree_means(effects)
    values = centres - shrinkage.ate
    kept = product(effects - centres[trees.tree_of_leaf], shrinkage.keep_error)
    return np.asarray(values[trees.tree_of_leaf] + kept, dtype=np.float64)


def bag_std_error(sums: GroupSums) -> FloatArray:
    """Standard error of each unit's effects from moments over groups, (n_units, n_effects)."""
    n_groups = np.maximum(sums.n_groups, 1)[:, None]
    between = np.maximum(sums.square - sums.mean**2, 0.0)
    within = sums.within / 4.0
    error = np.sqrt(2.0 * (between**2 + within**2) / n_groups)
    variance = _positive(between - within, error)
    return np.sqrt(variance + between / n_groups)


def _positive(value: FloatArray, error: FloatArray) -> FloatArray:
    """Mean of a normal with this mean and standard deviation, given that it is positive."""
    safe = np.where(error > 0, error, 1.0)
    z = value / safe
    # density over distribution function, without overflow far below zero
    ratio = np.sqrt(2.0 / np.pi) / special.erfcx(-np.minimum(z, 30.0) / np.sqrt(2.0))
    mean = np.where(z >= 30.0, value, value + safe * ratio)
    positive: FloatArray = np.where(error > 0, mean, np.maximum(value, 0.0))
    return positive
