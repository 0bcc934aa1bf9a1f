"""The balance check, against statsmodels, against brute force, and its size."""

import itertools
import json

import numpy as np
import polars as pl
import pytest
from scipy.special import bdtr, bdtrc

from wavewise.errors import InputError
from wavewise.randomize import assign, balance
from wavewise.randomize.balance_check import f_test, moments


def made(n=300, n_arms=4, seed=0):
    """Covariates, arms and strata without any relation."""
    rng = np.random.default_rng(seed)
    covariates = pl.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "visits": rng.poisson(2, n),
            "town": rng.choice(["a", "b", "c"], n),
        }
    )
    return (
        covariates,
        np.array([f"arm{k}" for k in rng.integers(0, n_arms, n)]),
        rng.integers(0, 9, n),
    )


def row(check, name):
    return next(row for row in check.table if row["covariate"] == name)


# --- against other packages ---


@pytest.mark.parametrize("name", ["age", "visits"])
def test_one_covariate_in_one_stratum_is_the_ols_f_test(name):
    import statsmodels.api as sm

    covariates, arm, _ = made()
    dummies = (arm[:, None] == np.unique(arm)[None, 1:]).astype(float)
    peer = sm.OLS(covariates[name].to_numpy().astype(float), sm.add_constant(dummies)).fit()
    ours = row(balance(covariates, arm), name)
    assert ours["f_statistic"] == pytest.approx(peer.fvalue, rel=1e-10)
    assert ours["p_value"] == pytest.approx(peer.f_pvalue, rel=1e-10)
    assert (ours["df_contrasts"], ours["df_residual"]) == (peer.df_model, peer.df_resid)


@pytest.mark.parametrize("n_arms", [2, 3, 6])
def test_all_covariates_in_one_stratum_are_pillais_test(n_arms):
    from statsmodels.multivariate.manova import MANOVA

    covariates, arm, _ = made(n_arms=n_arms)
    town = covariates["town"].to_numpy()
    y = np.column_stack([covariates["age"], covariates["visits"], town == "a", town == "b"])
    x = (arm[:, None] == np.unique(arm)[None, :]).astype(float)
    contrast = np.eye(n_arms)[1:] - np.eye(n_arms)[:1]
    test = MANOVA(y.astype(float), x).mv_test([("arms", contrast)])
    peer = test.results["arms"]["stat"].loc["Pillai's trace"]
    ours = row(balance(covariates, arm), "all covariates together")
    assert ours["f_statistic"] == pytest.approx(float(peer["F Value"]), rel=1e-8)
    assert ours["p_value"] == pytest.approx(float(peer["Pr > F"]), rel=1e-8)
    assert ours["df_contrasts"] == float(peer["Num DF"])
    assert ours["df_residual"] == float(peer["Den DF"])


def test_equal_strata_come_near_the_ols_f_test_with_strata_effects():
    import statsmodels.api as sm

    rng = np.random.default_rng(2)
    stratum = np.repeat(np.arange(100), 20)
    arm = np.array(assign(range(2000), stratum, {"a": 0.3, "b": 0.3, "c": 0.4}, rng).arm)
    age = rng.normal(size=2000) + stratum
    arms = (arm[:, None] == np.array(["b", "c"])).astype(float)
    x = np.hstack([arms, stratum[:, None] == np.arange(100)])
    peer = sm.OLS(age, x.astype(float)).fit().f_test(np.eye(2, 102))
    ours = row(balance({"age": age}, arm, strata=stratum), "age")
    assert ours["f_statistic"] == pytest.approx(float(peer.fvalue), rel=0.1)


def test_standardized_differences_are_those_of_adjusted_means():
    import statsmodels.api as sm

    covariates, arm, strata = made()
    names = np.unique(arm)
    x = np.hstack([arm[:, None] == names[None, 1:], strata[:, None] == np.unique(strata)])
    age = covariates["age"].to_numpy()
    beta = np.append(0.0, sm.OLS(age, x.astype(float)).fit().params[: names.size - 1])
    within = sm.OLS(age, (arm[:, None] == names).astype(float)).fit()
    largest = (beta.max() - beta.min()) / np.sqrt(within.mse_resid)
    ours = row(balance(covariates, arm, strata=strata), "age")
    assert ours["max_std_difference"] == pytest.approx(largest, rel=1e-9)
    assert ours["arms"] == f"{names[beta.argmax()]} - {names[beta.argmin()]}"


# --- by brute force ---


def test_covariance_is_that_of_all_arrangements():
    # Strata of 4 and 3 rows: 12 x 6 arrangements, each equally likely.
    rng = np.random.default_rng(3)
    stratum = np.array([0, 0, 0, 0, 1, 1, 1])
    arm = np.array([0, 1, 1, 2, 0, 1, 2])
    columns = rng.normal(size=(7, 2))
    for s in (0, 1):
        columns[stratum == s] -= columns[stratum == s].mean(axis=0)
    moment = moments(columns, arm, stratum)
    first = sorted(set(itertools.permutations(arm[:4].tolist())))
    second = sorted(set(itertools.permutations(arm[4:].tolist())))
    totals = []
    for a, b in itertools.product(first, second):
        drawn = np.array(a + b)
        totals.append(np.concatenate([columns[drawn == k].sum(axis=0) for k in (0, 1)]))
    assert len(totals) == 72
    np.testing.assert_allclose(np.mean(totals, axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(
        np.cov(np.array(totals).T, bias=True), moment.covariance.reshape(4, 4), atol=1e-13
    )
    assert moment.df == 5
    assert moment.arm_rank == 2


def test_clusters_are_what_is_shuffled():
    # Units of a cluster that are copies of one row tell no more than the row alone.
    rng = np.random.default_rng(4)
    age, arm = rng.normal(size=40), np.array(["a", "b"] * 20)
    twice = np.repeat(np.arange(40), 2)
    alone = row(balance({"age": age}, arm), "age")
    copied = row(balance({"age": age[twice]}, arm[twice], cluster=twice), "age")
    ignored = row(balance({"age": age[twice]}, arm[twice]), "age")
    assert copied["p_value"] == pytest.approx(alone["p_value"], rel=1e-10)
    assert ignored["p_value"] < alone["p_value"]


# --- invariance ---


def test_order_of_rows_and_units_of_measure_do_not_matter():
    covariates, arm, strata = made()
    order = np.random.default_rng(1).permutation(arm.size)
    a = balance(covariates, arm, strata=strata)
    b = balance(
        covariates[order].with_columns(age=pl.col("age") * 1e6 + 1e3),
        arm[order],
        strata=strata[order],
    )
    for x, y in zip(a.table, b.table, strict=True):
        assert x["p_value"] == pytest.approx(y["p_value"], rel=1e-8)
    for x, y in zip(a.table[1:], b.table[1:], strict=True):
        assert x["max_std_difference"] == pytest.approx(y["max_std_difference"], rel=1e-8)


def test_collinear_columns_are_counted_once():
    covariates, arm, _ = made()
    doubled = covariates.with_columns(born=2020 - pl.col("age"))
    a, b = balance(covariates, arm), balance(doubled, arm)
    assert a.table[0]["df_contrasts"] == b.table[0]["df_contrasts"]
    assert a.table[0]["p_value"] == pytest.approx(b.table[0]["p_value"], rel=1e-8)


# --- verdicts ---


def test_randomized_covariates_pass_and_state_their_scope():
    covariates, arm, strata = made()
    check = balance(covariates, arm, strata=strata)
    assert check.passed
    assert check.scope == "all 4 arms, 300 units, 9 strata, 3 covariates"
    json.dumps(check.to_dict())


def test_imbalance_of_the_last_arm_alone_fails():
    covariates, arm, _ = made()
    shifted = covariates.with_columns(
        age=pl.col("age") + 15 * pl.Series((arm == "arm3").astype(int))
    )
    check = balance(shifted, arm)
    assert check.passed is False
    assert "age: arm3 - " in check.text


def test_missing_values_that_depend_on_the_arm_fail():
    covariates, arm, _ = made()
    age = np.where(
        (arm == "arm1") & (np.arange(300) % 2 == 0), np.nan, covariates["age"].to_numpy()
    )
    check = balance({"age": age}, arm)
    assert row(check, "age (missing)")["p_value"] < 1e-6
    assert check.passed is False


def test_covariates_that_cannot_be_tested_are_listed():
    covariates, arm, strata = made()
    check = balance(
        covariates.with_columns(one=pl.lit(1), school=pl.Series(strata)), arm, strata=strata
    )
    assert row(check, "one")["note"] == "not tested: constant"
    assert row(check, "one")["p_value"] is None
    assert "does not vary within strata" in row(check, "school")["note"]
    assert check.passed


def test_arms_that_share_no_stratum_are_not_compared():
    rng = np.random.default_rng(0)
    arm = np.array(["a", "b"] * 50 + ["c", "d"] * 50)
    strata = [0] * 100 + [1] * 100
    age = rng.normal(size=200) + 100 * np.array(strata)
    check = balance({"age": age}, arm, strata=strata)
    assert check.table[0]["df_contrasts"] == 2
    assert set(row(check, "age")["arms"].split(" - ")) in ({"a", "b"}, {"c", "d"})


NO_VERDICT = {
    "one arm": (np.arange(9.0), ["a"] * 9, None, "one arm"),
    "nothing varies": (np.ones(9), ["a", "b", "c"] * 3, None, "no covariate varies"),
    "strata of one": (np.arange(4.0), list("abab"), [1, 2, 3, 4], "no covariate varies"),
    "too many": (np.random.default_rng(0).normal(size=(12, 8)), ["a", "b"] * 6, None, "too many"),
}


@pytest.mark.parametrize("name", NO_VERDICT)
def test_no_verdict_says_why(name):
    covariates, arm, strata, why = NO_VERDICT[name]
    check = balance(covariates, arm, strata=strata)
    assert check.passed is None
    assert why in check.text


def test_bad_input_is_named():
    age = {"age": [1.0, 2.0, 3.0, 4.0]}
    with pytest.raises(InputError, match="2 clusters with units in more than one arm"):
        balance(age, list("abab"), cluster=[1, 1, 2, 2])
    with pytest.raises(InputError, match="more than one stratum"):
        balance(age, list("aabb"), strata=[1, 2, 1, 1], cluster=[1, 1, 2, 2])
    with pytest.raises(InputError, match="found no units"):
        balance(age, [])
    with pytest.raises(InputError, match="found 4 rows for 3 units"):
        balance(age, list("aba"))
    with pytest.raises(InputError, match="size"):
        balance(age, list("abab"), size=1)


# --- size under repeated randomization ---


def rejections(n_times, level, draw):
    """How often each p-value is below the level, over repeated randomization."""
    return sum(draw(seed) < level for seed in range(n_times))


def credible(hits, n_times, level):
    """Whether that many rejections are credible at a true size of the level."""
    return min(bdtr(hits, n_times, level), bdtrc(hits - 1, n_times, level)) > 1e-4


def study(stratum, cluster_size, n_columns, skewed):
    """P-value of the joint test of one new draw, for fixed covariates."""
    rng = np.random.default_rng(77)
    n = stratum.size
    x = rng.normal(size=(n, n_columns))
    x = np.exp(x) if skewed else x
    cluster = np.arange(n) // cluster_size

    def draw(seed):
        a = assign(
            range(n), stratum, {"a": 0.25, "b": 0.25, "c": 0.5},
            np.random.default_rng(seed), cluster=cluster,
        )  # fmt: skip
        code = a.arm_code.astype(np.int64)
        centred = (
            x - np.stack([x[stratum == s].mean(axis=0) for s in range(stratum.max() + 1)])[stratum]
        )
        n_clusters = n // cluster_size
        sums = centred.reshape(n_clusters, cluster_size, -1).sum(axis=1)
        moment = moments(sums, code[::cluster_size], stratum[::cluster_size])
        return f_test(moment, np.arange(n_columns)).p_value

    return draw


SIZES = {
    "one stratum": (np.zeros(120, dtype=np.int64), 1, 2, False),
    "skewed": (np.zeros(200, dtype=np.int64), 1, 2, True),
    "small strata": (np.repeat(np.arange(30), 4), 1, 3, False),
    "clusters": (np.repeat(np.arange(5), 48), 3, 2, False),
}


@pytest.mark.parametrize("name", SIZES)
def test_size(name):
    draw = study(*SIZES[name])
    assert credible(rejections(600, 0.05, draw), 600, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_size_with_many_draws(name):
    # Skewed covariates make the approximation cautious: fewer false alarms, never more.
    draw, n_times = study(*SIZES[name]), 5_000
    p_values = np.array([draw(seed) for seed in range(n_times)])
    for level in (0.01, 0.05, 0.1):
        error = 4 * np.sqrt(level / n_times)
        size = (p_values < level).mean()
        assert size < level + error
        if name != "skewed":
            assert size > level - error


# --- real data ---


@pytest.mark.data
def test_get_out_the_vote_was_randomized_by_household(shared_data):
    import gzip

    path = shared_data / "gotv" / "GerberGreenLarimer_APSR_2008_social_pressure.csv.gz"
    data = pl.read_csv(gzip.decompress(path.read_bytes()), schema_overrides={"hh_id": pl.String})
    names = ["sex", "yob", "hh_size", "g2000", "g2002", "g2004", "p2000", "p2002", "p2004"]
    arm = data["treatment"].str.strip_chars()
    check = balance(data.select(names), arm, strata=data["cluster"], cluster=data["hh_id"])
    assert check.scope == (
        "all 5 arms, 344,084 units, 180,002 clusters, 10,000 strata, 9 covariates"
    )
    assert check.passed
    assert row(check, "g2004")["note"] == "not tested: constant"
    counts = dict(arm.value_counts().iter_rows())
    shares = {name: 1 / 9 for name in counts if name != "Control"} | {"Control": 5 / 9}
    assert sample_ratio_of_households(data, arm, shares).passed


def sample_ratio_of_households(data, arm, shares):
    from wavewise.randomize import sample_ratio

    households = pl.DataFrame({"hh": data["hh_id"], "arm": arm}).unique("hh")
    return sample_ratio(households["arm"], shares)


def test_covariates_far_from_zero_are_tested_by_their_differences() -> None:
    rng = np.random.default_rng(3)
    arm, far = rng.integers(0, 3, 500), 1e9 + 1e-5 * rng.normal(size=500)
    one, other = (balance({"x": x}, arm).table[1] for x in (far, (far - 1e9) * 1e5))
    assert one["p_value"] == pytest.approx(other["p_value"], rel=1e-6)
    assert one["max_std_difference"] == pytest.approx(other["max_std_difference"], rel=1e-6)
    last = balance({"x": 1e9 + 1e-7 * rng.normal(size=500)}, arm).table[1]
    assert last["note"] == "not tested: constant up to the last digit of the values"
