"""``observe`` and ``wave close``: events in, outcomes frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from wavewise.design.spec import Outcome, Reading
from wavewise.design.waves import Wave
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.events import CheckedEvents, check_events, made_ids
from wavewise.fieldwork.outcomes import EventFlow, OutcomeRule, columns_needed, outcome_values
from wavewise.shared.text_tables import text_table
from wavewise.store import WaveRow
from wavewise.workflow.files import (
    FileRead,
    Table,
    column_facts,
    columns_table,
    file_read,
    matched_ids,
    read_data,
    reading_of,
    unmatched_ids,
)
from wavewise.workflow.frames import encoded_outcomes, wave_data
from wavewise.workflow.intake import (
    ObservedScores,
    n_future,
    observe_scores,
    score_outcomes,
    scores_to_freeze,
)
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.status import sent_messages
from wavewise.workflow.study import Study

__all__ = [
    "SCORES",
    "close_wave",
    "closed_note",
    "matched_events",
    "observe",
    "read_events",
    "require_reason",
]

SCORES = "scores"


@dataclass(frozen=True, eq=False)
class ObservedEvents(VerbResult):
    """Events that were added, and what is strange about them."""

    n_new: int
    n_repeated: int  # Known already.
    n_conflicting: int  # With a known id and other content.
    n_unknown_unit: int
    n_corrected: int  # Known ones that took the new content, where that was asked for.
    n_future: int
    source: str  # The file's name, or that it was a frame.
    columns: tuple[Mapping[str, Any], ...] = ()  # How each column was read.
    notes: tuple[str, ...] = ()
    note: str = ""  # What closed waves make of a correction.

    def facts(self) -> dict[str, Any]:
        """The numbers, and how each column was read; corrections where they were asked for."""
        left_out = {"source", "note", *(() if self.n_corrected else ("n_corrected",))}
        return {name: x for name, x in super().facts().items() if name not in left_out}

    def summary(self) -> str:
        """The numbers, in a sentence, and how each column was read."""
        corrected = f"{self.n_corrected:,} corrected, " if self.n_corrected else ""
        numbers = (
            f"{self.source}: {self.n_new:,} new events, {corrected}{self.n_repeated:,} known "
            f"already, {self.n_conflicting:,} with a known id and other content (the first was "
            f"kept), {self.n_unknown_unit:,} of units that were not imported (kept, not counted), "
            f"{self.n_future:,} dated in the future (kept)."
        )
        if self.n_conflicting:
            numbers += " To take the other content instead, add --correct --reason TEXT."
        notes = [f"Note: {note}." for note in self.notes]
        lines = [f"{numbers} {self.note}".rstrip(), *notes, columns_table(self.columns)]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class ClosedWave(VerbResult):
    """A wave whose outcomes were frozen."""

    wave: str
    n_units: int
    n_scores: int
    arms: tuple[Mapping[str, Any], ...]  # arm, n_units, n_with_outcome, mean
    units: str  # What the study calls them.
    outcome: str  # Id of the primary outcome, whose mean it is.
    events: str  # Which events counted, in a sentence.
    has_scores: bool  # Whether scores come as deliveries.
    version: int  # Of the outcomes: one more each time that the wave was reopened.
    n_cancelled: int  # Messages that were still queued.
    sent: str  # What was sent and received, in a sentence.

    def facts(self) -> dict[str, Any]:
        """The wave and its arms."""
        names = ("wave", "n_units", "n_scores", "arms", "version", "n_cancelled")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> str:
        """What was frozen, by arm."""
        head = ["arm", self.units, "with outcome", f"mean {self.outcome}"]
        scores = [f"Scores that count: {self.n_scores:,}, frozen."] if self.has_scores else []
        version = f" as version {self.version}" if self.version > 1 else ""
        cancelled = (
            [f"{self.n_cancelled:,} messages that were still queued are cancelled."]
            if self.n_cancelled
            else []
        )
        return "\n".join(
            [
                f"Closed wave {self.wave}: {self.n_units:,} outcomes frozen{version}.",
                *filter(None, [self.sent]),
                *cancelled,
                self.events,
                *scores,
                text_table(head, [list(row.values()) for row in self.arms]),
            ]
        )

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.arms))


def observe(
    study: Study,
    data: Any,
    *,
    kind: str | None = None,
    delivered: str | None = None,
    correct: bool = False,
    reason: str | None = None,
    match_ids: bool = False,
    keep_unmatched: bool = False,
    dry_run: bool = False,
    encoding: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> ObservedEvents | ObservedScores | FileRead:
    """Events or scores from a file or frame. The same ones may come again; they count once.

    Those that are corrected take the place of known ones with the same id.
    """
    if reason is not None and not correct:
        raise InputError("found a reason; needed --correct beside it; nothing was added")
    why = require_reason(reason, "what was kept is corrected") if correct else None
    what: Literal["scores", "events"] = "scores" if kind == SCORES else "events"
    how = reading_of(study, what, encoding, reading)
    matching = {"match_ids": match_ids, "keep_unmatched": keep_unmatched}
    if kind == SCORES:
        return observe_scores(
            study,
            data,
            delivered=delivered,
            correct_for=why,
            reading=how,
            dry_run=dry_run,
            **matching,
        )
    if delivered is not None:
        raise InputError("found a date of delivery for events; needed --kind scores beside it")
    checked, table = read_events(study, data, kind, how, "added")
    if dry_run:
        return file_read(
            table,
            checked.reads,
            checked.faults,
            checked.n_faults,
            *_id_notes(checked.events["unit_id"], study.store.units.ids()),
        )
    events = matched_events(study, checked, table, **matching)
    kept, now = study.store.events, study.clock()
    added = kept.add(events, received_at=now) if why is None else kept.correct(events, why, now)
    made = ("events have no event_id: ids were made from their content",)
    return ObservedEvents(
        **vars(added),
        n_future=n_future(study, events),
        source=table.name,
        columns=column_facts(checked.reads),
        notes=(*table.notes, *(made if checked.has_made_ids else ())),
        note=closed_note(study) if added.n_corrected else "",
    )


def read_events(
    study: Study, data: Any, kind: str | None, reading: Reading | None, done: str
) -> tuple[CheckedEvents, Table]:
    """The events of a file or frame, checked."""
    table = read_data(data, reading)
    checked = check_events(
        table.frame,
        kind=kind,
        default_time_zone=study.spec.study.time_zone,
        first_row=table.first_row,
        name=f"{table.name}: nothing was {done}",
        reading=table.reading,
        separator=table.separator,
    )
    return checked, table


def matched_events(
    study: Study, checked: CheckedEvents, table: Table, *, match_ids: bool, keep_unmatched: bool
) -> pl.DataFrame:
    """The events of a file without a fault, by units' own ids; ids made where it brings none."""
    checked.raise_if_bad()
    ids = checked.events["unit_id"]
    matching = {"match_ids": match_ids, "keep_unmatched": keep_unmatched}
    ids = matched_ids(ids, study.store.units.ids(), table, "unit_id", **matching)
    events = checked.events.with_columns(ids.alias("unit_id"))
    return events.with_columns(event_id=made_ids(events)) if checked.has_made_ids else events


def require_reason(reason: str | None, step: str) -> str:
    """A reason that says something."""
    if reason is None or not reason.strip():
        raise InputError(f"{step}: found no reason; needed why; add --reason TEXT")
    return reason.strip()


def closed_note(study: Study) -> str:
    """That closed waves keep their outcomes, and how they take what has changed; else nothing."""
    closed = [row.wave_id for row in study.store.waves.all() if row.state == "closed"]
    if not closed:
        return ""
    return (
        f"Closed waves ({', '.join(closed)}) keep the outcomes that were frozen; to make them "
        f"anew: `wavewise wave reopen {study.folder} {closed[-1]} --reason TEXT`."
    )


def _id_notes(ids: pl.Series, known: pl.Series) -> list[str]:
    """A sentence for each cause for which ids match nobody."""
    causes = unmatched_ids(ids, known).group_by("cause").agg(pl.col("n_rows").sum(), n=pl.len())
    return [
        f"{n:,} ids in {n_rows:,} rows match no unit: "
        + (cause if cause.startswith("no ") else f"they differ from a unit's in {cause}")
        for cause, n_rows, n in causes.sort("cause").iter_rows()
    ]


def close_wave(study: Study, wave_id: str) -> ClosedWave:
    """Freeze one outcome row per unit, from the events in the wave's window."""
    wave = study.wave(wave_id)
    row = study.store.waves.get(wave_id)
    study.require_state(wave_id, ("open", "reopened"), _before_closing(study, wave_id, row))
    if row is not None and wave.imported is not None:
        former = row.outcome_version - 1
        kept = encoded_outcomes(study.store.waves.outcomes(wave_id, former)) if former else None
        scores = scores_to_freeze(study, wave_id)
        study.store.waves.close(wave_id, study.clock(), kept, scores)
        return _closed(study, wave, "Outcomes as imported.")
    _require_ended(study, wave)
    members = wave_data(study, wave_id).units
    by_period = score_outcomes(study.spec)
    rules = [_rule(study, wave, o) for o in study.spec.outcomes if o not in by_period]
    made = outcome_values(
        study.store.events.batches(columns_needed(rules)),
        pl.DataFrame({"unit_id": members.ids, "time_zone": members.time_zone}),
        rules,
        starts=wave.starts,
        window_days=wave.window_days,
        default_time_zone=study.spec.study.time_zone,
    )
    made.raise_if_bad()
    scores = scores_to_freeze(study, wave_id)
    n_cancelled = study.store.waves.close(wave_id, study.clock(), made.to_store(), scores)
    return _closed(study, wave, _flow_text(made.flow, rules), n_cancelled)


def _before_closing(study: Study, wave_id: str, row: WaveRow | None) -> str:
    if row is None:
        return f"open it with `wavewise wave open {study.folder} {wave_id}`"
    return (
        "its outcomes are frozen; to make them anew: "
        f"`wavewise wave reopen {study.folder} {wave_id} --reason TEXT`"
    )


def _flow_text(flow: EventFlow, rules: Sequence[OutcomeRule]) -> str:
    if not rules:
        return "No outcome is made from events."
    return (
        f"Events of its units: {flow.in_window:,} in the window, {flow.before:,} before it, "
        f"{flow.after:,} after it, {flow.other_kind:,} of kinds that no outcome uses; "
        f"{flow.unknown_unit:,} of other units."
    )


def _require_ended(study: Study, wave: Wave) -> None:
    row = study.store.waves.get(wave.id)
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


def _closed(study: Study, wave: Wave, events: str, n_cancelled: int = 0) -> ClosedWave:
    primary, data = study.spec.primary, wave_data(study, wave.id)
    row = study.store.waves.get(wave.id)
    nothing = pl.repeat(None, len(data), dtype=pl.Float64, eager=True)
    frozen = data.outcomes.get_column(primary.id, default=nothing).cast(pl.Float64)
    rows = []
    for arm in study.spec.arms_of(wave):
        values = frozen.filter(data.arm == arm.id)
        n_known = len(values) - values.null_count()
        mean = values.mean()
        rows.append(
            {"arm": arm.id, "n_units": len(values), "n_with_outcome": n_known, "mean": mean}
        )
    return ClosedWave(
        wave=wave.id,
        n_units=len(data),
        n_scores=study.store.scores.frozen(wave.id).height,
        arms=tuple(rows),
        units=study.spec.units.name,
        outcome=primary.id,
        events=events,
        has_scores=bool(score_outcomes(study.spec)),
        version=1 if row is None else row.outcome_version,
        n_cancelled=n_cancelled,
        sent=sent_messages(study, wave).text,
    )
