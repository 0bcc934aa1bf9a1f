"""Priors of single arms in the hierarchical binomial model, against sums over a grid."""

import numpy as np
import pytest
from scipy import special, stats

import wavewise as ww
from wavewise.errors import EstimationError, InputError

ARM = np.tile(["a", "b"], 8)
CLUSTER = np.repeat(np.arange(8), 2)
TRIALS = np.full(16, 12)
Y = np.array([2, 4, 1, 3, 5, 6, 0, 2, 3, 3, 4, 7, 1, 1, 2, 5])


def on_a_grid(prior_a, prior_b):
    """Posterior means and standard deviations of beta by brute force."""
    a, b, kappa = (np.linspace(-3, 1.5, 46), np.linspace(-3, 1.5, 46), np.linspace(0.02, 2.5, 40))
    z, mass = np.polynomial.hermite_e.hermegauss(31)
    log_like = np.zeros((46, 46, 40))
    for c in range(8):
        eta = kappa[:, None] * z
        of_a = stats.binom.logpmf(Y[2 * c], 12, special.expit(a[:, None, None] + eta))
        of_b = stats.binom.logpmf(Y[2 * c + 1], 12, special.expit(b[:, None, None] + eta))
        joint = np.exp(of_a[:, None] + of_b[None])
        log_like += np.log(joint @ (mass / mass.sum()))
    log_post = log_like + prior_a(a)[:, None, None] + prior_b(b)[None, :, None] - kappa**2 / 2
    weight = np.exp(log_post - log_post.max())
    weight /= weight.sum()
    out = []
    for axis, grid in ((0, a), (1, b)):
        margin = weight.sum(axis=tuple({0, 1, 2} - {axis}))
        mean = margin @ grid
        out.append((mean, np.sqrt(margin @ (grid - mean) ** 2)))
    return np.array(out)


def fitted(prior):
    return ww.estimate.hierarchical_binomial(
        Y, TRIALS, ARM, CLUSTER, prior=prior, rng=np.random.default_rng(1), n_draws=2048
    )


@pytest.mark.parametrize("known", ["a", "both"])
def test_each_arm_has_its_own_prior(known: str) -> None:
    strong = ww.estimate.Normal(0.2, -0.3)
    weak = ww.estimate.Normal(0.5, -1.5)
    beta = {"a": strong} if known == "a" else {"a": strong, "b": weak}
    found = fitted(ww.estimate.BinomialPrior(beta=beta))
    expected = on_a_grid(
        stats.norm(-0.3, 0.2).logpdf,
        np.zeros_like if known == "a" else stats.norm(-1.5, 0.5).logpdf,
    )
    assert found.mean == pytest.approx(expected[:, 0], abs=0.015)
    assert found.sd == pytest.approx(expected[:, 1], rel=0.05)
    assert type(found).from_dict(found.to_dict()) == found


def test_the_same_prior_for_all_is_the_same_either_way() -> None:
    one = fitted(ww.estimate.BinomialPrior(beta=ww.estimate.Normal(1.0, -1.0)))
    each = fitted(
        ww.estimate.BinomialPrior(beta=dict.fromkeys("ab", ww.estimate.Normal(1.0, -1.0)))
    )
    assert each.prob_optimal == pytest.approx(one.prob_optimal, rel=1e-9)
    assert each.mean == pytest.approx(one.mean, rel=1e-9)


def test_only_arms_with_a_flat_prior_need_successes_and_failures() -> None:
    none = np.where(ARM == "a", 0, Y)
    with pytest.raises(EstimationError, match="arm a: no success"):
        ww.estimate.hierarchical_binomial(none, TRIALS, ARM, CLUSTER, rng=np.random.default_rng(1))
    known = ww.estimate.BinomialPrior(beta={"a": ww.estimate.Normal(1.0, -2.0)})
    found = ww.estimate.hierarchical_binomial(
        none, TRIALS, ARM, CLUSTER, prior=known, rng=np.random.default_rng(1), n_draws=256
    )
    assert found.prob_optimal[1] > 0.9
    with pytest.raises(InputError, match="found a prior of z"):
        fitted(ww.estimate.BinomialPrior(beta={"z": ww.estimate.Normal(1.0)}))
