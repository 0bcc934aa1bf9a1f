"""Policy trees: what they ask, missing values, costs, limits, files."""

from io import BytesIO

import numpy as np
import pytest

from wavewise.decide.policy import load_policy
from wavewise.decide.tree_search import policy_tree
from wavewise.errors import DecisionError, InputError

X = {"logins": np.repeat([0.0, 1, 2, 3], 200), "grade": np.tile([1.0, 2], 400)}
GAIN = np.where((X["logins"] >= 2) & (X["grade"] == 2), 1.0, -0.5)
SCORES = np.column_stack([np.zeros(800), GAIN])


def test_tree_finds_two_questions_and_reads_well() -> None:
    tree = policy_tree(X, SCORES, arms=["control", "sms"], depth=2)
    assert tree.kind == "tree"
    assert tree.describe() == (
        "if logins <= 1: control; otherwise: (if grade <= 1: control; otherwise: sms)"
    )
    assert tree.covariates == ("logins", "grade")
    assert (tree.assign(X) == np.where(GAIN > 0, "sms", "control")).all()
    assert tree.rule.draw().splitlines()[0] == "logins <= 1?"
    assert tree.assign({"grade": [2.0, 2.0], "logins": [1.5, 9.0]}).tolist() == ["sms", "sms"]


def test_interaction_needs_depth_two() -> None:
    x = np.random.default_rng(0).integers(0, 2, (1000, 2)).astype(float)
    scores = np.column_stack([np.zeros(1000), np.where(x[:, 0] != x[:, 1], 1.0, -1.0)])
    deep = policy_tree(x, scores, arms=["c", "t"], depth=2)
    assert (deep.assign(x) == np.where(x[:, 0] != x[:, 1], "t", "c")).all()


def test_no_question_is_asked_that_gains_nothing() -> None:
    tree = policy_tree(X, np.tile([0.0, 1.0], (800, 1)), arms=["c", "t"], depth=3)
    assert tree.describe() == "t"
    assert tree.covariates == ()
    assert set(tree.assign(X)) == {"t"}


def test_missing_values_have_their_own_side() -> None:
    x = np.where(np.arange(600) < 200, np.nan, np.arange(600) % 3)
    scores = np.column_stack([np.zeros(600), np.where(np.isnan(x), 1.0, -1.0)])
    tree = policy_tree({"age": x}, scores, arms=["c", "t"], depth=1)
    assert tree.describe() == "if age is missing: t; otherwise: c"
    assert tree.assign({"age": [np.nan, 0.0]}).tolist() == ["t", "c"]


def test_cost_and_least_leaf_are_kept() -> None:
    dear = policy_tree(X, SCORES, arms=["control", "sms"], depth=2, cost={"sms": 2.0})
    assert dear.describe() == "control"
    wide = policy_tree(X, SCORES, arms=["control", "sms"], depth=2, min_leaf=300)
    leaves = wide.rule.root
    counts = []
    stack = [leaves]
    while stack:
        node = stack.pop()
        if hasattr(node, "arm"):
            counts.append(node.n_units)
        else:
            stack += [node.left, node.right]
    assert min(counts) >= 300


def test_tree_travels_as_text() -> None:
    tree = policy_tree(X, SCORES, arms=["control", "sms"])
    loaded = load_policy(BytesIO(tree.to_bytes()))
    assert loaded.hash == tree.hash
    assert loaded.rule == tree.rule
    with pytest.raises(DecisionError, match="no out-of-bag form"):
        tree.assign_oob()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"depth": 4}, "depth: found 4"),
        ({"depth": 1.5}, r"depth: found 1\.5"),
        ({"n_bins": 1}, "n_bins: found 1"),
        ({"min_leaf": 0}, "min_leaf: found 0"),
        ({"arms": None}, "arms: found none"),
        ({"arms": ["a"]}, r"needed finite scores of shape \(n_units, 1\)"),
        ({"scores": np.full((800, 2), np.nan)}, "none among"),
        ({"scores": SCORES[:10]}, "found 800 units for 10 rows"),
        ({"cost": {"ivr": 1}}, "cost: found ivr"),
        ({"X": {"place": ["a", "b"] * 400}}, "found text in place"),
    ],
)
def test_bad_input_is_named(options, text) -> None:
    given = {"X": X, "scores": SCORES, "arms": ["control", "sms"]} | options
    with pytest.raises(InputError, match=text):
        policy_tree(given.pop("X"), given.pop("scores"), **given)
