"""Next wave's shares by rule."""

import json
import pickle

import numpy as np
import pytest

from wavewise.decide import NextShares, exploration_shares, next_shares, shares
from wavewise.decide.rules import RULES
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import beta_binomial


@pytest.fixture
def posterior():
    return beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])


def test_exploration_with_a_control(posterior):
    wave = next_shares(posterior, control="none", control_share=0.2, learned_on=["w1", "w2"])
    assert wave.arms == ("a", "b", "c", "none")
    np.testing.assert_allclose(wave.shares[:3], 0.8 * exploration_shares(posterior))
    assert wave.shares[3] == 0.2
    assert wave.learned_on == ("w1", "w2")
    assert "exploration sampling after w1, w2: b gets the largest share" in wave.text
    assert "none keeps 20.0%" in wave.text
    assert wave.shares.sum() == pytest.approx(1, abs=1e-15)


def test_the_other_rules(posterior):
    equal = next_shares(posterior, rule="equal")
    np.testing.assert_allclose(equal.shares, 1 / 3)
    assert "33.3% for each arm" in equal.text
    thompson = next_shares(posterior, rule="Thompson")
    np.testing.assert_allclose(thompson.shares, posterior.prob_optimal, rtol=1e-14)


@pytest.mark.parametrize("rule", [name for name in RULES if name != "fixed"])
@pytest.mark.parametrize("floor", [0.0, 0.15])
def test_it_is_the_same_as_shares(posterior, rule, floor):
    named = next_shares(posterior, rule=rule, control="none", control_share=0.1, floor=floor)
    np.testing.assert_array_equal(
        named.shares, shares(posterior, rule=rule, control_share=0.1, floor=floor)
    )
    assert named.rule == rule
    assert named.floor == floor
    assert ("at least 15.0%" in named.text) == (floor > 0)


def test_a_control_without_a_share_is_named_all_the_same(posterior):
    assert next_shares(posterior, control="none").shares[-1] == 0
    matched = next_shares(posterior, rule="control-augmented", control="none")
    assert matched.shares[-1] == matched.shares[:3].max() > 0


def test_options_of_the_rule_are_kept(posterior):
    tempered = next_shares(posterior, rule="Tempered_Thompson", temper=0.5, beta=None)
    assert tempered.rule == "tempered Thompson"
    assert tempered.options == (("temper", 0.5),)
    fixed = next_shares(posterior, rule="fixed", fixed=[0.2, 0.3, 0.5])
    for known in (tempered, fixed):
        again = NextShares.from_dict(json.loads(json.dumps(known.to_dict())))
        assert again.to_dict() == known.to_dict()
        assert again.options == known.options
        assert pickle.loads(pickle.dumps(known)).to_dict() == known.to_dict()


def test_a_file_from_before_floors_is_read(posterior):
    plain = next_shares(posterior).to_dict()
    del plain["floor"], plain["options"]
    assert NextShares.from_dict(plain).floor == 0.0


def test_there_and_back_again(posterior):
    wave = next_shares(posterior, control="none", control_share=1 / 7, learned_on=("w1",))
    plain = json.loads(json.dumps(wave.to_dict()))
    again = NextShares.from_dict(plain)
    assert again.to_dict() == wave.to_dict()
    np.testing.assert_array_equal(again.shares, wave.shares)


def test_frame_and_summary(posterior):
    wave = next_shares(posterior, control="none", control_share=0.25)
    frame = wave.to_frame()
    assert frame.columns == ["arm", "share", "prob_optimal", "policy_regret"]
    assert frame["prob_optimal"][3] is None
    assert "25.00%" in wave.summary()
    with pytest.raises(ValueError, match="read-only"):
        wave.shares[0] = 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"rule": "greedy"}, "rule: found 'greedy'"),
        ({"control_share": 0.2}, "without a control"),
        ({"control": "a", "control_share": 0.2}, "among the arms"),
        ({"control": "none", "control_share": 1.5}, "found 1.5"),
        ({"rule": "control-augmented"}, "control: found none beside the rule 'control-augmented'"),
        ({"floor": 0.4}, "floor: found 0.4 for 3 arms"),
        ({"beta": 0.4}, "beta: found it beside the rule 'exploration'"),
    ],
)
def test_bad_options_are_named(posterior, options, found):
    with pytest.raises(InputError, match=found):
        next_shares(posterior, **options)


def test_nothing_left_to_explore():
    with pytest.raises(DecisionError, match="choose that arm"):
        next_shares(beta_binomial([3], [10]))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "other"},
        {"rule": "greedy"},
        {"shares": [0.5, 0.2, 0.1]},
        {"arms": ["a", "b"]},
    ],
)
def test_a_file_that_was_changed_is_refused(posterior, change):
    plain = {**next_shares(posterior).to_dict(), **change}
    with pytest.raises(InputError):
        NextShares.from_dict(plain)


def test_a_file_that_lacks_a_key_is_refused(posterior):
    plain = next_shares(posterior).to_dict()
    del plain["learned_on"]
    with pytest.raises(InputError, match="found no learned_on"):
        NextShares.from_dict(plain)
