"""Posteriors of the arms, as the report shows them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.special

from wavewise.design.outcomes import Outcome
from wavewise.design.plan import Model
from wavewise.design.waves import AllocationRule
from wavewise.errors import EstimationError
from wavewise.estimate import BetaBinomial, HierarchicalBinomial, HierarchicalNormal
from wavewise.estimate.draw_density import density_of_draws
from wavewise.report import contents as shown
from wavewise.results import FloatArray, NotEstimable
from wavewise.workflow.effect_contents import is_closed, shown_outcome
from wavewise.workflow.posteriors import evidence_of, posterior_of
from wavewise.workflow.score_models import score_model_names
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import WaveRow
    from wavewise.workflow.posteriors import ArmPosterior

__all__ = ["decision_model", "posterior_contents", "posteriors_by_wave", "success_interval"]

CREDIBLE_KIND, PROB = "HPD", 0.95
DENSITY_POINTS = 161


def posteriors_by_wave(
    study: Study, rows: "dict[str, WaveRow]"
) -> dict[str, shown.PosteriorContents | NotEstimable]:
    """What was believed after each closed wave, from it and those before it."""
    name = decision_model(study)
    waves = [wave.id for wave in study.spec.waves if is_closed(rows.get(wave.id))]
    if name is None or not waves:
        return {}
    return {wave: _believed(study, name, waves[: i + 1]) for i, wave in enumerate(waves)}


def _believed(
    study: Study, name: str, waves: Sequence[str]
) -> shown.PosteriorContents | NotEstimable:
    model = study.spec.models[name]
    outcome = next(item for item in study.spec.outcomes if item.id == model.outcome)
    try:
        posterior = posterior_of(study, name, waves)
    except EstimationError as error:
        return NotEstimable(error.message)
    scores = name in score_model_names(study)
    totals = None if scores else evidence_of(study, model, waves).totals()
    text = f"{_model_text(model)} {outcome.direction_text}".strip()
    return posterior_contents(outcome, posterior, totals, waves, text)


def _model_text(model: Model) -> str:
    if model.kind == "beta binomial":
        first, second = model.prior
        return f"Beta-binomial, prior Beta({first:g}, {second:g}), arms independent."
    if model.kind == "hierarchical normal":
        return (
            f"Hierarchical normal: gain of each arm against the control, with effects of "
            f"{model.cluster}, unit and period."
        )
    over = "new clusters" if model.clusters == "new" else "the clusters of the data"
    units = ", units overdispersed (beta-binomial)" if model.overdispersion else ""
    return (
        f"Hierarchical binomial{units}: arms share the effects of {model.cluster}; success "
        f"probabilities are means over {over}."
    )


def decision_model(study: Study) -> str | None:
    """The model that decisions learn from, if the study file names one."""
    if study.spec.decision is not None:
        return study.spec.decision.model
    rules = [wave.shares for wave in study.spec.waves]
    return next((rule.model for rule in rules if isinstance(rule, AllocationRule)), None)


def posterior_contents(
    outcome: Outcome,
    posterior: "ArmPosterior",
    totals: pl.DataFrame | None,
    learned_on: Sequence[str],
    model: str,
) -> shown.PosteriorContents:
    """A posterior as the report shows it, with the counts that it rests on, if it is of counts.

    Where lower is better the posterior is of the reversed outcome, and is turned back here.
    """
    counts = {} if totals is None else {row["arm"]: row for row in totals.iter_rows(named=True)}
    interval, mean = success_interval(posterior), mean_outcome(posterior)
    densities = _densities(posterior)
    if not outcome.higher_is_better:
        whole = 0.0 if isinstance(posterior, HierarchicalNormal) else 1.0
        interval, mean = whole - interval[:, ::-1], whole - mean
        densities = tuple(_turned(density, whole) for density in densities)
    about = shown_outcome(outcome)
    if isinstance(posterior, HierarchicalNormal):
        about = replace(about, label=f"gain in {about.label}")
    return shown.PosteriorContents(
        outcome=about,
        rows=tuple(
            shown.PosteriorRow(
                arm=arm,
                mean=float(mean[k]),
                low=float(interval[k, 0]),
                high=float(interval[k, 1]),
                prob_optimal=min(1.0, float(posterior.prob_optimal[k])),
                policy_regret=float(posterior.policy_regret[k]),
                successes=round(counts[arm]["successes"]) if counts else None,
                trials=round(counts[arm]["trials"]) if counts else None,
            )
            for k, arm in enumerate(posterior.arms)
        ),
        interval_prob=PROB,
        interval_kind=CREDIBLE_KIND,
        model=model,
        densities=densities,
        learned_on=tuple(learned_on),
    )


def _turned(density: shown.Density, whole: float) -> shown.Density:
    """The density of `whole` minus what it was of."""
    grid = tuple(whole - value for value in reversed(density.grid))
    return shown.Density(density.arm, grid, tuple(reversed(density.density)))


def mean_outcome(posterior: "ArmPosterior") -> FloatArray:
    """Posterior mean of each arm's success probability, or gain in the score, (n_arms,)."""
    if isinstance(posterior, HierarchicalNormal):
        return posterior.mean
    return posterior.success_prob


def success_interval(posterior: "ArmPosterior") -> FloatArray:
    """HPD interval of each arm's success probability, or gain in the score, (n_arms, 2)."""
    if isinstance(posterior, BetaBinomial | HierarchicalNormal):
        return posterior.cred_int(PROB, kind="hpd")
    return posterior.cred_int(PROB, kind="hpd", of="success_prob")


def _densities(
    posterior: "ArmPosterior",
) -> tuple[shown.Density, ...]:
    """Posterior densities where they are not negligible, on one grid for all arms."""
    if isinstance(posterior, HierarchicalBinomial | HierarchicalNormal):
        return _densities_of_draws(posterior)
    wide = posterior.cred_int(0.9999, kind="equal-tailed")
    grid = np.linspace(wide[:, 0].min(), wide[:, 1].max(), DENSITY_POINTS)
    inside = np.clip(grid, 1e-12, 1 - 1e-12)
    a, b = posterior.a[:, None], posterior.b[:, None]
    log_density = scipy.special.xlogy(a - 1, inside) + scipy.special.xlog1py(b - 1, -inside)
    density = np.exp(log_density - scipy.special.betaln(a, b))
    return tuple(
        shown.Density(arm, tuple(grid.tolist()), tuple(row.tolist()))
        for arm, row in zip(posterior.arms, density, strict=True)
    )


def _densities_of_draws(
    posterior: "HierarchicalBinomial | HierarchicalNormal",
) -> tuple[shown.Density, ...]:
    if isinstance(posterior, HierarchicalNormal):
        grid, density = density_of_draws(posterior.draws, None, DENSITY_POINTS)
    else:
        values = posterior.point_success_prob
        grid, density = density_of_draws(values, posterior.weights, DENSITY_POINTS)
    return tuple(
        shown.Density(arm, tuple(grid[:, k].tolist()), tuple(density[:, k].tolist()))
        for k, arm in enumerate(posterior.arms)
    )
