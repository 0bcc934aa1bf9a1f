"""`data-check` on 100,000 people and 1,000,000 events: seconds, beside reading the events once."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

import wavewise as ww

N_PEOPLE, N_EVENTS = 100_000, 1_000_000
STUDY = """
[study]
id = "s"
title = "S"
seed = 1
time_zone = "UTC"
[units]
id = "id"
strata = ["school"]
covariates = ["score"]
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


def main() -> None:
    rng = np.random.default_rng(1)
    ids = np.char.mod("%06d", np.arange(1, N_PEOPLE + 1))
    people = pl.DataFrame(
        {
            "id": ids,
            "school": rng.choice(["North", "South", "East"], N_PEOPLE),
            "score": rng.normal(size=N_PEOPLE),
        }
    )
    who = rng.integers(0, N_PEOPLE, N_EVENTS)
    written = np.where(rng.random(N_EVENTS) < 0.03, np.char.lstrip(ids[who], "0"), ids[who])
    at = 1_704_700_800 + rng.integers(0, 20 * 86_400, N_EVENTS)
    events = pl.DataFrame(
        {
            "event_id": np.char.mod("e%d", np.arange(N_EVENTS)),
            "unit_id": written,
            "kind": "login",
            "at": pl.from_epoch(pl.Series(at)).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "study.toml").write_text(STUDY)
        with ww.open_study(folder, clock=lambda: datetime(2024, 3, 1, tzinfo=UTC)) as study:
            study.register()
            study.people_import(people)
            study.wave_open("w1", accept_late=True)
            study.observe(events, keep_unmatched=True)
        with ww.open_study(folder) as study:
            began = time.perf_counter()
            n_rows = study.events().height
            read = time.perf_counter() - began
        with ww.open_study(folder) as study:
            began = time.perf_counter()
            found = study.data_check()
            seconds = time.perf_counter() - began
    print(found.summary())
    print(f"data-check {seconds:.2f} s; reading {n_rows:,} events {read:.2f} s")


if __name__ == "__main__":
    main()
