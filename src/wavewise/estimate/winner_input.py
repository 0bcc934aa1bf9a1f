"""Ranked estimates, and where one of them can move without changing its rank."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.truncated_normal import Interval
from wavewise.results import FloatArray, read_only

__all__ = ["Ranked", "read_ranked", "truncation_set"]

_SINGULAR = 1e-10
_ASYMMETRY = 1e-8
_ROUNDING = 64 * np.finfo(np.float64).eps  # by which a sum over units may differ with its order


@dataclass(frozen=True, eq=False)
class Ranked:
    """Estimates with their covariance, and the arm at a rank.

    Parameters
    ----------
    estimate : array of float, shape (n_arms,)
    cov, corr : array of float, shape (n_arms, n_arms)
    arm, rank : int
        Index of the arm, and how many estimates are larger.
    """

    estimate: FloatArray
    cov: FloatArray
    corr: FloatArray
    arm: int
    rank: int

    @property
    def value(self) -> float:
        """The usual estimate of the arm."""
        return float(self.estimate[self.arm])

    @property
    def std_error(self) -> float:
        """Its standard error."""
        return float(np.sqrt(self.cov[self.arm, self.arm]))

    @property
    def tied(self) -> tuple[int, ...]:
        """Indices of the other arms whose estimate is the same but for rounding."""
        apart = np.abs(self.estimate - self.value)
        same = apart <= _ROUNDING * np.maximum(np.abs(self.estimate), abs(self.value))
        return tuple(k for k in np.flatnonzero(same).tolist() if k != self.arm)


def read_ranked(estimate: Any, cov: Any, rank: Any) -> Ranked:
    """Estimates and covariance, checked.

    Raises
    ------
    InputError
        Where shapes differ, numbers are not finite, the matrix is not symmetric or has negative
        eigenvalues, or there is no such rank.
    EstimationError
        Where the covariance is singular.
    """
    values = _numbers(estimate, "estimate")
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"estimate: found shape {values.shape}; needed (n_arms,), 1 or more")
    matrix = _covariance(_numbers(cov, "cov"), values.size)
    corr = _correlation(matrix)
    whole = isinstance(rank, int | np.integer) and not isinstance(rank, bool)
    if not whole or not 0 <= rank < values.size:
        raise InputError(
            f"rank: found {rank!r}; needed a whole number from 0, the largest, to "
            f"{values.size - 1}, the smallest of {values.size} estimates"
        )
    arm = int(np.argsort(-values, kind="stable")[rank])
    return Ranked(read_only(values), read_only(matrix), read_only(corr), arm, int(rank))


def truncation_set(ranked: Ranked) -> list[Interval]:
    """Where the arm's estimate can move while its rank stays the same.

    In standard errors from the estimate itself: disjoint intervals, one of them around 0. The
    others' estimates move along by ``cov[k, j] / cov[j, j]`` of its move, so that each crosses it
    once at most, at ``gap_k / (slope_k - 1)``.

    Where another arm has exactly the same estimate the set ends at 0.
    """
    arm, others = ranked.arm, np.arange(ranked.estimate.size) != ranked.arm
    gap = (ranked.value - ranked.estimate[others]) / ranked.std_error
    lead = 1.0 - ranked.cov[arm, others] / ranked.cov[arm, arm]
    moves = np.abs(lead) > 0
    crossing = -gap[moves] / lead[moves]
    below = gap < 0  # arms with larger estimates where it stands now
    cuts = np.unique(crossing)
    starts = np.concatenate([[-np.inf], cuts])
    stops = np.concatenate([cuts, [np.inf]])
    # each crossing between 0 and the piece turns an arm from larger to smaller or back
    turned = (starts[:, None] < 0) & (crossing >= stops[:, None]) & (crossing < 0)
    turned |= (stops[:, None] > 0) & (crossing <= starts[:, None]) & (crossing > 0)
    n_larger = int(below[~moves].sum()) + (turned != below[moves]).sum(axis=1)
    kept = np.flatnonzero(n_larger == ranked.rank).tolist()
    return _joined([(float(starts[i]), float(stops[i])) for i in kept])


def _joined(pieces: list[Interval]) -> list[Interval]:
    """Neighbouring pieces as one."""
    joined: list[Interval] = []
    for low, high in pieces:
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def _numbers(values: Any, name: str) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found something else; needed numbers") from error
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise InputError(
            f"{name}: found {bad} numbers that are missing or infinite; needed finite ones; leave "
            "out arms that could not be estimated, and say so"
        )
    return numbers


def _covariance(cov: FloatArray, n_arms: int) -> FloatArray:
    if cov.shape == (n_arms,):
        cov = np.diag(cov)
    if cov.shape != (n_arms, n_arms):
        raise InputError(
            f"cov: found shape {cov.shape}; needed ({n_arms}, {n_arms}), or ({n_arms},) variances"
        )
    variances = np.diag(cov)
    if (variances < 0).any():
        raise InputError(f"cov: found a variance of {variances.min():g}; needed positive ones")
    if (variances == 0).any():
        raise EstimationError(
            f"cov: found {int((variances == 0).sum())} variances of zero; needed positive ones; "
            "leave out arms whose outcomes do not vary"
        )
    if np.abs(cov - cov.T).max() > _ASYMMETRY * np.abs(cov).max():
        raise InputError("cov: found a matrix that is not symmetric; needed a covariance")
    return np.asarray((cov + cov.T) / 2)


def _correlation(cov: FloatArray) -> FloatArray:
    scale = np.sqrt(np.diag(cov))
    corr: FloatArray = cov / np.outer(scale, scale)
    np.fill_diagonal(corr, 1.0)
    smallest = float(np.linalg.eigvalsh(corr)[0])
    if smallest < -_SINGULAR:
        raise InputError(
            f"cov: found a matrix with a negative eigenvalue ({smallest:.3g} as a correlation); "
            "needed a covariance"
        )
    if smallest < _SINGULAR:
        raise EstimationError(
            "cov: found a singular covariance: an estimate follows from the others; needed one of "
            "full rank; leave out the arm or contrast that repeats others"
        )
    return corr
