"""Missing outcomes by arm and wave, and whether some arms miss more."""

from typing import Any

import numpy as np

from wavewise.randomize import balance
from wavewise.shared.inputs import aligned, check_size, encode, encode_or_one, read_outcome
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray, IntArray

__all__ = ["missing_outcomes"]

_NAME = "missing outcomes"
_SAY = "Say how many are missing, by arm."
_FEWEST_EXPECTED = 5  # in the smallest arm, if they were spread alike


@renamed(alpha="size")
@aligned("outcome", "arm", "wave", "strata", "cluster")
def missing_outcomes(
    outcome: Any,
    arm: Any,
    *,
    wave: Any = None,
    strata: Any = None,
    cluster: Any = None,
    size: float = 0.01,
) -> CheckResult:
    """Whether outcomes are missing as often in all arms.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number (or None) where it is missing.
    arm : array-like, shape (n_units,)
        Labels of the arms.
    wave, strata, cluster : array-like, shape (n_units,), optional
        Waves and strata that arms were assigned within; groups that were assigned together.
    size : float
        Probability of a false alarm.

    Returns
    -------
    CheckResult
        ``table`` has one row per arm and wave, then one per arm, and one in all (Table A.1's
        layout: ``known_share``); ``number`` is the p value.

    Raises
    ------
    InputError
        Where lengths differ.

    Notes
    -----
    The test is of randomization: given the counts of a stratum and wave, missing outcomes are
    spread over arms by chance; its F statistic over all arms is `balance`'s, of the indicator of a
    missing outcome.

    Examples
    --------
    >>> y = [1.0] * 40 + [None] * 10 + [1.0] * 38 + [None] * 12
    >>> missing_outcomes(y, ["control"] * 50 + ["sms"] * 50).verdict
    'pass'
    """
    check_size(size)
    values = read_outcome(outcome, "outcome")
    gone = np.isnan(values)
    arms, waves = encode(arm, "arm", gone.size), encode_or_one(wave, "wave", gone.size)
    cells = encode_or_one(strata, "strata", gone.size)
    groups = None if cluster is None else encode(cluster, "cluster", gone.size).codes
    rows = _rows(gone, arms.codes, waves.codes, arms.names, waves.names if wave is not None else ())
    scope = f"all {len(arms.names)} arms, {gone.size:,} units"
    if wave is not None:
        scope += f", {len(waves.names)} waves"
    n_missing = int(gone.sum())
    if n_missing == 0:
        return CheckResult(_NAME, scope, True, "No unit's outcome is missing.", rows, 1.0)
    told = f"{n_missing:,} of {gone.size:,} outcomes are missing ({n_missing / gone.size:.1%})."
    smallest = int(np.bincount(arms.codes).min())
    if n_missing * smallest < _FEWEST_EXPECTED * gone.size or len(arms.names) < 2:
        text = f"{told} They are too few to compare the arms."
        return CheckResult(_NAME, scope, None, text, rows, None, _SAY)
    within = cells.codes * len(waves.names) + waves.codes
    tested = balance(
        {"outcome missing": gone.astype(np.float64)},
        np.array(arms.names)[arms.codes],
        strata=within,
        cluster=groups,
        size=size,
    )
    p_value = tested.table[0]["p_value"]
    return CheckResult(_NAME, scope, tested.passed, *_told(told, tested.passed, p_value, rows))


def _told(
    told: str, passed: bool | None, p_value: float | None, rows: tuple[dict[str, Any], ...]
) -> tuple[str, tuple[dict[str, Any], ...], float | None, str]:
    if passed is None:
        return f"{told} Inconclusive on the arms.", rows, p_value, _SAY
    if passed:
        text = f"{told} Arms do not differ more than by chance (p = {p_value:.3g})."
        advice = "Compare late with early outcomes all the same: all arms may miss the same people."
        return text, rows, p_value, advice
    total = [row for row in rows if row["wave"] is None and row["arm"] is not None]
    low, high = (pick(total, key=lambda row: row["known_share"]) for pick in (min, max))
    text = (
        f"{told} Arms differ more than by chance (p = {p_value:.3g}): {low['known_share']:.1%} are "
        f"known in {low['arm']}, {high['known_share']:.1%} in {high['arm']}."
    )
    advice = "Find out why, and print bounds for who is missing (attrition_bounds) beside effects."
    return text, rows, p_value, advice


def _rows(
    gone: FloatArray, arm: IntArray, wave: IntArray, arms: tuple[str, ...], waves: tuple[str, ...]
) -> tuple[dict[str, Any], ...]:
    every = np.ones(gone.size, dtype=np.bool_)
    rows = [
        _row(name, label, gone, (arm == k) & (wave == w))
        for w, label in enumerate(waves)
        for k, name in enumerate(arms)
    ]
    rows += [_row(name, None, gone, arm == k) for k, name in enumerate(arms)]
    return (*(row for row in rows if row["n_units"]), _row(None, None, gone, every))


def _row(arm: str | None, wave: str | None, gone: FloatArray, mask: Any) -> dict[str, Any]:
    n, n_missing = int(mask.sum()), int(gone[mask].sum())
    share = 1 - n_missing / n if n else None
    return {"arm": arm, "wave": wave, "n_units": n, "n_missing": n_missing, "known_share": share}
