"""A small version of the coverage table: it runs, resumes, runs on Dask, and is written."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coverage_plan import PARTS, Chunk, Work, chunks, collected

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ADAPTIVE = next(part for part in PARTS if part.name == "adaptive")
SMALL = (replace(ADAPTIVE, cells=ADAPTIVE.cells[2:4], passes=2, each=20),)


def same(one, two):
    return all(
        a.keys() == b.keys()
        and all(
            np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f")
            for k in a.keys() - {"seconds"}
        )
        for a, b in zip(one, two, strict=True)
    )


def costly_order():
    """The first chunk of each costly design's part, and a few of the cheap ones."""
    return tuple(at for at in chunks(1) if at.design < 2 and PARTS[at.part].name == "policies")


@pytest.mark.full
def test_small_table(tmp_path):
    table = load("interval_coverage_table")
    order = tuple(chunks(parts=SMALL))
    tables, seconds = collected(order, [Work(order, SMALL)(k) for k in range(len(order))], SMALL)
    rows = tables["adaptive"]
    found = {
        name: np.mean([row[9] for row in rows if row[6] == name])
        for name in {row[6] for row in rows}
    }
    error = 4 * np.sqrt(0.95 * 0.05 / (40 * len(SMALL[0].cells)))
    for name, rate in found.items():
        if "usual" not in name and not name.startswith("ate"):
            assert rate > 0.95 - error, (name, rate)
    keys = {"adaptive": ADAPTIVE.keys}
    table.write(tables, seconds, tmp_path / "table", keys)
    page = (tmp_path / "table.md").read_text("utf-8")
    assert f"{len(rows)} rows are not printed" in page  # 40 repetitions tell too little
    assert len((tmp_path / "table.csv").read_text("utf-8").splitlines()) == 1


def test_rows_that_are_not_sure_enough_are_not_printed(tmp_path):
    """1,000 repetitions and an error of .007; the worst design stands beside the average."""
    table = load("interval_coverage_table")
    spread = (0.95 * 0.05) ** 0.5
    rows = [
        ("a", "usual", 1000, 1000, 0.95, spread, 1.0),
        ("b", "usual", 2000, 1500, 0.93, spread, 2.0),
        ("c", "usual", 999, 999, 0.5, 0.1, 2.0),
        ("d", "usual", 1000, 1000, 0.8, 0.4, 2.0),
    ]
    table.write({"one wave": rows}, {"one wave": 5.0}, tmp_path / "t", {"one wave": ("design",)})
    page = (tmp_path / "t.md").read_text("utf-8")
    assert "| usual | 2 | 0.940 | 0.930 | 0.0056 | 25.0% | b | 1.500 |" in page
    assert "2 rows are not printed" in page
    assert len((tmp_path / "t.csv").read_text("utf-8").splitlines()) == 3


def test_the_committed_table_keeps_the_rule():
    path = Path(__file__).parents[2] / "docs" / "evidence" / "interval-coverage.csv"
    with path.open(encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    assert kept
    assert all(int(row["with_interval"]) >= 1000 for row in kept)
    assert all(float(row["mc_error"]) <= 0.007 for row in kept)


@pytest.mark.full
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path):
    """The study itself, killed between chunks; what was finished is read, the rest is done."""
    study = load("interval_coverage")
    order = (*costly_order(), *(Chunk(0, d, 0) for d in range(6)))
    whole = study.run(None, order)
    code = (
        f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parent / 'support')]!r}\n"
        "import interval_coverage as study\nfrom coverage_plan import Chunk\n"
        f"study.run({str(tmp_path)!r}, {order!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert 2 <= len(done) < len(order)
    resumed = study.run(tmp_path, order)
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())
    assert same(whole, resumed)


@pytest.mark.full
def test_dask_gives_the_numbers_of_the_serial_run(tmp_path):
    distributed = pytest.importorskip("distributed")
    study = load("interval_coverage")
    order = (*costly_order(), Chunk(0, 0, 0), Chunk(0, 5, 0))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        there = study.run(tmp_path, order, scheduler=cluster.scheduler_address)
    assert same(study.run(None, order), there)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_of_the_plan_runs(part):
    assert part.passes * part.each >= 1000
    rows = part.repetition(part.designs()[-1], np.random.default_rng(1))
    assert rows
    assert all(np.isnan(holds) or 0 <= holds <= 1 for holds, _ in rows.values())


def test_chunks_are_listed_once():
    full = chunks()
    assert len(full) == len(set(full)) == sum(len(p.designs()) * p.passes for p in PARTS)
