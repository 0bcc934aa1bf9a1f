"""Targeting operator characteristic: whether the units ranked first gain more than the average."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import digamma

from wavewise.errors import InputError
from wavewise.estimate.effects.table import Estimate, check_level
from wavewise.evaluate.leakage_guard import Basis, refuse_learned
from wavewise.evaluate.scores import known_only, read_cluster
from wavewise.evaluate.standard_errors import influence_estimate, std_error
from wavewise.shared.inputs import aligned, read_numbers, read_outcome
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    hash_arrays,
)

__all__ = ["TargetingCurve", "toc"]


# Units ranked by priority, the first first, with ties kept together.


@dataclass(frozen=True, eq=False)
class Ranking:
    """Groups of units with equal priority, from the highest."""

    group: IntArray  # (n_units,): Group of each unit.
    size: IntArray  # (n_groups,)
    mean: FloatArray  # (n_groups,): Mean score.
    # (n_groups,): Share of units in this group and the ones before it; the last is 1.
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


_SHARES = np.arange(1, 101) / 100
_WIDTH = 0.025


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetingCurve(Result, kind="targeting curve"):
    """Gain of messaging the units ranked first.

    Parameters
    ----------
    autoc : Estimate
        Area under the TOC: weighs the units ranked first most.
    qini : Estimate
        The same weighted by the share messaged.
    definition : str
        Whether both are means over units, ``discrete``, or integrals, ``continuous``.
    curve : polars.DataFrame
        Columns share, toc, std_error, gain: for each share messaged, the mean effect among them
        less the mean of all; its standard error; the mean effect times the share.
    average : Estimate
        Mean score: the effect of messaging everybody.
    n_units, n_tied : int
        Units, and those whose priority another unit shares.
    provenance : Provenance
    """

    autoc: Estimate
    qini: Estimate
    definition: str = "discrete"
    curve: pl.DataFrame
    average: Estimate
    n_units: int
    n_tied: int
    provenance: Provenance
    n_missing: int = 0
    _influence: dict[str, FloatArray] = field(repr=False)
    _scores: FloatArray = field(repr=False)
    _cluster: IntArray | None = field(repr=False)

    def difference(self, other: "TargetingCurve") -> tuple[Estimate, Estimate]:
        """AUTOC and Qini of this priority less those of another on the same scores, paired.

        Whether to rank by predicted effects (causal) or by predicted outcomes (predictive) is
        answered so: both orders are judged by the same units' scores.

        Raises
        ------
        InputError
            Where the curves rest on other scores, or on another definition of the areas.
        """
        if self.definition != other.definition:
            raise InputError(
                f"found a {self.definition} and a {other.definition} definition of the areas; "
                "needed the same in both curves"
            )
        if not np.array_equal(self._scores, other._scores):
            raise InputError(
                f"found curves on other scores ({self.n_units:,} and {other.n_units:,} units); "
                "needed the same scores in the same order, so that their noise can be paired"
            )
        level = self.average.level
        one, two = (
            influence_estimate(
                f"difference in {a.name}",
                a.estimate - b.estimate,
                self._influence[a.name] - other._influence[a.name],
                self._cluster,
                level,
            )
            for a, b in ((self.autoc, other.autoc), (self.qini, other.qini))
            if isinstance(a.estimate, float) and isinstance(b.estimate, float)
        )
        return one, two

    def _frame(self) -> pl.DataFrame:
        """One row for each of AUTOC, Qini and the average."""
        rows = [
            {
                "measure": e.name,
                **{
                    name: None if isinstance(value, NotEstimable) else value
                    for name, value in (
                        ("estimate", e.estimate),
                        ("std_error", e.std_error),
                        ("conf_low", e.conf[0] if isinstance(e.conf, tuple) else e.conf),
                        ("conf_high", e.conf[1] if isinstance(e.conf, tuple) else e.conf),
                        ("p_value", e.p_value),
                    )
                },
                "n_units": e.n_units,
            }
            for e in (self.autoc, self.qini, self.average)
        ]
        numbers = ("estimate", "std_error", "conf_low", "conf_high", "p_value")
        return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))

    def _facts(self) -> dict[str, Any]:
        return {
            "rows": self._frame(),
            "curve": self.curve,
            "definition": self.definition,
            "n_units": self.n_units,
            "n_tied": self.n_tied,
        }

    def summary(self) -> str:
        """Whether the ranking finds those who gain more, in plain words."""
        e = self.autoc
        if e.std_error == 0:
            return (
                f"All {self.n_units:,} priorities are equal: they rank nobody, and there is "
                "nothing to test."
            )
        if not isinstance(e.conf, tuple) or not isinstance(e.std_error, float):
            return str(e.conf)
        clear = e.conf[0] > 0 or e.conf[1] < 0
        words = "ranks units" if clear else "does not surely rank units"
        side = " the wrong way round" if clear and e.conf[1] < 0 else ""
        return (
            f"The priority {words} by how much they gain{side}: AUTOC {e.estimate:.4g} (standard "
            f"error {e.std_error:.2g}, interval {e.conf[0]:.4g} to {e.conf[1]:.4g}) on "
            f"{self.n_units:,} units, {self.n_tied:,} of them tied."
        )


@aligned("priority", "scores", "cluster")
def toc(
    priority: Any,
    scores: Any,
    *,
    definition: Literal["discrete", "continuous"] = "discrete",
    cluster: Any = None,
    basis: Basis = "fresh",
    level: float = 0.95,
) -> TargetingCurve:
    """Targeting operator characteristic of a priority, with AUTOC and Qini.

    Parameters
    ----------
    priority : array-like, shape (n_units,)
        Larger is first; learned from other units, or out of bag.
    scores : array-like, shape (n_units,)
        Doubly robust scores of one effect, e.g. ``doubly_robust_scores(...).effect("sms")``.
    definition : {"discrete", "continuous"}
        AUTOC as the mean of TOC over the units' ranks, as published, or its integral.
    cluster : array-like, shape (n_units,), optional
        Groups that were randomized together.
    basis : {"fresh", "out-of-bag", "cross-fitted"}
        What the predictions owe to these outcomes: nothing; or each is by the model without the
        unit; or you declare the same of your own.
    level : float
        In (0, 1).

    Returns
    -------
    TargetingCurve

    Raises
    ------
    StateError
        Where effects that a model gave are judged on the units that it learned from.
    InputError
        Where arrays do not fit together.

    Notes
    -----
    With ``G(u)`` the sum of scores of the first share ``u`` of units over all ``n``, straight
    between units, ``TOC(u) = G(u) / u - G(1)``. Discrete: ``AUTOC = (1/n) sum_j TOC(j/n)`` and
    ``Qini = (1/n) sum_j (j/n) TOC(j/n)``; continuous: ``AUTOC = int TOC(u) du`` and ``Qini = int u
    TOC(u) du``. Units with equal priority share their mean score; where all are equal, AUTOC and
    Qini are 0 and cannot be tested. Standard errors of the areas are the delete-one jackknife's,
    summed over clusters: the ranks' own noise is in them. At a share of the curve the mean effect
    of the unit at the margin is taken from the 2.5 % of ranks on either side.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), *Evaluating treatment prioritization rules
    via rank-weighted average treatment effects*, JASA 120, sections 2 and 3.

    Examples
    --------
    >>> found = toc([3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0])
    >>> round(found.qini.estimate, 6)
    0.125
    """
    check_level(level)
    if definition not in ("discrete", "continuous"):
        raise InputError(f"definition: found {definition!r}; needed 'discrete' or 'continuous'")
    refuse_learned(priority, "priority", scores, basis)
    values = read_outcome(scores, "scores")
    first = read_numbers(priority, "priority", values.size)
    groups, known = read_cluster(cluster, values.size), ~np.isnan(values)
    values, first, groups = known_only(known, values, first, groups)
    if values.size < 3:
        raise InputError(
            f"scores: found {values.size} with a score; needed three units or more, since a "
            "standard error leaves each out in turn"
        )
    ranking = rank_units(first, values)
    found = {name: _area(ranking, values, mass) for name, mass in _MASSES[definition].items()}
    autoc, qini = (
        influence_estimate(name, *found[name], groups, level) for name in ("AUTOC", "Qini")
    )
    tied = ranking.size[ranking.size > 1].sum()
    return TargetingCurve(
        autoc=autoc,
        qini=qini,
        definition=definition,
        curve=_curve(ranking, values, groups),
        average=_mean_estimate("average", values, groups, level),
        n_units=int(values.size),
        n_missing=int((~known).sum()),
        n_tied=int(tied),
        provenance=Provenance(
            f"TOC, {definition} areas by jackknife, {basis} basis",
            hash_arrays(p=first, s=values),
            observational=getattr(scores, "observational", None),
        ),
        _influence={name: influence for name, (_, influence) in found.items()},
        _scores=values,
        _cluster=groups,
    )


# Weight in an area of the first `count` of `n` units together; that of all is the average's.


def _mean_of_tocs(count: FloatArray, n: int) -> FloatArray:
    """``(1/n) sum_(i <= count) sum_(j >= i) 1/j``."""
    return np.asarray(count / n * (1 + digamma(n + 1.0) - digamma(count + 1.0)))


def _integral_of_toc(count: FloatArray, n: int) -> FloatArray:
    share = count / n
    return np.asarray(share - share * np.log(np.maximum(share, 1e-300)))


def _mean_of_gains(count: FloatArray, n: int) -> FloatArray:
    """``(1/n^2) sum_(i <= count) (n - i + 1)``."""
    return np.asarray(count * (2 * n - count + 1) / (2 * n**2))


def _integral_of_gain(count: FloatArray, n: int) -> FloatArray:
    return np.asarray(count / n - (count / n) ** 2 / 2)


_MASSES = {
    "discrete": {"AUTOC": _mean_of_tocs, "Qini": _mean_of_gains},
    "continuous": {"AUTOC": _integral_of_toc, "Qini": _integral_of_gain},
}


def _area(ranking: Ranking, scores: FloatArray, mass: Any) -> tuple[float, FloatArray]:
    """An area, and each unit's influence on it: what leaving the unit out changes, times n - 1."""
    n, group = scores.size, ranking.group
    if ranking.size.size == 1 or np.ptp(scores) <= 1e-12 * np.abs(scores).max():
        return 0.0, np.zeros(n)
    sums, ends = ranking.mean * ranking.size, np.cumsum(ranking.size)
    starts = ends - ranking.size
    whole = np.diff(mass(np.append(0, ends), n))
    estimate = float((ranking.mean * (whole - mass(n, n) * ranking.size / n)).sum())
    # without a unit of a group: those before stay, its own is smaller, those behind move up
    before = np.cumsum(ranking.mean * (mass(ends, n - 1) - mass(starts, n - 1)))
    moved = ranking.mean * (mass(ends - 1, n - 1) - mass(np.maximum(starts - 1, 0), n - 1))
    behind = np.cumsum(moved[::-1])[::-1]
    rest = np.append(0.0, before)[:-1] + np.append(behind, 0.0)[1:]
    own = (mass(ends - 1, n - 1) - mass(starts, n - 1)) / np.maximum(ranking.size - 1, 1)
    left = rest[group] + (sums[group] - scores) * own[group]
    left -= mass(n - 1, n - 1) * (sums.sum() - scores) / (n - 1)
    return estimate, np.asarray((left.mean() - left) * (n - 1))


def _curve(ranking: Ranking, scores: FloatArray, cluster: IntArray | None) -> pl.DataFrame:
    """The curve at each percent."""
    shares = np.concatenate([[0.0], ranking.share])
    gains = np.interp(_SHARES, shares, np.concatenate([[0.0], ranking.gain]))
    slopes = ranking.local_mean(_SHARES, _WIDTH)
    average, before = gains[-1], shares[:-1]
    errors = []
    for share, gain, slope in zip(_SHARES, gains, slopes, strict=True):
        inside = np.clip((share - before) / (ranking.share - before), 0.0, 1.0)[ranking.group]
        influence = inside * (scores - slope) + slope * share - gain
        errors.append(std_error(influence / share - (scores - average), cluster))
    return pl.DataFrame(
        {"share": _SHARES, "toc": gains / _SHARES - average, "std_error": errors, "gain": gains}
    )


def _mean_estimate(
    name: str, scores: FloatArray, cluster: IntArray | None, level: float
) -> Estimate:
    mean = float(np.sort(scores).mean())
    return influence_estimate(name, mean, scores - mean, cluster, level)
