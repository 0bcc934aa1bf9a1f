"""Differences of covariate means between arms, in standard deviations."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wavewise.randomize.labels import Coded, Label
from wavewise.randomize.permutation_test import sum_by
from wavewise.results import BoolArray, FloatArray

__all__ = ["LargestDifference", "differences", "largest"]


@dataclass(frozen=True)
class LargestDifference:
    """The largest absolute standardized difference over all pairs of arms and levels.

    Parameters
    ----------
    value : float
        In standard deviations, not negative.
    level : str
        The column where it stands.
    high, low : int or str
        The arm with the higher mean, and the other.
    """

    value: float
    level: str
    high: Label
    low: Label


def differences(columns: FloatArray, centred: FloatArray, arm: Coded, stratum: Coded) -> FloatArray:
    """Standardized differences of means adjusted for strata; (n_arms, n_arms, n_columns).

    Parameters
    ----------
    columns, centred : (n, n_columns) arrays
        As measured, and less the strata means.
    arm, stratum : Coded
        Codes of each unit.

    Notes
    -----
    Entry (a, b, j) is (beta_aj - beta_bj) / sd_j: beta from least squares on arms with strata
    effects, sd_j pooled within arms and not adjusted for strata. Pairs of arms that no chain of
    strata connects are NaN.
    """
    n_arms, n_strata = len(arm.labels), len(stratum.labels)
    cell = stratum.codes * n_arms + arm.codes
    count = np.bincount(cell, minlength=n_strata * n_arms).astype(np.int64)
    count = count.reshape(n_strata, n_arms)
    size = count.sum(axis=1)
    gram = np.diag(size @ (count / size[:, None])) - (count / size[:, None]).T @ count
    beta = np.linalg.pinv(gram, hermitian=True) @ sum_by(arm.codes, centred, n_arms)
    gap = (beta[:, None, :] - beta[None, :, :]) / _sd_within_arms(columns, arm)
    gap[~_connected(count)] = np.nan
    return np.asarray(gap)


def _sd_within_arms(columns: FloatArray, arm: Coded) -> FloatArray:
    size = np.bincount(arm.codes)
    n_residual = columns.shape[0] - size.size
    sd = np.full(columns.shape[1], np.nan)
    for j, column in enumerate(columns.T):
        mean = np.bincount(arm.codes, weights=column) / size
        sum_squares = float(((column - mean[arm.codes]) ** 2).sum())
        if n_residual > 0 and sum_squares > 0.0:
            sd[j] = np.sqrt(sum_squares / n_residual)
    return sd


def _connected(count: npt.NDArray[np.int64]) -> BoolArray:
    """Which pairs of arms a chain of shared strata connects."""
    reach = ((count > 0).T.astype(np.int64) @ (count > 0).astype(np.int64)) > 0
    for _ in range(int(np.ceil(np.log2(max(count.shape[1], 2))))):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return np.asarray(reach)


def largest(
    gaps: FloatArray, levels: tuple[str, ...], arms: tuple[Label, ...]
) -> LargestDifference | None:
    """The largest entry of ``gaps`` (n_arms, n_arms, n_levels) with its place, or None."""
    if np.isnan(gaps).all():
        return None
    a, b, j = np.unravel_index(int(np.nanargmax(gaps)), gaps.shape)
    return LargestDifference(float(gaps[a, b, j]), levels[int(j)], arms[int(a)], arms[int(b)])
