"""Closed waves of the small study, made in memory: no folder, no database, no command line."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from study_folders import STUDY
from wavewise.design import parse_spec
from wavewise.store.frames import encode_json_rows
from wavewise.workflow.frames import ClosedWave, ClosedWaves, UnitData, WaveData

RATES = {"control": 0.25, "peers": 0.45, "teacher": 0.65}
SHARES = {"peers": 0.375, "teacher": 0.375, "control": 0.25}
CLOSED = datetime(2024, 3, 20, tzinfo=UTC)


def units(n: int, first: int = 0) -> UnitData:
    """Parents of the small study, in the order of their ids."""
    fields = pl.DataFrame(
        {
            "active": ["yes" if i % 3 else "no" for i in range(n)],
            "grade": [1 + i % 6 for i in range(n)],
        }
    )
    nothing = pl.repeat(None, n, dtype=pl.String, eager=True)
    ids = pl.Series([f"p{first + i:05d}" for i in range(n)])
    return UnitData(ids, nothing, nothing, encode_json_rows(fields))


def wave_data(
    spec, n: int, *, first: int = 0, seed: int = 1, rates: Mapping[str, float] = RATES
) -> WaveData:
    """A wave whose arms have these login rates."""
    rng, members = np.random.default_rng(seed), units(n, first)
    arms = np.array([*SHARES])
    arm = rng.permutation(np.resize(np.repeat(arms, [3, 3, 2]), n))
    login = (rng.random(n) < np.array([rates[name] for name in arm])).astype(float)
    nothing = pl.repeat(None, n, dtype=pl.String, eager=True)
    return WaveData(
        members,
        members.stratum(spec.units.strata),
        pl.Series("arm", arm.tolist()),
        pl.Series([SHARES[name] for name in arm]),
        pl.repeat(None, n, dtype=pl.Boolean, eager=True),
        nothing,
        nothing.cast(pl.Float64),
        pl.DataFrame({"login": login, "minutes": login * rng.gamma(2.0, 10.0, n)}),
    )


def closed(
    text: str = STUDY, *, n: int = 240, waves: Sequence[str] = ("one", "two"), **options
) -> ClosedWaves:
    """Closed waves of a study, one unit after the other."""
    spec = parse_spec(text)
    return ClosedWaves(
        spec,
        {
            wave_id: ClosedWave(
                spec.wave(wave_id),
                wave_data(spec, n, first=n * i, seed=i + 1, **options),
                SHARES,
                CLOSED + timedelta(days=30 * i),
                None,
            )
            for i, wave_id in enumerate(waves)
        },
    )
