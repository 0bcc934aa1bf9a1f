"""Covariates at the door: columns of numbers, levels of text, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["Covariate", "expand"]

_MAX_LEVELS = 50


@dataclass(frozen=True)
class Covariate:
    """One covariate as columns that can be averaged.

    Parameters
    ----------
    name : str
        The covariate's name; ``age (missing)`` is the indicator of a missing age.
    levels : tuple of str
        One a column: the level that the column indicates, or the name itself.
    columns : (n, n_columns) array
        Finite; empty where the covariate is not tested.
    note : str
        Why it is not tested, or how missing values were filled.
    """

    name: str
    levels: tuple[str, ...]
    columns: FloatArray
    note: str = ""


def expand(covariates: Any, n_units: int) -> list[Covariate]:
    """Covariates of an array, a mapping or a frame, each as its columns.

    Parameters
    ----------
    covariates : (n, n_covariates) array, {name: (n,) values}, or dataframe
        Numbers, booleans or text; columns of an array are named x1, x2, ...
    n_units : int
        Number of units that every column must have.

    Raises
    ------
    InputError
        If lengths differ, values are infinite, or a column is neither number nor text.
    """
    series = _series(covariates)
    if not series:
        raise InputError("covariates: found none, needed at least one column")
    for name, values in series.items():
        if len(values) != n_units:
            raise InputError(
                f"covariate {name!r}: found {len(values):,} values, needed {n_units:,}, one a unit"
            )
    return [part for name, values in series.items() for part in _parts(name, values)]


def _series(covariates: Any) -> dict[str, pl.Series]:
    if isinstance(covariates, Mapping):
        return {str(name): _column(str(name), values) for name, values in covariates.items()}
    if isinstance(covariates, np.ndarray) or not hasattr(covariates, "columns"):
        return _of_array(np.asarray(covariates))
    frame = nw.from_native(covariates, eager_only=True)
    return {name: _column(name, frame.get_column(name).to_native()) for name in frame.columns}


def _of_array(array: npt.NDArray[Any]) -> dict[str, pl.Series]:
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"covariates: found shape {array.shape}, needed (n_units, n_covariates)")
    return {f"x{j + 1}": _column(f"x{j + 1}", array[:, j]) for j in range(array.shape[1])}


def _column(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values
    held = values if isinstance(values, (list, tuple)) else np.asarray(values)
    if isinstance(held, np.ndarray) and held.dtype.kind in "biuf":
        return pl.Series(np.ascontiguousarray(held))
    try:
        cells = [None if _is_missing(cell) else cell for cell in held]
        return pl.Series(cells, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"covariate {name!r}: found mixed types, needed all numbers or all text; convert it"
        ) from error


def _is_missing(cell: Any) -> bool:
    return cell is None or bool(cell != cell)  # noqa: PLR0124 - only NaN differs from itself


def _parts(name: str, values: pl.Series) -> list[Covariate]:
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return _numeric(name, values.cast(pl.Float64).to_numpy())
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        return [_text(name, values.cast(pl.String))]
    if values.null_count() == len(values):
        return [_untested(name, len(values), "all values are missing")]
    raise InputError(
        f"covariate {name!r}: found values of type {values.dtype}, needed numbers or text; "
        "convert it, a date to days for example"
    )


def _numeric(name: str, values: FloatArray) -> list[Covariate]:
    if np.isinf(values).any():
        n_infinite = int(np.isinf(values).sum())
        raise InputError(f"covariate {name!r}: found {n_infinite:,} infinite values, needed none")
    missing = np.isnan(values)
    n_missing = int(missing.sum())
    if n_missing == values.size:
        return [_untested(name, values.size, "all values are missing")]
    if n_missing == 0:
        return [_constant_or(name, values, "")]
    filled = np.where(missing, values[~missing].mean(), values)
    note = f"{n_missing:,} missing, filled with the mean"
    indicator = Covariate(f"{name} (missing)", (name,), missing.astype(np.float64)[:, None])
    return [_constant_or(name, filled, note), indicator]


def _constant_or(name: str, values: FloatArray, note: str) -> Covariate:
    if values.min() == values.max():
        return _untested(name, values.size, "constant")
    return Covariate(name, (name,), values[:, None], note)


def _text(name: str, values: pl.Series) -> Covariate:
    filled = values.fill_null("(missing)")
    levels = filled.unique().sort()
    if levels.len() == 1:
        return _untested(name, values.len(), "constant")
    if levels.len() > _MAX_LEVELS:
        why = f"{levels.len():,} levels, more than {_MAX_LEVELS}; group them"
        return _untested(name, values.len(), why)
    codes = filled.cast(pl.Enum(levels)).to_physical().to_numpy()
    columns = (codes[:, None] == np.arange(levels.len())[None, :]).astype(np.float64)
    return Covariate(name, tuple(f"{name}={level}" for level in levels), columns)


def _untested(name: str, n_units: int, why: str) -> Covariate:
    return Covariate(name, (), np.empty((n_units, 0)), f"not tested: {why}")
