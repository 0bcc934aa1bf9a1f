"""Power by formula against the rate at which simulated trials find the effect: 50 designs.

Each design is taken at the smallest rise and the smallest fall that it is said to find with power
.8, or at an effect of its own; the trials are analysed as real ones would be, each with standard
errors from its own data. Bound: one point, plus 3.5 standard errors of the simulation.
"""

import numpy as np
import pytest
from scipy import special

import wavewise as ww

N_TRIALS = 40_000
POINT = 0.01


def _binary(rng: np.random.Generator, rates: list[float], sizes: list[int], lost: float = 0.0):
    """Means and their squared standard errors, (n_trials, n_cells)."""
    size = np.array([rng.binomial(n, 1 - lost, N_TRIALS) if lost else np.full(N_TRIALS, n)
                     for n in sizes])  # fmt: skip
    mean = np.array(
        [rng.binomial(n, p) / np.maximum(n, 1) for n, p in zip(size, rates, strict=True)]
    )
    return mean, mean * (1 - mean) / size


def _found(mean, variance, weights, critical, sign) -> float:
    weight = np.array(weights, float)[:, None]
    estimate = (weight * mean).sum(axis=0)
    error = np.sqrt((weight**2 * variance).sum(axis=0))
    return float(np.mean(sign * estimate > critical * error))


def _close(found: float, expected: float, n_trials: int = N_TRIALS) -> None:
    error = np.sqrt(expected * (1 - expected) / n_trials)
    assert found == pytest.approx(expected, abs=POINT + 3.5 * error)


BINARY = [
    (contrast, rate, n)
    for contrast in ("arms", "control", "pooled", "policy", "treated", "difference")
    for rate, n in ((0.02, 12_500), (0.36, 2_000), (0.08, 1_500), (0.9, 900))
]


def _options(contrast: str, n: int):
    """Arguments, sizes, weights and shifts of a contrast."""
    if contrast == "control":
        return {"contrast": contrast, "n_control": 2 * n}, [n, 2 * n], [1, -1], [1, 0]
    if contrast == "pooled":
        options = {"contrast": contrast, "n_pooled": 3}
        return options, [n, n, n, n], [1 / 3, 1 / 3, 1 / 3, -1], [1, 1, 1, 0]
    if contrast == "treated":
        options = {"contrast": "policy", "convention": "treated part"}
        return options, [n // 2, n // 2], [1, -1], [1, 0]
    if contrast == "difference":
        half = [n // 2] * 4
        return {"contrast": "difference of effects"}, half, [1, -1, -1, 1], [1, 0, 0, 0]
    return {"contrast": contrast}, [n, n], [1, -1], [1, 0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("contrast", "rate", "n"), BINARY)
def test_binary_outcomes(contrast: str, rate: float, n: int, sign: int) -> None:
    """24 designs, at their smallest rise and their smallest fall."""
    options, sizes, weights, shifts = _options(contrast, n)
    power = ww.evaluate.power(rate=rate, n_per_arm=n, **options)
    size = power.mde_up if sign > 0 else power.mde_down
    rng = np.random.default_rng([n, sign + 1, len(contrast)])
    rates = [rate + sign * size * shift for shift in shifts]
    found = _found(*_binary(rng, rates, sizes), weights, 1.95996, sign)
    _close(found, 0.8)


@pytest.mark.parametrize(("rate", "n", "lost"), [(0.1, 2_000, 0.3), (0.4, 800, 0.15)])
def test_attrition(rate: float, n: int, lost: float) -> None:
    power = ww.evaluate.power(rate=rate, n_per_arm=n, attrition=lost)
    rng = np.random.default_rng(n)
    parts = _binary(rng, [rate + power.mde_up, rate], [n, n], lost)
    _close(_found(*parts, [1, -1], 1.95996, 1), 0.8)


@pytest.mark.parametrize("power", [0.5, 0.9])
@pytest.mark.parametrize(("rate", "effect"), [(0.3, 0.05), (0.05, -0.02)])
def test_size_that_is_needed(rate: float, effect: float, power: float) -> None:
    needed = ww.evaluate.power(rate=rate, effect=effect, power=power)
    n, sign = int(needed.n_per_arm), int(np.sign(effect))
    parts = _binary(np.random.default_rng(n), [rate + effect, rate], [n, n])
    _close(_found(*parts, [1, -1], 1.95996, sign), power)


@pytest.mark.parametrize("trials", [9, 30])
def test_shares_of_trials(trials: int) -> None:
    """Units' shares of independent trials, their standard errors from the spread over units."""
    n, rng = 150, np.random.default_rng(trials)
    power = ww.evaluate.power(rate=0.2, trials=trials, n_per_arm=n)
    units = [rng.binomial(trials, p, (N_TRIALS, n)) / trials for p in (0.2 + power.mde_up, 0.2)]
    _close(_found(*_moments(units), [1, -1], 1.95996, 1), 0.8)


def _moments(units):
    mean = np.array([x.mean(axis=1) for x in units])
    return mean, np.array([x.var(axis=1, ddof=1) / x.shape[1] for x in units])


@pytest.mark.parametrize(
    ("count", "dispersion", "n"), [(2.5, 1.0, 200), (1.0, 3.0, 400), (6, 2, 80)]
)
def test_counts(count: float, dispersion: float, n: int) -> None:
    power = ww.evaluate.power(count=count, dispersion=dispersion, n_per_arm=n)
    rng = np.random.default_rng(n)
    for sign, size in ((1, power.mde_up), (-1, power.mde_down)):
        means = [count + sign * size, count]
        units = [_counts(rng, m, dispersion, (20_000, n)) for m in means]
        _close(_found(*_moments(units), [1, -1], 1.95996, sign), 0.8, 20_000)


def _counts(rng, mean, dispersion, shape):
    if dispersion == 1:
        return rng.poisson(mean, shape)
    return rng.negative_binomial(mean / (dispersion - 1), 1 / dispersion, shape)


@pytest.mark.parametrize("n", [6, 20, 150])
def test_continuous_outcomes_and_few_units(n: int) -> None:
    power = ww.evaluate.power(std_dev=2.0, n_per_arm=n)
    rng = np.random.default_rng(n)
    mean, variance = _moments([rng.normal(m, 2, (N_TRIALS, n)) for m in (power.mde_up, 0)])
    critical = special.stdtrit(2 * n - 2, 0.975)
    _close(_found(mean, variance, [1, -1], critical, 1), 0.8)


@pytest.mark.parametrize(("r_squared", "n"), [(0.5, 60), (0.8, 100), (0.2, 40)])
def test_covariates(r_squared: float, n: int) -> None:
    """Regression on the arm and one covariate that explains so much."""
    n_trials = 20_000
    power = ww.evaluate.power(std_dev=1.0, r_squared=r_squared, n_per_arm=n)
    rng, arm = np.random.default_rng(n), np.repeat([1.0, 0.0], n)
    x = rng.normal(size=(n_trials, 2 * n))
    noise = rng.normal(size=(n_trials, 2 * n))
    y = power.mde_up * arm + np.sqrt(r_squared) * x + np.sqrt(1 - r_squared) * noise
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    d = arm - 0.5
    slope_x, xx = x @ d, (x**2).sum(axis=1)
    left = d @ d - slope_x**2 / xx
    effect = (y @ d - slope_x * (x * y).sum(axis=1) / xx) / left
    rest = (y**2).sum(axis=1) - (x * y).sum(axis=1) ** 2 / xx - effect**2 * left
    error = np.sqrt(rest / (2 * n - 3) / left)
    found = np.mean(effect > special.stdtrit(2 * n - 3, 0.975) * error)
    _close(float(found), 0.8, n_trials)


@pytest.mark.parametrize(("between", "n_strata"), [(0.4, 10), (0.7, 25)])
def test_strata(between: float, n_strata: int) -> None:
    """Arms drawn within strata, strata effects in the regression."""
    n, n_trials = 4, 20_000
    power = ww.evaluate.power(std_dev=1.0, strata_r_squared=between, n_per_arm=n * n_strata)
    rng = np.random.default_rng(n_strata)
    y = np.sqrt(1 - between) * rng.normal(size=(n_trials, n_strata, 2, n))
    y += np.sqrt(between) * rng.normal(size=(n_trials, n_strata, 1, 1))
    y[:, :, 0] += power.mde_up
    within = y - y.mean(axis=(2, 3), keepdims=True)
    half = (within[:, :, 0] - within[:, :, 1]).mean(axis=(1, 2)) / 2
    effect = 2 * half
    sign = np.array([1.0, -1.0])[:, None]
    rest = ((within - half[:, None, None, None] * sign) ** 2).sum(axis=(1, 2, 3))
    degrees = 2 * n * n_strata - n_strata - 1
    error = np.sqrt(rest / degrees * 2 / (n * n_strata))
    found = np.mean(effect > special.stdtrit(degrees, 0.975) * error)
    _close(float(found), 0.8, n_trials)


@pytest.mark.parametrize(
    ("n_clusters", "size", "spread", "correlation"),
    [(60, 20, 0, 0.05), (80, 25, 12, 0.1), (200, 30, 20, 0.02), (40, 10, 0, 0.3), (120, 8, 4, 0.2)],
)
def test_clusters_of_unequal_size(
    n_clusters: int, size: int, spread: int, correlation: float
) -> None:
    """Whole clusters in two arms; the linearized variance of a ratio of sums."""
    n_trials = 20_000
    rng = np.random.default_rng(n_clusters)
    sizes = rng.integers(size - spread, size + spread + 1, size=2 * n_clusters)
    half = rng.permutation(2 * n_clusters)
    sizes = sizes[half]
    n_per_arm = sizes.sum() / 2
    power = ww.evaluate.power(
        std_dev=1.0,
        n_per_arm=n_per_arm,
        cluster_size=sizes.tolist(),
        intracluster_correlation=correlation,
    )
    order = rng.permuted(np.tile(np.arange(2 * n_clusters), (n_trials, 1)), axis=1)
    m = sizes[order].astype(float)
    means = np.sqrt(correlation) * rng.normal(size=m.shape)
    means += np.sqrt((1 - correlation) / m) * rng.normal(size=m.shape)
    means[:, :n_clusters] += power.mde_up
    arm_mean, variance = [], []
    for part in (slice(None, n_clusters), slice(n_clusters, None)):
        total = m[:, part].sum(axis=1)
        mean = (m[:, part] * means[:, part]).sum(axis=1) / total
        residual = m[:, part] * (means[:, part] - mean[:, None])
        factor = n_clusters / (n_clusters - 1)
        arm_mean.append(mean)
        variance.append(factor * (residual**2).sum(axis=1) / total**2)
    critical = special.stdtrit(2 * n_clusters - 2, 0.975)
    found = _found(np.array(arm_mean), np.array(variance), [1, -1], critical, 1)
    _close(found, 0.8, n_trials)


@pytest.mark.parametrize("adjust", ["bonferroni", "sidak", "dunnett"])
def test_several_arms(adjust: str) -> None:
    """Size over four arms at most 5 percent (Dunnett: equal), and the power for each of them."""
    n, rate, k = 3_000, 0.3, 4
    power = ww.evaluate.power(
        rate=rate, n_per_arm=n, contrast="control", n_comparisons=k, adjust=adjust
    )
    rng = np.random.default_rng(k)
    mean, variance = _binary(rng, [rate] * (k + 1), [n] * (k + 1))
    z = (mean[:k] - mean[k]) / np.sqrt(variance[:k] + variance[k])
    false = np.mean(np.abs(z).max(axis=0) > power.critical)
    assert false < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / N_TRIALS)
    if adjust == "dunnett":
        assert false == pytest.approx(0.05, abs=0.004)
    parts = _binary(rng, [rate + power.mde_up, rate], [n, n])
    _close(_found(*parts, [1, -1], power.critical, 1), 0.8)
