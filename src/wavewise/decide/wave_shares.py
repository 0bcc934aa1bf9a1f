"""The next wave's shares by a named rule, with what they were learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from wavewise.decide.evidence import (
    Posterior,
    checked_fractions,
    checked_posterior,
    checked_share,
    floored,
    log_prob_of,
    near_certain,
    with_floor,
)
from wavewise.decide.rules import Rule, RuleName, RuleOptions, rule_named
from wavewise.errors import InputError
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, Result, read_only
from wavewise.shared.text_tables import listed, tied

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "NextShares",
    "WaveOptions",
    "arm_and_control_shares",
    "next_shares",
    "shares",
    "shares_of_many",
]

Options = tuple[tuple[str, float | tuple[float, ...]], ...]

_VERSION = 1


@dataclass(frozen=True, eq=False)
class NextShares(Result, kind="next shares"):
    """Shares of the next wave, and what they come from.

    Parameters
    ----------
    arms : (n_arms,) tuple of str
        Every arm of the wave, the control last where there is one.
    shares : (n_arms,) array of float
        Share of each, in [0, 1], sum 1.
    rule : str
        Its name, as study files spell it.
    control : str or None
        The control's name.
    prob_optimal, policy_regret : (n_arms,) or (n_arms - 1,) array of float
        Of the arms that were compared, in the order of `arms` without the control.
    learned_on : tuple of str
        Waves whose outcomes the posterior holds.
    text : str
        The same in plain words.
    floor : float
        Least share of each arm.
    options : tuple of (str, float or tuple of float)
        What was chosen of the rule, such as its exponent.
    """

    arms: tuple[str, ...]
    shares: FloatArray
    rule: RuleName
    control: str | None
    prob_optimal: FloatArray
    policy_regret: FloatArray
    learned_on: tuple[str, ...]
    text: str
    floor: float = 0.0
    options: Options = ()

    def _facts(self) -> dict[str, Any]:
        return {
            "arms": self.arms,
            "shares": self.shares,
            "rule": self.rule,
            "control": self.control,
            "prob_optimal": self.prob_optimal,
            "policy_regret": self.policy_regret,
            "learned_on": self.learned_on,
            "text": self.text,
            "floor": self.floor,
            "options": dict(self.options),
        }

    @classmethod
    def _from_facts(cls, values: Mapping[str, Any]) -> "NextShares":
        if values.get("version") != _VERSION or values.get("kind") != "next shares":
            raise InputError(
                f"next shares: found kind {values.get('kind')!r}, version "
                f"{values.get('version')!r}; needed 'next shares', version {_VERSION}"
            )
        missing = sorted(cls.__dataclass_fields__.keys() - {"floor", "options"} - values.keys())
        if missing:
            raise InputError(f"next shares: found no {', '.join(missing)}; needed all of them")
        shares = checked_fractions("shares", values["shares"])
        if len(values["arms"]) != shares.size:
            raise InputError(
                f"next shares: found {len(values['arms'])} arms and {shares.size} shares; needed "
                "one share an arm"
            )
        return cls(
            arms=tuple(values["arms"]),
            shares=read_only(shares),
            rule=rule_named(values["rule"]).name,
            control=values["control"],
            prob_optimal=read_only(values["prob_optimal"], np.float64),
            policy_regret=read_only(values["policy_regret"], np.float64),
            learned_on=tuple(values["learned_on"]),
            text=values["text"],
            floor=float(values.get("floor", 0.0)),
            options=_plain_options(values.get("options", {})),
        )

    def _frame(self) -> "pl.DataFrame":
        """One row per arm: share, probability of being best, regret (null for the control)."""
        import polars as pl

        blank = [None] * (len(self.arms) - self.prob_optimal.size)
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "share": self.shares,
                "prob_optimal": pl.Series([*self.prob_optimal.tolist(), *blank], dtype=pl.Float64),
                "policy_regret": pl.Series(
                    [*self.policy_regret.tolist(), *blank], dtype=pl.Float64
                ),
            }
        )

    def summary(self) -> str:
        """Table of the shares and the sentence."""
        width = max(len(name) for name in self.arms)
        rows = [
            f"{name:<{width}}  {share:6.2%}"
            for name, share in zip(self.arms, self.shares, strict=True)
        ]
        return "\n".join([*rows, "", self.text])


@renamed("rule", "control", "control_share", "learned_on")
def next_shares(
    posterior: Posterior,
    *,
    rule: RuleName | str = "exploration",
    control: str | None = None,
    control_share: float = 0.0,
    learned_on: Sequence[str] = (),
    floor: float = 0.0,
    **options: Unpack[RuleOptions],
) -> NextShares:
    """Shares of the next wave by a rule, a control beside them.

    Parameters
    ----------
    posterior : Posterior
        Of the arms that compete; the control is not among them.
    rule : str
        As for `shares`, which says what each rule does.
    control : str, optional
        Name of the control.
    control_share : float
        Its share of the wave, at least 0 and below 1; its least share for "control-augmented".
    learned_on : sequence of str
        Waves whose outcomes the posterior holds.
    floor : float
        Least share of every arm in the wave.
    **options
        `temper`, `uniform_share`, `beta`, `fixed`, as for `shares`.

    Returns
    -------
    NextShares

    Raises
    ------
    InputError
        An unknown rule, a control share without a control, a control that also competes, an option
        out of its range or of another rule.
    DecisionError
        A rule that needs a rival where one arm is best with probability exactly 1, and no floor.

    Notes
    -----
    Exploration sampling learns for a choice after the experiment; Thompson sampling earns during
    the experiment and so spends nearly everything on an arm that already looks best.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> posterior = beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])
    >>> shares = next_shares(posterior, control="control", control_share=0.25)
    >>> dict(zip(shares.arms, shares.shares.round(3).tolist()))
    {'a': 0.133, 'b': 0.333, 'c': 0.284, 'control': 0.25}
    """
    known = checked_posterior(posterior)
    chosen = rule_named(rule)
    _check_control(known.arms, control, control_share, chosen)
    competing, beside = arm_and_control_shares(
        log_prob_of(known), chosen, control_share, floor=floor, **options
    )
    names, shares = tuple(known.arms), competing
    if control is not None:
        names, shares = (*names, control), np.append(competing, beside)
    return NextShares(
        arms=names,
        shares=read_only(shares),
        rule=chosen.name,
        control=control,
        prob_optimal=read_only(known.prob_optimal),
        policy_regret=read_only(known.policy_regret),
        learned_on=tuple(learned_on),
        text=_text(known, chosen, shares, control, learned_on, floor),
        floor=float(floor),
        options=_plain_options(chosen.given(options)),
    )


def _plain_options(options: Mapping[str, Any]) -> Options:
    return tuple(
        (name, float(value) if np.ndim(value) == 0 else tuple(map(float, value)))
        for name, value in sorted(options.items())
    )


def _check_control(
    arms: Sequence[str], control: str | None, control_share: float, rule: Rule
) -> None:
    if control is None and control_share != 0:
        raise InputError(
            f"control_share: found {control_share} without a control; name the control arm"
        )
    if control is None and rule.matches_control:
        raise InputError(
            f"control: found none beside the rule {rule.name!r}, which gives the control as much "
            "as the best arm; name the control arm"
        )
    if control is not None and control in arms:
        raise InputError(
            f"control: found {control!r} among the arms that compete; needed a posterior of the "
            "other arms only"
        )


def _text(
    posterior: Posterior,
    rule: Rule,
    shares: FloatArray,
    control: str | None,
    learned_on: Sequence[str],
    floor: float,
) -> str:
    source = f" after {', '.join(learned_on)}" if learned_on else ""
    beside = f" Every arm keeps at least {floor:.1%}." if floor > 0 else ""
    beside += f" {control} keeps {shares[-1]:.1%}." if control is not None else ""
    if rule.name == "equal":
        return f"Next wave by {rule.label}: {shares[0]:.1%} for each arm.{beside}"
    largest = tied(shares[: len(posterior.arms)].tolist(), decimals=3)  # as they are printed
    names = listed([posterior.arms[k] for k in largest])
    probs = listed([f"{posterior.prob_optimal[k]:.3g}" for k in largest])
    head = f"Next wave by {rule.label}{source}: {names}"
    if len(largest) == 1:
        return (
            f"{head} gets the largest share, {shares[largest[0]]:.1%}; it is best with probability "
            f"{probs}.{beside}"
        )
    what = "an equal" if len(largest) == len(posterior.arms) else "the same largest"
    return (
        f"{head} get {what} share, {shares[largest[0]]:.1%} each; they are best with probabilities "
        f"{probs}.{beside}"
    )


# Shares of a wave by a named rule, beside a control and above a floor.


class WaveOptions(RuleOptions, total=False):
    """What else decides a wave's shares, beside the rule and the control."""

    floor: float
    """Least share of each arm in the whole wave."""


@renamed("rule")
def shares(
    posterior_or_prob: Posterior | npt.ArrayLike,
    *,
    rule: RuleName | str = "exploration",
    control_share: float = 0.0,
    floor: float = 0.0,
    **options: Unpack[RuleOptions],
) -> FloatArray:
    """Share of each arm in the next wave, the control last if its share is above 0.

    Parameters
    ----------
    posterior_or_prob : posterior, or (n_arms,) array of float
        Of the arms that compete (the control is not among them): a posterior, or the probability
        that each arm is best.
    rule : str
        "exploration", "Thompson", "tempered Thompson", "top-two", "control-augmented", "equal"
        (or "uniform") or "fixed"; in any case, also with "Thompson" or "sampling" behind it.
    control_share : float
        Share of the control in the wave, at least 0 and below 1: exact, but for
        "control-augmented", where it is the least share.
    floor : float
        Every arm has at least this share of the wave; the others keep their proportions.
    **options
        temper : float, in [0, 1], of "tempered Thompson"
            Exponent c in p^c. By default 1.
        uniform_share : float, in [0, 1], of "tempered Thompson"
            Part of the wave that is shared equally. By default 0 where `temper` is given, else 0.2.
        beta : float, in [0, 1], of "top-two"
            Probability that the first of the two arms is played. By default 0.5.
        fixed : (n_arms,) array of float, of "fixed"
            Shares of the arms among themselves, sum 1.

    Returns
    -------
    (n_arms,) or (n_arms + 1,) array of float
        In the order of the arms, sum 1; with the control's share behind them if it is above 0.

    Raises
    ------
    InputError
        What is no probability, an unknown rule, an option of another rule or out of its range, a
        floor that the arms cannot all have.
    DecisionError
        "exploration" or "top-two" where one arm is best with probability exactly 1, and no floor.

    Notes
    -----
    With p_k the probability that arm k is best, K arms, and the shares q_k of the arms among
    themselves::

        exploration        q_k = p_k (1 - p_k) / sum_j p_j (1 - p_j)
        Thompson           q_k = p_k
        tempered Thompson  q_k = g / K + (1 - g) p_k^c / sum_j p_j^c
        top-two            q_k = p_k (b + (1 - b) sum_{j != k} p_j / (1 - p_j))
        control-augmented  q_k = p_k, and the control gets as much as the largest of them
        equal              q_k = 1 / K

    Arm k's share of the wave is max(floor, a q_k), with the one a for which all sum to 1. A
    posterior gives log p_k, so that an arm that is best all but certainly still leaves its rivals
    their shares. Where p_k is exactly 1 (plain probabilities, or a posterior of which no draw says
    otherwise), the rivals' shares under "exploration" and "top-two" are 0 / 0: an error; with a
    floor, the limit in which all rivals are equally and hardly possible (the first arm 1/2, or b,
    and the rest equal, then the floor).

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4). Thompson (1933),
    *Biometrika* 25, 285-294. Caria and others (2020), CESifo working paper 8535. Russo (2020),
    *Operations Research* 68, 1625-1647. Offer-Westort, Coppock and Green (2021), *American Journal
    of Political Science* 65, 826-844.

    Examples
    --------
    >>> shares([0.7, 0.2, 0.1], rule="exploration", control_share=0.2).round(3).tolist()
    [0.365, 0.278, 0.157, 0.2]
    >>> shares([0.7, 0.2, 0.1], rule="Thompson", floor=0.15).round(3).tolist()
    [0.661, 0.189, 0.15]
    """
    log_prob = log_prob_of(posterior_or_prob)
    arms, control = arm_and_control_shares(
        log_prob, rule_named(rule), control_share, floor=floor, **options
    )
    return read_only(np.append(arms, control)) if control > 0 else arms


def arm_and_control_shares(
    log_prob: FloatArray, rule: Rule, control_share: float, **options: Unpack[WaveOptions]
) -> tuple[FloatArray, float]:
    """Shares of the wave: of the arms that compete, (n_arms,), and of the control."""
    needed = f"at least 0 and below 1, such as {1 / (log_prob.size + 1):.4f} for an equal part"
    control = checked_share("control_share", control_share, needed, below_one=True)
    floor = options.pop("floor", 0.0)
    competing = rule.competing(log_prob, options, floor)
    if rule.matches_control:
        matched = _matched(competing, floor)
        if matched[-1] >= control:
            return read_only(matched[:-1]), float(matched[-1])
    return with_floor(competing, floor, 1 - control), control


def shares_of_many(
    prob_optimal: FloatArray, rule: Rule, control_share: float, **options: Unpack[WaveOptions]
) -> FloatArray:
    """Shares of a wave in many experiments at once, the control last, (n, n_arms + 1).

    Notes
    -----
    As `shares`, row by row, but that a rule which needs a rival goes on where there is none left:
    by the limit in which all rivals are equally and hardly possible.
    """
    with np.errstate(divide="ignore"):
        log_prob = np.log(prob_optimal)
    certain = np.isfinite(log_prob).sum(axis=1) < 2
    log_prob[certain] = near_certain(log_prob[certain])
    floor = options.get("floor", 0.0)
    if rule.matches_control or prob_optimal.shape[1] == 1:
        rows = [arm_and_control_shares(one, rule, control_share, **options) for one in log_prob]
        return np.array([np.append(arms, control) for arms, control in rows])
    given = rule.given({name: value for name, value in options.items() if name != "floor"})
    arms = floored(rule.law(log_prob, given), floor, 1 - control_share)
    return np.column_stack([arms, np.full(len(arms), control_share)])


def _matched(competing: FloatArray, floor: float) -> FloatArray:
    """Shares with the control last, which counts as a twin of the arm with the largest share."""
    with_twin = np.append(competing, competing.max())
    return with_floor(with_twin / with_twin.sum(), floor)
