"""Confidence sequences: the formula by hand, looks, errors."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError


def data(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.integers(0, 2, n), np.full((n, 2), 0.5), np.arange(n) * 3 // n


def test_last_look_by_hand():
    y, arm, share, wave = data()
    found = ww.estimate.confidence_sequence(y, arm, share, wave, level=0.9)
    scores = np.zeros(600)
    for w in range(3):
        for i in np.flatnonzero(wave == w):
            past = (wave < w) if w else ((wave == 0) & (np.arange(600) != i))
            m = y[past & (arm == 1)].mean()
            scores[i] = m + (arm[i] == 1) * (y[i] - m) / 0.5
    alpha, t, s2 = 0.1, 600, scores.var(ddof=1)
    rho2 = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / (t * s2)
    radius = np.sqrt((t * s2 * rho2 + 1) / (t**2 * rho2) * np.log((t * s2 * rho2 + 1) / alpha**2))
    assert found.estimate[-1, 1] == pytest.approx(scores.mean())
    assert found.radius[-1, 1] == pytest.approx(radius)


def test_looks_do_not_change_when_later_ones_come():
    y, arm, share, wave = data()
    part = wave < 2
    given = (part_of[part] for part_of in (y, arm, share, wave))
    early = ww.estimate.confidence_sequence(*given, tightest_at=600)
    late = ww.estimate.confidence_sequence(y, arm, share, wave, tightest_at=600)
    assert np.allclose(early.conf_int(), late.conf_int()[:2])


def test_narrowest_where_it_was_asked_for():
    y, arm, share, wave = data()
    radius = {
        size: ww.estimate.confidence_sequence(y, arm, share, wave, tightest_at=size).radius[0, 0]
        for size in (20, 200, 2000)
    }
    assert radius[200] < min(radius[20], radius[2000])


def test_frame_summary_and_arm_without_outcomes_yet():
    y, arm, share, wave = data()
    arm = np.where(wave == 0, 0, arm)
    found = ww.estimate.confidence_sequence(y, arm, share, wave)
    frame = found.to_frame()
    assert frame.height == 9
    assert frame["estimate"].null_count() == 2  # arm 1 and the contrast at the first look
    assert "at all looks together" in found.summary()
    assert found.to_dict()["kind"] == "confidence sequence"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"propensities": None}, EstimationError, "not stored"),
        ({"propensities": np.tile([1.0, 0.0], (600, 1))}, EstimationError, "probability of"),
        ({"wave": np.ones(600)}, EstimationError, "one wave"),
        ({"tightest_at": 0}, InputError, "tightest_at"),
        ({"level": 1}, InputError, "level"),
    ],
)
def test_bad_input_is_named(change, error, text):
    y, arm, share, wave = data()
    given = {"outcome": y, "arm": arm, "propensities": share, "wave": wave} | change
    with pytest.raises(error, match=text):
        ww.estimate.confidence_sequence(**given)


def test_probability_of_zero_is_refused():
    y, arm, _, wave = data()
    share = np.tile([0.4, 0.6, 0.0], (600, 1))
    with pytest.raises(InputError, match="least share"):
        ww.estimate.confidence_sequence(y, arm, share, wave, arms=[0, 1, 2])
