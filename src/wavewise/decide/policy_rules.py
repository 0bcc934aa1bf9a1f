"""Rules from covariates to arms: what a policy does, without its name and its papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from wavewise.decide.policy_choosers import Chooser, chooser_from_dict
from wavewise.decide.policy_model import EffectModel, model_from_bytes, model_to_bytes
from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["FixedRule", "ModelRule", "Rule", "n_units_of"]

Arrays = dict[str, npt.NDArray[Any]]


class Rule(Protocol):
    """Probabilities of arms given covariates."""

    kind: ClassVar[str]

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that it can give."""

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that it needs."""

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms)."""

    def describe(self) -> str:
        """The rule in plain words."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

    def to_arrays(self) -> Arrays:
        """Arrays that do not fit into JSON."""


@dataclass(frozen=True)
class FixedRule:
    """The same probabilities for everybody.

    Parameters
    ----------
    arms : tuple of str
    shares : tuple of float
        They sum to 1.
    """

    kind: ClassVar[str] = "fixed"
    arms: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def covariates(self) -> tuple[str, ...]:
        """None are needed."""
        return ()

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms)."""
        return np.tile(np.array(self.shares), (n_units_of(X), 1))

    def describe(self) -> str:
        """The rule in plain words."""
        if len(self.arms) == 1:
            return f"everybody gets {self.arms[0]}"
        if len(set(self.shares)) == 1 and len(self.arms) > 4:
            return f"one of {len(self.arms)} arms is drawn at random, in equal shares"
        parts = [f"{arm} {share:.3g}" for arm, share in zip(self.arms, self.shares, strict=True)]
        return f"an arm is drawn at random: {', '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"arms": list(self.arms), "shares": list(self.shares)}

    def to_arrays(self) -> Arrays:
        """None."""
        return {}

    @classmethod
    def from_parts(cls, text: Mapping[str, Any], arrays: Arrays) -> "FixedRule":
        """A rule from its plain values."""
        del arrays
        return cls(tuple(text["arms"]), tuple(text["shares"]))


@dataclass(frozen=True, eq=False)
class ModelRule:
    """Arms chosen from a model's effects.

    Parameters
    ----------
    model : EffectModel
    chooser : Chooser
        From effects and standard errors to probabilities, the control in the last column.
    """

    kind: ClassVar[str] = "model"
    model: EffectModel
    chooser: Chooser

    @property
    def arms(self) -> tuple[str, ...]:
        """The model's arms and the control, last."""
        return (*self.model.arms, self.model.control)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates of the model."""
        return tuple(getattr(self.model, "covariates", ()))

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms)."""
        effects = np.asarray(self.model.effects(X))
        errors = self.model.std_error(X) if self.chooser.needs_std_error else effects
        return self.chooser.probabilities(effects, errors)

    def probabilities_oob(self) -> FloatArray:
        """The same for the units that the model learned from, each by the model without it."""
        effects = self.model.effects_oob
        errors = self.model.std_error_oob if self.chooser.needs_std_error else effects
        return self.chooser.probabilities(effects, errors)

    def describe(self) -> str:
        """The rule in plain words."""
        return self.chooser.describe(self.arms)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": type(self.model).__name__,
            "chooser": {"kind": type(self.chooser).__name__, **self.chooser.to_dict()},
        }

    def to_arrays(self) -> Arrays:
        """The model's own file."""
        return {"model": np.frombuffer(model_to_bytes(self.model), dtype=np.uint8)}

    @classmethod
    def from_parts(cls, text: Mapping[str, Any], arrays: Arrays) -> "ModelRule":
        """A rule from its plain values."""
        model = model_from_bytes(text["model"], arrays["model"].tobytes())
        return cls(model, chooser_from_dict(text["chooser"]))


def n_units_of(X: Any) -> int:
    """Number of units of any table of covariates."""
    if isinstance(X, Mapping):
        X = next(iter(X.values()), ())
    shape = getattr(X, "shape", None)
    try:
        return int(shape[0]) if shape else len(X)
    except TypeError as error:
        raise InputError(
            f"X: found a {type(X).__name__}; needed one row of covariates a unit"
        ) from error
