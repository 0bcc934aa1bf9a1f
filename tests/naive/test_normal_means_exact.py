"""Posterior of arm means against closed forms of two arms, and against plain integration."""

import numpy as np
import pytest
from scipy import integrate, stats

import wavewise as ww
from wavewise.errors import EstimationError


def fit(n=60, shift=(0.0, 0.1, 0.3), scale=(1.0, 2.0, 0.5), seed=1):
    rng = np.random.default_rng(seed)
    arm = np.repeat(["a", "b", "c"][: len(shift)], n)
    outcome = rng.normal(np.repeat(shift, n), np.repeat(scale[: len(shift)], n))
    return ww.estimate.normal_means(outcome, arm), outcome.reshape(len(shift), n)


def test_means_and_their_errors_are_those_of_each_arm():
    found, values = fit()
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.sd, values.std(axis=1, ddof=1) / np.sqrt(60), rtol=1e-9)


@pytest.mark.parametrize("shift", [(0.0, 0.1), (0.0, 3.0), (0.0, 40.0)])
def test_two_arms_in_closed_form(shift):
    found, _ = fit(shift=shift)
    gap, spread = found.mean[1] - found.mean[0], np.hypot(*found.sd)
    np.testing.assert_allclose(
        found.log_prob_optimal, stats.norm.logcdf([-gap / spread, gap / spread]),
        rtol=1e-7, atol=1e-12,
    )  # fmt: skip
    loss = [
        spread * stats.norm.pdf(d / spread) + d * stats.norm.cdf(d / spread) for d in (gap, -gap)
    ]
    np.testing.assert_allclose(found.policy_regret, loss, rtol=1e-8, atol=1e-12)


def test_three_arms_by_plain_integration():
    found, _ = fit()
    laws = [stats.norm(m, s) for m, s in zip(found.mean, found.sd, strict=True)]

    def best(k):
        others = [law for j, law in enumerate(laws) if j != k]
        return integrate.quad(
            lambda x: laws[k].pdf(x) * np.prod([law.cdf(x) for law in others]), -4, 4,
            points=list(found.mean), limit=500,
        )[0]  # fmt: skip

    np.testing.assert_allclose(found.prob_optimal, [best(k) for k in range(3)], atol=1e-8)
    draws = np.column_stack([law.rvs(400_000, random_state=k) for k, law in enumerate(laws)])
    regret = draws.max(axis=1).mean() - draws.mean(axis=0)
    np.testing.assert_allclose(found.policy_regret, regret, atol=2e-3)


def test_what_cannot_be_estimated():
    with pytest.raises(EstimationError, match="less than two units"):
        ww.estimate.normal_means([1.0, 2.0, 3.0], ["a", "a", "b"])
    with pytest.raises(EstimationError, match="no variation in b"):
        ww.estimate.normal_means([1.0, 2.0, 3.0, 3.0], ["a", "a", "b", "b"])


def test_decisions_take_it():
    found, _ = fit()
    assert ww.decide.best_arm(found).arm in found.arms
    assert sum(ww.decide.next_shares(found).shares) == pytest.approx(1)
