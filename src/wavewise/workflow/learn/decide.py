"""``decide``: the next wave's shares or policies, or the arm to choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.decide import best_arm, stop_or_go
from wavewise.design.spec import Decision, StudySpec
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import StateError
from wavewise.report.documents.spec_sections import prior_text
from wavewise.report.effects import facts_of
from wavewise.report.models import ScoreFit
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import text_table
from wavewise.workflow.frames import (
    ClosedWaves,
    closed_waves,
    n_units_of_wave,
    read_closed,
    require_closed,
)
from wavewise.workflow.learn.policies import (
    FrozenPolicies,
    freeze_policies,
    learned_policies,
    read_learners,
    wave_of_policies,
)
from wavewise.workflow.learn.posteriors import (
    PriorRow,
    StratumShares,
    learned_shares,
    posterior_of,
    prior_rows,
    score_fits,
    shares_within,
)
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.status import sent_messages
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import NextShares, StopOrGo
    from wavewise.design.spec import AnotherWave
    from wavewise.estimate import (
        BetaBinomial,
        HierarchicalBinomial,
        HierarchicalNormal,
        NormalMeans,
    )

    ArmPosterior = BetaBinomial | NormalMeans | HierarchicalBinomial | HierarchicalNormal

__all__ = ["ArmDecision", "SharesDecision", "decide", "wave_that_learns"]

MOST_PROBABLE = "highest probability of being best"


@dataclass(frozen=True, eq=False)
class SharesDecision(VerbResult):
    """Shares of the arms in the next wave."""

    wave: str
    shares: Mapping[str, float]
    rule: Mapping[str, Any]  # The rule with all its numbers.
    text: str  # The rule in words.
    prob_optimal: Mapping[str, float]
    direction: str = ""  # That the lowest outcome is best, where it is.
    value_of_information: "StopOrGo | None" = None  # Where the study file says what a wave costs.
    # Shares by stratum, where they are learned within strata; `shares` is then their average.
    strata: StratumShares | None = None
    # Share of each arm in strata that no wave was learned in.
    elsewhere: Mapping[str, float] = field(default_factory=dict)
    prior: str = ""  # What is known of single arms beforehand, and how much it counts.
    prior_rows: tuple[PriorRow, ...] = ()  # The decision with less of it.

    def summary(self) -> str:
        """Table of the shares, and how they were decided."""
        average = [[arm, share] for arm, share in self.shares.items()]
        head = "" if self.strata is None else ", on average over strata"
        lines = [f"Shares of wave {self.wave}{head}:", text_table(["arm", "share"], average)]
        lines += [] if self.strata is None else [_table_of_strata(self.strata)]
        lines += [self.text]
        lines += _prior_lines(self.prior, self.prior_rows)
        worth = "" if self.value_of_information is None else self.value_of_information.text
        return "\n".join([*lines, *filter(None, (self.direction, worth))])

    def facts(self) -> dict[str, Any]:
        """The decision as it is printed for machines, and kept."""
        facts: dict[str, Any] = {
            "for_wave": self.wave,
            "shares": dict(self.shares),
            "decision": dict(self.rule),
            "prob_optimal": dict(self.prob_optimal),
        }
        if self.strata is not None:
            facts |= {
                "within": list(self.strata.columns),
                "shares_by_stratum": self.strata.by_stratum,
                "shares_elsewhere": dict(self.elsewhere),
                "strata": _rows_of_strata(self.strata),
            }
        facts |= _prior_facts(self.prior, self.prior_rows)
        if self.value_of_information is not None:
            facts["another_wave"] = facts_of(self.value_of_information)
        return facts

    def _frame(self) -> pl.DataFrame:
        if self.strata is not None:
            return pl.DataFrame([
                {"stratum": name, "arm": arm, "share": share, "prob_optimal": best}
                for name, one in self.strata.shares.items()
                for arm, share, best in zip_longest(one.arms, one.shares, one.prob_optimal)
            ])  # fmt: skip
        arms = list(self.shares)
        best = [self.prob_optimal.get(arm) for arm in arms]
        return pl.DataFrame({"arm": arms, "share": self.shares.values(), "prob_optimal": best})


def _prior_lines(prior: str, rows: Sequence[PriorRow]) -> list[str]:
    """The prior in words, and a table of the decision with less of it."""
    if not rows:
        return []
    arms = list(next((row.shares for row in rows if row.shares), {}))
    head = ["prior at", "best", "prob. best", "regret", *(f"share of {arm}" for arm in arms)]
    cells = [
        [f"{row.weight:.0%}", row.reason]
        if row.arm is None
        else [f"{row.weight:.0%}", row.arm, row.prob_optimal, row.policy_regret,
              *(row.shares[arm] for arm in arms)]
        for row in rows
    ]  # fmt: skip
    padded = [[*row, *[""] * (len(head) - len(row))] for row in cells]
    return [prior, text_table(head, padded)]


def _prior_facts(prior: str, rows: Sequence[PriorRow]) -> dict[str, Any]:
    if not rows:
        return {}
    return {"prior": prior, "prior_sensitivity": [dict(vars(row)) for row in rows]}


MOST_STRATA = 20  # in a table of shares by stratum


def _table_of_strata(strata: StratumShares) -> str:
    arms = next(iter(strata.shares.values())).arms
    rows = [[name, strata.n_units[name], *map(float, one.shares)]
            for name, one in list(strata.shares.items())[:MOST_STRATA]]  # fmt: skip
    more = len(strata.shares) - MOST_STRATA
    table = text_table([", ".join(strata.columns), "units before", *arms], rows)
    return f"{table}\n... and {more:,} more strata" if more > 0 else table


def _rows_of_strata(strata: StratumShares) -> list[dict[str, Any]]:
    """What each stratum's shares were learned from."""
    return [
        {
            "stratum": name,
            "n_units": strata.n_units[name],
            "prob_optimal": dict(
                zip(one.arms, map(float, one.prob_optimal), strict=False)  # the control has none
            ),
        }
        for name, one in strata.shares.items()
    ]


@dataclass(frozen=True, eq=False)
class ArmDecision(VerbResult):
    """The arm that is chosen in the end."""

    wave: str
    arm: str
    rule: str
    policy_regret: float
    prob_optimal: float
    runner_up: str | None
    learned_on: tuple[str, ...]
    text: str  # Why, in words.
    sent: tuple[str, ...] = ()  # Of waves none of whose messages went out, a sentence each.
    direction: str = ""  # That the lowest outcome is best, where it is.
    score_models: tuple[ScoreFit, ...] = ()
    # The expected loss in money over all who will get the arm, where the study file says what a
    # success is worth.
    regret_in_money: float | None = None
    currency: str = ""
    prior: str = ""  # What is known of single arms beforehand, and how much it counts.
    prior_rows: tuple[PriorRow, ...] = ()  # The choice with less of it.

    def summary(self) -> str:
        """The arm, why it was chosen, and the models of scores."""
        choice = [*self.sent, f"Chosen by {self.rule}: {self.arm}.", self.text, self.direction]
        if self.regret_in_money is not None:
            money = f"{self.regret_in_money:,.4g} {self.currency}".rstrip()
            choice.append(f"Over all who will get it, it is expected to lose {money}.")
        choice += _prior_lines(self.prior, self.prior_rows)
        return "\n\n".join(["\n".join(filter(None, choice)), *(f.text for f in self.score_models)])

    def facts(self) -> dict[str, Any]:
        """The decision as it is printed for machines, and kept."""
        facts: dict[str, Any] = {
            "arm": self.arm,
            "rule": self.rule,
            "policy_regret": self.policy_regret,
            "prob_optimal": self.prob_optimal,
            "runner_up": self.runner_up,
            "learned_on": list(self.learned_on),
            "text": " ".join(filter(None, (*self.sent, self.text, self.direction))),
        }
        if self.regret_in_money is not None:
            facts["regret_in_money"] = self.regret_in_money
        facts |= _prior_facts(self.prior, self.prior_rows)
        if self.score_models:
            facts["score_models"] = [fit.to_dict() for fit in self.score_models]
        return facts

    def _frame(self) -> pl.DataFrame:
        names = ("arm", "rule", "prob_optimal", "policy_regret", "runner_up")
        return pl.DataFrame({name: [getattr(self, name)] for name in names})


def decide(study: Study, wave_id: str) -> SharesDecision | FrozenPolicies | ArmDecision:
    """What follows from a wave: shares or policies of the next one, or the final choice."""
    close = f"close it with `wavewise wave close {study.folder} {wave_id}`"
    study.require_state(wave_id, ("closed",), close)
    following = wave_that_learns(study.spec, wave_id)
    if following is not None:
        return _decide_shares(study, following)
    tested = wave_of_policies(study.spec, wave_id)
    if tested is not None:
        return _decide_policies(study, tested)
    plan = study.spec.decision
    if plan is None or wave_id not in plan.learned_on:
        raise StateError(
            f"nothing depends on wave '{wave_id}': no later wave takes its shares or its policies "
            "from it, and [decision] does not learn on it; add one of them to the study file"
        )
    return _decide_arm(study, plan, wave_id)


def wave_that_learns(spec: StudySpec, wave_id: str) -> Wave | None:
    """The wave whose shares are learned on this one and on none after it."""
    order = [wave.id for wave in spec.waves]
    for wave in spec.waves:
        rule = wave.shares
        if isinstance(rule, AllocationRule) and max(rule.learned_on, key=order.index) == wave_id:
            return wave
    return None


def _decide_shares(study: Study, wave: Wave) -> SharesDecision:
    rule, row = wave.shares, study.store.waves.get(wave.id)
    if not isinstance(rule, AllocationRule):
        raise StateError(f"wave '{wave.id}' has shares of its own; there is nothing to decide")
    if row is not None and wave.imported is None:
        raise StateError(
            f"wave '{wave.id}' is {row.state} already; its shares were decided before; see "
            f"`wavewise report {study.folder}`"
        )
    closed = read_closed(study, rule.learned_on)
    n_next = n_units_of_wave(study, wave) if _costs(study.spec) is not None else 0
    decision = shares_of_rule(closed, wave, rule, n_next)
    study.store.results.put(wave.id, "next-shares", decision.facts(), study.clock())
    return decision


def _decide_policies(study: Study, wave: Wave) -> FrozenPolicies:
    row = study.store.waves.get(wave.id)
    if row is not None:
        raise StateError(
            f"wave '{wave.id}' is {row.state} already; its policies were frozen before it opened"
        )
    policies = learned_policies(wave, study.spec, read_learners(study, wave))
    return freeze_policies(study, wave, policies)


def _decide_arm(study: Study, plan: Decision, wave_id: str) -> ArmDecision:
    require_closed(study, plan.learned_on)
    so_far = closed_waves(study)
    so_far = so_far[: so_far.index(wave_id) + 1]
    closed = read_closed(study, tuple(dict.fromkeys([*so_far, *plan.learned_on])))
    sent = [sent_messages(study, study.wave(name)) for name in plan.learned_on]
    decision = replace(
        chosen_arm(closed, plan, wave_id, so_far),
        sent=tuple(one.text for one in sent if one.nothing),
    )
    study.store.results.put(wave_id, "decision", decision.facts(), study.clock())
    return decision


def shares_of_rule(
    closed: ClosedWaves, wave: Wave, rule: AllocationRule, n_next: int = 0
) -> SharesDecision:
    """Shares that a rule gives from closed waves, for a wave of so many units."""
    if rule.model is None:
        raise StateError(f"wave '{wave.id}': its shares name no model; add model to the study file")
    posterior = posterior_of(closed, rule.model, rule.learned_on)
    shares = learned_shares(posterior, wave, rule)
    by_arm = dict(zip(shares.arms, map(float, shares.shares), strict=True))
    strata = shares_within(closed, wave, rule, rule.model) if rule.within else None

    def again(one: "ArmPosterior") -> "NextShares":
        return learned_shares(one, wave, rule)

    return SharesDecision(
        wave.id,
        by_arm if strata is None else strata.average,
        facts_of(shares),
        shares.text if strata is None else strata.text(shares),
        dict(zip(posterior.arms, posterior.prob_optimal.tolist(), strict=True)),
        direction=_direction(closed.spec, rule.model),
        value_of_information=_value_of_information(closed.spec, wave, rule, posterior, n_next),
        strata=strata,
        elsewhere={} if strata is None else by_arm,
        prior=prior_text(closed.spec, closed.spec.models[rule.model]),
        prior_rows=prior_rows(closed, rule.model, rule.learned_on, again),
    )


def _value_of_information(
    spec: StudySpec, wave: Wave, rule: AllocationRule, posterior: "ArmPosterior", n_next: int
) -> "StopOrGo | None":
    """Whether the wave is worth its cost, where the study file says what it costs."""
    costs = _costs(spec)
    if costs is None or rule.model is None or spec.models[rule.model].kind == "normal":
        return None  # what a further wave of such outcomes would tell is not simulated
    outcome = spec.outcome(spec.models[rule.model].outcome)
    return stop_or_go(
        posterior,
        n_next=n_next,
        cost_per_unit=costs.cost_per_unit,
        cost_per_wave=costs.cost_per_wave,
        beneficiaries=costs.beneficiaries,
        value_per_success=costs.value_per_success,
        rng=stream(spec.study.seed, "another wave", wave.id),
        rule=rule.rule,
        control_share=wave.control_share or 0.0,
        trials_per_unit=spec.trials(outcome, wave) or 1,
        floor=rule.floor,
        temper=rule.temper,
        uniform_share=rule.uniform_share,
        beta=rule.beta,
    )


def _costs(spec: StudySpec) -> "AnotherWave | None":
    return spec.planning.another_wave if spec.planning is not None else None


def chosen_arm(
    closed: ClosedWaves, plan: Decision, wave_id: str, so_far: Sequence[str]
) -> ArmDecision:
    """The arm that a plan chooses from closed waves, beside the models of scores so far."""
    posterior = posterior_of(closed, plan.model, plan.learned_on)
    choice = best_arm(posterior)
    arm = choice.likeliest if plan.choose == MOST_PROBABLE else choice.arm
    row = posterior.arms.index(arm)
    costs = _costs(closed.spec)
    worth = None if costs is None else costs.beneficiaries * costs.value_per_success
    return ArmDecision(
        wave_id,
        arm,
        plan.choose,
        policy_regret=float(posterior.policy_regret[row]),
        prob_optimal=float(posterior.prob_optimal[row]),
        runner_up=choice.runner_up if arm == choice.arm else choice.arm,
        learned_on=plan.learned_on,
        text=choice.text,
        direction=_direction(closed.spec, plan.model),
        score_models=score_fits(closed, tuple(so_far)),
        regret_in_money=None if worth is None else worth * float(posterior.policy_regret[row]),
        currency=closed.spec.study.currency or "",
        prior=prior_text(closed.spec, closed.spec.models[plan.model]),
        prior_rows=prior_rows(closed, plan.model, plan.learned_on),
    )


def _direction(spec: StudySpec, model: str) -> str:
    """That the lowest outcome is best, where it is."""
    return spec.outcome(spec.models[model].outcome).direction_text
