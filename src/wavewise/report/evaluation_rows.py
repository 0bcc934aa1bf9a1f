"""Rows of an evaluation from the plain values that results give with ``to_dict``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wavewise.errors import InputError
from wavewise.report.evaluation_contents import (
    CalibrationGroup,
    CalibrationRow,
    CoefficientRow,
    CurvePoint,
    CurveRow,
    Measured,
    SpendRow,
)

__all__ = ["calibration_row", "coefficient_rows", "curve_row", "measured", "spend_row"]

Values = Mapping[str, Any]


def measured(row: Values) -> Measured:
    """An estimate with its interval, from a row of a result's frame or from a result.

    Raises
    ------
    InputError
        Where a number is missing: what is not estimable is a reason, not a row.

    Examples
    --------
    >>> measured({"estimate": 1, "std_error": 0.5, "conf": [0, 2], "p_value": 0.05}).conf_high
    2.0
    """
    low, high = row["conf"] if "conf" in row else (row["conf_low"], row["conf_high"])
    numbers = (row["estimate"], row["std_error"], low, high)
    if any(value is None for value in numbers):
        raise InputError("report: found an estimate without a number; needed a reason in its place")
    p = row.get("p_value")
    # a difference that is 0 by construction has no error, and so no p-value
    known = p if isinstance(p, (int, float)) and math.isfinite(p) else None
    estimate, error, low, high = (float(value) for value in numbers)
    return Measured(estimate, error, low, high, None if known is None else float(known))


def curve_row(priority: str, curve: Values, *, causal: bool) -> CurveRow:
    """A ranking from ``ww.evaluate.toc(...).to_dict()``."""
    areas = {str(row["measure"]).lower(): row for row in curve["rows"]}
    points = tuple(
        CurvePoint(float(point["share"]), float(point["toc"]), float(point["std_error"]))
        for point in curve["curve"]
    )
    return CurveRow(priority, measured(areas["autoc"]), measured(areas["qini"]), points, causal)


def calibration_row(model: str, found: Values) -> CalibrationRow:
    """A model's calibration from ``ww.evaluate.calibration(...).to_dict()``."""
    line = {row["term"]: row for row in found["line"]["rows"]}
    groups = tuple(
        CalibrationGroup(
            float(row["predicted"]), float(row["score"]), float(row["std_error"]),
            int(row["n_units"]),
        )
        for row in found["groups"]
    )  # fmt: skip
    return CalibrationRow(model, measured(line["differences"]), groups)


def coefficient_rows(rows: Sequence[Values]) -> tuple[CoefficientRow, ...]:
    """Slopes from the rows of ``ww.evaluate.best_linear_projection(...)``, without the constant."""
    return tuple(
        CoefficientRow(str(row["term"]), measured(row)) for row in rows if row["term"] != "constant"
    )


def spend_row(share: float, targeted: Values, uniform: Values, difference: Values) -> SpendRow:
    """Gains at a share messaged, from ``ww.evaluate.cost_curve``."""
    return SpendRow(share, measured(targeted), measured(uniform), measured(difference))
