"""Whether predicted effects mean what they say, and what goes with larger effects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.table import check_level
from wavewise.evaluate.leakage_guard import Basis, refuse_learned
from wavewise.evaluate.scores import known_only, read_cluster
from wavewise.evaluate.standard_errors import Coefficients, fit_scores, std_error
from wavewise.shared.inputs import aligned, read_covariates, read_numbers, read_outcome
from wavewise.shared.results import Provenance, Result, hash_arrays

__all__ = ["Calibration", "best_linear_projection", "calibration"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration(Result, kind="calibration"):
    """Predicted effects against scores.

    Parameters
    ----------
    line : Coefficients
        ``mean`` is 1 where the average is right, ``differences`` is 1 where units differ as much as
        predicted, and 0 where the predicted differences are noise.
    groups : polars.DataFrame
        Columns group, predicted, score, std_error, n_units: by group of predicted effect.
    """

    line: Coefficients
    groups: pl.DataFrame

    def _frame(self) -> pl.DataFrame:
        return self.groups

    def summary(self) -> str:
        """Whether differences between units are real, in words."""
        row = self.line._frame().to_dicts()[1]
        if row["conf_low"] > 0:
            verdict = "units differ in the way that was predicted"
        elif row["conf_high"] < 0:
            verdict = "units differ the other way round"
        else:
            verdict = "no evidence that units differ in the way that was predicted"
        return (
            f"Of a predicted difference of 1, {row['estimate']:.3g} is found (interval "
            f"{row['conf_low']:.3g} to {row['conf_high']:.3g}): {verdict}."
        )


@aligned("predicted", "scores", "cluster")
def calibration(
    predicted: Any,
    scores: Any,
    *,
    cluster: Any = None,
    n_groups: int = 5,
    basis: Basis = "fresh",
    level: float = 0.95,
) -> Calibration:
    """Calibration of predicted effects of one arm.

    Parameters
    ----------
    predicted : array-like, shape (n_units,)
        Effects learned from other units, or out of bag.
    scores : array-like, shape (n_units,)
        Doubly robust scores of the same effect.
    cluster : array-like, shape (n_units,), optional
    n_groups : int
        Groups of equal size by predicted effect; equal predictions stay together.
    basis : {"fresh", "out-of-bag", "cross-fitted"}
        What the predictions owe to these outcomes: nothing; or each is by the model without the
        unit; or you declare the same of your own.
    level : float

    Raises
    ------
    StateError
        Where effects that a model gave are judged on the units that it learned from.
    EstimationError
        Where all predicted effects are equal or average to 0, or scores do not vary around the
        line, so that there is no standard error.

    Notes
    -----
    Least squares without an intercept of the scores on the mean predicted effect and on the
    predicted effects less their mean.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), *Fisher-Schultz lecture: generic machine
    learning inference*, Econometrica; the best linear predictor and sorted group effects.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tau = rng.normal(1, 1, 5000)
    >>> found = calibration(tau, tau + rng.normal(size=5000))
    >>> bool(abs(found.line.estimate - 1).max() < 0.1)
    True
    """
    if n_groups < 2:
        raise InputError(f"n_groups: found {n_groups}; needed 2 or more")
    refuse_learned(predicted, "predicted", scores, basis)
    values = read_outcome(scores, "scores")
    tau = read_numbers(predicted, "predicted", values.size)
    groups, known = read_cluster(cluster, values.size), ~np.isnan(values)
    values, tau, groups = known_only(known, values, tau, groups)
    mean = float(tau.mean())
    size = float(np.abs(tau).max())
    if np.ptp(tau) <= 1e-9 * size or abs(mean) <= 1e-9 * size:
        raise EstimationError(
            f"predicted effects: found a mean of {mean:.4g}, from {tau.min():.4g} to "
            f"{tau.max():.4g}; needed effects that differ and do not average to 0"
        )
    line = fit_scores(
        np.column_stack([np.full(tau.size, mean), tau - mean]),
        values,
        ("mean", "differences"),
        groups,
        level=check_level(level),
        provenance=Provenance(
            f"calibration, {basis} basis",
            hash_arrays(predicted=tau, scores=values),
            observational=getattr(scores, "observational", None),
        ),
    )
    return Calibration(line=line, groups=_groups(tau, values, groups, n_groups))


def _groups(tau: Any, values: Any, cluster: Any, n_groups: int) -> pl.DataFrame:
    edges = np.unique(np.quantile(tau, np.arange(1, n_groups) / n_groups))
    group = np.searchsorted(edges, tau, side="left")
    rows: list[dict[str, Any]] = []
    for number in np.unique(group):
        inside = group == number
        share, mean = float(inside.mean()), float(values[inside].mean())
        influence = np.where(inside, (values - mean) / share, 0.0)
        rows.append(
            {
                "group": len(rows) + 1,
                "predicted": float(tau[inside].mean()),
                "score": mean,
                "std_error": std_error(influence, cluster),
                "n_units": int(inside.sum()),
            }
        )
    return pl.DataFrame(rows)


@aligned("X", "scores", "cluster")
def best_linear_projection(
    X: Any, scores: Any, *, cluster: Any = None, level: float = 0.95
) -> Coefficients:
    """Best linear projection of one effect on covariates.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Missing numbers are set to the mean with an indicator beside them; text is a column a level
        but the first. Covariates are centred, so that the constant is the average effect.
    scores : array-like, shape (n_units,)
        Doubly robust scores of the effect.
    cluster : array-like, shape (n_units,), optional
    level : float

    Raises
    ------
    EstimationError
        Where a covariate is a combination of others.

    Notes
    -----
    The coefficients of ``argmin E[(tau(X) - b0 - X'b)**2]``, which exist whether or not the effect
    is linear: descriptions of who gains more, not causes of it.

    References
    ----------
    Semenova and Chernozhukov (2021), *Debiased machine learning of conditional average treatment
    effects and other causal functions*.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=4000)
    >>> found = best_linear_projection({"age": x}, 1 + 2 * x + rng.normal(size=4000))
    >>> found.names, bool(abs(found.estimate - [1, 2]).max() < 0.1)
    (('constant', 'age'), True)
    """
    values = read_outcome(scores, "scores")
    known, groups = ~np.isnan(values), read_cluster(cluster, values.size)
    covariates = read_covariates(X, values.size, known, "indicator", "X")
    values, _, groups = known_only(known, values, values, groups)
    centred = covariates.values - covariates.values.mean(axis=0)
    sd = centred.std(axis=0)
    constant = [name for name, s in zip(covariates.names, sd, strict=True) if s == 0]
    if constant:
        raise EstimationError(f"X: {', '.join(constant)} does not vary; leave it out")
    return fit_scores(
        np.column_stack([np.ones(values.size), centred]),
        values,
        ("constant", *covariates.names),
        groups,
        level=check_level(level),
        provenance=Provenance(
            "best linear projection",
            hash_arrays(X=covariates.values, scores=values),
            observational=getattr(scores, "observational", None),
        ),
    )
