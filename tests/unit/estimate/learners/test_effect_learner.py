"""The stack of learners: results, files, missing values, clusters, pairs, bad input."""

from io import BytesIO

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate.learners.crossfit import N_FOLDS, fold_of_parts
from wavewise.estimate.learners.effect_learner import EffectLearner, effect_learner
from wavewise.estimate.learners.quadratic import learn_base

SHARES = {"control": 0.4, "call": 0.3, "sms": 0.3}


def data(n=1200, seed=1, slope=1.0):
    rng = np.random.default_rng(seed)
    X = {"age": rng.normal(9, 2, n), "logins": rng.poisson(2, n) * 1.0, "town": None}
    X["town"] = rng.choice(["north", "south", "west"], n).tolist()
    arm = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    tau = slope * np.where(arm == "sms", (X["age"] - 9) / 2, np.where(arm == "call", 0.3, 0))
    return X, arm, tau + rng.normal(size=n) + 0.2 * X["logins"]


def learn(X, arm, outcome, **options):
    options = {"control": "control", "propensity": SHARES, "n_trees": 40, **options}
    return effect_learner(X, arm, outcome, rng=np.random.default_rng(2), **options)


@pytest.fixture(scope="module")
def found() -> EffectLearner:
    return learn(*data())


def test_effects_follow_the_covariate_that_moves_them(found: EffectLearner) -> None:
    new = {"age": [7.0, 9.0, 11.0], "logins": [2.0] * 3, "town": ["north"] * 3}
    effects = found.effects(new)
    assert found.arms == ("call", "sms")
    np.testing.assert_allclose(effects[:, 1], [-1, 0, 1], atol=0.35)
    np.testing.assert_allclose(effects[:, 0], 0.3, atol=0.3)
    assert abs(sum(found.weights.values()) - 1) < 1e-12
    assert set(found.weights) == set(found.losses) == {"forest", "r", "dr", "t"}
    assert found.losses["r"] < found.loss_of_averages
    assert found.effects_oob.shape == (1200, 2)
    assert found.std_error_oob.shape == (1200, 2)
    assert (found.std_error(new) > 0).all()


def test_words_say_who_carries_the_effects_and_by_how_much_they_predict(
    found: EffectLearner,
) -> None:
    assert "R-learner" in found.describe()
    assert "% (standard error" in found.describe()
    assert "below that of the average effects" in found.summary()
    assert "spread of the effects is that of the estimator" in found.summary()
    frame = found.to_frame()
    assert frame["learner"].to_list() == ["forest", "R-learner", "DR-learner", "T-learner"]
    flat = learn(*data(slope=0.0))
    assert "no difference between units was found" in flat.describe()
    assert flat.effects_oob[:, 1].std() < 0.1


def test_a_file_gives_the_same_learners(found: EffectLearner) -> None:
    again = EffectLearner.load(BytesIO(found.to_bytes()))
    X = data(50, seed=8)[0]
    assert again == found
    assert again.hash == found.hash
    assert list(again.weights) == list(found.weights)
    assert (again.effects(X) == found.effects(X)).all()
    assert (again.std_error(X) == found.std_error(X)).all()
    assert EffectLearner.from_dict(found.to_dict()) == found
    broken = found.to_bytes().replace(b"effect learner", b"effect leaner!")
    with pytest.raises(InputError, match="effect learner"):
        EffectLearner.load(BytesIO(broken))


def test_a_policy_carries_the_learners(found: EffectLearner) -> None:
    policy = ww.decide.personalize(found, name="stack")
    again = ww.decide.load_policy(BytesIO(policy.to_bytes()))
    X = data(60, seed=9)[0]
    assert (again.assign(X) == policy.assign(X)).all()
    assert again.hash == policy.hash
    assert "effects by" in policy.describe()
    assert policy.describe() == again.describe()
    assert (ww.decide.safe_policy(found).assign(X) != policy.assign(X)).any()
    with pytest.raises(StateError):  # it has seen these outcomes
        ww.evaluate.policy_contrast(policy, ww.decide.uniform("sms"), *data(), propensity=SHARES)


def test_units_without_an_outcome_are_as_new_units() -> None:
    X, arm, outcome = data(400)
    outcome[:30] = np.nan
    held = learn(X, arm, outcome)
    first = {name: values[:30] for name, values in X.items()}
    assert (held.n_units, held.n_missing) == (370, 30)
    np.testing.assert_allclose(held.effects_oob[:30], held.effects(first), atol=1e-12)
    np.testing.assert_allclose(held.std_error_oob[:30], held.std_error(first), atol=1e-12)


def test_order_names_and_threads_do_not_matter() -> None:
    X, arm, outcome = data(400)
    found = learn(X, arm, outcome)
    order = np.random.default_rng(3).permutation(400)
    moved = {k: [v[i] for i in order] for k, v in X.items()}
    again = learn(moved, arm[order], outcome[order], n_threads=1)
    np.testing.assert_allclose(again.effects_oob, found.effects_oob[order], atol=1e-9)
    names = {"control": "z", "call": "y", "sms": "x"}
    renamed = effect_learner(
        pl.DataFrame(X),
        [names[a] for a in arm],
        outcome,
        control="z",
        propensity={names[a]: share for a, share in SHARES.items()},
        n_trees=40,
        rng=np.random.default_rng(2),
    )
    assert renamed.arms == ("x", "y")
    np.testing.assert_allclose(renamed.effects_oob[:, ::-1], found.effects_oob, atol=1e-9)
    ids = np.arange(400)  # without ids folds follow the contents of the rows
    known, scaled = (learn(X, arm, y, unit=ids) for y in (outcome, 3 * outcome + 5))
    np.testing.assert_allclose(scaled.effects_oob, 3 * known.effects_oob, atol=1e-3)


def test_folds_keep_clusters_whole_and_arms_even() -> None:
    rng = np.random.default_rng(1)
    part = np.sort(rng.integers(0, 90, 900))
    arm = (part % 3).astype(np.int64)
    fold = fold_of_parts(part, arm)
    assert all(np.unique(fold[part == p]).size == 1 for p in np.unique(part))
    units = fold_of_parts(np.arange(900), arm)
    table = np.stack([np.bincount(arm[units == f], minlength=3) for f in range(N_FOLDS)])
    assert np.ptp(table, axis=0).max() <= 1


def test_clusters_widen_the_spread() -> None:
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(120), 10)
    arm = rng.choice(["control", "sms"], 120)[cluster]
    X = rng.normal(size=(1200, 2))
    outcome = rng.normal(size=120)[cluster] + rng.normal(size=1200)
    options = {"propensity": {"control": 0.5, "sms": 0.5}, "learners": ("dr", "t")}
    clustered = learn(X, arm, outcome, cluster=cluster, **options)
    alone = learn(X, arm, outcome, **options)
    assert clustered.std_error_oob.mean() > 1.5 * alone.std_error_oob.mean()
    assert "clusters" in clustered.provenance.method


def test_ordered_pairs_keep_messages_apart() -> None:
    rng = np.random.default_rng(5)
    arm = rng.choice(["none", "a+a", "a+b", "b+a", "b+b"], 1500)
    X = rng.normal(size=(1500, 2))
    outcome = np.char.startswith(arm, "b") * X[:, 0] + rng.normal(size=1500)
    shares = dict.fromkeys(np.unique(arm), 0.2)
    found = learn(X, arm, outcome, control="none", propensity=shares, pairs="two-factor")
    assert set(found.kept["dr"]) >= {"all arms", "first message", "second message"}
    assert found.kept["dr"]["first message"] > found.kept["dr"]["second message"]


def test_the_local_linear_forest_corrects_towards_slopes() -> None:
    rng = np.random.default_rng(9)
    X = rng.normal(size=(1500, 3))
    arm = rng.choice(["c", "t"], 1500)
    outcome = (arm == "t") * 2 * X[:, 0] + rng.normal(size=1500)
    options = {"control": "c", "propensity": {"c": 0.5, "t": 0.5}}
    found = learn(X, arm, outcome, learners=("forest", "local-linear"), **options)
    assert found.losses["local-linear"] < found.losses["forest"]
    assert found.weights["local-linear"] > 0.7
    new = rng.normal(size=(500, 3))
    trees = learn(X, arm, outcome, learners=("forest",), **options)
    error, alone = ((m.effects(new)[:, 0] - 2 * new[:, 0]) ** 2 for m in (found, trees))
    assert error.mean() < 0.5 * alone.mean()
    again = EffectLearner.load(BytesIO(found.to_bytes()))
    assert (again.effects(new) == found.effects(new)).all()
    assert (found.std_error(new) > 0).all()
    missing = outcome.copy()
    missing[:20] = np.nan
    held = learn(X, arm, missing, learners=("local-linear",), **options)
    np.testing.assert_allclose(held.effects_oob[:20], held.effects(X[:20]), atol=1e-12)


def test_change_of_features_is_their_first_order_change() -> None:
    X = np.random.default_rng(10).normal(size=(50, 3))
    base, z = learn_base(X, np.arange(50))
    step = 1e-6
    near = base.features(np.clip(X - step, X.min(axis=0), None))
    found = base.moved(z, near[:, 1:4])
    np.testing.assert_allclose(found, z - near, atol=1e-10)


@pytest.mark.parametrize("learners", [("forest",), ("t",), "dr"])
def test_one_learner_has_all_the_weight(learners: object) -> None:
    found = learn(*data(300), learners=learners)
    assert list(found.weights.values()) == [1.0]


def test_shares_that_differ_between_units_are_used() -> None:
    rng = np.random.default_rng(6)
    n = 4000
    X = rng.normal(size=(n, 3))
    high = X[:, 0] > 0
    e = np.where(high, 0.5, 0.1)
    treated = rng.random(n) < e
    outcome = 2.0 * high + rng.normal(size=n)  # no effect anywhere
    shares = {"c": 1 - e, "t": e}
    arm = np.where(treated, "t", "c")
    found = learn(X, arm, outcome, control="c", propensity=shares)
    assert abs(found.effects_oob.mean()) < 0.15
    assert abs(found.effects_oob[high].mean()) < 0.2


def test_base_without_products_that_say_nothing() -> None:
    rng = np.random.default_rng(7)
    X = {"x": rng.normal(size=200), "on": rng.integers(0, 2, 200) * 1.0, "t": ["a", "b"] * 100}
    X["x"][:10] = np.nan
    base, z = learn_base(X, np.arange(200))
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z[:, 1:].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(base.features(X), z, atol=1e-12)
    assert np.linalg.matrix_rank(z[:, [0, 1, 2, 3]]) == 4
    wide = rng.normal(size=(200, 40))
    assert learn_base(wide, np.arange(200))[1].shape == (200, 81)  # squares and no products
    far = {"x": [1e9], "on": [0.0], "t": ["unseen"]}
    assert np.abs(base.features(far)).max() < 50


def test_bad_input_says_what_was_found_and_needed() -> None:
    X, arm, outcome = data(300)
    for learners in ((), ("forest", "x"), ("t", "t")):
        with pytest.raises(InputError, match="learners: found"):
            learn(X, arm, outcome, learners=learners)
    with pytest.raises(InputError, match="control: found no unit"):
        learn(X, arm, outcome, control="fax")
    with pytest.raises(EstimationError, match="values that differ"):
        learn(X, arm, np.ones(300))
    with pytest.raises(InputError, match="town"):
        learn({**X, "town": [str(k) for k in range(300)]}, arm, outcome)
    with pytest.raises(InputError, match="age"):
        learn(X, arm, outcome).effects({"logins": [1.0], "town": ["north"]})
    with pytest.raises(EstimationError, match="too few units"):
        learn(
            X,
            np.where(np.arange(300) < 5, "sms", "control"),
            outcome,
            propensity={"control": 0.98, "sms": 0.02},
        )
    few = np.where(np.arange(300) < 8, "call", np.where(np.arange(300) % 2, "sms", "control"))
    kept = learn(
        X,
        few,
        outcome,
        drop_small_arms=True,
        propensity={"control": 0.48, "sms": 0.48, "call": 0.04},
    )
    assert kept.dropped == ("call",)
    assert np.isnan(kept.effects_oob[:8]).all()
