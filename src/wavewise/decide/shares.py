"""Shares of the next wave: exploration sampling, and a fixed control beside it."""

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.decide.posterior import Posterior, checked_posterior
from wavewise.errors import DecisionError, InputError
from wavewise.results import FloatArray, read_only

__all__ = ["checked_fractions", "exploration_shares", "with_control"]

_SUM_TOLERANCE = 1e-6


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
    compete; for a control beside them see `with_control`.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).

    Examples
    --------
    >>> exploration_shares([0.7, 0.2, 0.1]).round(4).tolist()
    [0.4565, 0.3478, 0.1957]
    """
    log_prob = _log_prob(prob_optimal)
    others = np.where(np.eye(log_prob.size, dtype=bool), -np.inf, log_prob)
    log_product = log_prob + special.logsumexp(others, axis=1)
    largest = log_product.max()
    if not np.isfinite(largest):
        raise DecisionError(
            "exploration sampling: found one arm that is best with probability exactly 1, so that "
            "every p (1 - p) is 0 and nothing is left to explore; choose that arm, or ask for the "
            "rule 'equal' if another wave is needed all the same"
        )
    product = np.exp(log_product - largest)
    return read_only(product / product.sum())


def with_control(shares: npt.ArrayLike, control_share: float) -> FloatArray:
    """Shares beside a fixed control share, the control last, (n_arms + 1,).

    Parameters
    ----------
    shares : (n_arms,) array of float
        Shares of the other arms among themselves; they sum to 1.
    control_share : float
        Share of the control in the whole wave, at least 0 and below 1.

    Raises
    ------
    InputError
        Shares that are no fractions of 1, or a control share outside [0, 1).

    Examples
    --------
    >>> with_control([0.75, 0.25], 0.2).round(3).tolist()
    [0.6, 0.2, 0.2]
    """
    fractions = checked_fractions("shares", shares)
    if not 0 <= control_share < 1:
        raise InputError(
            f"control_share: found {control_share}; needed at least 0 and below 1, such as "
            f"{1 / (fractions.size + 1):.4f} for an equal part"
        )
    return read_only(np.append(fractions * (1 - control_share), control_share))


def checked_fractions(name: str, values: npt.ArrayLike) -> FloatArray:
    """Numbers in [0, 1] that sum to 1 within 1e-6, (n_arms,).

    Raises
    ------
    InputError
        What was found instead, under `name`.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: found what is no array of numbers; needed fractions") from None
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name}: found shape {array.shape}; needed (n_arms,) with an arm or more")
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        raise InputError(
            f"{name}: found {array[wrong][0]:g} at position {int(np.argmax(wrong))}; needed "
            "numbers from 0 to 1 (fractions, not percent)"
        )
    if abs(array.sum() - 1) > _SUM_TOLERANCE:
        raise InputError(f"{name}: found a sum of {array.sum():.8g}; needed 1 within 1e-6")
    return array


def _log_prob(prob_optimal: npt.ArrayLike | Posterior) -> FloatArray:
    if isinstance(prob_optimal, Posterior):
        return np.asarray(checked_posterior(prob_optimal).log_prob_optimal, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(checked_fractions("prob_optimal", prob_optimal)))
