"""Events in, outcomes frozen, and the ways back: waves discarded or reopened, events withdrawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from wavewise.design.spec import OPT_OUT, Outcome, Reading, StudySpec
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.events import CheckedEvents, check_events, made_ids
from wavewise.fieldwork.outcomes import EventFlow, OutcomeRule, columns_needed, outcome_values
from wavewise.shared.text_tables import text_table
from wavewise.store import ResultRow, WaveRow
from wavewise.store.waves import REOPENED
from wavewise.workflow.facts import changed_facts, changed_text
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
    matched_scores,
    n_future,
    observe_scores,
    read_scores,
    score_outcomes,
    scores_to_freeze,
)
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.data_check import close_findings, require_accepted
from wavewise.workflow.send.status import sent_messages
from wavewise.workflow.study import Study

__all__ = ["close_wave", "discard_wave", "observe", "reopen_wave", "too_early", "withdraw"]

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
    early: str = ""  # That the registered wait for its data was not over, a sentence.
    # Fact: units for which events that came after the opening would have changed it.
    changed_facts: Mapping[str, int] | None = None  # None: the wave froze none.

    def facts(self) -> dict[str, Any]:
        """The wave and its arms."""
        names = ("wave", "n_units", "n_scores", "arms", "version", "n_cancelled")
        late = {} if self.changed_facts is None else {"changed_facts": dict(self.changed_facts)}
        return {name: getattr(self, name) for name in names} | late

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
        late = self.changed_facts
        facts = [] if late is None else [changed_text(late, self.wave, self.units)]
        return "\n".join(
            [
                f"Closed wave {self.wave}: {self.n_units:,} outcomes frozen{version}.",
                *filter(None, [self.early, self.sent]),
                *cancelled,
                self.events,
                *facts,
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


def close_wave(
    study: Study, wave_id: str, accept: Sequence[str] = (), reason: str = ""
) -> ClosedWave:
    """Freeze one outcome row per unit, from the events in the wave's window.

    Checks of the data that fail stop it unless they are accepted by name with a reason.
    """
    wave = study.wave(wave_id)
    row = study.store.waves.get(wave_id)
    study.require_state(wave_id, ("open", "reopened"), _before_closing(study, wave_id, row))
    if row is not None and wave.imported is not None:
        former = row.outcome_version - 1
        kept = encoded_outcomes(study.store.waves.outcomes(wave_id, former)) if former else None
        scores = scores_to_freeze(study, wave_id)
        study.store.waves.close(wave_id, study.clock(), kept, scores)
        return _closed(study, wave, "Outcomes as imported.")
    over = _require_ended(study, wave)
    findings = close_findings(study, wave)
    accepted = require_accepted(study, wave_id, findings, accept, reason)
    members = wave_data(study, wave_id).units
    by_period = score_outcomes(study.spec)
    measured = [o for o in study.spec.outcomes if o not in by_period]
    waiting = [o for o in measured if not over(o)]
    rules = [_rule(study, wave, o) for o in measured if o not in waiting]
    made = outcome_values(
        _batches(study, rules),
        pl.DataFrame({"unit_id": members.ids, "time_zone": members.time_zone}),
        rules,
        starts=wave.starts,
        window_days=wave.window_days,
        default_time_zone=study.spec.study.time_zone,
    )
    made.raise_if_bad()
    scores = scores_to_freeze(study, wave_id)
    n_cancelled = study.store.waves.close(wave_id, study.clock(), made.to_store(), scores, accepted)
    told = " ".join([_flow_text(made.flow, rules), *(_waiting(study, wave, o) for o in waiting)])
    return _closed(study, wave, told, n_cancelled)


def _batches(study: Study, rules: Sequence[OutcomeRule]) -> Iterator[pl.DataFrame]:
    """Events, and opt-outs as such where an outcome asks for them."""
    columns = columns_needed(rules)
    yield from study.store.events.batches(columns)
    if any(rule.event == OPT_OUT for rule in rules):
        found = study.store.opt_outs.all()
        yield found.select(
            "unit_id",
            pl.lit(OPT_OUT).alias("kind"),
            "at_utc_us",
            pl.col("opt_out_id").alias("event_id"),
            pl.lit(None, pl.Float64).alias("value"),
            pl.lit(None, pl.String).alias("item"),
        ).select(columns)


def _waiting(study: Study, wave: Wave, outcome: Outcome) -> str:
    """That an outcome's own window is not over, and how it comes in."""
    last = study.spec.days_of(outcome, wave)[1]
    return (
        f"{outcome.name} is left out, since its window ends with "
        f"{wave.starts + timedelta(days=last - 1)}; from then on take it in with `wavewise wave "
        f"reopen {study.folder} {wave.id} --reason TEXT` and `wavewise wave close`."
    )


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


def too_early(spec: StudySpec, wave: Wave, done: str, moment: datetime) -> str:
    """That something was done before the registered wait for a wave's data was over; or nothing."""
    wait = spec.registration.wait_days
    if wait is None:
        return ""
    due = wave.starts + timedelta(days=wave.window_days + wait)
    if moment.date() >= due:
        return ""
    return (
        f"{wave.name} {done} on {moment:%Y-%m-%d}, before the {wait} days of waiting for its data "
        f"that are registered had passed (on {due})."
    )


def _require_ended(study: Study, wave: Wave) -> Callable[[Outcome], bool]:
    """Refused before the outcomes that decide are over; says of the others which ones are."""
    row = study.store.waves.get(wave.id)
    start = None if row is None or row.starts_at is None else row.starts_at.timestamp()
    now, needed = study.clock().timestamp(), study.spec.decided_after(wave)
    if start is not None and now < start + needed * 86_400:
        fix = "window_days" if needed == wave.window_days else "to_day of its outcomes"
        raise StateError(
            f"wave '{wave.id}' has a window of {needed} days from {wave.starts} that has "
            f"not ended; wait, or amend {fix}"
        )

    def over(outcome: Outcome) -> bool:
        return start is None or now >= start + study.spec.days_of(outcome, wave)[1] * 86_400

    return over


def _rule(study: Study, wave: Wave, outcome: Outcome) -> OutcomeRule:
    if outcome.event_kind is None:
        raise InputError(
            f"outcome '{outcome.id}' names no event, and wave '{wave.id}' is not imported; add "
            'event = "..." to it in the study file'
        )
    trials = study.spec.trials(outcome, wave) if outcome.kind == "successes" else None
    return OutcomeRule(
        outcome.id,
        outcome.kind,
        outcome.event_kind,
        trials,
        at_least=outcome.at_least,
        days=study.spec.days_of(outcome, wave),
        periods=study.spec.periods(outcome, wave),
    )


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
        early=too_early(study.spec, wave, "is closed", study.clock()),
        changed_facts=changed_facts(study, wave, data.units.ids, data.units.time_zone),
    )


# Ways back: each with a reason, each leaves a trace.

# Results that are made from outcomes, in words.
_MADE = {
    "analysis": "analysis of",
    "next-shares": "shares of",
    "policies": "policies of",
    "decision": "decision after",
    "evaluation": "evaluation on",
}


@dataclass(frozen=True, eq=False)
class DiscardedWave(VerbResult):
    """A wave that was taken back before anything of it was sent."""

    wave: str
    reason: str
    n_units: int
    assignment_hash: str

    def summary(self) -> str:
        """What was discarded, and what stays the same."""
        return (
            f"Discarded wave {self.wave}: {self.n_units:,} assignments, none of whose messages "
            f"went out. The record and the reason stay in the study. It can be opened again: with "
            "the same units, shares and seed it is the same draw."
        )


@dataclass(frozen=True, eq=False)
class ReopenedWave(VerbResult):
    """A wave whose outcomes were set aside, to be made anew."""

    wave: str
    reason: str
    version: int  # Of the outcomes that closing it makes.
    made_from_former: tuple[Mapping[str, Any], ...]  # id, kind, wave, made_at
    folder: str

    def facts(self) -> dict[str, Any]:
        """The wave, the version to come, and the results that used the one before."""
        return {name: x for name, x in super().facts().items() if name != "folder"}

    def summary(self) -> str:
        """What was set aside, what was made from it, and what to do."""
        former = self.version - 1
        lines = [
            f"Reopened wave {self.wave}. Its outcomes are set aside as version {former}; nothing "
            "is sent while it is open.",
            *(f"Made from version {former}: the {one['text']}." for one in self.made_from_former),
            "Correct or withdraw events, then make version "
            f"{self.version} with `wavewise wave close {self.folder} {self.wave}`.",
        ]
        return "\n".join(lines)

    def _frame(self) -> pl.DataFrame:
        names = ("id", "kind", "wave", "made_at", "text")
        return pl.DataFrame([dict(one) for one in self.made_from_former], schema=list(names))


@dataclass(frozen=True, eq=False)
class Withdrawal(VerbResult):
    """Events or scores that no longer count."""

    n_withdrawn: int
    n_unknown: int  # That the study does not have.
    n_before: int  # That had been withdrawn before.
    what: str  # events or scores
    note: str  # What closed waves make of it.

    def facts(self) -> dict[str, Any]:
        """The numbers."""
        names = ("n_withdrawn", "n_unknown", "n_before")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> str:
        """The numbers, and what becomes of outcomes."""
        return " ".join(
            filter(
                None,
                (
                    f"Withdrew {self.n_withdrawn:,} {self.what}; {self.n_before:,} had been "
                    f"withdrawn before, {self.n_unknown:,} are not known. What they said is kept "
                    "with the reason; `observe --correct` makes them count again.",
                    self.note,
                ),
            )
        )


def discard_wave(study: Study, wave_id: str, reason: str) -> DiscardedWave:
    """Take back a wave of which nothing was sent: it was never opened, but for the record."""
    study.wave(wave_id)
    reason = require_reason(reason, f"wave '{wave_id}' is discarded")
    row = study.store.waves.get(wave_id)
    after = [
        other.wave_id
        for other in study.store.waves.all()
        if wave_id in _learned_on(study.spec, other.wave_id)
    ]
    if row is not None and after:
        raise StateError(
            f"wave '{wave_id}': found wave '{after[0]}' drawn from what was learned on it; needed "
            f"no such wave; nothing was changed; discard it first: `wavewise wave discard "
            f"{study.folder} {after[0]} --reason TEXT`"
        )
    details = {} if row is None else dict(row.details)
    n_units = sum(count["n_units"] for count in details.get("counts", ()))
    record = {
        "reason": reason,
        "opened_at": None if row is None else row.opened_at.isoformat(),
        "plan_version": None if row is None else row.version,
        "details": details,
    }
    study.store.waves.discard(wave_id, study.clock(), record)
    study.cache.pop(wave_id, None)
    return DiscardedWave(wave_id, reason, n_units, str(details.get("assignment_hash", "")))


def reopen_wave(study: Study, wave_id: str, reason: str) -> ReopenedWave:
    """Set the outcomes of a closed wave aside: closing it again makes the next version."""
    study.wave(wave_id)
    reason = require_reason(reason, f"wave '{wave_id}' is reopened")
    study.require_state(wave_id, ("closed",), "there are no outcomes to make anew")
    row = study.store.waves.get(wave_id)
    made = tuple(_made_from(study, wave_id))
    record = {
        "reason": reason,
        "closed_at": None if row is None or row.closed_at is None else row.closed_at.isoformat(),
        "made_from": list(made),
    }
    version = study.store.waves.reopen(wave_id, study.clock(), record)
    study.cache.pop(wave_id, None)
    return ReopenedWave(wave_id, reason, version, made, str(study.folder))


def _made_from(study: Study, wave_id: str) -> Iterator[dict[str, Any]]:
    """Results that the present outcomes of a wave were used for, the oldest first."""
    before = study.store.results.latest(wave_id, REOPENED)
    for kind, words in _MADE.items():
        for row in study.store.results.all(kind):
            about = row.payload.get("for_wave", row.wave_id)
            if wave_id in _used(study.spec, row) and (before is None or row.id > before.id):
                yield {
                    "id": row.id,
                    "kind": kind,
                    "wave": about,
                    "made_at": row.created_at.isoformat(),
                    "text": f"{words} wave {about} of {row.created_at:%Y-%m-%d}",
                }


def _used(spec: StudySpec, row: ResultRow) -> set[str]:
    """Waves whose outcomes a result was made from."""
    learned = set(row.payload.get("learned_on", ())) | _learned_on(spec, row.wave_id)
    if row.kind in {"next-shares", "policies"}:
        return learned
    return learned | {row.wave_id}


def _learned_on(spec: StudySpec, wave_id: str) -> set[str]:
    """Waves that the shares or the policies of a wave are learned on."""
    wave = spec.wave(wave_id)
    if wave is None:
        return set()
    rules: list[Any] = [wave.shares] if isinstance(wave.shares, AllocationRule) else []
    rules += [arm.policy for arm in spec.arms_of(wave) if arm.policy is not None]
    return {name for rule in rules for name in rule.learned_on}


def withdraw(
    study: Study,
    reason: str,
    *,
    data: Any = None,
    event: str | None = None,
    kind: str | None = None,
    delivered: str | None = None,
    match_ids: bool = False,
    encoding: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Withdrawal:
    """Withdraw one event by its id, or those that a file names; scores by their file."""
    reason = require_reason(reason, "observations are withdrawn")
    if (data is None) == (event is None):
        raise InputError(
            "found neither a file nor --event, or both; needed the id of one event, or a file that "
            "names events; nothing was withdrawn"
        )
    now, what = study.clock(), "events"
    if event is not None:
        keys = pl.DataFrame({"event_id": [event]})
    elif kind == SCORES:
        what, how = SCORES, reading_of(study, "scores", encoding, reading)
        checked, table = read_scores(study, data, delivered=delivered, reading=how)
        matching = {"match_ids": match_ids, "keep_unmatched": not match_ids}
        scores = matched_scores(study, checked, table, **matching)
        keys = scores.select("outcome_id", "unit_id", "period", "delivery")
    else:
        how = reading_of(study, "events", encoding, reading)
        keys = _event_ids(study, data, kind, how, match_ids=match_ids)
    n, n_unknown = (
        study.store.scores.withdraw(keys, reason, now)
        if what == SCORES
        else study.store.events.withdraw(keys["event_id"], reason, now)
    )
    if event is not None and n_unknown:
        raise InputError(
            "found no event of this id; needed one that was kept; nothing was withdrawn; ids are "
            "kept exactly as written"
        )
    n_before = keys.unique().height - n - n_unknown
    return Withdrawal(n, n_unknown, n_before, what, closed_note(study) if n else "")


def _event_ids(
    study: Study, data: Any, kind: str | None, how: Reading, *, match_ids: bool
) -> pl.DataFrame:
    """Ids of the events of a file: those in its column, or made from its content."""
    table = read_data(data, how)
    if "event_id" in table.frame.columns and "at" not in table.frame.columns:
        return table.frame.select(pl.col("event_id").cast(pl.String)).drop_nulls()
    checked, table = read_events(study, data, kind, how, "withdrawn")
    matching = {"match_ids": match_ids, "keep_unmatched": not match_ids}
    return matched_events(study, checked, table, **matching).select("event_id")
