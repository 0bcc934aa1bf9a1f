"""Faults of waves that show only beside the other entries of a study file."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from itertools import pairwise

from wavewise.design.known import Known, listing, refer
from wavewise.design.messages import Schedule
from wavewise.design.spec import Outcome
from wavewise.design.waves import (
    AllocationRule,
    Arm,
    SharesByStratum,
    UnitsShare,
    UnitsWhere,
    Wave,
    expand_arms,
)
from wavewise.errors import Fault

__all__ = [
    "first_periods",
    "outcome_window_faults",
    "own_period",
    "period_faults",
    "schedule_faults",
    "wave_faults",
]

SHARE_TOLERANCE = 1e-9


def wave_faults(known: Known) -> Iterator[Fault]:
    """Faults of the waves, in the order of the file."""
    waves: list[Wave] = known.entries("waves")
    for wave in waves:
        path = f"waves['{wave.id}']"
        yield from _wave_arms(known, wave, path)
        yield from _wave_schedule(known, wave, path)
        yield from _wave_units(known, wave, path)
        yield from _wave_shares(known, wave, path)
    yield from wave_time_faults(known)
    yield from _taken_units(waves)


def _taken_units(waves: list[Wave]) -> Iterator[Fault]:
    taken = sum(wave.units.share for wave in waves if isinstance(wave.units, UnitsShare))
    if taken > 1 + SHARE_TOLERANCE:
        yield Fault("waves", f"shares of the units that sum to {taken:g}", "at most 1")
    for place, wave in enumerate(waves):
        whole = next((before for before in waves[:place] if before.units == "all"), None)
        if whole is not None and (wave.units == "rest" or isinstance(wave.units, UnitsShare)):
            found = f"units that no earlier wave took, after wave '{whole.id}' took all"
            yield Fault(f"waves['{wave.id}'].units", found, "'all' or where")


def _wave_arms(known: Known, wave: Wave, path: str) -> Iterator[Fault]:
    arms = known.wave_arms[wave.id]
    ids = [arm.id for arm in arms]
    for name, count in Counter(ids).items():
        if count > 1:
            yield Fault(f"{path}.arms", f"'{name}' {count} times", "arms that differ")
    for arm in arms:
        yield from _arm(known, wave, arm, f"{path}.arms['{arm.id}']")
    listed = [arm.id for arm in expand_arms(wave.arms, known.arms)]
    added = ["control"] if wave.control_share is not None else []
    if wave.control is not None and wave.control not in [*listed, *added]:
        needed = f"an arm that the wave lists ({listing([*listed, *added])})"
        fix = "name one of them; a control_share by itself adds the arm 'control'"
        yield Fault(f"{path}.control", f"'{wave.control}'", needed, fix)
    if len(arms) < 2:
        yield Fault(f"{path}.arms", "1 arm", "at least 2 arms", "add an arm or a control_share")


def _arm(known: Known, wave: Wave, arm: Arm, path: str) -> Iterator[Fault]:
    given = [name for name in ("message", "messages", "policy") if getattr(arm, name) is not None]
    if len(given) > 1:
        yield Fault(path, " and ".join(given), "one of message, messages, policy")
    for message in arm.sequence:
        fix = "add it as [[messages]], or as an arm in [[arms]]"
        if message not in known.names("messages"):
            yield Fault(
                path, f"'{message}'", f"a message ({listing(known.names('messages'))})", fix
            )
    if arm.policy is not None:
        yield from _learned_on(known, wave.id, arm.policy.learned_on, f"{path}.policy.learned_on")
    schedule = known.table("schedules").get(wave.schedule or "")
    if isinstance(schedule, Schedule) and len(arm.sequence) > len(schedule.days):
        found = f"{len(arm.sequence)} messages for {len(schedule.days)} days"
        yield Fault(path, found, f"as many days in schedules.{wave.schedule} as messages")


def _learned_on(
    known: Known, wave_id: str, learned_on: Iterable[str], path: str
) -> Iterator[Fault]:
    earlier = known.earlier(wave_id)
    for name in learned_on:
        if name not in earlier:
            found = f"'{name}'" if name in known.names("waves") else f"'{name}', which is no wave"
            yield Fault(path, found, f"a wave before '{wave_id}' ({listing(earlier)})")


def _wave_schedule(known: Known, wave: Wave, path: str) -> Iterator[Fault]:
    sends = any(arm.sequence or arm.policy for arm in known.wave_arms[wave.id])
    if wave.schedule is not None:
        yield from refer(f"{path}.schedule", wave.schedule, known.names("schedules"), "a schedule")
    elif sends and wave.imported is None:
        yield Fault(
            f"{path}.schedule", "nothing", "when the messages go out", 'add schedule = "NAME"'
        )


def _wave_units(known: Known, wave: Wave, path: str) -> Iterator[Fault]:
    columns = known.columns
    if isinstance(wave.units, UnitsWhere) and columns is not None:
        for column in wave.units.where:
            what = "a column of [units] or [derived]"
            yield from refer(f"{path}.units.where", column, columns, what)
    for key in ("where", "strata", "covariates"):
        named = getattr(wave, key) or ()
        for column in named if columns is not None else ():
            what = "a column of [units] or [derived]"
            yield from refer(f"{path}.{key}", column, columns or set(), what)
    if wave.units == "rest" and not known.earlier(wave.id):
        yield Fault(f"{path}.units", "'rest' in the first wave", "'all', a share, or where")
    if wave.imported is not None:
        if not wave.imported.randomized and wave.imported.propensity is not None:
            found = "a column of propensities of a wave that was not randomized"
            yield Fault(f"{path}.imported.propensity", found, "none: they are estimated")
        for name in wave.imported.outcomes:
            yield from refer(
                f"{path}.imported.outcomes", name, known.names("outcomes"), "an outcome"
            )
        ids = {arm.id for arm in known.wave_arms[wave.id]}
        for name in wave.imported.arm_names.values():
            yield from refer(f"{path}.imported.arm_names", name, ids, "an arm of the wave")


def _wave_shares(known: Known, wave: Wave, path: str) -> Iterator[Fault]:
    ids = [arm.id for arm in known.wave_arms[wave.id]]
    if isinstance(wave.shares, AllocationRule):
        yield from _allocation_rule(known, wave, wave.shares, f"{path}.shares")
    elif isinstance(wave.shares, SharesByStratum):
        for stratum, shares in wave.shares.by_stratum.items():
            yield from _share_vector(
                wave, shares, ids, f"{path}.shares.by_stratum['{stratum}']", exact=False
            )
    elif isinstance(wave.shares, dict):
        yield from _share_vector(wave, wave.shares, ids, f"{path}.shares", exact=True)
    for name in ("control_share", "held_out_share"):
        if getattr(wave, name) == 1.0:
            yield Fault(f"{path}.{name}", "1", "a share below 1, so that some units get messages")


def _allocation_rule(known: Known, wave: Wave, rule: AllocationRule, path: str) -> Iterator[Fault]:
    yield from _learned_on(known, wave.id, rule.learned_on, f"{path}.learned_on")
    if rule.model is not None:
        yield from refer(f"{path}.model", rule.model, known.names("models"), "a model")
    elif rule.rule != "equal":
        yield Fault(f"{path}.model", "nothing", f"a model ({listing(known.names('models'))})")
    yield from _control_and_floor(known, wave, rule, path)
    yield from _within(known, wave, rule, f"{path}.within")


def _within(known: Known, wave: Wave, rule: AllocationRule, path: str) -> Iterator[Fault]:
    """Faults of the strata within which shares are learned."""
    units = known.sound.get("units")
    if not rule.within or units is None:
        return
    if rule.rule == "equal":
        yield Fault(path, "strata beside equal shares", "a rule that learns, or no `within`")
    strata = units.strata if wave.strata is None else wave.strata
    if not strata:
        fix = 'add strata = ["COLUMN"] to [units] or to the wave'
        yield Fault(path, "no strata of the units", "strata to learn shares within", fix)
    for column in rule.columns_within(strata):
        yield from refer(path, column, set(strata), "a column of the strata")


def _control_and_floor(
    known: Known, wave: Wave, rule: AllocationRule, path: str
) -> Iterator[Fault]:
    matched = rule.rule == "control-augmented"
    if matched and wave.control_share is None:
        needed = "a control_share: the least that the control gets"
        yield Fault(f"{path}.rule", "'control-augmented' without a control", needed)
    n_competing = len(known.wave_arms[wave.id]) - (wave.control_share is not None)
    left = 1.0 - (wave.control_share or 0.0)
    if matched:
        left = min(left, n_competing / (n_competing + 1))
    if rule.floor * n_competing > left + SHARE_TOLERANCE:
        found = f"{rule.floor:g} for {n_competing} arms, {rule.floor * n_competing:g} together"
        yield Fault(f"{path}.floor", found, f"at most {left / n_competing:.6g} an arm")


def _share_vector(
    wave: Wave, shares: Mapping[str, float], ids: list[str], path: str, *, exact: bool
) -> Iterator[Fault]:
    for name in shares:
        yield from refer(path, name, set(ids), "an arm of the wave")
    control = wave.control_id
    if wave.control_share is not None and shares.get(control or "", wave.control_share) != (
        wave.control_share
    ):
        found = f"{shares[control or '']:g}, beside control_share = {wave.control_share:g}"
        yield Fault(f"{path}.{control}", found, "one share of the control", "give it once")
    added = wave.control_share if wave.control_id not in shares else None
    needed = 1.0 - (added or 0.0)
    total = math.fsum(shares.values())
    if abs(total - needed) > SHARE_TOLERANCE:
        rest = " beside the control share" if added else ""
        fix = f"give all {len(ids)} arms, or leave them out to use equal shares"
        yield Fault(path, f"shares that sum to {total:.10g}", f"{needed:.10g}{rest}", fix)
    missing = [
        name for name in ids if name not in shares and not (added and name == wave.control_id)
    ]
    if exact and missing:
        yield Fault(
            path, f"no share for {listing(missing)}", "a share for each arm", "0 is a share too"
        )


# Occasions on which a score is taken, and when in them each wave began.


def first_periods(outcome: Outcome, wave_ids: Sequence[str]) -> Mapping[str, str] | None:
    """Wave: the first period after it began; None where the study file does not say.

    Where `begins` is left out, one period more than waves means: the first period is before all
    waves, and a further one after each.

    Examples
    --------
    >>> score = Outcome(id="reading", kind="score", periods=("E2", "M3", "E3"))
    >>> first_periods(score, ["wave-1", "wave-2"])
    {'wave-1': 'M3', 'wave-2': 'E3'}
    >>> first_periods(score, ["wave-1"]) is None
    True
    """
    if outcome.begins:
        return outcome.begins
    if outcome.periods and len(outcome.periods) == len(wave_ids) + 1:
        return dict(zip(wave_ids, outcome.periods[1:], strict=True))
    return None


def own_period(outcome: Outcome, wave_id: str, wave_ids: Sequence[str]) -> str:
    """The period whose score is a wave's own outcome: the last one before the next wave began.

    Examples
    --------
    >>> score = Outcome(id="reading", kind="score", periods=("E2", "M3", "E3"))
    >>> [own_period(score, wave, ["wave-1", "wave-2"]) for wave in ("wave-1", "wave-2")]
    ['M3', 'E3']
    """
    begins = first_periods(outcome, wave_ids)
    if begins is None or wave_id not in begins:
        return outcome.periods[-1]
    place = {wave: outcome.periods.index(period) for wave, period in begins.items()}
    later = [start for start in place.values() if start > place[wave_id]]
    return outcome.periods[min(later) - 1] if later else outcome.periods[-1]


def period_faults(known: Known) -> Iterator[Fault]:
    """What is wrong with the periods of scores, and where a model needs to know more of them."""
    waves = [wave.id for wave in known.entries("waves")]
    for outcome in known.entries("outcomes"):
        yield from _faults_of(outcome, f"outcomes['{outcome.id}']", known)
    if len(waves) < len(known.names("waves")):
        return
    outcomes = {outcome.id: outcome for outcome in known.entries("outcomes")}
    for model in known.table("models").values():
        outcome = outcomes.get(model.outcome)
        if model.kind == "hierarchical normal" and outcome is not None:
            yield from _needed_by_model(outcome, waves)


def _faults_of(outcome: Outcome, path: str, known: Known) -> Iterator[Fault]:
    if outcome.kind != "score":
        for name in ("periods", "begins"):
            if getattr(outcome, name):
                yield Fault(f"{path}.{name}", f"kind '{outcome.kind}'", "kind 'score' beside it")
        return
    if len(set(outcome.periods)) < len(outcome.periods):
        yield Fault(f"{path}.periods", "a name twice", "names that differ", "rename one")
    for wave, period in outcome.begins.items():
        yield from refer(f"{path}.begins", wave, known.names("waves"), "a wave")
        yield from refer(f"{path}.begins['{wave}']", period, set(outcome.periods), "a period")


def _needed_by_model(outcome: Outcome, waves: Sequence[str]) -> Iterator[Fault]:
    """The model compares scores before and after each wave began."""
    if outcome.kind != "score" or not outcome.periods:
        return
    begins = first_periods(outcome, waves)
    missing = [wave for wave in waves if begins is None or wave not in begins]
    if missing:
        example = ", ".join(f'"{wave}" = "{outcome.periods[-1]}"' for wave in missing)
        yield Fault(
            f"outcomes['{outcome.id}'].begins",
            f"nothing for {', '.join(missing)}, with {len(outcome.periods)} periods",
            "the first period after each wave began",
            f"add begins = {{ {example} }}",
        )


# Faults of time: schedules, windows, and the order of waves.


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
    last = schedule.day_of_send(schedule.n_sends, wave.starts)
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


# Outcomes with days of their own: whole weeks, and none that another wave's messages reach.


def outcome_window_faults(known: Known) -> Iterator[Fault]:
    """Faults of the outcomes' own windows in each wave, and beside the messages of later ones."""
    schedules = {k: v for k, v in known.table("schedules").items() if isinstance(v, Schedule)}
    waves: list[Wave] = [wave for wave in known.entries("waves") if wave.imported is None]
    for outcome in known.entries("outcomes"):
        path = f"outcomes['{outcome.id}']"
        if outcome.kind == "score" and (outcome.has_own_days or outcome.unit_of_time):
            needed = "no days beside kind 'score', whose periods say when"
            yield Fault(path, "window, from_day, to_day or unit_of_time", needed)
            continue
        if outcome.unit_of_time and outcome.kind not in {"any", "count", "sum"}:
            needed = "kind 'any', 'count' or 'sum' beside it"
            yield Fault(f"{path}.unit_of_time", f"kind '{outcome.kind}'", needed)
        if outcome.has_own_days:
            for place, wave in enumerate(waves):
                yield from _own_days(outcome, wave, waves[place + 1 :], schedules, path)


def _own_days(
    outcome: Outcome,
    wave: Wave,
    later: Sequence[Wave],
    schedules: Mapping[str, Schedule],
    path: str,
) -> Iterator[Fault]:
    if outcome.window != "wave" and wave.schedule not in schedules:
        needed = f"a schedule of wave '{wave.id}', whose last message it refers to"
        yield Fault(f"{path}.window", f"'{outcome.window}'", needed, "give from_day and to_day")
        return
    first, last = outcome.days(wave, schedules)
    if last < first:
        found = f"day {first} to day {last} in wave '{wave.id}'"
        yield Fault(path, found, "a last day that is not before the first", "give to_day")
        return
    for other in later:
        schedule = schedules.get(other.schedule or "")
        if schedule is None or not _may_share_units(wave, other):
            continue
        free = (schedule.day_of_send(1, other.starts) - wave.starts).days
        if last > free:
            found = (
                f"day {last} of wave '{wave.id}', after the first message of wave '{other.id}', "
                f"which the same units may get on day {free + 1}"
            )
            needed = "a window that ends before them"
            fix = f"give to_day = {free}" if free >= first else "measure it before"
            fix += f", or let wave '{other.id}' start later, or take other units"
            yield Fault(f"{path}.to_day", found, needed, fix)


def _may_share_units(wave: Wave, later: Wave) -> bool:
    """Whether a unit may be in both; those that no earlier wave took cannot."""
    if later.units == "rest" or isinstance(later.units, UnitsShare):
        return False
    if not (isinstance(wave.units, UnitsWhere) and isinstance(later.units, UnitsWhere)):
        return True
    both = wave.units.where.keys() & later.units.where.keys()
    return all(_texts(wave.units.where[name]) & _texts(later.units.where[name]) for name in both)


def _texts(wanted: object) -> set[str]:
    return {str(value) for value in (wanted if isinstance(wanted, tuple) else (wanted,))}
