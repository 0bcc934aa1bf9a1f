"""CR2, HC2 and Satterthwaite degrees of freedom against dense textbook matrices.

The slow implementation has one dummy a stratum, the whole hat matrix, a matrix root for each
cluster, and one vector as long as the data for each cluster (Pustejovsky and Tipton 2018).
"""

import numpy as np
import pytest

from wavewise.estimate.effects.ate import ate


def dense(
    y, arm, arms, *, strata=None, covariates=None, cluster=None, weights=None, interact=True,
    working_model="identity",
):  # fmt: skip
    """Effects, CR2 covariance, and a function from weights to degrees of freedom.

    ``H = X (X'WX)^-1 X'W``, and variances Phi of the working model, the identity or one over the
    weights. ``A_g V_gg A_g' = Phi_g`` with ``V = (I - H) Phi (I - H)'`` (Pustejovsky and Tipton
    2018, equation 5), by the symmetric root in units of the working model's standard deviations.
    """
    n = len(y)
    w = np.ones(n) if weights is None else weights
    d = (arm[:, None] == np.array(arms[1:])).astype(float)
    blocks = [d]
    if covariates is not None:
        x = covariates - np.average(covariates, axis=0, weights=w)
        blocks.append(x)
        if interact:
            blocks += [x * d[:, [k]] for k in range(d.shape[1])]
    levels = [0] if strata is None else np.unique(strata)
    s = np.zeros(n) if strata is None else strata
    blocks.append((s[:, None] == np.array(levels)).astype(float))
    design = np.hstack(blocks)
    loading = w[:, None] * design @ np.linalg.inv(design.T @ (w[:, None] * design))
    rest = np.eye(n) - design @ loading.T
    phi = np.ones(n) if working_model == "identity" else 1 / w
    groups = np.arange(n) if cluster is None else cluster
    k = d.shape[1]
    scores, vectors = [], []
    for g in np.unique(groups):
        member = groups == g
        root = np.sqrt(phi[member])
        block = (rest[member] * phi) @ rest[member].T / np.outer(root, root)
        values, turn = np.linalg.eigh(block)
        kept = values > 1e-10 * values.max()
        inv_root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
        adjust = ((turn * inv_root) @ turn.T) * root / root[:, None]
        adjusted = adjust @ loading[member][:, :k]
        scores.append(adjusted.T @ (rest @ y)[member])
        vectors.append((rest[member] * np.sqrt(phi)).T @ adjusted)

    def df(weights_of_effects):
        p = np.column_stack([vector @ weights_of_effects for vector in vectors])
        gram = p.T @ p
        return np.trace(gram) ** 2 / (gram**2).sum()

    scores = np.array(scores)
    return loading.T[:k] @ y, scores.T @ scores, df


def draw(case, seed=0, n=96):
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 6, n)
    cluster = {
        "none": None,
        "within strata": strata * 100 + rng.integers(0, 8, n),
        "across strata": rng.integers(0, 14, n),
        "few large": rng.integers(0, 3, n),
        "whole strata": np.where(strata < 2, strata, 10 * strata + rng.integers(0, 7, n)),
    }[case]
    arms = np.array(["control", "a", "b", "c"])
    if case == "within strata":  # each cluster in one arm
        of_cluster = dict(zip(np.unique(cluster), rng.integers(0, 4, 100), strict=False))
        arm = arms[[of_cluster[c] for c in cluster]]
    else:
        arm = arms[rng.integers(0, 4, n)]
    x = rng.normal(3, 2, (n, 2))
    y = rng.normal(size=n) + (arm == "a") + 0.3 * strata + x[:, 0] * (arm == "b")
    return {"y": y, "arm": arm, "strata": strata, "cluster": cluster, "x": x, "rng": rng}


CASES = ["none", "within strata", "across strata", "few large", "whole strata"]


@pytest.mark.parametrize("use_strata", [False, True])
@pytest.mark.parametrize("extra", ["none", "lin", "additive", "identity", "inverse-weights"])
@pytest.mark.parametrize("case", CASES)
def test_effects_covariance_and_degrees_of_freedom(case, extra, use_strata):
    d = draw(case)
    options = {"strata": d["strata"] if use_strata else None, "cluster": d["cluster"]}
    if extra in {"lin", "additive"}:
        options |= {"covariates": d["x"], "interact": extra == "lin"}
    if extra in {"identity", "inverse-weights"}:
        options |= {"weights": d["rng"].uniform(0.5, 3, len(d["y"])), "working_model": extra}
    arms = ["control", "a", "b", "c"]
    effects, cov, df = dense(d["y"], d["arm"], arms, **options)
    result = ate(d["y"], d["arm"], **options)
    assert result.se == ("HC2" if case == "none" else "CR2")
    if result.not_estimable:
        pytest.fail(str(result.not_estimable))
    np.testing.assert_allclose(result.estimate, effects, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(result.cov, cov, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(result.df, [df(row) for row in np.eye(3)], rtol=1e-7)
    contrast = result.contrast({"a": 1, "b": -0.4, "c": -0.6})
    weights = np.array([1, -0.4, -0.6])
    np.testing.assert_allclose(contrast.std_error, np.sqrt(weights @ cov @ weights), rtol=1e-8)
    np.testing.assert_allclose(contrast.df, df(weights), rtol=1e-7)


def test_large_clusters_by_low_rank_equal_dense_blocks():
    """Clusters of 150 rows take the low-rank path."""
    rng = np.random.default_rng(5)
    n = 600
    cluster, strata = rng.integers(0, 4, n), rng.integers(0, 3, n)
    arm = np.array(["control", "a"])[rng.integers(0, 2, n)]
    x = rng.normal(size=n)
    y = rng.normal(size=n) + x
    effects, cov, df = dense(
        y, arm, ["control", "a"], strata=strata, cluster=cluster, covariates=x[:, None]
    )
    result = ate(y, arm, strata=strata, cluster=cluster, covariates=x)
    np.testing.assert_allclose(result.estimate, effects, rtol=1e-9)
    np.testing.assert_allclose(result.cov, cov, rtol=1e-7)
    np.testing.assert_allclose(result.df, [df(np.ones(1))], rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True], ids=["no weights", "weights"])
@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_arm_means(clustered, weighted):
    """Means are the regression on arm indicators without an intercept."""
    d = draw("across strata")
    n = len(d["y"])
    groups = d["cluster"] if clustered else np.arange(n)
    w = d["rng"].uniform(0.3, 4, n) if weighted else np.ones(n)
    options = {"cluster": groups if clustered else None, "weights": w if weighted else None}
    result = ate(d["y"], d["arm"], **options)
    design = (d["arm"][:, None] == np.array(result.arms)).astype(float)
    loading = w[:, None] * design / (w @ design)
    rest = np.eye(n) - design @ loading.T
    scores, vectors = [], []
    for g in np.unique(groups):
        m = groups == g
        values, turn = np.linalg.eigh(rest[m] @ rest[m].T)
        adjusted = turn @ ((turn.T @ loading[m]) / np.sqrt(values)[:, None])
        scores.append(adjusted.T @ (rest @ d["y"])[m])
        vectors.append(rest[m].T @ adjusted)
    scores, vectors = np.array(scores), np.array(vectors)
    means = [result._mean(k) for k in range(4)]
    np.testing.assert_allclose([m.estimate for m in means], loading.T @ d["y"], rtol=1e-12)
    expected = np.sqrt((scores**2).sum(axis=0))
    np.testing.assert_allclose([m.std_error for m in means], expected, rtol=1e-9)
    for k, mean in enumerate(means):
        gram = vectors[:, :, k] @ vectors[:, :, k].T
        assert mean.df == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum(), rel=1e-8)
