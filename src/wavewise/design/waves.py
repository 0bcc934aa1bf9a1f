"""Waves: who is randomized, to which arms, with which shares, when, and for how long we look."""

from collections.abc import Iterable
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from wavewise.design.values import (
    TAG,
    CalendarDay,
    Columns,
    Frozen,
    Identifier,
    Identifiers,
    Level,
    Share,
    Table,
    tagged,
)

__all__ = [
    "ALL_STRATA",
    "AllocationRule",
    "Arm",
    "Imported",
    "OrderedPairs",
    "PolicyRule",
    "SharesByStratum",
    "UnitsShare",
    "UnitsWhere",
    "Wave",
    "Where",
    "expand_arms",
]


# Arms: what a unit gets. Nothing, a message, an ordered sequence of messages, or a policy.

PAIR_SEPARATOR = "+"


class PolicyRule(Frozen):
    """A policy: a rule from covariates to a message arm, learned on earlier waves."""

    rule: Literal[
        "best", "causal forest", "effect learner", "neighbours", "random", "tree", "cautious"
    ]
    """How the arm of a unit is chosen."""
    learned_on: Identifiers
    """Ids of the waves whose outcomes the policy may use."""


class Arm(Table):
    """A treatment condition. At most one of message, messages, policy; none of them is nothing."""

    message: Identifier | None = None
    """Id of the one message that units of the arm get."""
    messages: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None
    """Ids of the messages in the order of sending, one for each day of the schedule."""
    policy: PolicyRule | None = None
    """Rule that chooses a message arm for each unit."""
    label: str | None = None
    """Name to print in reports."""

    @property
    def sequence(self) -> tuple[str, ...]:
        """Ids of the messages in the order of sending; empty for nothing or a policy."""
        if self.message is not None:
            return (self.message,)
        return self.messages or ()

    @property
    def content(self) -> str:
        """What a unit in this arm gets, in words."""
        if self.policy is not None:
            return f"policy: {self.policy.rule}"
        return ", then ".join(self.sequence) if self.sequence else "nothing"


class OrderedPairs(Frozen):
    """All ordered pairs of messages, a message with itself included: 4 messages give 16 arms."""

    ordered_pairs_of: tuple[Identifier, ...] = Field(min_length=2)
    """Ids of the messages to pair."""

    def arms(self) -> tuple[Arm, ...]:
        """The arms, first message slowest: ``teacher+teacher``, ``teacher+peers``, ..."""
        return tuple(
            Arm(id=f"{first}{PAIR_SEPARATOR}{second}", messages=(first, second))
            for first, second in product(self.ordered_pairs_of, repeat=2)
        )


def _arm_form(value: Any) -> str:
    return TAG + ("name" if isinstance(value, str) else "table")


def _arms_form(value: Any) -> str:
    return TAG + ("pairs" if isinstance(value, dict | OrderedPairs) else "list")


ListedArm = Annotated[
    Annotated[Identifier, tagged("name")] | Annotated[Arm, tagged("table")],
    Discriminator(_arm_form),
]
ListedArms = Annotated[
    Annotated[OrderedPairs, tagged("pairs")]
    | Annotated[tuple[ListedArm, ...], Field(min_length=1), tagged("list")],
    Discriminator(_arms_form),
]


def expand_arms(
    listed: OrderedPairs | tuple[str | Arm, ...], defined: dict[str, Arm]
) -> tuple[Arm, ...]:
    """The arms of a wave, written out."""
    if isinstance(listed, OrderedPairs):
        return listed.arms()
    return tuple(
        arm if isinstance(arm, Arm) else defined.get(arm, Arm(id=arm, message=arm))
        for arm in listed
    )


MOST_DAYS = 3_660
RULE_OPTIONS = {
    "temper": "tempered Thompson",
    "uniform_share": "tempered Thompson",
    "beta": "top-two",
}


ALL_STRATA = "strata"  # in `within`: all columns of the strata
Where = dict[str, Level | tuple[Level, ...]]


class UnitsShare(Frozen):
    """A share of all units, drawn at random from those that no earlier wave took."""

    share: Share
    """Fraction of all units."""


class UnitsWhere(Frozen):
    """The units whose column has one of these values."""

    where: Where
    """Column: value, or list of values."""


class AllocationRule(Frozen):
    """Shares that follow from what earlier waves taught."""

    rule: Literal[
        "exploration", "Thompson", "tempered Thompson", "top-two", "control-augmented", "equal"
    ]
    """exploration: shares in proportion to p (1 - p), where p is the probability of being best;
    Thompson: in proportion to p; tempered Thompson: to a power of p, or mixed with equal shares;
    top-two: a part by p, the rest by the probability of being drawn next; control-augmented: to p,
    and the control gets as much as the best arm."""
    model: Identifier | None = None
    """Name of the model of [models] that gives p."""
    learned_on: Identifiers
    """Ids of the waves whose outcomes it uses."""
    floor: Share = 0.0
    """Least share of each arm in the wave."""
    temper: Share | None = None
    """For tempered Thompson: the power, from 0 (equal shares) to 1 (Thompson)."""
    uniform_share: Share | None = None
    """For tempered Thompson: the part of the wave that is shared equally."""
    beta: Share | None = None
    """For top-two: the probability that the first of the two arms is played."""
    within: Columns = ()
    """Strata within which shares are learned: "strata" for those of the wave, or some of their
    columns."""

    def columns_within(self, strata: tuple[str, ...]) -> tuple[str, ...]:
        """Columns whose values make the strata of the rule, of the strata columns of the wave."""
        return strata if self.within == (ALL_STRATA,) else self.within

    @model_validator(mode="after")
    def _options_fit_the_rule(self) -> Self:
        for name, rule in RULE_OPTIONS.items():
            if getattr(self, name) is not None and rule != self.rule:
                needed = f"no {name} beside the rule '{self.rule}' (it belongs to '{rule}')"
                raise PydanticCustomError("needed", "{needed}", {"needed": needed})
        return self


class SharesByStratum(Frozen):
    """Shares that differ by stratum. A stratum's label is its columns' values joined by "|"."""

    by_stratum: dict[str, dict[str, Share]]
    """Stratum: {arm: share}."""


class Imported(Frozen):
    """Where an experiment that ran elsewhere has its assignment and outcomes: columns of a file."""

    arm: str
    """Column of the arm."""
    arm_names: dict[str, str] = Field(default_factory=dict)
    """Value in the file: arm id. Blanks around a value do not count."""
    outcomes: dict[str, str] = Field(default_factory=dict)
    """Outcome id: column."""
    propensity: str | None = None
    """Column of the probability with which the arm was drawn; without it the shares are used."""
    randomized: bool = True
    """False where arms were not drawn at random: propensities are estimated from the units'
    covariates, and results are marked observational."""


def not_randomized(waves: Iterable["Wave"]) -> tuple[str, ...]:
    """Ids of the waves whose arms were not drawn at random."""
    return tuple(w.id for w in waves if w.imported is not None and not w.imported.randomized)


def _units_form(value: Any) -> str:
    if isinstance(value, dict):
        return TAG + ("where" if "where" in value else "share")
    if isinstance(value, UnitsShare | UnitsWhere):
        return TAG + ("where" if isinstance(value, UnitsWhere) else "share")
    return TAG + "word"


def _shares_form(value: Any) -> str:
    if isinstance(value, AllocationRule) or (isinstance(value, dict) and "rule" in value):
        return TAG + "rule"
    if isinstance(value, SharesByStratum) or (isinstance(value, dict) and "by_stratum" in value):
        return TAG + "strata"
    return TAG + ("arms" if isinstance(value, dict) else "word")


WaveUnits = Annotated[
    Annotated[Literal["all", "rest"], tagged("word")]
    | Annotated[UnitsShare, tagged("share")]
    | Annotated[UnitsWhere, tagged("where")],
    Discriminator(_units_form),
]
WaveShares = Annotated[
    Annotated[Literal["equal"], tagged("word")]
    | Annotated[AllocationRule, tagged("rule")]
    | Annotated[SharesByStratum, tagged("strata")]
    | Annotated[dict[str, Share], tagged("arms")],
    Discriminator(_shares_form),
]


class Wave(Table):
    """A batch of units assigned under one share vector, and the window in which we look."""

    label: str | None = None
    """Name to print in reports."""
    units: WaveUnits = "all"
    """Who takes part: "all", "rest" (those that no earlier wave took), a share, or where."""
    where: Where = Field(default_factory=dict)
    """Who of them is eligible, as of this wave. Column: value, or list of values."""
    strata: tuple[str, ...] | None = None
    """Columns that make the strata of this wave, instead of units.strata."""
    covariates: tuple[str, ...] | None = None
    """Columns measured before this wave, instead of units.covariates."""
    starts: CalendarDay
    """First day of the outcome window, in each unit's own time zone."""
    window_days: Annotated[int, Field(gt=0, le=MOST_DAYS)]
    """Length of the outcome window, from the start."""
    schedule: Identifier | None = None
    """Name of the schedule of [schedules]."""
    control: Identifier | None = None
    """Id of the arm that gets nothing; "control" where a control share is given."""
    control_share: Share | None = None
    """Fixed share of the arm that gets nothing, which is added where the arms do not name it."""
    held_out_share: Share | None = None
    """In each arm, the share that is not messaged."""
    arms: ListedArms
    """Names of arms or messages, arms written out, or all ordered pairs of messages."""
    shares: WaveShares = "equal"
    """Share of each arm, "equal", by stratum, or a rule."""
    imported: Imported | None = None
    """For an experiment that ran elsewhere."""

    @property
    def name(self) -> str:
        """Label, or id where there is none."""
        return self.label or self.id

    @property
    def control_id(self) -> str | None:
        """Id of the no-message arm, or None where the wave has none."""
        if self.control is not None:
            return self.control
        return "control" if self.control_share is not None else None

    def all_arms(self, defined: dict[str, Arm]) -> tuple[Arm, ...]:
        """The arms, the added control last."""
        arms = expand_arms(self.arms, defined)
        control = self.control_id
        if self.control_share is None or control is None or control in {arm.id for arm in arms}:
            return arms
        return (*arms, Arm(id=control))
