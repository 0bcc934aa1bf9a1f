"""Time and accuracy of `hierarchical_binomial` against nutpie, in the same run.

A data set of the first wave's size: 108 schools, 6 arms, 1,283 units with 9 trials. nutpie gets the
same model on the same collapsed counts through PyMC, four chains of 2,000 + 2,000 draws on all
cores. Compilation of both is left out of the times; ours is measured by itself, in a new process
with an empty cache. The exact probabilities are those of 262,144 points.

    python benchmarks/bench_hierarchical_binomial.py [--repeats 40] [--no-nutpie]

Needs pymc and nutpie for the ratio.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from wavewise.estimate import hierarchical_binomial
from wavewise.estimate.binomial_batch import fit_many

BETA = np.array([-2.63, -2.49, -2.78, -2.89, -2.67, -3.32])
N_SCHOOLS, N_UNITS, N_TRIALS, KAPPA = 108, 1283, 9, 0.5

COLD = """
import time; start = time.perf_counter()
import numpy as np
from wavewise.estimate import hierarchical_binomial
rng = np.random.default_rng(0)
y = rng.binomial(9, 0.1, 600)
post = hierarchical_binomial(
    y, np.full(600, 9), rng.integers(0, 3, 600), rng.integers(0, 20, 600), rng=rng
)
post.policy_regret
print(time.perf_counter() - start)
"""


def make_counts(rng, n_sets=1):
    """Successes and trials by school and arm, (n_sets, n_schools, n_arms)."""
    share = rng.gamma(3.0, size=N_SCHOOLS)
    school = rng.choice(N_SCHOOLS, N_UNITS, p=share / share.sum())
    arm = rng.integers(0, 6, N_UNITS)
    units = np.zeros((N_SCHOOLS, 6), dtype=int)
    np.add.at(units, (school, arm), 1)
    effect = KAPPA * rng.normal(size=(n_sets, N_SCHOOLS, 1))
    prob = 1 / (1 + np.exp(-(BETA + effect)))
    trials = np.broadcast_to(N_TRIALS * units, prob.shape)
    return rng.binomial(trials, prob), trials


def rows(successes, trials):
    school, arm = np.nonzero(trials)
    return successes[school, arm], trials[school, arm], arm, school


def fit(data, seed, n_points):
    post = hierarchical_binomial(*data, rng=np.random.default_rng(seed), n_points=n_points)
    return post.prob_optimal, post.policy_regret


def seconds(function, repeats):
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        function(i)
        times.append(time.perf_counter() - start)
    return float(np.median(times)), float(np.min(times))


def rmse(estimates, exact):
    return float(np.sqrt(np.mean(np.square(np.array(estimates) - exact))))


def nutpie_fits(data, n_fits):
    """Seconds and prob_optimal of each fit."""
    import nutpie
    import pymc as pm

    y, n, arm, school = data
    _, school = np.unique(school, return_inverse=True)
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=6)
        kappa = pm.HalfNormal("kappa", 1.0)
        eta = pm.Normal("eta", 0.0, 1.0, shape=int(school.max()) + 1)
        pm.Binomial("y", n=n, logit_p=beta[arm] + kappa * eta[school], observed=y)
    compiled = nutpie.compile_pymc_model(model)
    out = []
    for seed in range(n_fits):
        start = time.perf_counter()
        trace = nutpie.sample(
            compiled, draws=2000, tune=2000, chains=4, seed=seed, progress_bar=False
        )
        spent = time.perf_counter() - start
        draws = trace.posterior["beta"].values.reshape(-1, 6)
        out.append((spent, np.bincount(draws.argmax(axis=1), minlength=6) / len(draws)))
    return out[1:]  # the first one warms up


def cold_start():
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", COLD],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            found.append(float(done.stdout))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--no-nutpie", action="store_true")
    options = parser.parse_args()
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    successes, trials = make_counts(np.random.default_rng(1))
    data = rows(successes[0], trials[0])
    exact = np.mean([fit(data, 1000 + s, 65536)[0] for s in range(4)], axis=0)
    peer = None if options.no_nutpie else nutpie_fits(data, 4)
    if peer:
        slow = float(np.median([spent for spent, _ in peer]))
        error = rmse([p for _, p in peer], exact)
        print(f"nutpie 4 x (2000 + 2000)  {slow:8.2f} s   RMSE {error:.4f}")
    for n_points in (128, 256, 512, 1024):
        middle, least = seconds(lambda i, n=n_points: fit(data, i, n), options.repeats)
        error = rmse([fit(data, i, n_points)[0] for i in range(options.repeats)], exact)
        line = f"{n_points:6} points  median {1000 * middle:6.2f} ms, least {1000 * least:6.2f} ms"
        line += f"   RMSE of prob_optimal {error:.4f}"
        print(line + (f"   ratio {slow / middle:5.0f} (least {slow / least:.0f})" if peer else ""))
    many, each = make_counts(np.random.default_rng(2), 1000)
    for n_threads in (1, 2):
        start = time.perf_counter()
        done = fit_many(many, each, rng=np.random.default_rng(0), n_points=256, n_threads=n_threads)
        rate = 1000 / (time.perf_counter() - start)
        least_ess = done.ess_share.min()
        print(f"batch of 1,000, {n_threads} threads: {rate:.0f} fits/s, least ess {least_ess:.2f}")
    first, second = cold_start()
    print(f"cold start {first:.1f} s, with the cache {second:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process {peak:.0f} MB" + (" with nutpie and PyMC" if peer else ""))


if __name__ == "__main__":
    main()
