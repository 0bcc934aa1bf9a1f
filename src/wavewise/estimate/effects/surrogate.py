"""Surrogate index: what early outcomes predict of a later one, learned where both are known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.results import Effects
from wavewise.shared.inputs import aligned, encode, list_names, read_outcome, read_outcomes
from wavewise.shared.labels import group_sum
from wavewise.shared.results import FloatArray, Provenance, Result, hash_arrays

__all__ = ["SurrogateIndex", "surrogate_index"]

_DEPENDENT = 1e-8  # what a column may keep of itself, once the others are taken out


@dataclass(frozen=True, eq=False)
class SurrogateIndex(Result, kind="surrogate index"):
    """A linear prediction of a later outcome from early ones."""

    surrogates: tuple[str, ...]
    intercept: float
    slope: FloatArray  # (n_surrogates,): Of each surrogate.
    cov: FloatArray  # (n_surrogates, n_surrogates): Covariance of the slopes.
    r_squared: float  # Of the later outcome's variance, the share that is predicted.
    n_units: int  # Units with all of them, on which it was learned.
    provenance: Provenance

    def of(self, surrogates: Any) -> FloatArray:
        """The index of other units, shape (n_units,); not-a-number where a surrogate is missing.

        Parameters
        ----------
        surrogates : mapping or frame, name to array (n_units,)
            The same ones as it was learned on.
        """
        columns = read_outcomes(surrogates, "surrogates")
        if set(columns) != set(self.surrogates):
            raise InputError(
                f"surrogates: found {list_names(tuple(columns))}; needed "
                f"{list_names(self.surrogates)}, which the index was learned on"
            )
        values = np.column_stack([columns[name] for name in self.surrogates])
        return np.asarray(self.intercept + values @ self.slope)

    def effects(self, surrogates: Any, arm: Any, **options: Any) -> Effects:
        """Effects of arms on the later outcome, as far as it goes through the surrogates.

        Parameters
        ----------
        surrogates : as in `of`
            Of the units of another experiment.
        arm : array-like, shape (n_units,)
            Their arms.
        **options
            As in :func:`wavewise.estimate.ate`.

        Notes
        -----
        ``V = V_index + D S D'``: the covariance of the effects on the index, and what is not known
        of the slopes (covariance S) times the effects D on the surrogates. Units must be others
        than those that the index was learned on.
        """
        columns = read_outcomes(surrogates, "surrogates")
        of_index = ate(self.of(columns), arm, **options)
        each = [ate(columns[name], arm, **options) for name in self.surrogates]
        return self.with_learning(of_index, each)

    def with_learning(self, of_index: Effects, of_each: list[Effects]) -> Effects:
        """Effects on the index whose covariance holds the error of the slopes too."""
        effects = np.column_stack([part.estimate for part in of_each])
        extra = effects @ self.cov @ effects.T
        kept = [of_index.names.index(name) for name in of_index._estimable]
        precise = replace(
            of_index._precision, cov=of_index._precision.cov + extra[np.ix_(kept, kept)]
        )
        return replace(of_index, cov=of_index.cov + extra, _precision=precise)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the index to stand for the later outcome."""
        return (
            "Messages change the later outcome only through the surrogates.",
            "The later outcome depends on the surrogates here as where the index was learned.",
            f"The surrogates predict {self.r_squared:.0%} of its variance "
            f"({self.n_units:,} units).",
        )

    def _frame(self) -> pl.DataFrame:
        columns = {
            "surrogate": list(self.surrogates),
            "slope": self.slope,
            "std_error": np.sqrt(np.diag(self.cov)),
        }
        return pl.DataFrame(columns, schema_overrides={"surrogate": pl.String})

    def _facts(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "r_squared": self.r_squared,
            "n_units": self.n_units,
            "rows": self._frame(),
            "assumptions": self.assumptions,
        }


@aligned("outcome", "surrogates", "cluster")
def surrogate_index(outcome: Any, surrogates: Any, *, cluster: Any = None) -> SurrogateIndex:
    """Linear prediction of a later outcome from early ones, to use where only these are known.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        The later outcome; not-a-number where it is missing. Units without it, or without some
        surrogate, are left out.
    surrogates : mapping or frame, name to array (n_units,); or array, shape (n_units, n_surrogates)
        Early outcomes of the same units.
    cluster : array-like, shape (n_units,), optional
        Labels of the groups whose outcomes may be alike.

    Returns
    -------
    SurrogateIndex
        ``of(surrogates)`` predicts for other units, ``effects(surrogates, arm)`` compares arms.

    Raises
    ------
    InputError
        Arrays do not fit together.
    EstimationError
        Too few units with all of them, or surrogates that are combinations of one another.

    Notes
    -----
    Least squares ``y = a + s'b``; the covariance of b is HC1 over units, CR1 over clusters.

    References
    ----------
    Athey, Chetty, Imbens and Kang (2019), section 3; Prentice (1989), the assumption.

    Examples
    --------
    >>> early = {"logins": [0, 1, 2, 3, 4, 5]}
    >>> found = surrogate_index([1.0, 3.1, 4.9, 7.0, 9.2, 10.8], early)
    >>> round(float(found.slope[0]), 3), found.of({"logins": [10]}).round(1)
    (1.983, array([20.9]))
    """
    later, columns = read_outcome(outcome), read_outcomes(surrogates, "surrogates")
    names, values = tuple(columns), np.column_stack(list(columns.values()))
    if len(values) != later.size:
        raise InputError(
            f"surrogates: found {len(values):,} rows for {later.size:,} outcomes; needed the same "
            "units in the same order"
        )
    codes = None if cluster is None else encode(cluster, "cluster", later.size).codes
    known = ~np.isnan(later) & ~np.isnan(values).any(axis=1)
    y, s = later[known], values[known]
    n, width = s.shape
    if n <= width + 1:
        raise EstimationError(
            f"surrogates: found {n:,} units with the outcome and all {width} surrogates; needed "
            f"more than {width + 1}; take fewer surrogates, or wait for the later outcome"
        )
    centred = s - s.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    left = size > _DEPENDENT * np.abs(s).max(axis=0, initial=0.0)
    triangle = np.linalg.qr(centred / np.where(left, size, 1.0), mode="r")
    dependent = ~left | (np.abs(np.diag(triangle)) < _DEPENDENT)
    if dependent.any():
        wrong = [name for name, bad in zip(names, dependent, strict=True) if bad]
        raise EstimationError(
            f"surrogates: found {list_names(wrong)} constant, or a combination of the others; "
            "needed surrogates that differ; leave them out"
        )
    inverse = np.linalg.inv(triangle) / size[:, None]
    bread = inverse @ inverse.T
    slope = bread @ (centred.T @ (y - y.mean()))
    residual = y - y.mean() - centred @ slope
    scores, factor = centred * residual[:, None], n / (n - width - 1)
    if codes is not None:
        _, group = np.unique(codes[known], return_inverse=True)
        groups = int(group.max()) + 1
        scores = np.column_stack([group_sum(group, column, groups) for column in scores.T])
        factor = groups / (groups - 1) * (n - 1) / (n - width - 1) if groups > 1 else np.nan
    total = float(((y - y.mean()) ** 2).sum())
    return SurrogateIndex(
        surrogates=names,
        intercept=float(y.mean() - s.mean(axis=0) @ slope),
        slope=slope,
        cov=factor * bread @ (scores.T @ scores) @ bread,
        r_squared=1 - float((residual**2).sum()) / total if total else 0.0,
        n_units=n,
        provenance=Provenance(
            "surrogate index, least squares", hash_arrays(outcome=later, surrogates=values)
        ),
    )
