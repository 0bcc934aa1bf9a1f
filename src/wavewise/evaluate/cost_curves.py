"""The gain of spending where it does most: Qini curves over several arms with costs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wavewise.decide.choosers import Upgrades, checked_costs, upgrades
from wavewise.errors import InputError
from wavewise.estimate.effects.table import EffectTable, Estimate, check_level
from wavewise.evaluate.leakage_guard import Basis, refuse_learned
from wavewise.evaluate.scores import known_only, read_cluster
from wavewise.evaluate.standard_errors import covariance, influence_estimate, std_error
from wavewise.shared.inputs import aligned, read_matrix, read_numbers
from wavewise.shared.labels import group_sum
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    hash_arrays,
)

__all__ = ["CostCurve", "cost_curve"]

_WIDTH = 0.05  # of the spend, on either side, in which the gain of a little more is measured

_N_STEPS = 200  # of the spend, over which influence on an area is summed


@dataclass(frozen=True, eq=False, kw_only=True)
class CostCurve(Result, kind="cost curve"):
    """Gain against spend along the best path.

    Parameters
    ----------
    spend : array of float, shape (n_points,)
        Mean cost per unit where a group of equal steps ends, ascending from 0.
    total : array of float, shape (n_points,)
        Gain in mean outcome at that spend, by the scores.
    promised : array of float, shape (n_points,)
        The same by the predicted effects: too high where they were chosen for their height.
    ratio : array of float, shape (n_points - 1,)
        Predicted effect per cost of each group of steps, descending.
    level : float
    n_units : int
    provenance : Provenance
    """

    spend: FloatArray
    total: FloatArray
    promised: FloatArray
    ratio: FloatArray
    level: float
    n_units: int
    provenance: Provenance
    n_missing: int = 0
    _scores: FloatArray
    _costs: FloatArray
    _steps: Upgrades
    _group: IntArray
    _cluster: IntArray | None

    @property
    def max_spend(self) -> float:
        """Mean cost per unit where nothing more is worth buying."""
        return float(self.spend[-1])

    def gain(self, spend: float) -> Estimate:
        """Gain in mean outcome from the best use of a spend, against messaging nobody.

        Parameters
        ----------
        spend : float
            Mean cost per unit of the population, 0 or more; beyond `max_spend` nothing is added.
        """
        estimate, influence = self._at(spend)
        return self._result(f"gain at {spend:.6g}", estimate, influence)

    def difference(self, other: "CostCurve", spend: float) -> Estimate:
        """Gain of this curve less that of another at one spend, on the same units.

        Raises
        ------
        InputError
            Where the curves rest on other scores.
        """
        self._check_pairs(other)
        one, two = self._at(spend), other._at(spend)
        name = f"difference at {spend:.6g}"
        return self._result(name, one[0] - two[0], one[1] - two[1])

    def integrated_difference(self, other: "CostCurve", spend: float | None = None) -> Estimate:
        """Area between this curve and another from no spend to a spend, on the same units.

        ``int_0^B (Q_a(b) - Q_b(b)) db``: the mean difference at spends up to ``B``, times ``B``.

        Parameters
        ----------
        other : CostCurve
        spend : float, optional
            Mean cost per unit up to which the area goes; by default the larger `max_spend`.

        Raises
        ------
        InputError
            Where the curves rest on other scores, or the spend is not above 0.
        """
        self._check_pairs(other)
        most = max(self.max_spend, other.max_spend) if spend is None else spend
        if not 0 < most < np.inf:
            raise InputError(f"spend: found {most!r}; needed a mean cost per unit above 0")
        area = [
            float(np.trapezoid(np.interp(ends, curve.spend, curve.total), ends))
            for curve in (self, other)
            for ends in [np.append(curve.spend[curve.spend < most], most)]
        ]
        influence = np.zeros(self.n_units)
        for place in (np.arange(_N_STEPS) + 0.5) / _N_STEPS * most:
            influence += (self._at(place)[1] - other._at(place)[1]) * (most / _N_STEPS)
        return self._result(f"area up to {most:.6g}", area[0] - area[1], influence)

    def over_spends(self, spends: Any = None, *, other: "CostCurve | None" = None) -> EffectTable:
        """Gains at several spends with their joint covariance, or differences to another curve.

        ``.adjusted("max-t", rng=rng)`` of it gives a band that holds the whole curve at these
        spends at once with probability `level`.

        Parameters
        ----------
        spends : array-like, shape (n_spends,), optional
            Mean costs per unit; by default 20 evenly spaced up to the larger `max_spend`.
        other : CostCurve, optional
            Curve on the same units that is subtracted.

        Returns
        -------
        EffectTable
            One row per spend; one without any noise, as at a spend of 0, is `NotEstimable`.
        """
        curves = (self,) if other is None else (self, other)
        self._check_pairs(curves[-1])
        most = max(curve.max_spend for curve in curves)
        places = most * np.arange(1, 21) / 20 if spends is None else read_numbers(spends, "spends")
        found = [[curve._at(float(place)) for curve in curves] for place in places]
        minus = [at[0][0] - (at[1][0] if other is not None else 0.0) for at in found]
        parts = [at[0][1] - (at[1][1] if other is not None else 0.0) for at in found]
        cov = covariance(np.column_stack(parts), self._cluster)
        what = "gain" if other is None else "difference"
        names = tuple(f"{what} at {place:.6g}" for place in places)
        fixed = np.sqrt(np.diag(cov)) <= 1e-12 * np.abs(self._scores).max()
        cov[fixed, :] = cov[:, fixed] = np.nan
        n_parts = self.n_units if self._cluster is None else int(self._cluster.max()) + 1
        reason = NotEstimable("every unit's influence on it is 0 in this sample")
        return EffectTable(
            names=names,
            estimate=np.array(minus),
            cov=cov,
            df=np.full(len(names), n_parts - 1.0),
            n_units=np.full(len(names), self.n_units),
            level=self.level,
            se="influence function",
            not_estimable={n: reason for n, none in zip(names, fixed, strict=True) if none},
        )

    def _check_pairs(self, other: "CostCurve") -> None:
        if other._scores.shape[0] != self._scores.shape[0]:
            raise InputError(
                f"found curves of {self.n_units:,} and {other.n_units:,} units; needed the same "
                "units in the same order, so that their noise can be paired"
            )

    def _at(self, spend: float) -> tuple[float, FloatArray]:
        """The gain, and each unit's influence on it."""
        if not 0 <= spend < np.inf:
            raise InputError(f"spend: found {spend!r}; needed a mean cost per unit of 0 or more")
        estimate = float(np.interp(spend, self.spend, self.total))
        place = int(np.searchsorted(self.spend, spend, side="right"))
        share = np.zeros(self.spend.size - 1)
        share[: place - 1] = 1.0
        slope = 0.0
        if place < self.spend.size:
            step = self.spend[place] - self.spend[place - 1]
            share[place - 1] = (spend - self.spend[place - 1]) / step
            slope = self._slope(spend)
        taken = share[self._group]
        gained, paid = self._sums(taken)
        budget = min(spend, self.max_spend)
        return estimate, gained - estimate - slope * (paid - budget)

    def _slope(self, spend: float) -> float:
        """Gain of a little more spend."""
        width = _WIDTH * self.max_spend
        low, high = max(0.0, spend - width), min(self.max_spend, spend + width)
        gains = np.interp([low, high], self.spend, self.total)
        return float((gains[1] - gains[0]) / (high - low))

    def _sums(self, taken: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Each unit's score and cost of the steps taken, shape (n_units,)."""
        gains = _step_scores(self._scores, self._steps) * taken
        n_units = self._scores.shape[0]
        paid = self._steps.cost * taken
        unit = self._steps.unit
        return group_sum(unit, gains, n_units), group_sum(unit, paid, n_units)

    def _result(self, name: str, estimate: float, influence: FloatArray) -> Estimate:
        return influence_estimate(name, estimate, influence, self._cluster, self.level)

    def _frame(self, n_points: int = 50) -> pl.DataFrame:
        """Gain with its standard error at evenly spaced spends up to `max_spend`."""
        spends = np.linspace(0.0, self.max_spend, n_points + 1)[1:]
        rows = [(self._at(float(s)), float(s)) for s in spends]
        return pl.DataFrame(
            {
                "spend": spends,
                "gain": [at[0] for at, _ in rows],
                "std_error": [std_error(at[1], self._cluster) for at, _ in rows],
                "promised": np.interp(spends, self.spend, self.promised),
            }
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "n_units": self.n_units,
            "max_spend": self.max_spend,
            "curve": self._frame(),
        }

    def summary(self) -> str:
        """The gain at half and at all of the useful spend."""
        parts = []
        for spend in (self.max_spend / 2, self.max_spend):
            at = self.gain(spend)
            parts.append(
                f"at a spend of {spend:.4g} per unit {at.estimate:.4g} (standard error "
                f"{at.std_error:.2g})"
            )
        return f"Gain in mean outcome: {'; '.join(parts)}. Promised: {self.promised[-1]:.4g}."


@aligned("effects", "scores", "cluster")
def cost_curve(
    effects: Any,
    scores: Any,
    cost: Any = 1.0,
    *,
    cluster: Any = None,
    basis: Basis = "fresh",
    level: float = 0.95,
) -> CostCurve:
    """Gain of the best spend path over units and arms, at every spend.

    Parameters
    ----------
    effects : array-like, shape (n_units, n_arms)
        Predicted effects against the control, learned from other units or out of bag. The same
        number for all units gives the curve without targeting.
    scores : array-like, shape (n_units, n_arms)
        Doubly robust scores of the same effects, e.g. ``doubly_robust_scores(...).effects``.
    cost : float; mapping of arm position to float; or array (n_arms,) or (n_units, n_arms)
        Cost of each arm for a unit, above 0.
    cluster : array-like, shape (n_units,), optional
        Groups that were randomized together.
    basis : {"fresh", "out-of-bag", "cross-fitted"}
        What the predictions owe to these outcomes: nothing; or each is by the model without the
        unit; or you declare the same of your own.
    level : float
        In (0, 1).

    Returns
    -------
    CostCurve

    Raises
    ------
    StateError
        Where effects that a model gave are judged on the units that it learned from.
    InputError
        Where arrays do not fit together, numbers are not finite, a cost is not above 0, or no
        predicted effect is positive.

    Notes
    -----
    A multiple-choice knapsack: each unit climbs the upper convex hull of (cost, predicted effect)
    from (0, 0), and steps are bought over all units in the order of effect per cost. Steps of equal
    effect per cost are bought together, in equal parts. With ``pi_B`` the rule at spend ``B``, the
    gain is ``(1/n) sum_i Gamma_i(pi_B(x_i))``; a unit's influence is ``Gamma_i(pi_B) - gain -
    lambda (C_i(pi_B) - B)``, where ``lambda``, the gain of a little more spend, is the slope of the
    path within 5 % of the largest spend. Differences are paired unit by unit.

    References
    ----------
    Sverdrup, Wu, Athey and Wager (2024), *Qini curves for multi-armed treatment rules*; Sinha and
    Zoltners (1979), *The multiple-choice knapsack problem*.

    Examples
    --------
    >>> curve = cost_curve([[1.0, 3.0], [2.0, 1.0]], [[1.0, 3.0], [2.0, 1.0]], [1.0, 2.0])
    >>> curve.gain(0.5).estimate, curve.gain(1.5).estimate
    (1.0, 2.5)
    """
    check_level(level)
    refuse_learned(effects, "effects", scores, basis)
    predicted, values = _matrix(effects, "effects"), _matrix(scores, "scores")
    if predicted.shape != values.shape:
        raise InputError(
            f"scores: found shape {values.shape}; needed {predicted.shape}, as the effects have"
        )
    if np.isnan(predicted).any():
        raise InputError(
            f"effects: found {int(np.isnan(predicted).any(axis=1).sum()):,} units with missing "
            "ones; needed finite numbers of shape (n_units, n_arms)"
        )
    known: BoolArray = np.asarray(~np.isnan(values).any(axis=1))
    groups = read_cluster(cluster, len(values))
    values, predicted, groups = known_only(known, values, predicted, groups)
    n_units, n_arms = predicted.shape
    if isinstance(cost, np.ndarray) and cost.ndim == 2 and len(cost) == known.size:
        cost = cost[known]
    costs = checked_costs(cost, tuple(str(a) for a in range(n_arms)), n_units)
    steps = upgrades(predicted, costs)
    if steps.unit.size == 0:
        raise InputError(
            f"effects: found none above 0 among {predicted.size:,} (the largest is "
            f"{predicted.max():.4g}); needed one, since nothing else is worth a cost"
        )
    ratio, group = np.unique(-steps.ratio, return_inverse=True)
    return CostCurve(
        spend=_path(group, steps.cost, n_units),
        total=_path(group, _step_scores(values, steps), n_units),
        promised=_path(group, steps.effect, n_units),
        ratio=-ratio,
        level=level,
        n_units=n_units,
        n_missing=int((~known).sum()),
        provenance=Provenance(
            f"cost curve by influence function, {basis} basis",
            hash_arrays(effects=predicted, scores=values, cost=costs),
            observational=getattr(scores, "observational", None),
        ),
        _scores=values,
        _costs=costs,
        _steps=steps,
        _group=group.astype(np.int64),
        _cluster=groups,
    )


def _matrix(values: Any, name: str) -> FloatArray:
    found = read_matrix(values, name)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or found.size == 0:
        raise InputError(f"{name}: found shape {found.shape}; needed (n_units, n_arms)")
    return found


def _step_scores(scores: FloatArray, steps: Upgrades) -> FloatArray:
    """What each step adds by the scores."""
    padded = np.column_stack([scores, np.zeros(scores.shape[0])])
    return padded[steps.unit, steps.after] - padded[steps.unit, steps.before]


def _path(group: IntArray, parts: FloatArray, n_units: int) -> FloatArray:
    sums = np.bincount(group, weights=parts)
    return np.concatenate([[0.0], np.cumsum(sums) / n_units])
