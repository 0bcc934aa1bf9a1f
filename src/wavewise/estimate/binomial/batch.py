"""Many data sets of the same shape under the hierarchical binomial model, for simulated designs."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.binomial.data import collapse
from wavewise.estimate.binomial.importance import fit_points
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.estimate.binomial.results import refused
from wavewise.estimate.binomial.success import over_new_clusters
from wavewise.shared.results import FloatArray, NotEstimable, read_only

__all__ = ["BinomialBatch", "fit_many"]

_DEFAULT = BinomialPrior()


@dataclass(frozen=True, eq=False)
class BinomialBatch:
    """What a decision needs of each data set; rows of data sets without a posterior are nan."""

    # prob_optimal, success_prob, policy_regret: (n_sets, n_arms)
    prob_optimal: FloatArray
    success_prob: FloatArray
    policy_regret: FloatArray
    # beta_mean, beta_sd: (n_sets, n_arms)
    beta_mean: FloatArray
    beta_sd: FloatArray
    kappa_mean: FloatArray  # (n_sets,)
    # ess_share, pareto_k: (n_sets,)
    ess_share: FloatArray
    pareto_k: FloatArray
    not_estimable: dict[int, NotEstimable]  # Data sets without a posterior, with the reason.


def fit_many(
    successes: FloatArray,
    trials: FloatArray,
    *,
    prior: BinomialPrior = _DEFAULT,
    rng: np.random.Generator,
    n_points: int = 512,
    n_threads: int = 1,
) -> BinomialBatch:
    """Posteriors of many data sets of the same shape."""
    y, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if y.ndim != 3 or y.shape != n.shape or not y.size:
        raise InputError(
            f"found successes of shape {y.shape} and trials of shape {n.shape}; needed both "
            "(n_sets, n_clusters, n_arms)"
        )
    streams = rng.spawn(y.shape[0])

    def fit(i: int) -> FloatArray | NotEstimable:
        try:
            return _fit(y[i], n[i], prior, n_points, streams[i])
        except EstimationError as error:
            return NotEstimable(str(error))

    if n_threads == 1:
        return _gathered([fit(i) for i in range(y.shape[0])], y.shape[2])
    with ThreadPoolExecutor(n_threads) as pool:
        return _gathered(list(pool.map(fit, range(y.shape[0]))), y.shape[2])


def _fit(
    successes: FloatArray,
    trials: FloatArray,
    prior: BinomialPrior,
    n_points: int,
    rng: np.random.Generator,
) -> FloatArray:
    """All numbers of one data set in a row."""
    total, n_arms = successes.sum(axis=0), successes.shape[1]
    flat = prior.is_flat(total.size)
    if (flat & ((total == 0) | (total == trials.sum(axis=0)))).any():
        raise EstimationError("an arm has no success or no failure, and the prior on beta is flat")
    fit = fit_points(collapse(successes, trials), prior, n_points, rng)
    if fit.diagnostics.faults:
        raise refused(fit.diagnostics, "fit this data set by itself")
    values, beta = over_new_clusters(fit.points), fit.points[:, :n_arms]
    return np.concatenate(
        [
            fit.prob_optimal(),
            arm_draws.mean(values, fit.weights),
            arm_draws.policy_regret(values, fit.weights),
            arm_draws.mean(beta, fit.weights),
            arm_draws.sd(beta, fit.weights),
            [
                float((fit.weights * np.exp(fit.points[:, n_arms])).sum()),
                fit.diagnostics.ess_share,
                fit.diagnostics.pareto_k,
            ],
        ]
    )


def _gathered(fits: Sequence[FloatArray | NotEstimable], n_arms: int) -> BinomialBatch:
    rows = np.full((len(fits), 5 * n_arms + 3), np.nan)
    for i, one in enumerate(fits):
        if not isinstance(one, NotEstimable):
            rows[i] = one
    prob, success, regret, mean, sd = (
        read_only(rows[:, n_arms * j : n_arms * (j + 1)]) for j in range(5)
    )
    kappa, ess_share, pareto_k = (read_only(rows[:, 5 * n_arms + j]) for j in range(3))
    return BinomialBatch(
        prob_optimal=prob,
        success_prob=success,
        policy_regret=regret,
        beta_mean=mean,
        beta_sd=sd,
        kappa_mean=kappa,
        ess_share=ess_share,
        pareto_k=pareto_k,
        not_estimable={i: one for i, one in enumerate(fits) if isinstance(one, NotEstimable)},
    )
