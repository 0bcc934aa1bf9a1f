"""Wavewise: which message works, for whom, and whether to message at all.

A study, from plan to report::

    import wavewise as ww
    study = ww.open_study("my-study")
    study.wave_open("phase-1")

Its parts are plain functions on arrays, with no study at all::

    ww.randomize.assign(...)
    ww.estimate.ate(...)
    ww.decide.exploration_shares(...)

Submodules load on first use, so that ``import wavewise`` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavewise.shared.version import __version__

if TYPE_CHECKING:
    from wavewise import decide, design, errors, estimate, evaluate, randomize, report
    from wavewise.study import (
        OpenStudy,
        app,
        compare,
        contacts_make_key,
        data_get,
        demo,
        init,
        open_study,
        schema,
    )

__all__ = [
    "OpenStudy",
    "__version__",
    "app",
    "compare",
    "contacts_make_key",
    "data_get",
    "decide",
    "demo",
    "design",
    "errors",
    "estimate",
    "evaluate",
    "init",
    "open_study",
    "randomize",
    "report",
    "schema",
]

_SUBMODULES = {"decide", "design", "errors", "estimate", "evaluate", "randomize", "report"}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"wavewise.{name}")
    if name in __all__:
        return getattr(import_module("wavewise.study"), name)
    raise AttributeError(f"module 'wavewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
