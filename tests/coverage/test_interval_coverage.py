"""A small version of the coverage table: it runs, resumes, runs on Dask, and is written."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import coverage_intervals
from coverage_plan import PARTS, Chunk, Part, Work, chunks, collected

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SMALL = (
    Part(
        "adaptive",
        PARTS[0].keys,
        (tuple(coverage_intervals.EFFECTS), (4,), ("thompson",), (0.1,), (0,), (1000,)),
        coverage_intervals.repetition,
        2,
    ),
)


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
    error = 4 * np.sqrt(0.95 * 0.05 / (40 * len(coverage_intervals.EFFECTS)))
    for name, rate in found.items():
        if "usual" not in name and not name.startswith("ate"):
            assert rate > 0.95 - error, (name, rate)
    table.write(tables, seconds, tmp_path / "table")
    page = (tmp_path / "table.md").read_text("utf-8")
    assert "Thompson sampling" in page
    assert "| chosen arm, weighted_m, hybrid |" in page
    assert len((tmp_path / "table.csv").read_text("utf-8").splitlines()) == len(rows) + 1


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
    order = (*costly_order(), Chunk(0, 0, 0), Chunk(0, 100, 0))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        there = study.run(tmp_path, order, scheduler=cluster.scheduler_address)
    assert same(study.run(None, order), there)


def test_every_design_of_the_plan_is_listed_and_every_part_runs():
    sizes = {}
    for part in PARTS:
        sizes[part.name] = sizes.get(part.name, 0) + len(part.designs())
    assert sizes["adaptive"] == 3 * 3 * 2 * 3 * 2 * 4
    full = chunks()
    assert len(full) == len(set(full)) == sum(len(p.designs()) * p.passes for p in PARTS)
    for p, part in enumerate(PARTS):
        if part.name in {"bootstrap", "randomization size", "fisher"}:
            rows = part.repetition(part.designs()[0], np.random.default_rng(p))
            assert all(0 <= holds <= 1 for holds, _ in rows.values())
