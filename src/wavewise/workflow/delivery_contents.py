"""What became of messages, as the report shows it: the numbers of ``status``."""

from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.estimate.cace import Cace
from wavewise.report.delivery import (
    DeliveryContents,
    DoseRow,
    MessageRow,
    ReachedRow,
    ReasonCount,
    RefusalCount,
    SendRow,
)
from wavewise.results import NotEstimable
from wavewise.workflow.deliveries import Delivered, delivered, effects_on_reached
from wavewise.workflow.effect_contents import shown_outcome
from wavewise.workflow.status import delivery_table, dose_table, failure_table, refusal_table
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.design.waves import Wave

__all__ = ["delivery_contents"]

_EFFECT = ("itt", "itt_low", "itt_high", "estimate", "conf_low", "conf_high", "std_error")


def delivery_contents(study: Study) -> tuple[DeliveryContents, ...]:
    """Deliveries of every wave that has messages, in the order of the study file."""
    counts = study.store.delivery_counts(study.clock())
    sending = set(counts["wave_id"])
    if not sending:
        return ()
    refusals = refusal_table(study)
    return tuple(
        _wave(study, wave, counts.filter(wave_id=wave.id), refusals.filter(wave=wave.id))
        for wave in study.spec.waves
        if wave.id in sending
    )


def _wave(
    study: Study, wave: "Wave", counts: pl.DataFrame, refusals: pl.DataFrame
) -> DeliveryContents:
    found = delivered(study, wave.id)
    effects, reasons = _effects(effects_on_reached(study, wave, found))
    return DeliveryContents(
        wave=wave.id,
        title=wave.name,
        outcome=shown_outcome(study.spec.primary),
        received_means=found.meaning,
        messages=_rows(MessageRow, delivery_table(counts).drop("wave_id")),
        reasons=_rows(ReasonCount, failure_table(counts).drop("wave_id")),
        refusals=_rows(RefusalCount, refusals.drop("wave")),
        doses=_rows(DoseRow, dose_table(found)),
        sends=_rows(SendRow, _sends(study, wave.id, found)),
        effects=effects,
        not_estimable=reasons,
        level=study.spec.study.level,
    )


def _sends(study: Study, wave_id: str, found: Delivered) -> pl.DataFrame:
    """Due and received messages by arm and send; received means what it means for doses."""
    counts = study.store.send_counts(wave_id, study.clock())
    by_receipt = pl.col("channel").is_in(found.by_receipt)
    received = pl.when(by_receipt).then("n_arrived").otherwise("n_out")
    by = ["arm", (pl.col("slot") + 1).alias("send")]
    sums = counts.group_by(by).agg(due=pl.col("n_due").sum(), received=received.sum())
    return sums.sort("arm", "send")


def _effects(
    effects: Cace | NotEstimable,
) -> tuple[tuple[ReachedRow, ...], tuple[tuple[str, str], ...]]:
    """Arms with both effects, and why others have none."""
    if isinstance(effects, NotEstimable):
        return (), (("", effects.reason),)
    frame = effects.to_frame().select("arm", *_EFFECT, "first_stage")
    sound = pl.all_horizontal(
        (pl.col(name).is_not_null() & pl.col(name).is_finite()) for name in frame.columns[1:]
    )
    reasons = tuple((arm, why.reason) for arm, why in effects.not_estimable.items())
    return _rows(ReachedRow, frame.filter(sound)), reasons


def _rows(kind: Any, frame: pl.DataFrame) -> tuple[Any, ...]:
    return tuple(kind(**row) for row in frame.iter_rows(named=True))
