"""What must not matter: order of rows, how rows are summed, names, and which end is success."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.estimate.binomial.model import hierarchical_binomial

few = settings(deadline=None, max_examples=8, derandomize=True)


def simulate(seed):
    rng = np.random.default_rng(seed)
    n = 200
    arm, cluster = rng.integers(0, 3, n), rng.integers(0, 12, n)
    prob = 1 / (1 + np.exp(1.2 - 0.3 * arm - 0.6 * rng.normal(size=12)[cluster]))
    trials = rng.integers(1, 6, n)
    return rng.binomial(trials, prob), trials, arm, cluster


def fit(y, n, arm, cluster, **options):
    rng = np.random.default_rng(5)
    return hierarchical_binomial(y, n, arm, cluster, rng=rng, n_draws=512, **options)


@few
@given(st.integers(0, 10_000))
def test_order_of_rows(seed):
    data = simulate(seed)
    order = np.random.default_rng(seed).permutation(200)
    first, second = fit(*data), fit(*(column[order] for column in data))
    assert first.draws.tobytes() == second.draws.tobytes()
    assert first.prob_optimal.tobytes() == second.prob_optimal.tobytes()
    assert first.provenance == second.provenance


@few
@given(st.integers(0, 10_000))
def test_units_and_their_sums_are_the_same(seed):
    y, n, arm, cluster = simulate(seed)
    cell = cluster * 3 + arm
    keys = np.unique(cell)
    sums = np.bincount(cell, y)[keys], np.bincount(cell, n)[keys], keys % 3, keys // 3
    assert fit(y, n, arm, cluster).draws.tobytes() == fit(*sums).draws.tobytes()


@few
@given(st.integers(0, 10_000))
def test_names_of_clusters(seed):
    y, n, arm, cluster = simulate(seed)
    renamed = np.random.default_rng(seed).permutation(12)[cluster]
    first, second = fit(y, n, arm, cluster), fit(y, n, arm, renamed)
    assert first.draws.tobytes() == second.draws.tobytes()


@few
@given(st.integers(0, 10_000))
def test_names_of_arms(seed):
    y, n, arm, cluster = simulate(seed)
    post = fit(y, n, arm, cluster)
    turned = fit(y, n, 2 - arm, cluster)
    # another order of the same coordinates: the same posterior by other points
    error = 6 * post.sd / np.sqrt(512)
    assert (np.abs(turned.mean[::-1] - post.mean) < error).all()
    assert np.abs(turned.prob_optimal[::-1] - post.prob_optimal).max() < 0.08


@few
@given(st.integers(0, 10_000))
def test_failures_for_successes(seed):
    y, n, arm, cluster = simulate(seed)
    post, mirrored = fit(y, n, arm, cluster), fit(n - y, n, arm, cluster)
    assert (np.abs(mirrored.mean + post.mean) < 6 * post.sd / np.sqrt(512)).all()
    assert (np.abs(mirrored.success_prob + post.success_prob - 1) < 0.02).all()
    assert abs(mirrored.kappa_mean - post.kappa_mean) < 0.1 * post.kappa_sd + 0.02


def test_results_do_not_depend_on_threads() -> None:
    """The same bytes with one and with two threads of the linear algebra library."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(5)
    arm, cluster = rng.integers(0, 6, 2000), rng.integers(0, 300, 2000)
    y, found = rng.binomial(9, 0.1, 2000), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            post = hierarchical_binomial(
                y, np.full(2000, 9), arm, cluster, rng=np.random.default_rng(1), n_points=256
            )
            parts = (post.draws, post.policy_regret, post.prob_optimal, post.mean, post.sd)
            kappa = np.array([post.kappa_mean, post.kappa_sd])
            found.append(b"".join(part.tobytes() for part in (*parts, kappa)))
    assert found[0] == found[1]
