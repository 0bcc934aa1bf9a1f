"""The rules by which a wave's shares follow from what was learned: one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from wavewise.decide.evidence import is_certain, near_certain
from wavewise.decide.fractions import checked_fractions, checked_share
from wavewise.decide.laws import exploration, tempered, thompson, top_two
from wavewise.errors import DecisionError, InputError
from wavewise.results import FloatArray

__all__ = ["RULES", "Rule", "RuleName", "RuleOptions", "rule_named"]

RuleName = Literal[
    "exploration", "Thompson", "tempered Thompson", "top-two", "control-augmented", "equal", "fixed"
]

TEMPERED_UNIFORM_SHARE = 0.2
TOP_TWO_BETA = 0.5


class RuleOptions(TypedDict, total=False):
    """What some rules let one choose; None is the same as not given."""

    temper: float | None
    """Exponent of "tempered Thompson", in [0, 1]."""
    uniform_share: float | None
    """Equally shared part of "tempered Thompson", in [0, 1]."""
    beta: float | None
    """Probability that "top-two" plays the first of its two arms, in [0, 1]."""
    fixed: npt.ArrayLike | None
    """Shares of "fixed", (n_arms,)."""


@dataclass(frozen=True)
class Rule:
    """One rule of allocation.

    Parameters
    ----------
    name : str
        As study files and results spell it.
    label : str
        In sentences.
    law : callable
        From log probabilities of being best, (..., n_arms), and the options given, to the shares
        of the arms among themselves, (..., n_arms).
    options : tuple of str
        The options that it knows.
    needs_rival : bool
        Whether it has no value where one arm is best with probability exactly 1.
    matches_control : bool
        Whether the control gets as much as the arm with the largest share.
    """

    name: RuleName
    label: str
    law: Callable[[FloatArray, Mapping[str, Any]], FloatArray]
    options: tuple[str, ...] = ()
    needs_rival: bool = False
    matches_control: bool = False

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that were given, if the rule knows them.

        Raises
        ------
        InputError
            One that belongs to another rule, or to none.
        """
        given = {name: value for name, value in options.items() if value is not None}
        foreign = [name for name in given if name not in self.options]
        if foreign:
            raise InputError(
                f"{foreign[0]}: found it beside the rule {self.name!r}; needed "
                f"{' or '.join(self.options) or 'no further option'} there"
            )
        return given

    def competing(
        self, log_prob: FloatArray, options: Mapping[str, Any], floor: float
    ) -> FloatArray:
        """Shares of the arms among themselves, (n_arms,); they sum to 1.

        Raises
        ------
        InputError
            An option that is out of its range or not the rule's.
        DecisionError
            One arm is best with probability exactly 1, the rule needs a rival, and there is no
            floor by which to go on all the same.
        """
        given = self.given(options)
        if not (self.needs_rival and is_certain(log_prob)):
            return self.law(log_prob, given)
        if floor == 0:
            raise _nothing_to_explore(self)
        return self.law(near_certain(log_prob), given) if log_prob.size > 1 else np.ones(1)


def _nothing_to_explore(rule: Rule) -> DecisionError:
    return DecisionError(
        f"{rule.label}: found one arm that is best with probability exactly 1, so that nothing is "
        "left to explore; choose that arm, or ask for the rule 'equal' or for a floor above 0 if "
        "another wave is needed all the same"
    )


def _exploration(log_prob: FloatArray, _: Mapping[str, Any]) -> FloatArray:
    return exploration(log_prob)


def _thompson(log_prob: FloatArray, _: Mapping[str, Any]) -> FloatArray:
    return thompson(log_prob)


def _tempered(log_prob: FloatArray, options: Mapping[str, Any]) -> FloatArray:
    uniform = 0.0 if "temper" in options else TEMPERED_UNIFORM_SHARE
    uniform = checked_share(
        "uniform_share", options.get("uniform_share", uniform), "a share from 0 to 1, such as 0.2"
    )
    needed = "an exponent from 0 (equal shares) to 1 (Thompson sampling)"
    return tempered(log_prob, checked_share("temper", options.get("temper", 1.0), needed), uniform)


def _top_two(log_prob: FloatArray, options: Mapping[str, Any]) -> FloatArray:
    needed = "a probability from 0 to 1, such as 0.5"
    return top_two(log_prob, checked_share("beta", options.get("beta", TOP_TWO_BETA), needed))


def _equal(log_prob: FloatArray, _: Mapping[str, Any]) -> FloatArray:
    return np.full(log_prob.shape, 1 / log_prob.shape[-1])


def _fixed(log_prob: FloatArray, options: Mapping[str, Any]) -> FloatArray:
    if "fixed" not in options:
        raise InputError("fixed: found nothing; needed the shares of the arms for the rule 'fixed'")
    shares = checked_fractions("fixed", options["fixed"])
    n_arms = log_prob.shape[-1]
    if shares.size != n_arms:
        raise InputError(f"fixed: found {shares.size} shares; needed {n_arms}, one an arm")
    return np.array(np.broadcast_to(shares / shares.sum(), log_prob.shape))


RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule("exploration", "exploration sampling", _exploration, needs_rival=True),
        Rule("Thompson", "Thompson sampling", _thompson),
        Rule(
            "tempered Thompson",
            "tempered Thompson sampling",
            _tempered,
            options=("temper", "uniform_share"),
        ),
        Rule("top-two", "top-two Thompson sampling", _top_two, options=("beta",), needs_rival=True),
        Rule(
            "control-augmented",
            "control-augmented Thompson sampling",
            _thompson,
            matches_control=True,
        ),
        Rule("equal", "equal shares", _equal),
        Rule("fixed", "fixed shares", _fixed, options=("fixed",)),
    )
}

_OTHER_NAMES: Final = {"uniform": "equal", "tempered": "tempered Thompson"}


def rule_named(name: str) -> Rule:
    """The rule of this name, whatever its case, with or without "sampling" or "Thompson" behind it.

    Raises
    ------
    InputError
        No rule has this name.

    Examples
    --------
    >>> [rule_named(name).name for name in ("thompson", "Top-Two Thompson", "uniform")]
    ['Thompson', 'top-two', 'equal']
    """
    rule = _BY_SPELLING.get(_spelling(str(name)))
    if rule is None:
        raise InputError(f"rule: found {name!r}; needed one of {', '.join(RULES)}")
    return rule


def _spelling(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


_BY_SPELLING: Final = {
    **{_spelling(rule.name): rule for rule in RULES.values()},
    **{_spelling(rule.label): rule for rule in RULES.values()},
    **{_spelling(rule.label.removesuffix(" sampling")): rule for rule in RULES.values()},
    **{_spelling(other): RULES[name] for other, name in _OTHER_NAMES.items()},
}
