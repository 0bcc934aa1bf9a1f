"""Adaptive waves compared across, as the report shows them."""

from typing import TYPE_CHECKING

from wavewise.report.adaptive import AdaptiveContents
from wavewise.report.numbers import decimals_for, sentence
from wavewise.results import NotEstimable
from wavewise.workflow.adaptive import AdaptiveWaves, adaptive_waves
from wavewise.workflow.effect_contents import is_closed, shown_outcome
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import WaveRow

__all__ = ["adaptive_contents"]


def adaptive_contents(study: Study, rows: "dict[str, WaveRow]") -> tuple[AdaptiveContents, ...]:
    """The last closed wave whose shares were learned, with the waves it learned on."""
    closed = [wave.id for wave in study.spec.waves if is_closed(rows.get(wave.id))]
    for wave_id in reversed(closed):
        found = adaptive_waves(study, wave_id)
        if found is not None:
            return (_contents(found),)
    return ()


def _contents(found: AdaptiveWaves) -> AdaptiveContents:
    outcome = shown_outcome(found.outcome)
    if isinstance(found.table, NotEstimable):
        return AdaptiveContents(outcome, found.waves, (), (), sentence(str(found.table)))
    known = [e for c in found.table.columns for e in c.std_error.tolist() if e > 0]
    decimals = decimals_for(min(known, default=0.1))
    return AdaptiveContents(
        outcome=outcome,
        learned_on=found.waves,
        columns=tuple(column.label for column in found.table.columns),
        rows=tuple(found.table.cells(decimals)),
        note=" ".join([*(sentence(why) for why in found.table.reasons()), found.table.note()]),
    )
