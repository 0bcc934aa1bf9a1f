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
    assert frame["not_estimable"].null_count() == 7
    assert "at all looks together" in found.summary()
    assert found.to_dict()["kind"] == "confidence sequence"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"propensity": None}, EstimationError, "not stored"),
        ({"propensity": np.tile([1.0, 0.0], (600, 1))}, EstimationError, "probability of"),
        ({"wave": np.ones(600)}, EstimationError, "one wave"),
        ({"tightest_at": 0}, InputError, "tightest_at"),
        ({"level": 1}, InputError, "level"),
    ],
)
def test_bad_input_is_named(change, error, text):
    y, arm, share, wave = data()
    given = {"outcome": y, "arm": arm, "propensity": share, "wave": wave} | change
    with pytest.raises(error, match=text):
        ww.estimate.confidence_sequence(**given)


def test_probability_of_zero_is_refused():
    y, arm, _, wave = data()
    share = np.tile([0.4, 0.6, 0.0], (600, 1))
    with pytest.raises(InputError, match="least share"):
        ww.estimate.confidence_sequence(y, arm, share, wave, arms=[0, 1, 2])


def test_looks_that_come_too_early_have_a_reason():
    """Arm 1 fails at all units of the first look: its variance is not 0, it is unknown."""
    wave = np.repeat([1, 2, 3], 40)
    arm = np.tile([0, 1], 60)
    y = np.where((arm == 1) & (wave == 1), 0.0, np.tile([0.0, 0, 1, 1], 30))
    share = np.full((120, 2), 0.5)
    found = ww.estimate.confidence_sequence(y, arm, share, wave)
    assert "all 20 known outcomes so far are the same" in found.not_estimable["1", "1 - 0"].reason
    assert np.isnan(found.radius[0]).tolist() == [False, True, True]
    assert np.isfinite(found.radius[1:]).all()
    later = ww.estimate.confidence_sequence(y, arm, share, wave, first_look=50)
    assert "20 known outcomes so far; needed 50" in later.not_estimable["1", "0"].reason
    assert np.isfinite(later.radius[2]).all()
    assert not np.isfinite(later.radius[:2]).any()


def test_students_boundary_has_the_tail_of_the_normal_one():
    from scipy.stats import norm, t

    y, arm, share, wave = data(n=90)
    plain = ww.estimate.confidence_sequence(y, arm, share, wave, tightest_at=90)
    found = ww.estimate.confidence_sequence(
        y, arm, share, wave, tightest_at=90, small_sample="t", first_look=2
    )
    scores = np.zeros(30)
    for i in range(30):
        m = y[:30][(arm[:30] == 1) & (np.arange(30) != i)].mean()
        scores[i] = m + (arm[i] == 1) * (y[i] - m) / 0.5
    se = scores.std(ddof=1) / 30**0.5
    kurtosis = ((scores - scores.mean()) ** 4).mean() / scores.var() ** 2
    wanted = t(60 / (kurtosis - 1)).isf(norm.sf(plain.radius[0, 1] / se)) * se
    assert found.radius[0, 1] == pytest.approx(wanted, rel=1e-8)
    assert (found.radius > plain.radius).all()
    large = [
        ww.estimate.confidence_sequence(*data(n=90_000), small_sample=kind).radius[-1]
        for kind in ("none", "t")
    ]
    assert large[1] == pytest.approx(large[0], rel=1e-3)


@pytest.mark.parametrize(
    "option", [{"first_look": 1}, {"first_look": 2.5}, {"small_sample": "hc3-t"}]
)
def test_bad_options_of_small_looks_are_named(option):
    with pytest.raises(InputError, match=next(iter(option))):
        ww.estimate.confidence_sequence(*data(), **option)
