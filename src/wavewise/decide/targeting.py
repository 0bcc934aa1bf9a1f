"""Policies that choose whether to message: by a budget, or by what an outcome is worth."""

from dataclasses import replace
from typing import Any

import numpy as np

from wavewise.decide.policy import Policy
from wavewise.decide.policy_choosers import WorthItsCost
from wavewise.decide.policy_model import EffectModel, checked_model
from wavewise.decide.policy_rules import ModelRule
from wavewise.decide.policy_spend import checked_costs, priced, upgrades
from wavewise.errors import DecisionError, InputError
from wavewise.estimate.labels import label_text
from wavewise.results import FloatArray

__all__ = ["target"]


def target(
    model: Any,
    *,
    cost: Any = 1.0,
    budget: float | None = None,
    price: float | None = None,
    arms: Any = None,
    name: str = "targeted",
) -> Policy:
    """The policy that messages the units whose predicted effect repays the cost.

    Parameters
    ----------
    model : EffectModel
    cost : float, or mapping of arm to float
        Cost of each arm for one unit, above 0. With 1 for each, the budget is the share of units
        that may be messaged.
    budget : float, optional
        Mean cost per unit of the population, all units counted.
    price : float, optional
        Effect that one unit of cost must bring, e.g. cost 0.02 dollars and an outcome worth 1
        dollar: price 1 with cost 0.02. Give this or the budget.
    arms : sequence of labels, optional
        Arms that may be given, all by default; give one for the choice of WHETHER alone.
    name : str

    Raises
    ------
    InputError
        Where neither or both of budget and price are given, or a cost is not above 0.
    DecisionError
        Where no unit has a positive predicted effect.

    Notes
    -----
    Steps from no message to dearer and better arms are taken in the order of their effect per cost
    until the budget is spent; see `wavewise.decide.policy_spend.upgrades`. The price at which
    that happens among the out-of-bag effects is frozen in the policy, so that spending in a new
    population can differ from the budget. Units exactly at that price get the step by chance, so
    that equal units have equal chances.
    """
    known = checked_model(model)
    allowed = _allowed(known, arms)
    costs = checked_costs(cost, known.arms, -1)
    given = tuple(float(value) if may else None for value, may in zip(costs, allowed, strict=True))
    if (budget is None) == (price is None):
        raise InputError(
            f"found budget {budget} and price {price}; needed one of them: the mean cost per unit, "
            "or the effect that a unit of cost must bring"
        )
    chooser = WorthItsCost(given, 0.0, 1.0)
    if price is not None:
        if not price >= 0:
            raise InputError(f"price: found {price}; needed 0 or more")
        chooser = replace(chooser, price=float(price), share_at_price=0.0)
    else:
        where, share = _price_of_budget(np.asarray(known.effects_oob), given, budget)
        chooser = replace(chooser, price=where, share_at_price=share)
    return Policy(
        name=name,
        rule=ModelRule(known, chooser),
        trained_on=known.provenance.data_hash,
        trained_rows=np.sort(np.asarray(getattr(known, "trained_rows", ()), dtype=np.uint64)),
    )


def _allowed(model: EffectModel, arms: Any) -> Any:
    names = set(model.arms) if arms is None else {label_text(arm) for arm in arms}
    unknown = sorted(names - set(model.arms))
    if unknown or not names:
        raise InputError(
            f"arms: found {', '.join(unknown) or 'none'}; needed some of {', '.join(model.arms)}"
        )
    return np.array([arm in names for arm in model.arms])


def _price_of_budget(
    effects: FloatArray, costs: tuple[float | None, ...], budget: float | None
) -> tuple[float, float]:
    """Effect per cost at which the budget is spent, and the share of steps there that it pays."""
    if budget is None or not 0 < budget < np.inf:
        raise InputError(f"budget: found {budget}; needed a mean cost per unit above 0")
    steps = upgrades(*priced(effects, costs))
    if steps.unit.size == 0:
        raise DecisionError(
            "no unit has a positive predicted effect of any arm, so that no budget is worth "
            "spending; message nobody, or give everybody the best arm on average"
        )
    order = np.argsort(-steps.ratio, kind="stable")
    ratio, spent = steps.ratio[order], np.cumsum(steps.cost[order]) / effects.shape[0]
    if spent[-1] <= budget:
        return 0.0, 0.0
    at = ratio[int(np.argmax(spent > budget))]
    ends = np.flatnonzero(ratio == at)
    before = spent[ends[0] - 1] if ends[0] else 0.0
    return float(at), float((budget - before) / (spent[ends[-1]] - before))
