"""Average effects: results, options and failures."""

import json
import pickle
import warnings

import numpy as np
import polars as pl
import pytest

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.results import Effects, pair_margins
from wavewise.shared.results import NotEstimable

COLUMNS = ["arm", "estimate", "std_error", "conf_low", "conf_high", "p_value", "n_units"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    n = 240
    arm = rng.permutation(np.repeat(["control", "a", "b"], n // 3))
    x = rng.normal(size=(n, 2))
    return {
        "y": 2 + (arm == "a") + 0.5 * x[:, 0] + rng.normal(size=n),
        "arm": arm,
        "x": x,
        "strata": rng.integers(0, 4, n),
        "cluster": rng.integers(0, 40, n),
    }


class TestResult:
    def test_frame(self, data):
        frame = ate(data["y"], data["arm"]).to_frame()
        assert frame.columns == COLUMNS
        assert frame["arm"].to_list() == ["a", "b"]
        assert frame["n_units"].to_list() == [80, 80]
        assert (frame["conf_low"] < frame["estimate"]).all()

    def test_frozen(self, data):
        result = ate(data["y"], data["arm"])
        with pytest.raises(AttributeError):
            result.level = 0.5
        with pytest.raises(ValueError, match="read-only"):
            result.estimate[0] = 1

    def test_difference_in_means(self, data):
        means = {arm: data["y"][data["arm"] == arm].mean() for arm in ("control", "a")}
        result = ate(data["y"], data["arm"])
        assert result["a"].estimate == pytest.approx(means["a"] - means["control"])
        assert result.control_mean.estimate == pytest.approx(means["control"])
        assert result.control_mean.df == pytest.approx(79)

    def test_to_dict_is_json(self, data):
        arm = np.where(np.arange(240) == 0, "lonely", data["arm"])
        result = ate(data["y"], arm, strata=data["strata"], contrasts={"d": {"a": 1, "b": -1}})
        text = json.dumps(result.to_dict(), allow_nan=False)
        assert json.loads(text)["version"] == 1
        assert json.loads(text)["contrasts"]["rows"][0]["arm"] == "d"
        json.dumps(result.adjusted("holm").to_dict(), allow_nan=False)
        json.dumps(result["lonely"].to_dict(), allow_nan=False)

    def test_pickles(self, data):
        result = pickle.loads(pickle.dumps(ate(data["y"], data["arm"])))
        assert isinstance(result, Effects)
        assert result.contrast({"a": 1, "b": -1}).estimate == pytest.approx(
            result["a"].estimate - result["b"].estimate
        )

    def test_summary_states_intent_to_treat_and_method(self, data):
        text = ate(data["y"], data["arm"], cluster=data["cluster"]).summary()
        assert "Intent to treat" in text
        assert "CR2, 40 clusters" in text

    def test_means_count_missing_outcomes_by_arm(self, data):
        y = np.where((data["arm"] == "a") & (np.arange(240) < 60), np.nan, data["y"])
        result = ate(y, data["arm"])
        missing = int(np.isnan(y).sum())
        assert result.n_missing == {"control": 0, "a": missing, "b": 0}
        frame = result.means()
        assert frame["n_missing"].to_list() == [0, missing, 0]
        assert frame["n_units"].to_list() == [80, 80 - missing, 80]
        kept = ~np.isnan(y)
        expected = ate(y[kept], data["arm"][kept])
        np.testing.assert_array_equal(result.estimate, expected.estimate)

    def test_level(self, data):
        wide, narrow = (ate(data["y"], data["arm"], level=level) for level in (0.99, 0.5))
        np.testing.assert_allclose(wide.conf_int(0.5), narrow.conf_int())
        assert wide.conf_int()[0, 0] < narrow.conf_int()[0, 0]

    def test_order_of_the_design(self, data):
        assert ate(data["y"], data["arm"], arms=["b", "control", "a"]).names == ("b", "a")

    def test_provenance_follows_the_data(self, data):
        first = ate(data["y"], data["arm"]).provenance
        assert first == ate(data["y"], pl.Series(data["arm"])).provenance
        assert first.data_hash != ate(data["y"] + 1, data["arm"]).provenance.data_hash


class TestInputs:
    def test_kinds_of_outcome_and_labels(self, data):
        binary = data["y"] > 2
        reference = ate(binary.astype(float), data["arm"])
        for outcome in (binary, pl.Series(binary), binary.astype(int), list(binary)):
            np.testing.assert_allclose(ate(outcome, data["arm"]).estimate, reference.estimate)
        codes = np.array([{"control": 0, "a": 1, "b": 2}[arm] for arm in data["arm"]])
        numbered = ate(binary, codes, control=0)
        assert numbered.names == ("1", "2")
        np.testing.assert_allclose(numbered.estimate, reference.estimate)
        categorical = pl.Series(data["arm"]).cast(pl.Categorical)
        np.testing.assert_allclose(ate(binary, categorical).estimate, reference.estimate)

    def test_null_outcomes(self, data):
        y = pl.Series(data["y"]).set(pl.Series(np.arange(240) < 5), None)
        assert sum(ate(y, data["arm"]).n_missing.values()) == 5

    def test_hc_becomes_cr_with_clusters(self, data):
        used = {se: ate(data["y"], data["arm"], cluster=data["cluster"], se=se).se
                for se in ("HC2", "HC1", "HC0", "CR1", "CR1S", "CR2")}  # fmt: skip
        assert used == {"HC2": "CR2", "HC1": "CR1", "HC0": "CR1",
                        "CR1": "CR1", "CR1S": "CR1S", "CR2": "CR2"}  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"se": "HC9"}, "se: found 'HC9'"),
            ({"se": "CR2"}, "without clusters"),
            ({"se": "HC3", "cluster": np.arange(240)}, "no counterpart"),
            ({"level": 1.0}, "level: found 1.0"),
            ({"level": 95}, "level: found 95"),
            ({"level": "0.9"}, "level: found '0.9'"),
            ({"weights": ["a"] * 240}, "weights: found text"),
            ({"control": "none"}, "no arm 'none'"),
            ({"strata": np.zeros(7)}, "found 7 labels for 240 units"),
            ({"strata": np.full(240, np.nan)}, "240 missing labels"),
            ({"cluster": [None, *range(239)]}, "1 missing labels"),
            ({"weights": np.ones((240, 2))}, "shape \\(240, 2\\)"),
            ({"covariates": np.zeros((3, 2))}, "covariates: found 3 rows for 240 units"),
            ({"covariates": np.full(240, np.inf)}, "240 infinite"),
            ({"covariates": np.where(np.arange(240) < 3, np.nan, 1.0)}, "3 missing values"),
            ({"missing_covariates": "drop"}, "missing_covariates"),
            ({"interact": "yes"}, "interact"),
            ({"weights": np.zeros(240)}, "240 that are not positive"),
            ({"weights": np.ones(2)}, "weights: found shape"),
            ({"arms": ["control", "a"]}, "arm: found b"),
            ({"arms": ["control", "a", "a", "b"]}, "repeated"),
            ({"contrasts": {}}, "contrasts: found none"),
        ],
    )
    def test_refused(self, data, change, text):
        with pytest.raises(InputError, match=text):
            ate(data["y"], data["arm"], **change)

    @pytest.mark.parametrize("outcome", [["yes", "no"] * 120, [np.inf] * 240, [], [["1"]] * 240])
    def test_refused_outcomes(self, data, outcome):
        with pytest.raises(InputError, match="outcome: found"):
            ate(outcome, data["arm"])


class TestCovariates:
    def test_frames_arrays_and_mappings_agree(self, data):
        reference = ate(data["y"], data["arm"], covariates=data["x"])
        frame = pl.DataFrame(data["x"], schema=["p", "q"])
        with warnings.catch_warnings():  # its import warns about its own dependencies
            warnings.simplefilter("ignore")
            import pandas as pd
        mapping = dict(zip("pq", data["x"].T, strict=True))
        for covariates in (frame, mapping, pd.DataFrame(mapping)):
            result = ate(data["y"], data["arm"], covariates=covariates)
            np.testing.assert_allclose(result.cov, reference.cov)
            assert result.covariates == ("p", "q")

    def test_text_enters_as_levels(self, data):
        grade = np.array(["one", "two", "three"])[data["strata"] % 3]
        result = ate(data["y"], data["arm"], covariates={"grade": grade})
        assert result.covariates == ("grade=three", "grade=two")

    def test_missing_as_information(self, data):
        x = np.where(np.arange(240)[:, None] % 9 == 0, np.nan, data["x"])
        result = ate(data["y"], data["arm"], covariates=x, missing_covariates="indicator")
        assert result.covariates == ("x1", "x2", "x1 missing")
        filled = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
        by_hand = np.column_stack([filled, np.isnan(x[:, 0])])
        np.testing.assert_allclose(result.cov, ate(data["y"], data["arm"], covariates=by_hand).cov)

    def test_covariates_of_units_without_outcome_do_not_count(self, data):
        y = np.where(np.arange(240) < 6, np.nan, data["y"])
        x = np.where(np.arange(240)[:, None] < 6, np.nan, data["x"])
        result = ate(y, data["arm"], covariates=x)
        expected = ate(y[6:], data["arm"][6:], covariates=data["x"][6:])
        np.testing.assert_allclose(result.cov, expected.cov)


class TestFailures:
    def test_rank_deficiency_names_the_columns(self, data):
        x = {"age": data["x"][:, 0], "months": 12 * data["x"][:, 0]}
        with pytest.raises(EstimationError, match="'months' \\(of covariate 'age'\\)"):
            ate(data["y"], data["arm"], covariates=x)

    def test_constant_covariates_are_named(self, data):
        with pytest.raises(EstimationError, match="covariate 'flat' constant"):
            ate(data["y"], data["arm"], covariates={"flat": np.ones(240)}, interact=False)
        with pytest.raises(
            EstimationError, match="covariate 'place' constant within every stratum"
        ):
            ate(
                data["y"],
                data["arm"],
                strata=data["strata"],
                covariates={"place": data["strata"] == 1},
                interact=False,
            )

    def test_an_arm_without_outcomes_is_not_estimable(self, data):
        y = np.where(data["arm"] == "a", np.nan, data["y"])
        result = ate(y, data["arm"], arms=["control", "a", "b", "never drawn"])
        assert "missing for all of its 80 units" in result.not_estimable["a"].reason
        assert "no units" in result.not_estimable["never drawn"].reason
        row = result.to_frame().row(0)
        assert row == ("a", None, None, None, None, None, 0)
        assert isinstance(result["a"].estimate, NotEstimable)
        assert isinstance(result["b"].std_error, float)
        only_b = data["arm"] != "a"
        np.testing.assert_allclose(
            result["b"].std_error, ate(data["y"][only_b], data["arm"][only_b]).std_error[0]
        )
        assert result.contrast({"a": 1, "b": -1}).p_value.reason.startswith("'a':")
        assert "not est." in result.summary()

    def test_a_control_without_outcomes(self, data):
        y = np.where(data["arm"] == "control", np.nan, data["y"])
        with pytest.raises(EstimationError, match=r"no unit with an outcome \(80 with"):
            ate(y, data["arm"])

    def test_a_control_alone(self):
        with pytest.raises(EstimationError, match="alone"):
            ate([1, 2, 3], ["control"] * 3)

    def test_a_single_cluster(self, data):
        with pytest.raises(EstimationError, match="a single cluster"):
            ate(data["y"], data["arm"], cluster=np.zeros(240))

    def test_more_columns_than_units(self):
        with pytest.raises(EstimationError, match="2 units for 2 coefficients"):
            ate([1, 2], ["control", "a"])
        with pytest.raises(InputError, match="fewer"):
            ate([1, 2, 3, 4], ["control", "a"] * 2, covariates=np.eye(4))

    @pytest.mark.parametrize("se", ["HC0", "HC1", "HC2", "HC3"])
    def test_an_arm_of_one_unit_has_no_standard_error(self, data, se):
        arm = np.where(np.arange(240) == 0, "lonely", data["arm"])
        result = ate(data["y"], arm, se=se)
        assert result["lonely"].estimate == pytest.approx(
            data["y"][0] - data["y"][arm == "control"].mean()
        )
        assert "leverage 1" in result["lonely"].std_error.reason
        assert set(result.not_estimable) == {"lonely"}
        assert result.to_frame().filter(pl.col("arm") == "lonely")["std_error"].to_list() == [None]
        assert result.adjusted("max-t").n_compared == 2

    @pytest.mark.parametrize("se", ["HC1", "HC2"])
    def test_a_control_of_one_unit_leaves_other_contrasts(self, data, se):
        keep = (data["arm"] != "control") | (np.cumsum(data["arm"] == "control") == 1)
        result = ate(data["y"][keep], data["arm"][keep], se=se)
        assert set(result.not_estimable) == {"a", "b"}
        contrast = result.contrast({"a": 1, "b": -1})
        pair = data["arm"] != "control"
        expected = ate(data["y"][pair], data["arm"][pair], control="b", se="HC2")["a"]
        if se == "HC2":
            assert contrast.std_error == pytest.approx(expected.std_error)
        assert isinstance(result.control_mean.std_error, NotEstimable)

    @pytest.mark.parametrize("se", ["CR1", "CR2"])
    def test_an_arm_of_one_cluster(self, data, se):
        cluster = np.where(data["arm"] == "a", -1, data["cluster"])
        result = ate(data["y"], data["arm"], cluster=cluster, se=se, strata=data["strata"])
        assert set(result.not_estimable) == {"a"}

    def test_constant_outcomes(self, data):
        for value in (0.0, 0.1, 1e6):
            result = ate(np.full(240, value), data["arm"], cluster=data["cluster"])
            assert "does not vary" in result.not_estimable["a"].reason
            assert result["a"].estimate == pytest.approx(0, abs=1e-9)
            assert result.to_frame()["p_value"].to_list() == [None, None]
            assert isinstance(result.control_mean.p_value, NotEstimable)
        with pytest.raises(EstimationError, match="no row with a standard error"):
            result.adjusted("holm")

    def test_an_outcome_constant_in_the_control_only(self, data):
        y = np.where(data["arm"] == "control", 0.0, data["y"])
        result = ate(y, data["arm"])
        spread = y[data["arm"] == "a"].std(ddof=1) / np.sqrt(80)
        assert result["a"].std_error == pytest.approx(spread)


class TestStrata:
    def test_arms_that_share_no_stratum_with_the_control(self, data):
        strata = np.where(data["arm"] == "b", 9, data["strata"])
        result = ate(data["y"], data["arm"], strata=strata)
        assert "share no stratum" in result.not_estimable["b"].reason
        assert result.n_excluded == {"control": 0, "a": 0, "b": 80}
        kept = data["arm"] != "b"
        expected = ate(data["y"][kept], data["arm"][kept], strata=strata[kept])
        assert result["a"].std_error == pytest.approx(expected["a"].std_error)

    def test_an_arm_linked_through_another(self, data):
        """b meets only a, and a meets the control: b against control is a sum of two."""
        low = np.arange(240) % 2 == 0
        keep = np.where(low, data["arm"] != "b", data["arm"] != "control")
        y, arm, strata = data["y"][keep], data["arm"][keep], low[keep]
        result = ate(y, arm, strata=strata)
        mean = {(a, s): y[(arm == a) & (strata == s)].mean() for a in "ab" for s in (True, False)
                if ((arm == a) & (strata == s)).any()}  # fmt: skip
        control = y[arm == "control"].mean()
        expected = mean["b", False] - mean["a", False] + mean["a", True] - control
        assert result["b"].estimate == pytest.approx(expected)

    def test_no_arm_shares_a_stratum(self, data):
        with pytest.raises(EstimationError, match="no arm can be compared"):
            ate(data["y"], data["arm"], strata=data["arm"])

    def test_only_strata_of_one(self, data):
        with pytest.raises(EstimationError, match="no arm can be compared"):
            ate(data["y"], data["arm"], strata=np.arange(240))

    def test_inverse_propensity_weights_undo_unequal_shares(self):
        """Shares and effects that differ by stratum: weights give the plain average effect."""
        y, arm, strata, weight = [], [], [], []
        for s, (treated, effect) in enumerate([(10, 1.0), (50, 3.0)]):
            arm += ["a"] * treated + ["control"] * (100 - treated)
            y += [effect + s] * treated + [float(s)] * (100 - treated)
            strata += [s] * 100
            weight += [100 / treated] * treated + [100 / (100 - treated)] * (100 - treated)
        y = np.array(y) + np.tile([0.1, -0.1], 100)
        plain = ate(y, arm, strata=strata)["a"].estimate
        weighted = ate(y, arm, strata=strata, weights=weight)["a"].estimate
        assert weighted == pytest.approx(2.0)
        assert plain == pytest.approx((0.09 * 1 + 0.25 * 3) / 0.34)


class TestContrasts:
    def test_any_contrast(self, data):
        result = ate(data["y"], data["arm"], strata=data["strata"])
        weights = np.array([1.0, -1.0])
        contrast = result.contrast({"a": 1, "b": -1}, "a less b")
        assert contrast.name == "a less b"
        assert contrast.n_units == 160
        assert contrast.std_error == pytest.approx(np.sqrt(weights @ result.cov @ weights))
        assert result.contrast({"a": 1, "control": -1}).n_units == 160
        assert result.contrast({"a": 1}) == result.contrast({"a": 1, "control": -1}, "+1 a")

    def test_pooled_arms(self, data):
        result = ate(data["y"], data["arm"])
        pooled = result.pool(["a", "b"])
        assert pooled.estimate == pytest.approx(result.estimate.mean())
        assert pooled.n_units == 240
        arm = np.where(data["arm"] == "control", "control", "any")
        assert pooled.estimate == pytest.approx(ate(data["y"], arm)["any"].estimate)
        weighted = result.pool(["a", "b"], weights={"a": 3, "b": 1})
        assert weighted.estimate == pytest.approx(result.estimate @ [0.75, 0.25])

    def test_planned_contrasts_follow_the_arms(self, data):
        plan = {"a or b": {"a": 0.5, "b": 0.5}, "a less b": {"a": 1, "b": -1}}
        result = ate(data["y"], data["arm"], contrasts=plan)
        frame = result.to_frame()
        assert frame.columns == COLUMNS
        assert frame["arm"].to_list() == ["a", "b", "a or b", "a less b"]
        assert result.contrasts(plan).to_frame().equals(frame[2:])
        assert result.adjusted("holm").names == ("a", "b")

    def test_margins_of_pairs(self):
        rng = np.random.default_rng(0)
        pairs = [f"{first}+{second}" for first in "pqr" for second in "pqr"]
        arm = rng.permutation(np.repeat(["control", *pairs], 30))
        y = rng.normal(size=arm.size) + np.array([a.startswith("p+") for a in arm])
        result = ate(y, arm)
        margins = result.contrasts(pair_margins(result.arms))
        assert margins.names == (
            "first p",
            "first q",
            "first r",
            "second p",
            "second q",
            "second r",
        )
        first_p = np.isin(arm, ["p+p", "p+q", "p+r"])
        expected = y[first_p].mean() - y[arm == "control"].mean()
        assert margins["first p"].estimate == pytest.approx(expected)
        assert margins["first p"].n_units == 120
        # margins of complete pairs have one grand mean
        assert margins.estimate[:3].mean() == pytest.approx(margins.estimate[3:].mean())
        assert margins.adjusted("max-t").n_compared == 6

    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            ({"z": 1}, "arm z"),
            ({"a": 0}, "not all 0"),
            ({"a": np.nan}, "finite"),
            ({"a": 1, "control": 1}, "sum to 2"),
            ({}, "not all 0"),
            ({"a": "much"}, "not numbers"),
        ],
    )
    def test_refused(self, data, weights, text):
        with pytest.raises(InputError, match=text):
            ate(data["y"], data["arm"]).contrast(weights)

    def test_refused_pools_and_rows(self, data):
        result = ate(data["y"], data["arm"])
        for arms, weights in (([], None), (["a", "a"], None), (["a"], [1, 2]), (["a"], [-1])):
            with pytest.raises(InputError, match="pool: found"):
                result.pool(arms, weights)
        with pytest.raises(InputError, match="no row 'z'"):
            result["z"]

    @pytest.mark.parametrize("arms", [["control", "a"], ["a+b+c"], ["a+"]])
    def test_refused_pairs(self, arms):
        with pytest.raises(InputError, match="margins: found"):
            pair_margins(arms)


class TestAdjusted:
    def test_holm(self, data):
        result = ate(data["y"], data["arm"])
        adjusted = result.adjusted("holm")
        low, high = np.sort(result.p_value)
        np.testing.assert_allclose(np.sort(adjusted.p_value), [2 * low, max(2 * low, high)])
        np.testing.assert_allclose(adjusted.conf, result.conf_int(0.975))
        assert adjusted.accuracy == 0
        assert "2 comparisons" in adjusted.text

    def test_max_t_lies_between_single_and_bonferroni(self, data):
        result = ate(data["y"], data["arm"])
        joint, single = result.adjusted("max-t"), result.conf_int()
        bonferroni = result.adjusted("holm").conf
        assert (joint.conf[:, 0] < single[:, 0]).all()
        assert (joint.conf[:, 0] > bonferroni[:, 0]).all()
        assert (joint.p_value >= result.p_value).all()
        assert joint.to_frame().columns == COLUMNS

    def test_max_t_is_deterministic(self, data):
        result = ate(data["y"], data["arm"])
        first, second = result.adjusted(), result.adjusted()
        np.testing.assert_array_equal(first.conf, second.conf)
        other = result.adjusted(rng=np.random.default_rng(5))
        np.testing.assert_allclose(other.critical_value, first.critical_value, atol=2e-3)

    def test_one_comparison_needs_no_adjustment(self, data):
        two = data["arm"] != "b"
        result = ate(data["y"][two], data["arm"][two])
        for method in ("holm", "max-t"):
            np.testing.assert_allclose(result.adjusted(method).conf, result.conf_int(), rtol=1e-6)

    def test_unknown_method(self, data):
        with pytest.raises(InputError, match="method: found 'sidak'"):
            ate(data["y"], data["arm"]).adjusted("sidak")


class TestWeights:
    """Weights that are one over a propensity, and degrees of freedom of few treated units."""

    def data(self, seed=2):
        rng = np.random.default_rng(seed)
        stratum = np.repeat([0, 1], [60, 20])
        arm = np.concatenate([np.arange(60) < 4, np.arange(20) < 10]).astype(int)
        share = np.where(stratum == 0, 4 / 60, 0.5)
        return rng.normal(size=80), arm, 1 / np.where(arm == 1, share, 1 - share)

    def test_identity_is_the_default_and_differs(self):
        y, arm, w = self.data()
        default = ate(y, arm, control=0, weights=w)
        named = ate(y, arm, control=0, weights=w, working_model="identity")
        other = ate(y, arm, control=0, weights=w, working_model="inverse-weights")
        assert default == named
        np.testing.assert_allclose(default.estimate, other.estimate)
        assert default.df[0] < 5 < 20 < other.df[0]

    @pytest.mark.parametrize("clustered", [False, True])
    def test_equal_weights_are_no_weights(self, clustered):
        y, arm, _ = self.data()
        cluster = np.arange(80) % 11 if clustered else None
        plain = ate(y, arm, control=0, cluster=cluster)
        for model in ("identity", "inverse-weights"):
            even = ate(
                y, arm, control=0, cluster=cluster, weights=np.full(80, 1e-9), working_model=model
            )
            np.testing.assert_allclose(even.std_error, plain.std_error, rtol=1e-10)
            np.testing.assert_allclose(even.df, plain.df, rtol=1e-8)

    @pytest.mark.parametrize("clustered", [False, True])
    def test_the_unit_of_weights_does_not_matter(self, clustered):
        y, arm, w = self.data()
        cluster = np.arange(80) % 11 if clustered else None
        for scale in (1e-8, 1e8):
            one, other = (
                ate(y, arm, control=0, cluster=cluster, weights=k * w) for k in (1, scale)
            )
            np.testing.assert_allclose(other.std_error, one.std_error, rtol=1e-9)
            np.testing.assert_allclose(other.df, one.df, rtol=1e-8)
            np.testing.assert_allclose(
                other.means()["conf_low"], one.means()["conf_low"], rtol=1e-8
            )

    def test_whole_strata_as_clusters_have_a_standard_error(self):
        y, arm, w = self.data()
        village = np.arange(80) % 9
        found = ate(y, arm, control=0, weights=w, strata=village, cluster=village)
        assert not found.not_estimable
        assert found.std_error[0] > 0

    def test_a_single_treated_unit_has_none(self):
        y, arm, w = self.data()
        arm = np.where(np.arange(80) == 3, 1, 0)
        found = ate(y, arm, control=0, weights=w)
        assert "fitted exactly" in found.not_estimable["1"].reason

    def test_smaller_arm(self):
        y, arm, w = self.data()
        cluster = np.where(arm == 1, np.arange(80) % 3, 3 + np.arange(80) % 9)
        few = ate(y, arm, control=0, cluster=cluster, df="smaller-arm")
        usual = ate(y, arm, control=0, cluster=cluster)
        assert few.df.tolist() == [2.0]
        assert usual.df[0] > 2
        np.testing.assert_allclose(few.std_error, usual.std_error)
        # where weights leave fewer still, those count
        assert ate(y, arm, control=0, weights=w, df="smaller-arm").df[0] < 5

    def test_names_that_are_not_known_are_refused(self):
        y, arm, w = self.data()
        with pytest.raises(InputError, match="working_model: found 'equal'"):
            ate(y, arm, control=0, weights=w, working_model="equal")
        with pytest.raises(InputError, match="df: found 'normal'"):
            ate(y, arm, control=0, df="normal")


@pytest.mark.parametrize("n", [40, 300, 3000])
@pytest.mark.parametrize("working_model", ["identity", "inverse-weights"])
def test_means_have_degrees_of_freedom_of_one_or_no_error(working_model, n):
    rng = np.random.default_rng(n)
    arm, y = rng.integers(0, 3, n), rng.normal(size=n)
    weights = np.where(arm == 1, 1.0, 2.0)
    weights[0] = 1e6  # all of its arm, up to rounding
    for more in ({}, {"cluster": rng.integers(0, max(n // 6, 8), n)}):
        found = ate(y, arm, control=0, weights=weights, working_model=working_model, **more)
        means = found._means
        assert (np.isnan(means.df) | (means.df >= 1 - 1e-6)).all()
        np.testing.assert_array_equal(np.isnan(means.std_error), np.isnan(means.df))


class TestFarFromZero:
    """Covariates whose differences are small beside their size."""

    @pytest.mark.parametrize("n", [200, 1000, 1600])
    @pytest.mark.parametrize("interact", [True, False])
    @pytest.mark.parametrize("spread", [1e-5, 1e-2, 1.0, 100.0])
    def test_a_shift_by_a_billion_changes_nothing(self, spread, interact, n):
        rng = np.random.default_rng(n)
        arm, y = rng.integers(0, 3, n), rng.normal(size=n)
        strata, weights = rng.integers(0, 4, n), rng.uniform(0.5, 3, n)
        far = 1e9 + spread * rng.normal(size=(n, 2))
        near = far - 1e9  # exact: what the digits of the far ones hold
        for more in ({}, {"strata": strata}, {"weights": weights}, {"cluster": strata * 9 + arm}):
            options = {"control": 0, "interact": interact} | more
            found, expected = (ate(y, arm, covariates=x, **options) for x in (far, near))
            np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(found.std_error, expected.std_error, rtol=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_what_differs_in_the_last_digit_is_named(self, seed):
        rng = np.random.default_rng(seed)
        arm, y, z = rng.integers(0, 2, 1000), rng.normal(size=1000), rng.normal(size=1000)
        with pytest.raises(EstimationError, match=r"'age'.* up to the last digit"):
            ate(y, arm, control=0, covariates={"age": 1e9 + 1e-7 * z})
        twins = {"first": 1e9 + z, "second": 1e9 + z + 1e-7 * rng.normal(size=1000)}
        with pytest.raises(EstimationError, match=r"'second' .*of covariate 'first'"):
            ate(y, arm, control=0, covariates=twins)

    @pytest.mark.parametrize("seed", range(4))
    def test_near_twins_cost_no_precision(self, seed):
        """Their difference is far from its own mean where the mean is rounded."""
        rng = np.random.default_rng(seed)
        arm, y, z = rng.integers(0, 2, 1600), rng.normal(size=1600), rng.normal(size=1600)
        twins = np.column_stack([1e9 + z, 1e9 + z + 1e-6 * rng.normal(size=1600)])
        plain = ate(y, arm, control=0).std_error[0]
        assert ate(y, arm, control=0, covariates=twins).std_error[0] == pytest.approx(
            plain, rel=0.02
        )
