"""``design``: what a study's design finds and loses, before anything is sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.design.power import ArmPower, planned_effects
from wavewise.design.shares import planned_units
from wavewise.design.spec import StudySpec
from wavewise.design.waves import AllocationRule
from wavewise.errors import InputError, UnavailableError
from wavewise.evaluate.power_analysis import Power, power
from wavewise.evaluate.simulation.compare import compare
from wavewise.evaluate.simulation.design import Design
from wavewise.evaluate.simulation.personalization import Assumptions, personalization_power
from wavewise.evaluate.simulation.wave_plan import Benefit, Limits, designs_within, plan_waves
from wavewise.evaluate.simulation.worlds import PriorTruth
from wavewise.report.documents.design_report import DesignContents, design_document
from wavewise.report.documents.document import Picture, html, pdf
from wavewise.report.figures.draw import figure_files
from wavewise.shared.files import write_whole
from wavewise.shared.parallel import Progress
from wavewise.shared.results import NotEstimable
from wavewise.shared.streams import stream
from wavewise.workflow.report.report import REPORT_FOLDER
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.evaluate.simulation.personalization import PersonalizationPower
    from wavewise.evaluate.simulation.results import Comparison
    from wavewise.evaluate.simulation.wave_plan import WavePlan

__all__ = ["DesignOptions", "design_study"]

_CHUNKS = "simulations"


@dataclass(frozen=True)
class DesignOptions:
    """What the study file does not say."""

    n_simulations: int = 1000
    spread: float = 0.2  # Prior standard deviation of an arm's log odds.
    correlation: float = 0.0  # Of two arms' log odds a priori.
    n_clusters: int = 100  # Clusters of equal size, where the deciding model has clusters.
    cluster_sd: float = 0.5  # Standard deviation of their effects on the log odds.
    # budget, total_days, wave_days: Limits on the number of waves.
    budget: float | None = None
    total_days: float | None = None
    wave_days: float | None = None
    discount: float = 1.0  # Worth of a benefit that comes one wave later.
    # Standard deviation between units of an arm's effect; simulates personalization.
    heterogeneity: float | None = None
    # Largest average effect there; the others lie between it and half of it.
    best_effect: float = 0.03
    n_jobs: int = 1
    scheduler: str | None = None


def design_study(
    study: Study, options: DesignOptions, progress: Progress | None = None
) -> "DesignFindings":
    """Write ``report/design.html`` and, where typst is installed, ``report/design.pdf``."""
    work = _Work(study, options, progress)
    work.check()
    comparison = work.comparison()
    contents = DesignContents(
        spec=study.spec,
        generated_on=f"{study.clock():%Y-%m-%d}",
        powers=dict(powers(study.spec)),
        by_size=by_size(study.spec),
        comparison=comparison,
        plan=work.plan(),
        personalization=work.personalization(),
        assumptions=tuple(work.assumptions()),
    )
    document = design_document(contents)
    folder = study.folder / REPORT_FOLDER
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                for name, content in figure_files(block.figure).items():
                    write_whole(folder / name, content)
    path = write_whole(folder / "design.html", html(document).encode())
    print_path = folder / "design.pdf"
    no_pdf = None
    try:
        write_whole(print_path, pdf(document))
    except UnavailableError as missing:
        print_path.unlink(missing_ok=True)  # that of an earlier run
        no_pdf = str(missing)
    return DesignFindings(
        page=str(path),
        pdf=str(print_path) if print_path.exists() else None,
        no_pdf=no_pdf,
        powers=contents.powers,
        comparison=contents.comparison,
        plan=contents.plan,
        personalization=contents.personalization,
    )


@dataclass(frozen=True, eq=False)
class DesignFindings(VerbResult):
    """What a study's design finds and loses, and where the pages are."""

    page: str
    pdf: str | None
    no_pdf: str | None  # Why there is none.
    powers: Mapping[str, Power]  # By comparison.
    comparison: "Comparison | NotEstimable"
    plan: "WavePlan | NotEstimable"
    personalization: "PersonalizationPower | NotEstimable"

    def facts(self) -> dict[str, Any]:
        """Pages, power, simulated designs, number of waves, personalization."""
        facts: dict[str, Any] = {
            "page": self.page,
            "pdf": self.pdf,
            "power": {name: _facts(power) for name, power in self.powers.items()},
        }
        return facts | {name: _facts(getattr(self, name)) for name in _PARTS}

    def summary(self) -> str:
        """The first comparison's power, then what could be simulated."""
        found = [*list(self.powers.values())[:1], *(getattr(self, name) for name in _PARTS)]
        parts = [one.summary() for one in found if not isinstance(one, NotEstimable)]
        pages = f"{self.page}, and no PDF: {self.no_pdf}" if self.no_pdf else self.page
        wrote = f"Wrote {self.page} and {self.pdf}." if self.pdf else f"Wrote {pages}."
        return "\n\n".join(parts) + f"\n{wrote}"


_PARTS = ("comparison", "plan", "personalization")


def _facts(found: Any) -> dict[str, Any]:
    if isinstance(found, NotEstimable):
        return {"reason": found.reason}
    facts: dict[str, Any] = found.facts()
    return facts


class _Work:
    """The simulations that a study file and the options ask for."""

    def __init__(self, study: Study, options: DesignOptions, progress: Progress | None) -> None:
        self.spec, self.options, self.progress = study.spec, options, progress
        self.folder = study.folder / REPORT_FOLDER / _CHUNKS
        self.found = _simulated_design(study.spec, options)

    def _how(self) -> dict[str, Any]:
        options = self.options
        return {
            "n_jobs": options.n_jobs,
            "scheduler": options.scheduler,
            "folder": self.folder,
            "progress": self.progress,
        }

    def _rng(self, purpose: str) -> np.random.Generator:
        return stream(self.spec.study.seed, "design", purpose)

    def _truth(self) -> PriorTruth:
        outcome = _deciding_outcome(self.spec)
        planning = self.spec.planning
        baseline = None
        if outcome is not None and planning is not None:
            baseline = planning.baseline_of(outcome, self.spec.waves[0].id)
        if baseline is None:
            raise InputError("found no outcome that decides; needed [decision] and its baseline")
        clustered = isinstance(self.found, Design) and self.found.clusters is not None
        return PriorTruth.from_rate(
            baseline.mean,
            self.options.spread,
            correlation=self.options.correlation,
            kappa=self.options.cluster_sd if clustered else 0.0,
        )

    def comparison(self) -> "Comparison | NotEstimable":
        """The design of the study file beside equal shares, or beside exploration sampling."""
        if isinstance(self.found, NotEstimable):
            return self.found
        designs = [self.found, *_alternatives(self.found)]
        truth, n = self._truth(), self.options.n_simulations
        return compare(designs, truth, n_simulations=n, rng=self._rng("compare"), **self._how())

    def check(self) -> None:
        """Refuse at once what no simulation can fix: a prior, limits."""
        if isinstance(self.found, NotEstimable):
            return
        self._truth()
        benefit = self._benefit()
        if benefit is not None:
            sizes, rules = [self.found.n_units], self._rules(self.found)
            designs_within(self.found, benefit, self._limits(), sizes=sizes, rules=rules)
        elif self.options.budget is not None or self.options.total_days is not None:
            raise InputError(
                "budget, total_days: found them without costs; needed [planning.another_wave] in "
                "the study file, with costs and what a success is worth"
            )

    def plan(self) -> "WavePlan | NotEstimable":
        """The number of waves, where the study file says what is at stake."""
        if isinstance(self.found, NotEstimable):
            return self.found
        benefit = self._benefit()
        if benefit is None:
            return NotEstimable("the study file has no [planning.another_wave] with costs")
        return plan_waves(
            self.found,
            self._truth(),
            benefit,
            rules=self._rules(self.found),
            limits=self._limits(),
            n_simulations=self.options.n_simulations,
            rng=self._rng("waves"),
            **self._how(),
        )

    def _benefit(self) -> Benefit | None:
        stakes = self.spec.planning.another_wave if self.spec.planning else None
        if stakes is None:
            return None
        return Benefit(
            beneficiaries=stakes.beneficiaries,
            value_per_success=stakes.value_per_success,
            cost_per_wave=stakes.cost_per_wave,
            cost_per_unit=stakes.cost_per_unit,
            discount=self.options.discount,
        )

    @staticmethod
    def _rules(design: Design) -> tuple[str, ...]:
        adaptive = design.rule not in {"equal", "fixed"}
        return ("equal", design.rule if adaptive else "exploration")

    def _limits(self) -> Limits:
        days = self.options.wave_days
        if days is None:
            windows = [float(self.spec.decided_after(wave)) for wave in self.spec.waves]
            days = max(windows, default=None)
        return Limits(
            total_days=self.options.total_days, wave_days=days, budget=self.options.budget
        )

    def personalization(self) -> "PersonalizationPower | NotEstimable":
        """Power of personalized against best, where policies are compared."""
        options, spec = self.options, self.spec
        if options.heterogeneity is None:
            return NotEstimable(
                "how much effects differ between units was not given; add --heterogeneity 0.02"
            )
        tested = spec.waves[min(1, len(spec.waves) - 1)].id
        baseline = spec.planning.baseline_of(spec.primary.id, tested) if spec.planning else None
        sizes = [planned_units(spec, wave) for wave in spec.waves]
        if baseline is None or len(sizes) < 2 or any(isinstance(n, NotEstimable) for n in sizes):
            return NotEstimable("needed two waves of known size and the primary outcome's baseline")
        if not 0 < baseline.mean < 1 or spec.primary.kind != "any":
            return NotEstimable("the primary outcome is not binary")
        n_arms = sum(arm.id != spec.waves[0].control_id for arm in spec.arms_of(spec.waves[0]))
        first, second = (float(n) for n in sizes[:2] if not isinstance(n, NotEstimable))
        effects = options.best_effect * (1 - 0.5 * np.arange(n_arms) / max(n_arms - 1, 1))
        guess = Assumptions(baseline.mean, effects, options.heterogeneity)
        n_policies = len(spec.arms_of(spec.waves[1]))
        held_out = spec.waves[1].held_out_share or 0.0
        return personalization_power(
            guess,
            n_first=[int(first * factor) for factor in (0.25, 0.5, 1.0)],
            n_per_policy=int(second / n_policies),
            treated_share=(1 - held_out) if held_out else 1 - 1e-9,
            n_simulations=max(4, min(options.n_simulations // 50, 40)),
            min_arm_leaf=50,
            n_trees=100,
            rng=self._rng("personalization"),
            **self._how(),
        )

    def assumptions(self) -> Iterator[str]:
        """What the simulations rest on, one sentence each."""
        if isinstance(self.found, NotEstimable):
            yield f"Waves were not simulated: {self.found.reason}."
            return
        design = self.found
        yield f"Truth: {self._truth().describe()}; drawn anew for each experiment."
        sizes = " + ".join(f"{n:,}" for n in design.waves)
        yield f"{design.n_arms} arms, waves of {sizes} units, {design.trials} trials a unit."
        if design.control_share:
            yield f"The control gets {design.control_share:.1%} of each wave; it has no trials."
        if design.cluster_sizes is not None:
            yield (
                f"{design.cluster_sizes.size} clusters of about "
                f"{design.cluster_sizes.mean():,.0f} units; arms are dealt within them. "
                "Estimator: hierarchical binomial."
            )
        else:
            yield "Outcomes are independent between units. Estimator: beta-binomial."
        if self.spec.units.randomize_by is not None:
            yield (
                f"Groups ({self.spec.units.randomize_by}) are randomized as a whole, which these "
                "simulations leave out (the power above has it): less is learned than here."
            )
        rules = [wave.shares for wave in self.spec.waves]
        if any(isinstance(rule, AllocationRule) and rule.within for rule in rules):
            yield (
                "Shares that are learned within strata are simulated as shares over all units: "
                "each stratum learns from its own units only, more slowly than here."
            )
        if any(model.has_evidence for model in self.spec.models.values()):
            yield "What an earlier study found is left out: simulations start without it."
        yield "Trials of one unit are independent: where they are not, less is learned than here."


def _deciding_outcome(spec: StudySpec) -> str | None:
    """Id of the outcome whose model decides, or of the primary one."""
    if spec.decision is not None:
        return spec.models[spec.decision.model].outcome
    return spec.primary.id


def _simulated_design(spec: StudySpec, options: DesignOptions) -> Design | NotEstimable:
    """The study's waves as a design that can be simulated."""
    name = _deciding_outcome(spec)
    planning, first_wave = spec.planning, spec.waves[0].id
    if name is None or planning is None or planning.baseline_of(name, first_wave) is None:
        return NotEstimable("[planning] gives no baseline of the outcome that decides")
    outcome = spec.outcome(name)
    if outcome.kind not in {"any", "successes"}:
        return NotEstimable("the outcome that decides is no number of successes")
    waves = [wave for wave in spec.waves
             if not any(arm.policy is not None for arm in spec.arms_of(wave))]  # fmt: skip
    if not waves:
        return NotEstimable("all waves compare policies")
    sizes = [planned_units(spec, wave) for wave in waves]
    if any(isinstance(n, NotEstimable) for n in sizes):
        return next(n for n in sizes if isinstance(n, NotEstimable))
    first = waves[0]
    arms = [arm.id for arm in spec.arms_of(first)]
    competing = [arm for arm in arms if arm != first.control_id]
    share = (first.control_share or 1 / len(arms)) if first.control_id in arms else 0.0
    rule = next((w.shares for w in waves if isinstance(w.shares, AllocationRule)), None)
    whole = [round(float(n)) for n in sizes if not isinstance(n, NotEstimable)]
    model = spec.models[spec.decision.model] if spec.decision is not None else None
    clustered = model is not None and model.kind == "hierarchical binomial"
    clusters = None
    if clustered:
        edges = np.linspace(0, sum(whole), min(options.n_clusters, sum(whole)) + 1)
        clusters = np.diff(edges.astype(np.int64))
    return Design(
        arms=competing,
        waves=whole,
        rule="equal" if rule is None else rule.rule,
        options=_rule_options(rule),
        floor=0.0 if rule is None else (rule.floor or 0.0),
        clusters=clusters,
        control_share=share,
        trials=spec.trials(outcome, first) or 1,
    )


def _rule_options(rule: AllocationRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    names = ("temper", "uniform_share", "beta")
    return {name: value for name in names if (value := getattr(rule, name, None)) is not None}


def _alternatives(design: Design) -> list[Design]:
    """Equal shares beside an adaptive design; beside equal ones, exploration in two waves."""
    if design.rule != "equal":
        return [design.with_(rule="equal")]
    half = design.n_units // 2
    waves = design.waves if len(design.waves) > 1 else (design.n_units - half, half)
    return [design.with_(rule="exploration", waves=waves)]


# Power of a study file's comparisons, for its design report.

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def powers(spec: StudySpec) -> Iterator[tuple[str, Power]]:
    """One comparison a wave and outcome: two policies, or an arm and the control, or two arms."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable) or spec.planning is None:
        return
    done = set()
    for row in planned.rows:
        place = (row.wave, row.outcome)
        if place in done or row.convention != "whole arm" or not isinstance(row.n_units, float):
            continue
        wave = spec.wave(row.wave)
        if wave is None or row.arm == wave.control_id:
            continue
        found = _power(spec, row)
        if found is not None:
            done.add(place)
            yield found


def _power(spec: StudySpec, row: ArmPower, factor: float = 1.0) -> tuple[str, Power] | None:
    wave = spec.wave(row.wave)
    outcome = spec.outcome(row.outcome)
    if wave is None or spec.planning is None or isinstance(row.n_units, NotEstimable):
        return None
    deviation = row.baseline_std_dev
    options: dict[str, Any] = {"size": 1 - spec.study.level, "power": spec.planning.power,
                               "n_per_arm": factor * row.n_units}  # fmt: skip
    if outcome.kind == "any" and 0 < row.baseline_mean < 1:
        options["rate"] = row.baseline_mean
    elif isinstance(deviation, float) and deviation > 0:
        options |= {"std_dev": deviation, "mean": row.baseline_mean}
    else:
        return None
    if spec.units.randomize_by is not None and spec.planning.cluster_size:
        options["cluster_size"] = spec.planning.cluster_size
        options["intracluster_correlation"] = spec.planning.intracluster_correlation or 0.0
    if wave.held_out_share:
        options |= {"contrast": "policy", "treated_share": 1 - wave.held_out_share}
        words = f"{wave.name}, {outcome.name}, two policies"
    else:
        control = _control_size(spec, row)
        words = f"{wave.name}, {outcome.name}, an arm and {'the control' if control else 'another'}"
        if control:
            options |= {"contrast": "control", "n_control": factor * control}
    return words, power(**options)


def _control_size(spec: StudySpec, row: ArmPower) -> float | None:
    """Units of the control in a row's wave, where its outcome is observed there."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable):
        return None
    wave = spec.wave(row.wave)
    for other in planned.rows:
        same = (other.wave, other.outcome, other.convention) == (
            row.wave, row.outcome, row.convention)  # fmt: skip
        if same and wave is not None and other.arm == wave.control_id:
            known = isinstance(other.n_units, float) and isinstance(other.std_error, float)
            return float(other.n_units) if known else None  # type: ignore[arg-type]
    return None


def by_size(spec: StudySpec) -> dict[str, list[tuple[float, float]]]:
    """Smallest rise and fall of the first comparison, for a quarter to four times its units."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable):
        return {}
    row = next(
        (row for row in planned.rows if isinstance(row.n_units, float)
         and row.arm != getattr(spec.wave(row.wave), "control_id", None)), None,
    )  # fmt: skip
    curves: dict[str, list[tuple[float, float]]] = {"rise": [], "fall": []}
    for factor in _FACTORS if row is not None else ():
        found = _power(spec, row, factor)  # type: ignore[arg-type]
        if found is None:
            return {}
        for name, value in (("rise", found[1].mde_up), ("fall", found[1].mde_down)):
            if isinstance(value, float):
                curves[name].append((found[1].n_per_arm, value))
    if curves["rise"] == curves["fall"]:
        curves = {"rise or fall": curves["rise"]}
    return {name: points for name, points in curves.items() if len(points) > 1}
