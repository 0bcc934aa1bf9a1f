"""The stack: weights of learners by the R-loss, effects of any units, the estimator's spread."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.estimate.forest.causal_forest import CausalForest
from wavewise.estimate.forest.engine import apply_trees
from wavewise.estimate.learners.quadratic import QuadraticBase
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["FOREST", "StackedModel", "stack_weights"]

FOREST = ("forest", "local-linear")  # learners that need the forest
_PENALTY = 4.0
_ARRAYS = ("weights", "ate", "averages", "variance", "spread", "spread_share", "position")


@dataclass(frozen=True, eq=False)
class StackedModel:
    """Average effects plus the weighted deviations of the learners, arms in internal order."""

    learners: tuple[str, ...]
    weights: FloatArray  # (n_learners,)
    # (n_effects,): Average effects, and their empirical-Bayes form that all learners deviate from.
    ate: FloatArray
    averages: FloatArray
    variance: FloatArray  # (n_effects,): Of the average effects.
    base: QuadraticBase
    # By learner but the forest, (n_features, n_effects): Of the deviations, shrunk.
    coefficients: dict[str, FloatArray]
    forest: CausalForest | None
    leaf_means: FloatArray | None  # (n_leaves, n_columns): Covariates; of the local-linear forest.
    # (n_parts, n_features, n_features), (n_parts, n_effects): Covariance of the coefficients of
    # each part of the arms; the part's share in each arm.
    spread: FloatArray
    spread_share: FloatArray
    position: IntArray  # (n_effects,): Internal place of each public arm.

    def effects(self, X: Any) -> FloatArray:
        """Effects of new units, (n_units, n_effects), arms in public order."""
        found = self.averages + np.tensordot(self.weights, self.deviations(X), 1)
        return np.asarray(found[:, self.position], dtype=np.float64)

    def std_error(self, X: Any) -> FloatArray:
        """Spread of the effects of new units, (n_units, n_effects)."""
        trees = None
        if self.forest is not None:
            trees = self.to_internal(self.forest.std_error(X))
        return self.spreads(self.base.features(X), self.deviations(X), trees)[:, self.position]

    def spreads(
        self, features: FloatArray, deviations: FloatArray, trees: FloatArray | None
    ) -> FloatArray:
        """sum_k w_k (s_k^2 + (tau_k - tau)^2)^(1/2): each learner's own, and how they disagree."""
        ridge = self.variance + np.sum(
            [
                ((features[:, 1:] @ matrix) * features[:, 1:]).sum(axis=1, keepdims=True) * share
                for matrix, share in zip(self.spread, self.spread_share, strict=True)
            ],
            axis=0,
        )
        middle = np.tensordot(self.weights, deviations, 1)
        total = np.zeros_like(middle)
        for name, weight, deviation in zip(self.learners, self.weights, deviations, strict=True):
            own = ridge
            if trees is not None and name in FOREST:
                own = trees**2 if name == "forest" else trees**2 + ridge
            total += weight * np.sqrt(own + (deviation - middle) ** 2)
        return total

    def deviations(self, X: Any) -> FloatArray:
        """Deviations from the averages by learner, (n_learners, n_units, n_effects)."""
        features, moved = self.base.features(X), None
        trees = None if self.forest is None else self.of_forest(self.forest.effects(X))
        if self.forest is not None and self.leaf_means is not None:
            model = self.forest._model
            found = apply_trees(
                model.trees, self.leaf_means, model.binning.bins(X), out_of_bag=False
            )
            moved = self.base.moved(features, found.mean)
        return self.combined(features, moved, trees)

    def combined(
        self, features: FloatArray, moved: FloatArray | None, trees: FloatArray | None
    ) -> FloatArray:
        """Deviations by learner, from those of the forest and what its correction needs."""
        nothing = np.zeros((len(features), self.averages.size))
        found = []
        for name in self.learners:
            z = moved if name == "local-linear" and moved is not None else features
            whole = trees if name in FOREST and trees is not None else nothing
            found.append(whole if name == "forest" else whole + z @ self.coefficients[name])
        return np.stack(found)

    def of_forest(self, effects: npt.ArrayLike) -> FloatArray:
        """The forest's effects less its averages, in internal order."""
        assert self.forest is not None  # noqa: S101 - for the type checker
        return self.to_internal(np.asarray(effects) - self.forest.averages)

    def to_internal(self, values: FloatArray) -> FloatArray:
        """Columns from public to internal order."""
        return np.asarray(values[:, np.argsort(self.position)], dtype=np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of the file; texts and numbers stand in its header."""
        arrays = {name: getattr(self, name) for name in _ARRAYS} | self.base.to_arrays()
        arrays |= {f"coefficients_{name}": found for name, found in self.coefficients.items()}
        if self.leaf_means is not None:
            arrays["leaf_means"] = self.leaf_means
        if self.forest is not None:
            arrays["forest"] = np.frombuffer(self.forest.to_bytes(), np.uint8)
        return arrays

    @classmethod
    def from_parts(
        cls, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> "StackedModel":
        """The model from a file's header and arrays."""
        forest = arrays.get("forest")
        learners = tuple(header["learners"])
        return cls(
            learners=learners,
            base=QuadraticBase.from_parts(header["space"], arrays),
            coefficients={k: arrays[f"coefficients_{k}"] for k in learners if k != "forest"},
            leaf_means=arrays.get("leaf_means"),
            forest=None if forest is None else CausalForest.load(BytesIO(forest.tobytes())),
            **{name: arrays[name] for name in _ARRAYS},
        )


# Weights of the learners by the R-loss on units left out.


def stack_weights(target: FloatArray, z: FloatArray, towards: int | None) -> FloatArray:
    """W >= 0, sum w = 1, with the least |target - z w|^2 + 4 s^2 |w - e|^2, (n_learners,).

    e is the learner `towards` (or equal weights), s^2 the mean square of what it leaves. Exact: all
    supports are tried, of which there are few.
    """
    n = z.shape[1]
    centre = np.full(n, 1.0 / n) if towards is None else np.eye(n)[towards]
    rest = target - z @ centre
    ridge = _PENALTY * float((rest**2).mean())
    matrix = z.T @ z + ridge * np.eye(n)
    moment = z.T @ target + ridge * centre
    best, least = centre, np.inf
    for size in range(1, n + 1):
        for support in combinations(range(n), size):
            w = _on_support(matrix, moment, list(support))
            value = float(w @ (matrix @ w) - 2.0 * moment @ w)
            if (w >= 0).all() and value < least:
                best, least = w, value
    return best


def _on_support(matrix: FloatArray, moment: FloatArray, support: list[int]) -> FloatArray:
    """The least with the sum 1 and zeros elsewhere; some may be negative."""
    inner = matrix[np.ix_(support, support)]
    free, along = np.linalg.solve(
        inner, np.column_stack([moment[support], np.ones(len(support))])
    ).T
    w = np.zeros(len(moment))
    w[support] = free + along * (1.0 - free.sum()) / along.sum()
    return w
