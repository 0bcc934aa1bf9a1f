"""What an evaluation on fresh data says, in words for who runs the programme."""

from collections.abc import Mapping
from typing import Any

__all__ = ["evaluation_sentences"]


def evaluation_sentences(facts: Mapping[str, Any], *, rate: bool) -> list[str]:
    """Sentences on policies, on choosing the message for each unit, and on whom to message.

    Parameters
    ----------
    facts : mapping
        What ``wavewise evaluate`` keeps.
    rate : bool
        Whether the outcome is a share, told in percentage points.
    """
    return [
        *(_contrast(row, rate) for row in facts["contrasts"]),
        *_targeting(facts["targeting"], facts["level"]),
        *_spending(facts["spending"], rate),
    ]


def _number(value: float, rate: bool) -> str:
    return f"{100 * value:.2f} points" if rate else f"{value:.4g}"


def _interval(row: Mapping[str, Any], rate: bool) -> str:
    low, high = row["conf_low"], row["conf_high"]
    return f"{_number(low, rate)} to {_number(high, rate)}"


def _contrast(row: Mapping[str, Any], rate: bool) -> str:
    """The difference of two policies, with the part of the units that tell anything of it."""
    found = row["doubly_robust"]
    first, second = row["first"], row["second"]
    if found["share_differs"] == 0:
        return (
            f"'{first}' and '{second}' give every unit the same message: there is nothing to "
            "choose between them."
        )
    estimate = found["estimate"]
    if found["conf_low"] > 0:
        told = f"'{first}' did better than '{second}'"
    elif found["conf_high"] < 0:
        told = f"'{first}' did worse than '{second}'"
    else:
        told = f"whether '{first}' does better than '{second}' is not clear"
    text = (
        f"On fresh outcomes {told}: difference {_number(estimate, rate)} (standard error "
        f"{_number(found['std_error'], rate)}, interval {_interval(found, rate)}). "
        f"The two give different messages to {found['share_differs']:.0%} of the units."
    )
    paired = row["paired"]
    if "not_estimable" not in paired:
        text += (
            f" By randomized policy alone, among those who differ: "
            f"{_number(paired['estimate'], rate)} (standard error "
            f"{_number(paired['std_error'], rate)})."
        )
    return text


def _targeting(targeting: Mapping[str, Any], level: float) -> list[str]:
    if "not_estimable" in targeting:
        return [f"Whom to message was not evaluated: {targeting['not_estimable']}."]
    found = []
    for curve in targeting["curves"]:
        name = curve["priority"]
        if "not_estimable" in curve:
            found.append(f"Ranking by {name}: {curve['not_estimable']}.")
            continue
        autoc = next(row for row in curve["rows"] if "AUTOC" in row["measure"].upper())
        if autoc["conf_low"] is None:
            found.append(
                f"Ranking by {name}: it cannot be said whether it finds those who gain more."
            )
            continue
        clear = autoc["conf_low"] > 0
        wrong = autoc["conf_high"] < 0
        how = "predicted effect of the " + name if name != "predicted outcome" else name
        told = (
            "finds those who gain more"
            if clear
            else "ranks units the wrong way round"
            if wrong
            else "does not surely find those who gain more"
        )
        found.append(
            f"Messaging '{targeting['content']}' in the order of the {how} {told}: AUTOC "
            f"{autoc['estimate']:.4g}, {level:.0%} interval {autoc['conf_low']:.4g} to "
            f"{autoc['conf_high']:.4g}."
        )
    return found


def _spending(spending: Mapping[str, Any], rate: bool) -> list[str]:
    if "not_estimable" in spending:
        return [f"The best use of fewer messages was not evaluated: {spending['not_estimable']}."]
    half = next((row for row in spending["rows"] if row["spend"] == 0.5), None)
    if half is None or half["gain_estimate"] is None or half["difference_estimate"] is None:
        return []
    return [
        "With messages for half of the units, sent where the forest expects most, the gain is "
        f"{_number(half['gain_estimate'], rate)} (standard error "
        f"{_number(half['gain_std_error'], rate)}); against the same number of the best message "
        f"sent to units at random the difference is {_number(half['difference_estimate'], rate)} "
        f"(standard error {_number(half['difference_std_error'], rate)})."
    ]
