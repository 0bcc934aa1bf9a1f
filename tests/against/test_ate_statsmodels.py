"""Effects and standard errors against statsmodels and linearmodels, run live."""

import warnings

import numpy as np
import pytest

from wavewise.estimate.effects.ate import ate

with warnings.catch_warnings():  # the peers' imports warn about their own dependencies
    warnings.simplefilter("ignore")
    import pandas as pd
    import statsmodels.api as sm
    from linearmodels.iv.absorbing import AbsorbingLS

ARMS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    n = 400
    strata = rng.integers(0, 12, n)
    arm = np.array(["control", *ARMS])[rng.integers(0, 4, n)]
    x = rng.normal(5, 2, (n, 2))
    y = rng.normal(size=n) * (1 + (arm == "a")) + 0.4 * (arm == "b") + x[:, 0] + 0.2 * strata
    return {
        "y": y,
        "arm": arm,
        "strata": strata,
        "x": x,
        "cluster": rng.integers(0, 60, n),
        "d": (arm[:, None] == np.array(ARMS)).astype(float),
        "dummies": (strata[:, None] == np.arange(12)).astype(float),
        "weights": rng.uniform(0.2, 4, n),
    }


def peer(data, columns, kind, weights=None, **options):
    model = sm.OLS(data["y"], columns) if weights is None else sm.WLS(data["y"], columns, weights)
    fit = model.fit(cov_type=kind, **options)
    return fit.params[:3], fit.bse[:3], fit.cov_params()[:3, :3]


def agree(result, expected):
    np.testing.assert_allclose(result.estimate, expected[0], rtol=1e-9)
    np.testing.assert_allclose(result.std_error, expected[1], rtol=1e-8)
    np.testing.assert_allclose(result.cov, expected[2], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
class TestUnits:
    def test_difference_in_means(self, data, kind):
        result = ate(data["y"], data["arm"], se=kind)
        agree(result, peer(data, sm.add_constant(data["d"], prepend=False), kind))

    def test_strata_effects_as_dummies(self, data, kind):
        result = ate(data["y"], data["arm"], strata=data["strata"], se=kind)
        agree(result, peer(data, np.hstack([data["d"], data["dummies"]]), kind))

    def test_interacted_covariates(self, data, kind):
        """Lin (2013): explicit products with the centred covariates."""
        x = data["x"] - data["x"].mean(axis=0)
        products = [x * data["d"][:, [k]] for k in range(3)]
        columns = np.hstack([data["d"], x, *products, data["dummies"]])
        options = {"strata": data["strata"], "covariates": data["x"], "se": kind}
        agree(ate(data["y"], data["arm"], **options), peer(data, columns, kind))

    def test_additive_covariates(self, data, kind):
        columns = sm.add_constant(np.hstack([data["d"], data["x"]]), prepend=False)
        result = ate(data["y"], data["arm"], covariates=data["x"], interact=False, se=kind)
        agree(result, peer(data, columns, kind))

    def test_weights(self, data, kind):
        columns = np.hstack([data["d"], data["dummies"]])
        options = {"strata": data["strata"], "weights": data["weights"], "se": kind}
        options |= {"working_model": "inverse-weights"}  # as its HC2 has it
        agree(ate(data["y"], data["arm"], **options), peer(data, columns, kind, data["weights"]))


class TestClusters:
    def test_cr1(self, data):
        columns = sm.add_constant(data["d"], prepend=False)
        expected = peer(data, columns, "cluster", cov_kwds={"groups": data["cluster"]})
        agree(ate(data["y"], data["arm"], cluster=data["cluster"], se="CR1"), expected)

    def test_cr1_leaves_strata_effects_uncounted(self, data):
        """CR1 equals statsmodels on the data less their stratum means (with an intercept)."""
        frame = pd.DataFrame(np.column_stack([data["y"], data["d"]]))
        within = frame - frame.groupby(data["strata"]).transform("mean")
        columns = sm.add_constant(within[[1, 2, 3]].to_numpy(), prepend=False)
        fit = sm.OLS(within[0].to_numpy(), columns).fit(
            cov_type="cluster", cov_kwds={"groups": data["cluster"]}
        )
        options = {"strata": data["strata"], "cluster": data["cluster"], "se": "CR1"}
        result = ate(data["y"], data["arm"], **options)
        np.testing.assert_allclose(result.std_error, fit.bse[:3], rtol=1e-8)

    def test_cr1s_counts_strata_effects(self, data):
        columns = np.hstack([data["d"], data["dummies"]])
        expected = peer(data, columns, "cluster", cov_kwds={"groups": data["cluster"]})
        options = {"strata": data["strata"], "cluster": data["cluster"], "se": "CR1S"}
        agree(ate(data["y"], data["arm"], **options), expected)

    def test_many_strata_against_absorbing_least_squares(self):
        rng = np.random.default_rng(2)
        n, strata = 6000, rng.integers(0, 900, 6000)
        arm = np.array(["control", *ARMS])[rng.integers(0, 4, n)]
        y = rng.normal(size=n) + strata / 100 + 0.3 * (arm == "a")
        cluster = strata * 7 + rng.integers(0, 3, n)
        d = pd.DataFrame({a: (arm == a).astype(float) for a in ARMS})
        absorb = pd.DataFrame({"s": pd.Categorical(strata)})
        fit = AbsorbingLS(y, d, absorb=absorb).fit(
            cov_type="clustered", clusters=cluster, debiased=False
        )
        result = ate(y, arm, strata=strata, cluster=cluster, se="CR1")
        np.testing.assert_allclose(result.estimate, fit.params.to_numpy(), rtol=1e-7)
        n_clusters = len(np.unique(cluster))
        factor = n_clusters / (n_clusters - 1) * (n - 1) / (n - 4)
        # the peer gives no factor with debiased=False, and solves by iteration
        bare = result.std_error / np.sqrt(factor)
        np.testing.assert_allclose(fit.std_errors.to_numpy(), bare, rtol=1e-5)


def test_welch_degrees_of_freedom(data):
    """Two arms under HC2: the estimate's variance is Welch's, the degrees of freedom are exact
    under equal variances."""
    n = {arm: int((data["arm"] == arm).sum()) for arm in ("a", "control")}
    keep = np.isin(data["arm"], ["a", "control"])
    result = ate(data["y"][keep], data["arm"][keep])
    parts = [1 / (m**2 * (m - 1)) for m in n.values()]
    assert result.df[0] == pytest.approx((sum(1 / m for m in n.values())) ** 2 / sum(parts))
    spread = [data["y"][data["arm"] == arm].var(ddof=1) / m for arm, m in n.items()]
    assert result.std_error[0] == pytest.approx(np.sqrt(sum(spread)))
