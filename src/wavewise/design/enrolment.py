"""Enrolment: who is invited before a wave is drawn, how they are asked, and who may be drawn."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import Field, PositiveInt

from wavewise.design.known import Known, listing, refer
from wavewise.design.values import CalendarDay, Frozen, Identifier, Identifiers, Table
from wavewise.design.waves import Wave, Where
from wavewise.errors import Fault

__all__ = [
    "ANSWERED",
    "CONSENT",
    "ENROLMENT",
    "NO_ANSWER",
    "PHONE",
    "Enrolment",
    "LeftOut",
    "Sender",
    "enrolment_faults",
]

CONSENT = "consent"  # kind of the event by which somebody agrees to take part
ENROLMENT = "enrolment"  # of its messages, in the place of an arm
ANSWERED, NO_ANSWER = "answered", "no answer"
PHONE = "phone"  # one_per, randomize_by: those whom the same number reaches


class LeftOut(Frozen):
    """Units that are left out before anybody is invited."""

    where: Where
    """Column: value, or list of values."""
    reason: str = Field(min_length=1)
    """Why, as the flow of participants says it."""


class Enrolment(Table):
    """A stage before waves: people are invited, may refuse or change their number, and remain."""

    label: str | None = None
    """Name to print in reports."""
    waves: Identifiers
    """Ids of the waves that are drawn from those who enrolled. With one wave its `units` are
    invited; with several everybody eligible is, and each wave takes its `units` of those who
    enrolled."""
    starts: CalendarDay
    """First day on which messages go out, in each unit's own time zone."""
    schedule: Identifier | None = None
    """Name of the schedule of [schedules]."""
    messages: tuple[Identifier, ...] = ()
    """Ids of the messages in the order of sending, one for each day of the schedule: the
    introduction, then what confirms it."""
    consent: Literal["opt-out", "explicit"] = "opt-out"
    """opt-out: whoever does not refuse takes part; explicit: only who agrees, by an event of kind
    `consent`, in a call, by an opt-in keyword, or observed."""
    where: Where = Field(default_factory=dict)
    """Who is eligible. Column: value, or list of values."""
    least_size: dict[str, PositiveInt] = Field(default_factory=dict)
    """Column: number of eligible units that a group must have, such as { school = 5 }."""
    leave_out: tuple[LeftOut, ...] = ()
    """Units that are left out, and why."""
    one_per: str | None = None
    """One unit is drawn of those that share this: "phone", or a column such as a household."""
    randomize_by: Literal["phone"] | None = None
    """Those who share a phone get the same arm: they are randomized as a whole."""
    answers: str | None = None
    """Name of a column that says who answered, "answered" or "no answer": for strata and
    covariates of the waves."""
    mixed_phones: Literal["take eligible", "leave out"] | None = None
    """What to do where a phone is shared by units of which some are not eligible."""

    @property
    def name(self) -> str:
        """Label, or id where there is none."""
        return self.label or self.id

    def columns(self) -> tuple[str, ...]:
        """Columns that say who is eligible."""
        left_out = (name for left in self.leave_out for name in left.where)
        one_per = () if self.one_per in (None, PHONE) else (str(self.one_per),)
        return tuple(dict.fromkeys((*self.where, *self.least_size, *left_out, *one_per)))


Sender: TypeAlias = Wave | Enrolment  # What messages are sent for.


def enrolment_faults(known: Known) -> Iterator[Fault]:
    """Faults of the enrolments beside the other entries."""
    prepared: dict[str, str] = {}
    for one in known.entries("enrolment"):
        path = f"enrolment['{one.id}']"
        if one.id in known.names("waves"):
            fix = "rename the enrolment"
            yield Fault(path, f"'{one.id}', which is a wave too", "a name of its own", fix)
        for wave in one.waves:
            yield from refer(f"{path}.waves", wave, known.names("waves"), "a wave")
            if wave in prepared:
                found = f"'{wave}', which is drawn from enrolment '{prepared[wave]}'"
                yield Fault(f"{path}.waves", found, "one enrolment for a wave")
            prepared[wave] = one.id
        yield from _messages(known, one, path)
        yield from _eligibility(known, one, path)
        yield from _in_time(known, one, path)


def _messages(known: Known, one: Enrolment, path: str) -> Iterator[Fault]:
    for name in one.messages:
        yield from refer(f"{path}.messages", name, known.names("messages"), "a message")
    if one.schedule is not None:
        yield from refer(f"{path}.schedule", one.schedule, known.names("schedules"), "a schedule")
    elif one.messages:
        needed = "when the messages go out"
        yield Fault(f"{path}.schedule", "nothing", needed, 'add schedule = "NAME"')
    schedule = known.table("schedules").get(one.schedule or "")
    if schedule is not None and len(one.messages) > len(schedule.days):
        found = f"{len(one.messages)} messages for {len(schedule.days)} days"
        yield Fault(path, found, f"as many days in schedules.{one.schedule} as messages")
    if one.consent == "explicit" and one.messages:
        yield from _can_agree(known, one, path)


def _can_agree(known: Known, one: Enrolment, path: str) -> Iterator[Fault]:
    """Whether somebody who only gets calls finds a key by which to agree."""
    sent = [m for m in known.entries("messages") if m.id in one.messages]
    flows = [known.table("flows").get(message.flow or "") for message in sent]
    if len(sent) < len(one.messages) or not all(flows):
        return
    events = {step.event for flow in flows if flow is not None for step in flow.steps.values()}
    if CONSENT not in events:
        fix = f'give the step of the key that agrees event = "{CONSENT}"'
        yield Fault(f"{path}.consent", "'explicit', and calls without a key to agree", fix)


def _eligibility(known: Known, one: Enrolment, path: str) -> Iterator[Fault]:
    columns = known.columns
    if columns is not None:
        used: dict[str, list[str]] = {
            "where": list(one.where),
            "least_size": list(one.least_size),
            "leave_out": [name for left in one.leave_out for name in left.where],
            "one_per": [one.one_per] if one.one_per not in (None, PHONE) else [],
        }
        for key, names in used.items():
            for name in names:
                yield from refer(f"{path}.{key}", name, columns, "a column of [units]")
    units = known.sound.get("units")
    needs_phone = [key for key in ("one_per", "randomize_by") if getattr(one, key) == PHONE]
    if units is not None and needs_phone and not {"sms", "voice"} & set(units.address):
        needed = f"a column of phone numbers ({listing(['sms', 'voice'])} in units.address)"
        fix = 'add address = { sms = "COLUMN" } to [units]'
        yield Fault(f"{path}.{needs_phone[0]}", "'phone', and no phone numbers", needed, fix)
    taken = (units.id, units.cluster, units.randomize_by) if units is not None else ()
    if one.answers is not None and one.answers in taken:
        yield Fault(f"{path}.answers", "the column of ids or groups", "another name")
    if one.one_per is not None and one.randomize_by is not None:
        needed = "one of them: one unit is drawn, or all get the same arm"
        yield Fault(path, "one_per and randomize_by", needed, "take one of them out")
    if units is not None and one.randomize_by is not None and units.randomize_by is not None:
        found = f"'phone', beside units.randomize_by = '{units.randomize_by}'"
        yield Fault(f"{path}.randomize_by", found, "one group that is randomized as a whole")


def _in_time(known: Known, one: Enrolment, path: str) -> Iterator[Fault]:
    for wave in known.entries("waves"):
        if wave.id not in one.waves:
            continue
        if wave.imported is not None:
            found = f"wave '{wave.id}', which ran elsewhere"
            yield Fault(f"{path}.waves", found, "a wave that is drawn here")
        if one.starts > wave.starts:
            found = f"{one.starts}, after wave '{wave.id}' starts ({wave.starts})"
            yield Fault(f"{path}.starts", found, "a start before the waves that it prepares")
