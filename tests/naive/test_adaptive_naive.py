"""Adaptive estimators against loops written from the papers' equations, and statsmodels."""

import numpy as np
import pytest

from wavewise.estimate.adaptive.aipw import adaptive_aipw
from wavewise.estimate.adaptive.batched_ols import batched_ols
from wavewise.estimate.adaptive.weighted_m import weighted_m
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves


@pytest.fixture(scope="module")
def data():
    design = AdaptiveDesign(np.array([0.0, 0.1, 0.4]), 300, 3, floor=0.05, outcome="normal")
    return simulate_adaptive_waves(design, np.random.default_rng(3))


def test_weighted_means_and_sandwich(data):
    found = weighted_m(data.outcome, data.arm, data.propensity)
    for a in range(3):
        top = bottom = meat = 0.0
        for y, arm, p in zip(data.outcome, data.arm, data.propensity, strict=True):
            if arm == a:
                top += y / p**0.5
                bottom += 1 / p**0.5
        for y, arm, p in zip(data.outcome, data.arm, data.propensity, strict=True):
            if arm == a:
                meat += (y - top / bottom) ** 2 / p
        assert found.estimate[a] == pytest.approx(top / bottom, rel=1e-12)
        assert found.std_error[a] == pytest.approx(meat**0.5 / bottom, rel=1e-12)
    assert found["1 - 0"].std_error == pytest.approx(np.hypot(*found.std_error[:2]))


def test_binomial_counts_by_the_delta_method():
    rng = np.random.default_rng(4)
    arm, n = rng.integers(0, 2, 400), rng.integers(1, 10, 400)
    p = rng.uniform(0.1, 0.9, 400)
    y = rng.binomial(n, 0.2 + 0.1 * arm)
    found = weighted_m(y, arm, p, family="binomial", trials=n)
    for a in (0, 1):
        k, w = arm == a, p**-0.5
        share = (w * y)[k].sum() / (w * n)[k].sum()
        se = np.sqrt(((w * (y - n * share))[k] ** 2).sum()) / (w * n)[k].sum()
        assert found.estimate[a] == pytest.approx(np.log(share / (1 - share)), rel=1e-10)
        assert found.std_error[a] == pytest.approx(se / (share * (1 - share)), rel=1e-9)


@pytest.mark.filterwarnings("ignore:cov_type not fully supported")
@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_covariates_and_clusters_against_statsmodels(family):
    """Weights enter statsmodels as frequencies; its clustered sandwich squares them, as ours."""
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    n, x = 500, rng.normal(size=500)
    arm, cluster, p = rng.integers(0, 3, n), rng.integers(0, 40, n), rng.uniform(0.1, 0.8, n)
    y = (rng.random(n) < 0.3 + 0.1 * arm).astype(float) if family == "binomial" else arm + x
    y = y + (rng.normal(size=n) if family == "gaussian" else 0)
    design = np.column_stack([arm == 0, arm == 1, arm == 2, x - x.mean()]).astype(float)
    kind = sm.families.Binomial() if family == "binomial" else sm.families.Gaussian()
    model = sm.GLM(y, design, family=kind, var_weights=p**-0.5)
    for groups in (np.arange(n), cluster):
        fit = model.fit(
            cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, tol=1e-12
        )
        options = {} if groups is not cluster else {"cluster": cluster}
        found = weighted_m(y, arm, p, family=family, covariates=x, **options)
        assert np.allclose(found.estimate[:3], fit.params[:3], rtol=1e-7)
        assert np.allclose(found.arm_cov, fit.cov_params()[:3, :3], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("weights", ["constant", "two-point", "uniform"])
def test_aipw_by_loops(data, weights):
    n, decay = data.outcome.size, 0.7
    gamma, h = np.zeros((n, 3)), np.zeros((n, 3))
    for a in range(3):
        left = 1.0
        for w in range(3):
            units = [i for i in range(n) if data.wave[i] == w]
            # lambda_t unit by unit, in any order: the share of the wave as a whole
            kept = 1.0
            for t in range(w * 100 + 1, w * 100 + 101):
                e = data.propensities[units[0], a]
                slow = t**-decay
                tail = (n ** (1 - decay) - t ** (1 - decay)) / (1 - decay)
                kept *= 1 - (e / (n - t + 1) + (1 - e) * slow / (slow + tail))
            for i in units:
                e = data.propensities[i, a]
                if w == 0:
                    past = [j for j in units if j != i and data.arm[j] == a]
                else:
                    past = [j for j in range(n) if data.wave[j] < w and data.arm[j] == a]
                m = np.mean([data.outcome[j] for j in past])
                gamma[i, a] = m + (data.arm[i] == a) * (data.outcome[i] - m) / e
                two_point = (e * left * (1 - kept) / len(units)) ** 0.5
                h[i, a] = {"constant": e**0.5, "uniform": 1.0, "two-point": two_point}[weights]
            left *= kept
    q = (h * gamma).sum(0) / h.sum(0)
    part = h * (gamma - q) / h.sum(0)
    found = adaptive_aipw(data.outcome, data.arm, data.propensities, data.wave, weighting=weights)
    assert np.allclose(found.arm_estimate, q, rtol=1e-9)
    assert np.allclose(found.arm_cov, part.T @ part, rtol=1e-8, atol=1e-12)
    cluster = np.array([f"school-{i % 7}" for i in range(n)])
    clustered = adaptive_aipw(
        data.outcome, data.arm, data.propensities, data.wave, weighting=weights, cluster=cluster
    )
    cov = np.zeros((3, 3))
    for name in set(cluster):
        total = sum(part[i] for i in range(n) if cluster[i] == name)
        cov += np.outer(total, total) * 7 / 6
    assert np.allclose(clustered.arm_estimate, q, rtol=1e-9)
    assert np.allclose(clustered.arm_cov, cov, rtol=1e-8, atol=1e-12)


def test_constant_allocation_is_the_recursion():
    """h_t^2 / e_t = lambda_t (1 - sum of the earlier) with 1 / (T - t + 1) gives e_t / T."""
    e, used, h2 = np.array([0.5, 0.2, 0.1, 0.4]), 0.0, []
    for t in range(4):
        h2.append(e[t] * (1 - used) / (4 - t))
        used += h2[-1] / e[t]
    assert np.allclose(h2, e / 4)


def test_batched_by_loops(data):
    found = batched_ols(data.outcome, data.arm, data.wave, variance="arm")
    for a in (1, 2):
        top = bottom = 0.0
        for w in range(3):
            x = data.outcome[(data.wave == w) & (data.arm == a)]
            c = data.outcome[(data.wave == w) & (data.arm == 0)]
            se = (x.var(ddof=1) / x.size + c.var(ddof=1) / c.size) ** 0.5
            top, bottom = top + (x.mean() - c.mean()) / se, bottom + 1 / se
        row = found[f"{a} - 0"]
        assert row.estimate == pytest.approx(top / bottom)
        assert row.std_error == pytest.approx(3**0.5 / bottom)


def test_batched_with_one_variance_a_wave_is_least_squares_in_each(data):
    import statsmodels.api as sm

    found = batched_ols(data.outcome, data.arm, data.wave, variance="wave")
    design = sm.add_constant(np.stack([data.arm == 1, data.arm == 2], axis=1).astype(float))
    fits = [sm.OLS(data.outcome[data.wave == w], design[data.wave == w]).fit() for w in range(3)]
    pull = np.array([1 / fit.bse[1:] for fit in fits])
    expected = (pull * [fit.params[1:] for fit in fits]).sum(0) / pull.sum(0)
    assert np.allclose(found.estimate[3:], expected)
    assert np.allclose(found.std_error[3:], 3**0.5 / pull.sum(0))
    within = [np.asarray(fit.cov_params())[1:, 1:] for fit in fits]
    cov = sum(np.outer(p, p) * c for p, c in zip(pull, within, strict=True))
    cov = cov / np.outer(pull.sum(0), pull.sum(0))
    assert np.allclose(found.cov[3:, 3:], cov)


@pytest.fixture(scope="module")
def stratified():
    """Three waves in two strata; shares, levels and best arms differ between the strata."""
    rng = np.random.default_rng(8)
    n, strata = 900, np.repeat(["x", "y"], [300, 600])
    rng.shuffle(strata)
    wave = rng.integers(1, 4, n)
    of_x = np.array([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.3, 0.1], [0.7, 0.1, 0.2]])
    shares = np.where((strata == "x")[:, None], of_x[wave - 1], of_x[wave - 1][:, ::-1])
    arm = (rng.random(n)[:, None] > np.cumsum(shares, axis=1)[:, :2]).sum(axis=1)
    y = 2.0 * (strata == "y") + 0.3 * arm + rng.normal(size=n)
    return y, arm, shares, wave, strata


def by_hand(found, stratified):
    """Estimates of each stratum by itself, averaged by the strata's sizes."""
    *_, strata = stratified
    parts = [(found(strata == name), np.mean(strata == name)) for name in ("x", "y")]
    estimate = sum(weight * one.arm_estimate for one, weight in parts)
    return estimate, sum(weight**2 * one.arm_cov for one, weight in parts)


def test_within_strata_is_the_average_of_each_by_itself(stratified):
    y, arm, shares, wave, strata = stratified
    own = shares[np.arange(y.size), arm]
    for whole, part in (
        (
            weighted_m(y, arm, own, strata=strata),
            lambda at: weighted_m(y[at], arm[at], own[at]),
        ),
        (
            adaptive_aipw(y, arm, shares, wave, strata=strata),
            lambda at: adaptive_aipw(y[at], arm[at], shares[at], wave[at]),
        ),
        (
            batched_ols(y, arm, wave, strata=strata),
            lambda at: batched_ols(y[at], arm[at], wave[at]),
        ),
    ):
        estimate, cov = by_hand(part, stratified)
        assert whole.arm_estimate == pytest.approx(estimate, rel=1e-12)
        assert whole.arm_cov == pytest.approx(cov, rel=1e-9, abs=1e-15)


def test_strata_that_share_clusters_are_estimated_jointly(stratified):
    """Cells of arm by stratum by statsmodels, weighted and clustered, then averaged."""
    import statsmodels.api as sm

    y, arm, shares, _, strata = stratified
    own, cluster = shares[np.arange(y.size), arm], np.arange(y.size) % 30
    cell = arm * 2 + (strata == "y")
    design = (cell[:, None] == np.arange(6)).astype(float)
    fit = sm.WLS(y, design, weights=own**-0.5).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    average = np.kron(np.eye(3), [np.mean(strata == "x"), np.mean(strata == "y")])
    found = weighted_m(y, arm, own, strata=strata, cluster=cluster)
    assert found.arm_estimate == pytest.approx(average @ fit.params, rel=1e-10)
    assert found.arm_cov == pytest.approx(average @ fit.cov_params() @ average.T, rel=1e-8)


def test_one_stratum_is_none_and_an_empty_cell_has_its_reason(stratified):
    y, arm, shares, wave, strata = stratified
    own = shares[np.arange(y.size), arm]
    assert weighted_m(y, arm, own, strata=np.full(y.size, "all")) == weighted_m(y, arm, own)
    gone = np.where((arm == 2) & (strata == "x"), np.nan, y)
    for found in (
        weighted_m(gone, arm, own, strata=strata),
        adaptive_aipw(gone, arm, shares, wave, strata=strata),
        batched_ols(gone, arm, wave, strata=strata),
    ):
        assert "1 of 2 strata have no known outcome of it (x)" in str(found.not_estimable["2"])
        assert "1 - 0" in found.names and "1 - 0" not in found.not_estimable
