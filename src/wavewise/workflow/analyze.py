"""``analyze``: effects and checks of a closed wave, printed and kept."""

from typing import Any

from wavewise.results import NotEstimable
from wavewise.workflow.adaptive import adaptive_waves
from wavewise.workflow.analysis import OutcomeEffects, WaveAnalysis, analyse_waves
from wavewise.workflow.done import Done
from wavewise.workflow.rerandomize import procedure_waves, rerandomization_test
from wavewise.workflow.score_models import score_fits
from wavewise.workflow.scores import after_closing
from wavewise.workflow.study import Study

__all__ = ["analysis_facts", "analyze"]


def analyze(study: Study, wave_id: str, *, randomization_draws: int = 0) -> Done:
    """Effects in a closed wave, models of scores by period so far, and the checks of its data.

    A wave whose shares were learned on earlier ones is compared together with these as well.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        A closed wave.
    randomization_draws : int
        Re-randomizations of the wave, with the waves that its shares were learned on, for a test
        that no arm changes any primary outcome; 0 for no such test.

    Raises
    ------
    StateError
        If the wave is not closed.
    """
    analysis = analyse_waves(study, [wave_id])
    fits = score_fits(study, wave_id)
    facts = analysis_facts(wave_id, analysis) | {"score_models": [fit.to_dict() for fit in fits]}
    across = adaptive_waves(study, wave_id)
    if across is not None:
        facts["adaptive"] = across.to_dict()
    tested = _randomization_test(study, wave_id, randomization_draws, facts)
    study.store.put_result(wave_id, "analysis", facts, study.clock())
    parts = [_text(item) for item in analysis.effects]
    parts += [] if across is None else [across.text]
    parts += [fit.text for fit in fits]
    parts += after_closing(study)
    parts += tested
    parts += [check.line for check in analysis.checks]
    return Done("\n\n".join(parts), facts)


def _randomization_test(study: Study, wave_id: str, draws: int, facts: dict[str, Any]) -> list[str]:
    """The test in words, added to the facts; nothing where it was not asked for."""
    if not draws:
        return []
    waves = procedure_waves(study, wave_id)
    tested = rerandomization_test(study, waves, draws)
    facts["randomization_test"] = {"waves": waves, **tested.to_dict()}
    return [f"Waves drawn again as they were drawn: {', '.join(waves)}.\n{tested.summary()}"]


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
