"""Adaptive estimators: rows in any order, arms under any names, outcomes in any unit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.estimate.adaptive.aipw import adaptive_aipw
from wavewise.estimate.adaptive.batched_ols import batched_ols
from wavewise.estimate.adaptive.weighted_m import weighted_m
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves


def fitted(y, arm, share, wave):
    own = share[np.arange(arm.size), arm]
    return [
        weighted_m(y, arm, own),
        adaptive_aipw(y, arm, share, wave),
        adaptive_aipw(y, arm, share, wave, weighting="constant"),
        batched_ols(y, arm, wave),
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_order_names_and_units(seed, scale, shift):
    design = AdaptiveDesign(np.array([0.0, 0.2, 0.3]), 240, 3, floor=0.1, outcome="normal")
    rng = np.random.default_rng(seed)
    data = simulate_adaptive_waves(design, rng)
    rows = rng.permutation(240)
    swap = np.array([0, 2, 1])  # the first arm stays the one to compare with
    plain = fitted(data.outcome, data.arm, data.propensities, data.wave)
    moved = fitted(
        scale * data.outcome[rows] + shift,
        swap[data.arm[rows]],
        data.propensities[rows][:, swap],
        data.wave[rows],
    )
    at = [0, 2, 1, 4, 3]
    add = np.array([shift] * 3 + [0, 0])
    for a, b in zip(plain, moved, strict=True):
        assert np.allclose(scale * a.estimate[at] + add, b.estimate, rtol=1e-8, atol=1e-8 * scale)
        assert np.allclose(scale * a.std_error[at], b.std_error, rtol=1e-7)


def test_equal_shares_weigh_nothing():
    rng = np.random.default_rng(0)
    y, arm = rng.normal(size=90), rng.integers(0, 3, 90)
    found = weighted_m(y, arm, np.full(90, 1 / 3))
    assert np.allclose(found.arm_estimate, [y[arm == a].mean() for a in range(3)])
    bare = weighted_m(y, arm, np.full(90, 1 / 3), stabilizer="none")
    assert np.allclose(found.std_error, bare.std_error)
