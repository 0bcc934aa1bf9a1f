"""Opt-outs: kept for good, and never a reason to drop a unit from its arm."""

from datetime import datetime

import polars as pl
from sqlalchemy import Connection, or_, select

from wavewise.store.engine import Part
from wavewise.store.frames import insert_into, n_inserted, ready, scan
from wavewise.store.outbox import cancel_messages, is_reversed
from wavewise.store.rows import to_us
from wavewise.store.schema import opt_in, opt_out, outbox

__all__ = ["OptOuts", "add_opt_outs"]

REFUSED = "refused"  # the reason of messages that an opt-out cancelled
OPT_OUTS = {
    "opt_out_id": pl.String,
    "unit_id": pl.String,
    "channel": pl.String,
    "source": pl.String,
    "at_utc_us": pl.Int64,
}


class OptOuts(Part):
    """Who has opted out, on which channel, and who has opted in again."""

    def add(self, frame: pl.DataFrame, received_at: datetime) -> int:
        """Keep opt-outs and cancel what is queued for them, both or neither.

        One that is known adds nothing. Gives the number of new ones.
        """
        with self._writing() as connection:
            return add_opt_outs(connection, frame, received_at)

    def all(self) -> pl.DataFrame:
        """All opt-outs in the order of time, then of ids."""
        types = {**OPT_OUTS, "received_at_utc_us": pl.Int64}
        with self._reading() as connection:
            found = scan(connection, select(*(opt_out.c[name] for name in types)), types)
        return found.sort("at_utc_us", "opt_out_id")

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

    def units(self, channel: str | None = None) -> pl.Series:
        """Ids of the units that refuse a channel, or all of them, and have not taken it back.

        Without a channel: of all that ever refused any.
        """
        query = select(opt_out.c.unit_id).distinct()
        if channel is not None:
            query = query.where(
                opt_out.c.channel.is_(None) | (opt_out.c.channel == channel),
                ~is_reversed(channel),
            )
        with self._reading() as connection:
            return scan(connection, query, {"unit_id": pl.String})["unit_id"].sort()

    def add_opt_ins(self, frame: pl.DataFrame, received_at: datetime) -> int:
        """Keep opt-ins; one that is known adds nothing. Gives the number of new ones.

        What an opt-out cancelled stays cancelled.
        """
        rows = ready(frame, OPT_INS).to_dicts()
        at = to_us(received_at)
        with self._writing() as connection:
            return sum(
                n_inserted(
                    connection,
                    insert_into(connection, opt_in)
                    .values({**row, "received_at_utc_us": at})
                    .on_conflict_do_nothing(),
                )
                for row in rows
            )

    def opt_ins(self) -> pl.DataFrame:
        """All opt-ins in the order of time, then of ids."""
        types = {**OPT_INS, "received_at_utc_us": pl.Int64}
        with self._reading() as connection:
            found = scan(connection, select(*(opt_in.c[name] for name in types)), types)
        return found.sort("at_utc_us", "opt_in_id")


def add_opt_outs(connection: Connection, frame: pl.DataFrame, received_at: datetime) -> int:
    """Keep opt-outs in the caller's transaction; gives the number of new ones."""
    rows = ready(frame, OPT_OUTS, optional=["channel"])
    values = [{**row, "received_at_utc_us": to_us(received_at)} for row in rows.to_dicts()]
    n_new = sum(
        n_inserted(
            connection, insert_into(connection, opt_out).values(row).on_conflict_do_nothing()
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


OPT_INS = {
    **dict.fromkeys(("opt_in_id", "unit_id", "channel", "source"), pl.String),
    "at_utc_us": pl.Int64,
}
