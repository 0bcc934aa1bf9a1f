"""Outcomes made from events that pass by in batches: memory holds sums, not events."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl

from wavewise.errors import Fault
from wavewise.fieldwork.outcome_rules import OutcomeRule
from wavewise.results import IntArray

__all__ = ["Tally", "columns_needed", "tally_of"]

Found = tuple[list[pl.Series], list[Fault]]


class Tally(Protocol):
    """One outcome in the making. Events come with the place of their unit in ``place``."""

    def add(self, events: pl.DataFrame) -> None:
        """Take events of the outcome's kind in the units' windows."""
        ...

    def found(self) -> Found:
        """Columns of the outcome, one row a unit, and faults."""
        ...


def tally_of(rule: OutcomeRule, n_units: int) -> Tally:
    """The tally of an outcome."""
    kinds: dict[str, type[_Counts | _Sums | _Lasts | _Items]] = {
        "sum": _Sums,
        "score": _Lasts,
        "successes": _Items,
    }
    return kinds.get(rule.kind, _Counts)(rule, n_units)


def columns_needed(rules: Sequence[OutcomeRule]) -> tuple[str, ...]:
    """Columns of events that some outcome uses."""
    kinds = {rule.kind for rule in rules}
    ids = ("event_id",) if "score" in kinds else ()
    values = ("value",) if kinds & {"sum", "score"} else ()
    items = ("item",) if "successes" in kinds else ()
    return ("unit_id", "kind", "at_utc_us", *ids, *values, *items)


class _Counts:
    """Number of events a unit; 0 or 1 for "any"."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        self._rule, self._n = rule, np.zeros(n_units, np.int64)

    def add(self, events: pl.DataFrame) -> None:
        self._n += np.bincount(events["place"].to_numpy(), minlength=self._n.size)

    def found(self) -> Found:
        values = pl.Series(self._rule.id, self._n)
        return [values.clip(0, 1) if self._rule.kind == "any" else values], []


class _Valued:
    """What sums and scores share: units with an event without its value have no outcome."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        self._rule, self._n_units = rule, n_units
        self._n_lacking, self._lacks = 0, np.zeros(n_units, bool)

    def _with_value(self, events: pl.DataFrame) -> pl.DataFrame:
        lacking = events.filter(pl.col("value").is_null())["place"]
        self._n_lacking += len(lacking)
        self._lacks[lacking.to_numpy()] = True
        return events

    def _checked(self, values: pl.Series) -> Found:
        if not self._n_lacking:
            return [values], []
        fault = Fault(
            f"outcome {self._rule.id!r}",
            f"{self._n_lacking:,} {self._rule.event!r} events of {int(self._lacks.sum()):,} units "
            "without a value",
            "a value for each",
            "deliver them again under new event ids, or leave them out",
        )
        return [values.set(pl.Series(self._lacks), None)], [fault]


class _Sums(_Valued):
    """Sum of the values a unit."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        super().__init__(rule, n_units)
        self._parts: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        self._parts.append(self._with_value(events.select("place", "value")).drop_nulls())

    def found(self) -> Found:
        empty = pl.DataFrame(schema={"place": pl.UInt32, "value": pl.Float64})
        # By size, one after another: neither the order of files nor threads change the rounding.
        rows = pl.concat([empty, *self._parts]).sort("place", "value")
        self._parts = [rows]
        sums = np.bincount(
            rows["place"].to_numpy(), weights=rows["value"].to_numpy(), minlength=self._n_units
        )
        return self._checked(pl.Series(self._rule.id, sums, dtype=pl.Float64))


class _Lasts(_Valued):
    """Value of the last event a unit; of several at one time, that of the greatest id."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        super().__init__(rule, n_units)
        self._last: pl.DataFrame | None = None

    def add(self, events: pl.DataFrame) -> None:
        new = self._with_value(events.select("place", "at_utc_us", "event_id", "value"))
        both = new if self._last is None else pl.concat([self._last, new])
        ordered = both.sort("place", "at_utc_us", "event_id")
        self._last = ordered.unique("place", keep="last", maintain_order=True)

    def found(self) -> Found:
        values = np.full(self._n_units, np.nan)
        if self._last is not None:
            places: IntArray = self._last["place"].to_numpy()
            values[places] = self._last["value"].to_numpy()
        return self._checked(pl.Series(self._rule.id, values).fill_nan(None))


class _Items:
    """Number of distinct items with an event, out of the trials that were offered."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        self._rule, self._n_units = rule, n_units
        self._n_itemless, self._lacks = 0, np.zeros(n_units, bool)
        self._pairs = pl.DataFrame(schema={"place": pl.UInt32, "item": pl.String})

    def add(self, events: pl.DataFrame) -> None:
        itemless = events.filter(pl.col("item").is_null())["place"]
        self._n_itemless += len(itemless)
        self._lacks[itemless.to_numpy()] = True
        new = events.select("place", "item").drop_nulls().unique()
        self._pairs = pl.concat([self._pairs, new]).unique()

    def found(self) -> Found:
        rule, trials = self._rule, self._rule.trials or 0
        counts = np.bincount(self._pairs["place"].to_numpy(), minlength=self._n_units)
        values = pl.Series(rule.id, counts, dtype=pl.Int64)
        wrong = pl.Series(self._lacks | (counts > trials))
        offered = pl.repeat(trials, self._n_units, dtype=pl.Int64, eager=True)
        faults = _too_many(values, rule, trials) + _itemless(self._n_itemless, rule)
        return [values.set(wrong, None), offered.alias(f"{rule.id}.trials")], faults


def _too_many(counts: pl.Series, rule: OutcomeRule, trials: int) -> list[Fault]:
    above = counts.filter(counts > trials)
    if above.is_empty():
        return []
    return [
        Fault(
            f"outcome {rule.id!r}",
            f"{len(above):,} units with more than {trials} distinct items, at most {max(above)}",
            f"at most the {trials} trials",
            "correct the trials in the study file, or the items of the events",
        )
    ]


def _itemless(n_events: int, rule: OutcomeRule) -> list[Fault]:
    if not n_events:
        return []
    return [
        Fault(
            f"outcome {rule.id!r}",
            f"{n_events:,} {rule.event!r} events without an item",
            "an item for each, to tell trials apart",
            "deliver them again with a column 'item'",
        )
    ]
