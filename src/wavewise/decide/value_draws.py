"""Posterior draws of the arms' mean outcomes, in the scale in which regret is counted."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.decide.posterior import Posterior
from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["outcome_variance", "value_draws"]

_NAMES = ("value_draws", "success_prob_draws", "draws")
_FEWEST = 100
_STD_ERRORS = 8.0


def value_draws(posterior: Posterior, draws: npt.ArrayLike | None = None) -> FloatArray:
    """The arms' mean outcomes in each posterior draw, (n_draws, n_arms).

    Parameters
    ----------
    posterior : Posterior
    draws : (n_draws, n_arms) array of float, optional
        By default the posterior's own: `value_draws`, `success_prob_draws` or `draws`, the first
        that it has.

    Raises
    ------
    InputError
        No draws; of another shape; not finite; or in another scale than the posterior's regret,
        such as coefficients of a logit.

    Notes
    -----
    The scale is tested, not believed: the mean of max_j value_j - value_k over the draws must be
    the posterior's `policy_regret`, within Monte-Carlo error.
    """
    values = np.asarray(_own_draws(posterior) if draws is None else draws, dtype=np.float64)
    n_arms = len(posterior.arms)
    if values.ndim != 2 or values.shape[1] != n_arms or values.shape[0] < _FEWEST:
        raise InputError(
            f"draws: found shape {values.shape}; needed (n_draws, {n_arms}) with at least "
            f"{_FEWEST} draws"
        )
    if not np.isfinite(values).all():
        raise InputError("draws: found values that are not finite; needed finite mean outcomes")
    _check_scale(values, np.asarray(posterior.policy_regret))
    return values


def _own_draws(posterior: Posterior) -> npt.ArrayLike:
    for name in _NAMES:
        values = getattr(posterior, name, None)
        if isinstance(values, np.ndarray):
            return values
    raise InputError(
        f"posterior: found {type(posterior).__name__} without draws; needed {' or '.join(_NAMES)}, "
        "(n_draws, n_arms), or the argument draws"
    )


def _check_scale(values: FloatArray, regret: FloatArray) -> None:
    loss = values.max(axis=1, keepdims=True) - values
    allowed = _STD_ERRORS * loss.std(axis=0) / np.sqrt(loss.shape[0]) + 1e-9 * regret.max()
    off = int(np.argmax(np.abs(loss.mean(axis=0) - regret) - allowed))
    if abs(loss.mean(axis=0)[off] - regret[off]) > allowed[off]:
        raise InputError(
            f"draws: found that arm {off + 1} loses {loss.mean(axis=0)[off]:.3g} on average in "
            f"them, and {regret[off]:.3g} by the posterior's policy_regret; needed draws of the "
            "mean outcomes in the same scale (not of coefficients): give them as draws"
        )


def outcome_variance(
    posterior: Posterior, outcome_sd: npt.ArrayLike | None, trials_per_unit: float = 1.0
) -> FloatArray:
    """Variance of one observation of each arm about the arm's mean, (n_arms,).

    Parameters
    ----------
    posterior : Posterior
    outcome_sd : float or (n_arms,) array of float, optional
        By default read off the posterior.
    trials_per_unit : float
        Observations of one unit, which correlate where the posterior says so.

    Raises
    ------
    InputError
        A standard deviation that is not above 0, or none where the posterior tells none.

    Notes
    -----
    p (1 - p) for a success; with units that are overdispersed, whose trials correlate by rho, times
    1 + (m - 1) rho for m trials a unit, so that m observations weigh as many as they are worth. For
    a score unit and noise variance together: one score of a unit without an earlier one, which
    teaches less than a change would.
    """
    n_arms = len(posterior.arms)
    if outcome_sd is None and hasattr(posterior, "noise_sd_draws"):
        return np.full(n_arms, _score_variance(posterior))
    if outcome_sd is None:
        return _binomial_variance(posterior) * _inflation(posterior, trials_per_unit)
    sd = np.asarray(outcome_sd, dtype=np.float64)
    if sd.shape not in {(), (n_arms,)} or not (np.isfinite(sd) & (sd > 0)).all():
        raise InputError(
            f"outcome_sd: found {sd.tolist()}; needed one number above 0, or {n_arms} of them"
        )
    return np.broadcast_to(sd**2, (n_arms,))


def _binomial_variance(posterior: Posterior) -> FloatArray:
    mean = getattr(posterior, "success_prob", None)
    if mean is None:
        raise InputError(
            f"outcome_sd: found none, and {type(posterior).__name__} has no success_prob to tell "
            "it; needed the standard deviation of one observation about its arm's mean"
        )
    prob = np.asarray(mean, dtype=np.float64)
    if not ((prob > 0) & (prob < 1)).all():
        raise InputError(
            "success_prob: found a probability that is not between 0 and 1; give outcome_sd"
        )
    return np.asarray(prob * (1 - prob))


def _score_variance(posterior: Any) -> float:
    return float(np.mean(posterior.noise_sd_draws**2 + posterior.unit_sd_draws**2))


def _inflation(posterior: Any, trials_per_unit: float) -> float:
    """What correlated trials of a unit multiply the variance of their mean by."""
    if getattr(posterior, "overdispersion", None) is None:
        return 1.0
    return float(1 + max(trials_per_unit - 1, 0.0) * np.mean(posterior.rho_draws))
