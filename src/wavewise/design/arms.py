"""Arms: what a unit gets. Nothing, a message, an ordered sequence of messages, or a policy."""

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field

from wavewise.design.values import TAG, Frozen, Identifier, Identifiers, Table, tagged

__all__ = ["PAIR_SEPARATOR", "Arm", "ListedArms", "OrderedPairs", "PolicyRule", "expand_arms"]

PAIR_SEPARATOR = "+"


class PolicyRule(Frozen):
    """A policy: a rule from covariates to a message arm, learned on earlier waves."""

    rule: Literal["best", "causal forest", "neighbours", "random", "tree", "cautious"]
    """How the arm of a unit is chosen."""
    learned_on: Identifiers
    """Ids of the waves whose outcomes the policy may use."""


class Arm(Table):
    """A treatment condition. At most one of message, messages, policy; none of them is nothing."""

    message: Identifier | None = None
    """Id of the one message that units of the arm get."""
    messages: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None
    """Ids of the messages in the order of sending, one a day of the schedule."""
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
    """The arms of a wave, written out.

    Parameters
    ----------
    listed : OrderedPairs or tuple of (str or Arm)
        As in the study file. A name is an arm of ``[[arms]]``, or else a message.
    defined : dict of str to Arm
        The arms of ``[[arms]]``.
    """
    if isinstance(listed, OrderedPairs):
        return listed.arms()
    return tuple(
        arm if isinstance(arm, Arm) else defined.get(arm, Arm(id=arm, message=arm))
        for arm in listed
    )
