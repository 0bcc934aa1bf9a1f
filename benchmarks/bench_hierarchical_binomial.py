"""Time and accuracy of `hierarchical_binomial` against nutpie, in the same run.

A data set of the first wave's size: 108 schools, 6 arms, 1,283 units with 9 trials. nutpie gets the
same model on the same collapsed counts through PyMC, four chains of 2,000 + 2,000 draws on all
cores. Compilation of both is left out of the times; ours is measured by itself, in a new process
with an empty cache. Both take turns, and processor time is shown beside the wall clock, since other
programs may run. The exact probabilities are those of 65,536 points, of four such runs for the
comparison; accuracy is measured on eight more data sets of the same kind, close races among them.

    python benchmarks/bench_hierarchical_binomial.py [--rounds 4] [--repeats 40] [--no-nutpie]

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
from wavewise.estimate.binomial.batch import fit_many

BETA = np.array([-2.63, -2.49, -2.78, -2.89, -2.67, -3.32])
POINTS = (128, 256, 512, 1024)
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


def clocks(function):
    """Seconds by the wall clock, and processor seconds of all threads."""
    wall, spent = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - spent


def rmse(data, n_points, n_seeds, exact):
    found = [fit(data, seed, n_points)[0] for seed in range(n_seeds)]
    return float(np.sqrt(np.mean((np.array(found) - exact) ** 2)))


def nutpie_sampler(data):
    """A function that samples with a seed and gives prob_optimal; compiled and warm."""
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

    def sample(seed):
        trace = nutpie.sample(
            compiled, draws=2000, tune=2000, chains=4, seed=seed, progress_bar=False
        )
        draws = trace.posterior["beta"].values.reshape(-1, 6)
        return np.bincount(draws.argmax(axis=1), minlength=6) / len(draws)

    sample(99)
    return sample


def compare(data, exact, sample, n_rounds, repeats):
    """Times of both, taken in turn, and the ratios that follow."""
    ours, peer, estimates = {n: [] for n in POINTS}, [], []
    for n in POINTS:
        fit(data, 0, n)
    for turn in range(n_rounds):
        if sample:
            peer.append(clocks(lambda seed=turn: estimates.append(sample(seed))))
        for n in POINTS:
            for seed in range(repeats):
                ours[n].append(clocks(lambda n=n, seed=seed: fit(data, seed, n)))
    if sample:
        wall, spent = np.median(peer, axis=0)
        error = np.sqrt(np.mean((np.array(estimates) - exact) ** 2))
        print(f"nutpie 4 x (2000 + 2000): {wall:.2f} s, processor {spent:.2f} s, RMSE {error:.4f}")
    for n in POINTS:
        own_wall, own_spent = np.median(ours[n], axis=0)
        line = f"{n:6} points: {1000 * own_wall:.2f} ms, processor {1000 * own_spent:.2f} ms"
        if sample:
            # on two free cores the peer's wall time is half its processor time
            line += f"; ratio {wall / own_wall:.0f}, of processor time {spent / own_spent:.0f}, "
            line += f"of that on two free cores {spent / 2 / own_spent:.0f}"
        print(line)


def cold_start():
    """Seconds by the wall clock and processor seconds, without a cache and with it."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-c", COLD],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found.append((float(done.stdout), spent))
    return found


def accuracy(n_sets, n_seeds):
    """RMSE of prob_optimal over data sets, and the worst data set's."""
    many, each = make_counts(np.random.default_rng(11), n_sets)
    found = {n: [] for n in POINTS}
    for successes, trials in zip(many, each, strict=True):
        data = rows(successes, trials)
        exact = fit(data, 999, 65536)[0]
        for n in POINTS:
            found[n].append(rmse(data, n, n_seeds, exact))
    for n in POINTS:
        whole = np.sqrt(np.mean(np.square(found[n])))
        print(
            f"{n:6} points: RMSE of prob_optimal {whole:.4f} over {n_sets} data sets, "
            f"{max(found[n]):.4f} in the worst"
        )


def batches(n_sets):
    many, each = make_counts(np.random.default_rng(2), n_sets)
    for n_points in (128, 256):
        for n_threads in (1, 2, 1, 2):
            rng, start, spent = np.random.default_rng(0), time.perf_counter(), time.process_time()
            done = fit_many(many, each, rng=rng, n_points=n_points, n_threads=n_threads)
            rate = n_sets / (time.perf_counter() - start)
            spent = 1000 * (time.process_time() - spent) / n_sets
            print(
                f"batch of {n_sets:,}, {n_points} points, {n_threads} threads: {rate:.0f} fits/s, "
                f"{spent:.2f} ms of processor time a fit, least ess {done.ess_share.min():.2f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--no-nutpie", action="store_true")
    options = parser.parse_args()
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    successes, trials = make_counts(np.random.default_rng(1))
    data = rows(successes[0], trials[0])
    exact = np.mean([fit(data, 1000 + s, 65536)[0] for s in range(4)], axis=0)
    sample = None if options.no_nutpie else nutpie_sampler(data)
    compare(data, exact, sample, options.rounds, options.repeats)
    accuracy(8, options.repeats)
    batches(1000)
    for name, (wall, spent) in zip(("cold start", "with the cache"), cold_start(), strict=True):
        print(f"{name} {wall:.1f} s, processor {spent:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"peak memory of this process {peak:.0f} MB" + (" with nutpie and PyMC" if sample else "")
    )
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
