"""Ways back: a wave discarded or reopened, events and scores withdrawn; each leaves a trace."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from wavewise.design.spec import Reading, StudySpec
from wavewise.design.waves import AllocationRule
from wavewise.errors import InputError, StateError
from wavewise.store import ResultRow
from wavewise.store.waves import REOPENED
from wavewise.workflow.files import read_data, reading_of
from wavewise.workflow.intake import matched_scores, read_scores
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.observe import (
    SCORES,
    closed_note,
    matched_events,
    read_events,
    require_reason,
)
from wavewise.workflow.study import Study

__all__ = ["discard_wave", "reopen_wave", "withdraw"]

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
    rules = [wave.shares] if isinstance(wave.shares, AllocationRule) else []
    policies = [arm.policy for arm in spec.arms_of(wave) if arm.policy is not None]
    return {name for rule in (*rules, *policies) for name in rule.learned_on}


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
