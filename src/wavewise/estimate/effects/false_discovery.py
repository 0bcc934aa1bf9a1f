"""False discovery rate over several tests: Benjamini-Hochberg, and the sharpened two-stage one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.shared.inputs import list_names, read_numbers
from wavewise.shared.results import FloatArray, Result

__all__ = ["QValues", "q_values"]

Method = Literal["bh", "sharpened"]


@dataclass(frozen=True, eq=False)
class QValues(Result, kind="q values"):
    """Q values of a family of tests: the least false discovery rate at which each is rejected.

    As an array (``numpy.asarray``) it is its `q_value`.
    """

    names: tuple[str, ...]  # Of the tests.
    p_value: FloatArray  # (n_tests,): As they came; not-a-number where there is none.
    q_value: FloatArray  # (n_tests,): In [0, 1]; not-a-number where there is no p value.
    method: Method  # ``bh`` or ``sharpened``.
    n_tests: int  # In the family: those with a p value.

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return np.array(self.q_value, dtype=dtype, copy=True if copy is None else copy)

    @property
    def text(self) -> str:
        """What was adjusted, and how."""
        how = {
            "bh": "q values by Benjamini and Hochberg (1995)",
            "sharpened": "sharpened q values by Anderson (2008), after Benjamini, Krieger and "
            "Yekutieli (2006)",
        }[self.method]
        return f"{how}, over {self.n_tests} {'test' if self.n_tests == 1 else 'tests'}"

    def _frame(self) -> pl.DataFrame:
        columns = {"test": list(self.names), "p_value": self.p_value, "q_value": self.q_value}
        return pl.DataFrame(columns, schema_overrides={"test": pl.String}).fill_nan(None)

    def _facts(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "n_tests": self.n_tests,
            "text": self.text,
            "rows": self._frame(),
        }

    def _notes(self) -> Sequence[str]:
        return (f"{self.text[0].upper()}{self.text[1:]}.",)


def q_values(p_values: Any, *, method: Literal["bh", "sharpened"] = "sharpened") -> QValues:
    """Least false discovery rate at which each of several tests is rejected.

    Parameters
    ----------
    p_values : array-like, shape (n_tests,); or mapping of str to float
        P values of a family of tests, such as the effects of an arm on several outcomes. A test
        without one (not-a-number) is left out of the family and gets no q value.
    method : {"sharpened", "bh"}
        ``bh`` is the step-up procedure of Benjamini and Hochberg; ``sharpened`` its two-stage form,
        which first estimates how many hypotheses are true, and so finds more.

    Returns
    -------
    QValues
        One q value per test, in the order given.

    Raises
    ------
    InputError
        Where numbers are not in [0, 1], or the method is unknown.

    Notes
    -----
    ``bh``: ``q_(i) = min_{j >= i} m p_(j) / j`` for p values in ascending order.

    ``sharpened``: at rate q the first stage rejects ``r`` hypotheses by the step-up procedure at
    ``q' = q / (1 + q)``; the second one rejects by the same procedure at ``q' m / (m - r)``, and
    all where ``r = m``. What is rejected grows with q, so that the least q exists. With
    ``a_r = min_{j >= r} m p_(j) / j``, the least q' at which the first stage rejects r or more,
    test i is rejected from ``q'_i = min_r max(a_r, (m - r) a_i / m)`` on, and
    ``q_i = q'_i / (1 - q'_i)``, at most 1. No grid of rates is searched: a search over steps of
    .001 gives this number rounded up to the next step.

    Both control the false discovery rate where tests are independent or positively dependent
    (``bh``) or independent (``sharpened``, which held in simulations under dependence).

    References
    ----------
    Benjamini and Hochberg (1995); Benjamini, Krieger and Yekutieli (2006), definition 6; Anderson
    (2008), section 4.3.

    Examples
    --------
    >>> q_values([0.01, 0.02, 0.9], method="bh").q_value.round(4)
    array([0.03, 0.03, 0.9 ])
    >>> q_values({"logins": 0.01, "minutes": 0.02}).q_value.round(4)
    array([0.0204, 0.0204])
    """
    if method not in get_args(Method):
        raise InputError(f"method: found {method!r}; needed one of {', '.join(get_args(Method))}")
    names, p_value = _read(p_values)
    known = np.flatnonzero(~np.isnan(p_value))
    q_value = np.full(p_value.size, np.nan)
    if known.size:
        order = known[np.argsort(p_value[known], kind="stable")]
        step = _step_up(p_value[order])
        q_value[order] = np.minimum(step, 1.0) if method == "bh" else _two_stage(step)
    return QValues(names, p_value, q_value, method, int(known.size))


def _read(p_values: Any) -> tuple[tuple[str, ...], FloatArray]:
    if isinstance(p_values, Mapping):
        names = tuple(str(name) for name in p_values)
        numbers = read_numbers(list(p_values.values()), "p_values", missing=True)
    else:
        numbers = read_numbers(p_values, "p_values", missing=True)
        names = tuple(str(k + 1) for k in range(numbers.size))
    wrong = [
        name for name, p in zip(names, numbers, strict=True) if not (np.isnan(p) or 0 <= p <= 1)
    ]
    if wrong:
        raise InputError(
            f"p_values: found numbers outside [0, 1] for {list_names(wrong)}; needed probabilities"
        )
    return names, numbers


def _step_up(p_sorted: FloatArray) -> FloatArray:
    """``a_i``: the least rate at which the step-up procedure rejects i or more; not capped."""
    rate = p_sorted.size * p_sorted / np.arange(1, p_sorted.size + 1)
    found: FloatArray = np.minimum.accumulate(rate[::-1])[::-1]
    return found


def _two_stage(step: FloatArray) -> FloatArray:
    """Sharpened q values: ``a_r`` grows with r and ``(m - r) a_i / m`` falls, so they cross."""
    m = step.size
    first, left = np.concatenate([[0.0], step]), np.arange(m, -1, -1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(left > 0, first / left, np.inf)
    cross = np.searchsorted(ratio, step / m)  # the first r whose a_r is the larger of the two
    before = np.maximum(cross - 1, 0)
    second = np.where(cross > 0, left[before] * step / m, np.inf)
    rate = np.minimum(first[cross], second)
    with np.errstate(divide="ignore"):
        found: FloatArray = np.where(rate < 0.5, rate / (1 - np.minimum(rate, 0.5)), 1.0)
    return found
