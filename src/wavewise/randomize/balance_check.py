"""Whether covariates have the same mean in all arms: one test a covariate, and one of all."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.randomize.assignment import code_of_clusters
from wavewise.shared.inputs import aligned, check_size, encode, named_columns
from wavewise.shared.labels import Label, Labels, one_label_for_all
from wavewise.shared.renamed import renamed
from wavewise.shared.results import BoolArray, CheckResult, FloatArray, IntArray

__all__ = ["balance", "expand", "f_test", "moments"]


# Covariates at the door: columns of numbers, levels of text, and what is missing.

_MAX_LEVELS = 50


@dataclass(frozen=True)
class Covariate:
    """One covariate as columns that can be averaged."""

    name: str  # The covariate's name; ``age (missing)`` is the indicator of a missing age.
    # One per column: the level that the column indicates, or the name itself.
    levels: tuple[str, ...]
    columns: FloatArray  # (n, n_columns): Finite; empty where the covariate is not tested.
    note: str = ""  # Why it is not tested, or how missing values were filled.


def expand(covariates: Any, n_units: int) -> list[Covariate]:
    """Covariates of an array, a mapping or a frame, each as its columns."""
    columns = named_columns(covariates, "covariates", n_units=n_units)
    return [part for name, values in columns.items() for part in _parts(name, values)]


def _parts(name: str, values: npt.NDArray[Any]) -> list[Covariate]:
    return _numeric(name, values) if values.dtype.kind == "f" else [_text(name, values)]


def _numeric(name: str, values: FloatArray) -> list[Covariate]:
    missing = np.isnan(values)
    n_missing = int(missing.sum())
    if n_missing == values.size:
        return [_untested(name, values.size, "all values are missing")]
    if n_missing == 0:
        return [_constant_or(name, values, "")]
    filled = np.where(missing, values[~missing].mean(), values)
    note = f"{n_missing:,} missing, filled with the mean"
    indicator = Covariate(f"{name} (missing)", (name,), missing.astype(np.float64)[:, None])
    return [_constant_or(name, filled, note), indicator]


def _constant_or(name: str, values: FloatArray, note: str) -> Covariate:
    if values.min() == values.max():
        return _untested(name, values.size, "constant")
    if (values - values[0]).std() <= 2 * np.spacing(np.abs(values).max()):
        return _untested(name, values.size, "constant up to the last digit of the values")
    return Covariate(name, (name,), values[:, None], note)


def _text(name: str, values: npt.NDArray[Any]) -> Covariate:
    filled = pl.Series(values.tolist(), dtype=pl.String).fill_null("(missing)")
    levels = filled.unique().sort()
    if levels.len() == 1:
        return _untested(name, values.size, "constant")
    if levels.len() > _MAX_LEVELS:
        why = f"{levels.len():,} levels, more than {_MAX_LEVELS}; group them"
        return _untested(name, values.size, why)
    codes = filled.cast(pl.Enum(levels)).to_physical().to_numpy()
    columns = (codes[:, None] == np.arange(levels.len())[None, :]).astype(np.float64)
    return Covariate(name, tuple(f"{name}={level}" for level in levels), columns)


def _untested(name: str, n_units: int, why: str) -> Covariate:
    return Covariate(name, (), np.empty((n_units, 0)), f"not tested: {why}")


# Sums of covariates by arm, and their exact covariance when arms are shuffled within strata.

_RANK_TOLERANCE = 1e-9
_MAX_BLOCK = 2**22  # numbers held at once


@dataclass(frozen=True)
class Moments:
    """Sums of centred columns by arm, and their covariance under the randomization."""

    # (n_arms - 1, n_columns): Sum of the columns over each arm but the last, after strata means
    # are taken out.
    total: FloatArray
    # (n_arms - 1, n_columns, n_arms - 1, n_columns): Of ``total``, over all arrangements of the
    # arms within strata.
    covariance: FloatArray
    df: int  # Things (units or clusters) less strata, over strata with at least two arms.
    arm_rank: int  # Number of independent contrasts of arms.


@dataclass(frozen=True)
class FTest:
    """An F statistic, its degrees of freedom, and its p-value."""

    # statistic, df_contrasts, df_residual, p_value: The F statistic, its two degrees of freedom,
    # and the probability of a larger one.
    statistic: float
    df_contrasts: int
    df_residual: int
    p_value: float


def moments(columns: FloatArray, arm: IntArray, stratum: IntArray) -> Moments:
    """Sums by arm and their randomization covariance.

    Notes
    -----
    With m_s rows in stratum s, indicators Z and centred columns E, the covariance of Z'E over all
    arrangements is sum_s (Z_s'Z_s - m_s m_s'/m_s) (x) (E_s'E_s) / (m_s - 1), exactly, (x) being the
    Kronecker product. For two arms it is the variance in Hansen and Bowers' (2008) d^2.
    """
    n_arms, n_strata = int(arm.max()) + 1, int(stratum.max()) + 1
    count = np.bincount(stratum * n_arms + arm, minlength=n_strata * n_arms)
    count = count.reshape(n_strata, n_arms)
    size = count.sum(axis=1)
    mixed = (count > 0).sum(axis=1) > 1
    between = _between_arms(count, size)[:, :-1, :-1]
    total = sum_by(arm, columns, n_arms)
    return Moments(
        total=total[:-1],
        covariance=_covariance(columns, stratum, size, between),
        df=int((size - 1)[mixed].sum()),
        arm_rank=int(np.linalg.matrix_rank(between.sum(axis=0))),
    )


def sum_by(codes: IntArray, columns: FloatArray, n_codes: int) -> FloatArray:
    """Sums of each column over the rows of each code; (n_codes, n_columns)."""
    sums = [np.bincount(codes, weights=column, minlength=n_codes) for column in columns.T]
    return np.asarray(np.stack(sums, axis=1), dtype=np.float64)


def _between_arms(count: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> FloatArray:
    """diag(m_s) - m_s m_s' / m_s for every stratum; (n_strata, n_arms, n_arms)."""
    diagonal = np.eye(count.shape[1]) * count[:, None, :]
    return np.asarray(diagonal - count[:, :, None] * count[:, None, :] / size[:, None, None])


def _covariance(
    columns: FloatArray, stratum: IntArray, size: IntArray, between: FloatArray
) -> FloatArray:
    """The sum over strata, in blocks of strata so that memory stays bounded."""
    n_columns, n_arms = columns.shape[1], between.shape[1]
    by_stratum = columns[np.argsort(stratum, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(size)])
    n_block = max(1, _MAX_BLOCK // max(n_columns**2, 1))
    product = np.zeros((n_arms**2, n_columns**2))
    for first in range(0, size.size, n_block):
        block = slice(first, first + n_block)
        within = _within_strata(by_stratum, starts[block], size[block])
        product += between[block].reshape(-1, n_arms**2).T @ within.reshape(-1, n_columns**2)
    return product.reshape(n_arms, n_arms, n_columns, n_columns).transpose(0, 2, 1, 3)


def _within_strata(by_stratum: FloatArray, starts: IntArray, size: IntArray) -> FloatArray:
    """E_s'E_s / (m_s - 1) of each stratum, 0 for one row; (n_strata, n_columns, n_columns)."""
    n_columns = by_stratum.shape[1]
    within = np.zeros((size.size, n_columns, n_columns))
    for s in np.flatnonzero(size > 1).tolist():
        part = by_stratum[starts[s] : starts[s] + size[s]]
        within[s] = part.T @ part / (size[s] - 1)
    return within


def f_test(moment: Moments, kept: IntArray) -> FTest | None:
    """F test that the kept columns have the same mean in all arms; None without information.

    Notes
    -----
    With T = t' V^- t of rank d and s = min(arm contrasts, columns), T / (s df) is taken as
    Beta(d / 2, (s df - d) / 2), which has the exact mean and range. With one stratum and one
    column that is the F test of analysis of variance; with several columns, Pillai's.
    """
    from scipy.special import betaincc

    size = moment.total.shape[0] * kept.size
    covariance = moment.covariance[:, kept][:, :, :, kept].reshape(size, size)
    statistic, rank, column_rank = _quadratic(moment.total[:, kept].ravel(), covariance, moment)
    limit = min(moment.arm_rank, column_rank) * moment.df
    if rank == 0 or limit <= rank:
        return None
    statistic = min(statistic, float(limit))
    left = (limit - statistic) / (limit - rank)
    p_value = float(betaincc(rank / 2.0, (limit - rank) / 2.0, statistic / limit))
    ratio = statistic / rank / left if left > 0.0 else np.inf
    return FTest(float(ratio), rank, limit - rank, p_value)


def _quadratic(
    total: FloatArray, covariance: FloatArray, moment: Moments
) -> tuple[float, int, int]:
    """The form t' V^- t, the rank of V, and its rank in columns; scaled to unit variances."""
    variance = np.diag(covariance)
    used = variance > 0.0
    if not used.any():
        return 0.0, 0, 0
    scale = np.sqrt(variance[used])
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)] / np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * values.max()
    rank = int(kept.sum())
    projected = (vectors.T @ (total[used] / scale))[kept]
    return float((projected**2 / values[kept]).sum()), rank, ceil(rank / moment.arm_rank)


# Differences of covariate means between arms, in standard deviations.


@dataclass(frozen=True)
class LargestDifference:
    """The largest absolute standardized difference over all pairs of arms and levels."""

    value: float  # In standard deviations, not negative.
    level: str  # The column where it stands.
    # high, low: The arm with the higher mean, and the other.
    high: Label
    low: Label


def differences(
    columns: FloatArray, centred: FloatArray, arm: Labels, stratum: Labels
) -> FloatArray:
    """Standardized differences of means adjusted for strata; (n_arms, n_arms, n_columns).

    Notes
    -----
    Entry (a, b, j) is (beta_aj - beta_bj) / sd_j: beta from least squares on arms with strata
    effects, sd_j pooled within arms and not adjusted for strata. Pairs of arms that no chain of
    strata connects are NaN.
    """
    n_arms, n_strata = len(arm.labels), len(stratum.labels)
    cell = stratum.codes * n_arms + arm.codes
    count = np.bincount(cell, minlength=n_strata * n_arms).astype(np.int64)
    count = count.reshape(n_strata, n_arms)
    size = count.sum(axis=1)
    gram = np.diag(size @ (count / size[:, None])) - (count / size[:, None]).T @ count
    beta = np.linalg.pinv(gram, hermitian=True) @ sum_by(arm.codes, centred, n_arms)
    gap = (beta[:, None, :] - beta[None, :, :]) / _sd_within_arms(columns, arm)
    gap[~_connected(count)] = np.nan
    return np.asarray(gap)


def _sd_within_arms(columns: FloatArray, arm: Labels) -> FloatArray:
    size = np.bincount(arm.codes)
    n_residual = columns.shape[0] - size.size
    sd = np.full(columns.shape[1], np.nan)
    for j, column in enumerate((columns - columns.mean(axis=0)).T):
        mean = np.bincount(arm.codes, weights=column) / size
        sum_squares = float(((column - mean[arm.codes]) ** 2).sum())
        if n_residual > 0 and sum_squares > 0.0:
            sd[j] = np.sqrt(sum_squares / n_residual)
    return sd


def _connected(count: npt.NDArray[np.int64]) -> BoolArray:
    """Which pairs of arms a chain of shared strata connects."""
    reach = ((count > 0).T.astype(np.int64) @ (count > 0).astype(np.int64)) > 0
    for _ in range(int(np.ceil(np.log2(max(count.shape[1], 2))))):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return np.asarray(reach)


def largest(
    gaps: FloatArray, levels: tuple[str, ...], arms: tuple[Label, ...]
) -> LargestDifference | None:
    """The largest entry of ``gaps`` (n_arms, n_arms, n_levels) with its place, or None."""
    if np.isnan(gaps).all():
        return None
    a, b, j = np.unravel_index(int(np.nanargmax(gaps)), gaps.shape)
    return LargestDifference(float(gaps[a, b, j]), levels[int(j)], arms[int(a)], arms[int(b)])


_NAME = "covariate balance"
_CONSTANT_WITHIN = 1e-12


@dataclass(frozen=True)
class _Design:
    """Codes of the units: arm, stratum, and cluster where there is one."""

    arm: Labels
    stratum: Labels
    cluster: Labels | None

    def scope(self, covariates: list[Covariate]) -> str:
        n_covariates = len({part.name.removesuffix(" (missing)") for part in covariates})
        parts = [f"all {len(self.arm.labels)} arms", f"{self.arm.codes.size:,} units"]
        if self.cluster is not None:
            parts.append(f"{len(self.cluster.labels):,} clusters")
        if len(self.stratum.labels) > 1:
            parts.append(f"{len(self.stratum.labels):,} strata")
        return ", ".join([*parts, f"{n_covariates} covariate{'s' * (n_covariates != 1)}"])


@renamed("strata", "cluster", alpha="size")
@aligned("covariates", "arm", "strata", "cluster")
def balance(
    covariates: Any, arm: Any, *, strata: Any = None, cluster: Any = None, size: float = 0.01
) -> CheckResult:
    """Whether covariates are as alike over all arms as randomization makes them.

    Parameters
    ----------
    covariates : (n, n_covariates) array, {name: (n,) values}, or dataframe
        Measured before the assignment: numbers, booleans or text. Text is taken as indicators of
        its levels; a missing number is filled with the mean, and an indicator of missing tested
        beside it; missing text is a level of its own.
    arm : (n,) sequence of text
        Arm names.
    strata, cluster : (n,) sequences of whole numbers or text, or None
        What was randomized within, and what was randomized.
    size : float
        Probability of a false alarm of the joint test.

    Returns
    -------
    CheckResult
        ``passed`` by the joint test of all covariates over all arms. ``table`` has the joint test
        in its first row, then one row a covariate: ``f_statistic``, ``df_contrasts``,
        ``df_residual``, ``p_value``, the largest absolute standardized difference over all pairs
        of arms (``max_std_difference``, and its ``level`` and pair of arms), and a ``note``.
        Covariates that cannot be tested stand there with the reason.

    Raises
    ------
    InputError
        If lengths differ, values are infinite or of a type that has no mean, units of a cluster
        differ in arm or stratum, or ``size`` is not in (0, 1).

    Notes
    -----
    The test is of randomization: given the counts, all arrangements of arms over units (or
    clusters) within strata are equally likely, which gives the exact covariance V of the sums t of
    the covariates by arm, and T = t' V^- t. For two arms it is the omnibus test of Hansen and
    Bowers (2008). Its F approximation is the F test of analysis of variance for one covariate in
    one stratum, and Pillai's for several. Strata with one arm only tell nothing and are left out.
    Standardized differences are of means adjusted for strata, over the standard deviation within
    arms.

    References
    ----------
    Hansen, B. B., Bowers, J. (2008), Covariate balance in simple, stratified and clustered
    comparative studies, Statistical Science 23 (the statistic d^2).

    Examples
    --------
    >>> age = [31, 45, 28, 39, 51, 33, 40, 36]
    >>> arm = ["control", "peers"] * 4
    >>> check = balance({"age": age}, arm)
    >>> check.scope, check.verdict
    ('all 2 arms, 8 units, 1 covariate', 'pass')
    """
    check_size(size)
    design = _design(arm, strata, cluster)
    parts = expand(covariates, design.arm.codes.size)
    if len(design.arm.labels) < 2:
        text = "Inconclusive: all units stand in one arm, so there is nothing to compare."
        return CheckResult(_NAME, design.scope(parts), None, text)
    joint, rows = _tests(parts, design)
    passed, text = _verdict(joint, rows, size)
    table = (_row("all covariates together", joint, None, ""), *rows)
    return CheckResult(_NAME, design.scope(parts), passed, text, table)


def _tests(parts: list[Covariate], design: _Design) -> tuple[FTest | None, list[dict[str, Any]]]:
    """The joint test, and one row a covariate."""
    columns = np.hstack([part.columns for part in parts])
    if columns.shape[1] == 0:
        return None, [_row(part.name, None, None, part.note) for part in parts]
    centred, varies = _centred(columns, design.stratum)
    moment = _moments(centred, design)
    gaps = differences(columns, centred, design.arm, design.stratum)
    rows = _rows(parts, varies, moment, gaps, design)
    return (f_test(moment, np.flatnonzero(varies)) if varies.any() else None), rows


def _design(arm: Any, strata: Any, cluster: Any) -> _Design:
    names = encode(arm, "arm")
    n = names.codes.size
    return _Design(
        arm=names,
        stratum=one_label_for_all("all", n) if strata is None else encode(strata, "strata", n),
        cluster=None if cluster is None else encode(cluster, "cluster", n),
    )


def _centred(columns: FloatArray, stratum: Labels) -> tuple[FloatArray, BoolArray]:
    """Columns less their strata means, and which of them vary within strata."""
    size = np.bincount(stratum.codes)
    centred = np.empty_like(columns)
    for j, column in enumerate((columns - columns.mean(axis=0)).T):
        mean = np.bincount(stratum.codes, weights=column) / size
        centred[:, j] = column - mean[stratum.codes]
    spread, floor = (centred**2).sum(axis=0), columns.var(axis=0) * columns.shape[0]
    varies = spread > _CONSTANT_WITHIN * floor
    centred[:, ~varies] = 0.0
    return centred, varies


def _moments(centred: FloatArray, design: _Design) -> Moments:
    if design.cluster is None:
        return moments(centred, design.arm.codes, design.stratum.codes)
    cluster = design.cluster
    arm = code_of_clusters(cluster, design.arm.codes, "arm", "give the label that was randomized")
    fix = "give the strata that were randomized within"
    stratum = code_of_clusters(cluster, design.stratum.codes, "stratum", fix)
    return moments(sum_by(cluster.codes, centred, len(cluster.labels)), arm, stratum)


def _rows(
    parts: list[Covariate], varies: BoolArray, moment: Moments, gaps: FloatArray, design: _Design
) -> list[dict[str, Any]]:
    rows, first = [], 0
    for part in parts:
        here = np.arange(first, first + len(part.levels))
        first += here.size
        kept = here[varies[here]]
        result = f_test(moment, kept) if kept.size else None
        note = part.note
        if here.size and result is None:
            note = "not tested: does not vary within strata that hold several arms"
        gap = largest(gaps[:, :, here], part.levels, design.arm.labels) if here.size else None
        rows.append(_row(part.name, result, gap, note))
    return rows


def _row(
    name: str, result: FTest | None, gap: LargestDifference | None, note: str
) -> dict[str, Any]:
    return {
        "covariate": name,
        "f_statistic": None if result is None else result.statistic,
        "df_contrasts": None if result is None else result.df_contrasts,
        "df_residual": None if result is None else result.df_residual,
        "p_value": None if result is None else result.p_value,
        "max_std_difference": None if gap is None else gap.value,
        "level": None if gap is None else gap.level,
        "arms": None if gap is None else f"{gap.high} - {gap.low}",
        "note": note,
    }


def _verdict(
    joint: FTest | None, rows: list[dict[str, Any]], alpha: float
) -> tuple[bool | None, str]:
    if joint is None:
        return None, (
            "Inconclusive: no covariate varies within strata that hold several arms, or there are "
            "more contrasts than units to compare."
        )
    if joint.df_residual < joint.df_contrasts:
        return None, (
            f"Inconclusive: {joint.df_contrasts} contrasts against {joint.df_residual} residual "
            "degrees of freedom are too many; give fewer covariates."
        )
    passed = joint.p_value >= alpha
    found = "No more imbalance than chance gives" if passed else "More imbalance than chance gives"
    return passed, (
        f"{found}: F({joint.df_contrasts}, {joint.df_residual}) = {joint.statistic:.2f}, "
        f"p = {joint.p_value:.4g}, against a false-alarm probability of {alpha:g}; "
        f"{_largest_text(rows)}"
    )


def _largest_text(rows: list[dict[str, Any]]) -> str:
    top = max(rows, key=lambda row: row["max_std_difference"] or 0.0)
    if top["max_std_difference"] is None:
        return "no pair of arms can be compared within strata."
    return (
        f"the largest difference between two arms is {top['max_std_difference']:.3f} standard "
        f"deviations ({top['level']}: {top['arms']})."
    )
