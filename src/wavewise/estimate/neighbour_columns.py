"""Covariates as named columns: numbers with not-a-number where missing, or text categories."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.estimate.labels import is_missing
from wavewise.results import FloatArray

__all__ = ["Columns", "named_columns"]

# a name to numbers (n_units,), or to texts with None where missing
Columns = dict[str, npt.NDArray[Any]]


def named_columns(X: Any) -> Columns:
    """Covariates by name, numbers or texts, shape (n_units,) each.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Any frame that narwhals knows; columns of a plain array are named x1, x2 and so on.

    Raises
    ------
    InputError
        Where there is no column or no unit, lengths differ, or a number is infinite.
    """
    columns = {name: _values(raw, name) for name, raw in _raw_columns(X)}
    sizes = {values.size for values in columns.values()}
    if not columns or 0 in sizes:
        raise InputError("X: found no covariate or no unit; needed at least one of each")
    if len(sizes) > 1:
        raise InputError(
            f"X: found columns of {min(sizes):,} to {max(sizes):,} values; needed one a unit"
        )
    infinite = [n for n, v in columns.items() if v.dtype.kind == "f" and np.isinf(v).any()]
    if infinite:
        raise InputError(
            f"X: found infinite values in {_listed(infinite)}; needed finite numbers; mark them as "
            "missing, or leave the covariate out"
        )
    return columns


def _listed(names: list[str], most: int = 10) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def _raw_columns(X: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(X, Mapping):
        yield from ((str(name), values) for name, values in X.items())
    elif hasattr(X, "columns"):
        import narwhals as nw  # noqa: PLC0415 (only frames need it)

        frame = nw.from_native(X, eager_only=True)
        yield from ((str(name), frame.get_column(name).to_numpy()) for name in frame.columns)
    else:
        array = np.asarray(X)
        if array.ndim != 2:
            raise InputError(
                f"X: found shape {array.shape}; needed (n_units, n_covariates), or a frame"
            )
        yield from ((f"x{k + 1}", array[:, k]) for k in range(array.shape[1]))


def _values(raw: Any, name: str) -> npt.NDArray[Any]:
    values = np.asarray(raw)
    if values.ndim != 1:
        raise InputError(f"X: found shape {values.shape} for '{name}'; needed one value a unit")
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "OUST":
        raise InputError(
            f"X: found values of type {values.dtype} in '{name}'; needed numbers or text; turn "
            "dates into days before the wave"
        )
    cells = [None if is_missing(value) else value for value in values.tolist()]
    if any(isinstance(cell, str | bytes) for cell in cells):
        return np.array([None if cell is None else str(cell) for cell in cells], dtype=object)
    return _numbers(cells, name)


def _numbers(cells: list[Any], name: str) -> FloatArray:
    try:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"X: found values in '{name}' that are neither numbers nor text; needed one or the "
            "other; turn dates into days before the wave"
        ) from error
