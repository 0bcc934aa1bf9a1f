"""Arguments and public names under their former names, for one version, with a warning."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from wavewise.errors import InputError

__all__ = ["current_name", "renamed"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def renamed(*positional: str, **former: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A function that still takes former argument names, and arguments once positional.

    ``positional`` names keyword-only arguments in the order in which they could formerly follow
    the positional ones; ``former`` maps an old name to the present one.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        kinds = inspect.signature(function).parameters.values()
        n_positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in kinds)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if len(args) > n_positional and positional:
                extra = args[n_positional:]
                if len(extra) > len(positional):
                    raise TypeError(
                        f"{function.__name__}() takes {n_positional + len(positional)} positional "
                        f"arguments at most, {len(args)} were given"
                    )
                names = positional[: len(extra)]
                _warn(
                    f"{function.__name__}: give {', '.join(f'{n}=' for n in names)} by name; by "
                    "position they are taken for one more version"
                )
                _refuse_both(set(names) & set(kwargs), function.__name__)
                args = args[:n_positional]  # type: ignore[assignment]
                kwargs.update(zip(names, extra, strict=True))
            for old, new in former.items():
                if old in kwargs:
                    _warn(f"{function.__name__}: the argument {old} is now called {new}")
                    _refuse_both({new} & set(kwargs), function.__name__)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def current_name(module: str, name: str, former: Mapping[str, str]) -> str:
    """The present name of a public name, with a warning where a former one was asked for."""
    if name not in former:
        return name
    _warn(f"{module}.{name} is now called {former[name]}", 4)
    return former[name]


def _warn(text: str, stacklevel: int = 3) -> None:
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)


def _refuse_both(names: set[str], function: str) -> None:
    if names:
        raise InputError(f"{function}: found {', '.join(sorted(names))} twice; give it once")
