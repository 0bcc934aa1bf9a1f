"""What must not change an effect: the order of rows, names, units of the outcome."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.estimate.effects.ate import ate

few = settings(max_examples=12, deadline=None, derandomize=True)
KINDS = ["HC2", "HC3", "HC1", "CR1", "CR2"]


def draw(seed):
    rng = np.random.default_rng(seed)
    n = 160
    strata = rng.integers(0, 5, n)
    return {
        "outcome": rng.normal(10, 3, n),
        "arm": np.array(["control", "a", "b"])[rng.integers(0, 3, n)],
        "strata": strata,
        "cluster": strata * 50 + rng.integers(0, 12, n),
        "covariates": rng.normal(size=(n, 2)),
    }, rng


def options(data, kind, adjusted):
    kept = dict(data)
    if not kind.startswith("CR"):
        del kept["cluster"]
    if not adjusted:
        del kept["covariates"]
    return kept | {"se": kind}


def same(first, second, scale=1.0):
    np.testing.assert_allclose(second.estimate, scale * first.estimate, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(second.std_error, abs(scale) * first.std_error, rtol=1e-8)
    np.testing.assert_allclose(second.df, first.df, rtol=1e-6)
    np.testing.assert_allclose(second.p_value, first.p_value, rtol=1e-5, atol=1e-12)


@few
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.booleans())
def test_order_of_rows(seed, kind, adjusted):
    data, rng = draw(seed)
    order = rng.permutation(160)
    shuffled = {name: values[order] for name, values in data.items()}
    same(ate(**options(data, kind, adjusted)), ate(**options(shuffled, kind, adjusted)))


@few
@given(
    st.integers(0, 10_000),
    st.sampled_from(KINDS),
    st.floats(-1e3, 1e3),
    st.sampled_from([-7.0, 1e-3, 400.0]),
)
def test_shift_and_scale_of_the_outcome(seed, kind, shift, scale):
    data, _ = draw(seed)
    moved = data | {"outcome": shift + scale * data["outcome"]}
    same(ate(**options(data, kind, True)), ate(**options(moved, kind, True)), scale)


@few
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_names_of_arms_strata_and_clusters(seed, kind):
    data, rng = draw(seed)
    names = {"control": "Z", "a": "0", "b": "A"}
    code = rng.permutation(1000)
    renamed = data | {
        "arm": pl.Series([names[arm] for arm in data["arm"]]),
        "strata": [f"stratum {code[s]}" for s in data["strata"]],
        "cluster": code[data["cluster"]] + 0.5,
    }
    first = ate(**options(data, kind, False))
    second = ate(**options(renamed, kind, False), control="Z")
    assert second.names == ("0", "A")
    same(first, second)


@few
@given(st.integers(0, 10_000), st.sampled_from(["HC2", "CR2"]), st.booleans())
def test_another_control_gives_the_same_contrasts(seed, kind, adjusted):
    data, _ = draw(seed)
    chosen = options(data, kind, adjusted)
    from_control = ate(**chosen).contrast({"a": 1, "b": -1})
    against_b = ate(**chosen, control="b")["a"]
    assert against_b.estimate == pytest.approx(from_control.estimate, rel=1e-8)
    assert against_b.std_error == pytest.approx(from_control.std_error, rel=1e-8)
    assert against_b.df == pytest.approx(from_control.df, rel=1e-6)


@few
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_units_are_clusters_of_one(seed, adjusted, strata):
    """HC2 and its degrees of freedom are CR2 with every unit a cluster."""
    data, _ = draw(seed)
    chosen = options(data, "HC2", adjusted)
    if not strata:
        del chosen["strata"]
    same(ate(**chosen), ate(**chosen, cluster=np.arange(160)))


@few
@given(st.integers(0, 10_000), st.sampled_from(["HC2", "HC1", "CR2", "CR1"]))
def test_collapsed_rows_equal_rows_of_units(seed, kind):
    """Weights of one make the same regression unit by unit."""
    data, _ = draw(seed)
    chosen = options(data, kind, False)
    same(ate(**chosen), ate(**chosen, weights=np.ones(160)))


@few
@given(st.integers(0, 10_000))
def test_centre_and_scale_of_covariates(seed):
    data, _ = draw(seed)
    moved = data | {"covariates": 1950 + data["covariates"] * np.array([3.0, 1e-1])}
    same(ate(**options(data, "CR2", True)), ate(**options(moved, "CR2", True)))


def test_a_stratum_of_one_unit_changes_nothing():
    data, _ = draw(3)
    more = {
        "outcome": np.append(data["outcome"], 99.0),
        "arm": np.append(data["arm"], "a"),
        "strata": np.append(data["strata"], 77),
    }
    first = ate(data["outcome"], data["arm"], strata=data["strata"])
    second = ate(**more)
    same(first, second)
    assert second.n_excluded == {"control": 0, "a": 1, "b": 0}
    assert "their stratum compares nothing" in second.summary()
