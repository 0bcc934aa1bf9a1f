"""What a comparison can be expected to find: power, effect or size, each from the other two.

A comparison is a weighted sum of cell means. Its standard error depends on the effect where the
outcome's variance depends on its mean, so that rises and falls are found with different power.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wavewise.errors import InputError
from wavewise.results import NotEstimable

__all__ = [
    "Cell",
    "Comparison",
    "OutcomeLaw",
    "critical_value",
    "design_effect",
    "minimum_detectable_effect",
]

Kind = Literal["binary", "count", "continuous"]
Adjust = Literal["none", "bonferroni", "sidak", "dunnett"]

_MANY = 2000.0  # degrees of freedom from which on t is the normal distribution
_STEPS = 200


def minimum_detectable_effect(std_error: float, *, level: float, power: float) -> float:
    """Smallest true effect that a two-sided test finds with the given power.

    Parameters
    ----------
    std_error : float
        Standard error of the estimated effect, > 0.
    level : float
        Confidence level, in (0, 1); the size of the test is 1 - level.
    power : float
        Probability of finding the effect, in (0, 1).

    Raises
    ------
    InputError
        If one of them lies outside its range.

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
    from scipy.special import ndtri  # noqa: PLC0415  # heavy, and needed here only

    if not (math.isfinite(std_error) and std_error > 0):
        raise InputError(f"found std_error {std_error}; needed a finite number above 0")
    for name, value in (("level", level), ("power", power)):
        if not 0.0 < value < 1.0:
            raise InputError(f"found {name} {value}; needed a number between 0 and 1, e.g. 0.95")
    return float(ndtri((1.0 + level) / 2.0) + ndtri(power)) * std_error


def design_effect(sizes: Sequence[float], correlation: float) -> float:
    """Factor by which randomizing whole clusters raises the variance of a mean over units.

    Parameters
    ----------
    sizes : sequence of float
        Units of each cluster.
    correlation : float
        Of two units of one cluster.

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
class OutcomeLaw:
    """How an outcome's variance between units follows from its mean.

    Parameters
    ----------
    kind : {"binary", "count", "continuous"}
    mean : float
        Without the effect.
    std_dev : float
        Of a continuous outcome.
    dispersion : float
        Variance over that of the binomial or Poisson law.
    trials : float
        Trials of a unit whose outcome is the share of successes.
    """

    kind: Kind
    mean: float
    std_dev: float = 0.0
    dispersion: float = 1.0
    trials: float = 1.0

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

    law: OutcomeLaw
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
        from scipy import special  # noqa: PLC0415  # heavy, and needed here only

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

    Parameters
    ----------
    size : float
        Probability of any false finding, in (0, 1).
    n_comparisons : int
    adjust : {"none", "bonferroni", "sidak", "dunnett"}
        "dunnett" takes the common control of all comparisons into account.
    correlation : float
        Of two comparisons, for "dunnett": n_arm / (n_arm + n_control).
    degrees : float
        Of freedom.

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
    from scipy import special  # noqa: PLC0415  # heavy, and needed here only

    if degrees < _MANY:
        return float(special.stdtrit(degrees, 1.0 - size / 2.0))
    return float(special.ndtri(1.0 - size / 2.0))


def _dunnett(size: float, n_comparisons: int, correlation: float) -> float:
    """Two-sided point of the largest of equally correlated normals, by Gauss-Hermite quadrature."""
    import numpy as np  # noqa: PLC0415  # heavy, and needed here only
    from scipy import special  # noqa: PLC0415

    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    shared, own = math.sqrt(correlation) * node, math.sqrt(1.0 - correlation)

    def kept(point: float) -> bool:
        inside = special.ndtr((point + shared) / own) - special.ndtr((shared - point) / own)
        return bool(weight @ inside**n_comparisons >= 1.0 - size)

    return _halved(kept, 0.0, 10.0)
