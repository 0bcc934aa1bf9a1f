"""Adaptively weighted estimators: formulas by hand, errors, reasons, results."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves


@pytest.fixture(scope="module")
def data():
    design = AdaptiveDesign(np.array([0.3, 0.35, 0.5]), 900, 3, floor=0.05)
    return simulate_adaptive_waves(design, np.random.default_rng(1))


def test_names_that_scripts_rely_on(data):
    m = ww.estimate.weighted_m(data.outcome, data.arm, data.propensity)
    frame = m.to_frame()
    assert frame["arm"].to_list() == ["0", "1", "2", "1 - 0", "2 - 0"]
    assert {"estimate", "std_error", "conf_low", "conf_high"} <= set(frame.columns)
    a = ww.estimate.adaptive_aipw(data.outcome, data.arm, data.propensities, data.wave)
    b = ww.estimate.batched_ols(data.outcome, data.arm, data.wave)
    assert a.names == b.names == m.names
    for found in (a, b, m):
        assert "Assumptions" in found.summary()
        assert found.to_dict()["arms"] == ["0", "1", "2"]
        assert found.winner().arm == 2


def test_covariates_of_a_randomized_wave_change_little_and_narrow():
    rng = np.random.default_rng(2)
    x = rng.normal(size=2000)
    arm = rng.integers(0, 2, 2000)
    y = arm + 2 * x + rng.normal(size=2000)
    plain = ww.estimate.weighted_m(y, arm, np.full(2000, 0.5))
    adjusted = ww.estimate.weighted_m(y, arm, np.full(2000, 0.5), covariates=x)
    assert adjusted.std_error[2] < 0.5 * plain.std_error[2]
    assert abs(adjusted.estimate[2] - 1) < 4 * adjusted.std_error[2]


def test_contrast_and_winner_use_the_joint_covariance(data):
    m = ww.estimate.weighted_m(data.outcome, data.arm, data.propensity)
    assert m.contrast({"1": 1, "0": -1}).std_error == pytest.approx(m["1 - 0"].std_error)
    with pytest.raises(InputError, match="contrast"):
        m.contrast({"9": 1})


ONE = np.ones(8)
ARMS = list("aaaabbbb")
Y = [1, 0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("propensity", "error", "text"),
    [
        (None, EstimationError, "not stored"),
        ([0.5, np.nan, *[0.5] * 6], EstimationError, "1 of 8 units without one"),
        (np.full(8, 0.0), EstimationError, "probability of 0"),
        (np.full(8, 1.0), EstimationError, "probability of 1"),
        (np.full(8, 1.2), InputError, "shares in"),
        (np.full(7, 0.5), InputError, "shape"),
        (["x"] * 8, InputError, "text"),
    ],
)
def test_bad_propensities_are_named(propensity, error, text):
    with pytest.raises(error, match=text):
        ww.estimate.weighted_m(Y, ARMS, propensity)


@pytest.mark.parametrize(
    ("propensities", "wave", "error", "text"),
    [
        (None, [1, 1, 2, 2] * 2, EstimationError, "not stored"),
        (np.full((8, 2), 0.5), [1] * 8, EstimationError, "one wave"),
        (np.tile([1.0, 0.0], (8, 1)), [1, 1, 2, 2] * 2, EstimationError, "probability of"),
        (np.full((8, 2), 0.4), [1, 1, 2, 2] * 2, InputError, "sums to 0.8"),
        (np.full((8, 3), 0.5), [1, 1, 2, 2] * 2, InputError, "shape"),
        (np.full((8, 2), np.nan), [1, 1, 2, 2] * 2, EstimationError, "without one"),
    ],
)
def test_bad_input_of_aipw_is_named(propensities, wave, error, text):
    with pytest.raises(error, match=text):
        ww.estimate.adaptive_aipw(Y, ARMS, propensities, wave)


def test_batches_need_two_waves():
    with pytest.raises(EstimationError, match="one wave"):
        ww.estimate.batched_ols(Y, ARMS, [1] * 8)


def test_arm_with_all_outcomes_missing_has_a_reason():
    y = [1.0, 0, 1, 1, np.nan, np.nan, np.nan, np.nan, 0, 1, 0, 0]
    arm, wave = list("aaaabbbbcccc"), [1, 1, 2, 2] * 3
    found = [
        ww.estimate.weighted_m(y, arm, np.full(12, 1 / 3)),
        ww.estimate.weighted_m(y, arm, np.full(12, 1 / 3), family="binomial"),
        ww.estimate.adaptive_aipw(y, arm, np.full((12, 3), 1 / 3), wave),
        ww.estimate.batched_ols(y, arm, wave),
    ]
    for table in found:
        assert "all 4 outcomes" in table.not_estimable["b"].reason
        assert "all 4 outcomes" in table.not_estimable["b - a"].reason
        row = table.to_frame().row(1, named=True)
        assert row["estimate"] is None
        assert row["std_error"] is None
        assert table.n_missing == {"a": 0, "b": 4, "c": 0}
    assert np.isfinite(found[0].estimate[[0, 2]]).all()
    with pytest.raises(EstimationError, match="all 12 missing"):
        ww.estimate.weighted_m(np.full(12, np.nan), arm, np.full(12, 0.3))


def test_arm_that_could_not_be_drawn_in_a_wave_has_a_reason():
    rng = np.random.default_rng(0)
    wave = np.repeat([1, 2], 60)
    share = np.where(wave[:, None] == 1, [1 / 3] * 3, [0.5, 0.5, 0])
    arm = np.where(wave == 1, rng.integers(0, 3, 120), rng.integers(0, 2, 120))
    found = ww.estimate.adaptive_aipw(rng.normal(size=120), arm, share, wave)
    assert "could not be drawn by 60 units (waves 2)" in found.not_estimable["2"].reason
    assert np.isfinite(found["1 - 0"].estimate)


def test_log_odds_of_an_arm_that_never_fails_have_a_reason():
    found = ww.estimate.weighted_m([1, 1, 0, 1], list("aabb"), np.full(4, 0.5), family="binomial")
    assert "infinite" in found.not_estimable["a"].reason
    assert found.estimate[1] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"family": "poisson"}, "family"),
        ({"stabilizer": "cube"}, "stabilizer"),
        ({"trials": 3}, "trials"),
        ({"level": 1.5}, "level"),
        ({"family": "binomial", "trials": np.zeros(8)}, "trials"),
        ({"family": "binomial", "trials": np.full(8, 0.5)}, "successes"),
        ({"covariates": np.full((8, 1), np.nan)}, "covariates"),
        ({"arms": ["a"]}, "arm: found"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(InputError, match=text):
        ww.estimate.weighted_m(Y, ARMS, np.full(8, 0.5), **options)


def test_covariates_that_repeat_are_refused():
    x = np.arange(8.0)
    with pytest.raises(EstimationError, match="covariates"):
        ww.estimate.weighted_m(Y, ARMS, np.full(8, 0.5), covariates=np.stack([x, 2 * x], axis=1))


def test_waves_are_ordered_by_the_numbers_in_their_names():
    y, arm = np.arange(8.0), list("abababab")
    share = np.full((8, 2), 0.5)
    text = np.array(["wave-10", "wave-2"]).repeat(4)
    a = ww.estimate.adaptive_aipw(y, arm, share, text)
    b = ww.estimate.adaptive_aipw(y, arm, share, np.array([10, 2]).repeat(4))
    c = ww.estimate.adaptive_aipw(y, arm, share, text, waves=["wave-2", "wave-10"])
    assert np.array_equal(a.estimate, b.estimate)
    assert np.array_equal(a.estimate, c.estimate)


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e8])
@pytest.mark.parametrize("shift", [0.0, 1e9])
def test_neither_scale_nor_place_of_covariates_matters(scale, shift):
    if scale < 1 and shift:
        scale = 1e-5
    rng = np.random.default_rng(8)
    arm, y, z = rng.integers(0, 3, 300), rng.normal(size=300), rng.normal(size=(300, 2))
    p = rng.uniform(0.1, 0.6, 300)
    far = shift + scale * z
    near = ww.estimate.weighted_m(y, arm, p, covariates=(far - shift) / scale)
    found = ww.estimate.weighted_m(y, arm, p, covariates=far)
    np.testing.assert_allclose(found.estimate, near.estimate, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.std_error, near.std_error, rtol=1e-6)


def test_covariates_that_differ_in_the_last_digit_are_refused():
    rng = np.random.default_rng(9)
    arm, y, z = rng.integers(0, 2, 300), rng.normal(size=300), rng.normal(size=300)
    for x in (1e9 + 1e-7 * z, np.column_stack([1e9 + z, 1e9 + z + 1e-7 * rng.normal(size=300)])):
        with pytest.raises(EstimationError, match="up to the last digit"):
            ww.estimate.weighted_m(y, arm, np.full(300, 0.5), covariates=x)
