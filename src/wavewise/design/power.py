"""Power: the smallest effects that a planned design can be expected to find."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wavewise.design.detectable import minimum_detectable_effect
from wavewise.design.outcomes import Outcome
from wavewise.design.plan import Planning
from wavewise.design.sizes import planned_sizes
from wavewise.design.spec import StudySpec
from wavewise.design.waves import Wave
from wavewise.results import NotEstimable

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ArmPower", "Detectable", "PlannedPower", "planned_effects"]

POWER_VERSION = 1

Convention = Literal["whole arm", "messaged part"]
Number = float | NotEstimable


@dataclass(frozen=True)
class Detectable:
    """Standard error of a contrast, and the smallest effect that it lets us find."""

    std_error: float
    minimum_detectable_effect: float


@dataclass(frozen=True)
class ArmPower:
    """What one arm of a wave can be expected to show about one outcome.

    Parameters
    ----------
    wave, outcome, arm : str
        Their ids.
    convention : {"whole arm", "messaged part"}
        Which of the arm's units are counted, where a share of it is held out.
    n_units : float or NotEstimable
        Planned number of these units.
    baseline_mean : float
        Expected mean without a message.
    baseline_std_dev : float or NotEstimable
        Its standard deviation between units.
    std_error : float or NotEstimable
        Standard error of the arm's mean.
    vs_control : Detectable or NotEstimable
        Arm minus control; for a messaged part, minus the held-out part of the same arm.
    vs_arm : Detectable or NotEstimable
        Arm minus another arm of the same size.
    """

    wave: str
    outcome: str
    arm: str
    convention: Convention
    n_units: Number
    baseline_mean: float
    baseline_std_dev: Number
    std_error: Number
    vs_control: Detectable | NotEstimable
    vs_arm: Detectable | NotEstimable

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values; what is not known is None, with its reason beside it."""
        row: dict[str, Any] = {
            "wave": self.wave,
            "outcome": self.outcome,
            "arm": self.arm,
            "convention": self.convention,
            "n_units": _number(self.n_units),
            "baseline_mean": self.baseline_mean,
            "baseline_std_dev": _number(self.baseline_std_dev),
            "std_error": _number(self.std_error),
        }
        for name, contrast in (("vs_control", self.vs_control), ("vs_arm", self.vs_arm)):
            row |= {f"{name}_{key}": value for key, value in _contrast(contrast).items()}
        return row


def _contrast(contrast: Detectable | NotEstimable) -> dict[str, Any]:
    if isinstance(contrast, NotEstimable):
        return {"std_error": None, "mde": None, "reason": contrast.reason}
    mde = contrast.minimum_detectable_effect
    return {"std_error": contrast.std_error, "mde": mde, "reason": None}


@dataclass(frozen=True)
class PlannedPower:
    """Planned standard errors and minimum detectable effects, one row a wave, outcome and arm."""

    rows: tuple[ArmPower, ...]
    level: float
    power: float
    design_effect: float

    def to_frame(self) -> "pl.DataFrame":
        """One row a wave, outcome, arm and convention."""
        import polars as pl  # noqa: PLC0415  # heavy, and needed here only

        return pl.DataFrame([row.to_dict() for row in self.rows], infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "version": POWER_VERSION,
            "level": self.level,
            "power": self.power,
            "design_effect": self.design_effect,
            "rows": [row.to_dict() for row in self.rows],
        }

    def summary(self) -> str:
        """The rows as text, with the assumptions."""
        same: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            place = f"{row.wave}, {row.outcome}, {row.convention}"
            same.setdefault((place, _numbers(row)), []).append(row.arm)
        lines = [f"{place}: {_arms(arms)}: {text}" for (place, text), arms in same.items()]
        return "\n".join([*lines, self.assumptions])

    @property
    def assumptions(self) -> str:
        """What the numbers rest on, in a sentence."""
        return (
            f"Minimum detectable effects (MDE) for two-sided tests at level {self.level:g} with "
            f"power {self.power:g}; every group has the baseline's standard deviation; design "
            f"effect {self.design_effect:g}; gains from strata and covariates are left out."
        )


def planned_effects(spec: StudySpec) -> PlannedPower | NotEstimable:
    """Standard errors and minimum detectable effects that a spec's plan implies.

    Parameters
    ----------
    spec : StudySpec
        The spec, with ``[planning]``.

    Notes
    -----
    An arm of n units has standard error sd sqrt(deff / n), with the outcome's sd = sqrt(p (1 - p))
    where it is binary, sqrt(p (1 - p) / trials) where it is a share of independent trials, and the
    planned ``std_dev`` otherwise. deff = 1 + (m - 1) rho for groups of m units that are randomized
    as a whole. A difference of two means has the root of the sum of their squares.

    Where a share of each arm is held out, two conventions are in use and both are given: the *whole
    arm*, held-out units included, and its *messaged part*. They differ by 1 / sqrt(1 - held out).

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> power = planned_effects(parse_spec(template_text("peru-summer")))
    >>> [
    ...     (row.convention, round(100 * row.std_error, 3))
    ...     for row in power.rows
    ...     if row.wave == "phase-2" and row.arm == "best"
    ... ]
    [('whole arm', 0.089), ('messaged part', 0.125)]
    """
    planning = spec.planning
    if planning is None:
        return NotEstimable("the spec has no [planning] section")
    if not planning.baseline:
        return NotEstimable("[planning] gives no baseline of an outcome")
    rows = tuple(row for wave in spec.waves for row in _wave_rows(spec, planning, wave))
    return PlannedPower(rows, spec.study.level, planning.power, _design_effect(spec, planning))


def _wave_rows(spec: StudySpec, planning: Planning, wave: Wave) -> Iterator[ArmPower]:
    sizes = planned_sizes(spec, wave)
    outcomes = [outcome for outcome in spec.outcomes if outcome.id in planning.baseline]
    for outcome in outcomes:
        plan = _Plan(spec, planning, wave, outcome, sizes)
        for arm in sizes:
            yield plan.row(arm, "whole arm")
            if wave.held_out_share:
                yield plan.row(arm, "messaged part")


@dataclass(frozen=True)
class _Plan:
    """One outcome of one wave."""

    spec: StudySpec
    planning: Planning
    wave: Wave
    outcome: Outcome
    sizes: dict[str, Number]

    def row(self, arm: str, convention: Convention) -> ArmPower:
        held_out = (self.wave.held_out_share or 0.0) if convention == "messaged part" else 0.0
        n_units = _times(self.sizes[arm], 1.0 - held_out)
        error = self._std_error(arm, n_units)
        if held_out:
            control = self._std_error(arm, _times(self.sizes[arm], held_out))
        else:
            control = self._control_error(arm)
        is_control = arm == self.wave.control_id
        other = NotEstimable("the arm is the control") if is_control else error
        return ArmPower(
            wave=self.wave.id,
            outcome=self.outcome.id,
            arm=arm,
            convention=convention,
            n_units=n_units,
            baseline_mean=self.planning.baseline[self.outcome.id].mean,
            baseline_std_dev=_std_dev(self.spec, self.planning, self.wave, self.outcome),
            std_error=error,
            vs_control=self._detectable(error, control),
            vs_arm=self._detectable(error, other),
        )

    def _std_error(self, arm: str, n_units: Number) -> Number:
        if arm == self.wave.control_id and self.outcome.out_of == "sets":
            return NotEstimable("the control is sent nothing, so it has no trials")
        std_dev = _std_dev(self.spec, self.planning, self.wave, self.outcome)
        if isinstance(n_units, NotEstimable):
            return n_units
        if isinstance(std_dev, NotEstimable):
            return std_dev
        if n_units <= 0:
            return NotEstimable("no unit is planned for it")
        if std_dev == 0:
            return NotEstimable("the outcome has the same value for all units")
        return std_dev * math.sqrt(_design_effect(self.spec, self.planning) / n_units)

    def _control_error(self, arm: str) -> Number:
        control = self.wave.control_id
        if control is None:
            return NotEstimable("the wave has no control arm")
        if arm == control:
            return NotEstimable("the arm is the control")
        return self._std_error(control, self.sizes[control])

    def _detectable(self, first: Number, second: Number) -> Detectable | NotEstimable:
        if isinstance(first, NotEstimable):
            return first
        if isinstance(second, NotEstimable):
            return second
        error = math.hypot(first, second)
        mde = minimum_detectable_effect(
            error, level=self.spec.study.level, power=self.planning.power
        )
        return Detectable(error, mde)


def _std_dev(spec: StudySpec, planning: Planning, wave: Wave, outcome: Outcome) -> Number:
    """Standard deviation between units, from the plan or from the mean of a binary outcome."""
    baseline = planning.baseline[outcome.id]
    if baseline.std_dev is not None:
        return baseline.std_dev
    trials = spec.trials(outcome, wave)
    if trials is None:
        return NotEstimable(f"planning.baseline.{outcome.id} gives no std_dev")
    return math.sqrt(baseline.mean * (1.0 - baseline.mean) / trials)


def _design_effect(spec: StudySpec, planning: Planning) -> float:
    return planning.design_effect if spec.units.randomize_by is not None else 1.0


def _times(size: Number, factor: float) -> Number:
    return size if isinstance(size, NotEstimable) else size * factor


def _number(value: Number) -> float | None:
    return None if isinstance(value, NotEstimable) else value


def _arms(arms: list[str]) -> str:
    return ", ".join(arms) if len(arms) <= 6 else f"{', '.join(arms[:2])}, ... ({len(arms)} arms)"


def _numbers(row: ArmPower) -> str:
    for value in (row.n_units, row.std_error):
        if isinstance(value, NotEstimable):
            return str(value)
    parts = [f"n {row.n_units:,.0f}", f"SE {row.std_error:.4g}"]
    names = ("control" if row.convention == "whole arm" else "its held-out part", "an arm like it")
    for name, contrast in zip(names, (row.vs_control, row.vs_arm), strict=True):
        if isinstance(contrast, Detectable):
            parts.append(f"MDE against {name} {contrast.minimum_detectable_effect:.4g}")
    return ", ".join(parts)
