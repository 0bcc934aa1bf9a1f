"""Number of waves: the objective by hand, limits, the simpler design."""

import json
from dataclasses import replace

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError

E = ww.evaluate
DESIGN = E.Design(arms=4, waves=(800,))
PRIOR = E.PriorTruth.from_rate(0.2, 0.3)


def _plan(benefit: E.Benefit, n: int = 1_000, **options) -> E.WavePlan:
    options = {"limits": E.Limits(most_waves=3), **options}
    return E.plan_waves(DESIGN, PRIOR, benefit, n_simulations=n, rng=np.random.default_rng(3),
                        **options)  # fmt: skip


def test_net_benefit_is_what_section_2_of_the_study_says() -> None:
    benefit = E.Benefit(10_000, 2.0, cost_per_wave=30, cost_per_unit=0.1, discount=0.9)
    plan = _plan(benefit)
    for row in plan.rows:
        one = next(one for one in plan.comparison if one.design.name == row.design)
        waves = len(row.waves)
        chosen = one.runs["success_prob"][np.arange(1_000), one.runs["chosen"]]
        by_hand = 0.9 ** (waves + 1) * 10_000 * 2 * chosen - 30 * waves - 0.1 * 800
        assert row.net_benefit.value == pytest.approx(by_hand.mean())
        assert row.cost == pytest.approx(30 * waves + 80)
        assert sum(row.waves) == 800


def test_delay_that_costs_much_leaves_one_wave() -> None:
    plan = _plan(E.Benefit(10_000, discount=0.5))
    assert len(plan.recommended.waves) == 1
    assert plan.simpler is plan.recommended
    assert "No simpler design" in plan.summary()


def test_waves_that_cost_nothing_are_used_and_a_simpler_design_is_named() -> None:
    plan = _plan(E.Benefit(1e6), n=4_000)
    assert len(plan.recommended.waves) > 1
    assert plan.recommended.rule == "exploration"
    assert len(plan.simpler.waves) <= len(plan.recommended.waves)
    curve = plan.curve()
    assert [len(row.waves) for row in curve] == [1, 2, 3]
    assert curve[0].behind_best.value > 2 * curve[0].behind_best.mc_error


def test_splits_and_limits() -> None:
    plan = _plan(
        E.Benefit(1_000),
        n=50,
        splits=["equal", "growing", "shrinking"],
        limits=E.Limits(total_days=65, wave_days=30, least_control_share=0.2),
    )
    waves = {row.waves for row in plan.rows}
    assert waves == {(800,), (400, 400), (320, 480), (480, 320)}
    assert all(one.design.control_share == 0.2 for one in plan.comparison)
    frame, values = plan.to_frame(), json.loads(json.dumps(plan.to_dict()))
    assert frame["net_benefit"].to_list() == [row["net_benefit"] for row in values["rows"]]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (E.Limits(budget=60), "800 needs a budget of 90, or 500 units"),
        (E.Limits(most_units=500), "needs most_units 800"),
        (E.Limits(most_per_wave=100), "needs most_per_wave 267"),
        (E.Limits(total_days=10, wave_days=30), "needed 30 or more"),
    ],
)
def test_limits_that_no_design_keeps(limits: E.Limits, words: str) -> None:
    limits = replace(limits, most_waves=3)
    with pytest.raises(InputError, match=words):
        _plan(E.Benefit(1_000, cost_per_wave=10, cost_per_unit=0.1), n=10, limits=limits)


def test_bad_benefits_are_named() -> None:
    with pytest.raises(InputError, match="discount"):
        E.Benefit(10, discount=0.0)
    with pytest.raises(InputError, match="beneficiaries"):
        E.Benefit(-1)
    with pytest.raises(InputError, match="splits"):
        _plan(E.Benefit(10), splits=["odd"])
