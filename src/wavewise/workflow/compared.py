"""What a wave compares: an outcome as a number, against whom."""

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.waves import Wave
from wavewise.workflow.frames import HELD_OUT, WaveData

__all__ = ["control_of", "outcome_values"]


def control_of(wave: Wave) -> str | None:
    """The condition that effects of a wave are against: its control, or its held-out units."""
    return wave.control_id or (HELD_OUT if wave.held_out_share else None)


def outcome_values(data: WaveData, outcome: Outcome) -> pl.Series:
    """The outcome as it is compared: successes as a share of their trials."""
    values = data.outcomes[outcome.id].cast(pl.Float64)
    trials = f"{outcome.id}.trials"
    if outcome.kind != "successes" or trials not in data.outcomes.columns:
        return values
    return values / data.outcomes[trials].cast(pl.Float64)
