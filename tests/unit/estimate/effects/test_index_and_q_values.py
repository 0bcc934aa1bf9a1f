"""Index of outcomes and q values: what is refused, gaps, other units, and what is said."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError


def outcomes(n=200, seed=1):
    rng = np.random.default_rng(seed)
    arm = np.resize(["control", "sms"], n)
    common = rng.normal(size=n)
    return {"a": common + rng.normal(size=n), "b": rng.normal(size=n)}, arm


def test_the_control_has_mean_zero_and_one_outcome_is_itself():
    columns, arm = outcomes()
    found = ww.estimate.index(columns, arm)
    assert abs(found.values[arm == "control"].mean()) < 1e-12
    alone = ww.estimate.index({"a": columns["a"]}, arm)
    control = columns["a"][arm == "control"]
    expected = (columns["a"] - control.mean()) / control.std(ddof=1)
    np.testing.assert_allclose(alone.values, expected)
    np.testing.assert_allclose(ww.estimate.ate(found, arm).estimate,
                               ww.estimate.ate(found.values, arm).estimate)  # fmt: skip


def test_scale_and_direction_do_not_matter():
    columns, arm = outcomes()
    found = ww.estimate.index(columns, arm)
    turned = {"a": 60 * columns["a"] + 7, "b": -columns["b"] / 3}
    again = ww.estimate.index(turned, arm, higher_is_better={"b": False})
    np.testing.assert_allclose(again.values, found.values, rtol=1e-9, atol=1e-12)


def test_gaps_and_other_units():
    columns, arm = outcomes()
    columns["a"][:5] = np.nan
    columns["b"][:2] = np.nan
    found = ww.estimate.index(columns, arm, weights={"a": 1, "b": 3})
    assert np.isnan(found.values[:2]).all() and not np.isnan(found.values[2:]).any()
    b = (columns["b"] - found.control_mean[1]) / found.control_sd[1]
    np.testing.assert_allclose(found.values[2:5], b[2:5])
    np.testing.assert_array_equal(found.of(columns), found.values)
    with pytest.raises(InputError, match="needed a, b"):
        found.of({"a": columns["a"]})


def test_a_negative_weight_is_said():
    rng = np.random.default_rng(2)
    a = rng.normal(size=400)
    columns = {"a": a, "b": 5 * a + rng.normal(size=400)}
    arm = np.resize(["control", "sms"], 400)
    scaled = ww.estimate.index({"a": a, "b": columns["b"] + 4 * rng.normal(size=400)}, arm)
    assert (scaled.weights > 0).all()
    three = {**columns, "c": a + rng.normal(size=400) * 0.1, "d": rng.normal(size=400) + 3 * a}
    found = ww.estimate.index(three, arm)
    assert ("below 0" in found.summary()) == bool((found.weights < 0).any())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": {"a": 0, "b": 0}}, "sum to 0"),
        ({"weights": {"a": 1, "b": -1}}, "higher_is_better"),
        ({"weights": {"z": 1}}, "found z"),
        ({"weights": [1.0]}, "not one per unit"),
        ({"higher_is_better": {"z": False}}, "found z"),
        ({"control": "nobody"}, "found no arm 'nobody'"),
    ],
)
def test_what_is_refused(change, words):
    columns, arm = outcomes(40)
    with pytest.raises(InputError, match=words):
        ww.estimate.index(columns, arm, **change)


def test_what_cannot_be_estimated():
    columns, arm = outcomes(40)
    with pytest.raises(EstimationError, match="a, c"):
        ww.estimate.index({**columns, "c": 2 * columns["a"] + 1}, arm)
    ww.estimate.index({**columns, "c": 2 * columns["a"] + 1}, arm, weights=[1, 1, 1])
    with pytest.raises(EstimationError, match="without variation"):
        ww.estimate.index({**columns, "c": np.where(arm == "sms", 1.0, 0.0)}, arm)
    first, second = np.full(40, np.nan), np.full(40, np.nan)
    first[:20], second[20:] = np.arange(20), np.arange(20)
    with pytest.raises(EstimationError, match="both 'x' and 'y'"):
        ww.estimate.index({"x": first, "y": second}, arm)


# --- q values ---


def test_names_and_gaps_stay():
    found = ww.estimate.q_values({"logins": 0.01, "minutes": float("nan"), "score": 0.04})
    assert found.names == ("logins", "minutes", "score")
    assert found.n_tests == 2 and np.isnan(found.q_value[1])
    assert found.to_frame()["q_value"].null_count() == 1
    np.testing.assert_array_equal(np.asarray(found), found.q_value)


def test_q_values_follow_p_values_and_only_their_order_matters_for_ties():
    rng = np.random.default_rng(4)
    p = rng.random(200) ** 3
    for method in ("bh", "sharpened"):
        q = ww.estimate.q_values(p, method=method).q_value
        assert (np.diff(q[np.argsort(p)]) >= 0).all()
        assert ((q >= 0) & (q <= 1)).all()
        shuffled = rng.permutation(200)
        np.testing.assert_array_equal(ww.estimate.q_values(p[shuffled], method=method), q[shuffled])


@pytest.mark.parametrize("wrong", [[1.2], [-0.1, 0.2]])
def test_probabilities_only(wrong):
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        ww.estimate.q_values(wrong)


def test_methods_by_name():
    with pytest.raises(InputError, match="bh, sharpened"):
        ww.estimate.q_values([0.1], method="holm")
