"""Units through grown trees: sums of leaf values over groups, unit by unit in a fixed order."""

import numpy as np
import numpy.typing as npt

from wavewise.estimate.forest_compiled import compiled
from wavewise.results import FloatArray, IntArray

__all__ = ["sum_groups"]

ByteArray = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
WordArray = npt.NDArray[np.uint64]

_COLUMN, _LOW, _SPAN, _CHILD = np.uint64(0xFFFF), np.uint64(16), np.uint64(24), np.uint64(32)
_ZERO = np.uint64(0)


@compiled
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


@compiled
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
    """Number of groups, sums of the groups' values, of their squares, of tree differences squared.

    Parameters
    ----------
    bins : (n_units, n_covariates) array of uint8
    first : int
        Position of the first unit among those of training.
    nodes : (n_nodes,) array of uint64
        As in `descend`, children as positions in the whole array.
    roots : (n_trees,) array of int
        -1 for a tree that could not be grown; its group is left out.
    leaf : (n_nodes,) array of int32
        Row of `values`.
    values : (n_leaves, n_values) array of float
    inside : (n_groups, n_bytes) array of uint8
        Bits of the units in each group's half, which it does not count for; empty for new units.
    moments : bool
        Whether squares are wanted.
    """
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
