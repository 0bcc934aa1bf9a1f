"""Complier average causal effects: exact cases, refusals, and invariance."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.instruments import cace
from wavewise.shared.results import NotEstimable


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    arm = np.repeat(["control", "a", "b"], 200)
    reached = (arm != "control") * (rng.random(600) < 0.6)
    y = rng.normal(size=600) + reached
    return y, arm, reached


def test_without_strata_it_is_the_ratio_of_two_differences(data) -> None:
    y, arm, reached = data
    found = cace(y, arm, reached)
    for name in ("a", "b"):
        effect = y[arm == name].mean() - y[arm == "control"].mean()
        share = reached[arm == name].mean()
        assert found[name].estimate == pytest.approx(effect / share, rel=1e-12)
        assert found.mean_received[name] == pytest.approx(share)
    np.testing.assert_allclose(found.itt.estimate, ate(y, arm).estimate)
    assert "itt" in found.to_frame().columns
    assert "Complier average causal effects" in found.summary()


def test_where_everybody_is_reached_it_is_intent_to_treat(data) -> None:
    y, arm, _ = data
    found = cace(y, arm, arm != "control")
    expected = ate(y, arm, se="HC1")
    np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-12)
    np.testing.assert_allclose(found.std_error, expected.std_error, rtol=1e-12)
    assert np.isinf(found.first_stage_f).all()


def test_a_weak_first_stage_gives_no_number(data) -> None:
    y, arm, reached = data
    few = reached * (np.cumsum(reached) % 40 == 0)
    found = cace(y, arm, few)
    assert found.first_stage_f.max() < 10
    assert isinstance(found["a"].estimate, NotEstimable)
    assert found.to_frame()["estimate"].null_count() == 2
    assert "hardly changes" in found.not_estimable["a"].reason
    assert found.itt["a"].estimate


def test_an_arm_that_reached_nobody_leaves_the_other_alone(data) -> None:
    y, arm, reached = data
    found = cace(y, arm, reached * (arm != "b"))
    alone = cace(y[arm != "b"], arm[arm != "b"], reached[arm != "b"])
    assert found["a"].estimate == pytest.approx(alone["a"].estimate, rel=1e-12)
    assert "none of its units" in found["b"].estimate.reason
    with pytest.raises(EstimationError, match="no arm has units"):
        cace(y, arm, np.zeros(600))


def test_missing_outcomes_are_left_out_with_what_they_received(data) -> None:
    y, arm, reached = data
    gone = np.arange(600) % 7 == 0
    expected = cace(y[~gone], arm[~gone], reached[~gone])
    found = cace(np.where(gone, np.nan, y), arm, reached)
    np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-12)


def test_order_scale_and_names_do_not_matter(data) -> None:
    y, arm, reached = data
    strata = np.arange(600) % 5
    found = cace(y, arm, reached, strata=strata)
    order = np.random.default_rng(1).permutation(600)
    again = cace(y[order], arm[order], reached[order], strata=strata[order])
    np.testing.assert_allclose(again.estimate, found.estimate, rtol=1e-10)
    scaled = cace(10 * y + 3, arm, reached, strata=strata)
    np.testing.assert_allclose(scaled.std_error, 10 * found.std_error, rtol=1e-10)
    dosed = cace(y, arm, reached * 4, strata=strata)
    np.testing.assert_allclose(dosed.estimate, found.estimate / 4, rtol=1e-10)


@pytest.mark.parametrize("received", [["x"] * 600, np.ones(5), -np.ones(600), np.full(600, np.nan)])
def test_what_is_no_dose_is_refused(data, received) -> None:
    with pytest.raises(InputError, match="received"):
        cace(data[0], data[1], received)


def test_a_control_that_receives_needs_one_arm_at_a_time(data) -> None:
    y, arm, _ = data
    with pytest.raises(EstimationError, match="one arm at a time"):
        cace(y, arm, np.ones(600))
    assert ww.estimate.cace is cace
