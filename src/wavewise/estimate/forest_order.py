"""An order of units and arms that depends on what they are, not on where they stand or on names.

Rows are sorted by a hash of their ids, or of their contents where there are no ids, so that a
permuted table gives the same forest. Rows that are equal in everything are told apart by their
place.
"""

import numpy as np
import numpy.typing as npt

from wavewise.estimate.forest_compiled import mixed
from wavewise.results import FloatArray, IntArray

__all__ = ["arm_order", "row_hash"]

HashArray = npt.NDArray[np.uint64]


def row_hash(*columns: npt.NDArray[np.generic]) -> HashArray:
    """64 bits of each row's contents, (n_units,)."""
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        total = mixed(total ^ _bits(column))
    return total


def arm_order(arm: IntArray, n_arms: int, rows: HashArray) -> IntArray:
    """Arms in an order free of their names: control (code 0) first, then by size and contents.

    Parameters
    ----------
    arm : (n_units,) array of int
    n_arms : int
    rows : (n_units,) array of uint64
        Hash of each unit without its arm; their sum by arm does not depend on the order of rows.
    """
    sums = np.zeros(n_arms, np.uint64)
    np.add.at(sums, arm, rows)
    counts = np.bincount(arm, minlength=n_arms)
    others = np.arange(1, n_arms)
    order = np.lexsort((others, sums[1:], counts[1:]))
    return np.concatenate([[0], others[order]])


def _bits(column: npt.NDArray[np.generic]) -> HashArray:
    """Values as 64 bits, equal for equal values."""
    if column.dtype.kind == "f":
        values: FloatArray = np.where(np.isnan(column), np.nan, column.astype(np.float64) + 0.0)
        return np.ascontiguousarray(values).view(np.uint64)
    return column.astype(np.int64).view(np.uint64)
