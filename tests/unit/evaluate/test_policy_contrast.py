"""Contrasts of policies: pairing, provenance, agreement with simpler estimators, bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from wavewise.decide.policy import (
    load_policy,
    personalize,
    random_policy,
    safe_policy,
    target,
    uniform,
    uniform_best,
)
from wavewise.decide.tree_search import policy_tree
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate import ate
from wavewise.estimate.forest.causal_forest import CausalForest, causal_forest
from wavewise.estimate.matching.neighbours import neighbours
from wavewise.evaluate import (
    doubly_robust_scores,
    mixture_propensity,
    paired_contrast,
    policy_contrast,
    policy_value,
)

SHARES = {"control": 0.5, "a": 0.3, "b": 0.2}


def draw(seed, n=1500, continuous=True):
    rng = np.random.default_rng(seed)
    X = {"x": rng.integers(0, 2, n).astype(float)}
    if continuous:
        X["z"] = rng.normal(size=n)
    arm = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    gain = np.where(arm == "a", X["x"], 0) + np.where(arm == "b", 1 - X["x"], 0)
    return X, arm, gain + rng.normal(0, 0.5, n)


def test_contrast_without_a_model_is_the_weighted_mean_by_hand() -> None:
    X, arm, y = draw(1)
    a = np.where(X["x"] == 1, "a", "b")
    b = np.full(1500, "a")
    flat = np.zeros((1500, 3))
    found = policy_contrast(a, b, X, arm, y, propensity=SHARES, predicted=flat)
    drawn = np.array([SHARES[name] for name in arm])
    values = ((arm == a) * 1.0 - (arm == b)) * y / drawn
    assert found.estimate == pytest.approx(values.mean())
    assert found.std_error == pytest.approx(values.std(ddof=1) / np.sqrt(1500))
    assert found.share_differs == pytest.approx((X["x"] == 0).mean())
    assert found.conf_low == pytest.approx(found.estimate - 1.959964 * found.std_error)


def test_forms_of_propensity_agree() -> None:
    X, arm, y = draw(2)
    matrix = np.tile(list(SHARES.values()), (1500, 1))
    forms = [
        (SHARES, None),
        (matrix, list(SHARES)),
        (pl.DataFrame(matrix, schema=list(SHARES)), None),
        (np.array([SHARES[name] for name in arm]), None),
    ]
    found = [
        policy_contrast(uniform("a"), uniform("b"), X, arm, y, propensity=e, arms=arms)
        for e, arms in forms
    ]
    assert len({round(f.estimate, 12) for f in found}) == 1
    assert len({round(f.std_error, 12) for f in found}) == 1


def test_units_for_whom_the_policies_agree_carry_no_information() -> None:
    X, arm, y = draw(3)
    one = np.where(X["x"] == 1, "a", "b")
    two = np.where(X["x"] == 1, "a", "control")
    flat = np.zeros((1500, 3))
    e = {"propensity": SHARES, "predicted": flat}
    found = policy_contrast(one, two, X, arm, y, **e)
    moved = policy_contrast(one, two, X, arm, np.where(X["x"] == 1, y + 1000, y), **e)
    assert moved.estimate == found.estimate
    assert moved.std_error == found.std_error
    same = policy_contrast(one, one, X, arm, y, **e)
    assert (same.estimate, same.std_error, same.share_differs) == (0, 0, 0)


def test_value_less_value_is_the_contrast() -> None:
    X, arm, y = draw(4)
    one, two = np.where(X["x"] == 1, "a", "b"), random_policy(["a", "b"])
    values = [policy_value(p, X, arm, y, propensity=SHARES) for p in (one, two)]
    gap = policy_contrast(one, two, X, arm, y, propensity=SHARES)
    assert gap.estimate == pytest.approx(values[0].estimate - values[1].estimate)
    assert gap.name == "policy a minus random"
    assert "not tested" in str(values[0].p_value)


def test_clusters_sum_their_units() -> None:
    X, arm, y = draw(5)
    arm, y = np.repeat(arm[:500], 3), np.repeat(y[:500], 3)
    X = {name: np.repeat(v[:500], 3) for name, v in X.items()}
    cluster = np.repeat(np.arange(500), 3)
    flat = np.zeros((1500, 3))
    whole = policy_contrast(
        uniform("a"), uniform("b"), X, arm, y, propensity=SHARES, cluster=cluster, predicted=flat
    )
    single = policy_contrast(
        uniform("a"), uniform("b"), {n: v[::3] for n, v in X.items()}, arm[::3], y[::3],
        propensity=SHARES, predicted=flat[::3],
    )  # fmt: skip
    assert whole.std_error == pytest.approx(single.std_error)


def test_policies_are_refused_on_what_they_learned_from() -> None:
    X, arm, y = draw(6)
    model = neighbours(X, arm, y, control="control", k=50)
    policy, best = personalize(model, name="near"), uniform_best(model)
    with pytest.raises(StateError, match=r"'near' learned from the outcomes of about 100%"):
        policy_contrast(policy, best, X, arm, y, propensity=SHARES)
    order = np.random.default_rng(0).permutation(1500)[:900]
    part = {name: v[order] for name, v in X.items()}
    with pytest.raises(StateError, match="learned from the outcomes"):
        policy_value(policy, part, arm[order], y[order], propensity=SHARES)
    fresh = policy_contrast(policy, best, *draw(7), propensity=SHARES)
    assert fresh.estimate > 0.2
    assert fresh.unchecked == ()
    array = policy_contrast(policy, policy.assign(draw(7)[0]), *draw(7), propensity=SHARES)
    assert array.unchecked == ("policy b",)
    assert "for policy b is declared, not checked" in array.summary()
    averages = uniform_best(ate(y, arm))
    assert policy_value(averages, *draw(7), propensity=SHARES).unchecked == ("best",)
    assert policy_value(uniform("a"), *draw(7), propensity=SHARES).unchecked == ()
    tree = policy_tree(X, doubly_robust_scores(X, arm, y, propensity=SHARES, control="control"))
    with pytest.raises(StateError, match="'tree' learned"):
        policy_value(tree, X, arm, y, propensity=SHARES)


@pytest.mark.parametrize("how", ["as trained", "other order", "array", "numbered frame", "half"])
def test_a_forest_is_refused_on_its_training_data_in_any_form(how) -> None:
    X, arm, y = draw(14)
    forest = causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=40, rng=np.random.default_rng(1)
    )
    order = np.random.default_rng(2).permutation(1500)
    rows = {"other order": order, "half": order[:750]}.get(how, np.arange(1500))
    data = {name: values[rows] for name, values in X.items()}
    table = {
        "array": np.column_stack(list(data.values())),
        "numbered frame": pd.DataFrame(np.column_stack(list(data.values()))),
    }.get(how, data | {"unrelated": np.ones(rows.size)})
    best = uniform_best(ate(y, arm))
    for policy in (personalize(forest), safe_policy(forest), target(forest, budget=0.5)):
        with pytest.raises(StateError, match="learned from the outcomes of about 100%"):
            policy_contrast(policy, best, table, arm[rows], y[rows], propensity=SHARES)
    found = policy_contrast(
        personalize(forest), best, table, arm[rows], y[rows], propensity=SHARES, basis="out-of-bag"
    )
    assert found.basis == "out-of-bag"
    assert "model without it" in found.summary()
    assert policy_contrast(personalize(forest), best, *draw(15), propensity=SHARES).estimate > 0.2


def test_a_saved_forest_policy_still_knows_its_training_data(tmp_path) -> None:
    X, arm, y = draw(16)
    forest = causal_forest(
        X, arm, y, control="control", propensity=SHARES, n_trees=40, rng=np.random.default_rng(1)
    )
    personalize(forest).save(tmp_path / "policy")
    forest.save(tmp_path / "forest")
    for policy in (
        load_policy(tmp_path / "policy"),
        personalize(CausalForest.load(tmp_path / "forest")),
    ):
        with pytest.raises(StateError, match="learned from"):
            policy_value(policy, X, arm, y, propensity=SHARES)


@pytest.mark.parametrize("kind", [int, float])
def test_numbers_are_labels_of_arms_like_any_text(kind) -> None:
    X, arm, y = draw(17)
    codes = np.array([{"control": 0, "a": 1, "b": 2}[name] for name in arm]).astype(kind)
    shares = dict(zip(map(kind, (0, 1, 2)), SHARES.values(), strict=True))
    forest = causal_forest(
        X, codes, y, control=kind(0), propensity=shares, n_trees=40, rng=np.random.default_rng(1)
    )
    near = neighbours(X, codes, y, control=kind(0), k=20, propensity=shares)
    assert forest.arms == near.arms == ("1", "2")
    scores = doubly_robust_scores(X, codes, y, propensity=shares, control=kind(0))
    assert scores.treated == ("1", "2")
    assert scores.effect(kind(2)).tolist() == scores.effects[:, 1].tolist()
    fresh = draw(18)
    new = np.array([{"control": 0, "a": 1, "b": 2}[name] for name in fresh[1]]).astype(kind)
    found = policy_contrast(
        personalize(forest), uniform(kind(1)), fresh[0], new, fresh[2], propensity=shares
    )
    assert found.estimate > 0.2


def test_fresh_outcomes_of_the_same_people_are_fresh() -> None:
    X, arm, y = draw(8, continuous=False)
    binary = (y > 0.5) * 1.0
    policy = personalize(neighbours(X, arm, binary, control="control", k=50))
    new_arm = np.random.default_rng(9).permutation(arm)
    again = np.where(np.random.default_rng(10).random(1500) < 0.7, binary, 1 - binary)
    found = policy_contrast(policy, uniform("a"), X, new_arm, again, propensity=SHARES)
    assert found.basis == "fresh"
    with pytest.raises(StateError, match="100%"):
        policy_contrast(policy, uniform("a"), X, arm, binary, propensity=SHARES)


def test_out_of_bag_basis_assigns_each_unit_without_itself() -> None:
    X, arm, y = draw(11)
    model = neighbours(X, arm, y, control="control", k=20)
    policy = personalize(model)
    found = policy_contrast(policy, uniform("a"), X, arm, y, propensity=SHARES, basis="out-of-bag")
    by_hand = policy_contrast(
        policy.assign_oob(), uniform("a"), X, arm, y, propensity=SHARES, basis="cross-fitted"
    )
    assert found.estimate == pytest.approx(by_hand.estimate)
    assert "model without it" in found.summary()
    order = np.random.default_rng(0).permutation(1500)
    shuffled = policy_contrast(
        policy, uniform("a"), {n: v[order] for n, v in X.items()}, arm[order], y[order],
        propensity=SHARES, basis="out-of-bag",
    )  # fmt: skip
    assert shuffled.estimate == pytest.approx(found.estimate, rel=1e-12)
    with pytest.raises(StateError, match="did not learn from"):
        policy_value(policy, *draw(12), propensity=SHARES, basis="out-of-bag")


def test_unlearned_model_noise_is_not_rewarded_out_of_bag() -> None:
    rng = np.random.default_rng(13)
    X, arm = rng.normal(size=(800, 3)), rng.choice(["control", "a", "b"], 800)
    y = rng.normal(size=800)
    policy = personalize(neighbours(X, arm, y, control="control", k=5))
    shares = dict.fromkeys(["control", "a", "b"], 1 / 3)
    honest = policy_value(policy, X, arm, y, propensity=shares, basis="out-of-bag")
    assert abs(honest.estimate) < 4 * honest.std_error


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"propensity": {"control": 0.5, "a": 0.5}}, InputError, "0 for .* units that drew b"),
        ({"propensity": {"control": 0.5, "a": 0.5, "b": 0.5}}, InputError, "sum of 1.5"),
        ({"propensity": np.zeros(60)}, InputError, "60 values outside"),
        ({"propensity": np.ones((60, 2))}, InputError, r"needed \(60, 3\)"),
        ({"outcome": np.full(60, np.nan)}, EstimationError, "all 60 missing"),
        ({"outcome": ["yes"] * 60}, InputError, "found text"),
        ({"arm": ["a"] * 5}, InputError, "found 5 labels"),
        ({"policy_a": uniform("ivr")}, InputError, "'all ivr': gives 60 units the arm 'ivr'"),
        ({"policy_a": np.full(9, "a")}, InputError, "policy: found 9 labels"),
        ({"basis": "lucky"}, InputError, "basis: found 'lucky'"),
        ({"level": 2}, InputError, "level: found 2"),
        ({"cluster": np.zeros(60)}, InputError, "found one cluster"),
        ({"predicted": np.zeros((60, 2))}, InputError, r"needed finite numbers of shape \(60, 3\)"),
        ({"arms": ["control", "a"]}, InputError, "arm: found b"),
    ],
)
def test_bad_input_is_named(change, error, text) -> None:
    X, arm, y = draw(14, 60)
    given = {"policy_a": uniform("a"), "policy_b": uniform("b"), "X": X, "arm": arm, "outcome": y}
    given |= {"propensity": SHARES} | change
    with pytest.raises(error, match=text):
        policy_contrast(**given)


def test_arm_that_could_not_be_drawn_has_no_value() -> None:
    X, arm, y = draw(15, 60)
    matrix = np.where((arm == "b")[:, None], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0])
    matrix = np.where((arm == "control")[:, None], [0.5, 0.5, 0.0], matrix)
    with pytest.raises(EstimationError, match="probability 0 to draw"):
        policy_value(uniform("b"), X, arm, y, propensity=matrix, arms=["control", "a", "b"])


def test_policies_that_need_covariates_say_so() -> None:
    X, arm, y = draw(16)
    policy = personalize(neighbours(X, arm, y, control="control", k=9))
    with pytest.raises(InputError, match="needs X with x, z"):
        policy_value(policy, None, arm, y, propensity=SHARES)


def test_scores_speak_and_average_to_arm_means() -> None:
    X, arm, y = draw(17, 6000)
    scores = doubly_robust_scores(X, arm, y, propensity=SHARES, control="control")
    rows = {row["arm"]: row for row in scores.to_frame().to_dicts()}
    for name in SHARES:
        own = y[arm == name]
        assert abs(rows[name]["mean_outcome"] - own.mean()) < 4 * own.std() / np.sqrt(own.size)
    # the model explains x in each arm: what is left is the noise of 0.5
    assert rows["a"]["std_error"] < 1.1 * np.sqrt((0.25 / 0.3 + 0.25) / 6000)
    assert scores.treated == ("a", "b")
    assert scores.effects.shape == (6000, 2)
    assert scores.to_dict()["version"] == 1
    assert "6,000 units" in scores.summary()
    with pytest.raises(InputError, match="no arm 'control'"):
        scores.effect("control")
    with pytest.raises(InputError, match="control: found 'z'"):
        doubly_robust_scores(X, arm, y, propensity=SHARES, control="z")
    with pytest.raises(InputError, match="n_folds: found 1"):
        doubly_robust_scores(X, arm, y, propensity=SHARES, n_folds=1)


def test_randomized_policies_inform_on_each_other() -> None:
    rng = np.random.default_rng(18)
    X = {"x": rng.integers(0, 2, 4000).astype(float)}
    forest, best = np.where(X["x"] == 1, "a", "b"), uniform("a")

    class Forest:
        arms = ("a", "b")

        def probabilities(self, X):
            return np.column_stack([X["x"], 1 - X["x"]])

    e = mixture_propensity({Forest(): 0.5, best: 0.5}, X, control="control", control_share=0.5)
    assert e.columns == ["a", "b", "control"]
    np.testing.assert_allclose(e.to_numpy().sum(axis=1), 1)
    np.testing.assert_allclose(e["b"].to_numpy(), np.where(X["x"] == 1, 0, 0.25))
    policy = rng.choice(["forest", "best"], 4000)
    arm = np.where(policy == "forest", forest, "a")
    arm = np.where(rng.random(4000) < 0.5, "control", arm)
    y = (arm == forest) * 1.0 + rng.normal(0, 0.5, 4000)
    found = policy_contrast(forest, best, X, arm, y, propensity=e)
    assert abs(found.estimate - 0.5) < 4 * found.std_error
    with pytest.raises(InputError, match=r"shares that sum to 0\.7"):
        mixture_propensity({best: 0.7}, X)


def test_paired_contrast_uses_only_those_who_differ() -> None:
    rng = np.random.default_rng(19)
    n = 3000
    a, b = rng.choice(["x", "y"], n), np.full(n, "x")
    policy = rng.choice(["forest", "best", "random"], n)
    y = rng.normal(size=n) + ((a == "y") & (policy == "forest"))
    strata = rng.integers(0, 3, n)
    found = paired_contrast(y, policy, a, b, policies=("forest", "best"), strata=strata)
    used = (a != b) & (policy != "random")
    effects = ate(y[used], policy[used], control="best", strata=strata[used])
    inner = effects["forest"]
    share = used.sum() / (policy != "random").sum()
    assert found.estimate == pytest.approx(share * inner.estimate)
    assert found.std_error == pytest.approx(
        np.sqrt(
            (share * inner.std_error) ** 2
            + inner.estimate**2 * share * (1 - share) / (policy != "random").sum()
        )
    )
    plain = ate(y, policy, control="best", strata=strata)["forest"]
    assert found.std_error < 0.8 * plain.std_error
    assert "only these inform" in found.summary()
    assert found.to_dict()["version"] == 1
    with pytest.raises(EstimationError, match="difference is 0 by construction"):
        paired_contrast(y, policy, b, b, policies=("forest", "best"))
    with pytest.raises(InputError, match="no unit of oracle"):
        paired_contrast(y, policy, a, b, policies=("oracle", "best"))
