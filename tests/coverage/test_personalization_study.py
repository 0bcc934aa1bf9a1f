"""Small versions of the studies of personalization, and the whole ones where they are asked for.

Bounds are four errors of the simulation itself around the nominal rate.
"""

import numpy as np
import pytest

from personalization_study import (
    COVERED,
    Truth,
    covered,
    pointwise,
    rates,
    rejections,
    rejections_out_of_bag,
)


def bound(nominal, n):
    return 4 * np.sqrt(nominal * (1 - nominal) / n)


def check_coverage(n):
    truth = Truth()
    found = rates([covered(truth, 10_000 + k, 2000) for k in range(n)])
    wrong = {
        name: rate
        for name, rate in zip(COVERED, found, strict=True)
        if abs(rate - 0.95) > bound(0.95, n)
    }
    assert not wrong


def check_size(n):
    found = rates([rejections(20_000 + k, 1500) for k in range(n)])
    assert (found < 0.05 + bound(0.05, n)).all()
    helps = rates([rejections_out_of_bag(20_000 + k, 1500) for k in range(n)])[:2]
    assert (helps < 0.05 + bound(0.05, n)).all()


@pytest.mark.full
def test_intervals_of_policies_and_curves_cover_in_small():
    check_coverage(60)


@pytest.mark.full
def test_rankings_by_a_forest_that_learned_nothing_are_not_found_useful():
    check_size(25)


@pytest.mark.slow
def test_intervals_of_policies_and_curves_cover():
    check_coverage(400)


@pytest.mark.slow
def test_size_of_targeting_tests():
    check_size(400)


@pytest.mark.slow
def test_pointwise_intervals_of_small_leaves():
    for differs, least in ((False, 0.93), (True, 0.85)):
        found = rates(
            [pointwise(30_000 + k, differs, min_arm_leaf=5, shrink=False) for k in range(200)]
        )
        assert (found > least - bound(least, 200)).all()
