"""What a report shows: results of the study with who was in each wave and what was decided.

Shares, probabilities and binary outcomes lie in [0, 1]; ``numbers`` turns them into percent and
percentage points. A quantity that the data cannot give is a reason, never a number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from wavewise.design.spec import Outcome
from wavewise.errors import InputError
from wavewise.report.blocks import Column, Table
from wavewise.report.effects import require_finite, require_share
from wavewise.report.models import adaptive_table, model_facts, score_table
from wavewise.report.numbers import (
    UNKNOWN,
    count,
    fixed,
    outcome_facts,
    percent,
    scale_of,
    signed,
)
from wavewise.shared.results import CheckResult, NotEstimable

if TYPE_CHECKING:
    from wavewise.report.deliveries import WaveDeliveries
    from wavewise.report.effects import OutcomeEffects
    from wavewise.report.evaluation import Evaluation
    from wavewise.report.models import AdaptiveWaves, ScoreFit
    from wavewise.report.posteriors import OutcomePosterior

__all__ = [
    "ArmRow",
    "DecisionContents",
    "FlowStep",
    "FormerOutcomes",
    "ReportContents",
    "TruthContents",
    "TruthRow",
    "WaveContents",
    "check_table",
    "data_table",
    "design_table",
    "flow_table",
    "former_table",
    "learned_table",
    "participants_table",
    "plain",
    "study_effects",
    "study_posterior",
    "truth_table",
]

CONTENTS_VERSION = 1
MOST_WAVE_COLUMNS = 4
MOST_GIVEN = 3
ARM = Column("Arm", numeric=False)
WaveState = Literal["planned", "open", "closed", "reopened"]


@dataclass(frozen=True)
class ArmRow:
    """One arm of one wave: what it is, and how many units went through it.

    Parameters
    ----------
    arm : str
        Name of the arm.
    content : str
        What its units get, in words: ``no message``, or the message's text.
    share : float or None
        Intended fraction of the wave, in [0, 1]; None while a rule has not decided it.
    n_assigned : int or None
        Units drawn; None before the wave is opened.
    n_with_outcome : int or None
        Units whose primary outcome is known; None before the wave is closed.
    """

    arm: str
    content: str
    share: float | None
    n_assigned: int | None = None
    n_with_outcome: int | None = None

    def __post_init__(self) -> None:
        if self.share is not None:
            require_share("share", self.arm, self.share)

    @property
    def n_missing(self) -> int | None:
        """Units that were assigned and have no outcome; None while that is not known."""
        if self.n_assigned is None or self.n_with_outcome is None:
            return None
        return self.n_assigned - self.n_with_outcome


@dataclass(frozen=True)
class FlowStep:
    """A step of the flow of participants: how many were there, and who left after it."""

    name: str
    n: int
    left: tuple[tuple[str, int], ...] = ()  # Reason, and how many.


@dataclass(frozen=True, eq=False)
class WaveContents:
    """One wave: who was in it, whether it went right, what it showed.

    ``effects`` and ``posterior`` are the state of knowledge when the wave was closed;
    ``next_shares`` is what was decided from it, empty when nothing was; ``truth`` is known where
    the wave was simulated.
    """

    id: str
    title: str
    state: WaveState
    arms: tuple[ArmRow, ...]
    starts: str = ""
    window_days: int | None = None
    allocation: str = ""
    checks: tuple[CheckResult, ...] = ()
    effects: "tuple[OutcomeEffects, ...]" = ()
    posterior: "OutcomePosterior | NotEstimable | None" = None
    next_shares: Mapping[str, float] = field(default_factory=dict)
    # The decision about them as it was kept, where it has shares by stratum or priors of arms.
    decided: Mapping[str, Any] = field(default_factory=dict)
    exploratory: bool = False
    truth: "TruthContents | None" = None
    sent: str = ""  # What was sent and received, a sentence.
    nothing_sent: bool = False  # Whether messages were planned and none went out.
    # Checks of the data that failed and were accepted when it was closed, and why; sentences.
    accepted: tuple[str, ...] = ()
    former: "tuple[FormerOutcomes, ...]" = ()  # Versions of the outcomes before this one.
    of_policies: bool = False  # Whether its arms are policies that earlier waves taught.
    # Policy: what it gives, and to how many of its units; of closed waves of policies.
    gives: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    early: str = ""  # That it was closed before the registered wait was over, a sentence.
    # From everybody on file to those who were randomized; empty where all on file were.
    participants: tuple[FlowStep, ...] = ()
    reached: Mapping[str, int] = field(default_factory=dict)  # By arm: received a message.

    def __post_init__(self) -> None:
        _require_distinct(f"wave {self.id!r}", [row.arm for row in self.arms])
        for arm, share in self.next_shares.items():
            require_share("share", arm, share)

    def to_dict(self) -> dict[str, Any]:
        """The wave as plain values, for JSON."""
        shares = [{"arm": arm, "share": share} for arm, share in self.next_shares.items()]
        gives = [{"arm": arm, "counts": dict(counts)} for arm, counts in self.gives.items()]
        return dict(vars(self)) | {"next_shares": shares, "gives": gives}

    @property
    def shares(self) -> dict[str, float]:
        """Share of each arm for which it is decided."""
        return {row.arm: row.share for row in self.arms if row.share is not None}


@dataclass(frozen=True)
class FormerOutcomes:
    """The outcomes of a wave before it was reopened."""

    version: int
    closed_on: str  # Date.
    reason: str  # Why they were made anew.
    made_from: tuple[str, ...]  # Results that used them, in words.
    means: Mapping[str, float | None]  # By arm: mean of the primary outcome.
    means_now: Mapping[str, float | None]  # The same in the version that is used now.


@dataclass(frozen=True)
class DecisionContents:
    """What was decided, by which rule (in words, e.g. ``lowest expected regret``).

    Parameters
    ----------
    arm : str or None
        The chosen arm; None when the decision is to go on learning.
    prob_optimal, policy_regret : float or None
        Of the chosen arm, when it was chosen; None takes them from the last posterior.
    runner_up : str or None
        The next best arm.
    next_step : str
        What to do next, a sentence; empty lets the report make one.
    made_from_former : str
        That it was made from outcomes that have been made anew since, a sentence.
    """

    rule: str
    arm: str | None = None
    prob_optimal: float | None = None
    policy_regret: float | None = None
    runner_up: str | None = None
    next_step: str = ""
    made_from_former: str = ""  # That it used outcomes that were made anew since, a sentence.
    # What is known of single arms beforehand, and the choice with less of it: as decided.
    prior: str = ""
    prior_rows: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        require_finite(self, "decision")


@dataclass(frozen=True)
class TruthRow:
    """A simulated arm's true mean and effect; its estimate is looked up by arm."""

    arm: str
    mean: float
    effect: float | None = None


@dataclass(frozen=True)
class TruthContents:
    """The known truth of a simulated study, to set beside the estimates."""

    outcome: Outcome
    rows: tuple[TruthRow, ...]

    @property
    def effects(self) -> dict[str, float]:
        """True effects by arm."""
        return {row.arm: row.effect for row in self.rows if row.effect is not None}


@dataclass(frozen=True, eq=False)
class ReportContents:
    """Everything that a report shows.

    Parameters
    ----------
    title, study_id, abstract : str
        From the spec.
    generated_on : str
        Date of the report as it should be printed.
    registration : str
        E.g. ``version 2, registered 2023-10-02; 1 addendum``; empty: not registered.
    unit_name : str
        The units in the plural, e.g. ``parents``.
    waves : tuple of WaveContents
        In their order in time.
    effects : tuple of OutcomeEffects
        Of all waves together; empty takes those of the last wave that has some.
    adaptive : AdaptiveWaves or None
        The last wave whose shares were learned, with those it learned on.
    score_models : tuple of ScoreFit
        Models of scores by period, after the last closed wave.
    late_scores : str
        What came after the last wave was closed, a sentence; empty: nothing.
    evaluations : tuple of Evaluation
        Tests of policies on fresh outcomes.
    deliveries : tuple of WaveDeliveries
        What became of messages, of each wave that sent any.
    data : tuple of mapping
        What people and events are like: check, verdict, count, text, advice of each check.
    decision : DecisionContents or None
        What was decided.
    truth : TruthContents or None
        Simulated studies only.
    provenance : tuple of (str, str)
        Label and value: hashes, seed, versions.
    amendments : tuple of str
        Changes since registration, a sentence each.
    n_units : int or None
        Units that were assigned in any wave, each counted once; None takes the largest wave.
    labels : mapping of str to str
        Message: its label.
    exploratory, simulated, rehearsal : bool
        A banner each.
    """

    title: str
    study_id: str
    generated_on: str
    unit_name: str
    waves: tuple[WaveContents, ...]
    abstract: str = ""
    registration: str = ""
    effects: "tuple[OutcomeEffects, ...]" = ()
    adaptive: "AdaptiveWaves | None" = None
    score_models: "tuple[ScoreFit, ...]" = ()
    late_scores: str = ""
    evaluations: "tuple[Evaluation, ...]" = ()
    deliveries: "tuple[WaveDeliveries, ...]" = ()
    data: tuple[Mapping[str, Any], ...] = ()
    decision: DecisionContents | None = None
    truth: TruthContents | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    amendments: tuple[str, ...] = ()
    n_units: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    exploratory: bool = False
    simulated: bool = False
    rehearsal: bool = False

    def __post_init__(self) -> None:
        _require_distinct("report", [wave.id for wave in self.waves])

    @property
    def nothing_sent(self) -> bool:
        """Whether no message went out of any wave that shows effects or a posterior."""
        shown = [w for w in self.waves if w.effects or w.posterior is not None]
        return bool(shown) and all(w.nothing_sent for w in shown) and not self.simulated

    def to_dict(self) -> dict[str, Any]:
        """The contents as plain values, for JSON."""
        shown = {name: value for name, value in vars(self).items() if name != "late_scores"}
        adaptive = self.adaptive
        shown["adaptive"] = [model_facts(adaptive, adaptive_table(adaptive))] if adaptive else []
        shown["score_models"] = [
            model_facts(fit, score_table(fit, self.late_scores)) for fit in self.score_models
        ]
        return {"version": CONTENTS_VERSION, "posterior": None, **plain(shown)}


def data_table(contents: ReportContents) -> Table:
    """Verdicts on people and events, as they were when the report was written."""
    columns = (*(Column(name, numeric=False) for name in ("Check", "Verdict")), Column("Count"))
    rows = tuple(
        (
            one["check"],
            one["verdict"],
            count(one["count"]),
            " ".join(filter(None, (one["text"], one["advice"]))),
        )
        for one in contents.data
    )
    note = f"As of {contents.generated_on}, of what `wavewise data-check` judges."
    columns = (*columns, Column("What was found", numeric=False))
    return Table("People and events", columns, rows, note=note, stack=True)


def former_table(wave: WaveContents, former: FormerOutcomes) -> Table:
    """Means of the primary outcome by arm in a former version of the outcomes, and now."""
    rows = [
        (arm, *(UNKNOWN if means.get(arm) is None else f"{means[arm]:.4g}" for means in
                (former.means, former.means_now)))
        for arm in (row.arm for row in wave.arms)
    ]  # fmt: skip
    caption = f"Mean of the primary outcome, version {former.version} and now"
    columns = (ARM, Column(f"Version {former.version}"), Column("Now"))
    return Table(caption, columns, tuple(rows))


def study_effects(contents: ReportContents) -> "tuple[OutcomeEffects, ...]":
    """Effects of all waves of messages together, or of the last one; waves of policies apart."""
    if contents.effects:
        return contents.effects
    shown = [wave for wave in contents.waves if wave.effects]
    of_messages = [wave for wave in shown if not wave.of_policies]
    return (of_messages or shown)[-1].effects if shown else ()


def learned_table(contents: ReportContents, tested: "Evaluation | None") -> Table | None:
    """What each policy was taught to do: its rule, and what it gives to how many of its units."""
    waves = [wave for wave in contents.waves if wave.gives]
    if not waves:
        return None
    wave = waves[-1]
    rules = {} if tested is None else {
        name: row.rule for row in tested.policies for name in (row.policy, *row.alike)
    }  # fmt: skip
    rows = tuple((arm, rules.get(arm, ""), *_given(counts)) for arm, counts in wave.gives.items())
    columns = (
        Column("Policy", numeric=False),
        Column("What it does", numeric=False, prose=True),
        Column("Arms in use"),
        Column("What it gives most", numeric=False, prose=True),
    )
    note = f"Frozen before {wave.title} began. Shares are of the units randomized to the policy."
    return Table("Policies", columns, rows, note=note, stack=True)


def _given(counts: Mapping[str, int]) -> tuple[str, str]:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) == 1:
        return "1", f"{ranked[0][0]} to everybody"
    most = ", ".join(f"{arm} {percent(n / total, 0)}" for arm, n in ranked[:MOST_GIVEN])
    return str(len(ranked)), most


def study_posterior(contents: ReportContents) -> "tuple[OutcomePosterior | None, str]":
    """Posterior after the last wave that has one; or why there is none."""
    waves = reversed(contents.waves)
    last = next((wave.posterior for wave in waves if wave.posterior is not None), None)
    if isinstance(last, NotEstimable):
        return None, last.reason
    return last, ""


def plain(value: Any) -> Any:
    """Results, dataclasses, tuples and numpy scalars as JSON's own values."""
    known = _facts(value)
    if known is not None:
        return plain(known)
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _facts(value: Any) -> dict[str, Any] | None:
    """What a result of the study says of itself; None for other values."""
    if isinstance(value, CheckResult):
        return value.facts()
    if isinstance(value, Outcome):
        return outcome_facts(value)
    if isinstance(value, NotEstimable):
        return {"reason": value.reason}
    found: dict[str, Any] | None = value.to_dict() if hasattr(value, "to_dict") else None
    return found


def _require_distinct(what: str, names: list[str]) -> None:
    """Refuse names that stand more than once."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"report: {what}: found {repeated} more than once; needed each name once")


# Tables.


def design_table(contents: ReportContents) -> Table:
    """The arms: what their units get, and their share of each wave."""
    content: dict[str, str] = {}
    for row in (row for wave in contents.waves for row in wave.arms):
        content.setdefault(row.arm, row.content)
    waves = contents.waves if len(contents.waves) <= MOST_WAVE_COLUMNS else ()
    shares = [wave.shares for wave in waves]
    columns = (
        ARM,
        Column("What its units get", numeric=False, prose=True),
        *(Column(f"Share of {wave.id}") for wave in waves),
    )
    rows = tuple(
        (arm, text, *(percent(share[arm]) if arm in share else UNKNOWN for share in shares))
        for arm, text in content.items()
    )
    return Table("The arms", columns, rows, stack=True)


def participants_table(steps: Sequence[FlowStep], unit_name: str, title: str) -> Table:
    """The flow of participants of a wave: each step, and below it who left."""
    rows: list[tuple[str, ...]] = []
    for step in steps:
        rows.append((step.name, count(step.n), ""))
        rows += [(reason, "", count(n)) for reason, n in step.left]
    columns = (Column("Step", numeric=False), Column("Number"), Column("Left"))
    return Table(f"Flow of {unit_name}: {title}", columns, tuple(rows))


def flow_table(wave: WaveContents, unit_name: str) -> Table:
    """Units of a wave by arm: planned, assigned, with outcome, missing."""
    assigned = _total(row.n_assigned for row in wave.arms)
    with_outcome = _total(row.n_with_outcome for row in wave.arms)
    missing = _total(row.n_missing for row in wave.arms)
    columns = (
        ARM,
        Column("Planned share"),
        Column("Assigned"),
        Column("Realized share"),
        Column("With outcome"),
        Column("Missing"),
    )
    rows = tuple(
        (
            row.arm,
            UNKNOWN if row.share is None else percent(row.share),
            count(row.n_assigned),
            _part(row.n_assigned, assigned),
            count(row.n_with_outcome),
            _missing(row.n_missing, row.n_assigned),
        )
        for row in wave.arms
    )
    shares = wave.shares.values()
    planned = percent(min(sum(shares), 1.0), 0) if shares else UNKNOWN
    total = (
        "All arms",
        planned,
        count(assigned),
        _part(assigned, assigned),
        count(with_outcome),
        _missing(missing, assigned),
    )
    caption = f"{unit_name[:1].upper()}{unit_name[1:]} by arm"
    return Table(caption, columns, rows, total=total)


def _total(values: Iterable[int | None]) -> int | None:
    numbers = list(values)
    return None if None in numbers else sum(value or 0 for value in numbers)


def _part(n: int | None, total: int | None) -> str:
    return UNKNOWN if n is None or not total else percent(n / total)


def _missing(n: int | None, total: int | None) -> str:
    return count(n) if not n or not total else f"{count(n)} ({percent(n / total)})"


def truth_table(
    truth: TruthContents,
    effects: "OutcomeEffects | None",
    posterior: "OutcomePosterior | None",
) -> Table:
    """The known truth of a simulation beside the estimates and their intervals."""
    estimates = {row.arm: row for row in effects.rows} if effects else {}
    posteriors = {row.arm: row for row in posterior.rows} if posterior else {}
    scale = scale_of(truth.outcome)
    columns = [ARM, Column("True mean")]
    if posteriors:
        columns += [Column("Posterior"), Column("Cred. interval"), Column("Covers it?")]
    if estimates:
        columns += [Column("True effect"), Column("Estimate")]
        columns += [Column("Conf. interval"), Column("Covers it?")]

    def beside(
        true: float | None, value: tuple[float, float, float] | None, *, signs: bool
    ) -> list[str]:
        if value is None:
            return [UNKNOWN, UNKNOWN, UNKNOWN]
        estimate, low, high = ((signed if signs else fixed)(scale.factor * x, 2) for x in value)
        covers = UNKNOWN if true is None else "yes" if value[1] <= true <= value[2] else "no"
        return [estimate, f"{low} to {high}", covers]

    rows = []
    for row in sorted(truth.rows, key=lambda row: (-row.mean, row.arm)):
        cells = [row.arm, scale.level(row.mean, 2)]
        if posteriors:
            after = posteriors.get(row.arm)
            cells += beside(
                row.mean, (after.mean, after.low, after.high) if after else None, signs=False
            )
        if estimates:
            one = estimates.get(row.arm)
            cells.append(UNKNOWN if row.effect is None else signed(scale.factor * row.effect, 2))
            cells += beside(
                row.effect, (one.estimate, one.conf_low, one.conf_high) if one else None, signs=True
            )
        rows.append(tuple(cells))
    return Table("Truth and estimates", tuple(columns), tuple(rows))


def check_table(check: CheckResult) -> Table | None:
    """The numbers behind a check; None if it brings none."""
    if not check.table:
        return None
    keys = list(dict.fromkeys(key for row in check.table for key in row))
    numeric = {key: all(_is_number(plain(row.get(key))) for row in check.table) for key in keys}
    columns = tuple(Column(key.replace("_", " "), numeric=numeric[key]) for key in keys)
    rows = tuple(tuple(_cell(plain(row.get(key))) for key in keys) for row in check.table)
    return Table(check.name, columns, rows)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    if value and abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "\u2212")
    return fixed(value, 4 if abs(value) < 1 else 2)
