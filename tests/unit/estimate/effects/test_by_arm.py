"""The interacted regression arm by arm equals the regression of all arms at once."""

import numpy as np
import pytest

from wavewise.estimate.effects.by_arm import effects_by_arm
from wavewise.estimate.effects.covariance import corrected, precision, resolve_kind
from wavewise.estimate.effects.least_squares import collapse, fit_rows
from wavewise.estimate.effects.sample import comparable, read_sample


def draw(seed, *, missing=False, weighted=False, cluster=None):
    rng = np.random.default_rng(seed)
    n, share = 900, [0.4, 0.3, 0.2, 0.1]
    arm = rng.choice(np.array(["control", "a", "b", "c"], dtype=object), n, p=share)
    x = rng.normal(size=(n, 3)) * [1, 30, 0.01] + [0, 5000, 0]
    y = 100 + x[:, 0] + (arm == "a") + rng.normal(size=n) * (1 + (arm == "b"))
    y[rng.random(n) < 0.05] = np.nan
    if missing:
        x[rng.random(n) < 0.1, 0] = np.nan
    groups = rng.integers(0, 90, n)
    if cluster == "within arms":
        groups = np.array([f"{a} {g // 3}" for a, g in zip(arm, groups, strict=True)], dtype=object)
    return read_sample(
        y,
        arm,
        "control",
        strata=None,
        covariates=x,
        cluster=None if cluster is None else groups,
        weights=1 / rng.choice([0.1, 0.3, 0.6], n) if weighted else None,
        arms=["control", "a", "b", "c"],
        missing_covariates="indicator",
    )


def whole(sample, kind, model, df):
    rows = collapse(sample, interact=True)
    fit = fit_rows(rows)
    return fit.effects, precision(rows, fit, kind, corrected(rows, fit, kind, model), df)


@pytest.mark.parametrize("cluster", [None, "within arms", "across arms"])
@pytest.mark.parametrize("weighted", [False, True], ids=["no weights", "weights"])
@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("se", ["HC0", "HC1", "HC2", "HC3", "CR1S"])
def test_equals_the_whole_regression(cluster, weighted, missing, se):
    if se in {"HC3", "CR1S"} and (se == "HC3") == (cluster is not None):
        pytest.skip("kinds for units alone, and for clusters alone")
    kind = resolve_kind(se, cluster is not None)
    sample = comparable(draw(3, missing=missing, weighted=weighted, cluster=cluster))
    for model in ("identity", "inverse-weights"):
        for df in ("satterthwaite", "smaller-arm"):
            found = effects_by_arm(sample, kind, model, df)
            assert found is not None
            effects, expected = whole(sample, kind, model, df)
            np.testing.assert_allclose(found[0], effects, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(found[1].cov, expected.cov, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(found[1].floor, expected.floor, rtol=1e-10)
            for weights in (*np.eye(3), np.array([1, -0.4, -0.6]), np.array([0, 1, -1])):
                np.testing.assert_allclose(found[1].df(weights), expected.df(weights), rtol=1e-9)
                assert found[1].refusal(weights) == expected.refusal(weights)


def sample_of(y, arm, x, **options):
    given = {"strata": None, "cluster": None, "weights": None, "arms": None} | options
    sample = read_sample(y, arm, "control", covariates=x, missing_covariates="error", **given)
    return comparable(sample)


def test_what_is_left_to_the_whole_regression():
    rng = np.random.default_rng(0)
    n = 60
    arm, y = np.repeat(["control", "a"], n // 2), rng.normal(size=n)
    x = rng.normal(size=(n, 2))
    ask = ("HC2", "identity", "satterthwaite")
    assert effects_by_arm(sample_of(y, arm, x), *ask) is not None
    assert effects_by_arm(sample_of(y, arm, None), *ask) is None
    assert effects_by_arm(sample_of(y, arm, x, strata=np.arange(n) % 2), *ask) is None
    dependent = np.column_stack([x, x @ [1.0, 2.0] + 1e-9 * rng.normal(size=n)])
    assert effects_by_arm(sample_of(y, arm, dependent), *ask) is None
    constant = np.where(arm == "a", 1.0, x[:, 0])
    assert effects_by_arm(sample_of(y, arm, constant), *ask) is None
    few = np.array(["control"] * (n - 3) + ["a"] * 3)
    assert effects_by_arm(sample_of(y, few, x), *ask) is None


def test_a_unit_that_is_fitted_exactly_has_no_standard_error():
    rng = np.random.default_rng(0)
    n = 60
    arm, x = np.repeat(["control", "a", "b"], n // 3), rng.normal(size=(n, 2))
    x[:, 1] = 0.0
    x[[3, 25, 26, 45, 46], 1] = 1.0  # one unit of the control alone has it
    sample = sample_of(rng.normal(size=n), arm, x)
    found = effects_by_arm(sample, "HC2", "identity", "satterthwaite")
    expected = whole(sample, "HC2", "identity", "satterthwaite")[1]
    assert found is not None
    for weights in (np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, -1.0])):
        assert found[1].refusal(weights) == expected.refusal(weights)
    assert "leverage 1" in found[1].refusal(np.array([1.0, 0.0]))
