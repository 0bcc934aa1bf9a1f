"""Satterthwaite degrees of freedom of a robust standard error."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.estimate.labels import group_sum
from wavewise.estimate.rows import Rows
from wavewise.results import FloatArray, IntArray

__all__ = ["WorkingModel"]


@dataclass(frozen=True, eq=False)
class WorkingModel:
    """The variance estimate as a quadratic form, under independent outcomes of equal variance.

    Parameters
    ----------
    loading : array of float, shape (n_rows, n_effects)
        Corrected loadings ``q_g = A_g Z_g`` of one of the groups that the row stands for.
    basis : array of float, shape (n_rows, n_columns)
        Orthonormal basis ``Q`` of the regressors, in the same units.
    share : array of float, shape (n_rows,)
        Entry of the orthonormal strata indicator, in the same units.
    stratum : array of int, shape (n_rows,)
        Stratum of the row.
    cluster : array of int, shape (n_rows,), or None
        Cluster of the row, never decreasing; None where no cluster spans several rows.
    copies : array of float, shape (n_rows,)
        Groups that the row stands for.

    Notes
    -----
    The estimate of a variance is ``sum_g (p_g'y)^2`` with ``p_g = (I - H)_g' q_g``. Under the
    working model, with ``K_gh = p_g'p_h``, it is matched in mean and variance to a chi-squared
    with ``(sum_g K_gg)^2 / sum_gh K_gh^2`` degrees of freedom. Since ``H = P + QQ'``,
    ``K_gh = [g = h] d_g - u_g'u_h - v_g'v_h`` with ``d_g = q_g'q_g``, ``u_g = Q_g'q_g`` and
    ``v_g`` the sums of ``q_g`` over orthonormal strata indicators, so that the double sum is one
    of small cross products: no matrix with a side of the number of clusters is formed.

    References
    ----------
    Bell and McCaffrey (2002), equation 17; Imbens and Kolesar (2016), equation 5; Pustejovsky
    and Tipton (2018), section 2.3.
    """

    loading: FloatArray
    basis: FloatArray
    share: FloatArray
    stratum: IntArray
    cluster: IntArray | None
    copies: FloatArray

    @classmethod
    def of(cls, rows: Rows, basis: FloatArray, loading: FloatArray) -> "WorkingModel":
        """The working model of rows, from their scaled basis and the loadings of their groups."""
        scale = np.sqrt(rows.copies)
        share = rows.root / np.sqrt(rows.stratum_weight[rows.stratum])
        return cls(
            loading=loading,
            basis=basis / scale[:, None],
            share=share / scale,
            stratum=rows.stratum,
            cluster=rows.cluster,
            copies=rows.copies,
        )

    def degrees_of_freedom(self, weights: FloatArray) -> float:
        """Satterthwaite degrees of freedom of a combination of the effects.

        Parameters
        ----------
        weights : array of float, shape (n_effects,)
            Weight of each effect.
        """
        q = self.loading @ weights
        q = q / np.sqrt((q**2).mean())
        if self.cluster is None:
            return self._of_single_rows(q)
        return self._of_grouped_rows(q, self.cluster)

    def _of_single_rows(self, q: FloatArray) -> float:
        """Every cluster lies in one stratum and is one row, maybe several times."""
        copies = self.copies
        d = q**2
        u = self.basis * q[:, None]
        v = self.share * q
        own = (u**2).sum(axis=1) + v**2
        by_stratum = group_sum(self.stratum, copies * v**2)
        mixed = [group_sum(self.stratum, copies * v * u_k) for u_k in u.T]
        cross = u.T @ (copies[:, None] * u)
        double = (cross**2).sum() + 2 * sum(float(m @ m) for m in mixed) + by_stratum @ by_stratum
        return _matched(copies, d, own, float(double))

    def _of_grouped_rows(self, q: FloatArray, cluster: IntArray) -> float:
        """Clusters of several rows, within strata or across them."""
        d = group_sum(cluster, q**2)
        u = np.stack([group_sum(cluster, q * b) for b in self.basis.T], axis=1)
        v = self._sums_by_stratum(q, cluster)
        own = (u**2).sum(axis=1) + np.asarray(v.multiply(v).sum(axis=1)).ravel()
        mixed = v.T @ u
        double = ((u.T @ u) ** 2).sum() + 2 * (mixed**2).sum() + _gram_square(v)
        return _matched(np.ones(d.size), d, own, float(double))

    def _sums_by_stratum(self, q: FloatArray, cluster: IntArray) -> Any:
        """``v_g`` as a sparse matrix, shape (n_clusters, n_strata)."""
        from scipy.sparse import csr_array  # noqa: PLC0415 (only clusters of several rows need it)

        matrix = csr_array((q * self.share, (cluster, self.stratum)))
        matrix.sum_duplicates()
        return matrix


def _gram_square(v: Any) -> float:
    """Sum of squares of ``V'V``, by whichever of ``V'V`` and ``VV'`` has fewer entries."""
    by_row = np.diff(v.indptr).astype(np.float64)
    by_column = np.bincount(v.indices).astype(np.float64)
    gram = v.T @ v if by_row @ by_row <= by_column @ by_column else v @ v.T
    return float((gram.data**2).sum())


def _matched(copies: FloatArray, d: FloatArray, own: FloatArray, double: float) -> float:
    mean = copies @ (d - own)
    square = copies @ (d**2 - 2 * d * own) + double
    return float(mean**2 / square)
