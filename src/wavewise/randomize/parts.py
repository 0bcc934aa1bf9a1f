"""Shares as whole-number parts over one denominator, so that counting is exact.

A share such as 0.05 is no binary fraction; as 1 of 20 it is exact, and 100 units give 5 and never
6. Shares that are no small fractions become multiples of a fine power-of-two grid.
"""

from dataclasses import dataclass
from math import lcm

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.results import BoolArray, FloatArray, IntArray

__all__ = ["Parts", "small_fractions", "whole_parts"]

_MAX_DENOMINATOR = 10**6
_TOLERANCE = 1e-14  # what arithmetic in doubles may have added
# A fraction a/b is believed only if it is far closer than 1/b^2, as chance would give.
_BELIEF = 1e-3
# n * part stays below 2^62; parts themselves stay exact in a double.
_MAX_TOTAL = 2**62
_MAX_PART = 2**50


@dataclass(frozen=True)
class Parts:
    """Whole-number parts: arm k's share in stratum s is ``part[s, k] / whole``.

    Parameters
    ----------
    part : (n_strata, n_arms) int array
        Rows sum to ``whole``.
    whole : int
        The common denominator D; D times the number of units stays below 2^62.
    """

    part: IntArray
    whole: int

    @property
    def share(self) -> FloatArray:
        """Probability of each arm, exactly as drawn; (n_strata, n_arms)."""
        return self.part / float(self.whole)


def whole_parts(share: FloatArray, n_units: int) -> Parts:
    """Whole-number parts nearest to the shares.

    Parameters
    ----------
    share : (n_strata, n_arms) array
        Rows sum to 1 up to rounding.
    n_units : int
        Number of units or clusters to be counted, which bounds the denominator.

    Raises
    ------
    InputError
        If there are 2^31 units or more.

    Notes
    -----
    With L the least common multiple of the denominators of the shares that are small fractions,
    D = L if all are, else D = L 2^k with the largest k that keeps D n below 2^62. The parts of
    small fractions are exact; the others share what is left by largest remainder, each within
    1/D + n_arms 1e-14 of its share. At up to a million units 1/D is then below 5e-13.
    """
    if n_units >= 2**31:
        raise InputError(f"units: found {n_units:,}, needed fewer than 2^31; split the wave")
    limit = min(_MAX_TOTAL // n_units, _MAX_PART)
    rows, back = _distinct_rows(share)
    numerator, divisor = small_fractions(rows)
    common = _common_multiple(divisor, limit)
    exact = (divisor > 0) & (common % np.maximum(divisor, 1) == 0)
    part = np.where(exact, numerator * (common // np.maximum(divisor, 1)), 0)
    exact &= _consistent(part, exact, common)[:, None] | (rows == 0.0)
    denominator = common if bool(exact.all()) else _refined(common, limit)
    part = np.where(exact, part * (denominator // common), 0)
    part = _fill(part, exact, rows, denominator)
    return Parts(part[back], denominator)


def _distinct_rows(share: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows, and which of them each row is."""
    if bool((share == share[0]).all()):
        return share[:1], np.zeros(share.shape[0], dtype=np.int64)
    rows, back = np.unique(share, axis=0, return_inverse=True)
    return rows, back.reshape(-1).astype(np.int64)


def small_fractions(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Numerators and denominators of the values in [0, 1] that are small fractions, else 0 and 0.

    Notes
    -----
    Convergents of the continued fraction, by the usual recurrence (Hardy and Wright 1979, section
    10.2), all values at once.
    """
    numerator = np.zeros(values.shape, dtype=np.int64)
    divisor = np.zeros(values.shape, dtype=np.int64)
    p, q = np.zeros_like(values), np.ones_like(values)
    p_before, q_before = np.ones_like(values), np.zeros_like(values)
    rest = values.copy()
    while True:
        error = np.abs(values - p / q)
        hit = (divisor == 0) & (q <= _MAX_DENOMINATOR) & (error < _TOLERANCE)
        hit &= error * q * q < _BELIEF
        numerator[hit], divisor[hit] = p[hit].astype(np.int64), q[hit].astype(np.int64)
        open_ = (divisor == 0) & (q <= _MAX_DENOMINATOR) & (rest > 0.0)
        if not bool(open_.any()):
            return numerator, divisor
        inverse = np.divide(1.0, rest, out=np.zeros_like(rest), where=open_)
        step = np.floor(inverse)
        rest = inverse - step
        p, p_before = np.where(open_, step * p + p_before, p), np.where(open_, p, p_before)
        q, q_before = np.where(open_, step * q + q_before, q), np.where(open_, q, q_before)


def _common_multiple(divisor: IntArray, limit: int) -> int:
    common = 1
    for value in np.unique(divisor[divisor > 0]).tolist():
        multiple = lcm(common, value)
        if multiple <= limit:
            common = multiple
    return common


def _consistent(part: IntArray, exact: BoolArray, common: int) -> BoolArray:
    """Whether a row's exact parts leave room for the others, or fill it when there are none."""
    total = part.sum(axis=1)
    fits: BoolArray = np.where(exact.all(axis=1), total == common, total < common)
    return fits


def _refined(common: int, limit: int) -> int:
    return common << ((limit // common).bit_length() - 1)


def _fill(part: IntArray, exact: BoolArray, share: FloatArray, denominator: int) -> IntArray:
    """The parts with what exact ones leave given to the others by largest remainder."""
    left = denominator - part.sum(axis=1)
    loose = np.where(exact, 0.0, share)
    total = loose.sum(axis=1, keepdims=True)
    target = np.divide(loose * left[:, None], total, out=np.zeros_like(loose), where=total > 0.0)
    floor = np.floor(target)
    short = left - floor.sum(axis=1).astype(np.int64)
    remainder = np.where(exact, -1.0, target - floor)
    rank = _rank_descending(remainder)
    filled: IntArray = part + floor.astype(np.int64) + (rank < short[:, None])
    return filled


def _rank_descending(values: FloatArray) -> npt.NDArray[np.int64]:
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(values.shape[1])[None, :], axis=1)
    return rank
