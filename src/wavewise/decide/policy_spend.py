"""The best way to spend: steps of falling effect per cost, for each unit and over all units."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.labels import label_text
from wavewise.results import FloatArray, IntArray

__all__ = ["Upgrades", "checked_costs", "priced", "upgrades"]


@dataclass(frozen=True, eq=False)
class Upgrades:
    """Steps from the control to dearer and better arms, one entry a step.

    Parameters
    ----------
    unit : array of int, shape (n_steps,)
    number : array of int, shape (n_steps,)
        Which step of its unit, from 0.
    before, after : array of int, shape (n_steps,)
        Arms; the number of arms stands for the control.
    cost, effect : array of float, shape (n_steps,)
        What the step adds.
    ratio : array of float, shape (n_steps,)
        Effect per cost; falls from step to step within a unit.
    """

    unit: IntArray
    number: IntArray
    before: IntArray
    after: IntArray
    cost: FloatArray
    effect: FloatArray
    ratio: FloatArray


def upgrades(effects: FloatArray, cost: FloatArray) -> Upgrades:
    """Steps along the upper convex hull of (cost, effect), from no message at (0, 0).

    Parameters
    ----------
    effects : array of float, shape (n_units, n_arms)
    cost : array of float, shape (n_arms,) or (n_units, n_arms)
        Above 0.

    Notes
    -----
    From the present arm, the next one is the arm with the largest added effect per added cost; of
    equals the dearest. Arms that are never on the hull are never the best use of money: a mix of a
    cheaper and a dearer arm does more for the same spend.

    References
    ----------
    Sinha and Zoltners (1979), *The multiple-choice knapsack problem*; Sverdrup, Wu, Athey and Wager
    (2024), *Qini curves for multi-armed treatment rules*, section 2.
    """
    n_units, n_arms = effects.shape
    costs = np.broadcast_to(cost, effects.shape)
    at, paid, gained = np.full(n_units, n_arms), np.zeros(n_units), np.zeros(n_units)
    active, parts = np.arange(n_units), []
    for number in range(n_arms):
        more_cost = costs[active] - paid[active, None]
        more_effect = effects[active] - gained[active, None]
        possible = (more_cost > 0) & (more_effect > 0)
        ratio = np.where(possible, more_effect / np.where(possible, more_cost, 1.0), -np.inf)
        top = ratio.max(axis=1)
        arm = np.argmax(np.where(ratio == top[:, None], more_cost, -np.inf), axis=1)
        some = top > -np.inf
        row, arm, active = np.flatnonzero(some), arm[some], active[some]
        if active.size == 0:
            break
        step = (more_cost[row, arm], more_effect[row, arm], top[row])
        parts.append((active, np.full(active.size, number), at[active], arm, *step))
        at[active], paid[active] = arm, costs[active, arm]
        gained[active] = effects[active, arm]
    if not parts:
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        return Upgrades(whole, whole, whole, whole, real, real, real)
    return Upgrades(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def priced(effects: FloatArray, cost: tuple[float | None, ...]) -> tuple[FloatArray, FloatArray]:
    """Effects and costs in which an arm without a cost is never worth it."""
    given = np.array([value is not None for value in cost])
    costs = np.array([1.0 if value is None else value for value in cost])
    return np.where(given, effects, -np.inf), costs


def checked_costs(cost: Any, arms: tuple[str, ...], n_units: int) -> FloatArray:
    """Costs by arm, or by unit and arm, all above 0.

    Parameters
    ----------
    cost : float; mapping of arm to float; or array of shape (n_arms,) or (n_units, n_arms)
    arms : tuple of str
    n_units : int
    """
    if hasattr(cost, "keys"):
        given = {label_text(arm): cost[arm] for arm in cost.keys()}  # noqa: SIM118 - frames too
        lacking = [arm for arm in arms if arm not in given]
        if lacking:
            raise InputError(f"cost: found none for {', '.join(lacking)}; give one for every arm")
        cost = [given[arm] for arm in arms]
    try:
        values = np.asarray(cost, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("cost: found text; needed numbers above 0") from error
    values = np.full(len(arms), float(values)) if values.ndim == 0 else values
    if values.shape not in {(len(arms),), (n_units, len(arms))}:
        raise InputError(
            f"cost: found shape {values.shape}; needed ({len(arms)},), one an arm, or "
            f"({n_units}, {len(arms)})"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise InputError(
            "cost: found values that are not finite numbers above 0; where messages are free, give "
            "1 for each, so that the budget counts messaged units"
        )
    return values
