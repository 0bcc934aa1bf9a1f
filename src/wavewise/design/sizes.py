"""Planned sizes: how many units a wave and its arms are to have, where that can be known."""

from typing import Any

from wavewise.design.shares import planned_shares
from wavewise.design.spec import StudySpec
from wavewise.design.waves import UnitsShare, Wave
from wavewise.results import NotEstimable

__all__ = ["planned_sizes", "planned_units"]

Size = float | NotEstimable


def planned_units(spec: StudySpec, wave: Wave) -> Size:
    """Number of units that a wave is to have.

    Parameters
    ----------
    spec : StudySpec
        The spec.
    wave : Wave
        One of its waves.

    Returns
    -------
    float or NotEstimable
        From ``planning.n_units`` and the wave's ``units``. A wave of the units that some column
        picks has a size that only the people file tells.
    """
    if spec.planning is None:
        return NotEstimable("the spec has no [planning] with n_units")
    n_units = spec.planning.n_units
    if wave.units == "all":
        return float(n_units)
    if isinstance(wave.units, UnitsShare):
        return n_units * wave.units.share
    if wave.units == "rest":
        return _rest(spec, wave, n_units)
    return NotEstimable("the people file decides how many units the wave has")


def _rest(spec: StudySpec, wave: Wave, n_units: int) -> Size:
    """What earlier waves leave."""
    left = 1.0
    for earlier in spec.waves:
        if earlier.id == wave.id:
            break
        if isinstance(earlier.units, UnitsShare):
            left -= earlier.units.share
        elif earlier.units != "rest":
            return NotEstimable(f"how many units wave '{earlier.id}' leaves is not known")
    return n_units * max(left, 0.0)


def planned_sizes(spec: StudySpec, wave: Wave) -> dict[str, Size]:
    """Number of units that each arm of a wave is to have, before rounding to whole units.

    Parameters
    ----------
    spec : StudySpec
        The spec.
    wave : Wave
        One of its waves.

    Returns
    -------
    dict of str to float or NotEstimable
        In the order of the wave's arms. Where a rule gives the shares, only a fixed control share
        is known beforehand.

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> spec = parse_spec(template_text("get-out-the-vote"))
    >>> round(planned_sizes(spec, spec.waves[0])["control"])
    191158
    """
    n_units, shares = planned_units(spec, wave), planned_shares(spec, wave)
    arms = [arm.id for arm in spec.arms_of(wave)]
    if isinstance(n_units, NotEstimable):
        return dict.fromkeys(arms, n_units)
    return {arm: _arm_size(wave, arm, shares, n_units) for arm in arms}


def _arm_size(wave: Wave, arm: str, shares: dict[str, Any] | None, n_units: float) -> Size:
    if shares is None:
        if arm == wave.control_id and wave.control_share is not None:
            return n_units * wave.control_share
        return NotEstimable("the share follows from what earlier waves teach")
    share = shares.get(arm)
    if isinstance(share, float):
        return n_units * share
    return NotEstimable("shares differ by stratum, and the spec does not give the strata's sizes")
