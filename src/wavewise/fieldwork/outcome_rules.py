"""How an outcome is made from events."""

from dataclasses import dataclass
from typing import Literal

from wavewise.errors import InputError

__all__ = ["OutcomeRule"]

Kind = Literal["any", "count", "sum", "successes", "score"]


@dataclass(frozen=True)
class OutcomeRule:
    """How one outcome is made from events.

    Parameters
    ----------
    id : str
        The outcome's id.
    kind : {'any', 'count', 'sum', 'successes', 'score'}
        Whether there was an event (0 or 1); their number; the sum of their values; the number of
        distinct items with an event, out of ``trials``; the value of the last event.
    event : str
        The kind of event.
    trials : int or None
        For successes: the number of items that were offered.
    """

    id: str
    kind: Kind
    event: str
    trials: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "successes" and (self.trials is None or self.trials < 1):
            raise InputError(
                f"outcome {self.id!r}: found trials {self.trials}; needed a number of 1 or more "
                "for successes; say how many items each unit was offered"
            )
