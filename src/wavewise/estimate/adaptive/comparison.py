"""Arms by several estimators side by side, and below them what the winner is worth by each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np
import polars as pl
from scipy.special import ndtri

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.batched_ols import batched_ols
from wavewise.estimate.adaptive.results import AdaptiveEstimates
from wavewise.estimate.adaptive.weighted_m import Family, weighted_m
from wavewise.estimate.adaptive.winner import WHICH_INTERVAL, Winner, WinnerMethod, winner
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned
from wavewise.shared.labels import label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    FloatArray,
    NotEstimable,
    Provenance,
    Record,
    Result,
    hash_arrays,
    read_only,
)
from wavewise.shared.text_tables import Printed

__all__ = ["WinnerColumn", "WinnerTable", "adaptive_comparison", "winner_table"]

METHODS: Final[tuple[WinnerMethod, ...]] = get_args(WinnerMethod)


@dataclass(frozen=True, eq=False, kw_only=True)
class WinnerColumn(Record):
    """One estimator: its arms, and its winner.

    Parameters
    ----------
    label : str
        Heading.
    estimate, std_error, conf_low, conf_high : array of float, shape (n_arms,)
        Usual estimates and normal intervals; not-a-number where there is a reason instead.
    not_estimable : mapping of str to NotEstimable
        Arms without an estimate.
    winners : mapping of str to Winner or NotEstimable
        By kind of interval; arms are indices into those of the table. Tables that an earlier
        version stored have no one-sided interval.
    """

    label: str
    estimate: FloatArray
    std_error: FloatArray
    conf_low: FloatArray
    conf_high: FloatArray
    not_estimable: Mapping[str, NotEstimable]
    winners: Mapping[WinnerMethod, Winner | NotEstimable]


@dataclass(frozen=True, eq=False, kw_only=True)
class WinnerTable(Result, kind="winner table"):
    """Panel A: arms by estimator. Panel B: the arm at the top, by kind of interval.

    Parameters
    ----------
    arms : tuple of str
        Rows of panel A.
    columns : tuple of WinnerColumn
        One an estimator.
    level : float
        Of all intervals.
    scale : str
        What an estimate is, such as ``mean`` or ``log odds``.
    lower_is_better : bool
        Whether the winner is the lowest.
    provenance : Provenance
        Method and hash of the estimates.
    """

    arms: tuple[str, ...]
    columns: tuple[WinnerColumn, ...]
    level: float
    scale: str
    lower_is_better: bool
    provenance: Provenance

    def rows(self) -> Iterator[tuple[str, str, str, str | None, tuple[float, float, float] | str]]:
        """Panel, row, column, arm, and estimate with both ends, or the reason there is none."""
        for k, arm in enumerate(self.arms):
            for column in self.columns:
                why = column.not_estimable.get(arm)
                ends = (column.estimate[k], column.conf_low[k], column.conf_high[k])
                cell = (
                    why.reason
                    if why is not None
                    else (float(ends[0]), float(ends[1]), float(ends[2]))
                )
                yield "A", arm, column.label, arm, cell
        for method in (name for name in METHODS if name in self.columns[0].winners):
            for column in self.columns:
                found = column.winners[method]
                if isinstance(found, NotEstimable):
                    yield "B", method, column.label, None, found.reason
                else:
                    cells = (found.estimate, found.conf_low, found.conf_high)
                    yield "B", method, column.label, self.arms[found.arm], cells

    def _frame(self) -> pl.DataFrame:
        rows = [
            (*head, *((None, None, None, cell) if isinstance(cell, str) else (*cell, None)))
            for *head, cell in self.rows()
        ]
        text = dict.fromkeys(("panel", "row", "column", "arm"), pl.String)
        number = dict.fromkeys(("estimate", "conf_low", "conf_high"), pl.Float64)
        return pl.DataFrame(rows, schema={**text, **number, "reason": pl.String}, orient="row")

    def cells(self, decimals: int = 3) -> list[tuple[str, ...]]:
        """Rows of text in the published layout: ``estimate [low; high]``, a heading before B."""
        by_row: dict[tuple[str, str], list[str]] = {}
        for panel, row, _, arm, cell in self.rows():
            by_row.setdefault((panel, row), []).append(_cell(panel, arm, cell, decimals))
        heading = ("Winner", *("" for _ in self.columns))
        found = [(row, *cells) for (_, row), cells in by_row.items()]
        return [*found[: len(self.arms)], heading, *found[len(self.arms) :]]

    def reasons(self) -> tuple[str, ...]:
        """Why cells are empty, a sentence each."""
        empty = [(row, column, c) for _, row, column, _, c in self.rows() if isinstance(c, str)]
        return tuple(dict.fromkeys(f"{column}, {row}: {why}" for row, column, why in empty))

    def note(self) -> str:
        """What the panels hold, and which interval to use."""
        best = "lowest" if self.lower_is_better else "highest"
        return (
            f"Panel A: {self.scale} by arm with {self.level:.0%} intervals, each by itself. Panel "
            f"B: the arm whose estimate is {best}, corrected for having been picked for it. "
            f"{WHICH_INTERVAL}"
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "arms": self.arms,
            "level": self.level,
            "scale": self.scale,
            "lower_is_better": self.lower_is_better,
            "rows": self._frame(),
            "note": self.note(),
        }

    def _printed(self, decimals: int = 3) -> Printed:
        head = ("", *(column.label for column in self.columns))
        return Printed(head, self.cells(decimals), (*self.reasons(), self.note()))


@renamed("arms")
def winner_table(
    columns: Mapping[str, "AdaptiveEstimates | tuple[Any, Any] | NotEstimable"],
    *,
    arms: Sequence[Any] | None = None,
    level: float = 0.95,
    scale: str = "mean",
    control: Any = None,
    lower_is_better: bool = False,
) -> WinnerTable:
    """Arms by several estimators, and the winner's intervals by each.

    Parameters
    ----------
    columns : mapping of str to AdaptiveEstimates, (estimate, cov) or NotEstimable
        By heading: a result of `weighted_m`, `adaptive_aipw` or `batched_ols`; or estimates of
        shape (n_arms,) with their covariance of shape (n_arms, n_arms) or (n_arms,) variances; or
        why there is none.
    arms : sequence of labels, optional
        Names of the rows; by default those of the first result that has some.
    level : float
        In (0, 1), of all intervals.
    scale : str
        What an estimate is.
    control : label, optional
        An arm that is shown and cannot win.
    lower_is_better : bool
        Let the lowest win.

    Raises
    ------
    InputError
        Where columns are of different arms, or shapes do not fit.

    References
    ----------
    Esposito and Sautmann (2022), Table 5; Andrews, Kitagawa and McCloskey (2024).

    Examples
    --------
    >>> table = winner_table({"OLS": ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])}, arms=["a", "b", "c"])
    >>> table.to_frame().filter(row="projection")["conf_low"].round(3).to_list()
    [-0.388]
    """
    check_level(level)
    if not columns:
        raise InputError("columns: found none; needed one estimator or more")
    names = _names(columns, arms)
    if control is not None and label_text(control) not in names:
        raise InputError(f"control: found '{control}'; arms: {', '.join(names)}")
    ranked = np.array([name != label_text(control) for name in names])
    sign = -1.0 if lower_is_better else 1.0
    made = [
        _column(label, _parts(label, given, names), names, ranked, level, sign)
        for label, given in columns.items()
    ]
    data = {f"{i}": np.append(c.estimate, c.std_error) for i, c in enumerate(made)}
    return WinnerTable(
        arms=names,
        columns=tuple(made),
        level=float(level),
        scale=scale,
        lower_is_better=lower_is_better,
        provenance=Provenance("arms by estimator, with inference on winners", hash_arrays(**data)),
    )


@aligned("outcome", "arm", "propensity", "wave", "trials", "cluster", "strata")
def adaptive_comparison(
    outcome: Any,
    arm: Any,
    propensity: Any,
    *,
    wave: Any = None,
    family: Family = "gaussian",
    trials: Any = None,
    cluster: Any = None,
    strata: Any = None,
    level: float = 0.95,
    arms: Sequence[Any] | None = None,
    control: Any = None,
    lower_is_better: bool = False,
    others: Mapping[str, Any] | None = None,
) -> WinnerTable:
    """An adaptive experiment unweighted, adaptively weighted and batched, with its winner.

    Parameters
    ----------
    outcome, arm, propensity : array-like, shape (n_units,)
        As in `weighted_m`.
    wave : array-like, shape (n_units,), optional
        Labels of waves: a third column by batched least squares, for ``gaussian`` without clusters.
    family, trials, cluster, strata, level, arms
        As in `weighted_m`; `strata` where shares differ between them.
    control, lower_is_better
        As in `winner_table`.
    others : mapping of str to (estimate, cov), optional
        Columns to put first, such as a model with effects of schools.

    Returns
    -------
    WinnerTable
        Columns ``Unweighted``, ``Weighted`` and, with waves, ``Batched``.

    Raises
    ------
    InputError
        Where arrays do not fit together.
    EstimationError
        Where propensities were not stored, are 0 or 1, or no arm can be estimated.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> arm, wave = rng.choice(["a", "b"], 400), np.repeat([1, 2], 200)
    >>> y = rng.normal(size=400) + (arm == "b")
    >>> table = adaptive_comparison(y, arm, np.full(400, 0.5), wave=wave)
    >>> [column.label for column in table.columns]
    ['Unweighted', 'Weighted', 'Batched']
    """
    plain, weighted = (
        weighted_m(
            outcome, arm, propensity, family=family, trials=trials, stabilizer=stabilizer,
            level=level, cluster=cluster, strata=strata, arms=arms,
        )
        for stabilizer in ("none", "sqrt")
    )  # fmt: skip
    columns: dict[str, Any] = {**(others or {}), "Unweighted": plain, "Weighted": weighted}
    if wave is not None and family == "gaussian" and cluster is None:
        try:
            columns["Batched"] = batched_ols(
                outcome, arm, wave, level=level, strata=strata, arms=plain.arms
            )
        except EstimationError as error:
            columns["Batched"] = NotEstimable(error.message)
    return winner_table(
        columns, arms=plain.arms, level=level, scale=plain.scale, control=control,
        lower_is_better=lower_is_better,
    )  # fmt: skip


def _names(columns: Mapping[str, Any], arms: Sequence[Any] | None) -> tuple[str, ...]:
    if arms is None:
        known = (c.arms for c in columns.values() if isinstance(c, AdaptiveEstimates))
        arms = next(known, None)
        if arms is None:
            raise InputError("arms: found none; needed the names of the estimates")
    names = tuple(label_text(arm) for arm in arms)
    if len(set(names)) < len(names):
        raise InputError(f"arms: found {', '.join(names)}; needed each once")
    return names


_Parts = tuple[FloatArray, FloatArray, dict[str, NotEstimable]]


def _parts(label: str, given: Any, names: tuple[str, ...]) -> _Parts:
    """Estimates, covariance and reasons of one column."""
    if isinstance(given, NotEstimable):
        empty = np.full(len(names), np.nan)
        return empty, np.diag(empty), dict.fromkeys(names, given)
    if isinstance(given, AdaptiveEstimates):
        if given.arms != names:
            raise InputError(
                f"column '{label}': found arms {', '.join(given.arms)}; needed {', '.join(names)}"
            )
        reasons = {name: given.not_estimable[name] for name in names if name in given.not_estimable}
        return given.arm_estimate, given.arm_cov, reasons
    try:
        estimate, cov = (np.asarray(part, dtype=np.float64) for part in given)
    except (TypeError, ValueError) as error:
        raise InputError(f"column '{label}': needed estimates and their covariance") from error
    n = len(names)
    if estimate.shape != (n,) or cov.shape not in {(n,), (n, n)}:
        raise InputError(
            f"column '{label}': found shapes {estimate.shape} and {cov.shape}; needed ({n},) and "
            f"({n}, {n}) or ({n},)"
        )
    return estimate, np.diag(cov) if cov.ndim == 1 else cov, {}


def _column(
    label: str, parts: _Parts, names: tuple[str, ...], ranked: Any, level: float, sign: float
) -> WinnerColumn:
    estimate, cov, reasons = parts
    at = np.flatnonzero(ranked & ~np.isin(names, list(reasons)))
    std_error = np.sqrt(np.diag(cov))
    half = -ndtri((1 - level) / 2) * std_error
    return WinnerColumn(
        label=label,
        estimate=read_only(estimate),
        std_error=read_only(std_error),
        conf_low=read_only(estimate - half),
        conf_high=read_only(estimate + half),
        not_estimable=reasons,
        winners={m: _winner(estimate, cov, at, m, level, sign) for m in METHODS},
    )


def _winner(
    estimate: FloatArray, cov: FloatArray, at: Any, method: WinnerMethod, level: float, sign: float
) -> Winner | NotEstimable:
    if at.size < 2:
        return NotEstimable(f"found {at.size} arms with an estimate; needed two or more to win")
    try:
        found = winner(sign * estimate[at], cov[np.ix_(at, at)], method=method, level=level)
    except EstimationError as error:
        return NotEstimable(error.message)
    low, high = sorted((sign * found.conf_low, sign * found.conf_high))
    return replace(
        found, arm=int(at[found.arm]), estimate=sign * found.estimate, conf_low=low,
        conf_high=high, naive_estimate=sign * found.naive_estimate,
        corrected_estimate=None
        if found.corrected_estimate is None
        else sign * found.corrected_estimate,
    )  # fmt: skip


def _cell(panel: str, arm: str | None, cell: Any, decimals: int) -> str:
    if isinstance(cell, str):
        return "-"
    middle, low, high = (f"{value:.{decimals}f}" for value in cell)
    text = f"{middle} [{low}; {high}]"
    return f"{arm}: {text}" if panel == "B" else text
