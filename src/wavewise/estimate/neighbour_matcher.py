"""Neighbour averages of every arm at given units: the matcher without its result."""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from wavewise.estimate.neighbour_points import Averages, Points, make_points, nearest
from wavewise.estimate.neighbour_space import Space
from wavewise.results import FloatArray, IntArray

__all__ = ["Matcher", "Means", "make_matcher"]


@dataclass(frozen=True, eq=False)
class Means:
    """Neighbours' mean outcome and the variance of that mean, shape (n_units, n_arms, n_ks)."""

    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, eq=False)
class Matcher:
    """Units to match with, by arm.

    Parameters
    ----------
    space : Space
    points : tuple of Points
        One an arm, the control first; outcomes less `centre`.
    counts : array of int, shape (n_arms,)
        Units with an outcome.
    centre : float
        Mean outcome of all units.
    """

    space: Space
    points: tuple[Points, ...]
    counts: IntArray
    centre: float

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
        """Averages at the matcher's own units, each left out of its own arm.

        Parameters
        ----------
        rows : array of float, shape (n_units, n_columns)
        arm : array of int, shape (n_units,)
        outcome : array of float, shape (n_units,)
            Not-a-number where it is missing: nothing is then left out.
        point : array of int, shape (n_units,)
            Each unit's point in its own arm; -1 where the outcome is missing.
        ks : array of int, shape (n_ks,)
        """
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
