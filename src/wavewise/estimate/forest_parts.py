"""What the kernels pass around: data, columns, rules and working memory, as named tuples."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wavewise.results import FloatArray, IntArray

__all__ = ["Columns", "Data", "Half", "Rules", "Tree", "Work"]

ByteArray = npt.NDArray[np.uint8]
WordArray = npt.NDArray[np.uint64]


class Data(NamedTuple):
    """Units in canonical order.

    Parameters
    ----------
    words : (n_units, n_words) array of uint64
        Bins of the covariates, one a byte; the arm's code in the last byte.
    value : (n_units,) array of int
        Weight in the upper 32 bits, weight times outcome as a whole number in the lower.
    outcome, weight : (n_units,) array of float
        What the leaf means are made of.
    part : (n_units,) array of int
        What is drawn together: the unit itself, or its cluster.
    stratum : (n_parts,) array of int
        Stratum within which halves are drawn.
    n_by_stratum : (n_strata,) array of int
        Parts in each.
    """

    words: WordArray
    value: IntArray
    outcome: FloatArray
    weight: FloatArray
    part: IntArray
    stratum: IntArray
    n_by_stratum: IntArray


class Half(NamedTuple):
    """The units of one half of a tree's subsample, sorted by node while the tree grows.

    Parameters
    ----------
    words : (n_units + 1, n_words) array of uint64
        As in `Data`. Rows of large nodes lie together.
    cells : (8 (n_units + 1) n_words,) array of uint8
        The same memory byte by byte.
    payload : (n_units + 1,) array of int
        Packed values of the split half, places in `Data` of the estimation half.
    index : (n_units + 1,) array of uint32
        Row of the unit at each place; a node holds the places from one to another.
    """

    words: WordArray
    cells: ByteArray
    payload: IntArray
    index: npt.NDArray[np.uint32]


class Columns(NamedTuple):
    """How a histogram lies in memory: by arm, bin, and covariate, the covariates side by side.

    All covariates are then scored together, with one instruction for several of them.

    Parameters
    ----------
    bins : (n_covariates,) array of int
        Number of bins; bin 0 holds the missing values.
    missing : (n_covariates,) array of uint8
        Whether any unit has it missing.
    n_bins, n_lanes, n_cells : int
        Bins of every covariate here, the largest number; places of a bin, one a covariate and some
        empty; cells in all.
    """

    bins: IntArray
    missing: ByteArray
    n_bins: int
    n_lanes: int
    n_cells: int


class Rules(NamedTuple):
    """How trees are grown.

    Parameters
    ----------
    n_arms : int
        Control included.
    min_leaf : int
        Units of each arm that a leaf needs in the estimation half.
    n_tried : int
        Covariates tried at a node.
    least_share : float
        Least share of a node's weight that a child must hold in the split half.
    factor : (2, n_arms) array of int
        First and second message of each arm, as margins, where there are any.
    n_margins : int
        Messages of both factors and one for all pairs; 0 where each arm stands for itself.
    margin_weight : (n_margins,) array of float
        Weight of each margin's square in the score.
    max_leaves : int
        Bound that the counts imply.
    n_slots : int
        Histograms that can be wanted at once.
    """

    n_arms: int
    min_leaf: int
    n_tried: int
    least_share: float
    factor: IntArray
    n_margins: int
    margin_weight: FloatArray
    max_leaves: int
    n_slots: int


class Work(NamedTuple):
    """Memory of one thread."""

    mean: FloatArray
    scale: FloatArray
    score: FloatArray
    left: IntArray
    row: IntArray
    run: IntArray
    control: FloatArray
    other: FloatArray
    margin: FloatArray
    best: FloatArray
    bound: FloatArray
    count: npt.NDArray[np.int32]
    tried: IntArray
    total: FloatArray
    arm_units: IntArray
    spare: WordArray
    spare_payload: IntArray
    spare_index: npt.NDArray[np.uint32]
    histograms: npt.NDArray[np.int64]


class Tree(NamedTuple):
    """Room for one tree.

    Parameters
    ----------
    nodes : (n_nodes, 4) array of int32
        Covariate (-1 in a leaf), lowest bin that goes left, how many more bins do, and the left
        child, beside which the right child stands (or the leaf).
    means : (n_leaves, n_arms) array of float
    size : (n_leaves,) array of int32
    """

    nodes: npt.NDArray[np.int32]
    means: FloatArray
    size: npt.NDArray[np.int32]
