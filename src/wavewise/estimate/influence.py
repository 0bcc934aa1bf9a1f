"""Influence of units and clusters on the effects, corrected for their leverage.

An effect is a weighted sum of outcomes with the loadings ``Z = X(X'X)^-1``. Its variance needs
``A_g Z_g`` for each cluster ``g``, where ``A_g`` undoes, on average, the shrinkage of residuals.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.least_squares import Fit
from wavewise.estimate.rows import Rows
from wavewise.results import FloatArray, IntArray

__all__ = ["Influence", "cluster_influence", "group_influence"]

# 1 - leverage below this is zero up to rounding: the residual says nothing
_LEVERAGE_TOLERANCE = 1e-10
# loadings below this, relative to the effect's, are rounding
_ROUNDING = 1e-9
# entries of the hat-matrix blocks that are held at once
_CHUNK = 4_000_000
# side of the largest dense block
_LARGEST = 4_000


@dataclass(frozen=True, eq=False)
class Influence:
    """Corrected loadings ``A_g Z_g``, and the directions in which residuals say nothing.

    Parameters
    ----------
    loading : array of float, shape (n_rows, n_effects)
        Corrected loadings; of one unit of the row without clusters, of the row with them.
    silent : array of float, shape (n_directions, n_effects)
        Part of each effect's loading, relative to the whole, that lies in a direction where the
        residual is zero by construction. An effect with such a part has no standard error.
    """

    loading: FloatArray
    silent: FloatArray


def group_influence(rows: Rows, fit: Fit, power: float) -> Influence:
    """Loadings of single groups times ``(1 - h)^-power``, with ``h`` the group's leverage.

    ``power`` is 0 for HC0, HC1, CR1 and CR1S, 1/2 for HC2 and CR2, and 1 for HC3. All units of a
    group are alike here, so that its block of the hat matrix has the one eigenvalue ``h``.
    """
    share = np.sqrt(rows.copies)[:, None]
    free = 1 - _leverage(rows, fit) / rows.copies
    silent = free < _LEVERAGE_TOLERANCE
    scale = np.where(silent, 0.0, np.where(silent, 1.0, free) ** -power)
    return Influence(
        loading=fit.loading / share * scale[:, None],
        silent=_relative(fit, (fit.loading / share)[silent]),
    )


def cluster_influence(rows: Rows, fit: Fit, cluster: IntArray, power: float) -> Influence:
    """Loadings of clusters of several rows times ``A_g = (I - H_gg)^-power`` (CR2 at 1/2).

    ``H_gg`` is the cluster's block of the whole hat matrix, strata effects included. Where
    ``I - H_gg`` is singular its Moore-Penrose inverse is used.
    """
    if power == 0:
        return Influence(fit.loading, np.zeros((0, fit.loading.shape[1])))
    loading = np.empty_like(fit.loading)
    silent: list[FloatArray] = []
    for members in _batches(cluster):
        adjusted, quiet = _adjust(rows, fit, members)
        loading[members] = adjusted
        silent.append(quiet)
    return Influence(loading, _relative(fit, np.concatenate(silent)))


def _leverage(rows: Rows, fit: Fit) -> FloatArray:
    """Leverage of scaled rows, strata effects included, shape (n_rows,)."""
    by_strata: FloatArray = rows.root**2 / rows.stratum_weight[rows.stratum]
    by_strata += np.einsum("rp,rp->r", fit.basis, fit.basis)
    return by_strata


def _relative(fit: Fit, loading: FloatArray) -> FloatArray:
    relative = loading / np.linalg.norm(fit.loading, axis=0)
    heard = np.abs(relative).max(axis=1, initial=0.0) > _ROUNDING
    return np.asarray(relative[heard], dtype=np.float64)


def _batches(cluster: IntArray) -> Iterator[IntArray]:
    """Row positions of clusters with equally many rows, shape (n_clusters, n_rows_each)."""
    sizes = np.bincount(cluster)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes):
        first = starts[sizes == size]
        step = max(1, _CHUNK // int(size) ** 2)
        for begin in range(0, first.size, step):
            yield first[begin : begin + step, None] + np.arange(size)


def _adjust(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Corrected loadings of one batch, and what of them lies in silent directions."""
    if members.shape[1] == 1:
        return _adjust_single(rows, fit, members)
    stratum = rows.stratum[members]
    if members.shape[1] > 2 * fit.basis.shape[1] + 64:
        n_factors = fit.basis.shape[1] + max(np.unique(row).size for row in stratum)
        if 2 * n_factors < members.shape[1]:
            return _adjust_tall(rows, fit, members)
    return _adjust_block(rows, fit, members)


def _adjust_single(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Clusters that are one row: the inverse root is a number."""
    row = members[:, 0]
    total = rows.stratum_weight[rows.stratum[row]]
    basis = fit.basis[row]
    free = 1 - np.einsum("rp,rp->r", basis, basis) - rows.root[row] ** 2 / total
    quiet = free < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, free)))
    loading = fit.loading[row]
    return (loading * scale[:, None])[:, None, :], loading[quiet]


def _adjust_block(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Symmetric inverse root of each block, by its eigenvectors."""
    size = members.shape[1]
    if size > _LARGEST:
        raise EstimationError(
            f"CR2: found a cluster of {size:,} rows over many strata; needed at most {_LARGEST:,}; "
            "give se='CR1', or larger strata"
        )
    basis, stratum = fit.basis[members], rows.stratum[members]
    share = rows.root[members] / np.sqrt(rows.stratum_weight[stratum])
    hat = basis @ basis.transpose(0, 2, 1)
    hat += (share[:, :, None] * share[:, None, :]) * (stratum[:, :, None] == stratum[:, None, :])
    values, vectors = np.linalg.eigh(np.eye(size) - hat)
    quiet = values < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, values)))
    turned = vectors.transpose(0, 2, 1) @ fit.loading[members]
    return vectors @ (scale[:, :, None] * turned), turned[quiet]


def _adjust_tall(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Clusters with many rows: ``H_gg = FF'`` has low rank, so only ``F'F`` is decomposed."""
    pairs = [_adjust_tall_one(rows, fit, row) for row in members]
    return np.stack([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _adjust_tall_one(rows: Rows, fit: Fit, row: IntArray) -> tuple[FloatArray, FloatArray]:
    factor = _factor(rows, fit, row)
    values, vectors = np.linalg.eigh(factor.T @ factor)
    used = values > 1e-14
    values, vectors = values[used], vectors[:, used]
    # orthonormal directions of the cluster's rows, one an eigenvalue
    directions = factor @ vectors / np.sqrt(values)
    quiet = 1 - values < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, 1 - values)))
    turned = directions.T @ fit.loading[row]
    adjusted = fit.loading[row] + directions @ ((scale - 1)[:, None] * turned)
    return adjusted, turned[quiet]


def _factor(rows: Rows, fit: Fit, row: IntArray) -> FloatArray:
    """``F`` with ``H_gg = FF'``: scaled strata indicators beside the basis."""
    strata, codes = np.unique(rows.stratum[row], return_inverse=True)
    share = rows.root[row] / np.sqrt(rows.stratum_weight[rows.stratum[row]])
    indicators = np.zeros((row.size, strata.size))
    indicators[np.arange(row.size), codes] = share
    return np.column_stack([indicators, fit.basis[row]])
