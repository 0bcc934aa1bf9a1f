"""Time of confidence sequences: 50,000 units, 8 arms, 20 looks, binary outcomes. Run:

    python benchmarks/bench_sequences.py [--units N] [--rounds N]

Prints medians of processor seconds per method after one round to warm up (compilation, caches).
"""

import argparse
import statistics
import time

import numpy as np

import wavewise as ww

METHODS = ("block", "betting", "planned", "asymptotic")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    n = options.units
    wave = np.arange(n) * 20 // n
    share = rng.dirichlet(np.full(8, 2.0), 20) * 0.6 + 0.05
    arm = (rng.random(n)[:, None] > share[wave].cumsum(axis=1)[:, :-1]).sum(axis=1)
    outcome = (rng.random(n) < 0.3 + 0.01 * arm).astype(float)
    for method in METHODS:
        seconds = []
        for _ in range(options.rounds + 1):
            start = time.process_time()
            ww.estimate.confidence_sequence(outcome, arm, share[wave], wave, method=method)
            seconds.append(time.process_time() - start)
        print(f"{method:<11} {statistics.median(seconds[1:]):.3f} s")


if __name__ == "__main__":
    main()
