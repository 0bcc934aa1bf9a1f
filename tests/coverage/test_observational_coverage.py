"""Doubly robust effects with estimated propensities: how often intervals hold the truth.

python tests/coverage/test_observational_coverage.py
"""

import numpy as np
import pytest

from wavewise.estimate import propensity
from wavewise.evaluate import doubly_robust_scores

DESIGNS = {
    "mild": (0.7, False),
    "little overlap": (2.0, False),
    "neither model right": (0.7, True),
}


def programme(rng, n, strength, curved):
    """Arms chosen by x and z, an outcome that both move, and an effect of 1 + x / 2."""
    x, z = rng.normal(size=n), rng.integers(0, 2, n) * 1.0
    index = np.sin(2 * x) * (1 + z) + x * z if curved else x + 0.5 * z - 0.25
    treated = rng.random(n) < 1 / (1 + np.exp(-strength * index))
    base = 2 * np.sin(2 * x) * (1 + z) if curved else 2 * x + z
    effect = 1 + x / 2
    outcome = base + treated * effect + rng.normal(size=n)
    return {"x": x, "z": z}, np.where(treated, "sms", "none"), outcome, effect


def coverage(design, n, n_repeats, seed=41):
    """Share of intervals that hold the mean effect of the kept units; bias in standard errors."""
    rng, held, bias = np.random.default_rng([seed, n]), 0, []
    for _ in range(n_repeats):
        X, arm, outcome, effect = programme(rng, n, *DESIGNS[design])
        found = propensity(X, arm)
        scores = doubly_robust_scores(X, arm, outcome, propensity=found, control="none")
        values = np.asarray(scores.effect("sms"))[found.kept]
        error = values.std(ddof=1) / np.sqrt(values.size)
        miss = (values.mean() - effect[found.kept].mean()) / error
        held, bias = held + (abs(miss) < 1.96), [*bias, miss]
    return held / n_repeats, float(np.mean(bias))


@pytest.mark.parametrize("design", ["mild", "little overlap"])
def test_intervals_hold_the_effect_of_the_units_that_are_left(design) -> None:
    held, _ = coverage(design, 800, 100)
    assert held > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 100)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["mild", "little overlap"])
def test_intervals_hold_the_effect_of_the_units_that_are_left_in_full(design) -> None:
    held, _ = coverage(design, 2000, 1000)
    assert held > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1000)


if __name__ == "__main__":
    for design in DESIGNS:
        for n in (500, 2000):
            print(
                f"| {design} | {n:,} |", "| {:.3f} | {:+.2f} |".format(*coverage(design, n, 1000))
            )
