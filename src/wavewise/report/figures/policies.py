"""Figures of policies: their effects, their differences, and what targeting brings."""

from wavewise.report.effects import EffectRow
from wavewise.report.evaluation import Evaluation
from wavewise.report.figures.curves import CurveLine, curves_figure
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.numbers import Scale, percent, scale_of, signed

__all__ = ["contrasts_figure", "policies_figure", "spending_figure", "targeting_figure"]

MOST_CURVES = 4
LEAST_SHARE = 0.05  # before it a curve is noise, and would flatten the rest


def policies_figure(name: str, item: Evaluation) -> Figure | None:
    """Each policy against no message, with the truth where it is known."""
    ranked = sorted(item.policies, key=lambda row: -row.effect.estimate)
    rows = [(row.name, row.effect, row.truth) for row in ranked]
    title = f"Effect of each policy on {item.outcome.name}"
    return _intervals(name, item, rows, title, "against no message")


def contrasts_figure(name: str, item: Evaluation) -> Figure | None:
    """Differences between policies, with the truth where it is known."""
    rows = [(row.name, row.effect, row.truth) for row in item.contrasts]
    title = f"Differences between policies in {item.outcome.name}"
    return _intervals(name, item, rows, title, "per unit of the population")


def _intervals(
    name: str,
    item: Evaluation,
    rows: list[tuple[str, EffectRow, float | None]],
    title: str,
    against: str,
) -> Figure | None:
    if not rows:
        return None
    scale = scale_of(item.outcome)
    decimals = max(scale.decimals(found.std_error) for _, found, _ in rows)
    drawn = [_row(label, found, truth, scale, decimals) for label, found, truth in rows]
    level = f"{percent(item.level, 0)} confidence interval"
    unit = f"{scale.effect_unit} " if scale.effect_unit else ""
    alt = f"{title}, {unit}{against}. " + "; ".join(f"{r.label}: {r.text}" for r in drawn) + "."
    caption = f"Points are estimates on outcomes that no policy had seen, lines {level}s"
    if any(row.truth is not None for row in drawn):
        caption += "; diamonds are the true values of the simulation"
    short = f"{scale.short_unit} " if scale.short_unit else ""
    return Figure(
        name,
        interval_figure(drawn, f"{unit}{against}, with {level}", alt),
        interval_figure(drawn, f"{short}{against}", alt, narrow=True),
        title,
        alt,
        f"{caption}.",
    )


def _row(
    label: str, found: EffectRow, truth: float | None, scale: Scale, decimals: int
) -> IntervalRow:
    low, high = scale.bounds(found.conf_low, found.conf_high, decimals)
    return IntervalRow(
        label=label,
        value=scale.factor * found.estimate,
        low=scale.factor * found.conf_low,
        high=scale.factor * found.conf_high,
        text=f"{signed(scale.factor * found.estimate, decimals)} ({low} to {high})",
        truth=None if truth is None else scale.factor * truth,
    )


def targeting_figure(name: str, item: Evaluation) -> Figure | None:
    """How much more the units ranked first gain than the average, for each ranking."""
    if not item.curves:
        return None
    scale = scale_of(item.outcome)
    z = 1.96
    lines = [
        CurveLine(
            f"by effect predicted by {row.priority}" if row.causal else f"by {row.priority}",
            tuple(
                (
                    100 * share,
                    scale.factor * height,
                    scale.factor * (height - z * error),
                    scale.factor * (height + z * error),
                )
                for share, height, error in row.points
                if share >= LEAST_SHARE
            ),
        )
        for row in item.curves[:MOST_CURVES]
    ]
    title = f"Whom to send {item.message}: gain of those ranked first"
    caption = (
        "Mean effect among the units messaged first, less the mean effect of all; from 5 % of "
        "units on; bands are 95 % intervals at each share. An uninformative ranking stays at 0."
    )
    y_title = f"more than average{scale.unit_in_brackets()}"
    return _curves(name, lines, "Share of units messaged", y_title, title, caption)


def spending_figure(name: str, item: Evaluation) -> Figure | None:
    """Gain over all units against the share that is messaged, chosen and at random."""
    if not item.spending:
        return None
    scale = scale_of(item.outcome)
    rows = sorted(item.spending, key=lambda row: row.share)
    lines = [
        CurveLine(
            label,
            ((0.0, 0.0, 0.0, 0.0), *(_point(row.share, found, scale) for row, found in points)),
        )
        for label, points in (
            (f"unit and message chosen by {item.chosen_by}", [(r, r.targeted) for r in rows]),
            (f"{item.uniform}, units at random", [(row, row.uniform) for row in rows]),
        )
    ]
    title = f"Gain in {item.outcome.name} by share of units messaged"
    caption = "Gain in the mean over all units, including those not messaged; bands are intervals."
    y_title = f"gain{scale.unit_in_brackets()}"
    return _curves(name, lines, "Share of units messaged", y_title, title, caption)


def _point(share: float, found: EffectRow, scale: Scale) -> tuple[float, float, float, float]:
    low, high = scale.factor * found.conf_low, scale.factor * found.conf_high
    return 100 * share, scale.factor * found.estimate, low, high


def _curves(
    name: str, lines: list[CurveLine], x_title: str, y_title: str, title: str, caption: str
) -> Figure:
    words = "; ".join(
        f"{line.label}: "
        + ", ".join(f"{signed(y, 2)} at {x:.0f} %" for x, y, _, _ in _sampled(line))
        for line in lines
    )
    alt = f"{title}. {words}."
    wide, narrow = (
        curves_figure(lines, x_title, y_title, alt, narrow=small) for small in (False, True)
    )
    return Figure(name, wide, narrow, title, alt, caption)


def _sampled(line: CurveLine) -> list[tuple[float, float, float, float]]:
    """A few points of a curve, for the words that stand for it."""
    wanted = (10, 25, 50, 75, 100)
    return [min(line.points, key=lambda p: abs(p[0] - x)) for x in wanted if line.points]
