"""The forest's numbers on easy cases, its forms, its file, and bad input."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import polars as pl
import pytest

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.forest.causal_forest import CausalForest, causal_forest

SHARES = {"control": 0.4, "call": 0.3, "sms": 0.3}


def make(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    arm = rng.choice(list(SHARES), size=n, p=list(SHARES.values()))
    effect = 2.0 * (X[:, 0] > 0) * (arm == "sms") + 1.0 * (arm == "call")
    return X, arm, X[:, 1] + effect + rng.normal(size=n)


def fit(X, arm, outcome, seed=5, **options):
    settings = {"control": "control", "propensity": SHARES, "n_trees": 80, "min_arm_leaf": 10}
    return causal_forest(X, arm, outcome, rng=np.random.default_rng(seed), **settings | options)


@pytest.fixture(scope="module")
def data():
    return make()


@pytest.fixture(scope="module")
def forest(data):
    return fit(*data)


def test_effects_are_found_where_they_are(forest, data):
    high, low = data[0][:, 0] > 0.3, data[0][:, 0] < -0.3
    call, sms = forest.effects_oob[:, 0], forest.effects_oob[:, 1]
    assert forest.arms == ("call", "sms")
    assert abs(sms[high].mean() - 2) < 0.35
    assert abs(sms[low].mean()) < 0.35
    assert abs(call.mean() - 1) < 0.25
    assert call.std() < 0.4


def test_new_units_get_effects_and_errors(forest):
    points = np.array([[1.5, 0, 0, 0], [-1.5, 0, 0, 0]])
    effects, errors = forest.effects(points), forest.std_error(points)
    assert effects.shape == errors.shape == (2, 2)
    assert effects[0, 1] - effects[1, 1] > 1
    assert (errors > 0).all()
    assert forest.std_error_oob.shape == forest.effects_oob.shape
    assert (forest.std_error_oob > 0).all()


def test_the_covariate_that_matters_is_the_most_important(forest):
    importance = forest.variable_importance
    assert list(importance) == ["x1", "x2", "x3", "x4"]
    assert max(importance, key=importance.get) == "x1"
    assert sum(importance.values()) == pytest.approx(1)


def test_the_average_is_the_adjusted_difference_of_means(forest, data):
    _, arm, outcome = data
    plain = [outcome[arm == k].mean() - outcome[arm == "control"].mean() for k in forest.arms]
    np.testing.assert_allclose(forest.ate, plain, atol=0.25)
    np.testing.assert_allclose(forest.effects_oob.mean(axis=0), forest.averages, atol=1e-12)
    assert np.ptp(forest.averages) < np.ptp(forest.ate)


def test_results_cannot_be_changed(forest):
    with pytest.raises(FrozenInstanceError):
        forest.n_trees = 3
    for array in (forest.effects_oob, forest.std_error_oob, forest.ate):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_forms(forest):
    frame = forest.to_frame()
    assert frame["arm"].to_list() == ["call", "sms"]
    held = json.loads(json.dumps(forest.to_dict()))
    assert held["version"] == 1
    assert held["arms"] == ["call", "sms"]
    assert held["provenance"]["seed"] == forest.provenance.seed
    text = forest.summary()
    assert "80 trees" in text
    assert "at least 10 units of each arm (given)" in text
    assert "x1" in text


def test_saved_and_loaded_gives_the_same_bits(forest, tmp_path, data):
    path = tmp_path / "a.forest"
    assert forest.save(path) == forest.hash
    again = CausalForest.load(path)
    assert again.hash == forest.hash
    for name in ("effects_oob", "std_error_oob", "ate"):
        np.testing.assert_array_equal(getattr(again, name), getattr(forest, name))
    X = data[0][:100] + 0.1
    np.testing.assert_array_equal(again.effects(X), forest.effects(X))
    np.testing.assert_array_equal(again.std_error(X), forest.std_error(X))
    assert again.to_dict() == forest.to_dict()
    assert again.summary() == forest.summary()
    again.save(tmp_path / "b.forest")
    assert (tmp_path / "b.forest").read_bytes() == path.read_bytes()


def test_a_changed_file_is_refused(forest, tmp_path):
    path = tmp_path / "a.forest"
    forest.save(path)
    with np.load(path) as held:
        arrays = {name: held[name] for name in held.files}
    arrays["means"] = arrays["means"] + 1e-9
    with (tmp_path / "b.forest").open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(InputError, match="changed or damaged"):
        CausalForest.load(tmp_path / "b.forest")
    (tmp_path / "c.forest").write_bytes(b"no forest")
    with pytest.raises(InputError, match="cannot be read"):
        CausalForest.load(tmp_path / "c.forest")


def test_leaf_size_is_chosen_out_of_bag(data):
    forest = fit(*data, min_arm_leaf=None, n_trees=40)
    tried = [candidate.min_arm_leaf for candidate in forest.tuning]
    assert tried[:2] == [5, 10]
    losses = [candidate.loss for candidate in forest.tuning]
    assert losses[tried.index(forest.min_arm_leaf)] == min(losses)
    assert forest.loss < forest.loss_of_averages


def test_every_leaf_holds_enough_units_of_every_arm(data):
    """The sizes of leaves cannot be below arms times the least count."""
    forest = fit(*data, min_arm_leaf=12)
    assert forest._model.trees.size.min() >= 3 * 12


def test_without_differences_everybody_has_the_average():
    rng = np.random.default_rng(3)
    X, arm = rng.normal(size=(3000, 5)), rng.choice(["control", "sms"], size=3000)
    outcome = (rng.random(3000) < 0.02 + 0.01 * (arm == "sms")).astype(float)
    forest = fit(X, arm, outcome, propensity={"control": 0.5, "sms": 0.5}, min_arm_leaf=None)
    spread = forest.effects_oob.std()
    raw = fit(X, arm, outcome, propensity={"control": 0.5, "sms": 0.5}, shrink=False)
    assert spread < 0.5 * raw.effects_oob.std()
    assert "average effects" in forest.summary()


def test_missing_values_are_information():
    rng = np.random.default_rng(4)
    x, arm = rng.normal(size=1500), rng.choice(["control", "sms"], size=1500)
    gone = rng.random(1500) < 0.3
    outcome = 2.0 * gone * (arm == "sms") + rng.normal(size=1500)
    X = np.column_stack([np.where(gone, np.nan, x), rng.normal(size=1500)])
    forest = fit(X, arm, outcome, propensity={"control": 0.5, "sms": 0.5})
    absent, present = forest.effects([[np.nan, 0.0], [0.0, 0.0]])[:, 0]
    assert absent > 1.3
    assert present < 0.7


def test_missing_values_unseen_in_training_follow_the_larger_child(forest):
    effect = forest.effects([[np.nan, 0, 0, 0]])
    assert np.isfinite(effect).all()


def test_text_and_frames():
    rng = np.random.default_rng(6)
    region = rng.choice(["coast", "forest", "hills"], size=1500)
    arm = rng.choice(["control", "sms"], size=1500)
    outcome = 2.0 * (region == "hills") * (arm == "sms") + rng.normal(size=1500)
    age = rng.integers(20, 60, size=1500)
    frame = pl.DataFrame({"region": region, "age": age})
    forest = fit(frame, arm, outcome, propensity={"control": 0.5, "sms": 0.5})
    assert forest.covariates == ("region", "age")
    new = pl.DataFrame(
        {"age": [40, 40, 40], "region": ["hills", "coast", "moon"], "more": [1, 2, 3]}
    )
    hills, coast, moon = forest.effects(new)[:, 0]
    assert hills > 1.3
    assert coast < 0.7
    missing = forest.effects({"age": [40], "region": [None]})[0, 0]
    assert moon == missing
    again = fit(
        {"region": region.tolist(), "age": age},
        arm,
        outcome,
        propensity={"control": 0.5, "sms": 0.5},
    )
    np.testing.assert_array_equal(again.effects_oob, forest.effects_oob)
    with pytest.raises(InputError, match="no covariate 'age'"):
        forest.effects({"region": ["coast"]})
    with pytest.raises(InputError, match="found numbers; needed text"):
        forest.effects({"region": [1.0], "age": [30]})


def test_propensities_by_stratum_undo_what_they_confound():
    """Within strata nothing depends on the arm; a plain difference of means says otherwise."""
    rng = np.random.default_rng(7)
    n = 4000
    stratum = rng.choice(["rich", "poor"], size=n)
    sms = rng.random(n) < np.where(stratum == "rich", 0.8, 0.2)
    outcome = 2.0 * (stratum == "rich") + rng.normal(size=n)
    shares = {
        "rich": {"control": 0.2, "sms": 0.8},
        "poor": {"control": 0.8, "sms": 0.2},
    }
    X = rng.normal(size=(n, 3))
    arm = np.where(sms, "sms", "control")
    naive = outcome[sms].mean() - outcome[~sms].mean()
    by_stratum = fit(X, arm, outcome, propensity=shares, strata=stratum, min_arm_leaf=50)
    assert naive > 1
    assert abs(by_stratum.ate[0]) < 0.2
    assert np.abs(by_stratum.effects_oob).max() < 0.6
    rich = np.where(stratum == "rich", 0.8, 0.2)
    matrix = np.column_stack([1 - rich, rich])
    by_unit = fit(X, arm, outcome, propensity=matrix, min_arm_leaf=50)
    np.testing.assert_allclose(by_unit.effects_oob, by_stratum.effects_oob, atol=1e-12)
    with pytest.raises(InputError, match="do not match the arms"):
        fit(X, arm, outcome, propensity={"control": 0.4, "sms": 0.6})


def test_clusters_stay_together():
    rng = np.random.default_rng(8)
    school = np.repeat(np.arange(100), 15)
    arm = np.array(["control", "sms"])[rng.permutation(np.arange(100) % 2)][school]
    X = rng.normal(size=(100, 3))[school]
    outcome = rng.normal(size=100)[school] + rng.normal(size=1500)
    shares = {"control": 0.5, "sms": 0.5}
    forest = fit(X, arm, outcome, propensity=shares, cluster=school)
    model = forest._model
    inside = np.unpackbits(model.trees.inside, axis=1, count=1500)
    for group in inside:
        share = np.bincount(model.training.part, weights=group) / 15
        assert set(np.unique(share)) == {0.0, 1.0}
    alone = fit(X, arm, outcome, propensity=shares)
    assert forest.std_error_oob.mean() > 1.25 * alone.std_error_oob.mean()


def test_pairs_borrow_strength_over_messages():
    names = ["control", *(f"{a}+{b}" for a in "abc" for b in "abc")]
    errors = np.zeros(2)
    for seed in (9, 10, 11):
        rng = np.random.default_rng(seed)
        code = rng.integers(0, 10, 6000)
        X = rng.normal(size=(6000, 4))
        outcome = 1.0 * np.isin(code, [4, 5, 6]) * (X[:, 0] > 0) + rng.normal(size=6000)
        truth = np.zeros((6000, 9))
        truth[:, 3:6] = X[:, [0]] > 0
        given = {"propensity": dict.fromkeys(names, 0.1), "min_arm_leaf": 5, "n_trees": 120}
        pairs = fit(X, np.array(names)[code], outcome, pairs="two-factor", **given)
        alone = fit(X, np.array(names)[code], outcome, **given)
        errors += [((f.effects_oob - truth) ** 2).mean() for f in (pairs, alone)]
        assert pairs.kept["first message"] > 0.5
        assert pairs.kept["each pair"] < pairs.kept["first message"]
    assert errors[0] < 0.9 * errors[1]


def test_pairs_need_names_of_two_messages(data):
    with pytest.raises(InputError, match=r"found arms 'call', 'sms'|found arms 'sms', 'call'"):
        fit(*data, pairs="two-factor")


def test_small_arms_are_refused_or_left_out_on_request(data):
    X, arm, outcome = data
    arm = arm.astype("U12")
    arm[:7] = "letter"
    shares = {"control": 0.4, "call": 0.3, "sms": 0.295, "letter": 0.005}
    with pytest.raises(EstimationError, match="too few units for an honest split") as caught:
        fit(X, arm, outcome, propensity=shares)
    assert "arm 'letter': found 7 units" in str(caught.value)
    forest = fit(X, arm, outcome, propensity=shares, drop_small_arms=True)
    assert forest.dropped == ("letter",)
    assert forest.arms == ("call", "sms")
    assert forest.n_units == 1493
    assert forest.effects_oob.shape == (1500, 2)
    np.testing.assert_array_equal(np.isnan(forest.effects_oob[:, 0]), arm == "letter")


BAD_COVARIATES = {
    "constant": (np.ones(1500), "'bad': found the same value 1.0 for every unit"),
    "all missing": (np.full(1500, np.nan), "'bad': found no value at all"),
    "infinite": (np.r_[np.inf, np.arange(1499.0)], "'bad': found 1 infinite values"),
    "one text": (["a"] * 1500, "'bad': found the same value a"),
    "dates": (np.full(1500, np.datetime64("2024-01-01")), "'bad': found values of type datetime64"),
    "short": (np.arange(1499.0), "found columns of 1,499 to 1,500 values"),
}


@pytest.mark.parametrize("kind", BAD_COVARIATES)
def test_bad_covariates_are_named(data, kind):
    values, message = BAD_COVARIATES[kind]
    X, arm, outcome = data
    with pytest.raises(InputError, match=message):
        fit({"good": X[:, 0], "bad": values}, arm, outcome)


def test_all_bad_covariates_are_named_at_once(data):
    X, arm, outcome = data
    bad = {"one": np.ones(1500), "two": np.full(1500, np.nan), "good": X[:, 0]}
    with pytest.raises(InputError, match="2 of 3 covariates") as caught:
        fit(bad, arm, outcome)
    assert len(caught.value.faults) == 2


BAD_OPTIONS = [
    ({"control": "none"}, "control: found no unit of 'none'"),
    ({"propensity": {"control": 1.0}}, "needed exactly those of the units"),
    ({"propensity": {"control": 0.7, "call": 0.3, "sms": 0.0}}, r"outside \(0, 1\) for sms"),
    ({"propensity": {"control": 0.3, "call": 0.3, "sms": 0.3}}, "a sum over arms of 0.9"),
    ({"propensity": {"control": 0.2, "call": 0.3, "sms": 0.5}}, "do not match the arms"),
    ({"propensity": np.full((1500, 2), 0.5)}, r"found shape \(1500, 2\)"),
    ({"unit": np.zeros(1500, int)}, "unit: found 1,499 repeats"),
    ({"cluster": np.arange(10)}, "found 10 labels"),
    ({"n_trees": 3}, "needed at least 4"),
    ({"min_arm_leaf": 0}, "min_arm_leaf: found 0"),
    ({"n_bins": 300}, "needed 2 to 255"),
    ({"mtry": 9}, "needed 1 to 4 covariates"),
    ({"n_threads": 0}, "n_threads: found 0"),
    ({"pairs": "both"}, "pairs: found 'both'"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options_are_named(data, options, message):
    with pytest.raises(InputError, match=message):
        fit(*data, **options)


def test_bad_outcomes_are_named(data):
    X, arm, outcome = data
    with pytest.raises(InputError, match="found 1 infinite"):
        fit(X, arm, np.where(np.arange(1500) == 3, np.inf, outcome))
    with pytest.raises(InputError, match="outcome: found text"):
        fit(X, arm, ["yes"] * 1500)
    with pytest.raises(EstimationError, match="found 1 for every unit"):
        fit(X, arm, np.ones(1500))
    with pytest.raises(InputError, match="found 1,500 rows for 1,400 outcomes"):
        fit(X, arm[:1400], outcome[:1400])


def test_units_without_an_outcome_are_left_out_and_predicted(data):
    """They are in no tree, so that their effects are those of new units."""
    X, arm, outcome = data
    silent = np.arange(1500) % 50 == 3
    found = fit(X, arm, np.where(silent, np.nan, outcome))
    assert (found.n_units, found.n_missing) == (1470, 30)
    assert found.effects_oob.shape == (1500, len(found.arms))
    np.testing.assert_array_equal(found.effects_oob[silent], found.effects(X[silent]))
    without = fit(X[~silent], arm[~silent], outcome[~silent])
    assert without.n_missing == 0
    np.testing.assert_array_equal(found.effects_oob[~silent], without.effects_oob)


def test_new_units_are_checked(forest):
    with pytest.raises(InputError, match="found 3 covariates; needed the 4"):
        forest.effects(np.zeros((5, 3)))
    with pytest.raises(InputError, match="infinite"):
        forest.effects(np.full((5, 4), np.inf))
    with pytest.raises(InputError, match="needed"):
        forest.effects(np.zeros(4))
