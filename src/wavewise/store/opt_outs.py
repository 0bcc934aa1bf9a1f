"""Opt-outs: kept for good, and never a reason to drop a unit from its arm."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, or_, select, update

from wavewise.store.engine import Part
from wavewise.store.frames import insert_into, n_inserted, ready, scan
from wavewise.store.outbox import cancel_messages, is_reversed
from wavewise.store.rows import to_us
from wavewise.store.schema import contact, opt_in, opt_out, outbox, unknown_opt_out

__all__ = ["OptOuts", "add_opt_outs", "apply_unknown"]

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

    def taken_back(self, opt_out_ids: Sequence[str]) -> dict[str, str]:
        """Those of these opt-outs that an opt-in came after, and their units."""
        query = select(opt_out.c.opt_out_id, opt_out.c.unit_id).where(
            opt_out.c.opt_out_id.in_(list(opt_out_ids)),
            opt_in.c.unit_id == opt_out.c.unit_id,
            opt_in.c.at_utc_us > opt_out.c.at_utc_us,
        )
        with self._reading() as connection:
            return {row.opt_out_id: row.unit_id for row in connection.execute(query.distinct())}

    def last_opt_in_us(self, unit_ids: Sequence[str]) -> int:
        """Time of the last opt-in of any of these units; 0 where there is none."""
        query = select(func.max(opt_in.c.at_utc_us)).where(opt_in.c.unit_id.in_(list(unit_ids)))
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def add_unknown(self, row: Mapping[str, Any], received_at: datetime) -> int:
        """Keep the opt-out of an address that nobody has; one that is known begins anew."""
        values = {**row, "received_at_utc_us": to_us(received_at), "ended_at_utc_us": None}
        with self._writing() as connection:
            statement = insert_into(connection, unknown_opt_out).values(values)
            again = {"ended_at_utc_us": None, "at_utc_us": statement.excluded.at_utc_us}
            return n_inserted(
                connection,
                statement.on_conflict_do_update(
                    index_elements=[unknown_opt_out.c.opt_out_id],
                    set_=again,
                    where=unknown_opt_out.c.ended_at_utc_us.is_not(None),
                ),
            )

    def end_unknown(self, lookups: Sequence[str], source: str, at: datetime) -> int:
        """End the opt-outs of an address that nobody has, of one source; gives their number."""
        mine = unknown_opt_out.c.lookup.in_(list(lookups))
        open_ones = (
            unknown_opt_out.c.source == source,
            unknown_opt_out.c.ended_at_utc_us.is_(None),
        )
        done = update(unknown_opt_out).where(mine, *open_ones).values(ended_at_utc_us=to_us(at))
        with self._writing() as connection:
            return connection.execute(done).rowcount

    def n_unknown(self) -> int:
        """Number of addresses that refuse and that nobody has."""
        lookup = unknown_opt_out.c.lookup
        has_unit = select(contact.c.unit_id).where(contact.c.lookup == lookup).exists()
        query = select(func.count(lookup.distinct())).where(
            unknown_opt_out.c.ended_at_utc_us.is_(None), ~has_unit
        )
        with self._reading() as connection:
            return connection.scalar(query) or 0

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


def apply_unknown(connection: Connection, received_at: datetime) -> int:
    """Opt-outs that came before anybody had the address, for those who have it now."""
    found = unknown_opt_out.join(contact, unknown_opt_out.c.lookup == contact.c.lookup)
    names = ("opt_out_id", "channel", "only_channel", "source", "at_utc_us")
    query = select(contact.c.unit_id, *(unknown_opt_out.c[name] for name in names))
    rows = connection.execute(
        query.select_from(found).where(unknown_opt_out.c.ended_at_utc_us.is_(None)).distinct()
    ).all()
    if not rows:
        return 0
    frame = pl.DataFrame(
        {
            "opt_out_id": [f"{row.opt_out_id}:{row.unit_id}" for row in rows],
            "unit_id": [row.unit_id for row in rows],
            "channel": [row.channel if row.only_channel else None for row in rows],
            "source": [row.source for row in rows],
            "at_utc_us": [row.at_utc_us for row in rows],
        },
        schema_overrides={"channel": pl.String},
    )
    return add_opt_outs(connection, frame, received_at)


OPT_INS = {
    **dict.fromkeys(("opt_in_id", "unit_id", "channel", "source"), pl.String),
    "at_utc_us": pl.Int64,
}
