"""Two seeds give the same intervals and, with few clusters, the same standard deviations."""

import numpy as np
import pytest

import wavewise as ww


def data(n_clusters, n_arms, n_units, n_trials, seed=3):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_clusters), n_arms * n_units)
    arm = np.tile(np.repeat(np.arange(n_arms), n_units), n_clusters)
    odds = np.linspace(-2.6, -2.0, n_arms)[arm] + 0.5 * rng.normal(size=n_clusters)[cluster]
    successes = rng.binomial(n_trials, 1 / (1 + np.exp(-odds)))
    return successes, np.full(arm.size, n_trials), arm, cluster


def fits(given, seeds=range(4), **options):
    return [
        ww.estimate.hierarchical_binomial(*given, rng=np.random.default_rng(seed), **options)
        for seed in seeds
    ]


@pytest.mark.parametrize("of", ["beta", "success_prob"])
@pytest.mark.parametrize("kind", ["hpd", "equal-tailed"])
def test_ends_agree_between_seeds(of, kind):
    posts = fits(data(108, 6, 12, 5))
    sd = np.array([np.sqrt(np.cov(p.draws.T).diagonal()) for p in posts]).mean(axis=0)
    if of == "success_prob":
        sd = np.std(posts[0].success_prob_draws, axis=0)
    ends = np.array([post.cred_int(kind=kind, of=of) for post in posts])
    assert (np.ptp(ends, axis=0) / sd[:, None]).max() < 0.02
    widths = np.array([p.contrast(p.arms[0], p.arms[1], of=of).cred_int(kind=kind) for p in posts])
    assert np.ptp(widths, axis=0).max() < 0.02 * posts[0].contrast(*posts[0].arms[:2], of=of).sd


def test_ends_are_those_of_many_points():
    """A fit with 65,536 points, whose ends need no smoothing, is the judge."""
    given = data(12, 4, 30, 5)
    judge = fits(given, [9], n_points=65536)[0]
    post = fits(given, [1])[0]
    from wavewise.estimate.bayes import draws as arm_draws

    for k in range(4):
        exact = arm_draws.equal_tailed(judge.beta[:, k], 0.95, judge.weights)
        found = post.cred_int(kind="equal-tailed")[k]
        assert np.abs(found - exact).max() < 0.05 * judge.sd[k]


def test_three_clusters_take_the_points_that_their_tails_need():
    """With 1,024 points standard deviations were up to 4 % small; the weights look well there."""
    given = data(3, 3, 60, 5)
    posts = fits(given, range(6))
    judge = fits(given, [9], n_points=65536)[0]
    for post in posts:
        assert post.diagnostics.n_points > 1024
        assert np.allclose(post.sd, judge.sd, rtol=0.03)
        assert "standard deviations as sure" in post.checks[0].text
