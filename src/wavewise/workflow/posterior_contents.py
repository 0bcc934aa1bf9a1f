"""Posteriors of the arms, as the report shows them."""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

from wavewise.design.outcomes import Outcome
from wavewise.design.waves import AllocationRule
from wavewise.report import contents as shown
from wavewise.results import NotEstimable
from wavewise.workflow.analysis import arm_counts, fitted_model, posterior_from
from wavewise.workflow.effect_contents import is_closed, shown_outcome
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import BetaBinomial
    from wavewise.store import WaveRow

__all__ = ["posterior_contents", "posteriors_by_wave"]

CREDIBLE_KIND = "HPD"
DENSITY_POINTS = 161


def posteriors_by_wave(
    study: Study, rows: "dict[str, WaveRow]"
) -> dict[str, shown.PosteriorContents | NotEstimable]:
    """What was believed after each closed wave, from it and those before it."""
    name = _model_name(study)
    waves = [wave.id for wave in study.spec.waves if is_closed(rows.get(wave.id))]
    if name is None or not waves:
        return {}
    model = study.spec.models[name]
    if model.kind != "beta binomial":
        reason = f"the model '{name}' is of kind '{model.kind}', which this version cannot fit"
        return dict.fromkeys(waves, NotEstimable(reason))
    model = fitted_model(study, name)
    counts = [[arm_counts(study, model, wave)] for wave in waves]
    outcome = next(item for item in study.spec.outcomes if item.id == model.outcome)
    return {
        wave: posterior_contents(
            outcome, posterior_from(model, so_far), waves[: i + 1], model.prior
        )
        for i, (wave, so_far) in enumerate(zip(waves, accumulate(counts), strict=True))
    }


def _model_name(study: Study) -> str | None:
    if study.spec.decision is not None:
        return study.spec.decision.model
    rules = [wave.shares for wave in study.spec.waves]
    return next((rule.model for rule in rules if isinstance(rule, AllocationRule)), None)


def posterior_contents(
    outcome: Outcome,
    posterior: "BetaBinomial",
    learned_on: Sequence[str],
    prior: tuple[float, float],
) -> shown.PosteriorContents:
    """A posterior as the report shows it."""
    frame = posterior.to_frame()
    interval = posterior.cred_int(0.95, kind="hpd")
    return shown.PosteriorContents(
        outcome=shown_outcome(outcome),
        rows=tuple(
            shown.PosteriorRow(
                arm=row["arm"],
                mean=row["mean"],
                low=float(interval[i, 0]),
                high=float(interval[i, 1]),
                prob_optimal=min(1.0, row["prob_optimal"]),
                policy_regret=row["policy_regret"],
                successes=row["successes"],
                trials=row["trials"],
            )
            for i, row in enumerate(frame.iter_rows(named=True))
        ),
        interval_prob=0.95,
        interval_kind=CREDIBLE_KIND,
        model=f"Beta-binomial, prior Beta({prior[0]:g}, {prior[1]:g}), arms independent.",
        densities=_densities(posterior),
        learned_on=tuple(learned_on),
    )


def _densities(posterior: "BetaBinomial") -> tuple[shown.Density, ...]:
    """Posterior densities where they are not negligible, on one grid for all arms."""
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
