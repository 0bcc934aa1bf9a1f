"""Adaptive estimators as a new user calls them: any kind of array, and every bad input named."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError

N, ARMS = 300, np.array(["a", "b", "control"])
RNG = np.random.default_rng(0)
CODE = RNG.integers(0, 3, N)
ARM = ARMS[CODE]
Y = RNG.normal(size=N) + (ARM == "b")
Y[::17] = np.nan
WAVE = np.repeat(["wave 1", "wave 2", "wave 10"], N // 3)
SHARES = np.full((N, 3), 1 / 3)


def with_none(values):
    missing = values.dtype == float and values.ndim == 1
    return [None if x != x else x for x in values.tolist()] if missing else values


FORMS = {
    "list": lambda v: v.tolist(),
    "pandas": lambda v: pd.DataFrame(v) if v.ndim == 2 else pd.Series(v),
    "polars": lambda v: pl.DataFrame(v) if v.ndim == 2 else pl.Series(v),
    "None where missing": with_none,
}


def numbers(form, y=Y, arm=ARM, shares=SHARES, wave=WAVE, code=CODE):
    """What every function gives."""
    own = shares[np.arange(N), code]
    e = ww.estimate
    return {
        "weighted_m": lambda: e.weighted_m(form(y), form(arm), form(own)).estimate,
        "adaptive_aipw": lambda: e.adaptive_aipw(
            form(y), form(arm), form(shares), form(wave)
        ).estimate,
        "batched_ols": lambda: e.batched_ols(form(y), form(arm), form(wave)).estimate,
        "confidence_sequence": lambda: e.confidence_sequence(
            form(y), form(arm), form(shares), form(wave), method="planned"
        ).radius,
        "adaptive_comparison": lambda: e.adaptive_comparison(
            form(y), form(arm), form(own), wave=form(wave)
        ).to_frame()["conf_low"],
        "randomization_test": lambda: e.randomization_test(
            form(y), form(arm), lambda rng: rng.permutation(arm),
            n_draws=99, rng=np.random.default_rng(1),
        ).p_value,
    }  # fmt: skip


@pytest.mark.parametrize("name", numbers(list))
@pytest.mark.parametrize("form", FORMS)
def test_any_kind_of_array_gives_the_same(name, form):
    plain = numbers(lambda v: v)[name]()
    assert np.array_equal(plain, numbers(FORMS[form])[name](), equal_nan=True)


NEEDS_SHARES = ("weighted_m", "adaptive_aipw", "confidence_sequence", "adaptive_comparison")
SOME = np.arange(N) == 3


@pytest.mark.parametrize("name", NEEDS_SHARES)
@pytest.mark.parametrize(
    ("shares", "text"),
    [
        (np.where(SOME[:, None], np.nan, SHARES), "1 of 300 units without one"),
        (np.where(SOME[:, None], np.eye(3)[CODE], SHARES), "probability of 1"),
        (np.where(SOME[:, None], np.eye(3)[(CODE + 1) % 3], SHARES), "probability of 0"),
    ],
)
def test_propensities_that_carry_nothing(name, shares, text):
    with pytest.raises(EstimationError, match=text):
        numbers(lambda v: v, shares=shares)[name]()


@pytest.mark.parametrize("name", ["adaptive_aipw", "batched_ols"])
def test_one_wave(name):
    with pytest.raises(EstimationError, match="needed two or more"):
        numbers(lambda v: v, wave=np.full(N, "only"))[name]()


@pytest.mark.parametrize("name", numbers(list))
def test_all_outcomes_missing(name):
    with pytest.raises(EstimationError, match="all 300 missing"):
        numbers(lambda v: v, y=np.full(N, np.nan))[name]()


@pytest.mark.parametrize("name", ["weighted_m", "adaptive_aipw", "batched_ols"])
def test_an_arm_without_outcomes_is_a_reason_among_numbers(name):
    y = np.where(ARM == "b", np.nan, Y)
    e = ww.estimate
    found = {
        "weighted_m": lambda: e.weighted_m(y, ARM, SHARES[:, 0]),
        "adaptive_aipw": lambda: e.adaptive_aipw(y, ARM, SHARES, WAVE),
        "batched_ols": lambda: e.batched_ols(y, ARM, WAVE),
    }[name]()
    assert "missing" in found.not_estimable["b"].reason
    assert "missing" in found.not_estimable["b - a"].reason
    frame = found.to_frame()
    assert frame.filter(arm="b")["estimate"].item() is None
    assert frame.filter(arm="control - a")["std_error"].item() > 0
    assert found.winner().n_arms == 2


def test_a_singular_covariance_of_arms():
    with pytest.raises(EstimationError, match="singular"):
        ww.estimate.winner([1.0, 2.0, 3.0], np.ones((3, 3)) + np.diag([0, 0, 1.0]))


def test_lengths_that_differ():
    with pytest.raises(InputError, match=r"arm|shape"):
        ww.estimate.weighted_m(Y, ARM[1:], SHARES[:, 0])
