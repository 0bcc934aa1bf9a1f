"""Figures of effects: an arm a row, best first, with intervals; the truth beside them if known."""

from collections.abc import Mapping

from wavewise.report.choose import ranked_effects
from wavewise.report.contents import EffectRow, EffectsContents
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.numbers import Scale, percent, scale_of, signed

__all__ = ["effects_figure"]

LONGEST_CONTROL = 14


def effects_figure(
    name: str,
    effects: EffectsContents,
    best: str | None,
    *,
    adjusted: bool = True,
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Effects of the arms against control with their intervals.

    Parameters
    ----------
    name : str
        File name without its ending.
    effects : EffectsContents
        The numbers.
    best : str or None
        The arm to mark.
    adjusted : bool
        Draw the intervals that are adjusted for the number of arms too, thin.
    truth : mapping of str to float, optional
        True effects of a simulated study.
    """
    scale = scale_of(effects.outcome)
    ranked = ranked_effects(effects)
    decimals = max((scale.decimals(row.std_error) for row in ranked), default=1)
    rows = [
        _row(row, scale, decimals, best=best, adjusted=adjusted, truth=truth or {})
        for row in ranked
    ]
    unit = f"{scale.effect_unit} " if scale.effect_unit else ""
    level = f"{percent(effects.level, 0)} confidence interval"
    against = effects.control if len(effects.control) <= LONGEST_CONTROL else "control"
    x_title = f"{unit}against {against}, with {level}"
    title = f"Effect of each arm on {effects.outcome.label}"
    alt = f"{title}, {x_title}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."
    return Figure(
        name,
        interval_figure(rows, x_title, alt),
        interval_figure(rows, _short(scale, against, level), alt, narrow=True),
        title,
        alt,
        _caption(effects, rows, level),
    )


def _short(scale: Scale, control: str, level: str) -> str:
    unit = f"{scale.short_unit} " if scale.short_unit else ""
    return f"{unit}against {control}, {level}"


def _row(
    row: EffectRow,
    scale: Scale,
    decimals: int,
    *,
    best: str | None,
    adjusted: bool,
    truth: Mapping[str, float],
) -> IntervalRow:
    low, high = scale.bounds(row.conf_low, row.conf_high, decimals)
    outer = None
    if adjusted and row.adjusted_low is not None and row.adjusted_high is not None:
        outer = (scale.factor * row.adjusted_low, scale.factor * row.adjusted_high)
    return IntervalRow(
        label=row.arm,
        value=scale.factor * row.estimate,
        low=scale.factor * row.conf_low,
        high=scale.factor * row.conf_high,
        text=f"{signed(scale.factor * row.estimate, decimals)} ({low} to {high})",
        best=row.arm == best,
        outer=outer,
        truth=scale.factor * truth[row.arm] if row.arm in truth else None,
    )


def _caption(effects: EffectsContents, rows: list[IntervalRow], level: str) -> str:
    outer = any(row.outer for row in rows)
    parts = [f"Points are estimates, {'thick ' if outer else ''}lines {level}s"]
    if outer:
        how = f" ({effects.adjustment})" if effects.adjustment else ""
        parts.append(f"thin lines are adjusted for the number of arms{how}")
    if any(row.truth is not None for row in rows):
        parts.append("diamonds are the true effects of the simulation")
    text = "; ".join(parts)
    if effects.not_estimable:
        missing = ", ".join(row.arm for row in effects.not_estimable)
        return f"{text}. Not estimable, so not drawn: {missing}."
    return f"{text}."
