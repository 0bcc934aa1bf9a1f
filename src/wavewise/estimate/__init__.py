"""Estimators: arrays in, results out, with no study at all.

`ate` gives effects with frequentist intervals; `beta_binomial` the posterior that adaptive waves
learn from. Each loads on first use.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavewise.estimate.ate import Effects, ate
    from wavewise.estimate.beta_binomial import BetaBinomial, beta_binomial
    from wavewise.estimate.contrasts import pair_margins

__all__ = ["BetaBinomial", "Effects", "ate", "beta_binomial", "pair_margins"]

_HOMES = {
    "ate": "wavewise.estimate.ate",
    "Effects": "wavewise.estimate.ate",
    "pair_margins": "wavewise.estimate.contrasts",
    "beta_binomial": "wavewise.estimate.beta_binomial",
    "BetaBinomial": "wavewise.estimate.beta_binomial",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wavewise.estimate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Functions(ModuleType):
    """A package in which a function wins over the submodule of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        # loading the submodule `ate` binds it here as `ate`: bind its function `ate` instead
        if isinstance(value, ModuleType) and name in _HOMES:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Functions
