"""Outcomes: one value a unit from the events in its own window."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from wavewise.errors import Fault, InputError
from wavewise.shared.results import IntArray

__all__ = [
    "EventFlow",
    "OutcomeRule",
    "columns_needed",
    "outcome_values",
    "period_column",
    "window_us",
]


# How an outcome is made from events.

Kind = Literal["any", "count", "sum", "successes", "score", "days to first"]


@dataclass(frozen=True)
class OutcomeRule:
    """How one outcome is made from events."""

    id: str  # The outcome's id.
    # Whether there was an event (0 or 1); their number; the sum of their values; the number of
    # distinct items with an event, out of ``trials``; the value of the last event; days until the
    # first event.
    kind: Kind
    event: str  # The kind of event.
    trials: int | None = None  # For successes: the number of items that were offered.
    at_least: int = 1  # For any: the number of events from which it is 1.
    # First and last day that count, day 1 being the first of the wave; None: the wave's window.
    days: tuple[int, int] | None = None
    # Parts of the window of which the outcome is kept as well, by name: first and last day.
    periods: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def parts(self) -> "tuple[OutcomeRule, ...]":
        """The same outcome in each of its periods."""
        return tuple(
            replace(self, id=period_column(self.id, name), days=days, periods={})
            for name, days in self.periods.items()
        )

    def __post_init__(self) -> None:
        if self.kind == "successes" and (self.trials is None or self.trials < 1):
            raise InputError(
                f"outcome {self.id!r}: found trials {self.trials}; needed a number of 1 or more "
                "for successes; say how many items each unit was offered"
            )


def period_column(outcome_id: str, period: str) -> str:
    """Column of an outcome in one of its periods: no outcome has an id with a blank."""
    return f"{outcome_id}.{period}"


IN_WINDOW = "in"
# What helps where events that were kept are wrong.
CORRECT = (
    "deliver them again under the same ids with `wavewise observe DIR FILE --correct --reason "
    "TEXT`, or take them out with `wavewise withdraw DIR FILE --reason TEXT`"
)


@dataclass(frozen=True)
class EventFlow:
    """Where the events of a wave went: each is counted once."""

    # in_window, before, after: Events of the wave's units and of kinds that an outcome uses, by
    # the unit's own window.
    in_window: int
    before: int
    after: int
    unknown_unit: int  # Events of units that are not in the wave.
    other_kind: int  # Events of the wave's units of kinds that no outcome uses.

    def to_dict(self) -> dict[str, int]:
        """The counts as plain values, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class OutcomeValues:
    """Outcomes of the units of a wave."""

    # Column unit_id in ascending order, one column an outcome, and ``<id>.trials`` for successes.
    # Null is missing.
    values: pl.DataFrame
    flow: EventFlow  # Counts of events.
    faults: tuple[Fault, ...] = ()  # What the events cannot say; the units concerned have null.

    def raise_if_bad(self) -> None:
        """Raise InputError with the faults where there is one."""
        if self.faults:
            raise InputError("the events do not give every outcome", self.faults)

    def to_store(self) -> pl.DataFrame:
        """Columns unit_id and values_json, as the store freezes them."""
        names = [c for c in self.values.columns if c != "unit_id"]
        objects = pl.struct(names).struct.json_encode() if names else pl.lit("{}")
        return self.values.select("unit_id", objects.alias("values_json"))


def window_us(starts: date, window_days: int, time_zone: str) -> tuple[int, int]:
    """First microsecond in a window, and first one after it, since 1970 in UTC.

    Both are the beginnings of local days: where clocks skip midnight, the first moment of the day
    that exists; where midnight comes twice, the first of the two.

    Examples
    --------
    >>> start, end = window_us(date(2023, 3, 25), 2, "Europe/Berlin")  # clocks go forward
    >>> (end - start) // 3_600_000_000
    47
    """
    zone = ZoneInfo(time_zone)
    days = (starts, starts + timedelta(days=window_days))
    first, end = (datetime.combine(day, time(), tzinfo=zone) for day in days)
    return _us(first), _us(end)


def _us(moment: datetime) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
    return (moment.astimezone(ZoneInfo("UTC")) - epoch) // timedelta(microseconds=1)


def outcome_values(
    events: pl.DataFrame | Iterable[pl.DataFrame],
    units: pl.DataFrame,
    outcomes: Sequence[OutcomeRule],
    *,
    starts: date,
    window_days: int,
    default_time_zone: str,
) -> OutcomeValues:
    """Outcomes of units from the events in the window of each unit's own time zone.

    Notes
    -----
    The window of a unit is [``starts`` 00:00, ``starts`` + ``window_days`` 00:00) on its own
    clocks, or the days of the outcome's own window. Units without an event have 0 for any, count,
    sum and successes, null for a score, and the length of the window in days for days to first.
    """
    if window_days < 1:
        raise InputError(f"found a window of {window_days} days; needed 1 or more")
    ids = units.select("unit_id").sort("unit_id").with_row_index("place")
    zoned = units.select("unit_id", pl.col("time_zone").fill_null(default_time_zone))
    whole = (1, window_days)
    every = [part for rule in outcomes for part in (rule, *rule.parts())]
    rules = [replace(rule, days=rule.days or whole) for rule in every]
    days = list(dict.fromkeys([whole, *(rule.days or whole for rule in rules)]))
    windows = _windows(zoned["time_zone"].unique().to_list(), starts, days)
    placed = ids.join(zoned.join(windows, on="time_zone"), on="unit_id")
    tallies = [(rule, tally_of(rule, ids.height)) for rule in rules]
    kinds = sorted({rule.event for rule in outcomes})
    flow: Counter[str] = Counter()
    for batch in [events] if isinstance(events, pl.DataFrame) else events:
        found = _placed(batch, placed, kinds)
        flow.update(dict(found["where"].value_counts().iter_rows()))
        inside = found.filter(pl.col("where") == IN_WINDOW)
        by_kind = {kind: inside.filter(pl.col("kind") == kind) for kind in kinds}
        for rule, tally in tallies:
            tally.add(_on_days(by_kind[rule.event], days, rule.days or whole))
    values, faults = ids.select("unit_id"), list[Fault]()
    told = {rule.id for rule in outcomes}  # not their parts, which have the same faults
    for rule, tally in tallies:
        columns, wrong = tally.found()
        values = values.with_columns(columns)
        faults += wrong if rule.id in told else []
    return OutcomeValues(values, _flow(flow), tuple(faults))


Days = tuple[int, int]


def _windows(zones: list[str], starts: date, days: Sequence[Days]) -> pl.DataFrame:
    """Beginning and end of each pair of days by time zone, and of all together."""
    columns: dict[str, list[int]] = {}
    for k, (first, last) in enumerate(days):
        begins = starts + timedelta(days=first - 1)
        bounds = [window_us(begins, last - first + 1, zone) for zone in zones]
        columns[f"start {k}"], columns[f"end {k}"] = [b[0] for b in bounds], [b[1] for b in bounds]
    schema = {"time_zone": pl.String, **dict.fromkeys(columns, pl.Int64)}
    return pl.DataFrame({"time_zone": zones, **columns}, schema=schema).with_columns(
        start=pl.min_horizontal(name for name in columns if name.startswith("start")),
        end=pl.max_horizontal(name for name in columns if name.startswith("end")),
    )


def _on_days(events: pl.DataFrame, days: Sequence[Days], wanted: Days) -> pl.DataFrame:
    """Events on some days, with the beginning and end of these in ``start`` and ``end``."""
    if len(days) == 1:
        return events
    k, at = days.index(wanted), pl.col("at_utc_us")
    own = events.filter(at >= pl.col(f"start {k}"), at < pl.col(f"end {k}"))
    return own.with_columns(start=pl.col(f"start {k}"), end=pl.col(f"end {k}"))


def _placed(events: pl.DataFrame, windows: pl.DataFrame, kinds: list[str]) -> pl.DataFrame:
    """The events with their unit's ``place`` and with ``where`` they belong."""
    joined = events.join(windows, on="unit_id", how="left")
    at = pl.col("at_utc_us")
    return joined.with_columns(
        pl.when(pl.col("start").is_null())
        .then(pl.lit("unknown unit"))
        .when(~pl.col("kind").is_in(kinds))
        .then(pl.lit("other kind"))
        .when(at < pl.col("start"))
        .then(pl.lit("before"))
        .when(at >= pl.col("end"))
        .then(pl.lit("after"))
        .otherwise(pl.lit(IN_WINDOW))
        .alias("where")
    )


def _flow(counts: Counter[str]) -> EventFlow:
    return EventFlow(
        in_window=counts[IN_WINDOW],
        before=counts["before"],
        after=counts["after"],
        unknown_unit=counts["unknown unit"],
        other_kind=counts["other kind"],
    )


# Outcomes made from events that pass by in batches: memory holds sums, not events.

Found = tuple[list[pl.Series], list[Fault]]


class OutcomeCounter(Protocol):
    """One outcome in the making. Events come with the place of their unit in ``place``."""

    def add(self, events: pl.DataFrame) -> None:
        """Take events of the outcome's kind in the units' windows."""
        ...

    def found(self) -> Found:
        """Columns of the outcome, one row per unit, and faults."""
        ...


def tally_of(rule: OutcomeRule, n_units: int) -> OutcomeCounter:
    """The tally of an outcome."""
    kinds: dict[str, type[_Counts | _Sums | _Lasts | _Items | _Firsts]] = {
        "days to first": _Firsts,
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
    """Number of events a unit; for "any" 1 where there are enough of them, else 0."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        self._rule, self._n = rule, np.zeros(n_units, np.int64)

    def add(self, events: pl.DataFrame) -> None:
        self._n += np.bincount(events["place"].to_numpy(), minlength=self._n.size)

    def found(self) -> Found:
        enough = (self._n >= self._rule.at_least).astype(np.int64)
        return [pl.Series(self._rule.id, enough if self._rule.kind == "any" else self._n)], []


class _Firsts:
    """Days until the first event a unit."""

    def __init__(self, rule: OutcomeRule, n_units: int) -> None:
        self._rule, self._first_us = rule, np.full(n_units, np.iinfo(np.int64).max)

    def add(self, events: pl.DataFrame) -> None:
        since = (events["at_utc_us"] - events["start"]).to_numpy()
        np.minimum.at(self._first_us, events["place"].to_numpy(), since)

    def found(self) -> Found:
        first, last = self._rule.days or (1, 1)
        # a day on which clocks go back is longer: no first event lies after the window's end
        days = np.minimum(self._first_us / 86_400e6, last - first + 1.0)
        return [pl.Series(self._rule.id, days)], []


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
            CORRECT,
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
            f"amend the trials in the study file, or {CORRECT}",
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
            f"{CORRECT} (with a column 'item')",
        )
    ]
