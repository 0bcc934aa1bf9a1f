"""What policies showed on fresh outcomes, in sentences for who runs the programme.

Two questions are kept apart: personalization (which message, for whom) and targeting (whether to
message somebody at all). The words never say more than the intervals do.
"""

from wavewise.report.contents import ReasonRow
from wavewise.report.evaluation_contents import (
    ContrastRow,
    CurveRow,
    EvaluationContents,
    Measured,
    SpendRow,
)
from wavewise.report.numbers import Scale, in_people, percent, scale_of, signed

__all__ = [
    "advice",
    "contrast_lead",
    "contrast_sentence",
    "evaluation_sentences",
    "measured_text",
    "personalization",
    "targeting",
]


def personalization(shown: EvaluationContents, unit_name: str) -> tuple[str, str]:
    """Whether choosing the message for each unit pays: the answer, and the sentences behind it."""
    if not shown.contrasts:
        return "Not tested", "No two policies were compared."
    row = shown.contrasts[0]
    scale = scale_of(shown.outcome)
    text = contrast_sentence(shown, row, unit_name)
    if row.share_differs and _better(shown, row.effect) is None:
        text += f" Until more data tell, {row.second} is the rule to keep."
    return contrast_lead(shown, row, scale), text


def contrast_lead(shown: EvaluationContents, row: ContrastRow, scale: Scale) -> str:
    """The verdict on two policies in a few words."""
    better = _better(shown, row.effect)
    amount = scale.amount(row.effect.estimate)
    if row.share_differs == 0:
        return f"No: {row.first} and {row.second} send everybody the same"
    if better is None:
        return f"Not shown: {row.first} is not shown to beat {row.second}"
    if better:
        return f"Yes: {row.first} beats {row.second} by {amount}"
    return f"No: {row.first} does worse than {row.second}, by {amount}"


def contrast_sentence(shown: EvaluationContents, row: ContrastRow, unit_name: str) -> str:
    """The difference of two policies with its standard error, and what it rests on."""
    scale = scale_of(shown.outcome)
    head = (
        f"Tested on {shown.n_units:,} {unit_name} with outcomes that no policy had seen, "
        f"{row.name} is"
    )
    if row.share_differs == 0:
        return (
            f"{head} exactly 0 (standard error 0): both rules send every one of the {unit_name} "
            f"the same message, so choosing by {row.first} changes nothing. What was learned on "
            f"{_waves(shown)} gave no reason to depart from one message for all."
        )
    text = f"{head} {measured_text(row.effect, scale, shown.level)}. {_differing(row, unit_name)}"
    if _better(shown, row.effect) is None:
        text += f" {_not_shown(shown, row, scale)}"
    elif shown.outcome.kind == "binary":
        text += f" That is about {in_people(abs(row.effect.estimate), unit_name)}."
    return text


def _by_groups(shown: EvaluationContents, row: ContrastRow) -> str:
    """The same difference by the other estimator."""
    if not isinstance(row.randomized, Measured):
        return ""
    found = measured_text(row.randomized, scale_of(shown.outcome), shown.level)
    return f" From the randomized groups alone it is {found}."


def _differing(row: ContrastRow, unit_name: str) -> str:
    share = percent(row.share_differs)
    if row.share_differs == 1:
        return f"The two can send different messages to all {unit_name}."
    return (
        f"The two send different messages to {share} of the {unit_name}; for the others the "
        "difference is 0 by construction."
    )


def _not_shown(shown: EvaluationContents, row: ContrastRow, scale: Scale) -> str:
    """What an interval that holds zero leaves possible, for the decision."""
    decimals = scale.decimals(row.effect.std_error)
    low, high = scale.bounds(row.effect.conf_low, row.effect.conf_high, decimals)
    good, bad = (high, low) if shown.outcome.higher_is_better else (low, high)
    return (
        f"So chance alone could explain it: {row.first} may be worth up to {good} or cost as much "
        f"as {bad} {scale.effect_unit}."
    )


def advice(shown: EvaluationContents) -> tuple[str, str] | None:
    """What to use after the test of policies, from the first contrast; None without one."""
    if not shown.contrasts:
        return None
    row = shown.contrasts[0]
    better = _better(shown, row.effect)
    hold = "Go on holding out a small part, to see whether the effect lasts."
    if better:
        return f"Use {row.first}", f"It beat {row.second} on outcomes that it had not seen. {hold}"
    if row.share_differs == 0:
        return f"Use {row.second}", f"{row.first} would send the same to everybody. {hold}"
    found = "did worse" if better is False else "is not shown to do better"
    return f"Use {row.second}", f"{row.first} {found} on outcomes that it had not seen. {hold}"


def targeting(shown: EvaluationContents, unit_name: str) -> tuple[str, str] | None:
    """Whether messaging can be limited to those who gain: the answer and its sentences."""
    if not shown.curves and not shown.spending:
        return None
    half = _half(shown)
    if half is not None:
        return _half_lead(shown, half, unit_name), _half_sentence(shown, half, unit_name)
    found = any(row.causal and row.autoc.conf_low > 0 for row in shown.curves)
    lead = "Yes: some gain more, and can be found" if found else "Not shown"
    return lead, " ".join(_curve_sentence(shown, row) for row in shown.curves)


def _half(shown: EvaluationContents) -> SpendRow | None:
    return min(shown.spending, key=lambda row: abs(row.share - 0.5), default=None)


def _half_lead(shown: EvaluationContents, row: SpendRow, unit_name: str) -> str:
    better = _sign_of(row.difference)
    amount = scale_of(shown.outcome).amount(row.difference.estimate)
    share = percent(row.share, 0)
    if better is None:
        return "Not shown: choosing whom to message is not shown to beat a lot"
    if better:
        return f"Yes: with messages for {share} of the {unit_name}, choosing adds {amount}"
    return f"No: choosing whom to message loses {amount} against a lot"


def _half_sentence(shown: EvaluationContents, row: SpendRow, unit_name: str) -> str:
    scale = scale_of(shown.outcome)
    changes, change = ("rises", "rise") if shown.outcome.higher_is_better else ("falls", "fall")
    full = max(shown.spending, key=lambda item: item.share)
    text = (
        f"With messages for {percent(row.share, 0)} of the {unit_name}, those with the largest "
        f"predicted gain, the mean over all {changes} by {_brief(row.targeted, scale)}; by lot it "
        f"would {change} by {_brief(row.uniform, scale)}; the difference is "
        f"{measured_text(row.difference, scale, shown.level)}."
    )
    if full.share == 1 and row.share < 1:
        text += f" Messaging everybody brings {_brief(full.uniform, scale)}"
        fewer = [item.targeted.estimate for item in shown.spending if item.share < 1]
        if full.uniform.estimate > max(fewer):
            text += ", more than any smaller number: choose only where messages cost something"
        text += "."
    return text


def _curve_sentence(shown: EvaluationContents, row: CurveRow) -> str:
    """Whether a ranking finds those who gain more."""
    scale = scale_of(shown.outcome)
    by = f"the effect that {row.priority} predicts" if row.causal else row.priority
    if row.autoc.conf_low > 0:
        told = "puts those first who gain more"
    elif row.autoc.conf_high < 0:
        told = "puts those last who gain more"
    else:
        told = "is not shown to find those who gain more"
    numbers = measured_text(row.autoc, scale, shown.level)
    lower = "" if shown.outcome.higher_is_better else ", a lower outcome counted as a gain"
    return f"Ranking by {by} {told} from {shown.message}: AUTOC {numbers}{lower}."


def evaluation_sentences(shown: EvaluationContents, unit_name: str) -> tuple[str, ...]:
    """All that the section says, in its order: contrasts, targeting, what is missing."""
    told = targeting(shown, unit_name)
    return (
        *(
            f"{contrast_lead(shown, row, scale_of(shown.outcome))}. "
            f"{contrast_sentence(shown, row, unit_name)}{_by_groups(shown, row)}"
            for row in shown.contrasts
        ),
        *(() if told is None else (f"{told[0]}. {told[1]}",)),
        *(_curve_sentence(shown, row) for row in shown.curves if shown.spending),
        *(_missing(row) for row in shown.not_estimable),
    )


def _missing(row: ReasonRow) -> str:
    return f"{row.arm[:1].upper()}{row.arm[1:]}: not computed: {row.reason.rstrip('.')}."


def measured_text(found: Measured, scale: Scale, level: float) -> str:
    """An estimate with its standard error and interval, e.g. ``+0.4 pp (standard error 0.3, ...)``.

    Examples
    --------
    >>> from wavewise.report.contents import Outcome
    >>> text = measured_text(Measured(.004, .003, -.002, .01), scale_of(Outcome("y", "y")), .95)
    >>> text.replace("\u00a0", " ").replace("\u2212", "-")
    '+0.4 percentage points (standard error 0.3, 95 % interval -0.2 to +1.0)'
    """
    decimals = scale.decimals(found.std_error)
    low, high = scale.bounds(found.conf_low, found.conf_high, decimals)
    error = signed(scale.factor * found.std_error, decimals).removeprefix("+")
    return (
        f"{scale.effect(found.estimate, decimals)} (standard error {error}, "
        f"{percent(level, 0)} interval {low} to {high})"
    )


def _brief(found: Measured, scale: Scale) -> str:
    return scale.effect(found.estimate, scale.decimals(found.std_error))


def _better(shown: EvaluationContents, found: Measured) -> bool | None:
    """True if the interval lies on the good side of 0, False on the bad side, None on neither."""
    positive = _sign_of(found)
    return None if positive is None else positive == shown.outcome.higher_is_better


def _sign_of(found: Measured) -> bool | None:
    """Whether the interval lies above 0; None where it holds 0. For gains, which are never bad."""
    return None if found.conf_low <= 0 <= found.conf_high else found.estimate > 0


def _waves(shown: EvaluationContents) -> str:
    return " and ".join(shown.learned_on) or "other data"
