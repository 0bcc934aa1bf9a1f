"""How much of what was planned reached each arm."""

from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.randomize import balance
from wavewise.shared.inputs import aligned, check_size, encode, read_outcome
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult

__all__ = ["dose_by_arm"]

_NAME = "exposure by arm"


@renamed(alpha="size")
@aligned("delivered", "planned", "arm", "strata", "cluster")
def dose_by_arm(
    delivered: Any,
    planned: Any,
    arm: Any,
    *,
    strata: Any = None,
    cluster: Any = None,
    size: float = 0.01,
) -> CheckResult:
    """Whether all arms got as much of what was planned for them.

    Parameters
    ----------
    delivered, planned : array-like, shape (n_units,)
        Messages that arrived and that were due, by unit; due 0 for a control.
    arm : array-like, shape (n_units,)
        Labels of the arms.
    strata, cluster : array-like, shape (n_units,), optional
        What arms were assigned within, and groups that were assigned together.
    size : float
        Probability of a false alarm.

    Returns
    -------
    CheckResult
        One row of ``table`` an arm: messages due and delivered, the mean share of a unit's messages
        that arrived, units that got none and that got all. It fails where arms differ by more than
        chance, or where units got messages that were not due. ``number`` is the lowest share.

    Raises
    ------
    InputError
        Where numbers are missing or negative.

    Examples
    --------
    >>> dose_by_arm([9, 9, 8, 9, 0, 0], [9, 9, 9, 9, 0, 0], list("aabbcc")).table[0]["share"]
    1.0
    """
    check_size(size)
    got, due = read_outcome(delivered, "delivered"), read_outcome(planned, "planned")
    if got.shape != due.shape or not (got >= 0).all() or not (due >= 0).all():
        raise InputError("delivered, planned: found missing or negative numbers; needed counts")
    arms = encode(arm, "arm", got.size)
    meant = due > 0
    share = np.where(meant, got / np.maximum(due, 1.0), 0.0)
    rows = tuple(_row(name, got, due, share, arms.codes == k) for k, name in enumerate(arms.names))
    scope = f"all {len(arms.names)} arms, {got.size:,} units, {int(due.sum()):,} messages due"
    astray = int((got > due).sum())
    shares = [row["share"] for row in rows if row["share"] is not None]
    if astray:
        text = f"{astray:,} units got more messages than were due to them."
        advice = "Look at the outbox: a control that gets messages is no control."
        return CheckResult(_NAME, scope, False, text, rows, min(shares, default=None), advice)
    if len(shares) < 2:
        text = "Fewer than two arms have messages due, so there is nothing to compare."
        return CheckResult(_NAME, scope, None, text, rows, min(shares, default=None))
    tested = balance(
        {"share delivered": share[meant]},
        np.array(arms.names)[arms.codes[meant]],
        strata=None if strata is None else encode(strata, "strata", got.size).codes[meant],
        cluster=None if cluster is None else encode(cluster, "cluster", got.size).codes[meant],
        size=size,
    )
    text = f"Between {min(shares):.1%} and {max(shares):.1%} of an arm's messages arrived."
    advice = "Effects are of being assigned; say how much arrived, and fix the channel."
    if tested.passed is False:
        text += " Arms differ by more than chance."
    advice = advice if tested.passed is False else ""
    return CheckResult(_NAME, scope, tested.passed, text, rows, min(shares), advice)


def _row(name: str, got: Any, due: Any, share: Any, mask: Any) -> dict[str, Any]:
    meant = mask & (due > 0)
    return {
        "arm": name,
        "n_units": int(mask.sum()),
        "n_due": int(due[mask].sum()),
        "n_delivered": int(got[mask].sum()),
        "share": float(share[meant].mean()) if meant.any() else None,
        "n_none": int((got[meant] == 0).sum()),
        "n_all": int((got[meant] >= due[meant]).sum()),
    }
