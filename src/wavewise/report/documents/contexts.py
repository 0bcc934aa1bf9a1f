"""Several studies of the same question side by side: what choosing is worth where, in one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist

from wavewise.errors import InputError
from wavewise.report.documents.document import Bullets, Document, Grid, Picture, Section
from wavewise.report.effects import EffectRow, excludes_zero
from wavewise.report.evaluation import (
    ContrastRow,
    Evaluation,
    SpendRow,
    estimate_text,
    personalization,
    targeting,
)
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.numbers import UNKNOWN, p_value, percent, scale_of, signed

__all__ = ["Context", "contexts_document"]

HALF = 0.5


@dataclass(frozen=True)
class Context:
    """A study's title, what its units are called, and its last evaluation."""

    title: str
    unit_name: str
    evaluation: Evaluation


def contexts_document(title: str, contexts: Sequence[Context]) -> Document:
    """The value of personalization and of targeting in each context, beside its mean outcome."""
    outcomes = {item.evaluation.outcome.id for item in contexts}
    if len(contexts) < 2 or len(outcomes) > 1:
        raise InputError(
            f"found {len(contexts)} studies of the outcomes {', '.join(sorted(outcomes))}; needed "
            "two or more of one outcome"
        )
    first = contexts[0].evaluation
    return Document(
        "Contexts compared",
        title,
        (f"{len(contexts)} studies; outcome: {first.outcome.name}",),
        (),
        (
            Section("In short", (Bullets(tuple(_short(item) for item in contexts)),)),
            Section("Side by side", (*_pictures(contexts), _grid(contexts), _note())),
            Section("Do the contexts differ?", tuple(_differences(contexts))),
        ),
    )


def _short(item: Context) -> str:
    """Both answers of one study."""
    which = personalization(item.evaluation, item.unit_name)[0]
    whom = targeting(item.evaluation, item.unit_name)
    text = f"{item.title}. Which message for whom: {which}."
    return text if whom is None else f"{text} Whom to message: {whom[0]}."


def _grid(contexts: Sequence[Context]) -> Grid:
    shown = [item.evaluation for item in contexts]
    names = dict.fromkeys(row.name for item in shown for row in item.contrasts)
    rows = [("Mean without messages", *(_baseline(item) for item in shown))]
    rows += [(name, *(_contrast(item, name) for item in shown)) for name in names]
    rows.append(("Choosing whom, half of the units messaged", *(_half(item) for item in shown)))
    rows.append(("AUTOC of the predicted effect", *(_autoc(item) for item in shown)))
    columns = ("", *(item.title for item in contexts))
    numeric = frozenset(range(1, len(columns)))
    return Grid("Gains on fresh outcomes", columns, tuple(rows), numeric)


def _pictures(contexts: Sequence[Context]) -> tuple[Picture, ...]:
    """Gains of choosing which and of choosing whom, relative to each context's own mean."""
    rows = []
    for item in contexts:
        shown, half = item.evaluation, _half_row(item.evaluation)
        gains = [(row.name, row.effect) for row in shown.contrasts[:1]]
        gains += [("choosing whom, half messaged", half.difference)] if half else []
        rows += [
            _relative(f"{item.title}: {name}", gain, shown.baseline)
            for name, gain in gains
            if shown.baseline
        ]
    if not rows:
        return ()
    level = f"{percent(contexts[0].evaluation.level, 0)} confidence interval"
    title = "What choosing is worth, relative to the mean without messages"
    axis = "percent of the mean without messages"
    alt = f"{title}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."
    figure = Figure(
        "contexts",
        interval_figure(rows, f"{axis}, with {level}", alt),
        interval_figure(rows, axis, alt, narrow=True),
        title,
        alt,
        f"Points are estimates on fresh outcomes, lines {level}s; the mean is taken as known.",
    )
    return (Picture(figure),)


def _relative(label: str, found: EffectRow, baseline: float) -> IntervalRow:
    ends = (found.estimate, found.conf_low, found.conf_high)
    value, low, high = (100 * end / baseline for end in ends)
    text = f"{signed(value, 1)} ({signed(low, 1)} to {signed(high, 1)})"
    return IntervalRow(label, value, low, high, text)


def _note() -> str:
    return (
        "Gains are per unit of the whole population, with standard errors; in brackets relative to "
        "the mean without messages. Choosing whom compares units chosen by predicted effect with "
        "as many chosen at random."
    )


def _baseline(item: Evaluation) -> str:
    return UNKNOWN if item.baseline is None else scale_of(item.outcome).level(item.baseline, 2)


def _contrast(item: Evaluation, name: str) -> str:
    row = next((row for row in item.contrasts if row.name == name), None)
    return UNKNOWN if row is None else _gain(item, row.effect)


def _half(item: Evaluation) -> str:
    row = _half_row(item)
    return UNKNOWN if row is None else _gain(item, row.difference)


def _half_row(item: Evaluation) -> SpendRow | None:
    return next((row for row in item.spending if row.share == HALF), None)


def _autoc(item: Evaluation) -> str:
    row = next((row for row in item.curves if row.causal), None)
    return UNKNOWN if row is None else _gain(item, row.autoc)


def _gain(item: Evaluation, found: EffectRow) -> str:
    scale = scale_of(item.outcome)
    decimals = scale.decimals(found.std_error, 2)
    error = scale.effect(found.std_error, decimals).removeprefix("+").split("\u00a0")[0]
    text = f"{scale.effect(found.estimate, decimals)} \u00b1 {error}"
    if not item.baseline:
        return text
    return f"{text} ({percent(found.estimate / item.baseline, 1)})"


def _differences(contexts: Sequence[Context]) -> list[str]:
    """Gains of the first context less those of each other, which are independent."""
    base = contexts[0]
    found = []
    for other in contexts[1:]:
        for row in base.evaluation.contrasts:
            match = next((r for r in other.evaluation.contrasts if r.name == row.name), None)
            if match is not None:
                found.append(_difference(base, other, row, match))
    return found or ["No contrast is in both studies."]


def _difference(base: Context, other: Context, row: ContrastRow, match: ContrastRow) -> str:
    scale = scale_of(base.evaluation.outcome)
    gap = row.effect.estimate - match.effect.estimate
    error = sqrt(row.effect.std_error**2 + match.effect.std_error**2)
    head = f"{row.name}: {base.title} less {other.title}"
    if error == 0:
        return f"{head} is exactly 0, since the policies agree for everybody in both."
    level = base.evaluation.level
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = erfc(abs(gap) / error / sqrt(2))
    found = EffectRow(row.name, gap, error, gap - z * error, gap + z * error, p)
    verdict = "differs" if excludes_zero(found) else "does not differ significantly"
    text = estimate_text(found, scale, level)
    return f"{head} is {text}, p {p_value(p)}: the gain {verdict} between the two."
