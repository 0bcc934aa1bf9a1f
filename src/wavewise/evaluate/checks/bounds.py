"""Effects if the missing were the best or the worst: worst-case and Lee bounds."""

from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.shared.inputs import aligned, encode, read_outcome
from wavewise.shared.labels import label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray

__all__ = ["attrition_bounds"]

_NAME = "bounds for missing outcomes"
_NORMAL = 1.959963984540054


@renamed("control")
@aligned("outcome", "arm")
def attrition_bounds(
    outcome: Any,
    arm: Any,
    *,
    control: Any = "control",
    lowest: float | None = None,
    highest: float | None = None,
) -> CheckResult:
    """Whether conclusions stand whoever is missing.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number (or None) where it is missing.
    arm : array-like, shape (n_units,)
        Labels of the arms.
    control : label
        The arm that the others are compared with.
    lowest, highest : float, optional
        Range that an outcome can have; that of the known ones by default.

    Returns
    -------
    CheckResult
        One row of ``table`` an arm: difference in means, its 95 % interval, Lee's bounds,
        worst-case bounds. It fails where an interval leaves out zero and Lee's bounds do not.
        ``number`` is the width of the widest Lee bounds.

    Raises
    ------
    InputError
        Where the control is no arm, or outcomes lie outside the range.
    EstimationError
        Where an arm has no known outcome.

    Notes
    -----
    Worst case (Manski): all missing outcomes of one arm at the top of the range and of the other at
    the bottom. Lee (2009): of the arm with the larger known share, the excess ``(p1 - p0) / p1`` is
    trimmed from the top or from the bottom, values at the cut in part; valid where the arm changes
    in one direction only whether an outcome becomes known.

    References
    ----------
    Lee (2009), Review of Economic Studies 76, proposition 1; Horowitz and Manski (2000).

    Examples
    --------
    >>> y = [1.0, 2.0, 3.0, 4.0, None, 1.0, 2.0, 3.0, 4.0, 5.0]
    >>> check = attrition_bounds(y, ["control"] * 5 + ["sms"] * 5)
    >>> row = check.table[0]
    >>> round(row["lee_low"], 3), round(row["lee_high"], 3)
    (0.0, 1.0)
    """
    values = read_outcome(outcome, "outcome")
    control = label_text(control)
    labels = encode(arm, "arm", values.size)
    if control not in labels.names:
        raise InputError(f"control: found {control!r}; arms are {', '.join(labels.names)}")
    groups = {name: values[labels.codes == k] for k, name in enumerate(labels.names)}
    low, high = _range(values, lowest, highest)
    base = groups.pop(control)
    rows = tuple(_row(name, part, base, low, high) for name, part in groups.items())
    n_missing = int(np.isnan(values).sum())
    scope = f"{len(rows)} arms against {control}, {values.size:,} units, {n_missing:,} missing"
    return CheckResult(_NAME, scope, *_judged(rows, n_missing))


def _range(values: FloatArray, lowest: float | None, highest: float | None) -> tuple[float, float]:
    if np.isnan(values).all():
        raise EstimationError("outcome: found all missing; needed some to bound the others with")
    found = float(np.nanmin(values)), float(np.nanmax(values))
    low = found[0] if lowest is None else float(lowest)
    high = found[1] if highest is None else float(highest)
    if low > found[0] or high < found[1]:
        raise InputError(
            f"outcome: found {found[0]:g} to {found[1]:g}; needed values within lowest "
            f"and highest, {low:g} to {high:g}"
        )
    return low, high


def _row(name: str, part: FloatArray, base: FloatArray, low: float, high: float) -> dict[str, Any]:
    y1, y0 = part[~np.isnan(part)], base[~np.isnan(base)]
    if y1.size == 0 or y0.size == 0:
        who = name if y1.size == 0 else "the control"
        raise EstimationError(f"all outcomes of {who} are missing: no bounds within the data")
    p1, p0 = y1.size / part.size, y0.size / base.size
    effect = float(y1.mean() - y0.mean())
    error = float(np.sqrt(_variance(y1) / y1.size + _variance(y0) / y0.size))
    if p1 >= p0:
        lee = [_trimmed(y1, 1 - p0 / p1, top) - float(y0.mean()) for top in (True, False)]
    else:
        lee = [float(y1.mean()) - _trimmed(y0, 1 - p1 / p0, top) for top in (False, True)]
    worst = (
        p1 * y1.mean() + (1 - p1) * low - p0 * y0.mean() - (1 - p0) * high,
        p1 * y1.mean() + (1 - p1) * high - p0 * y0.mean() - (1 - p0) * low,
    )
    return {
        "arm": name,
        "known_share": p1,
        "control_known_share": p0,
        "difference": effect,
        "conf_low": effect - _NORMAL * error,
        "conf_high": effect + _NORMAL * error,
        "lee_low": lee[0],
        "lee_high": lee[1],
        "worst_low": float(worst[0]),
        "worst_high": float(worst[1]),
    }


def _variance(values: FloatArray) -> float:
    return float(values.var(ddof=1)) if values.size > 1 else 0.0


def _trimmed(values: FloatArray, share: float, top: bool) -> float:
    """Mean without the top (or bottom) share; the value at the cut counts in part."""
    ordered = np.sort(values)[::-1] if top else np.sort(values)
    weight = np.clip(np.arange(1, ordered.size + 1) - share * ordered.size, 0.0, 1.0)
    return float((weight * ordered).sum() / weight.sum())


def _judged(
    rows: tuple[dict[str, Any], ...], n_missing: int
) -> tuple[bool | None, str, tuple[dict[str, Any], ...], float, str]:
    width = max((row["lee_high"] - row["lee_low"] for row in rows), default=0.0)
    if n_missing == 0:
        return True, "No outcome is missing, so that bounds are the effects.", rows, width, ""
    clear = [row for row in rows if row["conf_low"] > 0 or row["conf_high"] < 0]
    shaken = [row["arm"] for row in clear if row["lee_low"] <= 0 <= row["lee_high"]]
    widest = f"Lee's bounds are {width:.3g} wide at most."
    if not clear:
        return None, f"{widest} No effect is clear of zero to begin with.", rows, width, ""
    if shaken:
        text = f"{widest} The sign of {', '.join(shaken)} depends on who is missing."
        return False, text, rows, width, "Print the bounds beside the effect; seek the missing."
    worst = [row["arm"] for row in clear if row["worst_low"] <= 0 <= row["worst_high"]]
    more = f" Under the worst case {', '.join(worst)} could be zero." if worst else ""
    return True, f"{widest} Every clear effect keeps its sign.{more}", rows, width, ""
