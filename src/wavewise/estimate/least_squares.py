"""Least squares with absorbed strata effects."""

from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.labels import group_sum
from wavewise.estimate.rows import Rows
from wavewise.results import FloatArray

__all__ = ["Fit", "fit_rows"]

# what a column may keep of itself, once the earlier ones are taken out, to count as new
_RANK_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Fit:
    """A least-squares fit in units of rows scaled by the root of their weight.

    Parameters
    ----------
    effects : array of float, shape (n_effects,)
        Coefficients of the arm indicators.
    basis : array of float, shape (n_rows, n_columns)
        Orthonormal basis of the regressors once strata effects are taken out.
    loading : array of float, shape (n_rows, n_effects)
        Weight of each scaled outcome in each effect.
    residual : array of float, shape (n_rows,)
        Scaled residual of the row's mean outcome.
    """

    effects: FloatArray
    basis: FloatArray
    loading: FloatArray
    residual: FloatArray


def fit_rows(rows: Rows) -> Fit:
    """Effects of the arms by the regression on arms, strata effects and covariates.

    Raises
    ------
    EstimationError
        Where columns are linear combinations of others, or no residual is left.

    Notes
    -----
    Frisch-Waugh-Lovell: with ``P`` the projection on the strata indicators,
    ``beta = (X'(I - P)X)^-1 X'(I - P)y``. The scaled columns go through a QR decomposition
    ``(I - P)X = QR``, so that ``beta = R^-1 Q'y``, and the leverages are those of ``P + QQ'``.
    """
    if rows.n_units <= rows.rank_full:
        raise EstimationError(
            f"found {rows.n_units:,} units for {rows.rank_full:,} coefficients "
            f"({rows.n_strata:,} strata or intercept, {len(rows.columns):,} columns); needed more "
            "units than coefficients; use coarser strata or fewer covariates"
        )
    y = _within(rows, rows.outcome[:, None])[:, 0]
    x = _within(rows, rows.x)
    size = _column_sizes(rows, x)
    basis, triangle = np.linalg.qr(x / size)
    _check_rank(rows, triangle)
    inverse = np.linalg.inv(triangle)[: rows.n_effects]
    loading = basis @ inverse.T / size[: rows.n_effects]
    scores = basis.T @ y
    return Fit(
        effects=inverse @ scores / size[: rows.n_effects],
        basis=basis,
        loading=loading,
        residual=y - basis @ scores,
    )


def _within(rows: Rows, values: FloatArray) -> FloatArray:
    """Scaled deviations from the stratum's weighted mean."""
    weight = rows.root**2
    total = rows.stratum_weight
    out = np.empty_like(values)
    for k in range(values.shape[1]):
        column = values[:, k]
        sums = group_sum(rows.stratum, weight * column, rows.n_strata)
        out[:, k] = rows.root * (column - (sums / total)[rows.stratum])
    return out


def _column_sizes(rows: Rows, x: FloatArray) -> FloatArray:
    size: FloatArray = np.linalg.norm(x, axis=0)
    original = np.linalg.norm(rows.x * rows.root[:, None], axis=0)
    constant = size <= _RANK_TOLERANCE * original
    if constant.any():
        names = [name for name, flat in zip(rows.columns, constant, strict=True) if flat]
        where = "within every stratum" if rows.n_strata > 1 else "over all units"
        raise EstimationError(
            f"found {_listed(names)} constant {where}; needed columns that vary; leave them out, "
            "or give interact=False where only a product with an arm is constant"
        )
    return size


def _check_rank(rows: Rows, triangle: FloatArray) -> None:
    """Refuse columns that earlier columns already hold, and name both."""
    dependent = np.flatnonzero(np.abs(np.diag(triangle)) < _RANK_TOLERANCE)
    if not dependent.size:
        return
    parts = []
    for j in dependent[:10]:
        earlier = [k for k in range(j) if k not in dependent]
        parts.append(f"{rows.columns[j]} ({_made_of(rows, triangle, earlier, int(j))})")
    raise EstimationError(
        f"found {dependent.size} of {len(rows.columns)} columns that are linear combinations of "
        f"others: {'; '.join(parts)}; leave them out, or give interact=False where only a product "
        "with an arm is at fault"
    )


def _made_of(rows: Rows, triangle: FloatArray, earlier: list[int], j: int) -> str:
    if not earlier:
        return "of the strata effects"
    share = np.linalg.lstsq(triangle[:, earlier], triangle[:, j], rcond=None)[0]
    names = [rows.columns[k] for k, a in zip(earlier, share, strict=True) if abs(a) > 1e-6]
    return f"of {_listed(names)}" if names else "of the strata effects"


def _listed(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
