"""Labels: coded in sorted order, whatever holds them."""

import numpy as np
import polars as pl
import pytest

from wavewise.shared.inputs import read_labels
from wavewise.shared.labels import code, order_of_unique


@pytest.mark.parametrize("values", [[3, -1, 3, 10], [3, -1, 3, 10**15]])
def test_numbers_sort_as_numbers(values):
    coded = code(read_labels(values, "strata"))
    assert coded.labels == tuple(sorted(set(values)))
    assert coded.codes.tolist() == [1, 0, 1, 2]


def test_text_sorts_by_code_point():
    values = ["10", "9", "é", "Z", "a", "", "9"]
    coded = code(read_labels(values, "strata"))
    assert coded.labels == tuple(sorted(set(values)))
    assert [coded.labels[c] for c in coded.codes.tolist()] == values


def test_sorted_numbers_need_no_order():
    assert order_of_unique(read_labels(range(0, 50, 5), "units"), "units") is None


@pytest.mark.parametrize("values", [[5, 2, 9], ["b", "a", "c"]])
def test_order_sorts(values):
    order = order_of_unique(read_labels(values, "units"), "units")
    assert [values[i] for i in order.tolist()] == sorted(values)


def test_one_label():
    assert order_of_unique(read_labels(["a"], "units"), "units").tolist() == [0]
    assert order_of_unique(read_labels([4], "units"), "units") is None


def test_categories_keep_only_what_is_there():
    series = pl.Series(["b", "b"], dtype=pl.Enum(["a", "b"]))
    assert code(read_labels(series, "strata")).labels == ("b",)


def test_extremes_of_64_bits():
    values = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    assert code(read_labels(values, "strata")).codes.tolist() == [0, 1]
