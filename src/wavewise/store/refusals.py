"""Refusals: kept for good, and never a reason to drop a unit from its arm."""

from datetime import datetime

import polars as pl
from sqlalchemy import Connection, or_, select

from wavewise.store.bulk import ready, scan
from wavewise.store.conflicts import insert_into, n_inserted
from wavewise.store.contact_schema import refusal
from wavewise.store.database import Database
from wavewise.store.outbox import cancel_messages
from wavewise.store.resumptions import is_taken_back
from wavewise.store.rows import to_us
from wavewise.store.schema_outbox import outbox

__all__ = ["REFUSALS", "Refusals", "add_refusals"]

REFUSED = "refused"  # the reason of messages that a refusal cancelled
REFUSALS = {
    "refusal_id": pl.String,
    "unit_id": pl.String,
    "channel": pl.String,
    "source": pl.String,
    "at_utc_us": pl.Int64,
}


class Refusals(Database):
    """The table of refusals."""

    def add_refusals(self, frame: pl.DataFrame, received_at: datetime) -> int:
        """Keep refusals and cancel what is queued for them, both or neither.

        One that is known adds nothing. Gives the number of new ones.

        Parameters
        ----------
        frame : DataFrame
            Columns refusal_id, unit_id, channel (null: all channels), source, at_utc_us.
        received_at : datetime
            When they came.
        """
        with self._writing() as connection:
            return add_refusals(connection, frame, received_at)

    def refusals(self) -> pl.DataFrame:
        """All refusals in the order of time, then of ids.

        Returns
        -------
        DataFrame
            Columns refusal_id, unit_id, channel, source, at_utc_us, received_at_utc_us.
        """
        types = {**REFUSALS, "received_at_utc_us": pl.Int64}
        with self._reading() as connection:
            found = scan(connection, select(*(refusal.c[name] for name in types)), types)
        return found.sort("at_utc_us", "refusal_id")

    def units_of_message(
        self, channel: str, provider_id: str | None, message_key: str | None
    ) -> tuple[str, ...]:
        """The unit of a message, by the provider's name for it or by ours; none if not known."""
        named = [
            column == value
            for column, value in (
                (outbox.c.provider_id, provider_id),
                (outbox.c.message_key, message_key),
            )
            if value is not None
        ]
        query = select(outbox.c.unit_id).where(outbox.c.channel == channel, or_(*named)).distinct()
        with self._reading() as connection:
            return tuple(connection.scalars(query)) if named else ()

    def refused_units(self, channel: str | None = None) -> pl.Series:
        """Ids of the units that refuse a channel, or all of them, and have not taken it back.

        Without a channel: of all that ever refused any.
        """
        query = select(refusal.c.unit_id).distinct()
        if channel is not None:
            query = query.where(
                refusal.c.channel.is_(None) | (refusal.c.channel == channel),
                ~is_taken_back(channel),
            )
        with self._reading() as connection:
            return scan(connection, query, {"unit_id": pl.String})["unit_id"].sort()


def add_refusals(connection: Connection, frame: pl.DataFrame, received_at: datetime) -> int:
    """Keep refusals in the caller's transaction; gives the number of new ones."""
    rows = ready(frame, REFUSALS, optional=["channel"])
    values = [{**row, "received_at_utc_us": to_us(received_at)} for row in rows.to_dicts()]
    n_new = sum(
        n_inserted(
            connection, insert_into(connection, refusal).values(row).on_conflict_do_nothing()
        )
        for row in values
    )
    for (channel,), part in rows.group_by("channel"):
        cancel_messages(
            connection,
            REFUSED,
            received_at,
            unit_ids=part["unit_id"].to_list(),
            channel=None if channel is None else str(channel),
        )
    return n_new
