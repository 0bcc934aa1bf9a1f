"""Coverage of effects with few treated units or clusters: weights, and effects on those reached.

    python tests/coverage/effects_coverage.py [REPETITIONS]

Prints the tables of docs/evidence/effects-coverage.md; four minutes with 5,000 repetitions.
"""

import sys

import numpy as np
from scipy.stats import t

import wavewise as ww
from wavewise.estimate.effects.instruments import anderson_rubin

SEED, LEVEL = 20261201, 0.95


def strata(rng, sizes, treated):
    """Units in strata with exact counts of treated; weights one over the propensity."""
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    parts = [rng.permutation(n) < k for n, k in zip(sizes, treated, strict=True)]
    arm = np.concatenate(parts)
    share = (np.array(treated) / np.array(sizes))[stratum]
    return stratum, arm, 1 / np.where(arm, share, 1 - share)


def units(sizes, treated):
    """A design of units."""

    def draw(rng):
        stratum, arm, weight = strata(rng, sizes, treated)
        return rng.normal(size=arm.size) + 0.5 * stratum, arm, weight, None

    return draw


def clusters(rng):
    """2 of 16 and 4 of 8 clusters of 3 to 12 units, intracluster correlation .2."""
    stratum, arm, weight = strata(rng, (16, 8), (2, 4))
    cluster = np.repeat(np.arange(24), rng.integers(3, 13, 24))
    y = rng.normal(size=cluster.size) + 0.5 * rng.normal(size=24)[cluster]
    return y + 0.5 * stratum[cluster], arm[cluster], weight[cluster], cluster


WEIGHTS = {
    "4 of 60 and 10 of 20 units": units((60, 20), (4, 10)),
    "2 of 16 and 4 of 8 clusters": clusters,
    "shares .06, .3, .9 of 50": units((50, 50, 50), (3, 15, 45)),
    "shares .01, .5 of 1,000": units((1000, 1000), (10, 500)),
    "shares .02, .5, .98 of 300": units((300, 300, 300), (6, 150, 294)),
}


def weights(draw, rng):
    """Whether the interval of each working model holds the effect, 0, and its length."""
    y, arm, weight, cluster = draw(rng)
    found = {}
    for model in ("identity", "inverse-weights"):
        fit = ww.estimate.ate(
            y, arm, control=False, weights=weight, cluster=cluster, working_model=model
        )
        low, high = fit.conf_int()[0]
        found[model] = (low <= 0 <= high, high - low)
    return found


def reached(sizes, n_treated, uptake=0.6, spread=1.0):
    """Clusters, some of them treated, receipt that goes with the outcome; the effect is .5."""

    def draw(rng):
        cluster = np.repeat(np.arange(len(sizes)), sizes)
        treated = rng.permutation(len(sizes)) < n_treated
        willing = rng.normal(size=cluster.size)
        receipt = treated[cluster] & (willing > -t.ppf(uptake, 1e9))
        scale = np.where(treated, spread, 1.0)[cluster]
        noise = (
            0.5 * willing + rng.normal(size=cluster.size) + rng.normal(size=treated.size)[cluster]
        )
        return scale * noise + 0.5 * receipt, treated[cluster], receipt * 1.0, cluster

    return draw


REACHED = {
    "3 of 12 clusters of 15": reached([15] * 12, 3),
    "3 of 12 clusters of 3 to 60": reached(np.linspace(3, 60, 12).astype(int), 3),
    "2 of 10 clusters of 15": reached([15] * 10, 2),
    "3 of 12, uptake .05": reached([15] * 12, 3, uptake=0.05),
    "3 of 12, treated vary three times as much": reached([15] * 12, 3, spread=3.0),
}


def receipt(draw, rng):
    """Whether each interval holds the effect, and its length (infinite where it is no interval)."""
    y, arm, received, cluster = draw(rng)
    found = {}
    if not received.any():
        return None
    fit = ww.estimate.cace(y, arm, received, control=False, cluster=cluster)
    pair = np.array([fit.outcome_effect[0], fit.first_stage[0]])
    fewer = min(fit.df[0], np.unique(cluster[arm]).size - 1)
    for name, df in (("satterthwaite", fit.df[0]), ("smaller-arm", fewer)):
        kept = anderson_rubin(pair, fit.joint_cov[0], df, LEVEL)
        found[f"anderson-rubin, {name}"] = (0.5 in kept, np.ptp(kept.conf))
        half = t.ppf((1 + LEVEL) / 2, df) * fit.std_error[0]
        found[f"two-stage, {name}"] = (abs(fit.estimate[0] - 0.5) <= half, 2 * half)
    fit = ww.estimate.cace(
        y, arm, received, control=False, cluster=cluster, se="CR1S", interval="two-stage"
    )
    low, high = fit.conf_int()[0]
    found["two-stage, CR1 and t(G - 1)"] = (low <= 0.5 <= high, high - low)
    return found


def table(title, designs, one, n):
    """Print a table: one row a design, coverage and median length of each interval."""
    print(f"\n{title}\n", flush=True)
    for k, (name, draw) in enumerate(designs.items()):
        rows = [one(draw, rng) for rng in np.random.default_rng([SEED, k]).spawn(n)]
        rows = [row for row in rows if row is not None]
        if k == 0:
            print("| design | " + " | ".join(rows[0]) + " |")
            print("|---" * (1 + len(rows[0])) + "|")
        held = {kind: np.mean([row[kind][0] for row in rows]) for kind in rows[0]}
        length = {kind: np.median([row[kind][1] for row in rows]) for kind in rows[0]}
        cells = [f"{held[kind]:.3f} ({length[kind]:.2f})" for kind in rows[0]]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    table("Weights", WEIGHTS, weights, repetitions)
    table("Effects on those reached", REACHED, receipt, repetitions)
