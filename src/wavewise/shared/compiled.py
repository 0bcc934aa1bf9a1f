"""Compilation of inner loops, kept on disk where a folder for it can be written."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["compile_with", "compiled", "compiled_nogil"]

F = TypeVar("F", bound=Callable[..., object])


def compile_with(**options: Any) -> Callable[[F], F]:
    """A decorator that compiles on first use; cached where the installation allows it."""

    def compiled(function: F) -> F:
        try:
            return cast(F, njit(cache=True, **options)(function))
        except RuntimeError:  # no writable folder for the cache
            return cast(F, njit(**options)(function))

    return compiled


compiled = compile_with()
# Kernels that run side by side in plain threads: without the interpreter's lock, and with no
# threading layer of the compiler's own, which must not be entered from two threads at once.
compiled_nogil = compile_with(nogil=True, error_model="numpy")
