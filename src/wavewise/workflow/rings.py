"""People who ring the study's number (a "flash"): called back, and counted."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import polars as pl

from wavewise.errors import WavewiseError
from wavewise.fieldwork.addresses import caller_addresses
from wavewise.fieldwork.channels.base import Channel, Listens
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.store import to_us
from wavewise.workflow.calls import VOICE, schedule_of, times_from
from wavewise.workflow.contacts import ContactBook
from wavewise.workflow.outbox_writer import OutboxWriter
from wavewise.workflow.study import Study

__all__ = ["FLASH", "UNKNOWN_CALLER", "Flashed", "call_back", "listening"]

FLASH = "flash"
# In the place of a unit's id: the number of somebody who is not in the study is not kept.
UNKNOWN_CALLER = "unknown caller"
_AGAIN_SECONDS = 30.0  # after a line could not be opened


@dataclass(frozen=True)
class Flashed:
    """What came of somebody's ringing.

    Parameters
    ----------
    n_units : int
        Units with this number; 0 where it is not known.
    n_moved : int
        Calls that go out at once now.
    """

    n_units: int
    n_moved: int


def call_back(study: Study, ring: KeyRing | None, caller: str, reference: str) -> Flashed:
    """Keep that somebody rang, and call them at once: the call that waits for them longest.

    Only a call that is due and queued goes out, and only where the schedule's attempts say
    ``call_back``: nobody gets a call that the study did not plan, and whoever refused gets none,
    since nothing is queued for them.

    Parameters
    ----------
    study : Study
        An open study.
    ring : KeyRing or None
        Tells whose number it is; without it nobody's.
    caller : str
        Number or SIP address, as the provider gives it.
    reference : str
        Names the call: told twice, it counts once.
    """
    addresses = caller_addresses(caller)
    units: tuple[str, ...] = ()
    if ring is not None:
        book = ContactBook(study.store, ring)
        units = tuple(sorted({u for one in addresses for u in book.units_at(VOICE, one)}))
    _keep(study, units or (UNKNOWN_CALLER,), reference)
    return Flashed(len(units), _brought_forward(study, units))


def _brought_forward(study: Study, units: tuple[str, ...]) -> int:
    now = study.clock()
    for row in study.store.waiting_messages(VOICE, units):
        schedule = schedule_of(study, row)
        if row.due_at_utc_us > to_us(now):
            return 0  # the exercise set of a later day is not brought forward
        if schedule is not None and schedule.attempts.call_back:
            return study.store.postpone_messages([row.outbox_id], *times_from(study, row, now))
    return 0


def _keep(study: Study, units: tuple[str, ...], reference: str) -> None:
    now = study.clock()
    rows = pl.DataFrame(
        {
            "event_id": [f"{FLASH}:{reference}:{unit}" for unit in units],
            "unit_id": list(units),
            "kind": [FLASH] * len(units),
            "at_utc_us": [to_us(now)] * len(units),
        }
    )
    study.store.add_events(rows, received_at=now)


@asynccontextmanager
async def listening(
    study: Study,
    writer: OutboxWriter,
    ring: KeyRing | None,
    channels: Iterable[Channel],
    on_deaf: Callable[[str, str], None],
) -> AsyncIterator[None]:
    """Hear who rings, on every channel that can be rung, for as long as the block lasts.

    Parameters
    ----------
    study : Study
        An open study.
    writer : OutboxWriter
        In whose thread the store is used.
    ring : KeyRing or None
        As for :func:`call_back`.
    channels : iterable of Channel
        Of the worker.
    on_deaf : callable
        Told of a channel and the reason, where nobody can be heard for now.
    """

    async def rung(caller: str) -> None:
        await writer.call(call_back, study, ring, caller, uuid.uuid4().hex)

    tasks = [
        asyncio.create_task(_listen(channel, rung, on_deaf))
        for channel in channels
        if isinstance(channel, Listens)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(
    channel: Listens,
    rung: Callable[[str], Awaitable[None]],
    on_deaf: Callable[[str, str], None],
) -> None:
    while True:
        try:
            await channel.listen(rung)
        except WavewiseError as error:
            on_deaf(getattr(channel, "name", VOICE), str(error))
        await asyncio.sleep(_AGAIN_SECONDS)
