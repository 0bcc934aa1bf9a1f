"""Whole units an arm in a wave that is still a plan."""

import numpy as np

from wavewise.results import FloatArray, IntArray

__all__ = ["planned_units"]


def planned_units(shares: FloatArray, n_units: int, first: FloatArray) -> IntArray:
    """Whole units of each arm: the share times the wave, largest remainders up, (n_arms,).

    Parameters
    ----------
    shares : (n_arms,) array of float
        They sum to 1, the control among them.
    n_units : int
        Size of the wave.
    first : (n_arms,) array of float
        Of arms with equal remainders the one with the lower value is rounded up.

    Notes
    -----
    For planning only. What is drawn in the field is rounded at random, so that each unit's
    probability is the share.

    Examples
    --------
    >>> planned_units(np.array([0.5, 0.25, 0.25]), 7, np.array([0.0, 1.0, 2.0])).tolist()
    [3, 2, 2]
    """
    exact = shares * n_units
    units = np.floor(exact + 1e-9).astype(np.int64)
    missing = n_units - int(units.sum())
    order = np.lexsort((first, -np.round(exact - units, 9)))
    units[order[: max(missing, 0)]] += 1
    return units
