"""Policies of a study: learned once, frozen as files with hashes, read back only unchanged."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.decide import random_policy, safe_policy, uniform_best
from wavewise.decide.policy import personalize
from wavewise.decide.tree_search import policy_tree
from wavewise.design.spec import StudySpec
from wavewise.design.waves import OrderedPairs, PolicyRule, Wave, not_randomized
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate.forest.causal_forest import causal_forest
from wavewise.estimate.learners.effect_learner import effect_learner
from wavewise.estimate.matching.neighbours import neighbours
from wavewise.evaluate import doubly_robust_scores
from wavewise.shared.files import write_whole
from wavewise.shared.results import FloatArray, NotEstimable
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import text_table
from wavewise.workflow.frames import ClosedWaves, WaveData, outcome_values, read_closed, stack
from wavewise.workflow.learn.effects import effects_of
from wavewise.workflow.learn.frozen_policies import KIND, POLICY_FOLDER
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.estimate import CausalForest, EffectLearner, Effects, Neighbours

__all__ = [
    "FrozenPolicies",
    "Learner",
    "freeze_policies",
    "learned_policies",
    "read_learner",
    "read_learners",
    "wave_of_policies",
]


@dataclass(frozen=True, eq=False)
class FrozenPolicies(VerbResult):
    """The policies of a wave as they were frozen in files."""

    wave: str
    folder: Path
    policies: Mapping[str, Mapping[str, Any]]  # By name: the policy's facts, its file, its text.

    def summary(self) -> str:
        """Table of the policies with their rules and hashes."""
        rows = [[name, facts["text"], facts["hash"][:12]] for name, facts in self.policies.items()]
        return "\n".join(
            [
                f"Policies of wave {self.wave}, frozen in {self.folder}:",
                text_table(["policy", "rule", "hash"], rows),
                "They no longer change: `wave open` uses these files and no others.",
            ]
        )

    def facts(self) -> dict[str, Any]:
        """The policies as they are printed for machines, and kept."""
        return {
            "for_wave": self.wave,
            "policies": {name: dict(facts) for name, facts in self.policies.items()},
        }

    def _frame(self) -> pl.DataFrame:
        names = ("text", "hash", "file")
        rows = [{"policy": p, **{n: row[n] for n in names}} for p, row in self.policies.items()]
        return pl.DataFrame(rows)


def wave_of_policies(spec: StudySpec, wave_id: str) -> Wave | None:
    """The wave some of whose arms are policies that learn on this wave and on none after it."""
    order = [wave.id for wave in spec.waves]
    for wave in spec.waves:
        teachers = [
            name
            for arm in spec.arms_of(wave)
            if arm.policy is not None
            for name in arm.policy.learned_on
        ]
        if teachers and max(teachers, key=order.index) == wave_id:
            return wave
    return None


def read_learners(study: Study, wave: Wave) -> "dict[tuple[str, ...], Learner]":
    """What the policies of a wave learn from; one learner for all that share their waves."""
    rules = [arm.policy for arm in study.spec.arms_of(wave) if arm.policy is not None]
    names = study.spec.covariates_of(wave)
    return {
        ids: read_learner(study, ids, names) for ids in {rule.learned_on: None for rule in rules}
    }


def learned_policies(
    wave: Wave, spec: StudySpec, learners: "Mapping[tuple[str, ...], Learner]"
) -> "dict[str, Policy]":
    """The policies of a wave, learned by their rules."""
    return {
        arm.id: learners[arm.policy.learned_on].policy(arm.policy, arm.id)
        for arm in spec.arms_of(wave)
        if arm.policy is not None
    }


def freeze_policies(study: Study, wave: Wave, policies: "Mapping[str, Policy]") -> FrozenPolicies:
    """Policies written to ``policies/`` and named with their hashes in the store."""
    frozen: dict[str, dict[str, Any]] = {}
    for name, policy in policies.items():
        content = policy.to_bytes()
        path = study.folder / POLICY_FOLDER / f"{wave.id}.{policy.name}.npz"
        write_whole(path, content)
        frozen[name] = policy.facts() | {
            "text": rule_text(study.spec, policy),
            "file": f"{POLICY_FOLDER}/{path.name}",
            "file_sha256": hashlib.sha256(content).hexdigest(),
        }
    result = FrozenPolicies(wave.id, study.folder / POLICY_FOLDER, frozen)
    study.store.results.put(wave.id, KIND, result.facts(), study.clock())
    return result


def rule_text(spec: StudySpec, policy: "Policy") -> str:
    """The rule in plain words, and that its effects are of the negated outcome where they are."""
    if spec.primary.higher_is_better or policy.kind == "fixed":
        return policy.describe()
    return f"{policy.describe()} (a lower {spec.primary.name} counts as a larger effect)"


# What policies learn from: closed waves as arrays, and the models and rules made of them.


@dataclass(frozen=True)
class Learner:
    """Closed waves of messages that policies learn from; models are made once and shared."""

    waves: ClosedWaves  # Drawn from the same arms with the same control.
    # Number of units of a wave whose people file came after it was opened, and of all its units.
    late_units: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # Covariates of the wave that the policies are for, as of these waves; None: their own.
    names: tuple[str, ...] | None = None

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self.waves.spec

    @property
    def wave_ids(self) -> tuple[str, ...]:
        """The waves."""
        return self.waves.ids

    @cached_property
    def data(self) -> WaveData:
        """The units whose primary outcome is known."""
        for wave_id in self.wave_ids:
            wave = self.waves.plan(wave_id)
            if any(arm.policy for arm in self.spec.arms_of(wave)):
                raise StateError(
                    f"wave '{wave_id}' has policies for arms; needed a wave of messages to learn "
                    "from"
                )
            if wave.control_id is None:
                raise StateError(
                    f"wave '{wave_id}' has no control arm; needed one that effects are against; "
                    "add control_share or control to the wave"
                )
        self._refuse_late_covariates()
        return stack({wave_id: self.waves.data(wave_id) for wave_id in self.wave_ids})

    def _refuse_late_covariates(self) -> None:
        """Covariates must be older than the treatment, or the rule would learn from its effects."""
        for wave_id, (late, units) in self.late_units.items():
            if late:
                raise InputError(
                    f"covariates: found {late:,} of {units:,} units of wave '{wave_id}' whose row "
                    "of the people file was imported after the wave was opened; needed covariates "
                    "measured before treatment; learn on a later wave, or import the people as "
                    "they were"
                )

    @cached_property
    def _has_outcome(self) -> pl.Series:
        return outcome_values(self.data, self.spec.primary).is_not_null()

    @property
    def control(self) -> str:
        """The arm that got nothing."""
        return str(self.waves.plan(self.wave_ids[0]).control_id)

    @property
    def covariates(self) -> pl.DataFrame:
        """Covariates of the units whose outcome is known, (n_units, n_covariates)."""
        own = self.spec.covariates_of(self.waves.plan(self.wave_ids[-1]))
        covariates = self.data.units.covariates(own if self.names is None else self.names)
        if not covariates.width:
            raise InputError(
                "covariates: found none; needed columns that policies can use; name them in "
                "units.covariates"
            )
        return covariates.filter(self._has_outcome)

    @property
    def arm(self) -> pl.Series:
        """Arm of each such unit."""
        return self.data.arm.filter(self._has_outcome)

    @property
    def outcome(self) -> FloatArray:
        """Primary outcome of each such unit, times -1 where lower is better: higher is better."""
        primary = self.spec.primary
        values: FloatArray = outcome_values(self.data, primary).filter(self._has_outcome).to_numpy()
        return values if primary.higher_is_better else -values

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of messages that units can be given, in the order of the study file."""
        waves = [self.waves.plan(wave_id) for wave_id in self.wave_ids]
        named = dict.fromkeys(a.id for wave in waves for a in self.spec.arms_of(wave))
        return tuple(arm for arm in named if arm != self.control)

    @property
    def _stratum(self) -> pl.Series:
        return self.data.stratum.filter(self._has_outcome)

    @property
    def _chosen(self) -> bool:
        """Whether arms of a wave were not randomized."""
        return bool(not_randomized(self.waves.plan(wave_id) for wave_id in self.wave_ids))

    def _shares(self) -> dict[str, Any]:
        """Shares of the arms in each stratum of each wave, as they were drawn."""
        drawn: dict[str, Any] = {}
        for stratum in self._stratum.unique().to_list():
            wave_id = self.wave_ids[0]
            within = stratum
            if len(self.wave_ids) > 1:
                wave_id = next(name for name in self.wave_ids if stratum.startswith(f"{name}|"))
                within = stratum.removeprefix(f"{wave_id}|")
            shares = self.waves.waves[wave_id].shares
            chosen = shares if all(isinstance(v, float | int) for v in shares.values()) else None
            by_stratum = shares.get(within) if chosen is None else chosen
            if not by_stratum:
                raise InputError(
                    f"wave '{wave_id}': found no shares for a stratum; needed the probabilities "
                    "with which arms were drawn; give shares in the study file"
                )
            drawn[stratum] = {str(arm): float(share) for arm, share in by_stratum.items()}
        return drawn

    def _by_covariates(self, learn: Callable[..., Any], purpose: str) -> Any:
        """What a learner of effects by covariates makes of the units."""
        listed = {type(self.waves.plan(wave_id).arms) for wave_id in self.wave_ids}
        groups = self.data.units.groups(self.spec)
        return learn(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            control=self.control,
            propensity="estimate" if self._chosen else self._shares(),
            strata=None if self._chosen else self._stratum.to_numpy(),
            unit=self.data.units.ids.filter(self._has_outcome).to_numpy(),
            cluster=None if groups is None else groups.filter(self._has_outcome).to_numpy(),
            pairs="two-factor" if listed == {OrderedPairs} else None,
            rng=self._rng(purpose),
        )

    @cached_property
    def forest(self) -> "CausalForest":
        """Causal forest of the effects on the primary outcome."""
        forest: CausalForest = self._by_covariates(causal_forest, "causal forest")
        return forest

    @cached_property
    def stack(self) -> "EffectLearner":
        """The forest and the R-, DR- and T-learner of the same effects, weighed by their losses."""
        stack: EffectLearner = self._by_covariates(effect_learner, "effect learner")
        return stack

    @cached_property
    def matcher(self) -> "Neighbours":
        """Nearest-neighbour matcher of the same effects."""
        propensity = self.data.propensity.filter(self._has_outcome)
        return neighbours(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            control=self.control,
            propensity="estimate"
            if self._chosen
            else None
            if propensity.null_count()
            else propensity.to_numpy(),
            rng=self._rng("neighbours"),
        )

    def _model(self, rule: str) -> "CausalForest | EffectLearner | Neighbours":
        if rule == "neighbours":
            return self.matcher
        return self.forest if rule == "causal forest" else self.stack

    @cached_property
    def effects(self) -> "Effects":
        """Average effects by the registered estimator."""
        primary = self.spec.primary.id
        registered = next(
            item
            for item in effects_of(self.waves, self.wave_ids)
            if item.outcome.id == primary and item.registered
        )
        if isinstance(registered.effects, NotEstimable):
            raise EstimationError(
                f"the effects on {primary} cannot be estimated: {registered.effects}"
            )
        return registered.effects

    def _scores(self) -> Any:
        propensity = self.data.propensity.filter(self._has_outcome).to_numpy()
        return doubly_robust_scores(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            propensity="estimate" if self._chosen else propensity,
            control=self.control,
            arms=[*self.arms, self.control],
        )

    def policy(self, rule: PolicyRule, name: str) -> "Policy":
        """The policy of a rule, learned from these waves."""
        match rule.rule:
            case "best":
                higher = self.spec.primary.higher_is_better
                return uniform_best(self.effects, name=name, higher_is_better=higher)
            case "causal forest" | "effect learner" | "neighbours":
                return personalize(self._model(rule.rule), name=name)
            case "cautious":
                return safe_policy(self.forest, name=name)
            case "tree":
                return policy_tree(self.covariates, self._scores(), name=name)
            case "random":
                return random_policy(self.arms, name=name)

    def _rng(self, purpose: str) -> Any:
        return stream(self.spec.study.seed, purpose, *self.wave_ids)


def read_learner(
    study: Study, wave_ids: tuple[str, ...], names: tuple[str, ...] | None = None
) -> Learner:
    """Closed waves to learn from by covariates as of them; their own where none are named.

    It knows how many of their units were imported too late.
    """
    waves = read_closed(study, wave_ids)
    imported = study.store.units.all().select("unit_id", "imported_at_utc_us")
    late_units = {}
    for wave_id in wave_ids:
        row = study.store.waves.get(wave_id)
        ids = waves.data(wave_id).units.ids
        of_wave = imported.filter(pl.col("unit_id").is_in(ids.implode()))
        opened = 0 if row is None else int(row.opened_at.timestamp() * 1e6)
        late = of_wave.filter(pl.col("imported_at_utc_us") > opened).height
        late_units[wave_id] = (late, of_wave.height)
    return Learner(waves, late_units, names)
