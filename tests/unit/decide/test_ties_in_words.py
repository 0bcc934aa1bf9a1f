"""What cannot be told apart is not named as found: ties in sentences, ends of what was tried."""

from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from wavewise.decide import best_arm
from wavewise.decide.wave_shares import next_shares
from wavewise.errors import EstimationError
from wavewise.estimate import beta_binomial
from wavewise.evaluate import calibration
from wavewise.evaluate.simulation.wave_plan import Benefit, Limits, plan_waves
from wavewise.shared.text_tables import listed, tied


def test_ties_up_to_rounding_or_print():
    assert tied([0.1 + 0.2, 0.3, 0.2]) == [0, 1]
    assert tied([0.5001, 0.5, 0.4], decimals=3) == [0, 1]
    assert tied([0.501, 0.5, 0.4], decimals=3) == [0]
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a", "a and b", "a, b and c",
    ]  # fmt: skip


def test_two_arms_under_exploration_sampling_share_equally():
    text = next_shares(beta_binomial([12, 40], [100, 100], arms=["text", "call"])).text
    assert "text and call get an equal share, 50.0% each" in text
    assert "largest" not in text


def test_two_of_three_arms_with_the_largest_share():
    posterior = beta_binomial([30, 10, 30], [100, 100, 100], arms=["a", "b", "c"])
    text = next_shares(posterior, rule="Thompson").text
    assert "a and c get the same largest share" in text
    assert "a gets the largest" not in next_shares(posterior).text


def test_the_largest_share_alone_is_named():
    posterior = beta_binomial([30, 10, 33], [100, 100, 100], arms=["a", "b", "c"])
    assert "c gets the largest share" in next_shares(posterior, rule="Thompson").text


def test_best_arm_of_a_tie():
    posterior = beta_binomial([30, 10, 30], [100, 100, 100], arms=["a", "b", "c"])
    found = best_arm(posterior)
    assert (found.arm, found.runner_up) == ("a", "c")
    assert found.text.startswith("a and c cannot be told apart")
    assert "a has the lowest" not in found.text
    assert "a and c have the same lowest expected regret" in posterior.summary()
    alone = beta_binomial([30, 10, 33], [100, 100, 100], arms=["a", "b", "c"])
    assert best_arm(alone).text.startswith("c has the lowest expected regret")
    assert "c has the lowest expected regret" in alone.summary()


@pytest.mark.parametrize(
    ("sizes", "value", "text"),
    [
        ([60, 120, 240], 1e6, "240 units, is the largest that was tried"),
        ([2000, 4000], 1.0, "2,000 units, is the smallest that was tried"),
        ([300], 1.0, "Only one size was tried"),
    ],
)
def test_plan_of_waves_says_when_the_best_size_is_the_last_tried(sizes, value, text):
    plan = plan_waves(
        ww.evaluate.Design(arms=3, waves=(300,)), {"rate": [0.1, 0.15, 0.2]},
        Benefit(1000, value, cost_per_unit=1.0), sizes=sizes, limits=Limits(most_waves=1),
        rules=("equal",), n_simulations=100, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert any(text in note for note in plan.notes)
    assert text in plan.summary()
    assert plan.facts()["notes"] == list(plan.notes)


def test_plan_of_waves_in_the_middle_of_what_was_tried():
    plan = plan_waves(
        ww.evaluate.Design(arms=3, waves=(300,)), {"rate": [0.1, 0.15, 0.2]},
        Benefit(20_000, 1.0, cost_per_unit=1.0), sizes=[6, 300, 20_000],
        limits=Limits(most_waves=1), rules=("equal",), n_simulations=200,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    assert plan.recommended.n_units == 300
    assert not any("tried" in note for note in plan.notes)


def test_calibration_gives_no_interval_where_nothing_varies():
    x = np.random.default_rng(0).normal(1, 1, 60)
    for scores in (x, np.zeros(60), 3 * x):
        with pytest.raises(EstimationError, match="no standard error or interval"):
            calibration(x, scores)
    noise = np.random.default_rng(1).normal(size=60)
    for predicted in (np.append(np.ones(59), 1 + 1e-12), x - x.mean()):
        with pytest.raises(EstimationError, match="effects that differ and do not average to 0"):
            calibration(predicted, noise)


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ('rule = "exploration", floor = 0.1', 'take rule = "Thompson" with a floor'),
        ('rule = "top-two"', 'take rule = "Thompson" with a floor'),
        ('rule = "Thompson", floor = 0.375', "lower the floor"),
        ('rule = "Thompson", floor = 0.1', None),
        ('rule = "top-two", beta = 0.8', None),
    ],
)
def test_check_says_before_the_study_that_two_arms_would_share_equally(tmp_path, shares, text):
    folder = tmp_path / "study"
    ww.init(folder, "sms-two-waves")
    path = Path(folder) / "study.toml"
    plan = path.read_text(encoding="utf-8")
    plan = plan.replace(
        'arms = ["reminder", "reserved", "family"]', 'arms = ["reminder", "family"]'
    )
    given = 'rule = "exploration", model = "vaccination", learned_on = ["wave-1"], floor = 0.1'
    assert given in plan
    more = 'model = "vaccination", learned_on = ["wave-1"]'
    path.write_text(plan.replace(given, f"{shares}, {more}"), encoding="utf-8")
    found = ww.open_study(folder).check()
    assert (text is None) == (not found.notes)
    assert text is None or ("always shares equally" in found.summary() and text in found.summary())
