"""Who may be drawn: who is eligible, one unit per phone, who has refused, whose turn it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wavewise.design.enrolment import PHONE, Enrolment, Sender
from wavewise.design.waves import UnitsShare, UnitsWhere, Wave, Where
from wavewise.errors import InputError, StateError
from wavewise.randomize import assign
from wavewise.shared.streams import stream
from wavewise.store.enrolments import ENROLLED
from wavewise.workflow.frames import UnitData, taken_units, units_for
from wavewise.workflow.send.queue import messages_of
from wavewise.workflow.study import Study

__all__ = [
    "LEFT_OUT",
    "REFUSED",
    "Participants",
    "channels_of",
    "enrolled_of",
    "invited_of",
    "left_out_lines",
    "participants_of",
    "phone_groups",
    "refusing",
]

# Why somebody is left out, as the flow of participants says it; in the order of the steps.
NOT_ELIGIBLE = "not eligible: {}"
TOO_FEW = "fewer than {} eligible in the same {}"
REFUSED_BEFORE = "had refused messages before"
MIXED = "shares a phone with somebody who is not eligible"
OTHER_OF_PHONE = "another one with the same {} was drawn"
EARLIER = "in an earlier wave"
OTHER_PART = "not in this wave's part"
NO_ADDRESS = "no contact detail"
REFUSED_SINCE = "refused after the enrolment"
OTHERS = (EARLIER, OTHER_PART)  # they are another wave's
REFUSED = (REFUSED_BEFORE, REFUSED_SINCE)

LEFT_OUT = "left_out"  # of a wave's details: numbers by reason, where somebody had refused

PHONES = ("sms", "voice")  # channels that share their numbers


@dataclass
class Participants:
    """Those who remain, and who was left out on the way and why."""

    units: UnitData
    n_considered: int = 0
    left_out: list[tuple[str, pl.Series]] = field(default_factory=list)  # reason, ids

    def __post_init__(self) -> None:
        self.n_considered = len(self.units)

    def keep(self, mask: pl.Series, reason: str) -> None:
        """Leave out those for whom a mask is not true."""
        out = self.units.ids.filter(~mask)
        if len(out):
            self.left_out.append((reason, out))
            self.units = self.units.where(mask)

    def meeting(self, where: Where) -> pl.Series:
        """Whether each unit has one of the values that conditions name."""
        return self.units.ids.is_in(self.units.meeting(where).ids.implode())

    def drop(self, ids: pl.Series | Iterable[str], reason: str) -> None:
        """Leave out those with these ids."""
        wanted = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        self.keep(~self.units.ids.is_in(wanted.implode()), reason)

    def together(self, groups: pl.DataFrame) -> None:
        """Randomize as a whole those who share a phone."""
        ids = pl.DataFrame({"unit_id": self.units.ids})
        found = ids.join(groups, on="unit_id", how="left", maintain_order="left")
        group = found.select(pl.coalesce("group", "unit_id").alias("group"))["group"]
        self.units = replace(self.units, together=group)

    def flow(self) -> list[dict[str, Any]]:
        """Numbers left out, by reason."""
        return [{"reason": reason, "n": len(ids)} for reason, ids in self.left_out]


# Before an enrolment: everybody on file, down to those who are invited.


def invited_of(study: Study, one: Enrolment) -> Participants:
    """Those whom an enrolment invites, everybody else with the reason."""
    if PHONE in {one.one_per, one.randomize_by}:
        _require_phones(study, one)
    every, facts = units_for(study, one)
    if facts.faults:
        raise InputError(
            f"enrolment '{one.id}': facts of units cannot be told; nothing was written",
            facts.faults,
        )
    found = Participants(every)
    groups, everybody = phone_groups(study), found.units.ids
    _keep_eligible(found, one)
    _sort_out_mixed(study, one, found, groups, everybody)
    alone = study.wave(one.waves[0]) if len(one.waves) == 1 else None
    shared = groups if PHONE in {one.one_per, one.randomize_by} else None
    n_taken = _drop_taken(study, alone, found, shared)
    found.drop(refusing(study, channels_of(study, one)), REFUSED_BEFORE)
    found.keep(_has_address(study, one, found.units.ids), NO_ADDRESS)
    _require_rule(study, one, found, groups)
    _one_per(study, one, found, groups)
    if one.randomize_by is not None:
        found.together(groups)
    if alone is not None:
        _draw_part(study, alone, found, n_taken)
    return found


def channels_of(study: Study, one: Enrolment) -> set[str]:
    """Channels of the messages of an enrolment and of the waves that it prepares."""
    senders: list[Sender] = [one, *(study.wave(wave) for wave in one.waves)]
    return {str(message.channel) for who in senders for message in messages_of(study, who)}


def _keep_eligible(found: Participants, sender: Sender) -> None:
    for column, wanted in sender.where.items():
        found.keep(found.meeting({column: wanted}), NOT_ELIGIBLE.format(column))
    if isinstance(sender, Wave):
        return
    for left in sender.leave_out:
        found.keep(~found.meeting(left.where), left.reason)
    for column, least in sender.least_size.items():
        values = found.units.select(column)
        size = values.select(pl.len().over(column))["len"] if len(values) else pl.Series([0])
        if len(values):
            found.keep(size >= least, TOO_FEW.format(least, column))


def phone_groups(study: Study) -> pl.DataFrame:
    """Units that share a phone with others: unit_id, and group, the first id among them.

    Numbers for SMS and for calls count as one phone; who shares either belongs together.
    """
    rows = pl.concat([study.store.contacts.find(name) for name in PHONES])
    rows = rows.select("unit_id", "lookup").unique().sort("unit_id", "lookup")
    if rows.is_empty():
        return pl.DataFrame(schema={"unit_id": pl.String, "group": pl.String})
    ids = rows["unit_id"].unique().sort()
    unit = rows.select(pl.col("unit_id").rank("dense") - 1)["unit_id"].to_numpy().astype(np.int64)
    phone = rows.select(pl.col("lookup").rank("dense") - 1)["lookup"].to_numpy().astype(np.int64)
    n, n_phones = len(ids), int(phone.max()) + 1
    shape = (n + n_phones, n + n_phones)
    edges = coo_array((np.ones(len(unit)), (unit, n + phone)), shape=shape)
    _, component = connected_components(edges, directed=False)
    frame = pl.DataFrame({"unit_id": ids, "component": component[:n]})
    frame = frame.with_columns(
        group=pl.col("unit_id").min().over("component"), size=pl.len().over("component")
    )
    return frame.filter(pl.col("size") > 1).select("unit_id", "group")


def refusing(study: Study, channels: Iterable[str]) -> pl.Series:
    """Ids of the units that refuse any of these channels; without one, those that refuse all."""
    parts = [study.store.opt_outs.units(name) for name in sorted(channels)]
    if not parts:
        parts = [study.store.opt_outs.all().filter(pl.col("channel").is_null())["unit_id"]]
    return pl.concat(parts).unique().sort()


def _sort_out_mixed(
    study: Study, one: Enrolment, found: Participants, groups: pl.DataFrame, everybody: pl.Series
) -> None:
    """Phones of units that are eligible and of others that are not."""
    is_in = pl.col("unit_id").is_in(found.units.ids.implode())
    on_file = groups.filter(pl.col("unit_id").is_in(everybody.implode()))
    by_phone = on_file.group_by("group").agg(n_in=is_in.sum(), n=pl.len())
    mixed = by_phone.filter((pl.col("n_in") > 0) & (pl.col("n_in") < pl.col("n")))
    if mixed.is_empty() or one.mixed_phones == "take eligible":
        return
    of_mixed = on_file.filter(pl.col("group").is_in(mixed["group"].implode()))
    if one.mixed_phones == "leave out":
        found.drop(of_mixed["unit_id"], MIXED)
        return
    raise InputError(
        f"enrolment '{one.id}': found {mixed.height:,} phones shared by {of_mixed.height:,} "
        f"{study.spec.units.name} of whom some are eligible and some are not; needed to know whom "
        'to invite; write mixed_phones = "take eligible" or "leave out" in its table and '
        f"{_make_known(study)}; nothing was written"
    )


def _has_address(study: Study, one: Enrolment, ids: pl.Series) -> pl.Series:
    """Whether a message of the enrolment can reach a unit; where no address is kept, all count."""
    channels = {str(message.channel) for message in messages_of(study, one)}
    kept = [study.store.contacts.units(name) for name in channels & set(study.spec.units.address)]
    if len(kept) < len(channels) or not sum(map(len, kept)):
        return pl.repeat(value=True, n=len(ids), eager=True, dtype=pl.Boolean)
    return ids.is_in(pl.concat(kept).implode())


def _require_phones(study: Study, one: Enrolment) -> None:
    if any(len(study.store.contacts.units(name)) for name in PHONES):
        return
    raise InputError(
        f"enrolment '{one.id}': found no phone numbers; needed those of the "
        f"{study.spec.units.name}, to tell who shares one; import them with `wavewise people "
        f"import {study.folder} FILE --replace --key-file KEY`; nothing was written"
    )


def _require_rule(study: Study, one: Enrolment, found: Participants, groups: pl.DataFrame) -> None:
    """People who share a phone could fall into two arms."""
    if PHONE in {one.one_per, one.randomize_by}:
        return
    shared = groups.filter(pl.col("unit_id").is_in(found.units.ids.implode()))
    several = shared.filter(pl.len().over("group") > 1)
    if several.is_empty() or one.one_per is not None:
        return
    raise InputError(
        f"enrolment '{one.id}': found {several['group'].n_unique():,} phones shared by "
        f"{several.height:,} {study.spec.units.name}, who could fall into different arms; needed "
        'a rule; write one_per = "phone" (one of them is drawn) or randomize_by = "phone" (all '
        f"get the same arm) in its table and {_make_known(study)}; nothing was written"
    )


def _make_known(study: Study) -> str:
    if study.version is None:
        return "try again"
    return f"run `wavewise amend {study.folder} --reason TEXT`"


def _one_per(study: Study, one: Enrolment, found: Participants, groups: pl.DataFrame) -> None:
    """Draw one unit of those that share a phone or a column's value.

    Each unit has its own random number, so that who is drawn does not depend on who else is there
    and is the same in every enrolment of the study.
    """
    name = one.one_per
    if name is None:
        return
    ids = pl.DataFrame({"unit_id": found.units.ids})
    if name == PHONE:
        shared = ids.join(groups, on="unit_id", how="inner")
    else:
        values = found.units.select(name)[name].cast(pl.String).alias("group")
        shared = ids.with_columns(values).drop_nulls("group")
    shared = shared.filter(pl.len().over("group") > 1)
    if shared.is_empty():
        return
    seed = study.spec.study.seed
    numbers = [stream(seed, "one per", name, unit).random() for unit in shared["unit_id"]]
    drawn = shared.with_columns(number=pl.Series(numbers)).sort("number", "unit_id")
    first = drawn.unique("group", keep="first", maintain_order=True)
    others = shared.join(first, on="unit_id", how="anti")
    found.drop(others["unit_id"], OTHER_OF_PHONE.format(name))


# At a wave: those who enrolled, or everybody on file; whoever refuses is never drawn.


def participants_of(study: Study, wave: Wave, everybody: UnitData) -> Participants:
    """Those who are randomized when a wave opens, of all units as the wave sees them."""
    one = study.spec.enrolment_of(wave.id)
    channels = {str(message.channel) for message in messages_of(study, wave)}
    if one is None:
        found = Participants(everybody)
        _keep_eligible(found, wave)
        n_taken = _drop_taken(study, wave, found, None)
        found.drop(refusing(study, channels), REFUSED_BEFORE)
        _draw_part(study, wave, found, n_taken)
        return found
    enrolled = enrolled_of(study, one)
    found = Participants(everybody.where(everybody.ids.is_in(enrolled.implode())))
    _keep_eligible(found, wave)
    groups = phone_groups(study)
    shares_wave = len(one.waves) > 1  # else the enrolment invited the wave's units alone
    shared = groups if one.one_per == PHONE else None
    n_taken = _drop_taken(study, wave if shares_wave else None, found, shared, of=one)
    asked = {str(message.channel) for message in messages_of(study, one)}
    found.drop(refusing(study, channels | asked), REFUSED_SINCE)
    _one_per(study, one, found, groups)
    if one.randomize_by is not None:
        found.together(groups)
    if shares_wave:
        _draw_part(study, wave, found, n_taken)
    return found


def enrolled_of(study: Study, one: Enrolment) -> pl.Series:
    """Ids of those who enrolled; refused while the enrolment is not closed."""
    row = study.store.enrolments.get(one.id)
    if row is None or row.state != "closed":
        state = "not open yet" if row is None else "still open"
        first = f"`wavewise enrol open {study.folder} {one.id}`, later " if row is None else ""
        raise StateError(
            f"waves {', '.join(one.waves)} are drawn from those who enrolled, and enrolment "
            f"'{one.id}' is {state}; needed one that is closed; run "
            f"{first}`wavewise enrol close {study.folder} {one.id}`"
        )
    return study.store.enrolments.units(one.id).filter(status=ENROLLED)["unit_id"]


def left_out_lines(found: Participants, units: str) -> list[str]:
    """Sentences on those who are not drawn although the wave would have taken them."""
    told = [(reason, len(ids)) for reason, ids in found.left_out if reason not in OTHERS]
    return [f"{n:,} {units} are left out: {reason}." for reason, n in told]


def _drop_taken(
    study: Study,
    wave: Wave | None,
    found: Participants,
    shared: pl.DataFrame | None,
    of: Enrolment | None = None,
) -> int:
    """Leave out those whom other waves took or were to take; gives how many of those there were.

    Where one unit per phone is drawn, whoever shares the phone of one taken is left out too.
    """
    if wave is None or not (wave.units == "rest" or isinstance(wave.units, UnitsShare)):
        return 0
    taken = taken_units(study, of)
    n_taken = int(found.units.ids.is_in(taken.implode()).sum())
    if shared is not None:
        of_taken = shared.filter(pl.col("unit_id").is_in(taken.implode()))["group"]
        same = shared.filter(pl.col("group").is_in(of_taken.implode()))["unit_id"]
        taken = pl.concat([taken, same])
    found.drop(taken, EARLIER)
    return n_taken


def _draw_part(study: Study, wave: Wave, found: Participants, n_taken: int) -> None:
    """Leave out those who are not in the wave's part; a share is one of all, taken ones counted."""
    if isinstance(wave.units, UnitsWhere):
        found.keep(found.meeting(wave.units.where), OTHER_PART)
    if not isinstance(wave.units, UnitsShare) or not len(found.units):
        return
    n_left = len(found.units)
    share = min(1.0, wave.units.share * (n_left + n_taken) / n_left)
    part = {"in": share, "out": 1.0 - share}
    rng = stream(study.spec.study.seed, wave.id, "units")
    units = found.units.design(study.spec, wave)
    drawn = assign(units.ids, units.strata, part, rng, cluster=units.groups, arms=("in", "out"))
    found.keep(pl.Series(drawn.arm == "in"), OTHER_PART)
