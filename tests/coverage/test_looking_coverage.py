"""Many looks and the chosen arm: what holds, beside what does not."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.simulated.adaptive_refit import experiment_again
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

LEVEL = 0.9


def test_confidence_sequences_hold_at_all_of_twenty_looks():
    """Twenty looks at Thompson sampling; usual intervals, looked at twenty times, do not."""
    n, held, usual = 120, 0, 0
    design = AdaptiveDesign(np.zeros(2), 2000, 20, "thompson", 0.1, "normal")
    for rng in np.random.default_rng(51).spawn(n):
        d = simulate_adaptive_waves(design, rng)
        looks = ww.estimate.confidence_sequence(
            d.outcome, d.arm, d.propensities, d.wave, level=LEVEL
        )
        bounds = looks.conf_int()[:, 2]
        held += bool(((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).all())
        ok = True
        for w in range(20):
            seen = d.wave <= w
            table = ww.estimate.weighted_m(
                d.outcome[seen], d.arm[seen], d.propensity[seen], level=LEVEL
            )
            low, high = table["1 - 0"].conf
            ok &= low <= 0 <= high
        usual += ok
    error = 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
    assert held / n > LEVEL - error
    assert usual / n < 0.75


@pytest.mark.parametrize(
    "means",
    [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.15, 0.2], [0.0, 0.0, 0.0, 0.8]],
    ids=["no effect", "near tie", "clear winner"],
)
@pytest.mark.parametrize(
    ("n", "draws"),
    [(20, 40), pytest.param(300, 200, marks=pytest.mark.slow)],
    ids=["small", "full"],
)
def test_bootstrap_of_clustered_adaptive_waves(means, n, draws):
    """Four waves of exploration sampling over 25 clusters (sd .4): the chosen arm's mean."""
    design = AdaptiveDesign(np.array(means), 800, 4, "exploration", 0.05, "normal", 25, 0.4)
    held = 0
    for rng in np.random.default_rng(52).spawn(n):
        d = simulate_adaptive_waves(design, rng)
        table = ww.estimate.weighted_m(d.outcome, d.arm, d.propensity, cluster=d.cluster)
        again = experiment_again(design, d.outcome, d.arm, d.cluster)
        found = ww.estimate.bootstrap_chosen_arm(
            table.arm_estimate, table.std_error[:4], again, rng=rng, n_draws=draws, level=LEVEL
        )
        held += found.conf_low <= d.truth[found.arm] <= found.conf_high
    assert held / n > LEVEL - 4 * np.sqrt(LEVEL * (1 - LEVEL) / n)
