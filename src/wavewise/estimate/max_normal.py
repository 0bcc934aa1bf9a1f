"""The bound that all of several correlated standard normals stay within."""

from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr, ndtri, ndtri_exp

from wavewise.estimate.multivariate_t import increasing_root, primes
from wavewise.results import FloatArray, IntArray, read_only

__all__ = ["independent_bound", "max_abs_quantile"]

_N_POINTS = 8191
_SEED = 19_230_717
_DIAGONAL = 1e-12


def max_abs_quantile(corr: FloatArray, prob: float) -> float:
    """The c with ``P(max_k |Z_k| <= c) = prob`` for standard normals of a given correlation.

    Parameters
    ----------
    corr : array of float, shape (n, n)
        Correlations, of full rank.
    prob : float
        In (0, 1), and large: the method is made for small tails.

    Notes
    -----
    Independent normals: exactly. Otherwise ``P(max |Z| > c) = n P(|Z_1| > c) E[1 / N]``, where one
    coordinate is picked at random and drawn from beyond c, the others given it, and N counts those
    beyond c: N is mostly 1, so that 8,191 lattice points give the bound to about .002 at
    correlations of a half, and to .01 at .9, where N varies more. The points are fixed, so the same
    matrix gives the same bound.

    References
    ----------
    Naiman and Priebe (2001), section 2; Adler, Blanchet and Liu (2012).
    """
    n = corr.shape[0]
    if n == 1 or np.abs(corr - np.eye(n)).max() < _DIAGONAL:
        return independent_bound(n, prob)
    key = np.ascontiguousarray(corr, dtype=np.float64)
    return _correlated(key.tobytes(), n, float(prob))


def independent_bound(n: int, prob: float) -> float:
    """The bound for independent normals: each stays within it with probability prob^(1/n)."""
    tail = -np.expm1(np.log(prob) / n) / 2
    return float(-ndtri(tail))


@lru_cache(maxsize=256)
def _correlated(corr: bytes, n: int, prob: float) -> float:
    matrix = np.frombuffer(corr).reshape(n, n)
    normals, picked, log_beyond = _drawn(n)
    shocks = np.linalg.cholesky(matrix) @ normals  # (n, n_points): sums over n run along points
    loading = np.ascontiguousarray(matrix[:, picked])
    # the part that is independent of the picked one
    rest = shocks - loading * shocks[picked, np.arange(picked.size)]

    def log_tail(bound: float) -> float:
        far = -ndtri_exp(log_beyond + log_ndtr(-bound))
        count = (np.abs(rest + loading * far) > bound).sum(axis=0, dtype=np.int32)
        return float(np.log(2 * n) + log_ndtr(-bound) + np.log((1 / np.maximum(count, 1)).mean()))

    low, high = float(-ndtri((1 - prob) / 2)), float(-ndtri((1 - prob) / (2 * n)))
    target = np.log1p(-prob)
    return increasing_root(lambda bound: float(target - log_tail(bound)), low, high)


@lru_cache(maxsize=16)
def _drawn(n: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """Of each point: n normals, (n, n_points); the coordinate picked; log of how far beyond."""
    points = _points(n + 1)
    picked = np.minimum((points[:, n] * n).astype(np.int64), n - 1)
    beyond = points[:, n] * n - picked  # what is left of the number that picked is uniform too
    normals = ndtri(np.clip(points[:, :n].T, 1e-16, 1 - 1e-16))
    return read_only(normals), read_only(picked), read_only(np.log1p(-beyond))


def _points(n: int) -> FloatArray:
    """A randomly shifted lattice of square roots of primes, shape (n_points, n)."""
    shift = np.random.default_rng(_SEED).random(n)
    steps = np.sqrt(primes(n)) % 1
    return np.asarray((np.arange(1, _N_POINTS + 1)[:, None] * steps + shift) % 1)
