"""Effects if the missing were the best or the worst: worst-case and Lee bounds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned, encode, read_outcome
from wavewise.shared.labels import label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray, IntArray

__all__ = ["attrition_bounds"]

_NAME = "bounds for missing outcomes"


@renamed("control")
@aligned("outcome", "arm", "strata")
def attrition_bounds(
    outcome: Any,
    arm: Any,
    *,
    control: Any = "control",
    lowest: float | None = None,
    highest: float | None = None,
    strata: Any = None,
    level: float = 0.95,
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
    strata : array-like, shape (n_units,), optional
        Labels of cells of covariates measured before assignment. Lee's bounds are then taken
        within cells and averaged, which tightens them where the cells tell who is missing or what
        the outcome is.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    CheckResult
        One row of ``table`` an arm: difference in means, its interval, Lee's bounds and the
        interval of Imbens and Manski for the effect between them, worst-case bounds. It fails
        where the interval of the difference leaves out zero and Lee's bounds do not.
        ``number`` is the width of the widest Lee bounds.

    Raises
    ------
    InputError
        Where the control is no arm, or outcomes lie outside the range.
    EstimationError
        Where an arm has no known outcome, or a stratum no unit of an arm.

    Notes
    -----
    Worst case (Manski): all missing outcomes of one arm at the top of the range and of the other at
    the bottom. Lee (2009): of the arm with the larger known share, the excess ``(p1 - p0) / p1`` is
    trimmed from the top or from the bottom, values at the cut in part; valid where the arm changes
    in one direction only (within each stratum) whether an outcome becomes known. Strata count by
    their units times the smaller known share. The interval is ``[low - c s_low, high + c s_high]``
    with ``Phi(c + (high - low) / max(s_low, s_high)) - Phi(-c) = level``: it holds the effect of
    the always known, not the whole of the bounds. Standard errors are Lee's, the known shares and
    the weights of strata estimated; units are taken as independent.

    References
    ----------
    Lee (2009), Review of Economic Studies 76, propositions 1 and 3; Imbens and Manski (2004),
    Econometrica 72, equation 7; Horowitz and Manski (2000).

    Examples
    --------
    >>> y = [1.0, 2.0, 3.0, 4.0, None, 1.0, 2.0, 3.0, 4.0, 5.0]
    >>> check = attrition_bounds(y, ["control"] * 5 + ["sms"] * 5)
    >>> row = check.table[0]
    >>> round(row["lee_low"], 3), round(row["lee_high"], 3)
    (0.0, 1.0)
    """
    check_level(level)
    values = read_outcome(outcome, "outcome")
    control = label_text(control)
    labels = encode(arm, "arm", values.size)
    if control not in labels.names:
        raise InputError(f"control: found {control!r}; arms are {', '.join(labels.names)}")
    cells = np.zeros(values.size, np.int64)
    if strata is not None:
        cells = encode(strata, "strata", values.size).codes
    groups = {
        name: (values[labels.codes == k], cells[labels.codes == k])
        for k, name in enumerate(labels.names)
    }
    low, high = _range(values, lowest, highest)
    base = groups.pop(control)
    rows = tuple(_row(name, part, base, low, high, level) for name, part in groups.items())
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


Part = tuple[FloatArray, IntArray]  # outcomes of an arm, and the cell of each


def _row(
    name: str, part: Part, base: Part, low: float, high: float, level: float
) -> dict[str, Any]:
    y1, y0 = (values[~np.isnan(values)] for values, _ in (part, base))
    if y1.size == 0 or y0.size == 0:
        who = name if y1.size == 0 else "the control"
        raise EstimationError(f"all outcomes of {who} are missing: no bounds within the data")
    p1, p0 = y1.size / part[0].size, y0.size / base[0].size
    effect = float(y1.mean() - y0.mean())
    error = float(np.sqrt(_variance(y1) / y1.size + _variance(y0) / y0.size))
    half = float(ndtri((1 + level) / 2)) * error
    lee, errors = zip(*(_lee(part, base, lower) for lower in (True, False)), strict=True)
    reach = _imbens_manski(lee[1] - lee[0], max(errors), level)
    worst = (
        p1 * y1.mean() + (1 - p1) * low - p0 * y0.mean() - (1 - p0) * high,
        p1 * y1.mean() + (1 - p1) * high - p0 * y0.mean() - (1 - p0) * low,
    )
    return {
        "arm": name,
        "known_share": p1,
        "control_known_share": p0,
        "difference": effect,
        "conf_low": effect - half,
        "conf_high": effect + half,
        "lee_low": lee[0],
        "lee_high": lee[1],
        "lee_conf_low": lee[0] - reach * errors[0],
        "lee_conf_high": lee[1] + reach * errors[1],
        "worst_low": float(worst[0]),
        "worst_high": float(worst[1]),
    }


def _variance(values: FloatArray) -> float:
    return float(values.var(ddof=1)) if values.size > 1 else 0.0


def _lee(part: Part, base: Part, lower: bool) -> tuple[float, float]:
    """One of Lee's bounds, averaged over cells, and its standard error."""
    n_cells = int(max(part[1].max(), base[1].max())) + 1
    cells = [_cell(part[0][part[1] == k], base[0][base[1] == k], lower) for k in range(n_cells)]
    cells = [cell for cell in cells if cell.weight > 0]
    total = sum(cell.weight for cell in cells)
    bound = sum(cell.weight * cell.bound for cell in cells) / total
    variance = 0.0
    for cell in cells:
        variance += cell.weight**2 * cell.variance
        for n_units, share, by_weight, by_bound in cell.shares:
            change = by_weight * (cell.bound - bound) + cell.weight * by_bound
            variance += change**2 * share * (1 - share) / n_units
    return float(bound), float(np.sqrt(variance)) / total


@dataclass(frozen=True)
class _Cell:
    """A bound within a cell: what it counts for, and what its variance is made of."""

    weight: float  # units times the smaller known share
    bound: float
    variance: float  # with known shares as they are
    # of each arm: its units, known share, and what that share changes in the weight and the bound
    shares: tuple[tuple[int, float, float, float], ...]


def _cell(part: FloatArray, base: FloatArray, lower: bool) -> _Cell:
    if part.size == 0 and base.size == 0:
        return _Cell(0.0, 0.0, 0.0, ())
    if part.size == 0 or base.size == 0:
        raise EstimationError(
            "strata: found one without units of an arm; needed both in each; give larger strata"
        )
    y1, y0 = part[~np.isnan(part)], base[~np.isnan(base)]
    p1, p0, n = y1.size / part.size, y0.size / base.size, part.size + base.size
    if min(p1, p0) == 0:
        return _Cell(0.0, 0.0, 0.0, ())
    more, fewer, sign = (y1, y0, 1.0) if p1 >= p0 else (y0, y1, -1.0)
    p_more, p_fewer = max(p1, p0), min(p1, p0)
    kept = p_fewer / p_more
    top = lower == (sign > 0)  # whether the highest are trimmed
    mean, spread, cut = _trimmed(more, 1 - kept, top)
    around = (spread + (cut - mean) ** 2 * (1 - kept)) / (more.size * kept)
    slope = sign * (cut - mean) / kept  # of the bound, in the share that is kept
    sizes = (part.size, base.size) if sign > 0 else (base.size, part.size)
    return _Cell(
        weight=n * p_fewer,
        bound=float(sign * (mean - fewer.mean())),
        variance=around + _variance(fewer) / fewer.size,
        shares=(
            (sizes[0], p_more, 0.0, -slope * kept / p_more),
            (sizes[1], p_fewer, float(n), slope / p_more),
        ),
    )


def _trimmed(values: FloatArray, share: float, top: bool) -> tuple[float, float, float]:
    """Mean and variance without the top (or bottom) share, values at the cut in part; the cut."""
    ordered = np.sort(values)[::-1] if top else np.sort(values)
    weight = np.clip(np.arange(1, ordered.size + 1) - share * ordered.size, 0.0, 1.0)
    mean = float(weight @ ordered / weight.sum())
    freedom = max(weight.sum() - 1, 1.0)
    variance = float(weight @ (ordered - mean) ** 2 / freedom)
    return mean, variance, float(ordered[int(np.argmax(weight > 0))])


def _imbens_manski(width: float, error: float, level: float) -> float:
    """Standard errors that the interval goes beyond each bound."""
    if error == 0:
        return 0.0
    from scipy.optimize import brentq

    def excess(c: float) -> float:
        return float(ndtr(c + width / error) - ndtr(-c) - level)

    return float(brentq(excess, 0.0, ndtri((1 + level) / 2) + 1e-9, xtol=1e-12))


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
