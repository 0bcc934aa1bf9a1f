"""What the outbox hands out and takes, and how far receipts move a message."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Row, Select, select

from wavewise.store.schema_outbox import RANK, outbox

__all__ = ["AddedReceipts", "OutboxRow", "Recorded", "moved", "outbox_row", "select_rows"]

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
)


@dataclass(frozen=True)
class OutboxRow:
    """A message that a worker has claimed.

    Parameters
    ----------
    outbox_id : int
        Names the row.
    wave_id, unit_id : str
        Whose message it is.
    slot : int
        Number of the send in the schedule, from 0.
    message_key : str
        Idempotency key.
    arm, message_id, channel : str
        What is sent, and how.
    content : mapping
        language, title, text, fields, flow.
    time_zone : str
        The unit's own.
    attempts : int
        Calls of the provider that were begun before.
    due_at_utc_us : int
        When the schedule wants it out.
    provider_id : str or None
        The provider's name for it, where one is known.
    state : str
        As it was when it was read.
    wait_seconds : float
        From the claim until its turn at the channel's rate.
    """

    outbox_id: int
    wave_id: str
    unit_id: str = field(repr=False)
    slot: int
    message_key: str
    arm: str
    message_id: str
    channel: str
    content: Mapping[str, Any] = field(repr=False)
    time_zone: str
    attempts: int
    due_at_utc_us: int
    provider_id: str | None = None
    state: str = "leased"
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Recorded:
    """What became of a call of the provider.

    Parameters
    ----------
    outbox_id : int
        The row.
    state : str
        sent, delivered, answered, failed or unknown; queued where nothing went out and it will be
        tried again.
    reason : str or None
        Of failed, unknown and queued.
    provider_id : str or None
        The provider's name for the message.
    next_at_utc_us : int or None
        For queued: not before.
    expires_at_utc_us : int or None
        For queued: not from then on, where a later call has a time of its own; None leaves it.
    is_attempt : bool
        For queued: whether the call counts as an attempt. Where the provider refuses everything,
        it says nothing of this message.
    """

    outbox_id: int
    state: Literal["queued", "sent", "delivered", "answered", "failed", "unknown"]
    reason: str | None = None
    provider_id: str | None = None
    next_at_utc_us: int | None = None
    expires_at_utc_us: int | None = None
    is_attempt: bool = True


@dataclass(frozen=True)
class AddedReceipts:
    """Counts of one delivery of receipts.

    Parameters
    ----------
    n_new : int
        Receipts that were not known.
    n_repeated : int
        Receipts that were known already.
    n_unmatched : int
        Of the new ones, those whose message is not known (yet); kept, and applied once it is.
    n_moved : int
        Messages whose state changed.
    """

    n_new: int
    n_repeated: int
    n_unmatched: int
    n_moved: int


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
