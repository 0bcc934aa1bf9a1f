"""Posterior predictive check: whether the fitted model could have made data like these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.estimate.binomial.data import Rows, read_rows
from wavewise.estimate.binomial.results import HierarchicalBinomial
from wavewise.estimate.binomial.success import cluster_effects
from wavewise.shared.inputs import aligned
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray

__all__ = ["posterior_predictive_check"]

# share of replications that may be beyond the data on one side, over all statistics together
_LEVEL = 0.01
_NAME = "posterior predictive check"
_STATISTICS = ("share of zeros", "variance of the share of successes")


@dataclass(frozen=True, eq=False)
class _Statistics:
    """Statistics by arm and over all units, and the distribution of successes by arm."""

    values: FloatArray  # (2, n_arms + 1)
    histogram: FloatArray  # (n_arms, most successes + 1)


@renamed("rng", "n_replications")
@aligned("successes", "trials", "arm", "cluster")
def posterior_predictive_check(
    post: HierarchicalBinomial,
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    arm: Any,
    cluster: Any,
    *,
    rng: np.random.Generator,
    n_replications: int = 400,
) -> CheckResult:
    """Share of zeros, variance and distribution of successes, against data from the posterior.

    Parameters
    ----------
    post : HierarchicalBinomial
    successes, trials : (n_rows,) array of int
        The rows that `post` was fitted to, one per unit.
    arm, cluster : (n_rows,) array of labels
    rng : numpy.random.Generator
    n_replications : int
        Data sets to draw, 100 or more.

    Returns
    -------
    CheckResult
        Failed where the data are beyond all but half a percent of the replications (less with
        several statistics). `table` has a row for each arm and statistic, with the observed value
        and the replications' mean and 95% range, and a row for each arm and number of successes.
        Inconclusive with yes-or-no outcomes or with sums over units, where the spread of units
        cannot be seen.

    Raises
    ------
    InputError
        Rows whose totals differ from those that `post` was fitted to.

    Notes
    -----
    Each replication takes one draw of the parameters, a cluster effect for each cluster given that
    draw and the data, and new successes for every unit. The distribution by arm is what Figure A.2
    of the study shows. The check uses the data twice, so that it is on the safe side: it flags
    good models less often than its level.

    References
    ----------
    Rubin (1984), *Annals of Statistics* 12, 1151-1172, section 5.
    """
    rows = read_rows(successes, trials, arm, cluster)
    _check_same(post, rows)
    if n_replications < 100:
        raise InputError(f"n_replications: found {n_replications}; needed 100 or more")
    scope = f"all {len(post.arms)} arms, {rows.successes.size:,} rows"
    reason = _no_verdict(post, rows)
    if reason:
        return CheckResult(_NAME, scope, None, f"Inconclusive: {reason}.")
    observed = _statistics(rows, rows.successes)
    replicated = [_statistics(rows, y) for y in _replications(post, rows, n_replications, rng)]
    return _result(post, scope, observed, replicated)


def _check_same(post: HierarchicalBinomial, rows: Rows) -> None:
    totals = (int(rows.successes.sum()), int(rows.trials.sum()))
    wanted = (int(post.cells.successes.sum()), int(post.cells.trials.sum()))
    same_labels = (rows.arm.names, rows.cluster.names) == (post.cells.arms, post.cells.clusters)
    if totals != wanted or not same_labels:
        raise InputError(
            f"rows: found {totals[0]:,} successes of {totals[1]:,} trials with "
            f"{len(rows.arm.names)} arms and {len(rows.cluster.names):,} clusters; needed the rows "
            f"that the posterior was fitted to: {wanted[0]:,} of {wanted[1]:,}"
        )


def _no_verdict(post: HierarchicalBinomial, rows: Rows) -> str:
    if rows.trials.max() < 2:
        return "with one trial a unit the spread of units cannot be seen"
    n_cells = int((post.cells.trials > 0).sum())
    if n_cells > 1 and int((rows.trials > 0).sum()) == n_cells:
        return "the rows are sums over units (one for each arm and cluster); give one row per unit"
    return ""


def _replications(
    post: HierarchicalBinomial, rows: Rows, n: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Successes of every unit, by replication."""
    points = post.sample[rng.integers(post.sample.shape[0], size=n)]
    n_arms = len(post.arms)
    effects = cluster_effects(post.log_posterior, points, rng)
    trials = rows.trials.astype(np.int64)
    out = []
    for point, effect in zip(points, effects, strict=True):
        log_odds = point[rows.arm.codes] + np.exp(point[n_arms]) * effect[rows.cluster.codes]
        prob = 1 / (1 + np.exp(-log_odds))
        if post.overdispersion is not None:
            phi = np.exp(-point[n_arms + 1])
            prob = rng.beta(np.maximum(prob * phi, 1e-12), np.maximum((1 - prob) * phi, 1e-12))
        out.append(rng.binomial(trials, prob).astype(np.float64))
    return out


def _statistics(rows: Rows, successes: FloatArray) -> _Statistics:
    """Share of zeros and variance of the share of successes, by arm and over all units."""
    used = rows.trials > 0
    arm, y, n = rows.arm.codes[used], successes[used], rows.trials[used]
    n_arms, most = len(rows.arm.levels), int(rows.trials.max())
    size = np.bincount(arm, minlength=n_arms)
    zeros = np.bincount(arm, y == 0, n_arms) / size
    share = y / n
    mean = np.bincount(arm, share, n_arms) / size
    variance = np.bincount(arm, (share - mean[arm]) ** 2, n_arms) / size
    together = np.array([zeros @ size, variance @ size]) / size.sum()
    cells = np.bincount(arm * (most + 1) + y.astype(np.int64), minlength=n_arms * (most + 1))
    return _Statistics(
        np.column_stack([np.array([zeros, variance]), together]),
        cells.reshape(n_arms, most + 1) / size[:, None],
    )


def _result(
    post: HierarchicalBinomial, scope: str, observed: _Statistics, replicated: list[_Statistics]
) -> CheckResult:
    values = np.array([one.values for one in replicated])
    above = (values > observed.values).mean(axis=0) + 0.5 * (values == observed.values).mean(axis=0)
    beyond = np.minimum(above, 1 - above)
    # the statistics over all units decide; by arm they say where
    passed = bool((beyond[:, -1] >= _LEVEL / 4).all())
    table = [
        *_statistic_rows(post, observed.values, values, above),
        *_histogram_rows(post, observed.histogram, replicated),
    ]
    zeros, variance = observed.values[:, -1]
    expected = values[:, :, -1].mean(axis=0)
    model = "overdispersed" if post.overdispersion else "plain"
    text = (
        f"{zeros:.1%} of units have no success where the {model} model expects {expected[0]:.1%}, "
        f"and the variance of units is {variance / expected[1]:.2f} times what it expects"
    )
    advice = "" if passed or post.overdispersion else "; fit overdispersion='beta-binomial'"
    return CheckResult(_NAME, scope, passed, f"{text}{advice}.", tuple(table))


def _statistic_rows(
    post: HierarchicalBinomial, observed: FloatArray, values: FloatArray, above: FloatArray
) -> list[Mapping[str, Any]]:
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return [
        {
            "statistic": statistic,
            "arm": arm,
            "observed": float(observed[i, k]),
            "mean": float(values[:, i, k].mean()),
            "low": float(low[i, k]),
            "high": float(high[i, k]),
            "prob_above": float(above[i, k]),
        }
        for i, statistic in enumerate(_STATISTICS)
        for k, arm in enumerate([*post.arms, "all"])
    ]


def _histogram_rows(
    post: HierarchicalBinomial, observed: FloatArray, replicated: list[_Statistics]
) -> list[Mapping[str, Any]]:
    shares = np.array([one.histogram for one in replicated])
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return [
        {
            "statistic": f"share with {y} successes",
            "arm": arm,
            "observed": float(observed[k, y]),
            "mean": float(shares[:, k, y].mean()),
            "low": float(low[k, y]),
            "high": float(high[k, y]),
            "prob_above": None,
        }
        for k, arm in enumerate(post.arms)
        for y in range(observed.shape[1])
    ]
