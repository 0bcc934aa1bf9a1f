"""What a report shows: plain frozen values, filled by the workflow and drawn by ``render``.

Shares, probabilities and binary outcomes lie in [0, 1]; ``numbers`` turns them into per cent and
percentage points. A quantity that the data cannot give is a reason, never a number.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wavewise.errors import InputError
from wavewise.report.values import plain, require_distinct, require_finite, require_share
from wavewise.results import CheckResult, NotEstimable

if TYPE_CHECKING:
    from wavewise.report.adaptive import AdaptiveContents
    from wavewise.report.delivery import DeliveryContents
    from wavewise.report.evaluation_contents import EvaluationContents
    from wavewise.report.score_model import ScoreModelContents

__all__ = [
    "ArmRow",
    "DecisionContents",
    "Density",
    "EffectRow",
    "EffectsContents",
    "Outcome",
    "PosteriorContents",
    "PosteriorRow",
    "ReasonRow",
    "ReportContents",
    "ShareRow",
    "TruthContents",
    "TruthRow",
    "WaveContents",
]

CONTENTS_VERSION = 1

OutcomeKind = Literal["binary", "count", "continuous"]
WaveState = Literal["planned", "open", "closed"]


@dataclass(frozen=True)
class Outcome:
    """An outcome as the reader should see it.

    Parameters
    ----------
    id : str
        Its id in the spec.
    label : str
        In words that follow "the ... of": ``weekly login rate``, ``minutes of practice``.
    kind : {"binary", "count", "continuous"}
        Binary outcomes are printed in per cent, their effects in percentage points.
    unit : str
        Unit of a count or continuous outcome, e.g. ``minutes``; ignored for binary ones.
    primary : bool
        Whether the registered analysis names it as primary.
    higher_is_better : bool
        False where the programme wants less of it, such as drop-outs.
    description : str
        How it is measured, one sentence.
    """

    id: str
    label: str
    kind: OutcomeKind = "binary"
    unit: str = ""
    primary: bool = True
    higher_is_better: bool = True
    description: str = ""


@dataclass(frozen=True)
class ShareRow:
    """An arm's share of a wave, in [0, 1]."""

    arm: str
    share: float

    def __post_init__(self) -> None:
        require_share("share", self.arm, self.share)


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
class EffectRow:
    """An arm's effect against control, or a contrast, on the outcome's own scale.

    ``p_adjusted``, ``adjusted_low`` and ``adjusted_high`` are adjusted for the number of arms
    (method: ``EffectsContents.adjustment``); None where they were not computed.
    """

    arm: str
    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float
    n_units: int
    p_adjusted: float | None = None
    adjusted_low: float | None = None
    adjusted_high: float | None = None

    def __post_init__(self) -> None:
        require_finite(self, f"effect of {self.arm!r}")


@dataclass(frozen=True)
class ReasonRow:
    """An arm or contrast that is not estimable, with the reason."""

    arm: str
    reason: str


@dataclass(frozen=True)
class EffectsContents:
    """Effects of the arms against control on one outcome.

    Parameters
    ----------
    outcome : Outcome
        What was measured.
    control : str
        Name of the control arm.
    control_mean : float or None
        Mean outcome in control; None where it is not estimable.
    control_n_units : int or None
        Units in control with an outcome.
    rows : tuple of EffectRow
        Every arm that is estimable.
    not_estimable : tuple of ReasonRow
        The others.
    contrasts : tuple of EffectRow
        Further contrasts, such as pooled arms; ``arm`` then holds the contrast's label.
    best_minus_next : EffectRow or None
        The best arm's effect minus the next one's. Needed to say whether the two differ when
        their intervals overlap.
    joint_p_value : float or None
        Of the test that no arm has an effect.
    estimator : str
        One sentence, e.g. ``OLS with stratum effects, standard errors clustered on household``.
    level : float
        Confidence level of the intervals.
    adjustment : str
        How ``p_adjusted`` and the adjusted intervals were made, e.g. ``Holm``.
    learned_on : tuple of str
        Waves whose data went in.
    exploratory : bool
        Not in the registered plan.
    """

    outcome: Outcome
    control: str
    control_mean: float | None
    rows: tuple[EffectRow, ...]
    control_n_units: int | None = None
    not_estimable: tuple[ReasonRow, ...] = ()
    contrasts: tuple[EffectRow, ...] = ()
    best_minus_next: EffectRow | None = None
    joint_p_value: float | None = None
    estimator: str = ""
    level: float = 0.95
    adjustment: str = ""
    learned_on: tuple[str, ...] = ()
    exploratory: bool = False

    def __post_init__(self) -> None:
        require_finite(self, f"effects on {self.outcome.id!r}")
        names = [row.arm for row in self.rows] + [row.arm for row in self.not_estimable]
        require_distinct("effects", names)


@dataclass(frozen=True)
class Density:
    """Posterior density of one arm's mean on a grid of the outcome's scale."""

    arm: str
    grid: tuple[float, ...]
    density: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.grid) != len(self.density):
            raise InputError(
                f"density of arm {self.arm!r}: found {len(self.grid)} grid points and "
                f"{len(self.density)} densities; needed as many of each"
            )


@dataclass(frozen=True)
class PosteriorRow:
    """What is believed about one arm after the data.

    ``successes`` and ``trials`` may be None for models that are not of counts.
    """

    arm: str
    mean: float
    low: float
    high: float
    prob_optimal: float
    policy_regret: float
    successes: int | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        require_finite(self, f"posterior of {self.arm!r}")
        require_share("prob_optimal", self.arm, self.prob_optimal)


@dataclass(frozen=True)
class PosteriorContents:
    """Posterior of the arms' mean outcomes.

    Parameters
    ----------
    outcome : Outcome
        What was measured.
    rows : tuple of PosteriorRow
        One an arm that competes (control is usually not among them).
    interval_prob, interval_kind : float, str
        Probability in the credible interval, and ``HPD`` or ``equal-tailed``.
    model : str
        One sentence with the prior, e.g. ``beta-binomial, prior Beta(1, 1)``.
    densities : tuple of Density
        For the density figure; none gives intervals instead.
    learned_on : tuple of str
        Waves whose data went in.
    """

    outcome: Outcome
    rows: tuple[PosteriorRow, ...]
    interval_prob: float = 0.95
    interval_kind: str = "HPD"
    model: str = ""
    densities: tuple[Density, ...] = ()
    learned_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_distinct("posterior", [row.arm for row in self.rows])


@dataclass(frozen=True)
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
    effects: tuple[EffectsContents, ...] = ()
    posterior: PosteriorContents | NotEstimable | None = None
    next_shares: tuple[ShareRow, ...] = ()
    exploratory: bool = False
    truth: "TruthContents | None" = None

    def __post_init__(self) -> None:
        require_distinct(f"wave {self.id!r}", [row.arm for row in self.arms])

    @property
    def known_shares(self) -> dict[str, float]:
        """Share of each arm for which it is decided."""
        return {row.arm: row.share for row in self.arms if row.share is not None}


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
    """

    rule: str
    arm: str | None = None
    prob_optimal: float | None = None
    policy_regret: float | None = None
    runner_up: str | None = None
    next_step: str = ""

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


@dataclass(frozen=True)
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
    effects : tuple of EffectsContents
        Of all waves together; empty takes those of the last wave that has some.
    posterior : PosteriorContents, NotEstimable or None
        Of all waves together; None takes the last wave's.
    adaptive : tuple of AdaptiveContents
        The last wave whose shares were learned, with those it learned on.
    score_models : tuple of ScoreModelContents
        Models of scores by period, after the last closed wave.
    evaluations : tuple of EvaluationContents
        Tests of policies on fresh outcomes.
    deliveries : tuple of DeliveryContents
        What became of messages, of each wave that sent any.
    decision : DecisionContents or None
        What was decided.
    truth : TruthContents or None
        Simulated studies only.
    provenance : tuple of (str, str)
        Label and value: hashes, seed, versions.
    amendments : tuple of str
        Changes since registration, a sentence each.
    exploratory, simulated : bool
        A banner each.
    """

    title: str
    study_id: str
    generated_on: str
    unit_name: str
    waves: tuple[WaveContents, ...]
    abstract: str = ""
    registration: str = ""
    effects: tuple[EffectsContents, ...] = ()
    posterior: PosteriorContents | NotEstimable | None = None
    adaptive: "tuple[AdaptiveContents, ...]" = ()
    score_models: "tuple[ScoreModelContents, ...]" = ()
    evaluations: "tuple[EvaluationContents, ...]" = ()
    deliveries: "tuple[DeliveryContents, ...]" = ()
    decision: DecisionContents | None = None
    truth: TruthContents | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    amendments: tuple[str, ...] = ()
    exploratory: bool = False
    simulated: bool = False

    def __post_init__(self) -> None:
        require_distinct("report", [wave.id for wave in self.waves])

    def to_dict(self) -> dict[str, Any]:
        """The contents as plain values, for JSON."""
        return {"version": CONTENTS_VERSION, **plain(self)}
