"""Fractions of a wave: that they are such, a control beside them, a floor below them."""

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.results import FloatArray, read_only

__all__ = ["checked_fractions", "checked_share", "floored", "with_control", "with_floor"]

_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-14


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


def checked_share(name: str, value: float, needed: str, *, below_one: bool = False) -> float:
    """A number from 0 to 1, or below 1.

    Raises
    ------
    InputError
        What was found instead, under `name`.
    """
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
