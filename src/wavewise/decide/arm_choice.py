"""The one arm to choose: lowest expected regret, and why."""

from dataclasses import dataclass

import numpy as np

from wavewise.decide.evidence import Posterior, checked_posterior
from wavewise.shared.results import Result
from wavewise.shared.text_tables import listed, tied

__all__ = ["BestArm", "best_arm"]

RULE = "lowest expected regret"


@dataclass(frozen=True, eq=False)
class BestArm(Result, kind="best arm"):
    """The arm to choose after learning.

    Parameters
    ----------
    arm : str
    rule : str
        How it was chosen.
    policy_regret : float
        What choosing it is expected to lose against the arm that is truly best, in units of the
        outcome.
    prob_optimal : float
        Posterior probability that it is truly best.
    runner_up : str or None
        Arm with the next lowest expected regret; None if there is one arm only.
    runner_up_regret : float or None
    likeliest : str
        Arm with the highest probability of being best.
    agrees_with_prob_optimal : bool
        Whether `arm` is also the likeliest.
    text : str
        The same in plain words.
    """

    arm: str
    rule: str
    policy_regret: float
    prob_optimal: float
    runner_up: str | None
    runner_up_regret: float | None
    likeliest: str
    agrees_with_prob_optimal: bool
    text: str

    def summary(self) -> str:
        """The choice in plain words."""
        return self.text


def best_arm(posterior: Posterior) -> BestArm:
    """Arm with the lowest expected regret, with the reason in words.

    Parameters
    ----------
    posterior : Posterior
        With `arms`, `prob_optimal`, `log_prob_optimal` and `policy_regret`.

    Returns
    -------
    BestArm

    Raises
    ------
    InputError
        The posterior lacks what is needed.

    Notes
    -----
    Expected regret E[max_j theta_j] - E[theta_k] is lowest where the posterior mean is highest. The
    probability of being best can point to another arm, since it counts how often an arm is best and
    not by how much. It happens where posteriors are skewed or unequally wide: of two success
    probabilities that are small, a well-known one may be ahead more often than not of a little
    known one whose rare high values outweigh that; or the reverse. The choice follows the regret,
    which is the loss that the programme bears. Of arms with exactly equal regret the first is
    taken, and the text says so.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132.

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> best = best_arm(beta_binomial([12, 30], [100, 100], arms=["text", "call"]))
    >>> best.arm, best.runner_up, best.agrees_with_prob_optimal
    ('call', 'text', True)
    """
    known = checked_posterior(posterior)
    regret = np.asarray(known.policy_regret)
    order = np.argsort(regret, kind="stable")
    # of equal regrets, up to rounding, the first arm
    best = min(tied((-regret).tolist()))
    runner_up = next((int(k) for k in order if k != best), None)
    likeliest = tied(known.prob_optimal.tolist())
    top, agrees = likeliest[0], best in likeliest
    return BestArm(
        arm=known.arms[best],
        rule=RULE,
        policy_regret=float(regret[best]),
        prob_optimal=float(known.prob_optimal[best]),
        runner_up=None if runner_up is None else known.arms[runner_up],
        runner_up_regret=None if runner_up is None else float(regret[runner_up]),
        likeliest=known.arms[best if agrees else top],
        agrees_with_prob_optimal=agrees,
        text=_text(known, best, runner_up, None if agrees else top),
    )


def _text(posterior: Posterior, best: int, runner_up: int | None, other: int | None) -> str:
    name, regret = posterior.arms[best], posterior.policy_regret
    if runner_up is None:
        return f"{name} is the only arm, so there is nothing to choose between."
    equal = tied((-np.asarray(regret)).tolist())
    if len(equal) > 1:
        probs = listed([f"{posterior.prob_optimal[k]:.3g}" for k in equal])
        text = (
            f"{listed([posterior.arms[k] for k in equal])} cannot be told apart: each is expected "
            f"to lose {regret[best]:.2g} in units of the outcome, and they are best with "
            f"probabilities {probs}. {name} is taken only because it is listed first: "
            f"{listed([posterior.arms[k] for k in equal if k != best])} "
            f"{'ties' if len(equal) == 2 else 'tie'} with it exactly; choose by cost or ease."
        )
    else:
        text = (
            f"{name} has the lowest expected regret: choosing it is expected to lose "
            f"{regret[best]:.2g} in units of the outcome. It is best with probability "
            f"{posterior.prob_optimal[best]:.3g}. "
            f"Next is {posterior.arms[runner_up]}, expected to lose {regret[runner_up]:.2g}."
        )
    if other is not None:
        text += (
            f" {posterior.arms[other]} is best more often (probability "
            f"{posterior.prob_optimal[other]:.3g}), but is expected to lose {regret[other]:.2g}: "
            "how often an arm is best does not count by how much it wins or loses."
        )
    return text
