"""Hashes of units' data: whether two sets of units are the same, without keeping them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.shared.inputs import encode, named_columns, read_outcome
from wavewise.shared.results import FloatArray

__all__ = ["Traced", "UInt64Array", "chance_fingerprints", "row_fingerprints", "traced"]

UInt64Array = npt.NDArray[np.uint64]

_ODD = np.uint64(0x9E3779B97F4A7C15)


def row_fingerprints(X: Any, arm: Any, outcome: Any) -> UInt64Array:
    """A 64-bit hash of each unit's covariates, arm and size of outcome, shape (n_units,).

    Notes
    -----
    Splitmix64's finalizer of each value, summed over the covariates; text by the first eight bytes
    of its SHA-256. The same data give the same numbers on every machine, in any order of units or
    covariates, under any names of covariates, as an array or as a frame. The outcome's sign
    is left out, so that units stay known whether a model learned from it or from its negative.
    """
    columns = named_columns(X)
    n_units = next(iter(columns.values())).size
    state = np.full(n_units, _ODD)
    for values in columns.values():
        state = state + _mix(_bits(values))
    arms = encode(arm, "arm", n_units)
    state = _mix(state ^ _text_bits(np.array(arms.names, dtype=object))[arms.codes])
    return _mix(state ^ _bits(np.abs(read_outcome(outcome, n_units=n_units))))


def chance_fingerprints(X: Any, arm: Any, outcome: Any, prints: UInt64Array) -> UInt64Array:
    """Hashes with each unit's arm and outcome given to another unit, shape (n_units,).

    How many of them are among those of other data is what chance alone repeats.
    """
    order = np.argsort(prints, kind="stable")
    other = np.empty_like(order)
    other[order] = np.roll(order, 1 + order.size // 2)
    labels = encode(arm, "arm", order.size)
    names = np.array(labels.names, dtype=object)
    return row_fingerprints(X, names[labels.codes[other]], read_outcome(outcome)[other])


def _mix(state: UInt64Array) -> UInt64Array:
    state = state + _ODD
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _bits(values: npt.NDArray[Any]) -> UInt64Array:
    if values.dtype.kind != "f":
        return _text_bits(values)
    # one not-a-number, and one zero
    clean = np.where(np.isnan(values), np.nan, values + 0.0)
    return np.ascontiguousarray(clean).view(np.uint64)


def _text_bits(values: npt.NDArray[Any]) -> UInt64Array:
    import hashlib

    known: dict[Any, int] = {}
    for value in set(values.tolist()):
        digest = hashlib.sha256(f"{value is None}|{value}".encode()).digest()
        known[value] = int.from_bytes(digest[:8], "little")
    return np.array([known[value] for value in values.tolist()], dtype=np.uint64)


# Numbers that remember whose outcomes they were learned from, or whose outcomes they hold.


class Traced(np.ndarray[Any, np.dtype[np.float64]]):
    """A read-only array with hashes of units; its columns and rows keep them.

    What is computed from it is a plain array: sums and products have no single origin.
    """

    # (n_rows,): Hashes of the units; see `wavewise.estimate.fingerprints`.
    rows: npt.NDArray[np.uint64] | None
    # (n_rows,): The same with arms and outcomes moved to other units: what chance alone repeats.
    by_chance: npt.NDArray[np.uint64] | None
    observational: str | None  # Why they are of no experiment, where they are not.

    def __array_finalize__(self, other: Any) -> None:
        self.observational = getattr(other, "observational", None)
        self.rows = getattr(other, "rows", None)
        self.by_chance = getattr(other, "by_chance", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


def traced(
    values: FloatArray,
    rows: npt.NDArray[np.uint64],
    by_chance: npt.NDArray[np.uint64] | None = None,
    observational: str | None = None,
) -> Traced:
    """The values as a read-only array that keeps the hashes.

    Examples
    --------
    >>> found = traced(np.ones((2, 3)), np.array([7, 8], dtype=np.uint64))
    >>> found[:, 0].rows.tolist(), type(found + 1).__name__, float(found.mean())
    ([7, 8], 'ndarray', 1.0)
    """
    held = np.asarray(values, dtype=np.float64).view(Traced)
    held.rows, held.by_chance, held.observational = rows, by_chance, observational
    held.flags.writeable = False
    return held
