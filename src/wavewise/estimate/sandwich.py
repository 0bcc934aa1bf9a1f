"""Robust covariance of the effects: HC0 to HC3 over units, CR1, CR1S and CR2 over clusters."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.degrees_of_freedom import WorkingModel
from wavewise.estimate.influence import Influence, cluster_influence, group_influence
from wavewise.estimate.least_squares import Fit
from wavewise.estimate.rows import Rows
from wavewise.results import BoolArray, FloatArray

__all__ = ["Precision", "StdErrorKind", "precision", "resolve_kind"]

StdErrorKind = Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"]

_COUNTERPART: dict[str, StdErrorKind] = {"HC0": "CR1", "HC1": "CR1", "HC2": "CR2"}
_POWER = {"HC0": 0, "HC1": 0, "HC2": 0.5, "HC3": 1, "CR1": 0, "CR1S": 0, "CR2": 0.5}

# a loading this small, relative to the effect's, is rounding
_SILENT = 1e-7
# a variance this small, relative to that of outcomes as large as the largest, is rounding
_NO_VARIANCE = 1e-24


@dataclass(frozen=True, eq=False)
class Precision:
    """Covariance of the effects, and the degrees of freedom of any combination of them.

    Parameters
    ----------
    cov : array of float, shape (n_effects, n_effects)
        Covariance of the effects.
    fixed_df : float or None
        Degrees of freedom of every combination; None where they are Satterthwaite's.
    model : WorkingModel or None
        What Satterthwaite's degrees of freedom are computed from.
    silent : array of float, shape (n_directions, n_effects)
        Directions without a residual; see `Influence`.
    floor : array of float, shape (n_effects,)
        Standard errors not above this are rounding.
    """

    cov: FloatArray
    fixed_df: float | None
    model: WorkingModel | None
    silent: FloatArray
    floor: FloatArray

    def variance(self, weights: FloatArray) -> float:
        """Variance of a combination of the effects."""
        return float(weights @ self.cov @ weights)

    def df(self, weights: FloatArray) -> float:
        """Degrees of freedom of the standard error of a combination of the effects."""
        if self.fixed_df is not None or self.model is None:
            return float(self.fixed_df or np.inf)
        return self.model.degrees_of_freedom(weights)

    def refusal(self, weights: FloatArray) -> str | None:
        """Why a combination has no standard error, or None where it has one."""
        size = np.abs(weights).max()
        if self.silent.size and np.abs(self.silent @ weights).max() > _SILENT * size:
            return (
                "a unit or cluster that it rests on is fitted exactly (leverage 1), so that its "
                "variance cannot be seen; needed two or more in each arm compared"
            )
        if self.variance(weights) <= float(np.abs(weights) @ self.floor) ** 2:
            return "the outcome does not vary around the fit, so that there is no error to measure"
        return None


def resolve_kind(se: Any, clustered: bool) -> StdErrorKind:
    """The standard error that will be used: an HC kind becomes its counterpart under clusters.

    Raises
    ------
    InputError
        Where the kind is unknown, needs clusters, or has no counterpart under clusters.
    """
    kinds = get_args(StdErrorKind)
    if se not in kinds:
        raise InputError(f"se: found {se!r}; needed one of {', '.join(kinds)}")
    kind: StdErrorKind = se
    if not clustered and kind.startswith("CR"):
        raise InputError(f"se: found {kind!r} without clusters; give cluster=, or an HC kind")
    if not clustered or kind.startswith("CR"):
        return kind
    if kind not in _COUNTERPART:
        raise InputError(
            f"se: found {kind!r} with clusters, where it has no counterpart; give 'CR2' or 'CR1'"
        )
    return _COUNTERPART[kind]


def precision(rows: Rows, fit: Fit, kind: StdErrorKind) -> Precision:
    """Covariance of the effects.

    Notes
    -----
    With loadings ``Z`` and residuals ``e``: over units,
    ``V = c sum_i z_i z_i' e_i^2 (1 - h_i)^(-2a)`` with ``a = 0`` (HC0, HC1), 1/2 (HC2), 1 (HC3)
    and ``c = n / (n - k)`` for HC1, else 1. Over clusters,
    ``V = c sum_g Z_g'A_g e_g e_g'A_g Z_g`` with ``A_g = I`` and
    ``c = G / (G - 1) (n - 1) / (n - k)`` (CR1, CR1S), or ``A_g = (I - H_gg)^(-1/2)`` and
    ``c = 1`` (CR2). Leverages hold the strata effects. ``k`` counts strata effects in HC1 and
    CR1S; in CR1 it counts the intercept in their place.

    References
    ----------
    MacKinnon and White (1985); Bell and McCaffrey (2002); Cameron and Miller (2015), equation
    12; Pustejovsky and Tipton (2018), equations 5 to 7.
    """
    if kind.startswith("CR") and (rows.n_clusters or 0) < 2:
        raise EstimationError(
            "cluster: found a single cluster; needed two or more in each arm; give the groups that "
            "were randomized, or cluster=None where units were randomized one by one"
        )
    influence = _influence(rows, fit, _POWER[kind])
    satterthwaite = kind in {"HC2", "CR2"}
    return Precision(
        cov=_factor(rows, kind) * _meat(rows, fit, influence),
        fixed_df=None if satterthwaite else _fixed_df(rows, kind),
        model=WorkingModel.of(rows, fit.basis, influence.loading) if satterthwaite else None,
        silent=_silent(rows, influence),
        floor=_floor(rows, fit),
    )


def _influence(rows: Rows, fit: Fit, power: float) -> Influence:
    if rows.cluster is None:
        return group_influence(rows, fit, power)
    return cluster_influence(rows, fit, rows.cluster, power)


def _meat(rows: Rows, fit: Fit, influence: Influence) -> FloatArray:
    """Sum over groups of the outer product of ``Z_g'A_g e_g``, shape (n_effects, n_effects)."""
    loading = influence.loading
    if rows.cluster is None:
        squares = rows.within + fit.residual**2
        like: FloatArray = loading.T @ (loading * squares[:, None])
        return like
    starts = np.flatnonzero(np.diff(rows.cluster, prepend=-1))
    scores = np.add.reduceat(loading * fit.residual[:, None], starts, axis=0)
    meat: FloatArray = scores.T @ scores
    return meat


def _factor(rows: Rows, kind: StdErrorKind) -> float:
    if kind == "HC1":
        return rows.n_units / (rows.n_units - rows.rank_full)
    if kind not in {"CR1", "CR1S"} or rows.n_clusters is None:
        return 1.0
    rank = rows.rank_full if kind == "CR1S" else len(rows.columns) + 1
    clusters = rows.n_clusters
    return clusters / (clusters - 1) * (rows.n_units - 1) / (rows.n_units - rank)


def _fixed_df(rows: Rows, kind: StdErrorKind) -> float:
    if kind.startswith("CR") and rows.n_clusters is not None:
        return float(rows.n_clusters - 1)
    return float(rows.n_units - rows.rank_full)


def _silent(rows: Rows, influence: Influence) -> FloatArray:
    """Silent directions, with one for each arm that has a single unit or cluster."""
    effects = rows.x[:, : rows.n_effects] == 1
    arms = np.column_stack([~effects.any(axis=1), effects])
    # the control's loading in an effect is minus that of all arms together
    directions = np.vstack([np.ones(rows.n_effects), np.eye(rows.n_effects)])
    alone = [_n_groups(rows, member) < 2 for member in arms.T]
    return np.vstack([influence.silent, directions[alone]])


def _n_groups(rows: Rows, member: BoolArray) -> float:
    if rows.cluster is None:
        return float(rows.copies[member].sum())
    return float(np.unique(rows.cluster[member]).size)


def _floor(rows: Rows, fit: Fit) -> FloatArray:
    largest = float(np.abs(rows.outcome).max())
    floor: FloatArray = np.sqrt(_NO_VARIANCE) * largest * np.linalg.norm(fit.loading, axis=0)
    return floor
