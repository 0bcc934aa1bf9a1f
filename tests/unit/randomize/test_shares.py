"""Shares: both forms, and every fault at once."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from wavewise.errors import InputError
from wavewise.randomize.shares import parse_shares


def test_one_row_for_every_stratum():
    table = parse_shares({"a": 0.25, "b": 0.75}, ("x", "y"))
    assert table.arms == ("a", "b")
    assert table.share.tolist() == [[0.25, 0.75], [0.25, 0.75]]


def test_a_missing_arm_has_share_zero():
    table = parse_shares({"x": {"a": 1.0}, "y": {"b": 0.5, "a": 0.5}}, ("x", "y"))
    assert table.share.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_shares_are_divided_by_their_sum():
    table = parse_shares({"a": 0.333333333, "b": 0.333333333, "c": 0.333333333}, None)
    assert table.share[0] == pytest.approx([1 / 3] * 3, abs=1e-16)


@pytest.mark.parametrize("share", [Fraction(1, 2), np.float32(0.5), 0.5])
def test_any_real_number_is_taken(share):
    assert parse_shares({"a": share, "b": 0.5}, None).share.tolist() == [[0.5, 0.5]]


BAD = {
    "none": ({}, "found no arms"),
    "not a mapping": ([0.5, 0.5], "found no arms"),
    "both forms": ({"a": 0.5, "x": {"b": 0.5}}, "side by side"),
    "nan": ({"a": float("nan"), "b": 1.0}, "nan; needed a finite number"),
    "infinite": ({"a": float("inf"), "b": 0.0}, "inf; needed a finite number"),
    "negative": ({"a": -0.1, "b": 1.1}, r"-0.1; needed a finite number in \[0, 1\]"),
    "text": ({"a": "half", "b": 0.5}, "'half'; needed a finite number"),
    "decimal": ({"a": Decimal("0.5"), "b": 0.5}, "needed a finite number"),
    "truth value": ({"a": True}, "True; needed a finite number"),
    "number as name": ({1: 0.5, 2: 0.5}, "an arm named 1"),
    "empty name": ({"": 1.0}, "an arm named ''"),
    "above one": ({"a": 0.5, "b": 0.5001}, "a sum of 1.0001"),
    "just off": ({"a": 0.5, "b": 0.50000001}, "a sum of 1.00000001"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_shares_are_named(name):
    shares, message = BAD[name]
    with pytest.raises(InputError, match=message):
        parse_shares(shares, ("x",))


def test_every_fault_is_listed():
    shares = {"x": {"a": 2.0, "b": -1.0}, "y": {"a": 0.4}, "z": {}}
    with pytest.raises(InputError) as caught:
        parse_shares(shares, ("x", "y", "z", "w"))
    paths = [fault.path for fault in caught.value.faults]
    assert paths == [
        "shares['x']['a']",
        "shares['x']['b']",
        "shares['y']",
        "shares['z']",
        "shares['w']",
    ]
    assert "found 5 error(s)" in str(caught.value)


def test_shares_by_stratum_need_strata():
    with pytest.raises(InputError, match="shares of 1 strata but no strata"):
        parse_shares({"x": {"a": 1.0}}, None)
