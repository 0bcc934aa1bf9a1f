"""Randomization test of 100,000 units in 17 arms, exact counts in 500 strata, 2,000 draws.

    python benchmarks/bench_randomization_test.py [N_JOBS]

Beside it, in the same run, the draws alone: what no faster test could save.
"""

import sys
import time

import numpy as np

import wavewise as ww

N, DRAWS = 100_000, 2000


def main(n_jobs: int) -> None:
    rng = np.random.default_rng(0)
    units, strata = np.arange(N), rng.integers(0, 500, N)
    shares = dict.fromkeys(["control", *(f"arm-{k:02d}" for k in range(16))], 1 / 17)

    def reassign(rng):
        return ww.randomize.assign(units, strata, shares, rng).arm

    arm, outcome = reassign(rng), rng.normal(size=N)
    start = time.perf_counter()
    for seed in range(100):
        reassign(np.random.default_rng(seed))
    draws = (time.perf_counter() - start) * DRAWS / 100
    start, processor = time.perf_counter(), time.process_time()
    found = ww.estimate.randomization_test(
        outcome, arm, reassign, n_draws=DRAWS, rng=rng, control="control", n_jobs=n_jobs
    )
    whole, processor = time.perf_counter() - start, time.process_time() - processor
    print(f"p = {found.p_value:.3f}; {whole:.1f} s with {n_jobs} processes ({processor:.1f} s of")
    print(
        f"processor time in this one); drawing alone takes {draws:.1f} s; ratio {whole / draws:.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
