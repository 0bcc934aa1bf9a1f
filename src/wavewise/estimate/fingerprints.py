"""Fingerprints of units' data: whether two sets of units are the same, without keeping them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.estimate.labels import encode
from wavewise.estimate.neighbour_columns import named_columns

__all__ = ["UInt64Array", "chance_fingerprints", "row_fingerprints"]

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
    return _mix(state ^ _bits(np.abs(np.asarray(outcome, dtype=np.float64))))


def chance_fingerprints(X: Any, arm: Any, outcome: Any, prints: UInt64Array) -> UInt64Array:
    """Fingerprints with each unit's arm and outcome given to another unit, shape (n_units,).

    How many of them are among those of other data is what chance alone repeats.

    Parameters
    ----------
    X, arm, outcome
        As for `row_fingerprints`.
    prints : array of uint64, shape (n_units,)
        Its result, which decides who gives to whom.
    """
    order = np.argsort(prints, kind="stable")
    other = np.empty_like(order)
    other[order] = np.roll(order, 1 + order.size // 2)
    labels = encode(arm, "arm", order.size)
    names = np.array(labels.names, dtype=object)
    return row_fingerprints(X, names[labels.codes[other]], np.asarray(outcome)[other])


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
    import hashlib  # noqa: PLC0415 (only text needs it)

    known: dict[Any, int] = {}
    for value in set(values.tolist()):
        digest = hashlib.sha256(f"{value is None}|{value}".encode()).digest()
        known[value] = int.from_bytes(digest[:8], "little")
    return np.array([known[value] for value in values.tolist()], dtype=np.uint64)
