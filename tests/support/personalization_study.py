"""Whole studies of intervals and tests of personalization, with a truth that is known.

    python tests/support/personalization_study.py [--repetitions 400]

Prints the table of docs/evidence/personalization-coverage.md. Small versions of every row run in
`test_personalization_study.py`, `test_policy_coverage.py` and `test_causal_forest_coverage.py`.
"""

import argparse
import time

import numpy as np

from wavewise.decide import personalize, uniform
from wavewise.estimate.forest.causal_forest import causal_forest
from wavewise.evaluate import (
    best_linear_projection,
    calibration,
    cost_curve,
    doubly_robust_scores,
    policy_contrast,
    toc,
)

NAMES = np.array(["control", "a", "b", "c"])
SHARES = {"control": 0.4, "a": 0.2, "b": 0.2, "c": 0.2}
COVARIATES = ("x1", "x2", "x3", "x4", "x5")


def true_effects(X, differs):
    """Effects of a, b, c in shares of units: a for all alike, b and c for some."""
    tau = np.tile([0.08, 0.06, 0.04], (len(X), 1))
    if differs:
        tau[:, 1] += 0.12 * (X[:, 0] > 0.3) - 0.04
        tau[:, 2] += 0.10 * (X[:, 1] > 0) - 0.05
    return tau


def draw(rng, n, differs):
    """Covariates, arms, binary outcomes, true effects."""
    X = rng.normal(size=(n, 5))
    X[:, 3] = np.round(X[:, 3])
    code = rng.choice(4, n, p=list(SHARES.values()))
    tau = true_effects(X, differs)
    chance = 0.3 + 0.2 * (X[:, 2] > 0) + np.column_stack([np.zeros(n), tau])[np.arange(n), code]
    return X, NAMES[code], (rng.random(n) < chance) * 1.0, tau


def learn(rng, n, differs, n_trees=200):
    X, arm, y, _ = draw(rng, n, differs)
    return causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=n_trees, min_arm_leaf=20,
        shrink=False, rng=rng, n_threads=1,
    )  # fmt: skip


def evaluated(seed, n, differs):
    """A forest, fresh units, their scores, and their true effects."""
    rng = np.random.default_rng(seed)
    forest = learn(rng, n, differs)
    X, arm, y, tau = draw(rng, n, differs)
    scores = doubly_robust_scores(X, arm, y, propensity=SHARES, control="control")
    return forest, X, arm, y, scores, tau


def rejections(seed, n):
    """AUTOC, Qini (of one arm) and calibration at 5 % where nobody differs; on fresh units."""
    forest, X, _, _, scores, _ = evaluated(seed, n, differs=False)
    effects = forest.effects(X)[:, 0]
    curve = toc(effects, scores.effect("a"))
    line = calibration(effects, scores.effect("a")).line.to_frame().to_dicts()[1]
    return (
        curve.autoc.p_value < 0.05,
        curve.qini.p_value < 0.05,
        not line["conf_low"] <= 0 <= line["conf_high"],
    )


def rejections_out_of_bag(seed, n):
    """AUTOC and Qini on the units learned from, each ranked by the trees without it.

    At 5 % for a ranking that helps, then for one that harms: a unit's own outcome is missing from
    its out-of-bag effect, which falls by a little where the outcome is high.
    """
    rng = np.random.default_rng(seed)
    X, arm, y, _ = draw(rng, n, differs=False)
    forest = causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=200, min_arm_leaf=20,
        shrink=False, rng=rng, n_threads=1,
    )  # fmt: skip
    scores = doubly_robust_scores(X, arm, y, propensity=SHARES, control="control")
    curve = toc(forest.effects_oob[:, 0], scores.effect("a"))
    areas = (curve.autoc, curve.qini)
    return tuple(
        side * area.estimate > 1.645 * area.std_error for side in (1, -1) for area in areas
    )


def big_truth(seed=1, n=400_000):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 3] = np.round(X[:, 3])
    return X, true_effects(X, differs=True)


class Truth:
    """Population values for a fixed forest, from many units without noise."""

    def __init__(self, n=2000, seed=1):
        self.forest = learn(np.random.default_rng(seed), n, differs=True)
        X, tau = big_truth()
        effects = self.forest.effects(X)
        names = np.array(self.forest.arms)
        given = tau[np.arange(len(X)), effects.argmax(axis=1)]
        self.policy = personalize(self.forest, name="forest")
        assert (self.policy.assign(X[:1000]) == names[effects[:1000].argmax(axis=1)]).all()
        self.contrast = (given - tau[:, 0]).mean()
        curve = toc(effects[:, 1], tau[:, 1])
        self.autoc, self.qini = curve.autoc.estimate, curve.qini.estimate
        self.toc_at_30 = curve.curve["toc"][29]
        costs = cost_curve(effects, tau, [1.0, 1.5, 2.0])
        self.flat = self.forest.ate
        plain = cost_curve(np.tile(self.flat, (len(X), 1)), tau, [1.0, 1.5, 2.0])
        self.gain = costs.gain(0.4).estimate
        self.difference = costs.difference(plain, 0.4).estimate
        self.slopes = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), tau[:, 1])[0][1:3]


def covered(truth, seed, n):
    """Whether each interval holds the truth, on fresh units."""
    X, arm, y, _ = draw(np.random.default_rng(seed), n, differs=True)
    scores = doubly_robust_scores(X, arm, y, propensity=SHARES, control="control")
    effects = truth.forest.effects(X)
    contrast = policy_contrast(truth.policy, uniform("a"), X, arm, y, propensity=SHARES)
    curve = toc(effects[:, 1], scores.effect("b"))
    at = curve.curve.row(29, named=True)
    costs = cost_curve(effects, scores.effects, [1.0, 1.5, 2.0])
    plain = cost_curve(np.tile(truth.flat, (n, 1)), scores.effects, [1.0, 1.5, 2.0])
    gain, difference = costs.gain(0.4), costs.difference(plain, 0.4)
    line = best_linear_projection(X, scores.effect("b")).to_frame().to_dicts()
    return (
        contrast.conf_low < truth.contrast < contrast.conf_high,
        inside(curve.autoc, truth.autoc),
        inside(curve.qini, truth.qini),
        abs(at["toc"] - truth.toc_at_30) < 1.96 * at["std_error"],
        inside(gain, truth.gain),
        inside(difference, truth.difference),
        line[1]["conf_low"] < truth.slopes[0] < line[1]["conf_high"],
        line[2]["conf_low"] < truth.slopes[1] < line[2]["conf_high"],
    )


COVERED = (
    "policy contrast, forest minus a for all", "AUTOC", "Qini", "TOC at 30 %",
    "cost curve, gain", "cost curve, difference to no targeting",
    "best linear projection, x1", "best linear projection, x2",
)  # fmt: skip
REJECTED = ("AUTOC, fresh units", "Qini, fresh units", "calibration, fresh units")
REJECTED_OOB = (
    "AUTOC helps, out of bag", "Qini helps, out of bag",
    "AUTOC harms, out of bag", "Qini harms, out of bag",
)  # fmt: skip


def inside(estimate, truth):
    return estimate.conf[0] < truth < estimate.conf[1]


def pointwise(seed, differs, n=2000, **options):
    """Whether the intervals of one new unit hold its three effects."""
    rng = np.random.default_rng(seed)
    X, arm, y, _ = draw(rng, n, differs)
    forest = causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=400, rng=rng, n_threads=1,
        **options,
    )  # fmt: skip
    x = rng.normal(size=(1, 5))
    gap = np.abs(forest.effects(x) - true_effects(x, differs))[0]
    return gap < 1.96 * forest.std_error(x)[0]


def rates(rows):
    return np.asarray(rows, dtype=float).mean(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    n = parser.parse_args().repetitions
    start, bar = time.process_time(), 2 * np.sqrt(0.05 * 0.95 / n)
    print(f"{n} repetitions, half as many pointwise; twice the error at 5 % or 95 %: {bar:.3f}")
    truth = Truth()
    for name, rate in zip(
        COVERED, rates([covered(truth, 10_000 + k, 2000) for k in range(n)]), strict=True
    ):
        print(f"| covered | {name} | {rate:.3f} |", flush=True)
    for names, one in ((REJECTED, rejections), (REJECTED_OOB, rejections_out_of_bag)):
        for name, rate in zip(names, rates([one(20_000 + k, 1500) for k in range(n)]), strict=True):
            print(f"| rejected | {name} | {rate:.3f} |", flush=True)
    for differs in (False, True):
        for label, options in (
            ("leaf of 5", {"min_arm_leaf": 5, "shrink": False}),
            ("as by default", {}),
        ):
            found = rates([pointwise(30_000 + k, differs, **options) for k in range(n // 2)])
            kind = "effects that differ" if differs else "the same effects for all"
            print(f"| pointwise | {kind}, {label} | {found.round(3).tolist()} |", flush=True)
    print(f"{time.process_time() - start:.0f} s of processors")


if __name__ == "__main__":
    main()
