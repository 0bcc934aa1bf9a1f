"""Student t priors on the arm effects: the flat posterior, weighted by the prior."""

from collections.abc import Callable

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.normal_importance import pareto_k, systematic
from wavewise.results import FloatArray, IntArray

__all__ = ["LEAST_EFFECT_ESS", "student_t_draws", "student_t_weights"]

LEAST_EFFECT_ESS = 2000.0
_TRIED = (80_000, 400_000)  # flat draws, then more
_MOST_PARETO_K = 0.7

Draw = Callable[[int], tuple[FloatArray, IntArray]]


def student_t_weights(effects: FloatArray, scale: float, df: float) -> FloatArray:
    """Log of the prior density at each draw's effects, (n_draws,), up to a constant.

    Parameters
    ----------
    effects : (n_draws, n_arms) array of float
    scale, df : float
        Of the Student t prior on every effect, independent of each other.
    """
    return np.asarray(-(df + 1) / 2 * np.log1p((effects / scale) ** 2 / df).sum(axis=1))


def student_t_draws(
    draw: Draw, n_arms: int, n_draws: int, scale: float, df: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray, float]:
    """Equally weighted draws of the coefficients under a Student t prior on the arm effects.

    Parameters
    ----------
    draw : callable
        From a number of draws to coefficients (n, n_coefficients) under a flat prior, the effects
        in columns 1 to n_arms, and the point of the standard deviations that each belongs to.
    n_arms, n_draws : int
    scale, df : float
        Of the prior.
    rng : numpy.random.Generator

    Returns
    -------
    coefficients : (n_draws, n_coefficients) array of float
    index : (n_draws,) array of int
    ess : float
        Equally good number of independent draws.

    Raises
    ------
    EstimationError
        A prior so far from the data that its weights rest on few draws.

    Notes
    -----
    Posterior under prior p is proportional to the flat posterior times p(effects). The weights are
    bounded, since the t density is, so that they can be few good ones but never wild. Standard
    deviations and effects are weighted together.
    """
    for n_tried in _TRIED:
        coefficients, index = draw(-(-n_tried // n_draws) * n_draws)
        log_weights = student_t_weights(coefficients[:, 1 : 1 + n_arms], scale, df)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        ess, k = float(1 / (weights @ weights)), pareto_k(log_weights)
        if ess >= LEAST_EFFECT_ESS and k <= _MOST_PARETO_K:
            picked = systematic(weights, n_draws, rng)
            return coefficients[picked], index[picked], ess
    raise EstimationError(
        f"Student t prior on the effects: found draws that are as good as {ess:.0f} (Pareto k "
        f"{k:.2f}); needed {LEAST_EFFECT_ESS:.0f} and {_MOST_PARETO_K} or less; the prior is far "
        "from the data: give it a larger effect_sd, or leave effect_df out for a normal one"
    )
