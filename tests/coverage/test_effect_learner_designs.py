"""The stack on published designs: half the forest's error where effects are smooth.

The study is `benchmarks/bench_effect_learner.py error`; see docs/evidence/effect-learners.md.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "benchmarks/bench_effect_learner.py"


def repetitions(name: str, n: int, count: int) -> dict[str, float]:
    spec = importlib.util.spec_from_file_location("bench_effect_learner", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    rows = [bench.one(name, n, 500 + seed, 200) for seed in range(count)]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


@pytest.mark.parametrize(("name", "most"), [("B", 0.5), ("D", 0.5), ("eq28", 1.15)])
def test_error_beside_the_forest(name: str, most: float) -> None:
    found = repetitions(name, 1500, 2)
    assert found["stack"] < most * found["forest"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eq28", "eq29", "A", "B", "C", "D"])
def test_error_beside_the_best_single_learner(name: str) -> None:
    found = repetitions(name, 2000, 20)
    best = min(found[learner] for learner in ("forest", "r", "dr", "t"))
    assert found["stack"] < max(1.5 * best, best + 0.01 * found["variance"])
