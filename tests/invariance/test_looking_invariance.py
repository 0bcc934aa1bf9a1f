"""Randomization tests, confidence sequences, chosen arms: order, names, units, processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.estimate.adaptive.bootstrap import bootstrap_chosen_arm
from wavewise.estimate.adaptive.confidence_sequence import confidence_sequence
from wavewise.estimate.adaptive.randomization import randomization_test
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_confidence_sequences(seed, scale, shift):
    design = AdaptiveDesign(np.array([0.0, 0.2, 0.3]), 360, 3, floor=0.1, outcome="normal")
    rng = np.random.default_rng(seed)
    data = simulate_adaptive_waves(design, rng)
    # rows within a wave in any order: looks are at the ends of waves
    rows = np.lexsort((rng.random(360), data.wave))
    swap = np.array([0, 2, 1])
    option = {"method": "asymptotic", "first_look": 5}
    plain = confidence_sequence(data.outcome, data.arm, data.propensities, data.wave, **option)
    moved = confidence_sequence(
        scale * data.outcome[rows] + shift,
        swap[data.arm[rows]],
        data.propensities[rows][:, swap],
        data.wave[rows],
        **option,
    )
    at, add = [0, 2, 1, 4, 3], np.array([shift] * 3 + [0, 0])
    tolerance = 1e-6 * max(scale, abs(shift))
    expected = scale * plain.estimate[:, at] + add
    assert np.allclose(moved.estimate, expected, atol=tolerance, equal_nan=True)
    assert np.allclose(moved.radius, scale * plain.radius[:, at], rtol=1e-6, equal_nan=True)


def drawn(n=60):
    rng = np.random.default_rng(1)
    arm = np.repeat([0, 1, 2], n // 3)
    rng.shuffle(arm)
    return rng.normal(size=n) + 0.4 * (arm == 2), arm


@pytest.mark.parametrize("statistic", ["studentized", "difference"])
def test_randomization_test_follows_rows_names_and_units(statistic):
    y, arm = drawn()
    moves = np.random.default_rng(2).permuted(np.tile(np.arange(60), (300, 1)), axis=1)
    every = np.vstack([arm, arm[moves]])
    plain = randomization_test(y, arm, every, statistic=statistic)
    rows = np.random.default_rng(3).permutation(60)
    names = np.array(["none", "second", "first"])  # sorted, the order of the others turns round
    moved = randomization_test(
        10 * y[rows] + 3,
        names[arm[rows]],
        names[every[:, rows]],
        statistic=statistic,
        control="none",
    )
    assert moved.p_value == plain.p_value
    ours, theirs = plain.to_frame(), moved.to_frame()
    named = {"1": "second", "2": "first"}
    for row in ours.iter_rows(named=True):
        short = row["arm"].split(" - ")[0]
        other = theirs.filter(theirs["arm"].str.starts_with(named[short])).row(0, named=True)
        assert other["estimate"] == pytest.approx(10 * row["estimate"])
        for end in ("conf_low", "conf_high"):
            # ends are found by halving: to a thousandth of the interval or so
            assert other[end] == pytest.approx(10 * row[end], abs=0.1)


def test_randomization_test_on_any_number_of_processes():
    y, arm = drawn()

    def shuffled(rng):  # inside, so that other processes get it by value
        return rng.permutation(np.repeat([0, 1, 2], 20))

    found = [
        randomization_test(
            y, arm, shuffled, n_draws=400, rng=np.random.default_rng(5), n_jobs=n_jobs
        ).to_dict()
        for n_jobs in (1, 2)
    ]
    assert found[0] == found[1]


def simulate(means, rng):
    return means + 0.1 * rng.normal(size=means.size), np.full(means.size, 0.1)


def chosen(values, errors, n_jobs=1, simulator=simulate):
    return bootstrap_chosen_arm(
        values, errors, simulator, rng=np.random.default_rng(7), n_draws=200, n_jobs=n_jobs
    )


def test_chosen_arm_on_any_number_of_processes():
    def own(means, rng):  # inside, so that other processes get it by value
        return means + 0.1 * rng.normal(size=means.size), np.full(means.size, 0.1)

    once, twice = (chosen([0.1, 0.2, 0.3], [0.1] * 3, n, simulator=own) for n in (1, 2))
    assert once.to_dict() == twice.to_dict()


def test_chosen_arm_follows_the_scale_the_origin_and_the_names():
    values = np.array([0.1, 0.2, 0.3])
    plain = chosen(values, [0.1] * 3)

    def scaled(means, rng):
        estimate, error = simulate((means - 2) / 10, rng)
        return 10 * estimate + 2, 10 * error

    moved = chosen(10 * values + 2, [1.0] * 3, simulator=scaled)
    assert moved.arm == plain.arm
    for name in ("estimate", "conf_low", "conf_high"):
        assert getattr(moved, name) == pytest.approx(10 * getattr(plain, name) + 2)

    def turned(means, rng):
        estimate, error = simulate(means[::-1], rng)
        return estimate[::-1], error[::-1]

    back = chosen(values[::-1], [0.1] * 3, simulator=turned)
    assert back.arm == 2 - plain.arm
    assert back.conf_low == pytest.approx(plain.conf_low)
