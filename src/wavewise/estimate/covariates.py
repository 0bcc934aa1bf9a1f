"""Covariates as a matrix of numbers with a name a column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.labels import encode, is_missing
from wavewise.results import BoolArray, FloatArray

__all__ = ["Covariates", "MissingRule", "read_covariates"]

MissingRule = Literal["error", "indicator"]

_MISSING_LEVEL = "(missing)"


@dataclass(frozen=True, eq=False)
class Covariates:
    """Covariates of the analysed units.

    Parameters
    ----------
    values : array of float, shape (n_units, n_columns)
        Numbers; text enters as one indicator a level but the first.
    names : tuple of str
        One name a column.
    """

    values: FloatArray
    names: tuple[str, ...]


def read_covariates(
    covariates: Any, n_units: int, kept: BoolArray | None, missing: MissingRule
) -> Covariates:
    """Covariates of the kept units as numbers, with missing values refused or made explicit.

    Parameters
    ----------
    covariates : array-like, shape (n_units,) or (n_units, n_covariates); mapping; or frame
        Any frame that narwhals knows. Text and categories become level indicators.
    n_units : int
        Length that is needed.
    kept : array of bool, shape (n_units,), or None
        Units with an outcome; None keeps all.
    missing : {"error", "indicator"}
        With ``indicator`` a missing number is set to the mean of the kept units and a column
        ``<name> missing`` is added; missing text is a level of its own.

    Raises
    ------
    InputError
        Where lengths differ, a number is infinite, a value is missing under ``error``, or a
        covariate has no value at all.
    """
    columns: list[FloatArray] = []
    names: list[str] = []
    flags: dict[bytes, tuple[str, FloatArray]] = {}
    for name, raw in _columns(covariates):
        values = _one_column(raw, name, n_units)
        values = values if kept is None else values[kept]
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
    if not columns:
        raise InputError("covariates: found no column; needed at least one, or covariates=None")
    return Covariates(np.column_stack(columns), tuple(names))


def _columns(covariates: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(covariates, pl.DataFrame):
        yield from ((name, covariates[name]) for name in covariates.columns)
    elif isinstance(covariates, Mapping):
        yield from ((str(name), values) for name, values in covariates.items())
    elif hasattr(covariates, "columns"):
        yield from _columns_of_frame(covariates)
    else:
        yield from _columns_of_array(covariates)


def _columns_of_frame(frame: Any) -> Iterator[tuple[str, Any]]:
    import narwhals as nw  # noqa: PLC0415 (only frames from elsewhere need it)

    native = nw.from_native(frame, eager_only=True)
    yield from ((str(name), native.get_column(name).to_numpy()) for name in native.columns)


def _columns_of_array(covariates: Any) -> Iterator[tuple[str, Any]]:
    array = np.asarray(covariates)
    name = getattr(covariates, "name", None)
    if array.ndim == 1:
        yield str(name or "x1"), array
    elif array.ndim == 2:
        yield from ((f"x{k + 1}", array[:, k]) for k in range(array.shape[1]))
    else:
        raise InputError(
            f"covariates: found an array of shape {array.shape}; needed (n_units,) or "
            "(n_units, n_covariates)"
        )


def _one_column(raw: Any, name: str, n_units: int) -> npt.NDArray[Any]:
    values = raw.to_numpy() if isinstance(raw, pl.Series) else np.asarray(raw)
    if values.shape != (n_units,):
        raise InputError(
            f"covariate '{name}': found shape {values.shape}; needed ({n_units},), one value a "
            "unit in the order of the outcomes"
        )
    return values


def _expand(
    values: npt.NDArray[Any], name: str, missing: MissingRule
) -> Iterator[tuple[str, FloatArray]]:
    """Numbers as they are; text as one indicator a level but the first."""
    if values.dtype.kind in "biuf":
        yield name, values.astype(np.float64)
        return
    if (numbers := _as_numbers(values)) is not None:
        yield name, numbers
        return
    texts = _texts(values, name, missing)
    labels = encode(texts, f"covariate '{name}'", len(texts))
    for code, level in list(enumerate(labels.names))[1:]:
        yield f"{name}={level}", (labels.codes == code).astype(np.float64)


def _as_numbers(values: npt.NDArray[Any]) -> FloatArray | None:
    """Objects that are numbers or missing, as numbers; None where there is text."""
    if values.dtype.kind != "O" or any(isinstance(value, str | bytes) for value in values):
        return None
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return None


def _texts(values: npt.NDArray[Any], name: str, missing: MissingRule) -> list[str]:
    absent = np.array([is_missing(value) for value in values.tolist()], dtype=bool)
    if absent.any() and missing == "error":
        raise InputError(_missing_text(name, int(absent.sum()), absent.size))
    return [
        _MISSING_LEVEL if gone else str(value)
        for value, gone in zip(values.tolist(), absent, strict=True)
    ]


def _fill(
    column: FloatArray, name: str, missing: MissingRule
) -> tuple[FloatArray, BoolArray | None]:
    if np.isinf(column).any():
        raise InputError(
            f"covariate '{name}': found {int(np.isinf(column).sum()):,} infinite values; needed "
            "finite numbers; mark them as missing, or leave the covariate out"
        )
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
