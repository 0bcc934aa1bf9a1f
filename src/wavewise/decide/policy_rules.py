"""Rules from covariates to arms: what a policy does, without its name and its papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import getattr_static
from io import BytesIO
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from wavewise.decide.choosers import Chooser, chooser_from_dict
from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, IntArray, Provenance

__all__ = [
    "EffectModel",
    "FixedRule",
    "Leaf",
    "ModelRule",
    "Question",
    "Rule",
    "TreeRule",
    "checked_model",
    "is_model",
    "numbers_by_name",
]


# What a policy needs of a model of effects, and how one travels inside a policy's file.

_HOMES = {
    "Neighbours": "wavewise.estimate.matching.neighbours",
    "CausalForest": "wavewise.estimate.forest.causal_forest",
    "EffectLearner": "wavewise.estimate.learners.effect_learner",
}


class EffectModel(Protocol):
    """Effects of each arm against the control for any unit: a forest, a matcher, or your own.

    A model may also have ``trained_rows`` (hashes of what it learned from, in the order of
    `effects_oob`, so that a policy is not evaluated on them by mistake), ``covariates`` (the
    names of what it needs) and ``describe()`` (what carries its effects, in words).
    """

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms, the control left out."""

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""

    @property
    def effects_oob(self) -> FloatArray:
        """Effects for the units learned from, each by the model without it, (n_units, n_arms)."""

    @property
    def std_error_oob(self) -> FloatArray:
        """Their standard errors, (n_units, n_arms)."""

    @property
    def provenance(self) -> Provenance:
        """What it was learned from."""

    def effects(self, X: Any) -> FloatArray:
        """Effects for new units, (n_new, n_arms)."""

    def std_error(self, X: Any) -> FloatArray:
        """Their standard errors, (n_new, n_arms)."""


def is_model(model: Any) -> TypeGuard[EffectModel]:
    """Whether something has all that a model of effects has; nothing is computed to find out."""
    missing = object()
    needed = ("arms", "control", "effects_oob", "std_error_oob", "provenance", "effects")
    return all(getattr_static(model, name, missing) is not missing for name in needed)


def checked_model(model: Any) -> EffectModel:
    """The model, if it is one and its out-of-bag effects are numbers."""
    if not is_model(model):
        raise InputError(
            f"model: found a {type(model).__name__}; needed a model of effects, such as "
            "ww.estimate.causal_forest, ww.estimate.effect_learner or ww.estimate.neighbours gives"
        )
    effects = np.asarray(model.effects_oob)
    if effects.ndim != 2 or effects.shape[1] != len(model.arms) or not np.isfinite(effects).all():
        raise InputError(
            f"model: found out-of-bag effects of shape {effects.shape} with "
            f"{int((~np.isfinite(effects)).sum()):,} that are not finite; needed finite effects of "
            f"shape (n_units, {len(model.arms)}); grow more trees, or give more units"
        )
    return model


def model_to_bytes(model: Any) -> bytes:
    """The model's own file."""
    if type(model).__name__ not in _HOMES:
        raise InputError(
            f"model: found a {type(model).__name__}, which has no file form here; needed "
            f"one of {', '.join(_HOMES)}"
        )
    body: bytes = model.to_bytes()
    return body


def model_from_bytes(kind: str, body: bytes) -> EffectModel:
    """A model from its own file."""
    if kind not in _HOMES:
        raise InputError(
            f"policy: found a model of kind {kind!r}; needed one of {', '.join(_HOMES)}"
        )
    home = getattr(import_module(_HOMES[kind]), kind)
    model: EffectModel = home.load(BytesIO(body))
    return model


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
    """The same probabilities for everybody."""

    kind: ClassVar[str] = "fixed"
    arms: tuple[str, ...]
    shares: tuple[float, ...]  # They sum to 1.

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
    """Arms chosen from a model's effects."""

    kind: ClassVar[str] = "model"
    model: EffectModel
    # From effects and standard errors to probabilities, the control in the last column.
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
        """The rule in plain words, and what the model says of itself."""
        said = self.model.describe() if hasattr(self.model, "describe") else ""
        return self.chooser.describe(self.arms) + f" ({said})" * bool(said)

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


# A tree of a few questions that gives an arm: read it, print it, put it on a wall.


@dataclass(frozen=True)
class Leaf:
    """One arm for all units that arrive here."""

    arm: str
    n_units: int  # Units that the tree was learned from and that arrive here.
    mean_score: float  # Their mean score of the arm, in-sample: too high as a promise.

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Question:
    """A covariate compared with a number."""

    covariate: str
    # Units with at most this value go left; minus infinity where only missing values do.
    at_most: float
    missing_left: bool  # Whether units without a value go left.
    left: "Question | Leaf"
    right: "Question | Leaf"

    def goes_left(self, values: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether each unit goes left, shape (n_units,)."""
        absent = np.isnan(values)
        return np.where(absent, self.missing_left, values <= self.at_most)

    @property
    def text(self) -> str:
        """The question in words."""
        if np.isneginf(self.at_most):
            return f"{self.covariate} is missing"
        return f"{self.covariate} <= {self.at_most:.6g}" + (" or missing" * self.missing_left)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; null stands for minus infinity."""
        return {
            "covariate": self.covariate,
            "at_most": None if np.isneginf(self.at_most) else self.at_most,
            "missing_left": self.missing_left,
            "left": self.left.to_dict(),
            "right": self.right.to_dict(),
        }


@dataclass(frozen=True)
class TreeRule:
    """Arms by a tree."""

    kind: ClassVar[str] = "tree"
    root: Question | Leaf
    arms: tuple[str, ...]  # Arms that it chose among.

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that it asks for."""
        return tuple(dict.fromkeys(_asked(self.root)))

    def probabilities(self, X: Any) -> FloatArray:
        """One for the arm of each unit's leaf, shape (n_units, n_arms)."""
        columns = numbers_by_name(X, self.covariates) if self.covariates else {}
        n_units = n_units_of(X)
        arm = _codes(self.root, columns, np.arange(n_units), self.arms)
        found = np.zeros((n_units, len(self.arms)))
        found[np.arange(n_units), arm] = 1.0
        return found

    def describe(self) -> str:
        """The tree in one sentence."""
        return _sentence(self.root)

    def draw(self) -> str:
        """The tree as indented text, a line a question or leaf."""
        return "\n".join(_lines(self.root, ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"arms": list(self.arms), "root": self.root.to_dict()}

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """None: the tree is all text."""
        return {}

    @classmethod
    def from_parts(cls, text: Mapping[str, Any], arrays: Any) -> "TreeRule":
        """A rule from its plain values."""
        del arrays
        return cls(_node(text["root"]), tuple(text["arms"]))


def numbers_by_name(X: Any, names: tuple[str, ...]) -> dict[str, FloatArray]:
    """Covariates as numbers, by name; all of them where no name is asked for."""
    from wavewise.shared.inputs import named_columns

    columns = named_columns(X)
    lacking = [name for name in names if name not in columns]
    if lacking:
        raise InputError(f"X: found no covariate {', '.join(lacking)}; the policy needs it")
    chosen = {name: columns[name] for name in names} if names else columns
    texts = [name for name, values in chosen.items() if values.dtype.kind != "f"]
    if texts:
        raise InputError(
            f"X: found text in {', '.join(texts)}; a tree needs numbers; give one column of 0 "
            "and 1 a category, or leave it out"
        )
    return chosen


def _asked(node: Question | Leaf) -> list[str]:
    if isinstance(node, Leaf):
        return []
    return [node.covariate, *_asked(node.left), *_asked(node.right)]


def _codes(
    node: Question | Leaf, columns: dict[str, FloatArray], units: IntArray, arms: tuple[str, ...]
) -> IntArray:
    if isinstance(node, Leaf):
        return np.full(units.size, arms.index(node.arm), dtype=np.int64)
    left = node.goes_left(columns[node.covariate][units])
    found = np.empty(units.size, dtype=np.int64)
    found[left] = _codes(node.left, columns, units[left], arms)
    found[~left] = _codes(node.right, columns, units[~left], arms)
    return found


def _sentence(node: Question | Leaf) -> str:
    if isinstance(node, Leaf):
        return node.arm
    below, above = _sentence(node.left), _sentence(node.right)
    nested = f"({above})" if isinstance(node.right, Question) else above
    return f"if {node.text}: {below}; otherwise: {nested}"


def _lines(node: Question | Leaf, indent: str) -> list[str]:
    if isinstance(node, Leaf):
        return [f"{indent}{node.arm}  ({node.n_units:,} units)"]
    return [
        f"{indent}{node.text}?",
        f"{indent}  yes",
        *_lines(node.left, indent + "    "),
        f"{indent}  no",
        *_lines(node.right, indent + "    "),
    ]


def _node(values: Mapping[str, Any]) -> Question | Leaf:
    if "arm" in values:
        return Leaf(values["arm"], values["n_units"], values["mean_score"])
    at_most = -np.inf if values["at_most"] is None else values["at_most"]
    left, right = _node(values["left"]), _node(values["right"])
    return Question(values["covariate"], at_most, values["missing_left"], left, right)
