"""Predictions are not judged on outcomes that their model learned from."""

import numpy as np
import pytest

from wavewise.errors import InputError, StateError
from wavewise.estimate.forest.causal_forest import CausalForest, causal_forest
from wavewise.estimate.matching.neighbours import neighbours
from wavewise.evaluate import calibration, cost_curve, doubly_robust_scores, toc

SHARES = {"control": 0.5, "a": 0.3, "b": 0.2}


def draw(seed, n=1500, discrete=False):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, size=(n, 2)) * 1.0 if discrete else rng.normal(size=(n, 2))
    arm = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    chance = 0.3 + 0.3 * (arm == "a") * (X[:, 0] > 0)
    return X, arm, (rng.random(n) < chance) * 1.0


def learn(X, arm, y, kind="forest"):
    if kind == "neighbours":
        return neighbours(X, arm, y, control="control", k=30)
    return causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=40, min_arm_leaf=10,
        shrink=False, rng=np.random.default_rng(1),
    )  # fmt: skip


def scored(X, arm, y):
    return doubly_robust_scores(X, arm, y, propensity=SHARES, control="control")


@pytest.mark.parametrize("kind", ["forest", "neighbours"])
def test_in_sample_predictions_are_refused_in_any_order_and_fresh_ones_taken(kind):
    data = draw(1)
    model = learn(*data, kind)
    order = np.random.default_rng(2).permutation(1500)[:1000]
    for rows in (np.arange(1500), order):
        X, arm, y = (part[rows] for part in data)
        effects, scores = model.effects(X), scored(X, arm, y)
        with pytest.raises(StateError, match=r"priority: .* about 100% of the 1,"):
            toc(effects[:, 0], scores.effect("a"))
        with pytest.raises(StateError, match="effects: "):
            cost_curve(effects, scores.effects)
        with pytest.raises(StateError, match="predicted: "):
            calibration(effects[:, 1], scores.effects[:, 1])
    X, arm, y = draw(3)
    effects, scores = model.effects(X), scored(X, arm, y)
    assert toc(effects[:, 0], scores.effect("a")).autoc.estimate > 0
    assert cost_curve(effects, scores.effects).gain(0.5).estimate > 0
    assert calibration(effects[:, 0], scores.effect("a")).groups.height == 5


def test_out_of_bag_predictions_are_taken_and_said_so():
    data = draw(4)
    forest, scores = learn(*data), scored(*data)
    found = toc(forest.effects_oob[:, 0], scores.effect("a"), basis="out-of-bag")
    assert "out-of-bag" in found.provenance.method
    curve = cost_curve(forest.effects_oob, scores.effects, basis="out-of-bag")
    assert "out-of-bag" in curve.provenance.method
    with pytest.raises(InputError, match="basis"):
        toc(forest.effects_oob[:, 0], scores.effect("a"), basis="mine")


def test_what_chance_repeats_is_not_the_same_data():
    """Few distinct rows: most fresh units have a twin among those learned from."""
    forest = learn(*draw(5, discrete=True))
    X, arm, y = draw(6, discrete=True)
    assert toc(forest.effects(X)[:, 0], scored(X, arm, y).effect("a")).n_units == 1500


def test_a_loaded_forest_still_knows(tmp_path):
    data = draw(7)
    learn(*data).save(tmp_path / "forest")
    again = CausalForest.load(tmp_path / "forest")
    with pytest.raises(StateError):
        toc(again.effects(data[0])[:, 0], scored(*data).effect("a"))


def test_arithmetic_forgets_and_gives_plain_arrays():
    X, arm, y = draw(8)
    effects = learn(X, arm, y).effects(X)
    assert type(effects + 1) is np.ndarray
    assert type(effects.mean(axis=0)) is np.ndarray
    assert type(effects.mean()) is np.float64
    assert not effects.flags.writeable
