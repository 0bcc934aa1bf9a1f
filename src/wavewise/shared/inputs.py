"""Inputs of every estimator, read in one way whatever container they come in.

One entry per unit may come as a list, tuple, range, numpy array (masked ones too), polars or pandas
series (nullable, categorical and arrow-backed too), pyarrow array or anything that numpy takes.
Equal content gives equal answers. The rules:

- missing (None, not-a-number, a null, a masked entry): a unit without an outcome is left out and
  counted; a missing arm, stratum, cluster, weight or propensity is an error that says how many;
  a missing covariate is an error or a value of its own, as the estimator documents;
- labels are whole numbers, numbers, booleans, text or dates; numbers sort by size and text by code
  point, whole floats are whole numbers; text and numbers are not mixed;
- outcomes are numbers or booleans: text, dates and durations are refused with the reason;
- pandas objects are aligned by their index: equal content in another order is put in the order of
  the first, anything else is refused; what has no index is taken in the order given;
- numbers whose squares would leave the floating-point range are refused.
"""

import datetime
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.shared.labels import (
    LabelArray,
    Labels,
    code,
    is_missing,
    label_text,
    one_label_for_all,
    renumber,
)
from wavewise.shared.results import BoolArray, FloatArray, as_given

__all__ = [
    "Columns",
    "MissingRule",
    "aligned",
    "check_size",
    "encode",
    "encode_or_one",
    "list_names",
    "named_columns",
    "read_arms",
    "read_covariates",
    "read_flags",
    "read_labels",
    "read_matrix",
    "read_numbers",
    "read_outcome",
    "read_outcomes",
    "read_propensity",
    "read_weights",
    "refuse_infinite",
    "refuse_scale",
]

# Booleans, 64-bit whole numbers or floats (not-a-number where missing), or text (null where so).
Column: TypeAlias = npt.NDArray[Any] | pl.Series

_WHOLE = (bool, np.bool_, int, np.integer)
_NUMBERS = (*_WHOLE, float, np.floating, Decimal, Fraction)
_DAYS = (datetime.date, np.datetime64)  # datetimes and pandas' timestamps are dates too
_LARGEST = 1e100  # squares, and sums of many of them, stay within floating point
_JOINED = ("strata", "cluster")  # what may come as several columns
_MIDNIGHT = " 00:00:00"


# One value per unit, from any container.


def _column(  # noqa: PLR0911 - one line a container
    values: Any, name: str, dates: bool = False
) -> Column:
    """Numbers or text of any container; ``dates`` takes dates as text, in the order of time."""
    if isinstance(values, np.ma.MaskedArray):
        return _from_masked(values, name, dates)
    if isinstance(values, np.ndarray):
        return _from_numpy(np.asarray(values), name, dates)
    if isinstance(values, pl.Series):
        return _from_polars(values, name, dates)
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step, dtype=np.int64)
    if isinstance(values, list | tuple):
        return _from_list(values, name, dates)
    if values is None or isinstance(values, str | bytes | Mapping | set | frozenset):
        kind = "one text" if isinstance(values, str | bytes) else type(values).__name__
        raise InputError(f"{name}: found {kind}; needed a sequence with one entry per unit")
    module = type(values).__module__.partition(".")[0]
    if module == "narwhals":
        return _column(values.to_native(), name, dates)
    if module == "pandas" and hasattr(values, "dtype"):
        return _from_pandas(values, name, dates)
    if module == "pyarrow" or hasattr(values, "__arrow_c_array__"):
        return _from_arrow(values, name, dates)
    return _from_numpy(np.asarray(values), name, dates)


def _from_numpy(array: npt.NDArray[Any], name: str, dates: bool) -> Column:  # noqa: PLR0911 - one line a type
    if array.ndim != 1:
        raise InputError(
            f"{name}: found an array of shape {array.shape}; needed (n_units,), one entry per unit"
        )
    kind = array.dtype.kind
    if kind == "b":
        return array
    if kind == "i":
        return array.astype(np.int64, copy=False)
    if kind == "u":
        small = array.dtype != np.uint64 or not array.size or array.max() <= np.iinfo(np.int64).max
        return array.astype(np.int64 if small else np.uint64, copy=False)
    if kind == "f":
        return array.astype(np.float64, copy=False)
    if kind in "UT":
        return pl.Series(array.tolist(), dtype=pl.String)
    if kind == "O":
        return _from_list(array.tolist(), name, dates)
    if kind == "M" and dates:
        return _from_dates(pl.Series(array.astype("M8[us]")))
    raise _wrong_type(str(array.dtype), name, dates)


def _from_masked(array: Any, name: str, dates: bool) -> Column:
    mask, data = np.ma.getmaskarray(array), np.ma.getdata(array)
    if not mask.any() or data.ndim != 1:
        return _from_numpy(data, name, dates)
    if data.dtype.kind in "biuf":
        return np.where(mask, np.nan, data.astype(np.float64))
    cells = zip(data.tolist(), mask.tolist(), strict=True)
    if data.dtype.kind in "mM":
        _from_numpy(data, name, dates)  # refuses durations, and dates where they have no place
    return _from_list([None if hidden else cell for cell, hidden in cells], name, dates)


def _from_list(values: Sequence[Any], name: str, dates: bool) -> Column:  # noqa: PLR0911 - one line a type
    """Python values: all numbers, all text or all dates, with nothing for missing."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return pl.Series(values, dtype=pl.String)
    if kinds in ({int}, {float}, {bool}):
        return _whole(values) if kinds == {int} else np.array(values, dtype=kinds.pop())
    present = {k for k in kinds if k.__name__ not in {"NoneType", "NAType", "NaTType"}}
    if any(issubclass(k, float | np.floating) for k in present) and any(
        not issubclass(k, _NUMBERS) for k in present
    ):  # not-a-number may stand for a missing text or date
        present = {type(value) for value in values if not is_missing(value)}
    if not present:
        return np.full(len(values), np.nan)
    complete = present == kinds
    if all(issubclass(k, str) for k in present):
        cells = [None if is_missing(v) else str.__str__(v) for v in values]
        return pl.Series(cells, dtype=pl.String)
    if all(issubclass(k, _NUMBERS) for k in present):
        if complete and all(issubclass(k, bool | np.bool_) for k in present):
            return np.array(values, dtype=np.bool_)
        if complete and all(issubclass(k, _WHOLE) for k in present):
            return _whole(values)
        return np.array([np.nan if is_missing(v) else float(v) for v in values])
    if dates and all(issubclass(k, _DAYS) for k in present):
        cells = [None if is_missing(v) else np.datetime64(v, "us").item() for v in values]
        return _from_dates(pl.Series(cells, dtype=pl.Datetime("us")))
    if any(issubclass(k, list | tuple | np.ndarray) for k in present):
        raise InputError(
            f"{name}: found several values per unit; needed (n_units,), one entry each"
        )
    raise _wrong_type(" and ".join(sorted(k.__name__ for k in present)), name, dates)


def _whole(values: Sequence[Any]) -> npt.NDArray[Any]:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array(values, dtype=object)  # labels refuse these, numbers round them


def _from_dates(series: pl.Series) -> pl.Series:
    """Dates as text, which sorts in time; a time of day only where there is one."""
    text = series.cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S%.f")
    day = text.str.strip_suffix(_MIDNIGHT)
    return day if bool((day.str.len_chars() == 10).all()) else text


def _from_polars(series: pl.Series, name: str, dates: bool) -> Column:  # noqa: PLR0911 - one line a type
    kind, complete = series.dtype, series.null_count() == 0
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if kind == pl.Null:
        return np.full(len(series), np.nan)
    if kind == pl.Boolean and complete:
        return series.to_numpy()
    if kind.is_integer() and complete:
        return _from_numpy(series.to_numpy(), name, dates)
    if kind.is_numeric() or kind == pl.Boolean:
        return series.cast(pl.Float64).to_numpy()
    if kind in (pl.Date, pl.Datetime) and dates:
        return _from_dates(series)
    if kind == pl.Object:
        return _from_list(series.to_list(), name, dates)
    raise _wrong_type(str(kind), name, dates)


def _from_pandas(values: Any, name: str, dates: bool) -> Column:
    kind = values.dtype
    if isinstance(kind, np.dtype):
        return _from_numpy(values.to_numpy(), name, dates)
    if hasattr(kind, "categories"):
        held = getattr(values, "array", values)
        levels = [*np.asarray(held.categories, dtype=object).tolist(), None]
        return _from_list([levels[k] for k in np.asarray(held.codes).tolist()], name, dates)
    if kind.kind in "biuf":
        if np.asarray(values.isna()).any():
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        whole = np.uint64 if kind.kind == "u" else np.int64
        exact = {"b": np.bool_, "f": np.float64}.get(kind.kind, whole)
        return _from_numpy(values.to_numpy(dtype=exact), name, dates)
    if kind.kind == "M" and hasattr(kind, "tz"):  # wall time where the unit lives
        plain = getattr(values, "dt", values).tz_localize(None)
        return _from_numpy(plain.to_numpy(), name, dates)
    return _from_list(values.to_numpy(dtype=object).tolist(), name, dates)


def _from_arrow(values: Any, name: str, dates: bool) -> Column:
    try:
        return _from_polars(pl.Series(values), name, dates)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        found = str(getattr(values, "type", type(values).__name__))
        raise _wrong_type(found, name, dates) from error


def _wrong_type(found: str, name: str, dates: bool) -> InputError:
    if re.search(r"bytes|^\|?S\d", found):
        return InputError(f"{name}: found bytes; needed text or numbers; decode them first")
    if "str" in found and " and " in found:
        return InputError(
            f"{name}: found mixed types ({found}); needed all numbers or all text; convert them to "
            "one type first"
        )
    if re.search("date|time|duration|stamp|Period|Interval|M8|m8", found, re.IGNORECASE):
        fix = "a duration as a number of days" if dates else "turn dates into days before the wave"
        needed = "labels" if dates else "numbers"
        return InputError(f"{name}: found values of type {found}; needed {needed}; {fix}")
    needed = "whole numbers or text" if dates else "numbers or booleans"
    return InputError(f"{name}: found values of type {found}; needed {needed}; convert them")


# Labels: arms, strata, clusters, units.


def read_labels(values: Any, name: str, n_units: int | None = None) -> LabelArray:
    """One label per unit in the order given, none missing: an array, or a series of text."""
    if name in _JOINED and (columns := _several(values)) is not None:
        return _joined(columns, name, n_units)
    found = _column(values, name, dates=True)
    if n_units is not None and len(found) != n_units:
        raise InputError(
            f"{name}: found {len(found):,} labels for {n_units:,} units; needed one per unit, "
            "in the same order"
        )
    if isinstance(found, pl.Series):
        _refuse_missing(found.null_count(), name, len(found))
        return found
    if found.dtype.kind in "Ou":
        raise InputError(
            f"{name}: found whole numbers beyond 64 bits, needed at most 2^63 - 1; give them as "
            "text"
        )
    if found.dtype.kind == "f":
        _refuse_missing(int(np.isnan(found).sum()), name, found.size)
        whole = bool((np.abs(found) < 2.0**53).all()) and bool((found == np.floor(found)).all())
        return found.astype(np.int64) if whole else found
    return found


def encode(values: Any, name: str, n_units: int | None = None) -> Labels:
    """Codes and sorted levels of one label per unit; several columns are joined into one label."""
    found = read_labels(values, name, n_units)
    if len(found) == 0:
        raise InputError(f"{name}: found no units; needed at least one")
    return code(found)


def _several(values: Any) -> list[Any] | None:
    """Columns of a frame, mapping or two-dimensional array of labels; None for one column.

    A mapping's come by name: draws and labels do not depend on the order in which it names them.
    """
    if isinstance(values, Mapping):
        return [column for _, column in sorted(_raw_columns(values, "labels"), key=_by_name)]
    if _is_frame(values):
        return [column for _, column in _raw_columns(values, "labels")]
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1]:
        return [values[:, k] for k in range(values.shape[1])]
    return None


def _by_name(column: tuple[Any, Any]) -> str:
    return str(column[0])


def _joined(columns: list[Any], name: str, n_units: int | None) -> LabelArray:
    parts = [read_labels(column, name, n_units) for column in columns]
    if not parts or len({len(part) for part in parts}) > 1:
        raise InputError(f"{name}: found columns of different lengths; needed one label per unit")
    if len(parts) == 1:
        return parts[0]
    key, texts = np.zeros(len(parts[0]), dtype=np.int64), np.array([""], dtype=object)
    for position, part in enumerate(parts):
        labels = code(part)
        names = np.array(labels.names, dtype=object)
        key, pairs = renumber(key * len(names) + labels.codes)
        before, last = texts[pairs // len(names)], names[pairs % len(names)]
        texts = before + ", " + last if position else last
    return pl.Series(texts[key].tolist(), dtype=pl.String)


def _refuse_missing(n_missing: int, name: str, n_units: int) -> None:
    if n_missing:
        raise InputError(
            f"{name}: found {n_missing:,} missing labels of {n_units:,}; needed one for every "
            "unit; leave those units out, or give them a label of their own"
        )


def read_arms(
    values: Any, n_units: int, arms: Sequence[Any] | None, name: str = "arm"
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Names of the arms, in the order planned or sorted, and each unit's position in them."""
    labels = encode(values, name, n_units)
    found = labels.names
    if arms is None:
        return found, labels.codes
    names = tuple(label_text(arm) for arm in arms)
    if len(set(names)) < len(names):
        raise InputError(f"arms: found a repeated name among {list_names(names)}")
    unknown = [arm for arm in found if arm not in names]
    if unknown:
        raise InputError(f"{name}: found {list_names(unknown)}; needed one of {list_names(names)}")
    position = np.array([names.index(arm) for arm in found], dtype=np.int64)
    return names, position[labels.codes]


def encode_or_one(values: Any, name: str, n_units: int, label: str = "all") -> Labels:
    """Labels of the units, or one label for all where there are none."""
    if values is None:
        return one_label_for_all(label, n_units)
    return encode(values, name, n_units)


def read_propensity(
    propensity: Any, arms: tuple[str, ...], n_units: int, strata: Any = None
) -> FloatArray:
    """Probabilities in [0, 1] of every arm (n_units, n_arms), or of the arm drawn (n_units,).

    A mapping of arm to share (or to one share per unit), a frame with a column per arm, a mapping
    of stratum to such a mapping, an array with a column per arm in their order, or one column.
    """
    if isinstance(propensity, Mapping) and strata is not None:
        labels = encode(strata, "strata", n_units)
        held = {label_text(key): value for key, value in propensity.items()}
        absent = [name for name in labels.names if name not in held]
        if absent:
            raise InputError(f"propensity: found no shares for strata {list_names(absent)}")
        table = np.concatenate([_shares_by_arm(held[name], arms, 1) for name in labels.names])
        shares: FloatArray = table[labels.codes]
    elif isinstance(propensity, Mapping) or (
        _is_frame(propensity) and not _unnamed(propensity, arms)
    ):
        shares = _shares_by_arm(propensity, arms, n_units)
    else:
        if propensity is None:
            raise InputError("propensity: found none; needed one per unit, or a share for each arm")
        if isinstance(propensity, str):
            raise InputError(
                f"propensity: found {propensity!r}; needed probabilities in (0, 1), one per unit, "
                "or a share for each arm"
            )
        shares = read_matrix(propensity, "propensity")
    if shares.shape not in {(n_units,), (n_units, len(arms))}:
        raise InputError(
            f"propensity: found shape {shares.shape}; needed ({n_units}, {len(arms)}), a column "
            f"for each of {list_names(arms)}, or ({n_units},), or a share for each arm"
        )
    return shares


def _unnamed(frame: Any, arms: tuple[str, ...]) -> bool:
    """Whether a frame's columns bear the names that an array of numbers gets."""
    names = [str(name) for name in getattr(frame, "column_names", frame.columns)]
    if set(names) <= set(arms):
        return False
    return all(re.fullmatch(r"(column_)?\d+", name) for name in names)


def _shares_by_arm(propensity: Any, arms: tuple[str, ...], n_units: int) -> FloatArray:
    keys = list(propensity) if isinstance(propensity, Mapping) else list(propensity.columns)
    columns = [column for _, column in _raw_columns(propensity, "propensity")]
    held = {
        label_text(key): np.full(n_units, float(column))
        if isinstance(column, int | float | np.number)
        else read_numbers(column, "propensity")
        for key, column in zip(keys, columns, strict=True)
    }
    unknown = [name for name in held if name not in arms and held[name].any()]
    lacking = [name for name in arms if name not in held]
    if unknown or lacking:
        raise InputError(
            f"propensity: found arms {list_names(sorted(held))}; needed exactly those of the "
            f"units, {list_names(arms)}, the control among them"
        )
    sizes = {column.size for column in held.values()}
    if sizes != {n_units}:
        raise InputError(f"propensity: found {max(sizes):,} rows; needed {n_units:,}, one per unit")
    return np.column_stack([held[name] for name in arms])


def check_size(size: object) -> float:
    """A test's size, the probability of a false alarm, in (0, 1)."""
    if not isinstance(size, int | float | np.number) or not 0 < size < 1:
        raise InputError(f"size: found {size!r}; needed a probability in (0, 1), such as 0.01")
    return float(size)


def list_names(names: Sequence[str], most: int = 20) -> str:
    """Names in a message, the first ones of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


# Numbers: outcomes, weights, scores.


def read_numbers(
    values: Any, name: str, n_units: int | None = None, *, missing: bool = False
) -> FloatArray:
    """Finite numbers, one per unit, as a fresh array; not-a-number where ``missing`` allows it."""
    found = _column(values, name)
    if isinstance(found, pl.Series):
        raise InputError(
            f"{name}: found text; needed numbers or booleans; code text such as yes and no as 1 "
            "and 0"
        )
    numbers = found.astype(np.float64)
    if numbers.size == 0 or n_units not in {None, numbers.size}:
        needed = "(n_units,) with n_units > 0" if n_units is None else f"({n_units},)"
        raise InputError(
            f"{name}: found shape {numbers.shape}; needed {needed}, one number per unit"
        )
    absent = int(np.isnan(numbers).sum())
    if absent and not missing:
        raise InputError(
            f"{name}: found {absent:,} missing of {numbers.size:,}; needed a number for every "
            "unit; leave those units out, and say so"
        )
    refuse_infinite(numbers, name)
    refuse_scale(numbers, name)
    return numbers


def read_outcome(values: Any, name: str = "outcome", n_units: int | None = None) -> FloatArray:
    """Outcomes of the units, not-a-number where one is missing."""
    return read_numbers(values, name, n_units, missing=True)


def read_outcomes(values: Any, name: str = "outcomes") -> dict[str, FloatArray]:
    """Several outcomes of the units by name, (n_units,) each, not-a-number where one is missing.

    A mapping, a frame, or an array (n_units, n_outcomes), whose columns are called 1, 2, ...
    """
    columns: dict[str, FloatArray] = {}
    is_named = isinstance(values, Mapping) or _is_frame(values)
    for place, (label, raw) in enumerate(_raw_columns(values, name), 1):
        column = label if is_named else str(place)
        if column in columns:
            raise InputError(f"{name}: found '{column}' more than once; needed each once")
        columns[column] = read_outcome(raw, f"{name} '{column}'")
    sizes = sorted({column.size for column in columns.values()})
    if len(sizes) != 1:
        found = f"columns of {sizes[0]:,} to {sizes[-1]:,} values" if sizes else "no column"
        raise InputError(f"{name}: found {found}; needed one number per unit in each")
    return columns


def read_weights(weights: Any, n_units: int) -> FloatArray:
    """Positive finite weights, one per unit."""
    values = read_numbers(weights, "weights", n_units, missing=True)
    n_bad = int((~(values > 0)).sum())
    if n_bad:
        raise InputError(
            f"weights: found {n_bad:,} that are not positive finite numbers; needed one over the "
            "probability of the arm that was drawn; leave units with probability 0 out"
        )
    return values


def read_flags(values: Any, name: str, n_units: int) -> BoolArray:
    """True or false (1 or 0), one per unit, none missing."""
    numbers = read_numbers(values, name, n_units)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise InputError(f"{name}: found other values than true and false; needed one of them each")
    return np.asarray(numbers == 1.0)


def read_matrix(values: Any, name: str) -> FloatArray:
    """Numbers of any frame or array, with not-a-number where missing; one column stays one."""
    if _is_frame(values):
        columns = [read_numbers(c, name, missing=True) for _, c in _raw_columns(values, name)]
        return np.column_stack(columns)
    if isinstance(values, np.ma.MaskedArray):
        values = np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values))
    if isinstance(values, list | tuple) and any(isinstance(row, list | tuple) for row in values):
        values = _square(values, name)
    array = values if isinstance(values, np.ndarray) else None
    if array is None or array.ndim == 1:
        try:
            array = np.asarray(values)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name}: found rows of different lengths; needed one table") from (
                error
            )
        if array.ndim == 1:
            return read_numbers(values, name, missing=True)
    if array.dtype.kind not in "biufO":
        kind = "text" if array.dtype.kind in "UST" else f"values of type {array.dtype}"
        raise InputError(f"{name}: found {kind}; needed numbers")
    if array.dtype.kind == "O":
        array = np.column_stack([read_numbers(c, name, missing=True) for c in array.T])
    numbers = np.asarray(array, dtype=np.float64)
    refuse_infinite(numbers, name)
    refuse_scale(numbers, name)
    return numbers


def _square(rows: Sequence[Any], name: str) -> npt.NDArray[Any]:
    if len({len(row) if hasattr(row, "__len__") else -1 for row in rows}) > 1:
        raise InputError(f"{name}: found rows of different lengths; needed one table")
    return np.array(rows, dtype=object)


def refuse_infinite(numbers: FloatArray, name: str) -> None:
    """Refuse infinite values."""
    n_infinite = int(np.isinf(numbers).sum())
    if n_infinite:
        raise InputError(
            f"{name}: found {n_infinite:,} infinite values of {numbers.size:,}; needed finite "
            "numbers; mark them as missing"
        )


def refuse_scale(numbers: FloatArray, name: str, most: float = _LARGEST) -> None:
    """Refuse numbers of which no square exists as a floating-point number."""
    if not numbers.size:
        return
    with np.errstate(invalid="ignore"):
        largest = float(np.fmax(np.fmax.reduce(numbers, axis=None), -np.fmin.reduce(numbers, None)))
    if largest > most or 0 < largest < 1 / most:
        power = int(np.floor(np.log10(largest)))
        raise InputError(
            f"{name}: found sizes of up to {largest:.3g}; needed sizes between {1 / most:g} "
            f"and {most:g}, whose powers a computer can hold; divide by 1e{power}"
        )


# Covariates.

# A name to numbers (n_units,) with not-a-number where missing, or to texts with None where so.
Columns = dict[str, npt.NDArray[Any]]
MissingRule = Literal["error", "indicator"]

_MISSING_LEVEL = "(missing)"


@dataclass(frozen=True, eq=False)
class Covariates:
    """Covariates of the analysed units."""

    # (n_units, n_columns): Numbers; text enters as one indicator per level but the first.
    values: FloatArray
    names: tuple[str, ...]  # One name per column.


def named_columns(X: Any, what: str = "X", *, n_units: int | None = None) -> Columns:
    """Covariates by name, as numbers or texts, shape (n_units,) each."""
    columns: Columns = {}
    for name, raw in _raw_columns(X, what):
        if name in columns:
            raise InputError(f"{what}: found covariate '{name}' more than once; needed each once")
        columns[name] = _covariate(raw, name)
    if not columns or not all(values.size for values in columns.values()):
        raise InputError(f"{what}: found no covariate or no unit; needed at least one of each")
    sizes = sorted({values.size for values in columns.values()})
    if len(sizes) > 1:
        raise InputError(
            f"{what}: found columns of {sizes[0]:,} to {sizes[-1]:,} values; needed one per unit"
        )
    if n_units not in {None, sizes[0]}:
        raise InputError(
            f"{what}: found {sizes[0]:,} rows for {n_units:,} units; needed one each, in the same "
            "order"
        )
    return columns


def read_covariates(
    covariates: Any,
    n_units: int,
    kept: BoolArray | None,
    missing: MissingRule,
    what: str = "covariates",
) -> Covariates:
    """Covariates of the kept units as numbers, with missing values refused or made explicit."""
    columns: list[FloatArray] = []
    names: list[str] = []
    flags: dict[bytes, tuple[str, FloatArray]] = {}
    for name, all_units in named_columns(covariates, what, n_units=n_units).items():
        values = all_units if kept is None else all_units[kept]
        for label, column in _expand(values, name, missing):
            numbers, absent = _fill(column, label, missing)
            columns.append(numbers)
            names.append(label)
            if absent is not None:
                flags.setdefault(absent.tobytes(), (f"{label} missing", absent.astype(np.float64)))
    # covariates that are missing together share one indicator
    for label, flag in flags.values():
        columns.append(flag)
        names.append(label)
    return Covariates(np.column_stack(columns), tuple(names))


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and not isinstance(values, np.ndarray)


def _raw_columns(X: Any, what: str) -> Iterator[tuple[str, Any]]:
    """Name and values of each column, in the container that they come in."""
    if isinstance(X, Mapping):
        yield from ((str(name), values) for name, values in X.items())
    elif isinstance(X, pl.DataFrame):
        yield from ((name, X.get_column(name)) for name in X.columns)
    elif hasattr(X, "iloc") and hasattr(X, "columns"):
        yield from ((str(name), X.iloc[:, k]) for k, name in enumerate(X.columns))
    elif hasattr(X, "columns"):
        import narwhals as nw

        try:
            frame = nw.from_native(X, eager_only=True)
        except TypeError as error:
            raise InputError(
                f"{what}: found a {type(X).__name__}; needed an array, a mapping or a frame"
            ) from error
        yield from ((str(n), frame.get_column(n).to_native()) for n in frame.columns)
    else:
        yield from _columns_of_array(X, what)


def _columns_of_array(X: Any, what: str) -> Iterator[tuple[str, Any]]:
    array = X if isinstance(X, np.ndarray) else None
    if isinstance(X, list | tuple) and X and not isinstance(X[0], list | tuple | np.ndarray):
        array = None if what == "X" else np.empty((0,))
    if array is None:
        nested = isinstance(X, list | tuple) and any(isinstance(row, list | tuple) for row in X)
        try:
            array = _square(X, what) if nested else np.asarray(X)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what}: found rows of different lengths; needed a table") from error
    if array.ndim == 1 and what != "X":
        yield str(getattr(X, "name", None) or "x1"), X
    elif array.ndim == 2:
        yield from ((f"x{k + 1}", array[:, k]) for k in range(array.shape[1]))
    else:
        raise InputError(
            f"{what}: found an array of shape {array.shape}; needed (n_units, n_covariates), or a "
            "frame"
        )


def _covariate(raw: Any, name: str) -> npt.NDArray[Any]:
    found = _column(raw, f"covariate '{name}'")
    if isinstance(found, pl.Series):
        return np.array(found.to_list(), dtype=object)
    numbers = found.astype(np.float64) + 0.0  # no negative zero
    refuse_infinite(numbers, f"covariate '{name}'")
    refuse_scale(numbers, f"covariate '{name}'")
    return np.asarray(numbers)


def _expand(
    values: npt.NDArray[Any], name: str, missing: MissingRule
) -> Iterator[tuple[str, FloatArray]]:
    """Numbers as they are; text as one indicator per level but the first."""
    if values.dtype.kind == "f":
        yield name, values
        return
    texts = values.tolist()
    n_missing = texts.count(None)
    if n_missing and missing == "error":
        raise InputError(_missing_text(name, n_missing, len(texts)))
    cells = [_MISSING_LEVEL if cell is None else cell for cell in texts]
    labels = code(pl.Series(cells, dtype=pl.String))
    for number, level in list(enumerate(labels.names))[1:]:
        yield f"{name}={level}", (labels.codes == number).astype(np.float64)


def _fill(
    column: FloatArray, name: str, missing: MissingRule
) -> tuple[FloatArray, BoolArray | None]:
    absent: BoolArray = np.isnan(column)
    if not absent.any():
        return column, None
    if missing == "error":
        raise InputError(_missing_text(name, int(absent.sum()), absent.size))
    if absent.all():
        raise InputError(f"covariate '{name}': found no value at all; leave the covariate out")
    return np.where(absent, column[~absent].mean(), column), absent


def _missing_text(name: str, n_missing: int, n_units: int) -> str:
    return (
        f"covariate '{name}': found {n_missing:,} missing values among {n_units:,} units with an "
        "outcome; needed none; give missing_covariates='indicator' to set them to the mean with "
        "an indicator beside it, or leave the covariate out"
    )


# One order of units: pandas objects are aligned by their index.

_P = ParamSpec("_P")
_R = TypeVar("_R")


def aligned(*names: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A function whose named arguments have one entry per unit, in the order of the first index."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        order = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            given = {**dict(zip(order, args, strict=False)), **kwargs}
            held = {n: given[n] for n in names if n in given and _has_index(given[n])}
            changed = _in_one_order(held) if held else {}
            if changed:
                n_args = len(args)
                args = tuple(  # type: ignore[assignment]
                    changed.pop(n, v) for n, v in zip(order[:n_args], args, strict=False)
                )
                kwargs.update(changed)
            return as_given(function(*args, **kwargs), given.values())

        return call

    return decorate


def _has_index(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_index(part) for part in value.values())
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "iloc")


def _in_one_order(held: Mapping[str, Any]) -> dict[str, Any]:
    """What had to be put in another order, in the order of the first."""
    first: tuple[str, Any] | None = None
    changed: dict[str, Any] = {}
    for name, value in held.items():
        parts = value if isinstance(value, Mapping) else {"": value}
        moved = {}
        for key, part in parts.items():
            if not _has_index(part):
                continue
            first = first or (name, part.index)
            positions = _positions(name, part.index, *first)
            if positions is not None:
                moved[key] = part.iloc[positions]
        if moved:
            changed[name] = {**value, **moved} if isinstance(value, Mapping) else moved[""]
    return changed


def _positions(name: str, index: Any, first_name: str, first: Any) -> Any:
    """Positions that put an index in the order of the first; None where it is so already."""
    if index is first or index.equals(first):
        return None
    fix = "give both from one table, or take the index off (reset_index(drop=True)) where rows "
    fix += "already stand in one order"
    if len(index) != len(first):
        raise InputError(
            f"{name}: found {len(index):,} rows for the {len(first):,} of {first_name}; needed the "
            f"same units; {fix}"
        )
    if not (index.is_unique and first.is_unique):
        raise InputError(
            f"{name}: found a pandas index with repeats that differs from that of {first_name}; "
            f"needed equal ones, or each label once; {fix}"
        )
    positions = index.get_indexer(first)
    n_absent = int((positions < 0).sum())
    if n_absent:
        raise InputError(
            f"{name}: found {n_absent:,} labels of the pandas index of {first_name} missing in its "
            f"own; needed the same labels in any order; {fix}"
        )
    return positions
