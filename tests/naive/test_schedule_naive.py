"""The schedule against a plain enumeration: walk through time, look at the local clock."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavewise.design.messages import Schedule
from wavewise.fieldwork.schedule import after_quiet, local_moment, sends

# localtime and posixrules are files of the machine, no zones
ZONES = sorted(available_timezones() - {"localtime", "posixrules"})
MINUTE = timedelta(minutes=1)
DAY_NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def walked(day: date, at: time, zone: ZoneInfo, step: timedelta = MINUTE) -> datetime:
    """The first step of a walk at which the clock shows the time or more."""
    wanted = datetime.combine(day, at)
    moment = wanted.replace(tzinfo=UTC) - timedelta(hours=30)
    while wall(moment, zone) < wanted:
        moment += step
    return moment


def changes(zone: ZoneInfo, year: int) -> Iterator[date]:
    """Days of a year on which the clocks of a zone change, found by looking at every day."""
    day = datetime(year, 1, 1, tzinfo=UTC)
    before = day.astimezone(zone).utcoffset()
    for _ in range(366):
        day += timedelta(days=1)
        now = day.astimezone(zone).utcoffset()
        if now != before:
            yield (day - timedelta(days=1)).astimezone(zone).date()
            yield day.astimezone(zone).date()
        before = now


@pytest.mark.parametrize("year", [2024, 2026])
def test_every_zone_on_the_days_of_its_clock_changes(year: int) -> None:
    """Every quarter of an hour from midnight to four, and 17:00, in all zones of tzdata."""
    quarter = timedelta(minutes=15)
    clocks = [time(hour, minute) for hour in range(4) for minute in (0, 15, 30, 45)]
    n_days = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for day in sorted(set(changes(zone, year))):
            n_days += 1
            for at in (*clocks[::2], time(17), time(23, 45)):
                assert local_moment(day, at, zone) == walked(day, at, zone, quarter), (name, day)
    assert n_days > 200


zones = st.sampled_from(ZONES)
days = st.dates(date(2013, 1, 1), date(2037, 12, 31))
clock = st.times().map(lambda t: t.replace(second=0, microsecond=0))


@given(zones, days, clock)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_zone_day_and_time(name: str, day: date, at: time) -> None:
    zone = ZoneInfo(name)
    assert local_moment(day, at, zone) == walked(day, at, zone)


@given(
    zones,
    days,
    clock,
    st.lists(st.sampled_from(DAY_NAMES), min_size=1, max_size=4, unique=True),
    st.integers(1, 4),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sends_are_on_their_days(
    name: str, starts: date, at: time, names: list[str], weeks: int
) -> None:
    """Day by day on the calendar: the days that count, in order, each at its moment."""
    zone = ZoneInfo(name)
    plan = Schedule(days=tuple(names), at=at, weeks=weeks)
    wanted = []
    for n in range(7 * weeks):
        day = starts + timedelta(days=n)
        if DAY_NAMES[day.weekday()] in names:
            wanted.append(local_moment(day, at, zone))
    found = sends(plan, starts, zone)
    assert [send.due_at for send in found] == wanted
    assert [send.slot for send in found] == list(range(plan.n_sends))


@given(zones, days, clock, clock, clock)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_quiet_hours_end_first(name: str, day: date, at: time, begin: time, end: time) -> None:
    """Walking on by minutes from the moment: the first that is not quiet."""
    if begin == end:
        return
    zone = ZoneInfo(name)

    def quiet(moment: datetime) -> bool:
        shown = wall(moment, zone).time()
        return begin <= shown < end if begin < end else shown >= begin or shown < end

    start = walked(day, at, zone)
    found = after_quiet(start, zone, (begin, end))
    assert not quiet(found)
    moment = start
    while moment < found:
        if not quiet(moment):
            assert zone_changes_between(start, found, zone)
            return
        moment += MINUTE
    assert moment == found or zone_changes_between(start, found, zone)


def zone_changes_between(start: datetime, end: datetime, zone: ZoneInfo) -> bool:
    return (
        start.astimezone(zone).utcoffset()
        != (end + timedelta(hours=3)).astimezone(zone).utcoffset()
    )


@given(
    zones,
    days,
    st.integers(-10, 30),
    st.sampled_from(["skip", "shift"]),
    st.sampled_from([None, 0.5, 30.0]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_late_start(
    name: str, starts: date, late_days: int, word: str, hours: float | None
) -> None:
    zone = ZoneInfo(name)
    given_hours = {} if hours is None else {"late_after_hours": hours}
    plan = Schedule(days=("mon", "thu"), at=time(17), weeks=3, if_late=word, **given_hours)
    grace = timedelta(hours=3 if hours is None else hours)
    opened = datetime.combine(starts, time(12), tzinfo=UTC) + timedelta(days=late_days)
    planned = [send.due_at for send in sends(plan, starts, zone)]
    found = sends(plan, starts, zone, opened)
    if word == "skip":
        assert [send.due_at for send in found] == planned
        assert [send.is_late for send in found] == [due + grace <= opened for due in planned]
        assert all(send.expires_at == send.due_at + grace for send in found)
    else:
        assert len(found) == 6
        assert not any(send.is_late for send in found)
        assert all(send.due_at >= opened for send in found)
        assert all(wall(send.due_at, zone).weekday() in {0, 3} for send in found)
        if late_days < -1:
            assert [send.due_at for send in found] == planned


def test_monday_and_thursday_through_a_clock_change() -> None:
    """Chile sets its clocks forward on 3 September 2023: 21:00 UTC becomes 20:00 UTC."""
    plan = Schedule(days=("mon", "thu"), at=time(17), weeks=3)
    found = sends(plan, date(2023, 8, 28), ZoneInfo("America/Santiago"))
    assert [f"{send.due_at:%m-%d %H:%M}" for send in found] == [
        "08-28 21:00",
        "08-31 21:00",
        "09-04 20:00",
        "09-07 20:00",
        "09-11 20:00",
        "09-14 20:00",
    ]


def test_quiet_hours_bound_a_shifted_message() -> None:
    plan = Schedule(days=("mon",), at=time(17), quiet_hours=(time(21), time(7)), if_late="shift")
    (send,) = sends(plan, date(2024, 3, 4), ZoneInfo("UTC"))
    assert send.expires_at == datetime(2024, 3, 4, 21, tzinfo=UTC)
    at = after_quiet(send.expires_at, ZoneInfo("UTC"), plan.quiet_hours)
    assert at == datetime(2024, 3, 5, 7, tzinfo=UTC)
