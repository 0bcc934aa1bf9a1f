"""The first screen's answers: a few questions, each a short lead and sentences with the numbers.

The words never say more than the numbers do: an interval that includes zero, arms that do not
differ significantly, and quantities that are not estimable are said as such.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from wavewise.design.spec import Outcome
from wavewise.report.contents import ReportContents, study_effects, study_posterior
from wavewise.report.effects import (
    EffectRow,
    OutcomeEffects,
    chance_and_loss,
    differs_from_control,
    excludes_zero,
    flat_posterior,
    ranked_effects,
    survives_adjustment,
)
from wavewise.report.evaluation import (
    advice,
    personalization,
    policy_headline,
    sureness_of_policies,
    targeting,
)
from wavewise.report.numbers import in_units, p_value, percent, probability, scale_of
from wavewise.report.posteriors import OutcomePosterior, PosteriorRow, ranked_posterior
from wavewise.shared.results import CheckResult
from wavewise.shared.text_tables import tied

__all__ = [
    "Answer",
    "Findings",
    "answers",
    "facts",
    "findings",
    "first_sentence",
    "headline",
    "trust",
]

WORKS_BEST = "What works best?"
VERY_SURE, FAIRLY_SURE, LEANING = 0.99, 0.9, 0.7


@dataclass(frozen=True)
class Findings:
    """The numbers behind the first screen.

    ``arm`` is the chosen arm, or the best one where nothing was chosen; None where nothing is
    known. ``chosen`` says which. ``effect`` and ``after`` are its estimate and its posterior;
    ``next_effect`` and ``next_after`` those of the best other arm.
    """

    arm: str | None
    chosen: bool
    effects: OutcomeEffects | None
    posterior: OutcomePosterior | None
    effect: EffectRow | None
    next_effect: EffectRow | None
    after: PosteriorRow | None
    next_after: PosteriorRow | None
    reasons: tuple[str, ...]
    failed: tuple[CheckResult, ...]

    @property
    def beats_control(self) -> bool | None:
        """True if the arm is significantly better than control, False if worse, None if neither."""
        if self.effects is None or self.effect is None:
            return None
        return differs_from_control(self.effects, self.effect)

    @property
    def none_beats_control(self) -> bool:
        """Whether no arm at all is significantly better than control."""
        effects = self.effects
        return effects is None or not any(
            differs_from_control(effects, row) for row in effects.rows
        )

    @property
    def contrast(self) -> EffectRow | None:
        """The best arm's effect minus the next one's, if this arm is the best one."""
        if self.effects is None or self.effect is None:
            return None
        leads = ranked_effects(self.effects)[0].arm == self.effect.arm
        return self.effects.best_minus_next if leads else None

    @property
    def beats_next(self) -> bool | None:
        """True if the arm is significantly better than the next one; None without a next arm.

        From their contrast where there is one. Otherwise from intervals that do not overlap, which
        suffices, since the difference's standard error is at most the sum of the two.
        """
        row, other = self.effect, self.next_effect
        if row is None or other is None or self.effects is None:
            return None
        if self.contrast is not None:
            return excludes_zero(self.contrast)
        if self.effects.outcome.higher_is_better:
            return row.conf_low > other.conf_high
        return row.conf_high < other.conf_low

    @property
    def level_with(self) -> str | None:
        """Another arm whose estimate, or probability of being best, is the very same."""
        if self.after is not None and self.next_after is not None:
            pair = (self.after.prob_optimal, self.next_after.prob_optimal)
            return self.next_after.arm if len(tied(pair)) == 2 else None
        if self.effect is not None and self.next_effect is not None:
            pair = (self.effect.estimate, self.next_effect.estimate)
            return self.next_effect.arm if abs(pair[0] - pair[1]) <= 1e-12 * abs(pair[0]) else None
        return None

    @property
    def next_is_better(self) -> bool:
        """Whether another arm has a better estimate."""
        row, other = self.effect, self.next_effect
        if row is None or other is None or self.effects is None or other.estimate == row.estimate:
            return False
        return (other.estimate > row.estimate) == self.effects.outcome.higher_is_better

    @cached_property
    def stakes(self) -> tuple[float, float] | None:
        """Chance that another arm is better than this one, and the loss expected from using it.

        Where no model was fitted; under a normal posterior with a flat prior.
        """
        if self.effects is None or self.effect is None:
            return None
        return flat_posterior(self.effects).get(self.effect.arm)


def findings(contents: ReportContents) -> Findings:
    """The numbers behind the first screen; none where no message went out."""
    if contents.nothing_sent:
        reasons = tuple(wave.sent for wave in contents.waves if wave.nothing_sent)
        return Findings(None, False, None, None, None, None, None, None, reasons, ())
    effects = min(study_effects(contents), key=_rank, default=None)
    posterior, reason = study_posterior(contents)
    by_effect = ranked_effects(effects) if effects else ()
    by_after = ranked_posterior(posterior) if posterior else ()
    decided = contents.decision.arm if contents.decision else None
    leading = [row.arm for row in by_after[:1]] + [row.arm for row in by_effect[:1]]
    arm = decided or (leading[0] if leading else None)
    return Findings(
        arm=arm,
        chosen=decided is not None,
        effects=effects,
        posterior=posterior,
        effect=next((row for row in by_effect if row.arm == arm), None),
        next_effect=next((row for row in by_effect if row.arm != arm), None),
        after=next((row for row in by_after if row.arm == arm), None),
        next_after=next((row for row in by_after if row.arm != arm), None),
        reasons=_reasons(effects, reason),
        failed=tuple(
            check for wave in contents.waves for check in wave.checks if check.passed is False
        ),
    )


def _rank(effects: OutcomeEffects) -> tuple[bool, bool]:
    """Registered before exploratory, primary before others; the first of equals."""
    return not effects.registered, not effects.outcome.primary


def _reasons(effects: OutcomeEffects | None, reason: str) -> tuple[str, ...]:
    rows = effects.reasons if effects else ()
    return (*(f"{arm}: {why}" for arm, why in rows), *([reason] if reason else []))


@dataclass(frozen=True)
class Answer:
    """A question of the first screen, its answer in a few words, and the sentences behind it."""

    question: str
    lead: str
    text: str


def answers(contents: ReportContents) -> tuple[Answer, ...]:
    """What works best, how sure, what a mistake would cost, what to do next."""
    if contents.nothing_sent:
        return tuple(_nothing_sent(contents))
    if contents.evaluations:
        return tuple(_of_policies(contents))
    finding = findings(contents)
    step = next_step(contents, finding)
    return (
        Answer(WORKS_BEST, *_what_works(finding)),
        Answer("How sure are we?", *_how_sure(finding)),
        Answer("What would it cost to be wrong?", *_cost(finding, contents.unit_name)),
        Answer("What to do next?", *step),
    )


def headline(contents: ReportContents) -> str:
    """The answer to the study's question, as one sentence without its full stop."""
    text = _headline(contents)
    return text[:1].upper() + text[1:]


def _headline(contents: ReportContents) -> str:
    if contents.nothing_sent or contents.evaluations:
        return answers(contents)[0].lead
    finding = findings(contents)
    lead, _ = _what_works(finding)
    row, effects = finding.effect, finding.effects
    if lead != finding.arm:
        return lead
    if row is None or effects is None:
        return f"{lead} works best so far"
    verb = "raised" if row.estimate > 0 else "lowered"
    amount = scale_of(effects.outcome).amount(row.estimate)
    return f"{row.arm} {verb} {effects.outcome.name} by {amount}"


def trust(contents: ReportContents) -> tuple[str, str]:
    """What speaks for and against the findings: checks, when the data were taken, the plan."""
    checks = [check for wave in contents.waves for check in wave.checks]
    failed = sum(check.passed is False for check in checks)
    unclear = sum(check.passed is None for check in checks)
    early = [wave.early for wave in contents.waves if wave.early]
    if failed:
        lead = (
            f"Not before {failed} failed {'check is' if failed == 1 else 'checks are'} understood"
        )
    elif early:
        lead = "With care: data may still come"
    elif not checks:
        lead = "No check was made"
    elif unclear:
        lead = f"No check failed; {unclear} of {len(checks)} are inconclusive"
    else:
        lead = "The check passed" if len(checks) == 1 else f"All {len(checks)} checks passed"
    texts = [*early]
    if contents.evaluations:
        texts.append("The policies were frozen before the wave that tests them began.")
    if contents.exploratory:
        texts.append("Part of the study was run outside a registered plan.")
    return lead, " ".join(texts)


def _nothing_sent(contents: ReportContents) -> Iterator[Answer]:
    """Answers where arms differ in nothing that was sent."""
    told = " ".join(wave.sent for wave in contents.waves if wave.nothing_sent)
    yield Answer("What works best?", "This study cannot say: no message went out", told)
    yield Answer(
        "What to do next?",
        "Send the messages",
        "Find out why none went out (`wavewise status`), and open a wave whose sends are to come.",
    )


def _of_policies(contents: ReportContents) -> Iterator[Answer]:
    """Answers of a study that tested policies: each on outcomes that no policy had seen."""
    tested, unit_name = contents.evaluations[-1], contents.unit_name
    yield Answer(WORKS_BEST, *policy_headline(tested, unit_name))
    yield Answer(
        f"Does it pay to choose the message for each of the {unit_name}?",
        *personalization(tested, unit_name),
    )
    whom = targeting(tested, unit_name)
    if whom is not None:
        yield Answer("Does it pay to choose whom to message?", *whom)
    sure = sureness_of_policies(tested, unit_name)
    if sure is not None:
        yield Answer("How sure are we, and what would it cost to be wrong?", *sure)
    yield Answer("What to do next?", *next_step(contents, findings(contents)))


def facts(contents: ReportContents) -> str:
    """Size of the study: units, each counted once; waves, arms, what was measured first of all."""
    of_waves = [sum(row.n_assigned or 0 for row in wave.arms) for wave in contents.waves]
    n_units = max(of_waves, default=0) if contents.n_units is None else contents.n_units
    n_waves = len(contents.waves)
    n_arms = len({row.arm for wave in contents.waves for row in wave.arms})
    effects = findings(contents).effects
    parts = [
        f"{n_units:,} {contents.unit_name} in {_NUMBERS.get(n_waves, n_waves)} "
        f"wave{'' if n_waves == 1 else 's'}",
        f"{n_arms} arms",
        *([f"primary outcome: {effects.outcome.name}"] if effects else []),
    ]
    return " \u00b7 ".join(parts)


_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def first_sentence(contents: ReportContents) -> str:
    """The main finding in one sentence, for a title or a message."""
    if contents.nothing_sent:
        return "No message went out, so this study cannot say what works best"
    if contents.evaluations:
        return headline(contents)
    lead, text = _what_works(findings(contents))
    return f"{lead}: {text}" if text else lead


# What works best ---------------------------------------------------------------------------------
def _what_works(finding: Findings) -> tuple[str, str]:
    if finding.arm is None:
        return "Not known yet", _why_nothing(finding)
    if finding.effects is None or finding.effect is None:
        return _leader(finding), _level_sentence(finding)
    lead = {True: _leader(finding), None: _unproven(finding), False: _harmful(finding)}
    text = [
        _mean_sentence(finding.effects, finding.effect),
        *_adjusted(finding),
        *_disagreement(finding),
    ]
    return lead[finding.beats_control], " ".join(text)


def _leader(finding: Findings) -> str:
    """The arm's name, with a word where it only leads, or leads together with another."""
    if finding.chosen or finding.arm is None:
        return finding.arm or ""
    if finding.level_with is not None:
        return f"{finding.arm} and {finding.level_with} lead together"
    if finding.after is not None and finding.next_after is not None:
        return (
            finding.arm if finding.after.prob_optimal >= LEANING else f"{finding.arm} leads so far"
        )
    return f"{finding.arm} has the best estimate" if finding.beats_next is False else finding.arm


def _why_nothing(finding: Findings) -> str:
    reasons = "; ".join(finding.reasons)
    return f"Not estimable: {reasons}." if reasons else "No wave has been analysed."


def _unproven(finding: Findings) -> str:
    if finding.chosen:
        return f"{finding.arm} was chosen, but does not differ significantly from control"
    if finding.none_beats_control:
        return "No arm differs significantly from control"
    if finding.level_with is not None:
        return (
            f"{finding.arm} and {finding.level_with} lead together, but do not differ "
            "significantly from control"
        )
    return f"{finding.arm} leads, but does not differ significantly from control"


def _harmful(finding: Findings) -> str:
    if finding.none_beats_control and not finding.chosen:
        return "No arm beats control"
    return f"{finding.arm} does worse than control"


def _adjusted(finding: Findings) -> list[str]:
    row, effects = finding.effect, finding.effects
    if (
        row is None
        or effects is None
        or not excludes_zero(row)
        or survives_adjustment(effects, row)
    ):
        return []
    how = _significance(effects, row)
    return [f"It is not significant once adjusted for the number of arms: {how}."]


def _level_sentence(finding: Findings) -> str:
    row, posterior = finding.after, finding.posterior
    if row is None or posterior is None:
        return "No estimate was made for it."
    scale = scale_of(posterior.outcome)
    decimals = scale.decimals((row.high - row.low) / 4, 2)
    low, high = scale.level(row.low, decimals), scale.level(row.high, decimals)
    interval = f"{percent(posterior.prob, 0)} credible interval {low} to {high}"
    among = _among(len(posterior.rows))
    return (
        f"Its {posterior.label} is estimated at "
        f"{scale.level(row.mean, decimals)} ({interval}){among}."
    )


def _among(n_arms: int) -> str:
    return f"; {n_arms} arms were compared" if n_arms > 1 else "; it is the only arm"


def _mean_sentence(effects: OutcomeEffects, row: EffectRow) -> str:
    scale = scale_of(effects.outcome)
    label = effects.outcome.name
    if effects.control_mean is None:
        return f"Effect of {row.arm} on {label}: {effect_sentence(effects, row)}."
    decimals = scale.decimals(row.std_error)
    control = scale.level(effects.control_mean, decimals)
    mean = scale.level(effects.control_mean + row.estimate, decimals)
    return (
        f"With {row.arm}, {label} was {mean}, against {control} in control: "
        f"{effect_sentence(effects, row)}."
    )


def effect_sentence(effects: OutcomeEffects, row: EffectRow) -> str:
    """An effect with its interval, and whether that includes zero."""
    scale = scale_of(effects.outcome)
    decimals = scale.decimals(row.std_error)
    low, high = scale.bounds(row.conf_low, row.conf_high, decimals)
    text = (
        f"{scale.effect(row.estimate, decimals)} "
        f"({percent(effects.level, 0)} confidence interval {low} to {high})"
    )
    return text if excludes_zero(row) else f"{text}, an interval that includes zero"


def _disagreement(finding: Findings) -> list[str]:
    """A word when another arm has the better estimate."""
    other, effects = finding.next_effect, finding.effects
    if other is None or effects is None or not finding.next_is_better:
        return []
    return [f"The estimate of {other.arm} is better still: {effect_sentence(effects, other)}."]


# How sure ----------------------------------------------------------------------------------------
def _how_sure(finding: Findings) -> tuple[str, str]:
    if finding.arm is None:
        return "Not at all", "There is no estimate yet."
    if finding.after is not None and finding.posterior is not None:
        return _sure_by_posterior(finding, finding.posterior)
    if finding.effect is not None and finding.effects is not None:
        return _sure_by_effects(finding, finding.effects, finding.effect)
    return "Not known", "No posterior and no effect was computed for it."


def _sure_by_posterior(finding: Findings, posterior: OutcomePosterior) -> tuple[str, str]:
    row, other = finding.after, finding.next_after
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
        return "It is probably the best arm, but not certainly"
    return "Not sure: the leading arms are too close to call"


def _sure_by_effects(finding: Findings, effects: OutcomeEffects, row: EffectRow) -> tuple[str, str]:
    against_control = f"Against control, {_significance(effects, row)}."
    other = finding.next_effect
    if other is None:
        lead = "It is the only arm that was compared with control"
        return lead, against_control
    lead = "Significantly better than the next best arm"
    if finding.next_is_better:
        lead = f"{other.arm} has the better estimate"
    elif not finding.beats_next:
        lead = f"{row.arm} and {other.arm} do not differ significantly"
        if finding.contrast is None:
            lead = f"The difference between {row.arm} and {other.arm} was not tested"
    chance = ""
    if finding.stakes is not None:
        chance = (
            f" The chance that another of the {len(effects.rows)} arms is better is "
            f"{probability(finding.stakes[0])} (normal posterior, flat prior)."
        )
    return lead, f"{_comparison(finding, effects, row, other)} {against_control}{chance}"


def _significance(effects: OutcomeEffects, row: EffectRow) -> str:
    if row.p_adjusted is None:
        return f"p = {p_value(row.p_value)} (not adjusted for the number of arms)".replace(
            "= <", "<"
        )
    how = f", {effects.adjusted_by} over {len(effects.rows)} arms" if effects.adjusted_by else ""
    return f"adjusted p = {p_value(row.p_adjusted)}{how}".replace("= <", "<")


def _comparison(
    finding: Findings, effects: OutcomeEffects, row: EffectRow, other: EffectRow
) -> str:
    """What sets the best arm apart from the next, or does not."""
    contrast = finding.contrast
    if contrast is not None:
        return f"{contrast.arm}: {effect_sentence(effects, contrast)}."
    if finding.beats_next:
        return f"Its interval does not overlap that of {other.arm}, the next best."
    overlap = "overlap" if _overlap(row, other) else "do not overlap"
    return f"Their intervals {overlap}; the difference was not tested ({_brief(effects, other)})."


def _overlap(row: EffectRow, other: EffectRow) -> bool:
    return row.conf_low <= other.conf_high and other.conf_low <= row.conf_high


def _brief(effects: OutcomeEffects, row: EffectRow) -> str:
    scale = scale_of(effects.outcome)
    return f"{row.arm}: {scale.effect(row.estimate, scale.decimals(row.std_error))}"


# What it would cost to be wrong ------------------------------------------------------------------
def _cost(finding: Findings, unit_name: str) -> tuple[str, str]:
    if finding.arm is None:
        return "Not known", "No arm was compared."
    if (
        finding.after is not None
        and finding.posterior is not None
        and finding.next_after is not None
    ):
        return _cost_by_posterior(
            finding.after.policy_regret, finding.arm, finding.posterior, unit_name
        )
    if finding.effect is not None and finding.effects is not None:
        return _cost_by_effects(finding, finding.effects, finding.effect, unit_name)
    return (
        "Not known",
        "No expected regret was computed, and there is no other arm to compare with.",
    )


def _cost_by_posterior(
    regret: float, arm: str, posterior: OutcomePosterior, unit_name: str
) -> tuple[str, str]:
    lead = f"{scale_of(posterior.outcome).amount(regret)} on average"
    text = (
        f"If {arm} is used for all, the expected loss in {posterior.label} against the arm "
        "that is truly best, averaged over what is still uncertain, is "
    )
    return lead, f"{text}{_loss(posterior.outcome, regret, unit_name)}."


def _cost_by_effects(
    finding: Findings, effects: OutcomeEffects, row: EffectRow, unit_name: str
) -> tuple[str, str]:
    """Without a model: the loss expected under a normal posterior with a flat prior."""
    against, stakes = "the arm that is truly best", finding.stakes
    if stakes is None:
        against = "no message"
        stakes = chance_and_loss(effects.outcome.sign * row.estimate, row.std_error)
    lead = f"{scale_of(effects.outcome).amount(stakes[1])} on average"
    return lead, (
        f"If {row.arm} is used for all, the expected loss in {effects.outcome.name} against "
        f"{against} is {_loss(effects.outcome, stakes[1], unit_name)} (normal posterior, flat "
        "prior)."
    )


def _loss(outcome: Outcome, loss: float, unit_name: str) -> str:
    """A loss in the outcome's unit, and in people where they are counted."""
    amount = scale_of(outcome).amount(loss)
    if outcome.scale != "binary":
        return f"{amount} for each of the {unit_name}"
    people = in_units(loss, unit_name)
    return f"{amount}: {people if people.startswith('fewer') else f'about {people}'}"


# What to do next, in words that fit what is known.

ENOUGH = 0.9  # below this probability of being best, more data are advised beside the choice
MOST_SHARES = 4


def next_step(contents: ReportContents, finding: Findings) -> tuple[str, str]:
    """The next step in a few words, and its reasons."""
    lead, text = _step(contents, finding)
    return lead, " ".join([text, *_cautions(contents, finding)]).strip()


def _step(contents: ReportContents, finding: Findings) -> tuple[str, str]:
    decision = contents.decision
    if decision is not None and decision.next_step:
        return _lead_of_choice(decision.arm), decision.next_step
    if decision is not None and decision.arm is not None:
        return _lead_of_choice(decision.arm), _text_of_choice(decision.rule, finding)
    shares = next((wave.next_shares for wave in reversed(contents.waves) if wave.next_shares), {})
    if shares and contents.waves[-1].next_shares:
        return "Go on learning", f"The next wave gives {_largest(shares)}."
    tested = None
    if contents.evaluations:
        tested = advice(contents.evaluations[-1], contents.unit_name)
    if tested is not None:
        return tested
    if finding.arm is None:
        return "Finish a wave first", "Close a wave and analyse it; there is nothing to act on yet."
    return _undecided(finding)


def _lead_of_choice(arm: str | None) -> str:
    return "Go on learning" if arm is None else f"Use {arm}"


def _text_of_choice(rule: str, finding: Findings) -> str:
    text = f"Chosen by the rule: {rule}. A small control group would show whether the effect lasts."
    if finding.beats_control is False:
        text = (
            f"Chosen by the rule: {rule}. It does worse than control, though: consider no message."
        )
    if (
        finding.after is not None
        and finding.next_after is not None
        and finding.after.prob_optimal < ENOUGH
    ):
        return (
            f"{text} If the choice can wait, another wave would separate the leading arms better."
        )
    return text


def _largest(shares: Mapping[str, float]) -> str:
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{percent(share)} to {arm}" for arm, share in ranked[:MOST_SHARES]]
    rest = sum(share for _, share in ranked[MOST_SHARES:])
    if len(ranked) > MOST_SHARES:
        named.append(f"{percent(rest)} to the other {len(ranked) - MOST_SHARES}")
    return ", ".join(named)


def _undecided(finding: Findings) -> tuple[str, str]:
    if finding.effect is None:
        return f"Consider {finding.arm}", "Nothing has been decided yet."
    if not finding.beats_control and not finding.none_beats_control:
        return "Look at the arms again", f"{finding.arm} leads, but another arm beats control."
    if finding.beats_control is None:
        return "Do not roll out on this evidence", "No arm differs significantly from control."
    if not finding.beats_control:
        return "Do not message", "No arm does better than control."
    return f"Consider {finding.arm}", f"Nothing has been decided yet; {_compare(finding)}"


def _compare(finding: Findings) -> str:
    if finding.next_effect is None:
        return "it does better than control. Weigh its cost against its effect."
    weigh = f"weigh its cost against that of {finding.next_effect.arm}, the next best arm"
    if finding.beats_next or finding.stakes is None or finding.effects is None:
        return f"{weigh}."
    chance, loss = finding.stakes
    return (
        f"{weigh}: the chance that another arm is better is {probability(chance)}, and using "
        f"{finding.arm} is expected to lose {scale_of(finding.effects.outcome).amount(loss)}."
    )


def _cautions(contents: ReportContents, finding: Findings) -> list[str]:
    cautions = [
        f"Leave out wave {wave.id}: none of its messages went out."
        for wave in contents.waves
        if wave.nothing_sent and not contents.simulated
    ]
    if contents.decision is not None and contents.decision.made_from_former:
        cautions.append(contents.decision.made_from_former)
    if finding.failed:
        n = len(finding.failed)
        cautions.append(f"First review the {'check' if n == 1 else f'{n} checks'} that failed.")
    cautions += [wave.early for wave in contents.waves if wave.early]
    if contents.exploratory:
        cautions.append("Exploratory: confirm it on new units before acting on it.")
    return cautions
