"""Time, memory and error of `causal_forest`, beside econml's forest in an environment of its own.

    python benchmarks/bench_causal_forest.py speed [--units 100000] [--trees 2000]
    python benchmarks/bench_causal_forest.py peer --peer-python PATH      time per tree
    python benchmarks/bench_causal_forest.py error --peer-python PATH     mean squared errors

PATH is a Python in which econml is installed; it need not hold Wavewise. Both packages get the same
arrays. Leaves are made comparable: econml counts them over all arms, so that its
`min_samples_leaf` is the least leaf here times the number of arms.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

DESIGNS = {
    "16 arms at 42%": {"n": 10_000, "n_arms": 17, "base": 0.42, "common": 0.10, "own": 0.08},
    "4 arms at 2%": {"n": 20_000, "n_arms": 5, "base": 0.02, "common": 0.01, "own": 0.005},
}


def make_data(seed, n, n_arms, base, common, own, p=13):
    """Covariates, arm codes (0 the control), binary outcomes, true effects (n, n_arms - 1)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, 0], X[:, 1] = X[:, 0] > 0, np.round(2 * X[:, 1])
    arm = rng.integers(0, n_arms, n)
    kinds = np.arange(1, n_arms) % 4
    effects = common * (X[:, [2]] > 0) + own * (X[:, 3 + kinds] > 0.5)
    chance = base * (0.7 + 0.6 * (X[:, 7] > 0))
    chance = chance + np.where(arm > 0, effects[np.arange(n), np.maximum(arm - 1, 0)], 0)
    return X, arm, (rng.random(n) < np.minimum(chance, 1)) * 1.0, effects


def ours(X, arm, outcome, n_arms, n_trees, **options):
    from wavewise.estimate.forest.causal_forest import causal_forest

    names = np.array(["control", *(f"a{k:02d}" for k in range(1, n_arms))])
    return causal_forest(
        X,
        names[arm],
        outcome,
        control="control",
        propensity=dict.fromkeys(names, 1 / n_arms),
        n_trees=n_trees,
        rng=np.random.default_rng(1),
        **options,
    )


def theirs(X, arm, outcome, n_arms, n_trees, least):
    """econml's forest on one indicator an arm less its share, outcomes less their mean."""
    from econml.grf import CausalForest
    from sklearn.ensemble import RandomForestRegressor

    mean = RandomForestRegressor(100, min_samples_leaf=20, oob_score=True, n_jobs=2, random_state=1)
    mean.fit(X, outcome)
    treated = (arm[:, None] == np.arange(1, n_arms)) - 1 / n_arms
    forest = CausalForest(
        n_estimators=n_trees,
        min_samples_leaf=least * n_arms,
        max_depth=None,
        n_jobs=2,
        inference=True,
        honest=True,
        random_state=1,
        min_var_fraction_leaf=None,
    )
    start = time.perf_counter()
    forest.fit(X, treated, outcome - mean.oob_prediction_)
    effects = forest.oob_predict(X)
    return effects, time.perf_counter() - start


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speed(args):
    design = {**DESIGNS["16 arms at 42%"], "n": args.units}
    X, arm, outcome, _ = make_data(0, **design)
    ours(X[:3000], arm[:3000], outcome[:3000], 17, 8)  # compiled, or read from the cache
    for label, options in (("given leaf of 5", {"min_arm_leaf": 5}), ("tuned", {})):
        if label == "tuned" and args.no_tuning:
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        forest = ours(X, arm, outcome, 17, args.trees, **options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{args.units:,} units, {args.trees:,} trees, {label}: {wall:.1f} s ({cpu:.1f} s of "
            f"processors), peak {peak_mb():.0f} MB, leaf {forest.min_arm_leaf}",
            flush=True,
        )


def peer(args):
    design = {**DESIGNS["16 arms at 42%"], "n": args.units}
    n_trees = 8
    data = make_data(0, **design)
    ours(*(part[:3000] for part in data[:3]), 17, 8)
    wall = time.perf_counter()
    ours(*data[:3], 17, 2000, min_arm_leaf=5)
    mine = (time.perf_counter() - wall) / 2000
    held = ask(args.peer_python, {"seed": 0, "design": design, "n_trees": n_trees, "least": 5})
    each = held["seconds"] / n_trees
    print(f"per tree: {1000 * mine:.2f} ms, econml {1000 * each:.0f} ms, ratio {each / mine:.0f}")


def error(args):
    for name, design in DESIGNS.items():
        for seed in range(args.seeds):
            X, arm, outcome, truth = make_data(seed, **design)
            task = {"seed": seed, "design": design, "n_trees": args.peer_trees, "least": 5}
            row = {"design": name, "seed": seed}
            row["econml"] = ask(args.peer_python, task)["mse"]
            for label, options in (
                ("equal", {"min_arm_leaf": 5, "shrink": False}),
                ("default", {}),
            ):
                forest = ours(X, arm, outcome, design["n_arms"], args.peer_trees, **options)
                row[label] = float(((forest.effects_oob - truth) ** 2).mean())
            row["averages"] = float(((forest.ate - truth) ** 2).mean())
            print(json.dumps(row), flush=True)


def ask(python, task):
    """One fit in the other environment."""
    command = [python, "-W", "ignore", str(Path(__file__)), "answer", json.dumps(task)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def answer(args):
    task = json.loads(args.task)
    X, arm, outcome, truth = make_data(task["seed"], **task["design"])
    n_arms = task["design"]["n_arms"]
    effects, seconds = theirs(X, arm, outcome, n_arms, task["n_trees"], task["least"])
    known = np.isfinite(effects).all(axis=1)  # few trees leave some units without an estimate
    mse = float(((effects - truth)[known] ** 2).mean())
    print(json.dumps({"mse": mse, "seconds": seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for verb in (speed, peer, error, answer):
        sub = verbs.add_parser(verb.__name__)
        sub.set_defaults(run=verb)
        sub.add_argument("--units", type=int, default=100_000)
        sub.add_argument("--trees", type=int, default=2000)
        sub.add_argument("--no-tuning", action="store_true")
        sub.add_argument("--seeds", type=int, default=10)
        sub.add_argument("--peer-trees", type=int, default=200)
        sub.add_argument("--peer-python", default=sys.executable)
        if verb is answer:
            sub.add_argument("task")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
