"""The design report: assumptions, what the design finds and loses, a paragraph to register."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wavewise.design.spec import StudySpec
from wavewise.report.document import Block, Bullets, Document, Grid, Picture, Section
from wavewise.report.figures.design import design_figure, size_figure
from wavewise.report.spec_sections import DASH, power_blocks
from wavewise.results import NotEstimable

if TYPE_CHECKING:
    from wavewise.evaluate.personalization import PersonalizationPower
    from wavewise.evaluate.power_result import Power
    from wavewise.evaluate.sim_result import Comparison, Simulated
    from wavewise.evaluate.wave_plan import WavePlan

__all__ = ["DesignContents", "design_document"]

Missing = NotEstimable


@dataclass(frozen=True, eq=False)
class DesignContents:
    """What was computed for a study's design.

    Parameters
    ----------
    spec : StudySpec
    generated_on : str
    powers : mapping of str to Power
        By what is compared, in words.
    by_size : mapping of str to list of (units, effect)
        Smallest rise and smallest fall of the first outcome by units an arm.
    comparison, plan, personalization
        Results, or why there is none.
    """

    spec: StudySpec
    generated_on: str
    powers: Mapping[str, "Power"]
    by_size: dict[str, list[tuple[float, float]]]
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
            Section("What can be found", tuple(_power(contents))),
            Section("Adaptive or not", tuple(_comparison(contents))),
            Section("How many waves", tuple(_plan(contents))),
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
            f"{first.design.name.capitalize()} loses {_points(first.realized_regret)} points of "
            f"success by its final choice, {last.design.name} {_points(last.realized_regret)}"
        )
        if isinstance(gap, NotEstimable) or not apart:
            verdict += "; these simulations cannot tell them apart"
        items.append(f"{verdict}.")
    if not isinstance(contents.plan, NotEstimable):
        items.append(contents.plan.summary().splitlines()[0])
    if not isinstance(contents.personalization, NotEstimable):
        items.append(contents.personalization.summary().splitlines()[-2])
    yield Bullets(tuple(items) or ("Nothing can be said yet: see below what is missing.",))


def _power(contents: DesignContents) -> Iterator[Block]:
    if contents.powers:
        rows = tuple(
            (name, f"{power.n_per_arm:,.0f}", row.convention, _number(row.std_error),
             _number(row.mde_up), _number(row.mde_down))
            for name, power in contents.powers.items()
            for row in power.conventions
        )  # fmt: skip
        columns = ("Comparison", "Units an arm", "Counted", "SE", "MDE up", "MDE down")
        yield Grid("Smallest effects found, in the outcome's own unit (rates: shares of 1)",
                   columns, rows, frozenset({1, 3, 4, 5}))  # fmt: skip
        if any(len(power.conventions) > 1 for power in contents.powers.values()):
            yield (
                "Policy arms that are treated in part can be counted three ways. Whole arm: as "
                "assigned, so that untreated units dilute the difference. Treated part: only those "
                "who get messages. Difference of effects: treated minus untreated under one "
                "policy, minus the same under the other."
            )
    if contents.by_size:
        yield Picture(
            size_figure(
                "smallest-effects",
                contents.by_size,
                "Smallest effects by size",
                "units an arm",
                "smallest effect",
            )
        )
    yield from power_blocks(contents.spec)


def _comparison(contents: DesignContents) -> Iterator[Block]:
    found = contents.comparison
    if isinstance(found, NotEstimable):
        yield f"Not simulated: {found.reason}."
        return
    columns = ("Design", "Best arm found", "Regret, points", "Believed", "During, points",
               "Sure of the best")  # fmt: skip
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
            "What the final choice loses", "percentage points of success", 3,
        )
    )  # fmt: skip
    yield (
        "Regret: success probability lost because the chosen arm is not the best one. During: lost "
        "by units of the experiment. Sure: best arm chosen and best with probability .95 or more. "
        "The rules' relative merit depends on how far apart the arms are; no rule is claimed to be "
        "optimal."
    )
    lost = max(one.n_not_estimable for one in found)
    if lost:
        yield f"{lost} simulations are left out: an arm had no success, so no posterior."


def _plan(contents: DesignContents) -> Iterator[Block]:
    plan = contents.plan
    if isinstance(plan, NotEstimable):
        yield f"Not computed: {plan.reason}."
        return
    yield " ".join(plan.summary().splitlines()[:2])
    rows = tuple(
        (row.design, f"{row.cost:,.0f}", _money(row.net_benefit), _money(row.behind_best),
         _percent(row.best_arm_found))
        for row in plan.rows
    )  # fmt: skip
    columns = ("Design", "Cost", "Net benefit", "Behind the best", "Best arm found")
    yield Grid("Designs by net benefit", columns, rows, frozenset({1, 2, 3, 4}))
    yield Picture(
        design_figure(
            "waves", [(f"{len(row.waves)}: {row.design}", row.behind_best.value,
                       row.behind_best.mc_error) for row in plan.curve()],
            "What the best design of each number of waves lacks to the best of all",
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
    columns = ("First phase", "Gain, points", "Possible", "Truly better", "Power")
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
            f"{100 * one.best_arm_found.value:.1f} % and lost "
            f"{100 * one.realized_regret.value:.3f} percentage points of success on average."
        )
    if not isinstance(contents.plan, NotEstimable):
        parts.append(contents.plan.summary().splitlines()[0])
    if not parts:
        return "Nothing can be said before [planning] gives the outcomes' baselines."
    return f"{' '.join(parts)} Seed {spec.study.seed}."


def _detectable(power: "Power") -> str:
    return (
        f"with {power.n_per_arm:,.0f} units an arm a two-sided test of size {power.level:g} finds "
        f"a rise of {_number(power.mde_up)} or a fall of {_number(power.mde_down)} with power "
        f"{power.target_power:g}; standard error {_number(power.std_error)}"
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
