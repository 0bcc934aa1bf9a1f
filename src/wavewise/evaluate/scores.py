"""Doubly robust scores: an unbiased value of each arm for each unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.observational import may_be_estimated
from wavewise.estimate.provenance import Traced, chance_fingerprints, row_fingerprints, traced
from wavewise.evaluate.standard_errors import std_error
from wavewise.shared.inputs import (
    aligned,
    encode,
    list_names,
    read_arms,
    read_covariates,
    read_matrix,
    read_outcome,
    read_propensity,
)
from wavewise.shared.labels import compress, group_sum, label_text
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    Provenance,
    Result,
    hash_arrays,
    read_only,
)

__all__ = ["DoublyRobustScores", "doubly_robust_scores", "fit_outcome"]


# What was drawn and what came of it.

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn and what came of it."""

    arms: tuple[str, ...]
    arm: IntArray  # (n_units,): Position in `arms`.
    outcome: FloatArray  # (n_units,): Not-a-number where it is missing.
    known: BoolArray  # (n_units,): Whether the outcome is known.
    propensity: FloatArray  # (n_units,): Probability of the arm that was drawn, in (0, 1].
    # (n_units, n_arms): Arms that each unit could have drawn; None where only the drawn arm's
    # probability is known.
    possible: Any

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.arm.size)


def read_drawn(arm: Any, outcome: Any, propensity: Any, arms: Sequence[Any] | None = None) -> Drawn:
    """Arms, outcomes and propensities, checked against each other."""
    numbers = read_outcome(outcome)
    known = ~np.isnan(numbers)
    if not known.any():
        raise EstimationError(f"outcome: found all {numbers.size:,} missing; needed some")
    planned = arms
    if arms is None and (isinstance(propensity, Mapping) or hasattr(propensity, "columns")):
        named = propensity if isinstance(propensity, Mapping) else propensity.columns
        names = [label_text(name) for name in named]
        if isinstance(propensity, Mapping):
            names = sorted({*names, *encode(arm, "arm", numbers.size).names})
        planned = names
    names_of_arms, codes = read_arms(arm, numbers.size, planned)
    if isinstance(propensity, Mapping):  # an arm that is not named has no share
        given = {label_text(name) for name in propensity}
        propensity = {**propensity, **{a: 0.0 for a in names_of_arms if a not in given}}
    drawn, possible = _drawn(propensity, names_of_arms, codes)
    return Drawn(names_of_arms, codes, numbers, known, drawn, possible)


def read_cluster(cluster: Any, n_units: int) -> IntArray | None:
    """Codes of clusters without gaps, or None."""
    if cluster is None:
        return None
    labels = encode(cluster, "cluster", n_units)
    if len(labels.levels) < 2:
        raise InputError("cluster: found one cluster; needed two or more for a standard error")
    return labels.codes


def known_only(
    known: BoolArray, scores: FloatArray, numbers: FloatArray, cluster: IntArray | None
) -> tuple[FloatArray, FloatArray, IntArray | None]:
    """Units whose score is known: those without an outcome have none."""
    if not known.any():
        raise InputError(f"scores: found all {known.size:,} missing; needed some")
    if known.all():
        return scores, numbers, cluster
    groups = None if cluster is None else compress(cluster[known])[0]
    return scores[known], numbers[known], groups


def _drawn(propensity: Any, names: tuple[str, ...], arm: IntArray) -> tuple[FloatArray, Any]:
    """Probability of the arm that was drawn, and which arms were possible."""
    matrix = read_propensity(propensity, names, arm.size)
    n_absent = int(np.isnan(matrix).sum())
    if n_absent:
        raise InputError(
            f"propensity: found {n_absent:,} missing; needed the stored probability of every unit"
        )
    if matrix.ndim == 1:
        _check_range(matrix, "the arm that was drawn")
        return matrix, None
    sums = matrix.sum(axis=1)
    worst = sums[np.argmax(np.abs(sums - 1))]
    if matrix.min() < 0 or abs(worst - 1) > _TOLERANCE:
        raise InputError(
            f"propensity: found values from {matrix.min():.4g} and a sum of {worst:.6g} for a "
            "unit; needed probabilities in [0, 1] that sum to 1 over the arms"
        )
    drawn = matrix[np.arange(arm.size), arm]
    bad = sorted({names[code] for code in arm[drawn <= 0]})
    if bad:
        raise InputError(
            f"propensity: found 0 for {int((drawn <= 0).sum()):,} units that drew "
            f"{list_names(bad)}; an arm that was drawn had a probability above 0; give the stored "
            "propensities"
        )
    return drawn, matrix > 0


def _check_range(values: FloatArray, what: str) -> None:
    if not ((values > 0) & (values <= 1)).all():
        bad = int((~((values > 0) & (values <= 1))).sum())
        raise InputError(f"propensity: found {bad:,} values outside (0, 1] for {what}")


@dataclass(frozen=True, eq=False, kw_only=True)
class DoublyRobustScores(Result, kind="doubly robust scores"):
    """Scores of each unit's outcome under each arm.

    Parameters
    ----------
    arms : tuple of str
    values : array of float, shape (n_units, n_arms)
        Averages of a column estimate the mean outcome if everybody had that arm. Not-a-number for
        units whose outcome is missing, whom every use of the scores leaves out.
    control : str or None
        The arm that `effects` compares with.
    cluster : array of int, shape (n_units,), or None
    trained_rows : array of uint64, shape (n_units,)
        Sorted hashes of the units.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    values: FloatArray
    control: str | None
    cluster: IntArray | None
    trained_rows: npt.NDArray[np.uint64]
    provenance: Provenance
    _by_chance: npt.NDArray[np.uint64] = field(repr=False)

    @property
    def treated(self) -> tuple[str, ...]:
        """Arms, the control left out."""
        return tuple(arm for arm in self.arms if arm != self._control())

    @property
    def effects(self) -> Traced:
        """Scores of effects against the control, shape (n_units, n_arms - 1), by `treated`."""
        base = self.arms.index(self._control())
        effects = np.delete(self.values - self.values[:, [base]], base, axis=1)
        return traced(effects, self.trained_rows, self._by_chance, self.provenance.observational)

    def effect(self, arm: Any) -> Traced:
        """Scores of one arm's effect against the control, shape (n_units,)."""
        if label_text(arm) not in self.treated:
            raise InputError(f"found no arm '{arm}'; needed one of {', '.join(self.treated)}")
        column: Any = self.effects[:, self.treated.index(label_text(arm))]
        return cast("Traced", column)

    @property
    def n_missing(self) -> int:
        """Units left out since their outcome is missing."""
        return int(np.isnan(self.values[:, 0]).sum())

    def _control(self) -> str:
        if self.control is None:
            raise InputError("the scores have no control; give control= when they are made")
        return self.control

    def _frame(self) -> pl.DataFrame:
        """One row per arm: the mean outcome if everybody had it, and its standard error."""
        known = ~np.isnan(self.values[:, 0])
        values = self.values[known]
        groups = None if self.cluster is None else compress(self.cluster[known])[0]
        means = values.mean(axis=0)
        errors = [std_error(c - c.mean(), groups) for c in values.T]
        return pl.DataFrame(
            {"arm": list(self.arms), "mean_outcome": means, "std_error": errors},
            schema_overrides={"arm": pl.String},
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "control": self.control,
            "n_units": int(self.values.shape[0]) - self.n_missing,
            "n_missing": self.n_missing,
            "rows": self._frame(),
        }

    def summary(self) -> str:
        """Means by arm, and what is assumed."""
        return (
            f"Doubly robust scores of {self.values.shape[0] - self.n_missing:,} units.\n"
            f"{super().summary()}\n"
            "Unbiased where the propensities are those with which arms were drawn"
            + (", or the outcome model is right." if self.provenance.observational else ".")
        )


@aligned("X", "arm", "outcome", "propensity", "cluster", "predicted")
@may_be_estimated
def doubly_robust_scores(
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    propensity: Any,
    control: Any = None,
    arms: Sequence[Any] | None = None,
    cluster: Any = None,
    predicted: Any = None,
    n_folds: int = 5,
) -> DoublyRobustScores:
    """Doubly robust score of each unit's outcome under each arm.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; frame; or None
        Covariates of the outcome model; None for arm means alone.
    arm : array-like, shape (n_units,)
    outcome : array-like, shape (n_units,)
        Finite numbers.
    propensity : mapping of arm to share; array of shape (n_units,) or (n_units, n_arms); or frame
        Probabilities with which arms were drawn. Where arms were not randomized "estimate", or
        the result of `ww.estimate.propensity`; what comes of it is marked observational.
    control : label, optional
        Needed for scores of effects.
    arms : sequence of labels, optional
        All arms, in the order of the columns.
    cluster : array-like, shape (n_units,), optional
        Units of a cluster share a fold.
    predicted : array of float, shape (n_units, n_arms), optional
        Your own predicted outcomes, each made without the unit; by default cross-fitted least
        squares.
    n_folds : int
        Folds of the cross-fitting, 2 or more.

    Returns
    -------
    DoublyRobustScores

    Raises
    ------
    InputError
        Where arrays do not fit together or propensities do not fit the arms.

    Notes
    -----
    ``Gamma_ia = mu_a(x_i) + 1{W_i = a} / e_i(W_i) (Y_i - mu_a(x_i))``. With known propensities
    ``E[Gamma_ia | x_i] = E[Y_i(a) | x_i]`` for any ``mu`` that was made without unit ``i``. For an
    arm that a unit could not draw the score is the prediction alone. Folds
    follow from a hash of covariates and arm, so that no generator is needed and the order of units
    does not matter.

    References
    ----------
    Robins, Rotnitzky and Zhao (1994); Chernozhukov et al. (2018) on cross-fitting.

    Examples
    --------
    >>> import numpy as np
    >>> arm = np.array(["sms", "control"] * 50)
    >>> s = doubly_robust_scores(None, arm, arm == "sms", propensity={"sms": .5, "control": .5},
    ...                          control="control")
    >>> s.effect("sms").mean().round(6).item()
    1.0
    """
    drawn = read_drawn(arm, outcome, propensity, arms)
    if control is not None and label_text(control) not in drawn.arms:
        raise InputError(f"control: found '{control}'; the arms are {', '.join(drawn.arms)}")
    groups = read_cluster(cluster, drawn.n_units)
    if not drawn.known.all() and groups is not None and (np.unique(groups[drawn.known]).size < 2):
        raise EstimationError("cluster: found outcomes in one cluster; needed two or more")
    prints = row_fingerprints(_table(X, drawn.n_units), arm, drawn.outcome)
    if predicted is None:
        keys = row_fingerprints(_table(X, drawn.n_units), arm, np.zeros(drawn.n_units))
        fold = _folds(keys, drawn.outcome, groups, n_folds)
        model = _in_own_order(X, drawn, prints, fold)
    else:
        model = _predicted(predicted, drawn)
    values = model.copy()
    units = np.arange(drawn.n_units)
    values[units, drawn.arm] += (drawn.outcome - model[units, drawn.arm]) / drawn.propensity
    if drawn.possible is not None:
        values[~drawn.possible] = model[~drawn.possible]
    values[~drawn.known] = np.nan
    rows = np.sort(prints)
    how = "given" if predicted is not None else f"least squares, {n_folds} folds"
    return DoublyRobustScores(
        arms=drawn.arms,
        values=read_only(values),
        control=None if control is None else label_text(control),
        cluster=groups,
        trained_rows=read_only(rows),
        provenance=Provenance(f"doubly robust scores, outcome model {how}", hash_arrays(rows=rows)),
        _by_chance=chance_fingerprints(_table(X, drawn.n_units), arm, drawn.outcome, prints),
    )


def _table(X: Any, n_units: int) -> Any:
    return {"none": np.zeros(n_units)} if X is None else X


def _folds(
    keys: npt.NDArray[np.uint64], outcome: FloatArray, cluster: IntArray | None, n_folds: int
) -> IntArray:
    """Folds by a hash of covariates and arm, equal ones spread by outcome; clusters whole."""
    if isinstance(n_folds, bool | float) or n_folds < 2:
        raise InputError(f"n_folds: found {n_folds!r}; needed a whole number of 2 or more")
    if cluster is None:
        return _dealt(keys, outcome, n_folds)
    sums = np.zeros(int(cluster.max()) + 1, dtype=np.uint64)
    np.add.at(sums, cluster, keys)
    return _dealt(sums, group_sum(cluster, np.nan_to_num(outcome)), n_folds)[cluster]


def _dealt(keys: npt.NDArray[np.uint64], outcome: FloatArray, n_folds: int) -> IntArray:
    fold = np.empty(keys.size, dtype=np.int64)
    fold[np.lexsort((outcome, keys))] = np.arange(keys.size) % n_folds
    return fold


def _in_own_order(
    X: Any, drawn: Drawn, prints: npt.NDArray[np.uint64], fold: IntArray
) -> FloatArray:
    """Cross-fitted predictions, with sums in an order that is free of the order of units."""
    order = np.lexsort((drawn.propensity, prints))
    found = np.empty((drawn.n_units, len(drawn.arms)))
    found[order] = cross_fitted(
        design_columns(X, order),
        drawn.arm[order],
        drawn.outcome[order],
        fold[order],
        len(drawn.arms),
    )
    return found


def _predicted(predicted: Any, drawn: Drawn) -> FloatArray:
    values = read_matrix(predicted, "predicted")
    if values.shape != (drawn.n_units, len(drawn.arms)) or not np.isfinite(values).all():
        raise InputError(
            f"predicted: found shape {values.shape}; needed finite numbers of shape "
            f"({drawn.n_units}, {len(drawn.arms)}), a column for each of {', '.join(drawn.arms)}"
        )
    return values


# Predicted outcomes under each arm, each unit by a model that never saw its fold.

_RIDGE = 1e-3  # of each standardized column's sum of squares: only breaks exact dependence


def design_columns(X: Any, order: IntArray) -> FloatArray:
    """Covariates as standardized columns with an intercept, shape (n_units, n_columns + 1).

    Units come in the order that is given, so that sums over them do not depend on the caller's.
    Missing numbers are set to the mean with an indicator beside them; text is a column a level.
    Constant columns are left out.
    """
    if X is None:
        return np.ones((order.size, 1))
    values = read_covariates(X, order.size, None, "indicator", "X").values[order]
    sd = values.std(axis=0)
    moving = sd > 0
    standard = (values[:, moving] - values[:, moving].mean(axis=0)) / sd[moving]
    return np.column_stack([np.ones(order.size), standard])


def cross_fitted(
    columns: FloatArray, arm: IntArray, outcome: FloatArray, fold: IntArray, n_arms: int
) -> FloatArray:
    """Predicted outcome of each unit under each arm, shape (n_units, n_arms).

    Notes
    -----
    Least squares with a slight ridge: one slope for all arms and an intercept per arm; an arm with
    more than ten units per column gets slopes of its own on the residuals. The scores are unbiased
    whatever this model is, since propensities are known; it only takes noise away.
    """
    predicted = np.zeros((arm.size, n_arms))
    known = ~np.isnan(outcome)
    for number in range(int(fold.max()) + 1):
        held, kept = fold == number, (fold != number) & known
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
