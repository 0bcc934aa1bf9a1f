"""The outbox's life: queued, claimed under a lease, begun, recorded; cancelled, paused, swept."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import polars as pl
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from wavewise.store.deliveries.receipts import apply_waiting, write_changes
from wavewise.store.engine import Database, Part
from wavewise.store.frames import BATCH_ROWS, append, insert_into, n_inserted, ready, scan, staged
from wavewise.store.rows import (
    Hold,
    OutboxRow,
    Recorded,
    from_us,
    moved,
    outbox_row,
    select_rows,
    to_us,
)
from wavewise.store.schema import (
    channel_rate,
    enrolment,
    held_channel,
    opt_in,
    opt_out,
    outbox,
    paused_wave,
    study_version,
    wave,
)

__all__ = [
    "AT_PROVIDER",
    "START_KEYWORD",
    "Outbox",
    "cancel_messages",
    "is_reversed",
    "n_begun",
    "set_columns",
    "take_back",
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
    "spec_hash": pl.String,
    "wording_hash": pl.String,
}
_IDS_A_STATEMENT = 5_000
_OPEN = ("queued", "leased")
_UNSENT = (*_OPEN, "cancelled")  # states in which no call of the provider was begun, at 0 attempts


class Outbox(Part):
    """Messages due, claimed, sent; the rate of each channel."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._ahead_us: dict[str, int] = {}  # by channel: of the clock of the turns

    def queue(
        self,
        frame: pl.DataFrame,
        queued_at: datetime,
        *,
        opened_at: datetime | None = None,
        spec_hash: str | None = None,
    ) -> int | None:
        """Add messages; one that is there already (unit, slot, wave) stays as it is.

        Gives their number; None where they are out of date: the wave is not the one that was opened
        at ``opened_at``, or the newest version of the plan not the one of ``spec_hash``.
        """
        optional = ["expires_at_utc_us", "reason", "spec_hash", "wording_hash"]
        rows = ready(frame, QUEUED, optional=optional)
        now = pl.lit(to_us(queued_at), pl.Int64)
        ended = pl.when(pl.col("state") == "cancelled").then(now)
        rows = rows.with_columns(
            queued_at_utc_us=now, ended_at_utc_us=ended, attempts=pl.lit(0, pl.Int64)
        )
        n_new = 0
        for batch in rows.iter_slices(BATCH_ROWS):  # a lock of seconds would hold up workers
            with self._writing() as connection, staged(connection, outbox) as stage:
                if not _is_current(connection, rows["wave_id"].first(), opened_at, spec_hash):
                    return None
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
        *,
        is_probe: bool = False,
    ) -> tuple[OutboxRow, ...]:
        """The next due messages of a channel, leased to one worker; nothing is sent by this.

        A lease that ends without :meth:`begin_and_record` makes the row free again. A finite rate,
        that of all workers together, gives each row a turn, and the lease begins after the last.
        A probe is any message, one that never failed if there is one: those at the head may all be
        bad.
        """
        probes_first = (outbox.c.attempts, outbox.c.message_key)
        first = probes_first if is_probe else (outbox.c.next_at_utc_us,)
        at = to_us(now)
        due = (
            select_rows()
            .where(outbox.c.channel == channel, outbox.c.state == "queued")
            .where(outbox.c.next_at_utc_us <= at, _not_expired(at), _not_paused(), ~_is_refused())
            .where(_is_sending())
            .order_by(*first, outbox.c.outbox_id)
            .limit(limit)
            .with_for_update(of=outbox, skip_locked=True)
        )
        with self._writing() as connection:
            found = connection.execute(due).all()
            n, wait, step = len(found), 0.0, 1.0 / rate_per_second
            if n and step:
                wait = self._reserve(connection, channel, n, rate_per_second)
            set_columns(
                connection,
                [row.outbox_id for row in found],
                state="leased",
                lease_owner=owner,
                lease_until_utc_us=at + _us(lease_seconds + wait + n * step),
            )
        return tuple(outbox_row(row, wait + i * step) for i, row in enumerate(found))

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

    def release(self, owner: str, channel: str | None = None) -> int:
        """Give back what a worker claimed and did not begin, on one channel or on all."""
        statement = update(outbox).where(outbox.c.state == "leased", outbox.c.lease_owner == owner)
        if channel is not None:
            statement = statement.where(outbox.c.channel == channel)
        with self._writing() as connection:
            free = statement.values(state="queued", lease_owner=None, lease_until_utc_us=None)
            return connection.execute(free).rowcount

    def sweep_leases(self, now: datetime) -> tuple[int, int]:
        """Leases that ended: numbers of rows that are free again, and of those unknown now.

        Messages whose units refuse, and whose opt-out did not see them, are cancelled; so are those
        of closed waves.
        """
        at = to_us(now)
        # A lease that ends further ahead than any can: the clock was set back since.
        until = outbox.c.lease_until_utc_us
        over = or_(until < at, until > at + _FAR_LEASE_US)
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
            connection.execute(waiting.values(**_ended("refused", at)))
            ended = update(outbox).where(outbox.c.state == "queued", ~_is_sending())
            connection.execute(ended.values(**_ended("the wave was closed", at)))
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
        """Queue unknown messages again that may still go out now; gives their number.

        Only when somebody asks for it, or where the provider drops a message whose key it has seen.
        """
        at = to_us(now)
        may = (outbox.c.state == "unknown", _is_sending(), _not_expired(at), ~_is_refused())
        statement = update(outbox).where(*may)
        if wave_id is not None:
            statement = statement.where(outbox.c.wave_id == wave_id)
        if ids is not None:
            statement = statement.where(outbox.c.outbox_id.in_(sorted(ids)))
        with self._writing() as connection:
            return connection.execute(statement.values(next_at_utc_us=at, **_again(at))).rowcount

    def stranded(
        self, state: Literal["unknown", "failed"], wave_id: str | None, reason: str = ""
    ) -> pl.DataFrame:
        """Messages that a person may bring back: outbox_id, wave_id, time_zone.

        Of failed ones only those that their provider never took, whose reason begins with
        ``reason``. Closed waves and units that opted out have none.
        """
        types = {"outbox_id": pl.Int64, "wave_id": pl.String, "time_zone": pl.String}
        query = select(*(outbox.c[name] for name in types)).where(
            outbox.c.state == state, _is_sending(), ~_is_refused()
        )
        if wave_id is not None:
            query = query.where(outbox.c.wave_id == wave_id)
        if state == "failed":
            query = query.where(outbox.c.sent_at_utc_us.is_(None))
        if reason:
            query = query.where(func.substr(outbox.c.reason, 1, len(reason)) == reason)
        with self._reading() as connection:
            return scan(connection, query, types)

    def bring_back(
        self, ids: Sequence[int], now: datetime, next_at_us: int, expires_at_us: int | None
    ) -> int:
        """Queue unknown and failed messages again, for a time; gives their number.

        A failed one begins its attempts anew, a call goes on with its own number.
        """
        at = to_us(now)
        times = {"next_at_utc_us": next_at_us, "expires_at_utc_us": expires_at_us}
        attempts = case((outbox.c.channel == "voice", outbox.c.attempts), else_=0)
        with self._writing() as connection:
            unknown = set_columns(
                connection, ids, outbox.c.state == "unknown", **_again(at), **times
            )
            failed = set_columns(
                connection,
                ids,
                outbox.c.state == "failed",
                **{**_again(at), "doubt_at_utc_us": outbox.c.doubt_at_utc_us},
                **times,
                attempts=attempts,
            )
            return unknown + failed

    def unfail(self, ids: Sequence[int], next_at_us: int) -> int:
        """Queue failed messages again that failed with their whole channel."""
        values = {"state": "queued", "next_at_utc_us": next_at_us, "ended_at_utc_us": None}
        with self._writing() as connection:
            return set_columns(connection, ids, outbox.c.state == "failed", **values)

    def hold(self, channel: str, reason: str, wait_seconds: float, *, needs_person: bool) -> None:
        """Hold a channel, or keep it held: nothing is claimed but a probe after a while."""
        clock, later = _ClockUs(), held_channel.c.next_probe_at_utc_us
        until = clock + _us(wait_seconds)
        new = {"reason": reason, "needs_person": needs_person}
        with self._writing() as connection:
            statement = insert_into(connection, held_channel).values(
                channel=channel,
                held_at_utc_us=clock,
                n_probes=0,
                next_probe_at_utc_us=until,
                **new,
            )
            further = {"next_probe_at_utc_us": case((later > until, later), else_=until)}
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[held_channel.c.channel], set_={**new, **further}
                )
            )

    def held(self) -> tuple[Hold, ...]:
        """Channels that are held now."""
        query = select(held_channel).order_by(held_channel.c.channel)
        with self._reading() as connection:
            return tuple(Hold(**row._mapping) for row in connection.execute(query))

    def may_claim(self, channel: str, wait_seconds: float) -> Literal["all", "a probe", "nothing"]:
        """How much of a channel may be claimed now; a probe is given to one worker only.

        The next probe is due after ``wait_seconds``, twice that after the second, and so on up to
        a quarter of an hour.
        """
        query = select(held_channel).where(held_channel.c.channel == channel)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return "all"
        wait = min(wait_seconds * 2.0 ** min(row.n_probes, 30), MOST_PROBE_SECONDS)
        clock, due = _ClockUs(), held_channel.c.next_probe_at_utc_us
        # Further off than a probe can be: the clock was set back since.
        is_due = or_(due <= clock, due > clock + _us(MOST_PROBE_SECONDS) + _FAR_US)
        mine = (held_channel.c.channel == channel, held_channel.c.n_probes == row.n_probes, is_due)
        with self._writing() as connection:
            values = {"n_probes": row.n_probes + 1, "next_probe_at_utc_us": clock + _us(wait)}
            done = connection.execute(update(held_channel).where(*mine).values(values))
            return "a probe" if done.rowcount else "nothing"

    def probe_now(self, channels: Collection[str]) -> None:
        """Let the next probe of held channels go out at once: somebody may have put them right."""
        named = held_channel.c.channel.in_(sorted(channels))
        with self._writing() as connection:
            values = {"n_probes": 0, "next_probe_at_utc_us": 0}
            connection.execute(update(held_channel).where(named).values(values))

    def unhold(self, channel: str) -> bool:
        """Whether a channel was held; it is free now."""
        with self._writing() as connection:
            gone = delete(held_channel).where(held_channel.c.channel == channel)
            return connection.execute(gone).rowcount > 0

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

    def presume_sent(self, now: datetime, reason: str) -> int:
        """Make unknown what is due and not known to have gone out; gives the number."""
        values = {"state": "unknown", "reason": reason, "ended_at_utc_us": to_us(now)}
        none = {"lease_owner": None, "lease_until_utc_us": None}
        due = outbox.c.state.in_((*_OPEN, "sending")) & (outbox.c.next_at_utc_us <= to_us(now))
        with self._writing() as connection:
            return connection.execute(update(outbox).where(due).values(**values, **none)).rowcount

    def paused_waves(self) -> tuple[str, ...]:
        """Names of the paused waves; the empty one stands for all."""
        with self._reading() as connection:
            return tuple(connection.scalars(select(paused_wave.c.wave_id)).all())

    def unknown(
        self, limit: int, after: int = 0, channel: str | None = None
    ) -> tuple[OutboxRow, ...]:
        """Unknown messages in the order of their rows, from the one after a row."""
        query = select_rows().where(outbox.c.state == "unknown", outbox.c.outbox_id > after)
        if channel is not None:
            query = query.where(outbox.c.channel == channel)
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
        with self._writing() as connection:
            values = _ended(reason, to_us(now))
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
            return self._reserve(connection, channel, n, rate_per_second)

    def _reserve(
        self, connection: Connection, channel: str, n: int, rate_per_second: float
    ) -> float:
        """Reserve turns in the caller's transaction, by the clock that all workers share."""
        ahead = self._ahead_us.get(channel, 0)
        wait, self._ahead_us[channel] = reserve_turns(
            connection, channel, n, rate_per_second, ahead
        )
        return wait


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
    statement = statement.values(**_ended(reason, to_us(now)))
    if unit_ids is None:
        return connection.execute(statement).rowcount
    ids = sorted(set(unit_ids))
    parts = [ids[i : i + _IDS_A_STATEMENT] for i in range(0, len(ids), _IDS_A_STATEMENT)]
    return sum(
        connection.execute(statement.where(outbox.c.unit_id.in_(part))).rowcount for part in parts
    )


# Longer than any lease: that of a call with the longest time-out, behind a long queue of turns.
_FAR_LEASE_US = 6 * 3_600 * 1_000_000
MOST_PROBE_SECONDS = 900.0
SENT_AGAIN = "sent again on request"
MAY_HAVE_GONE_OUT = "may have gone out before"


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _ended(reason: str, at: int) -> dict[str, Any]:
    """Columns of a message that will not be sent; unknown where it may have been taken before."""
    doubt = outbox.c.doubt_at_utc_us.is_not(None)
    return {
        "state": case((doubt, "unknown"), else_="cancelled"),
        "reason": case((doubt, f"{MAY_HAVE_GONE_OUT}, then: {reason}"), else_=reason),
        "ended_at_utc_us": at,
    }


def _again(at: int) -> dict[str, Any]:
    """Columns of a message of unknown fate that is sent again."""
    none = dict.fromkeys(("ended_at_utc_us", "lease_owner", "provider_id", "looked_up_at_utc_us"))
    return {"state": "queued", "reason": SENT_AGAIN, "doubt_at_utc_us": at, **none}


def _is_current(
    connection: Connection, wave_id: Any, opened_at: datetime | None, spec_hash: str | None
) -> bool:
    """Whether a wave is as it was opened, and the plan as its messages were worded."""
    if opened_at is None:
        return True
    # Whoever closes a wave or amends the plan waits for the end of this transaction.
    of_wave = select(wave.c.state, wave.c.opened_at_utc_us).where(wave.c.wave_id == wave_id)
    of_enrolment = select(enrolment.c.state, enrolment.c.opened_at_utc_us).where(
        enrolment.c.enrolment_id == wave_id
    )
    row = (
        connection.execute(of_wave.with_for_update(read=True)).one_or_none()
        or connection.execute(of_enrolment.with_for_update(read=True)).one_or_none()
    )
    newest = select(study_version.c.hash).order_by(study_version.c.number.desc()).limit(1)
    version = connection.scalar(newest)
    is_same = row is not None and row.state == "open" and from_us(row.opened_at_utc_us) == opened_at
    return is_same and (version is None or version == spec_hash)


def take_back(
    connection: Connection, messages: Sequence[tuple[str, str, int, str, str | None]]
) -> int:
    """Delete messages that wait, in the caller's transaction, so that they are queued anew.

    Each is named by wave, arm, slot, message and wording. One that may have been taken before, and
    a call that was made before, stays. Gives the number.
    """
    n = 0
    was_begun = outbox.c.doubt_at_utc_us.is_not(None) | (
        (outbox.c.channel == "voice") & (outbox.c.attempts > 0)
    )
    for wave_id, arm, slot, message_id, wording in messages:
        gone = delete(outbox).where(
            outbox.c.state.in_(_OPEN),
            outbox.c.wave_id == wave_id,
            outbox.c.arm == arm,
            outbox.c.slot == slot,
            outbox.c.message_id == message_id,
            outbox.c.wording_hash.is_not_distinct_from(wording),
            ~was_begun,
        )
        n += connection.execute(gone).rowcount
    return n


def _not_expired(at: int) -> Any:
    return or_(outbox.c.expires_at_utc_us.is_(None), outbox.c.expires_at_utc_us > at)


def _not_paused() -> Any:
    names = paused_wave.c.wave_id
    return ~select(names).where(or_(names == outbox.c.wave_id, names == ALL_WAVES)).exists()


def _is_sending() -> Any:
    """What is closed sends nothing; nor does a wave that was reopened for its outcomes."""
    is_open = (wave.c.state == "open") & wave.c.reopened_at_utc_us.is_(None)
    of_wave = select(wave.c.wave_id).where(wave.c.wave_id == outbox.c.wave_id, is_open)
    same = enrolment.c.enrolment_id == outbox.c.wave_id
    of_enrolment = select(enrolment.c.enrolment_id).where(same, enrolment.c.state == "open")
    return or_(of_wave.exists(), of_enrolment.exists())


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
    own = ("outbox_id", "state", "channel", "lease_owner", "provider_id", "attempts")
    columns = [outbox.c[n] for n in (*own, "doubt_at_utc_us", *names)]
    query = select(*columns).where(outbox.c.outbox_id.in_(sorted(by_id)))
    locked = query.order_by(outbox.c.outbox_id).with_for_update()
    rows = [dict(row._mapping) for row in connection.execute(locked)]
    if owner is None:
        rows = _whose_id_is_their_own(connection, rows, by_id)
    changes = [(row["outbox_id"], _change(row, owner, by_id[row["outbox_id"]], at)) for row in rows]
    write_changes(connection, changes)
    if owner is not None:
        _take_from_looked_up(connection, rows, by_id, at)
    apply_waiting(connection, [row["outbox_id"] for row in rows])


def _whose_id_is_their_own(
    connection: Connection, rows: list[dict[str, Any]], results: Mapping[int, Recorded]
) -> list[dict[str, Any]]:
    """Rows of results of a query without those whose id is another message's: that is no proof."""
    found: dict[int, tuple[str, str | None]] = {
        row["outbox_id"]: (row["channel"], results[row["outbox_id"]].provider_id) for row in rows
    }
    names = {name for _, name in found.values() if name is not None}
    query = select(outbox.c.channel, outbox.c.provider_id, outbox.c.outbox_id)
    owners: dict[tuple[str, str | None], set[int]] = {}
    for row in connection.execute(query.where(outbox.c.provider_id.in_(sorted(names)))):
        owners.setdefault((row.channel, row.provider_id), set()).add(row.outbox_id)
    several = Counter(pair for pair in found.values() if pair[1] is not None)
    return [
        row
        for row in rows
        if (pair := found[row["outbox_id"]])[1] is None
        or (several[pair] == 1 and owners.get(pair, set()) <= {row["outbox_id"]})
    ]


def _take_from_looked_up(
    connection: Connection, rows: list[dict[str, Any]], results: Mapping[int, Recorded], at: int
) -> None:
    """The provider's own answer to a message: another one that a query gave its id is unknown."""
    names = {
        (row["channel"], name)
        for row in rows
        if (name := results[row["outbox_id"]].provider_id) is not None
    }
    times = ("sent_at_utc_us", "delivered_at_utc_us", "read_at_utc_us", "answered_at_utc_us")
    for channel in sorted({channel for channel, _ in names}):
        own = [name for place, name in names if place == channel]
        connection.execute(
            update(outbox)
            .where(outbox.c.provider_id.in_(sorted(own)), outbox.c.channel == channel)
            .where(outbox.c.looked_up_at_utc_us.is_not(None))
            .where(outbox.c.outbox_id.not_in([row["outbox_id"] for row in rows]))
            .values(
                state="unknown",
                reason="what the provider lists is another message",
                ended_at_utc_us=at,
                **dict.fromkeys((*times, "provider_id", "looked_up_at_utc_us")),
            )
        )


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
        if result.is_doubtful:
            done["doubt_at_utc_us"] = at
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
        if owner is None and row["provider_id"] is None:
            done["looked_up_at_utc_us"] = at
    if result.state == "failed" and row["doubt_at_utc_us"] is not None:
        reason = f"{MAY_HAVE_GONE_OUT}, then: {result.reason}"
        return done | moved(row, "unknown", at, reason)
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


def reserve_turns(
    connection: Connection, channel: str, n: int, rate_per_second: float, ahead_us: int = 0
) -> tuple[float, int]:
    """Reserve turns in the caller's transaction: seconds until the first, and ``ahead_us`` anew.

    Only differences of time matter here. So the clock of the turns is the one that is furthest
    ahead: ``ahead_us`` is how far it is before this worker's (the database's clock, which with
    SQLite is the worker's own). A worker whose clock is wrong neither waits nor runs ahead, but
    for the first turn of one that is ahead: its clock cannot be told from time that has passed.
    Other workers of the channel wait for the end of the transaction.
    """
    own = _ClockUs() + ahead_us
    until, last = channel_rate.c.next_at_utc_us, channel_rate.c.at_utc_us
    clock = case((last > own, last), else_=own)
    # Rounded up: the rate is never above the limit.
    span = math.ceil(n * _SECOND_US / rate_per_second)
    far = max(_FAR_US, _MOST_SPANS * span)
    begins = case((until < clock, clock), (until > clock + far, clock), else_=until)
    new = insert_into(connection, channel_rate).values(
        channel=channel, next_at_utc_us=own + span, at_utc_us=own
    )
    statement = new.on_conflict_do_update(
        index_elements=[channel_rate.c.channel],
        set_={"next_at_utc_us": begins + span, "at_utc_us": clock},
    ).returning(until - span - last, last - _ClockUs())
    wait_us, ahead = connection.execute(statement).one()
    return max(0, wait_us) / _SECOND_US, max(0, int(ahead))


def n_begun(connection: Connection, wave_id: str) -> int:
    """Messages of a wave or an enrolment that went out or may have."""
    begun = outbox.c.state.not_in(_UNSENT) | (outbox.c.attempts > 0)
    query = select(func.count()).where(outbox.c.wave_id == wave_id, begun)
    return connection.scalar(query) or 0


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
