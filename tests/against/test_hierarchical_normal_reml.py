"""Large panels, where the priors hardly matter, against maximum likelihood by statsmodels.

MixedLM has no crossed effects, so periods are fixed there; a prior that holds the period sd near
1,000 times the score's makes them so here. REML's estimate is close to the posterior's centre, not
equal to it.
"""

import numpy as np
import pandas as pd
import pytest

from normal_panels import Shape, simulate
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.priors import NormalPriors, SdPrior

# scale / df is the middle of the inverse chi-square, narrow at 400 degrees of freedom
FIXED_PERIODS = NormalPriors(period=SdPrior("inverse-chi-square", 400_000.0, 400.0))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_mixed_model_by_reml(seed):
    from statsmodels.regression.mixed_linear_model import MixedLM

    rows = simulate(Shape(300, 30, 3, effects=(2.0, 4.0), missing=0.15, seed=seed))
    frame = pd.DataFrame(rows).dropna()
    fixed = pd.get_dummies(frame["arm"])[["T1", "T2"]].astype(float)
    for t in (0, 1, 2):
        fixed[f"period {t}"] = (frame["period"] == t).astype(float)
    frame = frame.reset_index(drop=True)
    model = MixedLM(
        frame["score"].to_numpy(),
        fixed.to_numpy(),
        groups=frame["cluster"].to_numpy(),
        exog_re=np.ones((len(frame), 1)),
        exog_vc=_unit_effects(frame),
    )
    reml = model.fit(reml=True)
    rng = np.random.default_rng(3)
    post = hierarchical_normal(**rows, prior=FIXED_PERIODS, rng=rng, n_draws=20_000)
    assert (np.abs(post.mean - reml.fe_params[:2]) < 0.05 * reml.bse_fe[:2]).all()
    np.testing.assert_allclose(post.sd, reml.bse_fe[:2], rtol=0.04)
    assert np.sqrt(reml.scale) == pytest.approx(post.noise_sd_draws.mean(), rel=0.01)
    assert np.sqrt(reml.vcomp[0]) == pytest.approx(post.unit_sd_draws.mean(), rel=0.01)
    kappa = float(np.sqrt(np.asarray(reml.cov_re)[0, 0]))
    assert abs(kappa - post.cluster_sd_draws.mean()) < 0.5 * post.cluster_sd_draws.std()


def _unit_effects(frame):
    from statsmodels.regression.mixed_linear_model import VCSpec

    columns, matrices = [], []
    for _, rows in frame.groupby("cluster"):
        units = np.unique(rows["unit"])
        matrices.append((rows["unit"].to_numpy()[:, None] == units).astype(float))
        columns.append([str(u) for u in units])
    return VCSpec(["unit"], [columns], [matrices])
