"""Labels as codes: arms, strata, clusters and units coded in an order free of the rows.

Whole numbers sort as numbers and text by code point, so that codes depend neither on the order of
rows nor on the machine. Containers are read in `wavewise.shared.inputs`.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "Label",
    "LabelArray",
    "Labels",
    "code",
    "compress",
    "group_sum",
    "is_missing",
    "label_text",
    "one_label_for_all",
    "order_of_unique",
    "renumber",
]

Label: TypeAlias = int | str
# Whole numbers, numbers or booleans as an array; text as a series.
LabelArray: TypeAlias = npt.NDArray[Any] | pl.Series
# Codes up to this many times the units are counted in a table instead of sorted.
_DENSE = 4


@dataclass(frozen=True, eq=False)
class Labels:
    """One label per unit, as a code into sorted levels."""

    codes: IntArray  # (n_units,): Position of each unit's label in `levels`.
    # (n_levels,): The distinct labels, sorted: numbers by size, text by code point.
    levels: npt.NDArray[Any]

    @property
    def labels(self) -> tuple[Any, ...]:
        """The levels as plain values."""
        return tuple(self.levels.tolist())

    @property
    def names(self) -> tuple[str, ...]:
        """The levels as text."""
        return tuple(label_text(level) for level in self.levels.tolist())


def label_text(label: object) -> str:
    """A label as text: whole numbers alike whether they come as 1, 1.0 or "1".

    Examples
    --------
    >>> label_text(2.0), label_text(2), label_text("sms"), label_text(0.5)
    ('2', '2', 'sms', '0.5')
    """
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def code(labels: LabelArray) -> Labels:
    """Labels as codes into their sorted distinct values."""
    if isinstance(labels, pl.Series):
        distinct = labels.unique().sort()
        codes = labels.cast(pl.Enum(distinct)).to_physical().to_numpy()
        return Labels(codes.astype(np.int64), np.asarray(distinct.to_list(), dtype=object))
    if labels.dtype.kind == "i" and labels.size:
        low = int(labels.min())
        if low >= 0:
            return Labels(*renumber(labels))
        if int(labels.max()) - low < _DENSE * labels.size + 1024:
            codes, levels = renumber(labels - low)
            return Labels(codes, levels + low)
    levels, codes = np.unique(labels, return_inverse=True)
    return Labels(codes.astype(np.int64, copy=False), levels)


def one_label_for_all(label: Label, n_units: int) -> Labels:
    """Every unit under one label, as where there are no strata."""
    return Labels(np.zeros(n_units, dtype=np.int64), np.array([label], dtype=object))


def order_of_unique(labels: LabelArray, name: str) -> IntArray | None:
    """Positions that sort distinct labels; None where they are sorted already."""
    if isinstance(labels, pl.Series):
        order = labels.arg_sort().to_numpy().astype(np.int64)
        ranked = labels.gather(order)
        n_repeats = int((ranked.slice(1) == ranked.slice(0, max(ranked.len() - 1, 0))).sum())
    else:
        if bool((labels[1:] > labels[:-1]).all()):
            return None
        order = np.argsort(labels)
        ranked_ints = labels[order]
        n_repeats = int((ranked_ints[1:] == ranked_ints[:-1]).sum())
    if n_repeats:
        raise InputError(
            f"{name}: found {n_repeats:,} repeats among {len(labels):,}, needed each once; "
            "drop the repeated rows"
        )
    return order


def compress(codes: IntArray) -> tuple[IntArray, int]:
    """Codes renumbered without gaps, in the same order, and how many there are."""
    seen = np.bincount(codes) > 0
    if seen.all():
        return codes, int(seen.size)
    return (np.cumsum(seen) - 1)[codes], int(seen.sum())


def renumber(key: IntArray) -> tuple[IntArray, IntArray]:
    """Codes without gaps in the order of the keys (0 or more), and the key of each code."""
    if key.max() < _DENSE * key.size + 1024:
        seen = np.bincount(key) > 0
        return (np.cumsum(seen) - 1)[key], np.flatnonzero(seen)
    keys, codes = np.unique(key, return_inverse=True)
    return codes.astype(np.int64, copy=False), keys


def group_sum(codes: IntArray, values: FloatArray, n_groups: int = 0) -> FloatArray:
    """Sum of the values by code, shape (n_groups,) or as many as there are codes."""
    return np.asarray(np.bincount(codes, weights=values, minlength=n_groups), dtype=np.float64)


def is_missing(value: object) -> bool:
    """Whether a single value stands for nothing: None, not-a-number, or a frame's own mark."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)
