"""Calibration of the hierarchical normal posterior: uniform ranks, intervals that hold the truth.

The full study's figures are in docs/evidence/hierarchical-normal-calibration.md.
"""

import numpy as np
import pytest

from normal_calibration import SHAPES, calibrate

# a false alarm of the small study: about 1 in 100,000 a parameter
LEAST_P = 1e-5
SMALL = 150
FULL = 2000


def check(found, n_runs):
    assert found.methods.get("refused", 0) <= 0.001 * n_runs
    for parameter, p in found.p_values().items():
        assert p > LEAST_P, parameter
    for prob, hits in found.covered.items():
        error = np.sqrt(prob * (1 - prob) / n_runs)
        # and the 0.5% by which the shortest interval of 2,000 draws is too short
        assert (np.abs(hits.mean(axis=0) - prob) < 4.5 * error + 0.005).all(), prob


@pytest.mark.full
@pytest.mark.parametrize("name", SHAPES)
def test_small_study(name):
    check(calibrate(name, SMALL, seed=20), SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_full_study(name):
    check(calibrate(name, FULL, seed=21), FULL)
