"""What will be done with the data, and the numbers that the design was planned on."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from wavewise.design.values import Frozen, Identifier, Identifiers, OpenShare, Share

__all__ = [
    "Analysis",
    "Baseline",
    "Decision",
    "Effects",
    "Model",
    "Planning",
    "Registration",
    "Targeting",
]


class Model(Frozen):
    """A model of an outcome that a decision learns from."""

    kind: Literal["beta binomial", "hierarchical binomial", "hierarchical normal"]
    """Likelihood, with effects of clusters where it is hierarchical."""
    outcome: Identifier
    """Id of the outcome that it explains."""
    cluster: str | None = None
    """Column of the clusters, for hierarchical models."""
    prior: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Beta prior of an arm's success probability, for kind "beta binomial"."""
    overdispersion: Literal["beta-binomial"] | None = None
    """Units that differ within arm and cluster, for kind "hierarchical binomial"."""
    clusters: Literal["new", "these"] = "new"
    """Whether success probabilities are means over new clusters or over those of the data."""


class Effects(Frozen):
    """How average effects are estimated."""

    estimator: Literal["difference in means", "ols", "lin"] = "ols"
    """lin: regression with covariates that are centred and interacted with the arms."""
    strata: bool = True
    """Strata effects in the regression."""
    std_error: Literal["HC2", "HC3", "CR1", "CR2"] | None = None
    """HC2 without clusters, CR2 with them, where nothing is said."""
    covariates: tuple[str, ...] = ()
    """Columns of [units] that enter the regression."""
    adjust: Literal["holm", "max-t", "none"] = "holm"
    """Adjustment for looking at several arms."""


class Targeting(Frozen):
    """Curves of the value of messaging some units only."""

    arm: str
    """Arm whose effect decides whom to message first."""
    curves: tuple[Literal["TOC", "Qini"], ...] = ("TOC", "Qini")
    """Which curves to draw."""


class Analysis(Frozen):
    """The analysis plan."""

    effects: Effects = Effects()
    """Average effects of the arms."""
    contrasts: tuple[tuple[str, str], ...] = ()
    """Pairs of arms: the effect of the first minus that of the second."""
    targeting: Targeting | None = None
    """Whom to message."""


class Decision(Frozen):
    """How the final arm is chosen."""

    choose: Literal["lowest expected regret", "highest probability of being best"] = (
        "lowest expected regret"
    )
    """What the chosen arm is best in."""
    model: Identifier
    """Name of the model of [models] whose posterior decides."""
    learned_on: Identifiers
    """Ids of the waves whose outcomes decide."""


class Baseline(Frozen):
    """What an outcome is expected to be without a message."""

    mean: float
    """Mean; for kind "any" a share of the units, for "successes" a share of the trials."""
    std_dev: PositiveFloat | None = None
    """Not needed for binary outcomes, where the mean decides it."""


class AnotherWave(Frozen):
    """What a further wave costs, and what a better choice is worth, in one currency."""

    cost_per_unit: NonNegativeFloat
    """Of messaging and observing one unit."""
    cost_per_wave: NonNegativeFloat
    """Of running a wave at all."""
    beneficiaries: PositiveFloat
    """Units that will get the chosen arm in the end."""
    value_per_success: PositiveFloat
    """Worth of one success of one of them."""


class Planning(Frozen):
    """The numbers that the design was planned on."""

    n_units: PositiveInt
    """Number of units in the population."""
    baseline: dict[Identifier, Baseline] = Field(default_factory=dict)
    """By outcome id: what is expected without a message."""
    power: OpenShare = 0.8
    """Probability with which an effect of the minimum detectable size is found."""
    cluster_size: Annotated[float, Field(ge=1)] | None = None
    """Mean number of units in a group that is randomized as a whole."""
    intracluster_correlation: Share | None = None
    """Share of the outcome's variance that lies between such groups."""
    another_wave: AnotherWave | None = None
    """What a further wave costs and what a better choice is worth, to decide whether to go on."""

    @property
    def design_effect(self) -> float:
        """Factor by which group randomization raises the variance of an arm mean."""
        if self.cluster_size is None or self.intracluster_correlation is None:
            return 1.0
        return 1.0 + (self.cluster_size - 1.0) * self.intracluster_correlation


class Registration(Frozen):
    """Texts for the registry page and the pre-analysis plan."""

    status: Literal["in_development", "on_going", "completed", "withdrawn"] = "in_development"
    """Status of the trial."""
    abstract: str = ""
    """What the study asks, how, and why."""
    intervention: str = ""
    """What the units get, in words."""
    hypotheses: tuple[str, ...] = ()
    """What is expected, one sentence each."""
    if_data_late: str = ""
    """What will be done if data come late."""
    investigators: tuple[str, ...] = ()
    """Names of those who answer for the study."""
    country: str = ""
    """Where it takes place."""
    keywords: tuple[str, ...] = ()
    """Words to find it by."""
    addendum: str = ""
    """What was not registered in advance, and why."""
