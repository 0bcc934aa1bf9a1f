"""A tree of a few questions that gives an arm: read it, print it, put it on a wall."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from wavewise.decide.policy_rules import n_units_of
from wavewise.errors import InputError
from wavewise.results import FloatArray, IntArray

__all__ = ["Leaf", "Question", "TreeRule", "numbers_by_name"]


@dataclass(frozen=True)
class Leaf:
    """One arm for all units that arrive here.

    Parameters
    ----------
    arm : str
    n_units : int
        Units that the tree was learned from and that arrive here.
    mean_score : float
        Their mean score of the arm, in-sample: too high as a promise.
    """

    arm: str
    n_units: int
    mean_score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Question:
    """A covariate compared with a number.

    Parameters
    ----------
    covariate : str
    at_most : float
        Units with at most this value go left; minus infinity where only missing values do.
    missing_left : bool
        Whether units without a value go left.
    left, right : Question or Leaf
    """

    covariate: str
    at_most: float
    missing_left: bool
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
    """Arms by a tree.

    Parameters
    ----------
    root : Question or Leaf
    arms : tuple of str
        Arms that it chose among.
    """

    kind: ClassVar[str] = "tree"
    root: Question | Leaf
    arms: tuple[str, ...]

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
    """Covariates as numbers, by name; all of them where no name is asked for.

    Raises
    ------
    InputError
        Where one is lacking or is text.
    """
    from wavewise.estimate.neighbour_columns import named_columns  # noqa: PLC0415 (loads late)

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
