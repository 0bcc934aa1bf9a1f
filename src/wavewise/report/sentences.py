"""The first screen's answers: a few questions, each a short lead and sentences with the numbers.

The words never say more than the numbers do: an interval that holds zero, arms that cannot be told
apart, and quantities that are not estimable are said as such.
"""

from dataclasses import dataclass

from wavewise.report.choose import Findings, findings, holds_zero, withstands_adjustment
from wavewise.report.contents import EffectRow, EffectsContents, PosteriorContents, ReportContents
from wavewise.report.evaluation_words import personalization, targeting
from wavewise.report.next_step import next_step
from wavewise.report.numbers import in_people, p_value, percent, probability, scale_of

__all__ = ["Answer", "answers", "effect_sentence", "facts", "first_sentence"]

VERY_SURE, FAIRLY_SURE, LEANING = 0.99, 0.9, 0.7


@dataclass(frozen=True)
class Answer:
    """A question of the first screen, its answer in a few words, and the sentences behind it."""

    question: str
    lead: str
    text: str


def answers(contents: ReportContents) -> tuple[Answer, ...]:
    """What works best, how sure, what a mistake would cost, what to do next."""
    found = findings(contents)
    step = next_step(contents, found)
    return (
        Answer("What works best?", *_what_works(found)),
        Answer("How sure are we?", *_how_sure(found)),
        *_of_policies(contents),
        Answer("What would it cost to be wrong?", *_cost(found, contents.unit_name)),
        Answer("What to do next?", *step),
    )


def _of_policies(contents: ReportContents) -> tuple[Answer, ...]:
    """Whether it pays to choose the message for each unit, and whom to message."""
    if not contents.evaluations:
        return ()
    shown, unit_name = contents.evaluations[-1], contents.unit_name
    which = Answer(
        f"Does it pay to choose the message for each of the {unit_name}?",
        *personalization(shown, unit_name),
    )
    told = targeting(shown, unit_name)
    if told is None:
        return (which,)
    return which, Answer("Does it pay to choose whom to message?", *told)


def facts(contents: ReportContents) -> str:
    """Size of the study: units, arms, waves, and what was measured first of all."""
    rows = [row for wave in contents.waves for row in wave.arms]
    n_units = sum(row.n_assigned or 0 for row in rows)
    n_arms, n_waves = len({row.arm for row in rows}), len(contents.waves)
    effects = findings(contents).effects
    parts = [
        f"{n_units:,} {contents.unit_name} assigned",
        f"{n_arms} arms",
        f"{n_waves} wave{'' if n_waves == 1 else 's'}",
        *([f"main outcome: {effects.outcome.label}"] if effects else []),
    ]
    return " \u00b7 ".join(parts)


def first_sentence(contents: ReportContents) -> str:
    """The main finding in one sentence, for a title or a message."""
    lead, text = _what_works(findings(contents))
    return f"{lead}: {text}" if text else lead


# What works best ---------------------------------------------------------------------------------


def _what_works(found: Findings) -> tuple[str, str]:
    if found.arm is None:
        return "Not known yet", _why_nothing(found)
    if found.effects is None or found.effect is None:
        return _leader(found), _level_sentence(found)
    lead = {True: _leader(found), None: _unproven(found), False: _harmful(found)}
    text = [_mean_sentence(found.effects, found.effect), *_adjusted(found), *_disagreement(found)]
    return lead[found.beats_control], " ".join(text)


def _leader(found: Findings) -> str:
    """The arm's name, with a word where it only leads."""
    if found.chosen or found.arm is None:
        return found.arm or ""
    if found.belief is not None and found.next_belief is not None:
        return found.arm if found.belief.prob_optimal >= LEANING else f"{found.arm} leads so far"
    return f"{found.arm} has the best estimate" if found.beats_next is False else found.arm


def _why_nothing(found: Findings) -> str:
    reasons = "; ".join(found.reasons)
    return f"Not estimable: {reasons}." if reasons else "No wave has been analysed."


def _unproven(found: Findings) -> str:
    if found.chosen:
        return f"{found.arm}, chosen, but not shown to differ from control"
    if found.none_beats_control:
        return "No arm is shown to differ from control"
    return f"{found.arm} leads, but is not shown to differ from control"


def _harmful(found: Findings) -> str:
    if found.none_beats_control and not found.chosen:
        return "No arm beats control"
    return f"{found.arm} does worse than control"


def _adjusted(found: Findings) -> list[str]:
    row, effects = found.effect, found.effects
    if row is None or effects is None or holds_zero(row) or withstands_adjustment(effects, row):
        return []
    return [
        f"Once adjusted for the number of arms this could be chance: {_significance(effects, row)}."
    ]


def _level_sentence(found: Findings) -> str:
    row, posterior = found.belief, found.posterior
    if row is None or posterior is None:
        return "No estimate was made for it."
    scale = scale_of(posterior.outcome)
    decimals = scale.decimals((row.high - row.low) / 4, 2)
    low, high = scale.level(row.low, decimals), scale.level(row.high, decimals)
    interval = f"{percent(posterior.interval_prob, 0)} credible interval {low} to {high}"
    among = _among(len(posterior.rows))
    return (
        f"Its {posterior.outcome.label} is estimated at "
        f"{scale.level(row.mean, decimals)} ({interval}){among}."
    )


def _among(n_arms: int) -> str:
    return f"; {n_arms} arms were compared" if n_arms > 1 else "; it is the only arm"


def _mean_sentence(effects: EffectsContents, row: EffectRow) -> str:
    scale = scale_of(effects.outcome)
    label = effects.outcome.label
    if effects.control_mean is None:
        return f"Effect of {row.arm} on {label}: {effect_sentence(effects, row)}."
    decimals = scale.decimals(row.std_error)
    control = scale.level(effects.control_mean, decimals)
    mean = scale.level(effects.control_mean + row.estimate, decimals)
    return (
        f"With {row.arm}, {label} was {mean}, against {control} in control: "
        f"{effect_sentence(effects, row)}."
    )


def effect_sentence(effects: EffectsContents, row: EffectRow) -> str:
    """An effect with its interval, and whether that holds zero."""
    scale = scale_of(effects.outcome)
    decimals = scale.decimals(row.std_error)
    low, high = scale.bounds(row.conf_low, row.conf_high, decimals)
    text = (
        f"{scale.effect(row.estimate, decimals)} "
        f"({percent(effects.level, 0)} confidence interval {low} to {high})"
    )
    return f"{text}, an interval that includes no effect" if holds_zero(row) else text


def _disagreement(found: Findings) -> list[str]:
    """A word when another arm has the better estimate."""
    other, effects = found.next_effect, found.effects
    if other is None or effects is None or not found.next_is_better:
        return []
    return [f"The estimate of {other.arm} is better still: {effect_sentence(effects, other)}."]


# How sure ----------------------------------------------------------------------------------------


def _how_sure(found: Findings) -> tuple[str, str]:
    if found.arm is None:
        return "Not at all", "There is no estimate to be sure of."
    if found.belief is not None and found.posterior is not None:
        return _sure_by_posterior(found, found.posterior)
    if found.effect is not None and found.effects is not None:
        return _sure_by_effects(found, found.effects, found.effect)
    return "Not known", "No posterior and no effect was computed for it."


def _sure_by_posterior(found: Findings, posterior: PosteriorContents) -> tuple[str, str]:
    row, other = found.belief, found.next_belief
    if row is None or other is None:
        return "Nothing to compare", "Only one arm was compared, so it is best by default."
    text = (
        f"The probability that {row.arm} is the best of the {len(posterior.rows)} arms is "
        f"{probability(row.prob_optimal)}; for {other.arm} it is {probability(other.prob_optimal)}."
    )
    return _sureness(row.prob_optimal), text


def _sureness(prob: float) -> str:
    if prob >= VERY_SURE:
        return "Very sure that it is the best arm"
    if prob >= FAIRLY_SURE:
        return "Fairly sure that it is the best arm"
    if prob >= LEANING:
        return "Leaning towards it, not sure"
    return "Not sure: the leading arms cannot be told apart"


def _sure_by_effects(found: Findings, effects: EffectsContents, row: EffectRow) -> tuple[str, str]:
    against_control = f"Against control, {_significance(effects, row)}."
    other = found.next_effect
    if other is None:
        lead = "The only arm that was compared with control"
        return lead, against_control
    lead = "Told apart from the next best arm"
    if found.next_is_better:
        lead = f"{other.arm} has the better estimate"
    elif not found.beats_next:
        lead = f"{row.arm} and {other.arm} cannot be told apart"
    return lead, f"{_comparison(found, effects, row, other)} {against_control}"


def _significance(effects: EffectsContents, row: EffectRow) -> str:
    if row.p_adjusted is None:
        return f"p = {p_value(row.p_value)} (not adjusted for the number of arms)".replace(
            "= <", "<"
        )
    how = f", {effects.adjustment} over {len(effects.rows)} arms" if effects.adjustment else ""
    return f"adjusted p = {p_value(row.p_adjusted)}{how}".replace("= <", "<")


def _comparison(found: Findings, effects: EffectsContents, row: EffectRow, other: EffectRow) -> str:
    """What sets the best arm apart from the next, or does not."""
    contrast = found.contrast
    if contrast is not None:
        return f"{contrast.arm}: {effect_sentence(effects, contrast)}."
    if found.beats_next:
        return f"Its interval lies wholly beyond that of {other.arm}, the next best."
    overlap = "overlap" if _overlap(row, other) else "do not overlap"
    return f"Their intervals {overlap}; their difference was not tested ({_brief(effects, other)})."


def _overlap(row: EffectRow, other: EffectRow) -> bool:
    return row.conf_low <= other.conf_high and other.conf_low <= row.conf_high


def _brief(effects: EffectsContents, row: EffectRow) -> str:
    scale = scale_of(effects.outcome)
    return f"{row.arm}: {scale.effect(row.estimate, scale.decimals(row.std_error))}"


# What it would cost to be wrong ------------------------------------------------------------------


def _cost(found: Findings, unit_name: str) -> tuple[str, str]:
    if found.arm is None:
        return "Not known", "No arm was compared."
    if found.belief is not None and found.posterior is not None and found.next_belief is not None:
        return _cost_by_posterior(found.belief.policy_regret, found.arm, found.posterior, unit_name)
    if found.effect is not None and found.effects is not None:
        return _cost_by_interval(found.effects, found.effect, found.contrast)
    return (
        "Not known",
        "No posterior regret was computed, and there is no other arm to lose against.",
    )


def _cost_by_posterior(
    regret: float, arm: str, posterior: PosteriorContents, unit_name: str
) -> tuple[str, str]:
    scale = scale_of(posterior.outcome)
    lead = f"{scale.amount(regret)} on average"
    text = (
        f"If {arm} is used for all, the expected loss in {posterior.outcome.label} against the arm "
        "that is truly best, averaged over what is still uncertain, is "
    )
    if posterior.outcome.kind != "binary":
        return lead, f"{text}{scale.amount(regret)} for each of the {unit_name}."
    people = in_people(regret, unit_name)
    about = people if people.startswith("fewer") else f"about {people}"
    return lead, f"{text}{scale.amount(regret)}: {about}."


def _cost_by_interval(
    effects: EffectsContents, row: EffectRow, contrast: EffectRow | None
) -> tuple[str, str]:
    """Without a posterior: the bad end of the interval, against the next arm or against control."""
    worst, against = (row, "control") if contrast is None else (contrast, "the next best arm")
    higher = effects.outcome.higher_is_better
    end = worst.conf_low if higher else worst.conf_high
    amount = scale_of(effects.outcome).amount(end)
    kind = f"bad end of the {percent(effects.level, 0)} confidence interval"
    note = "The expected regret was not computed, since that needs a posterior."
    if end == 0 or (end < 0) == higher:
        lead = f"At worst about {amount} against {against}"
        return lead, f"That is the {kind} of the difference. {note}"
    text = f"Even at the {kind}, {row.arm} is {amount} better than {against}. {note}"
    return f"Unlikely to do worse than {against}", text
