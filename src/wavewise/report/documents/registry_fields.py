"""The fields of a trial registry's form, filled from the study file, in the registry's order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from wavewise.design.messages import Message
from wavewise.design.power import ArmPower, Detectable, planned_effects
from wavewise.design.shares import planned_units
from wavewise.design.spec import Approval, Investigator, StudySpec
from wavewise.design.waves import OrderedPairs, Wave
from wavewise.report.documents.document import Block, Bullets, paragraphs
from wavewise.report.documents.spec_sections import (
    NOT_SPECIFIED,
    arm_content,
    delivery_blocks,
    enrolment_text,
    joined,
    named_arms,
    outcome_bullets,
    power_place,
    power_scale,
    prior_text,
    rule_text,
    share_text,
    size_text,
    strata_text,
    wave_units_text,
    window_text,
)
from wavewise.report.numbers import decimals_for, fixed, percent
from wavewise.shared.results import NotEstimable

__all__ = ["LAST_PUBLISHED", "RegistryField", "day_text", "registry_fields"]

LAST_PUBLISHED = "Last Published"  # Changes with every version.
# Statuses whose coming is a major change, since results exist or never will.
ENDING = {"completed", "withdrawn"}


@dataclass(frozen=True)
class RegistryField:
    """A field of the form."""

    name: str  # In the registry's own words.
    blocks: tuple[Block, ...]
    group: str = "Registration"  # The part of the form that the registry's history lists it under.
    is_major: bool = True  # Whether a change of it makes a major version.

    @property
    def text(self) -> str:
        """The field as plain text, for the form's box; empty where nothing is specified."""
        return "\n".join(line for block in self.blocks for line in _lines(block))


def _lines(block: Block) -> Sequence[str]:
    if isinstance(block, Bullets):
        return [f"- {item}" for item in block.items]
    return [str(block)]


def registry_fields(
    spec: StudySpec, published: datetime | None = None
) -> tuple[RegistryField, ...]:
    """Every field, in the order in which the registry's history lists them."""
    # names are those of the AEA RCT Registry; what is major follows its guideline on versions
    secondary = [outcome for outcome in spec.goals if outcome.id != spec.primary.id]
    plan, first, last = spec.registration, *_intervention_days(spec)
    return (
        RegistryField("Trial Title", (spec.study.title,)),
        RegistryField("Trial Status", (plan.status,), is_major=plan.status in ENDING),
        RegistryField("Abstract", (*paragraphs(plan.abstract), *_disclosure(spec))),
        RegistryField("Trial Start Date", (day_text(plan.trial_start or first),)),
        RegistryField("Trial End Date", (day_text(plan.trial_end or last),)),
        RegistryField("Keyword(s)", _list(plan.keywords), is_major=False),
        RegistryField("JEL Code(s)", _list(plan.jel), is_major=False),
        RegistryField(LAST_PUBLISHED, (_moment(published),) if published else (), is_major=False),
        RegistryField("Intervention (Public)", tuple(_intervention(spec))),
        RegistryField("Intervention Start Date", (day_text(first),)),
        RegistryField("Intervention End Date", (day_text(last),)),
        RegistryField("Primary Outcomes (End Points)", outcome_bullets(spec, [spec.primary])),
        RegistryField("Experimental Design (Public)", tuple(_design(spec))),
        RegistryField("Randomization Method", (_method(spec),)),
        RegistryField("Randomization Unit", (_unit(spec),)),
        RegistryField(
            "Was the treatment clustered?", ("Yes" if spec.units.randomize_by else "No",)
        ),
        RegistryField("Planned Number of Clusters", _clusters(spec)),
        RegistryField("Planned Number of Observations", _observations(spec)),
        RegistryField("Sample size (or number of clusters) by treatment arms", tuple(_sizes(spec))),
        RegistryField(
            "Power calculation: Minimum Detectable Effect Size for Main Outcomes",
            tuple(_power(spec)),
        ),
        RegistryField(
            "Secondary Outcomes (End Points)", outcome_bullets(spec, secondary) if secondary else ()
        ),
        *_parties(spec),
    )


def _parties(spec: StudySpec) -> Iterator[RegistryField]:
    """Where, who, for whom, and by whose leave."""
    plan = spec.registration
    people = [Investigator(name=one) if isinstance(one, str) else one for one in plan.investigators]
    names = _list([one.name for one in people])
    places = _list([f"{one.name}: {one.affiliation}" for one in people if one.affiliation])
    yield RegistryField("Country", _list([plan.country] if plan.country else []), "Locations")
    yield RegistryField("Primary Investigators", names, "Investigators")
    yield RegistryField("Affiliation", places, "Investigators", is_major=False)
    yield RegistryField("Sponsor Name", _list(plan.sponsors), "Sponsors", is_major=False)
    for name, of in (
        ("IRB Name", lambda one: one.name),
        ("IRB Approval Date", lambda one: day_text(one.date) if one.date else ""),
        ("IRB Approval Number", lambda one: one.number),
    ):
        texts = _of_approvals(plan.irb, [of(one) for one in plan.irb])
        yield RegistryField(name, _list(texts), "IRBs", is_major=False)
    yield RegistryField("Documents", _list(plan.documents), "Documents")


def _of_approvals(approvals: Sequence[Approval], texts: Sequence[str]) -> list[str]:
    """One text an approval, with the board's name before it where there are several."""
    if len(approvals) < 2:
        return [text for text in texts if text]
    return [
        text if text == one.name else f"{one.name}: {text or NOT_SPECIFIED}"
        for one, text in zip(approvals, texts, strict=True)
    ]


def _list(texts: Sequence[str]) -> tuple[Block, ...]:
    return ("; ".join(texts),) if texts else ()


def day_text(value: date) -> str:
    """A date as the registry writes it, e.g. ``October 09, 2023``."""
    return f"{value:%B %d, %Y}"


def _moment(value: datetime) -> str:
    return f"{value:%B %d, %Y %I:%M %p} UTC"


def _intervention_days(spec: StudySpec) -> tuple[date, date]:
    """First day of the first wave, last day of the last outcome window."""
    first = min(wave.starts for wave in spec.waves)
    return first, max(wave.starts + timedelta(days=wave.window_days - 1) for wave in spec.waves)


def _disclosure(spec: StudySpec) -> Iterator[Block]:
    texts = paragraphs(spec.registration.addendum)
    yield from (f"Addendum disclosure: {texts[0]}", *texts[1:]) if texts else ()


def _intervention(spec: StudySpec) -> Iterator[Block]:
    yield from paragraphs(spec.registration.intervention)
    if spec.messages:
        yield "Messages:"
        yield Bullets(tuple(_message_text(message) for message in spec.messages))
    yield "Delivery:"
    yield from delivery_blocks(spec)


def _message_text(message: Message) -> str:
    head = f"{message.name} ({message.channel}"
    head += f"; {message.mechanism})" if message.mechanism else ")"
    texts = [f"{language}: \u201c{text}\u201d" for language, text in message.text.items()]
    if message.flow is not None:
        given = ", ".join(f"{name} = {value}" for name, value in message.fields.items())
        texts.append(f"call flow {message.flow}{f', with {given}' if given else ''}")
    return f"{head}: {'; '.join(texts)}" if texts else head


def _design(spec: StudySpec) -> Iterator[Block]:
    for wave in spec.waves:
        one = spec.enrolment_of(wave.id)
        if one is not None and wave.id == one.waves[0]:
            yield enrolment_text(spec, wave)
        control = f"Control: {wave.control_id}." if wave.control_id else "There is no control arm."
        yield (
            f"{wave.name}: {wave_units_text(spec, wave)}; outcome window {window_text(wave)}. "
            f"{_arms_text(spec, wave)} {rule_text(spec, wave)} {control}"
        )
    for name, model in spec.models.items():
        if prior := prior_text(spec, model):
            yield f"Model '{name}': {prior}"
    hypotheses = spec.registration.hypotheses
    if hypotheses:
        yield "Hypotheses:"
        yield Bullets(hypotheses)
    yield from _disclosure(spec)


def _arms_text(spec: StudySpec, wave: Wave) -> str:
    if isinstance(wave.arms, OrderedPairs):
        names = spec.message_names
        paired = joined([names.get(name, name) for name in wave.arms.ordered_pairs_of])
        return (
            f"Arms: the {len(wave.arms.arms())} ordered pairs of {paired}, "
            "a message with itself included."
        )
    arms = [arm for arm in spec.arms_of(wave) if arm.id != wave.control_id]
    return f"Arms: {'; '.join(f'{arm.id} ({arm_content(spec, arm)})' for arm in arms)}."


def _method(spec: StudySpec) -> str:
    same: dict[str, list[str]] = {}
    for wave in spec.waves:
        strata = strata_text(spec, wave)
        within = f"within strata of {strata}" if strata else "without strata"
        by_computer = (
            f"by computer, {within}: the counts of the arms are exact up to whole "
            f"{'groups' if spec.units.randomize_by else spec.units.name}, and who gets which arm "
            "is drawn at random from a seed that is part of the registered plan"
        )
        if wave.imported is None:
            same.setdefault(by_computer, []).append(wave.name)
        elif wave.imported.randomized:
            same.setdefault(f"assigned elsewhere, {within}, and imported", []).append(wave.name)
        else:
            same.setdefault("not randomized", []).append(wave.name)
    return " ".join(f"{joined(waves)}: {text}." for text, waves in same.items())


def _unit(spec: StudySpec) -> str:
    group = spec.units.randomize_by
    return f"groups of equal {group}" if group else f"individual {spec.units.name}"


def _clusters(spec: StudySpec) -> tuple[Block, ...]:
    planning, units = spec.planning, spec.units
    if planning is None:
        return ()
    if units.randomize_by is None:
        return (f"{planning.n_units:,} {units.name} (not clustered)",)
    if planning.cluster_size is None:
        return ()
    n = round(planning.n_units / planning.cluster_size)
    return (f"about {n:,} groups of equal {units.randomize_by}",)


def _observations(spec: StudySpec) -> tuple[Block, ...]:
    if spec.planning is None:
        return ()
    text = f"{spec.planning.n_units:,} {spec.units.name}"
    sizes = [(wave.name, planned_units(spec, wave)) for wave in spec.waves]
    known = [f"{name} {size:,.0f}" for name, size in sizes if not isinstance(size, NotEstimable)]
    return (f"{text} ({', '.join(known)})" if len(known) > 1 else text,)


def _sizes(spec: StudySpec) -> Iterator[Block]:
    if spec.planning is None:
        return
    yield f"Total: {spec.planning.n_units:,} {spec.units.name}."
    yield Bullets(tuple(f"{wave.name}: {size_text(spec, wave)}." for wave in spec.waves))


def _power(spec: StudySpec) -> Iterator[Block]:
    """Minimum detectable effects in the outcome's unit, of the baseline, in standard deviations."""
    power = planned_effects(spec)
    if isinstance(power, NotEstimable):
        return
    yield power.assumptions
    same: dict[tuple[str, str], list[str]] = {}
    for row in power.rows:
        text = _power_text(spec, row)
        if text:
            same.setdefault((power_place(spec, row), text), []).append(row.arm)
    yield Bullets(
        tuple(f"{place}, {named_arms(arms)}: {text}" for (place, text), arms in same.items())
    )


def _power_text(spec: StudySpec, row: ArmPower) -> str:
    """What a row of power says; nothing where its arm's size or spread is not known."""
    outcome = spec.outcome(row.outcome)
    factor, unit = power_scale(outcome)
    if isinstance(row.std_error, NotEstimable) or isinstance(row.n_units, NotEstimable):
        return ""
    mean = share_text(row.baseline_mean) if factor == 100 else f"{row.baseline_mean:g}"
    parts = [
        f"{outcome.name}, {row.n_units:,.0f} {spec.units.name} per arm, baseline {mean}",
        f"standard error of an arm {_three(factor * row.std_error)} {unit}",
    ]
    against = (("the control", row.vs_control), ("an arm of this size", row.vs_arm))
    parts += [
        f"MDE against {name} {_mde(row, found, factor, unit)}"
        for name, found in against
        if isinstance(found, Detectable)
    ]
    return f"{'; '.join(parts)}."


def _mde(row: ArmPower, found: Detectable, factor: float, unit: str) -> str:
    share, deviations = row.relative(found), row.in_std_devs(found)
    relative = []
    if not isinstance(share, NotEstimable):
        relative.append(f"{percent(share)} of the baseline")
    if not isinstance(deviations, NotEstimable):
        relative.append(f"{_three(deviations, 2)} standard deviations")
    beside = f" ({', '.join(relative)})" if relative else ""
    return f"{_three(factor * found.minimum_detectable_effect)} {unit}{beside}"


def _three(value: float, digits: int = 3) -> str:
    return fixed(value, decimals_for(value, digits))
