"""Predicted outcomes under each arm, each unit by a model that never saw its fold."""

from typing import Any

import numpy as np
import polars as pl

from wavewise.estimate.covariates import read_covariates
from wavewise.results import FloatArray, IntArray

__all__ = ["cross_fitted", "design_columns", "fit_outcome"]

_RIDGE = 1e-3  # of each standardized column's sum of squares: only breaks exact dependence


def design_columns(X: Any, order: IntArray) -> FloatArray:
    """Covariates as standardized columns with an intercept, shape (n_units, n_columns + 1).

    Units come in the order that is given, so that sums over them do not depend on the caller's.
    Missing numbers are set to the mean with an indicator beside them; text is a column a level.
    Constant columns are left out.
    """
    if X is None:
        return np.ones((order.size, 1))
    values = read_covariates(X, order.size, None, "indicator").values[order]
    sd = values.std(axis=0)
    moving = sd > 0
    standard = (values[:, moving] - values[:, moving].mean(axis=0)) / sd[moving]
    return np.column_stack([np.ones(order.size), standard])


def cross_fitted(
    columns: FloatArray, arm: IntArray, outcome: FloatArray, fold: IntArray, n_arms: int
) -> FloatArray:
    """Predicted outcome of each unit under each arm, shape (n_units, n_arms).

    Parameters
    ----------
    columns : array of float, shape (n_units, n_columns)
        The first is the intercept.
    arm : array of int, shape (n_units,)
    outcome : array of float, shape (n_units,)
    fold : array of int, shape (n_units,)
        Units of a fold are predicted from the others.
    n_arms : int

    Notes
    -----
    Least squares with a slight ridge: one slope for all arms and an intercept an arm; an arm with
    more than ten units a column gets slopes of its own on the residuals. The scores are unbiased
    whatever this model is, since propensities are known; it only takes noise away.
    """
    predicted = np.zeros((arm.size, n_arms))
    for number in range(int(fold.max()) + 1):
        held, kept = fold == number, fold != number
        shared, means = _common(columns[kept], arm[kept], outcome[kept], n_arms)
        base = columns[held, 1:] @ shared
        residual = outcome[kept] - columns[kept, 1:] @ shared
        for code in range(n_arms):
            own = arm[kept] == code
            predicted[held, code] = base + means[code]
            if own.sum() > 10 * columns.shape[1]:
                slopes = _ridge(columns[kept][own], residual[own])
                predicted[held, code] = base + columns[held] @ slopes
    return predicted


def fit_outcome(X: pl.DataFrame, outcome: FloatArray, X_new: pl.DataFrame) -> FloatArray:
    """Outcome of new units that covariates predict, (n_new,), learned on other units.

    Least squares with the slight ridge of :func:`cross_fitted`.

    Parameters
    ----------
    X : polars.DataFrame, shape (n_units, n_covariates)
    outcome : array of float, shape (n_units,)
    X_new : polars.DataFrame, shape (n_new, n_covariates)
        The same columns.
    """
    both = pl.concat([X, X_new], how="vertical_relaxed")
    columns = design_columns(both, np.arange(both.height))
    slopes = _ridge(columns[: X.height], outcome)
    return np.asarray(columns[X.height :] @ slopes)


def _common(
    columns: FloatArray, arm: IntArray, outcome: FloatArray, n_arms: int
) -> tuple[FloatArray, FloatArray]:
    """Common slopes within arms, and each arm's intercept; an unseen arm has that of all."""
    counts = np.bincount(arm, minlength=n_arms)
    safe = np.maximum(counts, 1)
    rest = columns[:, 1:]
    centres = [np.bincount(arm, weights=c, minlength=n_arms) / safe for c in (outcome, *rest.T)]
    mean_y, mean_x = centres[0], np.array(centres[1:]).reshape(rest.shape[1], n_arms).T
    slopes = _ridge(rest - mean_x[arm], outcome - mean_y[arm], intercept=False)
    means = mean_y - mean_x @ slopes
    overall = float(outcome.mean() - rest.mean(axis=0) @ slopes) if outcome.size else 0.0
    return slopes, np.where(counts > 0, means, overall)


def _ridge(columns: FloatArray, outcome: FloatArray, *, intercept: bool = True) -> FloatArray:
    gram = columns.T @ columns
    penalty = np.full(columns.shape[1], _RIDGE * columns.shape[0])
    if intercept:
        penalty[0] = 0.0
    slopes = np.linalg.solve(gram + np.diag(penalty), columns.T @ outcome)
    return np.asarray(slopes, dtype=np.float64)
