"""Estimates with their covariance: one row per arm or a contrast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtr, stdtrit

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.numerics.multivariate_t import MultivariateT
from wavewise.shared.results import FloatArray, IntArray, NotEstimable, Result, read_only

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["EffectTable", "Estimate", "check_level"]


# Adjustment for several comparisons: Holm's p values, and joint max-t intervals.

Method = Literal["holm", "max-t"]


@dataclass(frozen=True, eq=False)
class Adjusted(Result, kind="adjusted effects"):
    """Estimates with p values and intervals adjusted for all of them together."""

    method: Method  # ``holm`` or ``max-t``.
    names: tuple[str, ...]  # Arms or contrasts.
    # estimate, std_error, p_value: (n_rows,): Estimates, unadjusted standard errors, adjusted p
    # values.
    estimate: FloatArray
    std_error: FloatArray
    p_value: FloatArray
    # (n_rows, 2): Simultaneous intervals: all cover at once with probability `level`.
    conf: FloatArray
    n_units: IntArray  # (n_rows,): Units that each row rests on.
    critical_value: FloatArray  # (n_rows,): Half-width of each interval in standard errors.
    n_compared: int  # Rows in the family: those with a standard error.
    level: float  # Joint level, in (0, 1).
    # Three standard errors of the numerical integration, as a probability; 0 where exact.
    accuracy: float

    @property
    def text(self) -> str:
        """What was adjusted, and how."""
        how = {
            "holm": "p values by Holm's step-down method, intervals by Bonferroni's",
            "max-t": "p values and intervals by the joint distribution of the largest |t|",
        }[self.method]
        return f"{how}, over {self.n_compared} comparisons; joint level {self.level:g}"

    def _frame(self) -> pl.DataFrame:
        """One row per arm or contrast; null where there is no number."""
        columns = {
            "arm": list(self.names),
            "estimate": self.estimate,
            "std_error": self.std_error,
            "conf_low": self.conf[:, 0],
            "conf_high": self.conf[:, 1],
            "p_value": self.p_value,
            "n_units": self.n_units,
        }
        return pl.DataFrame(columns, schema_overrides={"arm": pl.String}).fill_nan(None)

    def _facts(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "level": self.level,
            "n_compared": self.n_compared,
            "accuracy": self.accuracy,
            "text": self.text,
            "rows": self._frame(),
        }


def adjust(
    names: Sequence[str],
    estimate: FloatArray,
    cov: FloatArray,
    df: FloatArray,
    *,
    level: float,
    method: Any,
    n_units: IntArray,
    rng: np.random.Generator | None = None,
) -> Adjusted:
    """Adjusted p values and simultaneous intervals of a family of estimates.

    References
    ----------
    Holm (1979); Hothorn, Bretz and Westfall (2008), section 3.
    """
    if method not in get_args(Method):
        raise InputError(f"method: found {method!r}; needed one of {', '.join(get_args(Method))}")
    std_error = np.sqrt(np.diag(cov))
    used = np.isfinite(std_error)
    if not used.any():
        raise EstimationError("found no row with a standard error; needed one or more to adjust")
    critical = np.full(used.size, np.nan)
    p_value = np.full(used.size, np.nan)
    t_value = np.abs(estimate[used] / std_error[used])
    if method == "holm":
        critical[used] = stdtrit(df[used], 1 - (1 - level) / (2 * used.sum()))
        p_value[used] = holm(2 * stdtr(df[used], -t_value))
        accuracy = 0.0
    else:
        corr = (cov / np.outer(std_error, std_error))[np.ix_(used, used)]
        joint = MultivariateT.of(corr, float(df[used].min()), rng)
        bound = joint.max_abs_quantile(level)
        critical[used] = bound
        p_value[used] = joint.max_abs_tail(t_value)
        accuracy = joint.accuracy(bound)
    half = critical * std_error
    return Adjusted(
        method=method,
        names=tuple(names),
        estimate=estimate,
        std_error=read_only(std_error),
        p_value=read_only(p_value),
        conf=read_only(np.column_stack([estimate - half, estimate + half])),
        n_units=n_units,
        critical_value=read_only(critical),
        n_compared=int(used.sum()),
        level=level,
        accuracy=accuracy,
    )


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """P values adjusted by Holm's step-down method, shape (n_tests,).

    References
    ----------
    Holm (1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


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


@dataclass(frozen=True, eq=False)
class Estimate(Result, kind="estimate", tag="EffectEstimate"):
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

    def _facts(self) -> dict[str, Any]:
        values = super()._facts()
        reasons = {str(v) for v in values.values() if isinstance(v, NotEstimable)}
        return {
            **values,
            "conf": self.conf if isinstance(self.conf, tuple) else (None, None),
            "not_estimable": "; ".join(sorted(reasons)) or None,
        }

    def _frame(self) -> pl.DataFrame:
        low, high = self.conf if isinstance(self.conf, tuple) else (None, None)
        values = (self.estimate, self.std_error, low, high, self.p_value)
        numbers = (None if isinstance(v, NotEstimable) else v for v in values)
        return pl.DataFrame([(self.name, *numbers, self.n_units)], schema=_SCHEMA, orient="row")

    def summary(self) -> str:
        """The estimate with its interval in a sentence, or why there is none."""
        if isinstance(self.estimate, NotEstimable):
            return f"{self.name}: {self.estimate}."
        found = f"{self.name}: {self.estimate:.4g}"
        if isinstance(self.conf, NotEstimable):
            return f"{found}; its standard error is {self.conf}."
        low, high = self.conf
        return (
            f"{found} (standard error {self.std_error:.2g}, {self.level:.0%} interval {low:.4g} to "
            f"{high:.4g}, p value {self.p_value:.2g}), on {self.n_units:,} units."
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectTable(Result, kind="effect table"):
    """Effects or contrasts, one entry a row."""

    names: tuple[str, ...]  # Arms other than the control, or contrasts.
    # estimate, df: (n_rows,): Estimates, and degrees of freedom of their standard errors.
    estimate: FloatArray
    cov: FloatArray  # (n_rows, n_rows): Covariance of the estimates.
    df: FloatArray
    # (n_rows,): Analysed units of the arm, or of all arms with a weight in the contrast.
    n_units: IntArray
    level: float  # Level of the intervals, in (0, 1).
    se: str  # Kind of the standard errors.
    # Rows without an estimate or without a standard error, and why. Their numbers are not-a-
    # number in the arrays and null in the frame.
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
        """Confidence intervals (lower, upper), shape (n_rows, 2), each at the level by itself."""
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
        """P values and intervals adjusted for all rows of the table that have them."""
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

    def _frame(self) -> pl.DataFrame:
        """One row per arm or contrast; null where there is no number."""
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

    def _facts(self) -> dict[str, Any]:
        return {
            "se": self.se,
            "level": self.level,
            "rows": self._frame(),
            "df": self.df,
            "cov": self.cov,
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
