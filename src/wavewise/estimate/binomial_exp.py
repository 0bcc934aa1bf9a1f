"""Exponentials and logs of whole vectors, plain arithmetic only, for the likelihood's inner loops.

The loops hold additions, products and shifts of bits, never a call, so that the compiler can do
several elements at once; without reordering, so that every machine gets the same digits.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from wavewise.results import FloatArray, IntArray

__all__ = [
    "SingleArray",
    "compiled",
    "exp_in_place",
    "exp_single",
    "inlined",
    "softplus_in_place",
]

SingleArray: TypeAlias = npt.NDArray[np.float32]
F = TypeVar("F", bound=Callable[..., object])

_LOG2_E = 1.4426950408889634
_LN2 = 0.6931471805599453
_TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to whole numbers
_EXPONENT_BITS = np.int64(52)
_ONE_BITS = np.int64(1023) << np.int64(52)
_LARGEST = 700.0

# the same in single precision: twice as many at once
_F = np.float32
_LARGEST_SINGLE, _LOG2_E_SINGLE = _F(87.0), _F(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_TO_WHOLE_SINGLE = _F(12582912.0)  # 1.5 * 2^23
_ONE_HALF, _ONE = _F(0.5), _F(1.0)
_C3, _C4, _C5, _C6 = _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720)
_EXPONENT_BITS_SINGLE, _ONE_BITS_SINGLE = np.int32(23), np.int32(127 << 23)


def compiled(function: F) -> F:
    """The function compiled on first use, without the lock; cached where a folder allows it."""
    return _njit(function, no_cfunc_wrapper=True)


def inlined(function: F) -> F:
    """The same for a function that only compiled ones call: no entrance from Python is made."""
    return _njit(function, no_cfunc_wrapper=True, no_cpython_wrapper=True)


def _njit(function: F, **options: Any) -> F:
    options |= {"nogil": True}
    try:
        made = njit(cache=True, error_model="numpy", fastmath={"contract"}, **options)(function)
    except RuntimeError:  # no writable folder for the cache
        made = njit(error_model="numpy", fastmath={"contract"}, **options)(function)
    return cast(F, made)


@inlined
def exp_in_place(x: FloatArray, power: FloatArray, bits: IntArray, n: int) -> None:
    """X becomes exp(x) for its first n elements, to 1e-8 of itself; |x| is cut at 700.

    `power` is scratch of at least n elements, `bits` the same memory seen as whole numbers.
    """
    for i in range(n):
        v = min(max(x[i], -_LARGEST), _LARGEST)
        shifted = v * _LOG2_E + _TO_WHOLE
        power[i] = shifted
        whole = shifted - _TO_WHOLE
        r = v - whole * _LN2
        s = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040)))
        x[i] = 1 + r * (1 + r * (0.5 + r * (1 / 6 + r * s)))
    for i in range(n):
        bits[i] = (bits[i] << _EXPONENT_BITS) + _ONE_BITS
    for i in range(n):
        x[i] *= power[i]


@inlined
def exp_single(x: np.float32) -> np.float32:
    """Exp of one number in single precision, to 2e-7 of itself; |x| is cut at 87."""
    v = min(max(x, -_LARGEST_SINGLE), _LARGEST_SINGLE)
    shifted = np.float32(v * _LOG2_E_SINGLE + _TO_WHOLE_SINGLE)
    whole = shifted - _TO_WHOLE_SINGLE
    r = (v - whole * _LN2_HIGH) - whole * _LN2_LOW
    high = _C3 + r * (_C4 + r * (_C5 + r * _C6))
    near = _ONE + r * (_ONE + r * (_ONE_HALF + r * high))
    power = np.int32((shifted.view(np.int32) << _EXPONENT_BITS_SINGLE) + _ONE_BITS_SINGLE)
    return near * power.view(np.float32)


@inlined
def softplus_in_place(
    x: FloatArray, prob: FloatArray, power: FloatArray, bits: IntArray, n: int
) -> None:
    """X becomes log(1 + exp(x)) and `prob` logistic(x), for the first n elements.

    Notes
    -----
    log(1 + e) with e = exp(-|x|) in (0, 1] is 2 atanh(w), w = e / (2 + e) <= 1/3: ten terms of
    its series give 1e-10, and the exponential 1e-8 of e.
    """
    for i in range(n):
        prob[i] = -abs(x[i])
    exp_in_place(prob, power, bits, n)
    for i in range(n):
        e = prob[i]
        w = e / (2 + e)
        q = w * w
        high = 1 / 11 + q * (1 / 13 + q * (1 / 15 + q * (1 / 17 + q * (1 / 19))))
        series = 1 + q * (1 / 3 + q * (0.2 + q * (1 / 7 + q * (1 / 9 + q * high))))
        positive = x[i] > 0
        x[i] = max(x[i], 0.0) + 2 * w * series
        prob[i] = (1.0 if positive else e) / (1 + e)
