"""Facts as of a wave: what events say of units before it, one value a unit and fact."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from wavewise.design.messages import Derived, EventConditions
from wavewise.errors import Fault
from wavewise.fieldwork.outcomes import CORRECT, window_us
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = ["EventFacts", "fact_columns", "fact_window_us", "facts_from_events"]

_FROM_EVER, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class EventFacts:
    """Facts of units from events."""

    # (n_units, n_facts): In the order of the units as they were given; truth values for "any",
    # whole numbers for counts and days. Null where there is nothing to say, such as the days
    # since an event of a unit that had none.
    values: pl.DataFrame
    faults: Mapping[str, Fault]  # Fact: what the events cannot say of it.


def fact_window_us(rule: Derived, starts: date, time_zone: str) -> tuple[int, int]:
    """First microsecond of the events that a fact counts, and first one after them.

    Both are beginnings of local days, as those of an outcome's window.
    """
    end = _end(rule, starts)
    if rule.within_days is None:
        return _FROM_EVER, window_us(end, 1, time_zone)[0]
    return window_us(end - timedelta(days=rule.within_days), rule.within_days, time_zone)


def _end(rule: Derived, starts: date) -> date:
    return starts if rule.before == "wave" else rule.before


def fact_columns(rules: Mapping[str, Derived]) -> tuple[str, ...]:
    """Columns of events that some fact uses."""
    wheres = [rule.where for rule in rules.values()]
    bounds = [x for where in wheres for x in (where.value, where.at_least, where.at_most)]
    valued = any(map(_needs_value, rules.values())) or any(x is not None for x in bounds)
    items = any(where.item is not None for where in wheres)
    return ("unit_id", "kind", "at_utc_us", *(["value"] * valued), *(["item"] * items))


def facts_from_events(
    events: Iterable[pl.DataFrame],
    units: pl.DataFrame,
    rules: Mapping[str, Derived],
    *,
    starts: date,
    default_time_zone: str,
) -> EventFacts:
    """Facts of units (``unit_id``, ``time_zone``) from one pass over events, in any order.

    Rules are those with an event; events have the columns that `fact_columns` names.
    """
    zones = units["time_zone"].fill_null(default_time_zone)
    facts = {name: _Fact(name, rule, zones, starts) for name, rule in rules.items()}
    every_kinds = {rule.event for rule in rules.values() if rule.event is not None}
    placed = units.select("unit_id").with_row_index("place")
    for batch in events:
        rows = batch.join(placed, on="unit_id")
        at, place = rows["at_utc_us"].to_numpy(), rows["place"].to_numpy()
        of_kinds = {kinds: _is_one_of(rows["kind"], kinds) for kinds in every_kinds}
        for fact in facts.values():
            fact.add(rows, of_kinds, place, at)
    made = [fact.found() for fact in facts.values()]
    faults = {name: fault for name, fact in facts.items() if (fault := fact.fault())}
    return EventFacts(pl.DataFrame(made), faults)


def _needs_value(rule: Derived) -> bool:
    return rule.summary in {"sum", "first"}


class _Fact:
    """One fact in the making."""

    def __init__(self, name: str, rule: Derived, zones: pl.Series, starts: date) -> None:
        self._name, self._rule, self._zones, self._end = name, rule, zones, _end(rule, starts)
        bounds = {zone: fact_window_us(rule, starts, zone) for zone in zones.unique()}
        self._low, self._high = (
            zones.replace_strict({z: b[i] for z, b in bounds.items()}, return_dtype=pl.Int64)
            .to_numpy() for i in (0, 1)
        )  # fmt: skip
        self._n_valueless, self._n = 0, 0
        self._tally = _TALLIES[rule.summary](len(zones))

    def add(
        self,
        events: pl.DataFrame,
        of_kinds: Mapping[tuple[str, ...], BoolArray],
        place: IntArray,
        at: IntArray,
    ) -> None:
        """Take those of the events that count."""
        counts = of_kinds[self._rule.event or ()] & (at < self._high[place])
        if self._rule.within_days is not None:
            counts &= at >= self._low[place]
        if self._rule.where != EventConditions():
            counts &= _conditions(self._rule, events)
        if not counts.any():
            return
        values = None
        self._n += int(counts.sum())
        if _needs_value(self._rule):
            values = events["value"].to_numpy()
            self._n_valueless += int(np.isnan(values[counts]).sum())
            counts &= ~np.isnan(values)
            values = values[counts]
        self._tally.add(_Counted(place[counts], at[counts], values))

    def found(self) -> pl.Series:
        """The fact's column."""
        rule = self._rule
        if rule.summary in {"days since last", "days since first"}:
            return self._days(self._tally.found()).alias(self._name)
        found = self._tally.found()
        return (found > 0 if rule.summary == "any" else found).alias(self._name)

    def _days(self, at: pl.Series) -> pl.Series:
        """Days from the local day of a moment to the wave's first day."""
        days = pl.Series(np.zeros(len(at), np.int64)).replace(0, None)
        for zone in self._zones.unique():
            local = pl.from_epoch(at, "us").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
            gap = (pl.select(pl.lit(self._end) - local.dt.date()).to_series()).dt.total_days()
            days = gap.zip_with(self._zones == zone, days)
        return days

    def fault(self) -> Fault | None:
        """That events have no value to sum."""
        if not self._n_valueless:
            return None
        kinds = " and ".join(map(repr, self._rule.event or ()))
        return Fault(
            f"derived.{self._name}",
            f"{self._n_valueless:,} of {self._n:,} {kinds} events before the wave without a value",
            f"a value for each, since summary = {self._rule.summary!r}",
            f'take summary = "count" in the study file, or {CORRECT}',
        )


def _is_one_of(column: pl.Series, names: tuple[str, ...]) -> BoolArray:
    found = column == names[0]
    for name in names[1:]:
        found |= column == name
    mask: BoolArray = found.to_numpy()
    return mask


def _conditions(rule: Derived, events: pl.DataFrame) -> BoolArray:
    where, kept = rule.where, pl.lit(value=True)
    if where.value is not None:
        kept &= pl.col("value").is_in(where.value)
    if where.at_least is not None:
        kept &= pl.col("value") >= where.at_least
    if where.at_most is not None:
        kept &= pl.col("value") <= where.at_most
    if where.item is not None:
        kept &= pl.col("item").is_in(where.item)
    found: BoolArray = events.select(kept.fill_null(value=False).alias("kept"))["kept"].to_numpy()
    return found


# Sums over events that come in any order: memory holds one number a unit, but for values.


class _Counted(NamedTuple):
    """Events that a fact counts."""

    place: IntArray  # Of the unit.
    at: IntArray
    values: FloatArray | None  # Where the fact is made of them.


class _Tally(Protocol):
    def __init__(self, n_units: int) -> None: ...

    def add(self, events: _Counted) -> None:
        """Take events that count."""
        ...

    def found(self) -> pl.Series:
        """One value a unit."""
        ...


class _Number:
    """Number of events."""

    def __init__(self, n_units: int) -> None:
        self._n = np.zeros(n_units, np.int64)

    def add(self, events: _Counted) -> None:
        self._n += np.bincount(events.place, minlength=self._n.size)

    def found(self) -> pl.Series:
        return pl.Series(self._n)


class _Sum:
    """Sum of the values, added by size, so that the order in which they come changes no digit."""

    def __init__(self, n_units: int) -> None:
        self._n_units = n_units
        self._parts: list[pl.DataFrame] = []

    def add(self, events: _Counted) -> None:
        place = events.place.astype(np.uint32)
        self._parts.append(pl.DataFrame({"place": place, "value": events.values}))

    def found(self) -> pl.Series:
        empty = pl.DataFrame(schema={"place": pl.UInt32, "value": pl.Float64})
        rows = pl.concat([empty, *self._parts]).sort("place", "value")
        self._parts = [rows]
        sums = np.bincount(
            rows["place"].to_numpy(), weights=rows["value"].to_numpy(), minlength=self._n_units
        )
        return pl.Series(sums, dtype=pl.Float64)


class _Last:
    """Moment of the last event."""

    def __init__(self, n_units: int) -> None:
        self._at = np.full(n_units, _FROM_EVER)

    def add(self, events: _Counted) -> None:
        np.maximum.at(self._at, events.place, events.at)

    def found(self) -> pl.Series:
        return pl.Series(self._at).replace(_FROM_EVER, None)


class _First(_Last):
    """Moment of the first event."""

    def __init__(self, n_units: int) -> None:
        self._at = np.full(n_units, _NEVER)

    def add(self, events: _Counted) -> None:
        np.minimum.at(self._at, events.place, events.at)

    def found(self) -> pl.Series:
        return pl.Series(self._at).replace(_NEVER, None)


class _FirstValue:
    """Value of the first event; the smallest of several at one moment."""

    def __init__(self, n_units: int) -> None:
        self._at = np.full(n_units, _NEVER)
        self._value = np.full(n_units, np.nan)

    def add(self, events: _Counted) -> None:
        early = events.at <= self._at[events.place]
        named = {"place": events.place, "at": events.at, "value": events.values}
        rows = pl.DataFrame(named).filter(early)
        rows = rows.sort("place", "at", "value").unique("place", keep="first", maintain_order=True)
        new, moment, value = (rows[name].to_numpy() for name in ("place", "at", "value"))
        better = (moment < self._at[new]) | (value < self._value[new])
        self._at[new[better]], self._value[new[better]] = moment[better], value[better]

    def found(self) -> pl.Series:
        return pl.Series(self._value).fill_nan(None)


_TALLIES: Mapping[str, type[_Tally]] = {
    "any": _Number,
    "count": _Number,
    "sum": _Sum,
    "days since last": _Last,
    "days since first": _First,
    "first": _FirstValue,
}
