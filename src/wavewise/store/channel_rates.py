"""A channel's rate across all workers: turns to send, reserved many at once in one statement.

One row a channel holds the time from which nobody has a turn yet (the theoretical arrival time of
the generic cell rate algorithm, ITU-T I.371 (2004), annex A, without tolerance). A worker moves it
on by the turns that it takes, and sends in those alone; turns that it does not use are lost.
"""

import math
from typing import Any

from sqlalchemy import BigInteger, Connection, case
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from wavewise.store.conflicts import insert_into
from wavewise.store.database import Database
from wavewise.store.schema_outbox import channel_rate

__all__ = ["ChannelRates", "reserve_turns"]

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


class ChannelRates(Database):
    """The table of channels' rates."""

    def reserve_sends(self, channel: str, n: int, rate_per_second: float) -> float:
        """Reserve the next turns of a channel; gives the seconds from now until the first.

        The turns are ``1 / rate_per_second`` seconds apart.

        Parameters
        ----------
        channel : str
            Whose turns.
        n : int
            Number of turns, above 0.
        rate_per_second : float
            Finite, above 0: turns a second, over all workers.

        Examples
        --------
        >>> from wavewise.store import Store
        >>> with Store.open("sqlite://") as store:
        ...     first = store.reserve_sends("sms", 20, rate_per_second=0.1)
        ...     second = store.reserve_sends("sms", 1, rate_per_second=0.1)
        >>> first, round(second / 10)
        (0.0, 20)
        """
        with self._writing() as connection:
            return reserve_turns(connection, channel, n, rate_per_second)


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
