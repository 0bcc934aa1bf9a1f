"""Covariates: numbers, text, and what is missing."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.randomize.balance_check import expand


def test_array_columns_are_named():
    parts = expand(np.arange(6.0).reshape(3, 2), 3)
    assert [part.name for part in parts] == ["x1", "x2"]
    assert parts[1].columns.tolist() == [[1.0], [3.0], [5.0]]


def test_missing_numbers_are_filled_and_flagged():
    parts = expand({"age": [10.0, np.nan, 30.0]}, 3)
    assert [part.name for part in parts] == ["age", "age (missing)"]
    assert parts[0].columns.ravel().tolist() == [10.0, 20.0, 30.0]
    assert parts[1].columns.ravel().tolist() == [0.0, 1.0, 0.0]
    assert "1 missing" in parts[0].note


def test_constant_but_sometimes_missing():
    parts = expand({"age": [7, None, 7]}, 3)
    assert "constant" in parts[0].note
    assert parts[1].columns.shape == (3, 1)


@pytest.mark.parametrize(
    "values",
    [["b", "a", None], np.array(["b", "a", None], dtype=object), pl.Series(["b", "a", None])],
)
def test_text_becomes_levels(values):
    (part,) = expand({"sex": values}, 3)
    assert part.levels == ("sex=(missing)", "sex=a", "sex=b")
    assert part.columns.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_frames_of_both_kinds():
    import pandas as pd

    data = {"age": [1, 2, 3], "ok": [True, False, True], "town": ["x", "y", "x"]}
    parts = [expand(frame, 3) for frame in (pl.DataFrame(data), pd.DataFrame(data), data)]
    for other in parts[1:]:
        for a, b in zip(parts[0], other, strict=True):
            assert a.name == b.name
            assert a.levels == b.levels
            assert (a.columns == b.columns).all()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([5, 5, 5], "constant"),
        (["a", "a", "a"], "constant"),
        ([np.nan] * 3, "all values are missing"),
        ([None] * 3, "all values are missing"),
    ],
)
def test_what_cannot_be_tested_says_why(values, why):
    (part,) = expand({"z": values}, 3)
    assert part.columns.shape == (3, 0)
    assert part.note == f"not tested: {why}"


def test_too_many_levels():
    (part,) = expand({"name": [f"n{i}" for i in range(60)]}, 60)
    assert "60 levels, more than 50" in part.note


BAD = {
    "none": ({}, "found no covariate"),
    "short": ({"age": [1, 2]}, "found 2 rows for 3 units"),
    "infinite": ({"age": [1.0, np.inf, -np.inf]}, "2 infinite values"),
    "dates": ({"born": [dt.date(2020, 1, 1)] * 3}, "type date"),
    "mixed": ({"z": [1, "a", 2]}, "needed numbers or text|mixed types"),
    "cube": (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_covariates_are_named(name):
    covariates, message = BAD[name]
    with pytest.raises(InputError, match=message):
        expand(covariates, 3)
