"""Shares of a wave by a named rule, beside a control and above a floor."""

from typing import Unpack

import numpy as np
import numpy.typing as npt

from wavewise.decide.evidence import log_prob_of, near_certain
from wavewise.decide.fractions import checked_share, floored, with_floor
from wavewise.decide.posterior import Posterior
from wavewise.decide.rules import Rule, RuleName, RuleOptions, rule_named
from wavewise.results import FloatArray, read_only

__all__ = ["WaveOptions", "arm_and_control_shares", "shares", "shares_of_many"]


class WaveOptions(RuleOptions, total=False):
    """What else decides a wave's shares, beside the rule and the control."""

    floor: float
    """Least share of each arm in the whole wave."""


def shares(
    posterior_or_prob: Posterior | npt.ArrayLike,
    rule: RuleName | str = "exploration",
    *,
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
    >>> shares([0.7, 0.2, 0.1], "exploration", control_share=0.2).round(3).tolist()
    [0.365, 0.278, 0.157, 0.2]
    >>> shares([0.7, 0.2, 0.1], "Thompson", floor=0.15).round(3).tolist()
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

    Parameters
    ----------
    prob_optimal : (n, n_arms) array of float
    rule : Rule
    control_share : float
    **options
        As for `shares`.

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
