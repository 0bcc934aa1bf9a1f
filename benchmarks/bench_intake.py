"""Events in and outcomes out: file to store, store to outcomes.

    python benchmarks/bench_intake.py [--events 10000000] [--units 100000] [--postgresql]

Times are of this process's processor beside the wall clock, since machines are shared; the peer in
the same run is Python's own sqlite3 writing the same rows, as fast as a table without index or
checks can be. With --postgresql, a server of Debian's package is started on loopback; its own
processor time is not in the figures, so that wall time is what to look at.
"""

import argparse
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from postgres_server import new_database, running_postgres
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.files.read import read_table
from wavewise.fieldwork.outcomes import OutcomeRule, columns_needed, outcome_values
from wavewise.store import Store

START = datetime(2024, 3, 4, tzinfo=UTC)
RULES = [OutcomeRule("login", "any", "login"), OutcomeRule("minutes", "sum", "session")]
PIECE = 1_000_000


@contextmanager
def timed(what: str, n: int) -> Iterator[None]:
    wall, own = time.perf_counter(), time.process_time()
    yield
    wall, own = time.perf_counter() - wall, time.process_time() - own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{what:38} {n:>11,} rows  {wall:7.2f} s  {own:7.2f} s of processor  "
        f"{n / own:>10,.0f}/s of processor  {n / wall:>9,.0f}/s of wall  peak {peak:.2f} GiB",
        flush=True,
    )


def events(rng: np.random.Generator, units: pl.Series, first: int, n: int) -> pl.DataFrame:
    days = rng.integers(-86_400, 15 * 86_400, n)
    moments = (int(START.timestamp()) + days) * 1_000_000
    return pl.DataFrame(
        {
            "event_id": pl.Series(rng.permutation(n) + first).cast(pl.String),
            "unit_id": units.gather(rng.integers(0, len(units), n)),
            "kind": pl.Series(["login", "session"]).gather(rng.integers(0, 2, n)),
            "at_utc_us": moments,
            "value": rng.integers(1, 200, n) / 8,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    units = pl.Series([f"u{i:06d}" for i in range(options.units)])
    server = running_postgres() if options.postgresql else nullcontext()
    with tempfile.TemporaryDirectory() as folder, server as address:
        file = f"sqlite:///{Path(folder) / 'study.db'}"
        with Store.open(new_database(address, "bench") if address else file) as store:
            run(store, Path(folder), units, rng, options.events)
    sys.exit(0)


def run(
    store: Store, folder: Path, units: pl.Series, rng: np.random.Generator, n_events: int
) -> None:
    fields = pl.repeat("{}", len(units), eager=True)
    store.units.add(pl.DataFrame({"unit_id": units, "fields_json": fields}), START)
    n_file = min(n_events, PIECE)
    first = events(rng, units, 0, n_file)
    text = pl.from_epoch("at_utc_us", "us").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("at")
    first.select("event_id", "unit_id", "kind", text, "value").write_csv(folder / "events.csv")
    with timed("peer: sqlite3 executemany, no index", n_file):
        raw(folder / "raw.db", first)
    with timed("file in all", n_file):
        with timed("file: read and checked", n_file):
            checked = check_events(read_table(folder / "events.csv").frame)
        with timed("file: kept", n_file):
            store.events.add(checked.events, START)
    with timed("the same file again", n_file):
        again = store.events.add(
            check_events(read_table(folder / "events.csv").frame).events, START
        )
    assert again.n_repeated == n_file
    for begin in range(n_file, n_events, PIECE):
        n = min(PIECE, n_events - begin)
        with timed("more events kept", n):
            store.events.add(events(rng, units, begin, n), START)
    with timed("closed into outcomes", n_events):
        made = outcome_values(
            store.events.batches(columns_needed(RULES)),
            store.units.all().select("unit_id", "time_zone"),
            RULES,
            starts=date(2024, 3, 4),
            window_days=14,
            default_time_zone="America/Lima",
        )
    print(made.flow)


def raw(path: Path, frame: pl.DataFrame) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE event (event_id, unit_id, kind, at_utc_us, value)")
        db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", frame.iter_rows())


if __name__ == "__main__":
    main()
