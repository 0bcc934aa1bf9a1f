"""Parts of a spec that several documents show: messages, delivery, arms, sizes, power."""

from wavewise.design.arms import Arm
from wavewise.design.messages import Message
from wavewise.design.outcomes import Outcome
from wavewise.design.power import ArmPower, Detectable, planned_effects
from wavewise.design.shares import planned_shares
from wavewise.design.sizes import planned_sizes
from wavewise.design.spec import StudySpec
from wavewise.design.waves import Wave
from wavewise.report.document import Block, Bullets, Grid
from wavewise.report.numbers import decimals_for, fixed
from wavewise.report.spec_words import (
    NOT_SPECIFIED,
    joined,
    outcome_text,
    randomization_text,
    rule_text,
    schedule_text,
    share_text,
    wave_units_text,
    window_text,
)
from wavewise.results import NotEstimable

__all__ = [
    "DASH",
    "arms_grid",
    "delivery_blocks",
    "messages_grid",
    "outcome_bullets",
    "power_blocks",
    "wave_blocks",
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
    head = (message.label or message.id, message.channel, message.mechanism or DASH)
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
        f"{rule_text(spec, wave)} {control}",
        arms_grid(spec, wave),
    )


def arms_grid(spec: StudySpec, wave: Wave) -> Grid:
    """The arms of a wave: content, share, planned number of units."""
    sizes, shares = planned_sizes(spec, wave), planned_shares(spec, wave) or {}
    rows = tuple(
        (
            arm.id,
            _content(spec, arm),
            _share(wave, arm.id, shares.get(arm.id)),
            _size(sizes[arm.id]),
        )
        for arm in spec.arms_of(wave)
    )
    columns = ("Arm", "Content", "Share", f"Planned {spec.units.name}")
    return Grid(f"Arms of {wave.name}", columns, rows, frozenset({2, 3}))


def _content(spec: StudySpec, arm: Arm) -> str:
    if arm.policy is not None:
        return f"{arm.content}, learned on {joined(arm.policy.learned_on)}"
    labels = {message.id: message.label or message.id for message in spec.messages}
    return ", then ".join(labels[name] for name in arm.sequence) or arm.content


def _share(wave: Wave, arm: str, share: object) -> str:
    if isinstance(share, float):
        return share_text(share)
    if arm == wave.control_id and wave.control_share is not None:
        return share_text(wave.control_share)
    return "by stratum" if share is not None else "by the rule"


def _size(size: float | NotEstimable) -> str:
    return DASH if isinstance(size, NotEstimable) else f"{size:,.0f}"


def outcome_bullets(outcomes: list[Outcome]) -> tuple[Block, ...]:
    """Outcomes and how they are measured."""
    items = tuple(f"{outcome.name}: {outcome_text(outcome)}." for outcome in outcomes)
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
    for outcome in spec.outcomes:
        rows = [row for row in power.rows if row.outcome == outcome.id]
        known = [row for row in rows if isinstance(row.std_error, float)]
        blocks += [_power_grid(spec, outcome, known)] if known else []
        blocks += _unknown(spec, outcome, rows)
    return tuple(blocks)


def _power_grid(spec: StudySpec, outcome: Outcome, rows: list[ArmPower]) -> Grid:
    factor, unit = _scale(outcome)
    same: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        same.setdefault((_place(spec, row), *_power_cells(row, factor)), []).append(row.arm)
    cells = tuple((place, _named(arms), *texts) for (place, *texts), arms in same.items())
    columns = ("Wave", "Arms", f"{spec.units.name.capitalize()} an arm", "SE of an arm",
               "MDE to control", "MDE to an equal arm")  # fmt: skip
    mean = rows[0].baseline_mean
    baseline = share_text(mean) if factor == 100 else f"{mean:g}"
    caption = f"{outcome.name}, in {unit}; baseline mean {baseline}"
    return Grid(caption, columns, cells, frozenset({2, 3, 4, 5}))


def _unknown(spec: StudySpec, outcome: Outcome, rows: list[ArmPower]) -> list[Block]:
    """What is not known, with the reasons."""
    same: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if isinstance(row.std_error, NotEstimable):
            same.setdefault((_place(spec, row), row.std_error.reason), []).append(row.arm)
    items = tuple(
        f"{outcome.name}, {place}, {_named(arms)}: not given, since {reason}."
        for (place, reason), arms in same.items()
    )
    return [Bullets(items)] if items else []


def _place(spec: StudySpec, row: ArmPower) -> str:
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


def _scale(outcome: Outcome) -> tuple[float, str]:
    """Factor from the outcome's scale to the printed one, and the printed unit."""
    if outcome.kind in {"any", "successes"}:
        return 100.0, "percentage points"
    return 1.0, outcome.unit or "its own unit"


def _named(arms: list[str]) -> str:
    return joined(arms) if len(arms) <= 8 else f"{len(arms)} arms ({arms[0]}, {arms[1]}, ...)"
