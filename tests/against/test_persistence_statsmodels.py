"""Effects by period and their covariance against one stacked regression, clustered by unit."""

import numpy as np
import statsmodels.api as sm

import wavewise as ww


def data(n=240, n_periods=5):
    rng = np.random.default_rng(7)
    arm = np.array(["control", "call", "sms"])[rng.permutation(np.arange(n) % 3)]
    level = rng.normal(size=(n, 1))
    fade = np.array([0.8, 0.8, 0.4, 0.2, 0.1])
    panel = level + rng.normal(size=(n, n_periods)) + fade * (arm == "sms")[:, None]
    return panel, arm, np.arange(n) // 4


def stacked(panel, arm, groups):
    """Every period's own intercept and effects in one regression; rows by unit, then period."""
    n, n_periods = panel.shape
    base = np.column_stack([np.ones(n), arm == "call", arm == "sms"]).astype(float)
    x = np.kron(base, np.eye(n_periods))
    fit = sm.OLS(panel.ravel(), x).fit(
        cov_type="cluster",
        cov_kwds={"groups": np.repeat(groups, n_periods), "use_correction": False},
    )
    places = [slice(k * n_periods, (k + 1) * n_periods) for k in (1, 2)]
    return (
        np.stack([fit.params[p] for p in places]),
        np.stack([fit.cov_params()[p, p] for p in places]),
    )


def test_covariance_over_periods_of_units():
    panel, arm, _ = data()
    found = ww.estimate.persistence(panel, arm, se="HC0")
    estimate, cov = stacked(panel, arm, np.arange(len(arm)))
    assert found.arms == ("call", "sms")
    np.testing.assert_allclose(found.estimate, estimate, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.cov, cov, rtol=1e-9, atol=1e-12)


def test_covariance_over_periods_of_clusters():
    panel, arm, cluster = data()
    arm = arm[cluster * 4]  # whole clusters
    found = ww.estimate.persistence(panel, arm, cluster=cluster, se="CR1")
    estimate, cov = stacked(panel, arm, cluster)
    n, k, groups = len(arm), 3, cluster.max() + 1
    factor = groups / (groups - 1) * (n - 1) / (n - k)
    np.testing.assert_allclose(found.estimate, estimate, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.cov, factor * cov, rtol=1e-9, atol=1e-12)


def test_each_period_is_the_effect_by_itself():
    panel, arm, cluster = data()
    strata = cluster % 3
    found = ww.estimate.persistence(panel, arm, strata=strata, cluster=cluster)
    for t in range(panel.shape[1]):
        alone = ww.estimate.ate(panel[:, t], arm, strata=strata, cluster=cluster)
        np.testing.assert_allclose(found.estimate[:, t], alone.estimate, rtol=1e-9)
        np.testing.assert_allclose(found.std_error[:, t], alone.std_error, rtol=1e-9)
        np.testing.assert_allclose(found.df, alone.df, rtol=1e-9)
