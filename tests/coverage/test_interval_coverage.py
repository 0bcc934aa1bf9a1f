"""A small version of the coverage table: it runs, resumes, and shows what it is for."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_small_table(tmp_path):
    study, table = load("interval_coverage"), load("interval_coverage_table")
    cells = [
        {
            "effect": effect,
            "waves": 4,
            "rule": "thompson",
            "floor": 0.1,
            "clusters": 0,
            "units": 1000,
        }
        for effect in study.EFFECTS
    ]
    for cell in cells:
        study.task(cell, 0, tmp_path)
        study.task(cell, 1, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    study.task(cells[0], 0, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    rows = list(study.collected(tmp_path))
    found = {
        name: np.mean([row[9] for row in rows if row[6] == name])
        for name in {row[6] for row in rows}
    }
    n = 40 * len(cells)
    error = 4 * np.sqrt(0.95 * 0.05 / n)
    for name, rate in found.items():
        if "usual" not in name and name != "OLS":
            assert rate > 0.95 - error, (name, rate)
    table.write(rows, tmp_path / "table")
    page = (tmp_path / "table.md").read_text("utf-8")
    assert "Thompson sampling" in page
    assert "| chosen arm, weighted_m, hybrid |" in page
    assert len((tmp_path / "table.csv").read_text("utf-8").splitlines()) == len(rows) + 1


def test_every_design_of_the_plan_is_listed():
    study = load("interval_coverage")
    assert len(list(study.designs())) == 3 * 3 * 2 * 3 * 2 * 4
