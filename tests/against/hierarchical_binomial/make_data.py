"""Data sets of different shape for the references of the hierarchical binomial model.

    python tests/against/hierarchical_binomial/make_data.py

writes `data.json`: for each data set its priors and its rows (cluster, arm, successes, trials).
Drawn once; the tests read the file.
"""

import json
from pathlib import Path

import numpy as np

PRINTED = [-2.63, -2.49, -2.78, -2.89, -2.67, -3.32]  # Table 3 of the Kenya study
WAVE_2 = [117, 560, 371, 14, 118]
FLAT, HALF_NORMAL = {"name": "flat"}, {"name": "half-normal", "scale": 1.0}


def school_sizes(n_units, n_clusters, rng):
    share = rng.gamma(3.0, size=n_clusters)
    return rng.multinomial(n_units, share / share.sum())


def simulate(rng, sizes, arm_shares, beta, kappa, trials):
    """Rows (cluster, arm, successes, trials) of units dealt to arms at random."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    arm = rng.choice(len(beta), cluster.size, p=np.asarray(arm_shares) / np.sum(arm_shares))
    effect = kappa * rng.normal(size=len(sizes))
    prob = 1 / (1 + np.exp(-(np.asarray(beta)[arm] + effect[cluster])))
    return collapse(cluster, arm, rng.binomial(trials, prob), np.full(cluster.size, trials))


def collapse(cluster, arm, successes, trials):
    rows = {}
    for c, a, y, n in zip(cluster.tolist(), arm.tolist(), successes, trials, strict=True):
        total = rows.setdefault((c, a), [0, 0])
        total[0] += int(y)
        total[1] += int(n)
    return [[c, a, *total] for (c, a), total in sorted(rows.items())]


def data_sets():
    rng = np.random.default_rng(20_220_622)
    even = np.ones(6)
    wave_1 = simulate(rng, school_sizes(1283, 108, rng), even, PRINTED, 0.5, 9)
    wave_2 = simulate(rng, school_sizes(1180, 108, rng), WAVE_2, PRINTED[:5], 0.5, 9)
    both = np.array(wave_1 + wave_2)
    sets = {
        "wave 1": wave_1,
        "two waves": collapse(*both.T),
        "no cluster effect": simulate(rng, school_sizes(1283, 108, rng), even, PRINTED, 0.0, 9),
        "kappa 3": simulate(rng, np.full(40, 12), np.ones(3), [-1.0, -0.5, 0.0], 3.0, 9),
        "one cluster": simulate(rng, [300], np.ones(3), [-2.0, -1.8, -1.5], 0.5, 1),
        "two clusters": simulate(rng, [60, 90], np.ones(2), [-1.0, -0.7], 0.8, 3),
        "large beside empty": [[0, 0, 80, 340], [0, 1, 83, 362]]
        + [row for c in range(1, 60) for row in ([c, 0, int(c % 9 == 0), 12], [c, 1, 0, 9])],
        "binary": simulate(
            rng, school_sizes(1283, 108, rng), even, np.array(PRINTED) + 1.8, 0.6, 1
        ),
        "rare": simulate(rng, np.full(30, 20), np.ones(3), [-5.5, -4.5, -4.0], 0.7, 1),
        "five clusters": simulate(rng, np.full(5, 40), np.ones(2), [-0.5, 0.0], 0.7, 2),
        "twelve arms": simulate(rng, np.full(30, 40), np.ones(12), np.linspace(-2, -1, 12), 0.6, 4),
        "high success": simulate(rng, np.full(50, 12), np.ones(4), [2.5, 3.0, 3.2, 3.5], 0.8, 3),
        "arm without success": [
            *simulate(rng, np.full(20, 10), np.ones(2), [-1.5, -1.0], 0.5, 2),
            *[[c, 2, 0, 4] for c in range(10)],
        ],
        "student t": simulate(rng, np.full(25, 12), np.ones(3), [-2.0, -1.5, -1.4], 0.5, 3),
        "half-t": simulate(rng, np.full(8, 30), np.ones(3), [-1.0, -0.8, -0.6], 0.4, 2),
        "inverse chi-square": simulate(
            rng, np.full(20, 12), np.ones(3), [-1.0, -0.8, -0.5], 0.8, 3
        ),
        "many small clusters": simulate(rng, np.full(1000, 3), np.ones(2), [-1.0, -0.9], 0.8, 1),
        "clusters nested in arms": [
            [c, c % 3, int(rng.binomial(40, 1 / (1 + np.exp(-e)))), 40]
            for c, e in enumerate(rng.normal(-1.0, 0.5, 45) + 0.2 * (np.arange(45) % 3))
        ],
        "one large arm": simulate(
            rng, np.full(40, 25), [30, 1, 1, 1], [-1, -0.8, -1.2, -0.5], 0.6, 2
        ),
        "large counts": simulate(
            rng, np.full(30, 100), np.ones(4), [-2, -1.95, -1.9, -2.2], 0.5, 20
        ),
        "one arm": simulate(rng, np.full(20, 15), [1.0], [-1.0], 0.6, 2),
        "wide normal": simulate(rng, np.full(15, 15), np.ones(4), [-3, -2.5, -2.2, -2.0], 1.2, 2),
    }
    priors = {
        "arm without success": ({"name": "normal", "sd": 2.0}, HALF_NORMAL),
        "rare": ({"name": "normal", "sd": 2.5}, HALF_NORMAL),
        "student t": ({"name": "student-t", "df": 1.0, "scale": 1.0}, HALF_NORMAL),
        "half-t": (FLAT, {"name": "half-t", "df": 3.0, "scale": 1.0}),
        "inverse chi-square": (FLAT, {"name": "inverse-chi-square", "df": 1.0}),
        "wide normal": ({"name": "normal", "sd": 10.0}, {"name": "half-normal", "scale": 10.0}),
    }
    return {
        name: {"prior": list(priors.get(name, (FLAT, HALF_NORMAL))), "rows": rows}
        for name, rows in sets.items()
    }


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(data)}" for name, data in data_sets().items()]
    text = "{\n" + ",\n".join(lines).replace("], [", "],[").replace(", ", ",") + "\n}\n"
    Path(__file__).with_name("data.json").write_text(text)
