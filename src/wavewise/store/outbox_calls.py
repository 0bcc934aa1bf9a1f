"""The outbox's messages that are calls: found by key or unit, ended, tried again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wavewise.store.database import Database
from wavewise.store.outbox import set_columns
from wavewise.store.outbox_rows import OutboxRow, outbox_row, select_rows
from wavewise.store.rows import to_us
from wavewise.store.schema_outbox import outbox

__all__ = ["OutboxCalls"]


class OutboxCalls(Database):
    """The outbox's table, as calls need it."""

    def message_by_key(self, key: str) -> OutboxRow | None:
        """The message of an idempotency key; None where there is none."""
        with self._reading() as connection:
            row = connection.execute(select_rows().where(outbox.c.message_key == key)).one_or_none()
        return None if row is None else outbox_row(row)

    def end_call(
        self,
        outbox_id: int,
        reason: str,
        now: datetime,
        again: tuple[int, int | None] | None = None,
    ) -> bool:
        """A call that its provider says nobody took: queued for a later time, or failed.

        ``again`` says when and until when it is tried again, in microseconds. Gives whether the
        message was still without other news.
        """
        if again is None:
            values: dict[str, Any] = {"state": "failed", "ended_at_utc_us": to_us(now)}
        else:
            values = {"state": "queued", "next_at_utc_us": again[0], "expires_at_utc_us": again[1]}
        open_states = outbox.c.state.in_(["sent", "sending", "unknown"])
        with self._writing() as connection:
            return set_columns(connection, [outbox_id], open_states, reason=reason, **values) == 1

    def waiting_messages(self, channel: str, unit_ids: Sequence[str]) -> tuple[OutboxRow, ...]:
        """Queued messages of units, the one due first at the beginning."""
        query = (
            select_rows()
            .where(
                outbox.c.channel == channel,
                outbox.c.state == "queued",
                outbox.c.unit_id.in_(list(unit_ids)),
            )
            .order_by(outbox.c.due_at_utc_us, outbox.c.outbox_id)
        )
        with self._reading() as connection:
            return tuple(outbox_row(row) for row in connection.execute(query))
