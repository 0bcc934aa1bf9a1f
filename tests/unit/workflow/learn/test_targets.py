"""Targets of closed waves: made once for all waves, compared like outcomes, learned from."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from closed_waves import closed
from study_folders import STUDY
from wavewise.shared.results import NotEstimable
from wavewise.workflow.frames import ClosedWaves, with_targets
from wavewise.workflow.learn.decide import chosen_arm, shares_of_rule
from wavewise.workflow.learn.effects import effects_of

TARGETS = """
[[targets]]
id = "goal"
outcomes = ["login", "minutes"]

[[targets]]
id = "worth"
kind = "weighted"
weights = { login = 2.0, minutes = 0.5 }
unit = "dollars"

[models.goal]
kind = "normal"
outcome = "goal"
"""


def made(text: str = STUDY, **options) -> ClosedWaves:
    found = closed(text + TARGETS, **options)
    data = with_targets(found.spec, {name: wave.data for name, wave in found.waves.items()})
    waves = {name: replace(wave, data=data[name]) for name, wave in found.waves.items()}
    return ClosedWaves(found.spec, waves)


def test_an_index_has_the_scale_of_the_first_wave_in_all() -> None:
    found = made()
    first, second = found.data("one"), found.data("two")
    columns = {name: first.outcomes[name].to_numpy() for name in ("login", "minutes")}
    index = ww.estimate.index(columns, first.arm, control="control")
    np.testing.assert_allclose(first.outcomes["goal"], index.values)
    later = {name: second.outcomes[name].to_numpy() for name in ("login", "minutes")}
    np.testing.assert_allclose(second.outcomes["goal"], index.of(later))


def test_a_weighted_target_is_a_sum_with_the_sign_of_each() -> None:
    text = STUDY.replace('value = "minutes"', 'value = "minutes"\nhigher_is_better = false')
    data = made(text).data("one")
    expected = 2 * data.outcomes["login"] - 0.5 * data.outcomes["minutes"]
    np.testing.assert_allclose(data.outcomes["worth"], expected)


def test_effects_on_targets_stand_beside_those_on_outcomes() -> None:
    found = effects_of(made(), ["one"])
    assert {item.outcome.id for item in found} == {"login", "minutes", "goal", "worth"}
    goal = next(item for item in found if item.outcome.id == "goal")
    assert "standard deviations" in str(goal.to_dict()["outcome"])


def test_decisions_learn_from_a_target() -> None:
    text = STUDY.replace('model = "login", learned_on', 'model = "goal", learned_on')
    text = text.replace('model = "login"\nlearned_on', 'model = "goal"\nlearned_on')
    found = made(text)
    wave = found.spec.wave("two")
    shares = shares_of_rule(found, wave, wave.shares)
    assert sum(shares.shares.values()) == pytest.approx(1)
    chosen = chosen_arm(found, found.spec.decision, "two", ["one", "two"])
    assert chosen.arm == "teacher"


def test_what_cannot_be_made_has_its_reason() -> None:
    found = closed(STUDY + TARGETS)
    data = {
        name: replace(wave.data, outcomes=wave.data.outcomes.with_columns(login=pl.lit(1.0)))
        for name, wave in found.waves.items()
    }
    data = with_targets(found.spec, data)
    waves = {name: replace(wave, data=data[name]) for name, wave in found.waves.items()}
    items = {i.outcome.id: i for i in effects_of(ClosedWaves(found.spec, waves), ["one"])}
    assert isinstance(items["goal"].effects, NotEstimable)
    assert "without variation" in items["goal"].effects.reason
    assert not isinstance(items["worth"].effects, NotEstimable)


def test_a_surrogate_is_learned_on_earlier_waves_and_its_error_counts() -> None:
    surrogate = """
[[targets]]
id = "expected"
kind = "surrogate"
outcomes = ["login"]
stands_for = "minutes"
learned_on = ["one"]
"""
    found = made(STUDY + surrogate)
    first, second = found.data("one"), found.data("two")
    learned = ww.estimate.surrogate_index(first.outcomes["minutes"], first.outcomes.select("login"))
    early = second.outcomes.select("login")
    np.testing.assert_allclose(second.outcomes["expected"], learned.of(early))
    items = {i.outcome.id: i.effects for i in effects_of(found, ["two"]) if i.registered}
    login, expected = items["login"], items["expected"]
    np.testing.assert_allclose(expected.estimate, learned.slope[0] * login.estimate)
    variance = learned.slope[0] ** 2 * np.diag(login.cov) + learned.cov[0, 0] * login.estimate**2
    np.testing.assert_allclose(expected.std_error**2, variance)


COSTS = (
    STUDY.replace('text.en = "Many', 'cost = 0.05\ntext.en = "Many')
    .replace('time_zone = "America/Lima"', 'time_zone = "America/Lima"\ncurrency = "USD"', 1)
    + """
[planning]
n_units = 480
[planning.another_wave]
cost_per_unit = 1
cost_per_wave = 10
beneficiaries = 1000
value_per_success = 3
"""
)  # fmt: skip


def test_cost_per_added_success_where_a_message_has_a_cost() -> None:
    item = effects_of(closed(COSTS), ["one"])[0]
    (row,) = item.cost_rows  # the other message has none
    effect = item.effects["peers"]
    assert row.cost_per_unit == pytest.approx(2 * 0.05)  # a message a week, for two weeks
    assert row.cost_per_success == pytest.approx(0.1 / effect.estimate)
    assert row.low == pytest.approx(0.1 / effect.conf[1])
    assert item.facts()["costs"][0]["arm"] == "peers"
    assert "USD per added success" in item.text


def test_regret_in_money_over_all_who_get_the_arm() -> None:
    found = closed(COSTS)
    choice = chosen_arm(found, found.spec.decision, "two", ["one", "two"])
    assert choice.regret_in_money == pytest.approx(3000 * choice.policy_regret)
    assert "USD" in choice.summary()
    assert "regret_in_money" in choice.facts()
