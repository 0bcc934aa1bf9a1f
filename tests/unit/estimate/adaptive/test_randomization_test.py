"""Randomization test: exact by enumeration, draws that agree, intervals, adaptive waves, errors."""

from itertools import combinations

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.randomization import Coder
from wavewise.shared.inputs import encode

Y = np.array([3.1, 4.5, 2.2, 5.9, 1.0, 0.4, 2.0, 1.7])
ARM = np.array(["t"] * 4 + ["c"] * 4)
EVERY = [np.where(np.isin(np.arange(8), chosen), "t", "c") for chosen in combinations(range(8), 4)]


def welch_t(y, arm, effect=0.0):
    t, c = y[arm == "t"], y[arm == "c"]
    return abs(t.mean() - c.mean() - effect) / np.sqrt(t.var(ddof=1) / 4 + c.var(ddof=1) / 4)


def redraw(rng):
    return rng.permutation(ARM)


def test_exact_by_enumeration():
    found = ww.estimate.randomization_test(Y, ARM, EVERY)
    seen = welch_t(Y, ARM)
    expected = np.mean([welch_t(Y, row) >= seen - 1e-12 for row in EVERY])
    assert found.exact
    assert found.draws == 70
    assert found.mc_error == 0
    assert found.p_value == pytest.approx(expected)
    assert found.arm_p_value[0] == pytest.approx(expected)
    assert found.statistic == pytest.approx(seen**2)  # Welch's statistic of two arms is t squared


def test_plain_difference_is_fishers():
    scipy_stats = pytest.importorskip("scipy.stats")

    def statistic(a, b, axis):
        return np.mean(a, axis=axis) - np.mean(b, axis=axis)

    theirs = scipy_stats.permutation_test(
        (Y[:4], Y[4:]), statistic, vectorized=True, n_resamples=np.inf
    )
    found = ww.estimate.randomization_test(Y, ARM, EVERY, statistic="difference")
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_draws_agree_with_enumeration_within_their_error():
    exact = ww.estimate.randomization_test(Y, ARM, EVERY).p_value
    found = ww.estimate.randomization_test(
        Y, ARM, redraw, n_draws=4000, rng=np.random.default_rng(1)
    )
    assert abs(found.p_value - exact) < 4 * found.mc_error
    assert found.mc_error == pytest.approx(np.sqrt(found.p_value * (1 - found.p_value) / 4000))


def test_interval_is_what_the_test_does_not_reject():
    """Against testing shifted outcomes by enumeration, effect by effect."""
    found = ww.estimate.randomization_test(Y, ARM, EVERY, level=0.9)
    low, high = found.intervals[0]

    def p_value(effect):
        base = Y - effect * (ARM == "t")
        seen = welch_t(Y, ARM, effect)
        return np.mean(
            [welch_t(base + effect * (row == "t"), row, effect) >= seen - 1e-9 for row in EVERY]
        )

    for end, out in ((low, -1), (high, 1)):
        assert p_value(end - out * 0.02) > 0.1
        assert p_value(end + out * 0.02) <= 0.1


def test_several_arms_and_the_control_first():
    rng = np.random.default_rng(2)
    arm = rng.permutation(np.repeat(["control", "a", "b"], 60))
    y = rng.normal(size=180) + 1.0 * (arm == "a")
    found = ww.estimate.randomization_test(
        y, arm, lambda r: r.permutation(arm), control="control", n_draws=400, rng=rng
    )
    assert found.arms == ("control", "a", "b")
    assert found.p_value < 0.01
    assert found.arm_p_value[0] < 0.01 < found.arm_p_value[1]
    difference = y[arm == "a"].mean() - y[arm == "control"].mean()
    assert found.estimate[0] == pytest.approx(difference)
    frame = found.to_frame()
    assert frame["arm"].to_list() == ["a", "b"]
    assert frame["conf_low"][0] < difference < frame["conf_high"][0]
    assert "Fisher interval" in found.summary()
    assert found.to_dict()["rows"][0]["arm"] == "a"
    welch = ww.estimate.ate(y, arm)["a"].conf
    assert np.allclose(found.intervals[0], welch, atol=0.06)


def test_missing_outcomes_are_left_out_of_the_test_but_drawn():
    y = np.append(Y, [np.nan, np.nan])
    arm = np.append(ARM, ["t", "c"])
    found = ww.estimate.randomization_test(
        y, arm, lambda r: r.permutation(arm), n_draws=300, rng=np.random.default_rng(3)
    )
    assert found.n_units.tolist() == [4, 4]
    assert 0 < found.p_value < 1


def test_same_seed_same_numbers_on_any_number_of_processes():
    one = ww.estimate.randomization_test(Y, ARM, redraw, n_draws=250, rng=np.random.default_rng(4))
    two = ww.estimate.randomization_test(
        Y, ARM, redraw, n_draws=250, rng=np.random.default_rng(4), n_jobs=2
    )
    assert one.p_value == two.p_value
    assert np.array_equal(one.intervals, two.intervals)


def adaptive_arms(rng, outcomes):
    """Two waves of 40: the second gives 3 of 4 units to the arm that looks better."""
    first = rng.permutation(np.repeat([0, 1], 20))
    seen = outcomes[np.arange(40), first]
    better = int(seen[first == 1].mean() > seen[first == 0].mean())
    second = rng.permutation(np.repeat([better, 1 - better], [30, 10]))
    return np.concatenate([first, second])


def test_adaptive_waves_follow_the_outcomes_of_each_hypothesis():
    rng = np.random.default_rng(5)
    base = rng.normal(size=80)
    outcomes = np.stack([base, base + 1.5], axis=1)
    arm = adaptive_arms(rng, outcomes)
    y = outcomes[np.arange(80), arm]
    found = ww.estimate.randomization_test(
        y, arm, adaptive_arms, n_draws=300, rng=rng, adaptive=True
    )
    assert found.p_value < 0.01
    assert found.intervals[0, 0] < 1.5 < found.intervals[0, 1]
    closed = ww.estimate.randomization_test(
        y, arm, lambda r: adaptive_arms(r, np.stack([y, y], axis=1)), n_draws=300, rng=rng,
        intervals=False,
    )  # fmt: skip
    assert closed.p_value < 0.01
    assert closed.intervals is None


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"reassign": redraw}, InputError, "rng"),
        ({"reassign": redraw, "rng": 3}, InputError, "rng"),
        ({"reassign": redraw, "rng": np.random.default_rng(0), "n_draws": 0}, InputError, "draws"),
        ({"reassign": []}, InputError, "no assignment"),
        ({"reassign": [ARM[::-1]]}, InputError, "without the one that was drawn"),
        ({"reassign": [ARM[:3]]}, InputError, "shape"),
        ({"reassign": [np.full(8, "x")]}, InputError, "no arm of the experiment"),
        ({"reassign": EVERY, "control": "x"}, InputError, "control"),
        ({"reassign": EVERY, "statistic": "rank"}, InputError, "statistic"),
        ({"reassign": EVERY, "level": 0}, InputError, "level"),
        ({"reassign": EVERY, "outcome": np.ones(8)}, EstimationError, "same value"),
        ({"reassign": EVERY, "outcome": [1, 2, 3, 4, 1, *[np.nan] * 3]}, EstimationError, "fewer"),
    ],
)
def test_bad_input_is_named(arguments, error, text):
    outcome = arguments.pop("outcome", Y)
    reassign = arguments.pop("reassign")
    with pytest.raises(error, match=text):
        ww.estimate.randomization_test(outcome, ARM, reassign, **arguments)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["b", "a", "ccc"]),
        np.array([3, 1, 2]),
        np.array(["b", "a"], dtype=object),
        [2.5, 1],
    ],
)
def test_labels_of_any_kind_are_coded_alike(labels):
    labels = np.asarray(labels)
    rng = np.random.default_rng(6)
    drawn = np.concatenate([labels, rng.choice(labels, 50)])
    coder = Coder(encode(drawn, "arm", drawn.size))
    names, codes = np.unique(drawn.astype(str), return_inverse=True)
    expected = codes if labels.dtype.kind in "UO" else np.unique(drawn, return_inverse=True)[1]
    assert np.array_equal(coder.codes(drawn, drawn.size), expected)
    assert np.array_equal(coder.codes(drawn.astype(object), drawn.size), expected)
    assert names.size == labels.size
