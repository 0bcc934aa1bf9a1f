"""``enrol``: people are invited, asked, and remain or leave, before a wave is drawn from them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import polars as pl

from wavewise.design.enrolment import CONSENT, Enrolment
from wavewise.design.versions import spec_hash
from wavewise.design.waves import Wave
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.channels.provider_codes import is_invalid_address
from wavewise.report.contents import FlowStep
from wavewise.shared.text_tables import text_table
from wavewise.store import WaveRow
from wavewise.store.deliveries.queries import ARRIVED
from wavewise.store.enrolments import ENROLLED, INVITED, LEFT_OUT
from wavewise.store.rows import EnrolmentRow, to_us
from wavewise.workflow.frames import unit_data
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.participants import LEFT_OUT as LEFT_DETAIL
from wavewise.workflow.run.participants import channels_of, invited_of, refusing
from wavewise.workflow.send.preview import DeliveryPlan, delivery_plan
from wavewise.workflow.send.queue import messages_of, unqueued
from wavewise.workflow.study import Study

__all__ = [
    "close_enrolment",
    "discard_enrolment",
    "enrolment_status",
    "open_enrolment",
    "participants",
    "status_of",
]

# What became of those who were invited, in the order in which the flow shows it.
REFUSED = "refused"
INVALID = "number or address not valid"
NO_CONSENT = "did not agree"
ANSWER = "answer"  # kind of the event of a text that somebody sent


@dataclass(frozen=True, eq=False)
class EnrolmentStatus(VerbResult):
    """Where an enrolment stands: how many remain at each step, and why the others left."""

    enrolment: str
    state: str  # not open, open, closed
    units: str  # What the study calls them.
    n_considered: int
    left_out: tuple[Mapping[str, Any], ...]  # reason, n: before anybody was invited.
    n_invited: int
    left: tuple[Mapping[str, Any], ...]  # reason, n: of those invited; so far, while it is open.
    n_enrolled: int
    n_answered: int  # Of those who enrolled.
    n_changed_number: int  # Of those who were invited.
    waves: tuple[str, ...]  # That are drawn from them.
    messages: Mapping[str, int]  # State: number.
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, int]]:
        """The steps, one below the other."""
        return [
            (f"{self.units} on file", self.n_considered),
            *((f"  {one['reason']}", -one["n"]) for one in self.left_out),
            ("invited", self.n_invited),
            *((f"  {one['reason']}", -one["n"]) for one in self.left),
            ("enrolled" if self.state == "closed" else "remain so far", self.n_enrolled),
        ]

    def summary(self) -> str:
        """The steps, and who answered."""
        head = f"Enrolment {self.enrolment} is {self.state}; it prepares {', '.join(self.waves)}."
        if self.state == "not open":
            return "\n".join([head, *self.notes])
        rows = [[name, f"{n:,}"] for name, n in self.rows()]
        answered = (
            f"Of those who {'enrolled' if self.state == 'closed' else 'remain'}, "
            f"{self.n_answered:,} answered and {self.n_enrolled - self.n_answered:,} did not."
        )
        changed = f"{self.n_changed_number:,} changed their number in a call."
        sent = "; ".join(f"{n:,} {state}" for state, n in self.messages.items())
        lines = [head, text_table(["step", self.units], rows), answered]
        lines += [changed] if self.n_changed_number else []
        return "\n".join([*lines, *([f"Messages: {sent}."] if sent else []), *self.notes])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            [(name.strip(), n) for name, n in self.rows()],
            schema={"step": pl.String, "n": pl.Int64},
            orient="row",
        )


@dataclass(frozen=True, eq=False)
class EnrolmentList(VerbResult):
    """Where every enrolment of a study stands."""

    enrolments: tuple[EnrolmentStatus, ...]

    def facts(self) -> dict[str, Any]:
        """One entry for each enrolment."""
        return {"enrolments": [one.facts() for one in self.enrolments]}

    def summary(self) -> str:
        """One below the other."""
        return "\n\n".join(one.summary() for one in self.enrolments)

    def _frame(self) -> pl.DataFrame:
        frames: list[pl.DataFrame] = [
            one.to_frame("polars").select(pl.lit(one.enrolment).alias("enrolment"), pl.all())
            for one in self.enrolments
        ]
        return pl.concat(frames)


def open_enrolment(
    study: Study, enrolment_id: str, *, exploratory: bool = False, accept_late: bool = False
) -> EnrolmentStatus:
    """Find out who is eligible, draw one per phone where asked, and invite who remains."""
    one = study.enrolment(enrolment_id)
    _require_new(study, one)
    version = study.require_registered(exploratory=exploratory)
    found = invited_of(study, one)
    if not len(found.units):
        counts = "; ".join(f"{row['n']:,} {row['reason']}" for row in found.flow())
        raise InputError(
            f"enrolment '{one.id}': found nobody to invite{f' ({counts})' if counts else ''}; "
            f"needed eligible {study.spec.units.name}; import them with `wavewise people import "
            f"{study.folder} FILE`, or look at its rules in the study file; nothing was written"
        )
    plan = delivery_plan(study, one, found.units)
    if not accept_late:
        _require_in_time(study, one, plan)
    rows = pl.concat(
        [
            pl.DataFrame({"unit_id": found.units.ids}).with_columns(
                status=pl.lit(INVITED), reason=pl.lit(None, dtype=pl.String)
            ),
            *(
                pl.DataFrame({"unit_id": ids}).with_columns(
                    status=pl.lit(LEFT_OUT), reason=pl.lit(reason)
                )
                for reason, ids in found.left_out
            ),
        ]
    )
    details = {
        "left_out": [reason for reason, _ in found.left_out],  # the order of the steps
        "texts": _texts(study, one),
        "seed": study.spec.study.seed,
        "spec_hash": spec_hash(study.spec),
    }
    row = EnrolmentRow(
        one.id, study.clock(), version, version is None or study.is_exploratory, details
    )
    study.store.enrolments.open(row, rows)
    return status_of(study, one, notes=plan.lines)


def _require_new(study: Study, one: Enrolment) -> None:
    row = study.store.enrolments.get(one.id)
    if row is not None:
        raise StateError(
            f"enrolment '{one.id}' is {row.state}, opened {row.opened_at:%Y-%m-%d %H:%M} UTC; it "
            "is opened once; nothing was changed; as long as nothing is sent, take it back with "
            f"`wavewise enrol discard {study.folder} {one.id} --reason TEXT`"
        )
    drawn = [wave for wave in one.waves if study.store.waves.get(wave) is not None]
    if drawn:
        raise StateError(
            f"enrolment '{one.id}' prepares {', '.join(drawn)}, which is drawn already; needed an "
            "enrolment before its waves; nothing was changed; as long as nothing is sent, take "
            f"the wave back with `wavewise wave discard {study.folder} {drawn[0]} --reason TEXT`"
        )


def _require_in_time(study: Study, one: Enrolment, plan: DeliveryPlan) -> None:
    if not plan.is_late:
        return
    raise StateError(
        f"enrolment '{one.id}': found all {len(plan.due)} sends late already (the first was due "
        f"{plan.due[0]['first']}); needed one to come, since late ones are skipped; nobody was "
        f"invited; move `starts` in the study file and run `wavewise amend {study.folder} "
        "--reason TEXT`, or add --accept-late"
    )


def _texts(study: Study, one: Enrolment) -> dict[str, Any]:
    """What is said to people: texts by language, prompts of calls; consent rests on it."""
    return {
        message.id: {
            "text": dict(message.text),
            **(
                {"prompts": {n: s.prompt for n, s in study.spec.flows[message.flow].steps.items()}}
                if message.flow is not None
                else {}
            ),
        }
        for message in messages_of(study, one)
    }


# What became of those who were invited.


@dataclass(frozen=True)
class _Outcome:
    """Those who were invited, row by row, and who was left out before."""

    before: pl.DataFrame  # As kept: left out before anybody was invited.
    # unit_id, status, reason, answered, consented_at_utc_us, consent_proof, consent_message,
    # consent_language
    invited: pl.DataFrame


def _outcome(study: Study, one: Enrolment, row: EnrolmentRow) -> _Outcome:
    kept = study.store.enrolments.units(one.id)
    is_before = (pl.col("status") == LEFT_OUT) & pl.col("answered").is_null()
    before, invited = kept.filter(is_before), kept.filter(~is_before)
    if row.state == "closed":
        return _Outcome(before, invited)
    ids, messages = invited["unit_id"], study.store.deliveries.rows(one.id)
    consents = _consents(study, messages, ids)
    channels = channels_of(study, one)
    reason = (
        pl.when(pl.col("unit_id").is_in(refusing(study, channels).implode()))
        .then(pl.lit(REFUSED))
        .when(pl.col("unit_id").is_in(_without_number(study, messages).implode()))
        .then(pl.lit(INVALID))
    )
    if one.consent == "explicit":
        reason = reason.when(pl.col("consented_at_utc_us").is_null()).then(pl.lit(NO_CONSENT))
    answered = _answered(study, row, messages)
    found = ids.to_frame().join(consents, on="unit_id", how="left", maintain_order="left")
    found = found.with_columns(
        reason=reason,
        answered=pl.col("unit_id").is_in(answered.implode())
        | pl.col("consented_at_utc_us").is_not_null(),
    )
    status = pl.when(pl.col("reason").is_null()).then(pl.lit(ENROLLED)).otherwise(pl.lit(LEFT_OUT))
    return _Outcome(before, found.with_columns(status=status).select(kept.columns))


def _without_number(study: Study, messages: pl.DataFrame) -> pl.Series:
    """Units of whom a provider said that their number does not exist, and that have no other.

    A message that arrived on the way shows that the number works.
    """
    arrived = messages.filter(pl.col("state").is_in(ARRIVED))["unit_id"]
    failed = messages.filter(
        state="failed",
    ).filter(pl.col("reason").map_elements(is_invalid_address, return_dtype=pl.Boolean))
    last = failed.group_by("unit_id").agg(at=pl.col("ended_at_utc_us").max())
    changed = study.store.contacts.imported(last["unit_id"].to_list())
    newer = last.join(changed, on="unit_id").filter(pl.col("imported_at_utc_us") > pl.col("at"))
    gone = pl.concat([arrived, newer["unit_id"]])
    return last.filter(~pl.col("unit_id").is_in(gone.implode()))["unit_id"]


def _answered(study: Study, row: EnrolmentRow, messages: pl.DataFrame) -> pl.Series:
    """Units that took a call, read a message or wrote back."""
    events = study.store.events.all(kinds=[ANSWER], start_us=to_us(row.opened_at))
    taken = messages.filter(pl.col("state").is_in(["answered", "read"]))
    return pl.concat([events["unit_id"], taken["unit_id"]])


def _consents(study: Study, messages: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """First consent of each unit: when, the event that proves it, what was said, the language."""
    events = study.store.events.all(kinds=[CONSENT])
    events = events.filter(pl.col("unit_id").is_in(ids.implode()))
    first = events.unique("unit_id", keep="first", maintain_order=True)
    rows = []
    for event in first.iter_rows(named=True):
        message = _said(messages.filter(unit_id=event["unit_id"]), event)
        language = None if message is None else json.loads(message["content_json"]).get("language")
        rows.append(
            {
                "unit_id": event["unit_id"],
                "consented_at_utc_us": event["at_utc_us"],
                "consent_proof": event["event_id"],
                "consent_message": None if message is None else message["message_id"],
                "consent_language": language,
            }
        )
    texts = dict.fromkeys(("proof", "message", "language"), pl.String)
    return pl.DataFrame(
        rows,
        schema={
            "unit_id": pl.String,
            "consented_at_utc_us": pl.Int64,
            **{f"consent_{name}": kind for name, kind in texts.items()},
        },
    )


def _said(messages: pl.DataFrame, event: Mapping[str, Any]) -> dict[str, Any] | None:
    """The call in which somebody agreed, or the last message before."""
    for message in messages.iter_rows(named=True):
        if str(event["event_id"]).startswith(f"call:{message['message_key']}"):
            return message
    out = messages.filter(pl.col("sent_at_utc_us") <= event["at_utc_us"]).sort("sent_at_utc_us")
    return out.row(-1, named=True) if out.height else None


def close_enrolment(
    study: Study, enrolment_id: str, *, early: bool = False, accept_silence: bool = False
) -> EnrolmentStatus:
    """Keep who enrolled: who was invited, did not refuse, has a number, agreed where asked."""
    one = study.enrolment(enrolment_id)
    row = study.store.enrolments.get(one.id)
    if row is None or row.state != "open":
        found = "not open yet" if row is None else f"closed ({row.closed_at:%Y-%m-%d %H:%M} UTC)"
        to_do = f"`wavewise enrol open {study.folder} {one.id}`" if row is None else "its waves"
        raise StateError(
            f"enrolment '{one.id}' is {found}; needed one that is open; nothing was changed; go "
            f"on with {to_do}"
        )
    if not early:
        _require_sent(study, one)
    outcome = _outcome(study, one, row)
    _require_answers(study, one, outcome.invited, accept_silence=accept_silence)
    rows = pl.concat([outcome.before, outcome.invited])
    study.store.enrolments.close(one.id, study.clock(), rows)
    return status_of(study, one)


def _require_sent(study: Study, one: Enrolment) -> None:
    waiting = study.store.deliveries.rows(one.id).filter(
        pl.col("state").is_in(["queued", "leased", "sending"])
    )
    far = study.clock() + timedelta(days=4_000)
    later = list(unqueued(study, one, far))
    if waiting.is_empty() and not later:
        return
    raise StateError(
        f"enrolment '{one.id}': found {waiting.height:,} messages that are not sent yet, and "
        f"{len(later)} sends to come; needed everybody asked before it ends; run `wavewise send "
        f"{study.folder}` when they are due, or add --early, which cancels them"
    )


def _require_answers(
    study: Study, one: Enrolment, invited: pl.DataFrame, *, accept_silence: bool
) -> None:
    name, n = study.spec.units.name, invited.height
    if not (invited["status"] == ENROLLED).any():
        counts = invited["reason"].value_counts(sort=True)
        reasons = "; ".join(f"{many:,} {reason}" for reason, many in counts.iter_rows())
        raise StateError(
            f"enrolment '{one.id}': nobody is left of {n:,} {name} invited ({reasons}); needed "
            "somebody to draw; import their answers with `wavewise observe`, or their numbers "
            "with `wavewise contacts import`; nothing was changed"
        )
    if one.messages and not invited["answered"].any() and not accept_silence:
        raise StateError(
            f"enrolment '{one.id}': found no answer of {n:,} {name} invited: no call was taken, "
            "nobody wrote back; needed one at least, or messages may not have arrived; look at "
            f"`wavewise status {study.folder}`, and add --accept-silence if it is right; nothing "
            "was changed"
        )


def discard_enrolment(study: Study, enrolment_id: str, reason: str) -> "DiscardedEnrolment":
    """Take back an enrolment of which nothing was sent."""
    one = study.enrolment(enrolment_id)
    if not reason.strip():
        raise InputError("found no reason; needed why; add --reason TEXT")
    if study.store.enrolments.get(one.id) is None:
        raise StateError(f"enrolment '{one.id}' is not open; nothing was changed")
    drawn = [wave for wave in one.waves if study.store.waves.get(wave) is not None]
    if drawn:
        raise StateError(
            f"enrolment '{one.id}': {', '.join(drawn)} is drawn from it; needed one of which no "
            f"wave is; nothing was changed; run `wavewise wave discard {study.folder} {drawn[0]} "
            "--reason TEXT` first"
        )
    study.store.enrolments.discard(one.id, study.clock(), {"reason": reason.strip()})
    return DiscardedEnrolment(one.id, reason.strip())


@dataclass(frozen=True, eq=False)
class DiscardedEnrolment(VerbResult):
    """An enrolment that was taken back."""

    enrolment: str
    reason: str

    def summary(self) -> str:
        """That it can be opened anew."""
        return f"Enrolment {self.enrolment} is taken back; it can be opened anew."


def enrolment_status(study: Study) -> EnrolmentList:
    """Where every enrolment stands, in the order of the study file."""
    if not study.spec.enrolment:
        raise InputError(
            "found no enrolment in the study file; needed one; add [[enrolment]] to it"
        )
    return EnrolmentList(tuple(status_of(study, one) for one in study.spec.enrolment))


def status_of(study: Study, one: Enrolment, notes: tuple[str, ...] = ()) -> EnrolmentStatus:
    """Where an enrolment stands, by what is known now."""
    row = study.store.enrolments.get(one.id)
    if row is None:
        to_do = (f"Open it with `wavewise enrol open {study.folder} {one.id}`.",)
        return EnrolmentStatus(
            one.id, "not open", study.spec.units.name, len(unit_data(study)), (), 0, (), 0, 0, 0,
            one.waves, {}, to_do,
        )  # fmt: skip
    found = _outcome(study, one, row)
    enrolled = found.invited.filter(status=ENROLLED)
    states = study.store.deliveries.rows(one.id)["state"].value_counts(sort=True)
    return EnrolmentStatus(
        enrolment=one.id,
        state=row.state,
        units=study.spec.units.name,
        n_considered=found.before.height + found.invited.height,
        left_out=_counts(found.before, row.details["left_out"]),
        n_invited=found.invited.height,
        left=_counts(found.invited, (REFUSED, INVALID, NO_CONSENT)),
        n_enrolled=enrolled.height,
        n_answered=int(enrolled["answered"].sum()),
        n_changed_number=_n_changed(study, row, found.invited["unit_id"]),
        waves=one.waves,
        messages=dict(states.iter_rows()),
        notes=notes,
    )


def participants(study: Study, wave: Wave, row: WaveRow | None) -> tuple[FlowStep, ...]:
    """The flow of participants of a wave; nothing where all on file were drawn from.

    An enrolment's part is shown before its wave is opened.
    """
    one, units = study.spec.enrolment_of(wave.id), study.spec.units.name
    kept = None if one is None else study.store.enrolments.get(one.id)
    steps: list[FlowStep] = []
    if one is not None and kept is not None:
        found = status_of(study, one)
        enrolled = "enrolled" if found.state == "closed" else "remain so far"
        steps = [
            FlowStep(f"{units.capitalize()} on file", found.n_considered, _left(found.left_out)),
            FlowStep("Invited", found.n_invited, _left(found.left)),
            FlowStep(enrolled.capitalize(), found.n_enrolled),
        ]
    if row is None or LEFT_DETAIL not in row.details:
        return tuple(steps)
    left = _left(row.details[LEFT_DETAIL])
    n_drawn = sum(count["n_units"] for count in row.details["counts"])
    before = n_drawn + sum(n for _, n in left)
    last = FlowStep(f"{units.capitalize()} on file", before)
    if steps:
        last = steps.pop()
    return (*steps, replace(last, left=left), FlowStep("Randomized", n_drawn))


def _left(rows: Any) -> tuple[tuple[str, int], ...]:
    return tuple((str(one["reason"]), int(one["n"])) for one in rows)


def _counts(rows: pl.DataFrame, order: Any) -> tuple[dict[str, Any], ...]:
    counts = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    return tuple({"reason": name, "n": counts[name]} for name in order if name in counts)


def _n_changed(study: Study, row: EnrolmentRow, ids: pl.Series) -> int:
    until = row.closed_at or study.clock()
    changes = study.store.contacts.changes().filter(
        pl.col("unit_id").is_in(ids.implode()),
        pl.col("at_utc_us").is_between(to_us(row.opened_at), to_us(until)),
    )
    return changes["unit_id"].n_unique()
