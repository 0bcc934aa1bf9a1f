"""Time of `hierarchical_normal` on the reading study's size against nutpie, in the same run.

2,439 students in 108 schools, three exams with scores missing (about 6,700 seen), six arms and the
control, simulated. nutpie samples the same model and priors, 4 chains of 2,000 + 2,000, one after
the other on each core, with effects centred where that mixes best; its compilation is left out.
The accuracy of prob_optimal is measured: ours over seeds against 2 million draws, nutpie's by the
means of batches of its draws.

    python benchmarks/bench_hierarchical_normal.py [--peer] [--repeats 20]

The peer needs nutpie and pymc.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rmse(found, exact):
    return float(np.sqrt(np.mean((np.asarray(found) - exact) ** 2)))


def ours(rows, repeats):
    start = time.perf_counter()
    from wavewise.estimate.normal.model import hierarchical_normal

    def fit(seed, n_draws=20_000):
        return hierarchical_normal(**rows, rng=np.random.default_rng(seed), n_draws=n_draws)

    fit(0)
    print(f"cold start (import, compiled code from the cache if there, first fit): "
          f"{time.perf_counter() - start:.2f} s")  # fmt: skip
    seconds, found = [], []
    for seed in range(repeats):
        start = time.perf_counter()
        post = fit(seed)
        found.append(post.prob_optimal)
        seconds.append(time.perf_counter() - start)
    print(f"peak memory of the process: {peak_mb():.0f} MB")
    pools = [fit(1000 + k, 200_000).prob_optimal for k in range(10)]
    exact = np.mean(pools, axis=0)
    middle = float(np.median(seconds))
    error = float(np.sqrt(np.mean([rmse(p, exact) ** 2 for p in found])))
    print(f"scores {post.n_scores:,}, units {post.n_units:,}, clusters {post.n_clusters}")
    print(f"wavewise, 20,000 draws: median {middle * 1e3:.1f} ms of {repeats}, RMSE of "
          f"prob_optimal {error:.4f}; ESS share {post.diagnostics.ess_share:.2f}")  # fmt: skip
    return middle, error, exact


def peer_model(rows):
    import pymc as pm

    keep = ~np.isnan(rows["score"])
    y = rows["score"][keep]
    arms = sorted(set(rows["arm"][keep]) - {"control"})
    X = (rows["arm"][keep][:, None] == np.array(arms)).astype(float)
    _, first, unit = np.unique(rows["unit"][keep], return_index=True, return_inverse=True)
    _, cluster = np.unique(rows["cluster"][keep], return_inverse=True)
    period, cluster = rows["period"][keep], cluster[first]
    with pm.Model() as model:
        kappa, phi, sigma = (pm.HalfNormal(n, y.std()) for n in ("kappa", "phi", "sigma"))
        rho = pm.HalfNormal("rho", 0.25 * y.std())
        constant = pm.Flat("constant", initval=y.mean())
        beta = pm.Flat("beta", shape=len(arms), initval=np.zeros(len(arms)))
        level = pm.Normal("level", constant, kappa, shape=int(cluster.max()) + 1)
        effect = pm.Normal("effect", level[cluster], phi, shape=int(unit.max()) + 1)
        iota = pm.Normal("iota", 0, 1, shape=3)
        arm_effect = (X * beta).sum(axis=1)
        pm.Normal("y", effect[unit] + arm_effect + (rho * iota)[period], sigma, observed=y)
    return model


def peer(rows, exact):
    import nutpie

    compiled = nutpie.compile_pymc_model(peer_model(rows))
    start = time.perf_counter()
    trace = nutpie.sample(
        compiled, tune=2000, draws=2000, chains=4, cores=2, seed=1, progress_bar=False,
        save_warmup=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    beta = np.asarray(trace.posterior["beta"])
    best = beta.argmax(axis=-1)[..., None] == np.arange(beta.shape[-1])
    # the error of one run, from the means of 80 batches of 100 draws
    batches = best.reshape(80, 100, -1).mean(axis=1)
    error = float(np.sqrt((batches.var(axis=0, ddof=1) / 80).mean()))
    away = rmse(best.mean(axis=(0, 1)), exact)
    print(f"nutpie, 4 x (2,000 + 2,000) on 2 cores: {seconds:.1f} s, error of prob_optimal "
          f"{error:.4f} by batch means (this run is {away:.4f} away)")  # fmt: skip
    return seconds, error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--peer", action="store_true", help="run nutpie too")
    options = parser.parse_args()
    from normal_panels import Shape, simulate

    effects = (1.29, 1.68, 0.91, 1.85, 1.90, 1.79)
    rows = simulate(Shape(2439, 108, effects=effects, missing=0.085, control_share=1 / 7, seed=3))
    middle, error, exact = ours(rows, options.repeats)
    if options.peer:
        seconds, peer_error = peer(rows, exact)
        # errors fall with the root of the draws, so that time at equal accuracy goes by squares
        print(f"ratio of times: {seconds / middle:,.0f}; at equal accuracy of prob_optimal: "
              f"{seconds / middle * (peer_error / error) ** 2:,.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
