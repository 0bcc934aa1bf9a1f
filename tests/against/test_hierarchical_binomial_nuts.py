"""Against two long NUTS runs on each of 22 data sets (see hierarchical_binomial/sample_nuts.py).

Every quantity agrees within 4.5 standard errors of the difference: the reference's Monte-Carlo
error and our own. About 900 numbers are compared, so that one beyond 4.5 by chance is unlikely.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.priors import (
    BinomialPrior,
    Flat,
    HalfNormal,
    HalfT,
    InverseChiSquare,
    Normal,
    StudentT,
)

HERE = Path(__file__).with_name("hierarchical_binomial")
DATA = json.loads((HERE / "data.json").read_text())
REFERENCE = json.loads((HERE / "reference.json").read_text())
FAMILIES = {
    "flat": Flat,
    "normal": Normal,
    "student-t": StudentT,
    "half-normal": HalfNormal,
    "half-t": HalfT,
    "inverse-chi-square": InverseChiSquare,
}
N_ERRORS = 4.5


def prior_of(data):
    return BinomialPrior(
        *(FAMILIES[p["name"]](**{k: v for k, v in p.items() if k != "name"}) for p in data["prior"])
    )


def fit(name, n_draws=8192):
    cluster, arm, successes, trials = np.array(DATA[name]["rows"]).T
    rng = np.random.default_rng(7)
    return hierarchical_binomial(
        successes, trials, arm, cluster, prior=prior_of(DATA[name]), rng=rng, n_draws=n_draws
    )


def quantities(post):
    """Each quantity's values at the weighted points, (n_points, n)."""
    beta, prob = post.beta, post.point_success_prob
    kappa = np.exp(post.points[:, len(post.arms) :])
    return {
        "beta": beta,
        "beta_variance": (beta - post.mean) ** 2,
        "kappa": kappa,
        "kappa_variance": (kappa - post.kappa_mean) ** 2,
        "log_kappa": np.log(kappa),
        "prob_optimal": (beta == beta.max(axis=1, keepdims=True)).astype(float),
        "success_prob": prob,
        "policy_regret": prob.max(axis=1, keepdims=True) - prob,
    }


def test_there_are_twenty_data_sets_by_two_samplers():
    assert len(DATA) >= 20
    assert all(set(REFERENCE[name]) == {"nutpie", "numpyro"} for name in DATA)


@pytest.mark.parametrize("name", list(DATA))
def test_posterior_agrees_with_both_samplers(name):
    post = fit(name)
    assert post.diagnostics.method == "importance"
    for sampler, reference in REFERENCE[name].items():
        for quantity, values in quantities(post).items():
            ours = arm_draws.mean(values, post.weights)
            own_error = arm_draws.sd(values, post.weights) / np.sqrt(post.diagnostics.ess)
            # a probability that the reference never saw has an error of about one draw
            error = np.sqrt(np.square(reference[quantity + "_mcse"]) + own_error**2) + 2e-5
            away = np.abs(ours - np.array(reference[quantity])) / error
            assert away.max() < N_ERRORS, (sampler, quantity, away.round(1))


@pytest.mark.parametrize("name", ["wave 1", "two waves", "binary"])
def test_few_points_give_prob_optimal_within_half_a_percentage_point(name):
    exact = fit(name, 32768).prob_optimal
    errors = []
    for seed in range(20):
        cluster, arm, successes, trials = np.array(DATA[name]["rows"]).T
        post = hierarchical_binomial(
            successes, trials, arm, cluster, rng=np.random.default_rng(seed), n_draws=512
        )
        errors.append(post.prob_optimal - exact)
    assert np.sqrt(np.mean(np.square(errors))) < 0.005
