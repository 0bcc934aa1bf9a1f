"""Doubly robust scores: an unbiased value of each arm for each unit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.fingerprints import chance_fingerprints, row_fingerprints
from wavewise.estimate.labels import group_sum, label_text
from wavewise.estimate.traced import Traced, traced
from wavewise.evaluate.inputs import Drawn, read_cluster, read_drawn
from wavewise.evaluate.outcome_model import cross_fitted, design_columns
from wavewise.evaluate.precision import std_error
from wavewise.results import FloatArray, IntArray, Provenance, hash_arrays, read_only

__all__ = ["DoublyRobustScores", "doubly_robust_scores"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DoublyRobustScores:
    """Scores of each unit's outcome under each arm.

    Parameters
    ----------
    arms : tuple of str
    values : array of float, shape (n_units, n_arms)
        Averages of a column estimate the mean outcome if everybody had that arm.
    control : str or None
        The arm that `effects` compares with.
    cluster : array of int, shape (n_units,), or None
    trained_rows : array of uint64, shape (n_units,)
        Sorted fingerprints of the units.
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
        return traced(effects, self.trained_rows, self._by_chance)

    def effect(self, arm: Any) -> Traced:
        """Scores of one arm's effect against the control, shape (n_units,)."""
        if label_text(arm) not in self.treated:
            raise InputError(f"found no arm '{arm}'; needed one of {', '.join(self.treated)}")
        column = self.effects[:, self.treated.index(label_text(arm))]
        return traced(column, self.trained_rows, self._by_chance)

    def _control(self) -> str:
        if self.control is None:
            raise InputError("the scores have no control; give control= when they are made")
        return self.control

    def to_frame(self) -> pl.DataFrame:
        """One row an arm: the mean outcome if everybody had it, and its standard error."""
        means = self.values.mean(axis=0)
        errors = [std_error(c - c.mean(), self.cluster) for c in self.values.T]
        return pl.DataFrame(
            {"arm": list(self.arms), "mean_outcome": means, "std_error": errors},
            schema_overrides={"arm": pl.String},
        )

    def to_dict(self) -> dict[str, Any]:
        """Means by arm as plain values, for JSON; without the units' own scores."""
        return {
            "version": 1,
            "kind": "doubly robust scores",
            "control": self.control,
            "n_units": int(self.values.shape[0]),
            "rows": self.to_frame().to_dicts(),
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        """Means by arm, and what is assumed."""
        return (
            f"Doubly robust scores of {self.values.shape[0]:,} units.\n{self.to_frame()}\nUnbiased "
            "where the propensities are those with which arms were drawn."
        )


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
        Probabilities with which arms were drawn; see `read_drawn`.
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
    return _dealt(sums, group_sum(cluster, outcome), n_folds)[cluster]


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
    values = np.array(predicted, dtype=np.float64)
    if values.shape != (drawn.n_units, len(drawn.arms)) or not np.isfinite(values).all():
        raise InputError(
            f"predicted: found shape {values.shape}; needed finite numbers of shape "
            f"({drawn.n_units}, {len(drawn.arms)}), a column for each of {', '.join(drawn.arms)}"
        )
    return values
