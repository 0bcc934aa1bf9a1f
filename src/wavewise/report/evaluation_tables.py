"""Tables of an evaluation of policies."""

from wavewise.report.evaluation_contents import EvaluationContents, Measured
from wavewise.report.numbers import (
    UNKNOWN,
    Scale,
    count,
    fixed,
    p_value,
    percent,
    scale_of,
    signed,
)
from wavewise.report.tables import Column, Table

__all__ = [
    "calibration_table",
    "contrast_table",
    "curve_table",
    "policy_table",
    "projection_table",
    "spending_table",
]

POLICY = Column("Policy", numeric=False)


def policy_table(shown: EvaluationContents) -> Table:
    """Policies against no message, by both estimators."""
    scale = scale_of(shown.outcome)
    known = any(row.truth is not None for row in shown.policies)
    columns = (
        POLICY,
        Column("What it does", numeric=False, prose=True),
        *_measured_columns(shown, scale, "Effect"),
        Column("By groups ± se"),
        *((Column("Truth"),) if known else ()),
    )
    rows = tuple(
        (
            row.policy,
            row.rule,
            *_cells(row.effect, scale),
            _short(row.randomized, scale),
            *((_truth(row.truth, row.effect, scale),) if known else ()),
        )
        for row in sorted(shown.policies, key=lambda row: -row.effect.estimate)
    )
    note = (
        f"Against no message, on {count(shown.n_units)} units. The first estimate is doubly "
        "robust: a unit speaks of every policy that would have sent it what it got. By groups: a "
        "policy's own messaged units against all held-out units, by least squares with strata."
    )
    if shown.ceiling is not None:
        note += (
            " If everybody got what is truly best for them the effect would be "
            f"{scale.effect(shown.ceiling, 2)}."
        )
    return Table("Each policy against no message", columns, rows, note=note)


def contrast_table(shown: EvaluationContents) -> Table:
    """Differences between policies, by both estimators."""
    scale = scale_of(shown.outcome)
    known = any(row.truth is not None for row in shown.contrasts)
    columns = (
        Column("Contrast", numeric=False),
        *_measured_columns(shown, scale, "Difference"),
        Column("p"),
        Column("Differ"),
        Column("By groups ± se"),
        *((Column("Truth"),) if known else ()),
    )
    rows = tuple(
        (
            row.name,
            *_cells(row.effect, scale),
            UNKNOWN if row.effect.p_value is None else p_value(row.effect.p_value),
            percent(row.share_differs),
            _short(row.randomized if isinstance(row.randomized, Measured) else None, scale),
            *((_truth(row.truth, row.effect, scale),) if known else ()),
        )
        for row in shown.contrasts
    )
    reasons = "; ".join(
        f"{row.name}: {row.randomized.reason.rstrip('.')}"
        for row in shown.contrasts
        if row.randomized is not None and not isinstance(row.randomized, Measured)
    )
    note = (
        "Per unit of the whole population. Units to whom both policies give the same message add "
        "nothing to the difference and no noise. Differ: units to whom they may give different "
        "messages. By groups: only units randomized to one of the two, and who differ."
    )
    note += f" None by groups: {reasons}." if reasons else ""
    return Table("Differences between policies", columns, rows, note=note)


def curve_table(shown: EvaluationContents) -> Table | None:
    """AUTOC and Qini of each ranking."""
    if not shown.curves:
        return None
    scale = scale_of(shown.outcome)
    columns = (
        Column("Ranked by", numeric=False),
        Column("Kind", numeric=False),
        *_measured_columns(shown, scale, "AUTOC"),
        *_measured_columns(shown, scale, "Qini"),
    )
    rows = tuple(
        (
            row.priority,
            "causal" if row.causal else "predictive",
            *_cells(row.autoc, scale),
            *_cells(row.qini, scale),
        )
        for row in shown.curves
    )
    note = (
        "Both are 0 for a ranking that tells nothing, and above 0 where those ranked first gain "
        "more. AUTOC looks most at the very first, Qini at all alike. Causal: by predicted effect; "
        "predictive: those with the lowest predicted outcome first."
    )
    return Table(f"Whom to send {shown.message}", columns, rows, note=note)


def spending_table(shown: EvaluationContents) -> Table | None:
    """Gain at shares of units messaged."""
    if not shown.spending:
        return None
    scale = scale_of(shown.outcome)
    columns = (
        Column("Messaged", numeric=False),
        Column(f"Chosen by forest ({scale.short_unit})"),
        Column(f"Best message by lot ({scale.short_unit})"),
        *_measured_columns(shown, scale, "Difference"),
    )
    rows = tuple(
        (
            percent(row.share, 0),
            _short(row.targeted, scale),
            _short(row.uniform, scale),
            *_cells(row.difference, scale),
        )
        for row in shown.spending
    )
    note = "Gain in the mean over all units, those not messaged included; standard errors follow ±."
    return Table("Gain at a number of messages", columns, rows, note=note)


def calibration_table(shown: EvaluationContents) -> Table | None:
    """Predicted and found effects by group."""
    groups = [(row.model, group) for row in shown.calibration for group in row.groups]
    if not groups:
        return None
    scale = scale_of(shown.outcome)
    columns = (
        Column("Model, group", numeric=False),
        Column(f"Predicted ({scale.short_unit})"),
        Column(f"Found ({scale.short_unit})"),
        Column("Units"),
    )
    number: dict[str, int] = {}
    rows = []
    for model, group in groups:
        number[model] = number.get(model, 0) + 1
        decimals = scale.decimals(group.std_error)
        rows.append(
            (
                f"{model} {number[model]}",
                signed(scale.factor * group.predicted, decimals),
                _with_error(group.found, group.std_error, scale),
                count(group.n_units),
            )
        )
    note = "Groups of equal size from the smallest predicted effect to the largest. " + " ".join(
        f"Of a difference of 1 that {row.model} predicts, {row.differences.estimate:.2f} is found "
        f"({percent(shown.level, 0)} interval {row.differences.conf_low:.2f} to "
        f"{row.differences.conf_high:.2f}).".replace("-", "\u2212")
        for row in shown.calibration
    )
    return Table(f"Predicted effects of {shown.message}", columns, tuple(rows), note=note)


def projection_table(shown: EvaluationContents) -> Table | None:
    """Who gains more, one covariate beside the others."""
    if not shown.projection:
        return None
    scale = scale_of(shown.outcome)
    columns = (
        Column("Covariate", numeric=False),
        *_measured_columns(shown, scale, "Slope"),
        Column("p"),
    )
    rows = tuple(
        (
            row.name,
            *_cells(row.slope, scale),
            UNKNOWN if row.slope.p_value is None else p_value(row.slope.p_value),
        )
        for row in shown.projection
    )
    note = (
        "Best linear projection of the effect: how much more those gain who have one unit more of "
        "a covariate, the others equal. A description, not a cause; not adjusted for their number."
    )
    return Table(f"Who gains more from {shown.message}", columns, rows, note=note)


def _measured_columns(shown: EvaluationContents, scale: Scale, name: str) -> tuple[Column, Column]:
    unit = f" ({scale.short_unit})" if scale.short_unit else ""
    return Column(f"{name}{unit} ± se"), Column(f"{percent(shown.level, 0)} interval")


def _cells(found: Measured, scale: Scale) -> tuple[str, str]:
    decimals = scale.decimals(found.std_error, 2)
    low, high = scale.bounds(found.conf_low, found.conf_high, decimals)
    return _with_error(found.estimate, found.std_error, scale), f"{low} to {high}"


def _short(found: Measured | None, scale: Scale) -> str:
    return UNKNOWN if found is None else _with_error(found.estimate, found.std_error, scale)


def _with_error(estimate: float, error: float, scale: Scale) -> str:
    decimals = scale.decimals(error, 2)
    return f"{signed(scale.factor * estimate, decimals)} ± {fixed(scale.factor * error, decimals)}"


def _truth(truth: float | None, found: Measured, scale: Scale) -> str:
    if truth is None:
        return UNKNOWN
    holds = "inside" if found.conf_low <= truth <= found.conf_high else "outside"
    return f"{signed(scale.factor * truth, 2)} ({holds})"
