"""CR2 and Satterthwaite's degrees of freedom against R's clubSandwich, whose output is stored."""

import csv
from pathlib import Path

import numpy as np
import pytest

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
