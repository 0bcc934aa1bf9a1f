"""Winners do not depend on the order of arms, the unit of the outcome, or its origin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.estimate.adaptive.winner import winner


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_arms=st.integers(2, 7),
    method=st.sampled_from(["one-sided", "conditional", "projection", "hybrid"]),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
)
def test_order_scale_and_origin(seed, n_arms, method, scale, shift):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n_arms, n_arms))
    cov, x = mixed @ mixed.T + 0.2 * np.eye(n_arms), 2 * rng.normal(size=n_arms)
    order, rank = rng.permutation(n_arms), int(rng.integers(n_arms))
    found = winner(x, cov, method=method, rank=rank)
    moved = winner(
        scale * x[order] + shift, scale**2 * cov[np.ix_(order, order)], method=method, rank=rank
    )
    assert order[moved.arm] == found.arm
    ours = np.array([found.conf_low, found.estimate, found.conf_high])
    theirs = np.array([moved.conf_low, moved.estimate, moved.conf_high])
    if method == "one-sided":
        ours = np.append(ours, found.corrected_estimate)
        theirs = np.append(theirs, moved.corrected_estimate)
    assert np.allclose(
        scale * ours + shift, theirs, rtol=1e-6, atol=1e-6 * scale * max(1, abs(ours).max())
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(["one-sided", "conditional", "hybrid"]))
def test_worst_of_the_negatives_is_the_best(seed, method):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=5), rng.uniform(0.3, 2, 5)
    best, worst = winner(x, v, method=method), winner(-x, v, method=method, rank=4)
    assert best.arm == worst.arm
    if method == "one-sided":
        assert np.isclose(best.corrected_estimate, -worst.corrected_estimate, rtol=1e-7)
    assert np.allclose([best.conf_low, best.estimate, best.conf_high],
                       [-worst.conf_high, -worst.estimate, -worst.conf_low], rtol=1e-7)  # fmt: skip
