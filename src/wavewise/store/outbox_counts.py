"""What the outbox holds: counts by wave, arm, channel and state, and the rows themselves."""

from datetime import datetime

import polars as pl
from sqlalchemy import func, select

from wavewise.store.bulk import scan
from wavewise.store.database import Database
from wavewise.store.rows import to_us
from wavewise.store.schema_outbox import ENDED, outbox

__all__ = ["OutboxCounts"]

_BY = ("wave_id", "arm", "channel", "state", "reason")
_ROW = {
    "outbox_id": pl.Int64,
    **dict.fromkeys(("wave_id", "unit_id"), pl.String),
    "slot": pl.Int64,
    **dict.fromkeys(("message_key", "arm", "message_id", "channel", "content_json"), pl.String),
    **dict.fromkeys(("due_at_utc_us", "next_at_utc_us", "expires_at_utc_us"), pl.Int64),
    **dict.fromkeys(("state", "reason"), pl.String),
    "attempts": pl.Int64,
    "provider_id": pl.String,
    **{
        f"{name}_at_utc_us": pl.Int64
        for name in ("queued", "sent", "delivered", "read", "answered", "ended")
    },
}


class OutboxCounts(Database):
    """The outbox's table, as monitors read it."""

    def outbox_counts(self) -> pl.DataFrame:
        """Numbers of messages: wave_id, arm, channel, state, reason, n."""
        query = select(*(outbox.c[name] for name in _BY), func.count()).group_by(
            *(outbox.c[name] for name in _BY)
        )
        types = {**dict.fromkeys(_BY, pl.String), "n": pl.Int64}
        with self._reading() as connection:
            return scan(connection, query, types).sort(_BY)

    def outbox_rows(self, wave_id: str | None = None) -> pl.DataFrame:
        """All messages, of one wave or of all, in the order of wave, unit and slot."""
        query = select(*(outbox.c[name] for name in _ROW))
        if wave_id is not None:
            query = query.where(outbox.c.wave_id == wave_id)
        with self._reading() as connection:
            return scan(connection, query, _ROW).sort("wave_id", "unit_id", "slot")

    def n_waiting(self, now: datetime | None = None) -> int:
        """Number of messages that are not at an end; of those due by now, where that is given."""
        query = select(func.count()).select_from(outbox).where(outbox.c.state.not_in(ENDED))
        if now is not None:
            query = query.where(outbox.c.next_at_utc_us <= to_us(now))
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def next_due_us(self) -> int | None:
        """When the next queued message may go out."""
        query = select(func.min(outbox.c.next_at_utc_us)).where(outbox.c.state == "queued")
        with self._reading() as connection:
            found: int | None = connection.scalar(query)
        return found
