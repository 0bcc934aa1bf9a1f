"""What the monitor reads: messages by state, what each unit received, events out of place."""

from datetime import datetime

import polars as pl
from sqlalchemy import ColumnElement, case, func, select

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

    def send_counts(self, wave_id: str, now: datetime) -> pl.DataFrame:
        """Messages of a wave that are due by now, by arm, channel and slot.

        Returns
        -------
        DataFrame
            Columns arm, channel, slot (0 is the first send), n_due, n_out (sent or further),
            n_arrived (delivered, read or answered).
        """
        by = [outbox.c[name] for name in ("arm", "channel", "slot")]
        due = (outbox.c.wave_id == wave_id) & (outbox.c.due_at_utc_us <= to_us(now))
        query = select(*by, func.count(), *_sums_of(OUT, ARRIVED)).where(due).group_by(*by)
        names = ("slot", "n_due", "n_out", "n_arrived")
        types = {"arm": pl.String, "channel": pl.String, **dict.fromkeys(names, pl.Int64)}
        with self._reading() as connection:
            return scan(connection, query, types).sort("arm", "channel", "slot")

    def unit_doses(self, wave_id: str) -> pl.DataFrame:
        """Messages of each unit of a wave by channel.

        Returns
        -------
        DataFrame
            Columns unit_id, channel, n_messages, n_out (sent or further), n_arrived (delivered,
            read or answered); no row for a unit without a message.
        """
        sums = _sums_of(OUT, ARRIVED)
        by = [outbox.c.unit_id, outbox.c.channel]
        query = select(*by, func.count(), *sums).where(outbox.c.wave_id == wave_id).group_by(*by)
        counts = ("n_messages", "n_out", "n_arrived")
        types = {"unit_id": pl.String, "channel": pl.String, **dict.fromkeys(counts, pl.Int64)}
        with self._reading() as connection:
            return scan(connection, query, types).sort("unit_id", "channel")

    def event_counts(self, slack_us: int, flash: str) -> dict[str, int]:
        """Numbers of events, of those of unknown units, dated after they came, and of one kind."""
        known = select(unit.c.unit_id).where(unit.c.unit_id == event.c.unit_id).exists()
        early = event.c.at_utc_us > event.c.received_at_utc_us + slack_us
        query = select(
            func.count(),
            func.sum(case((~known, 1), else_=0)),
            func.sum(case((early, 1), else_=0)),
            func.sum(case((event.c.kind == flash, 1), else_=0)),
        ).select_from(event)
        with self._reading() as connection:
            n, *sums = connection.execute(query).one()
        names = ("n_unknown_unit", "n_future", "n_flashes")
        return {"n": n, **{name: int(m or 0) for name, m in zip(names, sums, strict=True)}}

    def call_counts(self, channel: str) -> dict[str, int]:
        """Numbers of messages of a channel, of calls begun for them, and of those answered."""
        answered = case((outbox.c.state == "answered", 1), else_=0)
        query = select(func.count(), func.sum(outbox.c.attempts), func.sum(answered)).where(
            outbox.c.channel == channel
        )
        with self._reading() as connection:
            found = connection.execute(query).one()
        names = ("n_messages", "n_calls", "n_answered")
        return {name: int(m or 0) for name, m in zip(names, found, strict=True)}


def _sums_of(*states: tuple[str, ...]) -> list[ColumnElement[int]]:
    return [func.sum(case((outbox.c.state.in_(some), 1), else_=0)) for some in states]
