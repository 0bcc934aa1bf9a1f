"""Arguments have the same names, the same order and the same defaults in every public function."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError

FOLDERS = ("randomize", "estimate", "decide", "evaluate")
# Data come first, by position; whatever says what to do with them is given by name.
DATA = {
    "X", "arm", "outcome", "propensity", "wave", "received", "score", "successes", "trials",
    "cluster", "covariates", "scores", "effects", "predicted", "priority", "policies", "policy",
    "policy_a", "policy_b", "assigned_a", "assigned_b", "estimate", "cov", "std_error", "columns",
    "post", "posterior", "posterior_or_prob", "prob_optimal", "shares", "model", "learned", "arms",
    "value", "delivered", "planned", "late",
    "units", "strata", "design", "designs", "truth", "benefit", "assumptions", "first_wave",
    "n_next", "path", "floor", "total", "control_share", "cost", "effect_sd", "effect_df",
    "separator", "bounds", "simulate", "reassign", "rng", "outcomes", "panel", "p_values",
    "surrogates",
}  # fmt: skip
# What once had other names, or is said better otherwise.
NOT = {
    "alpha": "level or size", "n_tried": "mtry", "centre": "residualize", "labels": "arm",
    "propensities": "propensity", "seed": "rng", "random_state": "rng", "treatment": "arm",
    "y": "outcome", "Y": "outcome", "W": "arm", "confidence": "level",
    "n_sims": "n_simulations", "n_samples": "n_draws",
}  # fmt: skip
# `ww.randomize.assign` draws: its generator is part of what it is called with.
RNG_BY_POSITION = {"assign"}


def functions() -> Iterator[Any]:
    for folder in FOLDERS:
        module = getattr(ww, folder)
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=f"{folder}.{name}")
    for name in ww.evaluate.checks.__all__:
        if inspect.isfunction(getattr(ww.evaluate.checks, name)):
            yield pytest.param(getattr(ww.evaluate.checks, name), id=f"evaluate.checks.{name}")


def named(function: Any) -> tuple[list[str], dict[str, inspect.Parameter]]:
    """Names that may be given by position, and all parameters."""
    parameters = dict(inspect.signature(function).parameters)
    by_position = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return by_position, parameters


@pytest.mark.parametrize("function", list(functions()))
def test_no_second_name_for_one_thing(function: Any) -> None:
    _, parameters = named(function)
    wrong = {name: NOT[name] for name in parameters if name in NOT}
    assert not wrong, f"say {wrong}"


@pytest.mark.parametrize("function", list(functions()))
def test_data_first_and_all_else_by_name(function: Any) -> None:
    by_position, _ = named(function)
    assert set(by_position) <= DATA | {"arm", "outcome"}
    if "rng" in by_position:
        assert function.__name__ in RNG_BY_POSITION


@pytest.mark.parametrize("function", list(functions()))
def test_two_orders_and_no_third(function: Any) -> None:
    by_position, _ = named(function)
    order = [name for name in by_position if name in {"X", "arm", "outcome"}]
    if {"arm", "outcome"} <= set(order):
        assert order == (["X", "arm", "outcome"] if "X" in order else ["outcome", "arm"])


@pytest.mark.parametrize("function", list(functions()))
def test_defaults_say_what_they_are(function: Any) -> None:
    _, parameters = named(function)
    default = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    if "level" in parameters:
        assert default["level"] == 0.95
    if "size" in parameters:
        assert default["size"] <= 0.05
    assert not isinstance(default.get("weights"), str)
    assert isinstance(default.get("weighting", ""), str)
    if "rng" in parameters:
        assert "rng" not in default or default["rng"] is None


def test_a_generator_that_is_needed_after_all_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    X, arm = rng.normal(size=(300, 2)), np.array(["control", "sms"])[rng.integers(0, 2, 300)]
    outcome = rng.normal(size=300)
    ww.estimate.neighbours(X, arm, outcome, control="control", k=5)  # nothing is drawn
    with pytest.raises(InputError, match="rng"):
        ww.estimate.neighbours(X, arm, outcome, control="control", n_tuning=100)
