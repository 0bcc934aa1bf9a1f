"""The study file as one frozen value."""

from pydantic import Field

from wavewise.design.arms import Arm
from wavewise.design.messages import Channel, Derived, Flow, Keywords, Message, Schedule
from wavewise.design.outcomes import Outcome
from wavewise.design.plan import Analysis, Decision, Model, Planning, Registration
from wavewise.design.values import Frozen, Identifier, OpenShare, TimeZone
from wavewise.design.waves import Wave

__all__ = ["STRATUM_SEPARATOR", "Study", "StudySpec", "Units"]

STRATUM_SEPARATOR = "|"


class Study(Frozen):
    """What the study is."""

    id: Identifier
    """Short name of the study."""
    title: str = Field(min_length=1)
    """Title to print."""
    seed: int = Field(ge=0, lt=2**63)
    """Every random draw comes from it."""
    time_zone: TimeZone
    """For units that bring none of their own."""
    level: OpenShare = 0.95
    """Of confidence and credible intervals."""


class Units(Frozen):
    """What is randomized, and the columns of the people file."""

    id: str
    """Column of the unit's id; "row" takes the number of the row in the file."""
    name: str = "units"
    """What to call them in reports, e.g. "parents"."""
    strata: tuple[str, ...] = ()
    """Columns that make the strata within which shares hold."""
    levels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Stratum column: the values that it may have."""
    covariates: tuple[str, ...] = ()
    """Columns measured before the first wave, for balance checks, models and policies."""
    fields: tuple[str, ...] = ()
    """Columns that may appear in messages."""
    address: dict[Channel, str] = Field(default_factory=dict)
    """Channel: column of the contact detail, kept apart from research data."""
    time_zone: str | None = None
    """Column of the unit's own time zone."""
    language: str | None = None
    """Column of the unit's language."""
    cluster: str | None = None
    """Column of the group on which standard errors cluster."""
    randomize_by: str | None = None
    """Column of the group that is randomized as a whole, such as a household."""

    @property
    def error_cluster(self) -> str | None:
        """Column on which standard errors cluster."""
        return self.cluster or self.randomize_by

    def columns(self) -> tuple[str, ...]:
        """Every column of the people file that the study uses, contact details left out."""
        optional = (self.time_zone, self.language, self.cluster, self.randomize_by)
        listed = (self.id, *self.strata, *self.covariates, *self.fields, *filter(None, optional))
        return tuple(dict.fromkeys(listed))


class StudySpec(Frozen):
    """A whole study: who gets what, when, what is measured, and what will be done with it."""

    study: Study
    """Name, seed, time zone, level."""
    units: Units
    """Who is randomized, and the columns of the people file."""
    derived: dict[str, Derived] = Field(default_factory=dict)
    """Per-unit fields made by rule, by name."""
    flows: dict[Identifier, Flow] = Field(default_factory=dict)
    """Call flows by name."""
    messages: tuple[Message, ...] = ()
    """What can be sent."""
    arms: tuple[Arm, ...] = ()
    """Arms that several waves share, or that hold more than one message."""
    schedules: dict[Identifier, Schedule] = Field(default_factory=dict)
    """When messages go out, by name."""
    keywords: Keywords = Keywords()
    """Words by which people refuse messages, or take a refusal back."""
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    """What is measured."""
    models: dict[Identifier, Model] = Field(default_factory=dict)
    """What decisions learn from, by name."""
    waves: tuple[Wave, ...] = Field(min_length=1)
    """The waves, in the order of time."""
    analysis: Analysis = Analysis()
    """How effects are estimated."""
    decision: Decision | None = None
    """How the final arm is chosen."""
    planning: Planning | None = None
    """What the design was planned on."""
    registration: Registration = Registration()
    """Texts for the registry page and the pre-analysis plan."""

    @property
    def primary(self) -> Outcome:
        """The primary outcome; the only one where there is one."""
        return next((outcome for outcome in self.outcomes if outcome.primary), self.outcomes[0])

    def wave(self, wave_id: str) -> Wave | None:
        """The wave of this id, or None."""
        return next((wave for wave in self.waves if wave.id == wave_id), None)

    def arms_of(self, wave: Wave) -> tuple[Arm, ...]:
        """The arms of a wave, written out, an added control last."""
        return wave.all_arms({arm.id: arm for arm in self.arms})

    def trials(self, outcome: Outcome, wave: Wave) -> int | None:
        """Number of trials of an outcome in a wave; 1 for "any"; None where it has none."""
        if outcome.kind == "any":
            return 1
        if outcome.out_of == "sets":
            return self.schedules[wave.schedule].n_sends if wave.schedule else None
        return outcome.out_of
