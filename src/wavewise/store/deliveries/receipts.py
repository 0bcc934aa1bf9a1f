"""Receipts: kept as they came, applied in whatever order they come."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, bindparam, delete, or_, select, update

from wavewise.store.engine import Part
from wavewise.store.frames import insert_into, n_inserted, ready
from wavewise.store.rows import AddedReceipts, moved, to_us
from wavewise.store.schema import opt_out, outbox, receipt

__all__ = [
    "ERASED",
    "RECEIPTS",
    "Receipts",
    "add_receipts",
    "apply_waiting",
    "empty_messages",
    "write_changes",
]

ERASED = "erasure"  # the source of an opt-out that nothing takes back
RECEIPTS = {
    "receipt_id": pl.String,
    "channel": pl.String,
    "provider_id": pl.String,
    "message_key": pl.String,
    "state": pl.String,
    "reason": pl.String,
    "at_utc_us": pl.Int64,
}
_STATE = (
    *("outbox_id", "state", "channel", "provider_id", "message_key"),
    *("sent_at_utc_us", "delivered_at_utc_us", "read_at_utc_us", "answered_at_utc_us"),
)
_IDS_A_STATEMENT = 5_000

Changes = Sequence[tuple[int, dict[str, Any]]]


class Receipts(Part):
    """The table of receipts."""

    def add(self, frame: pl.DataFrame, received_at: datetime) -> AddedReceipts:
        """Keep receipts and move their messages: repeated ones and any order do no harm."""
        with self._writing() as connection:
            return add_receipts(connection, frame, received_at)


def add_receipts(
    connection: Connection, frame: pl.DataFrame, received_at: datetime
) -> AddedReceipts:
    """Keep and apply receipts in the caller's transaction."""
    rows = ready(frame, RECEIPTS, optional=["provider_id", "message_key", "reason"]).to_dicts()
    at = to_us(received_at)
    new = [
        row
        for row in rows
        if n_inserted(
            connection,
            insert_into(connection, receipt)
            .values({**row, "received_at_utc_us": at})
            .on_conflict_do_nothing(),
        )
    ]
    ids = _messages_of(connection, new)
    n_moved = apply_waiting(connection, sorted(set(ids.values())))
    return AddedReceipts(
        n_new=len(new),
        n_repeated=len(rows) - len(new),
        n_unmatched=sum(row["receipt_id"] not in ids for row in new),
        n_moved=n_moved,
    )


def apply_waiting(connection: Connection, ids: Sequence[int]) -> int:
    """Move messages by every receipt that is kept of them; gives the number whose state changed."""
    n_moved = 0
    for i in range(0, len(ids), _IDS_A_STATEMENT):
        part = ids[i : i + _IDS_A_STATEMENT]
        query = select(*(outbox.c[name] for name in _STATE)).where(outbox.c.outbox_id.in_(part))
        locked = query.order_by(outbox.c.outbox_id).with_for_update()
        rows = [dict(row._mapping) for row in connection.execute(locked)]
        changes = _folded(rows, _receipts_of(connection, rows))
        write_changes(connection, changes)
        n_moved += sum("state" in change for _, change in changes)
        erased = select(outbox.c.unit_id).join(opt_out, opt_out.c.unit_id == outbox.c.unit_id)
        erased = erased.where(outbox.c.outbox_id.in_(part), opt_out.c.source == ERASED)
        if late := connection.scalars(erased.distinct()).all():
            empty_messages(connection, late)  # what came of them is told; no name for it is kept
    return n_moved


def empty_messages(connection: Connection, unit_ids: Sequence[str]) -> None:
    """Leave of these units' messages their fate alone; receipts have told theirs already.

    What a provider calls a message leads to its log, and with it to the number.
    """
    own = outbox.c.unit_id.in_(list(unit_ids))
    same_name = (outbox.c.channel == receipt.c.channel) & (
        outbox.c.provider_id == receipt.c.provider_id
    )
    same_key = outbox.c.message_key == receipt.c.message_key
    of_unit = select(outbox.c.outbox_id).where(own, or_(same_name, same_key)).exists()
    connection.execute(delete(receipt).where(of_unit))
    connection.execute(update(outbox).where(own).values(content_json="{}", provider_id=None))


def write_changes(connection: Connection, changes: Changes) -> None:
    """Write columns of rows, those with the same columns in one go."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row_id, change in changes:
        if change:
            values = {f"new_{name}": value for name, value in change.items()}
            groups.setdefault(tuple(sorted(change)), []).append({"row_id": row_id, **values})
    for names, rows in groups.items():
        statement = (
            update(outbox)
            .where(outbox.c.outbox_id == bindparam("row_id"))
            .values({name: bindparam(f"new_{name}") for name in names})
        )
        connection.execute(statement, rows)


def _messages_of(connection: Connection, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Receipt id: the row of the message that it is about.

    A key names its message, and no other. An id that several messages carry is proof of none.
    """
    names = ("outbox_id", "channel", "provider_id", "message_key")
    query = select(*(outbox.c[name] for name in names)).where(
        or_(
            outbox.c.provider_id.in_(_given(rows, "provider_id")),
            outbox.c.message_key.in_(_given(rows, "message_key")),
        )
    )
    by_id: dict[tuple[str, str], set[int]] = {}
    by_key = {}
    for found in connection.execute(query):
        by_id.setdefault((found.channel, found.provider_id), set()).add(found.outbox_id)
        by_key[found.message_key] = found.outbox_id
    places = {}
    for row in rows:
        named = by_id.get((row["channel"], row["provider_id"]), set())
        if row["message_key"] in by_key:
            places[row["receipt_id"]] = by_key[row["message_key"]]
        elif row["provider_id"] is not None and len(named) == 1:
            places[row["receipt_id"]] = min(named)
    return places


def _receipts_of(
    connection: Connection, rows: Sequence[dict[str, Any]]
) -> dict[int, list[dict[str, Any]]]:
    """Receipts of each message, in the order of their time."""
    names = ("receipt_id", "channel", "provider_id", "message_key", "state", "reason", "at_utc_us")
    query = select(*(receipt.c[name] for name in names)).where(
        or_(
            receipt.c.provider_id.in_(_given(rows, "provider_id")),
            receipt.c.message_key.in_(_given(rows, "message_key")),
        )
    )
    ordered = query.order_by(receipt.c.at_utc_us, receipt.c.receipt_id)
    entries = [dict(entry._mapping) for entry in connection.execute(ordered)]
    places = _messages_of(connection, entries) if entries else {}
    found: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        if (place := places.get(entry["receipt_id"])) is not None:
            found.setdefault(place, []).append(entry)
    return found


def _folded(
    rows: Iterable[dict[str, Any]], receipts: dict[int, list[dict[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    changes = []
    for row in rows:
        change: dict[str, Any] = {}
        for entry in receipts.get(row["outbox_id"], ()):
            step = moved({**row, **change}, entry["state"], entry["at_utc_us"], entry["reason"])
            change |= step
        if change:
            changes.append((row["outbox_id"], change))
    return changes


def _given(rows: Iterable[dict[str, Any]], name: str) -> list[str]:
    return sorted({row[name] for row in rows if row[name] is not None})
