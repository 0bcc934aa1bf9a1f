"""What the page's template is given: tables, drawn figures and sentences, section by section."""

from dataclasses import dataclass, replace

from wavewise.report.adaptive import adaptive_table
from wavewise.report.choose import findings, study_effects, study_posterior
from wavewise.report.contents import (
    DecisionContents,
    EffectsContents,
    PosteriorContents,
    ReportContents,
    TruthContents,
    WaveContents,
)
from wavewise.report.delivery_views import DeliveryView, delivery_view
from wavewise.report.evaluation_views import EvaluationView, evaluation_view
from wavewise.report.figures.draw import Drawn, Figure, draw_figure
from wavewise.report.figures.effects import effects_figure
from wavewise.report.figures.posterior import posterior_figure, prob_optimal_figure, shares_figure
from wavewise.report.glossary import glossary
from wavewise.report.names import Names
from wavewise.report.numbers import probability, scale_of, sentence
from wavewise.report.score_model import score_model_figure, score_model_table
from wavewise.report.sentences import Answer, answers, facts
from wavewise.report.tables import (
    Table,
    check_table,
    contrasts_table,
    design_table,
    effects_table,
    flow_table,
    posterior_table,
    truth_table,
)
from wavewise.results import CheckResult

__all__ = [
    "CheckView",
    "EffectsView",
    "PageView",
    "PosteriorView",
    "ScoreModelView",
    "WaveView",
    "page_view",
]

MOST_DENSITIES = 3  # with more waves than this, single waves show intervals only, to stay small


@dataclass(frozen=True)
class CheckView:
    """A check with its verdict's sign and word."""

    check: CheckResult
    wave: str
    sign: str
    verdict: str
    table: Table | None


@dataclass(frozen=True)
class EffectsView:
    """Effects on one outcome: figure, tables, and what is not estimable."""

    effects: EffectsContents
    drawn: Drawn | None
    table: Table
    contrasts: Table | None
    method: str


@dataclass(frozen=True)
class PosteriorView:
    """A posterior: figure and table."""

    posterior: PosteriorContents
    drawn: Drawn
    table: Table


@dataclass(frozen=True)
class ScoreModelView:
    """A model of scores by period: figure and table."""

    title: str
    drawn: Drawn | None
    table: Table


@dataclass(frozen=True)
class WaveView:
    """What one wave showed by itself, where the study's own numbers are others."""

    wave: WaveContents
    flow: Table
    effects: tuple[EffectsView, ...]
    posterior: PosteriorView | None
    reason: str


@dataclass(frozen=True)
class PageView:
    """All that the template shows."""

    contents: ReportContents
    facts: str
    answers: tuple[Answer, ...]
    summary: Drawn | None
    design: Table
    shares: Drawn | None
    waves: tuple[WaveView, ...]
    checks: tuple[CheckView, ...]
    effects: tuple[EffectsView, ...]
    adaptive: tuple[Table, ...]
    score_models: tuple[ScoreModelView, ...]
    evaluations: tuple[EvaluationView, ...]
    deliveries: tuple[DeliveryView, ...]
    prob_optimal: Drawn | None
    posterior: PosteriorView | None
    no_posterior: str
    decision: tuple[tuple[str, str], ...]
    truth: Table | None
    truth_drawn: Drawn | None
    glossary: tuple[tuple[str, str], ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure of the page, in its order."""
        inner = [item.drawn for wave in self.waves for item in wave.effects]
        inner += [wave.posterior.drawn for wave in self.waves if wave.posterior]
        drawn = [self.summary, self.shares, *(item.drawn for item in self.effects)]
        drawn += [model.drawn for model in self.score_models]
        drawn += [item.drawn for item in self.deliveries]
        tested = [figure for item in self.evaluations for figure in item.figures]
        drawn += [self.prob_optimal, self.posterior.drawn if self.posterior else None]
        rest = (d.figure for d in [*drawn, self.truth_drawn, *inner] if d is not None)
        return (*rest, *tested)


def page_view(contents: ReportContents) -> PageView:
    """Everything on the page, drawn and printed."""
    found, names = findings(contents), Names()
    posterior, reason = study_posterior(contents)
    shown = study_effects(contents)
    best = found.arm
    effects = tuple(_effects(names, "effects", item, best) for item in shown)
    return PageView(
        contents=contents,
        facts=facts(contents),
        answers=answers(contents),
        summary=_summary(names, found.effects, posterior, best),
        design=design_table(contents),
        shares=draw_figure(_shares(names, contents.waves)),
        waves=tuple(_wave(names, wave, contents, shown, posterior) for wave in contents.waves),
        checks=tuple(_check(wave, check) for wave in contents.waves for check in wave.checks),
        effects=effects,
        adaptive=tuple(adaptive_table(item) for item in contents.adaptive),
        score_models=tuple(
            ScoreModelView(
                model.outcome.label,
                draw_figure(score_model_figure(names.new(f"scores-{model.name}"), model)),
                score_model_table(model),
            )
            for model in contents.score_models
        ),
        evaluations=tuple(
            evaluation_view(names, item, contents.unit_name) for item in contents.evaluations
        ),
        deliveries=tuple(delivery_view(names, d, contents.unit_name) for d in contents.deliveries),
        prob_optimal=draw_figure(prob_optimal_figure(names.new("prob-best"), contents.waves)),
        posterior=_posterior(names, "posterior", posterior, best) if posterior else None,
        no_posterior=reason,
        decision=_decision(contents.decision, posterior),
        truth=_truth_table(contents, found.effects, posterior),
        truth_drawn=_truth_figure(names, contents, found.effects, posterior, best),
        glossary=glossary(
            effects=bool(shown),
            posterior=posterior is not None,
            policies=bool(contents.evaluations),
            deliveries=bool(contents.deliveries),
        ),
    )


def _shares(names: Names, waves: tuple[WaveContents, ...]) -> Figure | None:
    """Shares by wave, where there is more than one set of them to compare."""
    several = len(waves) > 1 or any(wave.next_shares for wave in waves)
    return shares_figure(names.new("shares"), waves) if several else None


def _summary(
    names: Names,
    effects: EffectsContents | None,
    posterior: PosteriorContents | None,
    best: str | None,
) -> Drawn | None:
    if effects is not None and effects.rows:
        return draw_figure(effects_figure(names.new("summary"), effects, best, adjusted=False))
    if posterior is not None and posterior.rows:
        return draw_figure(posterior_figure(names.new("summary"), posterior, best))
    return None


def _effects(
    names: Names,
    stem: str,
    effects: EffectsContents,
    best: str | None,
    truth: TruthContents | None = None,
) -> EffectsView:
    name = names.new(f"{stem}-{effects.outcome.id}")
    same = truth is not None and truth.outcome.id == effects.outcome.id
    gains = _gains(truth) if same else None
    drawn = draw_figure(effects_figure(name, effects, best, truth=gains)) if effects.rows else None
    return EffectsView(
        effects, drawn, effects_table(effects, best), contrasts_table(effects), _method(effects)
    )


def _method(effects: EffectsContents) -> str:
    """How the effects were estimated, and from which data."""
    parts = [sentence(effects.estimator)]
    if "intent to treat" not in effects.estimator.lower():
        parts.insert(0, "Intent to treat.")
    if effects.learned_on:
        parts.append(f"Data of {', '.join(effects.learned_on)}.")
    return " ".join(part for part in parts if part)


def _posterior(
    names: Names, stem: str, posterior: PosteriorContents, best: str | None
) -> PosteriorView | None:
    drawn = (
        draw_figure(posterior_figure(names.new(stem), posterior, best)) if posterior.rows else None
    )
    return PosteriorView(posterior, drawn, posterior_table(posterior, best)) if drawn else None


def _wave(
    names: Names,
    wave: WaveContents,
    contents: ReportContents,
    shown: tuple[EffectsContents, ...],
    posterior: PosteriorContents | None,
) -> WaveView:
    """A wave by itself, without what the study's own sections already show."""
    effects = () if wave.effects == shown else wave.effects
    own = wave.posterior if isinstance(wave.posterior, PosteriorContents) else None
    same = own is not None and own == posterior
    if own is not None and len(contents.waves) > MOST_DENSITIES:
        own = replace(own, densities=())
    reason = "" if own or wave.posterior is None else str(wave.posterior)
    return WaveView(
        wave,
        flow_table(wave, contents.unit_name),
        tuple(_effects(names, f"effects-{wave.id}", item, None, wave.truth) for item in effects),
        _posterior(names, f"posterior-{wave.id}", own, None) if own and not same else None,
        reason,
    )


def _check(wave: WaveContents, check: CheckResult) -> CheckView:
    sign, verdict = {
        True: ("\u2713", "Passed"),
        False: ("\u2717", "Failed"),
        None: ("?", "No verdict"),
    }[check.passed]
    return CheckView(check, wave.title, sign, verdict, check_table(check))


def _decision(
    decision: DecisionContents | None, posterior: PosteriorContents | None
) -> tuple[tuple[str, str], ...]:
    if decision is None:
        return ()
    rows = {row.arm: row for row in posterior.rows} if posterior else {}
    row = rows.get(decision.arm or "")
    prob, regret = decision.prob_optimal, decision.policy_regret
    if row is not None:
        prob = row.prob_optimal if prob is None else prob
        regret = row.policy_regret if regret is None else regret
    outcome = posterior.outcome if posterior else None
    lines = [("Rule", decision.rule), ("Chosen", decision.arm or "none yet: go on learning")]
    if decision.arm and prob is not None:
        lines.append(("Probability of being best", probability(prob)))
    if decision.arm and regret is not None and outcome is not None:
        lines.append(("Expected regret", scale_of(outcome).amount(regret)))
    if decision.runner_up:
        lines.append(("Next best", decision.runner_up))
    return tuple(lines)


def _truth_table(
    contents: ReportContents,
    effects: EffectsContents | None,
    posterior: PosteriorContents | None,
) -> Table | None:
    truth = contents.truth
    if truth is None:
        return None
    same_effects = effects if effects and effects.outcome.id == truth.outcome.id else None
    same_beliefs = posterior if posterior and posterior.outcome.id == truth.outcome.id else None
    return truth_table(truth, same_effects, same_beliefs)


def _gains(truth: TruthContents | None) -> dict[str, float]:
    """True effects by arm."""
    rows = truth.rows if truth is not None else ()
    return {row.arm: row.effect for row in rows if row.effect is not None}


def _truth_figure(
    names: Names,
    contents: ReportContents,
    effects: EffectsContents | None,
    posterior: PosteriorContents | None,
    best: str | None,
) -> Drawn | None:
    truth = contents.truth
    if truth is None:
        return None
    gains = _gains(truth)
    if effects is not None and effects.rows and gains and effects.outcome.id == truth.outcome.id:
        figure = effects_figure(names.new("truth"), effects, best, adjusted=False, truth=gains)
        return draw_figure(figure)
    if posterior is not None and posterior.rows and posterior.outcome.id == truth.outcome.id:
        means = {row.arm: row.mean for row in truth.rows}
        return draw_figure(posterior_figure(names.new("truth"), posterior, best, truth=means))
    return None
