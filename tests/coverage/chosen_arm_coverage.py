"""Coverage of the chosen arm's intervals with clusters and adaptive waves.

    python tests/coverage/chosen_arm_coverage.py [REPETITIONS] [DRAWS] [CLUSTERS]

Four arms, 800 units in four waves of exploration sampling (least share .05), 25 clusters with sd
.4 beside unit sd 1, all waves in all clusters. 90 % intervals. Seven minutes with the defaults.
"""

import sys

import numpy as np

import wavewise as ww
from wavewise.simulated.adaptive_refit import experiment_again
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

LEVEL, SEED = 0.9, 1125
MEANS = {
    "no effect": [0.0, 0, 0, 0],
    "near tie": [0.0, 0, 0.15, 0.2],
    "clear winner": [0.0, 0, 0, 0.8],
}
TRUTHS = ("shrunken", "estimated", "equal")


def one(design, rng, draws):
    """Whether each interval holds the chosen arm's mean, and its length."""
    d = simulate_adaptive_waves(design, rng)
    table = ww.estimate.weighted_m(d.outcome, d.arm, d.propensity, cluster=d.cluster, level=LEVEL)
    errors, bounds = table.std_error[:4], {}
    best = int(table.arm_estimate.argmax())
    bounds["usual, clustered"] = table.conf_int()[best]
    for method in ("hybrid", "projection"):
        found = table.winner(method)
        bounds[f"{method}, clustered"] = (found.conf_low, found.conf_high)
    again = experiment_again(design, d.outcome, d.arm, d.cluster)
    for truths in TRUTHS:
        found = ww.estimate.bootstrap_chosen_arm(
            table.arm_estimate, errors, again, rng=rng, n_draws=draws, level=LEVEL, truths=truths
        )
        bounds[f"bootstrap, {truths}"] = (found.conf_low, found.conf_high)
    ends = np.array([bounds[f"bootstrap, {truths}"] for truths in TRUTHS])
    bounds["bootstrap, envelope"] = (ends[:, 0].min(), ends[:, 1].max())
    truth = d.truth[best]
    return {k: (low <= truth <= high, high - low) for k, (low, high) in bounds.items()}


def main(n, draws, clusters):
    """Print one table."""
    for name, means in MEANS.items():
        design = AdaptiveDesign(
            np.array(means), 800, 4, "exploration", 0.05, "normal", clusters, 0.4
        )
        rows = [one(design, rng, draws) for rng in np.random.default_rng(SEED).spawn(n)]
        for kind in rows[0]:
            held = np.mean([row[kind][0] for row in rows])
            length = np.mean([row[kind][1] for row in rows])
            error = np.sqrt(LEVEL * (1 - LEVEL) / n)
            print(f"| {name} | {kind} | {held:.3f} ({error:.3f}) | {length:.3f} |", flush=True)


if __name__ == "__main__":
    main(*(int(x) for x in [*sys.argv[1:], *["400", "200", "25"][len(sys.argv) - 1 :]]))
