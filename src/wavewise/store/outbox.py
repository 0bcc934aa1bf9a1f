"""The outbox's life: queued, claimed under a lease, begun, recorded; cancelled, paused, swept."""

import math
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from wavewise.store.engine import Part
from wavewise.store.frames import BATCH_ROWS, append, insert_into, n_inserted, ready, scan, staged
from wavewise.store.receipts import apply_waiting, write_changes
from wavewise.store.rows import OutboxRow, Recorded, moved, outbox_row, select_rows, to_us
from wavewise.store.schema import channel_rate, opt_in, opt_out, outbox, paused_wave, wave

__all__ = [
    "AT_PROVIDER",
    "START_KEYWORD",
    "UNSENT",
    "Outbox",
    "cancel_messages",
    "is_reversed",
    "set_columns",
]

ALL_WAVES = ""
QUEUED = {
    "wave_id": pl.String,
    "unit_id": pl.String,
    "slot": pl.Int64,
    "message_key": pl.String,
    "arm": pl.String,
    "message_id": pl.String,
    "channel": pl.String,
    "content_json": pl.String,
    "time_zone": pl.String,
    "due_at_utc_us": pl.Int64,
    "next_at_utc_us": pl.Int64,
    "expires_at_utc_us": pl.Int64,
    "state": pl.String,
    "reason": pl.String,
}
_IDS_A_STATEMENT = 5_000
_OPEN = ("queued", "leased")
UNSENT = (*_OPEN, "cancelled")  # states in which no call of the provider was begun, at 0 attempts


class Outbox(Part):
    """Messages due, claimed, sent; the rate of each channel."""

    def queue(self, frame: pl.DataFrame, queued_at: datetime) -> int:
        """Add messages; one that is there already (unit, slot, wave) stays as it is."""
        rows = ready(frame, QUEUED, optional=["expires_at_utc_us", "reason"])
        now = pl.lit(to_us(queued_at), pl.Int64)
        ended = pl.when(pl.col("state") == "cancelled").then(now)
        rows = rows.with_columns(
            queued_at_utc_us=now, ended_at_utc_us=ended, attempts=pl.lit(0, pl.Int64)
        )
        n_new = 0
        for batch in rows.iter_slices(BATCH_ROWS):  # a lock of seconds would hold up workers
            with self._writing() as connection, staged(connection, outbox) as stage:
                append(connection, stage, batch)
                names = batch.columns
                fresh = select(*(stage.c[name] for name in names)).where(true())
                statement = insert_into(connection, outbox).from_select(names, fresh)
                n_new += n_inserted(connection, statement.on_conflict_do_nothing())
        return n_new

    def claim(
        self,
        channel: str,
        owner: str,
        now: datetime,
        lease_seconds: float,
        limit: int,
        rate_per_second: float = math.inf,
    ) -> tuple[OutboxRow, ...]:
        """The next due messages of a channel, leased to one worker; nothing is sent by this.

        A lease that ends without :meth:`begin_and_record` makes the row free again. A finite rate,
        that of all workers together, gives each row a turn, and the lease begins after the last.
        """
        at = to_us(now)
        due = (
            select_rows()
            .where(outbox.c.channel == channel, outbox.c.state == "queued")
            .where(outbox.c.next_at_utc_us <= at, _not_expired(at), _not_paused(), ~_is_refused())
            .where(_is_sending())
            .order_by(outbox.c.next_at_utc_us, outbox.c.outbox_id)
            .limit(limit)
            .with_for_update(of=outbox, skip_locked=True)
        )
        with self._writing() as connection:
            found = connection.execute(due).all()
            n, first, step = len(found), 0.0, 1.0 / rate_per_second
            if n and step:
                first = reserve_turns(connection, channel, n, rate_per_second)
            set_columns(
                connection,
                [row.outbox_id for row in found],
                state="leased",
                lease_owner=owner,
                lease_until_utc_us=at + _us(lease_seconds + first + n * step),
            )
        return tuple(outbox_row(row, first + i * step) for i, row in enumerate(found))

    def begin_and_record(
        self,
        owner: str,
        begin: Collection[int],
        results: Sequence[Recorded],
        now: datetime,
        lease_seconds: float,
    ) -> set[int]:
        """Write down which calls begin now and what became of others, in one transaction.

        Only what is begun may be sent. A message that was cancelled, paused or taken over since it
        was claimed is not begun; a paused one goes back to the queue.
        """
        at = to_us(now)
        with self._writing() as connection:
            _record(connection, owner, results, at)
            return _begin(connection, owner, begin, at, at + _us(lease_seconds))

    def record(self, owner: str | None, results: Sequence[Recorded], now: datetime) -> None:
        """Write down what became of messages; without an owner, of unknown ones looked up."""
        with self._writing() as connection:
            _record(connection, owner, results, to_us(now))

    def release(self, owner: str) -> int:
        """Give back what a worker claimed and did not begin."""
        with self._writing() as connection:
            statement = (
                update(outbox)
                .where(outbox.c.state == "leased", outbox.c.lease_owner == owner)
                .values(state="queued", lease_owner=None, lease_until_utc_us=None)
            )
            return connection.execute(statement).rowcount

    def sweep_leases(self, now: datetime) -> tuple[int, int]:
        """Leases that ended: numbers of rows that are free again, and of those unknown now.

        Messages whose units refuse, and whose opt-out did not see them, are cancelled; so are those
        of closed waves.
        """
        at = to_us(now)
        over = outbox.c.lease_until_utc_us < at
        with self._writing() as connection:
            freed = connection.execute(
                update(outbox)
                .where(outbox.c.state == "leased", over)
                .values(state="queued", lease_owner=None, lease_until_utc_us=None)
            )
            # The owner stays: should it live after all, its result still counts.
            lost = connection.execute(
                update(outbox)
                .where(outbox.c.state == "sending", over)
                .values(state="unknown", reason="the worker stopped", ended_at_utc_us=at)
            )
            waiting = update(outbox).where(outbox.c.state == "queued", _is_refused())
            connection.execute(
                waiting.values(state="cancelled", reason="refused", ended_at_utc_us=at)
            )
            ended = update(outbox).where(outbox.c.state == "queued", ~_is_sending())
            connection.execute(
                ended.values(state="cancelled", reason="the wave was closed", ended_at_utc_us=at)
            )
            return freed.rowcount, lost.rowcount

    def cancel(
        self,
        reason: str,
        now: datetime,
        *,
        unit_ids: Collection[str] | None = None,
        wave_id: str | None = None,
        channel: str | None = None,
    ) -> int:
        """Cancel what was not begun, of units (an opt-out), a wave or all; gives the number."""
        with self._writing() as connection:
            return cancel_messages(
                connection, reason, now, unit_ids=unit_ids, wave_id=wave_id, channel=channel
            )

    def resend_unknown(
        self, now: datetime, *, wave_id: str | None = None, ids: Collection[int] | None = None
    ) -> int:
        """Queue unknown messages again, when somebody asks for it; gives their number.

        Otherwise only where the provider drops a message whose key it has seen. Closed waves send
        nothing.
        """
        statement = update(outbox).where(outbox.c.state == "unknown", _is_sending())
        if wave_id is not None:
            statement = statement.where(outbox.c.wave_id == wave_id)
        if ids is not None:
            statement = statement.where(outbox.c.outbox_id.in_(sorted(ids)))
        values = {"state": "queued", "reason": "sent again on request", "provider_id": None}
        none = dict.fromkeys(("ended_at_utc_us", "lease_owner", "expires_at_utc_us"))
        with self._writing() as connection:
            done = connection.execute(statement.values(next_at_utc_us=to_us(now), **values, **none))
            return done.rowcount

    def pause(self, now: datetime, wave_id: str = ALL_WAVES) -> None:
        """Begin no more messages of a wave, or of all, until :meth:`resume_messages`."""
        values = {"wave_id": wave_id, "paused_at_utc_us": to_us(now)}
        with self._writing() as connection:
            connection.execute(
                insert_into(connection, paused_wave).values(values).on_conflict_do_nothing()
            )

    def resume(self, wave_id: str = ALL_WAVES) -> bool:
        """Whether it was paused; it goes on now."""
        with self._writing() as connection:
            gone = delete(paused_wave).where(paused_wave.c.wave_id == wave_id)
            return connection.execute(gone).rowcount > 0

    def paused_waves(self) -> tuple[str, ...]:
        """Names of the paused waves; the empty one stands for all."""
        with self._reading() as connection:
            return tuple(connection.scalars(select(paused_wave.c.wave_id)).all())

    def unknown(self, limit: int, after: int = 0) -> tuple[OutboxRow, ...]:
        """Unknown messages in the order of their rows, from the one after a row."""
        query = select_rows().where(outbox.c.state == "unknown", outbox.c.outbox_id > after)
        with self._reading() as connection:
            found = connection.execute(query.order_by(outbox.c.outbox_id).limit(limit))
            return tuple(outbox_row(row) for row in found)

    def expired(self, now: datetime, limit: int) -> pl.DataFrame:
        """Queued messages whose time is over: outbox_id, wave_id, time_zone."""
        types = {"outbox_id": pl.Int64, "wave_id": pl.String, "time_zone": pl.String}
        query = select(*(outbox.c[name] for name in types)).where(
            outbox.c.state == "queued", outbox.c.expires_at_utc_us <= to_us(now)
        )
        with self._reading() as connection:
            return scan(connection, query.limit(limit), types)

    def end_expired(self, ids: Sequence[int], now: datetime, reason: str) -> int:
        """Cancel queued messages whose time is over."""
        values = {"state": "cancelled", "reason": reason, "ended_at_utc_us": to_us(now)}
        with self._writing() as connection:
            return set_columns(connection, ids, outbox.c.state == "queued", **values)

    def postpone(self, ids: Sequence[int], next_at_us: int, expires_at_us: int | None) -> int:
        """Give queued messages another time."""
        values = {"next_at_utc_us": next_at_us, "expires_at_utc_us": expires_at_us}
        with self._writing() as connection:
            return set_columns(connection, ids, outbox.c.state == "queued", **values)

    def reserve_sends(self, channel: str, n: int, rate_per_second: float) -> float:
        """Reserve the next turns of a channel; gives the seconds from now until the first.

        The turns are ``1 / rate_per_second`` seconds apart.

        Examples
        --------
        >>> from wavewise.store import Store
        >>> with Store.open("sqlite://") as store:
        ...     first = store.outbox.reserve_sends("sms", 20, rate_per_second=0.1)
        ...     second = store.outbox.reserve_sends("sms", 1, rate_per_second=0.1)
        >>> first, round(second / 10)
        (0.0, 20)
        """
        with self._writing() as connection:
            return reserve_turns(connection, channel, n, rate_per_second)


def cancel_messages(
    connection: Connection,
    reason: str,
    now: datetime,
    *,
    unit_ids: Collection[str] | None = None,
    wave_id: str | None = None,
    channel: str | None = None,
) -> int:
    """Cancel what was not begun, in the caller's transaction."""
    statement = update(outbox).where(outbox.c.state.in_(_OPEN))
    if wave_id is not None:
        statement = statement.where(outbox.c.wave_id == wave_id)
    if channel is not None:
        statement = statement.where(outbox.c.channel == channel)
    statement = statement.values(state="cancelled", reason=reason, ended_at_utc_us=to_us(now))
    if unit_ids is None:
        return connection.execute(statement).rowcount
    ids = sorted(set(unit_ids))
    parts = [ids[i : i + _IDS_A_STATEMENT] for i in range(0, len(ids), _IDS_A_STATEMENT)]
    return sum(
        connection.execute(statement.where(outbox.c.unit_id.in_(part))).rowcount for part in parts
    )


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _not_expired(at: int) -> Any:
    return or_(outbox.c.expires_at_utc_us.is_(None), outbox.c.expires_at_utc_us > at)


def _not_paused() -> Any:
    names = paused_wave.c.wave_id
    return ~select(names).where(or_(names == outbox.c.wave_id, names == ALL_WAVES)).exists()


def _is_sending() -> Any:
    """A closed wave sends nothing; nor does one that was reopened for its outcomes."""
    is_open = (wave.c.state == "open") & wave.c.reopened_at_utc_us.is_(None)
    return select(wave.c.wave_id).where(wave.c.wave_id == outbox.c.wave_id, is_open).exists()


def _is_refused() -> Any:
    """An opt-out that came while its unit's messages were written did not see them."""
    same = [
        outbox.c.unit_id == opt_out.c.unit_id,
        opt_out.c.channel.is_(None) | (opt_out.c.channel == outbox.c.channel),
        ~is_reversed(outbox.c.channel),
    ]
    return select(opt_out.c.opt_out_id).where(*same).exists()


def set_columns(connection: Connection, ids: Sequence[int], *where: Any, **values: Any) -> int:
    """Set columns of rows, for those of which the conditions hold; gives their number."""
    n = 0
    for i in range(0, len(ids), _IDS_A_STATEMENT):
        part = list(ids[i : i + _IDS_A_STATEMENT])
        statement = update(outbox).where(outbox.c.outbox_id.in_(part), *where).values(**values)
        n += connection.execute(statement).rowcount
    return n


def _begin(
    connection: Connection, owner: str, ids: Collection[int], at: int, lease_until: int
) -> set[int]:
    if not ids:
        return set()
    wanted = sorted(ids)
    mine = (outbox.c.state == "leased", outbox.c.lease_owner == owner)
    lock = select(outbox.c.outbox_id).where(outbox.c.outbox_id.in_(wanted), *mine)
    free = lock.where(_not_paused(), _not_expired(at), ~_is_refused(), _is_sending())
    free = free.order_by(outbox.c.outbox_id)
    begun = list(connection.scalars(free.with_for_update(of=outbox)))
    set_columns(
        connection,
        begun,
        state="sending",
        attempts=outbox.c.attempts + 1,
        lease_until_utc_us=lease_until,
    )
    denied = sorted(set(wanted) - set(begun))
    none = {"lease_owner": None, "lease_until_utc_us": None}
    set_columns(connection, denied, *mine, state="queued", **none)
    return set(begun)


def _record(
    connection: Connection, owner: str | None, results: Sequence[Recorded], at: int
) -> None:
    if not results:
        return
    by_id = {result.outbox_id: result for result in results}
    names = ("sent_at_utc_us", "delivered_at_utc_us", "read_at_utc_us", "answered_at_utc_us")
    own = ("outbox_id", "state", "lease_owner", "provider_id", "attempts")
    columns = [outbox.c[n] for n in (*own, *names)]
    query = select(*columns).where(outbox.c.outbox_id.in_(sorted(by_id)))
    locked = query.order_by(outbox.c.outbox_id).with_for_update()
    rows = [dict(row._mapping) for row in connection.execute(locked)]
    changes = [(row["outbox_id"], _change(row, owner, by_id[row["outbox_id"]], at)) for row in rows]
    write_changes(connection, changes)
    apply_waiting(connection, [row["outbox_id"] for row in rows])


def _change(row: dict[str, Any], owner: str | None, result: Recorded, at: int) -> dict[str, Any]:
    own = row["state"] == "unknown" if owner is None else row["lease_owner"] == owner
    done: dict[str, Any] = {"lease_owner": None, "lease_until_utc_us": None} if own else {}
    if result.state == "queued":
        if not own or row["state"] not in {"sending", "unknown"}:
            return {}
        if result.expires_at_utc_us is not None:
            done["expires_at_utc_us"] = result.expires_at_utc_us
        if not result.is_attempt:
            done["attempts"] = max(0, row["attempts"] - 1)
        return {
            **done,
            "state": "queued",
            "reason": result.reason,
            "next_at_utc_us": result.next_at_utc_us or at,
            "ended_at_utc_us": None,
        }
    if result.state in {"failed", "unknown"} and not own:
        return {}  # it has been taken over since: this says nothing of the newer call
    if result.provider_id is not None:
        done["provider_id"] = result.provider_id
    done |= moved(row, result.state, at, result.reason)
    if result.state in {"delivered", "answered"}:
        done |= {k: v for k, v in moved(row, "sent", at).items() if k == "sent_at_utc_us"}
    return done


# A channel's rate across all workers: turns to send, reserved many at once in one statement.

_SECOND_US = 1_000_000
# Further ahead than any number of workers can have reserved: the clock was set back since.
_FAR_US = 3_600 * _SECOND_US
_MOST_SPANS = 1_000


class _ClockUs(FunctionElement[int]):
    """The database's own clock in microseconds: one for all workers, whatever theirs show."""

    type = BigInteger()
    inherit_cache = True


@compiles(_ClockUs, "sqlite")
def _sqlite_clock(*_: Any, **__: Any) -> str:
    return "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"


@compiles(_ClockUs, "postgresql")
def _postgresql_clock(*_: Any, **__: Any) -> str:
    # Not now(): that is when the transaction began, before it waited for another worker's.
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


def reserve_turns(connection: Connection, channel: str, n: int, rate_per_second: float) -> float:
    """Reserve turns in the caller's transaction: seconds from now until the first.

    Other workers of the channel wait for the end of the transaction.
    """
    clock, until = _ClockUs(), channel_rate.c.next_at_utc_us
    # Rounded up: the rate is never above the limit.
    span = math.ceil(n * _SECOND_US / rate_per_second)
    far = max(_FAR_US, _MOST_SPANS * span)
    begins = case((until < clock, clock), (until > clock + far, clock), else_=until)
    new = insert_into(connection, channel_rate).values(channel=channel, next_at_utc_us=clock + span)
    statement = new.on_conflict_do_update(
        index_elements=[channel_rate.c.channel], set_={"next_at_utc_us": begins + span}
    ).returning(until - span - clock)
    wait_us: int = connection.execute(statement).scalar_one()
    return max(0, wait_us) / _SECOND_US


# Opt-outs that people took back: the opt-out stays, and so does the day from which it is over.

# Where an opt-in came from, and which opt-outs it takes back.
START_KEYWORD = "start keyword"  # those by keyword
AT_PROVIDER = "start at the provider"  # and those that the provider reported, which it lifted too
_BY_WORD = "stop keyword"
_BY_PROVIDER = "provider%"


def is_reversed(channel: ColumnElement[str] | str) -> Any:
    """Whether the opt-out of a row is over on a channel, as a condition of SQL."""
    lifts = or_(
        opt_out.c.source == _BY_WORD,
        and_(opt_in.c.source == AT_PROVIDER, opt_out.c.source.like(_BY_PROVIDER)),
    )
    same = [
        opt_in.c.unit_id == opt_out.c.unit_id,
        opt_in.c.channel == channel,
        opt_in.c.at_utc_us > opt_out.c.at_utc_us,
    ]
    found = select(opt_in.c.opt_in_id).where(*same, lifts)
    # The messages' table lies two queries out, where it would not be found by itself.
    return found.correlate_except(opt_in).exists()
