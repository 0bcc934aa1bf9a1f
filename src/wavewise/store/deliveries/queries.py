"""What the outbox holds: counts by wave, arm, channel and state, and the rows themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, case, func, select

from wavewise.store.engine import Part
from wavewise.store.frames import scan
from wavewise.store.outbox import set_columns
from wavewise.store.rows import OutboxRow, outbox_row, select_rows, to_us
from wavewise.store.schema import ENDED, event, outbox, unit

__all__ = ["ARRIVED", "OUT", "Calls", "Deliveries"]

_BY = ("wave_id", "arm", "channel", "state", "reason")
_ROW = {
    "outbox_id": pl.Int64,
    **dict.fromkeys(("wave_id", "unit_id"), pl.String),
    "slot": pl.Int64,
    **dict.fromkeys(("message_key", "arm", "message_id", "channel", "content_json"), pl.String),
    **dict.fromkeys(("due_at_utc_us", "next_at_utc_us", "expires_at_utc_us"), pl.Int64),
    **dict.fromkeys(("state", "reason"), pl.String),
    "attempts": pl.Int64,
    **dict.fromkeys(("provider_id", "spec_hash", "wording_hash"), pl.String),
    **{
        f"{name}_at_utc_us": pl.Int64
        for name in ("queued", "sent", "delivered", "read", "answered", "ended")
    },
}


class Deliveries(Part):
    """What became of messages, counted by wave, arm, send, unit."""

    def counts(self) -> pl.DataFrame:
        """Numbers of messages: wave_id, arm, channel, state, reason, n."""
        query = select(*(outbox.c[name] for name in _BY), func.count()).group_by(
            *(outbox.c[name] for name in _BY)
        )
        types = {**dict.fromkeys(_BY, pl.String), "n": pl.Int64}
        with self._reading() as connection:
            return scan(connection, query, types).sort(_BY)

    def rows(self, wave_id: str | None = None) -> pl.DataFrame:
        """All messages, of one wave or of all, in the order of wave, unit and slot."""
        query = select(*(outbox.c[name] for name in _ROW))
        if wave_id is not None:
            query = query.where(outbox.c.wave_id == wave_id)
        with self._reading() as connection:
            return scan(connection, query, _ROW).sort("wave_id", "unit_id", "slot")

    def queued_wordings(self) -> pl.DataFrame:
        """Messages that wait: wave_id, arm, slot, message_id, wording_hash, n."""
        by = [outbox.c[name] for name in ("wave_id", "arm", "slot", "message_id", "wording_hash")]
        query = select(*by, func.count()).where(outbox.c.state.in_(WAITING)).group_by(*by)
        types = {column.name: pl.String for column in by}
        with self._reading() as connection:
            found = scan(connection, query, {**types, "slot": pl.Int64, "n": pl.Int64})
        return found.sort("wave_id", "arm", "slot", "message_id", "wording_hash")

    def wordings(self, wave_id: str) -> pl.DataFrame:
        """Wordings of a wave: message_id, spec_hash, wording_hash, n, n_out, first_us, last_us."""
        by = [outbox.c[name] for name in ("message_id", "spec_hash", "wording_hash")]
        sent = outbox.c.sent_at_utc_us
        (n_out,) = _sums_of(OUT)
        query = select(*by, func.count(), n_out, func.min(sent), func.max(sent)).group_by(*by)
        numbers = dict.fromkeys(("n", "n_out", "first_us", "last_us"), pl.Int64)
        with self._reading() as connection:
            query = query.where(outbox.c.wave_id == wave_id)
            return scan(connection, query, {**{c.name: pl.String for c in by}, **numbers})

    def n_waiting(self, now: datetime | None = None) -> int:
        """Number of messages that are not at an end; of those due by now, where that is given."""
        query = select(func.count()).select_from(outbox).where(outbox.c.state.not_in(ENDED))
        if now is not None:
            query = query.where(outbox.c.next_at_utc_us <= to_us(now))
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def due_by_channel(self, now: datetime) -> pl.DataFrame:
        """Messages that wait and are due by now: channel, n, and when the first was due."""
        first = func.min(outbox.c.due_at_utc_us)
        due = outbox.c.state.in_(("queued", "leased", "sending"))
        query = select(outbox.c.channel, func.count(), first).where(
            due, outbox.c.due_at_utc_us <= to_us(now)
        )
        types = {"channel": pl.String, "n": pl.Int64, "first_us": pl.Int64}
        with self._reading() as connection:
            return scan(connection, query.group_by(outbox.c.channel), types).sort("channel")

    def last_sent(self) -> pl.DataFrame:
        """When a message was last taken: channel, sent_us."""
        last = func.max(outbox.c.sent_at_utc_us)
        query = select(outbox.c.channel, last).where(outbox.c.sent_at_utc_us.is_not(None))
        with self._reading() as connection:
            grouped = query.group_by(outbox.c.channel)
            found = scan(connection, grouped, {"channel": pl.String, "sent_us": pl.Int64})
        return found.sort("channel")

    def next_due_us(self) -> int | None:
        """When the next queued message may go out."""
        query = select(func.min(outbox.c.next_at_utc_us)).where(outbox.c.state == "queued")
        with self._reading() as connection:
            found: int | None = connection.scalar(query)
        return found

    def by_arm(self, now: datetime) -> pl.DataFrame:
        """Messages by wave_id, arm, channel, state and reason: n, and n_due by now."""
        due = func.sum(case((outbox.c.due_at_utc_us <= to_us(now), 1), else_=0))
        columns = [outbox.c[name] for name in _BY]
        query = select(*columns, func.count(), due).group_by(*columns)
        types = {**dict.fromkeys(_BY, pl.String), "n": pl.Int64, "n_due": pl.Int64}
        with self._reading() as connection:
            return scan(connection, query, types).sort(_BY)

    def by_send(self, wave_id: str, now: datetime) -> pl.DataFrame:
        """Messages of a wave that are due by now, by arm, channel and slot."""
        by = [outbox.c[name] for name in ("arm", "channel", "slot")]
        due = (outbox.c.wave_id == wave_id) & (outbox.c.due_at_utc_us <= to_us(now))
        query = select(*by, func.count(), *_sums_of(OUT, ARRIVED)).where(due).group_by(*by)
        names = ("slot", "n_due", "n_out", "n_arrived")
        types = {"arm": pl.String, "channel": pl.String, **dict.fromkeys(names, pl.Int64)}
        with self._reading() as connection:
            return scan(connection, query, types).sort("arm", "channel", "slot")

    def by_unit(self, wave_id: str) -> pl.DataFrame:
        """Messages of each unit of a wave by channel."""
        sums = _sums_of(OUT, ARRIVED)
        by = [outbox.c.unit_id, outbox.c.channel]
        query = select(*by, func.count(), *sums).where(outbox.c.wave_id == wave_id).group_by(*by)
        counts = ("n_messages", "n_out", "n_arrived")
        types = {"unit_id": pl.String, "channel": pl.String, **dict.fromkeys(counts, pl.Int64)}
        with self._reading() as connection:
            return scan(connection, query, types).sort("unit_id", "channel")


# What the monitor reads: messages by state, what each unit received, events out of place.

ARRIVED = ("delivered", "read", "answered")
OUT = ("sent", *ARRIVED)
WAITING = ("queued", "leased")  # and not begun


def _sums_of(*states: tuple[str, ...]) -> list[ColumnElement[int]]:
    return [func.sum(case((outbox.c.state.in_(some), 1), else_=0)) for some in states]


# The outbox's messages that are calls: found by key or unit, ended, tried again.


class Calls(Part):
    """Voice calls in the outbox, and what phones did."""

    def event_counts(self, slack_us: int, flash: str) -> dict[str, int]:
        """Numbers of events, of those of unknown units, dated after they came, and of one kind."""
        known = select(unit.c.unit_id).where(unit.c.unit_id == event.c.unit_id).exists()
        early = event.c.at_utc_us > event.c.received_at_utc_us + slack_us
        query = select(
            func.count(),
            func.sum(case((~known, 1), else_=0)),
            func.sum(case((early, 1), else_=0)),
            func.sum(case((event.c.kind == flash, 1), else_=0)),
        ).where(event.c.withdrawn_at_utc_us.is_(None))
        with self._reading() as connection:
            n, *sums = connection.execute(query).one()
        names = ("n_unknown_unit", "n_future", "n_missed_calls")
        return {"n": n, **{name: int(m or 0) for name, m in zip(names, sums, strict=True)}}

    def counts(self, channel: str) -> dict[str, int]:
        """Numbers of messages of a channel, of calls begun for them, and of those answered."""
        answered = case((outbox.c.state == "answered", 1), else_=0)
        query = select(func.count(), func.sum(outbox.c.attempts), func.sum(answered)).where(
            outbox.c.channel == channel
        )
        with self._reading() as connection:
            found = connection.execute(query).one()
        names = ("n_messages", "n_calls", "n_answered")
        return {name: int(m or 0) for name, m in zip(names, found, strict=True)}

    def message(self, key: str) -> OutboxRow | None:
        """The message of an idempotency key; None where there is none."""
        with self._reading() as connection:
            row = connection.execute(select_rows().where(outbox.c.message_key == key)).one_or_none()
        return None if row is None else outbox_row(row)

    def end(
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

    def waiting(self, channel: str, unit_ids: Sequence[str]) -> tuple[OutboxRow, ...]:
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
