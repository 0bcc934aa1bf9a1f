"""Scores that came late against those that came at once."""

from typing import Any

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.effects.ate import ate
from wavewise.shared.inputs import (
    aligned,
    check_size,
    encode,
    encode_or_one,
    read_flags,
    read_outcome,
)
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray

__all__ = ["late_deliveries"]

_NAME = "late against early deliveries"
_FEWEST = 20  # late scores of a period, as in the study's Table A.2


@renamed(alpha="size")
@aligned("score", "arm", "late", "period", "cluster")
def late_deliveries(
    score: Any, arm: Any, late: Any, *, period: Any = None, cluster: Any = None, size: float = 0.01
) -> CheckResult:
    """Whether scores that came late are like those that came at once.

    Parameters
    ----------
    score : array-like, shape (n_scores,)
        Scores that were delivered.
    arm : array-like, shape (n_scores,)
        Arm of the unit.
    late : array-like of bool, shape (n_scores,)
        Whether the score came after the period's first delivery.
    period, cluster : array-like, shape (n_scores,), optional
        Period of the score, and group of the unit (whole schools send at once).
    size : float
        Probability of a false alarm over all periods.

    Returns
    -------
    CheckResult
        ``table`` in the layout of Table A.2: one row a period and delivery with the mean score by
        arm, ``n_scores``, and in the late rows the difference from early ones within arms with its
        p value. ``number`` is the largest difference. Periods with fewer than 20 late scores, or
        without a standard error, have no test.

    Raises
    ------
    InputError
        Where lengths differ or `late` is not true or false.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> late = np.arange(200) % 4 == 0
    >>> check = late_deliveries(rng.normal(40, 10, 200) + 20 * late, ["a", "b"] * 100, late)
    >>> check.verdict, round(check.number)
    ('fail', 21)
    """
    check_size(size)
    values = read_outcome(score, "score")
    flags = read_flags(late, "late", values.size)
    arms = encode(arm, "arm", values.size)
    periods = encode_or_one(period, "period", values.size)
    groups = None if cluster is None else encode_or_one(cluster, "cluster", values.size).codes
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(periods.names):
        for is_late in (False, True):
            mask = (periods.codes == k) & (flags == is_late)
            label = name if period is not None else "all"
            rows.append(_row(label, is_late, values, arms.codes, arms.names, mask))
        rows[-1] |= _difference(values, arms.codes, flags, groups, periods.codes == k)
    return CheckResult(
        _NAME,
        f"all {len(arms.names)} arms, {values.size:,} scores, {len(periods.names)} periods",
        *_judged(rows, size),
    )


def _row(
    period: str, late: bool, values: FloatArray, arm: Any, names: tuple[str, ...], mask: Any
) -> dict[str, Any]:
    picks = {name: values[mask & (arm == k)] for k, name in enumerate(names)}
    means = {f"mean_{n}": float(np.nanmean(v)) if v.size else None for n, v in picks.items()}
    delivery = "late" if late else "first"
    return {"period": period, "delivery": delivery, "n_scores": int(mask.sum()), **means}


def _difference(values: FloatArray, arm: Any, late: Any, groups: Any, mask: Any) -> dict[str, Any]:
    """Late minus early within arms, and its p value; null where there is no test."""
    nothing = {"difference": None, "p_value": None}
    n_late = int(late[mask].sum())
    if n_late < _FEWEST or n_late == int(mask.sum()):
        return nothing
    try:
        found = ate(
            values[mask],
            np.where(late[mask], "late", "first"),
            control="first",
            strata=arm[mask],
            cluster=None if groups is None else groups[mask],
            se="HC2" if groups is None else "CR1",
        )["late"]
    except EstimationError:
        return nothing
    if not isinstance(found.p_value, float):
        return nothing
    return {"difference": found.estimate, "p_value": found.p_value}


def _judged(
    rows: list[dict[str, Any]], size: float
) -> tuple[bool | None, str, tuple[dict[str, Any], ...], float | None, str]:
    tested = [row for row in rows if row.get("p_value") is not None]
    if not tested:
        return None, f"No period has {_FEWEST} late scores to compare.", tuple(rows), None, ""
    largest = max(tested, key=lambda row: abs(row["difference"]))
    number = float(largest["difference"])
    passed = min(row["p_value"] for row in tested) * len(tested) >= size
    text = (
        f"Late scores of period {largest['period']} are {abs(number):.3g} "
        f"{'above' if number > 0 else 'below'} those of the first delivery within arms "
        f"(p = {largest['p_value']:.2g}, {largest['n_scores']:,} late)."
    )
    if passed:
        return True, text, tuple(rows), number, ""
    advice = (
        "Early scores are no random part: wait for the late ones, show results with and without, "
        "and do not set anything by the first delivery alone."
    )
    return False, text, tuple(rows), number, advice
