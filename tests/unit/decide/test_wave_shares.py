"""Shares of a wave by every rule, beside a control and above a floor."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.decide import exploration_shares, shares
from wavewise.decide.rules import RULES, rule_named
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import beta_binomial

P = np.array([0.5, 0.3, 0.15, 0.05])
KENYA = np.array([302, 5931, 1334, 35, 398, 0]) / 8000
NEED_A_RIVAL = ["exploration", "top-two"]


def test_kenya_second_wave_targets():
    """Table 2 of the published study, from its draw counts."""
    wave = ww.decide.shares(KENYA, rule="exploration", control_share=1 / 7, floor=0.0)
    published = [7.44, 39.26, 28.45, 0.89, 9.68, 0.00, 14.29]
    np.testing.assert_allclose(100 * wave, published, atol=0.00501)
    assert wave[-1] == 1 / 7
    assert wave.sum() == pytest.approx(1, abs=1e-15)


def test_the_control_is_there_only_if_its_share_is_above_zero():
    np.testing.assert_array_equal(shares(P), exploration_shares(P))
    assert shares(P, control_share=0.0).shape == (4,)
    assert shares(P, control_share=0.2).shape == (5,)


def test_laws():
    np.testing.assert_allclose(shares(P, rule="Thompson"), P, rtol=1e-14)
    np.testing.assert_allclose(shares(P, rule="equal"), 0.25)
    np.testing.assert_allclose(
        shares(P, rule="fixed", fixed=[0.1, 0.2, 0.3, 0.4]), [0.1, 0.2, 0.3, 0.4]
    )


def test_tempered_by_a_power_or_by_a_mixture():
    power = P**0.5 / (P**0.5).sum()
    np.testing.assert_allclose(shares(P, rule="tempered Thompson", temper=0.5), power, rtol=1e-14)
    np.testing.assert_allclose(shares(P, rule="tempered Thompson"), 0.05 + 0.8 * P, rtol=1e-14)
    mixed = shares(P, rule="tempered Thompson", temper=0.5, uniform_share=0.4)
    np.testing.assert_allclose(mixed, 0.1 + 0.6 * power, rtol=1e-14)
    np.testing.assert_allclose(shares(P, rule="tempered", temper=1.0), P, rtol=1e-14)
    np.testing.assert_allclose(shares([1, 0], rule="tempered", temper=0.0), 0.5)


def test_top_two_spends_beta_on_a_certain_leader():
    np.testing.assert_allclose(shares(P, rule="top-two", beta=1.0), P, rtol=1e-14)
    near = shares([1.0, 3e-200, 1e-200], rule="top-two", beta=0.7)
    np.testing.assert_allclose(near, [0.7, 0.225, 0.075], rtol=1e-12)


def test_the_control_matches_the_best_arm():
    wave = shares(P, rule="control-augmented", control_share=0.1)
    assert wave[-1] == wave[0] == pytest.approx(1 / 3)
    np.testing.assert_allclose(wave[:-1] / wave[:-1].sum(), P, rtol=1e-14)
    assert shares(P, rule="control-augmented").shape == (5,)
    at_least = shares(P, rule="control-augmented", control_share=0.6)
    np.testing.assert_allclose(at_least, [*(0.4 * P), 0.6], rtol=1e-14)


def test_a_floor_holds_for_the_whole_wave_and_the_rest_keeps_its_proportions():
    wave = shares(KENYA, control_share=1 / 7, floor=0.02)
    free = shares(KENYA, control_share=1 / 7)
    assert wave.min() == 0.02
    assert wave[-1] == 1 / 7
    assert wave.sum() == pytest.approx(1, abs=1e-15)
    high = wave > 0.02
    assert high.tolist() == [True, True, True, False, True, False, True]
    ratio = (wave / np.where(free > 0, free, 1))[high][:-1]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-13)


def test_a_floor_that_only_equal_shares_meet():
    np.testing.assert_allclose(shares(P, control_share=1 / 5, floor=1 / 5), 1 / 5, rtol=1e-13)
    np.testing.assert_allclose(shares([1, 0, 0], rule="Thompson", floor=1 / 3), 1 / 3, rtol=1e-13)


@pytest.mark.parametrize("rule", NEED_A_RIVAL)
def test_certainty_in_plain_probabilities_is_an_error(rule):
    with pytest.raises(DecisionError, match=r"probability exactly 1.*choose that arm"):
        shares([0.0, 1.0, 0.0], rule=rule)


@pytest.mark.parametrize("rule", NEED_A_RIVAL)
def test_certainty_with_a_floor_is_the_limit_of_rivals_that_are_alike(rule):
    certain = shares([0.0, 1.0, 0.0, 0.0], rule=rule, floor=0.01, control_share=0.1)
    limit = shares([1e-300, 1.0, 1e-300, 1e-300], rule=rule, floor=0.01, control_share=0.1)
    np.testing.assert_allclose(certain, limit, rtol=1e-12)
    assert certain[1] == pytest.approx(0.45)
    assert shares([1.0], rule=rule, floor=0.1).tolist() == [1.0]


@pytest.mark.parametrize("rule", NEED_A_RIVAL)
def test_a_posterior_decides_by_its_tails(rule):
    posterior = beta_binomial([1000, 5000, 900], [10_000, 10_000, 10_000])
    assert posterior.prob_optimal.tolist() == [0.0, 1.0, 0.0]
    wave = shares(posterior, rule=rule)
    np.testing.assert_allclose(wave[:2], 0.5, rtol=1e-6)
    assert 0 < wave[2] < 1e-6


def test_certainty_under_the_other_rules():
    np.testing.assert_allclose(shares([0, 1, 0], rule="Thompson"), [0, 1, 0])
    np.testing.assert_allclose(shares([0, 1], rule="control-augmented"), [0, 0.5, 0.5])
    np.testing.assert_allclose(shares([0, 1], rule="tempered"), [0.1, 0.9])


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("thompson", "Thompson"),
        ("THOMPSON SAMPLING", "Thompson"),
        ("exploration_sampling", "exploration"),
        ("Exploration", "exploration"),
        ("tempered_thompson", "tempered Thompson"),
        ("tempered", "tempered Thompson"),
        ("top two", "top-two"),
        ("top-two Thompson", "top-two"),
        ("control-augmented Thompson", "control-augmented"),
        ("uniform", "equal"),
        ("fixed", "fixed"),
    ],
)
def test_spellings(name, rule):
    assert rule_named(name).name == rule


def test_the_table_of_rules():
    assert all(RULES[name].name == name for name in RULES)
    from wavewise.design.waves import RULE_OPTIONS, AllocationRule

    in_study_files = AllocationRule.model_fields["rule"].annotation.__args__
    assert set(in_study_files) == set(RULES) - {"fixed"}
    assert {
        option: rule.name
        for rule in RULES.values()
        if rule.name != "fixed"
        for option in rule.options
    } == RULE_OPTIONS


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"rule": "greedy"}, "rule: found 'greedy'; needed one of exploration"),
        ({"rule": 3}, "rule: found 3"),
        ({"floor": 0.3}, "floor: found 0.3 for 4 arms, 1.2 together.*lower the floor to 0.25"),
        ({"floor": 0.24, "control_share": 0.1}, "needed at most 0.9"),
        ({"floor": -0.1}, "floor: found -0.1"),
        ({"floor": np.nan}, "floor: found nan"),
        ({"rule": "control-augmented", "floor": 0.21}, "floor: found 0.21 for 5 arms"),
        ({"control_share": 1.0}, "control_share: found 1.0"),
        ({"temper": 0.5}, "temper: found it beside the rule 'exploration'"),
        ({"rule": "top-two", "temper": 0.5}, "needed beta there"),
        ({"rule": "tempered", "temper": 1.5}, "temper: found 1.5"),
        ({"rule": "tempered", "uniform_share": -1}, "uniform_share: found -1"),
        ({"rule": "top-two", "beta": 2}, "beta: found 2"),
        ({"rule": "fixed"}, "fixed: found nothing"),
        ({"rule": "fixed", "fixed": [0.5, 0.5]}, "fixed: found 2 shares; needed 4"),
        ({"rule": "fixed", "fixed": [0.5, 0.5, 0.5, 0.5]}, "fixed: found a sum of 2"),
        ({"colour": 1}, "colour: found it beside"),
    ],
)
def test_bad_options_are_named(options, found):
    with pytest.raises(InputError, match=found):
        shares(P, **options)


@pytest.mark.parametrize("prob", [[0.5, 0.6], [50, 50], [np.nan, 1.0], [], "abc"])
def test_bad_probabilities_are_named(prob):
    with pytest.raises(InputError, match="prob_optimal"):
        shares(prob)


def test_shares_cannot_be_changed():
    for wave in (shares(P), shares(P, control_share=0.1), shares(P, rule="control-augmented")):
        with pytest.raises(ValueError, match="read-only"):
            wave[0] = 1
