"""Neighbour averages of every arm at given units, and what is kept of their differences."""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from wavewise.estimate.forest.engine import Units
from wavewise.estimate.forest.shrinkage import (
    average_effects,
    parts_of_arms,
    product,
    shrunk_averages,
)
from wavewise.estimate.matching.search import (
    Averages,
    LeftOut,
    Points,
    full,
    make_points,
    nearest,
    order_units,
)
from wavewise.estimate.matching.space import Space
from wavewise.shared.results import FloatArray, IntArray, Record

__all__ = ["Learned", "Matcher", "Sample", "Shrunk", "Tuning", "learn", "make_matcher"]


@dataclass(frozen=True, eq=False)
class Means:
    """Neighbours' mean outcome and the variance of that mean, shape (n_units, n_arms, n_ks)."""

    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, eq=False)
class Sample:
    """Units with their arm, outcome, weight and point in their own arm (-1 without an outcome)."""

    # All (n_units,), `rows` (n_units, n_columns).
    rows: FloatArray
    arm: IntArray
    outcome: FloatArray
    weight: FloatArray
    point: IntArray

    def take(self, units: IntArray) -> "Sample":
        """Some of the units."""
        return Sample(*(getattr(self, name)[units] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Matcher:
    """Units to match with, by arm."""

    space: Space
    points: tuple[Points, ...]  # One per arm, the control first; outcomes less `centre`.
    counts: IntArray  # (n_arms,): Units with an outcome.
    centre: float  # Mean outcome of all units.

    @property
    def weighted(self) -> bool:
        """Whether units have weights, one over their propensity."""
        return bool(self.points[0].units.shape[1] == 4)

    @property
    def totals(self) -> FloatArray:
        """Weight of each arm, (n_arms,): its units where they have none."""
        return np.array([float(points.units[:, 0].sum()) for points in self.points])

    def amounts(self, ks: IntArray, *, in_proportion: bool) -> FloatArray:
        """Weight to average over in each arm, (n_arms, n_ks).

        In proportion, so that the neighbours of every arm fill the same ball: `ks` of the smallest
        arm and the same share of the others.
        """
        if in_proportion or self.weighted:
            shares = np.minimum(ks / float(self.counts.min()), 1.0)
            return np.asarray(self.totals[:, None] * shares)
        return np.minimum(ks, self.counts[:, None]).astype(np.float64)

    def means(self, rows: FloatArray, amounts: FloatArray, *, one_by_one: bool = False) -> Means:
        """Averages at new points, shape (n_units, n_arms, n_ks)."""
        distinct, which = _distinct(rows)
        found = [
            self._moments(averages, number)
            for number, averages in enumerate(self._search(distinct, amounts, one_by_one))
        ]
        return Means(*(np.stack([part[k][which] for part in found], axis=1) for k in (0, 1)))

    def means_without(self, sample: Sample, amounts: FloatArray) -> Means:
        """Averages at the matcher's own units, each left out of its own arm."""
        means = self.means(sample.rows, amounts)
        for number in range(self.counts.size):
            own = np.flatnonzero((sample.arm == number) & (sample.point >= 0))
            if own.size:
                averages = self._without(number, sample.take(own), amounts[number])
                means.mean[own, number], means.variance[own, number] = self._moments(
                    averages, number
                )
        return means

    def _search(self, rows: FloatArray, amounts: FloatArray, one_by_one: bool) -> list[Averages]:
        wide = amounts[:, 0] >= self.totals * (1 - 1e-9)  # the whole arm: nothing to search
        searched = iter(
            self._nearest(
                [p for p, all_ in zip(self.points, wide, strict=True) if not all_],
                rows,
                amounts[~wide],
                one_by_one=one_by_one,
            )
        )
        return [
            _whole(points, rows.shape[0], amounts.shape[1]) if all_ else next(searched)
            for points, all_ in zip(self.points, wide, strict=True)
        ]

    def _nearest(
        self,
        points: list[Points],
        rows: FloatArray,
        amounts: FloatArray,
        own: LeftOut | None = None,
        *,
        one_by_one: bool = False,
    ) -> list[Averages]:
        space = self.space
        return nearest(
            points,
            rows,
            weights=space.weights,
            centre=space.centre,
            ks=amounts,
            own=own,
            one_by_one=one_by_one,
        )

    def _without(self, number: int, own: Sample, amounts: FloatArray) -> Averages:
        points, outcome = self.points[number], own.outcome - self.centre
        if amounts[0] >= (self.totals[number] - own.weight.max()) * (1 - 1e-9):
            return _whole_without(points, outcome, own.weight, amounts.size)
        left_out = LeftOut(own.point, outcome, own.weight)
        return self._nearest([points], own.rows, amounts[None], left_out)[0]

    def _moments(self, averages: Averages, number: int) -> tuple[FloatArray, FloatArray]:
        """Mean outcome, and the variance of that mean."""
        total, s, q, squares = full(self.points[number].units).sum(axis=0)
        overall = (q / total - (s / total) ** 2) / max(1.0 - squares / total**2, 1e-9)
        weight = averages.squared_weights
        with np.errstate(divide="ignore", invalid="ignore"):
            local = (averages.mean_square - averages.mean**2) / (1.0 - weight)
        local = np.where(weight < 1.0, np.maximum(local, 0.0), overall)
        # one further unit with the arm's variance: equal outcomes do not make a certainty
        variance = (local + weight * overall) / (1.0 + weight)
        return averages.mean + self.centre, variance * weight


def make_matcher(
    space: Space,
    rows: FloatArray,
    arm: IntArray,
    outcome: FloatArray,
    n_arms: int,
    weight: FloatArray | None,
) -> tuple[Matcher, Sample]:
    """The matcher, and its units."""
    present = ~np.isnan(outcome)
    centre = fsum(outcome[present]) / int(present.sum())
    scale, point = np.sqrt(space.weights), np.full(arm.size, -1, dtype=np.int64)
    parts: list[Points] = []
    for number in range(n_arms):
        units = np.flatnonzero((arm == number) & present)
        held = None if weight is None else weight[units]
        parts.append(make_points(rows[units], outcome[units] - centre, scale, held))
        point[units] = parts[-1].point_of
    counts = np.bincount(arm[present], minlength=n_arms).astype(np.int64)
    held = np.ones(arm.size) if weight is None else weight
    return Matcher(space, tuple(parts), counts, centre), Sample(rows, arm, outcome, held, point)


def _distinct(rows: FloatArray) -> tuple[FloatArray, Any]:
    order = np.lexsort(rows.T)
    new = np.ones(order.size, dtype=bool)
    new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    which = np.empty(order.size, dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return np.ascontiguousarray(rows[order[new]]), which


def _whole(points: Points, n_queries: int, n_ks: int) -> Averages:
    total, s, q, squares = full(points.units).sum(axis=0)
    shape = (n_queries, n_ks)
    return Averages(
        np.full(shape, s / total),
        np.full(shape, q / total),
        np.full(shape, squares / total**2),
        np.zeros((n_queries, 2)),
    )


def _whole_without(points: Points, outcome: FloatArray, weight: FloatArray, n_ks: int) -> Averages:
    total, s, q, squares = full(points.units).sum(axis=0)
    others = total - weight
    columns = [
        (s - weight * outcome) / others,
        (q - weight * outcome**2) / others,
        (squares - weight**2) / others**2,
    ]
    spread = [np.repeat(column[:, None], n_ks, axis=1) for column in columns]
    return Averages(spread[0], spread[1], spread[2], reach=np.zeros((outcome.size, 2)))


# How much of the differences between units is kept, and from how many neighbours.

_SHARES = (50, 20, 10, 5, 3)


@dataclass(frozen=True, eq=False)
class Tuning(Record):
    """Leave-one-out loss of the effects by number of neighbours."""

    # Candidates, of the smallest arm; the last is the whole of every arm: the averages.
    ks: tuple[int, ...]
    # (n_candidates,): Squared error of the effects, averaged over units and arms, up to a
    # constant: the loss less that of the averages. Negative where neighbours do better.
    loss: FloatArray
    std_error: FloatArray  # (n_candidates,): Standard error of that difference.
    n_units: int  # Units that it was measured on.

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        return {
            "k": list(self.ks),
            "loss": self.loss.tolist(),
            "std_error": self.std_error.tolist(),
            "n_units": self.n_units,
        }


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Effects as averages plus what is kept of deviations: averages + keep (tau - centre)."""

    # averages, centre, std_error: (n_effects,): Averages shrunk towards each other; mean of the
    # neighbours' effects over units; root of the posterior variance of a unit's effects.
    averages: FloatArray
    centre: FloatArray
    std_error: FloatArray
    keep: FloatArray  # (n_effects, n_effects)

    def effects(self, tau: FloatArray, change: FloatArray | float = 0.0) -> FloatArray:
        """Shrunk effects, (n_units, n_effects); for own units around a centre without them."""
        return self.averages + product(tau - self.centre - change, self.keep.T)


@dataclass(frozen=True, eq=False)
class Learned:
    """The number of neighbours that was chosen and what follows from it."""

    k: int
    tuning: Tuning
    shrunk: Shrunk
    change: FloatArray  # (n_units, n_effects): What leaving a unit out adds to the averages.


def candidates(counts: IntArray) -> IntArray:
    """Parts of the smallest arm, at least 2 units, and the whole arm."""
    least = int(counts.min())
    return np.array(sorted({*(max(least // part, 2) for part in _SHARES), least}), dtype=np.int64)


def learn(matcher: Matcher, sample: Sample, units: IntArray, propensity: FloatArray) -> Learned:
    """Shrinkage by each candidate's known noise; the candidate chosen.

    Own units enter nothing that meets their outcome: neither neighbours nor averages.
    """
    ks = candidates(matcher.counts)
    amounts = matcher.amounts(ks[:-1], in_proportion=True)
    present = np.flatnonzero(sample.point >= 0)
    seen = sample.take(present)  # in an order that is free of the order of rows
    present = present[order_units(np.column_stack([seen.arm, seen.rows]), seen.outcome)]
    of_all = _averages(sample.take(present), matcher.counts.size)
    change = np.zeros((sample.arm.size, matcher.counts.size - 1))
    change[present] = of_all.change
    parts = parts_of_arms(None, change.shape[1])
    shrink = shrunk_averages(of_all, parts)
    averages = product(of_all.ate[None], shrink.T)[0]
    some, gone = sample.take(units), change[units]
    means = matcher.means_without(some, amounts)
    middle = means.mean[:, :, (ks.size - 2) // 2]
    scores = middle.copy()
    at = (np.arange(units.size), some.arm)
    scores[at] += (some.outcome - middle[at]) / propensity[units]
    target = scores[:, 1:] - scores[:, :1]
    flat = averages + product(gone, shrink.T)
    whole = np.array(
        [matcher._moments(_whole(p, 1, 1), a)[1][0, 0] for a, p in enumerate(matcher.points)]
    )
    found, gaps = [], []
    for j in range(ks.size - 1):
        tau = means.mean[:, 1:, j] - means.mean[:, :1, j]
        noise = means.variance[:, :, j].mean(axis=0) - whole
        both = [_shrunk(tau, gone, noise, whole, averages, shrinks) for shrinks in (True, False)]
        # the squared scores are left out: they are the same for all
        part = [
            (moved**2 - 2 * (target - flat) * moved).mean(axis=1)
            for moved in (one.effects(tau, gone) - averages for one in both)
        ]
        better = int(_clearly_lower(part[1], part[0]))
        found.append(both[better])
        gaps.append(part[better])
    columns = np.column_stack([*gaps, np.zeros(units.size)])
    loss = np.array([fsum(column) / units.size for column in columns.T])
    # directions are found from the outcomes that the loss is measured with: with many arms the
    # least loss alone would flatter few neighbours
    least = gaps[int(np.argmin(loss[:-1]))]
    best = max(j for j, gap in enumerate(gaps) if not _clearly_lower(least, gap))
    tuning = Tuning(
        tuple(ks.tolist()), loss, columns.std(axis=0) / np.sqrt(units.size), int(units.size)
    )
    return Learned(int(ks[best]), tuning, found[best], change)


def _clearly_lower(one: FloatArray, other: FloatArray) -> bool:
    """Whether a loss is lower than another by more than two standard errors of the difference."""
    gap = other - one
    return bool(fsum(gap) / gap.size > 2.0 * float(gap.std()) / np.sqrt(gap.size))


def _averages(sample: Sample, n_arms: int) -> Any:
    n = sample.arm.size
    nothing = np.zeros((n, 0), np.uint8)
    return average_effects(
        Units(
            nothing, np.zeros(0, np.int64), sample.arm, n_arms, sample.outcome, sample.weight,
            np.arange(n),
        )
    )  # fmt: skip


def _shrunk(
    tau: FloatArray,
    change: FloatArray,
    noise: FloatArray,
    whole: FloatArray,
    averages: FloatArray,
    shrinks: bool,
) -> Shrunk:
    """Empirical-Bayes shrinkage of deviations by direction.

    Deviations have covariance C over units, of which N is known to be noise: what the arms' means
    over k units vary, less what the means over whole arms do. In the directions in which N is the
    identity, an eigenvalue l of C is signal by 1 - 1 / l. Without shrinking all is kept: averages
    over neighbours are already nearer to each other than the effects that they stand for.
    """
    centre = tau.mean(axis=0)
    gap = tau - centre - change
    n = centre.size
    C = np.array([[(gap[:, i] * gap[:, j]).mean() for j in range(n)] for i in range(n)])
    noise = np.maximum(noise, max(1e-9 * float(whole.max()), 1e-200))
    root = np.linalg.cholesky(np.diag(noise[1:]) + noise[0])
    half = np.linalg.solve(root, np.linalg.solve(root, C).T)
    level, axes = np.linalg.eigh((half + half.T) / 2)
    kept = 1.0 - 1.0 / np.maximum(level, 1.0) if shrinks else np.ones(n)
    out = product(root, axes)
    keep = np.linalg.solve(root.T, product(out * kept, axes.T).T).T
    variance = whole[1:] + whole[0] + ((out**2) * kept).sum(axis=1)
    return Shrunk(averages, centre, np.sqrt(variance), np.asarray(keep, np.float64))
