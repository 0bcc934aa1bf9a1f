"""What reached people in a wave: doses, a ratio check, effects on those reached."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from wavewise.design.waves import Wave
from wavewise.errors import EstimationError
from wavewise.estimate.cace import Cace, cace
from wavewise.randomize import sample_ratio
from wavewise.results import CheckResult, NotEstimable
from wavewise.workflow.compared import control_of, outcome_values
from wavewise.workflow.frames import wave_data
from wavewise.workflow.study import Study

__all__ = ["Delivered", "delivered", "effects_on_reached", "ratio_of_delivered"]

_NAME = "sample ratio of what was delivered"


@dataclass(frozen=True)
class Delivered:
    """What each unit of a wave received.

    Parameters
    ----------
    doses : DataFrame
        One row a unit, in the order of ids: unit_id, arm, n_messages, n_received.
    by_receipt : tuple of str
        Channels where received means a receipt of delivery.
    by_sending : tuple of str
        Channels without any receipt, where it means that the provider took the message.
    """

    doses: pl.DataFrame
    by_receipt: tuple[str, ...]
    by_sending: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What counts as received, in words."""
        parts = []
        if self.by_receipt:
            parts.append(f"a receipt of delivery ({', '.join(self.by_receipt)})")
        if self.by_sending:
            parts.append(f"taken by the provider, which sends none ({', '.join(self.by_sending)})")
        return "; ".join(parts) or "nothing was sent"


def delivered(study: Study, wave_id: str) -> Delivered:
    """What each unit of a wave received; units without a message received 0."""
    rows = study.store.unit_doses(wave_id)
    arrived = rows.group_by("channel").agg(pl.col("n_arrived").sum()).sort("channel")
    with_receipts = tuple(arrived.filter(pl.col("n_arrived") > 0)["channel"])
    without = tuple(arrived.filter(pl.col("n_arrived") == 0)["channel"])
    received = pl.when(pl.col("channel").is_in(with_receipts)).then("n_arrived").otherwise("n_out")
    sums = rows.group_by("unit_id").agg(
        pl.col("n_messages").sum(), n_received=received.sum().cast(pl.Int64)
    )
    drawn = study.store.assignment(wave_id).select("unit_id", "arm")
    doses = drawn.join(sums, on="unit_id", how="left", maintain_order="left")
    counts = pl.col("n_messages", "n_received")
    return Delivered(doses.with_columns(counts.fill_null(0)), with_receipts, without)


def ratio_of_delivered(found: Delivered) -> CheckResult:
    """Whether the arms that send reached units in the shares in which they were assigned."""
    sending = found.doses.filter(pl.col("n_messages") > 0)["arm"].unique().sort().to_list()
    scope = f"{len(sending)} arms with messages; received: {found.meaning}"
    if len(sending) < 2:
        return CheckResult(_NAME, scope, None, "found fewer than two arms with messages")
    assigned = found.doses.filter(pl.col("arm").is_in(sending))
    reached = assigned.filter(pl.col("n_received") > 0)["arm"].to_list()
    if not reached:
        return CheckResult(_NAME, scope, None, "nobody was reached yet")
    counts = dict(assigned["arm"].value_counts().iter_rows())
    check = sample_ratio(reached, {arm: counts[arm] / assigned.height for arm in sending})
    return CheckResult(_NAME, scope, check.passed, check.text, check.table)


def effects_on_reached(study: Study, wave: Wave, found: Delivered) -> Cace | NotEstimable:
    """Effects of a closed wave on units that received a message, beside intent to treat.

    A unit counts as reached that received one message or more.
    """
    row, control = study.store.wave(wave.id), control_of(wave)
    if row is None or row.state != "closed":
        return NotEstimable("the wave is not closed")
    if control is None:
        return NotEstimable("the wave has no control arm to compare with")
    outcome, data = study.spec.primary, wave_data(study, wave.id)
    if outcome.id not in data.outcomes.columns:
        return NotEstimable(f"outcome '{outcome.id}' was not frozen")
    received = pl.DataFrame({"unit_id": data.units.ids}).join(
        found.doses, on="unit_id", how="left", maintain_order="left"
    )["n_received"]
    try:
        return cace(
            outcome_values(data, outcome).to_numpy(),
            data.condition,
            (received > 0).cast(pl.Float64).fill_null(0).to_numpy().astype(np.float64),
            control=control,
            strata=data.stratum if study.spec.analysis.effects.strata else None,
            cluster=data.units.cluster if study.spec.units.error_cluster else None,
            level=study.spec.study.level,
        )
    except EstimationError as error:
        return NotEstimable(str(error))
