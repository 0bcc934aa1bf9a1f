"""Stop, or run another wave: verdict, words, bad input."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from wavewise.decide import stop_or_go
from wavewise.decide.another_wave import StopOrGo, planned_units
from wavewise.errors import DecisionError, InputError
from wavewise.estimate import beta_binomial
from wavewise.shared.results import NotEstimable

COSTS = {"cost_per_unit": 2.0, "cost_per_wave": 100.0}


@dataclass(frozen=True)
class Drawn:
    """A posterior that is known by draws of the arms' means."""

    arms: tuple[str, ...]
    draws: np.ndarray

    @property
    def prob_optimal(self):
        return np.bincount(self.draws.argmax(axis=1), minlength=len(self.arms)) / len(self.draws)

    @property
    def log_prob_optimal(self):
        with np.errstate(divide="ignore"):
            return np.log(self.prob_optimal)

    @property
    def policy_regret(self):
        return self.draws.max(axis=1).mean() - self.draws.mean(axis=0)


@pytest.fixture
def posterior():
    return beta_binomial([24, 30, 12], [200, 200, 200], arms=["text", "call", "none"])


@pytest.fixture
def scores():
    rng = np.random.default_rng(3)
    return Drawn(("a", "b", "c"), rng.normal([0.5, 0.0, 0.3], [1.0, 2.0, 1.5], (5000, 3)))


def decide(posterior, beneficiaries=1e6, value=1.0, n_next=300, **options) -> StopOrGo:
    return stop_or_go(
        posterior,
        n_next=n_next,
        beneficiaries=beneficiaries,
        value_per_success=value,
        **{**COSTS, **options},
    )


def test_gain_against_cost(posterior):
    many, few = decide(posterior, 10_000_000), decide(posterior, 10_000)
    assert (many.verdict, few.verdict) == ("go on", "stop")
    assert many.cost == few.cost == 700.0
    assert many.arm == "call"
    assert many.regret_reduction == few.regret_reduction > 0
    assert many.mc_error == many.gain_mc_error == 0
    assert many.gain == pytest.approx(1e7 * many.regret_reduction)
    assert many.net_gain == many.gain - 700.0
    assert 0 < many.gain < many.gain_at_most == pytest.approx(1e7 * many.policy_regret)
    assert decide(posterior, 1.001 * many.break_even).verdict == "go on"
    assert decide(posterior, 0.999 * many.break_even).verdict == "stop"


def test_words(posterior):
    many, few = decide(posterior, 10_000_000), decide(posterior, 10_000)
    assert many.text.startswith("Go on: a wave of 300 units is expected to gain ")
    assert "more than its cost of 700" in many.text
    assert "Choosing call today is expected to lose 0.0036" in many.text
    assert "Even perfect knowledge" not in many.text
    assert few.text.startswith("Stop: ")
    assert "not more than its cost of 700" in few.text
    assert "Even perfect knowledge would be worth no more than 36.4" in few.text
    assert "exact" in many.summary()


def test_units_of_the_next_wave(posterior):
    even = decide(posterior, rule="equal", control_share=0.25, n_next=400)
    assert even.units.tolist() == [100, 100, 100]
    assert even.rule == "equal"
    floor = decide(posterior, floor=0.1)
    assert floor.units.min() == 30
    assert floor.units.sum() == 300
    assert decide(posterior, rule="control-augmented").units.sum() < 300
    with pytest.raises(ValueError, match="read-only"):
        floor.units[0] = 1


def test_whole_units_are_within_one_and_add_up():
    shares = np.array([0.31, 0.31, 0.2, 0.18])
    units = planned_units(shares, 101, np.array([2.0, 1.0, 0.0, 3.0]))
    assert units.sum() == 101
    assert (np.abs(units - 101 * shares) < 1).all()
    assert planned_units(np.full(3, 1 / 3), 4, np.array([2.0, 0.0, 1.0])).tolist() == [1, 2, 1]


def test_more_trials_a_unit_teach_more(posterior):
    once, nine = decide(posterior), decide(posterior, trials_per_unit=9)
    assert once.regret_reduction < nine.regret_reduction < once.policy_regret
    same = decide(posterior, n_next=2700, rule="equal")
    assert decide(posterior, trials_per_unit=9, rule="equal").regret_reduction == pytest.approx(
        same.regret_reduction, rel=1e-12
    )


def test_no_doubt_is_a_reason_to_stop():
    certain = decide(Drawn(("a", "b"), np.tile([1.0, 0.0], (200, 1))))
    assert certain.verdict == "stop"
    assert isinstance(certain.units, NotEstimable)
    assert isinstance(certain.break_even, NotEstimable)
    assert "nothing to learn" in certain.text
    assert certain.to_dict()["units"]["not_estimable"]
    assert certain.to_frame()["n_units"].to_list() == [None, None]
    assert decide(beta_binomial([3], [10])).verdict == "stop"


def test_a_wave_that_cannot_change_the_choice_gains_nothing(posterior):
    only_leader = decide(posterior, rule="fixed", fixed=[0.0, 1.0, 0.0], n_next=1)
    assert only_leader.regret_reduction == 0
    assert only_leader.prob_change == 0
    assert only_leader.verdict == "stop"


def test_a_wave_of_the_control_alone_teaches_nothing(scores):
    decision = decide(
        scores, outcome_sd=1.0, rng=np.random.default_rng(0), n_next=1, control_share=0.9
    )
    assert decision.units.tolist() == [0, 0, 0]
    assert decision.regret_reduction == decision.mc_error == 0
    assert decision.verdict == "stop"


def test_draws_need_a_generator_and_an_error_is_told(scores):
    decision = decide(
        scores, 1000, outcome_sd=5.0, rng=np.random.default_rng(1), n_draws=20_000, n_next=20
    )
    assert decision.mc_error > 0
    assert decision.gain_mc_error == pytest.approx(1000 * decision.mc_error)
    assert "Monte-Carlo standard error" in decision.text
    assert "normal approximation" in decision.provenance.method
    again = decide(
        scores, 1000, outcome_sd=5.0, rng=np.random.default_rng(1), n_draws=20_000, n_next=20
    )
    assert again.to_dict() == decision.to_dict()


def test_too_close_to_call(scores):
    options = {"outcome_sd": 5.0, "n_draws": 1000, "n_next": 20, "rng": np.random.default_rng(1)}
    first = decide(scores, 1000, **options)
    options["rng"] = np.random.default_rng(1)
    close = decide(scores, 1000, **{**options, "cost_per_unit": 0, "cost_per_wave": first.gain})
    assert close.verdict == "too close to call"
    assert close.text.startswith("Too close to call")
    assert "more draws" in close.text


def test_plain_values(posterior):
    plain = decide(posterior).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["version"] == 1
    assert plain["kind"] == "stop or go"
    assert plain["stakes"]["n_next"] == 300
    assert plain["units"] == decide(posterior).units.tolist()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"n_next": 0}, "n_next: found 0"),
        ({"n_next": 10.5}, "n_next: found 10.5"),
        ({"cost_per_unit": -1}, "cost_per_unit: found -1"),
        ({"cost_per_wave": np.inf}, "cost_per_wave: found inf"),
        ({"beneficiaries": np.nan}, "beneficiaries: found nan"),
        ({"value": -2}, "value_per_success: found -2"),
        ({"trials_per_unit": 0}, "trials_per_unit: found 0"),
        ({"rule": "greedy"}, "rule: found 'greedy'"),
        ({"floor": 0.5}, "floor: found 0.5"),
        ({"temper": 0.5}, "temper: found it beside"),
    ],
)
def test_bad_options_are_named(posterior, options, found):
    with pytest.raises(InputError, match=found):
        decide(posterior, **options)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"rng": None}, "no generator"),
        ({"n_draws": 10}, "10 draws"),
        ({"outcome_sd": None}, "Drawn has no success_prob"),
        ({"outcome_sd": 0.0}, "outcome_sd: found 0"),
        ({"outcome_sd": [1.0, 2.0]}, "needed one number above 0, or 3"),
        ({"draws": np.zeros((500, 2))}, r"shape \(500, 2\)"),
        ({"draws": np.zeros((20, 3))}, "at least 100"),
        ({"draws": np.full((500, 3), np.nan)}, "not finite"),
        ({"draws": np.random.default_rng(0).standard_normal((500, 3))}, "same scale"),
    ],
)
def test_bad_draws_are_named(scores, options, found):
    known = {"rng": np.random.default_rng(0), "outcome_sd": 1.0, "n_draws": 2000}
    with pytest.raises(InputError, match=found):
        decide(scores, **{**known, **options})


def test_a_rule_without_shares():
    """One arm wins in every draw, by a posterior whose regret says otherwise."""

    @dataclass(frozen=True)
    class Odd:
        arms = ("a", "b")
        prob_optimal = np.array([1.0, 0.0])
        log_prob_optimal = np.array([0.0, -np.inf])
        policy_regret = np.array([0.1, 0.2])

    with pytest.raises(DecisionError, match="choose that arm"):
        decide(Odd(), rng=np.random.default_rng(0))
