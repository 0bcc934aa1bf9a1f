"""Small-sample sandwiches against dense matrices, against `ate`, and against leaving units out."""

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError
from wavewise.estimate.adaptive.weighted_m import small_sample_sandwich

C = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 1, 0], [-1, 0, 1]])


def study(clustered, n=45, seed=6):
    rng = np.random.default_rng(seed)
    arm, x = rng.integers(0, 3, n), rng.normal(size=n)
    y = rng.normal(size=n) * (1 + arm) + x
    group = rng.integers(0, 9, n) if clustered else None
    return y, arm, rng.uniform(0.05, 0.9, n), x, group


def dense(design, weight, slope, residual, groups, power):
    """Covariance and degrees of freedom from (n, n) matrices, as the equations are printed."""
    n = residual.size
    groups = np.arange(n) if groups is None else groups
    inverse = np.linalg.inv(design.T @ np.diag(weight * slope) @ design)
    root = np.diag(slope**0.5)
    hat = root @ design @ inverse @ design.T @ np.diag(weight) @ root
    rest = np.eye(n) - hat
    variance = rest @ rest.T
    plain = inverse @ design.T @ np.diag(weight) @ root
    e = residual / slope**0.5
    terms, loads = [], []
    for g in np.unique(groups):
        rows = np.flatnonzero(groups == g)
        block = np.ix_(rows, rows)
        if power == "hc3-t":
            change = np.linalg.inv(rest[block])
        else:
            values, vectors = np.linalg.eigh(variance[block])
            change = vectors @ np.diag(values**-0.5) @ vectors.T
        load = np.zeros((plain.shape[0], n))
        load[:, rows] = plain[:, rows] @ change
        terms.append(load @ e)
        loads.append(load @ rest)
    terms = np.array(terms)

    def df(weights):
        p = np.array([weights @ load for load in loads])
        gram = p @ p.T
        return np.trace(gram) ** 2 / (gram**2).sum()

    return terms.T @ terms, df


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("kind", ["hc2-t", "hc3-t"])
@pytest.mark.parametrize("family", ["mean", "odds"])
def test_against_dense_matrices(kind, clustered, family):
    y, arm, p, x, group = study(clustered)
    design = np.column_stack([arm == 0, arm == 1, arm == 2, x]).astype(float)
    slope = np.ones(y.size) if family == "mean" else np.random.default_rng(1).uniform(1, 3, y.size)
    found = small_sample_sandwich(design, p**-0.5, slope, y, group, kind)
    cov, df = dense(design, p**-0.5, slope, y, group, kind)
    assert np.allclose(found.cov, cov, rtol=1e-8)
    for row in C:
        weights = np.append(row, 0.0)
        assert found.df(weights) == pytest.approx(df(weights), rel=1e-8)


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_without_weights_it_is_the_one_of_ate(clustered):
    """HC2, or CR2 over clusters, and Satterthwaite's degrees of freedom."""
    y, arm, p, _, group = study(clustered)
    found = ww.estimate.weighted_m(
        y, arm, p, stabilizer="none", cluster=group, small_sample="hc2-t"
    )
    known = ww.estimate.ate(
        y, arm, control=0, cluster=group, se="CR2" if clustered else "HC2"
    )  # fmt: skip
    assert np.allclose(found.std_error[3:], known.std_error, rtol=1e-10)
    assert np.allclose(found.df[3:], known.df, rtol=1e-8)
    assert np.allclose(found.conf_int()[3:], known.conf_int(), rtol=1e-8)


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_hc3_is_the_jackknife(clustered):
    y, arm, p, _, group = study(clustered)
    found = ww.estimate.weighted_m(y, arm, p, cluster=group, small_sample="hc3-t")
    left_out = np.arange(y.size) if group is None else group
    total = np.zeros((3, 3))
    for g in np.unique(left_out):
        kept = left_out != g
        part = ww.estimate.weighted_m(y[kept], arm[kept], p[kept], arms=[0, 1, 2])
        change = part.arm_estimate - found.arm_estimate
        total += np.outer(change, change)
    assert np.allclose(found.arm_cov, total, rtol=1e-9, atol=1e-15)


def test_one_mean_of_equal_weights_is_students():
    """Two arms with equal shares: the textbook interval of each mean."""
    from scipy.stats import t

    rng = np.random.default_rng(3)
    arm, y = np.repeat([0, 1], [6, 9]), rng.normal(size=15)
    found = ww.estimate.weighted_m(y, arm, np.full(15, 0.5), small_sample="hc2-t")
    for k in (0, 1):
        own = y[arm == k]
        known = t.interval(0.95, own.size - 1, own.mean(), own.std(ddof=1) / own.size**0.5)
        assert np.allclose(found.conf_int()[k], known)
    assert found.df[:2] == pytest.approx([5, 8])


def test_corrections_vanish_in_large_samples():
    y, arm, p, _, _ = study(False, n=60_000)
    plain = ww.estimate.weighted_m(y, arm, p)
    for kind in ("hc2-t", "hc3-t"):
        found = ww.estimate.weighted_m(y, arm, p, small_sample=kind)
        assert np.allclose(found.conf_int(), plain.conf_int(), rtol=3e-4)
        assert found.se.startswith("sandwich, HC")


def test_arm_of_one_unit_has_a_reason_and_unknown_names_are_refused():
    y, arm, p = [1.0, 2, 4, 3, 5, 9], [0, 0, 0, 1, 1, 2], np.full(6, 0.3)
    for kind in ("hc2-t", "hc3-t"):
        found = ww.estimate.weighted_m(y, arm, p, small_sample=kind)
        assert "fitted exactly" in found.not_estimable["2"].reason
        assert np.isfinite(found["1 - 0"].std_error)
        assert np.isnan(found.df[[2, 4]]).all()
    with pytest.raises(InputError, match="small_sample"):
        ww.estimate.weighted_m(y, arm, p, small_sample="hc4")


def test_own_contrast_takes_the_least_degrees_of_freedom():
    y, arm, p, _, _ = study(False)
    found = ww.estimate.weighted_m(y, arm, p, small_sample="hc2-t")
    assert found.contrast({"1": 1, "0": -1}).df == pytest.approx(found.df[:2].min())
