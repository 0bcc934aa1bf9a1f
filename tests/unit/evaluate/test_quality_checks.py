"""Checks of data quality: verdicts, numbers, layouts, and what they do without data."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError

checks = ww.evaluate.checks
RNG_SEED = 20


def rng():
    return np.random.default_rng(RNG_SEED)


def test_every_check_says_what_it_covers_and_what_to_do_when_it_fails():
    r = rng()
    n = 600
    arm, wave = r.choice(["control", "a", "b"], n), r.choice(["one", "two"], n)
    school = r.integers(0, 30, n)
    y = r.normal(50, 15, n).round()
    gone = r.random(n) < np.where(arm == "a", 0.4, 0.1)
    failing = [
        checks.missing_outcomes(np.where(gone, np.nan, y), arm, wave=wave),
        checks.late_deliveries(y + 15 * (school < 5), arm, school < 5),
        checks.heaping(np.where(school < 15, y // 5 * 5, y), arm=arm, cluster=school),
        checks.implausible_clusters(np.where(school == 2, 50.0, y), school),
        checks.control_drift(y + 10 * (wave == "two"), arm, wave),
        checks.dose_by_arm(r.binomial(9, np.where(arm == "a", 0.5, 0.9)), np.full(n, 9), arm),
    ]
    for check in failing:
        assert check.passed is False, check.name
        assert check.scope
        assert check.advice
        assert check.number is not None
        assert check.table
        assert check.facts()["number"] is not None
        assert check.line.startswith(f"{check.name}: fail.")


def test_missing_outcomes_in_the_layout_of_table_a1():
    r = rng()
    arm, wave = r.choice(["C", "T1"], 400), r.choice([1, 2], 400)
    y = np.where(r.random(400) < 0.2, np.nan, 1.0)
    found = checks.missing_outcomes(y, arm, wave=wave)
    assert found.passed
    assert [(row["arm"], row["wave"]) for row in found.table] == [
        ("C", "1"), ("T1", "1"), ("C", "2"), ("T1", "2"), ("C", None), ("T1", None), (None, None),
    ]  # fmt: skip
    for row in found.table[:4]:
        mask = (arm == row["arm"]) & (wave == int(row["wave"]))
        assert row["known_share"] == pytest.approx(1 - np.isnan(y[mask]).mean())
    assert sum(row["n_units"] for row in found.table[:4]) == 400
    assert checks.missing_outcomes(np.ones(8), list("aabbaabb")).passed
    few = checks.missing_outcomes([np.nan, *[1.0] * 7], list("aabbaabb"))
    assert few.passed is None


def test_missing_test_is_the_permutation_test():
    """The F test's p value beside re-randomization of the share known by arm, three arms."""
    r = rng()
    arm = r.permutation(np.repeat(["a", "b", "c"], 40))
    gone = (r.random(120) < np.where(arm == "c", 0.35, 0.15)).astype(float)
    found = checks.missing_outcomes(np.where(gone == 1, np.nan, 1.0), arm)
    again = ww.estimate.randomization_test(
        gone, arm, lambda g: g.permutation(arm), statistic="difference", n_draws=4000, rng=r
    )
    assert found.number == pytest.approx(again.p_value, abs=0.02)


def test_lee_bounds_by_hand():
    """Known shares .8 and 1: a fifth of the second arm is trimmed, from either end."""
    y = [1.0, 2, 3, 4, np.nan, 1.0, 2, 3, 4, 5]
    row = checks.attrition_bounds(y, ["c"] * 5 + ["t"] * 5, control="c").table[0]
    assert row["lee_low"] == pytest.approx(2.5 - 2.5)
    assert row["lee_high"] == pytest.approx(3.5 - 2.5)
    assert row["worst_low"] == pytest.approx(3 - (10 + 5) / 5)
    assert row["worst_high"] == pytest.approx(3 - (10 + 1) / 5)
    turned = checks.attrition_bounds(y, ["c"] * 5 + ["t"] * 5, control="t").table[0]
    assert turned["lee_low"] == pytest.approx(-row["lee_high"])
    assert turned["worst_high"] == pytest.approx(-row["worst_low"])


def test_lee_bounds_of_ties_weigh_the_cut_in_part():
    """Binary outcomes: trimming a share q of the ones or of the zeros."""
    y = np.array([1.0] * 60 + [0.0] * 40 + [1.0] * 40 + [0.0] * 40 + [np.nan] * 20)
    row = checks.attrition_bounds(y, ["t"] * 100 + ["c"] * 100, control="c").table[0]
    assert row["lee_low"] == pytest.approx((60 - 20) / 80 - 0.5)
    assert row["lee_high"] == pytest.approx(60 / 80 - 0.5)


def test_bounds_that_turn_a_clear_effect():
    r = rng()
    arm = np.repeat(["control", "t"], 500)
    y = r.normal(size=1000) - 0.1 * (arm == "t")
    y[(arm == "control") & (y > 0.6)] = np.nan
    found = checks.attrition_bounds(y, arm)
    assert found.passed is False
    assert "depends on who is missing" in found.text
    assert checks.attrition_bounds(np.arange(4.0), list("ccdd"), control="c").passed
    nothing = checks.attrition_bounds(
        np.where(np.arange(1000) == 1, np.nan, r.normal(size=1000)), arm
    )
    assert nothing.passed is None


def test_late_deliveries_in_the_layout_of_table_a2():
    r = rng()
    arm, period = r.choice(["C", "T"], 800), r.choice(["E2", "E3"], 800)
    late = r.random(800) < 0.15
    y = r.normal(40, 10, 800) + 12 * (late & (period == "E2"))
    found = checks.late_deliveries(y, arm, late, period=period)
    assert [(row["period"], row["delivery"]) for row in found.table] == [
        ("E2", "first"), ("E2", "late"), ("E3", "first"), ("E3", "late"),
    ]  # fmt: skip
    mask = (period == "E2") & late & (arm == "T")
    assert found.table[1]["mean_T"] == pytest.approx(y[mask].mean())
    assert found.passed is False
    assert found.number == pytest.approx(12, abs=3)
    assert found.table[3]["p_value"] > 0.001
    few = checks.late_deliveries(y, arm, np.arange(800) < 5)
    assert few.passed is None


def test_heaping_ratio_by_hand():
    values = np.repeat(np.arange(3, 48), 10)  # nine multiples of five with whole windows
    plain = checks.heaping(values)
    assert plain.passed
    assert plain.number == pytest.approx(1.0)
    doubled = checks.heaping(np.concatenate([values, np.repeat(np.arange(5, 50, 5), 10)]))
    assert doubled.number == pytest.approx(2.0)
    assert doubled.passed is False
    assert checks.heaping([1.5, 2.5, 7.0]).passed is None


def test_heaping_that_differs_by_arm_fails_though_it_is_mild():
    r = rng()
    y, arm = r.integers(3, 98, 2000), r.choice(["a", "b"], 2000)
    rounded = np.where((arm == "a") & (r.random(2000) < 0.12), (y + 2) // 5 * 5, y)
    found = checks.heaping(rounded, arm=arm)
    assert found.passed is False
    assert "Arms differ" in found.text


def test_implausible_clusters_by_sign():
    r = rng()
    school = np.repeat(np.arange(40), 12)
    y = (r.normal(45, 15, 480) + 4 * r.normal(size=40)[school]).round()
    assert checks.implausible_clusters(y, school).passed
    y[school == 1] = 30
    y[school == 2] = np.round(y[school == 2] / 5) * 5
    y[school == 3] += 60
    found = checks.implausible_clusters(y, school)
    signs = {row["cluster"]: row["sign"] for row in found.table}
    assert signs == {
        "1": "with all scores equal", "2": "with multiples of 5 only",
        "3": "with a mean far from the others",
    }  # fmt: skip
    assert found.number == pytest.approx(3 / 40)
    assert checks.implausible_clusters(y[:30], school[:30]).passed is None


def test_control_drift_and_its_table():
    r = rng()
    wave, arm = np.repeat([1, 2, 3], 200), np.tile(["control", "t"], 300)
    y = r.normal(size=600) + 1.0 * (wave == 3)
    found = checks.control_drift(y, arm, wave)
    assert found.passed is False
    mine = (arm == "control") & (wave == 3)
    assert found.table[2]["mean"] == pytest.approx(y[mine].mean())
    assert found.number == pytest.approx(abs(found.table[2]["difference"]))
    assert checks.control_drift(y, arm, np.ones(600)).passed is None
    assert checks.control_drift(np.ones(600), arm, wave).passed is None


def test_dose_finds_messages_to_a_control():
    found = checks.dose_by_arm([3, 3, 1, 0], [3, 3, 0, 0], list("ttcc"))
    assert found.passed is False
    assert "more messages than were due" in found.text
    assert checks.dose_by_arm([3, 3, 0, 0], [3, 3, 0, 0], list("ttcc")).passed is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: checks.missing_outcomes(["x"], ["a"]), InputError, "text"),
        (lambda: checks.missing_outcomes([1.0], ["a", "b"]), InputError, "labels"),
        (lambda: checks.missing_outcomes([1.0], ["a"], size=2), InputError, "size"),
        (lambda: checks.attrition_bounds([1.0, 2], ["a", "b"], control="c"), InputError, "control"),
        (
            lambda: checks.attrition_bounds([np.nan] * 2, ["a", "b"], control="a"),
            EstimationError,
            "all",
        ),
        (
            lambda: checks.attrition_bounds([np.nan, 1], ["a", "b"], control="a"),
            EstimationError,
            "all",
        ),
        (
            lambda: checks.attrition_bounds([0, 1], ["a", "b"], control="a", highest=0.5),
            InputError,
            "within",
        ),
        (lambda: checks.heaping([1, 2], step=2), InputError, "step"),
        (lambda: checks.late_deliveries([1.0], ["a"], [3]), InputError, "late"),
        (lambda: checks.dose_by_arm([np.nan], [1], ["a"]), InputError, "counts"),
        (lambda: checks.heaping([np.inf]), InputError, "infinite"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
