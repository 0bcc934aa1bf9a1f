"""Inference on winners: known answers, the truncation set, errors, results."""

import numpy as np
import pytest
from scipy import optimize, stats

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.winner import read_ranked, truncation_set
from wavewise.estimate.numerics.multivariate_t import MultivariateT, max_abs_quantile

METHODS = ("conditional", "projection", "hybrid", "one-sided")


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
        found = ww.estimate.winner([0.0, gap], [1.0, 1.0], method="hybrid")
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
        (([1, 2], [1, 1], "one-sided", 0.95, 0, 3), InputError, "n_best: found 3"),
        (([1, 2], [1, 1], "one-sided", 0.95, 1, 1), InputError, "above the rank"),
        (([1, 2], [1, 1], "one-sided", 0.95, 0, 1.5), InputError, "n_best"),
        (([1, 2], [1, 1], "hybrid", 0.95, 0, 1), InputError, "method='one-sided'"),
    ],
)
def test_bad_input_is_named(arguments, error, text):
    with pytest.raises(error, match=text):
        names = ("method", "level", "rank", "n_best")
        ww.estimate.winner(*arguments[:2], **dict(zip(names, arguments[2:], strict=False)))


@pytest.mark.parametrize("tied", [(1.0, 1.0), (0.3, 0.1 + 0.2)])
def test_tie_is_the_projection_interval_of_the_first_stage(tied):
    """Conditional ends go to minus infinity, so the hybrid keeps all of its outer interval."""
    outer = ww.estimate.winner([*tied, 0.0], [1, 1, 1], method="projection", level=0.995)
    for rank in (0, 1):
        found = ww.estimate.winner([*tied, 0.0], [1, 1, 1], method="hybrid", rank=rank)
        assert (found.n_tied, found.median_unbiased, found.method) == (1, False, "hybrid")
        assert found.estimate == found.naive_estimate
        assert found.conf_high - found.estimate == pytest.approx(outer.conf_high - outer.estimate)
        assert "shares its estimate" in found.summary()
        with pytest.raises(EstimationError, match="2 arms that share"):
            ww.estimate.winner([*tied, 0.0], [1, 1, 1], method="conditional", rank=rank)
    apart = ww.estimate.winner(
        [*tied, 0.0], [1, 1, 1], method="hybrid", rank=2
    )  # the arm that is not tied
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
    hybrid = ww.estimate.winner([0, 1], [1, 1], method="hybrid")
    assert "Median-unbiased" in hybrid.summary()
    assert hybrid.median_unbiased


# The one-sided interval.


def upper_point(prob, corr):
    """Of the largest of correlated normals, by Genz's integration."""
    normal = stats.multivariate_normal(cov=corr, seed=1, abseps=1e-7, releps=1e-7, maxpts=10**6)
    n = len(corr)
    return optimize.brentq(lambda c: normal.cdf(np.full(n, c)) - prob, 1, 5, xtol=1e-6)


@pytest.mark.parametrize("n", [3, 4, 6, 16])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_one_sided_ends_with_independent_arms(n, level):
    """``[X - c s, X + z s]``: 4.45, 4.59 and 4.90 standard errors long with 4, 6 and 16 arms."""
    x, sd = np.arange(n, 0.0, -1), np.linspace(0.5, 2, n)
    found = ww.estimate.winner(x, sd**2, level=level)
    tail = (1 - level) / 2
    c, z = stats.norm.ppf((1 - tail) ** (1 / n)), stats.norm.ppf(1 - tail)
    assert (found.arm, found.estimate, found.interval) == (0, x[0], "one-sided")
    assert found.conf == pytest.approx((x[0] - c * 0.5, x[0] + z * 0.5), abs=1e-8)
    if level == 0.95:
        printed = {3: 4.35, 4: 4.45, 6: 4.59, 16: 4.91}[n]
        assert (found.conf_high - found.conf_low) / 0.5 == pytest.approx(printed, abs=0.006)


def test_one_sided_ends_with_correlated_arms():
    rng = np.random.default_rng(8)
    for n in (2, 3, 5):
        mixed = rng.normal(size=(n, n))
        cov = 0.1 * mixed @ mixed.T + np.diag(rng.uniform(1, 1.5, n))
        sd, x = np.sqrt(np.diag(cov)), rng.normal(size=n)
        found = ww.estimate.winner(x, cov)
        c = upper_point(0.975, cov / np.outer(sd, sd))
        ends = x.max() - c * sd[found.arm], x.max() + 1.959964 * sd[found.arm]
        assert found.interval == "one-sided"
        assert found.conf == pytest.approx(ends, abs=1e-4)


def test_near_ties_neither_collapse_nor_jump():
    """A gap of .001 at a standard error of .5: the hybrid gives -.571 and a length of .05."""
    at = [ww.estimate.winner([1.0, 1.0 - gap, 0.2], [0.25] * 3) for gap in (0, 1e-9, 1e-3, 0.1)]
    for found in at:
        assert found.estimate == 1.0
        assert found.conf == pytest.approx(at[0].conf)
        assert found.conf_low < found.corrected_estimate < found.estimate < found.conf_high
    corrected = [found.corrected_estimate for found in at]
    assert corrected[0] == pytest.approx(corrected[1]) == pytest.approx(corrected[2], abs=1e-3)
    hybrid = ww.estimate.winner([1.0, 0.999], [0.25] * 2, method="hybrid")
    assert hybrid.conf_high - hybrid.conf_low < 0.06


@pytest.mark.parametrize("corr", [-0.9, 0.0, 0.7])
def test_two_exchangeable_arms_have_their_usual_interval(corr):
    cov = 0.25 * np.array([[1, corr], [corr, 1]])
    for rank in (0, 1):
        found = ww.estimate.winner([0.3, 0.31], cov, rank=rank, level=0.9)
        assert found.interval == "usual"
        half = 1.644854 * 0.5
        assert found.conf == pytest.approx((found.estimate - half, found.estimate + half), abs=1e-6)
    assert "exact" in found.summary()
    unequal = ww.estimate.winner([0.3, 0.31], [0.25, 0.26])
    assert unequal.interval == "one-sided"


def test_a_covariance_above_a_variance_is_said_and_takes_the_projection_interval():
    cov = np.array([[1.0, 1.5, 0], [1.5, 4.0, 0], [0, 0, 1.0]])
    found = ww.estimate.winner([3.0, 1, 0], cov)
    projection = ww.estimate.winner([3.0, 1, 0], cov, method="projection")
    assert (found.method, found.interval) == ("one-sided", "projection")
    assert found.conf == projection.conf
    assert "covariances are at most the variance" in found.summary()
    # pooled from parts with weights of inverse variances, the covariance is the variance itself
    pooled = np.linalg.inv(np.diag([1 / 0.3, 1 / 0.7]))
    parts = np.array([[1, 0], [0, 1], [0.7, 0.3]])
    cov = parts @ pooled @ parts.T + np.diag([0, 0, 1e-8])
    assert ww.estimate.winner([1.0, 2, 3], cov).interval == "one-sided"


def test_contrasts_with_one_control_satisfy_the_condition():
    variances = np.array([1e-4, 0.1, 2.0])
    cov = np.diag(variances) + 0.5
    assert ww.estimate.winner([1.0, 2, 3], cov).interval == "one-sided"


def test_other_ranks_and_the_best_few():
    x, n = np.arange(6.0)[::-1], 6
    c = stats.norm.ppf(0.975 ** (1 / n))
    for rank in range(n):
        low, high = (min(c, -stats.norm.ppf(0.025 / k)) for k in (n - rank, rank + 1))
        found = ww.estimate.winner(x, np.ones(n), rank=rank)
        assert found.conf == pytest.approx((x[rank] - low, x[rank] + high), abs=1e-8)
    for n_best in (1, 2, 4, 6):
        high = min(c, -stats.norm.ppf(0.025 / n_best))
        for rank in range(n_best):
            found = ww.estimate.winner(x, np.ones(n), rank=rank, n_best=n_best)
            assert found.conf == pytest.approx((x[rank] - c, x[rank] + high), abs=1e-8)
    assert "best 6 arms hold together" in found.summary()


@pytest.mark.parametrize("kind", ["independent", "control in common", "any", "steep"])
def test_corrected_estimate_is_less_the_mean_error_of_whichever_arm_is_picked(kind):
    rng = np.random.default_rng(9)
    for n in (2, 4, 7):
        mixed = rng.normal(size=(n, n))
        cov = {
            "independent": np.diag(rng.uniform(0.3, 2, n)),
            "control in common": np.diag(rng.uniform(0.3, 2, n)) + 0.8,
            "any": mixed @ mixed.T / n + 0.2 * np.eye(n),
            "steep": np.diag(10.0 ** -np.arange(n)),
        }[kind]
        x = rng.normal(size=n) * 0.7
        error = rng.normal(size=(400_000, n)) @ np.linalg.cholesky(cov).T
        for rank in {0, n // 2, n - 1}:
            at = np.argsort(-(x + error), axis=1)[:, rank]
            drawn = error[np.arange(len(at)), at]
            found = ww.estimate.winner(x, cov, rank=rank)
            curse = found.estimate - found.corrected_estimate
            assert abs(curse - drawn.mean()) < 4 * drawn.std() / 400_000**0.5 + 1e-3


def test_curse_of_two_equal_arms_in_closed_form():
    """E max of two normals is ``sqrt((1 - r) / pi)`` standard deviations."""
    for corr in (-0.5, 0.0, 0.8):
        found = ww.estimate.winner([1.0, 1.0], [[1, corr], [corr, 1]])
        assert 1 - found.corrected_estimate == pytest.approx(np.sqrt((1 - corr) / np.pi), abs=1e-9)
    for method in METHODS[:3]:
        assert ww.estimate.winner([1.0, 1.5], [1, 1], method=method).corrected_estimate is None
