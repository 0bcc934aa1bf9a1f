"""What must not change the forest, not even by a bit; and what must change it in a known way."""

import numpy as np
import pytest

from wavewise.estimate.forest.causal_forest import causal_forest

NAMES = np.array(["control", "a", "b", "c"])


def make(seed=0, n=1200, binary=True):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    X[rng.random(n) < 0.1, 1] = np.nan
    code = rng.integers(0, 4, n)
    mean = 0.3 + 0.2 * (code == 2) * (X[:, 0] > 0)
    outcome = (rng.random(n) < mean) * 1.0 if binary else mean + rng.normal(size=n)
    return X, code, outcome


def fit(X, arm, outcome, **options):
    settings = {
        "control": "control",
        "propensity": dict.fromkeys(np.unique(arm), 0.25),
        "n_trees": 40,
        "rng": np.random.default_rng(2),
    }
    return causal_forest(X, arm, outcome, **settings | options)


@pytest.mark.parametrize("binary", [True, False])
def test_the_order_of_rows_changes_nothing(binary):
    X, code, outcome = make(binary=binary)
    order = np.random.default_rng(3).permutation(code.size)
    first = fit(X, NAMES[code], outcome)
    second = fit(X[order], NAMES[code][order], outcome[order])
    np.testing.assert_array_equal(first.effects_oob[order], second.effects_oob)
    np.testing.assert_array_equal(first.std_error_oob[order], second.std_error_oob)
    np.testing.assert_array_equal(first.effects(X[:50]), second.effects(X[:50]))
    assert first.provenance.data_hash == second.provenance.data_hash


def test_clusters_and_ids_go_together():
    X, code, outcome = make(n=600)
    order, unit, school = (
        np.random.default_rng(3).permutation(600),
        np.arange(600),
        np.arange(600) % 60,
    )
    first = fit(X, NAMES[code], outcome, unit=unit, cluster=school)
    second = fit(
        X[order], NAMES[code][order], outcome[order], unit=unit[order], cluster=school[order]
    )
    np.testing.assert_array_equal(first.effects_oob[order], second.effects_oob)


def test_equal_rows_are_told_apart_by_their_ids():
    rng = np.random.default_rng(5)
    X, code = rng.integers(0, 2, size=(800, 2)) * 1.0, rng.integers(0, 4, 800)
    outcome = (rng.random(800) < 0.4) * 1.0
    order, unit = rng.permutation(800), np.arange(800)
    first = fit(X, NAMES[code], outcome, unit=unit)
    second = fit(X[order], NAMES[code][order], outcome[order], unit=unit[order])
    np.testing.assert_array_equal(first.effects_oob[order], second.effects_oob)


def test_names_of_arms_change_nothing():
    X, code, outcome = make()
    first = fit(X, NAMES[code], outcome)
    other = np.array(["nothing", "z", "y", "x"])
    second = fit(X, other[code], outcome, control="nothing")
    assert second.arms == ("x", "y", "z")
    np.testing.assert_array_equal(first.effects_oob, second.effects_oob[:, ::-1])
    np.testing.assert_array_equal(first.std_error_oob, second.std_error_oob[:, ::-1])


def test_names_of_clusters_change_nothing_but_the_draws():
    X, code, outcome = make()
    cluster = np.arange(1200) // 4
    first = fit(X, NAMES[code], outcome, cluster=cluster)
    second = fit(X, NAMES[code], outcome, cluster=[f"s{c:04d}" for c in cluster])
    np.testing.assert_array_equal(first.effects_oob, second.effects_oob)


@pytest.mark.parametrize("binary", [True, False])
def test_threads_change_nothing(binary):
    X, code, outcome = make(binary=binary)
    one = fit(X, NAMES[code], outcome, n_threads=1)
    for n_threads in (2, 3):
        many = fit(X, NAMES[code], outcome, n_threads=n_threads)
        np.testing.assert_array_equal(one.effects_oob, many.effects_oob)
        np.testing.assert_array_equal(one.std_error_oob, many.std_error_oob)
        assert one.hash == many.hash


def test_the_same_seed_gives_the_same_forest_and_another_another():
    X, code, outcome = make()
    first = fit(X, NAMES[code], outcome)
    assert first.hash == fit(X, NAMES[code], outcome).hash
    assert first.hash != fit(X, NAMES[code], outcome, rng=np.random.default_rng(4)).hash


def test_increasing_transformations_of_covariates_change_nothing():
    """Bins are quantiles: only the order of values enters, and draws follow the ids."""
    X, code, outcome = make()
    first = fit(X, NAMES[code], outcome, unit=np.arange(1200))
    second = fit(np.exp(X), NAMES[code], outcome, unit=np.arange(1200))
    np.testing.assert_array_equal(first.effects_oob, second.effects_oob)


@pytest.mark.parametrize(("shift", "scale"), [(8.0, 1.0), (0.0, 4.0), (-2.0, 0.3)])
def test_outcomes_shifted_and_scaled_give_effects_scaled(shift, scale):
    X, code, outcome = make()
    first = fit(X, NAMES[code], outcome, unit=np.arange(1200), min_arm_leaf=10)
    second = fit(X, NAMES[code], shift + scale * outcome, unit=np.arange(1200), min_arm_leaf=10)
    np.testing.assert_allclose(second.effects_oob, scale * first.effects_oob, atol=1e-3 * scale)
    np.testing.assert_allclose(second.std_error_oob, scale * first.std_error_oob, rtol=0.02)
