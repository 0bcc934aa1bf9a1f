"""Messages, call flows and schedules: what is sent, and when."""

from datetime import date, timedelta
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from wavewise.design.values import (
    CalendarDay,
    ClockTime,
    Frozen,
    Identifier,
    Names,
    Numbers,
    Table,
)

__all__ = [
    "Attempts",
    "Channel",
    "Collect",
    "Derived",
    "EventConditions",
    "Flow",
    "FlowStep",
    "Keywords",
    "Message",
    "Schedule",
    "placeholders",
]

Channel = Literal["push", "sms", "email", "voice", "mqtt", "web-push", "webhook", "letter", "file"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def placeholders(text: str) -> list[str]:
    """Names of the per-unit fields in a text, e.g. ``child_name`` in ``Read with {child_name}``.

    Examples
    --------
    >>> placeholders("{teacher_name} recommends that {child_name} practise.")
    ['teacher_name', 'child_name']
    """
    names = []
    for _, name, form, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not name:
            raise ValueError("a field without a name, {}")
        if form or conversion:
            how = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ValueError(f"a field with a format, {{{name}{how}}}")
        names.append(name)
    return names


class Message(Table):
    """Content that can be sent to a unit."""

    channel: Channel
    """How it is sent."""
    mechanism: str | None = None
    """Behavioural channel, e.g. "social norms"."""
    label: str | None = None
    """Name to print in reports."""
    text: dict[str, str] = Field(default_factory=dict)
    """Text by language, with per-unit fields in braces."""
    title: dict[str, str] = Field(default_factory=dict)
    """Heading of a notification or subject of an e-mail by language, with fields as in the text."""
    fallback: dict[str, str] = Field(default_factory=dict)
    """What stands in for a field that a unit does not have."""
    flow: Identifier | None = None
    """Call flow, for voice messages."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Fields set for this message, e.g. { level = "intermediate" }."""
    cost: NonNegativeFloat | None = None
    """What sending it once costs, in the currency of the study."""

    @property
    def name(self) -> str:
        """Label, or id where there is none."""
        return self.label or self.id


class Collect(Frozen):
    """Digits that a person types during a call, such as a new telephone number, ended by #."""

    least: Annotated[int, Field(gt=0, le=20)]
    """Fewest digits."""
    most: Annotated[int, Field(gt=0, le=20)]
    """Most digits; the last one ends the number without #."""
    next: str
    """Next step, or "hang up"."""


class FlowStep(Frozen):
    """One step of a call: play a prompt, wait for a key, go on."""

    prompt: str
    """What is played: a file, with per-unit fields in braces and {set}, the number of the send."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Key pressed: next step, or "hang up"."""
    timeout_seconds: PositiveFloat = 8.0
    """How long to wait for a key."""
    on_timeout: str = "hang up"
    """Next step where no key is pressed, or "hang up"."""
    event: str | None = None
    """Kind of the event that reaching this step records."""
    collect: Collect | None = None
    """Where the person types a number instead of one key."""
    action: Literal["opt out", "change number"] | None = None
    """What reaching this step does: nothing is sent any more, or the collected number is called
    from now on."""


class Flow(Frozen):
    """A call flow as data."""

    start: str
    """Name of the first step."""
    steps: dict[str, FlowStep]
    """Steps by name."""


class Attempts(Frozen):
    """How often an unanswered call is tried again."""

    most: PositiveInt = 1
    """Most calls for one send."""
    every_hours: PositiveFloat = 2.0
    """Hours between them."""
    call_back: bool = False
    """Whether a unit that rings is called back."""


class Schedule(Frozen):
    """When the messages of an arm are due, in each unit's own time zone."""

    days: tuple[Day, ...] = Field(min_length=1)
    """Days of the week. The first message of a sequence goes out on the first day, and so on."""
    at: ClockTime
    """Time of day."""
    weeks: Annotated[int, Field(gt=0, le=520)] | None = None
    """Number of weeks; 1 where neither weeks nor sets is given."""
    sets: Annotated[int, Field(gt=0, le=3_640)] | None = None
    """Number of sends in all, instead of weeks."""
    quiet_hours: tuple[ClockTime, ClockTime] | None = None
    """Nothing is sent from the first time of day to the second."""
    if_late: Literal["skip", "shift"] = "skip"
    """What becomes of a message that could not go out in time: dropped, or sent later."""
    late_after_hours: Annotated[float, Field(gt=0, le=168)] = 3.0
    """Hours after its due time from which a message is late, where late ones are dropped."""
    attempts: Attempts = Attempts()
    """For calls."""

    @property
    def n_sends(self) -> int:
        """Number of messages due to one unit."""
        return self.sets if self.sets is not None else (self.weeks or 1) * len(self.days)

    def day_of_send(self, number: int, starts: date) -> date:
        """Day of a send, counted from 1, where the schedule begins on a date or after it.

        Examples
        --------
        >>> Schedule(days=("mon", "thu"), at="17:00", weeks=3).day_of_send(6, date(2023, 10, 9))
        datetime.date(2023, 10, 26)
        """
        days = sorted({(WEEKDAYS.index(day) - starts.weekday()) % 7 for day in self.days})
        weeks, place = divmod(number - 1, len(days))
        return starts + timedelta(days=7 * weeks + days[place])


class Keywords(Frozen):
    """Keywords of this study by which people opt out of messages, or opt in again."""

    stop: tuple[str, ...] = ()
    """Opt-out keywords, in addition to those that always count, such as STOP, ALTO and ACHA."""
    start: tuple[str, ...] = ()
    """Opt-in keywords, which reverse an opt-out by keyword, in addition to those that always
    count, such as START."""


class EventConditions(Frozen):
    """Which events of a kind count."""

    value: Numbers | None = None
    """Value of the event, or a list of values."""
    at_least: float | None = None
    """Smallest value of an event that counts."""
    at_most: float | None = None
    """Largest value of an event that counts."""
    item: Names | None = None
    """Item of the event, or a list of items."""


Summary = Literal["any", "count", "sum", "days since last", "days since first", "first"]
OF_EVENTS = ("summary", "within_days", "before", "where")


class Derived(Frozen):
    """A per-unit column made by rule: cut from another one, or summarized from events."""

    from_: str | None = Field(default=None, alias="from")
    """Column that it is cut from."""
    event: Names | None = None
    """Kind of the events that it is made of, or a list of kinds."""
    summary: Summary = "any"
    """any: whether there was an event (yes or no); count: their number; sum: the sum of their
    values; days since last, days since first: days from that event to the wave, 1 for the day
    before; first: the value of the first event."""
    within_days: Annotated[int, Field(gt=0, le=36_600)] | None = None
    """How many days before the wave count; all where nothing is said."""
    before: Literal["wave"] | CalendarDay = "wave"
    """Events before the wave's first day count, or before a date; on each unit's own clock."""
    where: EventConditions = EventConditions()
    """Which of the events count."""
    cut: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Value: (lowest, highest) of the source, both included."""
    missing: tuple[str, ...] = ()
    """What to do where the source is missing, in this order."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.from_ is None) == (self.event is None):
            raise _needed("either `from`, a column, or `event`, a kind of event")
        if self.from_ is not None and not self.cut:
            raise _needed("`cut` beside `from`: the values that it is cut into")
        given = [name for name in OF_EVENTS if name in self.model_fields_set]
        if self.from_ is not None and given:
            raise _needed(f"no {given[0]} beside `from` (it belongs to `event`)")
        if self.cut and self.summary == "any" and self.event is not None:
            raise _needed('no `cut` of yes and no; summary = "count" has numbers to cut')
        if self.missing and not self.cut:
            raise _needed("`cut` beside `missing`: the values that it stands beside")
        return self


def _needed(text: str) -> Any:
    return PydanticCustomError("needed", "{needed}", {"needed": text})
