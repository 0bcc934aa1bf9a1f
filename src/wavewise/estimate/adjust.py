"""Adjustment for several comparisons: Holm's p values, and joint max-t intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtr, stdtrit

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.multivariate_t import MultivariateT
from wavewise.results import FloatArray, IntArray, read_only

__all__ = ["Adjusted", "Method", "adjust", "holm"]

Method = Literal["holm", "max-t"]


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Estimates with p values and intervals adjusted for all of them together.

    Parameters
    ----------
    method : str
        ``holm`` or ``max-t``.
    names : tuple of str
        Arms or contrasts.
    estimate, std_error, p_value : array of float, shape (n_rows,)
        Estimates, unadjusted standard errors, adjusted p values.
    conf : array of float, shape (n_rows, 2)
        Simultaneous intervals: all cover at once with probability `level`.
    n_units : array of int, shape (n_rows,)
        Units that each row rests on.
    critical_value : array of float, shape (n_rows,)
        Half-width of each interval in standard errors.
    n_compared : int
        Rows in the family: those with a standard error.
    level : float
        Joint level, in (0, 1).
    accuracy : float
        Three standard errors of the numerical integration, as a probability; 0 where exact.
    """

    method: Method
    names: tuple[str, ...]
    estimate: FloatArray
    std_error: FloatArray
    p_value: FloatArray
    conf: FloatArray
    n_units: IntArray
    critical_value: FloatArray
    n_compared: int
    level: float
    accuracy: float

    @property
    def text(self) -> str:
        """What was adjusted, and how."""
        how = {
            "holm": "p values by Holm's step-down method, intervals by Bonferroni's",
            "max-t": "p values and intervals by the joint distribution of the largest |t|",
        }[self.method]
        return f"{how}, over {self.n_compared} comparisons; joint level {self.level:g}"

    def to_frame(self) -> pl.DataFrame:
        """One row an arm or contrast; null where there is no number."""
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

    def to_dict(self) -> dict[str, Any]:
        """The adjusted table as plain values, for JSON."""
        return {
            "version": 1,
            "kind": "adjusted effects",
            "method": self.method,
            "level": self.level,
            "n_compared": self.n_compared,
            "accuracy": self.accuracy,
            "text": self.text,
            "rows": self.to_frame().to_dicts(),
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

    Parameters
    ----------
    names : sequence of str
        One name a row.
    estimate, df : array of float, shape (n_rows,)
        Estimates and degrees of freedom; rows with not-a-number stay out of the family.
    cov : array of float, shape (n_rows, n_rows)
        Covariance of the estimates.
    level : float
        Joint level, in (0, 1).
    method : {"holm", "max-t"}
        See `Adjusted`.
    n_units : array of int, shape (n_rows,)
        Units of each row.
    rng : numpy.random.Generator, optional
        For ``max-t``.

    Raises
    ------
    InputError
        Where the method is unknown.
    EstimationError
        Where no row has a standard error.

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

    Parameters
    ----------
    p_values : array-like, shape (n_tests,)
        In [0, 1].

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
