"""``analyze``: effects and checks of a closed wave, printed and kept."""

from typing import Any

from wavewise.results import NotEstimable
from wavewise.workflow.analysis import OutcomeEffects, WaveAnalysis, analyse_waves
from wavewise.workflow.done import Done
from wavewise.workflow.score_models import score_fits
from wavewise.workflow.scores import after_closing
from wavewise.workflow.study import Study

__all__ = ["analysis_facts", "analyze"]


def analyze(study: Study, wave_id: str) -> Done:
    """Effects in a closed wave, models of scores by period so far, and the checks of its data.

    Raises
    ------
    StateError
        If the wave is not closed.
    """
    analysis = analyse_waves(study, [wave_id])
    fits = score_fits(study, wave_id)
    facts = analysis_facts(wave_id, analysis) | {"score_models": [fit.to_dict() for fit in fits]}
    study.store.put_result(wave_id, "analysis", facts, study.clock())
    parts = [_text(item) for item in analysis.effects]
    parts += [fit.text for fit in fits]
    parts += after_closing(study)
    parts += [f"{check.name}: {check.verdict}. {check.text}" for check in analysis.checks]
    return Done("\n\n".join(parts), facts)


def _text(item: OutcomeEffects) -> str:
    mark = "" if item.registered else " (for comparison, not the registered estimator)"
    heading = f"{item.outcome.name}, {item.estimator}{mark}"
    if isinstance(item.effects, NotEstimable):
        return f"{heading}\n{item.effects}"
    return f"{heading}\n{item.effects.summary()}"


def analysis_facts(wave_id: str, analysis: WaveAnalysis) -> dict[str, Any]:
    """Effects and checks as plain values, for JSON."""
    return {
        "wave": wave_id,
        "effects": [_effects_facts(item) for item in analysis.effects],
        "checks": [check.to_dict() for check in analysis.checks],
    }


def _effects_facts(item: OutcomeEffects) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "outcome": item.outcome.id,
        "estimator": item.estimator,
        "registered": item.registered,
    }
    if isinstance(item.effects, NotEstimable):
        return {**facts, "not_estimable": item.effects.reason}
    return {**facts, **item.effects.to_dict()}
