"""Labels at the door: ids, strata, clusters and arms from any sequence, coded in a fixed order.

Whole numbers sort as numbers and text by code point, so that codes depend neither on the order of
rows nor on the machine.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.results import IntArray

__all__ = ["Coded", "Label", "Labels", "as_labels", "code", "order_of_unique", "same_length"]

Label: TypeAlias = int | str
Labels: TypeAlias = IntArray | pl.Series

# A table over the range of whole-number labels is faster than a sort up to this many slots a row.
_SLOTS_PER_ROW = 4


@dataclass(frozen=True)
class Coded:
    """Labels as codes 0, 1, ... into their sorted distinct values.

    Parameters
    ----------
    codes : (n,) int array
        Position of each label in ``labels``.
    labels : tuple of int or str
        The distinct labels, sorted.
    """

    codes: IntArray
    labels: tuple[Label, ...]


def as_labels(values: Any, name: str) -> Labels:
    """Labels as an int64 array or a Polars text series, in the order given.

    Parameters
    ----------
    values : (n,) sequence, array or series of whole numbers or text
        numpy, Polars, pandas, or any Python sequence.
    name : str
        What the labels are, for the error's text.

    Raises
    ------
    InputError
        If labels are missing, of another type, mixed, or not one-dimensional.
    """
    if isinstance(values, pl.Series):
        return _from_polars(values, name)
    if isinstance(values, (str, bytes)):
        raise InputError(f"{name}: found one text, needed one label a unit; give a sequence")
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step, dtype=np.int64)
    if isinstance(values, (list, tuple)):
        return _from_list(list(values), name)
    return _from_array(np.asarray(values), name)


def _from_array(array: npt.NDArray[Any], name: str) -> Labels:
    if array.ndim != 1:
        raise InputError(
            f"{name}: found an array of shape {array.shape}, needed one label a unit; "
            "give a one-dimensional sequence"
        )
    if array.dtype.kind in "iu":
        return _as_int64(array, name)
    if array.dtype.kind in "UOT":
        return _from_list(array.tolist(), name)
    raise _wrong_type(str(array.dtype), name)


def _as_int64(array: npt.NDArray[Any], name: str) -> IntArray:
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise _too_large(name)
    return array.astype(np.int64)  # a copy: later changes of the caller's array do not reach us


def _from_list(values: list[Any], name: str) -> Labels:
    try:
        series = pl.Series(values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{name}: found mixed types, or whole numbers beyond 64 bits; needed all whole "
            "numbers or all text, none missing; convert them to one type first"
        ) from error
    return _from_polars(series, name)


def _from_polars(series: pl.Series, name: str) -> Labels:
    n_missing = series.null_count()
    if n_missing:
        raise InputError(
            f"{name}: found {n_missing:,} missing of {series.len():,}, needed none; "
            "drop these units or give them a label of their own"
        )
    if series.dtype.is_integer():
        return _whole_series(series, name)
    if series.dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if series.dtype == pl.String:
        return series
    if series.is_empty():
        return np.empty(0, dtype=np.int64)
    raise _wrong_type(str(series.dtype), name)


def _whole_series(series: pl.Series, name: str) -> IntArray:
    try:
        return series.cast(pl.Int64).to_numpy().astype(np.int64)
    except pl.exceptions.InvalidOperationError as error:
        raise _too_large(name) from error


def _too_large(name: str) -> InputError:
    return InputError(
        f"{name}: found whole numbers beyond 64 bits, needed at most 2^63 - 1; give them as text"
    )


def _wrong_type(found: str, name: str) -> InputError:
    return InputError(
        f"{name}: found values of type {found}, needed whole numbers or text; "
        "convert them (numbers with missing values are read as floats: fill or drop those first)"
    )


def same_length(n_units: int, **labels: Labels | None) -> None:
    """Nothing, if every array has one entry a unit.

    Raises
    ------
    InputError
        Naming the array and its length.
    """
    for name, values in labels.items():
        if values is not None and len(values) != n_units:
            raise InputError(
                f"{name}: found {len(values):,} entries, needed {n_units:,}, one a unit; "
                "give both from the same table"
            )


def order_of_unique(labels: Labels, name: str) -> IntArray | None:
    """Positions that sort distinct labels; None where they are sorted already.

    Raises
    ------
    InputError
        If a label stands more than once.
    """
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


def code(labels: Labels) -> Coded:
    """Labels as codes into their sorted distinct values."""
    return _code_text(labels) if isinstance(labels, pl.Series) else _code_ints(labels)


def _code_text(labels: pl.Series) -> Coded:
    distinct = labels.unique().sort()
    codes = labels.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int64)
    return Coded(codes, tuple(distinct.to_list()))


def _code_ints(labels: IntArray) -> Coded:
    low = int(labels.min())
    n_slots = int(labels.max()) - low + 1
    if n_slots > _SLOTS_PER_ROW * labels.size + 1024:
        distinct, codes = np.unique(labels, return_inverse=True)
        return Coded(codes.astype(np.int64), tuple(distinct.tolist()))
    offsets = labels - low
    present = np.zeros(n_slots, dtype=bool)
    present[offsets] = True
    rank = np.cumsum(present) - 1
    return Coded(rank[offsets], tuple((np.flatnonzero(present) + low).tolist()))
