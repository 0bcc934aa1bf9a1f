"""Faults of time: schedules, windows, and the order of waves."""

from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from itertools import pairwise

from wavewise.design.arms import Arm
from wavewise.design.known import Known
from wavewise.design.messages import Schedule
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import Fault

__all__ = ["first_day_after", "last_send", "schedule_faults", "wave_time_faults"]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def last_send(schedule: Schedule, starts: date) -> date:
    """Day of the last message of a schedule that begins on a date, or after it.

    Examples
    --------
    >>> last_send(Schedule(days=("mon", "thu"), at="17:00", weeks=3), date(2023, 10, 9))
    datetime.date(2023, 10, 26)
    """
    days = {(WEEKDAYS.index(day) - starts.weekday()) % 7 for day in schedule.days}
    weeks, place = divmod(schedule.n_sends - 1, len(days))
    return starts + timedelta(days=7 * weeks + sorted(days)[place])


def first_day_after(wave: Wave) -> date:
    """First day after a wave's outcome window."""
    return wave.starts + timedelta(days=wave.window_days)


def schedule_faults(known: Known) -> Iterator[Fault]:
    """Faults of the schedules by themselves."""
    for name, schedule in known.table("schedules").items():
        path = f"schedules.{name}"
        if schedule.weeks is not None and schedule.sets is not None:
            found = f"{schedule.weeks} weeks and {schedule.sets} sets"
            yield Fault(path, found, "weeks or sets", "take one of them out")
        if len(set(schedule.days)) < len(schedule.days):
            yield Fault(f"{path}.days", "a day that is there twice", "days that differ")
        if schedule.quiet_hours is not None:
            yield from _quiet_hours(schedule, schedule.quiet_hours, path)


def _quiet_hours(schedule: Schedule, quiet: tuple[time, time], path: str) -> Iterator[Fault]:
    begin, end = quiet
    if begin == end:
        found = f"{begin:%H:%M} to {end:%H:%M}"
        yield Fault(f"{path}.quiet_hours", found, "two times of day that differ")
    over_midnight = begin > end
    is_after, is_before = schedule.at >= begin, schedule.at < end
    if (is_after or is_before) if over_midnight else (is_after and is_before):
        found = f"{schedule.at:%H:%M}, in the quiet hours {begin:%H:%M} to {end:%H:%M}"
        yield Fault(f"{path}.at", found, "a time of day outside them")


def wave_time_faults(known: Known) -> Iterator[Fault]:
    """Faults of the waves' windows and of their order."""
    waves: list[Wave] = known.entries("waves")
    for wave in waves:
        yield from _window(known, wave)
        yield from _learned_in_time(known, wave)
    for before, after in pairwise(waves):
        if after.starts < before.starts:
            found = f"{after.starts}, before wave '{before.id}' ({before.starts})"
            yield Fault(f"waves['{after.id}'].starts", found, "waves in the order of time")


def _window(known: Known, wave: Wave) -> Iterator[Fault]:
    schedule = known.table("schedules").get(wave.schedule or "")
    if not isinstance(schedule, Schedule) or len(set(schedule.days)) < len(schedule.days):
        return
    last = last_send(schedule, wave.starts)
    if last >= first_day_after(wave):
        end = first_day_after(wave) - timedelta(days=1)
        found = f"{wave.window_days} days, to {end}, with the last message on {last}"
        needed = "a window that does not end before the last message"
        fix = f"give at least {(last - wave.starts).days + 1} days"
        yield Fault(f"waves['{wave.id}'].window_days", found, needed, fix)


def _learned_in_time(known: Known, wave: Wave) -> Iterator[Fault]:
    earlier = {other.id: other for other in known.entries("waves")}
    for name in sorted(set(_teachers(wave, known.wave_arms[wave.id]))):
        teacher = earlier.get(name)
        if teacher is None or name not in known.earlier(wave.id):
            continue
        free = first_day_after(teacher)
        if wave.starts < free:
            found = f"{wave.starts}, in the outcome window of wave '{name}' that it learns from"
            path = f"waves['{wave.id}'].starts"
            yield Fault(path, found, "a start after that window", f"start on {free} or later")


def _teachers(wave: Wave, arms: Iterable[Arm]) -> Iterator[str]:
    """Ids of the waves that a wave learns from."""
    if isinstance(wave.shares, AllocationRule):
        yield from wave.shares.learned_on
    for arm in arms:
        if arm.policy is not None:
            yield from arm.policy.learned_on
