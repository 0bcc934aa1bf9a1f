"""The place of the truth in its posterior is uniform over the prior, and intervals cover.

Kolmogorov and Smirnov's test for each quantity at 1e-4, binomial bounds for cover. The full
study is docs/evidence/hierarchical-binomial-calibration.md.
"""

import sys
from pathlib import Path

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))
from hierarchical_binomial_study import SHAPES, places

SMALL = {"overdispersed": 25, "rare": 80}


def check(name, n_sims, seed):
    found, covers, failed = places(name, n_sims, seed)
    assert failed == 0
    for quantity, values in found.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-4, quantity
    low, high = stats.binom.interval(1 - 1e-4, n_sims, 0.9)
    assert low <= covers * n_sims <= high


@pytest.mark.full
@pytest.mark.parametrize("name", list(SHAPES))
def test_calibration(name):
    check(name, SMALL.get(name, 150), 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SHAPES))
def test_calibration_in_full(name):
    check(name, 2000, 20_260_101)
