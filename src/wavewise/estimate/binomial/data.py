"""Rows of the hierarchical binomial model: checked, and summed to (cluster, arm) counts."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, Fault, InputError
from wavewise.estimate.binomial.likelihood import ARMS_AT_ONCE, SingleArray
from wavewise.shared.inputs import encode, read_outcome
from wavewise.shared.labels import Labels, group_sum
from wavewise.shared.results import FloatArray, IntArray, Record, read_only

__all__ = ["VECTOR", "Block", "Cells", "Counts", "Rows", "collapse", "read_rows", "to_cells"]

# information of the clusters of one block: at most this many times apart, at least so many clusters
_BLOCK_RATIO, _BLOCK_SIZE = 4.0, 128
_LISTED = 5
_MODERATE_TRIALS, _MODERATE_SUM = 2_000.0, 10_000.0
# clusters that the inner loops do at once; without a rest they need no slow one by one
VECTOR = 16


@dataclass(frozen=True, eq=False)
class Rows:
    """One row per unit or a cell, checked."""

    # successes, trials: (n_rows,): Whole numbers, 0 <= successes <= trials.
    successes: FloatArray
    trials: FloatArray
    arm: Labels
    cluster: Labels


@dataclass(frozen=True, eq=False)
class Cells(Record):
    """Sums by cluster and arm."""

    arms: tuple[str, ...]  # (n_arms,): Sorted.
    clusters: tuple[str, ...]  # (n_clusters,): Sorted.
    # successes, trials: (n_clusters, n_arms)
    successes: FloatArray
    trials: FloatArray
    n_rows: int


@dataclass(frozen=True, eq=False)
class Block(Record):
    """Clusters of similar information, which share nodes; whole vectors of them."""

    successes: FloatArray  # (n,): Of all arms.
    trials: FloatArray  # (n_arms, n)
    # (n,): Clusters that have these counts; 0 where a place only fills up the block.
    copies: FloatArray
    info: float  # Largest information sum n p (1 - p) at a cluster's own rate.


@dataclass(frozen=True, eq=False)
class Counts(Record, tag="BinomialCounts"):
    """What the likelihood needs, clusters in an order of their own.

    Parameters
    ----------
    arm_successes, arm_trials : (n_arms,) array of float
    blocks : tuple of Block
        Distinct clusters, those with most information first.
    starts : (n_blocks + 1,) array of int
        Place of each block's first cluster among all.
    of_cluster : (n_clusters,) array of int
        Place of each cluster's counts; -1 without trials.

    Notes
    -----
    Given the arms' totals, the likelihood of a cluster depends on its total of successes and its
    trials by arm alone: clusters that agree in these are computed once.
    """

    arm_successes: FloatArray
    arm_trials: FloatArray
    blocks: tuple[Block, ...]
    starts: IntArray
    of_cluster: IntArray

    @cached_property
    def single(self) -> tuple[tuple[SingleArray, SingleArray], ...]:
        """Successes and trials of each block in single precision, arms in whole groups."""
        n_rows = -(-self.n_arms // ARMS_AT_ONCE) * ARMS_AT_ONCE
        out = []
        for block in self.blocks:
            trials = np.zeros((n_rows, block.copies.size), dtype=np.float32)
            trials[: self.n_arms] = block.trials
            out.append((block.successes.astype(np.float32), trials))
        return tuple(out)

    @cached_property
    def is_moderate(self) -> bool:
        """Whether single precision serves: no cluster is large, and there are not too many.

        Rounding errs by about 1e-7 of a cluster's log likelihood, at most 1e-3 in all.
        """
        trials = max(float(block.trials.sum(axis=0).max()) for block in self.blocks)
        return trials <= _MODERATE_TRIALS and trials * math.sqrt(self.starts[-1]) <= _MODERATE_SUM

    @property
    def n_arms(self) -> int:
        """How many arms."""
        return int(self.arm_successes.size)

    @cached_property
    def success_share(self) -> FloatArray:
        """Share of all successes that each arm has, (n_arms,)."""
        return np.asarray(self.arm_successes / max(float(self.arm_successes.sum()), 1e-300))

    def centers(self, points: FloatArray) -> FloatArray:
        """Mean of beta weighted by the arms' successes, at each point, (n_points,)."""
        return np.asarray(np.einsum("ij,j->i", points[:, : self.n_arms], self.success_share))


def read_rows(successes: Any, trials: Any, arm: Any, cluster: Any) -> Rows:
    """The rows, checked."""
    y, n = _counts("successes", successes), _counts("trials", trials)
    if y.size != n.size:
        raise InputError(
            f"found {y.size:,} successes and {n.size:,} trials; needed one of each a row"
        )
    above = np.flatnonzero(y > n)
    if above.size:
        faults = [
            Fault(f"row {i + 1}", f"{y[i]:g} successes of {n[i]:g} trials", "no more than trials")
            for i in above[:_LISTED]
        ]
        raise InputError(
            f"successes: {above.size:,} of {y.size:,} rows have more than trials", faults
        )
    return Rows(y, n, encode(arm, "arm", y.size), encode(cluster, "cluster", y.size))


def to_cells(rows: Rows) -> Cells:
    """Sums by cluster and arm."""
    n_arms, n_clusters = len(rows.arm.levels), len(rows.cluster.levels)
    cell = rows.cluster.codes * n_arms + rows.arm.codes
    shape = (n_clusters, n_arms)
    trials = group_sum(cell, rows.trials, n_clusters * n_arms).reshape(shape)
    _refuse_empty_arms(rows.arm.names, trials.sum(axis=0))
    return Cells(
        arms=rows.arm.names,
        clusters=rows.cluster.names,
        successes=read_only(group_sum(cell, rows.successes, n_clusters * n_arms).reshape(shape)),
        trials=read_only(trials),
        n_rows=rows.successes.size,
    )


def collapse(successes: FloatArray, trials: FloatArray) -> Counts:
    """Distinct clusters, those with most information first."""
    total = successes.sum(axis=1)
    full = trials.sum(axis=1) > 0
    keys = np.column_stack([_information(total, trials.sum(axis=1)), total, trials])[full]
    order = np.lexsort(keys.T[::-1])[::-1]
    ordered = keys[order]
    new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    distinct = ordered[new]
    of_cluster = np.full(total.size, -1, dtype=np.int64)
    of_full = np.empty(order.size, dtype=np.int64)
    of_full[order] = np.cumsum(new) - 1
    of_cluster[full] = of_full
    padded, starts, place = _padded(_blocks(distinct[:, 0]))
    copies = np.bincount(of_full, minlength=len(distinct)).astype(np.float64)
    real = np.zeros(padded.size)
    real[place] = 1.0
    table = distinct[padded]
    return Counts(
        arm_successes=successes.sum(axis=0),
        arm_trials=trials.sum(axis=0),
        blocks=tuple(
            _block(table[a:b], real[a:b] * copies[padded[a:b]])
            for a, b in itertools.pairwise(starts)
        ),
        starts=starts,
        of_cluster=np.where(of_cluster < 0, -1, place[of_cluster]),
    )


def _block(table: FloatArray, copies: FloatArray) -> Block:
    """Block from rows of information, successes and trials by arm."""
    return Block(
        successes=np.ascontiguousarray(table[:, 1]),
        trials=np.ascontiguousarray(table[:, 2:].T),
        copies=copies,
        info=float(table[0, 0]),
    )


def _counts(name: str, values: npt.ArrayLike) -> FloatArray:
    """Whole numbers of at least 0, (n_rows,)."""
    array = read_outcome(values, name)
    wrong = np.flatnonzero(~((array >= 0) & (array == np.floor(array)) & (array < 2**53)))
    if wrong.size:
        faults = [
            Fault(f"row {i + 1}", f"{array[i]:g}", "a whole number of at least 0")
            for i in wrong[:_LISTED]
        ]
        raise InputError(f"{name}: {wrong.size:,} of {array.size:,} counts are wrong", faults)
    return array


def _refuse_empty_arms(arms: tuple[str, ...], trials: FloatArray) -> None:
    empty = [name for name, n in zip(arms, trials, strict=True) if n == 0]
    if empty:
        raise EstimationError(
            f"arm {', '.join(empty)}: found no trials; needed at least one; leave the rows of that "
            "arm out, or wait for its outcomes"
        )


def _information(successes: FloatArray, trials: FloatArray) -> FloatArray:
    rate = (successes + 0.5) / (trials + 1)
    return trials * rate * (1 - rate)


def _padded(starts: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Blocks filled up to whole vectors with copies of their last cluster.

    Returns the cluster at each place, where blocks start, and the place of each cluster.
    """
    parts, places, ends = [], [], [0]
    for first, last in itertools.pairwise(starts):
        n_full = -(-(last - first) // VECTOR) * VECTOR
        parts.append(np.minimum(np.arange(first, first + n_full), last - 1))
        places.append(ends[-1] + np.arange(last - first))
        ends.append(ends[-1] + n_full)
    return np.concatenate(parts), np.array(ends, dtype=np.int64), np.concatenate(places)


def _blocks(info: FloatArray) -> IntArray:
    """Where blocks of clusters with similar information start, and the end."""
    starts = [0]
    for c in range(_BLOCK_SIZE, info.size - _BLOCK_SIZE):
        if c - starts[-1] >= _BLOCK_SIZE and 1 + info[c] < (1 + info[starts[-1]]) / _BLOCK_RATIO:
            starts.append(c)
    if info.size > 2 and 1 + info[0] > 4 * _BLOCK_RATIO * (1 + info[2]):
        starts = sorted({*starts, 2})  # one or two clusters far larger than all others
    return np.array([*starts, info.size], dtype=np.int64)
