"""The marginal likelihood and the coefficients against whole covariance matrices."""

import numpy as np
import pytest

from normal_panels import Shape, simulate
from wavewise.estimate.normal.data import panel_sums, read_panel
from wavewise.estimate.normal.marginal import SdPosterior, coefficient_moments, log_likelihood
from wavewise.estimate.normal.priors import scaled_priors, study_priors

SHAPES = {
    "unbalanced": Shape(30, 4, 3, effects=(1.0, 2.0), missing=0.3, seed=1),
    "complete": Shape(20, 5, 4, effects=(1.0,), missing=0.0, seed=2),
    "one period": Shape(40, 4, 1, effects=(1.0, 2.0), seed=3),
    "one cluster": Shape(25, 1, 3, effects=(1.0,), seed=4),
    "clusters of one": Shape(15, 15, 2, effects=(1.0,), control_share=0.5, seed=5),
}
POINTS = np.array(
    [[0.4, 0.8, 0.5, 0.2], [0.01, 0.7, 0.6, 0.001], [2.0, 0.01, 0.3, 3.0], [1e-6, 1e-6, 1.0, 1e-6]]
)


def _panel(shape):
    rows = simulate(shape)
    given = {k: rows[k] for k in ("unit", "cluster", "period", "arm")}
    return read_panel(
        rows["score"], **given, control=None, treated=None, arms=None, periods=None, pooled=False
    )


def same(codes):
    return (codes[:, None] == codes[None, :]).astype(float)


def _dense(panel, sds, effect_precision):
    """Log density of the contrasts of y, mean and covariance of (constant, arms, periods)."""
    kappa, phi, sigma, rho = sds
    y = (panel.score - panel.score.mean()) / panel.score.std()
    arms = (panel.arm[:, None] == np.arange(1, len(panel.arms) + 1)).astype(float)
    flat = np.column_stack([np.ones(y.size), arms])
    V = sigma**2 * np.eye(y.size) + phi**2 * same(panel.unit)
    V += kappa**2 * same(panel.cluster[panel.unit])
    Q = np.zeros((y.size, 0))
    if len(panel.periods) > 1:
        Q = (panel.period[:, None] == np.arange(len(panel.periods))).astype(float)
        V += rho**2 * same(panel.period)
    inverse = np.linalg.inv(V)
    prior = np.diag([0.0, *[effect_precision] * len(panel.arms)])
    A = flat.T @ inverse @ flat + prior
    b = np.linalg.solve(A, flat.T @ inverse @ y)
    residual = y - flat @ b
    rss = residual @ inverse @ residual + b @ prior @ b
    log_lik = -0.5 * (np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1] + rss)
    # period effects given the coefficients: E = rho^2 Q'V^-1 (y - flat b)
    gain = rho**2 * Q.T @ inverse
    period_mean = gain @ residual
    cov = np.linalg.inv(A)
    period_cov = rho**2 * np.eye(Q.shape[1]) - gain @ Q * rho**2
    period_cov += gain @ flat @ cov @ flat.T @ gain.T
    cross = -cov @ flat.T @ gain.T
    return log_lik, np.r_[b, period_mean], np.block([[cov, cross], [cross.T, period_cov]])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("effect_precision", [0.0, 4.0])
def test_likelihood_and_coefficients(name, effect_precision):
    panel = _panel(SHAPES[name])
    sums = panel_sums(panel)
    fast = log_likelihood(sums, POINTS, effect_precision)
    mean, cov = coefficient_moments(sums, POINTS, effect_precision)
    slow = [_dense(panel, point, effect_precision) for point in POINTS]
    expected = np.array([log for log, _, _ in slow])
    # the last point's V is close to singular in the period's part: both lose digits there
    np.testing.assert_allclose(fast - fast[0], expected - expected[0], rtol=1e-8, atol=1e-8)
    for i, (_, b, b_cov) in enumerate(slow):
        np.testing.assert_allclose(mean[i], b, atol=1e-7)
        np.testing.assert_allclose(cov[i], b_cov, atol=1e-7)


@pytest.mark.parametrize("name", ["unbalanced", "clusters of one"])
def test_the_maps_to_sds_keep_volume(name):
    x = np.array([0.3, -0.7, 0.2, -1.0])
    step = 1e-6
    for posterior in SdPosterior(panel_sums(_panel(SHAPES[name])), scaled_priors()).variants:
        np.testing.assert_allclose(posterior.coordinates(posterior.sds(x[None]))[0], x, atol=1e-12)
        ends = np.concatenate([x + step * np.eye(4), x - step * np.eye(4)])
        logs = np.log(posterior.sds(ends))
        columns = (logs[:4] - logs[4:]) / (2 * step)
        expected = 0.25 if posterior.nested else 0.5
        assert abs(abs(np.linalg.det(columns)) - expected) < 1e-6


def test_raw_priors_in_score_units():
    """The density of sd / s under a prior in raw units is s times the raw density."""
    s, sd = 26.0, np.array([[9.0, 20.0, 8.0, 2.0]])
    raw = study_priors().log_density(sd)
    scaled = study_priors().in_units(s).log_density(sd / s)
    np.testing.assert_allclose(scaled, raw + 4 * np.log(s))


def test_far_from_the_data_the_density_is_nil_not_broken():
    """A noise sd of 1e-12 leaves no digits, but the scores rule it out; 1e100 is ruled out too."""
    posterior = SdPosterior(panel_sums(_panel(SHAPES["unbalanced"])), scaled_priors())
    far = np.array([[0.4, 0.8, 1e-12, 0.2], [0.4, 1e-30, 1e-20, 3.0], [1e100, 0.8, 0.5, 0.2]])
    values = posterior.log_density(posterior.coordinates(far))
    assert not np.isnan(values).any()
    assert (values < -1e10).all()


def test_within_residual_is_that_of_least_squares():
    for shape in SHAPES.values():
        panel = _panel(shape)
        columns = [(codes[:, None] == np.arange(codes.max() + 1)).astype(float)
                   for codes in (panel.unit, panel.arm, panel.period)]  # fmt: skip
        X = np.hstack(columns)
        y = (panel.score - panel.score.mean()) / panel.score.std()
        residual = y - X @ np.linalg.lstsq(X, y, rcond=1e-10)[0]
        expected = residual @ residual
        np.testing.assert_allclose(panel_sums(panel).within_residual, expected, atol=1e-9)
