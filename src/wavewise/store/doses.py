"""What the monitor reads: messages by state, what each unit received, events out of place."""

from datetime import datetime

import polars as pl
from sqlalchemy import case, func, select

from wavewise.store.bulk import scan
from wavewise.store.database import Database
from wavewise.store.rows import to_us
from wavewise.store.schema import event, unit
from wavewise.store.schema_outbox import outbox

__all__ = ["ARRIVED", "OUT", "Doses"]

ARRIVED = ("delivered", "read", "answered")
OUT = ("sent", *ARRIVED)
_BY = ("wave_id", "arm", "channel", "state", "reason")


class Doses(Database):
    """Sums over the outbox and the events."""

    def delivery_counts(self, now: datetime) -> pl.DataFrame:
        """Messages by wave_id, arm, channel, state and reason: n, and n_due by now."""
        due = func.sum(case((outbox.c.due_at_utc_us <= to_us(now), 1), else_=0))
        columns = [outbox.c[name] for name in _BY]
        query = select(*columns, func.count(), due).group_by(*columns)
        types = {**dict.fromkeys(_BY, pl.String), "n": pl.Int64, "n_due": pl.Int64}
        with self._reading() as connection:
            return scan(connection, query, types).sort(_BY)

    def unit_doses(self, wave_id: str) -> pl.DataFrame:
        """Messages of each unit of a wave by channel.

        Returns
        -------
        DataFrame
            Columns unit_id, channel, n_messages, n_out (sent or further), n_arrived (delivered,
            read or answered); no row for a unit without a message.
        """
        sums = [
            func.sum(case((outbox.c.state.in_(states), 1), else_=0)) for states in (OUT, ARRIVED)
        ]
        by = [outbox.c.unit_id, outbox.c.channel]
        query = select(*by, func.count(), *sums).where(outbox.c.wave_id == wave_id).group_by(*by)
        counts = ("n_messages", "n_out", "n_arrived")
        types = {"unit_id": pl.String, "channel": pl.String, **dict.fromkeys(counts, pl.Int64)}
        with self._reading() as connection:
            return scan(connection, query, types).sort("unit_id", "channel")

    def odd_events(self, slack_us: int) -> dict[str, int]:
        """Numbers of events, of those of unknown units, and of those dated after they came."""
        known = select(unit.c.unit_id).where(unit.c.unit_id == event.c.unit_id).exists()
        early = event.c.at_utc_us > event.c.received_at_utc_us + slack_us
        query = select(
            func.count(),
            func.sum(case((~known, 1), else_=0)),
            func.sum(case((early, 1), else_=0)),
        ).select_from(event)
        with self._reading() as connection:
            n, unknown, future = connection.execute(query).one()
        return {"n": n, "n_unknown_unit": int(unknown or 0), "n_future": int(future or 0)}
