"""How sure wave 1 makes one of T1B, for many ways to spread the published totals.

    python spreads.py [N]

Every row has the same people and engaged sets in each arm (Tables 2 and A.3). What differs between
and within rows: the schools, who engages, how much schools and parents differ.
"""

import sys

import numpy as np
import polars as pl
from make_data import calls_of_both, people_by_wave, printed

import wavewise as ww
from wavewise.shared.streams import stream
from wavewise.simulated.reading import N_SETS, simulate_reading_calls

N_PEOPLE = 2878
PAPER = 0.7414  # Table 8
WAYS = {
    "schools differ (.5), parents alike": {"school_sd": 0.5, "correlation": 0.0},
    "schools and parents differ (.5)": {"school_sd": 0.5},
    "schools differ less (.3), parents differ": {"school_sd": 0.3},
    "schools alike, parents differ": {"school_sd": 0.0},
}


def prob_best_after_wave_1(seed: int, way: str) -> float:
    """Posterior probability, under the study's model, that T1B is best."""
    figures = printed()
    world = simulate_reading_calls(N_PEOPLE, stream(seed, "world"), **WAYS[way])
    drawn = people_by_wave(world, figures, seed)
    schools = world.people.select("school", unit_id="phone_id")
    calls = calls_of_both(world, drawn, figures, seed).join(schools, on="unit_id")
    rows = calls.filter((pl.col("wave") == "wave-1") & (pl.col("arm") != "control"))
    post = ww.estimate.hierarchical_binomial(
        rows["engaged"].to_numpy(),
        np.full(rows.height, N_SETS),
        arm=rows["arm"].to_list(),
        cluster=rows["school"].to_list(),
        rng=stream(seed, "fit"),
    )
    return float(post.prob_optimal[post.arms.index("T1B")])


def main(n: int) -> None:
    """Print mean and range of each way."""
    print(f"{'':42s} mean   least    most  at most {PAPER}   ({n} spreads each)")
    for way in WAYS:
        found = [prob_best_after_wave_1(seed, way) for seed in range(n)]
        ends, n_below = f"{min(found):.3f}  {max(found):.3f}", sum(p <= PAPER for p in found)
        print(f"{way:42s} {np.mean(found):.3f}  {ends}  {n_below}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
