"""A closed wave whose arms were policies, as evaluation takes it: who got what, how probably."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.decide.policy_model import is_model
from wavewise.errors import StateError
from wavewise.estimate.labels import encode
from wavewise.evaluate import DoublyRobustScores, doubly_robust_scores, mixture_propensity
from wavewise.results import FloatArray, IntArray
from wavewise.workflow.compared import outcome_values
from wavewise.workflow.frames import HELD_OUT, WaveData, wave_data
from wavewise.workflow.learning import Learner
from wavewise.workflow.policies import frozen_policies
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.decide.policy_model import EffectModel
    from wavewise.design.waves import Wave

__all__ = ["FreshWave", "RememberedPolicy", "fresh_wave"]


@dataclass(frozen=True)
class FreshWave:
    """Units of a wave of policies whose primary outcome is known.

    Parameters
    ----------
    wave : Wave
    policies : dict of str to Policy
        By arm, as they were frozen before the wave opened.
    shares : dict of str to float
        Shares of the arms, as they were drawn.
    data : WaveData
        All units of the wave.
    known : polars.Series of bool, shape (n_wave,)
    all_covariates : polars.DataFrame, shape (n_wave, n_covariates)
    values : polars.Series, shape (n_wave,)
        Primary outcome.
    learner : Learner
        What the policies learned from.
    cluster : array of int, shape (n_units,), or None
    """

    wave: "Wave"
    policies: "dict[str, Policy]"
    shares: dict[str, float]
    data: WaveData
    known: pl.Series
    all_covariates: pl.DataFrame
    values: pl.Series
    learner: Learner
    cluster: IntArray | None

    @cached_property
    def covariates(self) -> pl.DataFrame:
        """Of the units, (n_units, n_covariates)."""
        return self.all_covariates.filter(self.known)

    @cached_property
    def effects(self) -> dict[str, FloatArray]:
        """Effects that the models predict for these units, by the policy's name."""
        return {name: model.effects(self.covariates) for name, model in self.models.items()}

    @property
    def outcome(self) -> FloatArray:
        """Primary outcome, (n_units,)."""
        return self.values.filter(self.known).to_numpy()

    @property
    def arm(self) -> pl.Series:
        """Policy to which each unit was randomized, (n_units,)."""
        return self.data.arm.filter(self.known)

    @property
    def messaged(self) -> pl.Series:
        """Whether the unit was messaged, (n_units,)."""
        return ~self.data.held_out.filter(self.known).fill_null(value=False)

    @cached_property
    def sent(self) -> pl.Series:
        """What each unit got: an arm of messages, or nothing, (n_units,)."""
        content = self.data.content.filter(self.known)
        told = pl.when(self.messaged).then(content).otherwise(pl.lit(HELD_OUT))
        return pl.select(told.alias("sent"))["sent"]

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
    def always_possible(self) -> tuple[str, ...]:
        """Contents that every unit could have got, nothing left out."""
        least = self.propensity.min().row(0, named=True)
        return tuple(name for name, low in least.items() if low > 0 and name != HELD_OUT)

    @cached_property
    def models(self) -> "dict[str, EffectModel]":
        """The models of effects inside the frozen policies, each once, by the policy's name."""
        found: dict[str, EffectModel] = {}
        for name, policy in self.policies.items():
            model = getattr(policy.rule, "model", None)
            hashes = [known.provenance.data_hash + type(known).__name__ for known in found.values()]
            if is_model(model) and model.provenance.data_hash + type(model).__name__ not in hashes:
                found[name] = model
        return found

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


def fresh_wave(study: Study, wave_id: str) -> FreshWave:
    """A closed wave of policies.

    Raises
    ------
    StateError
        Not closed; arms that are not policies; no held-out share; shares that differ by stratum; a
        policy that learned from this very wave.
    """
    close = f"close it with `wavewise wave close {study.folder} {wave_id}`"
    study.require_state(wave_id, "closed", close)
    wave, row = study.wave(wave_id), study.store.wave(wave_id)
    policies = frozen_policies(study, wave)
    arms = study.spec.arms_of(wave)
    others = [arm.id for arm in arms if arm.policy is None]
    if not policies or others or not wave.held_out_share or row is None:
        raise StateError(
            f"wave '{wave_id}': found arms {', '.join(arm.id for arm in arms)}, held-out share "
            f"{wave.held_out_share}; needed a wave whose arms are all policies, a part of each "
            "held out, since a rule is tested where chance decides who gets it"
        )
    taught = dict.fromkeys(n for arm in arms if arm.policy for n in arm.policy.learned_on)
    if wave_id in taught:
        raise StateError(
            f"wave '{wave_id}': found policies that learned from it; needed fresh outcomes; name "
            "an earlier wave in learned_on"
        )
    shares = row.details["shares"]
    if not all(isinstance(share, float | int) for share in shares.values()):
        raise StateError(f"wave '{wave_id}': its shares differ by stratum; needed equal ones")
    data = wave_data(study, wave_id)
    values = outcome_values(data, study.spec.primary)
    known = values.is_not_null()
    by = data.units.cluster if study.spec.units.error_cluster else None
    clusters = None if by is None else encode(by.filter(known), "cluster", int(known.sum())).codes
    return FreshWave(
        wave,
        policies,
        {str(arm): float(share) for arm, share in shares.items()},
        data,
        known,
        data.units.covariates(study.spec),
        values,
        Learner(study, tuple(taught)),
        clusters,
    )
