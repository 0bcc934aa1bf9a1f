"""Posterior predictive check of the normal model: whether it could have made these scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.normal.data import Panel, read_panel
from wavewise.estimate.normal.model import HierarchicalNormal
from wavewise.shared.inputs import aligned
from wavewise.shared.results import CheckResult, FloatArray, IntArray

__all__ = ["score_predictive_check"]

_NAME = "posterior predictive check"
# share of replications that may be beyond the data, over all statistics together
_LEVEL = 0.01
_FEWEST = 10  # scores of a group whose standard deviation is compared
_FEWEST_REPLICATIONS = 200


@dataclass(frozen=True, eq=False)
class _Groups:
    """Rows by period and by arm (the control and what is not yet treated first)."""

    period: IntArray
    arm: IntArray
    large_periods: IntArray
    large_arms: IntArray
    n_arms: int

    @classmethod
    def of(cls, panel: Panel) -> "_Groups":
        n_arms = 1 + len(panel.arms)
        by_period, by_arm = np.bincount(panel.period), np.bincount(panel.arm, minlength=n_arms)
        periods, arms = (np.flatnonzero(count >= _FEWEST) for count in (by_period, by_arm))
        return cls(panel.period, panel.arm, periods, arms, n_arms)


@aligned("score", "unit", "cluster", "period", "arm", "treated")
def score_predictive_check(
    post: HierarchicalNormal,
    score: Any,
    *,
    unit: Any,
    cluster: Any,
    period: Any,
    arm: Any,
    rng: np.random.Generator,
    control: Any = None,
    treated: Any = None,
    arms: Sequence[Any] | None = None,
    periods: Sequence[Any] | None = None,
    n_replications: int = 1000,
) -> CheckResult:
    """Range, shape and spread of the scores, against scores drawn from the posterior.

    Parameters
    ----------
    post : HierarchicalNormal
    score, unit, cluster, period, arm, control, treated, arms, periods
        The rows that `post` was fitted to, as `hierarchical_normal` took them.
    rng : numpy.random.Generator
    n_replications : int
        Data sets to draw, 200 or more.

    Returns
    -------
    CheckResult
        Failed where a statistic of the data is beyond nearly all replications (1% of good models
        fail). `table` has a row a statistic and, for information, the mean and standard deviation
        of each arm's scores, each with the replications' mean and 95% range.

    Raises
    ------
    InputError
        Rows other than those that `post` was fitted to.

    Notes
    -----
    Each replication takes one draw of the parameters, new cluster and unit effects and new noise,
    and keeps which scores are missing. The lowest and the highest score tell of a scale with ends,
    skewness and kurtosis of heaps at an end or of wild scores, the largest ratio of standard
    deviations, between periods and between arms, of noise that is not the same everywhere. Scores
    with ends make the model wrong about single scores long before they harm mean differences; the
    text says which statistics fail.

    References
    ----------
    Rubin (1984), *Annals of Statistics* 12, 1151-1172, section 5.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> unit, period = np.tile(np.arange(300), 2), np.repeat([1, 2], 300)
    >>> arm = np.where((period == 2) & (unit % 2 == 1), "calls", "control")
    >>> score = rng.normal(40, 12, 300)[unit] + rng.normal(0, 6, 600)
    >>> rows = {"unit": unit, "cluster": unit // 20, "period": period, "arm": arm}
    >>> from wavewise.estimate import hierarchical_normal
    >>> post = hierarchical_normal(score, **rows, rng=rng)
    >>> score_predictive_check(post, score, **rows, rng=rng).verdict
    'pass'
    """
    if n_replications < _FEWEST_REPLICATIONS:
        raise InputError(
            f"n_replications: found {n_replications}; needed {_FEWEST_REPLICATIONS} or more"
        )
    panel = read_panel(
        score, unit=unit, cluster=cluster, period=period, arm=arm, control=control,
        treated=treated, arms=arms, periods=periods, pooled=post.pooled,
    )  # fmt: skip
    if panel.data_hash != post.provenance.data_hash:
        raise InputError(
            f"rows: found {panel.score.size:,} scores of {panel.n_units:,} units that are not the "
            f"{post.n_scores:,} of {post.n_units:,} that the posterior was fitted to; give the same"
        )
    groups = _Groups.of(panel)
    names = [*_statistics(panel.score, groups), *_by_arm_names(post)]
    observed = _all(panel.score, groups)
    replicated = np.array(
        [_all(one, groups) for one in _replications(post, panel, n_replications, rng)]
    )
    return _result(post, panel, names, observed, replicated, len(_statistics(panel.score, groups)))


def _replications(
    post: HierarchicalNormal, panel: Panel, n: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Scores of every row, by replication."""
    out = []
    for i in rng.integers(post.draws.shape[0], size=n):
        gain = np.concatenate([[0.0], post.draws[i]])
        cluster = post.cluster_sd_draws[i] * rng.standard_normal(panel.n_clusters)
        unit = post.unit_sd_draws[i] * rng.standard_normal(panel.n_units)
        noise = post.noise_sd_draws[i] * rng.standard_normal(panel.score.size)
        level = post.constant_draws[i] + post.period_draws[i][panel.period] + gain[panel.arm]
        out.append(level + (cluster[panel.cluster] + unit)[panel.unit] + noise)
    return out


def _statistics(score: FloatArray, groups: _Groups) -> dict[str, float]:
    centred = score - score.mean()
    sd = float(centred.std())
    found = {
        "lowest score": float(score.min()),
        "highest score": float(score.max()),
        "skewness": float(np.mean(centred**3) / sd**3),
        "kurtosis": float(np.mean(centred**4) / sd**4),
    }
    for name, codes, large in (
        ("periods", groups.period, groups.large_periods),
        ("arms", groups.arm, groups.large_arms),
    ):
        if large.size > 1:
            sds = _sds(score, codes)[large]
            found[f"largest ratio of sds between {name}"] = float(sds.max() / sds.min())
    return found


def _sds(score: FloatArray, codes: IntArray) -> FloatArray:
    size = np.maximum(np.bincount(codes), 1)
    mean = np.bincount(codes, score) / size
    return np.sqrt(np.bincount(codes, (score - mean[codes]) ** 2) / size)


def _all(score: FloatArray, groups: _Groups) -> FloatArray:
    size = np.bincount(groups.arm, minlength=groups.n_arms)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(groups.arm, score, groups.n_arms) / size
        variance = np.bincount(groups.arm, (score - mean[groups.arm]) ** 2, groups.n_arms) / size
    return np.concatenate([list(_statistics(score, groups).values()), mean, np.sqrt(variance)])


def _by_arm_names(post: HierarchicalNormal) -> list[str]:
    arms = (f"{post.control} or not yet treated", *post.arms)
    return [f"{what} of {arm}" for what in ("mean", "sd") for arm in arms]


def _result(
    post: HierarchicalNormal,
    panel: Panel,
    names: Sequence[str],
    observed: FloatArray,
    replicated: FloatArray,
    n_deciding: int,
) -> CheckResult:
    above = (replicated > observed).mean(axis=0) + 0.5 * (replicated == observed).mean(axis=0)
    beyond = np.minimum(above, 1 - above)[:n_deciding] < _LEVEL / (2 * n_deciding)
    low, high = np.quantile(replicated, [0.025, 0.975], axis=0)
    mean = replicated.mean(axis=0)
    table: list[Mapping[str, Any]] = [
        {
            "statistic": name,
            "observed": float(observed[i]),
            "mean": float(mean[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "prob_above": float(above[i]),
        }
        for i, name in enumerate(names)
    ]
    failed = [
        f"the {names[i]} is {_two(observed[i])} where the model expects {_two(mean[i])} "
        f"({_two(low[i])} to {_two(high[i])})"
        for i in np.flatnonzero(beyond).tolist()
    ]
    text = (
        f"{'; '.join(failed)}: the model is wrong about single scores; mean differences stand this "
        "better (compare them with differences of means)"
        if failed
        else f"range, shape and spread of {panel.score.size:,} scores are as the model expects"
    )
    scope = f"all {len(post.arms)} arms, {panel.score.size:,} scores, {len(names)} statistics"
    return CheckResult(_NAME, scope, not failed, f"{text[0].upper()}{text[1:]}.", tuple(table))


def _two(value: float) -> str:
    """Two decimals, without a sign at zero."""
    return f"{round(float(value), 2) + 0.0:.2f}"
