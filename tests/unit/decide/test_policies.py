"""Policies: what they give, how they are frozen, what is refused."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavewise.decide.choosers import checked_costs, upgrades
from wavewise.decide.policy import (
    load_policy,
    personalize,
    random_policy,
    safe_policy,
    target,
    uniform,
    uniform_best,
)
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import ate
from wavewise.estimate.matching.neighbours import neighbours
from wavewise.shared.results import Provenance


@dataclass(frozen=True)
class Known:
    """A model whose effects are the covariates themselves."""

    effects_oob: Any
    std_error_oob: Any = None
    arms: tuple[str, ...] = ("a", "b")
    control: str = "none"
    provenance: Provenance = field(default_factory=lambda: Provenance("known", "0" * 64))

    def effects(self, X):
        return np.asarray(X, dtype=float)

    def std_error(self, X):
        return np.full(np.shape(X), 0.1)


EFFECTS = np.array([[1.0, 2.0], [3.0, 0.5], [-1.0, -2.0], [4.0, 4.0]])
MODEL = Known(EFFECTS, np.full((4, 2), 0.1))


def learned():
    rng = np.random.default_rng(0)
    X = {"x": rng.integers(0, 2, 800).astype(float), "z": rng.normal(size=800)}
    arm = rng.choice(["control", "a", "b"], 800)
    gain = np.where(arm == "a", X["x"], 0) + np.where(arm == "b", 0.7, 0)
    return X, neighbours(X, arm, gain + rng.normal(0, 0.3, 800), control="control", k=50)


def test_personalize_gives_each_unit_its_best_arm() -> None:
    policy = personalize(MODEL, name="mine")
    assert policy.assign(EFFECTS).tolist() == ["b", "a", "a", "a"]
    assert policy.probabilities(EFFECTS).tolist()[0] == [0, 1, 0]
    assert policy.arms == ("a", "b", "none")
    assert policy.assign_oob().tolist() == ["b", "a", "a", "a"]
    allowed = personalize(MODEL, allow_control=True)
    assert allowed.assign(EFFECTS).tolist() == ["b", "a", "none", "a"]


def test_equal_effects_go_to_the_arm_that_is_better_on_average() -> None:
    better_b = Known(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert personalize(better_b).assign([[5.0, 5.0]]).tolist() == ["b"]
    renamed = Known(np.array([[1.0, 0.0], [1.0, 1.0]]), arms=("b", "a"))
    assert personalize(renamed).assign([[5.0, 5.0]]).tolist() == ["b"]


def test_cautious_leaves_the_best_only_with_evidence() -> None:
    policy = safe_policy(MODEL, level=0.95)
    # b must beat a by 1.645 * sqrt(0.02) = 0.2326
    X = [[1.0, 1.22], [1.0, 1.24], [2.0, 1.0]]
    assert policy.assign(X).tolist() == ["a", "b", "a"]
    assert safe_policy(MODEL, best="b").assign([[1.24, 1.0]]).tolist() == ["a"]
    with pytest.raises(InputError, match=r"level: found 0\.3"):
        safe_policy(MODEL, level=0.3)
    with pytest.raises(InputError, match="best: found 'c'"):
        safe_policy(MODEL, best="c")


def test_uniform_best_from_effects_and_from_a_model() -> None:
    y = [0, 1, 0, 1, 1, 1, 3, 2, 2, 0, 0, 1]
    arm = ["control"] * 4 + ["b"] * 4 + ["c"] * 4
    best = uniform_best(ate(y, arm))
    assert best.assign(np.zeros((3, 1))).tolist() == ["b"] * 3
    assert best.covariates == ()
    assert best.trained_on is not None
    assert uniform_best(MODEL).assign([0]).tolist() == ["a"]
    with pytest.raises(InputError, match="found a dict"):
        uniform_best({})


def test_random_policy_draws_with_its_shares() -> None:
    policy = random_policy({"a": 0.25, "b": 0.75})
    with pytest.raises(InputError, match="leaves arms to chance"):
        policy.assign(np.zeros(4))
    drawn = policy.assign(np.zeros(20_000), np.random.default_rng(0))
    assert abs((drawn == "a").mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)
    again = policy.assign(np.zeros(20_000), np.random.default_rng(0))
    assert (drawn == again).all()


@pytest.mark.parametrize(
    ("arms", "text"),
    [([], "different arms"), (["a", "a"], "different arms"), ({"a": 0.5, "b": 0.6}, "sum to 1.1")],
)
def test_random_policy_refuses_bad_shares(arms, text) -> None:
    with pytest.raises(InputError, match=text):
        random_policy(arms)


def test_budget_goes_where_it_does_most() -> None:
    # one message for one unit in four: the unit with the largest effect
    effects = np.array([[1.0], [3.0], [-1.0], [4.0]])
    model = Known(effects, arms=("sms",))
    policy = target(model, budget=0.25)
    assert policy.assign(effects, np.random.default_rng(0)).tolist() == [
        "none", "none", "none", "sms",
    ]  # fmt: skip
    half = target(model, budget=0.375).probabilities(effects)
    assert half[:, 0].tolist() == [0, 0.5, 0, 1]
    everybody = target(model, budget=5.0)
    assert everybody.assign(effects).tolist() == ["sms", "sms", "none", "sms"]


def test_budget_is_kept_exactly_with_ties_and_several_costs() -> None:
    rng = np.random.default_rng(1)
    effects = rng.integers(-2, 5, (500, 2)).astype(float)
    model, cost = Known(effects), {"a": 1.0, "b": 2.5}
    for budget in (0.1, 0.5, 1.0, 1.3):
        policy = target(model, budget=budget, cost=cost)
        spend = policy.probabilities(effects)[:, :2] @ [1.0, 2.5]
        assert spend.mean() == pytest.approx(budget)
    assert (policy.probabilities(effects).sum(axis=1) == 1).all()


def test_price_messages_where_it_pays() -> None:
    model = Known(np.array([[1.0], [3.0]]), arms=("sms",))
    policy = target(model, price=2.0)
    assert policy.assign([[1.0], [2.0], [2.1]]).tolist() == ["none", "none", "sms"]
    dear = target(model, price=2.0, cost=2.0)
    assert dear.assign([[3.9], [4.1]]).tolist() == ["none", "sms"]


def test_targeting_of_one_arm_never_gives_another() -> None:
    policy = target(MODEL, budget=1.0, arms=["a"])
    assert set(policy.assign(EFFECTS)) == {"a", "none"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "needed one of them"),
        ({"budget": 1, "price": 1}, "needed one of them"),
        ({"budget": 0}, "budget: found 0"),
        ({"price": -1}, "price: found -1"),
        ({"budget": 1, "cost": 0.0}, "not finite numbers above 0"),
        ({"budget": 1, "cost": {"a": 1}}, "found none for b"),
        ({"budget": 1, "cost": "dear"}, "found text"),
        ({"budget": 1, "arms": ["z"]}, "found z"),
        ({"budget": 1, "arms": []}, "found none"),
    ],
)
def test_targeting_names_what_is_wrong(options, text) -> None:
    with pytest.raises(InputError, match=text):
        target(MODEL, **options)


def test_no_positive_effect_is_no_policy() -> None:
    with pytest.raises(DecisionError, match="no unit has a positive"):
        target(Known(-np.ones((3, 2))), budget=1.0)


def test_hull_skips_arms_that_are_never_the_best_use() -> None:
    # arm 1 costs 2 for 2.1: from arm 0 (1 for 2) it adds 0.1; arm 2 (3 for 4) is above the line
    steps = upgrades(np.array([[2.0, 2.1, 4.0]]), np.array([1.0, 2.0, 3.0]))
    assert steps.after.tolist() == [0, 2]
    assert steps.before.tolist() == [3, 0]
    assert steps.ratio.tolist() == [2.0, 1.0]
    equal = upgrades(np.array([[1.0, 2.0]]), np.array([1.0, 2.0]))
    assert equal.after.tolist() == [1]
    assert checked_costs(1.0, ("a", "b"), 3).tolist() == [1, 1]


def test_models_are_checked() -> None:
    with pytest.raises(InputError, match="found a list"):
        personalize([1, 2])
    with pytest.raises(InputError, match="not finite"):
        personalize(Known(np.full((2, 2), np.nan)))
    with pytest.raises(InputError, match="no file form here"):
        personalize(MODEL).to_bytes()


@pytest.mark.parametrize("make", [personalize, safe_policy, lambda f: target(f, budget=0.3)])
def test_saved_policies_assign_alike(make, tmp_path) -> None:
    X, model = learned()
    policy = make(model)
    path = tmp_path / "policy.npz"
    policy.save(path)
    loaded = load_policy(path)
    assert (loaded.probabilities(X) == policy.probabilities(X)).all()
    assert (loaded.probabilities_oob() == policy.probabilities_oob()).all()
    assert loaded.hash == policy.hash
    assert loaded.to_dict() == policy.to_dict()
    assert loaded.covariates == ("x", "z")
    assert (loaded.trained_rows == np.sort(model.trained_rows)).all()
    assert loaded.summary() == policy.summary()


def test_saved_bytes_are_equal_and_fixed_policies_travel_too() -> None:
    for policy in (uniform("sms"), random_policy(["a", "b"])):
        loaded = load_policy(BytesIO(policy.to_bytes()))
        assert loaded.to_bytes() == policy.to_bytes()
        assert loaded.describe() == policy.describe()
    assert uniform("sms").hash != uniform("sms", name="other").hash
    with pytest.raises(DecisionError, match="learned from no units"):
        uniform("sms").assign_oob()


def test_changed_or_foreign_file_is_refused(tmp_path) -> None:
    path = tmp_path / "policy.npz"
    uniform("sms").save(path)
    with np.load(path) as archive:
        text = archive["policy"].tobytes().replace(b"sms", b"ivr")
        rows = archive["trained_rows"]
    np.savez(path, policy=np.frombuffer(text, dtype=np.uint8), trained_rows=rows)
    with pytest.raises(InputError, match="changed since"):
        load_policy(path)
    np.savez(path, policy=np.frombuffer(b'{"form": "x"}', dtype=np.uint8))
    with pytest.raises(InputError, match="another form"):
        load_policy(path)
    path.write_text("nothing")
    with pytest.raises(InputError, match=r"not one that Policy\.save wrote"):
        load_policy(path)


def test_policies_name_what_they_need() -> None:
    X, model = learned()
    with pytest.raises(InputError, match="no covariate z"):
        personalize(model).assign({"x": X["x"]})
    assert "Needs x, z" in personalize(model).summary()
    assert uniform("sms").to_dict()["version"] == 1


@pytest.mark.parametrize(
    ("name", "begins"), [("forest", "eae71b9db837"), ("neighbours", "c841565d9e4f")]
)
def test_policies_frozen_by_an_earlier_version_load_with_their_hash(name, begins) -> None:
    folder = Path(__file__).parents[2] / "fixtures/earlier_version/peru/policies"
    policy = load_policy(folder / f"phase-2.{name}.npz")  # refuses another hash
    assert policy.hash.startswith(begins)
    assert load_policy(BytesIO(policy.to_bytes())).hash == policy.hash
