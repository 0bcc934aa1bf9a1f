"""Winners against 60 digits: the truncated normal's own formula, by bisection."""

import itertools

import mpmath as mp
import numpy as np
import pytest

from wavewise.estimate.adaptive.winner import winner
from wavewise.estimate.numerics.multivariate_t import max_abs_quantile

mp.mp.dps = 60
# a tie of d has ends near 3.7 / d; the probabilities then need about 1 / d^2 / 2 digits less, which
# mpmath's floating exponents hold


def exact(x, cov, method, rank=0, level="0.95"):
    """Conditional or hybrid (low, median, high), straight from Phi at 60 digits."""
    x = [mp.mpf(float(v)) for v in x]
    cov = mp.matrix([[mp.mpf(float(v)) for v in row] for row in np.asarray(cov)])
    k = len(x)
    j = sorted(range(k), key=lambda i: -x[i])[rank]
    sd, alpha = mp.sqrt(cov[j, j]), 1 - mp.mpf(level)
    z = [x[i] - cov[i, j] / cov[j, j] * x[j] for i in range(k)]
    cuts = {mp.mpf("-inf"), mp.mpf("inf")}
    for i in range(k):
        lead = 1 - cov[i, j] / cov[j, j]
        if i != j and lead != 0:
            cuts.add(z[i] / lead)
    cuts = sorted(cuts)
    pieces = []
    for a, b in itertools.pairwise(cuts):
        if mp.isinf(a) and mp.isinf(b):
            at = mp.mpf(0)
        elif mp.isinf(a) or mp.isinf(b):
            at = b - 1 if mp.isinf(a) else a + 1
        else:
            at = (a + b) / 2
        larger = sum(z[i] + cov[i, j] / cov[j, j] * at > at for i in range(k) if i != j)
        if larger == rank:
            pieces.append((a, b))
    beta = alpha / 10 if method == "hybrid" else mp.mpf(0)
    corr = np.array(
        [[float(cov[a, b] / mp.sqrt(cov[a, a] * cov[b, b])) for b in range(k)] for a in range(k)]
    )
    c = mp.mpf(max_abs_quantile(corr, float(1 - beta))) if beta else None
    tail = (alpha - beta) / (1 - beta) / 2

    def mass(a, b, m):
        a, b = (a - m) / sd, (b - m) / sd
        if a > 0:
            a, b = -b, -a
        return mp.ncdf(b) - mp.ncdf(a) if b > a else mp.mpf(0)

    def share_below(m):
        cut = pieces if c is None else [(max(a, m - c * sd), min(b, m + c * sd)) for a, b in pieces]
        low = sum(mass(a, min(b, x[j]), m) for a, b in cut if a < min(b, x[j]))
        high = sum(mass(max(a, x[j]), b, m) for a, b in cut if max(a, x[j]) < b)
        return low / (low + high)

    def solve(p):
        if c is None:
            step = sd
            while share_below(x[j] - step) < p:
                step *= 2
            low, step = x[j] - step, sd
            while share_below(x[j] + step) > p:
                step *= 2
            high = x[j] + step
        else:
            low, high = x[j] - c * sd, x[j] + c * sd
        for _ in range(170):
            middle = (low + high) / 2
            low, high = (middle, high) if share_below(middle) > p else (low, middle)
        return low

    return [float(solve(p)) for p in (1 - tail, mp.mpf("0.5"), tail)]


@pytest.mark.parametrize("method", ["conditional", "hybrid"])
@pytest.mark.parametrize("gap", [3.0, 1.0, 0.3, 0.1, 0.03])
def test_ties_of_two_arms(method, gap):
    found = winner([0.0, gap], [1.0, 1.0], method=method)
    expected = exact([0.0, gap], np.eye(2), method)
    assert np.allclose([found.conf_low, found.estimate, found.conf_high], expected, rtol=1e-9)


@pytest.mark.parametrize("gap", [1e-4, 1e-8, 1e-12])
def test_far_tails_against_the_limit(gap):
    """As the gap d goes to 0, the share below is exp(-d |mu|): ends at log(1 - p) / d, exactly."""
    found = winner([0.0, gap], [1.0, 1.0], method="conditional")
    limits = np.log([0.025, 0.5, 0.975]) / gap
    # Mills' ratio 1 / |mu| - 1 / |mu|^3 + ... moves the ends by d / log(p) or less: 40 d above
    found = np.array([found.conf_low, found.estimate, found.conf_high])
    assert np.allclose(found, limits, rtol=1e-9, atol=45 * gap)


@pytest.mark.parametrize("method", ["conditional", "hybrid"])
def test_correlated_arms_and_all_ranks(method):
    rng = np.random.default_rng(8)
    mixed = rng.normal(size=(4, 4))
    cov, x = mixed @ mixed.T + 0.1 * np.eye(4), rng.normal(size=4)
    for rank in range(4):
        found = winner(x, cov, method=method, rank=rank)
        expected = exact(x, cov, method, rank)
        assert np.allclose([found.conf_low, found.estimate, found.conf_high], expected, rtol=1e-7)
