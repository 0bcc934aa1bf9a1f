"""How often bands over the budget and areas between cost curves hold the truth.

    python tests/support/cost_curve_bands.py --repetitions 600

Critical values are by 4,000 draws of the joint normal, which is faster than the integration that
`adjusted("max-t")` uses and agrees with it to the second digit.
"""

import argparse

import numpy as np

from wavewise.evaluate import cost_curve

COST = np.array([1.0, 1.5])
FLAT = {"smooth": [0.5, 0.8], "ties": [0.35, 0.2], "few large scores": [0.05, 0.1]}


def draw(rng, n, design):
    """Effects of two arms and scores: normal noise, four groups only, or one large score in ten."""
    x = rng.integers(0, 4, n) * 1.0 if design == "ties" else rng.normal(size=n)
    if design == "few large scores":
        tau = np.column_stack([0.05 + 0.05 * x, 0.1 - 0.03 * x])
        noise = np.where(rng.random((n, 2)) < 0.1, 3.0, 0.3)
    else:
        one = [0.5 + x, 0.8 - 0.5 * x] if design == "smooth" else [0.5 * x - 0.4, 0.2 + 0 * x]
        tau, noise = np.column_stack(one), 2.0
    return tau, tau + rng.normal(size=(n, 2)) * noise


def curves(tau, scores, design):
    flat = np.tile(FLAT[design], (len(tau), 1))
    return cost_curve(tau, scores, COST), cost_curve(flat, scores, COST)


def holds(table, truth, rng):
    """Whether the joint band, and every interval by itself, hold the truth."""
    used = np.isfinite(table.std_error)
    error, miss = table.std_error[used], np.abs(table.estimate - truth)[used]
    values, vectors = np.linalg.eigh(table.cov[np.ix_(used, used)] / np.outer(error, error))
    joint = rng.normal(size=(4000, used.sum())) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    critical = np.quantile(np.abs(joint).max(axis=1), 0.95)
    return (miss < critical * error).all(), (miss < 1.96 * error).all()


def coverage(design, n, n_repeats, seed=31):
    """Bands of gains and of differences, areas, and intervals that are not joint, in that order."""
    big, _ = draw(np.random.default_rng(0), 400_000, design)
    one, two = curves(big, big, design)
    most = one.max_spend
    spends = most * np.arange(1, 21) / 20
    gains = np.interp(spends, one.spend, one.total)
    gaps = gains - np.interp(spends, two.spend, two.total)
    area = one.integrated_difference(two, most).estimate
    rng, held = np.random.default_rng([seed, n]), np.zeros(4)
    for _ in range(n_repeats):
        one, two = curves(*draw(rng, n, design), design)
        held[0] += holds(one.over_spends(spends), gains, rng)[0]
        held[[1, 3]] += holds(one.over_spends(spends, other=two), gaps, rng)
        low, high = one.integrated_difference(two, most).conf
        held[2] += low < area < high
    return held / n_repeats


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=600)
    options = parser.parse_args()
    for design in FLAT:
        for n in (300, 1000, 4000):
            found = coverage(design, n, options.repetitions)
            print(f"| {design} | {n:,} |", " | ".join(f"{x:.3f}" for x in found), "|", flush=True)
