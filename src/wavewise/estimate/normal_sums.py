"""Sums of a panel that hold all that its likelihood needs, whatever the variances."""

from dataclasses import dataclass

import numpy as np

from wavewise.estimate.normal_panel import Panel
from wavewise.results import FloatArray, IntArray

__all__ = ["PanelSums", "panel_sums"]


@dataclass(frozen=True, eq=False)
class PanelSums:
    """Sums of rows z = (1, arm indicators, period indicators, score).

    Units with the same number m of scores share a covariance matrix, so that a cluster enters by
    one vector a size m, and everything within units by one matrix.

    Parameters
    ----------
    within : (n_columns, n_columns) array of float
        Sum over units of squares and products around the unit's mean.
    between : (n_sizes, n_columns, n_columns) array of float
        Sum over units of size m of s s' / m, with s the unit's sum of z.
    size : (n_sizes,) array of float
        The sizes m.
    n_units_by_size : (n_sizes,) array of float
        How many units have each size.
    cell : (n_cells, n_columns) array of float
        Sum of z over the units of one cluster and one size, ordered by cluster.
    cell_size : (n_cells,) array of int
        Position in `size`.
    start : (n_clusters + 1,) array of int
        Where each cluster's cells begin.
    n_arms, n_periods : int
        Columns of each kind; no period columns where there is one period.
    centre, scale : float
        Mean and standard deviation of the score, which was centred and divided by them.
    """

    within: FloatArray
    between: FloatArray
    size: FloatArray
    n_units_by_size: FloatArray
    cell: FloatArray
    cell_size: IntArray
    start: IntArray
    n_arms: int
    n_periods: int
    centre: float
    scale: float

    @property
    def n_rows(self) -> float:
        """Scores."""
        return float(self.size @ self.n_units_by_size)

    @property
    def n_units(self) -> float:
        """Units."""
        return float(self.n_units_by_size.sum())

    @property
    def within_residual(self) -> float:
        """Sum of squares of the score around unit, arm and period effects, each free."""
        regressors, score = self.within[:-1, :-1], self.within[:-1, -1]
        fitted = score @ np.linalg.pinv(regressors, rcond=1e-10, hermitian=True) @ score
        return max(float(self.within[-1, -1] - fitted), 0.0)

    @property
    def n_clusters(self) -> int:
        """Clusters."""
        return int(self.start.size - 1)


def panel_sums(panel: Panel) -> PanelSums:
    """Sums of the panel's rows, of the score in standard deviations around its mean."""
    centre, scale = float(panel.score.mean()), float(panel.score.std())
    z = _rows(panel, (panel.score - centre) / scale)
    count = np.bincount(panel.unit)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    unit_sum = np.add.reduceat(z, first, axis=0)
    residual = z - (unit_sum / count[:, None])[panel.unit]
    size, size_code = np.unique(count, return_inverse=True)
    cell, cell_size, start = _cells(panel.cluster, size_code, unit_sum, size.size)
    return PanelSums(
        within=_products(residual),
        between=_between(unit_sum, size_code, size),
        size=size.astype(np.float64),
        n_units_by_size=np.bincount(size_code).astype(np.float64),
        cell=cell,
        cell_size=cell_size,
        start=start,
        n_arms=len(panel.arms),
        n_periods=z.shape[1] - 2 - len(panel.arms),
        centre=centre,
        scale=scale,
    )


def _rows(panel: Panel, score: FloatArray) -> FloatArray:
    """Rows z, (n_rows, n_columns). The period effect of a single period is the constant."""
    n_periods = len(panel.periods)
    columns = [np.ones((score.size, 1))]
    columns.append(panel.arm[:, None] == np.arange(1, len(panel.arms) + 1))
    if n_periods > 1:
        columns.append(panel.period[:, None] == np.arange(n_periods))
    return np.hstack([*columns, score[:, None]]).astype(np.float64)


def _products(z: FloatArray) -> FloatArray:
    # not a matrix product: a library's order of summation may depend on the number of threads
    return np.stack([(z * z[:, [j]]).sum(axis=0) for j in range(z.shape[1])])


def _between(unit_sum: FloatArray, size_code: IntArray, size: IntArray) -> FloatArray:
    return np.stack([_products(unit_sum[size_code == j]) / m for j, m in enumerate(size)])


def _cells(
    cluster: IntArray, size_code: IntArray, unit_sum: FloatArray, n_sizes: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """Sums by cluster and size, their sizes, and where each cluster's cells begin."""
    key = cluster * n_sizes + size_code
    order = np.argsort(key, kind="stable")
    keys, first = np.unique(key[order], return_index=True)
    cell = np.add.reduceat(unit_sum[order], first, axis=0)
    start = np.searchsorted(keys, np.arange(int(cluster.max()) + 2) * n_sizes)
    return cell, (keys % n_sizes).astype(np.int64), start.astype(np.int64)
