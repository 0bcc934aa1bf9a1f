"""Two waves whose shares adapt within strata: intervals that hold, and what it gains.

`python tests/coverage/test_shares_by_stratum.py 1000` prints the tables of
docs/evidence/shares-by-stratum.md.
"""

import sys

import numpy as np

from wavewise.decide import shares
from wavewise.estimate import (
    adaptive_aipw,
    batched_ols,
    beta_binomial,
    pooled_beta_binomial,
    weighted_m,
)

# By stratum: its share of the units, and the arms' success probabilities.
WEIGHT = np.array([0.25, 0.25, 0.5])
WORLDS = {
    "best arm differs": np.array([[0.30, 0.20, 0.10], [0.25, 0.45, 0.30], [0.50, 0.60, 0.70]]),
    "same best arm": np.array([[0.10, 0.20, 0.15], [0.30, 0.40, 0.35], [0.50, 0.60, 0.55]]),
}
N = 1200  # units of each wave
ALLOCATIONS = ("equal", "over all", "by stratum", "by stratum, pooled")


def drawn(stratum, share, rng):
    """Arms in exact numbers within strata, shares by stratum (n_strata, n_arms)."""
    arm = np.empty(stratum.size, dtype=np.int64)
    for x, row in enumerate(share):
        at = np.flatnonzero(stratum == x)
        ends = np.floor(np.cumsum(row) * at.size + rng.random())
        arm[rng.permutation(at)] = np.searchsorted(ends, np.arange(at.size), side="right").clip(
            max=row.size - 1
        )
    return arm


def counts(y, arm, stratum, shape):
    table = np.zeros((2, *shape))
    np.add.at(table[0], (stratum, arm), y)
    np.add.at(table[1], (stratum, arm), 1)
    return table


def next_wave(table, allocation):
    """Tempered Thompson shares with a floor for the second wave, (n_strata, n_arms)."""
    how = {"rule": "tempered Thompson", "floor": 0.05}
    n_strata, n_arms = table.shape[1:]
    if allocation == "equal":
        return np.full((n_strata, n_arms), 1 / n_arms)
    if allocation == "over all":
        one = shares(beta_binomial(*table.sum(axis=1)), **how)
        return np.tile(one, (n_strata, 1))
    if allocation == "by stratum":
        return np.array([shares(beta_binomial(y, n), **how) for y, n in zip(*table, strict=True)])
    pooled = pooled_beta_binomial(*table)
    return np.array([shares(pooled.stratum(name), **how) for name in pooled.strata])


def experiment(prob, allocation, rng, n=N):
    """Stratum, arm, outcome, propensity of all arms and wave of each unit of two waves."""
    n_strata, n_arms = prob.shape
    parts, table = [], np.zeros((2, *prob.shape))
    share = np.full(prob.shape, 1 / n_arms)
    for wave in (1, 2):
        stratum = np.repeat(np.arange(n_strata), np.rint(WEIGHT * n).astype(int))
        arm = drawn(stratum, share, rng)
        y = (rng.random(stratum.size) < prob[stratum, arm]).astype(float)
        parts.append((stratum, arm, y, share[stratum], np.full(stratum.size, wave)))
        table += counts(y, arm, stratum, prob.shape)
        if wave == 1:
            share = next_wave(table, allocation)
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def coverage(world, n_repetitions, seed):
    """Share of 90 % intervals of arm means over all strata that hold the truth, (n_arms,)."""
    prob, hits = WORLDS[world], {}
    truth = WEIGHT @ prob
    for rng in np.random.default_rng(seed).spawn(n_repetitions):
        x, arm, y, e, wave = experiment(prob, "by stratum", rng)
        own = e[np.arange(y.size), arm]
        found = {
            "without strata": weighted_m(y, arm, own, level=0.9),
            "weighted": weighted_m(y, arm, own, strata=x, level=0.9),
            "aipw": adaptive_aipw(y, arm, e, wave, strata=x, level=0.9),
            "batched": batched_ols(y, arm, wave, strata=x, level=0.9),
        }
        for name, table in found.items():
            low, high = table.conf_int().T[:, :3]
            hits.setdefault(name, []).append((low <= truth) & (truth <= high))
    return {name: np.mean(part, axis=0) for name, part in hits.items()}


def regret(world, n_repetitions, seed, n=N):
    """By allocation: mean loss in the second wave, and from the arm chosen for each stratum."""
    prob, lost = WORLDS[world], {name: [] for name in ALLOCATIONS}
    for child in np.random.SeedSequence(seed).spawn(n_repetitions):
        for name in ALLOCATIONS:
            x, arm, y, _, wave = experiment(prob, name, np.random.default_rng(child), n)
            best = prob.max(axis=1)
            during = (best[x] - prob[x, arm])[wave == 2].mean()
            y_by, n_by = counts(y, arm, x, prob.shape)
            chosen = np.argmax((y_by + 1) / (n_by + 2), axis=1)
            after = WEIGHT @ (best - prob[np.arange(best.size), chosen])
            lost[name].append((during, after))
    return {name: np.array(part) for name, part in lost.items()}


def test_intervals_hold_within_strata_and_not_without() -> None:
    n = 120
    found = coverage("best arm differs", n, seed=1)
    error = 4 * np.sqrt(0.9 * 0.1 / n)
    for name in ("weighted", "aipw", "batched"):
        assert (np.abs(found[name] - 0.9) < error).all(), found
    assert found["without strata"].min() < 0.2, found


def test_shares_by_stratum_gain_where_the_best_arm_differs() -> None:
    """And lose little where it does not: strata that are partly pooled less than separate ones."""
    n = 30
    differs, same = (regret(world, n, seed=2) for world in WORLDS)
    gain = differs["over all"] - differs["by stratum"]
    assert gain[:, 0].mean() > 4 * gain[:, 0].std() / np.sqrt(n) > 0
    assert differs["by stratum"][:, 0].mean() < 0.6 * differs["equal"][:, 0].mean()
    cost = same["by stratum"] - same["over all"]
    assert cost[:, 0].mean() < 0.02


def tables(n_repetitions):
    """The two tables of the page."""
    print("| world | intervals | arm 0 | arm 1 | arm 2 |\n|---|---|---|---|---|")
    for world in WORLDS:
        for name, found in coverage(world, n_repetitions, seed=11).items():
            cells = " | ".join(f"{100 * one:.1f}" for one in found)
            print(f"| {world} | {name} | {cells} |")
    print("\n| world | shares of wave 2 | loss during wave 2 | loss from the choice |")
    print("|---|---|---|---|")
    for world in WORLDS:
        for name, lost in regret(world, n_repetitions, seed=12).items():
            mean, error = lost.mean(axis=0), lost.std(axis=0) / np.sqrt(n_repetitions)
            cells = [f"{100 * m:.2f} ± {100 * e:.2f}" for m, e in zip(mean, error, strict=True)]
            print(f"| {world} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    tables(int(sys.argv[1]))
