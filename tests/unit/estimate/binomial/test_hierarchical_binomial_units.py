"""Overdispersion, predictive checks, batches, and the parts that need no model."""

import numpy as np
import pytest
from scipy import stats

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.binomial.batch import fit_many
from wavewise.estimate.binomial.data import collapse
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.predictive import posterior_predictive_check
from wavewise.estimate.binomial.proposal import warp_at, warp_of
from wavewise.estimate.numerics.importance import lattice

BETA = np.array([-2.6, -2.3, -3.1])


def units(seed=0, rho=0.0, n_units=900, n_clusters=60, kappa=0.5):
    rng = np.random.default_rng(seed)
    arm, cluster = rng.integers(0, 3, n_units), rng.integers(0, n_clusters, n_units)
    prob = 1 / (1 + np.exp(-(BETA[arm] + kappa * rng.normal(size=n_clusters)[cluster])))
    if rho > 0:
        phi = (1 - rho) / rho
        prob = rng.beta(prob * phi, (1 - prob) * phi)
    return rng.binomial(9, prob), np.full(n_units, 9), arm, cluster


def fit(data, **options):
    return hierarchical_binomial(*data, rng=np.random.default_rng(1), **options)


def check(post, data):
    return posterior_predictive_check(post, *data, rng=np.random.default_rng(2))


def test_the_check_flags_the_plain_model_where_units_vary_three_times_as_much():
    data = units(rho=0.25)  # 1 + 8 * .25 = 3 times the binomial variance
    plain, wide = fit(data), fit(data, overdispersion="beta-binomial")
    found = check(plain, data)
    assert found.passed is False
    assert "beta-binomial" in found.text
    zeros = next(r for r in found.table if r["arm"] == "all")
    assert zeros["observed"] > zeros["high"]
    assert check(wide, data).passed is True
    low, high = np.quantile(wide.rho_draws, [0.001, 0.999])
    assert low < 0.25 < high
    # what the units share is not mistaken for differences between clusters, and all is less sure
    assert wide.kappa_mean < plain.kappa_mean
    assert wide.contrast("1", "0").sd > 1.2 * plain.contrast("1", "0").sd
    assert "rho" in wide.summary()


def test_the_check_passes_on_data_of_the_model():
    passed = [check(fit(data), data).passed for data in (units(seed=s) for s in range(8))]
    assert sum(passed) >= 7


def test_no_verdict_where_the_spread_of_units_is_not_seen():
    data = units()
    binary = (np.minimum(data[0], 1), np.ones(900), *data[2:])
    assert check(fit(binary), binary).passed is None
    y, n, arm, cluster = data
    cell = cluster * 3 + arm
    keys = np.unique(cell)
    sums = (np.bincount(cell, y)[keys], np.bincount(cell, n)[keys], keys % 3, keys // 3)
    found = check(fit(sums), sums)
    assert found.passed is None
    assert "sums over units" in found.text
    with pytest.raises(EstimationError, match="one row per unit"):
        fit(sums, overdispersion="beta-binomial")
    with pytest.raises(EstimationError, match="several trials a unit"):
        fit(binary, overdispersion="beta-binomial")


def test_the_check_needs_the_rows_of_the_fit():
    data = units()
    with pytest.raises(InputError, match="fitted to"):
        check(fit(data), tuple(column[1:] for column in data))
    with pytest.raises(InputError, match="n_replications"):
        posterior_predictive_check(
            fit(data), *data, rng=np.random.default_rng(0), n_replications=10
        )


def test_the_plain_model_has_no_rho():
    with pytest.raises(EstimationError, match="rho"):
        _ = fit(units()).rho_draws


def test_a_batch_is_its_single_fits_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    trials = rng.integers(0, 60, (12, 20, 3)).astype(float)
    successes = rng.binomial(trials.astype(int), 0.2).astype(float)
    successes[5, :, 1] = 0
    one, two = (
        fit_many(successes, trials, rng=np.random.default_rng(3), n_threads=n) for n in (1, 2)
    )
    for name in ("prob_optimal", "policy_regret", "beta_mean", "kappa_mean"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert list(one.not_estimable) == [5]
    assert np.isnan(one.prob_optimal[5]).all()
    cluster, arm = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    single = hierarchical_binomial(
        successes[0].ravel(), trials[0].ravel(), arm, cluster, rng=rng, n_draws=4096
    )
    assert one.beta_mean[0] == pytest.approx(single.mean, abs=0.02)
    assert one.prob_optimal[0] == pytest.approx(single.prob_optimal, abs=0.03)
    with pytest.raises(InputError, match="n_sets"):
        fit_many(successes[0], trials[0], rng=rng)


def test_collapse_keeps_every_count():
    rng = np.random.default_rng(0)
    trials = rng.integers(0, 3, (200, 2)).astype(float)
    trials[:4] = 0
    successes = np.minimum(trials, rng.integers(0, 2, (200, 2)))
    counts = collapse(successes, trials)
    copies = np.concatenate([block.copies for block in counts.blocks])
    by_place = np.concatenate([block.trials for block in counts.blocks], axis=1)
    total = np.concatenate([block.successes for block in counts.blocks])
    assert copies.sum() == (trials.sum(axis=1) > 0).sum()
    assert by_place @ copies == pytest.approx(trials.sum(axis=0))
    assert total @ copies == successes.sum()
    assert (counts.of_cluster[:4] == -1).all()
    full = trials.sum(axis=1) > 0
    place = counts.of_cluster[full]
    assert (trials[full] == by_place[:, place].T).all()
    assert (total[place] == successes.sum(axis=1)[full]).all()


def test_lattice_is_even():
    points = lattice(1024, 8, np.random.default_rng(0))
    assert points.min() > 0
    assert points.max() < 1
    for column in points.T:  # one point in each of 1,024 intervals
        assert np.ptp(np.sort(column) - np.arange(1024) / 1024) < 1.0 / 1024 + 1e-9
    # products of smooth functions of two coordinates: far better than independent draws
    errors = [
        np.mean(np.cos(2 * np.pi * points[:, i]) * np.cos(2 * np.pi * points[:, j]))
        for i in range(8)
        for j in range(i)
    ]
    assert np.abs(errors).max() < 1e-9
    assert lattice(7, 30, np.random.default_rng(0)).shape == (7, 30)


@pytest.mark.parametrize("law", [stats.norm(0, 1), stats.gumbel_l(0, 1), stats.logistic(0, 0.7)])
def test_warp_gives_the_law(law):
    values, slopes = warp_of(law.logpdf)
    scores = np.linspace(-3.3, 3.3, 41)
    found = np.array([warp_at(values, slopes, v) for v in scores])
    assert found[:, 0] == pytest.approx(law.ppf(stats.norm.cdf(scores)), abs=5e-3)
    h = 1e-5
    rise = [
        (warp_at(values, slopes, v + h)[0] - warp_at(values, slopes, v - h)[0]) / (2 * h)
        for v in scores + 0.01
    ]
    assert [warp_at(values, slopes, v)[1] for v in scores + 0.01] == pytest.approx(rise, rel=1e-4)


class TestArmDraws:
    draws = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 5.0], [1.0, 0.0, 4.0]])

    def test_prob_optimal_shares_ties(self):
        assert arm_draws.prob_optimal(self.draws).tolist() == [0.25, 0.125, 0.625]
        weights = np.array([1.0, 3.0, 0.0, 0.0])
        assert arm_draws.prob_optimal(self.draws, weights).tolist() == [0.75, 0.0, 0.25]

    def test_regret(self):
        assert arm_draws.policy_regret(self.draws).tolist() == [2.5, 1.75, 0.25]

    def test_weights_are_repeated_draws(self):
        rng = np.random.default_rng(0)
        column = rng.normal(size=(200, 2))
        times = rng.integers(0, 4, 200)
        repeated = np.repeat(column, times, axis=0)
        weights = times.astype(float)
        for kind in arm_draws.KINDS:
            ours = arm_draws.cred_int(column, 0.8, kind, weights)
            assert ours == pytest.approx(arm_draws.cred_int(repeated, 0.8, kind), abs=0.05)
        assert arm_draws.sd(column, weights) == pytest.approx(repeated.std(axis=0))

    def test_highest_density_is_the_shortest(self):
        column = np.random.default_rng(0).exponential(size=20_000)
        low, high = arm_draws.highest_density(column, 0.9)
        assert low == pytest.approx(0, abs=0.01)
        assert high == pytest.approx(-np.log(0.1), abs=0.08)

    def test_refusals(self):
        with pytest.raises(InputError, match=r"prob: found 1\.5"):
            arm_draws.cred_int(self.draws, 1.5)
        with pytest.raises(InputError, match="kind: found 'shortest'"):
            arm_draws.cred_int(self.draws, 0.9, "shortest")
        with pytest.raises(InputError, match="weights"):
            arm_draws.mean(self.draws, np.ones(3))
        with pytest.raises(InputError, match="negative"):
            arm_draws.mean(self.draws, np.array([1.0, -1, 1, 1]))
        with pytest.raises(InputError, match="itself"):
            arm_draws.contrast(self.draws, "abc", "a", "a")
        with pytest.raises(InputError, match="needed one of a, b, c"):
            arm_draws.contrast(self.draws, "abc", "a", "d")

    def test_contrast_and_rows(self):
        found = arm_draws.contrast(self.draws, "abc", "c", "b")
        assert (found.mean, found.prob_greater) == (1.5, 0.875)
        assert found.to_dict()["arm"] == "c"
        table = arm_draws.summary_rows("abc", self.draws, best=np.ones(3), regret=np.zeros(3))
        assert [row.arm for row in table] == ["a", "b", "c"]
