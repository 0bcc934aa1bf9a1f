"""Propensities that are not known: estimated from covariates, with overlap shown and trimmed."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, ParamSpec, TypeVar, cast

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.provenance import UInt64Array, row_fingerprints
from wavewise.shared.inputs import aligned, encode, read_arms, read_covariates, read_outcome
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    Provenance,
    Result,
    hash_arrays,
    read_only,
)

__all__ = ["PropensityEstimate", "may_be_estimated", "propensity"]

OBSERVATIONAL = (
    "Observational: arms were not randomized. Propensities are estimated from covariates, and "
    "differences are effects only if nothing else decided on both the arm and the outcome."
)
_RIDGE = 1.0  # penalty on the squared coefficients of standardized columns, in units


@dataclass(frozen=True, eq=False, kw_only=True)
class PropensityEstimate(Result, kind="estimated propensities"):
    """Estimated probability of each arm for each unit, and which units can be compared.

    Parameters
    ----------
    arms : tuple of str
    values : array of float, shape (n_units, n_arms)
        Each unit by a model that never saw its fold; rows sum to 1.
    kept : array of bool, shape (n_units,)
        Whether the unit has overlap by the rule; the others are left out of every estimate.
    rule : str
        The rule in words.
    overlap : polars.DataFrame
        One row per arm: units, units trimmed, lowest, 5 %, median, 95 % and highest estimated
        probability of the arm among all units, and the largest standardized difference of a
        covariate's mean from that of all units, plain and weighted by one over the propensity.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    values: FloatArray
    kept: BoolArray
    rule: str
    overlap: pl.DataFrame
    provenance: Provenance
    _arm: IntArray = field(repr=False)

    @property
    def n_trimmed(self) -> int:
        """Units without overlap."""
        return int((~self.kept).sum())

    @property
    def weights(self) -> FloatArray:
        """One over the estimated probability of the unit's own arm, shape (n_units,)."""
        own: FloatArray = self.values[np.arange(self._arm.size), self._arm]
        return 1.0 / own

    def leave_out_trimmed(self, outcome: Any) -> FloatArray:
        """The outcome, not-a-number where a unit has no overlap, so that it is left out."""
        values = read_outcome(outcome, n_units=self.kept.size)
        return np.where(self.kept, values, np.nan)

    def _frame(self) -> pl.DataFrame:
        return self.overlap

    def _facts(self) -> dict[str, Any]:
        return {
            "arms": self.arms,
            "n_units": self.kept.size,
            "n_trimmed": self.n_trimmed,
            "rule": self.rule,
            "rows": self.overlap,
        }

    def summary(self) -> str:
        """Overlap by arm, how many units were trimmed and by which rule."""
        return (
            f"Estimated propensities of {self.kept.size:,} units; {self.n_trimmed:,} without "
            f"overlap are left out ({self.rule}).\n{super().summary()}"
        )


@aligned("X", "arm", "cluster")
def propensity(
    X: Any,
    arm: Any,
    *,
    cluster: Any = None,
    arms: Sequence[Any] | None = None,
    trim: float | Literal["optimal"] = "optimal",
    n_folds: int = 5,
) -> PropensityEstimate:
    """Cross-fitted probability of each arm given covariates, for units that were not randomized.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Measured before the arm was given. Missing numbers are set to the mean with an indicator.
    arm : array-like, shape (n_units,)
        Arm that each unit had.
    cluster : array-like, shape (n_units,), optional
        Units of a cluster share a fold.
    arms : sequence of labels, optional
        All arms, in the order of the columns.
    trim : "optimal" or float
        Rule by which units without overlap are left out: the one with the most precise average
        effect, or the least probability of any arm, 0 for none.
    n_folds : int
        Folds of the cross-fitting, 2 or more.

    Returns
    -------
    PropensityEstimate
        Give it as `propensity` to an estimator, or ``propensity="estimate"`` for the defaults.

    Raises
    ------
    InputError
        Where arrays do not fit together or an option is out of range.
    EstimationError
        Where there is one arm only, an arm has too few units for the folds, or no unit is left.

    Notes
    -----
    Multinomial logistic regression on standardized covariates and the squares of those with more
    than two values, with a ridge penalty of half the squared coefficients, fitted without the
    unit's fold. ``optimal`` keeps units with ``s(x) = sum_a 1 / e_a(x) <= c``, where ``c`` is the
    largest value with ``c <= 2 mean(s | s <= c)``; with two equal variances no set of units has a
    more precise average effect. The result says what is true of the units that are left, not of
    all. Whether arms were as good as random given `X` cannot be tested.

    References
    ----------
    Crump, Hotz, Imbens and Mitnik (2009), *Dealing with limited overlap in estimation of average
    treatment effects*, Biometrika 96, corollary 1; Yang, Imbens, Cui, Faries and Kadziola (2016),
    *Propensity score matching and subclassification with multi-level treatments*, Biometrics 72.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(size=2000)
    >>> arm = np.where(rng.random(2000) < 1 / (1 + np.exp(-x)), "sms", "none")
    >>> found = propensity({"x": x}, arm)
    >>> found.arms, bool(np.abs(found.values[:, 1] - 1 / (1 + np.exp(-x))).mean() < 0.05)
    (('none', 'sms'), True)
    """
    if X is None:
        raise InputError("X: found none; needed covariates to estimate propensities from")
    names, codes = read_arms(arm, len(encode(arm, "arm").codes), arms)
    n_units, counts = codes.size, np.bincount(codes, minlength=len(names))
    if isinstance(n_folds, bool | float) or n_folds < 2:
        raise InputError(f"n_folds: found {n_folds!r}; needed a whole number of 2 or more")
    if len(names) < 2 or counts.min() < 2 * n_folds:
        raise EstimationError(
            f"arm: found {counts.min():,} units in the smallest of {len(names)} arms; needed two "
            f"arms or more with {2 * n_folds} units each to estimate propensities"
        )
    keys = row_fingerprints(X, arm, np.zeros(n_units))
    order = np.argsort(keys, kind="stable")  # sums are free of the order in which units come
    columns = _columns(X, n_units, order)
    fold = _folds(keys, codes, cluster, n_folds)
    values = np.empty((n_units, len(names)))
    for number in range(n_folds):
        held, rest = fold == number, order[fold[order] != number]
        if np.unique(codes[rest]).size < len(names):
            raise EstimationError("cluster: found an arm in the clusters of one fold only")
        slopes = _fit(columns[rest], codes[rest], len(names))
        values[held] = softmax(columns[held] @ slopes, axis=1)
    kept, rule = _trimmed(values, trim)
    if np.unique(codes[kept]).size < len(names):
        raise EstimationError(
            f"propensity: found {int(kept.sum()):,} of {n_units:,} units with overlap, and an arm "
            "with none; the arms went to different kinds of units and cannot be compared"
        )
    return PropensityEstimate(
        arms=names,
        values=read_only(values),
        kept=read_only(kept),
        rule=rule,
        overlap=_overlap(names, codes, values, kept, columns[:, 1:]),
        provenance=Provenance(
            f"multinomial logistic regression, {n_folds} folds",
            hash_arrays(columns=columns, arm=codes),
            observational=OBSERVATIONAL,
        ),
        _arm=codes,
    )


def _columns(X: Any, n_units: int, order: IntArray) -> FloatArray:
    """Standardized covariates, squares of those with many values, and an intercept before them."""
    values = read_covariates(X, n_units, None, "indicator", "X").values[order]
    values = values[:, values.std(axis=0) > 0]
    if values.shape[1] == 0:
        raise EstimationError("X: found no covariate that varies; needed one or more")
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    many = np.array([np.unique(column).size > 2 for column in values.T])
    squares = values[:, many] ** 2
    sd = squares.std(axis=0)
    squares = ((squares - squares.mean(axis=0)) / np.where(sd > 0, sd, 1.0))[:, sd > 1e-9]
    found = np.column_stack([np.ones(n_units), values, squares])
    return found[np.argsort(order)]


def _folds(keys: UInt64Array, codes: IntArray, cluster: Any, n_folds: int) -> IntArray:
    """Folds with equal parts of each arm, by a hash of the units; clusters whole."""
    fold = np.empty(codes.size, dtype=np.int64)
    if cluster is None:
        fold[np.lexsort((keys, codes))] = np.arange(codes.size) % n_folds
        return fold
    groups = encode(cluster, "cluster", codes.size).codes
    sums = np.zeros(int(groups.max()) + 1, dtype=np.uint64)
    np.add.at(sums, groups, keys)
    first = np.zeros(sums.size, dtype=np.int64)
    first[groups] = codes
    of_group = np.empty(sums.size, dtype=np.int64)
    of_group[np.lexsort((sums, first))] = np.arange(sums.size) % n_folds
    return of_group[groups]


def _fit(columns: FloatArray, codes: IntArray, n_arms: int) -> FloatArray:
    """Coefficients of a multinomial logistic regression, shape (n_columns, n_arms)."""
    hot = np.eye(n_arms)[codes]
    penalty = np.full((columns.shape[1], 1), _RIDGE)
    penalty[0] = 0.0

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        slopes = flat.reshape(columns.shape[1], n_arms)
        logs = log_softmax(columns @ slopes, axis=1)
        value = -(logs * hot).sum() + (penalty * slopes**2).sum() / 2
        return value / codes.size, (
            (columns.T @ (np.exp(logs) - hot) + penalty * slopes) / codes.size
        ).ravel()

    start = np.zeros((columns.shape[1], n_arms))
    start[0] = np.log(np.maximum(hot.mean(axis=0), 1e-12))
    options = {"maxiter": 1000, "gtol": 1e-8, "ftol": 1e-14}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(start.shape))


def _trimmed(values: FloatArray, trim: Any) -> tuple[BoolArray, str]:
    """Units with overlap, and the rule in words."""
    if trim == "optimal":
        with np.errstate(divide="ignore"):
            sums = (1.0 / values).sum(axis=1)
        order = np.sort(sums)
        fits = order <= 2 * np.cumsum(order) / np.arange(1, order.size + 1)
        most = float(order[np.flatnonzero(fits)[-1]])
        return sums <= most, (
            f"kept where one over the probabilities of all arms sum to at most {most:.4g}, "
            "Crump et al. (2009)"
        )
    if isinstance(trim, bool | str) or not 0 <= trim < 1 / values.shape[1]:
        raise InputError(
            f"trim: found {trim!r}; needed 'optimal', or a least probability of every arm from 0 "
            f"to below {1 / values.shape[1]:.3g}"
        )
    return values.min(axis=1) >= trim, f"kept where every arm has a probability of {trim:g} or more"


def _overlap(
    names: tuple[str, ...], codes: IntArray, values: FloatArray, kept: BoolArray, X: FloatArray
) -> pl.DataFrame:
    rows = []
    X = X[kept]
    for code, name in enumerate(names):
        own, share = codes[kept] == code, values[:, code]
        low, five, middle, most, high = np.quantile(share, [0, 0.05, 0.5, 0.95, 1])
        gaps = (
            [
                np.abs(np.average(X[own], axis=0, weights=w) - X.mean(axis=0)).max()
                for w in (np.ones(own.sum()), 1 / share[kept][own])
            ]
            if own.any()
            else [np.nan, np.nan]
        )
        counts = (int((codes == code).sum()), int((~kept & (codes == code)).sum()))
        rows.append((name, *counts, low, five, middle, most, high, *gaps))
    columns = ["arm", "n_units", "n_trimmed", "lowest", "p05", "median", "p95", "highest"]
    return pl.DataFrame(rows, [*columns, "difference", "weighted_difference"], orient="row")


_P = ParamSpec("_P")
_R = TypeVar("_R")


def may_be_estimated(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """An estimator of X, arm and outcome that takes ``propensity="estimate"``, or an estimate.

    Units without overlap are left out as those without an outcome, and the result is marked.
    """
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        asked = kwargs.get("propensity")
        if not isinstance(asked, str | PropensityEstimate):
            return function(*args, **kwargs)
        given: dict[str, Any] = dict(zip(names, args, strict=False)) | dict(kwargs)
        found = asked
        if isinstance(found, str):
            if found != "estimate":
                raise InputError(
                    f"propensity: found {found!r}; needed probabilities, or 'estimate' where arms "
                    "were not randomized"
                )
            options: dict[str, Any] = {name: given.get(name) for name in ("cluster", "arms")}
            found = propensity(given["X"], given["arm"], **options)
        given["outcome"] = found.leave_out_trimmed(given["outcome"])
        given["propensity"] = pl.DataFrame(dict(zip(found.arms, found.values.T, strict=True)))
        result: Any = function(**given)  # type: ignore[call-arg]
        return cast("_R", marked(result, found))

    return call


def marked(result: Any, found: PropensityEstimate) -> Any:
    """The result, said to be observational, with what was left out."""
    left = f" {found.n_trimmed:,} of {found.kept.size:,} units are left out: {found.rule}."
    origin = replace(result.provenance, observational=OBSERVATIONAL + left)
    return replace(result, provenance=origin)
