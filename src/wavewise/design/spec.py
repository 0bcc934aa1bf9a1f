"""The study file as one frozen value."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from wavewise.design.enrolment import PHONE, Enrolment, Sender
from wavewise.design.messages import Channel, Derived, Flow, Keywords, Message, Schedule
from wavewise.design.values import (
    TAG,
    CalendarDay,
    Country,
    DateFormat,
    DeliveryChoice,
    Frozen,
    Identifier,
    Identifiers,
    OpenShare,
    Share,
    Table,
    TimeZone,
    tagged,
)
from wavewise.design.waves import MOST_DAYS, Arm, UnitsWhere, Wave

__all__ = [
    "SECTIONS",
    "STRATUM_SEPARATOR",
    "Analysis",
    "Approval",
    "Baseline",
    "Decision",
    "Effects",
    "Imports",
    "Investigator",
    "Model",
    "Outcome",
    "Planning",
    "Reading",
    "Registration",
    "Study",
    "StudySpec",
    "Target",
    "Targeting",
    "Team",
    "Units",
]


# Outcomes: what is measured after a wave has opened.

Scale = Literal["binary", "count", "continuous"]


OPT_OUT = "opt-out"  # the kind of event that opt-outs are, wherever they came in
OutcomeDay = Annotated[int, Field(gt=0, le=MOST_DAYS)]
DAYS_OF = {"day": 1, "week": 7}


class Outcome(Table):
    """An outcome of a unit in a wave's window."""

    kind: Literal["any", "count", "sum", "successes", "score", "days to first"]
    """any: at least one event; count: number of events; sum: of a value; successes: sets with an
    event, out of a number of trials; score: the last value; days to first: until the first event,
    the whole window where there is none."""
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
    at_least: PositiveInt = 1
    """Number of events from which an outcome of kind "any" is 1, e.g. 2 for those who came back."""
    window: Literal["wave", "during", "after"] = "wave"
    """When events count: in the wave's window; until the last message; after the last message."""
    from_day: OutcomeDay | None = None
    """First day that counts; day 1 is the first day of the wave."""
    to_day: OutcomeDay | None = None
    """Last day that counts; it may lie after the wave's window."""
    unit_of_time: Literal["day", "week"] | None = None
    """Keeps the outcome of each whole day or week of its window too, for a curve over time."""
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
    def event_kind(self) -> str | None:
        """Kind of event that it is made of; a score without one takes events of its own id."""
        return self.event or (self.id if self.kind == "score" else None)

    @property
    def has_own_days(self) -> bool:
        """Whether it is measured on other days than the wave's window."""
        return self.window != "wave" or self.from_day is not None or self.to_day is not None

    def days(self, wave: Wave, schedules: Mapping[str, Schedule]) -> tuple[int, int]:
        """First and last day that count in a wave; day 1 is the first day of the wave."""
        first, last = 1, wave.window_days
        schedule = schedules.get(wave.schedule or "")
        if schedule is not None and self.window != "wave":
            sent = schedule.day_of_send(schedule.n_sends, wave.starts)
            last_send = (sent - wave.starts).days + 1
            first, last = (1, last_send) if self.window == "during" else (last_send + 1, last)
        return self.from_day or first, self.to_day or last

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


class Target(Table):
    """A goal made of several outcomes, which decisions can learn from like from an outcome."""

    kind: Literal["index", "weighted", "surrogate"] = "index"
    """index: mean of outcomes in standard deviations of the control; weighted: sum of outcomes as
    they are measured, times their weights; surrogate: what the outcomes predict of a later one."""
    outcomes: tuple[Identifier, ...] = ()
    """Ids of the outcomes that it is made of; those of `weights` where these are given."""
    weights: dict[Identifier, NonNegativeFloat] = Field(default_factory=dict)
    """Outcome id: how much it counts. `higher_is_better` of the outcome says which way. An index
    without weights takes the inverse covariance of its outcomes."""
    stands_for: Identifier | None = None
    """For kind "surrogate": id of the later outcome that is predicted."""
    learned_on: Identifiers | None = None
    """For kind "surrogate": ids of the waves in which the later outcome is known."""
    primary: bool = False
    """Whether it is what the study is about, instead of one of the outcomes."""
    label: str | None = None
    """Name to print in reports."""
    unit: str | None = None
    """Unit of measurement of a weighted target, e.g. "dollars"."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Ids of the outcomes that it is made of."""
        return self.outcomes or tuple(self.weights)

    def as_outcome(self, stands_for: Outcome | None = None) -> Outcome:
        """The target as an outcome that is known of each unit."""
        unit = {"index": "standard deviations", "weighted": self.unit}.get(self.kind)
        later = stands_for if self.kind == "surrogate" else None
        return Outcome(
            id=self.id,
            kind="score",
            primary=self.primary,
            label=self.label,
            unit=unit if later is None else later.unit,
            higher_is_better=later is None or later.higher_is_better,
        )


# What will be done with the data, and the numbers that the design was planned on.


class EarlierStudy(Frozen):
    """What an earlier study found of the arms, as a prior."""

    file: str | None = None
    """Its results, a file in the study's folder: report.json, the JSON of a posterior, or a CSV."""
    weight: Share = 1.0
    """How much each of its units counts, from 0 (not at all) to 1 (as much as one of ours)."""
    arms: dict[Identifier, str] = Field(default_factory=dict)
    """Arm: its name in the file, where it has another one there."""
    results: dict[Identifier, tuple[float, float]] = Field(default_factory=dict)
    """Arm: [successes, trials], or for kind "hierarchical binomial" [mean, standard deviation] of
    its log odds; read from the file where there is one."""


class Model(Frozen):
    """A model of an outcome that a decision learns from."""

    kind: Literal["beta binomial", "normal", "hierarchical binomial", "hierarchical normal"]
    """Likelihood, with effects of clusters where it is hierarchical; normal: of means of an
    outcome or target of any kind."""
    outcome: Identifier
    """Id of the outcome or target that it explains."""
    cluster: str | None = None
    """Column of the clusters, for hierarchical models."""
    prior: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Beta prior of an arm's success probability, for kind "beta binomial"."""
    arm_priors: dict[Identifier, tuple[PositiveFloat, PositiveFloat]] = Field(default_factory=dict)
    """Arm: beta prior of its own, for kind "beta binomial"."""
    earlier: EarlierStudy | None = None
    """What an earlier study found of the arms, as a prior."""
    overdispersion: Literal["beta-binomial"] | None = None
    """Units that differ within arm and cluster, for kind "hierarchical binomial"."""
    clusters: Literal["new", "these"] = "new"
    """Whether success probabilities are means over new clusters or over those of the data."""
    cluster_size: str | None = None
    """For clusters "these": column of the number of units that each cluster is to count for; by
    default as many as its trials."""
    new_units: NonNegativeFloat = 0.0
    """For clusters "these": units of new clusters that count beside them."""
    pooling: Literal["none", "partial"] = "none"
    """For shares within strata and kind "beta binomial": whether an arm's strata inform each
    other."""

    @property
    def has_evidence(self) -> bool:
        """Whether its prior says more of some arms than of others."""
        return self.earlier is not None or bool(self.arm_priors)


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
    false_discovery: Literal["bh", "sharpened", "none"] = "none"
    """Q values for looking at several outcomes: Benjamini-Hochberg, or the sharpened two-stage
    form."""


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


def _baseline_form(value: Any) -> str:
    by_wave = isinstance(value, dict) and any(
        isinstance(one, dict | Baseline) for one in value.values()
    )
    return TAG + ("waves" if by_wave else "one")


Baselines = Annotated[
    Annotated[Baseline, tagged("one")] | Annotated[dict[Identifier, Baseline], tagged("waves")],
    Discriminator(_baseline_form),
]


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
    baseline: dict[Identifier, Baselines] = Field(default_factory=dict)
    """By outcome id, or by outcome id and wave: what is expected without a message."""
    power: OpenShare = 0.8
    """Probability with which an effect of the minimum detectable size is found."""
    cluster_size: Annotated[float, Field(ge=1)] | None = None
    """Mean number of units in a group that is randomized as a whole."""
    intracluster_correlation: Share | None = None
    """Share of the outcome's variance that lies between such groups."""
    another_wave: AnotherWave | None = None
    """What a further wave costs and what a better choice is worth, to decide whether to go on."""

    def baseline_of(self, outcome_id: str, wave_id: str) -> Baseline | None:
        """What an outcome is expected to be in a wave without a message; None where none says."""
        found = self.baseline.get(outcome_id)
        return found.get(wave_id) if isinstance(found, dict) else found

    @property
    def design_effect(self) -> float:
        """Factor by which group randomization raises the variance of an arm mean."""
        if self.cluster_size is None or self.intracluster_correlation is None:
            return 1.0
        return 1.0 + (self.cluster_size - 1.0) * self.intracluster_correlation


class Investigator(Frozen):
    """Somebody who answers for the study."""

    name: str = Field(min_length=1)
    """Name."""
    affiliation: str = ""
    """University or other institution."""


class Approval(Frozen):
    """An ethics approval of the study."""

    name: str = Field(min_length=1)
    """Name of the institutional review board (IRB)."""
    number: str = ""
    """Number of the approval."""
    date: CalendarDay | None = None
    """Date of the approval."""


def _investigator_form(value: Any) -> str:
    return TAG + ("name" if isinstance(value, str) else "table")


ListedInvestigator = Annotated[
    Annotated[str, tagged("name")] | Annotated[Investigator, tagged("table")],
    Discriminator(_investigator_form),
]


class Registration(Frozen):
    """Texts for the registry page and the pre-analysis plan that nothing else in the file gives."""

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
    wait_days: NonNegativeInt | None = None
    """Days to wait for data after a wave's window, before it is closed."""
    trial_start: CalendarDay | None = None
    """First day of the trial, where it is not that of the first wave."""
    trial_end: CalendarDay | None = None
    """Last day of the trial, where it is not that of the last outcome window."""
    investigators: tuple[ListedInvestigator, ...] = ()
    """Those who answer for the study: names, or tables with name and affiliation."""
    country: str = ""
    """Where it takes place."""
    keywords: tuple[str, ...] = ()
    """Words to find it by."""
    jel: tuple[str, ...] = ()
    """Codes of the Journal of Economic Literature."""
    sponsors: tuple[str, ...] = ()
    """Those who pay for the study, and its partners."""
    irb: tuple[Approval, ...] = ()
    """Ethics approvals."""
    documents: tuple[str, ...] = ()
    """Documents that belong to the registration, such as the analysis plan: titles or addresses."""
    addendum: str = ""
    """What was not registered in advance, and why."""


Step = Literal["register", "open", "send", "close", "decide", "erase"]


class Team(Frozen):
    """What nobody does alone, where a team works in the browser."""

    second_person: tuple[Step, ...] = ()
    """Steps that a second person confirms before they are done: registering or amending the plan,
    opening a wave or an enrolment, sending what was stopped, closing a wave, deciding, erasing a
    person."""


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
    country: Country | None = None
    """Country of phone numbers without an international prefix, as two letters, e.g. "PE"."""
    currency: str | None = None
    """Currency of costs, to print, e.g. "USD"."""


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


# How files are read, where they are not plain UTF-8 with the study's own names.


class ColumnReading(Frozen):
    """How one column of a file is read."""

    from_: str | None = Field(default=None, alias="from")
    """Its name in the file."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of its numbers."""
    date_format: DateFormat | None = None
    """The order of its dates, "DMY", "MDY" or "YMD", or a pattern such as "%d.%m.%Y %H:%M"."""
    as_text: bool = False
    """Whether its cells are text just as they stand, even where they look like numbers or NA."""


class Reading(Frozen):
    """How the files of one import are read; what is left out is told from the file."""

    separator: Literal[",", ";", "\t", "|"] | None = None
    """What separates the cells of a text file."""
    encoding: str | None = None
    """Of a text file, e.g. "cp1252"."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of numbers."""
    date_format: DateFormat | None = None
    """The order of dates, "DMY", "MDY" or "YMD", or a pattern such as "%d.%m.%Y %H:%M"."""
    sheet: str | None = None
    """Name of the sheet of a spreadsheet."""
    header_row: PositiveInt = 1
    """Number of the row that has the names of the columns."""
    missing: tuple[str, ...] = ()
    """What stands for an empty cell, e.g. "NA" or "-99"."""
    value_labels: bool = False
    """Whether Stata and SPSS values are taken by their labels, not their codes."""
    columns: dict[str, str | ColumnReading] = Field(default_factory=dict)
    """Column as the study names it: its name in the file, or how it is read."""

    def column(self, name: str) -> ColumnReading:
        """How a column is read, by the study's name for it."""
        found = self.columns.get(name, ColumnReading())
        own = ColumnReading.model_validate({"from": found}) if isinstance(found, str) else found
        return own.model_copy(
            update={
                "decimal": own.decimal or self.decimal,
                "date_format": own.date_format or self.date_format,
            }
        )


class Imports(Frozen):
    """How each kind of file is read."""

    people: Reading = Reading()
    """`people import`, and the units of `wave import`."""
    events: Reading = Reading()
    """`observe`."""
    scores: Reading = Reading()
    """`observe --kind scores`."""
    contacts: Reading = Reading()
    """`contacts import`."""
    waves: Reading = Reading()
    """`wave import`."""


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
    """Keywords by which people opt out of messages, or opt in again."""
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    """What is measured."""
    targets: tuple[Target, ...] = ()
    """Goals made of several outcomes: indices, weighted sums, surrogates."""
    models: dict[Identifier, Model] = Field(default_factory=dict)
    """What decisions learn from, by name."""
    waves: tuple[Wave, ...] = Field(min_length=1)
    """The waves, in the order of time."""
    enrolment: tuple[Enrolment, ...] = ()
    """What happens before waves: who is invited, and how."""
    analysis: Analysis = Analysis()
    """How effects are estimated."""
    decision: Decision | None = None
    """How the final arm is chosen."""
    planning: Planning | None = None
    """What the design was planned on."""
    registration: Registration = Registration()
    """Texts for the registry page and the pre-analysis plan."""
    imports: Imports = Field(default=Imports(), alias="import")
    """How files are read."""
    team: Team = Team()
    """What nobody does alone."""

    @property
    def message_names(self) -> dict[str, str]:
        """What to print for each message, by id."""
        return {message.id: message.name for message in self.messages}

    @property
    def primary(self) -> Outcome:
        """The primary outcome, or target; the only outcome where there is one."""
        return next((outcome for outcome in self.goals if outcome.primary), self.outcomes[0])

    @property
    def goals(self) -> tuple[Outcome, ...]:
        """Outcomes, then targets as such: all that effects are estimated on."""
        own = {outcome.id: outcome for outcome in self.outcomes}
        targets = (target.as_outcome(own.get(target.stands_for or "")) for target in self.targets)
        return (*self.outcomes, *targets)

    def outcome(self, outcome_id: str) -> Outcome:
        """The outcome or target of this id, which other parts of the spec name."""
        return next(outcome for outcome in self.goals if outcome.id == outcome_id)

    def wave(self, wave_id: str) -> Wave | None:
        """The wave of this id, or None."""
        return next((wave for wave in self.waves if wave.id == wave_id), None)

    @property
    def made_columns(self) -> frozenset[str]:
        """Columns that a rule of [derived] or an enrolment makes, and that no file brings."""
        own = self.units.fields
        derived = (
            name
            for name, rule in self.derived.items()
            if rule.event is not None or (name not in own and name != rule.from_)
        )
        return frozenset([*derived, *(one.answers for one in self.enrolment if one.answers)])

    @property
    def people_columns(self) -> tuple[str, ...]:
        """Columns of the people file that the study uses, contact details left out."""
        made = self.made_columns
        return tuple(name for name in self.units.columns() if name not in made)

    def strata_of(self, wave: Wave) -> tuple[str, ...]:
        """Columns that make the strata of a wave."""
        return self.units.strata if wave.strata is None else wave.strata

    def covariates_of(self, wave: Wave) -> tuple[str, ...]:
        """Columns measured before a wave, for balance checks, models and policies."""
        return self.units.covariates if wave.covariates is None else wave.covariates

    def columns_of(self, wave: Sender) -> tuple[str, ...]:
        """Columns that a wave is drawn or compared by, or an enrolment goes by."""
        if isinstance(wave, Enrolment):
            return wave.columns()
        taken = wave.units.where if isinstance(wave.units, UnitsWhere) else {}
        adjusted = self.analysis.effects.covariates
        named = (*self.strata_of(wave), *self.covariates_of(wave), *adjusted, *taken, *wave.where)
        return tuple(dict.fromkeys(named))

    @property
    def design_columns(self) -> tuple[str, ...]:
        """Columns that some wave is drawn or compared by."""
        named = (*self.units.strata, *self.units.covariates)
        senders: tuple[Sender, ...] = (*self.waves, *self.enrolment)
        of_waves = (name for sender in senders for name in self.columns_of(sender))
        return tuple(dict.fromkeys((*named, *of_waves)))

    @property
    def randomizes_phones(self) -> bool:
        """Whether those who share a phone are randomized as a whole."""
        return any(one.randomize_by is not None for one in self.enrolment)

    @property
    def error_cluster(self) -> str | None:
        """What standard errors cluster on: a column, or the phone."""
        return self.units.error_cluster or (PHONE if self.randomizes_phones else None)

    def enrolment_of(self, wave_id: str) -> Enrolment | None:
        """The enrolment that a wave is drawn from, or None."""
        return next((one for one in self.enrolment if wave_id in one.waves), None)

    def sender(self, sender_id: str) -> Wave | Enrolment | None:
        """The wave or the enrolment of this id, whose messages the outbox holds; or None."""
        return next((e for e in self.enrolment if e.id == sender_id), None) or self.wave(sender_id)

    def arms_of(self, wave: Wave) -> tuple[Arm, ...]:
        """The arms of a wave, written out, an added control last."""
        return wave.all_arms({arm.id: arm for arm in self.arms})

    def days_of(self, outcome: Outcome, wave: Wave) -> tuple[int, int]:
        """First and last day of a wave that count for an outcome; day 1 is its first day."""
        return outcome.days(wave, self.schedules)

    def span(self, wave: Wave) -> tuple[int, int]:
        """First and last day of a wave on which anything counts."""
        days = [(1, wave.window_days), *(self.days_of(outcome, wave) for outcome in self.outcomes)]
        return min(first for first, _ in days), max(last for _, last in days)

    def decided_after(self, wave: Wave) -> int:
        """Last day of a wave's window and of the outcomes that decide: primary and of models."""
        ids = {self.primary.id, *(model.outcome for model in self.models.values())}
        ids |= {part for target in self.targets if target.id in ids for part in target.parts}
        deciding = [outcome for outcome in self.outcomes if outcome.id in ids]
        return max([wave.window_days, *(self.days_of(outcome, wave)[1] for outcome in deciding)])

    def periods(self, outcome: Outcome, wave: Wave) -> dict[str, tuple[int, int]]:
        """Whole weeks (or days) of an outcome's window, "week 5" from day 29 to 35; or none.

        They are counted from the first day of the wave, and only whole ones are taken.
        """
        if outcome.unit_of_time is None:
            return {}
        length = DAYS_OF[outcome.unit_of_time]
        first, last = self.days_of(outcome, wave)
        numbers = range(-(-(first - 1) // length) + 1, last // length + 1)
        return {f"{outcome.unit_of_time} {k}": (length * (k - 1) + 1, length * k) for k in numbers}

    def n_during(self, outcome: Outcome, wave: Wave) -> int | None:
        """Number of an outcome's periods with messages; None where it has none, or only such."""
        schedule, periods = self.schedules.get(wave.schedule or ""), self.periods(outcome, wave)
        if schedule is None or not periods:
            return None
        sent = (schedule.day_of_send(schedule.n_sends, wave.starts) - wave.starts).days + 1
        n = sum(first <= sent for first, _ in periods.values())
        return n if 0 < n < len(periods) else None

    def cost_per_unit(self, wave: Wave, arm: Arm) -> float | None:
        """What the messages of an arm cost per unit; None where a message has no cost."""
        costs = {message.id: message.cost for message in self.messages}
        each = [costs.get(name) for name in arm.sequence]
        known = [cost for cost in each if cost is not None]
        if arm.policy is not None or len(known) < len(each):
            return None
        schedule = self.schedules.get(wave.schedule or "")
        if not known or schedule is None:
            return 0.0 if not each else None
        rounds = schedule.n_sends / len(schedule.days) if len(each) > 1 else schedule.n_sends
        return rounds * sum(known)

    def trials(self, outcome: Outcome, wave: Wave) -> int | None:
        """Number of trials of an outcome in a wave; 1 for "any"; None where it has none."""
        if outcome.kind == "any":
            return 1
        if outcome.out_of == "sets":
            return self.schedules[wave.schedule].n_sends if wave.schedule else None
        return outcome.out_of


SECTIONS = {field.alias or name: field for name, field in StudySpec.model_fields.items()}
