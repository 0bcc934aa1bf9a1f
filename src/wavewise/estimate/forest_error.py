"""Standard errors by little bags: how much forests on other halves of the units would differ.

For a unit with G groups g of two trees (a, b) on the same half, and v the tree's estimate,

    between = mean_g v_g^2 - (mean_g v_g)^2,   v_g = (v_a + v_b) / 2
    within  = mean_g (v_a - v_b)^2 / 4
    variance = between - within                what the half itself moves
    std_error^2 = positive(variance) + between / G      and what the number of trees leaves open

(Athey, Tibshirani and Wager 2019, section 4.1). The difference can be negative by chance. It is
taken as normal around a variance that cannot be, with a flat prior: the mean of what remains.
"""

import numpy as np
from scipy import special

from wavewise.estimate.forest_engine import ArmTrees, GroupSums
from wavewise.estimate.forest_shrink import Shrinkage, product
from wavewise.results import FloatArray

__all__ = ["bag_std_error", "estimates_by_leaf"]


def estimates_by_leaf(trees: ArmTrees, shrinkage: Shrinkage) -> FloatArray:
    """Each leaf's estimate had its tree been all: its own averages and its shrunk deviations.

    Deviations of which a share s is kept as the estimate enter with the root of s: where they are
    normal around the average, what is left open after shrinking has s times the variance of the
    deviation, not its square, since shrinking leaves a bias too. The share is the largest that the
    data do not rule out, since none found is not none there.

    The tree's own average effect and the tree's own centre take the place of the forest's, so that
    their uncertainty is in the spread between trees too. Less the forest's average effects.
    """
    effects = trees.means[:, 1:] - trees.means[:, :1]
    centres = trees.tree_means(effects)
    values = centres - shrinkage.ate
    kept = product(effects - centres[trees.tree_of_leaf], shrinkage.keep_error)
    return np.asarray(values[trees.tree_of_leaf] + kept, dtype=np.float64)


def bag_std_error(sums: GroupSums) -> FloatArray:
    """Standard error of each unit's effects from moments over groups, (n_units, n_effects)."""
    n_groups = np.maximum(sums.n_groups, 1)[:, None]
    between = np.maximum(sums.square - sums.mean**2, 0.0)
    within = sums.within / 4.0
    error = np.sqrt(2.0 * (between**2 + within**2) / n_groups)
    variance = _positive(between - within, error)
    return np.sqrt(variance + between / n_groups)


def _positive(value: FloatArray, error: FloatArray) -> FloatArray:
    """Mean of a normal with this mean and standard deviation, given that it is positive."""
    safe = np.where(error > 0, error, 1.0)
    z = value / safe
    # density over distribution function, without overflow far below zero
    ratio = np.sqrt(2.0 / np.pi) / special.erfcx(-np.minimum(z, 30.0) / np.sqrt(2.0))
    mean = np.where(z >= 30.0, value, value + safe * ratio)
    positive: FloatArray = np.where(error > 0, mean, np.maximum(value, 0.0))
    return positive
