"""The normal model's predictive check: silent on its own data, loud on others."""

import numpy as np
import pytest

from normal_panels import Shape, simulate
from wavewise.errors import InputError
from wavewise.estimate import hierarchical_normal, score_predictive_check
from wavewise.shared.results import CheckResult

SHAPE = Shape(200, 20, seed=41)


def check(change=lambda score, _: score, seed: int = 41) -> CheckResult:
    rows = simulate(Shape(200, 20, seed=seed))
    rows["score"] = change(rows["score"], rows)
    rng = np.random.default_rng(seed)
    post = hierarchical_normal(**rows, rng=rng, n_draws=2_000)
    return score_predictive_check(post, **rows, rng=rng)


def test_scores_of_the_model_pass() -> None:
    found = [check(seed=seed).passed for seed in range(50, 58)]
    assert found.count(False) <= 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda y, _: np.clip(y, 30, 60), "lowest score"),
        (lambda y, _: np.clip(y, 30, 60), "kurtosis"),
        (lambda y, _: np.exp(y / 20), "skewness"),
        (lambda y, rows: np.where(rows["period"] == 2, 3 * y, y), "sds between periods"),
        (lambda y, rows: np.where(rows["arm"] == "T2", 3 * y - 92, y), "sds between arms"),
    ],
)
def test_other_scores_fail_by_name(change, told: str) -> None:
    found = check(change)
    assert found.passed is False
    assert told in found.text


def test_table_has_every_statistic_and_arm() -> None:
    names = [row["statistic"] for row in check().table]
    assert names[:6] == [
        "lowest score", "highest score", "skewness", "kurtosis",
        "largest ratio of sds between periods", "largest ratio of sds between arms",
    ]  # fmt: skip
    assert names[6:8] == ["mean of control or not yet treated", "mean of T1"]
    assert len(names) == 6 + 2 * 5


def test_only_the_rows_of_the_fit() -> None:
    rows = simulate(SHAPE)
    rng = np.random.default_rng(1)
    post = hierarchical_normal(**rows, rng=rng, n_draws=1_000)
    with pytest.raises(InputError, match="not the"):
        score_predictive_check(post, **(rows | {"score": rows["score"] + 1}), rng=rng)
    with pytest.raises(InputError, match="n_replications"):
        score_predictive_check(post, **rows, rng=rng, n_replications=10)
