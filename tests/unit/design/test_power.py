"""Minimum detectable effects against printed numbers, exact formulas and simulated tests."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from wavewise.design import parse_spec
from wavewise.design.power import (
    ArmPower,
    Detectable,
    PlannedPower,
    minimum_detectable_effect,
    planned_effects,
)
from wavewise.design.templates import template_text
from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable


def _power(text: str) -> PlannedPower:
    power = planned_effects(parse_spec(text))
    assert isinstance(power, PlannedPower)
    return power


def _row(name: str, wave: str, arm: str, convention: str, outcome: str = "login") -> ArmPower:
    rows = _power(template_text(name)).rows
    return next(
        row for row in rows
        if (row.wave, row.arm, row.convention, row.outcome) == (wave, arm, convention, outcome)
    )  # fmt: skip


def _mde(contrast: Detectable | NotEstimable) -> float:
    assert isinstance(contrast, Detectable)
    return contrast.minimum_detectable_effect


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_the_formula(level: float, power: float) -> None:
    expected = (norm.ppf((1 + level) / 2) + norm.ppf(power)) * 0.7
    assert minimum_detectable_effect(0.7, level=level, power=power) == pytest.approx(expected)


def test_the_usual_multiple_is_2_8016() -> None:
    assert minimum_detectable_effect(1.0, level=0.95, power=0.8) == pytest.approx(2.8016, abs=5e-5)


@pytest.mark.parametrize(("level", "power"), [(0.95, 0.8), (0.9, 0.6)])
def test_a_test_finds_the_effect_as_often_as_it_should(level: float, power: float) -> None:
    """Simulated two-arm trials with the minimum effect; bounds are 4 binomial standard errors."""
    rng, n, n_trials = np.random.default_rng(8), 400, 20_000
    error = math.sqrt(2 / n)
    effect = minimum_detectable_effect(error, level=level, power=power)
    means = rng.normal([0.0, effect], 1 / math.sqrt(n), size=(n_trials, 2))
    found = np.mean(np.abs(means[:, 1] - means[:, 0]) / error > norm.ppf((1 + level) / 2))
    assert found == pytest.approx(power, abs=4 * math.sqrt(power * (1 - power) / n_trials))


@pytest.mark.parametrize(
    "values", [(0.0, 0.95, 0.8), (math.nan, 0.95, 0.8), (1.0, 1.0, 0.8), (1.0, 0.95, 0.0)]
)
def test_bad_input_is_named(values: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="found"):
        minimum_detectable_effect(values[0], level=values[1], power=values[2])


def test_school_year_registration_counts_whole_arms() -> None:
    """Registered: standard error of an arm ~.31 pp, minimum effect between two arms ~1.2 pp."""
    row = _row("peru-school-year", "phase-2", "forest", "whole arm")
    assert row.n_units == 25_000
    assert 100 * row.baseline_std_dev == pytest.approx(48.0)
    assert 100 * row.std_error == pytest.approx(0.31, abs=0.01)
    assert round(100 * _mde(row.vs_arm), 1) == 1.2
    registered = minimum_detectable_effect(math.sqrt(2) * 0.31, level=0.95, power=0.8)
    assert registered == pytest.approx(1.23, abs=0.005)


def test_summer_registration_counts_messaged_parts() -> None:
    """Registered: standard error ~.12 pp and minimum effect ~.5 pp, which are those of 12,500."""
    part = _row("peru-summer", "phase-2", "forest", "messaged part")
    whole = _row("peru-summer", "phase-2", "forest", "whole arm")
    assert part.n_units == 12_500
    assert 100 * part.std_error == pytest.approx(0.12, abs=0.006)
    assert round(100 * _mde(part.vs_arm), 1) == 0.5
    assert 100 * whole.std_error == pytest.approx(0.0886, abs=0.0001)
    assert part.std_error / whole.std_error == pytest.approx(math.sqrt(2))  # type: ignore[operator]


def test_a_messaged_part_is_compared_with_its_held_out_part() -> None:
    text = template_text("peru-summer").replace("held_out_share = 0.5 ", "held_out_share = 0.2 ")
    row = next(row for row in _power(text).rows if row.convention == "messaged part")
    assert isinstance(row.vs_control, Detectable)
    expected = 0.14 * math.sqrt(1 / 20_000 + 1 / 5_000)
    assert row.vs_control.std_error == pytest.approx(expected)


def test_the_control_of_another_size() -> None:
    row = _row("peru-school-year", "phase-1", "peers+parent", "whole arm")
    assert isinstance(row.vs_control, Detectable)
    deviation = math.sqrt(0.42 * 0.58)  # of phase 1, not of phase 2
    assert row.vs_control.std_error == pytest.approx(deviation * math.sqrt(1 / 5_000 + 1 / 20_000))
    control = _row("peru-school-year", "phase-1", "control", "whole arm")
    assert control.vs_control == control.vs_arm == NotEstimable("the arm is the control")


def test_households_raise_the_variance() -> None:
    """The design effect of the get-out-the-vote template is that of the published file.

    Cluster-robust against HC2 standard errors there: .003237 / .002595 for Civic Duty.
    """
    power = _power(template_text("get-out-the-vote"))
    assert math.sqrt(power.design_effect) == pytest.approx(0.003237 / 0.002595, abs=0.02)
    row = next(row for row in power.rows if row.arm == "self")
    expected = math.sqrt(power.design_effect * 0.24 / (344_084 / 9))
    assert row.std_error == pytest.approx(expected)


def test_clusters_do_not_matter_where_units_are_randomized_one_by_one() -> None:
    text = template_text("kenya-ivr").replace(
        "n_units = 2_878", "n_units = 2_878\ncluster_size = 27\nintracluster_correlation = 0.1"
    )
    assert _power(text).design_effect == 1.0


def test_shares_of_trials() -> None:
    row = _row("kenya-ivr", "wave-1", "T1A", "whole arm", "engaged")
    assert row.std_error == pytest.approx(0.16 / math.sqrt(1439 / 7))
    binomial = _power(template_text("kenya-ivr").replace(", std_dev = 0.16", "")).rows[0]
    assert binomial.baseline_std_dev == pytest.approx(math.sqrt(0.08 * 0.92 / 9))


def test_what_cannot_be_known_is_a_reason() -> None:
    control = _row("kenya-ivr", "wave-1", "control", "whole arm", "engaged")
    assert "no trials" in str(control.std_error)
    later = _row("kenya-ivr", "wave-2", "T1A", "whole arm", "reading")
    assert isinstance(later.n_units, NotEstimable)
    assert isinstance(later.vs_control, NotEstimable)
    no_spread = _power(template_text("kenya-ivr").replace(", std_dev = 26.0", "")).rows[7]
    assert "std_dev" in str(no_spread.std_error)
    certain = _power(template_text("peru-summer").replace("mean = 0.02", "mean = 0")).rows[0]
    assert isinstance(certain.std_error, NotEstimable)


def test_a_spec_without_plan_has_no_power() -> None:
    head, _, tail = template_text("peru-summer").partition("[planning]")
    text = head + tail[tail.index("[registration]") :]
    assert "[planning]" in str(planned_effects(parse_spec(text)))


def test_frame_dict_and_summary_tell_the_same() -> None:
    power = _power(template_text("peru-summer"))
    frame, values = power.to_frame(), power.to_dict()
    assert frame.height == len(values["rows"]) == len(power.rows) == 5 + 8
    assert values["version"] == 1
    first = frame.row(0, named=True)
    assert first["vs_control_mde"] == _mde(power.rows[0].vs_control)
    summary = power.summary()
    assert "messaged part: best, forest, neighbours, random: n 12,500, SE 0.001252" in summary
    assert "level 0.95 with power 0.8" in summary


@pytest.mark.parametrize(
    ("template", "convention", "baseline", "points", "relative", "std_devs"),
    [
        # as the registry entry states them: about 1.2 points, 3 % and .025; .5 points, 25 %, .036
        ("peru-school-year", "whole arm", 0.36, 1.2, 0.033, 0.025),
        ("peru-summer", "messaged part", 0.02, 0.5, 0.25, 0.036),
    ],
)
def test_effects_relative_and_in_standard_deviations_are_the_registered_ones(
    template: str, convention: str, baseline: float, points: float, relative: float, std_devs: float
) -> None:
    row = _row(template, "phase-2", "forest", convention)
    assert row.baseline_mean == baseline
    assert isinstance(row.vs_arm, Detectable)
    assert 100 * row.vs_arm.minimum_detectable_effect == pytest.approx(points, abs=0.05)
    assert row.relative(row.vs_arm) == pytest.approx(relative, abs=0.005)
    assert row.in_std_devs(row.vs_arm) == pytest.approx(std_devs, abs=0.001)
    assert row.to_dict()["vs_arm_mde_relative"] == row.relative(row.vs_arm)


def test_a_baseline_by_wave_holds_in_its_wave_alone() -> None:
    assert _row("peru-school-year", "phase-1", "peers+parent", "whole arm").baseline_mean == 0.42
    text = template_text("peru-school-year").replace("phase-1 = { mean = 0.42 }, ", "")
    assert {row.wave for row in _power(text).rows} == {"phase-2"}
