"""What a decision needs to know of a posterior, whatever the model."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["Posterior", "checked_posterior"]


@runtime_checkable
class Posterior(Protocol):
    """The arms' posterior, of any model.

    Attributes
    ----------
    arms : (n_arms,) sequence of str
    prob_optimal, log_prob_optimal : (n_arms,) array of float
        Posterior probability that the arm is best, and its log (-inf where no draw was best).
    policy_regret : (n_arms,) array of float
        What choosing the arm is expected to lose, in units of the outcome.
    """

    @property
    def arms(self) -> Sequence[str]:
        """Names, (n_arms,)."""

    @property
    def prob_optimal(self) -> FloatArray:
        """Probability that the arm is best, (n_arms,)."""

    @property
    def log_prob_optimal(self) -> FloatArray:
        """Log probability that the arm is best, (n_arms,)."""

    @property
    def policy_regret(self) -> FloatArray:
        """Expected loss from choosing the arm, (n_arms,)."""


def checked_posterior(posterior: Posterior) -> Posterior:
    """The posterior itself, if it has all that a decision needs.

    Raises
    ------
    InputError
        Something is missing, of another length than the arms, or not a number.
    """
    if not isinstance(posterior, Posterior):
        raise InputError(
            f"posterior: found {type(posterior).__name__}; needed arms, prob_optimal, "
            "log_prob_optimal and policy_regret, as wavewise.estimate.beta_binomial gives"
        )
    for name in ("prob_optimal", "policy_regret"):
        values = np.asarray(getattr(posterior, name), dtype=np.float64)
        if values.shape != (len(posterior.arms),) or not np.isfinite(values).all():
            raise InputError(
                f"posterior: found {name} of shape {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} values that are not finite; needed "
                f"{len(posterior.arms)} numbers, one an arm"
            )
    return posterior
