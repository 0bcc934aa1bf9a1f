"""The design report: assumptions, power, regret, and a paragraph to register."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wavewise.design.spec import StudySpec
from wavewise.report.documents.document import Block, Bullets, Document, Grid, Picture, Section
from wavewise.report.documents.spec_sections import DASH, power_blocks
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.figures.style import BEST, MUTED, TRUTH, Spec, base
from wavewise.shared.results import NotEstimable

if TYPE_CHECKING:
    from wavewise.evaluate.power_analysis import Power
    from wavewise.evaluate.simulation.personalization import PersonalizationPower
    from wavewise.evaluate.simulation.results import Comparison, Simulated
    from wavewise.evaluate.simulation.wave_plan import WavePlan

__all__ = ["DesignContents", "design_document"]

Missing = NotEstimable


@dataclass(frozen=True, eq=False)
class DesignContents:
    """What was computed for a study's design."""

    spec: StudySpec
    generated_on: str
    powers: Mapping[str, "Power"]  # By what is compared, in words.
    # (units, effect): Smallest rise and smallest fall of the first outcome by units per arm.
    by_size: dict[str, list[tuple[float, float]]]
    # comparison, plan, personalization: Results, or why there is none.
    comparison: "Comparison | Missing"
    plan: "WavePlan | Missing"
    personalization: "PersonalizationPower | Missing"
    assumptions: tuple[str, ...] = field(default=())


def design_document(contents: DesignContents) -> Document:
    """The report as a document, for a page and for print."""
    spec = contents.spec
    return Document(
        kind="Design report",
        title=spec.study.title,
        meta=(f"{spec.study.id}, made {contents.generated_on}; seed {spec.study.seed}",),
        notices=(),
        sections=(
            Section("In short", tuple(_short(contents))),
            Section("Assumptions", (Bullets(contents.assumptions),)),
            Section("Power and minimum detectable effects", tuple(_power(contents))),
            Section("Adaptive or fixed design", tuple(_comparison(contents))),
            Section("Number of waves", tuple(_plan(contents))),
            Section("Personalization", tuple(_personalization(contents))),
            Section("For the pre-analysis plan", (plan_paragraph(contents),)),
        ),
    )


def _short(contents: DesignContents) -> Iterator[Block]:
    items = []
    if contents.powers:
        name, power = next(iter(contents.powers.items()))
        items.append(f"{name}: {_detectable(power)}.")
    found = contents.comparison
    if not isinstance(found, NotEstimable):
        first, last = found[0], found[len(found) - 1]
        gap = found.difference("realized_regret", 0, len(found) - 1)
        apart = found.told_apart("realized_regret", 0, len(found) - 1)
        verdict = (
            f"Policy regret of the final choice: {first.design.name} "
            f"{_points(first.realized_regret)} percentage points, {last.design.name} "
            f"{_points(last.realized_regret)}"
        )
        if isinstance(gap, NotEstimable) or not apart:
            verdict += "; the difference is within simulation error"
        items.append(f"{verdict}.")
    if not isinstance(contents.plan, NotEstimable):
        items.append(contents.plan.summary().splitlines()[0])
    if not isinstance(contents.personalization, NotEstimable):
        items.append(contents.personalization.summary().splitlines()[-2])
    yield Bullets(tuple(items) or ("No result yet: see below what is missing.",))


def _power(contents: DesignContents) -> Iterator[Block]:
    if contents.powers:
        rows = tuple(
            (name, f"{power.n_per_arm:,.0f}", row.convention, _number(row.std_error),
             _number(row.mde_up), _number(row.mde_down))
            for name, power in contents.powers.items()
            for row in power.conventions
        )  # fmt: skip
        columns = ("Comparison", "Units per arm", "Convention", "SE", "MDE up", "MDE down")
        yield Grid("Minimum detectable effects, in the outcome's own unit (rates: shares of 1)",
                   columns, rows, frozenset({1, 3, 4, 5}))  # fmt: skip
        if any(len(power.conventions) > 1 for power in contents.powers.values()):
            yield (
                "Where only part of a policy's arm is treated, a comparison can follow three "
                "conventions. Whole arm: all units as assigned, so that untreated units dilute the "
                "difference. Treated part: only units that receive messages. Difference of "
                "effects: treated minus untreated units under one policy, minus the same under the "
                "other."
            )
    if contents.by_size:
        yield Picture(
            size_figure(
                "smallest-effects",
                contents.by_size,
                "Minimum detectable effect by sample size",
                "units per arm",
                "minimum detectable effect",
            )
        )
    yield from power_blocks(contents.spec)


def _comparison(contents: DesignContents) -> Iterator[Block]:
    found = contents.comparison
    if isinstance(found, NotEstimable):
        yield f"Not simulated: {found.reason}."
        return
    columns = ("Design", "Best arm chosen", "Policy regret (pp)", "Expected by posterior (pp)",
               "In-sample regret (pp)", "Conclusive")  # fmt: skip
    rows = tuple(
        (one.design.name, _percent(one.best_arm_found), _points(one.realized_regret),
         _points(one.posterior_regret), _points(one.estimate("in_sample_regret")),
         _percent(one.power))
        for one in found
    )  # fmt: skip
    yield Grid(
        f"{found[0].n_simulations:,} simulated experiments of each design, in the same worlds "
        "(± one Monte-Carlo standard error)",
        columns, rows, frozenset(range(1, 6)),
    )  # fmt: skip
    yield Picture(
        design_figure(
            "regret-by-design",
            _regrets(found),
            "Policy regret of the final choice", "percentage points", 3,
        )
    )  # fmt: skip
    yield (
        "Policy regret: the success probability lost because the chosen arm is not the best one. "
        "In-sample regret: the loss per unit during the experiment. Conclusive: the best arm is "
        "chosen with a posterior probability of being best of .95 or more. Which rule does best "
        "depends on how far apart the arms are; no rule is claimed to be optimal."
    )
    lost = max(one.n_not_estimable for one in found)
    if lost:
        yield f"{lost} simulations are left out: an arm had no success, and so no posterior."


def _plan(contents: DesignContents) -> Iterator[Block]:
    plan = contents.plan
    if isinstance(plan, NotEstimable):
        yield f"Not computed: {plan.reason}."
        return
    yield " ".join(plan.summary().split("\nBest design by number")[0].splitlines())
    rows = tuple(
        (row.design, f"{row.cost:,.0f}", _money(row.net_benefit), _money(row.behind_best),
         _percent(row.best_arm_found))
        for row in plan.rows
    )  # fmt: skip
    columns = ("Design", "Cost", "Net benefit", "Below the best", "Best arm chosen")
    yield Grid("Designs by net benefit", columns, rows, frozenset({1, 2, 3, 4}))
    yield Picture(
        design_figure(
            "waves", [(f"{len(row.waves)}: {row.design}", row.behind_best.value,
                       row.behind_best.mc_error) for row in plan.curve()],
            "Net benefit below the overall best, for the best design of each number of waves",
            "money, lower is better", 0,
        )
    )  # fmt: skip


def _personalization(contents: DesignContents) -> Iterator[Block]:
    found = contents.personalization
    if isinstance(found, NotEstimable):
        yield f"Not simulated: {found.reason}."
        return
    rows = tuple(
        (f"{row.n_first:,}", _points(row.gain), f"{100 * row.oracle_gain:.2f}",
         _percent(row.share_better), _percent(row.power))
        for row in found.rows
    )  # fmt: skip
    columns = ("First phase", "Gain (pp)", "Largest possible gain (pp)", "Truly better", "Power")
    yield Grid("Personalized by a causal forest against the best arm for all",
               columns, rows, frozenset(range(5)))  # fmt: skip
    yield " ".join(found.summary().splitlines()[-2:])


def plan_paragraph(contents: DesignContents) -> str:
    """A paragraph ready for a pre-analysis plan."""
    spec, parts = contents.spec, []
    for name, power in contents.powers.items():
        parts.append(f"{name}: {_detectable(power)} ({power.convention}).")
    found = contents.comparison
    if not isinstance(found, NotEstimable):
        one = found[0]
        parts.append(
            f"In {one.n_simulations:,} simulated experiments of the design ({one.design.name}; "
            f"truth: {one.truth}) the final choice was the truly best arm in "
            f"{100 * one.best_arm_found.value:.1f} %, with an average policy regret of "
            f"{100 * one.realized_regret.value:.3f} percentage points."
        )
    if not isinstance(contents.plan, NotEstimable):
        parts.append(contents.plan.summary().splitlines()[0])
    if not parts:
        return "Not available before [planning] gives the outcomes' baselines."
    return f"{' '.join(parts)} Seed {spec.study.seed}."


def _detectable(power: "Power") -> str:
    return (
        f"with {power.n_per_arm:,.0f} units per arm, a two-sided test of size {power.level:g} "
        f"detects a rise of {_number(power.mde_up)} or a fall of {_number(power.mde_down)} with "
        f"power {power.target_power:g}; standard error {_number(power.std_error)}"
    )


def _regrets(found: "Comparison") -> list[tuple[str, float, float]]:
    """Of every design, in points: label, value, Monte-Carlo error."""
    regrets = [(_label(found, one), one.realized_regret) for one in found]
    return [(label, 100 * one.value, 100 * one.mc_error) for label, one in regrets]


def _label(found: "Comparison", one: "Simulated") -> str:
    """The rule alone where all designs have the same waves."""
    same = len({each.design.waves for each in found}) == 1
    return one.design.rule_.label if same else one.design.name


def _number(value: Any) -> str:
    return "none" if isinstance(value, NotEstimable) else f"{value:.3g}"


def _points(value: Any) -> str:
    if isinstance(value, NotEstimable):
        return DASH
    return f"{100 * value.value:.3f} ± {100 * value.mc_error:.3f}"


def _percent(value: Any) -> str:
    if isinstance(value, NotEstimable):
        return DASH
    return f"{100 * value.value:.1f} ± {100 * value.mc_error:.1f} %"


def _money(value: Any) -> str:
    return f"{value.value:,.0f} ± {value.mc_error:,.0f}"


# Figures of a design: regret, detectable effects, the worth of waves.

_WIDE, _NARROW, _HEIGHT = 560, 280, 260
_TICKS = 5


def design_figure(
    name: str, rows: Sequence[tuple[str, float, float]], title: str, axis: str, digits: int
) -> Figure:
    """Designs with a mean that should be low, and twice its Monte-Carlo error."""
    least = min(value for _, value, _ in rows)
    drawn = [
        IntervalRow(
            label, value, value - 2 * error, value + 2 * error,
            f"{value:,.{digits}f} ± {error:,.{digits}f}", best=value == least,
        )
        for label, value, error in rows
    ]  # fmt: skip
    alt = "; ".join(f"{row.label}: {row.text}" for row in drawn)
    wide, narrow = (
        interval_figure(drawn, axis, alt, narrow=small, effects=False) for small in (False, True)
    )
    caption = "Points are means over simulated experiments, bars two Monte-Carlo standard errors."
    return Figure(name, wide, narrow, title, alt, caption)


def size_figure(
    name: str, curves: dict[str, list[tuple[float, float]]], title: str, x: str, y: str
) -> Figure:
    """Smallest effects by number of units, one line per direction."""
    values = [
        {"line": line, "n": n, "effect": effect, "place": i}
        for line, points in curves.items()
        for i, (n, effect) in enumerate(points)
    ]
    alt = "; ".join(
        f"{line}: " + ", ".join(f"{effect:.3g} at {n:,.0f}" for n, effect in points)
        for line, points in curves.items()
    )
    wide, narrow = (_lines(values, list(curves), x, y, alt, width) for width in (_WIDE, _NARROW))
    caption = "Both axes are logarithmic: four times the units halve the smallest effect."
    return Figure(name, wide, narrow, title, alt, caption)


def _lines(
    values: list[dict[str, Any]], lines: list[str], x: str, y: str, alt: str, width: int
) -> Spec:
    spec = base(width, _HEIGHT, {"left": 64, "right": 24, "top": 32, "bottom": 56}, alt)
    ticks = sorted({value["n"] for value in values})
    effects = [value["effect"] for value in values]
    spec["data"] = {"values": values}
    spec["encoding"] = {
        "x": {
            "field": "n",
            "type": "quantitative",
            "title": x,
            "scale": {"type": "log", "domain": [ticks[0], ticks[-1]], "nice": False},
            "axis": {"values": ticks[:: 2 if width == _NARROW else 1], "format": ",d"},
        },
        "y": {
            "field": "effect",
            "type": "quantitative",
            "title": y,
            "scale": {"type": "log", "domain": [0.9 * min(effects), 1.1 * max(effects)]},
            "axis": {"tickCount": _TICKS, "format": ".2~g"},
        },
        "color": {
            "field": "line",
            "type": "nominal",
            "scale": {"domain": lines, "range": [BEST, TRUTH][: len(lines)]},
            "legend": {"orient": "none", "legendX": 0, "legendY": -30, "direction": "horizontal",
                       "title": None, "labelColor": MUTED, "labelFontSize": 12},
        },
    }  # fmt: skip
    spec["layer"] = [
        {"mark": {"type": "line", "strokeWidth": 2}},
        {"mark": {"type": "point", "filled": True, "size": 40}},
    ]
    return spec
