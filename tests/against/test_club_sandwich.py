"""CR2 and Satterthwaite's degrees of freedom against R's clubSandwich, whose output is stored.

Two-stage least squares by AER's ivreg; effects on outcome and receipt and their covariance by that
of their sum.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import wavewise as ww

HERE = Path(__file__).parent / "club_sandwich"
CASES = ("few treated", "few clusters", "three treated clusters", "sizes 3 to 60", "crossed")
MODELS = ("units", "units, strata", "units, strata, x")


def table(name):
    with (HERE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


DATA, OUTPUT = table("data.csv"), table("output.csv")


def data(case):
    rows = [row for row in DATA if row["case"] == case]
    return {
        name: np.array([float(row[name]) for row in rows]) for name in DATA[0] if name != "case"
    }


def theirs(case, model):
    """Estimate, standard error and degrees of freedom, a row an effect."""
    rows = [row for row in OUTPUT if (row["case"], row["model"]) == (case, model)]
    columns = ("estimate", "std_error", "df")
    return np.array([[float(row[name]) for name in columns] for row in rows])


def ours(case, model):
    d = data(case)
    clustered, inverse = model.startswith("clusters"), model.endswith("inverse")
    return ww.estimate.ate(
        d["y"],
        d["arm"],
        control=0,
        weights=d["weight"],
        strata=d["stratum"] if "strata" in model else None,
        covariates=d["x"] if "x" in model.split(", ") else None,
        interact=False,
        cluster=d["cluster"] if clustered else None,
        working_model="inverse-weights" if inverse else "identity",
    )


def test_versions_that_were_run():
    assert {row["versions"] for row in OUTPUT} == {"R 4.2.2, clubSandwich 0.5.8, AER 1.2.10"}


@pytest.mark.parametrize("groups", ["units", "clusters"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_weights_take_the_identity_by_default(case, model, groups):
    model = model.replace("units", groups)
    found = ours(case, model)
    numbers = np.column_stack([found.estimate, found.std_error, found.df])
    np.testing.assert_allclose(numbers, theirs(case, model), rtol=1e-7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_inverse_weights_by_name(case, model):
    found = ours(case, f"{model}, inverse")
    numbers = np.column_stack([found.estimate, found.std_error, found.df])
    np.testing.assert_allclose(numbers, theirs(case, f"{model}, inverse"), rtol=1e-7)


def test_few_treated_units_have_four_degrees_of_freedom():
    """Not the 21.3 that weights would have if they were inverse variances."""
    assert ours("few treated", "units").df[0] == pytest.approx(4.254, abs=1e-3)
    assert ours("few treated", "units, inverse").df[0] == pytest.approx(21.258, abs=1e-3)


TWO_ARMS = CASES[:4]


def reached(case, weights, **options):
    d = data(case)
    return ww.estimate.cace(
        d["y"],
        d["arm"],
        d["received"],
        control=0,
        strata=d["stratum"],
        cluster=d["cluster"],
        weights=d["weight"] if weights else None,
        **options,
    )


@pytest.mark.parametrize("weights", ["", ", weights"])
@pytest.mark.parametrize("case", TWO_ARMS)
def test_two_stage_least_squares(case, weights):
    found = reached(case, weights, interval="two-stage")
    estimate, std_error, df = theirs(case, f"two-stage{weights}")[0]
    assert found.se == "CR2"
    assert found.estimate[0] == pytest.approx(estimate, rel=1e-8)
    assert found.std_error[0] == pytest.approx(std_error, rel=1e-7)
    assert found.df[0] == pytest.approx(df, rel=1e-6)


@pytest.mark.parametrize("weights", ["", ", weights"])
@pytest.mark.parametrize("case", TWO_ARMS)
def test_joint_covariance_and_the_set_of_anderson_and_rubin(case, weights):
    found = reached(case, weights)
    b, s, df = zip(
        *(theirs(case, f"{of}{weights}")[0] for of in ("y", "received", "sum")), strict=True
    )
    v_yy, v_rr = s[0] ** 2, s[1] ** 2
    v_yr = (s[2] ** 2 - v_yy - v_rr) / 2
    np.testing.assert_allclose(
        found.joint_cov[0], [[v_yy, v_yr], [v_yr, v_rr]], rtol=1e-6, atol=1e-12
    )
    assert (found.outcome_effect[0], found.first_stage[0]) == pytest.approx(b[:2], rel=1e-9)
    q = stats.t.ppf(0.975, df[0])
    grid = np.linspace(-60, 60, 480_001)
    kept = (b[0] - grid * b[1]) ** 2 <= q**2 * (v_yy - 2 * grid * v_yr + grid**2 * v_rr)
    sets = found.anderson_rubin()["1"]
    assert [value in sets for value in grid[::997]] == kept[::997].tolist()
    if sets.kind == "interval":
        assert grid[kept][[0, -1]] == pytest.approx([sets.low, sets.high], abs=6e-4)


@pytest.mark.parametrize("groups", ["units", "clusters"])
@pytest.mark.parametrize("case", TWO_ARMS)
def test_means_of_arms_with_square_root_weights(case, groups):
    d = data(case)
    found = ww.estimate.weighted_m(
        d["y"],
        d["arm"],
        1 / d["weight"],
        cluster=d["cluster"] if groups == "clusters" else None,
        small_sample="hc2-t",
    )
    expected = theirs(case, f"means of {groups}")
    numbers = np.column_stack([found.estimate, found.std_error, found.df])[:2]
    np.testing.assert_allclose(numbers, expected, rtol=1e-7)
