"""Complier average causal effects: exact cases, refusals, and invariance."""

import numpy as np
import pytest
from scipy import stats

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.instruments import cace


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
    expected = ate(y, arm)
    for interval in ("anderson-rubin", "two-stage"):
        found = cace(y, arm, arm != "control", interval=interval)
        np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-12)
        np.testing.assert_allclose(found.std_error, expected.std_error, rtol=1e-12)
        np.testing.assert_allclose(found.conf_int(), expected.conf_int(), rtol=1e-10)
        np.testing.assert_allclose(found.p_value, expected.p_value, rtol=1e-10)
        np.testing.assert_allclose(found.df, expected.df, rtol=1e-10)
    assert np.isinf(found.first_stage_f).all()


def weak(y, strength, seed=11):
    """40 units in 2 arms whose receipt depends on assignment with this strength."""
    rng = np.random.default_rng(seed)
    arm, ease = np.tile([0, 1], 20), rng.random(40)
    return rng.normal(size=40) + y * arm, arm, (ease < 0.5 + strength * (arm - 0.5)).astype(float)


def rejected(found, beta):
    """Whether the test of the intent-to-treat coefficients rejects the effect beta."""
    y, r, v = found.outcome_effect[0], found.first_stage[0], found.joint_cov[0]
    t = (y - beta * r) / np.sqrt(v[0, 0] - 2 * beta * v[0, 1] + beta**2 * v[1, 1])
    return abs(t) > stats.t.ppf(0.975, found.df[0])


@pytest.mark.parametrize(
    ("effect", "strength", "kind"),
    [(0.5, 0.9, "interval"), (3.0, 0.1, "two rays"), (0.2, 0.05, "line")],
)
def test_the_set_is_an_interval_two_rays_or_the_line(effect, strength, kind) -> None:
    found = cace(*weak(effect, strength), control=0)
    found_set = found.anderson_rubin()["1"]
    assert found_set.kind == kind
    assert not found.not_estimable
    for beta in [*np.linspace(-50, 50, 401), -1e6, 1e6]:
        assert (beta in found_set) != rejected(found, beta)
    low, high = found["1"].conf
    assert found.conf_int().tolist() == [[low, high]]
    if kind == "interval":
        assert (low, high) == (found_set.low, found_set.high)
    else:
        assert (low, high) == (-np.inf, np.inf)
        assert kind in found.summary()
        assert kind in found.to_frame()["conf_set"][0]
    assert type(found).from_dict(found.to_dict()) == found
    assert found["1"].p_value == pytest.approx(found.itt["1"].p_value)


def test_with_many_units_both_intervals_are_nearly_one(data) -> None:
    y, arm, reached = (np.tile(part, 50) for part in data)
    ours, other = (cace(y, arm, reached, interval=k) for k in ("anderson-rubin", "two-stage"))
    np.testing.assert_allclose(ours.conf_int(), other.conf_int(), rtol=2e-3)
    np.testing.assert_allclose(ours.conf_int(0.8), other.conf_int(0.8), rtol=2e-3)
    assert ours.conf_int(0.8)[0, 0] > ours.conf_int()[0, 0]


def test_other_arms_are_taken_off_as_two_stages_have_it(data) -> None:
    """Strata and covariates mix arms: the ratio of each arm's pair is its two-stage estimate."""
    y, arm, reached = data
    rng = np.random.default_rng(4)
    strata, x = rng.integers(0, 7, 600), rng.normal(size=600)
    found = cace(y, arm, reached, strata=strata, covariates=x, cluster=np.arange(600) % 41)
    np.testing.assert_allclose(found.outcome_effect / found.first_stage, found.estimate, rtol=1e-9)
    b, v = found.estimate, found.joint_cov
    variance = v[:, 0, 0] - 2 * b * v[:, 0, 1] + b**2 * v[:, 1, 1]
    np.testing.assert_allclose(np.sqrt(variance) / found.first_stage, found.std_error, rtol=1e-9)


def test_smaller_arm(data) -> None:
    cluster = np.repeat(np.arange(12), 15)
    arm, rng = (cluster < 3).astype(int), np.random.default_rng(5)
    reached = arm * (rng.random(180) < 0.6)
    y = rng.normal(size=180) + rng.normal(size=12)[cluster]
    usual, careful = (
        cace(y, arm, reached, control=0, cluster=cluster, df=df)
        for df in ("satterthwaite", "smaller-arm")
    )
    assert careful.df.tolist() == [2.0] == careful.itt.df.tolist()
    assert usual.df[0] == pytest.approx(256 / 74, rel=1e-6)  # (1/3 + 1/9)^2 / (1/18 + 1/648)
    assert np.ptp(careful.conf_int()) > np.ptp(usual.conf_int())


def test_names_that_are_not_known_are_refused(data) -> None:
    for name in ("interval", "working_model", "df", "se"):
        with pytest.raises(InputError, match=f"{name}: found 'none'"):
            cace(*data, **{name: "none"})


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
