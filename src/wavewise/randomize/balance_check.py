"""Whether covariates have the same mean in all arms: one test a covariate, and one of all."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.randomize.clusters import code_of_clusters
from wavewise.randomize.covariates import Covariate, expand
from wavewise.randomize.labels import Coded, Labels, as_labels, code, same_length
from wavewise.randomize.permutation_test import FTest, Moments, f_test, moments, sum_by
from wavewise.randomize.standardized import LargestDifference, differences, largest
from wavewise.results import BoolArray, CheckResult, FloatArray

__all__ = ["balance"]

_NAME = "covariate balance"
_CONSTANT_WITHIN = 1e-12


@dataclass(frozen=True)
class _Design:
    """Codes of the units: arm, stratum, and cluster where there is one."""

    arm: Coded
    stratum: Coded
    cluster: Coded | None

    def scope(self, covariates: list[Covariate]) -> str:
        n_covariates = len({part.name.removesuffix(" (missing)") for part in covariates})
        parts = [f"all {len(self.arm.labels)} arms", f"{self.arm.codes.size:,} units"]
        if self.cluster is not None:
            parts.append(f"{len(self.cluster.labels):,} clusters")
        if len(self.stratum.labels) > 1:
            parts.append(f"{len(self.stratum.labels):,} strata")
        return ", ".join([*parts, f"{n_covariates} covariate{'s' * (n_covariates != 1)}"])


def balance(
    covariates: Any, arm: Any, strata: Any = None, cluster: Any = None, *, alpha: float = 0.01
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
    alpha : float
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
        differ in arm or stratum, or ``alpha`` is not in (0, 1).

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
    if not 0.0 < alpha < 1.0:
        raise InputError(f"alpha: found {alpha!r}, needed a probability in (0, 1), such as 0.01")
    design = _design(arm, strata, cluster)
    parts = expand(covariates, design.arm.codes.size)
    if len(design.arm.labels) < 2:
        text = "No verdict: all units stand in one arm, so there is nothing to compare."
        return CheckResult(_NAME, design.scope(parts), None, text)
    joint, rows = _tests(parts, design)
    passed, text = _verdict(joint, rows, alpha)
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
    names = as_labels(arm, "arm")
    labels = None if strata is None else as_labels(strata, "strata")
    groups = None if cluster is None else as_labels(cluster, "cluster")
    if len(names) == 0:
        raise InputError("arm: found no units, needed at least one in each of two arms")
    same_length(len(names), strata=labels, cluster=groups)
    return _Design(
        arm=code(names),
        stratum=_code_or_one(labels, len(names)),
        cluster=None if groups is None else code(groups),
    )


def _code_or_one(labels: Labels | None, n_units: int) -> Coded:
    return Coded(np.zeros(n_units, dtype=np.int64), ("all",)) if labels is None else code(labels)


def _centred(columns: FloatArray, stratum: Coded) -> tuple[FloatArray, BoolArray]:
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
            "No verdict: no covariate varies within strata that hold several arms, or there are "
            "more contrasts than units to compare."
        )
    if joint.df_residual < joint.df_contrasts:
        return None, (
            f"No verdict: {joint.df_contrasts} contrasts against {joint.df_residual} residual "
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
