"""Size of the randomization test under adaptive assignment, and coverage of Fisher intervals."""

import numpy as np
import pytest

from wavewise.estimate.adaptive.randomization import randomization_test

ALPHA = 0.1


def two_waves(rng, outcomes):
    """Two waves of 30 in two arms: the second gives 4 of 5 units to the arm that looks better."""
    first = rng.permutation(np.repeat([0, 1], 15))
    seen = outcomes[np.arange(30), first]
    better = int(seen[first == 1].mean() > seen[first == 0].mean())
    return np.concatenate([first, rng.permutation(np.repeat([better, 1 - better], [24, 6]))])


def test_size_with_adaptive_waves():
    """P values below .1 in a tenth of the studies without effects, whatever the outcomes are."""
    n, low = 400, 0
    for rng in np.random.default_rng(31).spawn(n):
        y = rng.exponential(size=60)
        outcomes = np.stack([y, y], axis=1)
        arm = two_waves(rng, outcomes)
        found = randomization_test(
            y, arm, lambda r, o=outcomes: two_waves(r, o), n_draws=99, rng=rng, intervals=False
        )
        low += found.p_value <= ALPHA
    assert abs(low / n - ALPHA) < 4 * np.sqrt(ALPHA * (1 - ALPHA) / n)


@pytest.mark.full
def test_intervals_hold_a_constant_effect():
    n, held = 300, 0
    arm = np.repeat([0, 1], 12)
    for rng in np.random.default_rng(32).spawn(n):
        drawn = rng.permutation(arm)
        y = rng.exponential(size=24) + 0.7 * drawn
        found = randomization_test(
            y, drawn, lambda r: r.permutation(arm), n_draws=199, rng=rng, level=1 - ALPHA
        )
        held += found.intervals[0, 0] <= 0.7 <= found.intervals[0, 1]
    assert abs(held / n - (1 - ALPHA)) < 4 * np.sqrt(ALPHA * (1 - ALPHA) / n)


def test_unequal_variances_without_a_difference_in_means():
    """The studentized statistic keeps its size where arms differ in variance; the plain one not."""
    n = 300
    low = {"studentized": 0, "difference": 0}
    arm = np.repeat([0, 1], [40, 10])
    for rng in np.random.default_rng(33).spawn(n):
        drawn = rng.permutation(arm)
        y = rng.normal(size=50) * np.where(drawn == 1, 4, 1)
        for kind in low:
            found = randomization_test(
                y, drawn, lambda r: r.permutation(arm), statistic=kind, n_draws=99, rng=rng,
                intervals=False,
            )  # fmt: skip
            low[kind] += found.p_value <= ALPHA
    assert low["studentized"] / n < ALPHA + 4 * np.sqrt(ALPHA * (1 - ALPHA) / n)
    assert low["difference"] / n > 0.25
