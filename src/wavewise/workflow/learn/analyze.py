"""``analyze``: effects and checks of a closed wave, printed and kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.report.effects import OutcomeEffects, facts_of
from wavewise.report.models import AdaptiveWaves, ScoreFit
from wavewise.shared.results import CheckResult, NotEstimable
from wavewise.workflow.frames import ClosedWaves, closed_waves, read_closed
from wavewise.workflow.intake import after_closing
from wavewise.workflow.learn.adaptive import (
    adaptive_waves,
    procedure_waves,
    rerandomization_test,
    strata_are_small,
)
from wavewise.workflow.learn.effects import (
    FieldRecords,
    effects_of,
    quality_checks,
    read_field_records,
)
from wavewise.workflow.learn.posteriors import score_fits
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.status import sent_messages
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import RandomizationTest

__all__ = ["Analysis", "analyze", "waves_so_far"]

_DRAWS = 1_000  # re-randomizations where strata are small


@dataclass(frozen=True, eq=False)
class Analysis(VerbResult):
    """Effects in a closed wave, models of scores so far, and the checks of its data."""

    wave: str
    effects: tuple[OutcomeEffects, ...]
    checks: tuple[CheckResult, ...]
    score_models: tuple[ScoreFit, ...] = ()
    # The wave with those that its shares were learned on; None where they were not learned.
    adaptive: AdaptiveWaves | None = None
    sent: str = ""  # What was sent and received, a sentence.
    late_scores: tuple[str, ...] = ()  # What came after the last closing, a sentence.
    redrawn: tuple[str, ...] = ()  # Waves whose assignment was drawn again for the test.
    randomization_test: "RandomizationTest | None" = None

    def summary(self) -> str:
        """What was sent and received; tables of effects, models, and the line of every check."""
        parts = [self.sent] if self.sent else []
        parts += [item.text for item in self.effects]
        parts += [] if self.adaptive is None else [self.adaptive.text]
        parts += [fit.text for fit in self.score_models]
        parts += self.late_scores
        if self.randomization_test is not None:
            heading = f"Re-randomization of waves {', '.join(self.redrawn)}."
            parts.append(f"{heading}\n{self.randomization_test.summary()}")
        return "\n\n".join([*parts, *(check.line for check in self.checks)])

    def facts(self) -> dict[str, Any]:
        """The analysis as it is printed for machines, and kept."""
        facts: dict[str, Any] = {
            "wave": self.wave,
            "sent": self.sent,
            "effects": [item.facts() for item in self.effects],
            "checks": [check.facts() for check in self.checks],
            "score_models": [fit.to_dict() for fit in self.score_models],
        }
        if self.adaptive is not None:
            facts["adaptive"] = self.adaptive.to_dict()
        if self.randomization_test is not None:
            test = facts_of(self.randomization_test)
            facts["randomization_test"] = {"waves": list(self.redrawn), **test}
        return facts

    def _frame(self) -> pl.DataFrame:
        frames = [
            item.effects.to_frame().select(
                pl.lit(item.outcome.id).alias("outcome"),
                pl.lit(item.estimator).alias("estimator"),
                pl.all(),
            )
            for item in self.effects
            if not isinstance(item.effects, NotEstimable)
        ]
        return pl.concat(frames) if frames else pl.DataFrame()


def analyze(study: Study, wave_id: str, *, randomization_draws: int | None = None) -> Analysis:
    """Effects in a closed wave, models of scores by period so far, and the checks of its data.

    A wave whose shares were learned on earlier ones is compared together with these as well.
    """
    study.require_state(
        wave_id, ("closed",), f"close it with `wavewise wave close {study.folder} {wave_id}`"
    )
    closed = read_closed(study, waves_so_far(study, wave_id))
    records, late = read_field_records(study, [wave_id]), after_closing(study)
    analysis = analysis_of(closed, wave_id, records, late, randomization_draws)
    analysis = replace(analysis, sent=sent_messages(study, study.wave(wave_id)).text)
    study.store.results.put(wave_id, "analysis", analysis.facts(), study.clock())
    return analysis


def waves_so_far(study: Study, wave_id: str) -> tuple[str, ...]:
    """The closed waves up to this one, in the order of the study file."""
    closed = closed_waves(study)
    return closed[: closed.index(wave_id) + 1]


def analysis_of(
    closed: ClosedWaves,
    wave_id: str,
    records: FieldRecords,
    late_scores: Sequence[str] = (),
    randomization_draws: int | None = None,
) -> Analysis:
    """The analysis of a closed wave, from it and the closed ones before it.

    Without a number of draws a wave with small strata is randomized again, its shares as decided.
    """
    redrawn: tuple[str, ...] = ()
    if randomization_draws is None and strata_are_small(closed, wave_id):
        redrawn, randomization_draws = (wave_id,), _DRAWS
    elif randomization_draws:
        redrawn = tuple(procedure_waves(closed.plan(wave_id)))
    return Analysis(
        wave_id,
        effects_of(closed, [wave_id]),
        quality_checks(closed, [wave_id], records),
        score_models=score_fits(closed, closed.ids),
        adaptive=adaptive_waves(closed, wave_id),
        late_scores=tuple(late_scores),
        redrawn=redrawn,
        randomization_test=rerandomization_test(closed, redrawn, randomization_draws)
        if redrawn and randomization_draws
        else None,
    )
