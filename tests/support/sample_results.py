"""One example of every public result, small, with every kind of gap that it can have."""

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from wavewise import decide, estimate, evaluate, randomize
from wavewise.evaluate.simulation.personalization import PersonalizationRow
from wavewise.shared.results import NotEstimable, Result

__all__ = ["EXAMPLES", "example"]

_N = 240


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@cache
def _data() -> dict[str, Any]:
    rng = _rng()
    arm = np.resize(["control", "a", "b"], _N)
    age = rng.normal(size=_N)
    outcome = (rng.random(_N) < 0.3 + 0.2 * (arm == "b") * (age > 0)).astype(float)
    outcome[:5] = np.nan
    return {"arm": arm, "X": {"age": age, "boy": (age > 1) * 1.0}, "outcome": outcome}


def _known() -> dict[str, Any]:
    return {**_data(), "outcome": np.nan_to_num(_data()["outcome"])}


def _effects() -> Any:
    data = _data()
    arm = np.where(np.arange(_N) == 7, "alone", data["arm"])
    return estimate.ate(data["outcome"], arm, contrasts={"b - a": {"b": 1, "a": -1}})


def _wild_bootstrap() -> Any:
    data = _data()
    cluster, rng = np.arange(_N) % 7, np.random.default_rng(1)
    return estimate.wild_bootstrap(data["outcome"], data["arm"], cluster=cluster, rng=rng)


def _cace() -> Any:
    data = _data()
    received = (data["arm"] != "control") * (np.arange(_N) % 3 > 0)
    return estimate.cace(data["outcome"], data["arm"], received)


def _persistence() -> Any:
    panel = np.stack([_data()["outcome"], _data()["X"]["age"], np.ones(_N)], axis=1)
    arm = np.where(np.arange(_N) == 7, "alone", _data()["arm"])
    return estimate.persistence(panel, arm, n_during=1)


def _index() -> Any:
    data = _data()
    columns = {"outcome": data["outcome"], "age": data["X"]["age"]}
    return estimate.index(columns, data["arm"], higher_is_better={"age": False})


def _propensities(rows: int, n_arms: int) -> Any:
    return np.full((rows, n_arms), 1 / n_arms)


def _adaptive() -> Any:
    data = _known()
    return estimate.adaptive_aipw(
        data["outcome"], data["arm"], _propensities(_N, 3), wave=np.arange(_N) // 120
    )


def _winner_column() -> Any:
    return _winner_table().columns[0]


def _winner_table() -> Any:
    return estimate.winner_table(
        {
            "means": (np.array([0.1, 0.3, 0.2]), np.eye(3) * 0.01),
            "none": NotEstimable("no weights were stored"),
        },
        arms=["a", "b", "c"],
    )


def _chosen_arm() -> Any:
    def simulate(truth: Any, rng: np.random.Generator) -> Any:
        return truth + rng.normal(scale=0.1, size=3), np.full(3, 0.1)

    return estimate.bootstrap_chosen_arm(
        np.array([0.1, 0.3, 0.2]), np.full(3, 0.1), simulate, rng=_rng(), n_draws=100
    )


def _randomization() -> Any:
    every = [[int(i in treated) for i in range(6)] for treated in combinations(range(6), 3)]
    return estimate.randomization_test([5, 6, 7, 1, 2, 3], [1, 1, 1, 0, 0, 0], every, level=0.8)


def _sequence() -> Any:
    data = _known()
    return estimate.confidence_sequence(
        data["outcome"], data["arm"], _propensities(_N, 3), np.arange(_N) // 60, method="planned"
    )


@cache
def _binomial() -> Any:
    rng = _rng()
    cluster = np.repeat(np.arange(12), 4)
    arm = np.resize(["a", "b"], 48)
    trials = np.full(48, 20)
    return estimate.hierarchical_binomial(
        rng.binomial(trials, 0.3), trials, arm, cluster, rng=_rng(), n_draws=1024
    )


def _panel_data() -> dict[str, Any]:
    rng = _rng()
    unit = np.repeat(np.arange(60), 2)
    return {
        "score": rng.normal(size=120) + (unit % 3 == 1),
        "unit": unit,
        "cluster": unit // 6,
        "period": np.tile(["before", "after"], 60),
        "arm": np.array(["control", "a", "b"])[unit % 3],
        "treated": np.tile([0, 1], 60),
    }


@cache
def _normal() -> Any:
    return estimate.hierarchical_normal(
        **_panel_data(), control="control", periods=["before", "after"], rng=_rng(), n_draws=2000
    )


def _panels() -> Any:
    return estimate.score_panels(
        **_panel_data(), control="control", periods=["before", "after"], rng=_rng(), n_draws=2000
    )


def _sensitivity() -> Any:
    post = _binomial()
    return estimate.PriorSensitivity(
        (estimate.BinomialPrior(), estimate.BinomialPrior(beta=estimate.Normal(1))),
        (post, NotEstimable("no arm has a success")),
    )


@cache
def _forest() -> Any:
    return estimate.causal_forest(
        **_known(), control="control", propensity=dict.fromkeys(["control", "a", "b"], 1 / 3),
        rng=_rng(), n_trees=100,
    )  # fmt: skip


def _effect_learner() -> Any:
    return estimate.effect_learner(
        **_known(), control="control", propensity=dict.fromkeys(["control", "a", "b"], 1 / 3),
        rng=_rng(),
    )  # fmt: skip


@cache
def _scores() -> Any:
    return evaluate.doubly_robust_scores(
        **_known(), propensity=dict.fromkeys(["control", "a", "b"], 1 / 3), control="control"
    )


def _policy_estimate() -> Any:
    return evaluate.policy_value(
        decide.uniform("b"), None, _known()["arm"], _known()["outcome"],
        propensity=dict.fromkeys(["control", "a", "b"], 1 / 3),
    )  # fmt: skip


def _paired() -> Any:
    rng = _rng()
    return evaluate.paired_contrast(
        rng.random(_N), np.resize(["p", "q"], _N), np.resize(["a", "a", "b"], _N),
        np.resize(["a", "b", "b"], _N), policies=("p", "q"),
    )  # fmt: skip


def _effect_scores() -> Any:
    return _rng(2).normal(size=_N) + np.linspace(0, 1, _N)


def _stop_or_go() -> Any:
    return decide.stop_or_go(
        _beta(), n_next=30, cost_per_unit=1, cost_per_wave=10, beneficiaries=1000,
        value_per_success=1.0,
    )  # fmt: skip


@cache
def _pooled_beta() -> Any:
    return estimate.pooled_beta_binomial([[12, 30], [2, 1]], [[100, 100], [10, 4]], arms=["a", "b"])


def _beta() -> Any:
    return estimate.beta_binomial([3, 9], [20, 20], arms=["sms", "call"])


@cache
def _comparison() -> Any:
    design = evaluate.Design(arms=2, waves=(40, 40))
    return evaluate.compare(
        [design, design.with_(rule="equal")], {"rate": [0.2, 0.4]}, n_simulations=40, rng=_rng()
    )


def _another_wave() -> Any:
    return evaluate.AnotherWave(_comparison()[0], _comparison()[0].design.arm_names[0], 0.02, 0.7)


def _personalization() -> Any:
    one = evaluate.Estimate(0.01, 0.002)
    row = PersonalizationRow(200, one, 0.03, one, evaluate.Estimate(0.4, float("nan")), 0.05)
    why = NotEstimable("the gain is below 0 at every size")
    return evaluate.PersonalizationPower((row,), why, 500, "treated part", 0.02)


def _wave_plan() -> Any:
    return evaluate.plan_waves(
        evaluate.Design(arms=2, waves=(40,)), {"rate": [0.2, 0.4]},
        evaluate.Benefit(beneficiaries=1000, value_per_success=1, cost_per_wave=1, cost_per_unit=0),
        limits=evaluate.Limits(most_waves=2), n_simulations=40, rng=_rng(),
    )  # fmt: skip


def _assignment() -> Any:
    return randomize.assign(
        [f"u{i}" for i in range(20)], np.resize(["north", "south"], 20),
        {"control": 0.5, "sms": 0.5}, _rng(),
    )  # fmt: skip


EXAMPLES: dict[str, Callable[[], Result]] = {
    "randomize.Assignment": _assignment,
    "randomize.Counts": lambda: _assignment().counts,
    "estimate.AdaptiveEstimates": _adaptive,
    "estimate.BetaBinomial": _beta,
    "estimate.PooledBeta": _pooled_beta,
    "estimate.Cace": _cace,
    "estimate.WildBootstrap": _wild_bootstrap,
    "estimate.CausalForest": _forest,
    "estimate.EffectLearner": _effect_learner,
    "estimate.ChosenArm": _chosen_arm,
    "estimate.ConfidenceSequence": _sequence,
    "estimate.Effects": _effects,
    "estimate.HierarchicalBinomial": _binomial,
    "estimate.HierarchicalNormal": _normal,
    "estimate.Neighbours": lambda: estimate.neighbours(**_data(), control="control", k=5),
    "estimate.SurrogateIndex": lambda: estimate.surrogate_index(
        _data()["outcome"], _data()["X"], cluster=np.arange(_N) // 2
    ),
    "estimate.NormalMeans": lambda: estimate.normal_means(_data()["outcome"], _data()["arm"]),
    "estimate.OutcomeIndex": _index,
    "estimate.Persistence": _persistence,
    "estimate.QValues": lambda: estimate.q_values({"a": 0.01, "b": float("nan"), "c": 0.04}),
    "estimate.PriorSensitivity": _sensitivity,
    "estimate.PropensityEstimate": lambda: estimate.propensity(_data()["X"], _data()["arm"]),
    "estimate.RandomizationTest": _randomization,
    "estimate.ScorePanels": _panels,
    "estimate.Winner": lambda: estimate.winner([0.1, 0.3, 0.2], np.eye(3) * 0.01),
    "estimate.WinnerTable": _winner_table,
    "decide.BestArm": lambda: decide.best_arm(_beta()),
    "decide.NextShares": lambda: decide.next_shares(_beta(), control="nobody", control_share=0.2),
    "decide.Policy": lambda: decide.uniform("b"),
    "decide.StopOrGo": _stop_or_go,
    "evaluate.AnotherWave": _another_wave,
    "evaluate.Calibration": lambda: evaluate.calibration(np.linspace(0, 1, _N), _effect_scores()),
    "evaluate.Coefficients": lambda: evaluate.best_linear_projection(
        {"age": _data()["X"]["age"]}, _effect_scores()
    ),
    "evaluate.Comparison": _comparison,
    "evaluate.CostCurve": lambda: evaluate.cost_curve(np.linspace(-1, 1, _N), _effect_scores()),
    "evaluate.DoublyRobustScores": _scores,
    "evaluate.Estimate": lambda: evaluate.Estimate(0.25, float("nan")),
    "evaluate.PairedContrast": _paired,
    "evaluate.PersonalizationPower": _personalization,
    "evaluate.PolicyEstimate": _policy_estimate,
    "evaluate.Power": lambda: evaluate.power(rate=0.001, n_per_arm=10),
    "evaluate.Simulated": lambda: _comparison()[0],
    "evaluate.TargetingCurve": lambda: evaluate.toc(np.linspace(0, 1, _N), _effect_scores()),
    "evaluate.WavePlan": _wave_plan,
    "shared.CheckResult": lambda: randomize.balance(_data()["X"], _data()["arm"]),
    # results that methods of others give
    "estimate.effects.Adjusted": lambda: _effects().adjusted("holm"),
    "estimate.effects.Estimate": lambda: _effects()["alone"],
    "estimate.effects.EffectTable": lambda: _effects().planned,
    "estimate.bayes.BetaContrast": lambda: _beta().contrast("call", "sms"),
    "estimate.bayes.DrawsContrast": lambda: _normal().contrast("a"),
}


@cache
def example(name: str) -> Result:
    """The example of that name, made once."""
    return EXAMPLES[name]()
