"""The pre-analysis plan, drafted from the spec. What the spec does not say is "not specified"."""

from collections.abc import Iterator

from wavewise.design.spec import Effects, Outcome, StudySpec
from wavewise.design.waves import Arm, Wave
from wavewise.report.documents.document import (
    Block,
    Bullets,
    Document,
    Section,
    html,
    markdown,
    paragraphs,
)
from wavewise.report.documents.spec_sections import (
    NOT_SPECIFIED,
    day,
    decision_text,
    delivery_blocks,
    joined,
    messages_grid,
    model_text,
    outcome_bullets,
    power_blocks,
    share_text,
    wave_blocks,
)

__all__ = ["analysis_plan", "analysis_plan_html"]


def analysis_plan(spec: StudySpec) -> str:
    """The pre-analysis plan as Markdown.

    Notes
    -----
    Every sentence follows from a key of the spec, defaults included, as its reference in
    ``docs/study-file.md`` explains it. The authors complete the draft.

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> plan = analysis_plan(parse_spec(template_text("kenya-ivr")))
    >>> "Exploration sampling" in plan
    True
    """
    return markdown(_document(spec))


def analysis_plan_html(spec: StudySpec) -> str:
    """The pre-analysis plan as one self-contained page."""
    return html(_document(spec))


def _document(spec: StudySpec) -> Document:
    return Document(
        kind="Pre-analysis plan, drafted from the study file",
        title=spec.study.title,
        meta=(f"Study {spec.study.id}", _dates(spec)),
        notices=paragraphs(spec.registration.addendum),
        sections=_sections(spec),
    )


def _dates(spec: StudySpec) -> str:
    starts = [f"{wave.name} starts on {day(wave.starts)}" for wave in spec.waves]
    return f"{joined(starts)}."


def _sections(spec: StudySpec) -> tuple[Section, ...]:
    return (
        Section("Objective", _objective(spec)),
        Section("Messages and delivery", _messages(spec)),
        Section("Arms, randomization and allocation", _arms(spec)),
        Section("Outcomes", outcome_bullets(spec, list(spec.goals))),
        Section("Average effects", _effects(spec)),
        Section("Multiple comparisons", (_adjustment(spec.analysis.effects),)),
        Section("Models", _models(spec)),
        Section("Policies and targeting", _policies(spec)),
        Section("Decision rule", (decision_text(spec.decision),)),
        Section("Power", power_blocks(spec)),
        Section("If data come late", _late(spec)),
        Section("Missing outcomes", _missing(spec)),
        Section("Deviations", (_deviations(),)),
    )


def _objective(spec: StudySpec) -> tuple[Block, ...]:
    abstract = paragraphs(spec.registration.abstract)
    better = "higher" if spec.primary.higher_is_better else "lower"
    primary = f"The primary outcome is {spec.primary.name}; {better} is better."
    hypotheses = spec.registration.hypotheses
    if not hypotheses:
        return (*abstract, primary, f"Hypotheses: {NOT_SPECIFIED}.")
    return (*abstract, primary, "Hypotheses:", Bullets(hypotheses))


def _messages(spec: StudySpec) -> tuple[Block, ...]:
    messages = (messages_grid(spec),) if spec.messages else ()
    return (*paragraphs(spec.registration.intervention), *messages, *delivery_blocks(spec))


def _arms(spec: StudySpec) -> tuple[Block, ...]:
    return tuple(block for wave in spec.waves for block in wave_blocks(spec, wave))


def _effects(spec: StudySpec) -> tuple[Block, ...]:
    effects = spec.analysis.effects
    blocks: list[Block] = [
        "Units are compared by the arm to which they were assigned, whatever was delivered "
        "(intention to treat).",
        _estimator(spec, effects),
        f"Standard errors: {_std_error(spec, effects)}. Intervals have confidence level "
        f"{share_text(spec.study.level)}.",
        Bullets(tuple(_comparisons(spec))),
    ]
    return tuple(blocks)


def _estimator(spec: StudySpec, effects: Effects) -> str:
    if effects.estimator == "difference in means":
        return "The effect of an arm is the difference between its mean outcome and the control's."
    terms = ["an indicator of each arm but the control"]
    strata = dict.fromkeys(name for wave in spec.waves for name in spec.strata_of(wave))
    if effects.strata and strata:
        terms.append(f"an indicator of each stratum ({joined(list(strata))})")
    covariates = joined(effects.covariates)
    if effects.estimator == "lin":
        terms.append(
            f"covariates ({covariates or 'none'}), centred and interacted with the arm indicators"
        )
    elif effects.covariates:
        terms.append(f"covariates ({covariates})")
    return f"Ordinary least squares of the outcome on {joined(terms)}."


def _std_error(spec: StudySpec, effects: Effects) -> str:
    cluster = spec.error_cluster
    kind = effects.std_error or ("CR2" if cluster else "HC2")
    words = {
        "HC2": "heteroskedasticity-robust, HC2",
        "HC3": "heteroskedasticity-robust, HC3",
        "CR1": "cluster-robust, CR1",
        "CR2": "cluster-robust, CR2, with Satterthwaite degrees of freedom",
    }[kind]
    return f"{words}, clustered on {cluster}" if kind.startswith("CR") else words


def _comparisons(spec: StudySpec) -> Iterator[str]:
    for wave in spec.waves:
        if wave.control_id is not None:
            yield f"{wave.name}: each arm against '{wave.control_id}'."
        else:
            yield f"{wave.name}: there is no control arm; comparisons are the contrasts below."
        if wave.held_out_share:
            yield (
                f"{wave.name}: {share_text(wave.held_out_share)} of each arm are held out, so that "
                "messaged and held-out units of an arm can be compared."
            )
    for first, second in spec.analysis.contrasts:
        yield f"Contrast: '{first}' minus '{second}'."
    if not spec.analysis.contrasts:
        yield f"Contrasts between arms: {NOT_SPECIFIED}."


def _adjustment(effects: Effects) -> str:
    return {
        "holm": "p-values are adjusted over the arms by the method of Holm.",
        "max-t": "p-values and intervals are adjusted over the arms by the joint distribution of "
        "the largest t statistic (max-t).",
        "none": "p-values and intervals are not adjusted for the number of arms.",
    }[effects.adjust]


def _models(spec: StudySpec) -> tuple[Block, ...]:
    if not spec.models:
        return (f"{NOT_SPECIFIED.capitalize()}.",)
    return (Bullets(tuple(f"'{name}': {model_text(spec, m)}" for name, m in spec.models.items())),)


def _policies(spec: StudySpec) -> tuple[Block, ...]:
    items = [
        _policy(wave, arm)
        for wave in spec.waves
        for arm in spec.arms_of(wave)
        if arm.policy is not None
    ]
    targeting = spec.analysis.targeting
    if targeting is not None:
        curves = joined(targeting.curves)
        items.append(
            f"Targeting is evaluated by {curves} curves of the effect of '{targeting.arm}'."
        )
    return (Bullets(tuple(items)),) if items else (f"{NOT_SPECIFIED.capitalize()}.",)


def _policy(wave: Wave, arm: Arm) -> str:
    rule, learned_on = (arm.policy.rule, arm.policy.learned_on) if arm.policy else ("", ())
    return (
        f"{wave.name}, arm '{arm.id}': the rule '{rule}', learned on {joined(learned_on)} and "
        f"tested on the outcomes of {wave.name}."
    )


def _late(spec: StudySpec) -> tuple[Block, ...]:
    return paragraphs(spec.registration.if_data_late) or (f"{NOT_SPECIFIED.capitalize()}.",)


def _missing(spec: StudySpec) -> tuple[Block, ...]:
    return (Bullets(tuple(_missing_outcome(outcome) for outcome in spec.outcomes)),)


def _missing_outcome(outcome: Outcome) -> str:
    if outcome.event is None:
        return f"{outcome.name}: the treatment of units without a value is {NOT_SPECIFIED}."
    if outcome.kind == "days to first":
        return f"{outcome.name}: the whole window where no event of a unit is recorded."
    return f"{outcome.name}: by definition 0 where no event of a unit is recorded."


def _deviations() -> str:
    return (
        f"What counts as a deviation is {NOT_SPECIFIED}. Changes of the study file after its "
        "registration are kept in its history with date, reason and both values, and are marked "
        "as an addendum where they were made after outcomes of a wave were seen."
    )
