"""Least squares of scores on a few columns, with robust standard errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.evaluate.precision import interval, p_value
from wavewise.results import FloatArray, IntArray, Provenance

__all__ = ["Coefficients", "fit_scores"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Coefficients:
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

    def to_frame(self) -> pl.DataFrame:
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

    def to_dict(self) -> dict[str, Any]:
        """The coefficients as plain values, for JSON."""
        return {
            "version": 1,
            "kind": "coefficients",
            "rows": self.to_frame().to_dicts(),
            "level": self.level,
            "df": self.df,
            "se": self.se,
            "n_units": self.n_units,
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        """The coefficients as a table."""
        return f"{self.provenance.method}, {self.se}, {self.n_units:,} units\n{self.to_frame()}"


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
