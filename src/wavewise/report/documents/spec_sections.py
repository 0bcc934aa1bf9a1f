"""Parts of a spec that several documents show: messages, delivery, arms, sizes, power."""

import math
from collections.abc import Sequence
from datetime import date, timedelta

from wavewise.design.messages import Message, Schedule
from wavewise.design.power import ArmPower, Detectable, planned_effects
from wavewise.design.shares import planned_shares, planned_sizes
from wavewise.design.spec import Decision, Model, Outcome, StudySpec, Target
from wavewise.design.waves import AllocationRule, Arm, SharesByStratum, UnitsShare, UnitsWhere, Wave
from wavewise.report.documents.document import Block, Bullets, Grid
from wavewise.report.numbers import decimals_for, fixed, percent
from wavewise.shared.results import NotEstimable

__all__ = [
    "DASH",
    "NOT_SPECIFIED",
    "arm_content",
    "day",
    "decision_text",
    "delivery_blocks",
    "enrolment_text",
    "joined",
    "messages_grid",
    "model_text",
    "named_arms",
    "outcome_bullets",
    "power_blocks",
    "power_place",
    "power_scale",
    "rule_text",
    "share_text",
    "size_text",
    "strata_text",
    "wave_blocks",
    "wave_units_text",
    "window_text",
]

DASH = "\u2013"


def messages_grid(spec: StudySpec) -> Grid:
    """Every message with its text in each language."""
    rows = [row for message in spec.messages for row in _message_rows(message)]
    columns = ("Message", "Channel", "Mechanism", "Language", "Text")
    used = [n for n in range(len(columns)) if any(row[n] != DASH for row in rows)]
    cells = tuple(tuple(row[n] for n in used) for row in rows)
    return Grid("Messages", tuple(columns[n] for n in used), cells)


def _message_rows(message: Message) -> list[tuple[str, ...]]:
    head = (message.name, message.channel, message.mechanism or DASH)
    texts = list(message.text.items())
    if message.flow is not None:
        given = "; ".join(f"{name} = {value}" for name, value in message.fields.items())
        texts.append((DASH, f"call flow '{message.flow}'{f', with {given}' if given else ''}"))
    return [(*head, *text) for text in texts or [(DASH, f"text {NOT_SPECIFIED}")]]


def delivery_blocks(spec: StudySpec) -> tuple[Block, ...]:
    """When the messages of each wave go out."""
    same: dict[str, list[str]] = {}
    for wave in spec.waves:
        same.setdefault(_delivery(spec, wave), []).append(wave.name)
    return (Bullets(tuple(f"{joined(waves)}: {text}" for text, waves in same.items())),)


def _delivery(spec: StudySpec, wave: Wave) -> str:
    if wave.schedule is None:
        elsewhere = "delivered elsewhere, before the data were imported"
        return f"{elsewhere}." if wave.imported is not None else f"{NOT_SPECIFIED}."
    return schedule_text(spec, spec.schedules[wave.schedule])


def wave_blocks(spec: StudySpec, wave: Wave) -> tuple[Block, ...]:
    """A wave in words, and its arms."""
    control = f"Control: '{wave.control_id}'." if wave.control_id else "There is no control arm."
    return (
        f"{wave.name}: {wave_units_text(spec, wave)}; outcome window {window_text(wave)}. "
        f"{randomization_text(spec, wave)}",
        *filter(None, [enrolment_text(spec, wave)]),
        f"{rule_text(spec, wave)} {control}",
        arms_grid(spec, wave),
    )


def arms_grid(spec: StudySpec, wave: Wave) -> Grid:
    """The arms of a wave: content, share, planned number of units."""
    sizes, shares = planned_sizes(spec, wave), planned_shares(spec, wave) or {}
    rows = tuple(
        (
            arm.id,
            arm_content(spec, arm),
            _share(wave, arm.id, shares.get(arm.id)),
            _size(sizes[arm.id]),
        )
        for arm in spec.arms_of(wave)
    )
    columns = ("Arm", "Content", "Share", f"Planned {spec.units.name}")
    return Grid(f"Arms of {wave.name}", columns, rows, frozenset({2, 3}))


def arm_content(spec: StudySpec, arm: Arm) -> str:
    """What the units of an arm get, by the messages' labels."""
    if arm.policy is not None:
        return f"{arm.content}, learned on {joined(arm.policy.learned_on)}"
    names = spec.message_names
    return ", then ".join(names[name] for name in arm.sequence) or arm.content


def _share(wave: Wave, arm: str, share: object) -> str:
    if isinstance(share, float):
        return share_text(share)
    if arm == wave.control_id and wave.control_share is not None:
        return share_text(wave.control_share)
    return "by stratum" if share is not None else "by the rule"


def _size(size: float | NotEstimable) -> str:
    return DASH if isinstance(size, NotEstimable) else f"{size:,.0f}"


def outcome_bullets(spec: StudySpec, outcomes: list[Outcome]) -> tuple[Block, ...]:
    """Outcomes and how they are measured; targets and what they are made of."""
    targets = {target.id: target for target in spec.targets}
    items = tuple(
        f"{one.name}: "
        f"{target_text(spec, targets[one.id]) if one.id in targets else outcome_text(one)}."
        for one in outcomes
    )
    return (Bullets(items),) if items else (f"None is {NOT_SPECIFIED.removeprefix('not ')}.",)


def power_blocks(spec: StudySpec) -> tuple[Block, ...]:
    """Standard errors and minimum detectable effects, with what they rest on."""
    power = planned_effects(spec)
    if isinstance(power, NotEstimable):
        return (f"{NOT_SPECIFIED.capitalize()}: {power.reason}.",)
    blocks: list[Block] = [power.assumptions]
    if any(row.convention == "messaged part" for row in power.rows):
        blocks.append(
            "Where a share of each arm is held out, two conventions are given. Whole arm: all "
            "units of the arm, held-out ones included. Messaged part: only those that may get "
            "messages; its control is the held-out part of the same arm."
        )
    for outcome in spec.goals:
        rows = [row for row in power.rows if row.outcome == outcome.id]
        known = [row for row in rows if isinstance(row.std_error, float)]
        blocks += [_power_grid(spec, outcome, known)] if known else []
        blocks += [_relative_grid(spec, outcome, known)] if known else []
        blocks += _unknown(spec, outcome, rows)
    return tuple(blocks)


def _power_grid(spec: StudySpec, outcome: Outcome, rows: list[ArmPower]) -> Grid:
    factor, unit = power_scale(outcome)
    same: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        same.setdefault((power_place(spec, row), *_power_cells(row, factor)), []).append(row.arm)
    cells = tuple((place, named_arms(arms), *texts) for (place, *texts), arms in same.items())
    columns = ("Wave", "Arms", f"{spec.units.name.capitalize()} per arm", "SE of an arm",
               "MDE to control", "MDE to an equal arm")  # fmt: skip
    told = {
        row.wave: share_text(row.baseline_mean) if factor == 100 else f"{row.baseline_mean:g}"
        for row in rows
    }
    names = {wave.id: wave.name for wave in spec.waves}
    by_wave = joined([f"{text} in {names[wave]}" for wave, text in told.items()])
    baseline = by_wave if len(set(told.values())) > 1 else next(iter(told.values()))
    caption = f"{outcome.name}, in {unit}; baseline mean {baseline}"
    return Grid(caption, columns, cells, frozenset({2, 3, 4, 5}))


def _relative_grid(spec: StudySpec, outcome: Outcome, rows: list[ArmPower]) -> Grid:
    """The same effects as shares of the baseline, and in standard deviations."""
    same: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        cells = [
            text
            for contrast in (row.vs_control, row.vs_arm)
            for text in (
                _scaled(row.relative(contrast), 100.0),
                _scaled(row.in_std_devs(contrast), 1.0),
            )
        ]
        same.setdefault((power_place(spec, row), *cells), []).append(row.arm)
    table = tuple((place, named_arms(arms), *texts) for (place, *texts), arms in same.items())
    columns = ("Wave", "Arms", "To control, %", "To control, SD", "To an equal arm, %",
               "To an equal arm, SD")  # fmt: skip
    caption = (
        f"{outcome.name}: the same minimum detectable effects in percent of the baseline mean, and "
        "in standard deviations between units"
    )
    return Grid(caption, columns, table, frozenset({2, 3, 4, 5}))


def _unknown(spec: StudySpec, outcome: Outcome, rows: list[ArmPower]) -> list[Block]:
    """What is not known, with the reasons."""
    same: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if isinstance(row.std_error, NotEstimable):
            same.setdefault((power_place(spec, row), row.std_error.reason), []).append(row.arm)
    items = tuple(
        f"{outcome.name}, {place}, {named_arms(arms)}: not given, since {reason}."
        for (place, reason), arms in same.items()
    )
    return [Bullets(items)] if items else []


def power_place(spec: StudySpec, row: ArmPower) -> str:
    """Of which wave, and of which part of its arms, a row of power is."""
    wave = next(wave.name for wave in spec.waves if wave.id == row.wave)
    return wave if row.convention == "whole arm" else f"{wave}, messaged part"


def _power_cells(row: ArmPower, factor: float) -> tuple[str, ...]:
    contrasts = (row.vs_control, row.vs_arm)
    effects = [c.minimum_detectable_effect if isinstance(c, Detectable) else c for c in contrasts]
    return (_size(row.n_units), *(_scaled(value, factor) for value in (row.std_error, *effects)))


def _scaled(value: float | NotEstimable, factor: float) -> str:
    if isinstance(value, NotEstimable):
        return DASH
    return fixed(factor * value, decimals_for(factor * value, 3))


def power_scale(outcome: Outcome) -> tuple[float, str]:
    """Factor from the outcome's scale to the printed one, and the printed unit."""
    if outcome.kind in {"any", "successes"}:
        return 100.0, "percentage points"
    return 1.0, outcome.unit or "its own unit"


def named_arms(arms: list[str]) -> str:
    """Arms by name; many by their number."""
    return joined(arms) if len(arms) <= 8 else f"{len(arms)} arms ({arms[0]}, {arms[1]}, ...)"


# What a spec says, in words: schedules, waves, shares, outcomes, models. It adds nothing.

NOT_SPECIFIED = "not specified"
MOST_NAMED = 8

_DAYS = {
    "mon": "Mondays",
    "tue": "Tuesdays",
    "wed": "Wednesdays",
    "thu": "Thursdays",
    "fri": "Fridays",
    "sat": "Saturdays",
    "sun": "Sundays",
}

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def share_text(share: float) -> str:
    r"""A share in percent, with no more decimals than it needs, at most two.

    Examples
    --------
    >>> share_text(0.2), share_text(1 / 7)
    ('20\xa0%', '14.29\xa0%')
    """
    decimals = next((n for n in (0, 1) if abs(share - round(share, n + 2)) < 1e-9), 2)
    return percent(share, decimals)


def joined(items: Sequence[str]) -> str:
    """``a, b and c``.

    Examples
    --------
    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *most, last = items or [""]
    return f"{', '.join(most)} and {last}" if most else last


def day(value: date) -> str:
    """A date in words, e.g. ``9 October 2023``."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def window_text(wave: Wave) -> str:
    """The outcome window of a wave, e.g. ``9 to 29 October 2023 (21 days)``."""
    last = wave.starts + timedelta(days=wave.window_days - 1)
    if (wave.starts.year, wave.starts.month) == (last.year, last.month):
        return f"{wave.starts.day} to {day(last)} ({_counted(wave.window_days, 'day')})"
    return f"{day(wave.starts)} to {day(last)} ({_counted(wave.window_days, 'day')})"


def schedule_text(spec: StudySpec, schedule: Schedule) -> str:
    """When messages go out.

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> spec = parse_spec(template_text("peru-school-year"))
    >>> schedule_text(spec, spec.schedules["twice_weekly"]).split(" (")[0]
    "Mondays and Thursdays at 17:00 in each unit's own time zone for 3 weeks"
    """
    zone = spec.study.time_zone
    own_zone = spec.units.time_zone is not None
    place = "in each unit's own time zone" if own_zone else f"({zone})"
    default = f" ({zone} for those without one)" if own_zone else ""
    days = joined([_DAYS[name] for name in schedule.days])
    if schedule.sets is not None:
        length = f"{_counted(schedule.sets, 'time')} in all"
    else:
        length = f"for {_counted(schedule.weeks or 1, 'week')}"
    parts = [f"{days} at {schedule.at:%H:%M} {place} {length}{default}."]
    if schedule.quiet_hours is not None:
        begin, end = schedule.quiet_hours
        parts.append(f"Nothing is sent from {begin:%H:%M} to {end:%H:%M}.")
    hours = f" (within {schedule.late_after_hours:g} hours)"
    late, limit = ("dropped", hours) if schedule.if_late == "skip" else ("sent later", "")
    parts.append(f"A message that could not go out in time{limit} is {late}.")
    return " ".join([*parts, *_attempts(schedule)])


def _attempts(schedule: Schedule) -> list[str]:
    attempts, parts = schedule.attempts, []
    if attempts.most > 1:
        parts.append(
            f"A call that is not answered is made up to {attempts.most} times, "
            f"{attempts.every_hours:g} hours apart."
        )
    if attempts.call_back:
        parts.append("A unit that leaves a missed call is called back.")
    return parts


def wave_units_text(spec: StudySpec, wave: Wave) -> str:
    """Who takes part in a wave."""
    text = _taken_text(spec, wave)
    if wave.where:
        conditions = joined([_condition(*item) for item in wave.where.items()])
        text += f", if they have {conditions} as of the wave"
    return text


def _taken_text(spec: StudySpec, wave: Wave) -> str:
    name, units = spec.units.name, wave.units
    if isinstance(units, UnitsShare):
        return f"{share_text(units.share)} of the {name}, drawn at random"
    if isinstance(units, UnitsWhere):
        return f"the {name} with {joined([_condition(*item) for item in units.where.items()])}"
    if units == "rest":
        return f"the {name} that no earlier wave took"
    return f"all {name}"


def enrolment_text(spec: StudySpec, wave: Wave) -> str:
    """Who is invited before a wave, how, and who may be drawn; empty without an enrolment."""
    one, name = spec.enrolment_of(wave.id), spec.units.name
    if one is None:
        return ""
    parts = [f"Before {joined(one.waves)}, {name} are enrolled from {day(one.starts)}."]
    if one.messages:
        when = schedule_text(spec, spec.schedules[one.schedule or ""])
        parts.append(f"They get {', then '.join(one.messages)} ({when.rstrip('.')}).")
    if one.where:
        conditions = joined([_condition(*item) for item in one.where.items()])
        parts.append(f"Eligible: {conditions}.")
    parts += [
        f"Left out: {joined([_condition(*item) for item in left.where.items()])} ({left.reason})."
        for left in one.leave_out
    ]
    parts += [
        f"Left out: fewer than {least} eligible {name} of the same {column}."
        for column, least in one.least_size.items()
    ]
    if one.one_per is not None:
        parts.append(f"Of {name} with the same {one.one_per}, one is drawn at random.")
    if one.randomize_by is not None:
        parts.append(f"{name.capitalize()} who share a phone are randomized together.")
    agree = {
        "opt-out": "whoever does not refuse takes part",
        "explicit": "only those who agree take part, and each agreement is kept with its proof",
    }[one.consent]
    parts.append(
        f"Consent: {agree}. Those who refuse, and numbers that the provider calls invalid, are not "
        "randomized."
    )
    return " ".join(parts)


def _condition(column: str, values: object) -> str:
    listed = values if isinstance(values, tuple) else (values,)
    return f"{column} = {' or '.join(str(value) for value in listed)}"


def strata_text(spec: StudySpec, wave: Wave) -> str:
    """Strata of a wave, with what those are that are derived; nothing where there are none."""
    return joined([fact_text(spec, name) for name in spec.strata_of(wave)])


_OF_EVENTS = {
    "any": "whether there was a {} event",
    "count": "number of {} events",
    "sum": "sum of the values of {} events",
    "first": "value of the first {} event",
}


def fact_text(spec: StudySpec, name: str) -> str:
    """A column, with what it is derived from."""
    rule = spec.derived.get(name)
    if rule is None or rule.event is None:
        return name
    what = _OF_EVENTS.get(rule.summary, f"{rule.summary} {{}} event").format(
        " or ".join(rule.event)
    )
    span = f"in the {_counted(rule.within_days, 'day')} before" if rule.within_days else "before"
    end = "the wave" if rule.before == "wave" else day(rule.before)
    cut = f", cut into {joined(list(rule.cut))}" if rule.cut else ""
    return f"{name} ({what} {span} {end}{cut})"


def randomization_text(spec: StudySpec, wave: Wave) -> str:
    """How a wave is randomized: unit, strata, who did it."""
    group = spec.units.randomize_by
    one = spec.enrolment_of(wave.id)
    if one is not None and one.randomize_by is not None:
        group = one.randomize_by
    whole = f"groups of equal {group}, each as a whole" if group else f"single {spec.units.name}"
    strata = strata_text(spec, wave)
    text = f"Unit of randomization: {whole}. Strata: {strata or 'none'}."
    if wave.imported is not None and not wave.imported.randomized:
        return (
            "Observational: arms were not randomized; they are read from the column "
            f"'{wave.imported.arm}' of the people file. Propensities are estimated from "
            f"{joined(spec.covariates_of(wave))}, and units without overlap are left out "
            "(Crump et al. 2009)."
        )
    if wave.imported is not None:
        text += (
            " The wave was randomized elsewhere; its assignment is read from the column "
            f"'{wave.imported.arm}' of the people file."
        )
    return text


def rule_text(spec: StudySpec, wave: Wave) -> str:
    """Which shares the arms get, or by which rule."""
    if isinstance(wave.shares, AllocationRule):
        text = _allocation_rule(spec, wave, wave.shares)
    elif isinstance(wave.shares, SharesByStratum):
        text = f"Shares differ by stratum: {_by_stratum(spec, wave)}."
    else:
        text = f"Shares: {_grouped_shares(spec, wave)}."
    if wave.held_out_share:
        text += (
            f" In each arm, {share_text(wave.held_out_share)} of the units are held out at random "
            "and get no message."
        )
    return text


def _allocation_rule(spec: StudySpec, wave: Wave, rule: AllocationRule) -> str:
    beside = "the arms"
    if wave.control_share is not None:
        keeps = "keeps at least" if rule.rule == "control-augmented" else "keeps"
        beside = f"'{wave.control_id}' {keeps} {share_text(wave.control_share)}; the other arms"
    learned = f"the outcomes of {joined(rule.learned_on)}"
    floor = f" No arm gets less than {share_text(rule.floor)} of the wave." if rule.floor else ""
    if rule.rule == "equal":
        return f"Equal shares: {beside} get equal shares."
    name, law = _rule_words(rule)
    if rule.within:
        learned += f", within each stratum of {joined(rule.columns_within(spec.units.strata))}"
    return (
        f"{name}: {beside} get shares {law}, where p is an arm's posterior "
        f"probability of being best under the model '{rule.model}', learned on {learned}.{floor}"
    )


def _rule_words(rule: AllocationRule) -> tuple[str, str]:
    match rule.rule:
        case "exploration":
            return "Exploration sampling", "in proportion to p (1 \u2212 p)"
        case "top-two":
            beta = 0.5 if rule.beta is None else rule.beta
            first = share_text(beta)
            return (
                "Top-two Thompson sampling",
                f"of which {first} follow p and the rest the second of two different draws from p",
            )
        case "control-augmented":
            return (
                "Control-augmented Thompson sampling",
                "in proportion to p, and the control as much as the largest of them",
            )
        case "tempered Thompson":
            return "Tempered Thompson sampling", _tempered_law(rule)
    return "Thompson sampling", "in proportion to p"


def _tempered_law(rule: AllocationRule) -> str:
    default = 0.2 if rule.temper is None else 0.0
    uniform = default if rule.uniform_share is None else rule.uniform_share
    power = "p" if rule.temper in (None, 1.0) else f"p to the power {rule.temper:g}"
    mixed = f", after {share_text(uniform)} in equal parts" if uniform > 0 else ""
    return f"in proportion to {power}{mixed}"


def _by_stratum(spec: StudySpec, wave: Wave) -> str:
    shares = planned_shares(spec, wave) or {}
    parts = [
        f"{stratum}: {_groups(row)}" for stratum, row in shares.items() if isinstance(row, dict)
    ]
    return "; ".join(parts)


def _grouped_shares(spec: StudySpec, wave: Wave) -> str:
    shares = planned_shares(spec, wave) or {}
    return _groups({arm: share for arm, share in shares.items() if isinstance(share, float)})


def _groups(shares: dict[str, float]) -> str:
    """Shares, arms of the same share together: ``16 arms 5.0 % each, control 20.0 %``."""
    same: dict[str, list[str]] = {}
    for arm, share in shares.items():
        same.setdefault(share_text(share), []).append(arm)
    return joined([_group(arms, share) for share, arms in same.items()])


def _group(arms: list[str], share: str) -> str:
    if len(arms) == 1:
        return f"{arms[0]} {share}"
    named = joined(arms) if len(arms) <= MOST_NAMED else f"{len(arms)} arms"
    return f"{named} {share} each"


def size_text(spec: StudySpec, wave: Wave) -> str:
    """Planned number of units by arm, arms of the same size together."""
    same: dict[str, list[str]] = {}
    for arm, size in planned_sizes(spec, wave).items():
        if isinstance(size, NotEstimable):
            text = f"not known beforehand: {size.reason}"
        else:
            text = f"about {size:,.0f} {spec.units.name}"
        same.setdefault(text, []).append(arm)
    return "; ".join(f"{_arms(arms)}: {text}" for text, arms in same.items())


def _arms(arms: list[str]) -> str:
    if len(arms) <= MOST_NAMED:
        return f"{joined(arms)}{' each' if len(arms) > 1 else ''}"
    return f"{len(arms)} arms ({arms[0]}, {arms[1]}, ...) each"


def outcome_text(outcome: Outcome) -> str:
    """How an outcome is measured."""
    event = f"events of kind '{outcome.event}'" if outcome.event else "events"
    imported = "" if outcome.event or outcome.kind == "score" else ", read from a file"
    match outcome.kind:
        case "any":
            least = "one" if outcome.at_least == 1 else str(outcome.at_least)
            text = (
                f"1 where at least {least} of the {event} falls in the outcome window, otherwise 0"
            )
            text = text if outcome.event else "1 for yes, 0 for no"
        case "days to first":
            text = f"days to the first of the {event}, or the whole window where there is none"
        case "count":
            text = f"number of {event} in the outcome window"
        case "sum":
            text = f"sum of {outcome.value or 'the values'} over {event} in the outcome window"
        case "successes":
            trials = "the sends of the schedule" if outcome.out_of == "sets" else outcome.out_of
            text = f"number of sends with at least one of the {event}, out of {trials}"
        case _:
            taken = f", taken at {joined(outcome.periods)}" if outcome.periods else ""
            text = f"score{taken}; the {_counting(outcome)} counts"
    in_units = outcome.kind in {"sum", "score"} and outcome.unit not in {None, outcome.value}
    unit = f", in {outcome.unit}" if in_units else ""
    if outcome.has_own_days:
        text = text.removesuffix(" in the outcome window")
    direction = "" if outcome.higher_is_better else "; lower is better"
    return f"{text}{imported}{unit}{_days_text(outcome)}{direction}"


def _days_text(outcome: Outcome) -> str:
    """On which days it is measured, where not in the wave's window; week by week."""
    ends = {"during": "until the last message", "after": "after the last message"}
    days = [ends[outcome.window]] if outcome.window in ends else []
    days += [f"from day {outcome.from_day}"] if outcome.from_day else []
    days += [f"to day {outcome.to_day}"] if outcome.to_day else []
    each = f", and in each {outcome.unit_of_time}" if outcome.unit_of_time else ""
    return f", measured {' '.join(days)}{each}" if days else each


def target_text(spec: StudySpec, target: Target) -> str:
    """How a target is made of outcomes."""
    names = {outcome.id: outcome.name for outcome in spec.outcomes}
    lower = [o.name for o in spec.outcomes if o.id in target.parts and not o.higher_is_better]
    parts = joined([names.get(part, part) for part in target.parts])
    weights = joined([f"{w:g} for {names.get(n, n)}" for n, w in target.weights.items()])
    match target.kind:
        case "index":
            how = f"weights {weights}" if weights else "weights by their inverse covariance"
            text = f"index of {parts}, in standard deviations of the control; {how}"
        case "weighted":
            text = f"weighted sum with {weights}{f', in {target.unit}' if target.unit else ''}"
        case _:
            later = names.get(target.stands_for or "", target.stands_for)
            waves = joined(target.learned_on or ())
            text = f"{later} as predicted by {parts}, learned on {waves}"
    turned = f"; {joined(lower)} with the sign turned, since lower is better" if lower else ""
    return f"{text}{turned if target.kind != 'surrogate' else ''}"


def _counting(outcome: Outcome) -> str:
    """Which delivery of a score counts."""
    if isinstance(outcome.delivery, str):
        return f"{outcome.delivery} delivery"
    return f"last delivery up to {outcome.delivery}"


def model_text(spec: StudySpec, model: Model) -> str:
    """A model, with its formula and its prior in words."""
    return f"{_law_text(spec, model)} {prior_text(spec, model)}".strip()


def _law_text(spec: StudySpec, model: Model) -> str:
    outcome = next((o.name for o in spec.goals if o.id == model.outcome), model.outcome)
    first, second = model.prior
    match model.kind:
        case "beta binomial":
            return (
                f"Beta-binomial model of {outcome}: the number of successes of an arm is binomial, "
                f"and its success probability has a Beta({first:g}, {second:g}) prior, "
                "independently of the other arms."
                if model.pooling == "none"
                else f"Beta-binomial model of {outcome}: the number of successes of an arm is "
                "binomial in each stratum; an arm's success probabilities in the strata come from "
                "one beta distribution, which is learned, independently of the other arms."
            )
        case "normal":
            clustered = f" clustered on {model.cluster}" if model.cluster else ""
            return (
                f"Normal model of {outcome}: the mean of an arm is normal around what is observed, "
                f"with its standard error{clustered} and a flat prior, independently of the other "
                "arms."
            )
        case "hierarchical binomial":
            return (
                f"Hierarchical binomial model of {outcome}: a unit's number of successes is "
                "binomial; the log-odds of success are the effect of its arm plus a normal effect "
                f"of its {model.cluster}. The priors are {NOT_SPECIFIED} here. Success "
                f"probabilities are means over {clusters_text(model)}."
            )
        case _:
            return (
                f"Hierarchical normal model of {outcome}: a unit's value is normal around the "
                f"effect of its arm plus a normal effect of its {model.cluster}. The priors are "
                f"{NOT_SPECIFIED} here."
            )


def prior_text(spec: StudySpec, model: Model) -> str:
    """What is known of single arms beforehand, and how many units it is worth; or nothing."""
    outcome = spec.outcome(model.outcome)
    per_unit = max(spec.trials(outcome, wave) or 1 for wave in spec.waves)
    parts = [f"{arm} Beta({a:g}, {b:g})" for arm, (a, b) in model.arm_priors.items()]
    own = f"Priors of single arms: {joined(parts)}." if parts else ""
    earlier = model.earlier
    if earlier is None:
        return own
    known = []
    for arm, (first, second) in earlier.results.items():
        if model.kind == "beta binomial":
            what, trials = f"{first:,.0f} of {second:,.0f} successes", second
        else:
            rate = 1 / (1 + math.exp(-first))
            what = f"log odds {first:.2f}, standard deviation {second:.2f}"
            trials = 1 / (second**2 * rate * (1 - rate))
        units = earlier.weight * trials / per_unit
        known.append(f"{arm} {what}, worth {units:,.1f} {spec.units.name} here")
    source = f" ({earlier.file})" if earlier.file else ""
    return " ".join(
        filter(
            None,
            [
                own,
                f"Prior from an earlier study{source}, each of its units counting "
                f"{earlier.weight:g}: {'; '.join(known)}. The decision is also made with half of "
                "this prior and without it.",
            ],
        )
    )


def clusters_text(model: Model) -> str:
    """Over which clusters success probabilities are means."""
    if model.clusters == "new":
        return "new clusters"
    sizes = f", each counting for its {model.cluster_size}" if model.cluster_size else ""
    new = f", and {model.new_units:,.0f} units of new clusters" if model.new_units else ""
    return f"the clusters of the data{sizes}{new}"


def decision_text(decision: Decision | None) -> str:
    """How the final arm is chosen."""
    if decision is None:
        return f"The rule by which a final arm is chosen is {NOT_SPECIFIED}."
    return (
        f"The arm with the {decision.choose} under the model '{decision.model}', learned on "
        f"{joined(decision.learned_on)}, is chosen."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
