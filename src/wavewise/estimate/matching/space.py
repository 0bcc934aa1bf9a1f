"""The space in which neighbours are near: standardized covariates, missing and text included."""

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.shared.inputs import Columns, named_columns
from wavewise.shared.results import FloatArray

__all__ = ["Space", "learn_space"]

MOST_LEVELS = 100


@dataclass(frozen=True)
class Covariate:
    """How one covariate enters distances."""

    name: str
    levels: tuple[str, ...] | None  # Categories of text; None for a number.
    mean: float  # Mean of the known numbers, which takes the place of a missing one; 0 for text.
    # One over the variance of the known numbers; for text half of two over the probability that
    # two units differ.
    weight: float
    # Whether missing values had a column of their own when the space was learned.
    has_missing: bool

    def embed(self, values: npt.NDArray[Any]) -> list[FloatArray]:
        """The columns of this covariate, (n_units,) each."""
        if self.levels is not None:
            texts = np.array(["" if v is None else v for v in values.tolist()], dtype=object)
            absent = np.array([v is None for v in values.tolist()], dtype=bool)
            columns = [((texts == level) & ~absent).astype(np.float64) for level in self.levels]
        else:
            absent = np.isnan(values)
            columns = [np.where(absent, self.mean, values)]
        return [*columns, absent.astype(np.float64)] if self.has_missing else columns

    @property
    def weights(self) -> list[float]:
        """Weight of the squared difference in each of its columns."""
        if self.levels is None:
            return [self.weight, 1.0] if self.has_missing else [self.weight]
        return [self.weight] * (len(self.levels) + self.has_missing)


@dataclass(frozen=True)
class Space:
    """Standardized covariates of the units that a matcher learned from."""

    covariates: tuple[Covariate, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(covariate.name for covariate in self.covariates)

    @property
    def weights(self) -> FloatArray:
        """Weight of a squared difference, shape (n_columns,)."""
        return np.array([w for covariate in self.covariates for w in covariate.weights])

    @property
    def centre(self) -> FloatArray:
        """A point in the middle, shape (n_columns,): keeps single precision sharp."""
        parts = [
            [c.mean, *[0.0] * (len(c.weights) - 1)] if c.levels is None else [0.0] * len(c.weights)
            for c in self.covariates
        ]
        return np.array([value for part in parts for value in part])

    def embed(self, X: Any) -> FloatArray:
        """Units as points, shape (n_units, n_columns), in the covariates' own units."""
        columns = named_columns(X)
        lacking = [name for name in self.names if name not in columns]
        if lacking:
            raise InputError(
                f"X: found no covariate {', '.join(lacking)}; needed {', '.join(self.names)}, "
                "as when the matcher was learned"
            )
        parts: list[FloatArray] = []
        for covariate in self.covariates:
            values = columns[covariate.name]
            if (values.dtype.kind == "O") != (covariate.levels is not None):
                values = _same_kind(values, covariate)
            parts += covariate.embed(values)
        return np.ascontiguousarray(np.column_stack(parts))

    def to_dict(self) -> list[dict[str, Any]]:
        """The covariates as plain values, for JSON."""
        return [
            {**vars(c), "levels": None if c.levels is None else list(c.levels)}
            for c in self.covariates
        ]

    @classmethod
    def from_dict(cls, rows: list[dict[str, Any]]) -> "Space":
        """A space from its plain values."""
        return cls(
            tuple(
                Covariate(**{**r, "levels": None if r["levels"] is None else tuple(r["levels"])})
                for r in rows
            )
        )


def learn_space(X: Any) -> Space:
    """Means, weights and categories of the covariates.

    Notes
    -----
    Each covariate adds 2 on average to the squared distance of two units drawn at random. A number
    does so when divided by its standard deviation. Text adds ``2 / (1 - sum p**2)`` where two
    units differ and 0 where they agree, ``p`` being the shares of its categories. Where one of two
    numbers is missing, ``(x - mean)**2 / variance + 1`` is added, which is what an unknown number
    drawn like the others would add on average; two missing values agree. A category not seen before
    is equally far from all.
    """
    columns = named_columns(X)
    _refuse(columns)
    return Space(tuple(_learn(name, values) for name, values in columns.items()))


def _refuse(columns: Columns) -> None:
    faults: list[str] = []
    for name, values in columns.items():
        known = _known(values)
        if known.size == 0:
            faults.append(f"'{name}' is missing for all units")
        elif known.size == values.size and (known == known[0]).all():
            faults.append(f"'{name}' is constant at {known[0]}")
        elif (known == known[0]).all() and values.dtype.kind == "f":
            faults.append(f"'{name}' is constant at {known[0]} where it is known")
        elif values.dtype.kind == "O" and len(set(known.tolist())) > MOST_LEVELS:
            faults.append(f"'{name}' is text with {len(set(known.tolist())):,} different values")
    if faults:
        raise InputError(
            f"X: {'; '.join(faults)}; needed covariates that differ between units, text with at "
            f"most {MOST_LEVELS} categories; leave these out or group their values"
        )


def _known(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind == "f":
        kept = ~np.isnan(values)
    else:
        kept = np.array([value is not None for value in values.tolist()], dtype=bool)
    return np.asarray(values[kept])


def _learn(name: str, values: npt.NDArray[Any]) -> Covariate:
    known = _known(values)
    has_missing = known.size < values.size
    if values.dtype.kind == "f":
        mean = fsum(known) / known.size  # exactly rounded sums: free of the order of units
        variance = fsum((known - mean) ** 2) / known.size
        return Covariate(name, None, mean, 1.0 / variance, has_missing)
    levels, counts = np.unique(known.astype(str), return_counts=True)
    parts = [*counts.tolist(), values.size - known.size]
    differ = 1.0 - fsum((part / values.size) ** 2 for part in parts)
    return Covariate(name, tuple(levels.tolist()), 0.0, 1.0 / differ, has_missing)


def _same_kind(values: npt.NDArray[Any], covariate: Covariate) -> npt.NDArray[Any]:
    """All-missing columns fit either kind; anything else is refused."""
    if _known(values).size == 0:
        absent: list[None] | FloatArray = [None] * values.size
        if covariate.levels is None:
            absent = np.full(values.size, np.nan)
        return np.asarray(absent)
    raise InputError(
        f"X: found {'text' if values.dtype.kind == 'O' else 'numbers'} in '{covariate.name}'; "
        f"needed {'numbers' if covariate.levels is None else 'text'}, as when the matcher was "
        "learned"
    )
