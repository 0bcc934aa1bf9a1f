"""What a policy needs of a model of effects, and how one travels inside a policy's file."""

from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeGuard

import numpy as np

from wavewise.errors import InputError
from wavewise.results import FloatArray, Provenance

__all__ = ["EffectModel", "checked_model", "is_model", "model_from_bytes", "model_to_bytes"]

_HOMES = {
    "Neighbours": "wavewise.estimate.neighbours",
    "CausalForest": "wavewise.estimate.causal_forest",
}


class EffectModel(Protocol):
    """Effects of each arm against the control for any unit: a forest, a matcher, or your own.

    A model may also have ``trained_rows`` (fingerprints of what it learned from, in the order of
    `effects_oob`, so that a policy is not evaluated on them by mistake) and ``covariates`` (the
    names of what it needs).
    """

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms, the control left out."""

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""

    @property
    def effects_oob(self) -> FloatArray:
        """Effects for the units learned from, each by the model without it, (n_units, n_arms)."""

    @property
    def std_error_oob(self) -> FloatArray:
        """Their standard errors, (n_units, n_arms)."""

    @property
    def provenance(self) -> Provenance:
        """What it was learned from."""

    def effects(self, X: Any) -> FloatArray:
        """Effects for new units, (n_new, n_arms)."""

    def std_error(self, X: Any) -> FloatArray:
        """Their standard errors, (n_new, n_arms)."""


def is_model(model: Any) -> TypeGuard[EffectModel]:
    """Whether something has all that a model of effects has; nothing is computed to find out."""
    missing = object()
    needed = ("arms", "control", "effects_oob", "std_error_oob", "provenance", "effects")
    return all(getattr_static(model, name, missing) is not missing for name in needed)


def checked_model(model: Any) -> EffectModel:
    """The model, if it is one and its out-of-bag effects are numbers."""
    if not is_model(model):
        raise InputError(
            f"model: found a {type(model).__name__}; needed a model of effects, such as "
            "ww.estimate.causal_forest or ww.estimate.neighbours gives"
        )
    effects = np.asarray(model.effects_oob)
    if effects.ndim != 2 or effects.shape[1] != len(model.arms) or not np.isfinite(effects).all():
        raise InputError(
            f"model: found out-of-bag effects of shape {effects.shape} with "
            f"{int((~np.isfinite(effects)).sum()):,} that are not finite; needed finite effects of "
            f"shape (n_units, {len(model.arms)}); grow more trees, or give more units"
        )
    return model


def model_to_bytes(model: Any) -> bytes:
    """The model's own file."""
    if type(model).__name__ not in _HOMES:
        raise InputError(
            f"model: found a {type(model).__name__}, which has no file form here; needed "
            f"{' or '.join(_HOMES)}"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        return path.read_bytes()


def model_from_bytes(kind: str, body: bytes) -> EffectModel:
    """A model from its own file."""
    if kind not in _HOMES:
        raise InputError(f"policy: found a model of kind {kind!r}; needed {' or '.join(_HOMES)}")
    home = getattr(import_module(_HOMES[kind]), kind)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(body)
        model: EffectModel = home.load(path)
    return model
