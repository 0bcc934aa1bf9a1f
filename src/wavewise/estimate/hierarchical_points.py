"""Quasi-random points: a rank-1 lattice, shifted at random."""

from functools import lru_cache

import numpy as np

from wavewise.results import FloatArray, read_only

__all__ = ["lattice"]

# an embedded lattice for 2^10 to 2^20 points with equal weights (Cools, Kuo and Nuyens 2006), the
# first coordinates of the list that its authors give
_GENERATOR = np.array(
    [
        *(1, 182667, 469891, 498753, 110745, 446247, 250185, 118627, 245333, 283199),
        *(408519, 391023, 246327, 126539, 399185, 461527, 300343, 69681, 516695, 436179),
    ],
    dtype=np.int64,
)
_BITS = 20
_EDGE = 2.0**-40


def lattice(n_points: int, n_dims: int, rng: np.random.Generator) -> FloatArray:
    """Points in the open unit cube, each uniform, together even, (n_points, n_dims).

    Notes
    -----
    Point i is (v_i z + shift) mod 1, with v_i the radical inverse of i in base 2, so that any
    number of points is even; with a power of 2 they are the whole lattice. The first twenty
    dimensions lie on the lattice, further ones and points after 2^20 are independent draws.
    """
    out = rng.random((n_points, n_dims))
    on_lattice, n_even = min(n_dims, _GENERATOR.size), min(n_points, 1 << _BITS)
    shift = rng.random(on_lattice)
    fraction = _radical_inverse(n_even)[:, None] * _GENERATOR[:on_lattice] + shift
    out[:n_even, :on_lattice] = fraction - np.floor(fraction)
    return np.clip(out, _EDGE, 1 - _EDGE)


@lru_cache(maxsize=8)
def _radical_inverse(n: int) -> FloatArray:
    """Binary digits of 0 ... n - 1 mirrored at the point, (n,)."""
    out, index, weight = np.zeros(n), np.arange(n), 0.5
    while index.any():
        out += weight * (index & 1)
        index >>= 1
        weight /= 2
    return read_only(out)
