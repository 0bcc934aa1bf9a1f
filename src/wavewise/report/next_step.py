"""What to do next, in words that fit what is known."""

from wavewise.report.choose import Findings
from wavewise.report.contents import ReportContents, ShareRow
from wavewise.report.evaluation_words import advice
from wavewise.report.numbers import percent

__all__ = ["next_step"]

ENOUGH = 0.9  # below this probability of being best, more data are advised beside the choice
MOST_SHARES = 4


def next_step(contents: ReportContents, found: Findings) -> tuple[str, str]:
    """The next step in a few words, and its reasons."""
    lead, text = _step(contents, found)
    return lead, " ".join([text, *_cautions(contents, found)]).strip()


def _step(contents: ReportContents, found: Findings) -> tuple[str, str]:
    decision = contents.decision
    if decision is not None and decision.next_step:
        return _lead_of_choice(decision.arm), decision.next_step
    if decision is not None and decision.arm is not None:
        return _lead_of_choice(decision.arm), _text_of_choice(decision.rule, found)
    shares = next((wave.next_shares for wave in reversed(contents.waves) if wave.next_shares), ())
    if shares and contents.waves[-1].next_shares:
        return "Go on learning", f"The next wave gives {_largest(shares)}."
    if found.arm is None:
        return "Finish a wave first", "Close a wave and analyse it; there is nothing to act on yet."
    tested = advice(contents.evaluations[-1]) if contents.evaluations else None
    if tested is not None:
        return tested
    return _undecided(found)


def _lead_of_choice(arm: str | None) -> str:
    return "Go on learning" if arm is None else f"Use {arm}"


def _text_of_choice(rule: str, found: Findings) -> str:
    text = f"Chosen by the rule: {rule}. A small control group would show whether the effect lasts."
    if found.beats_control is False:
        text = f"Chosen by the rule: {rule}. Yet it does worse than control: consider no message."
    if (
        found.belief is not None
        and found.next_belief is not None
        and found.belief.prob_optimal < ENOUGH
    ):
        return (
            f"{text} If the choice can wait, another wave would tell the leading arms apart better."
        )
    return text


def _largest(shares: tuple[ShareRow, ...]) -> str:
    ranked = sorted(shares, key=lambda row: (-row.share, row.arm))
    named = [f"{percent(row.share)} to {row.arm}" for row in ranked[:MOST_SHARES]]
    rest = sum(row.share for row in ranked[MOST_SHARES:])
    if len(ranked) > MOST_SHARES:
        named.append(f"{percent(rest)} to the other {len(ranked) - MOST_SHARES}")
    return ", ".join(named)


def _undecided(found: Findings) -> tuple[str, str]:
    if found.effect is None:
        return f"Consider {found.arm}", "Nothing has been decided yet."
    if not found.beats_control and not found.none_beats_control:
        return "Look at the arms again", f"{found.arm} leads, yet another arm beats control."
    if found.beats_control is None:
        return "Do not roll out on this evidence", "No arm is shown to differ from control."
    if not found.beats_control:
        return "Do not message", "No arm does better than control."
    return f"Consider {found.arm}", f"Nothing has been decided yet; {_compare(found)}"


def _compare(found: Findings) -> str:
    if found.next_effect is None:
        return "it does better than control. Weigh its cost against its effect."
    return f"weigh its cost against that of {found.next_effect.arm}, the next best arm."


def _cautions(contents: ReportContents, found: Findings) -> list[str]:
    cautions = []
    if found.failed:
        n = len(found.failed)
        cautions.append(f"First look at the {'check' if n == 1 else f'{n} checks'} that failed.")
    if contents.exploratory:
        cautions.append("Exploratory: confirm on fresh units before acting on it.")
    return cautions
