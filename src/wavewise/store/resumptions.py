"""Refusals that people took back: the refusal stays, and so does the day from which it is over."""

from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, and_, or_, select

from wavewise.store.bulk import ready, scan
from wavewise.store.conflicts import insert_into, n_inserted
from wavewise.store.contact_schema import refusal, resumption
from wavewise.store.database import Database
from wavewise.store.rows import to_us

__all__ = ["AT_PROVIDER", "START_WORD", "Resumptions", "is_taken_back"]

# Where a resumption came from, and which refusals it takes back.
START_WORD = "start keyword"  # those by keyword
AT_PROVIDER = "start at the provider"  # and those that the provider reported, which it lifted too
_BY_WORD = "stop keyword"
_BY_PROVIDER = "provider%"

RESUMPTIONS = {
    **dict.fromkeys(("resumption_id", "unit_id", "channel", "source"), pl.String),
    "at_utc_us": pl.Int64,
}


class Resumptions(Database):
    """The table of resumptions."""

    def add_resumptions(self, frame: pl.DataFrame, received_at: datetime) -> int:
        """Keep resumptions; one that is known adds nothing. Gives the number of new ones.

        What a refusal cancelled stays cancelled.

        Parameters
        ----------
        frame : DataFrame
            Columns resumption_id, unit_id, channel, source, at_utc_us.
        received_at : datetime
            When they came.
        """
        rows = ready(frame, RESUMPTIONS).to_dicts()
        at = to_us(received_at)
        with self._writing() as connection:
            return sum(
                n_inserted(
                    connection,
                    insert_into(connection, resumption)
                    .values({**row, "received_at_utc_us": at})
                    .on_conflict_do_nothing(),
                )
                for row in rows
            )

    def resumptions(self) -> pl.DataFrame:
        """All resumptions in the order of time, then of ids.

        Returns
        -------
        DataFrame
            Columns resumption_id, unit_id, channel, source, at_utc_us, received_at_utc_us.
        """
        types = {**RESUMPTIONS, "received_at_utc_us": pl.Int64}
        with self._reading() as connection:
            found = scan(connection, select(*(resumption.c[name] for name in types)), types)
        return found.sort("at_utc_us", "resumption_id")


def is_taken_back(channel: ColumnElement[str] | str) -> Any:
    """Whether the refusal of a row is over on a channel, as a condition of SQL."""
    lifts = or_(
        refusal.c.source == _BY_WORD,
        and_(resumption.c.source == AT_PROVIDER, refusal.c.source.like(_BY_PROVIDER)),
    )
    same = [
        resumption.c.unit_id == refusal.c.unit_id,
        resumption.c.channel == channel,
        resumption.c.at_utc_us > refusal.c.at_utc_us,
    ]
    found = select(resumption.c.resumption_id).where(*same, lifts)
    # The messages' table lies two queries out, where it would not be found by itself.
    return found.correlate_except(resumption).exists()
