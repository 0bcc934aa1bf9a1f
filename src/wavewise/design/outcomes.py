"""Outcomes: what is measured after a wave has opened."""

from typing import Literal

from pydantic import Field, PositiveInt

from wavewise.design.values import DeliveryChoice, Table

__all__ = ["Outcome"]

Scale = Literal["binary", "count", "continuous"]


class Outcome(Table):
    """An outcome of a unit in a wave's window."""

    kind: Literal["any", "count", "sum", "successes", "score"]
    """any: at least one event; count: number of events; sum: of a value; successes: sets with an
    event, out of a number of trials; score: the last value."""
    primary: bool = False
    """Whether it is the one that the study is about. A single outcome is primary."""
    label: str | None = None
    """Name to print in reports."""
    unit: str | None = None
    """Unit of measurement, e.g. "minutes"."""
    event: str | None = None
    """Kind of event that counts. Not needed where the outcome is imported."""
    value: str | None = None
    """What the event's value measures, for kind "sum"."""
    out_of: PositiveInt | Literal["sets"] | None = None
    """Number of trials, for kind "successes"; "sets" takes it from the schedule."""
    periods: tuple[str, ...] = ()
    """Names of the occasions on which a score is taken."""
    begins: dict[str, str] = Field(default_factory=dict)
    """Wave: the first period after it began. Not needed with one period more than waves."""
    delivery: DeliveryChoice = "latest"
    """Which delivery of a score counts: "first", "latest", or the last one up to a date."""
    higher_is_better: bool = True
    """False where the programme wants less of it."""

    @property
    def name(self) -> str:
        """Label, or id where there is none."""
        return self.label or self.id

    @property
    def sign(self) -> float:
        """1, or -1 where lower is better: the outcome times it is better when higher."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def direction_text(self) -> str:
        """What the best arm is, where it is not the one with the highest outcome."""
        if self.higher_is_better:
            return ""
        return f"Lower is better for {self.name}: the best arm is the one that brings the lowest."

    @property
    def scale(self) -> Scale:
        """binary, count or continuous: how numbers of it are printed."""
        scales: dict[str, Scale] = {"any": "binary", "successes": "binary", "count": "count"}
        return scales.get(self.kind, "continuous")
