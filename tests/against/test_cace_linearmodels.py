"""Complier average causal effects, covariance and first stages against linearmodels, run live."""

import warnings

import numpy as np
import pytest

from wavewise.estimate.effects.instruments import cace

with warnings.catch_warnings():  # the peer's imports warn about their own dependencies
    warnings.simplefilter("ignore")
    import pandas as pd
    from linearmodels.iv import IV2SLS

ARMS = np.array(["control", "a", "b"])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    n = 900
    arm = ARMS[rng.integers(0, 3, n)]
    willing = rng.normal(size=n)
    dose = (arm != "control") * (willing > -0.3) * rng.integers(1, 4, n)
    strata = rng.integers(0, 8, n)
    x = rng.normal(size=(n, 2))
    y = 0.7 * dose + willing + x[:, 0] + 0.3 * strata + rng.normal(size=n) * (1 + (arm == "a"))
    return {
        "y": y, "arm": arm, "dose": dose.astype(float), "strata": strata, "x": x,
        "cluster": rng.integers(0, 70, n), "weights": rng.uniform(0.5, 3, n),
    }  # fmt: skip


def peer(data, exog, rows=slice(None), both=False, **fit):
    """The same regression by linearmodels, strata as dummies."""
    arm, dose = data["arm"][rows], data["dose"][rows]
    z = (arm[:, None] == ARMS[1:]).astype(float)[:, : 1 if both else 2]
    d = dose[:, None] if both else z * dose[:, None]
    named = {
        "dependent": pd.Series(data["y"][rows], name="y"),
        "exog": pd.DataFrame(exog[rows], columns=[f"c{i}" for i in range(exog.shape[1])]),
        "endog": pd.DataFrame(d, columns=[f"d{i}" for i in range(d.shape[1])]),
        "instruments": pd.DataFrame(z, columns=[f"z{i}" for i in range(z.shape[1])]),
    }
    weights = fit.pop("weights", None)
    found = IV2SLS(**named, weights=weights).fit(**fit)
    names = [f"d{i}" for i in range(d.shape[1])]
    return found.params[names].to_numpy(), found.cov.loc[names, names].to_numpy()


def agree(result, expected):
    np.testing.assert_allclose(result.estimate, expected[0], rtol=1e-9)
    np.testing.assert_allclose(result.cov, expected[1], rtol=1e-8, atol=1e-14)


def dummies(data):
    return (data["strata"][:, None] == np.arange(8)).astype(float)


def test_robust(data):
    exog = np.ones((900, 1))
    agree(
        cace(data["y"], data["arm"], data["dose"], se="HC1"),
        peer(data, exog, cov_type="robust", debiased=True),
    )


def test_strata_and_covariates(data):
    result = cace(
        data["y"], data["arm"], data["dose"], strata=data["strata"], covariates=data["x"], se="HC1"
    )
    exog = np.hstack([dummies(data), data["x"]])
    agree(result, peer(data, exog, cov_type="robust", debiased=True))


def test_weights(data):
    w = data["weights"]
    result = cace(data["y"], data["arm"], data["dose"], strata=data["strata"], weights=w, se="HC1")
    agree(result, peer(data, dummies(data), weights=w, cov_type="robust", debiased=True))


def test_clusters(data):
    result = cace(
        data["y"],
        data["arm"],
        data["dose"],
        strata=data["strata"],
        cluster=data["cluster"],
        se="CR1S",
    )
    params, cov = peer(
        data, dummies(data), cov_type="clustered", clusters=data["cluster"], debiased=False
    )
    n, k, g = 900, 8 + 2, 70
    agree(result, (params, cov * g / (g - 1) * (n - 1) / (n - k)))


def test_one_arm_and_a_control_that_receives_too(data):
    rng = np.random.default_rng(9)
    rows = data["arm"] != "b"
    crossed = {**data, "dose": data["dose"] + (data["arm"] == "control") * (rng.random(900) < 0.1)}
    result = cace(data["y"][rows], data["arm"][rows], crossed["dose"][rows], se="HC1")
    exog = np.ones((900, 1))
    agree(result, peer(crossed, exog, rows, both=True, cov_type="robust", debiased=True))
