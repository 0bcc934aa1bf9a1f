"""What stands between the people of a study and its messages, before anything is sent."""

from dataclasses import dataclass

import polars as pl

from wavewise.design.waves import Wave
from wavewise.errors import Fault
from wavewise.workflow.outgoing import message_faults, messages_of, worded_units
from wavewise.workflow.study import Study

__all__ = ["Readiness", "address_lines", "readiness", "without_address"]


@dataclass(frozen=True)
class Readiness:
    """What was found among the people, for the waves that still send.

    Parameters
    ----------
    n_units : int
        People of the study.
    faults : tuple of Fault
        Fields that are missing without a fallback, and texts that are too long: a wave does not
        open with them.
    notes : tuple of str
        Units without an address, and the lengths of text messages.
    without_address : mapping of str to int
        Channel: number of units that no message of it can reach.
    """

    n_units: int
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    without_address: dict[str, int]


def readiness(study: Study) -> Readiness:
    """Every message of the waves that are not closed, written out for all people."""
    units = worded_units(study)
    closed = {row.wave_id for row in study.store.waves() if row.state == "closed"}
    waves = [
        wave
        for wave in study.spec.waves
        if wave.schedule and wave.imported is None and wave.id not in closed
    ]
    faults: dict[Fault, None] = {}
    notes: dict[str, None] = {}
    lacking: dict[str, int] = {}
    for wave in waves if len(units.ids) else []:
        found, lengths = message_faults(study, wave, units)
        faults |= dict.fromkeys(found)
        notes |= dict.fromkeys(lengths)
        lacking |= without_address(study, wave, units.ids)
    lines = address_lines(study, lacking, len(units.ids))
    return Readiness(len(units.ids), tuple(faults), (*lines, *notes), lacking)


def without_address(study: Study, wave: Wave, ids: pl.Series) -> dict[str, int]:
    """Numbers of units that have no address on a channel of a wave's messages.

    Channels whose addresses the study does not keep reach units by their ids, and are left out.
    """
    used = {str(message.channel) for message in messages_of(study, wave)}
    return {
        channel: len(ids) - int(ids.is_in(study.store.contacted_units(channel).implode()).sum())
        for channel in sorted(used & set(study.spec.units.address))
    }


def address_lines(study: Study, lacking: dict[str, int], n_units: int) -> tuple[str, ...]:
    """One sentence a channel for which addresses are missing."""
    return tuple(
        f"{n:,} of {n_units:,} {study.spec.units.name} have no address for {channel}: their "
        "messages fail for that reason, and they stay in intent to treat."
        for channel, n in lacking.items()
        if n
    )
