"""Quadratic ridge base: covariates, their squares and products, with penalties chosen by folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wavewise.estimate.matching.space import Space, learn_space
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["Problem", "QuadraticBase", "choose_penalty", "learn_base", "solve_ridge"]

_MOST_CROSSED = 30  # columns up to which all products enter; squares alone above
_FAR = 4.0  # standard deviations beyond which a covariate no longer moves a prediction
_GRID = np.geomspace(1e-4, 1e3, 8)  # penalties over the number of units; the last leaves nothing


@dataclass(frozen=True, eq=False)
class QuadraticBase:
    """How covariates become columns: 1, each covariate, squares and products, standardized."""

    space: Space
    low: FloatArray  # (n_columns,): Least and greatest value of each column; beyond, it is held.
    high: FloatArray
    pairs: IntArray  # (n_products, 2): Columns that are multiplied.
    mean: FloatArray  # (n_features,): Of every feature but the constant.
    scale: FloatArray

    @property
    def is_product(self) -> npt.NDArray[np.bool_]:
        """Whether each feature is a square or product, (1 + n_features,), the constant first."""
        flags: npt.NDArray[np.bool_] = np.arange(1 + self.mean.size) > self.low.size
        return flags

    def features(self, X: Any) -> FloatArray:
        """Features of units, (n_units, 1 + n_features), the constant first."""
        raw = _raw(_standard(self.space, X), self.low, self.high, self.pairs)
        return np.column_stack([np.ones(len(raw)), (raw - self.mean) / self.scale])

    def moved(self, features: FloatArray, to: FloatArray) -> FloatArray:
        """First-order change of the features from their covariates `to` to their own."""
        n = self.low.size
        held = features[:, 1 : n + 1] * self.scale[:n] + self.mean[:n]
        gap = (features[:, 1 : n + 1] - to) * self.scale[:n]
        a, b = self.pairs.T
        change = np.concatenate([gap, gap[:, a] * held[:, b] + held[:, a] * gap[:, b]], axis=1)
        return np.column_stack([np.zeros(len(change)), change / self.scale])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of the file."""
        held = {k: getattr(self, k) for k in ("low", "high", "pairs", "mean", "scale")}
        return {f"base_{name}": values for name, values in held.items()}

    @classmethod
    def from_parts(cls, space: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> "QuadraticBase":
        """The base from a file's header and arrays."""
        held = {k: arrays[f"base_{k}"] for k in ("low", "high", "pairs", "mean", "scale")}
        return cls(Space.from_dict(space), **held)


def learn_base(X: Any, kept: IntArray) -> tuple[QuadraticBase, FloatArray]:
    """The base, and the features of the kept rows in their order."""
    space = learn_space(X)
    columns = _standard(space, X)[kept]
    low, high = np.maximum(columns.min(axis=0), -_FAR), np.minimum(columns.max(axis=0), _FAR)
    varies = high > low  # held at one value, a column says nothing; it stays, with the scale 1
    n = columns.shape[1]
    two_valued = [np.unique(column).size <= 2 for column in columns.T]
    crossed = [
        (j, k)
        for j in range(n)
        for k in range(j, n)
        if varies[j] and varies[k] and (not two_valued[j] if j == k else n <= _MOST_CROSSED)
    ]
    pairs = np.array(crossed, np.int64).reshape(-1, 2)
    raw = _raw(columns, low, high, pairs)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    stays = np.append(np.ones(n, bool), scale[n:] > 1e-8)
    pairs, mean, scale = pairs[stays[n:]], mean[stays], scale[stays]
    scale = np.where(scale > 1e-8, scale, 1.0)
    base = QuadraticBase(space, low, high, pairs, mean, scale)
    return base, np.column_stack([np.ones(len(raw)), (raw[:, stays] - mean) / scale])


def _standard(space: Space, X: Any) -> FloatArray:
    """Columns less their middle, in standard deviations."""
    columns: FloatArray = (space.embed(X) - space.centre) * np.sqrt(space.weights)
    return columns


def _raw(columns: FloatArray, low: FloatArray, high: FloatArray, pairs: IntArray) -> FloatArray:
    held = np.clip(columns, low, high)
    return np.concatenate([held, held[:, pairs[:, 0]] * held[:, pairs[:, 1]]], axis=1)


class Problem(NamedTuple):
    """Least squares as sums over units: to fit on, and to judge the fit on."""

    gram: FloatArray  # (n_features, n_features)
    moment: FloatArray  # (n_features, n_outcomes)
    gram_left_out: FloatArray
    moment_left_out: FloatArray


def solve_ridge(gram: FloatArray, moment: FloatArray, penalty: FloatArray) -> FloatArray:
    """Coefficients b with the least b'Gb - 2 c'b + sum_j penalty_j b_j^2."""
    matrix = gram + 0.0
    diagonal = np.arange(penalty.size)
    matrix[..., diagonal, diagonal] += penalty
    return np.asarray(np.linalg.solve(matrix, moment), dtype=np.float64)


def choose_penalty(
    problems: Sequence[Problem],
    is_product: npt.NDArray[np.bool_],
    n_units: float,
    noise: float,
) -> FloatArray:
    """Penalties of all features by the squared error on units left out, (n_features,).

    One for covariates, one for squares and products, none for the constant. Not those with the
    least error, which is least by chance where nothing is there: the share of a feature's
    coefficient that a penalty keeps is averaged with weights exp(-error / (2 noise)), its
    likelihood under every penalty of a grid.
    """
    grams, moments, *left_out = (np.stack(parts) for parts in zip(*problems, strict=True))
    grid = [(a, b) for a in _GRID for b in _GRID]
    error = np.empty(len(grid))
    for k, (own, product) in enumerate(grid):
        b = solve_ridge(grams, moments, _penalty(own, product, is_product, n_units))
        error[k] = (b * (left_out[0] @ b - 2.0 * left_out[1])).sum()
    weight = np.exp(-(error - error.min()) / (2.0 * max(noise, 1e-300)))
    kept = weight @ (1.0 / (1.0 + np.array(grid))) / weight.sum()
    own, product = 1.0 / kept - 1.0
    return _penalty(own, product, is_product, n_units)


def _penalty(
    own: float, product: float, is_product: npt.NDArray[np.bool_], n_units: float
) -> FloatArray:
    penalty: FloatArray = np.where(is_product, product, own) * n_units
    penalty[0] = 0.0
    return penalty
