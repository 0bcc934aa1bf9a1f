"""The index of Anderson (2008) and q values against R, whose script and output are stored."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

import wavewise as ww

HERE = Path(__file__).parent / "several_outcomes"
OUTCOMES = ("logins", "minutes", "complaints", "score")


def table(name):
    with (HERE / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name] or "nan") for row in rows])


def ours(weights=None):
    rows = table("data")
    return ww.estimate.index(
        {name: column(rows, name) for name in OUTCOMES},
        [row["arm"] for row in rows],
        weights=weights,
        higher_is_better={"complaints": False},
    )


def test_version_that_was_run():
    assert [row["version"] for row in table("version")] == ["4.2.2"]


def test_index_by_inverse_covariance():
    found = ours()
    np.testing.assert_allclose(found.weights, column(table("weights"), "weight"), rtol=1e-8)
    np.testing.assert_allclose(found.values, column(table("index"), "inverse"), rtol=1e-8)


def test_index_by_given_weights():
    for weights in ([2, 1, 1, 0], {"complaints": 1, "logins": 2, "minutes": 1}):
        found = ours(weights)
        np.testing.assert_allclose(found.values, column(table("index"), "given"), rtol=1e-8)


@pytest.mark.parametrize("family", sorted({row["family"] for row in table("p_values")}))
def test_q_values(family):
    p = column([row for row in table("p_values") if row["family"] == family], "p_value")
    theirs = [row for row in table("q_values") if row["family"] == family]
    bh = ww.estimate.q_values(p, method="bh").q_value
    sharp = ww.estimate.q_values(p, method="sharpened").q_value
    np.testing.assert_allclose(bh, column(theirs, "bh"), rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(sharp, column(theirs, "sharpened"), rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(bh, multipletests(p, method="fdr_bh")[1], rtol=1e-12, atol=1e-15)
    # a search over steps of .001 finds the next step
    up = [math.ceil(round(1000 * q, 9)) / 1000 for q in sharp]
    np.testing.assert_allclose(column(theirs, "grid"), up, atol=1e-12)


def test_the_mean_of_days_to_first_is_the_restricted_mean_of_survival():
    rows = table("times")
    arm = [row["arm"] for row in rows]
    found = ww.estimate.ate(column(rows, "days"), arm)
    theirs = {row["arm"]: float(row["rmean"]) for row in table("restricted_means")}
    for name in ("call", "sms"):
        gap = theirs[name] - theirs["control"]
        np.testing.assert_allclose(found[name].estimate, gap, rtol=1e-8)
