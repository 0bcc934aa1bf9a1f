"""Time and exactness of `assign` beside stochatreat, alternated in one process.

1,000,000 units, 17 arms (control 0.2, the others 0.05 each), 4,000 strata of unequal sizes. Run:

    python benchmarks/bench_assign.py [--units N] [--strata N] [--rounds N]

Prints medians after one round to warm up (compilation, caches), their ratio, and by how much each
misses the intended totals of arms and cells.
"""

import argparse
import statistics
import time

import numpy as np
import polars as pl

from wavewise.randomize import assign

SHARES = {"control": 0.2} | {f"arm{k:02d}": 0.05 for k in range(1, 17)}


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def misses(arm_code, stratum, n_strata):
    """Largest distance of an arm's total, and of a cell, from what was intended."""
    share = np.array(list(SHARES.values()))
    cell = np.bincount(stratum * share.size + arm_code, minlength=n_strata * share.size)
    count = cell.reshape(n_strata, share.size)
    expected = count.sum(axis=1, keepdims=True) * share
    total = np.abs(count.sum(axis=0) - expected.sum(axis=0)).max()
    return float(total), float(np.abs(count - expected).max())


def ours(units, stratum, seed):
    def run():
        a = assign(units, stratum, SHARES, np.random.default_rng(seed))
        return a.arm, a.propensity, a.arm_code

    return run


def theirs(frame, seed):
    from stochatreat import stochatreat

    probs = list(SHARES.values())
    return lambda: stochatreat(
        frame, "stratum", treats=len(probs), probs=probs, idx_col="unit", random_state=seed
    )


def main():
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--strata", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    sizes = rng.dirichlet(np.full(args.strata, 2.0))
    stratum = rng.choice(args.strata, size=args.units, p=sizes)
    units = rng.permutation(args.units)
    text_units = pl.Series([f"family-{unit:08d}" for unit in units.tolist()])
    text_strata = pl.Series([f"school-{s:05d}" for s in range(args.strata)]).gather(stratum)
    frame = pd.DataFrame({"unit": units, "stratum": stratum})
    times = {"wavewise": [], "stochatreat": [], "wavewise, text ids": []}
    for seed in range(args.rounds + 1):
        rows = {
            "wavewise": timed(ours(units, stratum, seed)),
            "stochatreat": timed(theirs(frame, seed)),
            "wavewise, text ids": timed(ours(text_units, text_strata, seed)),
        }
        if seed:
            for name, (seconds, _) in rows.items():
                times[name].append(seconds)
    treated = rows["stochatreat"][1].set_index("unit").loc[units, "treat"].to_numpy(dtype=np.int64)
    codes = {
        "wavewise": rows["wavewise"][1][2],
        "stochatreat": treated,
        "wavewise, text ids": rows["wavewise, text ids"][1][2],
    }
    print(f"{args.units:,} units, {len(SHARES)} arms, {args.strata:,} strata, {args.rounds} rounds")
    for name, seconds in times.items():
        total, cell = misses(codes[name], stratum, args.strata)
        print(
            f"{name:<20} median {statistics.median(seconds):.3f} s; "
            f"arm totals miss by up to {total:.2f}, cells by up to {cell:.2f}"
        )
    ratio = statistics.median(times["wavewise"]) / statistics.median(times["stochatreat"])
    print(f"ratio wavewise / stochatreat: {ratio:.2f}")


if __name__ == "__main__":
    main()
