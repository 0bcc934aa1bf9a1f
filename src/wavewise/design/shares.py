"""Planned shares: the fraction of a wave that each arm is to get, where the spec fixes it."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from wavewise.design.spec import StudySpec
from wavewise.design.waves import AllocationRule, SharesByStratum, UnitsShare, Wave
from wavewise.shared.results import NotEstimable

__all__ = ["planned_shares", "planned_sizes", "planned_units"]


def planned_shares(
    spec: StudySpec, wave: Wave
) -> dict[str, float] | dict[str, dict[str, float]] | None:
    """Share of each arm in a wave, in [0, 1].

    Parameters
    ----------
    spec : StudySpec
        The spec.
    wave : Wave
        One of its waves.

    Returns
    -------
    dict of str to float, dict of str to dict, or None
        Arm: share, in the order of the wave's arms. Where shares differ by stratum, stratum: {arm:
        share}, an arm that a stratum does not name having share 0. None where a rule gives the
        shares once earlier waves are closed.

    Notes
    -----
    The control gets its control share c exactly. Equal shares give each of the m other arms
    (1 - c) / m; without a control share each of the K arms, the control among them, gets 1 / K.
    A held-out share is drawn inside each arm afterwards and does not change the arms' shares.

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> spec = parse_spec(template_text("peru-summer"))
    >>> planned_shares(spec, spec.waves[0])
    {'teacher': 0.2, 'peers': 0.2, 'parent': 0.2, 'future': 0.2, 'control': 0.2}
    """
    arms = [arm.id for arm in spec.arms_of(wave)]
    if isinstance(wave.shares, AllocationRule):
        return equal_shares(wave, arms) if wave.shares.rule == "equal" else None
    if isinstance(wave.shares, SharesByStratum):
        return {
            stratum: _written_shares(wave, arms, shares)
            for stratum, shares in wave.shares.by_stratum.items()
        }
    if isinstance(wave.shares, dict):
        return _written_shares(wave, arms, wave.shares)
    return equal_shares(wave, arms)


def equal_shares(wave: Wave, arms: list[str]) -> dict[str, float]:
    """Equal share of each arm, beside the control share where there is one."""
    if wave.control_share is None:
        return dict.fromkeys(arms, 1.0 / len(arms))
    share = _equal_parts(wave.control_share, len(arms) - 1)
    return {arm: wave.control_share if arm == wave.control_id else share for arm in arms}


def _equal_parts(control_share: float, n_arms: int) -> float:
    """(1 - control share) / number of arms, without rounding error for a share such as 1/7."""
    exact = Fraction(control_share).limit_denominator(1_000_000)
    if float(exact) != control_share:
        exact = Fraction(control_share)
    return float((1 - exact) / n_arms)


def _written_shares(wave: Wave, arms: list[str], shares: Mapping[str, float]) -> dict[str, float]:
    control = {} if wave.control_share is None else {wave.control_id: wave.control_share}
    return {arm: shares.get(arm, control.get(arm, 0.0)) for arm in arms}


# Planned sizes: how many units per wave and its arms are to have, where that can be known.

Size = float | NotEstimable


def planned_units(spec: StudySpec, wave: Wave) -> Size:
    """Number of units that a wave is to have."""
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
