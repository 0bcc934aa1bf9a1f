"""Priors of the normal model: Student t on the effects, and what hangs on the choice."""

import numpy as np
import pytest
from scipy import stats

from normal_panels import Shape, simulate
from wavewise.errors import EstimationError, InputError
from wavewise.estimate import (
    HierarchicalNormal,
    NormalPriors,
    hierarchical_normal,
    score_prior_sensitivity,
    study_priors,
    tried_priors,
)
from wavewise.estimate.normal.data import panel_sums, read_panel
from wavewise.estimate.normal.marginal import SdPosterior, coefficient_moments

SMALL = Shape(120, 12, effects=(3.0, 6.0), seed=21)


def fit(shape: Shape = SMALL, **options) -> HierarchicalNormal:
    return hierarchical_normal(**simulate(shape), rng=np.random.default_rng(5), **options)


def test_student_t_of_many_degrees_is_the_normal_prior() -> None:
    many = fit(prior=study_priors(effect_sd=2.0, effect_df=1e8))
    normal = fit(prior=study_priors(effect_sd=2.0))
    assert np.abs(many.mean - normal.mean).max() < 0.1
    assert np.abs(many.sd / normal.sd - 1).max() < 0.06
    flat = fit(prior=study_priors())
    assert (np.abs(flat.mean - normal.mean) > 0.3).any()  # the prior is felt


def test_student_t_against_a_grid() -> None:
    """One effect: the flat posterior is a mixture of normals; times the prior, on a grid."""
    rows = simulate(SMALL)
    prior = NormalPriors(effect_sd=0.05, effect_df=1.0)
    post = fit(prior=prior, pooled=True, n_draws=40_000)
    options = {"control": None, "treated": None, "arms": None, "periods": None, "pooled": True}
    sums = panel_sums(read_panel(**rows, **options))
    # standard deviations from their own posterior under the flat prior, as points of the mixture
    flat = fit(prior=NormalPriors(), pooled=True, n_draws=4_000)
    sds = np.column_stack(
        [flat.cluster_sd_draws, flat.unit_sd_draws, flat.noise_sd_draws, flat.period_sd_draws]
    )
    mean, covariance = coefficient_moments(sums, sds / sums.scale)
    grid = np.linspace(-0.8, 1.2, 4001)
    parts = stats.norm.pdf(grid, mean[:, [1]], np.sqrt(covariance[:, 1, 1])[:, None])
    density = parts.mean(axis=0) * stats.t.pdf(grid / 0.05, 1)
    density /= density.sum()
    wanted = density @ grid
    sd = np.sqrt(density @ (grid - wanted) ** 2)
    assert post.mean[0] == pytest.approx(wanted * sums.scale, abs=0.04 * sd * sums.scale)
    assert post.sd[0] == pytest.approx(sd * sums.scale, rel=0.03)
    assert post.diagnostics.effect_ess > 2000
    assert SdPosterior(sums, prior).effect_precision == 0


def test_student_t_lets_far_data_win() -> None:
    far = Shape(200, 10, effects=(60.0, 80.0, 70.0), seed=3)
    robust = fit(far, prior=study_priors(effect_sd=1.0, effect_df=1.0))
    flat = fit(far, prior=study_priors())
    assert np.abs(robust.mean - flat.mean).max() < 0.3


def test_prior_that_leaves_no_draws_is_refused() -> None:
    far = Shape(200, 10, effects=(60.0, 80.0, 70.0), seed=3)
    with pytest.raises(EstimationError, match="Student t prior on the effects"):
        fit(far, prior=study_priors(effect_sd=0.1, effect_df=1e8))


@pytest.mark.parametrize(
    ("prior", "told"),
    [
        (NormalPriors(effect_df=3.0), "effect_sd"),
        (NormalPriors(effect_sd=1.0, effect_df=0.0), "effect_df"),
        (NormalPriors(effect_sd=1.0, effect_df=np.inf), "effect_df"),
    ],
)
def test_wrong_student_t_is_named(prior: NormalPriors, told: str) -> None:
    with pytest.raises(InputError, match=told):
        fit(prior=prior)


def test_one_call_refits_under_all_priors() -> None:
    told = score_prior_sensitivity(**simulate(SMALL), rng=np.random.default_rng(1), n_draws=2_000)
    assert told.priors == tried_priors()
    assert len({str(prior) for prior in told.priors}) == 9
    frame = told.to_frame()
    assert frame.height == 9 * 2
    assert set(told.best_arms) == {"T2"}
    assert told.agree
    shrunk = dict(zip(map(str, told.priors), told.posteriors, strict=True))
    tight = shrunk[str(study_priors(effect_sd=1.0))]
    assert tight.mean[1] < told.posteriors[1].mean[1]
    assert "The priors lead to the same arm." in told.summary()
    assert told.to_dict()["priors"][0]["best_arm"] == "T2"


def test_a_prior_that_gives_no_posterior_leaves_its_reason() -> None:
    far = simulate(Shape(200, 10, effects=(60.0, 80.0, 70.0), seed=3))
    priors = [NormalPriors(), study_priors(effect_sd=0.1, effect_df=1e8)]
    told = score_prior_sensitivity(
        **far, priors=priors, rng=np.random.default_rng(1), n_draws=1_000
    )
    assert told.best_arms == ("T2", None)
    assert "not_estimable" in told.to_dict()["priors"][1]["arms"][0]
    with pytest.raises(InputError, match="found none"):
        score_prior_sensitivity(**far, priors=[], rng=np.random.default_rng(1))
