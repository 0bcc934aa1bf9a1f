"""Checks of data quality: rows in any order, arms under any names, outcomes in any unit."""

import numpy as np
import pytest

from wavewise.evaluate import checks

N = 600
NAMES = np.array(["control", "a", "b"])
RENAMED = np.array(["control", "zeta", "alpha"])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    arm = rng.integers(0, 3, N)
    outcome = np.round(50 + 10 * rng.normal(size=N) + arm)
    outcome[rng.random(N) < 0.1 + 0.05 * arm] = np.nan
    due = np.where(arm > 0, 3, 0)
    return {
        "arm": arm,
        "outcome": outcome,
        "cluster": np.repeat(np.arange(30), N // 30),
        "wave": rng.integers(1, 4, N),
        "late": rng.random(N) < 0.3,
        "period": rng.integers(0, 2, N),
        "due": due,
        "delivered": rng.binomial(due, 0.8),
    }


def known(d):
    keep = ~np.isnan(d["outcome"])
    return {name: values[keep] for name, values in d.items()}


CHECKS = {
    "missing": lambda d, names: checks.missing_outcomes(d["outcome"], names[d["arm"]]),
    "bounds": lambda d, names: checks.attrition_bounds(d["outcome"], names[d["arm"]]),
    "heaping": lambda d, names: checks.heaping(
        known(d)["outcome"], arm=names[known(d)["arm"]], cluster=known(d)["cluster"]
    ),
    "clusters": lambda d, _: checks.implausible_clusters(
        known(d)["outcome"], known(d)["cluster"]
    ),
    "late": lambda d, names: checks.late_deliveries(
        known(d)["outcome"], names[known(d)["arm"]], known(d)["late"], period=known(d)["period"]
    ),
    "drift": lambda d, names: checks.control_drift(
        d["outcome"], names[d["arm"]], d["wave"], control="control"
    ),
    "dose": lambda d, names: checks.dose_by_arm(d["delivered"], d["due"], names[d["arm"]]),
}  # fmt: skip


def same(a, b):
    assert a.passed == b.passed
    assert (a.number is None) == (b.number is None)
    if a.number is not None:
        assert a.number == pytest.approx(b.number, rel=1e-7)


@pytest.mark.parametrize("name", CHECKS)
def test_rows_in_any_order(data, name):
    rows = np.random.default_rng(5).permutation(N)
    moved = {key: values[rows] for key, values in data.items()}
    plain, again = CHECKS[name](data, NAMES), CHECKS[name](moved, NAMES)
    same(plain, again)
    assert plain.text == again.text
    assert len(plain.table) == len(again.table)


@pytest.mark.parametrize("name", CHECKS)
def test_arms_under_any_names(data, name):
    plain, again = CHECKS[name](data, NAMES), CHECKS[name](data, RENAMED)
    same(plain, again)
    assert len(plain.table) == len(again.table)


@pytest.mark.parametrize("name", ["missing", "clusters", "late", "drift"])
def test_outcomes_in_any_unit(data, name):
    """Verdicts do not move; heaping is of the numbers as they stand, and bounds have a range."""
    moved = {**data, "outcome": 2 * data["outcome"] + 7}
    plain, again = CHECKS[name](data, NAMES), CHECKS[name](moved, NAMES)
    assert plain.passed == again.passed
    shift_free = {"drift", "late"}  # their number is a difference of outcomes
    if plain.number is not None:
        factors = (1, 2) if name in shift_free else (1,)
        assert any(again.number == pytest.approx(f * plain.number, rel=1e-6) for f in factors)


def test_bounds_scale_with_the_outcome(data):
    plain = checks.attrition_bounds(data["outcome"], NAMES[data["arm"]])
    twice = checks.attrition_bounds(2 * data["outcome"], NAMES[data["arm"]])
    for one, other in zip(plain.table, twice.table, strict=True):
        for key, value in one.items():
            if isinstance(value, float) and ("low" in key or "high" in key):
                assert other[key] == pytest.approx(2 * value, rel=1e-7)


def test_ratio_and_balance(data):
    arm = NAMES[data["arm"]]
    rows = np.random.default_rng(6).permutation(N)
    shares = dict.fromkeys(NAMES.tolist(), 1 / 3)
    same(checks.sample_ratio(arm, shares), checks.sample_ratio(arm[rows], shares))
    x = np.random.default_rng(7).normal(size=N)
    plain = checks.balance({"x": x}, arm)
    for other in (
        checks.balance({"x": x[rows]}, arm[rows]),
        checks.balance({"x": 100 * x - 3}, arm),
        checks.balance({"x": x}, RENAMED[data["arm"]]),
    ):
        same(plain, other)
