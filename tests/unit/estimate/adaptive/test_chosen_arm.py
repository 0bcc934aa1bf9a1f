"""The chosen arm's bootstrap interval: exact laws, inputs, clusters in adaptive waves."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.simulated.adaptive_refit import cluster_effects_sd, experiment_again
from wavewise.simulated.adaptive_waves import (
    AdaptiveDesign,
    marginal_means,
    simulate_adaptive_waves,
)

bootstrap = ww.estimate.bootstrap_chosen_arm


def one_wave(sd=1.0):
    def simulate(means, rng):
        return means + sd * rng.normal(size=means.size), np.full(means.size, sd)

    return simulate


def test_clear_winner_has_its_usual_interval():
    found = bootstrap(
        [0.0, 0.0, 40.0], np.ones(3), one_wave(), rng=np.random.default_rng(1), n_draws=8000,
        truths="estimated",
    )  # fmt: skip
    assert found.conf_low == pytest.approx(40 - 1.96, abs=0.08)
    assert found.conf_high == pytest.approx(40 + 1.96, abs=0.08)
    assert found.estimate == pytest.approx(40, abs=0.05)


def test_equal_arms_follow_the_law_of_the_largest():
    """Equal truths, k arms: the largest of k normals, whose quantile is Phi^-1(p^(1/k))."""
    from scipy.special import ndtri

    found = bootstrap(
        [0.1, 0.2, 0.0, 0.3], np.ones(4), one_wave(), rng=np.random.default_rng(2), n_draws=8000,
        truths="equal",
    )  # fmt: skip
    assert found.conf_low == pytest.approx(0.3 - ndtri(0.975**0.25), abs=0.08)
    assert found.conf_high == pytest.approx(0.3 - ndtri(0.025**0.25), abs=0.08)
    assert found.estimate == pytest.approx(0.3 - ndtri(0.5**0.25), abs=0.05)


def test_envelope_holds_the_others_and_jobs_change_nothing():

    def found(kind, n_jobs=1):
        rng = np.random.default_rng(3)
        given = {"rng": rng, "n_draws": 300, "truths": kind, "n_jobs": n_jobs}
        return bootstrap([0, 1.0, 1.5], np.ones(3), one_wave(), **given)

    parts = [found(kind) for kind in ("shrunken", "estimated", "equal")]
    whole = found("envelope")
    assert whole.conf_low == min(part.conf_low for part in parts)
    assert whole.conf_high == max(part.conf_high for part in parts)
    assert whole.estimate == parts[0].estimate
    assert whole.draws == 900
    assert "No theorem" in whole.summary()
    assert whole.to_dict()["arm"] == 2


def test_spread_of_clusters_is_recovered():
    rng = np.random.default_rng(4)
    for kind, sd in (("normal", 0.7), ("binary", 0.6)):
        means = np.array([0.0, 0.3]) if kind == "normal" else np.array([0.3, 0.4])
        design = AdaptiveDesign(means, 20_000, 2, "equal", 0.1, kind, 200, sd)
        data = simulate_adaptive_waves(design, rng)
        found = cluster_effects_sd(data.outcome, data.arm, data.cluster, kind == "binary")
        assert found == pytest.approx(sd, rel=0.2)
        assert np.allclose(data.truth, marginal_means(design))
    assert cluster_effects_sd(rng.normal(size=400), np.zeros(400), np.arange(400) % 20, False) < 0.3


def test_experiment_again_gives_the_means_that_are_asked_for():
    design = AdaptiveDesign(np.array([0.2, 0.3]), 2000, 2, "exploration", 0.2, "binary", 50, 0.5)
    data = simulate_adaptive_waves(design, np.random.default_rng(5))
    again = experiment_again(design, data.outcome, data.arm, data.cluster)
    wanted = np.array([0.25, 0.4])
    drawn = np.array([again(wanted, rng)[0] for rng in np.random.default_rng(6).spawn(60)])
    assert np.allclose(drawn.mean(axis=0), wanted, atol=5 * drawn.std(axis=0) / np.sqrt(60))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (([1.0], [1.0]), {}, InputError, "two arms"),
        (([1.0, 2.0], [1.0]), {}, InputError, "shapes"),
        (([1.0, 2.0], [1.0, 0.0]), {}, InputError, "not positive"),
        (([1.0, 2.0], [1.0, 1.0]), {"n_draws": 0}, InputError, "draws"),
        (([1.0, 2.0], [1.0, 1.0]), {"truths": "mine"}, InputError, "truths"),
        (([1.0, 2.0], [1.0, 1.0]), {"level": 2}, InputError, "level"),
    ],
)
def test_bad_input_is_named(arguments, options, error, text):
    with pytest.raises(error, match=text):
        bootstrap(*arguments, one_wave(), rng=np.random.default_rng(0), **options)


def test_experiments_without_estimates_are_no_interval():
    def simulate(means, rng):
        if rng.random() < 0.3:
            raise EstimationError("an arm was never drawn")
        return means, np.ones(2)

    with pytest.raises(EstimationError, match="simulated experiments"):
        bootstrap([1.0, 2.0], [1.0, 1.0], simulate, rng=np.random.default_rng(0), n_draws=100)


def test_one_cluster_is_refused():
    design = AdaptiveDesign(np.array([0.2, 0.3]), 100, 2)
    with pytest.raises(InputError, match="one cluster"):
        experiment_again(design, np.zeros(100), np.zeros(100), np.zeros(100))


def test_many_runs_are_those_that_weighted_m_would_estimate():
    """Side by side or one after the other: the same experiment, the same estimates."""
    from dataclasses import replace

    import wavewise as ww
    from wavewise.simulated.adaptive_waves import simulate_many

    design = AdaptiveDesign(np.array([0.2, 0.3, 0.5]), 300, 3, "thompson", 0.05, "normal", 12, 0.4)
    d = simulate_adaptive_waves(design, np.random.default_rng(1))
    again = experiment_again(design, d.outcome, d.arm, d.cluster)
    values, errors = again.many(design.means, 5, np.random.default_rng(2))
    runs = simulate_many(replace(again.design, means=design.means), 5, np.random.default_rng(2))
    for number in range(5):
        run = runs.run(number)
        found = ww.estimate.weighted_m(run.outcome, run.arm, run.propensity, cluster=run.cluster)
        assert np.allclose(values[number], found.arm_estimate)
        assert np.allclose(errors[number], found.std_error[:3])
        assert run.propensities.sum(axis=1) == pytest.approx(1)


def test_bootstrap_by_runs_side_by_side_agrees_with_one_after_the_other():
    class Normal:
        def __call__(self, means, rng):
            return means + 0.1 * rng.normal(size=3), np.full(3, 0.1)

        def many(self, means, n_runs, rng):
            return means + 0.1 * rng.normal(size=(n_runs, 3)), np.full((n_runs, 3), 0.1)

    given = ([0.1, 0.2, 0.25], [0.1, 0.1, 0.1])
    one, two = (
        bootstrap(*given, f, rng=np.random.default_rng(0), n_draws=4000)
        for f in (Normal().__call__, Normal())
    )
    assert one.conf_low == pytest.approx(two.conf_low, abs=0.02)
    assert one.conf_high == pytest.approx(two.conf_high, abs=0.02)
