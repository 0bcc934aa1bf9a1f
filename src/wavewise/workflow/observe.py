"""``observe`` and ``wave close``: events in, outcomes frozen."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.waves import Wave
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.files import first_row, read_table
from wavewise.fieldwork.outcome_tally import columns_needed
from wavewise.fieldwork.outcomes import EventFlow, OutcomeRule, outcome_values
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.frames import wave_data
from wavewise.workflow.intake import n_future
from wavewise.workflow.scores import observe_scores, score_outcomes, scores_to_freeze
from wavewise.workflow.study import Study

__all__ = ["close_wave", "observe"]

SCORES = "scores"


def observe(
    study: Study,
    path: Path,
    *,
    kind: str | None = None,
    delivered: str | None = None,
    encoding: str = "utf-8",
) -> Done:
    """Events or scores from a file. The same one may come many times; it counts once.

    Parameters
    ----------
    study : Study
        An open study.
    path : Path
        CSV, NDJSON or Parquet with event_id, unit_id, kind, at, and value and item where they
        apply.
    kind : str, optional
        Kind of all events, for a file without that column; "scores" for a file of scores, as
        `observe_scores` reads it.
    delivered : str, optional
        Date of all scores, for a file without that column.
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row; nothing was added.
    """
    if kind == SCORES:
        return observe_scores(study, path, delivered=delivered, encoding=encoding)
    if delivered is not None:
        raise InputError("found a date of delivery for events; needed --kind scores beside it")
    checked = check_events(
        read_table(path, encoding=encoding),
        kind=kind,
        default_time_zone=study.spec.study.time_zone,
        first_row=first_row(path),
        name=f"{path.name}: nothing was added",
    )
    checked.raise_if_bad()
    added = study.store.add_events(checked.events, received_at=study.clock())
    facts = {**vars(added), "n_future": n_future(study, checked.events)}
    text = (
        f"{path.name}: {added.n_new:,} new events, {added.n_repeated:,} known already, "
        f"{added.n_conflicting:,} with a known id and other content (the first was kept), "
        f"{added.n_unknown_unit:,} of units that were not imported (kept, not counted), "
        f"{facts['n_future']:,} dated in the future (kept)."
    )
    return Done(text, facts)


def close_wave(study: Study, wave_id: str) -> Done:
    """Freeze one outcome row a unit, from the events in the wave's window.

    Raises
    ------
    StateError
        If the wave is not open, or its window has not ended.
    """
    wave = study.wave(wave_id)
    study.require_state(
        wave_id, "open", f"open it with `wavewise wave open {study.folder} {wave_id}`"
    )
    if wave.imported is not None:
        study.store.close_wave(wave_id, study.clock(), scores=scores_to_freeze(study, wave_id))
        return _told(study, wave, "Outcomes as imported.")
    _refuse_early(study, wave)
    members = wave_data(study, wave_id).units
    rules = [_rule(study, wave, o) for o in study.spec.outcomes if o not in score_outcomes(study)]
    made = outcome_values(
        study.store.event_batches(columns_needed(rules)),
        pl.DataFrame({"unit_id": members.ids, "time_zone": members.time_zone}),
        rules,
        starts=wave.starts,
        window_days=wave.window_days,
        default_time_zone=study.spec.study.time_zone,
    )
    made.raise_if_bad()
    scores = scores_to_freeze(study, wave_id)
    study.store.close_wave(wave_id, study.clock(), made.to_store(), scores)
    return _told(study, wave, _flow_text(made.flow, rules))


def _flow_text(flow: EventFlow, rules: Sequence[OutcomeRule]) -> str:
    if not rules:
        return "No outcome is made from events."
    return (
        f"Events of its units: {flow.in_window:,} in the window, {flow.before:,} before it, "
        f"{flow.after:,} after it, {flow.other_kind:,} of kinds that no outcome uses; "
        f"{flow.unknown_unit:,} of other units."
    )


def _refuse_early(study: Study, wave: Wave) -> None:
    row = study.store.wave(wave.id)
    start = row.starts_at if row is not None else None
    end = None if start is None else start.timestamp() + wave.window_days * 86_400
    if end is not None and study.clock().timestamp() < end:
        raise StateError(
            f"wave '{wave.id}' has a window of {wave.window_days} days from {wave.starts} that has "
            "not ended; wait, or amend window_days"
        )


def _rule(study: Study, wave: Wave, outcome: Outcome) -> OutcomeRule:
    if outcome.event is None and outcome.kind != "score":
        raise InputError(
            f"outcome '{outcome.id}' names no event, and wave '{wave.id}' is not imported; add "
            'event = "..." to it in the study file'
        )
    trials = study.spec.trials(outcome, wave) if outcome.kind == "successes" else None
    return OutcomeRule(outcome.id, outcome.kind, outcome.event or outcome.id, trials)


def _told(study: Study, wave: Wave, flow: str) -> Done:
    primary = study.spec.primary
    data = wave_data(study, wave.id)
    nothing = pl.repeat(None, len(data), dtype=pl.Float64, eager=True)
    known = data.outcomes.get_column(primary.id, default=nothing).cast(pl.Float64)
    rows = []
    for arm in study.spec.arms_of(wave):
        values = known.filter(data.arm == arm.id)
        rows.append([arm.id, len(values), len(values) - values.null_count(), values.mean()])
    table = text_table(["arm", study.spec.units.name, "with outcome", f"mean {primary.id}"], rows)
    scores = study.store.frozen_scores(wave.id)
    told = f"Scores that count: {scores.height:,}, frozen.\n" if score_outcomes(study) else ""
    text = f"Closed wave {wave.id}: {len(data):,} outcomes frozen.\n{flow}\n{told}{table}"
    keys = ("arm", "n_units", "n_with_outcome", "mean")
    facts = {
        "wave": wave.id,
        "n_units": len(data),
        "n_scores": scores.height,
        "arms": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    return Done(text, facts)
