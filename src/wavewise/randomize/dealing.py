"""Whole counts to units: the labels of each stratum dealt out at random."""

import numpy as np
import numpy.typing as npt

from wavewise.randomize.compiled import compiled
from wavewise.results import IntArray

__all__ = ["deal"]


@compiled
def deal(
    stratum: IntArray, order: IntArray, count: IntArray, bits: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int16]:
    """Arm of each unit: a uniformly random permutation of the stratum's labels; (n_units,).

    Parameters
    ----------
    stratum : (n_units,) int array
        Stratum codes.
    order : (n_units,) int array, or of length 0
        Positions in canonical order; of length 0 if they are in that order.
    count : (n_strata, n_arms) int array
        Labels to deal out; rows sum to the strata's sizes.
    bits : (n_units,) uint64 array
        Uniform random bits, used in canonical order.

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
