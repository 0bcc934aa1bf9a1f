"""Numbers of units in schools of unequal size."""

import numpy as np

from wavewise.errors import InputError
from wavewise.results import IntArray

__all__ = ["school_sizes"]

_SPREAD = 0.45  # sd of the log of a school's size


def school_sizes(
    n_units: int,
    n_schools: int,
    rng: np.random.Generator,
    *,
    least: int = 8,
    most: int = 67,
) -> IntArray:
    """Units of each school, (n_schools,): unequal, between two bounds, with a given sum.

    Parameters
    ----------
    n_units, n_schools : int
    rng : numpy.random.Generator
    least, most : int
        Bounds of one school's size, both included.

    Raises
    ------
    InputError
        The bounds do not admit the sum.

    Examples
    --------
    >>> sizes = school_sizes(2878, 108, np.random.default_rng(1))
    >>> int(sizes.sum()), bool(8 <= sizes.min() and sizes.max() <= 67)
    (2878, True)
    """
    if not (n_schools >= 1 and least * n_schools <= n_units <= most * n_schools):
        raise InputError(
            f"found {n_units} units for {n_schools} schools; needed between {least} and {most} "
            "units a school"
        )
    weight = np.exp(_SPREAD * rng.standard_normal(n_schools))
    planned = np.rint(n_units * weight / weight.sum())
    sizes: IntArray = np.clip(planned, least, most).astype(np.int64)
    while (gap := n_units - int(sizes.sum())) != 0:
        step = 1 if gap > 0 else -1
        open_schools = np.flatnonzero(sizes != (most if gap > 0 else least))
        some = rng.permutation(open_schools)[: abs(gap)]
        sizes[some] += step
    return sizes
