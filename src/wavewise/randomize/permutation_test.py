"""Sums of covariates by arm, and their exact covariance when arms are shuffled within strata."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from wavewise.results import FloatArray, IntArray

__all__ = ["FTest", "Moments", "f_test", "moments", "sum_by"]

_RANK_TOLERANCE = 1e-9
_MAX_BLOCK = 2**22  # numbers held at once


@dataclass(frozen=True)
class Moments:
    """Sums of centred columns by arm, and their covariance under the randomization.

    Parameters
    ----------
    total : (n_arms - 1, n_columns) array
        Sum of the columns over each arm but the last, after strata means are taken out.
    covariance : (n_arms - 1, n_columns, n_arms - 1, n_columns) array
        Of ``total``, over all arrangements of the arms within strata.
    df : int
        Things (units or clusters) less strata, over strata with at least two arms.
    arm_rank : int
        Number of independent contrasts of arms.
    """

    total: FloatArray
    covariance: FloatArray
    df: int
    arm_rank: int


@dataclass(frozen=True)
class FTest:
    """An F statistic, its degrees of freedom, and its p-value.

    Parameters
    ----------
    statistic, df_contrasts, df_residual, p_value : float
        The F statistic, its two degrees of freedom, and the probability of a larger one.
    """

    statistic: float
    df_contrasts: int
    df_residual: int
    p_value: float


def moments(columns: FloatArray, arm: IntArray, stratum: IntArray) -> Moments:
    """Sums by arm and their randomization covariance.

    Parameters
    ----------
    columns : (n, n_columns) array
        One row a unit, or one a cluster; every stratum's rows sum to zero.
    arm, stratum : (n,) int arrays
        Codes of each row.

    Notes
    -----
    With m_s rows in stratum s, indicators Z and centred columns E, the covariance of Z'E over all
    arrangements is sum_s (Z_s'Z_s - m_s m_s'/m_s) (x) (E_s'E_s) / (m_s - 1), exactly, (x) being the
    Kronecker product. For two arms it is the variance in Hansen and Bowers' (2008) d^2.
    """
    n_arms, n_strata = int(arm.max()) + 1, int(stratum.max()) + 1
    count = np.bincount(stratum * n_arms + arm, minlength=n_strata * n_arms)
    count = count.reshape(n_strata, n_arms)
    size = count.sum(axis=1)
    mixed = (count > 0).sum(axis=1) > 1
    between = _between_arms(count, size)[:, :-1, :-1]
    total = sum_by(arm, columns, n_arms)
    return Moments(
        total=total[:-1],
        covariance=_covariance(columns, stratum, size, between),
        df=int((size - 1)[mixed].sum()),
        arm_rank=int(np.linalg.matrix_rank(between.sum(axis=0))),
    )


def sum_by(codes: IntArray, columns: FloatArray, n_codes: int) -> FloatArray:
    """Sums of each column over the rows of each code; (n_codes, n_columns)."""
    sums = [np.bincount(codes, weights=column, minlength=n_codes) for column in columns.T]
    return np.asarray(np.stack(sums, axis=1), dtype=np.float64)


def _between_arms(count: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> FloatArray:
    """diag(m_s) - m_s m_s' / m_s for every stratum; (n_strata, n_arms, n_arms)."""
    diagonal = np.eye(count.shape[1]) * count[:, None, :]
    return np.asarray(diagonal - count[:, :, None] * count[:, None, :] / size[:, None, None])


def _covariance(
    columns: FloatArray, stratum: IntArray, size: IntArray, between: FloatArray
) -> FloatArray:
    """The sum over strata, in blocks of strata so that memory stays bounded."""
    n_columns, n_arms = columns.shape[1], between.shape[1]
    by_stratum = columns[np.argsort(stratum, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(size)])
    n_block = max(1, _MAX_BLOCK // max(n_columns**2, 1))
    product = np.zeros((n_arms**2, n_columns**2))
    for first in range(0, size.size, n_block):
        block = slice(first, first + n_block)
        within = _within_strata(by_stratum, starts[block], size[block])
        product += between[block].reshape(-1, n_arms**2).T @ within.reshape(-1, n_columns**2)
    return product.reshape(n_arms, n_arms, n_columns, n_columns).transpose(0, 2, 1, 3)


def _within_strata(by_stratum: FloatArray, starts: IntArray, size: IntArray) -> FloatArray:
    """E_s'E_s / (m_s - 1) of each stratum, 0 for one row; (n_strata, n_columns, n_columns)."""
    n_columns = by_stratum.shape[1]
    within = np.zeros((size.size, n_columns, n_columns))
    for s in np.flatnonzero(size > 1).tolist():
        part = by_stratum[starts[s] : starts[s] + size[s]]
        within[s] = part.T @ part / (size[s] - 1)
    return within


def f_test(moment: Moments, kept: IntArray) -> FTest | None:
    """F test that the kept columns have the same mean in all arms; None without information.

    Notes
    -----
    With T = t' V^- t of rank d and s = min(arm contrasts, columns), T / (s df) is taken as
    Beta(d / 2, (s df - d) / 2), which has the exact mean and range. With one stratum and one
    column that is the F test of analysis of variance; with several columns, Pillai's.
    """
    from scipy.special import betaincc  # noqa: PLC0415 - heavy

    size = moment.total.shape[0] * kept.size
    covariance = moment.covariance[:, kept][:, :, :, kept].reshape(size, size)
    statistic, rank, column_rank = _quadratic(moment.total[:, kept].ravel(), covariance, moment)
    limit = min(moment.arm_rank, column_rank) * moment.df
    if rank == 0 or limit <= rank:
        return None
    statistic = min(statistic, float(limit))
    left = (limit - statistic) / (limit - rank)
    p_value = float(betaincc(rank / 2.0, (limit - rank) / 2.0, statistic / limit))
    ratio = statistic / rank / left if left > 0.0 else np.inf
    return FTest(float(ratio), rank, limit - rank, p_value)


def _quadratic(
    total: FloatArray, covariance: FloatArray, moment: Moments
) -> tuple[float, int, int]:
    """The form t' V^- t, the rank of V, and its rank in columns; scaled to unit variances."""
    variance = np.diag(covariance)
    used = variance > 0.0
    if not used.any():
        return 0.0, 0, 0
    scale = np.sqrt(variance[used])
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)] / np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * values.max()
    rank = int(kept.sum())
    projected = (vectors.T @ (total[used] / scale))[kept]
    return float((projected**2 / values[kept]).sum()), rank, ceil(rank / moment.arm_rank)
