"""Waves of a simulated world of families: opened, observed and closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from study_folders import close_wave
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave, window_start
from wavewise.workflow.study import Study, open_study


@contextmanager
def first_phase(folder: Path, text: str, world: FamilyWorld) -> Iterator[Study]:
    """A registered summer study whose first wave is closed."""
    (folder / "study.toml").write_text(text, encoding="utf-8")
    world.people.with_columns(
        device_token=pl.lit("t"), time_zone=pl.lit("America/Lima"), language=pl.lit("es")
    ).write_csv(folder / "people.csv")
    with open_study(folder, clock=lambda: datetime(2023, 12, 1, tzinfo=UTC)) as study:
        register(study)
        import_people(study, folder / "people.csv")
        yield run_wave(study, study.spec.waves[0].id, world)


def at(study: Study, wave_id: str, days: int) -> Study:
    moment = window_start(study, study.wave(wave_id)) + timedelta(days=days)
    return replace(study, clock=lambda: moment)


def logins_until(study: Study, wave_id: str, world: FamilyWorld) -> pl.DataFrame:
    """Logins before a wave, of which its strata and covariates are made."""
    first, start = study.spec.waves[0], window_start(study, study.wave(wave_id))
    if wave_id == first.id:
        return world.logins_before(start, stream(9, "before"))
    ends = window_start(study, first) + timedelta(days=first.window_days)
    return world.logins_between(ends, start, stream(9, "between"))


def run_wave(study: Study, wave_id: str, world: FamilyWorld) -> Study:
    """Open, observe and close a wave; the study on the day after."""
    wave, opening = study.wave(wave_id), at(study, wave_id, 0)
    observe(opening, logins_until(study, wave_id, world))
    open_wave(opening, wave_id)
    sent = study.store.waves.assignment(wave_id)
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
