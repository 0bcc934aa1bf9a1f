"""Bands over the budget and areas between cost curves: how often they hold the truth."""

import numpy as np
import pytest

from cost_curve_bands import FLAT, coverage


def test_bands_and_areas_hold_the_truth() -> None:
    found = coverage("ties", 400, 120)
    assert (found[:3] > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 120)).all()


@pytest.mark.slow
@pytest.mark.parametrize("design", list(FLAT))
def test_bands_and_areas_hold_the_truth_in_full(design) -> None:
    found = coverage(design, 1000, 600)
    assert (found[:3] > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 600)).all()
