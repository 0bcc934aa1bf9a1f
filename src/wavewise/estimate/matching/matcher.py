"""Neighbour averages of every arm at given units: the matcher without its result."""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from wavewise.estimate.matching.search import Averages, Points, make_points, nearest
from wavewise.estimate.matching.space import Space
from wavewise.shared.results import FloatArray, IntArray, Record

__all__ = ["Matcher", "Tuning", "make_matcher", "tune"]


@dataclass(frozen=True, eq=False)
class Means:
    """Neighbours' mean outcome and the variance of that mean, shape (n_units, n_arms, n_ks)."""

    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, eq=False)
class Matcher:
    """Units to match with, by arm."""

    space: Space
    points: tuple[Points, ...]  # One per arm, the control first; outcomes less `centre`.
    counts: IntArray  # (n_arms,): Units with an outcome.
    centre: float  # Mean outcome of all units.

    def means(self, rows: FloatArray, ks: IntArray) -> Means:
        """Averages at new points, shape (n_units, n_arms, n_ks)."""
        distinct, which = _distinct(rows)
        found = [
            self._moments(averages, number)
            for number, averages in enumerate(self._search(distinct, ks))
        ]
        return Means(*(np.stack([part[k][which] for part in found], axis=1) for k in (0, 1)))

    def means_without(
        self, rows: FloatArray, arm: IntArray, outcome: FloatArray, point: IntArray, ks: IntArray
    ) -> Means:
        """Averages at the matcher's own units, each left out of its own arm."""
        means = self.means(rows, ks)
        for number in range(self.counts.size):
            own = np.flatnonzero((arm == number) & (point >= 0))
            if own.size:
                left_out = outcome[own] - self.centre
                averages = self._without(number, rows[own], point[own], left_out, ks)
                means.mean[own, number], means.variance[own, number] = self._moments(
                    averages, number
                )
        return means

    def _search(self, rows: FloatArray, ks: IntArray) -> list[Averages]:
        wide = [ks[0] >= count for count in self.counts]  # the whole arm: nothing to search
        searched = iter(
            self._nearest(
                [p for p, all_ in zip(self.points, wide, strict=True) if not all_], rows, ks
            )
        )
        return [
            _whole(points, rows.shape[0], ks.size) if all_ else next(searched)
            for points, all_ in zip(self.points, wide, strict=True)
        ]

    def _nearest(
        self, points: list[Points], rows: FloatArray, ks: IntArray, **own: Any
    ) -> list[Averages]:
        space = self.space
        return nearest(points, rows, weights=space.weights, centre=space.centre, ks=ks, **own)

    def _without(
        self, number: int, rows: FloatArray, point: IntArray, outcome: FloatArray, ks: IntArray
    ) -> Averages:
        points = self.points[number]
        if ks[0] >= self.counts[number] - 1:
            return _whole_without(points, outcome, ks.size)
        return self._nearest([points], rows, ks, own=[point], own_outcome=outcome)[0]

    def _moments(self, averages: Averages, number: int) -> tuple[FloatArray, FloatArray]:
        """Mean outcome, and the variance of that mean."""
        total, s, q = self.points[number].units.sum(axis=0)
        overall = (q - s * s / total) / max(total - 1.0, 1.0)
        weight = averages.squared_weights
        with np.errstate(divide="ignore", invalid="ignore"):
            local = (averages.mean_square - averages.mean**2) / (1.0 - weight)
        local = np.where(weight < 1.0, np.maximum(local, 0.0), overall)
        # one further unit with the arm's variance: equal outcomes do not make a certainty
        variance = (local + weight * overall) / (1.0 + weight)
        return averages.mean + self.centre, variance * weight


def make_matcher(
    space: Space, rows: FloatArray, arm: IntArray, outcome: FloatArray, n_arms: int
) -> tuple[Matcher, IntArray]:
    """The matcher, and each unit's point in its own arm (-1 without an outcome)."""
    present = ~np.isnan(outcome)
    centre = fsum(outcome[present]) / int(present.sum())
    scale, point = np.sqrt(space.weights), np.full(arm.size, -1, dtype=np.int64)
    parts: list[Points] = []
    for number in range(n_arms):
        units = np.flatnonzero((arm == number) & present)
        parts.append(make_points(rows[units], outcome[units] - centre, scale))
        point[units] = parts[-1].point_of
    counts = np.bincount(arm[present], minlength=n_arms).astype(np.int64)
    return Matcher(space, tuple(parts), counts, centre), point


def _distinct(rows: FloatArray) -> tuple[FloatArray, Any]:
    order = np.lexsort(rows.T)
    new = np.ones(order.size, dtype=bool)
    new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    which = np.empty(order.size, dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return np.ascontiguousarray(rows[order[new]]), which


def _whole(points: Points, n_queries: int, n_ks: int) -> Averages:
    count, s, q = points.units.sum(axis=0)
    shape = (n_queries, n_ks)
    return Averages(
        np.full(shape, s / count),
        np.full(shape, q / count),
        np.full(shape, 1.0 / count),
        np.zeros((n_queries, 2)),
    )


def _whole_without(points: Points, outcome: FloatArray, n_ks: int) -> Averages:
    count, s, q = points.units.sum(axis=0)
    others = count - 1.0
    columns = [(s - outcome) / others, (q - outcome**2) / others, np.full(outcome.size, 1 / others)]
    spread = [np.repeat(column[:, None], n_ks, axis=1) for column in columns]
    return Averages(spread[0], spread[1], spread[2], reach=np.zeros((outcome.size, 2)))


# The number of neighbours, by leave-one-out loss of the effects.

_GRID = (5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, eq=False)
class Tuning(Record):
    """Leave-one-out loss of the effects by number of neighbours."""

    # Candidates; the last is the whole of every arm, which is the average effect.
    ks: tuple[int, ...]
    # (n_candidates,): Squared error of the effects, averaged over units and arms, up to a
    # constant: the loss less that of the average effect. Negative where neighbours do better.
    loss: FloatArray
    std_error: FloatArray  # (n_candidates,): Standard error of that difference.
    n_units: int  # Units that it was measured on.

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
    """Loss of each candidate on units that are left out of their own prediction."""
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
