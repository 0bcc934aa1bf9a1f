"""Effects, as the report shows them."""

from typing import TYPE_CHECKING

from wavewise.design.outcomes import Outcome
from wavewise.estimate import pair_margins
from wavewise.report import contents as shown
from wavewise.results import NotEstimable
from wavewise.workflow.analysis import OutcomeEffects, WaveAnalysis, analyse_waves
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import Effects
    from wavewise.estimate.effect_table import EffectTable
    from wavewise.store import WaveRow

__all__ = ["effects_contents", "is_closed", "pooled_effects", "shown_outcome"]


def effects_contents(study: Study, analysis: WaveAnalysis) -> tuple[shown.EffectsContents, ...]:
    """Effects as the report shows them; outcomes without any control are left out."""
    return tuple(_effects(study, analysis, item) for item in analysis.effects if item.effects)


def pooled_effects(study: Study, rows: "dict[str, WaveRow]") -> tuple[shown.EffectsContents, ...]:
    """Effects of all closed waves of messages together, where there are several."""
    waves = [wave for wave in study.spec.waves if is_closed(rows.get(wave.id))]
    same_arms = len({study.spec.arms_of(wave) for wave in waves}) == 1
    if len(waves) < 2 or not same_arms:
        return ()
    return effects_contents(study, analyse_waves(study, [wave.id for wave in waves]))


def is_closed(row: "WaveRow | None") -> bool:
    """Whether a wave was opened and closed."""
    return row is not None and row.state == "closed"


def shown_outcome(outcome: Outcome) -> shown.Outcome:
    """An outcome of the spec as the report shows it."""
    return shown.Outcome(
        id=outcome.id,
        label=outcome.name,
        kind=outcome.scale,
        unit=outcome.unit or "",
        primary=outcome.primary,
        higher_is_better=outcome.higher_is_better,
    )


def _effects(study: Study, analysis: WaveAnalysis, item: OutcomeEffects) -> shown.EffectsContents:
    effects = item.effects
    if isinstance(effects, NotEstimable):
        raise TypeError("no effects to show")
    adjust = study.spec.analysis.effects.adjust
    mean = effects.control_mean
    return shown.EffectsContents(
        outcome=shown_outcome(item.outcome),
        control=effects.control,
        control_mean=None if isinstance(mean.estimate, NotEstimable) else mean.estimate,
        control_n_units=mean.n_units,
        rows=_rows(effects, adjust),
        not_estimable=tuple(
            shown.ReasonRow(arm, reason.reason) for arm, reason in effects.not_estimable.items()
        ),
        contrasts=_contrasts(study, effects),
        best_minus_next=_best_minus_next(effects, item.outcome),
        estimator=_estimator(effects, item),
        level=effects.level,
        adjustment={"holm": "Holm", "max-t": "max-t", "none": ""}[adjust],
        learned_on=analysis.waves,
        exploratory=not item.registered,
    )


def _estimator(effects: "Effects", item: OutcomeEffects) -> str:
    name = "Difference in means" if item.estimator == "difference in means" else "OLS"
    note = "" if item.registered else " (for comparison, not the registered estimator)"
    return f"{name}{note}: {effects.provenance.method}. Intent to treat."


def _rows(effects: "EffectTable", adjust: str) -> tuple[shown.EffectRow, ...]:
    adjusted: dict[str, dict[str, float]] = {}
    frame = effects.to_frame()
    usable = frame["std_error"].is_not_null().sum()
    if adjust != "none" and usable:
        table = effects.adjusted("holm" if adjust == "holm" else "max-t").to_frame()
        adjusted = {row["arm"]: row for row in table.to_dicts()}
    return tuple(
        shown.EffectRow(
            **row,
            p_adjusted=adjusted.get(row["arm"], {}).get("p_value"),
            adjusted_low=adjusted.get(row["arm"], {}).get("conf_low"),
            adjusted_high=adjusted.get(row["arm"], {}).get("conf_high"),
        )
        for row in frame.drop_nulls().to_dicts()
    )


def _contrasts(study: Study, effects: "Effects") -> tuple[shown.EffectRow, ...]:
    """Registered contrasts, and the margins of ordered pairs."""
    weights = {
        f"{first} minus {second}": {first: 1.0, second: -1.0}
        for first, second in study.spec.analysis.contrasts
        if {first, second} <= set(effects.arms)
    }
    pairs = [arm for arm in effects.arms if "+" in arm]
    weights |= pair_margins(pairs) if pairs else {}
    return _rows(effects.contrasts(weights), "none") if weights else ()


def _best_minus_next(effects: "Effects", outcome: Outcome) -> shown.EffectRow | None:
    frame = effects.to_frame().drop_nulls()
    if frame.height < 2:
        return None
    ranked = frame.sort("estimate", descending=outcome.higher_is_better)["arm"].to_list()
    name = f"{ranked[0]} minus {ranked[1]}"
    rows = _rows(effects.contrasts({name: {ranked[0]: 1.0, ranked[1]: -1.0}}), "none")
    return rows[0] if rows else None
