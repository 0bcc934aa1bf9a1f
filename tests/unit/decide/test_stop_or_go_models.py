"""Stop or go on with the posteriors that decide studies: binomial, overdispersed, scores."""

import numpy as np
import pytest

import wavewise as ww
from normal_panels import Shape, simulate

STAKES = {
    "n_next": 1500, "cost_per_unit": 1.0, "cost_per_wave": 500.0, "beneficiaries": 100_000,
    "value_per_success": 2.0, "control_share": 1 / 7,
}  # fmt: skip


def engaged(overdispersion: str | None = None) -> "ww.estimate.HierarchicalBinomial":
    rng = np.random.default_rng(4)
    school, arm = np.repeat(np.arange(30), 30), rng.integers(0, 3, 900)
    log_odds = np.array([-2.5, -2.4, -3.0])[arm] + rng.normal(0, 0.5, 30)[school]
    prob = rng.beta(4 / (1 + np.exp(-log_odds)), 4 / (1 + np.exp(log_odds)))
    return ww.estimate.hierarchical_binomial(
        rng.binomial(9, prob), np.full(900, 9), arm=np.array(["a", "b", "c"])[arm],
        cluster=school, overdispersion=overdispersion, rng=rng, n_draws=2_000,
    )  # fmt: skip


def decided(posterior, **options) -> "ww.decide.StopOrGo":
    return ww.decide.stop_or_go(posterior, **STAKES, **options, rng=np.random.default_rng(1))


def test_draws_of_the_hierarchical_model_are_in_the_scale_of_its_regret() -> None:
    post = engaged()
    draws = post.success_prob_draws
    assert draws.shape == post.draws.shape
    assert np.allclose(draws.mean(axis=0), post.success_prob, atol=0.002)
    # each draw's probability belongs to its own beta: order by beta is order by probability
    assert (np.argmax(draws, axis=1) == np.argmax(post.draws, axis=1)).all()
    found = decided(post, trials_per_unit=9)
    assert 0 < found.regret_reduction <= found.policy_regret


def test_trials_that_are_alike_teach_less() -> None:
    post = engaged("beta-binomial")
    rho = float(np.mean(post.rho_draws))
    assert rho > 0.1
    found = decided(post, trials_per_unit=9)
    alike = np.sqrt(post.success_prob * (1 - post.success_prob))
    told = decided(post, trials_per_unit=9, outcome_sd=alike * np.sqrt(1 + 8 * rho))
    naive = decided(post, trials_per_unit=9, outcome_sd=alike)
    assert found.regret_reduction == pytest.approx(told.regret_reduction, rel=1e-9)
    assert found.regret_reduction < naive.regret_reduction


def test_scores_decide_too() -> None:
    shape = Shape(300, 20, effects=(1.0, 1.5, 0.5), seed=2)
    post = ww.estimate.hierarchical_normal(**simulate(shape), rng=np.random.default_rng(1))
    found = decided(post)
    sd = np.sqrt(np.mean(post.noise_sd_draws**2 + post.unit_sd_draws**2))
    assert found.regret_reduction == decided(post, outcome_sd=sd).regret_reduction
    assert 0 < found.regret_reduction <= found.policy_regret
