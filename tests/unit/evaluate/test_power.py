"""Power as a function: registered figures, directions, solving each way, bad input."""

import json

import pytest

import wavewise as ww
from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable


def test_school_year_registration_counts_whole_arms() -> None:
    """Registered: 1.2 points between two policies of 25,000, login rate .36."""
    found = ww.evaluate.power(rate=0.36, n_per_arm=25_000, contrast="policy", size=0.05, power=0.8)
    assert round(100 * found.mde_up, 1) == round(100 * found.mde_down, 1) == 1.2
    assert 100 * found.arm_std_error == pytest.approx(0.31, abs=0.01)
    assert found.std_error == pytest.approx(2**0.5 * found.arm_std_error)
    assert found.convention.startswith("whole arm") and "50%" in found.convention


def test_summer_registration_counts_treated_halves() -> None:
    """Registered: SE .12 and MDE .5 points, login rate .02: those of 12,500, not of 25,000."""
    whole = ww.evaluate.power(rate=0.02, n_per_arm=25_000, contrast="policy")
    half = next(row for row in whole.conventions if row.convention == "treated part")
    assert 100 * half.arm_std_error == pytest.approx(0.12, abs=0.006)
    assert round(50 * (half.mde_up + half.mde_down), 1) == 0.5
    assert 100 * whole.arm_std_error == pytest.approx(0.0886, abs=0.0001)
    asked = ww.evaluate.power(
        rate=0.02, n_per_arm=25_000, contrast="policy", convention="treated part"
    )
    assert (asked.mde_up, asked.mde_down) == (half.mde_up, half.mde_down)
    assert asked.convention.startswith("treated part") and "12,500" in asked.convention


def test_whole_arms_show_half_of_a_message_effect() -> None:
    """Differences of effects need four cells: twice the standard error of whole arms."""
    rows = ww.evaluate.power(rate=0.36, n_per_arm=25_000, contrast="policy").conventions
    whole, part, four = rows
    assert four.std_error == pytest.approx(2 * whole.std_error)
    assert part.std_error == pytest.approx(2**0.5 * whole.std_error)
    assert whole.message_mde_up == 2 * whole.mde_up
    direct = ww.evaluate.power(rate=0.36, n_per_arm=25_000, contrast="difference of effects")
    assert direct.std_error == four.std_error


def test_rises_are_harder_to_find_than_falls_at_low_rates() -> None:
    low = ww.evaluate.power(rate=0.02, n_per_arm=5_000)
    high = ww.evaluate.power(rate=0.98, n_per_arm=5_000)
    assert low.mde_up > 1.1 * low.mde_down
    assert low.mde_up == pytest.approx(high.mde_down)
    rare = ww.evaluate.power(rate=0.001, n_per_arm=1_000)
    assert isinstance(rare.mde_down, NotEstimable)
    assert "largest possible fall" in rare.mde_down.reason
    assert any("too few" in text for text in rare.assumptions)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.2},
        {"count": 3.0, "dispersion": 2.0},
        {"std_dev": 4.0, "contrast": "pooled", "n_pooled": 3},
        {"std_dev": 1.0, "cluster_size": [10, 30, 20], "intracluster_correlation": 0.1},
    ],
)
def test_size_effect_and_power_are_one_relation(options: dict) -> None:
    effect = ww.evaluate.power(n_per_arm=1_500, **options).mde_up
    assert ww.evaluate.power(n_per_arm=1_500, effect=effect, **options).power == pytest.approx(0.8)
    needed = ww.evaluate.power(effect=effect, **options).n_per_arm
    assert needed == pytest.approx(1_500, abs=1)


def test_strata_covariates_clusters_attrition_multiply() -> None:
    plain = ww.evaluate.power(std_dev=1.0, n_per_arm=2_000)
    better = ww.evaluate.power(
        std_dev=1.0, n_per_arm=2_000, strata_r_squared=0.2, r_squared=0.5, attrition=0.1
    )
    ratio = (better.std_error / plain.std_error) ** 2
    assert ratio == pytest.approx(0.8 * 0.5 / 0.9)
    unequal = ww.evaluate.power(
        std_dev=1.0, n_per_arm=2_000, cluster_size=20, cluster_size_cv=0.5,
        intracluster_correlation=0.05,
    )  # fmt: skip
    assert (unequal.std_error / plain.std_error) ** 2 == pytest.approx(1 + (1.25 * 20 - 1) * 0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 36, "n_per_arm": 10}, "0.36 for 36 percent"),
        ({"rate": 0.3, "n_per_arm": 0}, "n_per_arm"),
        ({"rate": 0.3}, "neither n_per_arm nor effect"),
        ({"n_per_arm": 10}, "needed one of rate"),
        ({"rate": 0.3, "std_dev": 1.0, "n_per_arm": 10}, "rate and std_dev"),
        ({"rate": 0.3, "n_per_arm": 10, "size": 0.95}, "such as 0.05"),
        ({"rate": 0.3, "n_per_arm": 10, "contrast": "best"}, "needed one of arms"),
        ({"rate": 0.3, "n_per_arm": 10, "convention": "treated part"}, "contrast 'policy'"),
        ({"rate": 0.3, "effect": 0.8}, "rise by 0.7"),
        ({"rate": 0.3, "n_per_arm": 9, "intracluster_correlation": 0.1}, "without cluster_size"),
        ({"rate": 0.3, "effect": 0.01, "n_control": 10, "contrast": "control"}, "enlarge"),
        ({"rate": 0.3, "n_per_arm": 9, "attrition": 1.0}, "attrition"),
    ],
)
def test_bad_input_is_named(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ww.evaluate.power(**options)


def test_frame_dict_and_summary_tell_the_same() -> None:
    found = ww.evaluate.power(rate=0.02, n_per_arm=25_000, effect=0.004, contrast="policy")
    values = json.loads(json.dumps(found.to_dict()))
    assert found.to_frame()["mde_up"].to_list() == [row["mde_up"] for row in values["conventions"]]
    assert f"found with power {found.power:.3f}" in found.summary()
