"""The bound that correlated normals stay within, against other computations of the integral."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import ndtr, owens_t

from wavewise.estimate.numerics.multivariate_t import (
    independent_bound,
    max_abs_quantile,
    max_quantile,
)

PROBS = (0.8, 0.95, 0.995)


def correlation(cov):
    return cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))


def chain(slope, n):
    """Correlations that fall by a factor from each coordinate to the next."""
    return slope ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def chain_within(bound, slope, n):
    """Markov: the density within the cube is passed on from coordinate to coordinate."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    nodes, weights = nodes * bound, weights * bound
    own = np.sqrt(1 - slope**2)
    step = stats.norm.pdf((nodes[None, :] - slope * nodes[:, None]) / own) / own
    density = stats.norm.pdf(nodes)
    for _ in range(n - 1):
        density = (density * weights) @ step
    return float(density @ weights)


def factors_within(bound, loads, own):
    """Two factors: given them the coordinates are independent; a sum over a fine square grid."""
    grid = np.linspace(-8.5, 8.5, 171)
    weight = stats.norm.pdf(grid) * (grid[1] - grid[0])
    first, second = np.meshgrid(grid, grid, indexing="ij")
    inside = np.ones_like(first)
    for (a, b), sd in zip(loads, own, strict=True):
        centre = a * first + b * second
        inside *= ndtr((bound - centre) / sd) - ndtr((-bound - centre) / sd)
    return float(weight @ inside @ weight)


def root(within, prob):
    return optimize.brentq(lambda bound: within(bound) - prob, 0.5, 8, xtol=1e-12)


@pytest.mark.parametrize("corr", [-0.9999, -0.5, 1e-6, 0.3, 0.9, 1 - 1e-9])
def test_two_coordinates_exactly(corr):
    found = max_abs_quantile(np.array([[1, corr], [corr, 1]]), 0.95)

    def within(z):
        own = np.sqrt(1 - corr**2)
        both = ndtr((found - corr * z) / own) - ndtr((-found - corr * z) / own)
        return stats.norm.pdf(z) * both

    # the inner step is steep near the ends where the two are nearly the same
    corners = [-found * (1 - 1e-4), 0, found * (1 - 1e-4)]
    total = integrate.quad(within, -found, found, points=corners, epsabs=1e-13, limit=400)[0]
    assert total == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize("n", [3, 6, 16])
@pytest.mark.parametrize("kind", ["equal", "uneven", "signs", "steep"])
def test_one_factor_exactly(n, kind):
    loads = {
        "equal": np.full(n, np.sqrt(0.5)),
        "uneven": np.linspace(0.1, 0.95, n),
        "signs": np.linspace(0.3, 0.9, n) * np.where(np.arange(n) % 2, -1, 1),
        "steep": np.full(n, np.sqrt(0.9999)),
    }[kind]
    corr = np.outer(loads, loads)
    np.fill_diagonal(corr, 1)
    own = np.sqrt(1 - loads**2)

    def within(bound):
        def integrand(z):
            rise = ndtr((bound - loads * z) / own) - ndtr((-bound - loads * z) / own)
            return stats.norm.pdf(z) * np.prod(rise)

        steps = [bound, -bound, bound * 0.99, -bound * 0.99]
        return integrate.quad(integrand, -9, 9, points=steps, epsabs=1e-11, limit=500)[0]

    found = max_abs_quantile(corr, 0.95)
    assert within(found) == pytest.approx(0.95, abs=1e-8)


FULL, CHAINS = pytest.mark.full, ((0.8, 16), (0.9, 16), (0.7, 24))


@pytest.mark.parametrize("prob", PROBS)
@pytest.mark.parametrize(
    ("slope", "n"),
    [(0.3, 16), (0.8, 5), *(pytest.param(*case, marks=FULL) for case in CHAINS)],
)
def test_chains_against_a_passed_on_density(slope, n, prob):
    """Sixteen coordinates whose probability is known to ten digits."""
    expected = root(lambda bound: chain_within(bound, slope, n), prob)
    # the error of one point set is about 1e-4 for 16, less for fewer, a little more for 24
    assert max_abs_quantile(chain(slope, n), prob) == pytest.approx(expected, abs=2.5e-4)


@pytest.mark.parametrize("prob", PROBS)
@pytest.mark.parametrize("shared", [0.0, 1.5, 4.0])
def test_two_factors_against_a_grid(shared, prob):
    """From no common shock to one with nine tenths of the variance."""
    rng = np.random.default_rng(12)
    own = np.full(16, 0.9)
    loads = np.add(rng.normal(size=(16, 2)), [shared, 0])
    cov = loads @ loads.T + np.diag(own**2)
    scale = np.sqrt(np.diag(cov))
    expected = root(lambda bound: factors_within(bound, loads / scale[:, None], own / scale), prob)
    assert max_abs_quantile(correlation(cov), prob) == pytest.approx(expected, abs=2.5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_random_matrices_against_genz(seed):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(6, 6))
    corr = correlation(mixed @ mixed.T + 0.1 * np.eye(6))
    found = max_abs_quantile(corr, 0.95)
    normal = stats.multivariate_normal(cov=corr, seed=1, abseps=1e-6, releps=1e-6, maxpts=2_000_000)
    inside = normal.cdf(np.full(6, found), lower_limit=np.full(6, -found))
    # the density of the largest is about .15 there: 1e-4 of the bound
    assert inside == pytest.approx(0.95, abs=1.5e-5)


def test_nearly_singular_matrices():
    """Pairs that are nearly the same count once; nearly one number has the bound of one."""
    pair = np.array([[1, 1 - 1e-9], [1 - 1e-9, 1]])
    paired = np.kron(np.eye(8), pair)
    assert max_abs_quantile(paired, 0.95) == pytest.approx(independent_bound(8, 0.95), abs=3e-4)
    same = np.full((16, 16), 1 - 1e-9) + 1e-9 * np.eye(16)
    assert max_abs_quantile(same, 0.95) == pytest.approx(stats.norm.ppf(0.975), abs=2e-4)
    rng = np.random.default_rng(1)
    thin = rng.normal(size=(10, 1)) * 1e-5 + 1
    nearly = correlation(thin @ thin.T + 1e-9 * np.diag(rng.uniform(1, 2, 10)))
    assert max_abs_quantile(nearly, 0.95) == pytest.approx(stats.norm.ppf(0.975), abs=2e-4)


def test_far_and_near_probabilities_and_monotone():
    corr = chain(0.6, 7)
    probs = [0.01, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6, 1 - 1e-12]
    found = [max_abs_quantile(corr, prob) for prob in probs]
    assert found == sorted(found)
    for prob, bound in zip(probs, found, strict=True):
        assert stats.norm.ppf((1 + prob) / 2) <= bound <= independent_bound(7, prob) + 1e-12
    # far out at most one coordinate is beyond: Bonferroni's bound less the pairs that both are
    assert found[-1] == pytest.approx(-stats.norm.ppf(1e-12 / 14), abs=1e-4)


def test_order_and_signs_of_coordinates():
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(16, 16))
    corr = correlation(mixed @ mixed.T + 0.5 * np.eye(16))
    order, signs = rng.permutation(16), np.where(rng.random(16) < 0.5, -1, 1)
    once = max_abs_quantile(corr, 0.95)
    assert max_abs_quantile(corr[np.ix_(order, order)], 0.95) == pytest.approx(once, abs=1e-9)
    assert max_abs_quantile(corr * np.outer(signs, signs), 0.95) == pytest.approx(once, abs=2.5e-4)


def test_same_digits_on_any_number_of_threads():
    code = (
        "import numpy as np\n"
        "from wavewise.estimate.numerics.multivariate_t import max_abs_quantile\n"
        "m = np.random.default_rng(0).normal(size=(16, 16))\n"
        "for s in (0.0, 30.0):\n"
        "    c = m @ m.T + s\n"
        "    d = np.sqrt(np.diag(c))\n"
        "    print(max_abs_quantile(np.round(c / np.outer(d, d), 12), .95).hex())\n"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | dict.fromkeys(names, n),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "4")
    }
    assert len(found) == 1


def test_owens_formula_at_independence():
    bound = max_abs_quantile(np.array([[1, 1e-9], [1e-9, 1]]), 0.95)
    assert bound == pytest.approx(independent_bound(2, 0.95), abs=1e-9)
    assert 8 * owens_t(bound, 1) == pytest.approx(0.05, abs=1e-9)


STORED = Path(__file__).parent / "winner" / "mvtnorm.csv"
LINES = STORED.read_text("utf-8").splitlines()
ROWS = list(csv.DictReader(LINES[1:]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['case']}, {row['prob']}")
def test_of_one_side_as_mvtnorm(row):
    """Both are quasi Monte Carlo beyond one factor; theirs has an error of 2e-5 in probability."""
    n = int(row["n"])
    corr = np.array(row["corr"].split(), dtype=float).reshape(n, n)
    found = max_quantile(corr, float(row["prob"]))
    density = 0.055 if row["prob"] == "0.975" else 0.17  # of the largest, at that point
    assert found == pytest.approx(float(row["bound"]), abs=2e-5 / density)


def test_mvtnorm_rows_say_what_was_run():
    assert "mvtnorm 1.1.3" in LINES[0]
    assert len(ROWS) == 16


def test_of_one_side_negative_correlation_goes_beyond_independence():
    """Two that are nearly each other's negative: Bonferroni's bound, above that of independence."""
    found = max_quantile(np.array([[1, -1 + 1e-9], [-1 + 1e-9, 1]]), 0.975)
    assert found == pytest.approx(stats.norm.ppf(1 - 0.0125), abs=1e-6)
    assert found > independent_bound(2, 0.975, sides=1)
