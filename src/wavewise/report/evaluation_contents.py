"""What an evaluation of policies shows: plain frozen values, as in ``contents``."""

from collections.abc import Mapping
from dataclasses import dataclass

from wavewise.report.contents import Outcome, ReasonRow
from wavewise.report.values import require_distinct, require_finite, require_share

__all__ = [
    "CalibrationGroup",
    "CalibrationRow",
    "CoefficientRow",
    "ContrastRow",
    "CurvePoint",
    "CurveRow",
    "EvaluationContents",
    "Measured",
    "PolicyRow",
    "PolicyTruth",
    "SpendRow",
]


@dataclass(frozen=True)
class Measured:
    """An estimate on the outcome's own scale with its confidence interval."""

    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float | None = None

    def __post_init__(self) -> None:
        require_finite(self, "estimate")


@dataclass(frozen=True)
class PolicyRow:
    """A policy against no message.

    Parameters
    ----------
    policy : str
        Its name.
    rule : str
        What it does, in words.
    effect : Measured
        Against no message, by doubly robust scores.
    n_units : int
        Units that speak of it.
    randomized : Measured or None
        The same from its own units alone, by least squares with strata.
    truth : float or None
        In a simulated study.
    """

    policy: str
    rule: str
    effect: Measured
    n_units: int
    randomized: Measured | None = None
    truth: float | None = None


@dataclass(frozen=True)
class PolicyTruth:
    """The known truth of a simulated study.

    Parameters
    ----------
    effects : mapping of str to float
        Each policy's true effect against no message.
    ceiling : float
        The effect if every unit got what is truly best for it.
    """

    effects: Mapping[str, float]
    ceiling: float


@dataclass(frozen=True)
class ContrastRow:
    """One policy less another.

    Parameters
    ----------
    first, second : str
        Names of the policies.
    effect : Measured
        Per unit of the whole population, by doubly robust scores.
    share_differs : float
        Share of units to whom the two give different arms, in [0, 1].
    randomized : Measured, ReasonRow or None
        From the units randomized to the two, paired where they agree; or why there is none.
    truth : float or None
        In a simulated study.
    """

    first: str
    second: str
    effect: Measured
    share_differs: float
    randomized: "Measured | ReasonRow | None" = None
    truth: float | None = None

    def __post_init__(self) -> None:
        require_share("share_differs", self.name, self.share_differs)

    @property
    def name(self) -> str:
        """The contrast as it is printed."""
        return f"{self.first} minus {self.second}"


@dataclass(frozen=True)
class CurvePoint:
    """Height of a curve, with its standard error, at a share of units in [0, 1]."""

    share: float
    height: float
    std_error: float


@dataclass(frozen=True)
class CurveRow:
    """How well a ranking finds the units that gain more.

    ``causal`` says that the ranking is by predicted effect; otherwise it is by predicted outcome.
    """

    priority: str
    autoc: Measured
    qini: Measured
    points: tuple[CurvePoint, ...]
    causal: bool = True


@dataclass(frozen=True)
class SpendRow:
    """Gain in mean outcome when a share of units is messaged.

    ``targeted`` chooses units and arms by predicted effect; ``uniform`` sends the arm that is best
    on average to units by lot; ``difference`` is paired.
    """

    share: float
    targeted: Measured
    uniform: Measured
    difference: Measured


@dataclass(frozen=True)
class CalibrationGroup:
    """Units of like predicted effect: what was predicted and what was found."""

    predicted: float
    found: float
    std_error: float
    n_units: int


@dataclass(frozen=True)
class CalibrationRow:
    """Whether a model's predicted effects hold: 1 is right, 0 says that differences are noise."""

    model: str
    differences: Measured
    groups: tuple[CalibrationGroup, ...]


@dataclass(frozen=True)
class CoefficientRow:
    """A coefficient of the best linear projection of the effect on covariates."""

    name: str
    slope: Measured


@dataclass(frozen=True)
class EvaluationContents:
    """Policies on fresh outcomes.

    Parameters
    ----------
    wave : str
        The wave whose outcomes test them.
    learned_on : tuple of str
        Waves that taught them.
    outcome : Outcome
    level : float
        Of all intervals.
    n_units : int
        Units with an outcome.
    policies : tuple of PolicyRow
    contrasts : tuple of ContrastRow
        The registered ones, the most important first.
    message : str
        The arm that targeting is about; empty without one.
    curves : tuple of CurveRow
    spending : tuple of SpendRow
    calibration : tuple of CalibrationRow
    projection : tuple of CoefficientRow
    not_estimable : tuple of ReasonRow
        Parts that could not be computed; ``arm`` names the part.
    baseline : float or None
        Mean outcome without messages.
    ceiling : float or None
        In a simulated study: the effect if every unit got what is truly best for it.
    """

    wave: str
    learned_on: tuple[str, ...]
    outcome: Outcome
    level: float
    n_units: int
    policies: tuple[PolicyRow, ...]
    contrasts: tuple[ContrastRow, ...]
    message: str = ""
    curves: tuple[CurveRow, ...] = ()
    spending: tuple[SpendRow, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    projection: tuple[CoefficientRow, ...] = ()
    not_estimable: tuple[ReasonRow, ...] = ()
    baseline: float | None = None
    ceiling: float | None = None

    def __post_init__(self) -> None:
        require_distinct(f"evaluation of {self.wave!r}", [row.policy for row in self.policies])
        require_distinct(f"evaluation of {self.wave!r}", [row.name for row in self.contrasts])
