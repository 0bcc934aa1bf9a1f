"""Who is in which half: draws within strata from counter-based random numbers."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wavewise.shared.compiled import compiled_nogil
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "Columns",
    "Data",
    "Half",
    "Rules",
    "Tree",
    "Work",
    "choose_covariates",
    "deal",
    "draw_half",
    "list_inside",
    "mix",
    "mixed",
]

_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)


@compiled_nogil
def mix(key: np.uint64, counter: int) -> np.uint64:
    """64 random bits of a key and a counter (the finalizer of splitmix64)."""
    x = key + _STEP * np.uint64(counter + 1)
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    x = (x ^ (x >> _SHIFT_2)) * _FACTOR_2
    return x ^ (x >> _SHIFT_3)


def mixed(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The same finalizer on an array of uint64, elementwise."""
    x = x + _STEP
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    x = (x ^ (x >> _SHIFT_2)) * _FACTOR_2
    return x ^ (x >> _SHIFT_3)


# What the kernels pass around: data, columns, rules and working memory, as named tuples.

ByteArray = npt.NDArray[np.uint8]
WordArray = npt.NDArray[np.uint64]


class Data(NamedTuple):
    """Units in canonical order."""

    # (n_units, n_words): Bins of the covariates, one a byte; the arm's code in the last byte.
    words: WordArray
    # (n_units,): Weight in the upper 32 bits, weight times outcome as a whole number in the
    # lower.
    value: IntArray
    # outcome, weight: (n_units,): What the leaf means are made of.
    outcome: FloatArray
    weight: FloatArray
    part: IntArray  # (n_units,): What is drawn together: the unit itself, or its cluster.
    stratum: IntArray  # (n_parts,): Stratum within which halves are drawn.
    n_by_stratum: IntArray  # (n_strata,): Parts in each.


class Half(NamedTuple):
    """The units of one half of a tree's subsample, sorted by node while the tree grows."""

    words: WordArray  # (n_units + 1, n_words): As in `Data`. Rows of large nodes lie together.
    cells: ByteArray  # (n_units + 1): The same memory byte by byte.
    # (n_units + 1,): Packed values of the split half, places in `Data` of the estimation half.
    payload: IntArray
    # (n_units + 1,): Row of the unit at each place; a node holds the places from one to another.
    index: npt.NDArray[np.uint32]


class Columns(NamedTuple):
    """How a histogram lies in memory: by arm, bin, and covariate, the covariates side by side.

    All covariates are then scored together, with one instruction for several of them.
    """

    bins: IntArray  # (n_covariates,): Number of bins; bin 0 holds the missing values.
    missing: ByteArray  # (n_covariates,): Whether any unit has it missing.
    # n_bins, n_lanes, n_cells: Bins of every covariate here, the largest number; places of a bin,
    # one a covariate and some empty; cells in all.
    n_bins: int
    n_lanes: int
    n_cells: int


class Rules(NamedTuple):
    """How trees are grown."""

    n_arms: int  # Control included.
    min_leaf: int  # Units of each arm that a leaf needs in the estimation half.
    n_tried: int  # Covariates tried at a node.
    least_share: float  # Least share of a node's weight that a child must hold in the split half.
    # (2, n_arms): First and second message of each arm, as margins, where there are any.
    factor: IntArray
    # Messages of both factors and one for all pairs; 0 where each arm stands for itself.
    n_margins: int
    margin_weight: FloatArray  # (n_margins,): Weight of each margin's square in the score.
    max_leaves: int  # Bound that the counts imply.
    n_slots: int  # Histograms that can be wanted at once.


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
    """Room for one tree."""

    # (n_nodes, 4): Covariate (-1 in a leaf), lowest bin that goes left, how many more bins do,
    # and the left child, beside which the right child stands (or the leaf).
    nodes: npt.NDArray[np.int32]
    means: FloatArray  # (n_leaves, n_arms)
    size: npt.NDArray[np.int32]  # (n_leaves,)


_HIGH, _ZERO, _ONE = np.uint64(32), np.uint64(0), np.uint64(1)


@compiled_nogil
def draw_half(
    key: np.uint64,
    stratum: IntArray,
    n_by_stratum: IntArray,
    among: IntArray,
    n_among: int,
    chosen: ByteArray,
    drawn: IntArray,
) -> int:
    """Half of the listed parts of each stratum, without replacement; how many were drawn.

    The odd part of a stratum is in or out by a coin. Selection in sequence: each part is
    taken with probability (places left) / (parts left), by one number made from key and part.
    """
    n_strata = n_by_stratum.size
    left, need = n_by_stratum.astype(np.uint64), (n_by_stratum // 2).astype(np.uint64)
    for k in range(n_strata):
        need[k] += left[k] & mix(key, k) & _ONE
    n_drawn = _ZERO
    for j in range(n_among):
        part = np.uint64(among[j])  # unsigned, so that no negative index is looked for
        s = np.uint64(stratum[part])
        bits = mix(key, n_strata + among[j]) >> _HIGH
        hit = np.uint64((bits * left[s]) >> _HIGH < need[s])
        left[s] -= _ONE
        need[s] -= hit
        chosen[part] = hit
        drawn[n_drawn] = among[j]
        n_drawn += hit
    return np.int64(n_drawn)


@compiled_nogil
def list_inside(
    data: Data,
    chosen: ByteArray,
    parts: IntArray,
    in_stratum: IntArray,
    inside: ByteArray,
    units: IntArray,
) -> tuple[int, int]:
    """The parts chosen, how many in each stratum, and their units; numbers of parts and units."""
    part, stratum = data.part, data.stratum
    in_stratum[:] = 0
    n_parts, n_units = _ZERO, _ZERO
    for k in range(chosen.size):
        parts[n_parts] = k
        n_parts += np.uint64(chosen[k])
        in_stratum[stratum[k]] += chosen[k]
    for i in range(inside.size):
        inside[i] = chosen[np.uint64(part[i])]
        units[n_units] = i
        n_units += np.uint64(inside[i])
    return np.int64(n_parts), np.int64(n_units)


@compiled_nogil
def deal(
    data: Data, units: IntArray, n_units: int, half: ByteArray, split_half: Half, kept_half: Half
) -> tuple[int, int]:
    """Copies of the listed units: one half to split with, the other kept for the leaf means."""
    words, values, part = data.words, data.value, data.part
    split, value, kept, unit = (
        split_half.words,
        split_half.payload,
        kept_half.words,
        kept_half.payload,
    )
    n_words = words.shape[1]
    n_split, n_kept, one = _ZERO, _ZERO, _ONE
    for j in range(n_units):
        i = np.uint64(units[j])
        value[n_split] = values[i]
        unit[n_kept] = units[j]
        for w in range(n_words):
            split[n_split, w] = words[i, w]
            kept[n_kept, w] = words[i, w]
        to_split = np.uint64(half[np.uint64(part[i])])
        n_split += to_split
        n_kept += one - to_split
    for j in range(n_split):
        split_half.index[j] = j
    for j in range(n_kept):
        kept_half.index[j] = j
    return np.int64(n_split), np.int64(n_kept)


@compiled_nogil
def choose_covariates(key: np.uint64, tried: IntArray, n_tried: int) -> None:
    """A random choice without replacement in the first places (Fisher and Yates)."""
    for k in range(tried.size):
        tried[k] = k
    for k in range(n_tried):
        pick = ((mix(key, k) >> _HIGH) * np.uint64(tried.size - k)) >> _HIGH
        other = k + np.int64(pick)
        tried[k], tried[other] = tried[other], tried[k]
