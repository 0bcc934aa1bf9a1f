"""Effects by period: what is refused, what has no number, what is left after messages."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable


def planted(n=4000, seed=3):
    """Six weeks, messages in the first two, then an effect that halves each week."""
    rng = np.random.default_rng(seed)
    arm = np.resize(["control", "sms"], n)
    effect = np.array([1.0, 1.0, 0.5, 0.25, 0.125, 0.0625])
    noise = rng.normal(size=(n, 1)) + rng.normal(size=(n, 6))
    return noise + effect * (arm == "sms")[:, None], arm, effect


def test_planted_fade_out_is_recovered():
    panel, arm, effect = planted()
    found = ww.estimate.persistence(panel, arm, n_during=2)
    low, high = found.conf_int(joint=True)[0].T
    assert (low < effect).all() and (effect < high).all()
    kept = found.kept("sms")
    assert kept.low < effect[2:].mean() / effect[:2].mean() < kept.high < 0.4
    assert found.phases("sms")["after minus during"].p_value < 1e-9


def test_joint_bands_hold_pointwise_ones():
    panel, arm, _ = planted(n=200)
    found = ww.estimate.persistence(panel, arm)
    inner, outer = found.conf_int(), found.conf_int(joint=True)
    assert (outer[..., 0] < inner[..., 0]).all() and (outer[..., 1] > inner[..., 1]).all()
    frame = found.to_frame()
    assert (frame["p_adjusted"] >= frame["p_value"]).all()


def test_units_without_a_period_are_left_out_of_all():
    panel, arm, _ = planted(n=400)
    gaps = panel.copy()
    gaps[:10, 3] = np.nan
    found = ww.estimate.persistence(gaps, arm)
    assert found.n_missing == 10
    whole = ww.estimate.persistence(panel[10:], arm[10:])
    np.testing.assert_allclose(found.estimate, whole.estimate)
    assert found.n_units.tolist() == [195]


def test_a_period_in_which_nothing_happens_has_a_reason():
    panel, arm, _ = planted(n=400)
    panel[:, 5] = 0.0
    found = ww.estimate.persistence(panel, arm, n_during=2)
    assert list(found.not_estimable) == ["sms, 6"]
    assert found.to_frame()["std_error"].null_count() == 1
    assert isinstance(found.kept("sms"), NotEstimable)
    assert "not estimable" in found.summary()


@pytest.mark.parametrize("wrong", [0, 6, 7, 1.5, True])
def test_messages_end_within_the_panel(wrong):
    panel, arm, _ = planted(n=40)
    with pytest.raises(InputError, match="from 1 to 5"):
        ww.estimate.persistence(panel, arm, n_during=wrong)


def test_no_end_of_messages_no_phases():
    panel, arm, _ = planted(n=40)
    with pytest.raises(InputError, match="n_during"):
        ww.estimate.persistence(panel, arm).phases("sms")
