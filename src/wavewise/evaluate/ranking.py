"""Units ranked by priority, the first first, with ties kept together."""

from dataclasses import dataclass

import numpy as np

from wavewise.results import FloatArray, IntArray

__all__ = ["Ranking", "rank_units"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Groups of units with equal priority, from the highest.

    Parameters
    ----------
    group : array of int, shape (n_units,)
        Group of each unit.
    size : array of int, shape (n_groups,)
    mean : array of float, shape (n_groups,)
        Mean score.
    share : array of float, shape (n_groups,)
        Share of units in this group and the ones before it; the last is 1.
    """

    group: IntArray
    size: IntArray
    mean: FloatArray
    share: FloatArray

    @property
    def gain(self) -> FloatArray:
        """Sum of scores in the groups so far, over all units, shape (n_groups,)."""
        return np.asarray(np.cumsum(self.mean * self.size) / self.size.sum())

    def local_mean(self, share: FloatArray, width: float) -> FloatArray:
        """Mean score of the ranks within `width` of each share: the curve's slope."""
        shares = np.concatenate([[0.0], self.share])
        gains = np.concatenate([[0.0], self.gain])
        low, high = np.maximum(share - width, 0.0), np.minimum(share + width, 1.0)
        rise = np.interp(high, shares, gains) - np.interp(low, shares, gains)
        return np.asarray(rise / (high - low))


def rank_units(priority: FloatArray, scores: FloatArray) -> Ranking:
    """Groups of equal priority, from the highest."""
    _, codes = np.unique(priority, return_inverse=True)
    group = codes.max() - codes
    # a group's scores are added in the order of their size, not of the units
    order = np.lexsort((scores, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.bincount(group)
    total = np.add.reduceat(scores[order], starts)
    return Ranking(group.astype(np.int64), size, total / size, np.cumsum(size) / priority.size)
