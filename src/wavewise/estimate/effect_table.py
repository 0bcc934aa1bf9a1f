"""Estimates with their covariance: one row an arm or a contrast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from wavewise.errors import InputError
from wavewise.estimate.adjust import Adjusted, adjust
from wavewise.results import FloatArray, IntArray, NotEstimable

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["EffectTable", "Estimate", "check_level"]

_SCHEMA = {
    "arm": pl.String,
    "estimate": pl.Float64,
    "std_error": pl.Float64,
    "conf_low": pl.Float64,
    "conf_high": pl.Float64,
    "p_value": pl.Float64,
    "n_units": pl.Int64,
}


def check_level(level: Any) -> float:
    """A level between 0 and 1, both excluded."""
    if not (isinstance(level, int | float | np.floating) and 0 < level < 1):
        raise InputError(f"level: found {level!r}; needed a number between 0 and 1, such as 0.95")
    return float(level)


@dataclass(frozen=True)
class Estimate:
    """One estimate with its standard error, interval and test.

    Parameters
    ----------
    name : str
        What is estimated.
    estimate : float or NotEstimable
        The estimate.
    std_error, df, p_value : float or NotEstimable
        Standard error, its degrees of freedom, two-sided p value of no difference.
    conf : tuple of float, or NotEstimable
        Confidence interval (lower, upper) at `level`.
    level : float
        Level of the interval, in (0, 1).
    n_units : int
        Units that it rests on.
    """

    name: str
    estimate: float | NotEstimable
    std_error: float | NotEstimable
    df: float | NotEstimable
    conf: tuple[float, float] | NotEstimable
    p_value: float | NotEstimable
    level: float
    n_units: int

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain values, for JSON; null with a reason where there is none."""
        values = dict(vars(self)) | {"version": 1}
        reasons = {str(v) for v in values.values() if isinstance(v, NotEstimable)}
        plain = {k: None if isinstance(v, NotEstimable) else v for k, v in values.items()}
        conf = self.conf if isinstance(self.conf, tuple) else (None, None)
        return plain | {"conf": list(conf), "not_estimable": "; ".join(sorted(reasons)) or None}


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectTable:
    """Effects or contrasts, one entry a row.

    Parameters
    ----------
    names : tuple of str
        Arms other than the control, or contrasts.
    estimate, df : array of float, shape (n_rows,)
        Estimates, and degrees of freedom of their standard errors.
    cov : array of float, shape (n_rows, n_rows)
        Covariance of the estimates.
    n_units : array of int, shape (n_rows,)
        Analysed units of the arm, or of all arms with a weight in the contrast.
    level : float
        Level of the intervals, in (0, 1).
    se : str
        Kind of the standard errors.
    not_estimable : mapping of str to NotEstimable
        Rows without an estimate or without a standard error, and why. Their numbers are
        not-a-number in the arrays and null in the frame.
    """

    names: tuple[str, ...]
    estimate: FloatArray
    cov: FloatArray
    df: FloatArray
    n_units: IntArray
    level: float
    se: str
    not_estimable: Mapping[str, NotEstimable] = field(default_factory=dict)

    @property
    def std_error(self) -> FloatArray:
        """Standard errors, shape (n_rows,)."""
        std_error: FloatArray = np.sqrt(np.diag(self.cov))
        return std_error

    @property
    def p_value(self) -> FloatArray:
        """Two-sided p values of no effect, by Student's t, shape (n_rows,)."""
        p_value: FloatArray = 2 * stdtr(self.df, -np.abs(self.estimate / self.std_error))
        return p_value

    def conf_int(self, level: float | None = None) -> FloatArray:
        """Confidence intervals (lower, upper), shape (n_rows, 2), each at the level by itself.

        Parameters
        ----------
        level : float, optional
            In (0, 1); the table's own by default.
        """
        prob = (1 + check_level(self.level if level is None else level)) / 2
        half = stdtrit(self.df, prob) * self.std_error
        return np.column_stack([self.estimate - half, self.estimate + half])

    def __getitem__(self, name: str) -> Estimate:
        if name not in self.names:
            raise InputError(f"found no row '{name}'; the rows are {', '.join(self.names)}")
        row = self.names.index(name)
        reason = self.not_estimable.get(name)
        estimate = float(self.estimate[row])
        return single_estimate(
            name,
            estimate if reason is None or np.isfinite(estimate) else reason,
            (float(self.std_error[row]), float(self.df[row])) if reason is None else reason,
            self.level,
            int(self.n_units[row]),
        )

    def adjusted(
        self, method: Literal["holm", "max-t"] = "max-t", rng: "Generator | None" = None
    ) -> Adjusted:
        """P values and intervals adjusted for all rows of the table that have them.

        Parameters
        ----------
        method : {"holm", "max-t"}
            Holm's step-down p values with Bonferroni intervals; or the joint distribution of the
            largest absolute t statistic, with simultaneous intervals.
        rng : numpy.random.Generator, optional
            Random shifts of the integration points of ``max-t``; a fixed seed by default, so that
            the same table gives the same numbers.
        """
        return adjust(
            self.names,
            self.estimate,
            self.cov,
            self.df,
            level=self.level,
            method=method,
            n_units=self.n_units,
            rng=rng,
        )

    def to_frame(self) -> pl.DataFrame:
        """One row an arm or contrast; null where there is no number."""
        conf = self.conf_int()
        columns = {
            "arm": list(self.names),
            "estimate": self.estimate,
            "std_error": self.std_error,
            "conf_low": conf[:, 0],
            "conf_high": conf[:, 1],
            "p_value": self.p_value,
            "n_units": self.n_units,
        }
        return pl.DataFrame(columns, schema=_SCHEMA).fill_nan(None)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        return {
            "version": 1,
            "kind": "effect table",
            "se": self.se,
            "level": self.level,
            "rows": self.to_frame().to_dicts(),
            "df": plain(self.df),
            "cov": [plain(row) for row in self.cov],
            "not_estimable": {name: why.reason for name, why in self.not_estimable.items()},
        }


def single_estimate(
    name: str,
    estimate: float | NotEstimable,
    precision: tuple[float, float] | NotEstimable,
    level: float,
    n_units: int,
) -> Estimate:
    """An estimate with what follows from its standard error and degrees of freedom."""
    if isinstance(estimate, NotEstimable) or isinstance(precision, NotEstimable):
        reason = precision if isinstance(precision, NotEstimable) else NotEstimable(str(estimate))
        return Estimate(name, estimate, reason, reason, reason, reason, level, n_units)
    std_error, df = precision
    half = float(stdtrit(df, (1 + level) / 2)) * std_error
    p_value = float(2 * stdtr(df, -abs(estimate / std_error)))
    conf = (estimate - half, estimate + half)
    return Estimate(name, estimate, std_error, df, conf, p_value, level, n_units)


def plain(values: FloatArray) -> list[float | None]:
    """Numbers as a list, with None in place of not-a-number."""
    return [float(value) if np.isfinite(value) else None for value in values]
