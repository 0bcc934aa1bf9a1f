"""Simulated designs: Table 7 against nutpie refits, five rules, one Dask worker against two.

    python benchmarks/bench_design_simulation.py [--pairs 2000] [--repetitions 10000] [--no-dask]

Seconds are of the wall; processor seconds of one process, halved, say what two free cores would
take where others use the machine. nutpie's refits are one run
of four chains on the first wave's data, times the number of fits; it needs pymc and nutpie.
"""

import argparse
import functools
import importlib.util
import os
import resource
import time

import numpy as np

import wavewise as ww
from wavewise.shared.parallel import run_chunks
from wavewise.simulated.reading import CALL_LEVELS, school_sizes

E = ww.evaluate
RULES = ("equal", "Thompson", "tempered Thompson", "exploration", "top-two")
N_UNITS = 1_200


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work):
    wall, processor = time.perf_counter(), processor_seconds()
    found = work()
    return found, time.perf_counter() - wall, processor_seconds() - processor


def kenya() -> E.Design:
    sizes = school_sizes(2463, 108, np.random.default_rng(1))
    return E.Design(arms=tuple(CALL_LEVELS), clusters=sizes, waves=(1283, 1180), trials=9)


def table_7(n_pairs: int, n_jobs: int):
    truth = {"beta": list(CALL_LEVELS.values()), "kappa": 0.5}
    return E.ex_ante(
        kenya(), truth, n_simulations=n_pairs, rng=np.random.default_rng(7), n_jobs=n_jobs
    )


def five_rules(n: int, n_jobs: int):
    designs = [
        E.Design(arms=4, waves=(N_UNITS // t,) * t, rule=rule, name=f"{rule}, {t} waves")
        for t in (2, 4, 10)
        for rule in RULES
    ]
    truth = E.PriorTruth.from_rate(0.2, 0.25)
    return E.compare(designs, truth, n_simulations=n, rng=np.random.default_rng(5), n_jobs=n_jobs)


def report_table_7(n_pairs: int) -> None:
    table_7(50, 1)  # compile
    _, _, processor = timed(lambda: table_7(200, 1))
    found, wall, _ = timed(lambda: table_7(n_pairs, 2))
    each = processor / 200
    print(f"Table 7, {n_pairs:,} pairs ({3 * n_pairs:,} fits with assignment), 2 processes:")
    print(f"  {wall:.1f} s of the wall; {1000 * each:.1f} ms of processor a pair in one process,")
    print(f"  which makes {each * n_pairs / 2:.1f} s on two free cores")
    for one in found:
        print(f"  {one.design.name}: best arm {one.best_arm_found}, regret {one.realized_regret}")
    if importlib.util.find_spec("pymc") and importlib.util.find_spec("nutpie"):
        from bench_hierarchical_binomial import make_counts, nutpie_fits, rows

        successes, trials = make_counts(np.random.default_rng(1))
        fits = nutpie_fits(rows(successes[0], trials[0]), 3)
        seconds = float(np.median([spent for spent, _ in fits]))
        times = 3 * n_pairs * seconds / wall
        print(f"  nutpie refits, {seconds:.2f} s each: {times:.0f} times as long as the whole")


def report_rules(n: int) -> None:
    five_rules(500, 1)  # compile
    found, wall, _ = timed(lambda: five_rules(n, 2))
    _, _, processor = timed(lambda: five_rules(500, 1))
    print(f"Five rules, 2, 4 and 10 waves of {N_UNITS:,} units together, {n:,} repetitions:")
    print(
        f"  {wall:.1f} s of the wall on 2 processes, {processor * n / 1000:.1f} s on two free cores"
    )
    names = [one.design.name for one in found]
    print("  regret in points; n.s.: cannot be told from the equal shares of as many waves")
    for i, one in enumerate(found):
        first = 5 * (i // 5)
        note = "" if i == first or found.told_apart("realized_regret", i, first) else "n.s."
        regret, best = one.realized_regret, one.best_arm_found
        print(
            f"  {names[i]:<28} {100 * regret.value:.3f} ± {100 * regret.mc_error:.3f}  "
            f"best arm {100 * best.value:.1f} ± {100 * best.mc_error:.1f} %  "
            f"in-sample {100 * one.estimate('in_sample_regret').value:.2f}  {note}"
        )
    for first in (0, 5, 10):
        pairs = [
            f"{names[i].split(',')[0]} = {names[j].split(',')[0]}"
            for i in range(first + 1, first + 5)
            for j in range(i + 1, first + 5)
            if not found.told_apart("realized_regret", i, j)
        ]
        print(f"  {names[first].split(', ')[1]}: not told apart: {'; '.join(pairs) or 'none'}")


def _adaptive(address: str, n: int):
    truth = {"beta": list(CALL_LEVELS.values()), "kappa": 0.5}
    return E.simulate(
        kenya(), truth, n_simulations=n, rng=np.random.default_rng(1), scheduler=address
    )


def _waiting(number: int):
    time.sleep(0.5)
    return {"number": np.array([number])}


def report_dask(n_pairs: int) -> None:
    from distributed import LocalCluster

    seconds, waited, load = {}, {}, os.getloadavg()[0]
    for n_workers in (1, 2):
        with LocalCluster(
            n_workers=n_workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster:
            work = functools.partial(_adaptive, cluster.scheduler_address)
            work(100)  # start and compile
            spread = functools.partial(run_chunks, _waiting, scheduler=cluster.scheduler_address)
            _, waited[n_workers], _ = timed(functools.partial(spread, 60))
            _, seconds[n_workers], _ = timed(functools.partial(work, n_pairs))
    print(f"Dask, {n_pairs:,} adaptive experiments, load {load:.1f} before:")
    ratio = waited[1] / waited[2]
    print(f"  chunks of half a second: {waited[1]:.1f} s, {waited[2]:.1f} s: {ratio:.2f} times")
    ratio = seconds[1] / seconds[2]
    print(f"  one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s: {ratio:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--no-dask", action="store_true")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Wavewise {ww.__version__}")
    report_table_7(options.pairs)
    report_rules(options.repetitions)
    if not options.no_dask:
        report_dask(max(options.pairs // 2, 200))


if __name__ == "__main__":
    main()
