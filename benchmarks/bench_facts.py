"""Freezing five facts of 100,000 people from 10,000,000 events at `wave open`: seconds, memory."""

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

import wavewise as ww
from wavewise.store import Store
from wavewise.workflow.frames import units_for
from wavewise.workflow.study import Study, read_study_file

STUDY = """
[study]
id = "s"
title = "S"
seed = 1
time_zone = "America/Lima"
[units]
id = "id"
strata = ["last_week"]
covariates = ["logins_4_weeks", "logins", "minutes", "days_since"]
[derived]
last_week = { event = "login", within_days = 7 }
logins_4_weeks = { event = "login", summary = "count", within_days = 28 }
logins = { event = "login", summary = "count" }
minutes = { event = "session", summary = "sum", within_days = 84 }
days_since = { event = ["login", "session"], summary = "days since last" }
[[messages]]
id = "a"
channel = "sms"
text.en = "Hello"
[schedules.s]
days = ["mon"]
at = "10:00"
[[outcomes]]
id = "y"
kind = "any"
event = "login"
[[waves]]
id = "w1"
starts = 2024-01-08
window_days = 14
schedule = "s"
control_share = 0.5
arms = ["a"]
"""
STARTS = datetime(2024, 1, 8, 12, tzinfo=UTC)
CHUNK = 1_000_000


def events(rng: np.random.Generator, ids: np.ndarray, first: int, n: int) -> pl.DataFrame:
    """Half logins, half sessions of half an hour, over the half year before the wave."""
    is_login = rng.random(n) < 0.5
    at = int(STARTS.timestamp() * 1e6) - rng.integers(0, 180 * 86_400, n) * 1_000_000
    return pl.DataFrame(
        {
            "event_id": np.char.mod("e%08d", np.arange(first, first + n)),
            "unit_id": ids[rng.integers(0, len(ids), n)],
            "kind": np.where(is_login, "login", "session"),
            "at_utc_us": at,
            "value": np.where(is_login, np.nan, rng.gamma(2.0, 15.0, n).round(1)),
        }
    ).with_columns(pl.col("value").fill_nan(None))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--store", help="database URL; a SQLite file by default")
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    ids = np.char.mod("%06d", np.arange(1, asked.people + 1))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "study.toml").write_text(STUDY)
        with ww.open_study(folder, store=asked.store, clock=lambda: STARTS) as study:
            study.register()
            study.people_import(pl.DataFrame({"id": ids}))
        url = asked.store or f"sqlite:///{folder / 'study.db'}"
        with Store.open(url) as store:
            for first in range(0, asked.events, CHUNK):
                n = min(CHUNK, asked.events - first)
                store.events.add(events(rng, ids, first, n), received_at=STARTS)
            text, spec = read_study_file(folder)
            before = resource.getrusage(resource.RUSAGE_SELF)
            began = time.perf_counter()
            found, _ = units_for(Study(folder, text, spec, store, lambda: STARTS), spec.waves[0])
            seconds = time.perf_counter() - began
            now = resource.getrusage(resource.RUSAGE_SELF)
        with ww.open_study(folder, store=asked.store, clock=lambda: STARTS) as study:
            began = time.perf_counter()
            opened = study.wave_open("w1", accept_late=True)
            whole = time.perf_counter() - began
    cpu = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
    print(found.facts.describe())
    print(f"{opened.n_strata} strata; facts {seconds:.1f} s ({cpu:.1f} s of processor time)")
    print(f"wave open {whole:.1f} s; at most {now.ru_maxrss / 2**20:.2f} GiB, the making included")


if __name__ == "__main__":
    main()
