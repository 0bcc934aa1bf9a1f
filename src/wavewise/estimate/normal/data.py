"""The panel: one row per unit and period, checked, coded and put in an order of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.shared.inputs import encode, read_flags, read_outcome, refuse_scale
from wavewise.shared.labels import Labels, compress, label_text
from wavewise.shared.results import BoolArray, FloatArray, IntArray, NotEstimable, hash_arrays

__all__ = ["Panel", "PanelSums", "panel_sums", "read_panel"]

_CONTROLS = ("control", "c", "0", "none")


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows with a score, sorted by unit and period."""

    score: FloatArray  # (n_rows,): Finite scores.
    # unit, period: (n_rows,): Codes without gaps.
    unit: IntArray
    period: IntArray
    # (n_rows,): 0 before treatment and in the control, else 1 + position in `arms`.
    arm: IntArray
    cluster: IntArray  # (n_units,): Cluster of each unit.
    # arms, periods: Names; the control is not among the arms.
    arms: tuple[str, ...]
    periods: tuple[str, ...]
    control: str  # Name of the control.
    # n_observed, n_missing: (1 + n_arms, n_periods): Rows with and without a score, the control
    # (and what is not yet treated) first.
    n_observed: IntArray
    n_missing: IntArray
    not_estimable: Mapping[str, NotEstimable]  # Arms without any score after treatment.
    n_switchers: int  # Units with a score both without treatment and with it.
    data_hash: str  # SHA-256 of everything that went in, whatever the order of the rows.

    @property
    def n_units(self) -> int:
        """Units with a score or more."""
        return int(self.cluster.size)

    @property
    def n_clusters(self) -> int:
        """Clusters with a score or more."""
        return int(self.cluster.max()) + 1


@dataclass(frozen=True, eq=False)
class _Rows:
    """All rows as codes, those without a score too."""

    score: FloatArray
    unit: IntArray
    cluster: IntArray
    period: IntArray
    arm: IntArray
    arms: tuple[str, ...]
    periods: tuple[str, ...]
    control: str

    @property
    def present(self) -> BoolArray:
        return np.asarray(~np.isnan(self.score))


def read_panel(
    score: Any,
    *,
    unit: Any,
    cluster: Any,
    period: Any,
    arm: Any,
    control: Any,
    treated: Any,
    arms: Sequence[Any] | None,
    periods: Sequence[Any] | None,
    pooled: bool,
) -> Panel:
    """Rows with a score, from arrays as the user has them."""
    numbers = read_outcome(score, "score")
    refuse_scale(numbers, "score", 1e30)  # the model takes fourth powers and higher
    n_rows = numbers.size
    units, clusters = encode(unit, "unit", n_rows), encode(cluster, "cluster", n_rows)
    times = encode(period, "period", n_rows)
    period_names, period_codes = _periods(times, periods)
    names, arm_codes = _arms(encode(arm, "arm", n_rows), control, arms)
    _check_one_each(units.codes, clusters.codes, "cluster")
    _check_one_arm(units.codes, arm_codes)
    if treated is not None:
        arm_codes = np.where(read_flags(treated, "treated", n_rows), arm_codes, 0)
    if pooled:
        names, arm_codes = (names[0], "pooled"), np.minimum(arm_codes, 1)
    rows = _Rows(
        score=numbers,
        unit=units.codes,
        cluster=clusters.codes,
        period=period_codes,
        arm=arm_codes,
        arms=names[1:],
        periods=period_names,
        control=names[0],
    )
    _check_unique(rows)
    if periods is not None or times.levels.dtype.kind != "O":
        _check_no_return(rows)
    return _panel(_sorted(rows))


def _periods(labels: Labels, order: Sequence[Any] | None) -> tuple[tuple[str, ...], IntArray]:
    """Period names in time where the order is given (else sorted), and codes into them."""
    found = labels.names
    if order is None:
        return found, labels.codes
    names = tuple(label_text(name) for name in order)
    unknown = [name for name in found if name not in names]
    if unknown or len(set(names)) < len(names):
        raise InputError(
            f"periods: found {', '.join(names)} for the labels {', '.join(found)}; needed each "
            "label once, in the order of time"
        )
    used = tuple(name for name in names if name in found)
    position = np.array([used.index(name) for name in found], dtype=np.int64)
    return used, position[labels.codes]


def _arms(
    labels: Labels, control: Any, planned: Sequence[Any] | None
) -> tuple[tuple[str, ...], IntArray]:
    """Names with the control first, and codes into them."""
    found = labels.names
    names = found if planned is None else tuple(label_text(name) for name in planned)
    first = _control_name(control, found, names)
    unknown = [name for name in found if name not in (*names, first)]
    if unknown or len(set(names)) < len(names):
        raise InputError(
            f"arm: found {', '.join(unknown) or 'a repeated name'}; needed labels among "
            f"{', '.join(names)}, each named once"
        )
    ordered = (first, *(name for name in names if name != first))
    if len(ordered) < 2:
        raise EstimationError(
            f"arm: found '{first}' alone; needed the control and an arm or more beside it"
        )
    position = np.array([ordered.index(name) for name in found], dtype=np.int64)
    return ordered, position[labels.codes]


def _control_name(control: Any, found: tuple[str, ...], planned: tuple[str, ...]) -> str:
    """The control's label: as given, or the one that is named as controls are."""
    if control is not None:
        if label_text(control) in (*found, *planned):
            return label_text(control)
        raise InputError(f"control: found no label '{control}'; the arms are {', '.join(found)}")
    likely = [name for name in found if name.lower() == _CONTROLS[0]]
    likely = likely or [name for name in found if name.lower() in _CONTROLS]
    if len(likely) == 1:
        return likely[0]
    if len(found) == 1:
        raise EstimationError(
            f"arm: found the one arm '{found[0]}'; needed the control and an arm or more beside it"
        )
    raise InputError(
        f"control: found {len(likely)} labels named as a control among {', '.join(found)}; name "
        "the label of untreated rows with control="
    )


def _check_one_each(unit: IntArray, label: IntArray, name: str) -> None:
    first = np.empty(int(unit.max()) + 1, dtype=np.int64)
    first[unit] = label
    n_units = np.unique(unit[first[unit] != label]).size
    if n_units:
        raise InputError(
            f"{name}: found {n_units:,} units with rows in two {name}s or more; needed one {name} "
            f"a unit; keep the {name} in which the unit was randomized"
        )


def _check_one_arm(unit: IntArray, arm: IntArray) -> None:
    active = arm > 0
    if active.any():
        _check_one_each(unit[active], arm[active], "arm")


def _check_unique(rows: _Rows) -> None:
    n_repeated = rows.unit.size - np.unique(rows.unit * len(rows.periods) + rows.period).size
    if n_repeated:
        raise InputError(
            f"period: found {n_repeated:,} rows beyond the first of their unit and period; needed "
            "one row per unit and period; average them, or give each its own period"
        )


def _check_no_return(rows: _Rows) -> None:
    """An arm lasts: 'experienced in period t or earlier'. Only where the order is known."""
    order = np.lexsort((rows.period, rows.unit))
    unit, arm = rows.unit[order], rows.arm[order]
    n_back = int(((unit[1:] == unit[:-1]) & (arm[1:] == 0) & (arm[:-1] > 0)).sum())
    if n_back:
        raise InputError(
            f"arm: found {n_back:,} units back in the control after a treated period; needed the "
            "arm that the unit had experienced by then, in that period or earlier"
        )


def _sorted(rows: _Rows) -> _Rows:
    order = np.lexsort((rows.period, rows.unit))
    return _Rows(
        score=rows.score[order],
        unit=rows.unit[order],
        cluster=rows.cluster[order],
        period=rows.period[order],
        arm=rows.arm[order],
        arms=rows.arms,
        periods=rows.periods,
        control=rows.control,
    )


def _panel(rows: _Rows) -> Panel:
    present = rows.present
    observed = _table(rows, present)
    _check_scores(rows, observed)
    seen = observed.sum(axis=1)[1:] > 0
    keep_arm = np.flatnonzero(np.concatenate([[True], seen]))
    recode = np.cumsum(np.concatenate([[True], seen])) - 1
    period, _ = compress(rows.period[present])
    unit, n_units = compress(rows.unit[present])
    cluster = np.empty(n_units, dtype=np.int64)
    cluster[unit] = rows.cluster[present]
    arm = recode[rows.arm[present]]
    keep_period = np.flatnonzero(observed.sum(axis=0) > 0)
    return Panel(
        score=rows.score[present],
        unit=unit,
        period=period,
        arm=arm,
        cluster=compress(cluster)[0],
        arms=tuple(rows.arms[k - 1] for k in keep_arm if k),
        periods=tuple(rows.periods[t] for t in keep_period),
        control=rows.control,
        n_observed=observed[np.ix_(keep_arm, keep_period)],
        n_missing=_table(rows, ~present)[np.ix_(keep_arm, keep_period)],
        not_estimable={
            name: NotEstimable("no score was observed after its treatment began")
            for name, some in zip(rows.arms, seen, strict=True)
            if not some
        },
        n_switchers=_n_switchers(unit, arm, n_units),
        data_hash=_hash(rows),
    )


def _table(rows: _Rows, which: BoolArray) -> IntArray:
    """Rows by arm and period, shape (1 + n_arms, n_periods)."""
    n_arms, n_periods = len(rows.arms) + 1, len(rows.periods)
    cell = (rows.arm * n_periods + rows.period)[which]
    return np.bincount(cell, minlength=n_arms * n_periods).reshape(n_arms, n_periods)


def _check_scores(rows: _Rows, observed: IntArray) -> None:
    by_arm = observed.sum(axis=1)
    if not by_arm.any():
        raise EstimationError(f"score: found all {rows.score.size:,} missing; needed scores")
    if by_arm[0] == 0:
        raise EstimationError(
            f"found no score in the control '{rows.control}' or before treatment; needed some, "
            "since effects are differences from it"
        )
    if not by_arm[1:].any():
        raise EstimationError(
            "found no score after treatment in any arm; needed one arm or more with scores"
        )
    values = rows.score[rows.present]
    if values.min() == values.max():
        raise EstimationError(f"score: found the one value {values[0]:g}; needed scores that vary")
    n_coefficients = 1 + int((by_arm[1:] > 0).sum())
    if values.size < n_coefficients + 2:
        raise EstimationError(
            f"score: found {values.size:,} for {n_coefficients} coefficients; needed at least two "
            "more scores than the constant and the arms"
        )


def _n_switchers(unit: IntArray, arm: IntArray, n_units: int) -> int:
    with_arm = np.bincount(unit, weights=arm > 0, minlength=n_units)
    return int(((with_arm > 0) & (with_arm < np.bincount(unit, minlength=n_units))).sum())


def _hash(rows: _Rows) -> str:
    names = [rows.control, *rows.arms]
    return hash_arrays(
        score=rows.score,
        unit=rows.unit,
        cluster=rows.cluster,
        period=rows.period,
        arm=rows.arm,
        arms=names,
        periods=list(rows.periods),
    )


# Sums of a panel that hold all that its likelihood needs, whatever the variances.


@dataclass(frozen=True, eq=False)
class PanelSums:
    """Sums of rows z = (1, arm indicators, period indicators, score).

    Units with the same number m of scores share a covariance matrix, so that a cluster enters by
    one vector a size m, and everything within units by one matrix.
    """

    # (n_columns, n_columns): Sum over units of squares and products around the unit's mean.
    within: FloatArray
    # (n_sizes, n_columns, n_columns): Sum over units of size m of s s' / m, with s the unit's sum
    # of z.
    between: FloatArray
    size: FloatArray  # (n_sizes,): The sizes m.
    n_units_by_size: FloatArray  # (n_sizes,): How many units have each size.
    # (n_cells, n_columns): Sum of z over the units of one cluster and one size, ordered by
    # cluster.
    cell: FloatArray
    cell_size: IntArray  # (n_cells,): Position in `size`.
    start: IntArray  # (n_clusters + 1,): Where each cluster's cells begin.
    # n_arms, n_periods: Columns of each kind; no period columns where there is one period.
    n_arms: int
    n_periods: int
    # centre, scale: Mean and standard deviation of the score, which was centred and divided by
    # them.
    centre: float
    scale: float

    @property
    def n_rows(self) -> float:
        """Scores."""
        return float(self.size @ self.n_units_by_size)

    @property
    def n_units(self) -> float:
        """Units."""
        return float(self.n_units_by_size.sum())

    @property
    def within_residual(self) -> float:
        """Sum of squares of the score around unit, arm and period effects, each free."""
        regressors, score = self.within[:-1, :-1], self.within[:-1, -1]
        fitted = score @ np.linalg.pinv(regressors, rcond=1e-10, hermitian=True) @ score
        return max(float(self.within[-1, -1] - fitted), 0.0)

    @property
    def n_clusters(self) -> int:
        """Clusters."""
        return int(self.start.size - 1)


def panel_sums(panel: Panel) -> PanelSums:
    """Sums of the panel's rows, of the score in standard deviations around its mean."""
    centre, scale = float(panel.score.mean()), float(panel.score.std())
    z = _rows(panel, (panel.score - centre) / scale)
    count = np.bincount(panel.unit)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    unit_sum = np.add.reduceat(z, first, axis=0)
    residual = z - (unit_sum / count[:, None])[panel.unit]
    size, size_code = np.unique(count, return_inverse=True)
    cell, cell_size, start = _cells(panel.cluster, size_code, unit_sum, size.size)
    return PanelSums(
        within=_products(residual),
        between=_between(unit_sum, size_code, size),
        size=size.astype(np.float64),
        n_units_by_size=np.bincount(size_code).astype(np.float64),
        cell=cell,
        cell_size=cell_size,
        start=start,
        n_arms=len(panel.arms),
        n_periods=z.shape[1] - 2 - len(panel.arms),
        centre=centre,
        scale=scale,
    )


def _rows(panel: Panel, score: FloatArray) -> FloatArray:
    """Rows z, (n_rows, n_columns). The period effect of a single period is the constant."""
    n_periods = len(panel.periods)
    columns = [np.ones((score.size, 1))]
    columns.append(panel.arm[:, None] == np.arange(1, len(panel.arms) + 1))
    if n_periods > 1:
        columns.append(panel.period[:, None] == np.arange(n_periods))
    return np.hstack([*columns, score[:, None]]).astype(np.float64)


def _products(z: FloatArray) -> FloatArray:
    # not a matrix product: a library's order of summation may depend on the number of threads
    return np.stack([(z * z[:, [j]]).sum(axis=0) for j in range(z.shape[1])])


def _between(unit_sum: FloatArray, size_code: IntArray, size: IntArray) -> FloatArray:
    return np.stack([_products(unit_sum[size_code == j]) / m for j, m in enumerate(size)])


def _cells(
    cluster: IntArray, size_code: IntArray, unit_sum: FloatArray, n_sizes: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """Sums by cluster and size, their sizes, and where each cluster's cells begin."""
    key = cluster * n_sizes + size_code
    order = np.argsort(key, kind="stable")
    keys, first = np.unique(key[order], return_index=True)
    cell = np.add.reduceat(unit_sum[order], first, axis=0)
    start = np.searchsorted(keys, np.arange(int(cluster.max()) + 2) * n_sizes)
    return cell, (keys % n_sizes).astype(np.int64), start.astype(np.int64)
