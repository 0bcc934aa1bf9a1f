"""Max-t critical values and p values against other computations of the same integrals."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import ndtr

from wavewise.estimate.numerics.multivariate_t import MultivariateT

HALF = {n: np.full((n, n), 0.5) + 0.5 * np.eye(n) for n in range(1, 17)}


def dunnett_cdf(bound, corr, df):
    """One-factor correlations rho_ij = l_i l_j by two nested one-dimensional integrals."""
    load = np.sqrt(corr[0, 1] * corr[0, 2] / corr[1, 2]) if len(corr) > 2 else np.sqrt(corr[0, 1])
    loads = np.array([load, *(corr[0, 1:] / load)])
    own = np.sqrt(1 - loads**2)
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()

    def inner(limit):
        low = ndtr((-limit - loads[:, None] * z) / own[:, None])
        high = ndtr((limit - loads[:, None] * z) / own[:, None])
        return float(weight @ np.prod(high - low, axis=0))

    if np.isinf(df):
        return inner(bound)
    chi = stats.chi(df)
    density = lambda s: inner(bound * s / np.sqrt(df)) * chi.pdf(s)  # noqa: E731
    return integrate.quad(density, *chi.ppf([1e-12, 1 - 1e-12]), epsabs=1e-7)[0]


@pytest.mark.parametrize("df", [5.0, 30.0, np.inf])
@pytest.mark.parametrize("n", [2, 4, 16])
def test_quantiles_of_comparisons_with_a_control(n, df):
    joint = MultivariateT.of(HALF[n], df)
    found = joint.max_abs_quantile(0.95)
    expected = optimize.brentq(lambda c: dunnett_cdf(c, HALF[n], df) - 0.95, 1.5, 8)
    assert found == pytest.approx(expected, abs=3e-3)
    assert dunnett_cdf(found, HALF[n], df) == pytest.approx(
        0.95, abs=2 * joint.accuracy(found) + 2e-5
    )
    assert joint.accuracy(found) < 1e-3


def test_published_quantiles():
    """Dunnett (1964), two-sided 5 %, 4 comparisons: 2.44, and 2.65 at 20 degrees of freedom."""
    assert MultivariateT.of(HALF[4], np.inf).max_abs_quantile(0.95) == pytest.approx(
        2.44, abs=0.005
    )
    assert MultivariateT.of(HALF[4], 20).max_abs_quantile(0.95) == pytest.approx(2.65, abs=0.005)


def test_general_correlations():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(5, 5))
    corr = root @ root.T
    scale = np.sqrt(np.diag(corr))
    corr /= np.outer(scale, scale)
    joint = MultivariateT.of(corr, np.inf)
    normal = stats.multivariate_normal(cov=corr, seed=1, abseps=2e-6, releps=2e-6, maxpts=200_000)
    for bound in (1.0, 2.0, 3.0):
        expected = normal.cdf(np.full(5, bound), lower_limit=np.full(5, -bound))
        assert joint.max_abs_cdf(bound).mean() == pytest.approx(expected, abs=2e-4)


def test_singular_correlations():
    """A repeated comparison changes nothing; one that follows from others is allowed."""
    twice = HALF[3][np.ix_([0, 1, 2, 0], [0, 1, 2, 0])]
    once = MultivariateT.of(HALF[3], 12).max_abs_quantile(0.95)
    assert MultivariateT.of(twice, 12).max_abs_quantile(0.95) == pytest.approx(once, abs=5e-3)
    weights = np.array([[1, 0], [0, 1], [1, -1]]) / np.sqrt([[1], [1], [2 * (1 - 0.5)]])
    corr = weights @ HALF[2] @ weights.T  # all pairs of three groups: Tukey's studentized range
    tukey = stats.studentized_range.ppf(0.95, 3, 20) / np.sqrt(2)
    assert MultivariateT.of(corr, 20).max_abs_quantile(0.95) == pytest.approx(tukey, abs=5e-3)


def test_tails_lie_between_single_and_bonferroni():
    values = np.array([0.5, 2.5, 4.0, 9.0])
    tail = MultivariateT.of(HALF[4], 50).max_abs_tail(values)
    single = 2 * stats.t.sf(values, 50)
    assert (tail >= single).all()
    assert (tail <= np.minimum(1, 4 * single) + 1e-15).all()
    expected = 1 - dunnett_cdf(2.5, HALF[4], 50)
    assert tail[1] == pytest.approx(expected, abs=3e-4)


def test_one_comparison_is_exact():
    joint = MultivariateT.of(np.ones((1, 1)), 7)
    assert joint.max_abs_quantile(0.9) == pytest.approx(stats.t.ppf(0.95, 7), abs=1e-9)
    assert joint.max_abs_tail(np.array([2.0]))[0] == pytest.approx(2 * stats.t.sf(2, 7))


def test_same_numbers_from_the_same_generator():
    first = MultivariateT.of(HALF[4], 9, np.random.default_rng(3)).max_abs_quantile(0.95)
    again = MultivariateT.of(HALF[4], 9, np.random.default_rng(3)).max_abs_quantile(0.95)
    other = MultivariateT.of(HALF[4], 9, np.random.default_rng(4)).max_abs_quantile(0.95)
    assert first == again
    assert first == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("loads", [np.full(12, 0.5**0.5), np.full(12, 0.9**0.5), None])
def test_twelve_comparisons_exactly(loads):
    """One factor in twelve coordinates: one integral, to machine precision."""
    if loads is None:
        loads = np.random.default_rng(0).uniform(0.2, 0.95, 12)
    corr = np.outer(loads, loads)
    np.fill_diagonal(corr, 1)
    expected = optimize.brentq(lambda c: dunnett_cdf(c, corr, np.inf) - 0.95, 1.5, 8)
    joint = MultivariateT.of(corr, np.inf).max_abs_quantile(0.95)
    assert joint == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 2])
def test_twelve_comparisons_by_draws(seed):
    """General correlations: the share of 2,000,000 draws that stay within the bound."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(12, 12))
    corr = root @ root.T
    corr /= np.sqrt(np.outer(np.diag(corr), np.diag(corr)))
    bound = MultivariateT.of(corr, np.inf).max_abs_quantile(0.95)
    triangle = np.linalg.cholesky(corr).T
    inside = [np.abs(rng.normal(size=(200_000, 12)) @ triangle).max(axis=1) for _ in range(10)]
    share = np.mean(np.concatenate(inside) <= bound)
    assert share == pytest.approx(0.95, abs=4e-4)  # 2.6 standard errors
