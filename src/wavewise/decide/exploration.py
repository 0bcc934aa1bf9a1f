"""Exploration sampling: shares that learn for a choice after the experiment."""

import numpy.typing as npt

from wavewise.decide.evidence import log_prob_of
from wavewise.decide.posterior import Posterior
from wavewise.decide.rules import RULES
from wavewise.results import FloatArray, read_only

__all__ = ["exploration_shares"]


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
