"""Three reports to look at: two adaptive waves, sixteen pairs of messages, one plain wave.

The numbers are made up to be plausible and to agree with one another; they are no finding.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from wavewise.design.spec import Outcome
from wavewise.estimate import BetaBinomial
from wavewise.report import (
    ArmRow,
    DecisionContents,
    EffectRow,
    OutcomeEffects,
    OutcomePosterior,
    ReportContents,
    TruthContents,
    TruthRow,
    WaveContents,
)
from wavewise.shared.results import CheckResult, NotEstimable, Provenance

LOGIN = Outcome(id="login", label="weekly login rate", kind="any", primary=True)
VOTED = Outcome(id="voted", label="turnout", kind="any", primary=True)
MINUTES = Outcome(id="minutes", label="minutes of practice", kind="sum", unit="minutes")

MESSAGES = {
    "control": "no message",
    "teacher": "{teacher_name} recommends that {child_name} practise today.",
    "peers": "Thousands of children all over the country practise already. And {child_name}?",
    "parent": "Your support is what helps {child_name} most to learn mathematics.",
    "future": "The mathematics of today opens doors tomorrow for {child_name}.",
    "reminder": "Time to practise: three exercises wait for {child_name}.",
}


def effect(
    arm: str, estimate: float, std_error: float, n_units: int, *, n_arms: int = 1
) -> EffectRow:
    """A row with normal intervals, and Bonferroni-adjusted ones where there are several arms."""
    z = abs(estimate) / std_error
    p = math.erfc(z / math.sqrt(2))
    wide = {1: 1.96, 4: 2.498, 5: 2.576, 16: 2.955}[n_arms]
    return EffectRow(
        arm,
        estimate,
        std_error,
        estimate - 1.96 * std_error,
        estimate + 1.96 * std_error,
        p,
        n_units,
        p_adjusted=min(1.0, n_arms * p) if n_arms > 1 else None,
        adjusted_low=estimate - wide * std_error if n_arms > 1 else None,
        adjusted_high=estimate + wide * std_error if n_arms > 1 else None,
    )


@dataclass(frozen=True)
class MadeEffects:
    """Effects with numbers of one's own, in place of an estimator's."""

    made: Sequence[EffectRow]
    mean: float = 0.2
    n_control: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    method: str = "least squares"
    control: str = "control"
    level: float = 0.95

    def to_frame(self) -> pl.DataFrame:
        names = [name for name in vars(self.made[0]) if "adjusted" not in name] if self.made else []
        rows = [{name: getattr(row, name) for name in names} for row in self.made]
        return pl.DataFrame(rows, schema=None if rows else {"std_error": pl.Float64})

    def adjusted(self, _: str) -> Any:
        rows = [
            {"arm": row.arm, "p_value": row.p_adjusted, "conf_low": row.adjusted_low,
             "conf_high": row.adjusted_high}
            for row in self.made
        ]  # fmt: skip
        return SimpleNamespace(to_frame=lambda: pl.DataFrame(rows))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.arm for row in self.made)

    @property
    def estimate(self) -> np.ndarray:
        return np.array([row.estimate for row in self.made])

    @property
    def cov(self) -> np.ndarray:
        return np.diag([row.std_error**2 for row in self.made])

    @property
    def not_estimable(self) -> dict[str, NotEstimable]:
        return {arm: NotEstimable(reason) for arm, reason in self.reasons.items()}

    @property
    def control_mean(self) -> Any:
        return SimpleNamespace(estimate=self.mean, n_units=self.n_control)

    @property
    def provenance(self) -> Provenance:
        return Provenance(self.method, "")


def effects_on(
    outcome: Outcome,
    rows: Sequence[EffectRow],
    *,
    contrasts: Sequence[EffectRow] = (),
    best_minus_next: EffectRow | None = None,
    learned_on: tuple[str, ...] = (),
    registered: bool = True,
    **made: Any,
) -> OutcomeEffects:
    """Effects on an outcome with numbers of one's own."""
    adjusted = any(row.p_adjusted is not None for row in rows)
    effects: Any = MadeEffects(rows, **made)
    others: Any = MadeEffects(contrasts) if contrasts else None
    return OutcomeEffects(
        outcome,
        effects,
        estimator="ols",
        registered=registered,
        learned_on=learned_on,
        adjustment="holm" if adjusted else "none",
        contrasts=others,
        best_minus_next=best_minus_next,
    )


@dataclass(frozen=True)
class Belief:
    """Counts of an arm, and what its posterior is to say of it."""

    arm: str
    successes: int
    trials: int
    prob_optimal: float
    policy_regret: float


def posterior(
    rows: Sequence[Belief], learned_on: tuple[str, ...] = (), outcome: Outcome = LOGIN
) -> OutcomePosterior:
    """A beta-binomial posterior whose probabilities and regrets are given."""
    successes = np.array([row.successes for row in rows])
    trials = np.array([row.trials for row in rows])
    arms = tuple(row.arm for row in rows)
    with np.errstate(divide="ignore"):
        log_prob = np.log([row.prob_optimal for row in rows])
    found = BetaBinomial(
        arms,
        successes,
        trials,
        np.ones((len(rows), 2)),
        log_prob,
        np.array([row.policy_regret for row in rows]),
        Provenance("beta-binomial", ""),
    )
    totals = pl.DataFrame({"arm": arms, "successes": successes, "trials": trials})
    model = "Beta-binomial for each arm, prior Beta(1, 1)"
    return OutcomePosterior(outcome, found, totals, learned_on, model)


def checks(passed: bool | None, n_units: int, n_arms: int) -> tuple[CheckResult, ...]:
    ratio = CheckResult(
        "Sample ratio",
        f"all {n_arms} arms, {n_units:,} units",
        passed,
        {
            True: "Counts agree with the shares: chi-square 0.0 on 5 df, p = 1.00.",
            False: "Counts do not agree with the shares: p = 0.0003.",
            None: "Too few units are expected in an arm for the test.",
        }[passed],
        ({"arm": "control", "expected": 2000.0, "found": 2000, "ratio": 1.0},),
    )
    balance = CheckResult(
        "Covariate balance",
        f"all {n_arms} arms, {n_units:,} units, 4 covariates",
        True,
        "No sign of imbalance: joint test over all covariates and arms, p = 0.61.",
        (
            {"covariate": "grade", "largest difference": 0.021, "p value": 0.44},
            {"covariate": "urban", "largest difference": 0.018, "p value": 0.71},
        ),
    )
    return ratio, balance


def _arms(shares: dict[str, float], n: int, missing: int = 0) -> tuple[ArmRow, ...]:
    return tuple(
        ArmRow(arm, MESSAGES[arm], share, round(n * share), round(n * share) - missing)
        for arm, share in shares.items()
    )


def demo() -> ReportContents:
    """Two adaptive waves with five arms and control, simulated."""
    first = dict.fromkeys(MESSAGES, 0.16) | {"control": 0.2}
    second = {
        "control": 0.2,
        "teacher": 0.352,
        "peers": 0.064,
        "parent": 0.304,
        "future": 0.056,
        "reminder": 0.024,
    }
    after_1 = [
        Belief("teacher", 386, 1600, 0.58, 0.0041),
        Belief("peers", 343, 1600, 0.06, 0.031),
        Belief("parent", 380, 1600, 0.35, 0.0078),
        Belief("future", 335, 1600, 0.009, 0.036),
        Belief("reminder", 311, 1600, 0.00008, 0.051),
    ]
    after_2 = [
        Belief("teacher", 1244, 5120, 0.93, 0.0002),
        Belief("peers", 482, 2240, 0.002, 0.029),
        Belief("parent", 1043, 4640, 0.067, 0.018),
        Belief("future", 446, 2160, 0.0006, 0.037),
        Belief("reminder", 356, 1840, 0.00000003, 0.049),
    ]
    rows = (
        effect("teacher", 0.0581, 0.0080, 5120, n_arms=5),
        effect("parent", 0.0402, 0.0081, 4640, n_arms=5),
        effect("peers", 0.0294, 0.0100, 2240, n_arms=5),
        effect("future", 0.0209, 0.0101, 2160, n_arms=5),
        effect("reminder", 0.0071, 0.0107, 1840, n_arms=5),
    )
    effects = effects_on(
        LOGIN,
        rows,
        mean=0.185,
        n_control=4000,
        best_minus_next=effect("teacher minus parent", 0.0179, 0.0086, 9760),
        method="least squares with wave and stratum effects, HC2 standard errors",
        learned_on=("wave-1", "wave-2"),
    )
    minutes = effects_on(
        MINUTES,
        tuple(
            effect(arm, value, 0.52, 3000, n_arms=5)
            for arm, value in {"teacher": 2.9, "parent": 2.2, "peers": 0.9, "future": -0.4}.items()
        ),
        mean=21.4,
        reasons={"reminder": "no unit of this arm has an outcome"},
        method="least squares with wave and stratum effects, HC2 standard errors",
        learned_on=("wave-1", "wave-2"),
    )
    truth = {"control": 0.18, "teacher": 0.24, "parent": 0.225}
    truth |= {"peers": 0.21, "future": 0.2, "reminder": 0.19}
    return ReportContents(
        title="Which message brings families back to the platform?",
        study_id="demo",
        abstract=(
            "Families on a mathematics platform get one of five short messages or none, in two "
            "waves. The first wave splits them evenly; the second gives more families to the "
            "messages that may yet be best."
        ),
        generated_on="2024-03-01",
        registration="version 1, registered 2024-01-08",
        unit_name="families",
        waves=(
            WaveContents(
                "wave-1",
                "First wave",
                "closed",
                _arms(first, 10_000, 3),
                starts="2024-01-15",
                window_days=7,
                allocation="equal, control 20 %",
                checks=checks(True, 10_000, 6),
                posterior=posterior(after_1, ("wave-1",)),
                next_shares=second,
            ),
            WaveContents(
                "wave-2",
                "Second wave",
                "closed",
                _arms(second, 10_000),
                starts="2024-02-05",
                window_days=7,
                allocation="exploration sampling on wave-1, control 20 %",
                checks=checks(True, 10_000, 6),
                posterior=posterior(after_2, ("wave-1", "wave-2")),
            ),
        ),
        effects=(effects, minutes),
        decision=DecisionContents("lowest expected regret", "teacher", runner_up="parent"),
        truth=TruthContents(
            LOGIN, tuple(TruthRow(arm, mean, mean - 0.18) for arm, mean in truth.items())
        ),
        provenance=(
            ("Wavewise", "0.1.0"),
            ("Seed", "20240115"),
            ("Design, SHA-256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            ("Data, SHA-256", "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"),
        ),
        simulated=True,
    )


def pairs() -> ReportContents:
    """Sixteen ordered pairs of messages and control; the best two cannot be told apart."""
    names = ["teacher", "peers", "parent", "future"]
    labels = [f"{first}+{second}" for first in names for second in names]
    values = [0.0118 - 0.0011 * ((7 * i) % 16) for i in range(16)]
    rows = tuple(
        effect(label, value, 0.0031, 25_000, n_arms=16)
        for label, value in zip(labels, values, strict=True)
    )
    arms = (
        ArmRow("control", "no message", 0.2, 100_000, 100_000),
        *(
            ArmRow(
                label, " Then: ".join(MESSAGES[m] for m in label.split("+")), 0.05, 25_000, 25_000
            )
            for label in labels
        ),
    )
    effects = effects_on(
        LOGIN,
        rows,
        mean=0.36,
        n_control=100_000,
        contrasts=tuple(
            effect(f"first message {name}, any second", 0.004 + 0.001 * i, 0.0017, 100_000)
            for i, name in enumerate(names)
        ),
        method="least squares with stratum effects, HC2 standard errors",
        learned_on=("school-year",),
    )
    return ReportContents(
        title="How much do we gain from personalization?",
        study_id="peru-school-year",
        abstract="Sixteen ordered pairs of four messages, and a control group without messages.",
        generated_on="2023-12-20",
        registration="version 2, registered 2023-10-02; 1 addendum",
        amendments=("2023-11-02, after data of school-year were seen: window from 14 to 21 days.",),
        unit_name="parents",
        waves=(
            WaveContents(
                "school-year",
                "School year",
                "closed",
                arms,
                starts="2023-10-09",
                window_days=21,
                allocation="control 20 %, the others equal",
                checks=checks(False, 500_000, 17),
                effects=(effects,),
            ),
        ),
        provenance=(("Wavewise", "0.1.0"), ("Seed", "12190")),
    )


def get_out_the_vote() -> ReportContents:
    """One wave, four letters, households randomized; not registered."""
    arms = {"control": 191_243, "Civic Duty": 38_218, "Hawthorne": 38_204}
    arms |= {"Self": 38_218, "Neighbors": 38_201}
    total = sum(arms.values())
    rows = (
        effect("Civic Duty", 0.018042, 0.003011, 38_218, n_arms=4),
        effect("Hawthorne", 0.026157, 0.003020, 38_204, n_arms=4),
        effect("Self", 0.048885, 0.003063, 38_218, n_arms=4),
        effect("Neighbors", 0.081838, 0.003134, 38_201, n_arms=4),
    )
    effects = effects_on(
        VOTED,
        rows,
        mean=0.296638,
        n_control=191_243,
        method="least squares with block effects, standard errors clustered on household (CR1)",
    )
    return ReportContents(
        title="Does social pressure bring people to vote?",
        study_id="get-out-the-vote",
        generated_on="2024-03-01",
        unit_name="voters",
        waves=(
            WaveContents(
                "2006",
                "Primary election of 2006",
                "closed",
                tuple(
                    ArmRow(
                        arm, "no letter" if arm == "control" else f"letter: {arm}", n / total, n, n
                    )
                    for arm, n in arms.items()
                ),
                checks=checks(None, total, 5),
                effects=(effects,),
            ),
        ),
        provenance=(("Wavewise", "0.1.0"),),
        exploratory=True,
    )
