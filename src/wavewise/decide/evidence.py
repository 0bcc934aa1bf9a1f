"""What is known of which arm is best: log probabilities, from a posterior or from plain numbers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, read_only

__all__ = [
    "Posterior",
    "checked_fractions",
    "checked_posterior",
    "checked_share",
    "floored",
    "is_certain",
    "log_prob_of",
    "log_sum_of_others",
    "near_certain",
    "with_control",
    "with_floor",
]


# Fractions of a wave: that they are such, a control beside them, a floor below them.

_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-14


def checked_fractions(name: str, values: npt.ArrayLike) -> FloatArray:
    """Numbers in [0, 1] that sum to 1 within 1e-6, (n_arms,)."""
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


def checked_share(name: str, value: float, needed: str, *, below_one: bool = False) -> float:
    """A number from 0 to 1, or below 1."""
    if not 0 <= value <= 1 or (below_one and value == 1):
        raise InputError(f"{name}: found {value}; needed {needed}")
    return float(value)


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
    needed = f"at least 0 and below 1, such as {1 / (fractions.size + 1):.4f} for an equal part"
    control = checked_share("control_share", control_share, needed, below_one=True)
    return read_only(np.append(fractions * (1 - control), control))


def with_floor(shares: npt.ArrayLike, floor: float, total: float = 1.0) -> FloatArray:
    """Shares of which none is below a floor, the others still in proportion, (n_arms,).

    Parameters
    ----------
    shares : (n_arms,) array of float
        Shares of the arms among themselves; they sum to 1.
    floor : float
        Least share of an arm in the whole wave.
    total : float
        What the arms have of the wave together, such as 1 minus the control's share.

    Returns
    -------
    (n_arms,) array of float
        They sum to `total`.

    Raises
    ------
    InputError
        Shares that are no fractions of 1, or a floor that is too high for this many arms.

    Notes
    -----
    The result is max(floor, c q_k) with the one c for which it sums to `total`. With the shares
    sorted, the arms at the floor are the first m, for the smallest m at which the next arm stays
    above: c = (total - m floor) / (sum of the other q). Nothing is iterated.

    Examples
    --------
    >>> with_floor([0.75, 0.24, 0.01], 0.1).round(4).tolist()
    [0.6818, 0.2182, 0.1]
    """
    fractions = checked_fractions("shares", shares)
    return read_only(floored(fractions[None], floor, total)[0])


def floored(fractions: FloatArray, floor: float, total: float = 1.0) -> FloatArray:
    """`with_floor` for many rows of fractions that were checked, (n, n_arms)."""
    n_arms = fractions.shape[1]
    _check_floor(floor, n_arms, total)
    rising = np.sort(fractions, axis=1)
    rest = np.cumsum(rising[:, ::-1], axis=1)[:, ::-1]
    factors = (total - np.arange(n_arms) * floor) / rest
    first = np.argmax(factors * rising >= floor - 2 * _ROUNDING, axis=1)
    factor = factors[np.arange(first.size), first][:, None]
    return np.asarray(np.maximum(floor, factor * fractions))


def _check_floor(floor: float, n_arms: int, total: float) -> None:
    checked_share("floor", floor, "a share from 0 to 1, such as 0.05")
    if floor * n_arms > total + _ROUNDING:
        raise InputError(
            f"floor: found {floor:g} for {n_arms} arms, {floor * n_arms:.6g} together; needed at "
            f"most {total:.6g}, which is left beside the control: lower the floor to "
            f"{total / n_arms:.6g} or less"
        )


# What a decision needs to know of a posterior, whatever the model.


@runtime_checkable
class Posterior(Protocol):
    """The arms' posterior, of any model."""

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
    """The posterior itself, if it has all that a decision needs."""
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
                f"{len(posterior.arms)} numbers, one per arm"
            )
    return posterior


_FAR = -1e4  # log probability of an arm that is all but impossible: far below any that is met


def log_prob_of(prob_optimal: npt.ArrayLike | Posterior) -> FloatArray:
    """Log probability that each arm is best, (n_arms,)."""
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
