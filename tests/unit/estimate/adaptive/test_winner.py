"""Inference on winners: known answers, the truncation set, errors, results."""

import time

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.winner import read_ranked, truncation_set
from wavewise.estimate.numerics.multivariate_t import MultivariateT, max_abs_quantile

METHODS = ("conditional", "projection", "hybrid")


@pytest.mark.parametrize(
    ("method", "low", "middle", "high"),
    [
        ("conditional", 0.067427, 3.686276, 5.932672),
        ("projection", 1.431237, 4.0, 6.568763),
        ("hybrid", 0.865407, 3.687402, 5.976934),
    ],
)
def test_five_independent_arms(method, low, middle, high):
    found = ww.estimate.winner(range(5), np.eye(5), method=method)
    assert (found.arm, found.method) == (4, method)
    assert np.allclose(
        [found.conf_low, found.estimate, found.conf_high], [low, middle, high], atol=1e-6
    )


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [
        ("conditional", 0.177710, 0.209494),
        ("projection", 0.177246, 0.214222),
        ("hybrid", 0.177638, 0.209754),
    ],
)
def test_arms_of_the_agricultural_calls(method, low, high):
    successes = np.array([139, 624, 324, 48, 166, 222])
    n = np.array([867, 3188, 1766, 334, 987, 1258])
    share = successes / n
    found = ww.estimate.winner(share, share * (1 - share) / n, method=method)
    assert found.arm == 1
    assert np.allclose([found.conf_low, found.conf_high], [low, high], atol=1e-6)


@pytest.mark.parametrize(
    ("naive", "printed"),
    [((-2.49, -2.62, -2.36), (-2.66, -2.32)), ((-2.39, -2.54, -2.24), (-2.59, -2.19)),
     ((-2.39, -2.55, -2.24), (-2.60, -2.18))],
)  # fmt: skip
def test_reading_calls_table_5_is_the_projection_interval(naive, printed):
    """Standard errors come from intervals with two decimals: a hundredth is what they allow."""
    estimate = [-2.63, naive[0], -2.77, -2.88, -2.67, -3.31]
    std_error = (naive[2] - naive[1]) / (2 * 1.959964)
    found = ww.estimate.winner(estimate, np.full(6, std_error**2), method="projection")
    assert np.allclose([found.conf_low, found.conf_high], printed, atol=0.0101)
    assert np.isclose((found.conf_high - found.estimate) / std_error, 2.6310, atol=1e-4)


def test_variances_are_a_diagonal_covariance():
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=6), rng.uniform(0.5, 2, 6)
    for method in METHODS:
        for rank in range(6):
            a = ww.estimate.winner(x, v, method=method, rank=rank)
            b = ww.estimate.winner(x, np.diag(v), method=method, rank=rank)
            assert (a.arm, a.conf, a.estimate) == (b.arm, b.conf, b.estimate)


def test_truncation_set_by_moving_the_estimate():
    """Moves on a fine grid keep the rank just where the set says, unions included."""
    rng = np.random.default_rng(3)
    n_unions = 0
    for _ in range(60):
        mixed = rng.normal(size=(5, 5))
        cov = mixed @ mixed.T + 0.05 * np.eye(5)
        x = rng.normal(size=5)
        for rank in range(5):
            ranked = read_ranked(x, cov, rank)
            pieces = truncation_set(ranked)
            n_unions += len(pieces) > 1
            grid = np.linspace(-6, 6, 2001) + 1e-7
            slope = cov[:, ranked.arm] / cov[ranked.arm, ranked.arm]
            moved = x + np.outer(grid * ranked.std_error, slope)
            kept = (moved > moved[:, [ranked.arm]]).sum(axis=1) == rank
            inside = np.any([(grid > a) & (grid < b) for a, b in pieces], axis=0)
            assert (kept == inside).all()
    assert n_unions > 5


def test_bound_of_correlated_normals_against_separate_integration_and_draws():
    rng = np.random.default_rng(4)
    for n in (2, 5, 12):
        mixed = rng.normal(size=(n, n + 2))
        cov = mixed @ mixed.T
        scale = np.sqrt(np.diag(cov))
        corr = cov / np.outer(scale, scale)
        draws = rng.normal(size=(400_000, n)) @ np.linalg.cholesky(corr).T
        largest = np.abs(draws).max(axis=1)
        for prob in (0.9, 0.95, 0.995):
            found = max_abs_quantile(corr, prob)
            error = 4 * np.sqrt(prob * (1 - prob) / largest.size)
            assert abs(np.mean(largest <= found) - prob) < error
            other = MultivariateT.of(corr, np.inf).max_abs_quantile(prob)
            assert found == pytest.approx(other, abs=2e-3 if n < 12 else 1e-2)  # theirs


def test_one_arm_is_its_usual_interval():
    for method in METHODS[:2]:
        found = ww.estimate.winner([2.0], [4.0], method=method)
        assert np.allclose(found.conf, (2 - 2 * 1.959964, 2 + 2 * 1.959964), atol=1e-5)


def test_hybrid_lies_within_its_projection_interval_even_in_ties():
    for gap in (1e-14, 1e-8, 1e-3, 1.0, 30.0):
        found = ww.estimate.winner([0.0, gap], [1.0, 1.0])
        outer = ww.estimate.winner([0.0, gap], [1.0, 1.0], method="projection", level=0.995)
        assert outer.conf_low <= found.conf_low <= found.estimate <= found.conf_high
        assert found.conf_high <= outer.conf_high
        assert np.isfinite(found.conf).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([1, 2], [[1, 1], [1, 1]]), EstimationError, "singular"),
        (([1, 2], [1, 0]), EstimationError, "variances of zero"),
        (([1, 2], [1, -1]), InputError, "variance of -1"),
        (([1, 2], [[1, 2], [2, 1]]), InputError, "negative eigenvalue"),
        (([1, 2], [[1, 0.5], [0, 1]]), InputError, "not symmetric"),
        (([1, 2], [1, 1, 1]), InputError, "shape"),
        (([1, np.nan], [1, 1]), InputError, "missing or infinite"),
        ((["a", "b"], [1, 1]), InputError, "needed numbers"),
        (([], []), InputError, "shape"),
        (([1, 1], [1, 2], "conditional"), EstimationError, "method='hybrid'"),
        (([1, 2], [1, np.nan]), InputError, "missing or infinite"),
        (([2.0], [[0.0]]), EstimationError, "variances of zero"),
        (([2.0], [-1.0]), InputError, "variance of -1"),
        (([1, 2], [1, 1], "median"), InputError, "method"),
        (([1, 2], [1, 1], "hybrid", 1.0), InputError, "level"),
        (([1, 2], [1, 1], "hybrid", 0.95, 2), InputError, "rank"),
        (([1, 2], [1, 1], "hybrid", 0.95, -1), InputError, "rank"),
        (([1, 2], [1, 1], "hybrid", 0.95, True), InputError, "rank"),
    ],
)
def test_bad_input_is_named(arguments, error, text):
    with pytest.raises(error, match=text):
        names = ("method", "level", "rank")
        ww.estimate.winner(*arguments[:2], **dict(zip(names, arguments[2:], strict=False)))


@pytest.mark.parametrize("tied", [(1.0, 1.0), (0.3, 0.1 + 0.2)])
def test_tie_is_the_projection_interval_of_the_first_stage(tied):
    """Conditional ends go to minus infinity, so the hybrid keeps all of its outer interval."""
    outer = ww.estimate.winner([*tied, 0.0], [1, 1, 1], method="projection", level=0.995)
    for rank in (0, 1):
        found = ww.estimate.winner([*tied, 0.0], [1, 1, 1], rank=rank)
        assert (found.n_tied, found.median_unbiased, found.method) == (1, False, "hybrid")
        assert found.estimate == found.naive_estimate
        assert found.conf_high - found.estimate == pytest.approx(outer.conf_high - outer.estimate)
        assert "shares its estimate" in found.summary()
        with pytest.raises(EstimationError, match="2 arms that share"):
            ww.estimate.winner([*tied, 0.0], [1, 1, 1], method="conditional", rank=rank)
    apart = ww.estimate.winner([*tied, 0.0], [1, 1, 1], rank=2)  # the arm that is not tied
    assert (apart.arm, apart.n_tied, apart.median_unbiased) == (2, 0, True)
    for method in METHODS:
        ww.estimate.winner([*tied, 0.0], [1, 1, 1], method=method, rank=2)
    assert ww.estimate.winner([1.0, 1.0, 0.0], [1, 1, 1], method="projection").arm == 0


def test_conditional_ends_at_ever_smaller_gaps_go_to_minus_infinity():
    """Why there is no limit to give at a tie: even the upper end, log(.975) / gap, goes there."""
    gaps = [1e-3, 1e-4, 1e-6]
    found = [ww.estimate.winner([0.0, gap], [1.0, 1.0], method="conditional") for gap in gaps]
    for gap, one in zip(gaps, found, strict=True):
        assert one.conf_high - gap == pytest.approx(np.log(0.975) / gap, rel=5e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cov", [[4.0], [[4.0]]])
def test_names_hold_for_one_arm_too(method, cov):
    found = ww.estimate.winner([2.0], cov, method=method)
    assert (found.arm, found.method, found.n_arms) == (0, method, 1)
    assert found.estimate == pytest.approx(2, abs=1e-9)
    # hybrid: an error of .05 in two stages, a little wider
    assert found.conf_high - 2 == pytest.approx(2 * 1.96, rel=0.02)
    assert found.conf_low + found.conf_high == pytest.approx(4, abs=1e-6)


def test_result_says_which_interval_it_is():
    found = ww.estimate.winner([0, 1], [1, 1], method="projection")
    assert "projection interval" in found.summary()
    assert "not corrected" in found.summary()
    assert found.to_frame()["method"].to_list() == ["projection"]
    assert found.to_dict()["provenance"]["method"] == "inference on winners, projection"
    hybrid = ww.estimate.winner([0, 1], [1, 1])
    assert "Median-unbiased" in hybrid.summary()
    assert hybrid.median_unbiased


def test_sixteen_arms_all_methods_all_ranks_are_fast():
    """Under 50 ms of processor time; three times that here, for loaded machines."""
    rng = np.random.default_rng(5)
    mixed, x = rng.normal(size=(16, 16)), 3 * rng.normal(size=16)
    cov = mixed @ mixed.T + 0.5 * np.eye(16)
    ww.estimate.winner(x, np.ones(16))
    start = time.process_time()
    for method in METHODS:
        for rank in range(16):
            ww.estimate.winner(x, cov, method=method, rank=rank)
    assert time.process_time() - start < 0.15
