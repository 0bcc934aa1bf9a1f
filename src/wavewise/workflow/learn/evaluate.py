"""``evaluate``: what the frozen policies are worth on outcomes that they never saw."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.decide import random_policy
from wavewise.decide.policy_rules import is_model
from wavewise.design.spec import StudySpec
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.evaluate import (
    DoublyRobustScores,
    best_linear_projection,
    doubly_robust_scores,
    mixture_propensity,
    paired_contrast,
)
from wavewise.evaluate.calibration_regression import calibration
from wavewise.evaluate.cost_curves import cost_curve
from wavewise.evaluate.policy_values import JudgedUnits
from wavewise.evaluate.scores import fit_outcome
from wavewise.evaluate.targeting import toc
from wavewise.report.effects import facts_of
from wavewise.report.evaluation import PREDICTED_OUTCOME, Evaluation, evaluation_sentences
from wavewise.shared.inputs import encode
from wavewise.shared.results import FloatArray, IntArray, NotEstimable
from wavewise.shared.text_tables import text_table
from wavewise.workflow.frames import HELD_OUT, ClosedWaves, WaveData, outcome_values, read_closed
from wavewise.workflow.learn.effects import effects_of
from wavewise.workflow.learn.frozen_policies import frozen_policies, policy_rules
from wavewise.workflow.learn.policies import Learner, read_learner
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.decide.policy_rules import EffectModel
    from wavewise.design.waves import Wave
    from wavewise.estimate import Effects
    from wavewise.report.effects import OutcomeEffects

__all__ = ["EVALUATION", "PolicyEvaluation", "evaluate"]

EVALUATION = "evaluation"  # kind of result under which the store keeps it
SPENDS = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the population that are messaged


@dataclass(frozen=True, eq=False)
class PolicyEvaluation(VerbResult):
    """What the frozen policies of a wave are worth on outcomes that they never saw."""

    evaluation: Evaluation
    unit_name: str

    def summary(self) -> str:
        """Table of the policies' effects, and what they say."""
        facts = self.evaluation.facts
        rows = [
            [row["policy"], row["estimate"], row["std_error"], row["conf_low"], row["conf_high"]]
            for row in facts["against_nothing"]
        ]
        return "\n".join(
            [
                f"Evaluation on wave {facts['wave']}: {facts['n_units']:,} units whose outcomes no "
                f"policy has seen (learned on {', '.join(facts['learned_on'])}).",
                "Effect of each policy against no message, doubly robust:",
                text_table(["policy", "effect", "std_error", "low", "high"], rows),
                *evaluation_sentences(self.evaluation, self.unit_name),
            ]
        )

    def facts(self) -> dict[str, Any]:
        """The evaluation as it is printed for machines, and kept."""
        return dict(self.evaluation.facts)

    def _frame(self) -> pl.DataFrame:
        names = ("policy", "estimate", "std_error", "conf_low", "conf_high")
        rows = [{name: row[name] for name in names} for row in self.facts()["against_nothing"]]
        return pl.DataFrame(rows)


def evaluate(study: Study, wave_id: str) -> PolicyEvaluation:
    """Value of every policy of a closed wave, and of messaging some only, on its fresh outcomes.

    By ordinary least squares: each policy's messaged units against all held-out units, and
    differences of policies. By doubly robust scores: the same, in which a unit contributes to the
    value of every policy that would have sent it what it received, and adds nothing to a contrast
    of two policies that agree on it. Targeting curves, calibration and projections rest on the
    same scores.
    """
    fresh = read_fresh_wave(study, wave_id)
    facts = evaluation_facts(fresh)
    study.store.results.put(wave_id, EVALUATION, facts, study.clock())
    rules = policy_rules(study, wave_id)
    evaluation = Evaluation.of(facts, fresh.spec.primary, rules)
    return PolicyEvaluation(evaluation, fresh.spec.units.name)


# A closed wave whose arms were policies, as evaluation takes it: who got what, how probably.


@dataclass(frozen=True)
class FreshWave:
    """Units of a wave of policies whose primary outcome is known."""

    waves: ClosedWaves  # The wave, and nothing else.
    policies: "dict[str, Policy]"  # By arm, as they were frozen before the wave opened.
    learner: Learner  # What the policies learned from.

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self.waves.spec

    @property
    def wave(self) -> "Wave":
        """The wave as the study file has it."""
        return self.waves.plan(self.waves.ids[0])

    @property
    def data(self) -> WaveData:
        """All units of the wave."""
        return self.waves.data(self.wave.id)

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the arms, as they were drawn."""
        drawn = self.waves.waves[self.wave.id].shares
        return {str(arm): float(share) for arm, share in drawn.items()}

    @cached_property
    def values(self) -> pl.Series:
        """Primary outcome, (n_wave,)."""
        return outcome_values(self.data, self.spec.primary)

    @cached_property
    def has_outcome(self) -> pl.Series:
        """Whether the primary outcome is known, (n_wave,)."""
        return self.values.is_not_null()

    @cached_property
    def by_groups(self) -> "tuple[OutcomeEffects, ...]":
        """Each policy's messaged units against all that were held out, by outcome."""
        return tuple(effects_of(self.waves, self.waves.ids))

    @cached_property
    def cluster(self) -> IntArray | None:
        """Cluster of the units, (n_units,); None where there is none."""
        if self.spec.error_cluster is None:
            return None
        clusters = self.data.units.cluster.filter(self.has_outcome)
        return encode(clusters, "cluster", len(clusters)).codes

    @cached_property
    def covariates(self) -> pl.DataFrame:
        """Of the units, (n_units, n_covariates)."""
        return self.data.units.covariates(self.spec.covariates_of(self.wave)).filter(
            self.has_outcome
        )

    @cached_property
    def effects(self) -> dict[str, FloatArray]:
        """Effects that the models predict for these units, by the policy's name."""
        return {name: model.effects(self.covariates) for name, model in self.models.items()}

    @property
    def outcome(self) -> FloatArray:
        """Primary outcome, (n_units,)."""
        return self.values.filter(self.has_outcome).to_numpy()

    @property
    def arm(self) -> pl.Series:
        """Policy to which each unit was randomized, (n_units,)."""
        return self.data.arm.filter(self.has_outcome)

    @property
    def messaged(self) -> pl.Series:
        """Whether the unit was messaged, (n_units,)."""
        return ~self.data.held_out.filter(self.has_outcome).fill_null(value=False)

    @cached_property
    def sent(self) -> pl.Series:
        """What each unit received: an arm of messages, or nothing, (n_units,)."""
        content = self.data.content.filter(self.has_outcome)
        sent = pl.when(self.messaged).then(content).otherwise(pl.lit(HELD_OUT))
        return pl.select(sent.alias("sent"))["sent"]

    @cached_property
    def propensity(self) -> pl.DataFrame:
        """Probability of each content for each unit, over policies, halves and chance."""
        return mixture_propensity(
            {policy: self.shares[name] for name, policy in self.remembered.items()},
            self.covariates,
            control=HELD_OUT,
            control_share=self.wave.held_out_share or 0.0,
        )

    @cached_property
    def scores(self) -> DoublyRobustScores:
        """Doubly robust scores of every content against nothing."""
        return doubly_robust_scores(
            self.covariates,
            self.sent.to_numpy(),
            self.outcome,
            propensity=self.propensity,
            control=HELD_OUT,
            cluster=self.cluster,
        )

    @cached_property
    def judged(self) -> JudgedUnits:
        """The units as policies are judged on them."""
        return JudgedUnits.read(
            self.covariates,
            self.sent.to_numpy(),
            self.outcome,
            propensity=self.propensity,
            cluster=self.cluster,
            scores=self.scores,
        )

    @cached_property
    def always_possible(self) -> tuple[str, ...]:
        """Contents that every unit could have received, other than nothing."""
        least = self.propensity.min().row(0, named=True)
        return tuple(name for name, low in least.items() if low > 0 and name != HELD_OUT)

    @cached_property
    def models(self) -> "dict[str, EffectModel]":
        """The models of effects inside the frozen policies, each once, by the policy's name."""
        models: dict[str, EffectModel] = {}
        for name, policy in self.policies.items():
            model = getattr(policy.rule, "model", None)
            hashes = [one.provenance.data_hash + type(one).__name__ for one in models.values()]
            if is_model(model) and model.provenance.data_hash + type(model).__name__ not in hashes:
                models[name] = model
        return models

    @cached_property
    def remembered(self) -> "dict[str, RememberedPolicy]":
        """The policies, each asked once what it gives these units."""
        return {
            name: RememberedPolicy(policy, self.covariates)
            for name, policy in self.policies.items()
        }


class RememberedPolicy:
    """A policy that has been asked once what it gives some units, for one covariate frame."""

    def __init__(self, policy: "Policy", X: pl.DataFrame) -> None:
        self._policy, self._X = policy, X
        self.shares = policy.probabilities(X)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, (n_units, n_arms)."""
        return self.shares if X is self._X else self._policy.probabilities(X)

    @property
    def leaves_to_chance(self) -> bool:
        """Whether any unit's arm is drawn."""
        return bool(((self.shares > 0) & (self.shares < 1)).any())

    @property
    def given(self) -> np.ndarray:
        """What a policy without chance gives each unit, (n_units,)."""
        return np.asarray(np.array(self._policy.arms)[self.shares.argmax(axis=1)])


def read_fresh_wave(study: Study, wave_id: str) -> FreshWave:
    """A closed wave of policies, with what they learned from."""
    close = f"close it with `wavewise wave close {study.folder} {wave_id}`"
    study.require_state(wave_id, ("closed",), close)
    waves, wave = read_closed(study, (wave_id,)), study.wave(wave_id)
    policies = frozen_policies(study, wave)
    arms = study.spec.arms_of(wave)
    others = [arm.id for arm in arms if arm.policy is None]
    if not policies or others or not wave.held_out_share:
        raise StateError(
            f"wave '{wave_id}': found arms {', '.join(arm.id for arm in arms)}, held-out share "
            f"{wave.held_out_share}; needed a wave whose arms are all policies, a part of each "
            "held out, since a policy is tested where chance decides who gets it"
        )
    teachers = tuple(dict.fromkeys(n for arm in arms if arm.policy for n in arm.policy.learned_on))
    if wave_id in teachers:
        raise StateError(
            f"wave '{wave_id}': found policies that learned from it; needed fresh outcomes; name "
            "an earlier wave in learned_on"
        )
    shares = waves.waves[wave_id].shares
    if not all(isinstance(share, float | int) for share in shares.values()):
        raise StateError(f"wave '{wave_id}': its shares differ by stratum; needed equal ones")
    names = study.spec.covariates_of(wave)
    return FreshWave(waves, policies, read_learner(study, teachers, names))


def evaluation_facts(fresh: FreshWave) -> dict[str, Any]:
    """All numbers of an evaluation, as plain values."""
    return {
        "wave": fresh.wave.id,
        "learned_on": list(fresh.learner.wave_ids),
        "outcome": fresh.spec.primary.id,
        "n_units": int(fresh.has_outcome.sum()),
        "level": fresh.spec.study.level,
        "policies": {name: policy.hash for name, policy in fresh.policies.items()},
        "effects": [item.facts() for item in fresh.by_groups],
        "same": _same(fresh),
        "values": _values(fresh),
        "against_nothing": _against_nothing(fresh),
        "contrasts": _contrasts(fresh),
        "targeting": _targeting(fresh),
        "spending": _or_reason(partial(_spending, fresh)),
    }


def _same(fresh: FreshWave) -> list[dict[str, Any]]:
    """Policies that give everybody the same, with their effect by the registered estimator."""
    groups: list[list[str]] = []
    for name, policy in fresh.remembered.items():
        same = next((g for g in groups if _agree(fresh.remembered[g[0]], policy)), None)
        groups.append([name]) if same is None else same.append(name)
    registered = next(
        (item.effects for item in fresh.by_groups
         if item.outcome.id == fresh.spec.primary.id and item.registered),
        NotEstimable("no effect of the primary outcome"),
    )  # fmt: skip
    return [
        {"policies": group, "effect": _pooled(registered, group)}
        for group in groups
        if len(group) > 1
    ]


def _agree(one: "RememberedPolicy", other: "RememberedPolicy") -> bool:
    """Whether two policies give every unit the same arms with the same probabilities."""
    if set(one.arms) != set(other.arms):
        return bool(not one.leaves_to_chance and not other.leaves_to_chance
                    and (one.given == other.given).all())  # fmt: skip
    places = [list(other.arms).index(arm) for arm in one.arms]
    return bool(np.allclose(one.shares, other.shares[:, places], atol=1e-12))


def _pooled(effects: "Effects | NotEstimable", group: list[str]) -> dict[str, Any]:
    """Mean effect of policies that are the same, by their numbers of units."""
    if isinstance(effects, NotEstimable):
        return {"not_estimable": effects.reason}
    weights = {name: float(effects.arm_counts[name]) for name in group}
    return _or_reason(lambda: effects.pool(group, weights, " and ".join(group)))


def _values(fresh: FreshWave) -> list[dict[str, Any]]:
    nothing = random_policy([HELD_OUT], name="no message")
    policies: dict[str, Any] = {**fresh.remembered, nothing.name: nothing}
    level = fresh.spec.study.level
    return [
        {"policy": name, **facts_of(fresh.judged.value(policy, level=level))}
        for name, policy in policies.items()
    ]


def _against_nothing(fresh: FreshWave) -> list[dict[str, Any]]:
    nothing = random_policy([HELD_OUT], name="no message")
    level = fresh.spec.study.level
    return [
        {"policy": policy.name, **facts_of(fresh.judged.contrast(policy, nothing, level=level))}
        for policy in fresh.remembered.values()
    ]


def _contrasts(fresh: FreshWave) -> list[dict[str, Any]]:
    """Registered contrasts, both ways: by randomized policy, and by doubly robust scores."""
    pairs = [
        pair for pair in fresh.spec.analysis.contrasts if set(pair) <= set(fresh.policies)
    ] or _all_pairs(list(fresh.policies))
    rows = []
    for first, second in pairs:
        a, b = fresh.remembered[first], fresh.remembered[second]
        row: dict[str, Any] = {"first": first, "second": second}
        estimate = fresh.judged.contrast(a, b, level=fresh.spec.study.level)
        row["doubly_robust"] = facts_of(estimate)
        row["paired"] = _or_reason(partial(_paired, fresh, first, second))
        rows.append(row)
    return rows


def _all_pairs(names: list[str]) -> list[tuple[str, str]]:
    return [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]


def _paired(fresh: FreshWave, first: str, second: str) -> dict[str, Any]:
    """Messaged units of two policies, those alone to whom they give different messages."""
    for name in (first, second):
        if fresh.remembered[name].leaves_to_chance:
            raise EstimationError(
                f"policy {name} draws by chance, so that it never surely agrees with another"
            )
    messaged = fresh.messaged
    contrast = paired_contrast(
        fresh.outcome[messaged.to_numpy()],
        fresh.arm.filter(messaged).to_numpy(),
        fresh.remembered[first].given[messaged.to_numpy()],
        fresh.remembered[second].given[messaged.to_numpy()],
        policies=(first, second),
        strata=fresh.data.stratum.filter(fresh.has_outcome).filter(messaged).to_numpy(),
        cluster=None if fresh.cluster is None else fresh.cluster[messaged.to_numpy()],
        se="HC2" if fresh.cluster is None else "CR2",
        level=fresh.spec.study.level,
    )
    return facts_of(contrast)


def _targeting(fresh: FreshWave) -> dict[str, Any]:
    """Whom to message first, for the arm that most units could get: the uniform best."""
    policy = _common_policy(fresh)
    if policy is None:
        return {"not_estimable": "no policy gives everybody one arm, so there is no common message"}
    content = policy.arms[0]
    # gains, as in the models of the policies: a lower outcome is one where lower is better
    scores = fresh.spec.primary.sign * fresh.scores.effect(content)
    predicted = {
        name: fresh.effects[name][:, model.arms.index(content)]
        for name, model in fresh.models.items()
    }
    options: dict[str, Any] = {"cluster": fresh.cluster, "level": fresh.spec.study.level}
    curves = {**predicted, PREDICTED_OUTCOME: -_predicted_outcome(fresh)}
    return {
        "content": content,
        "curves": [
            {"priority": key, **_or_reason(partial(toc, priority, scores, **options))}
            for key, priority in curves.items()
        ],
        "calibration": {
            key: _or_reason(partial(calibration, effects, scores, **options))
            for key, effects in predicted.items()
        },
        "projection": _or_reason(
            partial(best_linear_projection, fresh.covariates, scores, **options)
        ),
    }


def _common_policy(fresh: FreshWave) -> "Policy | None":
    """The policy of one arm for everybody that others are compared with: the registered one."""
    plan = fresh.spec.analysis.targeting
    name = plan.arm if plan is not None and plan.arm in fresh.policies else None
    fixed = [p for p in fresh.policies.values() if p.kind == "fixed" and len(p.arms) == 1]
    policy = fresh.policies[name] if name is not None else (fixed[0] if fixed else None)
    return policy if policy is not None and len(policy.arms) == 1 else None


def _predicted_outcome(fresh: FreshWave) -> FloatArray:
    """Outcome without a message that covariates predict, learned where the policies learned.

    Times -1 where lower is better. Predictive targeting messages those first who would do worst:
    what teams do without a model of effects.
    """
    learner = fresh.learner
    alone = (learner.arm == learner.control).to_numpy()
    return fit_outcome(learner.covariates.filter(alone), learner.outcome[alone], fresh.covariates)


def _spending(fresh: FreshWave) -> dict[str, Any]:
    """Gain of the best use of a number of messages, over arms and people."""
    arms = fresh.always_possible
    if not arms:
        raise EstimationError(
            "no arm could be drawn for every unit; needed a random policy in the wave for this"
        )
    if not fresh.models:
        raise EstimationError(
            "no policy has a model of effects; needed one by causal forest, effect learner or "
            "neighbours"
        )
    first, model = next(iter(fresh.models.items()))
    columns = [model.arms.index(arm) for arm in arms]
    sign = fresh.spec.primary.sign
    scores = np.column_stack([sign * fresh.scores.effect(arm) for arm in arms])
    level, cluster = fresh.spec.study.level, fresh.cluster
    predicted = fresh.effects[first][:, columns]
    personal = cost_curve(predicted, scores, cluster=cluster, level=level)
    rows: list[dict[str, Any]] = []
    common = _common_policy(fresh)
    named = None if common is None or common.arms[0] not in arms else common
    arm = arms[int(predicted.mean(axis=0).argmax())] if named is None else named.arms[0]
    flat = np.full_like(predicted, -1.0)  # one arm for all, units at random
    flat[:, arms.index(arm)] = 1.0
    uniform = cost_curve(flat, scores, cluster=cluster, level=level)
    for spend in SPENDS:
        rows.append(
            {
                "spend": spend,
                "gain": facts_of(personal.gain(spend)),
                "uniform": facts_of(uniform.gain(spend)),
                "difference": facts_of(personal.difference(uniform, spend)),
            }
        )
    return {
        "arms": list(arms),
        "chosen_by": first,
        "uniform": {"policy": None if named is None else named.name, "arm": arm},
        "rows": rows,
        "max_spend": personal.max_spend,
    }


def _or_reason(compute: Callable[[], Any]) -> dict[str, Any]:
    """What was computed as plain values, or why it could not be: never a number in its place."""
    try:
        result = compute()
    except (EstimationError, InputError) as error:
        return {"not_estimable": error.message}
    return result if isinstance(result, dict) else facts_of(result)
