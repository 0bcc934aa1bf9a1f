"""The hierarchical normal model: inputs, result, gates and the study's prior."""

import json

import numpy as np
import polars as pl
import pytest

from normal_panels import Shape, simulate
from wavewise.decide.evidence import checked_posterior
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.priors import NormalPriors, SdPrior, study_priors

SMALL = Shape(80, 8, effects=(1.0, 4.0), seed=5)


def fit(rows, seed=1, **options):
    return hierarchical_normal(**rows, rng=np.random.default_rng(seed), **options)


@pytest.fixture(scope="module")
def rows():
    return simulate(SMALL)


@pytest.fixture(scope="module")
def post(rows):
    return fit(rows)


def changed(rows, **columns):
    return {**rows, **columns}


class TestResult:
    def test_shapes_and_names(self, post):
        assert post.arms == ("T1", "T2")
        assert post.draws.shape == (20_000, 2)
        assert post.period_draws.shape == (20_000, 3)
        for sds in (post.cluster_sd_draws, post.unit_sd_draws, post.noise_sd_draws):
            assert sds.shape == (20_000,)
            assert (sds > 0).all()
        assert post.diagnostics.method == "importance"
        assert 0 < post.diagnostics.ess_share <= 1
        assert post.diagnostics.pareto_k < 0.7

    def test_decisions_can_use_it(self, post):
        assert checked_posterior(post) is post
        assert post.prob_optimal.sum() == pytest.approx(1)
        best = post.draws.argmax(axis=1)
        np.testing.assert_allclose(post.prob_optimal, np.bincount(best, minlength=2) / 20_000)
        loss = post.draws.max(axis=1)[:, None] - post.draws
        np.testing.assert_allclose(post.policy_regret, loss.mean(axis=0))

    def test_arrays_are_read_only(self, post):
        for array in (post.draws, post.constant_draws, post.prob_optimal, post.n_observed):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_contrasts(self, post):
        against_control = post.contrast("T2")
        assert against_control.mean == pytest.approx(post.mean[1])
        assert against_control.prob_greater == pytest.approx(post.prob_positive[1])
        pair = post.contrast("T2", "T1")
        assert pair.mean == pytest.approx(post.mean[1] - post.mean[0])
        with pytest.raises(InputError, match="needed one of T1, T2, control"):
            post.contrast("T9")

    def test_intervals_hold_their_share(self, post):
        for kind in ("hpd", "equal-tailed"):
            low, high = post.cred_int(0.9, kind).T
            inside = ((post.draws >= low) & (post.draws <= high)).mean(axis=0)
            np.testing.assert_allclose(inside, 0.9, atol=0.002)
        with pytest.raises(InputError, match="prob"):
            post.cred_int(1.0)

    def test_frames_json_and_text(self, rows, post):
        frame = post.to_frame()
        assert frame["term"].to_list() == ["(constant)", "T1", "T2"]
        missing = post.missing_frame()
        assert missing["n_missing"].sum() == int(np.isnan(rows["score"]).sum())
        assert missing["n_observed"].sum() == post.n_scores
        stored = json.loads(json.dumps(post.to_dict()))
        assert stored["version"] == 1
        assert stored["diagnostics"]["method"] == "importance"
        pooled = fit(rows, pooled=True)
        text = post.summary(pooled)
        for part in ("(constant)", "Treatment effects", "Pooled treatment effect", "units 80"):
            assert part in text
        assert pooled.arms == ("pooled",)
        assert pooled.prob_optimal.tolist() == [1.0]
        assert "best of the arms" not in pooled.summary()

    def test_one_period_has_no_period_effect(self):
        single = fit(simulate(Shape(100, 8, 1, effects=(3.0,), seed=2)))
        assert single.period_draws.shape == (20_000, 1)
        assert not single.period_draws.any()


class TestPriors:
    def test_the_study_prior_shrinks_a_cluster_sd_of_9_to_about_6(self):
        big = simulate(Shape(2439, 108, effects=(1.3, 1.7, 0.9, 1.9, 1.9, 1.8), seed=3))
        scaled, study = fit(big), fit(big, prior=study_priors())
        assert 8.0 < scaled.cluster_sd_draws.mean() < 10.0
        assert 5.5 < study.cluster_sd_draws.mean() < 7.0
        assert np.mean(study.cluster_sd_draws < 8) > 0.99
        # what it does to the effects is small beside their own spread
        assert (np.abs(scaled.mean - study.mean) < 0.3 * scaled.sd).all()

    def test_densities_integrate_to_1(self):
        x = np.geomspace(1e-9, 1e9, 400_001)
        families = ("half-normal", "half-t", "inverse-chi-square")
        for prior in (
            SdPrior(f, scale, df) for f in families for scale in (0.5, 3) for df in (1, 4)
        ):
            mass = np.exp(prior.log_density(x)) * x
            assert np.trapezoid(mass, np.log(x)) == pytest.approx(1, abs=2e-4)

    def test_other_families_and_a_normal_prior_on_effects(self, rows):
        for family in ("half-t", "inverse-chi-square"):
            prior = NormalPriors(cluster=SdPrior(family))
            assert fit(rows, prior=prior).diagnostics.pareto_k < 0.7
        tight = fit(rows, prior=NormalPriors(effect_sd=1e-4))
        np.testing.assert_allclose(tight.mean, 0, atol=0.01)

    def test_faults_are_listed_at_once(self, rows):
        wrong = NormalPriors(cluster=SdPrior("cauchy"), unit=SdPrior(scale=-1.0), effect_sd=0.0)
        with pytest.raises(InputError) as error:
            fit(rows, prior=wrong)
        assert len(error.value.faults) == 3


class TestBadInput:
    def test_missing_labels(self, rows):
        for name in ("unit", "cluster", "period", "arm"):
            labels = np.asarray(rows[name], dtype=object).copy()
            labels[3] = None
            with pytest.raises(InputError, match=f"{name}: found 1 missing"):
                fit(changed(rows, **{name: labels}))

    def test_lengths(self, rows):
        with pytest.raises(InputError, match="arm"):
            fit(changed(rows, arm=rows["arm"][:-1]))

    def test_one_arm_only(self, rows):
        with pytest.raises(EstimationError, match="alone"):
            fit(changed(rows, arm=np.full(240, "control")))
        with pytest.raises(EstimationError, match="one arm"):
            fit(changed(rows, arm=np.full(240, "T1")))

    def test_an_arm_without_scores_after_treatment(self, rows):
        score = np.where(rows["arm"] == "T2", np.nan, rows["score"])
        partial = fit(changed(rows, score=score))
        assert partial.arms == ("T1",)
        assert not partial.not_estimable["T2"]
        assert "T2" in partial.summary()
        planned = fit(rows, arms=["control", "T1", "T2", "T3"])
        assert list(planned.not_estimable) == ["T3"]
        none = np.where(rows["arm"] == "control", rows["score"], np.nan)
        with pytest.raises(EstimationError, match="after treatment in any arm"):
            fit(changed(rows, score=none))

    def test_no_untreated_score(self, rows):
        score = np.where(rows["arm"] == "control", np.nan, rows["score"])
        with pytest.raises(EstimationError, match="before treatment"):
            fit(changed(rows, score=score))

    def test_two_clusters_or_arms(self, rows):
        cluster = rows["cluster"].copy()
        cluster[-1] += 1
        with pytest.raises(InputError, match="1 units with rows in two clusters"):
            fit(changed(rows, cluster=cluster))
        arm = rows["arm"].copy()
        arm[0], arm[80] = "T1", "T2"
        with pytest.raises(InputError, match="two arms"):
            fit(changed(rows, arm=arm))

    def test_back_to_control_and_twice_in_a_period(self, rows):
        arm = rows["arm"].copy()
        unit = rows["unit"][(arm != "control") & (rows["period"] == 1)][0]
        arm[(rows["unit"] == unit) & (rows["period"] == 2)] = "control"
        with pytest.raises(InputError, match="back in the control"):
            fit(changed(rows, arm=arm))
        with pytest.raises(InputError, match="one row per unit and period"):
            fit({name: np.append(column, column[0]) for name, column in rows.items()})

    def test_no_variation_all_missing_infinite(self, rows):
        with pytest.raises(EstimationError, match="one value 3"):
            fit(changed(rows, score=np.full(240, 3.0)))
        with pytest.raises(EstimationError, match="all 240 missing"):
            fit(changed(rows, score=np.full(240, np.nan)))
        with pytest.raises(InputError, match="1 infinite"):
            fit(changed(rows, score=np.where(np.arange(240) == 0, np.inf, rows["score"])))

    def test_scores_that_are_fitted_exactly(self, rows):
        exact = rows["period"] * 2.0 + (rows["arm"] == "T1") * 3.0
        with pytest.raises(EstimationError, match="fit"):
            fit(changed(rows, score=exact))

    def test_options(self, rows):
        with pytest.raises(InputError, match="method"):
            fit(rows, method="magic")
        with pytest.raises(InputError, match="n_draws"):
            fit(rows, n_draws=10)
        with pytest.raises(InputError, match="no label 'X'"):
            fit(rows, control="X")
        with pytest.raises(InputError, match="rng"):
            hierarchical_normal(**rows, rng=7)
        with pytest.raises(InputError, match="order of time"):
            fit(rows, periods=[0, 1])
        with pytest.raises(InputError, match="treated"):
            fit(rows, treated=np.ones(3))


class TestReading:
    def test_treated_masks_the_assignment(self, rows, post):
        assigned = {u: a for u, a in zip(rows["unit"], rows["arm"], strict=True) if a != "control"}
        arm = np.array([assigned.get(u, "control") for u in rows["unit"]])
        other = fit(changed(rows, arm=arm), treated=rows["arm"] != "control")
        np.testing.assert_array_equal(other.draws, post.draws)

    def test_frames_columns_and_ids_of_any_kind(self, rows, post):
        frame = pl.DataFrame(rows)
        columns = {name: frame[name] for name in frame.columns}
        np.testing.assert_array_equal(fit(columns).draws, post.draws)

    def test_assignment_alone_gets_no_verdict(self, rows):
        assigned = {u: a for u, a in zip(rows["unit"], rows["arm"], strict=True) if a != "control"}
        arm = np.array([assigned.get(u, "control") for u in rows["unit"]])
        checks = {c.name: c for c in fit(changed(rows, arm=arm)).checks}
        assert checks["units seen before and after"].passed is None

    def test_arms_confounded_with_periods_are_flagged(self):
        rows = simulate(Shape(100, 8, 2, effects=(3.0,), missing=0.0, control_share=0.0, seed=4))
        checks = {c.name: c for c in fit(rows).checks}
        assert checks["arms told from periods"].passed is False
        assert "rest on the prior" in checks["arms told from periods"].text


def test_the_same_seed_gives_the_same_bytes(rows, post):
    again = fit(rows)
    assert again.draws.tobytes() == post.draws.tobytes()
    assert again.provenance == post.provenance
