"""The number of neighbours, by leave-one-out loss of the effects."""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from wavewise.estimate.neighbour_matcher import Matcher, Means
from wavewise.results import FloatArray, IntArray

__all__ = ["Tuning", "candidates", "tune"]

_GRID = (5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, eq=False)
class Tuning:
    """Leave-one-out loss of the effects by number of neighbours.

    Parameters
    ----------
    ks : tuple of int
        Candidates; the last is the whole of every arm, which is the average effect.
    loss : array of float, shape (n_candidates,)
        Squared error of the effects, averaged over units and arms, up to a constant: the loss less
        that of the average effect. Negative where neighbours do better.
    std_error : array of float, shape (n_candidates,)
        Standard error of that difference.
    n_units : int
        Units that it was measured on.
    """

    ks: tuple[int, ...]
    loss: FloatArray
    std_error: FloatArray
    n_units: int

    @property
    def best(self) -> int:
        """The candidate with the lowest loss; of equals the larger."""
        return self.ks[int(np.flatnonzero(self.loss == self.loss.min())[-1])]

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        return {
            "k": list(self.ks),
            "loss": self.loss.tolist(),
            "std_error": self.std_error.tolist(),
            "n_units": self.n_units,
        }


def candidates(counts: IntArray) -> IntArray:
    """Numbers of neighbours to compare: up to half of the smallest arm, and the whole arms."""
    most = int(counts.min()) // 2
    return np.array([*[k for k in _GRID if k <= most], int(counts.max())], dtype=np.int64)


def tune(
    matcher: Matcher,
    rows: FloatArray,
    arm: IntArray,
    outcome: FloatArray,
    point: IntArray,
    propensity: FloatArray,
) -> Tuning:
    """Loss of each candidate on units that are left out of their own prediction.

    Parameters
    ----------
    matcher : Matcher
    rows, arm, outcome, point
        The units to measure on, all with an outcome; see `Matcher.means_without`.
    propensity : array of float, shape (n_units,)
        Probability of the arm that was drawn.
    """
    ks = candidates(matcher.counts)
    means = _all_means(matcher, rows, arm, outcome, point, ks)
    middle = means.mean[:, :, (ks.size - 1) // 2]
    scores = middle.copy()
    units = np.arange(arm.size)
    scores[units, arm] += (outcome - middle[units, arm]) / propensity
    target = scores[:, 1:] - scores[:, :1]
    effects = means.mean[:, 1:] - means.mean[:, :1]
    # the squared scores are left out: they are the same for all
    losses = (effects**2 - 2 * target[:, :, None] * effects).mean(axis=1)
    gaps = losses - losses[:, -1:]
    loss = np.array([fsum(column) / arm.size for column in gaps.T])
    std_error = gaps.std(axis=0) / np.sqrt(arm.size)
    return Tuning(tuple(ks.tolist()), loss, std_error, int(arm.size))


def _all_means(
    matcher: Matcher,
    rows: FloatArray,
    arm: IntArray,
    outcome: FloatArray,
    point: IntArray,
    ks: IntArray,
) -> Means:
    """Searched candidates in one pass, the whole arms in another."""
    parts = [
        matcher.means_without(rows, arm, outcome, point, part)
        for part in (ks[:-1], ks[-1:])
        if part.size
    ]
    return Means(
        *(
            np.concatenate([getattr(p, name) for p in parts], axis=2)
            for name in ("mean", "variance")
        )
    )
