"""What the store hands out besides frames, and how it writes time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import Row, Select, select

from wavewise.errors import InputError
from wavewise.store.schema import RANK, outbox

__all__ = [
    "AddedEvents",
    "AddedReceipts",
    "AddedScores",
    "EnrolmentRow",
    "Hold",
    "OutboxRow",
    "Recorded",
    "ResultRow",
    "VersionRow",
    "WaveRow",
    "from_us",
    "moved",
    "outbox_row",
    "select_rows",
    "to_us",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Whole microseconds from 1970-01-01T00:00Z to a moment.

    Raises
    ------
    InputError
        The moment has no time zone.

    Examples
    --------
    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if moment.tzinfo is None:
        raise InputError(
            f"found the time {moment.isoformat()} without a time zone; needed one with it, "
            "such as datetime.now(UTC)"
        )
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The moment, in UTC, that lies some microseconds after 1970-01-01T00:00Z.

    Examples
    --------
    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + microseconds * _MICROSECOND


@dataclass(frozen=True)
class VersionRow:
    """One registered version of the study's spec.

    Parameters
    ----------
    number : int
        1 for the registration, then one more at each amendment.
    created_at : datetime
        When it was registered.
    reason : str
        Why the spec was changed.
    spec_toml, spec_json : str
        The text as registered; its canonical form.
    hash : str
        SHA-256 of the canonical form.
    waves_seen : tuple of str
        Waves whose outcomes were frozen before: where there are any, this version is an addendum.
    """

    number: int
    created_at: datetime
    reason: str
    spec_toml: str
    spec_json: str
    hash: str
    waves_seen: tuple[str, ...] = ()

    @property
    def is_addendum(self) -> bool:
        """Whether outcomes of a wave were known when this version was made."""
        return bool(self.waves_seen)


@dataclass(frozen=True)
class WaveRow:
    """One wave as it was opened.

    Parameters
    ----------
    wave_id : str
        The wave's id in the spec.
    opened_at : datetime
        When it was randomized.
    version : int or None
        The active version of the spec; None before registration.
    exploratory : bool
        Whether it was opened without registration.
    starts_at : datetime or None
        Start of the outcome window in the study's own time zone.
    details : mapping
        Whatever describes the draw (arms, shares, seed, hash of the assignment): plain JSON values.
    state : {'open', 'closed', 'reopened'}
        Closed once its outcomes are frozen; reopened while they are made anew, unsent.
    closed_at : datetime or None
        When they were.
    outcome_version : int
        Number of the outcomes that the wave has, or gets when it is closed.
    """

    wave_id: str
    opened_at: datetime
    version: int | None = None
    exploratory: bool = False
    starts_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    state: Literal["open", "closed", "reopened"] = "open"
    closed_at: datetime | None = None
    outcome_version: int = 1


@dataclass(frozen=True)
class EnrolmentRow:
    """One enrolment as it was opened."""

    enrolment_id: str
    opened_at: datetime
    version: int | None = None  # Of the spec; None before registration.
    exploratory: bool = False
    # Rules, texts of the messages: plain JSON values.
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    state: Literal["open", "closed"] = "open"
    closed_at: datetime | None = None


@dataclass(frozen=True)
class ResultRow:
    """One stored result of a wave, such as an analysis or a decision.

    Parameters
    ----------
    id : int
        Grows with every result, so that the latest is the largest.
    wave_id : str
        The wave that it is about.
    kind : str
        ``analysis``, ``decision`` and so on.
    created_at : datetime
        When it was made.
    version : int or None
        The active version of the spec; None before registration.
    payload : mapping
        The result as plain JSON values.
    """

    id: int
    wave_id: str
    kind: str
    created_at: datetime
    version: int | None
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class AddedEvents:
    """Counts of one delivery of events.

    Parameters
    ----------
    n_new : int
        Events that were added.
    n_repeated : int
        Events that were known already, with the same content.
    n_conflicting : int
        Events whose id was known with other content; the first content was kept.
    n_unknown_unit : int
        Among the new ones, events of units that were not imported; they are kept.
    n_corrected : int
        Known events that took the delivery's content, where that was asked for.
    """

    n_new: int
    n_repeated: int
    n_conflicting: int
    n_unknown_unit: int = 0
    n_corrected: int = 0


@dataclass(frozen=True)
class AddedScores:
    """Counts of one file of scores.

    Parameters
    ----------
    n_new : int
        Scores that were added, each a delivery of a unit and period.
    n_repeated : int
        Scores that were known already.
    n_unknown_unit : int
        Among the new ones, scores of units that were not imported; they are kept.
    n_corrected : int
        Known scores that took the delivery's score and date, where that was asked for.
    """

    n_new: int
    n_repeated: int
    n_unknown_unit: int = 0
    n_corrected: int = 0


# What the outbox hands out and takes, and how far receipts move a message.

_TIME_OF = {
    "sent": "sent_at_utc_us",
    "delivered": "delivered_at_utc_us",
    "read": "read_at_utc_us",
    "answered": "answered_at_utc_us",
    "failed": "ended_at_utc_us",
    "unknown": "ended_at_utc_us",
    "cancelled": "ended_at_utc_us",
}
_ROW = (
    *("outbox_id", "wave_id", "unit_id", "slot", "message_key", "arm", "message_id", "channel"),
    *("content_json", "time_zone", "attempts", "due_at_utc_us", "provider_id", "state"),
    "spec_hash",
)


@dataclass(frozen=True)
class OutboxRow:
    """A message that a worker has claimed."""

    outbox_id: int  # Names the row.
    # wave_id, unit_id: Whose message it is.
    wave_id: str
    unit_id: str = field(repr=False)
    slot: int  # Number of the send in the schedule, from 0.
    message_key: str  # Idempotency key.
    # arm, message_id, channel: What is sent, and how.
    arm: str
    message_id: str
    channel: str
    content: Mapping[str, Any] = field(repr=False)  # language, title, text, fields, flow.
    time_zone: str  # The unit's own.
    attempts: int  # Calls of the provider that were begun before.
    due_at_utc_us: int  # When the schedule wants it out.
    provider_id: str | None = None  # The provider's name for it, where one is known.
    state: str = "leased"  # As it was when it was read.
    spec_hash: str | None = None  # Of the version of the plan that it was queued under.
    wait_seconds: float = 0.0  # From the claim until its turn at the channel's rate.


@dataclass(frozen=True)
class Recorded:
    """What became of a call of the provider."""

    outbox_id: int  # The row.
    # sent, delivered, answered, failed or unknown; queued where nothing went out and it will be
    # tried again.
    state: Literal["queued", "sent", "delivered", "answered", "failed", "unknown"]
    reason: str | None = None  # Of failed, unknown and queued.
    provider_id: str | None = None  # The provider's name for the message.
    next_at_utc_us: int | None = None  # For queued: not before.
    # For queued: not from then on, where a later call has a time of its own; None leaves it.
    expires_at_utc_us: int | None = None
    # For queued: whether the call counts as an attempt. Where the provider refuses everything, it
    # says nothing of this message.
    is_attempt: bool = True
    # For queued: whether the provider may have taken it all the same, so that it can never be said
    # that it was not sent.
    is_doubtful: bool = False


@dataclass(frozen=True)
class Hold:
    """A channel whose provider takes nothing now."""

    channel: str
    reason: str  # Of the last failure.
    needs_person: bool  # Whether it will not pass by itself, such as a wrong password.
    held_at_utc_us: int
    n_probes: int  # Since then.
    next_probe_at_utc_us: int


@dataclass(frozen=True)
class AddedReceipts:
    """Counts of one delivery of receipts."""

    n_new: int  # Receipts that were not known.
    n_repeated: int  # Receipts that were known already.
    # Of the new ones, those whose message is not known (yet); kept, and applied once it is.
    n_unmatched: int
    n_moved: int  # Messages whose state changed.


def moved(
    row: Mapping[str, Any], state: str, at_utc_us: int, reason: str | None = None
) -> dict[str, Any]:
    """Columns that change when something is learned of a message: its state only moves up.

    The time of a state is the earliest that is known, whatever order news come in.

    Examples
    --------
    >>> moved({"state": "read", "delivered_at_utc_us": None}, "delivered", 5)
    {'delivered_at_utc_us': 5}
    >>> moved({"state": "sent", "delivered_at_utc_us": None}, "delivered", 5)
    {'state': 'delivered', 'reason': None, 'delivered_at_utc_us': 5, 'ended_at_utc_us': None}
    >>> moved({"state": "delivered", "ended_at_utc_us": None}, "failed", 5)
    {}
    """
    rises = RANK[state] > RANK[row["state"]]
    changed: dict[str, Any] = {"state": state, "reason": reason} if rises else {}
    column = _TIME_OF[state]
    if column != "ended_at_utc_us":
        before = row.get(column)
        if before is None or at_utc_us < before:
            changed[column] = at_utc_us
        if rises:
            changed["ended_at_utc_us"] = None
    elif rises:
        changed[column] = at_utc_us
    return changed


def select_rows() -> Select[Any]:
    """A query of rows, as :func:`outbox_row` takes them."""
    return select(*(outbox.c[name] for name in _ROW))


def outbox_row(row: Row[Any], wait_seconds: float = 0.0) -> OutboxRow:
    """One row of such a query, and how long its turn is off."""
    values = dict(row._mapping)
    content = json.loads(values.pop("content_json"))
    return OutboxRow(content=content, wait_seconds=wait_seconds, **values)
