"""What became of a wave's messages, as a report shows it: counts, reasons, doses, effects."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavewise.errors import InputError
from wavewise.report.numbers import count, decimals_for, fixed, percent, scale_of, signed
from wavewise.report.tables import Column, Table
from wavewise.report.values import require_finite, require_share

if TYPE_CHECKING:
    from wavewise.report.contents import Outcome

__all__ = [
    "COUNTED",
    "DeliveryContents",
    "DeliveryTables",
    "DoseRow",
    "MessageRow",
    "Reach",
    "ReachedRow",
    "ReasonCount",
    "RefusalCount",
    "SendRow",
    "delivery_tables",
    "reach_by_arm",
    "reach_sentence",
]

COUNTED = ("due", "sent", "delivered", "waiting", "failed", "unknown", "refused", "cancelled")


@dataclass(frozen=True)
class MessageRow:
    """Numbers of messages of one arm on one channel.

    ``sent`` counts what the provider took, ``delivered`` what a receipt says arrived; each counts
    messages that went further. Waiting, sent, failed, unknown, refused and cancelled add up to all.
    """

    arm: str
    channel: str
    due: int
    sent: int
    delivered: int
    waiting: int
    failed: int
    unknown: int
    refused: int
    cancelled: int


@dataclass(frozen=True)
class ReasonCount:
    """Messages of one arm and channel that failed, or are unknown, for one reason."""

    arm: str
    channel: str
    state: str
    reason: str
    n: int


@dataclass(frozen=True)
class RefusalCount:
    """Units of an arm that refuse messages, by how they said so."""

    arm: str
    source: str
    n_units: int


@dataclass(frozen=True)
class DoseRow:
    """What the units of an arm got: messages meant and received a unit, share with one or more."""

    arm: str
    n_units: int
    mean_messages: float
    mean_received: float
    share_reached: float

    def __post_init__(self) -> None:
        require_finite(self, f"dose of {self.arm!r}")
        require_share("share_reached", self.arm, self.share_reached)


@dataclass(frozen=True)
class ReachedRow:
    """An arm's effect on those assigned and on those reached, on the outcome's own scale.

    ``first_stage`` is what assignment adds to the share that is reached.
    """

    arm: str
    itt: float
    itt_low: float
    itt_high: float
    estimate: float
    conf_low: float
    conf_high: float
    std_error: float
    first_stage: float

    def __post_init__(self) -> None:
        require_finite(self, f"effect of {self.arm!r} on those reached")


@dataclass(frozen=True)
class SendRow:
    """Messages of an arm that were due at one send of the schedule (1 is the first), all channels.

    ``received`` counts those that were received, as ``received_means`` of the contents says.
    """

    arm: str
    send: int
    due: int
    received: int

    def __post_init__(self) -> None:
        if self.send < 1 or not 0 <= self.received <= self.due:
            raise InputError(
                f"report: arm {self.arm!r}: found send {self.send} with {self.received} received "
                f"of {self.due} due; needed sends from 1 on, and no more received than due"
            )


@dataclass(frozen=True)
class DeliveryContents:
    """Deliveries of one wave.

    Parameters
    ----------
    wave, title : str
        Id of the wave and its name.
    outcome : Outcome
        Of the effects.
    received_means : str
        What counts as received, in words.
    messages, reasons, refusals, doses : tuples of rows
        Counts; doses are of every arm, with or without messages.
    sends : tuple of SendRow
        Due and received messages by arm and send.
    effects : tuple of ReachedRow
        Both effects, of every arm where both are estimable.
    not_estimable : tuple of (str, str)
        Arm, or empty for the wave; reason.
    level : float
        Confidence level.
    """

    wave: str
    title: str
    outcome: "Outcome"
    received_means: str
    messages: tuple[MessageRow, ...]
    reasons: tuple[ReasonCount, ...] = ()
    refusals: tuple[RefusalCount, ...] = ()
    doses: tuple[DoseRow, ...] = ()
    sends: tuple[SendRow, ...] = ()
    effects: tuple[ReachedRow, ...] = ()
    not_estimable: tuple[tuple[str, str], ...] = ()
    level: float = 0.95


@dataclass(frozen=True)
class Reach:
    """Messages of an arm that were due and received; (send, share received) of each send."""

    arm: str
    due: int
    received: int
    sends: tuple[tuple[int, float], ...]

    @property
    def share(self) -> float:
        """Share of the due messages that were received."""
        return self.received / self.due


def reach_by_arm(delivery: DeliveryContents) -> tuple[Reach, ...]:
    """What was received of what was due, by arm and send; nothing for arms with nothing due."""
    due = [row for row in delivery.sends if row.due]
    arms = {row.arm: [other for other in due if other.arm == row.arm] for row in due}
    return tuple(
        Reach(
            arm,
            sum(row.due for row in rows),
            sum(row.received for row in rows),
            tuple(sorted((row.send, row.received / row.due) for row in rows)),
        )
        for arm, rows in arms.items()
    )


def reach_sentence(delivery: DeliveryContents) -> str:
    """What the figure of sends shows, in a sentence or two; empty if nothing was due."""
    arms = reach_by_arm(delivery)
    if not arms:
        return ""
    due, received = sum(arm.due for arm in arms), sum(arm.received for arm in arms)
    text = f"Of {count(due)} due messages {count(received)} ({percent(received / due, 1)})"
    text += " were received"
    if len(arms) > 1:
        text += f": {_spread(arms)}"
    sends = sorted({row.send for row in delivery.sends if row.due})
    if len(sends) < 2:
        return f"{text}."
    first, last = (_share_at(delivery, send) for send in (sends[0], sends[-1]))
    return f"{text}. At send {sends[0]} it was {first}, at send {sends[-1]} {last}."


def _spread(arms: tuple[Reach, ...]) -> str:
    low, high = (pick(arms, key=lambda arm: arm.share) for pick in (min, max))
    if low.share == high.share:
        return "the same share in every arm"
    return f"from {percent(low.share, 1)} ({low.arm}) to {percent(high.share, 1)} ({high.arm})"


def _share_at(delivery: DeliveryContents, send: int) -> str:
    rows = [row for row in delivery.sends if row.send == send]
    return percent(sum(row.received for row in rows) / sum(row.due for row in rows), 1)


@dataclass(frozen=True)
class DeliveryTables:
    """Tables of one wave's deliveries; None where there is nothing to show."""

    delivery: DeliveryContents
    messages: Table
    reasons: Table | None
    refusals: Table | None
    doses: Table
    effects: Table | None


def delivery_tables(delivery: DeliveryContents, unit_name: str) -> DeliveryTables:
    """A wave's deliveries as tables."""
    return DeliveryTables(
        delivery,
        _messages(delivery.messages),
        _reasons(delivery.reasons),
        _refusals(delivery.refusals, unit_name),
        _doses(delivery, unit_name),
        _effects(delivery) if delivery.effects else None,
    )


def _messages(rows: tuple[MessageRow, ...]) -> Table:
    cells = tuple(
        (row.arm, row.channel, *(count(getattr(row, name)) for name in COUNTED)) for row in rows
    )
    sums = (count(sum(getattr(row, name) for row in rows)) for name in COUNTED)
    columns = (*_words("Arm", "Channel"), *(Column(name.capitalize()) for name in COUNTED))
    note = (
        "Sent: the provider took it. Delivered: a receipt says so. Unknown: it may have gone out, "
        "and was not sent again. Refused: cancelled since the unit wants no messages."
    )
    return Table("Messages", columns, cells, total=("All", "", *sums), note=note)


def _reasons(rows: tuple[ReasonCount, ...]) -> Table | None:
    columns = (*_words("Arm", "Channel", "State", "Reason"), Column("Messages"))
    cells = ((row.arm, row.channel, row.state, row.reason, count(row.n)) for row in rows)
    return _table("Failed and unknown, by reason", columns, cells)


def _refusals(rows: tuple[RefusalCount, ...], unit_name: str) -> Table | None:
    columns = (*_words("Arm", "How"), Column(unit_name.capitalize()))
    cells = ((row.arm, row.source, count(row.n_units)) for row in rows)
    return _table("Refusals", columns, cells, "They stay in their arm and in every comparison.")


def _doses(delivery: DeliveryContents, unit_name: str) -> Table:
    columns = (
        *_words("Arm"),
        Column(unit_name.capitalize()),
        Column("Messages each"),
        Column("Received each"),
        Column("Reached"),
    )
    cells = tuple(
        (
            row.arm,
            count(row.n_units),
            fixed(row.mean_messages, 2),
            fixed(row.mean_received, 2),
            percent(row.share_reached, 1),
        )
        for row in delivery.doses
    )
    note = f"Reached: received one message or more. Received: {delivery.received_means}."
    return Table("Delivered dose", columns, cells, note=note)


def _effects(delivery: DeliveryContents) -> Table:
    scale, rows = scale_of(delivery.outcome), delivery.effects
    decimals = max(decimals_for(scale.factor * row.std_error) for row in rows)
    level = percent(delivery.level, 0)
    unit = f" ({scale.short_unit})" if scale.short_unit else ""
    columns = (
        *_words("Arm"),
        Column(f"Intent to treat{unit}"),
        Column(f"{level} conf. interval"),
        Column("Reached by it"),
        Column(f"On those reached{unit}"),
        Column(f"{level} conf. interval"),
    )

    def interval(low: float, high: float) -> str:
        return " to ".join(scale.bounds(low, high, decimals))

    cells = tuple(
        (
            row.arm,
            signed(scale.factor * row.itt, decimals),
            interval(row.itt_low, row.itt_high),
            percent(row.first_stage, 1),
            signed(scale.factor * row.estimate, decimals),
            interval(row.conf_low, row.conf_high),
        )
        for row in rows
    )
    note = (
        "Intent to treat compares all who were assigned. The effect on those reached takes "
        "assignment as instrument: it holds if a message that did not arrive changed nothing."
    )
    return Table(f"Both effects on {delivery.outcome.label}", columns, cells, note=note)


def _words(*labels: str) -> tuple[Column, ...]:
    return tuple(Column(label, numeric=False) for label in labels)


def _table(
    caption: str, columns: tuple[Column, ...], cells: Iterable[tuple[str, ...]], note: str = ""
) -> Table | None:
    rows = tuple(cells)
    return Table(caption, columns, rows, note=note) if rows else None
