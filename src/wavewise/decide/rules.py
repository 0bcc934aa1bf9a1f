"""The rules by which a wave's shares follow from what was learned: one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.decide.evidence import (
    Posterior,
    checked_fractions,
    checked_share,
    is_certain,
    log_prob_of,
    log_sum_of_others,
    near_certain,
)
from wavewise.errors import DecisionError, InputError
from wavewise.shared.results import FloatArray, read_only

__all__ = ["RULES", "Rule", "RuleName", "RuleOptions", "exploration_shares", "rule_named"]

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
    """One rule of allocation."""

    name: RuleName  # As study files and results spell it.
    label: str  # In sentences.
    # From log probabilities of being best, (..., n_arms), and the options given, to the shares of
    # the arms among themselves, (..., n_arms).
    law: Callable[[FloatArray, Mapping[str, Any]], FloatArray]
    options: tuple[str, ...] = ()  # The options that it knows.
    # Whether it has no value where one arm is best with probability exactly 1.
    needs_rival: bool = False
    # Whether the control gets as much as the arm with the largest share.
    matches_control: bool = False

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that were given, if the rule knows them."""
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
        """Shares of the arms among themselves, (n_arms,); they sum to 1."""
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
        raise InputError(f"fixed: found {shares.size} shares; needed {n_arms}, one per arm")
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


# Exploration sampling: shares that learn for a choice after the experiment.


def exploration_shares(prob_optimal: npt.ArrayLike | Posterior) -> FloatArray:
    """Exploration-sampling shares p_k (1 - p_k) / sum_j p_j (1 - p_j), (n_arms,).

    Parameters
    ----------
    prob_optimal : (n_arms,) array of float, or a posterior
        Posterior probability that each arm is best. A posterior gives its logarithms, so that the
        shares hold where an arm is best all but certainly (1 - p below 1e-16).

    Returns
    -------
    (n_arms,) array of float
        Shares in [0, 1/2] (apart from rounding) that sum to 1.

    Raises
    ------
    InputError
        Not probabilities, or they do not sum to 1 within 1e-6.
    DecisionError
        One arm is best with probability exactly 1: every product is 0.

    Notes
    -----
    1 - p_k is the sum of the other arms' probabilities, never a difference. No share exceeds one
    half, since p_k (1 - p_k) is at most the sum of the others' products; as one arm becomes certain
    its share goes to 1/2 and the others' to p_j / (2 (1 - p_k)). The shares describe the arms that
    compete; for a control or a floor see `shares`.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).

    Examples
    --------
    >>> exploration_shares([0.7, 0.2, 0.1]).round(4).tolist()
    [0.4565, 0.3478, 0.1957]
    """
    return read_only(RULES["exploration"].competing(log_prob_of(prob_optimal), {}, floor=0.0))


# Laws of allocation: from log probabilities of being best to shares of the arms that compete.


def exploration(log_prob: FloatArray) -> FloatArray:
    """Shares p_k (1 - p_k) / sum_j p_j (1 - p_j), (..., n_arms).

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).
    """
    log_product = log_prob + log_sum_of_others(log_prob)
    product = np.exp(log_product - log_product.max(axis=-1, keepdims=True))
    return np.asarray(product / product.sum(axis=-1, keepdims=True))


def thompson(log_prob: FloatArray) -> FloatArray:
    """Each arm's probability of being best, (..., n_arms).

    References
    ----------
    Thompson (1933), *Biometrika* 25, 285-294.
    """
    return np.asarray(special.softmax(log_prob, axis=-1))


def tempered(log_prob: FloatArray, temper: float, uniform_share: float) -> FloatArray:
    """Shares g / n_arms + (1 - g) p_k^c / sum_j p_j^c, (..., n_arms).

    References
    ----------
    Caria, Gordon, Kasy, Quinn, Shami and Teytelboym (2020), CESifo working paper 8535 (the mixture
    with equal shares). Thall and Wathen (2007), *European Journal of Cancer* 43, 859-866 (the
    power).
    """
    equal = np.full(log_prob.shape, 1 / log_prob.shape[-1])
    power = np.asarray(special.softmax(temper * log_prob, axis=-1)) if temper > 0 else equal
    return np.asarray(uniform_share * equal + (1 - uniform_share) * power)


def top_two(log_prob: FloatArray, beta: float) -> FloatArray:
    """Shares p_k (beta + (1 - beta) sum_{j != k} p_j / (1 - p_j)), (..., n_arms).

    Notes
    -----
    A unit's arm is drawn so: an arm j with probability p_j; with probability beta j is kept, else
    arms are drawn anew, independently, until one differs from j. The second arm is so k with
    probability p_k / (1 - p_j). The draws are from the posterior of which arm is best, so that the
    probabilities alone decide, however the arms depend on each other. In logarithms, where p_j is
    near 1 as well.

    References
    ----------
    Russo (2020), *Operations Research* 68, 1625-1647 (top-two Thompson sampling).
    """
    log_odds = log_prob - log_sum_of_others(log_prob)
    second = np.exp(log_prob + log_sum_of_others(log_odds))
    return np.asarray(beta * np.exp(log_prob) + (1 - beta) * second)
