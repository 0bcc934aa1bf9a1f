"""From a unit's effects to its arm: the best, the best if sure enough, the best for the money."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from wavewise.errors import InputError
from wavewise.shared.labels import label_text
from wavewise.shared.results import FloatArray, IntArray, Record

__all__ = [
    "BestForUnit",
    "BestIfSure",
    "Chooser",
    "Upgrades",
    "WorthItsCost",
    "checked_costs",
    "chooser_from_dict",
    "priced",
    "upgrades",
]


class Chooser(Protocol):
    """Probabilities of arms from effects; the control is the last column."""

    needs_std_error: ClassVar[bool]

    def probabilities(self, effects: FloatArray, std_error: FloatArray) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms + 1)."""

    def describe(self, arms: tuple[str, ...]) -> str:
        """The choice in plain words."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""


@dataclass(frozen=True)
class BestForUnit:
    """The arm with the largest effect."""

    needs_std_error: ClassVar[bool] = False
    preference: tuple[int, ...]  # Arms in the order in which ties are resolved.
    or_control: bool  # Whether a unit for whom no effect is positive gets the control.

    def probabilities(self, effects: FloatArray, std_error: FloatArray) -> FloatArray:
        """One for the chosen arm, shape (n_units, n_arms + 1)."""
        del std_error
        best, most = _best(effects, self.preference)
        return _one_hot(np.where(self.or_control & (most <= 0), effects.shape[1], best), effects)

    def describe(self, arms: tuple[str, ...]) -> str:
        """The choice in plain words."""
        text = "each unit gets the arm with its largest predicted effect"
        return f"{text}, or {arms[-1]} where none is positive" if self.or_control else text

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BestIfSure:
    """The arm with the largest effect where it surely beats one arm; that arm elsewhere."""

    needs_std_error: ClassVar[bool] = True
    default: int  # The arm that is kept unless another one beats it.
    critical_value: float  # Standard errors of the difference by which it must be beaten.
    preference: tuple[int, ...]  # Arms in the order in which ties are resolved.

    def probabilities(self, effects: FloatArray, std_error: FloatArray) -> FloatArray:
        """One for the chosen arm, shape (n_units, n_arms + 1)."""
        # the covariance that a shared control brings is left out, which errs towards the default
        error = np.sqrt(std_error**2 + std_error[:, [self.default]] ** 2)
        ahead = effects - effects[:, [self.default]]
        sure = np.where(ahead > self.critical_value * error, effects, -np.inf)
        sure[:, self.default] = effects[:, self.default]
        return _one_hot(_best(sure, self.preference)[0], effects)

    def describe(self, arms: tuple[str, ...]) -> str:
        """The choice in plain words."""
        return (
            f"everybody gets {arms[self.default]}, except where another arm's predicted effect is "
            f"larger by more than {self.critical_value:.3g} standard errors"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class WorthItsCost:
    """The arm whose effect pays for its cost at a price, by steps of falling effect per cost."""

    needs_std_error: ClassVar[bool] = False
    # Cost of each arm for one unit, None for an arm that is never given; the control is free.
    cost: tuple[float | None, ...]
    price: float  # Effect per cost that a step must exceed.
    # Probability of a step whose effect per cost equals the price, in [0, 1].
    share_at_price: float

    def probabilities(self, effects: FloatArray, std_error: FloatArray) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms + 1)."""
        del std_error
        n_units, n_arms = effects.shape
        found = np.zeros((n_units, n_arms + 1))
        found[:, -1] = 1.0
        steps = upgrades(*priced(effects, self.cost))
        for taken, share in (
            (steps.ratio > self.price, 1.0),
            (steps.ratio == self.price, self.share_at_price),
        ):
            # steps of a unit follow each other, so that each takes over from the one before
            for number in range(n_arms):
                now = np.flatnonzero(taken & (steps.number == number))
                unit = steps.unit[now]
                moved = share * found[unit, steps.before[now]]
                found[unit, steps.before[now]] -= moved
                found[unit, steps.after[now]] += moved
        return found

    def describe(self, arms: tuple[str, ...]) -> str:
        """The choice in plain words."""
        return (
            f"a unit is messaged where the predicted effect exceeds {self.price:.4g} per unit of "
            f"cost, with the arm that pays best; the others get {arms[-1]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_KINDS = {cls.__name__: cls for cls in (BestForUnit, BestIfSure, WorthItsCost)}


def chooser_from_dict(values: dict[str, Any]) -> Chooser:
    """A chooser from its plain values."""
    kind = values["kind"]
    if kind not in _KINDS:
        raise InputError(f"policy: found a chooser of kind {kind!r}; needed {', '.join(_KINDS)}")
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name != "kind"
    }
    make: Any = _KINDS[kind]
    chooser: Chooser = make(**fields)
    return chooser


def _best(effects: FloatArray, preference: tuple[int, ...]) -> tuple[IntArray, FloatArray]:
    """Arm with the largest effect, the preferred of equals, and that effect."""
    order = np.array(preference)
    best = order[np.argmax(effects[:, order], axis=1)]
    return best, effects[np.arange(best.size), best]


def _one_hot(arm: IntArray, effects: FloatArray) -> FloatArray:
    found = np.zeros((effects.shape[0], effects.shape[1] + 1))
    found[np.arange(arm.size), arm] = 1.0
    return found


# The best way to spend: steps of falling effect per cost, for each unit and over all units.


@dataclass(frozen=True, eq=False)
class Upgrades(Record):
    """Steps from the control to dearer and better arms, one entry a step."""

    unit: IntArray  # (n_steps,)
    number: IntArray  # (n_steps,): Which step of its unit, from 0.
    # before, after: (n_steps,): Arms; the number of arms stands for the control.
    before: IntArray
    after: IntArray
    # cost, effect: (n_steps,): What the step adds.
    cost: FloatArray
    effect: FloatArray
    ratio: FloatArray  # (n_steps,): Effect per cost; falls from step to step within a unit.


def upgrades(effects: FloatArray, cost: FloatArray) -> Upgrades:
    """Steps along the upper convex hull of (cost, effect), from no message at (0, 0).

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
    """Costs by arm, or by unit and arm, all above 0."""
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
            f"cost: found shape {values.shape}; needed ({len(arms)},), one per arm, or "
            f"({n_units}, {len(arms)})"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise InputError(
            "cost: found values that are not finite numbers above 0; where messages are free, give "
            "1 for each, so that the budget counts messaged units"
        )
    return values
