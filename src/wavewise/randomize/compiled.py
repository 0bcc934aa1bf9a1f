"""Compilation of the inner loops, kept on disk where a folder for it can be written."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function compiled on first use; cached where the installation allows it."""
    try:
        return cast(F, njit(cache=True)(function))
    except RuntimeError:  # no writable folder for the cache
        return cast(F, njit(function))
