"""Properties of every assignment, over random designs."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.randomize import assign

FEW = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def share_rows(draw, n_arms):
    """Whole-number weights of one stratum, some of them 0, as exact fractions."""
    weight = draw(st.lists(st.integers(0, 12), min_size=n_arms, max_size=n_arms))
    weight[draw(st.integers(0, n_arms - 1))] += 1
    return [Fraction(w, sum(weight)) for w in weight]


@st.composite
def designs(draw):
    """Stratum sizes, exact shares by stratum, and a seed."""
    n_arms = draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    if draw(st.booleans()):
        rows = [draw(share_rows(n_arms))] * len(sizes)
    else:
        rows = [draw(share_rows(n_arms)) for _ in sizes]
    return sizes, rows, draw(st.integers(0, 2**32))


def as_call(sizes, rows):
    """Units, strata and shares as `assign` takes them."""
    strata = [f"s{s}" for s, n in enumerate(sizes) for _ in range(n)]
    shares = {
        f"s{s}": {f"arm{k}": float(q) for k, q in enumerate(row)} for s, row in enumerate(rows)
    }
    return list(range(len(strata))), strata, shares


@FEW
@given(designs())
def test_every_margin_is_floor_or_ceiling(design):
    sizes, rows, seed = design
    units, strata, shares = as_call(sizes, rows)
    a = assign(units, strata, shares, np.random.default_rng(seed))
    cells = Counter(zip(strata, a.arm.tolist(), strict=True))
    for s, (n, row) in enumerate(zip(sizes, rows, strict=True)):
        drawn = [cells[f"s{s}", f"arm{k}"] for k in range(len(row))]
        assert sum(drawn) == n
        for count, share in zip(drawn, row, strict=True):
            assert math.floor(n * share) <= count <= math.ceil(n * share)
    totals = Counter(a.arm.tolist())
    for k, column in enumerate(zip(*rows, strict=True)):
        expected = sum(n * q for n, q in zip(sizes, column, strict=True))
        assert math.floor(expected) <= totals[f"arm{k}"] <= math.ceil(expected)


@FEW
@given(designs())
def test_propensity_is_the_share_of_the_arm_that_was_drawn(design):
    sizes, rows, seed = design
    units, strata, shares = as_call(sizes, rows)
    a = assign(units, strata, shares, np.random.default_rng(seed))
    expected = [shares[s][arm] for s, arm in zip(strata, a.arm.tolist(), strict=True)]
    np.testing.assert_allclose(a.propensity, expected, rtol=0, atol=1e-15)
    assert (a.propensity > 0).all()
    np.testing.assert_allclose(a.propensities.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    own = a.propensities[np.arange(len(a)), a.arm_code]
    assert (own == a.propensity).all()


@FEW
@given(designs(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(design, random):
    sizes, rows, seed = design
    units, strata, shares = as_call(sizes, rows)
    a = assign(units, strata, shares, np.random.default_rng(seed))
    order = list(range(len(units)))
    random.shuffle(order)
    b = assign(
        [units[i] for i in order], [strata[i] for i in order], shares, np.random.default_rng(seed)
    )
    assert (b.arm == a.arm[order]).all()
    assert (b.propensity == a.propensity[order]).all()
    assert b.provenance == a.provenance


@FEW
@given(designs())
def test_clusters_of_one_margin_each(design):
    sizes, rows, seed = design
    _, strata, shares = as_call(sizes, rows)
    n_clusters = len(strata)
    size = np.random.default_rng(seed).integers(1, 5, n_clusters)
    cluster = np.repeat(np.arange(n_clusters), size)
    stratum = [strata[c] for c in cluster]
    units = [f"u{i}" for i in range(cluster.size)]
    a = assign(units, stratum, shares, np.random.default_rng(seed), cluster=cluster)
    arm_of = dict(zip(cluster.tolist(), a.arm.tolist(), strict=True))
    assert [arm_of[c] for c in cluster.tolist()] == a.arm.tolist()
    cells = Counter((strata[c], arm) for c, arm in arm_of.items())
    for s, (n, row) in enumerate(zip(sizes, rows, strict=True)):
        for k, share in enumerate(row):
            assert math.floor(n * share) <= cells[f"s{s}", f"arm{k}"] <= math.ceil(n * share)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64"])
def test_width_of_ids_does_not_matter(dtype):
    shares = {"control": 0.3, "a": 0.3, "b": 0.4}
    units = np.random.default_rng(0).permutation(100)
    strata = units % 7
    a = assign(units, strata, shares, np.random.default_rng(1))
    b = assign(units.astype(dtype), strata.astype(dtype), shares, np.random.default_rng(1))
    assert (a.arm == b.arm).all()


def containers():
    """Ways to hold the same ids and strata."""
    import pandas as pd

    return {
        "tuple": tuple,
        "numpy text": np.array,
        "numpy objects": lambda v: np.array(v, dtype=object),
        "numpy variable-width text": lambda v: np.array(v, dtype=np.dtypes.StringDType()),
        "polars": pl.Series,
        "polars categories": lambda v: pl.Series(v, dtype=pl.Categorical),
        "pandas": pd.Series,
        "pandas objects": lambda v: pd.Series(v, dtype=object),
        "pandas categories": lambda v: pd.Series(v, dtype="category"),
    }


@pytest.mark.parametrize("name", containers())
def test_container_does_not_matter(name):
    hold = containers()[name]
    units = [f"é{i:03d}" for i in np.random.default_rng(0).permutation(60).tolist()]
    strata = [f"school {i % 5}" for i in range(60)]
    shares = {"control": 0.5, "peers": 0.5}
    a = assign(units, strata, shares, np.random.default_rng(1))
    b = assign(hold(units), hold(strata), shares, np.random.default_rng(1))
    assert (a.arm == b.arm).all()
    assert a.provenance == b.provenance


def test_text_in_the_order_of_numbers_gives_the_same_draw():
    shares = {"control": 0.25, "a": 0.75}
    numbers = np.random.default_rng(0).permutation(200)
    text = [f"{i:04d}" for i in numbers.tolist()]
    a = assign(numbers, numbers % 3, shares, np.random.default_rng(1))
    b = assign(text, [f"{i % 3}" for i in numbers.tolist()], shares, np.random.default_rng(1))
    assert (a.arm == b.arm).all()


def test_renamed_arms_get_the_same_units():
    units = range(50)
    a = assign(units, None, {"x": 0.25, "y": 0.5, "z": 0.25}, np.random.default_rng(1))
    b = assign(units, None, {"q": 0.25, "r": 0.5, "s": 0.25}, np.random.default_rng(1))
    assert (a.arm_code == b.arm_code).all()


def test_sparse_ids_and_strata_beyond_a_table():
    # Labels too far apart for a lookup table take the sorting way; only their order counts.
    units = np.random.default_rng(0).permutation(300)
    shares = {"control": 0.4, "a": 0.6}
    a = assign(units, units % 11, shares, np.random.default_rng(1))
    b = assign(units * 10**12, (units % 11) * 10**15, shares, np.random.default_rng(1))
    assert (a.arm == b.arm).all()
