"""Outcomes: one value a unit from the events in its own window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from wavewise.errors import Fault, InputError

__all__ = ["EventFlow", "OutcomeRule", "OutcomeValues", "outcome_values", "window_us"]

Kind = Literal["any", "count", "sum", "successes", "score"]


@dataclass(frozen=True)
class OutcomeRule:
    """How one outcome is made from events.

    Parameters
    ----------
    id : str
        The outcome's id.
    kind : {'any', 'count', 'sum', 'successes', 'score'}
        Whether there was an event (0 or 1); their number; the sum of their values; the number of
        distinct items with an event, out of ``trials``; the value of the last event.
    event : str
        The kind of event.
    trials : int or None
        For successes: the number of items that were offered.
    """

    id: str
    kind: Kind
    event: str
    trials: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "successes" and (self.trials is None or self.trials < 1):
            raise InputError(
                f"outcome {self.id!r}: found trials {self.trials}; needed a number of 1 or more "
                "for successes; say how many items each unit was offered"
            )


@dataclass(frozen=True)
class EventFlow:
    """Where the events of a wave went: each is counted once.

    Parameters
    ----------
    in_window, before, after : int
        Events of the wave's units and of kinds that an outcome uses, by the unit's own window.
    unknown_unit : int
        Events of units that are not in the wave.
    other_kind : int
        Events of the wave's units of kinds that no outcome uses.
    """

    in_window: int
    before: int
    after: int
    unknown_unit: int
    other_kind: int

    def to_dict(self) -> dict[str, int]:
        """The counts as plain values, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class OutcomeValues:
    """Outcomes of the units of a wave.

    Parameters
    ----------
    values : DataFrame
        Column unit_id in ascending order, one column an outcome, and ``<id>.trials`` for
        successes. Null is missing.
    flow : EventFlow
        Counts of events.
    faults : tuple of Fault
        What the events cannot say; the units concerned have null.
    """

    values: pl.DataFrame
    flow: EventFlow
    faults: tuple[Fault, ...] = ()

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
    events: pl.DataFrame,
    units: pl.DataFrame,
    outcomes: Sequence[OutcomeRule],
    *,
    starts: date,
    window_days: int,
    default_time_zone: str,
) -> OutcomeValues:
    """Outcomes of units from the events in the window of each unit's own time zone.

    Parameters
    ----------
    events : DataFrame
        Columns event_id, unit_id, kind, at_utc_us, value, item; each event once.
    units : DataFrame
        Columns unit_id and time_zone (null: the default) of the wave's units.
    outcomes : sequence of OutcomeRule
        The outcomes.
    starts : date
        First day of the window, local.
    window_days : int
        Length of the window in local days, 1 or more.
    default_time_zone : str
        IANA name for units without one.

    Returns
    -------
    OutcomeValues
        One row a unit; the flow of events; faults.

    Notes
    -----
    The window of a unit is [``starts`` 00:00, ``starts`` + ``window_days`` 00:00) on its own
    clocks. Units without an event have 0 for any, count, sum and successes, and null for a score.
    """
    if window_days < 1:
        raise InputError(f"found a window of {window_days} days; needed 1 or more")
    ids = units.select("unit_id").sort("unit_id")
    zoned = units.select("unit_id", pl.col("time_zone").fill_null(default_time_zone))
    windows = _windows(zoned["time_zone"].unique().to_list(), starts, window_days)
    placed = _placed(events, zoned.join(windows, on="time_zone"), {o.event for o in outcomes})
    # In one order whatever the file's, so that sums and last values do not depend on it.
    inside = placed.filter(pl.col("where") == "in").sort("unit_id", "at_utc_us", "event_id")
    values, faults = ids, list[Fault]()
    for rule in outcomes:
        columns, found = _outcome(inside.filter(pl.col("kind") == rule.event), ids, rule)
        values = values.with_columns(columns)
        faults += found
    return OutcomeValues(values, _flow(placed), tuple(faults))


def _windows(zones: list[str], starts: date, window_days: int) -> pl.DataFrame:
    bounds = [window_us(starts, window_days, zone) for zone in zones]
    return pl.DataFrame(
        {"time_zone": zones, "start": [b[0] for b in bounds], "end": [b[1] for b in bounds]},
        schema={"time_zone": pl.String, "start": pl.Int64, "end": pl.Int64},
    )


def _placed(events: pl.DataFrame, windows: pl.DataFrame, kinds: set[str]) -> pl.DataFrame:
    """The events with a column ``where``: in, before, after, unknown unit or other kind."""
    joined = events.join(windows, on="unit_id", how="left")
    at = pl.col("at_utc_us")
    return joined.with_columns(
        pl.when(pl.col("start").is_null())
        .then(pl.lit("unknown unit"))
        .when(~pl.col("kind").is_in(sorted(kinds)))
        .then(pl.lit("other kind"))
        .when(at < pl.col("start"))
        .then(pl.lit("before"))
        .when(at >= pl.col("end"))
        .then(pl.lit("after"))
        .otherwise(pl.lit("in"))
        .alias("where")
    )


def _flow(placed: pl.DataFrame) -> EventFlow:
    counts = dict(placed["where"].value_counts().iter_rows())
    return EventFlow(
        in_window=counts.get("in", 0),
        before=counts.get("before", 0),
        after=counts.get("after", 0),
        unknown_unit=counts.get("unknown unit", 0),
        other_kind=counts.get("other kind", 0),
    )


def _outcome(
    events: pl.DataFrame, ids: pl.DataFrame, rule: OutcomeRule
) -> tuple[list[pl.Series], list[Fault]]:
    """Columns of one outcome, in the order of ``ids``, and its faults."""
    if rule.kind == "successes":
        return _successes(events, ids, rule)
    if rule.kind == "score":
        return _score(events, ids, rule)
    if rule.kind == "sum":
        return _sum(events, ids, rule)
    counts = _for_units(ids, events.group_by("unit_id").agg(value=pl.len())).fill_null(0)
    values = counts.cast(pl.Int64)
    return [(values.clip(0, 1) if rule.kind == "any" else values).alias(rule.id)], []


def _for_units(ids: pl.DataFrame, values: pl.DataFrame) -> pl.Series:
    joined = ids.join(values, on="unit_id", how="left", maintain_order="left")
    return joined["value"]


def _sum(
    events: pl.DataFrame, ids: pl.DataFrame, rule: OutcomeRule
) -> tuple[list[pl.Series], list[Fault]]:
    place = ids.with_row_index("place")
    rows = events.join(place, on="unit_id", how="left", maintain_order="left")
    # One after another in a fixed order: a parallel sum would round by the number of threads.
    sums = np.bincount(
        rows["place"].to_numpy(),
        weights=rows["value"].fill_null(0.0).to_numpy(),
        minlength=ids.height,
    )
    values = pl.Series(rule.id, sums, dtype=pl.Float64)
    return _without_valueless(events, ids, values, rule)


def _score(
    events: pl.DataFrame, ids: pl.DataFrame, rule: OutcomeRule
) -> tuple[list[pl.Series], list[Fault]]:
    last = events.group_by("unit_id", maintain_order=True).agg(pl.col("value").last())
    values = _for_units(ids, last).alias(rule.id)
    return _without_valueless(events, ids, values, rule)


def _without_valueless(
    events: pl.DataFrame, ids: pl.DataFrame, values: pl.Series, rule: OutcomeRule
) -> tuple[list[pl.Series], list[Fault]]:
    """Null for units with an event that lacks its value, and the fault."""
    lacking = events.filter(pl.col("value").is_null())
    if lacking.is_empty():
        return [values], []
    units = lacking["unit_id"].unique().to_list()
    fault = Fault(
        f"outcome {rule.id!r}",
        f"{lacking.height:,} {rule.event!r} events of {len(units):,} units without a value",
        "a value for each",
        "deliver them again under new event ids, or leave them out",
    )
    return [values.set(ids["unit_id"].is_in(units), None)], [fault]


def _successes(
    events: pl.DataFrame, ids: pl.DataFrame, rule: OutcomeRule
) -> tuple[list[pl.Series], list[Fault]]:
    trials = rule.trials or 0
    distinct = events.group_by("unit_id").agg(value=pl.col("item").drop_nulls().n_unique())
    counts = _for_units(ids, distinct).fill_null(0).cast(pl.Int64)
    itemless = events.filter(pl.col("item").is_null())
    is_itemless = ids["unit_id"].is_in(itemless["unit_id"].unique().to_list())
    faults = _too_many(counts, rule.id, trials) + _itemless(itemless.height, rule)
    values = counts.set((counts > trials) | is_itemless, None).alias(rule.id)
    offered = pl.repeat(trials, ids.height, dtype=pl.Int64, eager=True)
    return [values, offered.alias(f"{rule.id}.trials")], faults


def _too_many(counts: pl.Series, outcome_id: str, trials: int) -> list[Fault]:
    above = counts.filter(counts > trials)
    if above.is_empty():
        return []
    return [
        Fault(
            f"outcome {outcome_id!r}",
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
