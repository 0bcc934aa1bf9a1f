"""The study's own assignment run again: randomization inference on closed waves."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.decide import next_shares
from wavewise.design.shares import planned_shares
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import StateError
from wavewise.estimate import beta_binomial, randomization_test
from wavewise.randomize import assign
from wavewise.streams import stream
from wavewise.workflow.compared import outcome_values
from wavewise.workflow.frames import WaveData, wave_data
from wavewise.workflow.open_wave import shares_of
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import RandomizationTest

__all__ = ["procedure_waves", "rerandomization_test"]


def procedure_waves(study: Study, wave_id: str) -> list[str]:
    """A wave, after the waves that its shares were learned on."""
    wave = study.wave(wave_id)
    before = wave.shares.learned_on if isinstance(wave.shares, AllocationRule) else ()
    return [*before, wave_id]


def rerandomization_test(
    study: Study, wave_ids: Sequence[str], draws: int = 2000
) -> "RandomizationTest":
    """Test that no arm changes any unit's primary outcome, by the waves' own assignment.

    Parameters
    ----------
    study : Study
        An open study.
    wave_ids : sequence of str
        Closed waves, in time.
    draws : int
        Number of re-randomizations.

    Raises
    ------
    StateError
        If a wave is not closed, ran elsewhere, or takes its shares from a model that cannot be
        learned again from re-drawn arms.

    Notes
    -----
    Strata, groups, exact counts and shares are those of the study file. Where a wave takes its
    shares from earlier ones among `wave_ids`, they are learned again from the re-drawn arms; under
    the hypothesis outcomes stay as they are. No intervals then: they would need outcomes under
    effects, which counts of successes do not give.
    """
    for wave_id in wave_ids:
        study.require_state(
            wave_id, "closed", f"close it with `wavewise wave close {study.folder}`"
        )
    waves = [study.wave(wave_id) for wave_id in wave_ids]
    _refuse_imported(waves)
    data = {wave.id: wave_data(study, wave.id) for wave in waves}
    primary = study.spec.primary
    outcome = pl.concat([outcome_values(part, primary) for part in data.values()])
    arm = pl.concat([part.arm for part in data.values()])
    control = waves[0].control_id
    learns = any(_learned_here(wave, wave_ids) for wave in waves)
    return randomization_test(
        outcome.to_numpy(),
        arm.to_numpy(),
        _procedure(study, waves, data),
        draws=draws,
        rng=stream(study.spec.study.seed, "randomization test", *wave_ids),
        control=control,
        level=study.spec.study.level,
        intervals=not learns,
    )


def _procedure(
    study: Study, waves: Sequence[Wave], data: dict[str, WaveData]
) -> Callable[[np.random.Generator], Any]:
    names = [wave.id for wave in waves]
    strata = {name: part.units.stratum(study.spec) for name, part in data.items()}
    groups = {name: part.units.groups(study.spec) for name, part in data.items()}
    fixed = {
        wave.id: planned_shares(study.spec, wave) or shares_of(study, wave)
        for wave in waves
        if not _learned_here(wave, names)
    }

    def reassign(rng: np.random.Generator) -> Any:
        drawn: dict[str, Any] = {}
        for wave in waves:
            shares = fixed.get(wave.id) or _learned_again(study, wave, data, drawn)
            ids = data[wave.id].units.ids
            found = assign(ids, strata[wave.id], shares, rng, cluster=groups[wave.id])
            drawn[wave.id] = found.arm
        return np.concatenate(list(drawn.values()))

    return reassign


def _learned_here(wave: Wave, names: Sequence[str]) -> bool:
    return isinstance(wave.shares, AllocationRule) and set(wave.shares.learned_on) <= set(names)


def _learned_again(
    study: Study, wave: Wave, data: dict[str, WaveData], drawn: dict[str, Any]
) -> dict[str, float]:
    """Shares that the rule gives from re-drawn arms and the outcomes as they are."""
    rule = wave.shares
    if not isinstance(rule, AllocationRule) or rule.model is None:
        raise StateError(f"wave '{wave.id}': its shares name no model to learn again")
    model = study.spec.models[rule.model]
    if model.kind != "beta binomial":
        raise StateError(
            f"wave '{wave.id}': found a {model.kind} model; needed a beta binomial one to learn "
            "again from every re-drawn assignment; test the wave by itself, its shares as decided"
        )
    arms = [arm.id for arm in study.spec.arms_of(wave) if arm.id != wave.control_id]
    total = np.zeros((2, len(arms)))
    for name in rule.learned_on:
        total += _counts(data[name], model.outcome, drawn[name], arms)
    posterior = beta_binomial(total[0], total[1], prior=model.prior, arms=arms)
    shares = next_shares(
        posterior,
        rule=rule.rule,
        control=wave.control_id if wave.control_share is not None else None,
        control_share=wave.control_share or 0.0,
        learned_on=rule.learned_on,
        floor=rule.floor,
        temper=rule.temper,
        uniform_share=rule.uniform_share,
        beta=rule.beta,
    )
    return dict(zip(shares.arms, map(float, shares.shares), strict=True))


def _counts(data: WaveData, outcome: str, drawn: Any, arms: list[str]) -> Any:
    """Successes and trials of each arm, shape (2, n_arms)."""
    values = data.outcomes[outcome].cast(pl.Float64)
    trials = f"{outcome}.trials"
    n = data.outcomes[trials].cast(pl.Float64) if trials in data.outcomes.columns else None
    known = values.is_not_null().to_numpy()
    y = values.fill_null(0.0).to_numpy()
    size = known.astype(np.float64) if n is None else n.fill_null(0.0).to_numpy() * known
    return np.array([[part[drawn == arm].sum() for arm in arms] for part in (y, size)])


def _refuse_imported(waves: Sequence[Wave]) -> None:
    elsewhere = [wave.id for wave in waves if wave.imported is not None]
    if elsewhere:
        raise StateError(
            f"waves {', '.join(elsewhere)} ran elsewhere: how their arms were drawn is not known "
            "here; call ww.estimate.randomization_test with a function that draws them again"
        )
