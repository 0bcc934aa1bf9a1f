"""Killed in the middle, or two at once: all or nothing, and exactly one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from system_packages import lacking
from wavewise.store import Store, WaveRow

NOW = datetime(2023, 10, 9, tzinfo=UTC)
N_UNITS = 5_000

CHILD = """
import os, signal, sys
from datetime import UTC, datetime
import polars as pl
from wavewise.errors import StateError
from wavewise.store import Store, WaveRow, waves

url, point = sys.argv[1:]
append = waves.append

def append_and_die(connection, table, frame):
    n_rows = {"begun": 0, "half": len(frame) // 2}.get(point, len(frame))
    append(connection, table, frame.head(n_rows))
    os.kill(os.getpid(), signal.SIGKILL)

if point in {"begun", "half", "before commit"}:
    waves.append = append_and_die
store = Store.open(url)
units = store.units.all()["unit_id"]
frame = pl.DataFrame({"unit_id": units}).with_columns(
    stratum=pl.lit("s"), arm=pl.lit("a"), propensity=pl.lit(0.5)
)
print("ready", flush=True)
for line in sys.stdin:
    try:
        store.waves.open(WaveRow(line.strip(), datetime.now(UTC)), frame)
        print("won", flush=True)
    except StateError as error:
        print("refused: " + error.message, flush=True)
"""


class Child:
    """A process of its own that opens waves when told."""

    def __init__(self, url: str, point: str = "none", **environment: str) -> None:
        command = [sys.executable, "-c", CHILD, url, point]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | environment,
        )  # fmt: skip
        assert self.answer() == "ready"

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def open_wave(self, wave_id: str) -> None:
        self._process.stdin.write(wave_id + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        return self._process.stdout.readline().strip()

    def wait_for_death(self) -> None:
        assert self._process.wait(timeout=300) == -signal.SIGKILL


@pytest.fixture
def url(shared_url: str) -> str:
    with Store.open(shared_url) as store:
        store.units.add(units(), NOW)
    return shared_url


def units() -> pl.DataFrame:
    ids = [f"u{i}" for i in range(N_UNITS)]
    return pl.DataFrame({"unit_id": ids}).with_columns(fields_json=pl.lit("{}"))


def n_assigned(store: Store, wave_id: str) -> int:
    return 0 if store.waves.get(wave_id) is None else store.waves.assignment(wave_id).height


def open_again(store: Store, wave_id: str) -> int:
    units = store.units.all().select("unit_id", stratum=pl.lit("s"), arm=pl.lit("a"))
    store.waves.open(WaveRow(wave_id, NOW), units.with_columns(propensity=pl.lit(0.5)))
    return n_assigned(store, wave_id)


@pytest.mark.parametrize("point", ["begun", "half", "before commit"])
def test_killed_before_its_commit_leaves_nothing(url: str, point: str) -> None:
    with Child(url, point) as child:
        child.open_wave("w1")
        child.wait_for_death()
    with Store.open(url) as store:
        assert store.waves.get("w1") is None
        assert open_again(store, "w1") == N_UNITS


def test_killed_at_any_time_leaves_none_or_all(url: str) -> None:
    rng = random.Random(7)
    with Store.open(url) as store:
        for i in range(4):
            with Child(url) as child:
                child.open_wave(f"w{i}")
                time.sleep(rng.uniform(0, 0.1))
            assert n_assigned(store, f"w{i}") in {0, N_UNITS}
            if store.waves.get(f"w{i}") is None:
                assert open_again(store, f"w{i}") == N_UNITS


def test_of_two_processes_at_once_exactly_one_wins(url: str) -> None:
    with Child(url) as one, Child(url) as two:
        for i in range(6):
            for child in (one, two) if i % 2 else (two, one):
                child.open_wave(f"w{i}")
            loser, winner = sorted([one.answer(), two.answer()])
            assert winner == "won"
            assert loser.startswith(f"refused: wave 'w{i}' is already open")
    with Store.open(url) as store:
        assert [n_assigned(store, f"w{i}") for i in range(6)] == [N_UNITS] * 6


def test_a_wave_is_opened_once_in_a_language_whose_i_has_another_capital(tmp_path: Path) -> None:
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/tr_TR").exists():
        lacking("locales")
    made = tmp_path / "locales" / "tr_TR.UTF-8"
    made.parent.mkdir()
    subprocess.run(["localedef", "-i", "tr_TR", "-f", "UTF-8", made], check=True)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with Store.open(url) as store:
        store.units.add(units(), NOW)
    turkish = {"LOCPATH": str(made.parent), "LC_ALL": "tr_TR.UTF-8"}
    with Child(url, **turkish) as one, Child(url, **turkish) as two:
        one.open_wave("w")
        assert one.answer() == "won"
        two.open_wave("w")
        assert two.answer().startswith("refused: wave 'w' is already open")
