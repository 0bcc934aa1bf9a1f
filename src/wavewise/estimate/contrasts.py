"""Weights of contrasts: any combination of arms, pooled arms, margins of ordered pairs."""

from collections.abc import Mapping, Sequence

import numpy as np

from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["effect_weights", "pair_margins", "pool_weights"]

_POSITIONS = ("first", "second")


def effect_weights(
    weights: Mapping[str, float], arms: Sequence[str], name: str = "contrast"
) -> FloatArray:
    """Weights of the effects against the control that make up a contrast of arms.

    Parameters
    ----------
    weights : mapping of str to float
        Weight of each arm. Where the control is not named, it gets what makes the sum zero, so
        that ``{"a": 0.5, "b": 0.5}`` is the pooled effect of `a` and `b` against the control.
    arms : sequence of str
        All arms, the control first.
    name : str
        Name of the contrast, for errors.

    Returns
    -------
    array of float, shape (n_arms - 1,)
        Weights in the order of `arms` without the control.

    Raises
    ------
    InputError
        Where an arm is unknown, a weight is not finite, all weights are zero, or the weights
        name the control and do not sum to zero.

    Examples
    --------
    >>> effect_weights({"a": 1, "b": -1}, ["control", "a", "b"])
    array([ 1., -1.])
    """
    unknown = [str(arm) for arm in weights if str(arm) not in arms]
    if unknown:
        raise InputError(
            f"{name}: found the arm {', '.join(unknown)}; the arms are {', '.join(arms)}"
        )
    try:
        given = {str(arm): float(weight) for arm, weight in weights.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found weights that are not numbers; needed numbers") from error
    values = np.array([given.get(arm, 0.0) for arm in arms])
    if not np.isfinite(values).all() or not values.any():
        raise InputError(f"{name}: found weights {values.tolist()}; needed finite ones, not all 0")
    if arms[0] in given and abs(values.sum()) > 1e-9 * np.abs(values).sum():
        raise InputError(
            f"{name}: found weights that sum to {values.sum():.6g} with the control among them; "
            "needed a sum of 0; leave the control out to have it balance them"
        )
    if not values[1:].any():
        raise InputError(f"{name}: found a weight for the control alone; name the arms to compare")
    return values[1:]


def pool_weights(
    arms: Sequence[str], weights: Sequence[float] | Mapping[str, float] | None = None
) -> dict[str, float]:
    """Weights of a weighted mean of arms, scaled to sum to one.

    Parameters
    ----------
    arms : sequence of str
        Arms that are pooled.
    weights : sequence or mapping of float, optional
        Weight of each; equal by default.

    Examples
    --------
    >>> pool_weights(["a", "b"], [1, 3])
    {'a': 0.25, 'b': 0.75}
    """
    if not arms or len(set(arms)) < len(arms):
        raise InputError(f"pool: found the arms {list(arms)}; needed one or more, each once")
    given = dict.fromkeys(arms, 1.0) if weights is None else _by_arm(arms, weights)
    values = np.array([given[arm] for arm in arms])
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise InputError(f"pool: found weights {values.tolist()}; needed weights of 0 or more")
    return {arm: float(value / values.sum()) for arm, value in zip(arms, values, strict=True)}


def _by_arm(
    arms: Sequence[str], weights: Sequence[float] | Mapping[str, float]
) -> dict[str, float]:
    if isinstance(weights, Mapping):
        fits = set(weights) == set(arms)
        given = {str(arm): float(weight) for arm, weight in weights.items()}
    else:
        fits = len(weights) == len(arms)
        given = {arm: float(weight) for arm, weight in zip(arms, weights, strict=False)}
    if not fits:
        raise InputError(
            f"pool: found {len(weights)} weights for {len(arms)} arms; needed one each"
        )
    return given


def pair_margins(arms: Sequence[str], separator: str = "+") -> dict[str, dict[str, float]]:
    """First-message and second-message margins of ordered pairs of messages, as pooled arms.

    Parameters
    ----------
    arms : sequence of str
        Arm names. Those without the separator, such as the control, are passed over.
    separator : str
        What stands between the two messages of a pair.

    Returns
    -------
    dict of str to dict of str to float
        For each message and place, e.g. ``"first teacher"``, equal weights that sum to one on the
        pairs with that message in that place: the mean of their effects against the control.

    Raises
    ------
    InputError
        Where no arm is a pair, or a name has more than two parts.

    Notes
    -----
    A margin averages over the other message with equal weights, whatever the numbers of units.
    Where the set of pairs is not complete, margins of different messages average over different
    partners, and their difference is not an effect of the message alone.

    Examples
    --------
    >>> margins = pair_margins(["control", "a+a", "a+b", "b+a", "b+b"])
    >>> list(margins)
    ['first a', 'first b', 'second a', 'second b']
    >>> margins["second b"]
    {'a+b': 0.5, 'b+b': 0.5}
    """
    pairs = {arm: arm.split(separator) for arm in arms if separator in arm}
    wrong = [arm for arm, parts in pairs.items() if len(parts) != 2 or not all(parts)]
    if wrong or not pairs:
        raise InputError(
            f"margins: found {', '.join(wrong) if wrong else 'no pair'}; needed arms named "
            f"first{separator}second"
        )
    margins: dict[str, dict[str, float]] = {}
    for place, position in enumerate(_POSITIONS):
        for message in dict.fromkeys(parts[place] for parts in pairs.values()):
            members = [arm for arm, parts in pairs.items() if parts[place] == message]
            margins[f"{position} {message}"] = pool_weights(members)
    return margins
