"""The posterior's numbers, its forms, and bad input."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import optimize, special

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate import BetaBinomial, beta_binomial


@pytest.fixture
def posterior():
    return beta_binomial([12, 30, 27], [100, 120, 100], arms=["text", "call", "both"])


def test_mean_and_sd_are_those_of_the_beta(posterior):
    a, b = np.array([13.0, 31, 28]), np.array([89.0, 91, 74])
    np.testing.assert_allclose(posterior.mean, a / (a + b), rtol=1e-15)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    np.testing.assert_allclose(posterior.sd, np.sqrt(variance), rtol=1e-14)
    np.testing.assert_array_equal(posterior.success_prob, posterior.mean)


def test_one_arm_is_best_for_certain():
    posterior = beta_binomial([3], [10])
    assert posterior.prob_optimal.tolist() == [1.0]
    assert posterior.policy_regret.tolist() == [0.0]
    assert "1 has the lowest expected regret" in posterior.summary()


def test_no_trials_leave_the_prior():
    posterior = beta_binomial([0, 0, 0], [0, 0, 0], prior=(0.5, 0.5))
    np.testing.assert_allclose(posterior.prob_optimal, 1 / 3, rtol=1e-13)
    np.testing.assert_allclose(posterior.mean, 0.5)


def test_uniform_priors_alone_have_a_known_regret():
    """E[max of K uniforms] = K / (K + 1)."""
    for n_arms in (2, 3, 6, 100):
        posterior = beta_binomial([0] * n_arms, [0] * n_arms)
        expected = n_arms / (n_arms + 1) - 0.5
        np.testing.assert_allclose(posterior.policy_regret, expected, rtol=1e-11)


def test_a_prior_for_each_arm():
    posterior = beta_binomial([0, 0], [0, 0], prior=[(2, 1), (1, 1)])
    np.testing.assert_allclose(posterior.prob_optimal, [2 / 3, 1 / 3], rtol=1e-13)


@pytest.mark.parametrize("prior", [(0.001, 0.001), (0.5, 0.5), (1, 1), (30, 2000)])
@pytest.mark.parametrize(
    ("successes", "trials"),
    [([0, 5, 100], [0, 5, 100]), ([0, 10**8, 3], [10**8, 10**8, 9]), ([1, 0, 0], [10**8, 0, 1])],
)
def test_extremes_give_probabilities(successes, trials, prior):
    posterior = beta_binomial(successes, trials, prior=prior)
    assert posterior.prob_optimal.sum() == pytest.approx(1, abs=1e-9)
    assert np.isfinite(posterior.log_prob_optimal).all()
    assert (posterior.policy_regret >= 0).all()
    assert posterior.policy_regret.min() <= posterior.sd.max()


def test_a_clear_leader_beside_arms_with_next_to_no_data():
    pairs = [(0, 21), (0, 21), (0, 71), (38, 1629), (148, 292), (160, 488), (949, 1355)]
    posterior = beta_binomial(*zip(*pairs, strict=True))
    assert posterior.prob_optimal[-1] == pytest.approx(1, abs=1e-8)
    assert 0 < posterior.policy_regret[-1] < 1e-9
    assert np.isfinite(posterior.log_prob_optimal).all()


def test_tails_beyond_the_smallest_double():
    posterior = beta_binomial([1_000_000, 5_000_000], [10_000_000, 10_000_000])
    assert posterior.prob_optimal[0] == 0.0
    assert -3e6 < posterior.log_prob_optimal[0] < -1e6
    assert posterior.prob_optimal[1] == 1.0
    assert posterior.policy_regret[0] == pytest.approx(0.4, rel=1e-6)


@pytest.mark.parametrize("prob", [0.5, 0.95, 0.999])
def test_equal_tailed_interval_has_equal_tails(posterior, prob):
    low, high = posterior.cred_int(prob, "equal-tailed").T
    a, b = posterior.a, posterior.b
    np.testing.assert_allclose(special.betainc(a, b, low), (1 - prob) / 2, rtol=1e-10)
    np.testing.assert_allclose(special.betaincc(a, b, high), (1 - prob) / 2, rtol=1e-10)


@pytest.mark.parametrize("prob", [0.5, 0.95])
@pytest.mark.parametrize("counts", [(3, 40), (50, 60), (700, 10_000), (40_000_000, 100_000_000)])
def test_highest_density_interval_is_the_shortest(counts, prob):
    """Against a search over all intervals of that probability."""
    posterior = beta_binomial([counts[0]], [counts[1]])
    a, b = float(posterior.a[0]), float(posterior.b[0])

    def width(lower_tail):
        upper = special.betaincinv(a, b, lower_tail + prob)
        return upper - special.betaincinv(a, b, lower_tail)

    shortest = optimize.minimize_scalar(
        width, bounds=(0, 1 - prob), method="bounded", options={"xatol": 1e-10}
    )
    low, high = posterior.cred_int(prob)[0]
    assert high - low == pytest.approx(shortest.fun, rel=1e-7)
    covered = special.betainc(a, b, high) - special.betainc(a, b, low)
    assert covered == pytest.approx(prob, abs=1e-9)


def test_highest_density_at_the_ends():
    none, all_, flat = beta_binomial([0, 10, 0], [10, 10, 0]).cred_int(0.95)
    assert none.tolist() == pytest.approx([0.0, 1 - 0.05 ** (1 / 11)])
    assert all_.tolist() == pytest.approx([0.05 ** (1 / 11), 1.0])
    assert flat.tolist() == pytest.approx([0.025, 0.975])
    zero = beta_binomial([0], [10], prior=(0.5, 0.5)).cred_int()
    assert zero[0, 0] == 0.0


def test_a_posterior_with_two_peaks_has_no_highest_density_interval():
    posterior = beta_binomial([0, 3], [0, 10], prior=(0.5, 0.5))
    with pytest.raises(EstimationError, match="equal-tailed"):
        posterior.cred_int()
    assert posterior.cred_int(kind="equal-tailed").shape == (2, 2)
    assert posterior.to_frame()["interval"].to_list() == ["equal-tailed"] * 2
    assert "equal-tailed" in posterior.summary()
    assert posterior.to_dict()["cred_int"]["kind"] == "equal-tailed"


def test_contrast_agrees_with_prob_optimal_of_two_arms():
    posterior = beta_binomial([12, 30], [100, 120], arms=["a", "b"])
    contrast = posterior.contrast("b", "a")
    assert contrast.prob_greater == pytest.approx(posterior.prob_optimal[1], rel=1e-12)
    assert contrast.cdf(0.0) == pytest.approx(posterior.prob_optimal[0], rel=1e-12)
    assert contrast.cdf(1e-300) == pytest.approx(contrast.cdf(0.0), rel=1e-9)
    assert contrast.mean == pytest.approx(posterior.mean[1] - posterior.mean[0], rel=1e-12)
    low, high = contrast.cred_int(0.9)
    assert contrast.cdf(low) == pytest.approx(0.05, abs=1e-9)
    assert contrast.cdf(high) == pytest.approx(0.95, abs=1e-9)
    assert contrast.to_dict()["version"] == 1
    assert "probability that b is better" in contrast.summary()


@pytest.mark.parametrize(("arm", "against"), [("text", "text"), ("text", "letter"), ("x", "call")])
def test_contrast_of_what_is_no_pair_of_arms(posterior, arm, against):
    with pytest.raises(InputError, match="contrast"):
        posterior.contrast(arm, against)


def test_frame_dict_and_summary(posterior):
    frame = posterior.to_frame()
    assert frame.columns == [
        "arm", "successes", "trials", "mean", "sd", "cred_low", "cred_high", "interval",
        "prob_optimal", "policy_regret",
    ]  # fmt: skip
    assert frame["arm"].to_list() == ["text", "call", "both"]
    plain = json.loads(json.dumps(posterior.to_dict()))
    assert plain["version"] == 1
    assert plain["prob_optimal"] == posterior.prob_optimal.tolist()
    text = posterior.summary()
    assert "both has the lowest expected regret" in text
    assert len(posterior.provenance.data_hash) == 64


def test_nothing_can_be_changed(posterior):
    with pytest.raises(FrozenInstanceError):
        posterior.arms = ("x",)
    for name in ("successes", "trials", "prior", "prob_optimal", "policy_regret", "mean", "sd"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(posterior, name)[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        posterior.cred_int()[0, 0] = 0


def test_the_callers_arrays_stay_theirs():
    successes, trials = np.array([3, 4]), np.array([10, 10])
    posterior = beta_binomial(successes, trials)
    successes[0] = 9
    assert posterior.successes.tolist() == [3, 4]


def test_draws_follow_the_generator(posterior):
    first = posterior.draws(5, np.random.default_rng(3))
    np.testing.assert_array_equal(first, posterior.draws(5, np.random.default_rng(3)))
    with pytest.raises(InputError, match="n_draws"):
        posterior.draws(0, np.random.default_rng(3))


def test_names_are_reached_from_the_package():
    assert ww.estimate.beta_binomial is beta_binomial
    assert ww.estimate.BetaBinomial is BetaBinomial
    assert callable(ww.estimate.beta_binomial)
    assert "beta_binomial" in dir(ww.estimate)
    with pytest.raises(AttributeError, match="no attribute"):
        ww.estimate.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("successes", "trials", "found"),
    [
        ([3, 11], [10, 10], "11 of 10 trials"),
        ([-1, 3], [10, 10], "-1"),
        ([1.5, 3], [10, 10], "1.5"),
        ([np.nan, 3], [10, 10], "nan"),
        ([1, 3], [np.inf, 10], "inf"),
        ([], [], r"shape \(0,\)"),
        ([[1, 2]], [[3, 4]], "several values|shape"),
        ([1, 2], [10, 10, 10], "and 3 in trials"),
        (["a", "b"], [1, 2], "found text"),
    ],
)
def test_bad_counts_are_named(successes, trials, found):
    with pytest.raises(InputError, match=rf"(?s)(successes|trials).*{found}"):
        beta_binomial(successes, trials)


def test_all_bad_counts_are_listed_at_once():
    with pytest.raises(InputError) as caught:
        beta_binomial([-1, 2.5, 3], [10, 10, 10])
    assert [fault.path for fault in caught.value.faults] == ["successes[0]", "successes[1]"]


@pytest.mark.parametrize("prior", [(0, 1), (1, -1), (np.nan, 1), (1, np.inf), (1,), "ab", [(1, 1)]])
def test_bad_priors_are_named(prior):
    with pytest.raises(InputError, match="prior"):
        beta_binomial([1, 2], [3, 4], prior=prior)


@pytest.mark.parametrize("arms", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_bad_names_are_named(arms):
    with pytest.raises(InputError, match="arms"):
        beta_binomial([1, 2], [3, 4], arms=arms)


@pytest.mark.parametrize(("prob", "kind"), [(0, "hpd"), (1, "hpd"), (0.9, "wald")])
def test_bad_intervals_are_named(posterior, prob, kind):
    with pytest.raises(InputError, match=r"prob|kind"):
        posterior.cred_int(prob, kind)
