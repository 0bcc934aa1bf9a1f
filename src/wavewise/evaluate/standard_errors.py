"""Standard errors from influence values: each unit's part in an estimate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.table import Estimate, single_estimate
from wavewise.shared.results import FloatArray, IntArray, NotEstimable, Provenance, Result

__all__ = ["Coefficients", "fit_scores", "influence_estimate", "interval", "p_value", "std_error"]


def std_error(influence: FloatArray, cluster: IntArray | None) -> float:
    """Standard error of a mean whose influence values average to 0.

    Notes
    -----
    ``sqrt(sum_i psi_i**2 / (n (n - 1)))``; with clusters the sums over clusters take the place of
    the units, with ``n`` clusters in the correction.
    """
    return float(np.sqrt(covariance(influence[:, None], cluster)[0, 0]))


def covariance(influence: FloatArray, cluster: IntArray | None) -> FloatArray:
    """Covariance of several means from their influence values, shape (n_means, n_means)."""
    n_units = influence.shape[0]
    parts = influence
    if cluster is not None:
        parts = np.column_stack([np.bincount(cluster, weights=part) for part in influence.T])
    n_parts = parts.shape[0]
    found: FloatArray = (parts.T @ parts) / n_units**2 * n_parts / max(n_parts - 1, 1)
    return found


def interval(
    estimate: float, error: float, level: float, df: float | None = None
) -> tuple[float, float]:
    """Confidence interval (lower, upper): normal, or Student's with degrees of freedom."""
    prob = (1 + level) / 2
    half = error * float(ndtri(prob) if df is None else stdtrit(df, prob))
    return estimate - half, estimate + half


def p_value(estimate: float, error: float, df: float | None = None) -> float:
    """Two-sided p value of no effect."""
    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    ratio = -abs(estimate / error)
    return float(2 * (ndtr(ratio) if df is None else stdtr(df, ratio)))


def influence_estimate(
    name: str, estimate: float, influence: FloatArray, cluster: IntArray | None, level: float
) -> Estimate:
    """An estimate with the standard error, interval and test that its influence values give."""
    error = std_error(influence, cluster)
    n_units = int(influence.size)
    # what rounding leaves of influence values that are all 0
    if error <= 1e-14 * max(1.0, abs(estimate)):
        nothing = NotEstimable("every unit's influence on it is 0 in this sample")
        return Estimate(name, estimate, 0.0, nothing, (estimate, estimate), nothing, level, n_units)
    n_parts = n_units if cluster is None else int(cluster.max()) + 1
    return single_estimate(name, estimate, (error, n_parts - 1.0), level, n_units)


# Least squares of scores on a few columns, with robust standard errors.


@dataclass(frozen=True, eq=False, kw_only=True)
class Coefficients(Result, kind="coefficients"):
    """Coefficients with robust standard errors.

    Parameters
    ----------
    names : tuple of str
    estimate, std_error : array of float, shape (n_columns,)
    level : float
    df : float
        Degrees of freedom of the intervals.
    se : str
        ``HC3``, or ``CR1`` with clusters.
    n_units : int
    provenance : Provenance
    """

    names: tuple[str, ...]
    estimate: FloatArray
    std_error: FloatArray
    level: float
    df: float
    se: str
    n_units: int
    provenance: Provenance

    def _frame(self) -> pl.DataFrame:
        """One row a coefficient."""
        pairs = list(zip(self.estimate.tolist(), self.std_error.tolist(), strict=True))
        conf = [interval(b, s, self.level, self.df) for b, s in pairs]
        return pl.DataFrame(
            {
                "term": list(self.names),
                "estimate": self.estimate,
                "std_error": self.std_error,
                "conf_low": [low for low, _ in conf],
                "conf_high": [high for _, high in conf],
                "p_value": [p_value(b, s, self.df) for b, s in pairs],
            }
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "rows": self._frame(),
            "level": self.level,
            "df": self.df,
            "se": self.se,
            "n_units": self.n_units,
        }

    def summary(self) -> str:
        """The coefficients as a table."""
        return f"{self.provenance.method}, {self.se}, {self.n_units:,} units\n{super().summary()}"


def fit_scores(
    columns: FloatArray,
    scores: FloatArray,
    names: tuple[str, ...],
    cluster: IntArray | None,
    *,
    level: float,
    provenance: Provenance,
) -> Coefficients:
    """Least squares with HC3 standard errors, or CR1 with clusters.

    Notes
    -----
    ``b = (X'X)^-1 X'y``; HC3 ``(X'X)^-1 X' diag(e**2 / (1 - h)**2) X (X'X)^-1``; CR1 sums
    ``x_i e_i`` over clusters, times ``G / (G - 1) (n - 1) / (n - p)``.
    """
    n_units, n_columns = columns.shape
    if n_units <= n_columns + 1:
        raise InputError(f"found {n_units} units for {n_columns} columns; needed more units")
    q, r = np.linalg.qr(columns)
    size = np.abs(np.diag(r))
    if size.min() <= 1e-10 * size.max():
        bad = names[int(np.argmin(size))]
        raise EstimationError(
            f"column '{bad}' is a combination of the others, or does not vary; leave it out"
        )
    estimate = np.linalg.solve(r, q.T @ scores)
    residual = scores - columns @ estimate
    if np.abs(residual).max() <= 1e-12 * max(float(np.abs(scores).max()), 1e-300):
        raise EstimationError(
            "scores: found them to be an exact combination of the columns, or not to vary; needed "
            "scores that vary around it: no standard error or interval follows from these"
        )
    bread = np.linalg.solve(r, q.T)
    if cluster is None:
        scaled = bread * (residual / (1 - np.minimum((q**2).sum(axis=1), 1 - 1e-12)))
        cov, df = scaled @ scaled.T, float(n_units - n_columns)
    else:
        sums = np.stack([np.bincount(cluster, weights=row) for row in bread * residual])
        n_clusters = sums.shape[1]
        factor = n_clusters / (n_clusters - 1) * (n_units - 1) / (n_units - n_columns)
        cov, df = factor * (sums @ sums.T), float(n_clusters - 1)
    return Coefficients(
        names=names,
        estimate=np.asarray(estimate),
        std_error=np.sqrt(np.diag(cov)),
        level=level,
        df=df,
        se="HC3" if cluster is None else "CR1",
        n_units=n_units,
        provenance=provenance,
    )
