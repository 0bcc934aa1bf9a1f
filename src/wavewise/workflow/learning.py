"""What policies learn from: closed waves as arrays, and the models and rules made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.decide import cautious, personalize, policy_tree, random_policy, uniform_best
from wavewise.design.arms import OrderedPairs, PolicyRule
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate import causal_forest, neighbours
from wavewise.evaluate import doubly_robust_scores
from wavewise.results import FloatArray, NotEstimable
from wavewise.streams import stream
from wavewise.workflow.analysis import analyse_waves
from wavewise.workflow.compared import outcome_values
from wavewise.workflow.frames import WaveData, stack, wave_data
from wavewise.workflow.posteriors import require_closed
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.estimate import CausalForest, Effects, Neighbours

__all__ = ["Learner", "learner_for"]


@dataclass(frozen=True)
class Learner:
    """Closed waves of messages that policies learn from; models are made once and shared.

    Parameters
    ----------
    study : Study
        An open study.
    wave_ids : tuple of str
        Closed waves, drawn from the same arms with the same control.
    """

    study: Study
    wave_ids: tuple[str, ...]

    @cached_property
    def data(self) -> WaveData:
        """The units whose primary outcome is known.

        Raises
        ------
        StateError
            A wave that is not closed, or whose own arms are policies.
        InputError
            Covariates that may have been measured after a wave was opened; a propensity that is
            not known.
        """
        require_closed(self.study, self.wave_ids)
        for wave_id in self.wave_ids:
            wave = self.study.wave(wave_id)
            if any(arm.policy for arm in self.study.spec.arms_of(wave)):
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
        return stack({wave_id: wave_data(self.study, wave_id) for wave_id in self.wave_ids})

    def _refuse_late_covariates(self) -> None:
        """Covariates must be older than the treatment, or the rule would learn from its effects."""
        units = self.study.store.units()
        for wave_id in self.wave_ids:
            row = self.study.store.wave(wave_id)
            if row is None:
                continue
            members = self.study.store.assignment(wave_id).select("unit_id")
            of_wave = units.join(members, on="unit_id", how="semi")
            opened = int(row.opened_at.timestamp() * 1e6)
            late = of_wave.filter(pl.col("imported_at_utc_us") > opened).height
            if late:
                raise InputError(
                    f"covariates: found {late:,} of {of_wave.height:,} units of wave '{wave_id}' "
                    "whose row of the people file was imported after the wave was opened; needed "
                    "covariates measured before treatment; learn on a later wave, or import the "
                    "people as they were"
                )

    @cached_property
    def _known(self) -> pl.Series:
        return outcome_values(self.data, self.study.spec.primary).is_not_null()

    @property
    def control(self) -> str:
        """The arm that got nothing."""
        return str(self.study.wave(self.wave_ids[0]).control_id)

    @property
    def covariates(self) -> pl.DataFrame:
        """Covariates of the units whose outcome is known, (n_units, n_covariates)."""
        found = self.data.units.covariates(self.study.spec)
        if not found.width:
            raise InputError(
                "covariates: found none; needed columns that policies can use; name them in "
                "units.covariates"
            )
        return found.filter(self._known)

    @property
    def arm(self) -> pl.Series:
        """Arm of each such unit."""
        return self.data.arm.filter(self._known)

    @property
    def outcome(self) -> FloatArray:
        """Primary outcome of each such unit, times -1 where lower is better: higher is better."""
        primary = self.study.spec.primary
        values: FloatArray = outcome_values(self.data, primary).filter(self._known).to_numpy()
        return values if primary.higher_is_better else -values

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of messages that units can be given, in the order of the study file."""
        waves = [self.study.wave(wave_id) for wave_id in self.wave_ids]
        named = dict.fromkeys(a.id for wave in waves for a in self.study.spec.arms_of(wave))
        return tuple(arm for arm in named if arm != self.control)

    @property
    def _stratum(self) -> pl.Series:
        return self.data.stratum.filter(self._known)

    def _shares(self) -> dict[str, Any]:
        """Shares of the arms in each stratum of each wave, as they were drawn."""
        found: dict[str, Any] = {}
        for stratum in self._stratum.unique().to_list():
            wave_id = self.wave_ids[0]
            own = stratum
            if len(self.wave_ids) > 1:
                wave_id = next(name for name in self.wave_ids if stratum.startswith(f"{name}|"))
                own = stratum.removeprefix(f"{wave_id}|")
            row = self.study.store.wave(wave_id)
            shares = {} if row is None else row.details.get("shares", {})
            chosen = shares if all(isinstance(v, float | int) for v in shares.values()) else None
            by_stratum = shares.get(own) if chosen is None else chosen
            if not by_stratum:
                raise InputError(
                    f"wave '{wave_id}': found no shares for a stratum; needed the probabilities "
                    "with which arms were drawn; give shares in the study file"
                )
            found[stratum] = {str(arm): float(share) for arm, share in by_stratum.items()}
        return found

    @cached_property
    def forest(self) -> "CausalForest":
        """Causal forest of the effects on the primary outcome."""
        listed = {type(self.study.wave(wave_id).arms) for wave_id in self.wave_ids}
        groups = self.data.units.groups(self.study.spec)
        return causal_forest(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            control=self.control,
            propensity=self._shares(),
            strata=self._stratum.to_numpy(),
            unit=self.data.units.ids.filter(self._known).to_numpy(),
            cluster=None if groups is None else groups.filter(self._known).to_numpy(),
            pairs="two-factor" if listed == {OrderedPairs} else None,
            rng=self._rng("causal forest"),
        )

    @cached_property
    def matcher(self) -> "Neighbours":
        """Nearest-neighbour matcher of the same effects."""
        propensity = self.data.propensity.filter(self._known)
        return neighbours(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            control=self.control,
            propensity=None if propensity.null_count() else propensity.to_numpy(),
            rng=self._rng("neighbours"),
        )

    @cached_property
    def effects(self) -> "Effects":
        """Average effects by the registered estimator."""
        primary = self.study.spec.primary.id
        found = next(
            item
            for item in analyse_waves(self.study, self.wave_ids).effects
            if item.outcome.id == primary and item.registered
        )
        if isinstance(found.effects, NotEstimable):
            raise EstimationError(f"the effects on {primary} cannot be estimated: {found.effects}")
        return found.effects

    def _scores(self) -> Any:
        propensity = self.data.propensity.filter(self._known).to_numpy()
        return doubly_robust_scores(
            self.covariates,
            self.arm.to_numpy(),
            self.outcome,
            propensity=propensity,
            control=self.control,
            arms=[*self.arms, self.control],
        )

    def policy(self, rule: PolicyRule, name: str) -> "Policy":
        """The policy of a rule, learned from these waves.

        Raises
        ------
        StateError, InputError, EstimationError
            Where the data cannot give one.
        """
        match rule.rule:
            case "best":
                higher = self.study.spec.primary.higher_is_better
                return uniform_best(self.effects, name=name, higher_is_better=higher)
            case "causal forest":
                return personalize(self.forest, name=name)
            case "neighbours":
                return personalize(self.matcher, name=name)
            case "cautious":
                return cautious(self.forest, name=name)
            case "tree":
                return policy_tree(self.covariates, self._scores(), name=name)
            case "random":
                return random_policy(self.arms, name=name)

    def _rng(self, purpose: str) -> Any:
        return stream(self.study.spec.study.seed, purpose, *self.wave_ids)


def learner_for(
    study: Study, wave_ids: Sequence[str], known: dict[tuple[str, ...], Learner]
) -> Learner:
    """The learner of these waves, one for all policies that share them."""
    key = tuple(wave_ids)
    if key not in known:
        known[key] = Learner(study, key)
    return known[key]
