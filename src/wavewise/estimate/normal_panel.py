"""The panel: one row a unit and period, checked, coded and put in an order of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.labels import Labels, compress, encode
from wavewise.results import BoolArray, FloatArray, IntArray, NotEstimable, hash_arrays

__all__ = ["Panel", "read_panel"]

_CONTROLS = ("control", "c", "0", "none")


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows with a score, sorted by unit and period.

    Parameters
    ----------
    score : array of float, shape (n_rows,)
        Finite scores.
    unit, period : array of int, shape (n_rows,)
        Codes without gaps.
    arm : array of int, shape (n_rows,)
        0 before treatment and in the control, else 1 + position in `arms`.
    cluster : array of int, shape (n_units,)
        Cluster of each unit.
    arms, periods : tuple of str
        Names; the control is not among the arms.
    control : str
        Name of the control.
    n_observed, n_missing : array of int, shape (1 + n_arms, n_periods)
        Rows with and without a score, the control (and what is not yet treated) first.
    not_estimable : mapping of str to NotEstimable
        Arms without any score after treatment.
    n_switchers : int
        Units with a score both without treatment and with it.
    data_hash : str
        SHA-256 of everything that went in, whatever the order of the rows.
    """

    score: FloatArray
    unit: IntArray
    period: IntArray
    arm: IntArray
    cluster: IntArray
    arms: tuple[str, ...]
    periods: tuple[str, ...]
    control: str
    n_observed: IntArray
    n_missing: IntArray
    not_estimable: Mapping[str, NotEstimable]
    n_switchers: int
    data_hash: str

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
    """Rows with a score, from arrays as the user has them.

    Raises
    ------
    InputError
        Lengths that differ, labels missing, scores that are not numbers, a unit in two clusters or
        arms, a unit with two rows in a period, a unit that goes back to the control.
    EstimationError
        No score, no variation, no arm or no untreated row with a score.
    """
    numbers = _scores(score)
    n_rows = numbers.size
    units, clusters = encode(unit, "unit", n_rows), encode(cluster, "cluster", n_rows)
    period_names, period_codes = _periods(encode(period, "period", n_rows), periods)
    names, arm_codes = _arms(encode(arm, "arm", n_rows), control, arms)
    _check_one_each(units.codes, clusters.codes, "cluster")
    _check_one_arm(units.codes, arm_codes)
    if treated is not None:
        arm_codes = np.where(_treated(treated, n_rows), arm_codes, 0)
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
    if periods is not None or not _is_text(period):
        _check_no_return(rows)
    return _panel(_sorted(rows))


def _scores(score: Any) -> FloatArray:
    try:
        numbers = np.asarray(score, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "score: found what is no array of numbers; needed numbers, with not-a-number where "
            "the score is missing"
        ) from None
    if numbers.ndim != 1 or numbers.size == 0:
        raise InputError(f"score: found shape {numbers.shape}; needed (n_rows,) with a row or more")
    n_infinite = int(np.isinf(numbers).sum())
    if n_infinite:
        raise InputError(
            f"score: found {n_infinite:,} infinite values; needed finite numbers, with "
            "not-a-number where the score is missing"
        )
    return numbers


def _periods(labels: Labels, order: Sequence[Any] | None) -> tuple[tuple[str, ...], IntArray]:
    """Period names in time where the order is given (else sorted), and codes into them."""
    found = labels.names
    if order is None:
        return found, labels.codes
    names = tuple(str(name) for name in order)
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
    names = found if planned is None else tuple(str(name) for name in planned)
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
        if str(control) in found or str(control) in planned:
            return str(control)
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


def _treated(treated: Any, n_rows: int) -> BoolArray:
    array = np.asarray(treated)
    if array.shape != (n_rows,) or not np.isin(array, (0, 1)).all():
        raise InputError(
            f"treated: found shape {array.shape} of {array.dtype}; needed ({n_rows},) of true "
            "(the unit's wave has begun) and false"
        )
    return np.asarray(array, dtype=bool)


def _is_text(period: Any) -> bool:
    return bool(np.asarray(period).dtype.kind in "OUST")


def _check_unique(rows: _Rows) -> None:
    n_repeated = rows.unit.size - np.unique(rows.unit * len(rows.periods) + rows.period).size
    if n_repeated:
        raise InputError(
            f"period: found {n_repeated:,} rows beyond the first of their unit and period; needed "
            "one row a unit and period; average them, or give each its own period"
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
