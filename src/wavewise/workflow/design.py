"""``design``: what a study's design finds and loses, before anything is sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.design.sizes import planned_units
from wavewise.design.spec import StudySpec
from wavewise.design.waves import AllocationRule
from wavewise.errors import InputError
from wavewise.evaluate.personalization import Guess, personalization_power
from wavewise.evaluate.sim_design import Design
from wavewise.evaluate.sim_truth import PriorTruth
from wavewise.evaluate.simulate import compare
from wavewise.evaluate.wave_plan import Benefit, Limits, designs_within, plan_waves
from wavewise.parallel import Progress
from wavewise.report.design_report import DesignContents, design_document
from wavewise.report.document import Picture, html
from wavewise.report.figures.draw import figure_files
from wavewise.report.typeset import pdf
from wavewise.results import NotEstimable
from wavewise.streams import stream
from wavewise.workflow.design_power import by_size, powers
from wavewise.workflow.done import Done
from wavewise.workflow.report import REPORT_FOLDER, write_whole
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.evaluate.personalization import PersonalizationPower
    from wavewise.evaluate.sim_result import Comparison
    from wavewise.evaluate.wave_plan import WavePlan

__all__ = ["DesignOptions", "design_study"]

_CHUNKS = "simulations"


@dataclass(frozen=True)
class DesignOptions:
    """What the study file does not say.

    Parameters
    ----------
    n_simulations : int
    spread : float
        Prior standard deviation of an arm's log odds.
    correlation : float
        Of two arms' log odds a priori.
    n_clusters : int
        Clusters of equal size, where the deciding model has clusters.
    cluster_sd : float
        Standard deviation of their effects on the log odds.
    budget, total_days, wave_days : float, optional
        Limits on the number of waves.
    discount : float
        Worth of a benefit that comes one wave later.
    heterogeneity : float, optional
        Standard deviation between units of an arm's effect; simulates personalization.
    best_effect : float
        Largest average effect there; the others lie between it and half of it.
    n_jobs : int
    scheduler : str, optional
    """

    n_simulations: int = 1000
    spread: float = 0.2
    correlation: float = 0.0
    n_clusters: int = 100
    cluster_sd: float = 0.5
    budget: float | None = None
    total_days: float | None = None
    wave_days: float | None = None
    discount: float = 1.0
    heterogeneity: float | None = None
    best_effect: float = 0.03
    n_jobs: int = 1
    scheduler: str | None = None


def design_study(study: Study, options: DesignOptions, progress: Progress | None = None) -> Done:
    """Write ``report/design.html`` and ``report/design.pdf``.

    Parameters
    ----------
    study : Study
    options : DesignOptions
    progress : callable, optional
        Called with the numbers of finished and of all chunks of each simulation.

    Raises
    ------
    InputError
        Limits that no design keeps, a prior without variance.
    UnavailableError
        A scheduler that does not answer.
    """
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
    printed, page = pdf(document), html(document)
    folder = study.folder / REPORT_FOLDER
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                for name, content in figure_files(block.figure).items():
                    write_whole(folder / name, content)
    path = write_whole(folder / "design.html", page.encode())
    print_path = write_whole(folder / "design.pdf", printed)
    facts = {"page": str(path), "pdf": str(print_path), **_facts(contents)}
    return Done(f"{_text(contents)}\nWrote {path} and {print_path}.", facts)


def _text(contents: DesignContents) -> str:
    parts = [power.summary() for power in list(contents.powers.values())[:1]]
    for found in (contents.comparison, contents.plan, contents.personalization):
        if not isinstance(found, NotEstimable):
            parts.append(found.summary())
    return "\n\n".join(parts)


def _facts(contents: DesignContents) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "power": {name: power.to_dict() for name, power in contents.powers.items()}
    }
    for name in ("comparison", "plan", "personalization"):
        found = getattr(contents, name)
        known = not isinstance(found, NotEstimable)
        facts[name] = found.to_dict() if known else {"reason": found.reason}
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
        if outcome is None or planning is None:
            raise InputError("found no outcome that decides; needed [decision] and its baseline")
        clustered = isinstance(self.found, Design) and self.found.clusters is not None
        return PriorTruth.from_rate(
            planning.baseline[outcome].mean,
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
        return compare(designs, truth, n, self._rng("compare"), **self._how())

    def check(self) -> None:
        """Refuse at once what no simulation can mend: a prior, limits."""
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
            windows = [float(wave.window_days) for wave in self.spec.waves if wave.window_days]
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
        baseline = spec.planning.baseline.get(spec.primary.id) if spec.planning else None
        sizes = [planned_units(spec, wave) for wave in spec.waves]
        if baseline is None or len(sizes) < 2 or any(isinstance(n, NotEstimable) for n in sizes):
            return NotEstimable("needed two waves of known size and the primary outcome's baseline")
        if not 0 < baseline.mean < 1 or spec.primary.kind != "any":
            return NotEstimable("the primary outcome is not binary")
        n_arms = sum(arm.id != spec.waves[0].control_id for arm in spec.arms_of(spec.waves[0]))
        first, second = (float(n) for n in sizes[:2] if not isinstance(n, NotEstimable))
        effects = options.best_effect * (1 - 0.5 * np.arange(n_arms) / max(n_arms - 1, 1))
        guess = Guess(baseline.mean, effects, options.heterogeneity)
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
        yield "Trials of one unit are independent: where they are not, less is learned than here."


def _deciding_outcome(spec: StudySpec) -> str | None:
    """Id of the outcome whose model decides, or of the primary one."""
    if spec.decision is not None:
        return spec.models[spec.decision.model].outcome
    return spec.primary.id


def _simulated_design(spec: StudySpec, options: DesignOptions) -> Design | NotEstimable:
    """The study's waves as a design that can be simulated."""
    name = _deciding_outcome(spec)
    if spec.planning is None or name not in spec.planning.baseline:
        return NotEstimable("[planning] gives no baseline of the outcome that decides")
    outcome = next(outcome for outcome in spec.outcomes if outcome.id == name)
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
