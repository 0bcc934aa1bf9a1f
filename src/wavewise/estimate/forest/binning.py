"""Covariates as bins 1 to 255, bin 0 for missing: learned once, applied to any later data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wavewise.errors import Fault, InputError
from wavewise.shared.inputs import named_columns
from wavewise.shared.results import FloatArray

__all__ = ["Binning", "Column", "Values", "read_columns"]

ByteArray = npt.NDArray[np.uint8]
Values: TypeAlias = FloatArray | list[str | None]


@dataclass(frozen=True, eq=False)
class Column:
    """How one covariate becomes bins."""

    name: str
    # (n_cuts,): A number is in bin 1 plus the number of cuts below it; None for text.
    cuts: FloatArray | None
    levels: tuple[str, ...] = ()  # Text levels in code-point order, bin 1 on.
    # Levels beyond the number of bins, the least frequent, which share the last bin.
    rare: tuple[str, ...] = ()

    @property
    def n_bins(self) -> int:
        """Bins, that of missing values included."""
        n_values = len(self.levels) + bool(self.rare) if self.cuts is None else self.cuts.size + 1
        return 1 + n_values

    def bins(self, values: Values) -> ByteArray:
        """Bin of each value; text unseen in training counts as missing."""
        if self.cuts is None:
            return self._level_bins(values)
        if isinstance(values, list):
            raise InputError(f"covariate '{self.name}': found text; needed numbers, as in training")
        bins = np.searchsorted(self.cuts, values, side="left") + 1
        bins[np.isnan(values)] = 0
        return bins.astype(np.uint8)

    def _level_bins(self, values: Values) -> ByteArray:
        if not isinstance(values, list):
            if np.isnan(values).all():  # nothing but missing values tells no type
                return np.zeros(values.size, np.uint8)
            raise InputError(f"covariate '{self.name}': found numbers; needed text, as in training")
        code: dict[str | None, int] = {level: k + 1 for k, level in enumerate(self.levels)}
        code |= dict.fromkeys(self.rare, len(self.levels) + 1)
        return np.array([code.get(value, 0) for value in values], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Binning:
    """How covariates become bins."""

    columns: tuple[Column, ...]  # In the order of training.
    from_frame: bool  # Whether training had column names; then later data are matched by name.

    @property
    def names(self) -> tuple[str, ...]:
        """Covariate names."""
        return tuple(column.name for column in self.columns)

    def bins(self, X: Any) -> ByteArray:
        """Bins of new units, (n_units, n_covariates)."""
        found, from_frame = read_columns(X)
        if self.from_frame and from_frame:
            absent = [name for name in self.names if name not in found]
            if absent:
                raise InputError(
                    f"X: found no covariate {', '.join(map(repr, absent))}; needed all "
                    f"{len(self.names)} that the forest was trained on"
                )
            values = [found[name] for name in self.names]
        else:
            values = list(found.values())
        if len(values) != len(self.columns):
            raise InputError(
                f"X: found {len(values)} covariates; needed the {len(self.columns)} of training, "
                "in the same order"
            )
        faults = [
            f for c, v in zip(self.columns, values, strict=True) for f in _infinite(c.name, v)
        ]
        if faults:
            raise InputError(f"X: {len(faults)} covariates cannot be used", faults)
        return np.column_stack([c.bins(v) for c, v in zip(self.columns, values, strict=True)])

    def to_json(self) -> str:
        """All that is needed to bin new units."""
        return json.dumps(
            {
                "from_frame": self.from_frame,
                "columns": [
                    {
                        "name": c.name,
                        "cuts": None if c.cuts is None else [x.hex() for x in c.cuts.tolist()],
                        "levels": list(c.levels),
                        "rare": list(c.rare),
                    }
                    for c in self.columns
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Binning":
        """The inverse of `to_json`."""
        held = json.loads(text)
        columns = (
            Column(
                c["name"],
                None if c["cuts"] is None else np.array([float.fromhex(x) for x in c["cuts"]]),
                tuple(c["levels"]),
                tuple(c["rare"]),
            )
            for c in held["columns"]
        )
        return cls(tuple(columns), held["from_frame"])

    @classmethod
    def learn(cls, values: Mapping[str, Values], n_bins: int, from_frame: bool) -> "Binning":
        """Cuts at quantiles of the numbers, levels of the text: the outcome is not looked at."""
        faults = [f for name, v in values.items() for f in (_infinite(name, v) or _flat(name, v))]
        if faults:
            raise InputError(f"X: {len(faults)} of {len(values)} covariates cannot be used", faults)
        columns = (_learn(name, value, n_bins) for name, value in values.items())
        return cls(tuple(columns), from_frame)


def read_columns(X: Any) -> tuple[dict[str, Values], bool]:
    """Covariates by name, numbers as floats and text as lists; whether names were given."""
    columns: dict[str, Values] = {
        name: values if values.dtype.kind == "f" else values.tolist()
        for name, values in named_columns(X).items()
    }
    return columns, isinstance(X, Mapping) or hasattr(X, "columns")


def _infinite(name: str, values: Values) -> list[Fault]:
    n = 0 if isinstance(values, list) else int(np.isinf(values).sum())
    if not n:
        return []
    return [
        Fault(
            f"covariate '{name}'",
            f"{n:,} infinite values",
            "finite numbers or missing",
            "mark them as missing, or leave the covariate out",
        )
    ]


def _flat(name: str, values: Values) -> list[Fault]:
    """A fault where a covariate cannot separate any two units."""
    if isinstance(values, list):
        levels: set[Any] = {v for v in values if v is not None}
        any_missing = any(v is None for v in values)
    else:
        finite = values[~np.isnan(values)]
        levels = set() if finite.size == 0 else {finite.min(), finite.max()}
        any_missing = finite.size < values.size
    if len(levels) + any_missing > 1 and levels:
        return []
    found = f"the same value {next(iter(levels))} for every unit" if levels else "no value at all"
    return [Fault(f"covariate '{name}'", found, "values that differ", "leave the covariate out")]


def _learn(name: str, values: Values, n_bins: int) -> Column:
    if isinstance(values, list):
        return _learn_levels(name, values, n_bins)
    held = np.sort(values[~np.isnan(values)])
    distinct, first = np.unique(held, return_index=True)
    if distinct.size > n_bins:
        # the first distinct value at or above each quantile begins a bin
        wanted = np.arange(1, n_bins) * held.size / n_bins
        begins = np.unique(np.searchsorted(first, wanted, side="left"))
        begins = begins[(begins > 0) & (begins < distinct.size)]
    else:
        begins = np.arange(1, distinct.size)
    low, high = distinct[begins - 1], distinct[begins]
    cuts = low + (high - low) / 2
    return Column(name, np.where(cuts >= high, low, cuts))


def _learn_levels(name: str, values: list[str | None], n_bins: int) -> Column:
    levels, counts = np.unique([v for v in values if v is not None], return_counts=True)
    names: list[str] = levels.tolist()
    if len(names) <= n_bins:
        return Column(name, None, tuple(names))
    # the most frequent keep a bin of their own, ties by name; the rest share the last
    ranked = sorted(zip(-counts, names, strict=True))
    kept = sorted(level for _, level in ranked[: n_bins - 1])
    rare = sorted(level for _, level in ranked[n_bins - 1 :])
    return Column(name, None, tuple(kept), tuple(rare))
