"""Labels as whole numbers: arms, strata and clusters coded once, in an order free of the rows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.results import FloatArray, IntArray

__all__ = ["Labels", "compress", "encode", "group_sum", "is_missing", "label_text", "renumber"]

# codes up to this many times the units are counted in a table instead of sorted
_DENSE = 4


@dataclass(frozen=True, eq=False)
class Labels:
    """One label a unit, as a code into sorted levels.

    Parameters
    ----------
    codes : array of int, shape (n_units,)
        Position of each unit's label in `levels`.
    levels : array, shape (n_levels,)
        The distinct labels, sorted: numbers by size, text by code point.
    """

    codes: IntArray
    levels: npt.NDArray[Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The levels as text."""
        return tuple(label_text(level) for level in self.levels.tolist())


def encode(values: Any, name: str, n_units: int) -> Labels:
    """Codes and sorted levels of one label a unit.

    Parameters
    ----------
    values : array-like, shape (n_units,)
        Text, whole numbers, other numbers, booleans or dates; any series.
    name : str
        What the labels are, for errors.
    n_units : int
        Length that is needed.

    Raises
    ------
    InputError
        Where the length or the shape differs, or a label is missing.
    """
    array = _as_array(values)
    if len(array.shape) != 1:
        raise InputError(
            f"{name}: found an array of shape {array.shape}; needed one label a unit, shape "
            f"({n_units},); join several columns into one label first"
        )
    _check_length(array.shape[0], name, n_units)
    if isinstance(array, np.ndarray) and array.dtype.kind in "biufmM":
        return _encode_numbers(array, name)
    return _encode_text(_as_text(array), name)


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
    return isinstance(value, float) and math.isnan(value)


def _as_array(values: Any) -> npt.NDArray[Any] | pl.Series:
    if isinstance(values, pl.Series) and not values.dtype.is_numeric():
        return values
    return np.asarray(values)


def _check_length(found: int, name: str, n_units: int) -> None:
    if found != n_units:
        raise InputError(
            f"{name}: found {found:,} labels for {n_units:,} outcomes; needed one a unit, "
            "in the same order"
        )


def _encode_numbers(array: npt.NDArray[Any], name: str) -> Labels:
    if array.dtype.kind in "fmM":
        missing = np.isnan(array) if array.dtype.kind == "f" else np.isnat(array)
        _refuse_missing(int(missing.sum()), name)
    if array.dtype.kind == "i" and array.size and array.min() >= 0:
        codes, levels = renumber(array)
        return Labels(codes.astype(np.int64, copy=False), levels.astype(array.dtype, copy=False))
    levels, codes = np.unique(array, return_inverse=True)
    return Labels(codes.astype(np.int64, copy=False), levels)


def _as_text(array: npt.NDArray[Any] | pl.Series) -> pl.Series:
    if isinstance(array, pl.Series):
        return array.cast(pl.String)
    values = array.tolist()
    try:
        return pl.Series(values, dtype=pl.String)
    except TypeError:  # not text alone
        return pl.Series(
            [None if is_missing(v) else label_text(v) for v in values], dtype=pl.String
        )


def _encode_text(series: pl.Series, name: str) -> Labels:
    _refuse_missing(series.null_count(), name)
    levels = series.unique().sort()
    codes = series.cast(pl.Enum(levels)).to_physical().to_numpy()
    return Labels(codes.astype(np.int64), np.asarray(levels.to_list(), dtype=object))


def _refuse_missing(n_missing: int, name: str) -> None:
    if n_missing:
        raise InputError(
            f"{name}: found {n_missing:,} missing labels; needed one for every unit; "
            "leave those units out, or give them a label of their own"
        )
