"""Fits against long NUTS runs of the whole model (hierarchical_normal_nuts/make.py)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from normal_panels import REFERENCE, simulate
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.priors import scaled_priors, study_priors

STORED = json.loads(
    (Path(__file__).parent / "hierarchical_normal_nuts" / "reference.json").read_text()
)
RUNS = {f"{r['data']}, {r['priors']}, {r['sampler']}": r for r in STORED["runs"]}
PRIORS = {"scaled": scaled_priors, "study": study_priors}
N_DRAWS = 40_000
# errors of both sides; the largest of about 200 comparisons is near 3
MOST_ERRORS = 4.5


@pytest.fixture(scope="module")
def fits():
    return {}


def fitted(fits, run):
    key = run["data"], run["priors"]
    if key not in fits:
        data = simulate(REFERENCE[run["data"]])
        digest = hashlib.sha256(np.nan_to_num(data["score"]).tobytes()).hexdigest()
        assert digest == run["score_sha256"], "the simulated scores are not those of the reference"
        rng = np.random.default_rng(11)
        fits[key] = hierarchical_normal(
            **data, prior=PRIORS[run["priors"]](), rng=rng, n_draws=N_DRAWS
        )
    return fits[key]


def columns(post):
    named = {
        "constant": post.constant_draws,
        "cluster_sd": post.cluster_sd_draws,
        "unit_sd": post.unit_sd_draws,
        "noise_sd": post.noise_sd_draws,
        "period_sd": post.period_sd_draws,
    }
    return named | {f"beta[{k}]": post.draws[:, k] for k in range(len(post.arms))}


def own_error(post, parameter, draws):
    """Error of a mean: standard deviations count as many as the points' effective number.

    Coefficients are drawn afresh for every draw, and depend little on the point.
    """
    coefficient = parameter == "constant" or parameter.startswith("beta")
    ess = N_DRAWS if coefficient else min(post.diagnostics.ess, N_DRAWS)
    return float(draws.std()) / np.sqrt(ess)


def test_the_reference_mixed():
    for name, run in RUNS.items():
        worst = max(p["rhat"] for p in run["parameters"].values())
        assert worst < 1.02, name
    assert len({r["data"] for r in STORED["runs"]}) >= 8


@pytest.mark.parametrize("name", RUNS)
def test_means_and_sds(fits, name):
    run = RUNS[name]
    post = fitted(fits, run)
    assert list(post.arms) == run["arms"]
    for parameter, draws in columns(post).items():
        expected = run["parameters"][parameter]
        error = np.hypot(expected["mean_error"], own_error(post, parameter, draws))
        assert abs(draws.mean() - expected["mean"]) < MOST_ERRORS * error, parameter
        # the error of an sd from its own fourth moment, as for the mean
        spread = own_error(post, parameter, (draws - draws.mean()) ** 2) / (2 * draws.std())
        error = np.hypot(expected["sd_error"], spread)
        assert abs(draws.std() - expected["sd"]) < MOST_ERRORS * error, parameter


@pytest.mark.parametrize("name", RUNS)
def test_prob_optimal_and_regret(fits, name):
    run = RUNS[name]
    post = fitted(fits, run)
    p = np.array(run["prob_optimal"])
    error = np.hypot(run["prob_optimal_error"], np.sqrt(p * (1 - p) / N_DRAWS))
    assert (np.abs(post.prob_optimal - p) <= MOST_ERRORS * error + 2 / N_DRAWS).all()
    loss = post.draws.max(axis=1)[:, None] - post.draws
    error = np.hypot(run["policy_regret_error"], loss.std(axis=0) / np.sqrt(N_DRAWS))
    away = np.abs(post.policy_regret - run["policy_regret"])
    assert (away <= MOST_ERRORS * error + 1e-12).all()
