"""Laws of allocation: from log probabilities of being best to shares of the arms that compete.

They work along the last axis, so that many experiments are allocated at once.
"""

import numpy as np
from scipy import special

from wavewise.decide.evidence import log_sum_of_others
from wavewise.results import FloatArray

__all__ = ["exploration", "tempered", "thompson", "top_two"]


def exploration(log_prob: FloatArray) -> FloatArray:
    """Shares p_k (1 - p_k) / sum_j p_j (1 - p_j), (..., n_arms).

    Parameters
    ----------
    log_prob : (..., n_arms) array of float
        Two or more of them finite.

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

    Parameters
    ----------
    log_prob : (..., n_arms) array of float
    temper : float
        The exponent c: 1 leaves p, 0 makes all arms equal (also those with p = 0).
    uniform_share : float
        The part g of the wave that is shared equally.

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

    Parameters
    ----------
    log_prob : (..., n_arms) array of float
        Two or more of them finite.
    beta : float
        Probability that the first of the two arms is played.

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
