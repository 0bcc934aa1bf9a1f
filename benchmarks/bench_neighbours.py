"""Time of the exact matcher, and of faiss-cpu's exact index where it is installed, in the same run.

100,000 units with 13 covariates are matched with the 50 nearest units of each of 17 arms. Faiss is
no dependency of the project: install it beside the package to compare.

    python benchmarks/bench_neighbours.py [--units 100000] [--k 50] [--repeats 3]
"""

import argparse
import time

import numpy as np

from wavewise.estimate.matching.neighbours import neighbours


def seconds(function, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--queries", type=int, help="units to predict, all by default")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(options.units, 13))
    arm = np.array([f"arm {code:02d}" for code in range(17)])[rng.integers(0, 17, options.units)]
    y = (rng.random(options.units) < 0.42) * 1.0
    neighbours(X[:2000], arm[:2000], y[:2000], control="arm 00", k=5)  # compiles
    start = time.perf_counter()
    found = neighbours(X, arm, y, control="arm 00", k=options.k)
    print(f"wavewise, fit with out-of-bag effects  {time.perf_counter() - start:8.2f} s")
    new = X[: options.queries]
    ours = seconds(lambda: found.effects(new), options.repeats)
    print(f"wavewise, effects of the queries       {ours:8.2f} s")
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: no comparison")
        return
    single = np.ascontiguousarray((X - X.mean(axis=0)) / X.std(axis=0), dtype=np.float32)

    queries = single[: options.queries]

    def peer():
        means = []
        for name in np.unique(arm):
            index = faiss.IndexFlatL2(13)
            index.add(single[arm == name])
            means.append(y[arm == name][index.search(queries, options.k)[1]].mean(axis=1))
        return np.column_stack(means)

    theirs = seconds(peer, options.repeats)
    means = peer()
    gap = np.abs(found.effects(new) - (means[:, 1:] - means[:, :1])).max(axis=1)
    print(f"faiss {faiss.__version__}, the same                 {theirs:8.2f} s")
    print(f"faiss takes {theirs / ours:.1f} times as long")
    print(f"units with another answer (its single precision) {(gap > 1e-9).mean():.4%}")


if __name__ == "__main__":
    main()
