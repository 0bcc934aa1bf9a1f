"""What is known of which arm is best: log probabilities, from a posterior or from plain numbers."""

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.decide.fractions import checked_fractions
from wavewise.decide.posterior import Posterior, checked_posterior
from wavewise.results import FloatArray

__all__ = ["is_certain", "log_prob_of", "log_sum_of_others", "near_certain"]

_FAR = -1e4  # log probability of an arm that is all but impossible: far below any that is met


def log_prob_of(prob_optimal: npt.ArrayLike | Posterior) -> FloatArray:
    """Log probability that each arm is best, (n_arms,).

    Raises
    ------
    InputError
        Not probabilities, they do not sum to 1 within 1e-6, or a posterior that lacks something.
    """
    if isinstance(prob_optimal, Posterior):
        return np.asarray(checked_posterior(prob_optimal).log_prob_optimal, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(checked_fractions("prob_optimal", prob_optimal)))


def is_certain(log_prob: FloatArray) -> bool:
    """Whether one arm is best with probability exactly 1."""
    return int(np.isfinite(log_prob).sum()) < 2


def near_certain(log_prob: FloatArray) -> FloatArray:
    """The same certainty as a limit, every other arm equally and hardly possible, (..., n_arms)."""
    return np.where(np.isfinite(log_prob), log_prob, _FAR)


def log_sum_of_others(log_values: FloatArray) -> FloatArray:
    """Values log sum_{j != k} exp(log_value_j) for each k, (..., n_arms): no difference."""
    n_arms = log_values.shape[-1]
    others = np.where(np.eye(n_arms, dtype=bool), -np.inf, log_values[..., None, :])
    return np.asarray(special.logsumexp(others, axis=-1))
