"""Power: the smallest effects that a planned design can be expected to find."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from wavewise.design.shares import planned_sizes
from wavewise.design.spec import Baseline, Outcome, Planning, StudySpec
from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable, Record, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ArmPower",
    "Cell",
    "Comparison",
    "Detectable",
    "OutcomeDistribution",
    "PlannedPower",
    "critical_value",
    "design_effect",
    "minimum_detectable_effect",
    "planned_effects",
]


# What a comparison can be expected to find: power, effect or size, each from the other two.

Kind = Literal["binary", "count", "continuous"]
Adjust = Literal["none", "bonferroni", "sidak", "dunnett"]

_MANY = 2000.0  # degrees of freedom from which on t is the normal distribution
_STEPS = 200


def minimum_detectable_effect(std_error: float, *, level: float, power: float) -> float:
    """Smallest true effect that a two-sided test finds with the given power.

    Notes
    -----
    (z_{1 - alpha/2} + z_power) times the standard error, alpha = 1 - level. The estimate is taken
    as normal, its standard error as the same under the effect as without it; the chance of a
    significant estimate of the wrong sign is left out.

    References
    ----------
    Bloom, H. S. (1995). Minimum detectable effects: a simple way to report the statistical power of
    experimental designs. Evaluation Review 19(5), 547-556.

    Examples
    --------
    >>> round(minimum_detectable_effect(2**0.5 * 0.0031, level=0.95, power=0.8), 4)
    0.0123
    """
    from scipy.special import ndtri  # heavy, and needed here only

    if not (math.isfinite(std_error) and std_error > 0):
        raise InputError(f"found std_error {std_error}; needed a finite number above 0")
    for name, value in (("level", level), ("power", power)):
        if not 0.0 < value < 1.0:
            raise InputError(f"found {name} {value}; needed a number between 0 and 1, e.g. 0.95")
    return float(ndtri((1.0 + level) / 2.0) + ndtri(power)) * std_error


def design_effect(sizes: Sequence[float], correlation: float) -> float:
    """Factor by which randomizing whole clusters raises the variance of a mean over units.

    Notes
    -----
    1 + (sum m^2 / sum m - 1) rho: exact for the mean over units under equal correlation; with equal
    sizes the usual 1 + (m - 1) rho.

    References
    ----------
    Eldridge, Ashby and Kerry (2006), *International Journal of Epidemiology* 35, 1292-1300.

    Examples
    --------
    >>> [round(design_effect(sizes, 0.05), 3) for sizes in ([20.0, 20.0], [10.0, 30.0])]
    [1.95, 2.2]
    """
    return 1.0 + (sum(m * m for m in sizes) / sum(sizes) - 1.0) * correlation


@dataclass(frozen=True)
class OutcomeDistribution:
    """How an outcome's variance between units follows from its mean."""

    kind: Kind
    mean: float  # Without the effect.
    std_dev: float = 0.0  # Of a continuous outcome.
    dispersion: float = 1.0  # Variance over that of the binomial or Poisson law.
    trials: float = 1.0  # Trials of a unit whose outcome is the share of successes.

    def variance(self, mean: float) -> float:
        """Between units, at a mean."""
        if self.kind == "continuous":
            return self.std_dev**2
        if self.kind == "count":
            return self.dispersion * mean
        return self.dispersion * mean * (1.0 - mean) / self.trials

    def slope(self, mean: float) -> float:
        """Derivative of the variance by the mean."""
        if self.kind == "continuous":
            return 0.0
        if self.kind == "count":
            return self.dispersion
        return self.dispersion * (1.0 - 2.0 * mean) / self.trials

    def room(self, sign: float) -> float:
        """How far the mean can move that way."""
        if self.kind == "continuous" or (self.kind == "count" and sign > 0):
            return math.inf
        return 1.0 - self.mean if sign > 0 else self.mean


@dataclass(frozen=True)
class Cell:
    """A group of units: its weight in the comparison, how the effect moves it, its size."""

    weight: float
    shift: float
    n_units: float


@dataclass(frozen=True)
class Comparison:
    """A weighted sum of cell means, tested from both sides.

    Parameters
    ----------
    law : OutcomeLaw
    cells : tuple of Cell
        Weights times shifts sum to 1: the effect is what the comparison estimates.
    factor : float
        Of the variance: design effect, and what strata and covariates leave.
    critical : float
        Of the test statistic's absolute value.
    degrees : float
        Of freedom of the standard error; infinite for the normal distribution.
    """

    law: OutcomeDistribution
    cells: tuple[Cell, ...]
    factor: float
    critical: float
    degrees: float = math.inf

    def scaled(self, times: float) -> "Comparison":
        """The same with so many times the units."""
        cells = tuple(replace(cell, n_units=times * cell.n_units) for cell in self.cells)
        return replace(self, cells=cells)

    def std_error(self, effect: float = 0.0) -> float:
        """Standard error of the estimate where the effect is this."""
        return math.sqrt(sum(cell.weight**2 * self._variance(cell, effect) for cell in self.cells))

    def power(self, effect: float) -> float:
        """Probability of a significant estimate of the effect's own sign.

        Notes
        -----
        Found is where sign(effect) est > c se(est). Both sides are functions of the cell means;
        their difference is normal to first order (the delta method), with mean
        ``|effect| - c se`` and the gradient ``sign w_g - c w_g^2 f v'(m_g) / (2 n_g se)`` by the
        mean of cell g: a high estimate of a low rate brings a large standard error with it. With
        few degrees of freedom, the noncentral t distribution.
        """
        from scipy import special  # heavy, and needed here only

        error, size = self.std_error(effect), abs(effect)
        if error == 0.0:
            return 1.0 if size > 0 else 0.0
        if self.degrees < _MANY:
            return float(1.0 - special.nctdtr(self.degrees, size / error, self.critical))
        sign = math.copysign(1.0, effect)
        spread = 0.0
        for cell in self.cells:
            slope = self.factor * self.law.slope(self._mean(cell, effect)) / cell.n_units
            gradient = sign * cell.weight - self.critical * cell.weight**2 * slope / (2.0 * error)
            spread += gradient**2 * self._variance(cell, effect)
        return float(special.ndtr((size - self.critical * error) / math.sqrt(spread)))

    def smallest_effect(self, power: float, sign: float) -> float | NotEstimable:
        """Size of the smallest rise (sign 1) or fall (sign -1) that is found with this power."""
        most = self.law.room(sign) / max(abs(cell.shift) for cell in self.cells)
        high = min(most, 20.0 * self.std_error())
        while high < most and self.power(sign * high) < power:
            high = min(most, 2.0 * high)
        if self.power(sign * high) < power:
            word = "rise" if sign > 0 else "fall"
            return NotEstimable(
                f"even the largest possible {word}, {high:.4g}, is found with probability "
                f"{self.power(sign * high):.2f} only"
            )
        return _halved(lambda effect: self.power(sign * effect) >= power, 0.0, high)

    def _mean(self, cell: Cell, effect: float) -> float:
        return self.law.mean + cell.shift * effect

    def _variance(self, cell: Cell, effect: float) -> float:
        return self.factor * max(self.law.variance(self._mean(cell, effect)), 0.0) / cell.n_units


def _halved(enough: Callable[[float], bool], low: float, high: float) -> float:
    """The least number at which a rising condition holds, by halving."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if middle in {low, high}:
            break
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def critical_value(
    size: float,
    *,
    n_comparisons: int = 1,
    adjust: Adjust = "none",
    correlation: float = 0.5,
    degrees: float = math.inf,
) -> float:
    """Critical value of a two-sided test, adjusted for several comparisons.

    References
    ----------
    Dunnett (1955), *Journal of the American Statistical Association* 50, 1096-1121.

    Examples
    --------
    >>> round(critical_value(0.05), 3)
    1.96
    >>> round(critical_value(0.05, n_comparisons=4, adjust="dunnett"), 3)
    2.442
    """
    if adjust == "dunnett" and n_comparisons > 1:
        return _dunnett(size, n_comparisons, correlation)
    if adjust == "bonferroni":
        size = size / n_comparisons
    elif adjust == "sidak":
        size = -math.expm1(math.log1p(-size) / n_comparisons)
    from scipy import special  # heavy, and needed here only

    if degrees < _MANY:
        return float(special.stdtrit(degrees, 1.0 - size / 2.0))
    return float(special.ndtri(1.0 - size / 2.0))


def _dunnett(size: float, n_comparisons: int, correlation: float) -> float:
    """Two-sided point of the largest of equally correlated normals, by Gauss-Hermite quadrature."""
    import numpy as np  # heavy, and needed here only
    from scipy import special

    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    shared, own = math.sqrt(correlation) * node, math.sqrt(1.0 - correlation)

    def kept(point: float) -> bool:
        inside = special.ndtr((point + shared) / own) - special.ndtr((shared - point) / own)
        return bool(weight @ inside**n_comparisons >= 1.0 - size)

    return _halved(kept, 0.0, 10.0)


Convention = Literal["whole arm", "messaged part"]
Number = float | NotEstimable


@dataclass(frozen=True)
class Detectable(Record):
    """Standard error of a contrast, and the smallest effect that it lets us find."""

    std_error: float
    minimum_detectable_effect: float


@dataclass(frozen=True)
class ArmPower(Record):
    """What one arm of a wave can be expected to show about one outcome."""

    # wave, outcome, arm: Their ids.
    wave: str
    outcome: str
    arm: str
    # Which of the arm's units are counted, where a share of it is held out.
    convention: Convention
    n_units: Number  # Planned number of these units.
    baseline_mean: float  # Expected mean without a message.
    baseline_std_dev: Number  # Its standard deviation between units.
    std_error: Number  # Standard error of the arm's mean.
    # Arm minus control; for a messaged part, minus the held-out part of the same arm.
    vs_control: Detectable | NotEstimable
    vs_arm: Detectable | NotEstimable  # Arm minus another arm of the same size.

    def relative(self, contrast: Detectable | NotEstimable) -> Number:
        """Minimum detectable effect of a contrast over the baseline mean."""
        if isinstance(contrast, NotEstimable) or self.baseline_mean == 0:
            return NotEstimable("the effect or the baseline is not known, or the baseline is 0")
        return contrast.minimum_detectable_effect / abs(self.baseline_mean)

    def in_std_devs(self, contrast: Detectable | NotEstimable) -> Number:
        """Minimum detectable effect of a contrast in standard deviations of the outcome."""
        deviation = self.baseline_std_dev
        if isinstance(contrast, NotEstimable) or isinstance(deviation, NotEstimable):
            return NotEstimable("the effect or the standard deviation is not known")
        return contrast.minimum_detectable_effect / deviation

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
            row[f"{name}_mde_relative"] = _number(self.relative(contrast))
            row[f"{name}_mde_std_devs"] = _number(self.in_std_devs(contrast))
        return row


def _contrast(contrast: Detectable | NotEstimable) -> dict[str, Any]:
    if isinstance(contrast, NotEstimable):
        return {"std_error": None, "mde": None, "reason": contrast.reason}
    mde = contrast.minimum_detectable_effect
    return {"std_error": contrast.std_error, "mde": mde, "reason": None}


@dataclass(frozen=True, eq=False)
class PlannedPower(Result, kind="planned power"):
    """Planned standard errors and minimum detectable effects, one row per wave, outcome and arm."""

    rows: tuple[ArmPower, ...]
    level: float
    power: float
    design_effect: float

    def _frame(self) -> "pl.DataFrame":
        """One row per wave, outcome, arm and convention."""
        import polars as pl  # heavy, and needed here only

        return pl.DataFrame([row.to_dict() for row in self.rows], infer_schema_length=None)

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), "rows": [row.to_dict() for row in self.rows]}

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
    for outcome in spec.goals:
        baseline = planning.baseline_of(outcome.id, wave.id)
        if baseline is None:
            continue
        plan = _Plan(spec, planning, wave, outcome, baseline, sizes)
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
    baseline: Baseline
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
            baseline_mean=self.baseline.mean,
            baseline_std_dev=self._std_dev,
            std_error=error,
            vs_control=self._detectable(error, control),
            vs_arm=self._detectable(error, other),
        )

    @property
    def _std_dev(self) -> Number:
        """Standard deviation between units, from the plan or from the mean of a binary outcome."""
        if self.baseline.std_dev is not None:
            return self.baseline.std_dev
        trials = self.spec.trials(self.outcome, self.wave)
        if trials is None:
            return NotEstimable(f"planning.baseline.{self.outcome.id} gives no std_dev")
        return math.sqrt(self.baseline.mean * (1.0 - self.baseline.mean) / trials)

    def _std_error(self, arm: str, n_units: Number) -> Number:
        if arm == self.wave.control_id and self.outcome.out_of == "sets":
            return NotEstimable("the control is sent nothing, so it has no trials")
        std_dev = self._std_dev
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
