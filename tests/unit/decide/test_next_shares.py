"""Next wave's shares by rule."""

import json

import numpy as np
import pytest

from wavewise.decide import NextShares, exploration_shares, next_shares
from wavewise.decide.allocation import RULES
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import beta_binomial


@pytest.fixture
def posterior():
    return beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])


def test_exploration_with_a_control(posterior):
    shares = next_shares(posterior, control="none", control_share=0.2, learned_on=["w1", "w2"])
    assert shares.arms == ("a", "b", "c", "none")
    np.testing.assert_allclose(shares.shares[:3], 0.8 * exploration_shares(posterior))
    assert shares.shares[3] == 0.2
    assert shares.learned_on == ("w1", "w2")
    assert "exploration sampling after w1, w2: b gets the largest share" in shares.text
    assert "none keeps 20.0%" in shares.text
    assert shares.shares.sum() == pytest.approx(1, abs=1e-15)


def test_the_other_rules(posterior):
    equal = next_shares(posterior, "equal")
    np.testing.assert_allclose(equal.shares, 1 / 3)
    assert "33.3% for each arm" in equal.text
    thompson = next_shares(posterior, "Thompson")
    np.testing.assert_allclose(thompson.shares, posterior.prob_optimal, rtol=1e-14)
    assert set(RULES) == {"exploration", "equal", "Thompson"}


def test_there_and_back_again(posterior):
    shares = next_shares(posterior, control="none", control_share=1 / 7, learned_on=("w1",))
    plain = json.loads(json.dumps(shares.to_dict()))
    again = NextShares.from_dict(plain)
    assert again.to_dict() == shares.to_dict()
    np.testing.assert_array_equal(again.shares, shares.shares)


def test_frame_and_summary(posterior):
    shares = next_shares(posterior, control="none", control_share=0.25)
    frame = shares.to_frame()
    assert frame.columns == ["arm", "share", "prob_optimal", "policy_regret"]
    assert frame["prob_optimal"][3] is None
    assert "25.00%" in shares.summary()
    with pytest.raises(ValueError, match="read-only"):
        shares.shares[0] = 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"rule": "greedy"}, "rule: found 'greedy'"),
        ({"control_share": 0.2}, "without a control"),
        ({"control": "a", "control_share": 0.2}, "among the arms"),
        ({"control": "none", "control_share": 1.5}, "found 1.5"),
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
