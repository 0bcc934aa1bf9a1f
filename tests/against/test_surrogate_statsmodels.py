"""Surrogate index against statsmodels, and its intervals in a small simulation."""

import numpy as np
import pytest
import statsmodels.api as sm

import wavewise as ww
from wavewise.errors import EstimationError


def early(n, rng, shift=0.0):
    first = rng.normal(size=n) + shift
    return {"logins": first, "minutes": 0.5 * first + rng.normal(size=n)}


def test_slopes_and_their_covariance():
    rng = np.random.default_rng(1)
    columns = early(300, rng)
    later = 2 + columns["logins"] - 0.5 * columns["minutes"] + rng.normal(size=300)
    later[:20] = np.nan
    found = ww.estimate.surrogate_index(later, columns)
    x = sm.add_constant(np.column_stack(list(columns.values())))[20:]
    fit = sm.OLS(later[20:], x).fit(cov_type="HC1")
    np.testing.assert_allclose([found.intercept, *found.slope], fit.params, rtol=1e-10)
    np.testing.assert_allclose(found.cov, fit.cov_params()[1:, 1:], rtol=1e-9)
    assert found.r_squared == pytest.approx(fit.rsquared)
    group = np.arange(300) // 5
    by_group = ww.estimate.surrogate_index(later, columns, cluster=group)
    clustered = sm.OLS(later[20:], x).fit(cov_type="cluster", cov_kwds={"groups": group[20:]})
    np.testing.assert_allclose(by_group.cov, clustered.cov_params()[1:, 1:], rtol=1e-9)


def test_intervals_hold_the_effect_that_goes_through_the_surrogates():
    hits, narrow, runs = 0, 0, 400
    for run in range(runs):
        rng = np.random.default_rng([3, run])
        columns = early(80, rng)
        later = columns["logins"] + rng.normal(0, 2, 80)  # few and noisy: slopes are uncertain
        found = ww.estimate.surrogate_index(later, columns)
        arm = np.resize(["control", "sms"], 600)
        fresh = early(600, rng)
        fresh["logins"] = fresh["logins"] + 1.0 * (arm == "sms")
        effect = found.effects(fresh, arm)
        low, high = effect.conf_int()[0]
        hits += low <= 1.0 <= high
        alone = ww.estimate.ate(found.of(fresh), arm).conf_int()[0]
        narrow += alone[0] <= 1.0 <= alone[1]
    assert 0.92 * runs <= hits
    assert narrow < 0.8 * runs  # the error of the slopes is most of it


def test_what_cannot_be_learned():
    rng = np.random.default_rng(2)
    columns = early(50, rng)
    with pytest.raises(EstimationError, match="combination of the others"):
        ww.estimate.surrogate_index(rng.normal(size=50), {**columns, "x": columns["logins"] * 2})
    with pytest.raises(EstimationError, match="needed more than 3"):
        ww.estimate.surrogate_index(rng.normal(size=3), early(3, rng))
