"""Tables 6, 7 and A.5 whole: every arm and column beside the printed ones, in a few simulations."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wavewise as ww
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.evaluate.simulation.engine import fitted


@pytest.fixture(scope="module")
def design(repository: Path) -> Any:
    sys.path.insert(0, str(repository / "examples" / "kenya-ivr"))
    try:
        import design

        yield design
    finally:
        sys.path.pop(0)


def test_every_arm_and_column_of_table_6(design: Any) -> None:
    pair = design.table_6(design.observed(), 4)
    lines = design._lines_of_6(pair, 4)
    rows = [line for line in lines if line.startswith("| ") and "(" in line]
    assert [row.split(" | ")[0][2:] for row in rows] == [*design.CALL_LEVELS, "selected"]
    assert all(row.count("(") == 8 for row in rows)
    adaptive = pair[0].arm_means
    shown = design.printed()["table_6"]["exploration"]
    assert adaptive["success_prob"] == pytest.approx(shown["success_prob"][:6], abs=0.012)
    assert (adaptive["success_sd"] / adaptive["success_prob"] > 0.3).all()
    # a tenth above the printed ones, and not known why: docs/methods/kenya-tables.md
    gap = adaptive["success_sd"] / np.array(shown["success_sd"][:6])
    assert (gap > 1.0).all()
    assert (gap < 1.2).all()


def test_both_panels_of_tables_7_and_a5(design: Any) -> None:
    seven = design._lines_of_7(design.table_7(4), "7", "the estimates")
    assert sum(line.startswith("| T") for line in seven) == 6
    a5 = design._lines_of_7(design.table_a5(4), "A.5", "uniform")
    assert sum(line.startswith(("| exploration", "| equal")) for line in a5) == 4


def test_the_standard_deviation_over_schools_against_draws() -> None:
    """sqrt(E[theta^2] - E[theta]^2) over posterior draws of beta and kappa and new schools."""
    rng = np.random.default_rng(1)
    school, arm = np.repeat(np.arange(30), 20), np.tile(["a", "b"], 300)
    prob = 1 / (1 + np.exp(2.0 - 0.6 * rng.normal(size=30)[school] - 0.4 * (arm == "b")))
    y = rng.binomial(9, prob)
    post = ww.estimate.hierarchical_binomial(
        y, np.full(600, 9), arm, school, rng=np.random.default_rng(2), n_draws=4096
    )
    eta = rng.standard_normal(4096)[:, None]
    theta = 1 / (1 + np.exp(-post.draws - post.kappa_draws[:, None] * eta))
    table = np.zeros((2, 1, 30, 2))
    np.add.at(table[0, 0], (school, (arm == "b").astype(int)), y)
    np.add.at(table[1, 0], (school, (arm == "b").astype(int)), 9)
    found = fitted(table[0], table[1], BinomialPrior(), np.random.default_rng(3))
    from wavewise.evaluate.simulation.engine import _sd_over_clusters

    assert _sd_over_clusters(found)[0] == pytest.approx(theta.std(axis=0), rel=0.06)
