"""Whether the arms hold as many units as their shares say: a test over all arms."""

from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.randomize.shares import Shares, ShareTable, parse_shares
from wavewise.shared.inputs import aligned, check_size, encode
from wavewise.shared.labels import Labels, one_label_for_all
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray, IntArray

__all__ = ["sample_ratio"]

_NAME = "sample ratio"
_LEAST_EXPECTED = 5.0
_RANK_TOLERANCE = 1e-9


@renamed("strata", alpha="size")
@aligned("arm", "strata")
def sample_ratio(
    arm: Any, shares: Shares, *, strata: Any = None, size: float = 0.001
) -> CheckResult:
    """Whether units arrived in the arms in the intended shares, over all arms.

    Parameters
    ----------
    arm : (n,) sequence of text
        Arm names of the units at hand.
    shares : {arm: share} or {stratum: {arm: share}}
        Intended shares.
    strata : (n,) sequence of whole numbers or text, or None
        Stratum labels; needed where shares differ by stratum.
    size : float
        Probability of a false alarm. It is small since the check is made at every look.

    Returns
    -------
    CheckResult
        ``passed`` is None if an arm expects fewer than 5 units, False if the p-value is below
        ``size`` or an arm with share 0 holds units. One row of ``table`` an arm.

    Raises
    ------
    InputError
        If an arm is not named in the shares, lengths differ, or ``size`` is not in (0, 1).

    Notes
    -----
    With O_k units observed and E_k = sum_s n_s q_sk expected, the statistic is
    (O - E)' V^- (O - E) with V = sum_s n_s (diag(q_s) - q_s q_s'), on as many degrees of freedom as
    the rank of V. With the same shares everywhere it is Pearson's sum of (O - E)^2 / E on one less
    than the number of arms. It takes units as drawn independently: exact randomization is nearer to
    its target than that, so what the check finds is units lost, added or moved afterwards. Units of
    a cluster do not arrive independently: pass one row per cluster.

    References
    ----------
    Fabijan, A. et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments,
    KDD 2019.

    Examples
    --------
    >>> arm = ["control"] * 520 + ["peers"] * 480
    >>> sample_ratio(arm, {"control": 0.5, "peers": 0.5}).verdict
    'pass'
    >>> sample_ratio(["control"] * 900 + ["peers"] * 100, {"control": 0.5, "peers": 0.5}).verdict
    'fail'
    """
    check_size(size)
    names = encode(arm, "arm")
    n_units = names.codes.size
    stratum = (
        one_label_for_all("all", n_units) if strata is None else encode(strata, "strata", n_units)
    )
    table = parse_shares(shares, None if strata is None else stratum.labels)
    observed = _observed(names, stratum, table)
    return _judge(observed, table, n_units, size)


def _observed(arm: Labels, stratum: Labels, table: ShareTable) -> IntArray:
    """Units by stratum and arm, arms in the order of the shares."""
    place = {name: position for position, name in enumerate(table.arms)}
    unknown = [name for name in arm.names if name not in place]
    if unknown:
        raise InputError(
            f"arm: found {len(unknown)} arm(s) without a share ({', '.join(unknown[:5])}), needed "
            f"only {', '.join(table.arms[:20])}; correct the name, or give it a share"
        )
    column = np.array([place[name] for name in arm.names], dtype=np.int64)[arm.codes]
    shape = table.share.shape
    cell = stratum.codes * shape[1] + column
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def _judge(observed: IntArray, table: ShareTable, n_units: int, alpha: float) -> CheckResult:
    size = observed.sum(axis=1)
    expected = size @ table.share
    rows = tuple(
        {"arm": arm, "expected": float(e), "observed": int(o), "difference": float(o - e)}
        for arm, e, o in zip(table.arms, expected, observed.sum(axis=0), strict=True)
    )
    scope = f"all {len(table.arms)} arms, {n_units:,} units"
    if observed.shape[0] > 1:
        scope += f", {observed.shape[0]:,} strata"
    passed, text = _verdict(observed, table, expected, alpha)
    return CheckResult(_NAME, scope, passed, text, rows)


def _verdict(
    observed: IntArray, table: ShareTable, expected: FloatArray, alpha: float
) -> tuple[bool | None, str]:
    forbidden = np.where(table.share == 0.0, observed, 0).sum(axis=0)
    if forbidden.any():
        arms = ", ".join(
            f"{arm} ({n:,})" for arm, n in zip(table.arms, forbidden, strict=True) if n
        )
        return False, f"Units stand in arms whose share is 0: {arms}."
    used = expected > 0.0
    if int(used.sum()) < 2:
        return None, "Inconclusive: only one arm has a share above 0, so there is no ratio to test."
    least = int(np.argmin(np.where(used, expected, np.inf)))
    if expected[least] < _LEAST_EXPECTED:
        return None, (
            f"Inconclusive: {table.arms[least]} expects {expected[least]:.1f} units, and the test "
            f"needs {_LEAST_EXPECTED:.0f} in every arm."
        )
    return _test(observed, table, expected, alpha)


def _test(
    observed: IntArray, table: ShareTable, expected: FloatArray, alpha: float
) -> tuple[bool | None, str]:
    from scipy.special import chdtrc

    statistic, df = _wald(observed, table.share, expected)
    if df == 0:
        return None, "Inconclusive: every stratum has one arm only, so there is no ratio to test."
    p_value = float(chdtrc(df, statistic))
    passed = p_value >= alpha
    fit = "fit" if passed else "do not fit"
    return passed, (
        f"Counts {fit} the shares: chi-square({df}) = {statistic:.2f}, p = {p_value:.4g}, against "
        f"a false-alarm probability of {alpha:g}."
    )


def _wald(observed: IntArray, share: FloatArray, expected: FloatArray) -> tuple[float, int]:
    """(O - E)' V^- (O - E) and the rank of V, on the scale of standard deviations."""
    size = observed.sum(axis=1)
    covariance = np.diag(expected) - (share * size[:, None]).T @ share
    variance = np.diag(covariance)
    free = variance > _RANK_TOLERANCE * expected.sum()
    if not free.any():
        return 0.0, 0
    scale = np.sqrt(variance[free])
    values, vectors = np.linalg.eigh(covariance[np.ix_(free, free)] / np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * values.max()
    gap = (observed.sum(axis=0) - expected)[free] / scale
    return float(((vectors.T @ gap)[kept] ** 2 / values[kept]).sum()), int(kept.sum())
