"""How long `status` takes on a study of many messages, and what its parts cost.

python benchmarks/bench_status.py [--messages 10000000] [--units 1000000]

The messages are written straight into the file, as the queue would have left them: ten sends a
unit, nine of ten delivered. Wall time and the process's own processor time are printed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from wavewise.design.parse import parse_spec
from wavewise.store import Store, WaveRow
from wavewise.workflow.send.status import status
from wavewise.workflow.study import Study

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STUDY = """
[study]
id = "large"
title = "Many messages"
seed = 1
time_zone = "UTC"
[units]
id = "id"
[[messages]]
id = "a"
channel = "sms"
text.en = "Hello"
[schedules.weekly]
days = ["mon"]
at = "17:00"
weeks = 4
[[outcomes]]
id = "login"
primary = true
kind = "any"
event = "login"
[[waves]]
id = "one"
starts = 2026-01-01
schedule = "weekly"
window_days = 30
control_share = 0.5
arms = ["a"]
"""


def fill(store: Store, n_units: int, n_messages: int) -> None:
    """A wave, its units and their messages."""
    ids = [f"u{i:07d}" for i in range(n_units)]
    none = dict.fromkeys(("cluster", "time_zone", "language"))
    units = pl.DataFrame({"unit_id": ids, "fields_json": "{}"}).with_columns(
        pl.lit(value, pl.String).alias(name) for name, value in none.items()
    )
    store.units.add(units, NOW)
    arm = pl.Series(["a", "control"]).gather(pl.int_range(n_units, eager=True) % 2)
    drawn = pl.DataFrame({"unit_id": ids, "stratum": "all", "arm": arm})
    store.waves.open(WaveRow("one", NOW), drawn)
    with store.engine.connect() as connection:
        raw = connection.connection.driver_connection
        raw.isolation_level = None
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("BEGIN")
        raw.execute(
            "INSERT INTO outbox (wave_id, unit_id, slot, message_key, arm, message_id, channel, "
            "content_json, time_zone, due_at_utc_us, next_at_utc_us, state, reason, attempts, "
            "queued_at_utc_us) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
            f"WHERE i + 1 < {n_messages}) SELECT 'one', printf('u%07d', i % {n_units}), "
            f"i / {n_units}, printf('%032d', i), CASE i % 2 WHEN 0 THEN 'a' ELSE 'control' END, "
            "'a', 'sms', '{\"text\":\"Hello\"}', 'UTC', 1, 1, "
            "CASE WHEN i % 10 = 0 THEN 'failed' ELSE 'delivered' END, "
            "CASE WHEN i % 10 = 0 THEN 'no address' END, 1, 1 FROM n"
        )
        raw.execute("COMMIT")


@contextmanager
def timed(name: str, seconds: dict[str, list[float]]) -> Iterator[None]:
    wall, own = time.perf_counter(), time.process_time()
    yield
    seconds[name] = [round(time.perf_counter() - wall, 2), round(time.process_time() - own, 2)]


def main() -> None:
    """The figures, as JSON: name, [wall, processor] seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=1_000_000)
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(f"sqlite:///{Path(folder) / 'study.db'}") as store,
    ):
        with timed("fill", seconds):
            fill(store, given.units, given.messages)
        study = Study(Path(folder), STUDY, parse_spec(STUDY), store, lambda: NOW)
        parts: dict[str, Callable[[], object]] = {
            "messages by arm": lambda: store.deliveries.by_arm(NOW),
            "messages by unit": lambda: store.deliveries.by_unit("one"),
            "due": lambda: store.deliveries.due_by_channel(NOW),
            "status": lambda: status(study),
        }
        for name, part in parts.items():
            with timed(name, seconds):
                part()
    print(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()
