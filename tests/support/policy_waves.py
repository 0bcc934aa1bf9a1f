"""Waves of a simulated world of families: opened, observed and closed."""

from dataclasses import replace
from datetime import timedelta

import polars as pl

from wavewise.simulated import FamilyWorld
from wavewise.streams import stream
from wavewise.workflow.observe import close_wave, observe
from wavewise.workflow.open_wave import open_wave, window_start
from wavewise.workflow.study import Study


def at(study: Study, wave_id: str, days: int) -> Study:
    moment = window_start(study, study.wave(wave_id)) + timedelta(days=days)
    return replace(study, clock=lambda: moment)


def run_wave(study: Study, wave_id: str, world: FamilyWorld) -> Study:
    """Open, observe and close a wave; the study on the day after."""
    wave = study.wave(wave_id)
    open_wave(at(study, wave_id, 0), wave_id)
    sent = study.store.assignment(wave_id)
    if wave.held_out_share:
        sent = sent.with_columns(
            arm=pl.when("held_out").then(pl.lit("nothing")).otherwise("content")
        )
    first = study.spec.waves[0]
    sequences = {arm.id: arm.sequence for arm in study.spec.arms_of(first)} | {"nothing": ()}
    events = world.events(
        sent,
        sequences,
        starts=window_start(study, wave),
        window_days=wave.window_days,
        rng=stream(9, wave_id),
        prefix=wave_id,
    )
    path = study.folder / f"{wave_id}.csv"
    events.write_csv(path)
    observe(study, path)
    after = at(study, wave_id, wave.window_days + 1)
    close_wave(after, wave_id)
    return after
