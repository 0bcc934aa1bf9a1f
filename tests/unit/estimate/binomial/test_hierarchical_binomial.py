"""Results, options, refusals and hard cases of the hierarchical binomial model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from wavewise.errors import EstimationError, InputError, UnavailableError
from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.binomial import importance as binomial_importance
from wavewise.estimate.binomial import model as binomial_nuts
from wavewise.estimate.binomial import results as binomial_diagnostics
from wavewise.estimate.binomial.data import collapse, read_rows, to_cells
from wavewise.estimate.binomial.importance import fit_points, refine
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.priors import (
    STUDY_PRIORS,
    BinomialPrior,
    HalfNormal,
    HalfT,
    InverseChiSquare,
    Normal,
    StudentT,
)
from wavewise.estimate.sensitivity import prior_sensitivity
from wavewise.shared.results import NotEstimable

BETA = np.array([-2.5, -2.2, -3.0])


def simulate(seed=0, n_units=600, n_clusters=30, kappa=0.5, beta=BETA, trials=9, phi=None):
    rng = np.random.default_rng(seed)
    arm, cluster = rng.integers(0, beta.size, n_units), rng.integers(0, n_clusters, n_units)
    prob = 1 / (1 + np.exp(-(beta[arm] + kappa * rng.normal(size=n_clusters)[cluster])))
    if phi is not None:
        prob = rng.beta(prob * phi, (1 - prob) * phi)
    names = np.array(["T1A", "T1B", "T2A", "T2B"])[arm]
    return rng.binomial(trials, prob), np.full(n_units, trials), names, cluster


def fit(data, seed=1, **options):
    successes, trials, arm, cluster = data
    rng = np.random.default_rng(seed)
    return hierarchical_binomial(successes, trials, arm=arm, cluster=cluster, rng=rng, **options)


@pytest.fixture(scope="module")
def post():
    return fit(simulate())


def test_forms(post):
    assert post.arms == ("T1A", "T1B", "T2A")
    assert post.draws.shape == (1024, 3)
    assert post.kappa_draws.shape == (1024,)
    for name in ("prob_optimal", "log_prob_optimal", "success_prob", "policy_regret", "mean", "sd"):
        assert getattr(post, name).shape == (3,)
        assert not getattr(post, name).flags.writeable
    assert not post.draws.flags.writeable
    assert post.prob_optimal.sum() == pytest.approx(1)
    assert post.diagnostics.method == "importance"
    assert 0.9 < post.diagnostics.ess_share <= 1
    assert post.diagnostics.pareto_k < 0.7
    assert [check.passed for check in post.checks] == [True]


def test_draws_tell_the_same_as_the_weighted_points(post):
    error = post.sd / np.sqrt(1024)
    assert np.abs(post.draws.mean(axis=0) - post.mean).max() < 4 * error.max()
    best = np.bincount(post.draws.argmax(axis=1), minlength=3) / 1024
    assert best == pytest.approx(post.prob_optimal, abs=0.05)
    for kind in ("hpd", "equal-tailed"):
        bounds = post.cred_int(0.9, kind=kind)
        inside = ((post.draws >= bounds[:, 0]) & (post.draws <= bounds[:, 1])).mean(axis=0)
        assert inside == pytest.approx([0.9] * 3, abs=0.04)


def test_success_probability_is_a_mean_over_clusters_not_logistic_of_the_mean(post):
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    eta = post.draws[:, :, None] + post.kappa_draws[:, None, None] * nodes
    over_clusters = (1 / (1 + np.exp(-eta))) @ (weights / weights.sum())
    assert post.success_prob == pytest.approx(over_clusters.mean(axis=0), rel=0.02)
    assert (post.success_prob > 1 / (1 + np.exp(-post.mean))).all()
    regret = (over_clusters.max(axis=1, keepdims=True) - over_clusters).mean(axis=0)
    assert post.policy_regret == pytest.approx(regret, abs=0.002)


def test_contrast_and_intervals(post):
    better = post.contrast("T1B", "T2A")
    assert better.mean == pytest.approx(post.mean[1] - post.mean[2])
    assert better.prob_greater > 0.99
    low, high = better.cred_int(0.95)
    assert low < better.mean < high
    of_prob = post.contrast("T1B", "T2A", of="success_prob")
    assert of_prob.mean == pytest.approx(post.success_prob[1] - post.success_prob[2])
    inside = post.cred_int(0.95, of="success_prob")
    assert ((inside[:, 0] < post.success_prob) & (post.success_prob < inside[:, 1])).all()


def test_output_for_machines_and_people(post):
    frame = post.to_frame()
    assert frame["arm"].to_list() == list(post.arms)
    assert frame["policy_regret"].to_list() == post.policy_regret.tolist()
    report = json.loads(json.dumps(post.to_dict()))
    assert report["version"] == 1
    assert report["diagnostics"]["method"] == "importance"
    assert report["arms"]["prob_optimal"] == post.prob_optimal.tolist()
    text = post.summary()
    for wanted in ("95% HPD", "Prob. best", "Regret", "T1B has the lowest", "new clusters"):
        assert wanted in text


def test_the_clusters_of_the_data_with_their_sizes():
    data = simulate(n_clusters=5, kappa=1.0)
    new, these = fit(data), fit(data, clusters="these")
    sizes = np.array([1.0, 0, 0, 0, 0])
    first = fit(data, clusters="these", cluster_sizes=sizes)
    y, n, arm, cluster = data
    rates = [y[arm == a].sum() / n[arm == a].sum() for a in these.arms]
    in_first = [
        y[(arm == a) & (cluster == 0)].sum() / n[(arm == a) & (cluster == 0)].sum()
        for a in these.arms
    ]
    assert these.success_prob == pytest.approx(rates, abs=0.02)
    assert np.mean(first.success_prob) == pytest.approx(np.mean(in_first), abs=0.03)
    # five known clusters are far surer than clusters yet to be seen
    width = np.ptp(these.cred_int(of="success_prob"), axis=1)
    assert (width < 0.5 * np.ptp(new.cred_int(of="success_prob"), axis=1)).all()
    assert "clusters of the data" in these.summary()
    with pytest.raises(InputError, match="one per cluster"):
        fit(data, clusters="these", cluster_sizes=[1.0, 2.0])
    with pytest.raises(InputError, match="none above 0"):
        fit(data, clusters="these", cluster_sizes=np.zeros(5))


def rows(*cells):
    return tuple(np.array(column) for column in zip(*cells, strict=True))


def test_refusals():
    good = simulate()
    y, n, arm, cluster = good
    with pytest.raises(InputError, match="more than trials"):
        fit((n + 1, n, arm, cluster))
    with pytest.raises(InputError, match="counts are wrong"):
        fit((-y - 1, n, arm, cluster))
    with pytest.raises(InputError, match="counts are wrong"):
        fit((y + 0.5, n, arm, cluster))
    with pytest.raises(InputError, match="counts are wrong"):
        fit((np.where(y > 100, y, np.nan), n, arm, cluster))
    with pytest.raises(InputError, match="600 successes and 599 trials"):
        fit((y, n[1:], arm, cluster))
    with pytest.raises(InputError, match="cluster: found 1 missing"):
        fit((y, n, arm, [None, *cluster[1:].tolist()]))
    with pytest.raises(InputError, match="successes: found text"):
        fit((["a"] * 600, n, arm, cluster))
    with pytest.raises(EstimationError, match=r"T1A.*no trials"):
        fit((np.where(arm == "T1A", 0, y), np.where(arm == "T1A", 0, n), arm, cluster))
    for option, value in {
        "method": "stan",
        "clusters": "some",
        "overdispersion": "poisson",
        "n_draws": 0,
    }.items():
        with pytest.raises(InputError, match=option):
            fit(good, **{option: value})


def test_wrong_priors_are_refused():
    with pytest.raises(InputError, match="sd -1"):
        Normal(-1)
    with pytest.raises(InputError, match="on beta"):
        BinomialPrior(beta=HalfNormal())
    with pytest.raises(InputError, match="on kappa"):
        BinomialPrior(kappa=Normal())
    with pytest.raises(InputError, match="df"):
        HalfT(df=np.inf)


def test_an_arm_without_success_needs_a_proper_prior():
    cells = [(int(c % 3 == 0), 9, "a", c) for c in range(12)]
    cells += [(0, 9, "b", c) for c in range(12)]
    with pytest.raises(EstimationError, match=r"arm b: no success.*Normal\(2.5\)"):
        fit(rows(*cells))
    with pytest.raises(EstimationError, match="arm a: no failure"):
        fit(rows((5, 5, "a", 0), (3, 5, "b", 0)))
    post = fit(rows(*cells), prior=BinomialPrior(beta=Normal(2.5)))
    assert post.diagnostics.pareto_k < 0.7
    assert post.prob_optimal[0] > 0.95


def test_all_zeros():
    cells = [(0, 9, a, c) for c in range(10) for a in "ab"]
    with pytest.raises(EstimationError, match="improper"):
        fit(rows(*cells))
    post = fit(rows(*cells), prior=BinomialPrior(beta=Normal(2.5)), n_draws=4096)
    assert post.prob_optimal == pytest.approx([0.5, 0.5], abs=0.02)
    assert (post.success_prob < 0.05).all()


@pytest.mark.parametrize("prior", [StudentT(1, 10), Normal(10), StudentT(3, 2.5)])
def test_an_arm_without_success_under_wide_priors(prior):
    cells = [(int(c % 3 == 0), 9, "a", c) for c in range(12)]
    cells += [(0, 9, "b", c) for c in range(12)]
    post = fit(rows(*cells), prior=BinomialPrior(beta=prior), n_draws=4096)
    # exact: the posterior of beta_b alone is its prior times the chance of no success
    assert post.diagnostics.ess > 300
    assert post.prob_optimal[0] > 0.95


def test_a_large_cluster_beside_empty_ones():
    cells = [(80, 340, "a", 0), (83, 362, "b", 0)]
    cells += [(int(c % 9 == 0), 12, "a", c) for c in range(1, 60)]
    cells += [(0, 9, "b", c) for c in range(1, 60)]
    post = fit(rows(*cells))
    assert post.diagnostics.ess_share > 0.5
    assert post.diagnostics.quadrature_error < 0.05
    assert post.kappa_mean > 1


@pytest.mark.parametrize("kappa", [0.0, 0.02, 3.5])
def test_kappa_near_0_and_above_3(kappa):
    post = fit(simulate(seed=3, kappa=kappa, n_clusters=40, n_units=1200), n_draws=2048)
    low, high = np.quantile(post.kappa_draws, [0.001, 0.999])
    assert low <= max(kappa, low) <= high
    assert post.diagnostics.ess_share > 0.5


def test_one_cluster_one_arm_and_five_thousand_clusters():
    one = fit(simulate(n_clusters=1))
    assert one.diagnostics.ess_share > 0.5
    # the common level is lost in the one cluster's effect; the contrast is not
    assert one.sd[1] > 3 * one.contrast("T1B", "T1A").sd
    single = fit(simulate(beta=BETA[:1]))
    assert single.prob_optimal.tolist() == [1.0]
    assert single.policy_regret.tolist() == [0.0]
    many = fit(simulate(n_clusters=5000, n_units=20_000))
    assert many.kappa_mean == pytest.approx(0.5, abs=0.08)
    assert many.mean == pytest.approx(BETA, abs=0.15)


def test_clusters_without_trials_change_nothing():
    y, n, arm, cluster = simulate()
    more = (
        np.append(y, 0),
        np.append(n, 0),
        np.append(arm, "T1A"),
        np.append(cluster, 999),
    )
    assert (fit(more).draws == fit((y, n, arm, cluster)).draws).all()


def test_nuts_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setattr(binomial_nuts, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "nutpie", None)
    with pytest.raises(UnavailableError, match="'bayes'"):
        fit(simulate(), method="nuts")


def test_a_fit_that_fails_a_gate_says_which(monkeypatch):
    monkeypatch.setattr(binomial_diagnostics, "LEAST_ESS", 1e9)
    monkeypatch.setattr(binomial_importance, "_N_REFITS", 1)
    monkeypatch.setattr(binomial_nuts, "find_spec", lambda name: None)
    with pytest.raises(EstimationError, match=r"effective sample size.*extra 'bayes'"):
        fit(simulate(n_clusters=3, n_units=60))


def test_nuts_takes_over_where_a_gate_fails(monkeypatch):
    data = simulate(n_clusters=10, n_units=300)
    exact = fit(data, n_draws=8192)
    monkeypatch.setattr(binomial_importance, "_N_REFITS", 1)
    monkeypatch.setattr(binomial_diagnostics, "MOST_PARETO_K", -9.0)
    with pytest.raises(EstimationError, match=r"by importance: found gates that fail.*Pareto k"):
        fit(data, method="importance")
    post = fit(data)
    assert post.diagnostics.method == "nuts"
    assert any("Pareto k" in gate for gate in post.diagnostics.failed)
    assert post.diagnostics.r_hat < 1.02
    assert post.checks[0].passed
    assert "nuts" in post.provenance.method
    error = np.hypot(1 / np.sqrt(post.diagnostics.ess), 1 / np.sqrt(exact.diagnostics.ess))
    assert (np.abs(post.mean - exact.mean) < 4 * error * exact.sd).all()
    assert np.abs(post.sd / exact.sd - 1).max() < 4 * error
    assert np.abs(post.prob_optimal - exact.prob_optimal).max() < 2 * error


def test_points_are_accuracy_and_draws_are_another_thing():
    data = simulate()
    exact = fit(data, n_points=32768).prob_optimal
    few = [fit(data, seed, n_points=128) for seed in range(20)]
    assert few[0].draws.shape == (1024, 3)
    assert few[0].points.shape[0] == 128

    def error(estimates):
        return np.sqrt(np.mean((np.array(estimates) - exact) ** 2))

    assert 0 < error([post.prob_optimal for post in few]) < 0.005
    # the weighted points alone, without what more points of the proposal add
    alone = [arm_draws.prob_optimal(post.beta, post.weights) for post in few]
    assert error([post.prob_optimal for post in few]) < 0.7 * error(alone)
    assert (fit(data).best_shift == 0).all()
    assert fit(data, n_draws=100).points.shape[0] == 512
    with pytest.raises(InputError, match="n_points: found 127; needed at least 128"):
        fit(data, n_points=127)


def test_few_points_need_a_share_of_them():
    gates = {
        n: replace(fit(simulate(), n_points=n).diagnostics, ess_share=0.59) for n in (128, 1024)
    }
    assert gates[128].faults == ("effective sample size: 75.5, needed 76.8 or more",)
    assert gates[1024].faults == ()
    assert gates[1024].least_ess == 300


def test_refinement_finds_the_same_posterior_from_bad_points():
    y, n, arm, cluster = simulate()
    cells = to_cells(read_rows(y, n, arm, cluster))
    good = fit_points(
        collapse(cells.successes, cells.trials), BinomialPrior(), 2048, np.random.default_rng(0)
    )
    rng = np.random.default_rng(1)
    away = good.points[:600] + rng.normal(0, 0.15, (600, 4))
    bad = replace(good, points=away, weights=np.full(600, 1 / 600))
    found = refine(bad, rng)
    assert found.diagnostics.n_refinements >= 1
    assert not found.diagnostics.faults
    sd = np.sqrt(good.weights @ (good.points - good.weights @ good.points) ** 2)
    away = found.weights @ found.points - good.weights @ good.points
    assert (np.abs(away) < 5 * sd / np.sqrt(found.diagnostics.ess)).all()


def test_every_prior_that_the_study_tried():
    y, n, arm, cluster = simulate()
    rng = np.random.default_rng(2)
    found = prior_sensitivity(y, n, arm, cluster, rng=rng, n_draws=512)
    assert len(found.priors) == len(STUDY_PRIORS) == 8
    assert found.agree
    assert set(found.best_arms) == {"T1B"}
    assert found.to_frame().height == 24
    assert json.loads(json.dumps(found.to_dict()))["agree"] is True
    assert "inverse chi-square(1)" in found.summary()
    assert isinstance(found.priors[6].kappa, InverseChiSquare)


def test_a_prior_without_posterior_is_a_reason_not_a_number():
    cells = rows((1, 9, "a", 0), (2, 9, "a", 1), (0, 9, "b", 0), (0, 9, "b", 1))
    rng = np.random.default_rng(2)
    found = prior_sensitivity(*cells, priors=STUDY_PRIORS[:4:3], rng=rng, n_draws=512)
    assert isinstance(found.posteriors[0], NotEstimable)
    assert found.best_arms == (None, "a")
    assert "improper" in found.summary()
    with pytest.raises(InputError, match="priors: found none"):
        prior_sensitivity(*cells, priors=(), rng=rng)
