"""Rows of the regression: units that share a design and a cluster, collapsed to sums."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.sample import Sample
from wavewise.shared.labels import group_sum, renumber
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "Fit",
    "Rows",
    "centred",
    "collapse",
    "estimable_arms",
    "fit_outcome",
    "fit_rows",
    "mean_one",
    "rounding_of",
    "scaled_deviations",
]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a weighted regression.

    A group is what is independent: a unit, or a cluster where there are clusters. Groups with the
    same regressors, stratum and size have the same leverage and influence, so that a row may stand
    for many: their sums hold all that the estimate and its covariance need.
    """

    # (n_rows, n_columns): Regressors, the arm indicators first; strata effects are absorbed, not
    # listed.
    x: FloatArray
    columns: tuple[str, ...]  # Names of the regressors, for errors.
    n_effects: int  # Leading columns that are arm indicators.
    outcome: FloatArray  # (n_rows,): Mean outcome of the row's units.
    # (n_rows,): Weighted sum of squares of the groups' mean outcomes around the row's.
    within: FloatArray
    # (n_rows,): Square root of the row's total weight (of its number of units without weights).
    root: FloatArray
    unit_root: FloatArray  # (n_rows,): Square root of the weight of one of the row's units.
    # (n_rows,): Groups that the row stands for; 1 where a cluster spans several rows.
    copies: FloatArray
    stratum: IntArray  # (n_rows,): Stratum of the row; all 0 without strata.
    # (n_rows,): Cluster of the row, never decreasing; None where no cluster spans several rows.
    cluster: IntArray | None
    # n_strata, n_clusters, n_units: Totals.
    n_strata: int
    n_clusters: int | None
    n_units: int
    of_unit: IntArray  # (n_units,): Row of each unit.
    # (n_columns,): Size below which what is left of a scaled column is rounding of its values.
    rounding: FloatArray

    def means(self, values: FloatArray) -> FloatArray:
        """Means of units' values by row, shape (n_rows,)."""
        return group_sum(self.of_unit, values) / np.bincount(self.of_unit)

    @cached_property
    def stratum_weight(self) -> FloatArray:
        """Total weight by stratum, shape (n_strata,)."""
        return group_sum(self.stratum, self.root**2, self.n_strata)

    @property
    def rank_full(self) -> int:
        """Columns of the whole regression, strata effects (or the intercept) counted."""
        return self.n_strata + len(self.columns)


@dataclass(frozen=True, eq=False)
class _Kinds:
    """Stratum, arm and weight of units that are alike, and the kind of each unit."""

    of_unit: IntArray
    stratum: IntArray
    arm: IntArray
    weight: FloatArray


@dataclass(frozen=True, eq=False)
class _Cells:
    """Units of one kind in one group."""

    of_unit: IntArray
    cluster: IntArray | None
    kind: IntArray
    size: FloatArray
    mean: FloatArray


def collapse(sample: Sample, interact: bool, *, merge: bool = True) -> Rows:
    """Rows of the regression of the outcome on arms, strata effects and covariates.

    Without `merge` no row stands for several groups, so that rows of several outcomes match.
    """
    if sample.covariates is not None:
        return _unit_rows(sample, interact)
    kinds = _kinds(sample)
    if sample.cluster is None:
        every, ones = np.arange(sample.n_units), np.ones(sample.n_units)
        cells = _Cells(every, None, kinds.of_unit, ones, sample.outcome)
    elif (kind := _constant_within(sample.cluster, kinds.of_unit)) is not None:
        cells = _sums(sample, sample.cluster, kind, cluster=None)
    else:
        cell, keys = renumber(sample.cluster * kinds.arm.size + kinds.of_unit)
        kind, cluster = keys % kinds.arm.size, keys // kinds.arm.size
        return _single_groups(sample, kinds, _sums(sample, cell, kind, cluster=cluster))
    return (_like_groups if merge else _single_groups)(sample, kinds, cells)


def _strata(sample: Sample) -> IntArray:
    if sample.strata is None:
        return np.zeros(sample.n_units, dtype=np.int64)
    return sample.strata


def _kinds(sample: Sample) -> _Kinds:
    n_arms, key = len(sample.arms), _strata(sample) * len(sample.arms) + sample.arm
    levels = np.ones(1)
    if sample.weights is not None:
        levels, place = np.unique(mean_one(sample.weights), return_inverse=True)
        key = key * levels.size + place
    of_unit, keys = renumber(key)
    pair = keys // levels.size
    return _Kinds(of_unit, pair // n_arms, pair % n_arms, levels[keys % levels.size])


def mean_one(weights: FloatArray) -> FloatArray:
    """Weights that are 1 on average."""
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def _constant_within(cluster: IntArray, kind: IntArray) -> IntArray | None:
    """Kind by cluster where it is the same for all its units, else None."""
    kinds = np.empty(int(cluster.max()) + 1, np.int64)
    kinds[cluster] = kind
    return kinds if np.array_equal(kinds[cluster], kind) else None


def _sums(sample: Sample, cell: IntArray, kind: IntArray, *, cluster: IntArray | None) -> _Cells:
    size = np.bincount(cell).astype(np.float64)
    return _Cells(cell, cluster, kind, size, group_sum(cell, sample.outcome) / size)


def _like_groups(sample: Sample, kinds: _Kinds, cells: _Cells) -> Rows:
    """One row for all groups of the same kind and size."""
    largest = int(cells.size.max()) + 1
    row, keys = renumber(cells.kind * largest + cells.size.astype(np.int64))
    kind, size = keys // largest, (keys % largest).astype(np.float64)
    copies = np.bincount(row).astype(np.float64)
    mean = group_sum(row, cells.mean) / copies
    within = kinds.weight[kind] * size * group_sum(row, (cells.mean - mean[row]) ** 2)
    rows = _Cells(row[cells.of_unit], None, kind, size * copies, mean)
    return _arm_rows(sample, kinds, rows, copies=copies, within=within)


def _single_groups(sample: Sample, kinds: _Kinds, cells: _Cells) -> Rows:
    """One row per group, or one per kind of units in it where it has several."""
    n_rows = cells.size.size
    return _arm_rows(sample, kinds, cells, copies=np.ones(n_rows), within=np.zeros(n_rows))


def _arm_rows(
    sample: Sample, kinds: _Kinds, cells: _Cells, *, copies: FloatArray, within: FloatArray
) -> Rows:
    effects, weight = estimable_arms(sample), kinds.weight[cells.kind]
    return Rows(
        x=(kinds.arm[cells.kind][:, None] == effects).astype(np.float64),
        columns=_arm_columns(sample, effects),
        n_effects=effects.size,
        outcome=cells.mean,
        within=within,
        root=np.sqrt(weight * cells.size),
        unit_root=np.sqrt(weight),
        copies=copies,
        stratum=kinds.stratum[cells.kind],
        cluster=cells.cluster,
        n_strata=int(kinds.stratum.max()) + 1,
        n_clusters=_n_clusters(sample),
        n_units=sample.n_units,
        of_unit=cells.of_unit,
        rounding=np.zeros(effects.size),
    )


def _n_clusters(sample: Sample) -> int | None:
    return None if sample.cluster is None else int(sample.cluster.max()) + 1


def estimable_arms(sample: Sample) -> IntArray:
    """Positions of the arms that are compared with the control."""
    arms = enumerate(sample.arms)
    return np.array([k for k, name in arms if k and name not in sample.not_estimable], np.int64)


def _arm_columns(sample: Sample, effects: IntArray) -> tuple[str, ...]:
    return tuple(f"arm '{sample.arms[k]}'" for k in effects)


def _unit_rows(sample: Sample, interact: bool) -> Rows:
    """One row per unit, ordered by cluster."""
    x, rounding, columns, n_effects = _regressors(sample, interact)
    order = np.arange(sample.n_units)
    if sample.cluster is not None:
        order = np.argsort(sample.cluster, kind="stable")
    stratum = _strata(sample)[order]
    weight = np.ones(sample.n_units) if sample.weights is None else mean_one(sample.weights)
    root = np.sqrt(weight[order])
    cluster = None if sample.cluster is None else sample.cluster[order]
    return Rows(
        x=x[order],
        columns=columns,
        n_effects=n_effects,
        outcome=sample.outcome[order],
        within=np.zeros(sample.n_units),
        root=root,
        unit_root=root,
        copies=np.ones(sample.n_units),
        stratum=stratum,
        cluster=cluster,
        n_strata=int(stratum.max()) + 1,
        n_clusters=_n_clusters(sample),
        n_units=sample.n_units,
        of_unit=np.argsort(order),
        rounding=np.sqrt(weight @ rounding**2),
    )


def _regressors(
    sample: Sample, interact: bool
) -> tuple[FloatArray, FloatArray, tuple[str, ...], int]:
    """Arm indicators, centred covariates and their products, rounding of each, and names."""
    effects = estimable_arms(sample)
    arms = (sample.arm[:, None] == effects).astype(np.float64)
    columns = _arm_columns(sample, effects)
    if sample.covariates is None:
        return arms, np.zeros_like(arms), columns, effects.size
    inner, digits = centred(sample.covariates, sample.weights), rounding_of(sample.covariates)
    names = tuple(f"covariate '{name}'" for name in sample.covariate_names)
    blocks, rounding = [arms, inner], [np.zeros_like(arms), digits]
    columns += names
    if interact:
        for k, label in enumerate(_arm_columns(sample, effects)):
            blocks.append(inner * arms[:, [k]])
            rounding.append(digits * arms[:, [k]])
            columns += tuple(f"{label} x {name}" for name in names)
    _check_width(len(columns), sample.n_units)
    return np.column_stack(blocks), np.column_stack(rounding), columns, effects.size


def centred(values: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Columns less their means, to the last digit however far from 0 they lie."""
    once = values - np.average(values, axis=0, weights=weights)
    twice: FloatArray = once - np.average(once, axis=0, weights=weights)
    return twice


def rounding_of(values: FloatArray) -> FloatArray:
    """Differences between values that two roundings in the last digit could have made."""
    size: FloatArray = np.abs(values)
    return 2 * np.spacing(size)


def _check_width(n_columns: int, n_units: int) -> None:
    if n_columns >= n_units:
        raise InputError(
            f"covariates: found {n_columns:,} columns (with their products with the arms) for "
            f"{n_units:,} units; needed fewer; choose fewer covariates, or interact=False"
        )


# Least squares with absorbed strata effects.

# what a column may keep of itself, once the earlier ones are taken out, to count as new
_RANK_TOLERANCE = 1e-8
# a mean this many times as large as the deviations from it is taken twice
_FAR = 1e3


@dataclass(frozen=True, eq=False)
class Fit:
    """A least-squares fit in units of rows scaled by the root of their weight."""

    effects: FloatArray  # (n_effects,): Coefficients of the arm indicators.
    # (n_rows, n_columns): Orthonormal basis of the regressors once strata effects are taken out.
    basis: FloatArray
    loading: FloatArray  # (n_rows, n_effects): Weight of each scaled outcome in each effect.
    residual: FloatArray  # (n_rows,): Scaled residual of the row's mean outcome.


def fit_rows(rows: Rows) -> Fit:
    """Effects of the arms by the regression on arms, strata effects and covariates.

    Notes
    -----
    Frisch-Waugh-Lovell: with ``P`` the projection on the strata indicators,
    ``beta = (X'(I - P)X)^-1 X'(I - P)y``. The scaled columns go through a QR decomposition
    ``(I - P)X = QR``, so that ``beta = R^-1 Q'y``, and the leverages are those of ``P + QQ'``.
    """
    if rows.n_units <= rows.rank_full:
        raise EstimationError(
            f"found {rows.n_units:,} units for {rows.rank_full:,} coefficients "
            f"({rows.n_strata:,} strata or intercept, {len(rows.columns):,} columns); needed more "
            "units than coefficients; use coarser strata or fewer covariates"
        )
    x = scaled_deviations(rows, rows.x)
    size = _column_sizes(rows, x)
    basis, triangle = np.linalg.qr(x / size)
    _check_rank(rows, triangle, size)
    inverse = np.linalg.inv(triangle)[: rows.n_effects]
    loading = basis @ inverse.T / size[: rows.n_effects]
    return fit_outcome(rows, basis, loading)


def fit_outcome(rows: Rows, basis: FloatArray, loading: FloatArray) -> Fit:
    """The fit of the rows' outcome, from the basis and loadings of their regressors."""
    y = scaled_deviations(rows, rows.outcome[:, None])[:, 0]
    scores = basis.T @ y
    return Fit(
        effects=loading.T @ (basis @ scores),
        basis=basis,
        loading=loading,
        residual=y - basis @ scores,
    )


def scaled_deviations(rows: Rows, values: FloatArray) -> FloatArray:
    """Scaled deviations from the stratum's weighted mean."""
    weight = rows.root**2
    total = rows.stratum_weight
    out = np.empty_like(values)
    for k in range(values.shape[1]):
        column = values[:, k]
        means = group_sum(rows.stratum, weight * column, rows.n_strata) / total
        deviation = column - means[rows.stratum]
        if np.abs(means).max() > _FAR * np.abs(deviation).max():  # means were rounded
            again = group_sum(rows.stratum, weight * deviation, rows.n_strata) / total
            deviation -= again[rows.stratum]
        out[:, k] = rows.root * deviation
    return out


def _column_sizes(rows: Rows, x: FloatArray) -> FloatArray:
    size: FloatArray = np.linalg.norm(x, axis=0)
    original = np.linalg.norm(rows.x * rows.root[:, None], axis=0)
    constant = size <= np.maximum(_RANK_TOLERANCE * original, rows.rounding)
    if constant.any():
        names = [name for name, flat in zip(rows.columns, constant, strict=True) if flat]
        where = "within every stratum" if rows.n_strata > 1 else "over all units"
        raise EstimationError(
            f"found {_listed(names)} constant {where}, up to the last digit of the values; needed "
            "columns that vary; leave them out, "
            "or give interact=False where only a product with an arm is constant"
        )
    return size


def _check_rank(rows: Rows, triangle: FloatArray, size: FloatArray) -> None:
    """Refuse columns that earlier columns already hold, up to rounding, and name both."""
    left = np.abs(np.diag(triangle))
    dependent = np.flatnonzero((left < _RANK_TOLERANCE) | (left * size < rows.rounding))
    if not dependent.size:
        return
    parts = []
    for j in dependent[:10]:
        earlier = [k for k in range(j) if k not in dependent]
        parts.append(f"{rows.columns[j]} ({_made_of(rows, triangle, earlier, int(j))})")
    raise EstimationError(
        f"found {dependent.size} of {len(rows.columns)} columns that are linear combinations of "
        f"others: {'; '.join(parts)}; leave them out, or give interact=False where only a product "
        "with an arm is at fault"
    )


def _made_of(rows: Rows, triangle: FloatArray, earlier: list[int], j: int) -> str:
    if not earlier:
        return "of the strata effects"
    share = np.linalg.lstsq(triangle[:, earlier], triangle[:, j], rcond=None)[0]
    names = [rows.columns[k] for k, a in zip(earlier, share, strict=True) if abs(a) > 1e-6]
    return f"of {_listed(names)}" if names else "of the strata effects"


def _listed(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
