"""Arms of an adaptive experiment by several estimators, and what the arm at the top is worth."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.design.shares import planned_shares
from wavewise.design.waves import AllocationRule, SharesByStratum, Wave
from wavewise.errors import EstimationError, StateError
from wavewise.estimate import adaptive_comparison
from wavewise.estimate.adaptive.randomization import randomization_test
from wavewise.estimate.bayes.beta_binomial import beta_binomial
from wavewise.estimate.bayes.pooled_beta import pooled_beta_binomial
from wavewise.randomize import assign
from wavewise.randomize.shares import arms_named
from wavewise.report.models import AdaptiveWaves
from wavewise.shared.results import NotEstimable
from wavewise.shared.streams import stream
from wavewise.workflow.frames import ClosedWaves, WaveData, outcome_values, stack
from wavewise.workflow.learn.posteriors import beta_priors, learned_shares, shares_of_strata

if TYPE_CHECKING:
    from wavewise.decide.evidence import Posterior
    from wavewise.estimate import RandomizationTest, WinnerTable

__all__ = ["adaptive_waves", "procedure_waves", "rerandomization_test", "strata_are_small"]


def adaptive_waves(closed: ClosedWaves, wave_id: str) -> AdaptiveWaves | None:
    """Arms of a closed wave and of those it learned on; None where it learned on none.

    Units are weighted with the propensity that was stored when they were drawn. The control is
    shown and cannot win. Outcomes of any kind are compared by their means.
    """
    plan = closed.plan(wave_id)
    waves = procedure_waves(plan)
    if not isinstance(plan.shares, AllocationRule) or len(waves) < 2:
        return None
    try:
        table: WinnerTable | NotEstimable = _table(closed, waves)
    except EstimationError as error:
        table = NotEstimable(error.message)
    return AdaptiveWaves(closed.spec.primary, tuple(waves), table)


def _table(closed: ClosedWaves, waves: Sequence[str]) -> "WinnerTable":
    spec, primary = closed.spec, closed.spec.primary
    waiting = [wave_id for wave_id in waves if wave_id not in closed.waves]
    if waiting:
        raise EstimationError(f"waves {', '.join(waiting)} are not closed")
    planned = [closed.plan(wave_id) for wave_id in waves]
    if any(wave.held_out_share for wave in planned):
        raise EstimationError(
            "a wave holds out units within arms, whose arm says nothing about what they received; "
            "compare within waves"
        )
    parts = {wave_id: closed.data(wave_id) for wave_id in waves}
    lacking = [name for name, part in parts.items() if primary.id not in part.outcomes.columns]
    if lacking:
        raise EstimationError(f"outcome {primary.id} was not imported in {', '.join(lacking)}")
    data = stack(parts)
    arms = [arm.id for wave in planned for arm in spec.arms_of(wave)]
    controls = {wave.control_id for wave in planned} - {None}
    return adaptive_comparison(
        outcome_values(data, primary).to_numpy(),
        data.arm.to_numpy(),
        data.propensity.cast(pl.Float64).to_numpy(),
        wave=pl.concat([pl.repeat(n, len(p), eager=True) for n, p in parts.items()]).to_numpy(),
        cluster=data.units.cluster.to_numpy() if spec.error_cluster else None,
        strata=_strata_of_shares(closed, planned),
        level=spec.study.level,
        arms=list(dict.fromkeys(arms)),
        control=controls.pop() if len(controls) == 1 else None,
        lower_is_better=not primary.higher_is_better,
    )


def _strata_of_shares(closed: ClosedWaves, waves: Sequence[Wave]) -> Any:
    """Strata between which shares differ in some wave, one label per unit; None where in none."""
    columns = dict[str, None]()
    for wave in waves:
        strata = closed.spec.strata_of(wave)
        if isinstance(wave.shares, SharesByStratum):
            columns |= dict.fromkeys(strata)
        elif isinstance(wave.shares, AllocationRule):
            columns |= dict.fromkeys(wave.shares.columns_within(strata))
    if not columns:
        return None
    return pl.concat(closed.labels([w.id for w in waves], list(columns)).values()).to_numpy()


# The study's own assignment run again: randomization inference on closed waves.


def procedure_waves(wave: Wave) -> list[str]:
    """A wave, after the waves that its shares were learned on."""
    before = wave.shares.learned_on if isinstance(wave.shares, AllocationRule) else ()
    return [*before, wave.id]


# units (groups) per arm and stratum, and in the wave, below which normal intervals are in doubt
_FEW_PER_CELL, _FEW = 5, 1_000


def strata_are_small(closed: ClosedWaves, wave_id: str) -> bool:
    """Whether a wave has few units in all and few per arm and stratum, and can be drawn again."""
    wave, data = closed.plan(wave_id), closed.data(wave_id)
    outcome = closed.spec.primary
    if wave.imported is not None or outcome.id not in data.outcomes.columns:
        return False
    values = outcome_values(data, outcome)
    counts = dict(data.arm.filter(values.is_not_null()).value_counts().iter_rows())
    groups, strata = data.units.groups(closed.spec), data.stratum
    n_units = len(data) if groups is None else groups.n_unique()
    n_arms = len(closed.spec.arms_of(wave))  # one that got nobody might get somebody next time
    return bool(
        strata.n_unique() > 1
        and n_units < min(_FEW, _FEW_PER_CELL * strata.n_unique() * n_arms)
        and len(counts) == n_arms > 1
        and min(counts.values()) > 1
        and values.drop_nulls().n_unique() > 1
        and not (isinstance(wave.shares, AllocationRule) and not wave.shares.learned_on)
    )


def rerandomization_test(
    closed: ClosedWaves, wave_ids: Sequence[str], draws: int = 2000
) -> "RandomizationTest":
    """Test that no arm changes any unit's primary outcome, by the waves' own assignment.

    Strata, groups, exact counts and shares are those of the study file. Where a wave takes its
    shares from earlier ones among `wave_ids`, they are learned again from the re-drawn arms; under
    the hypothesis outcomes stay as they are. No intervals then: they would need outcomes under
    effects, which counts of successes do not give.
    """
    waves = [closed.plan(wave_id) for wave_id in wave_ids]
    _refuse_imported(waves)
    data = {wave.id: closed.data(wave.id) for wave in waves}
    primary = closed.spec.primary
    outcome = pl.concat([outcome_values(part, primary) for part in data.values()])
    arm = pl.concat([part.arm for part in data.values()])
    learns = any(_learned_here(wave, wave_ids) for wave in waves)
    return randomization_test(
        outcome.to_numpy(),
        arm.to_numpy(),
        _procedure(closed, waves, data),
        n_draws=draws,
        rng=stream(closed.spec.study.seed, "randomization test", *wave_ids),
        control=waves[0].control_id,
        level=closed.spec.study.level,
        intervals=not learns,
    )


def _procedure(
    closed: ClosedWaves, waves: Sequence[Wave], data: dict[str, WaveData]
) -> Callable[[np.random.Generator], Any]:
    spec, names = closed.spec, [wave.id for wave in waves]
    strata = {name: part.stratum for name, part in data.items()}
    groups = {name: part.units.groups(spec) for name, part in data.items()}
    fixed = {
        wave.id: planned_shares(spec, wave) or closed.waves[wave.id].shares
        for wave in waves
        if not _learned_here(wave, names)
    }

    def reassign(rng: np.random.Generator) -> Any:
        drawn: dict[str, Any] = {}
        for wave in waves:
            shares = fixed.get(wave.id) or _learned_again(closed, wave, data, drawn)
            ids = data[wave.id].units.ids
            again = assign(
                ids, strata[wave.id], shares, rng, cluster=groups[wave.id], arms=arms_named(shares)
            )
            drawn[wave.id] = again.arm
        return np.concatenate(list(drawn.values()))

    return reassign


def _learned_here(wave: Wave, names: Sequence[str]) -> bool:
    return isinstance(wave.shares, AllocationRule) and set(wave.shares.learned_on) <= set(names)


def _learned_again(
    closed: ClosedWaves, wave: Wave, data: dict[str, WaveData], drawn: dict[str, Any]
) -> dict[str, Any]:
    """Shares that the rule gives from re-drawn arms and the outcomes as they are."""
    spec, rule = closed.spec, wave.shares
    if not isinstance(rule, AllocationRule) or rule.model is None:
        raise StateError(f"wave '{wave.id}': its shares name no model to learn again")
    model = spec.models[rule.model]
    if model.kind != "beta binomial":
        raise StateError(
            f"wave '{wave.id}': found a {model.kind} model; needed a beta binomial one to learn "
            "again from every re-drawn assignment; test the wave by itself, its shares as decided"
        )
    arms = [arm.id for arm in spec.arms_of(wave) if arm.id != wave.control_id]
    columns = rule.columns_within(spec.strata_of(wave))
    labels = closed.labels(rule.learned_on, columns) if columns else {}
    names = sorted(set(pl.concat(labels.values()).to_list())) if columns else []
    total = np.zeros((2, len(names) + 1, len(arms)))  # over all units, then by stratum
    for name in rule.learned_on:
        counted = data[name], model.outcome, drawn[name], arms
        total[:, 0] += _counts(*counted)
        for x, stratum in enumerate(names):
            total[:, x + 1] += _counts(*counted, (labels[name] == stratum).to_numpy())
    lower = not spec.outcome(model.outcome).higher_is_better
    if lower:  # failures are counted for successes
        total[0] = total[1] - total[0]
    prior = beta_priors(model, arms, is_reversed=lower)
    pooled = names if model.pooling == "partial" else None
    over_all, *strata = (
        _shares_again(posterior, wave, rule)
        for posterior in _posteriors_again(total, prior, arms, pooled)
    )
    if not columns:
        return over_all
    units = data[wave.id].units
    by_stratum = dict(zip(names, strata, strict=True))
    return dict(
        shares_of_strata(
            by_stratum, over_all, units.stratum(spec.strata_of(wave)), units.labels(columns)
        )
    )


def _posteriors_again(
    total: Any, prior: Any, arms: list[str], names: list[str] | None
) -> "Iterator[Posterior]":
    """Posterior over all units, then in each stratum; of names, where these are pooled."""
    if names:
        yield beta_binomial(*total[:, 0], prior=prior, arms=arms)
        pooled = pooled_beta_binomial(*total[:, 1:], arms=arms, strata=names)
        yield from (pooled.stratum(name) for name in names)
    else:
        yield from (
            beta_binomial(y, n, prior=prior, arms=arms) for y, n in zip(*total, strict=True)
        )


def _shares_again(posterior: "Posterior", wave: Wave, rule: AllocationRule) -> dict[str, float]:
    shares = learned_shares(posterior, wave, rule)
    return dict(zip(shares.arms, map(float, shares.shares), strict=True))


def _counts(data: WaveData, outcome: str, drawn: Any, arms: list[str], of: Any = True) -> Any:
    """Successes and trials of each arm among some units, shape (2, n_arms)."""
    values = data.outcomes[outcome].cast(pl.Float64)
    trials = f"{outcome}.trials"
    n = data.outcomes[trials].cast(pl.Float64) if trials in data.outcomes.columns else None
    counted = values.is_not_null().to_numpy() & of
    y = values.fill_null(0.0).to_numpy()
    size = counted.astype(np.float64) if n is None else n.fill_null(0.0).to_numpy() * counted
    return np.array([[part[(drawn == arm) & counted].sum() for arm in arms] for part in (y, size)])


def _refuse_imported(waves: Sequence[Wave]) -> None:
    elsewhere = [wave.id for wave in waves if wave.imported is not None]
    if elsewhere:
        raise StateError(
            f"waves {', '.join(elsewhere)} ran elsewhere: how their arms were drawn is not known "
            "here; call ww.estimate.randomization_test with a function that draws them again"
        )
