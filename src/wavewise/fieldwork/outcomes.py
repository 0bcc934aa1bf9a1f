"""Outcomes: one value a unit from the events in its own window."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.outcome_rules import OutcomeRule
from wavewise.fieldwork.outcome_tally import tally_of

__all__ = ["EventFlow", "OutcomeRule", "OutcomeValues", "outcome_values", "window_us"]

IN_WINDOW = "in"


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
    events: pl.DataFrame | Iterable[pl.DataFrame],
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
    events : DataFrame or iterable of DataFrame
        Columns event_id, unit_id, kind, at_utc_us, value, item, each event once; in batches of any
        size and order, which are not kept. Of the columns event_id, value and item those suffice
        that :func:`wavewise.fieldwork.outcome_tally.columns_needed` names.
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
    ids = units.select("unit_id").sort("unit_id").with_row_index("place")
    zoned = units.select("unit_id", pl.col("time_zone").fill_null(default_time_zone))
    windows = _windows(zoned["time_zone"].unique().to_list(), starts, window_days)
    placed = ids.join(zoned.join(windows, on="time_zone"), on="unit_id")
    tallies = [(rule.event, tally_of(rule, ids.height)) for rule in outcomes]
    kinds = sorted({rule.event for rule in outcomes})
    flow: Counter[str] = Counter()
    for batch in [events] if isinstance(events, pl.DataFrame) else events:
        found = _placed(batch, placed, kinds)
        flow.update(dict(found["where"].value_counts().iter_rows()))
        inside = found.filter(pl.col("where") == IN_WINDOW)
        by_kind = {kind: inside.filter(pl.col("kind") == kind) for kind in kinds}
        for kind, tally in tallies:
            tally.add(by_kind[kind])
    values, faults = ids.select("unit_id"), list[Fault]()
    for _, tally in tallies:
        columns, wrong = tally.found()
        values = values.with_columns(columns)
        faults += wrong
    return OutcomeValues(values, _flow(flow), tuple(faults))


def _windows(zones: list[str], starts: date, window_days: int) -> pl.DataFrame:
    bounds = [window_us(starts, window_days, zone) for zone in zones]
    return pl.DataFrame(
        {"time_zone": zones, "start": [b[0] for b in bounds], "end": [b[1] for b in bounds]},
        schema={"time_zone": pl.String, "start": pl.Int64, "end": pl.Int64},
    )


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
