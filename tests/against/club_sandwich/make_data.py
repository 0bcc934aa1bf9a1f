"""Designs that the R script reads: units and clusters, known propensities, some uptake.

Run from the folder of the project: ``python tests/against/club_sandwich/make_data.py``.
"""

import csv
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FIELDS = ("case", "y", "arm", "stratum", "cluster", "weight", "received", "x")


def design(case, rng):
    """Strata, clusters, arms (0 is the control) and weights of a design."""
    if case == "few treated":  # 4 of 60 treated in one stratum, 10 of 20 in the other
        stratum = np.repeat([0, 1], [60, 20])
        arm = np.concatenate([rng.permutation(np.arange(60) < 4), rng.permutation(20) < 10])
        share = np.where(stratum == 0, 4 / 60, 0.5)
        cluster = np.arange(80)
    elif case == "few clusters":  # 2 of 16 and 4 of 8 clusters, of 4 to 9 units
        size = rng.integers(4, 10, 24)
        cluster = np.repeat(np.arange(24), size)
        treated = np.concatenate([rng.permutation(16) < 2, rng.permutation(8) < 4])
        stratum, arm = (np.arange(24) >= 16)[cluster], treated[cluster]
        share = np.where(stratum == 0, 2 / 16, 0.5)
    elif case == "three treated clusters":  # of 12 clusters of 15
        cluster, stratum = np.repeat(np.arange(12), 15), np.zeros(180)
        arm, share = (rng.permutation(12) < 3)[cluster], np.full(180, 0.25)
    elif case == "sizes 3 to 60":
        cluster = np.repeat(np.arange(12), np.linspace(3, 60, 12).astype(int))
        arm, stratum = (rng.permutation(12) < 3)[cluster], np.zeros(cluster.size)
        share = np.full(cluster.size, 0.25)
    else:  # three arms, clusters that span strata and arms, weights of units
        n = 150
        stratum, cluster = rng.integers(0, 3, n), rng.integers(0, 11, n)
        arm = rng.integers(0, 3, n)
        return stratum, cluster, arm, rng.uniform(0.3, 4, n)
    return stratum, cluster, arm, 1 / np.where(arm, share, 1 - share)


def main():
    """Write ``data.csv``."""
    cases = ("few treated", "few clusters", "three treated clusters", "sizes 3 to 60", "crossed")
    with (HERE / "data.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(FIELDS)
        for seed, case in enumerate(cases):
            rng = np.random.default_rng(seed)
            stratum, cluster, arm, weight = (np.asarray(part, float) for part in design(case, rng))
            n = arm.size
            willing = rng.normal(size=n)
            received = (arm > 0) & (willing > -0.3)
            x = rng.normal(size=n)
            y = willing + 0.4 * received + 0.3 * stratum + 0.5 * x
            y = y + rng.normal(size=int(cluster.max()) + 1)[cluster.astype(int)] / 2
            for row in zip(y, arm, stratum, cluster, weight, received, x, strict=True):
                write.writerow([case, *(repr(float(value)) for value in row)])


if __name__ == "__main__":
    main()
