"""When messages are due, in each unit's own time zone, clock changes included."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, islice
from zoneinfo import ZoneInfo

from wavewise.design.messages import WEEKDAYS, Schedule

__all__ = ["Send", "after_quiet", "expiry", "local_moment", "sends"]


@dataclass(frozen=True)
class Send:
    """One send of a schedule in one time zone."""

    slot: int  # Its number, from 0; a sequence of k messages gives slot s its message s modulo k.
    due_at: datetime  # When, in UTC.
    # From then on it is late (skip) or would come in quiet hours (shift).
    expires_at: datetime | None
    is_late: bool = False  # Whether the wave opened too late for it, and it is skipped.


def local_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The first moment, in UTC, at which a local clock shows a time of a day, or a later one.

    Where clocks jump over that time, it is the moment of the jump; where they show it twice, the
    first.

    Examples
    --------
    >>> local_moment(date(2024, 3, 31), time(2, 30), ZoneInfo("Europe/Madrid")).isoformat()
    '2024-03-31T01:00:00+00:00'
    >>> local_moment(date(2024, 10, 27), time(2, 30), ZoneInfo("Europe/Madrid")).isoformat()
    '2024-10-27T00:30:00+00:00'
    """
    wall = datetime.combine(day, at)
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    # A jump: before it the clock shows less than the time, after it more.
    low, high = sorted([moment, wall.replace(tzinfo=zone, fold=1).astimezone(UTC)])
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (low, middle) if _wall(middle, zone) >= wall else (middle, high)
    return low if _wall(low, zone) >= wall else high


def after_quiet(moment: datetime, zone: ZoneInfo, quiet: tuple[time, time] | None) -> datetime:
    """The moment itself, or the end of the quiet hours that it lies in."""
    if quiet is None or not _is_quiet(_wall(moment, zone).time(), quiet):
        return moment
    wall = _wall(moment, zone)
    day = wall.date() if wall.time() < quiet[1] else wall.date() + timedelta(days=1)
    return max(moment, local_moment(day, quiet[1], zone))


def expiry(moment: datetime, zone: ZoneInfo, schedule: Schedule) -> datetime | None:
    """When a message that may go out from ``moment`` on may not go out any more."""
    ends = []
    if schedule.if_late == "skip":
        ends.append(moment + _grace(schedule))
    if schedule.quiet_hours is not None:
        ends.append(_next_quiet(moment, zone, schedule.quiet_hours[0]))
    return min(ends) if ends else None


def sends(
    schedule: Schedule, starts: date, zone: ZoneInfo, opened_at: datetime | None = None
) -> tuple[Send, ...]:
    """All sends of a schedule to a unit in a time zone.

    Examples
    --------
    >>> plan = Schedule(days=("mon", "thu"), at="17:00", weeks=3)
    >>> due = sends(plan, date(2023, 10, 9), ZoneInfo("America/Lima"))
    >>> len(due), due[0].due_at.isoformat(), due[-1].due_at.isoformat()
    (6, '2023-10-09T22:00:00+00:00', '2023-10-26T22:00:00+00:00')
    """
    all_due = (
        after_quiet(local_moment(day, schedule.at, zone), zone, schedule.quiet_hours)
        for day in _days(schedule, starts)
    )
    if schedule.if_late == "shift" and opened_at is not None:
        all_due = (due for due in all_due if due >= opened_at)
    return tuple(
        Send(slot, due, expiry(due, zone, schedule), _is_late(due, schedule, opened_at))
        for slot, due in enumerate(islice(all_due, schedule.n_sends))
    )


def _is_late(due: datetime, schedule: Schedule, opened_at: datetime | None) -> bool:
    return (
        opened_at is not None and schedule.if_late == "skip" and due + _grace(schedule) <= opened_at
    )


def _grace(schedule: Schedule) -> timedelta:
    """How long after it was due a message may still go out, where late ones are skipped."""
    return timedelta(hours=schedule.late_after_hours)


def _days(schedule: Schedule, starts: date) -> Iterator[date]:
    wanted = {WEEKDAYS.index(day) for day in schedule.days}
    for number in count():
        day = starts + timedelta(days=number)
        if day.weekday() in wanted:
            yield day


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _is_quiet(clock: time, quiet: tuple[time, time]) -> bool:
    begin, end = quiet
    if begin < end:
        return begin <= clock < end
    return clock >= begin or clock < end


def _next_quiet(moment: datetime, zone: ZoneInfo, begin: time) -> datetime:
    day = _wall(moment, zone).date()
    found = (local_moment(day + timedelta(days=n), begin, zone) for n in count())
    return next(start for start in found if start > moment)
