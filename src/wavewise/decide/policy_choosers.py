"""From a unit's effects to its arm: the best, the best if sure enough, the best for the money."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from wavewise.decide.policy_spend import priced, upgrades
from wavewise.errors import InputError
from wavewise.results import FloatArray, IntArray

__all__ = ["BestForUnit", "BestIfSure", "Chooser", "WorthItsCost", "chooser_from_dict"]


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
    """The arm with the largest effect.

    Parameters
    ----------
    preference : tuple of int
        Arms in the order in which ties are resolved.
    or_control : bool
        Whether a unit for whom no effect is positive gets the control.
    """

    needs_std_error: ClassVar[bool] = False
    preference: tuple[int, ...]
    or_control: bool

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
    """The arm with the largest effect where it surely beats one arm; that arm elsewhere.

    Parameters
    ----------
    default : int
        The arm that is kept unless another one beats it.
    critical_value : float
        Standard errors of the difference by which it must be beaten.
    preference : tuple of int
        Arms in the order in which ties are resolved.
    """

    needs_std_error: ClassVar[bool] = True
    default: int
    critical_value: float
    preference: tuple[int, ...]

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
    """The arm whose effect pays for its cost at a price, by steps of falling effect per cost.

    Parameters
    ----------
    cost : tuple of float or None
        Cost of each arm for one unit, None for an arm that is never given; the control is free.
    price : float
        Effect per cost that a step must exceed.
    share_at_price : float
        Probability of a step whose effect per cost equals the price, in [0, 1].
    """

    needs_std_error: ClassVar[bool] = False
    cost: tuple[float | None, ...]
    price: float
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
