"""Columns of a check: numbers with gaps, and labels."""

from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.labels import Labels, encode
from wavewise.results import FloatArray

__all__ = ["check_alpha", "one_label", "values_with_gaps"]


def values_with_gaps(values: Any, name: str) -> FloatArray:
    """Numbers, not-a-number where they are missing, shape (n_units,).

    Raises
    ------
    InputError
        Where they are text, infinite, or not one a unit.
    """
    try:
        array = np.asarray(np.array(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found text; needed numbers, or nothing") from error
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name}: found shape {array.shape}; needed (n_units,)")
    if np.isinf(array).any():
        raise InputError(f"{name}: found infinite numbers; needed finite ones, or nothing")
    return array


def one_label(values: Any, name: str, n_units: int) -> Labels:
    """Labels, or one label for all where there are none."""
    if values is None:
        return encode(np.zeros(n_units, dtype=np.int64), name, n_units)
    return encode(values, name, n_units)


def check_alpha(alpha: float) -> float:
    """A probability of a false alarm in (0, 1).

    Raises
    ------
    InputError
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha: found {alpha!r}; needed a probability in (0, 1), such as 0.01")
    return alpha
