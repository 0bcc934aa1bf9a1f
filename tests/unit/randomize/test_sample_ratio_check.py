"""The sample ratio check, against scipy's chi-square and by hand."""

import numpy as np
import pytest
from scipy.special import chdtrc

from wavewise.errors import InputError
from wavewise.randomize import assign, sample_ratio
from wavewise.randomize.sample_ratio_check import _wald

SHARES = {"control": 0.5, "peers": 0.3, "teacher": 0.2}


def arms(*counts):
    return [name for name, n in zip(SHARES, counts, strict=True) for _ in range(n)]


def test_statistic_is_pearsons():
    from scipy.stats import chisquare

    counts = np.array([480, 330, 190])
    expected = 1000 * np.array(list(SHARES.values()))
    statistic, df = _wald(counts[None, :], np.array([list(SHARES.values())]), expected)
    peer = chisquare(counts, expected)
    assert statistic == pytest.approx(peer.statistic, rel=1e-12)
    assert df == 2
    check = sample_ratio(arms(*counts), SHARES)
    assert f"p = {peer.pvalue:.4g}" in check.text
    assert f"chi-square(2) = {peer.statistic:.2f}" in check.text


def test_common_shares_give_the_same_with_and_without_strata():
    arm = arms(520, 290, 190)
    strata = np.arange(1000) % 7
    assert sample_ratio(arm, SHARES).text == sample_ratio(arm, SHARES, strata=strata).text


def test_shares_by_stratum_with_two_arms_by_hand():
    # Two arms: z = (O - E) / sqrt(sum of n q (1 - q)).
    shares = {"x": {"a": 0.5, "b": 0.5}, "y": {"a": 0.2, "b": 0.8}}
    arm = ["a"] * 60 + ["b"] * 40 + ["a"] * 50 + ["b"] * 150
    strata = ["x"] * 100 + ["y"] * 200
    z2 = (110 - 90) ** 2 / (100 * 0.25 + 200 * 0.16)
    check = sample_ratio(arm, shares, strata=strata)
    assert f"chi-square(1) = {z2:.2f}, p = {chdtrc(1, z2):.4g}" in check.text


def test_strata_with_separate_arms_lose_a_degree_of_freedom():
    shares = {"x": {"a": 0.5, "b": 0.5}, "y": {"c": 0.5, "d": 0.5}}
    arm = ["a"] * 50 + ["b"] * 50 + ["c"] * 40 + ["d"] * 60
    check = sample_ratio(arm, shares, strata=["x"] * 100 + ["y"] * 100)
    assert "chi-square(2) = 4.00" in check.text


def test_exact_assignment_passes():
    strata = np.arange(5000) % 300
    a = assign(range(5000), strata, SHARES, np.random.default_rng(0))
    check = sample_ratio(a.arm, SHARES, strata=strata)
    assert check.passed
    assert check.scope == "all 3 arms, 5,000 units, 300 strata"
    assert [abs(row["difference"]) < 1 for row in check.table] == [True] * 3


def test_units_lost_from_one_arm_fail():
    check = sample_ratio(arms(5000, 3000, 1700), SHARES)
    assert check.passed is False
    assert check.text.startswith("Counts do not fit the shares")


def test_the_third_arm_counts_too():
    # The first two arms are in the right ratio to each other.
    assert sample_ratio(arms(500, 300, 500), SHARES).passed is False


def test_units_in_an_arm_of_share_zero_fail():
    check = sample_ratio(["a"] * 500 + ["b"] * 500 + ["c"], {"a": 0.5, "b": 0.5, "c": 0.0})
    assert check.passed is False
    assert "share is 0: c (1)" in check.text


def test_units_in_an_arm_that_their_stratum_lacks_fail():
    shares = {"x": {"a": 1.0}, "y": {"a": 0.5, "b": 0.5}}
    arm = ["a"] * 99 + ["b"] + ["a"] * 50 + ["b"] * 50
    check = sample_ratio(arm, shares, strata=["x"] * 100 + ["y"] * 100)
    assert check.passed is False
    assert "b (1)" in check.text


def test_few_expected_units_give_no_verdict():
    check = sample_ratio(arms(10, 6, 4), SHARES)
    assert check.passed is None
    assert "teacher expects 4.0 units" in check.text


@pytest.mark.parametrize(
    ("arm", "shares", "strata"),
    [
        (["a"] * 9, {"a": 1.0}, None),
        (["a"] * 9 + ["b"] * 9, {"x": {"a": 1.0}, "y": {"b": 1.0}}, ["x"] * 9 + ["y"] * 9),
    ],
)
def test_nothing_to_test_gives_no_verdict(arm, shares, strata):
    check = sample_ratio(arm, shares, strata=strata)
    assert check.passed is None
    assert check.text.startswith("Inconclusive")


BAD = {
    "no units": (([], SHARES), "found no units"),
    "unknown arm": ((["contrl"] * 10, SHARES), r"1 arm\(s\) without a share \(contrl\)"),
    "lengths": ((["control"] * 10, SHARES, [1] * 9), "strata: found 9 labels for 10 units"),
    "sum": ((["control"] * 10, {"control": 0.9}), "a sum of 0.9"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    given, message = BAD[name]
    with pytest.raises(InputError, match=message):
        sample_ratio(*given[:2], strata=given[2] if len(given) > 2 else None)


@pytest.mark.parametrize("size", [0.0, 1.0, -1.0, float("nan")])
def test_size_is_a_probability(size):
    with pytest.raises(InputError, match="size: found"):
        sample_ratio(arms(50, 30, 20), SHARES, size=size)
