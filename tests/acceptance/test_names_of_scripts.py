"""The names that scripts rely on, each called exactly as it is promised, on small data."""

import numpy as np
import pytest

import wavewise as ww

# names that have a better one by now are taken for one more version, with a warning
pytestmark = pytest.mark.filterwarnings("ignore:.*(is now called|by position):DeprecationWarning")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def test_hierarchical_models_and_shares(rng: np.random.Generator) -> None:
    n = 400
    arm = rng.choice(["a", "b", "c"], n)
    cluster = rng.integers(0, 12, n)
    trials = np.full(n, 9)
    successes = rng.binomial(9, np.where(arm == "b", 0.2, 0.1))
    post = ww.estimate.hierarchical_binomial(successes, trials, arm=arm, cluster=cluster, rng=rng)
    assert list(post.arms) == ["a", "b", "c"]
    assert post.draws.shape == (post.kappa_draws.size, 3)
    assert post.prob_optimal.argmax() == 1
    assert post.success_prob.shape == post.policy_regret.shape == (3,)
    assert post.cred_int(0.95, kind="hpd").shape == (3, 2)
    assert 0 < post.diagnostics.ess_share <= 1
    assert post.diagnostics.pareto_k < 0.7
    assert post.diagnostics.method == "importance"
    prob_optimal = np.array([0.2, 0.7, 0.1])
    shares = ww.decide.shares(prob_optimal, rule="exploration", control_share=1 / 7, floor=0.0)
    assert shares.shape == (4,)
    assert shares[-1] == pytest.approx(1 / 7)
    assert shares.sum() == pytest.approx(1)
    # one row per cell gives the posterior of one row per unit
    cell, place = np.unique(np.stack([arm, cluster.astype(str)]), axis=1, return_inverse=True)
    place = place.ravel()
    same = ww.estimate.hierarchical_binomial(
        np.bincount(place, successes).astype(int),
        np.bincount(place, trials).astype(int),
        arm=cell[0],
        cluster=cell[1],
        rng=np.random.default_rng(1),
    )
    assert same.success_prob == pytest.approx(post.success_prob, abs=5e-3)


def test_model_of_scores(rng: np.random.Generator) -> None:
    unit = np.repeat(np.arange(120), 2)
    period = np.tile(["before", "after"], 120)
    cluster = unit % 8
    arm = np.array(["control", "calls", "texts"])[unit % 3]
    score = rng.normal(40, 5, 120)[unit] + rng.normal(0, 2, 240)
    score += np.where((arm == "calls") & (period == "after"), 4.0, 0.0)
    post = ww.estimate.hierarchical_normal(
        score, unit=unit, cluster=cluster, period=period, arm=arm, rng=rng
    )
    assert len(post.arms) == post.prob_optimal.size


@pytest.fixture
def trial(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]:
    X = rng.normal(size=(900, 3))
    X[::50, 1] = np.nan
    arm = rng.choice(["control", "a", "b"], 900)
    outcome = rng.normal(size=900) + np.where(arm == "a", 1.0 * (X[:, 0] > 0), 0.0)
    return X, arm, outcome, {"control": 1 / 3, "a": 1 / 3, "b": 1 / 3}


def test_personalization(rng: np.random.Generator, trial) -> None:
    (X_old, X), (arm_old, arm) = np.split(trial[0], 2), np.split(trial[1], 2)
    (y_old, outcome), e = np.split(trial[2], 2), trial[3]
    f = ww.estimate.causal_forest(
        X_old, arm_old, y_old, control="control", propensity=e, n_trees=2000, rng=rng
    )
    assert list(f.arms) == ["a", "b"]
    assert f.effects_oob.shape == f.std_error_oob.shape == (450, 2)
    assert f.effects(X).shape == (450, 2)
    n = ww.estimate.neighbours(X_old, arm_old, y_old, control="control", k=None, rng=rng)
    assert n.effects(X).shape == (450, 2)
    policy = ww.decide.personalize(f, name="forest")
    assert set(policy.assign(X)) <= {"a", "b"}
    policy_a, policy_b = policy, ww.decide.personalize(n, name="neighbours")
    found = ww.evaluate.policy_contrast(
        policy_a, policy_b, X, arm, outcome, propensity=e, cluster=None
    )
    assert found.conf_low <= found.estimate <= found.conf_high
    assert found.std_error >= 0
    doubly = ww.evaluate.doubly_robust_scores(X, arm, outcome, propensity=e, control="control")
    scores, priority = doubly.effect("a"), f.effects(X)[:, 0]
    ranked = ww.evaluate.toc(priority, scores)
    for value in (ranked.autoc, ranked.qini):
        assert np.isfinite(value.estimate)
        assert value.std_error > 0
    assert ranked.curve.height
    effects = f.effects(X)
    both = np.column_stack([doubly.effect("a"), doubly.effect("b")])
    cost = [1.0, 2.0]
    curve = ww.evaluate.cost_curve(effects, both, cost)
    other = ww.evaluate.cost_curve(np.tile(effects.mean(axis=0), (450, 1)), both, cost)
    assert curve.gain(0.5).std_error > 0
    assert curve.difference(other, 0.5).std_error > 0


def test_design_by_simulation(rng: np.random.Generator) -> None:
    power = ww.evaluate.power(rate=0.36, n_per_arm=25_000, contrast="policy", level=0.05, power=0.8)
    assert power.mde_up > 0
    assert abs(power.mde_down) > 0
    assert power.std_error > 0
    assert power.convention
    sizes = [25] * 12
    d = ww.evaluate.Design(
        arms=6, clusters=sizes, waves=(150, 150), rule="exploration", control_share=0.0, trials=9
    )
    beta = [-2.2, -1.9, -2.1, -2.3, -2.0, -2.5]
    s = ww.evaluate.simulate(d, truth={"beta": beta, "kappa": 0.5}, n_simulations=20, rng=rng)
    for value, mc_error in (s.best_arm_found, s.realized_regret, s.posterior_regret):
        assert value >= 0
        assert mc_error >= 0
    compared = ww.evaluate.compare(
        [d, d.with_(rule="uniform")],
        truth={"beta": beta, "kappa": 0.5},
        n_simulations=20,
        rng=rng,
    )
    assert compared.summary()


def test_inference_after_adaptation(rng: np.random.Generator) -> None:
    estimate, cov = np.array([0.1, 0.3, 0.28]), np.diag([0.01, 0.01, 0.02])
    for method in ("one-sided", "hybrid", "conditional", "projection"):
        w = ww.estimate.winner(estimate, cov, method=method, level=0.95, rank=0)
        assert w.arm == 1
        assert w.conf_low < w.conf_high
        assert w.method == method
        if method != "projection":
            assert w.conf_low <= w.estimate <= w.conf_high
    by_variance = ww.estimate.winner(estimate, np.diag(cov), method="hybrid")
    assert by_variance.conf_low == pytest.approx(
        ww.estimate.winner(estimate, cov, method="hybrid").conf_low
    )
    n = 600
    wave = np.repeat([0, 1], n // 2)
    propensities = np.where(wave[:, None] == 0, 0.5, [0.3, 0.7])
    arm = (rng.random(n) > propensities[:, 0]).astype(int)
    outcome = rng.normal(size=n) + 0.3 * arm
    propensity = propensities[np.arange(n), arm]
    table = ww.estimate.weighted_m(
        outcome,
        arm,
        propensity,
        family="gaussian",
        trials=None,
        stabilizer="sqrt",
        level=0.95,
    ).to_frame()
    assert table.height == 3  # two means, one contrast with the first arm
    aipw = ww.estimate.adaptive_aipw(
        outcome, arm, propensities, wave, weights="two-point", level=0.95
    )
    assert aipw.to_frame().height >= 2

    def reassign(rng: np.random.Generator) -> np.ndarray:
        return (rng.random(n) > propensities[:, 0]).astype(int)

    test = ww.estimate.randomization_test(
        outcome, arm, reassign, statistic="studentized", draws=2000, rng=rng
    )
    assert test.summary()
