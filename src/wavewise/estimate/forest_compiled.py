"""Compilation of the forest's inner loops, and counter-based random numbers for them.

Kernels release the interpreter's lock and run in plain threads: no threading layer of the
compiler's own, which must not be entered from two threads of a server at once.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

__all__ = ["compiled", "inlined", "mix", "mixed"]

F = TypeVar("F", bound=Callable[..., object])

_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def compiled(function: F) -> F:
    """The function compiled on first use, without the lock; cached where that is allowed."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # no writable folder for the cache
        return cast(F, njit(**options)(function))


def inlined(function: F) -> F:
    """A small function for use within compiled ones."""
    return cast(F, njit(inline="always", error_model="numpy")(function))


@compiled
def mix(key: np.uint64, counter: int) -> np.uint64:
    """64 random bits of a key and a counter (the finalizer of splitmix64)."""
    x = key + _STEP * np.uint64(counter + 1)
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    x = (x ^ (x >> _SHIFT_2)) * _FACTOR_2
    return x ^ (x >> _SHIFT_3)


def mixed(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The same finalizer on an array of uint64, elementwise."""
    x = x + _STEP
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    x = (x ^ (x >> _SHIFT_2)) * _FACTOR_2
    return x ^ (x >> _SHIFT_3)
