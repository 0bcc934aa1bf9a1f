"""Mean outcome by arm, unadjusted, with its standard error."""

from dataclasses import dataclass

import numpy as np

from wavewise.estimate.labels import group_sum, renumber
from wavewise.estimate.sample import Sample
from wavewise.estimate.sandwich import StdErrorKind
from wavewise.results import FloatArray, IntArray

__all__ = ["ArmMeans", "arm_means"]


@dataclass(frozen=True, eq=False)
class ArmMeans:
    """Mean outcome by arm.

    Parameters
    ----------
    mean, std_error, df : array of float, shape (n_arms,)
        Weighted mean, its standard error and degrees of freedom; not-a-number where there is none.
    """

    mean: FloatArray
    std_error: FloatArray
    df: FloatArray


@dataclass(frozen=True, eq=False)
class _Groups:
    """Independent groups of units of one arm: single units, or the arm's part of a cluster."""

    arm: IntArray
    share: FloatArray  # of the arm's weight, which is also the leverage
    score: FloatArray  # weighted sum of residuals over the arm's weight


def arm_means(sample: Sample, kind: StdErrorKind) -> ArmMeans:
    """Mean outcome by arm: the regression on arm indicators alone.

    Notes
    -----
    A group ``g`` with the share ``h_g`` of its arm's weight has the leverage ``h_g``, so that
    ``V = c sum_g (s_g (1 - h_g)^-a)^2`` with ``s_g = sum_(i in g) w_i e_i / W`` and the ``a`` and
    ``c`` of the covariance in use. Under HC2 without weights this is ``s^2 / n``.
    """
    n_arms = len(sample.arms)
    weight = np.ones(sample.n_units) if sample.weights is None else sample.weights
    total = group_sum(sample.arm, weight, n_arms)
    filled = np.where(total > 0, total, np.nan)
    mean = group_sum(sample.arm, weight * sample.outcome, n_arms) / filled
    groups = _groups(sample, weight, mean, filled)
    free = np.where(groups.share < 1 - 1e-10, 1 - groups.share, np.nan)
    power = {"HC2": 0.5, "CR2": 0.5, "HC3": 1.0}.get(kind, 0.0)
    scale = np.where(np.isnan(free), np.nan, free**-power)
    variance = _by_arm(groups, (groups.score * scale) ** 2, n_arms)
    variance *= _factor(sample, kind)
    df = _df(sample, groups, free, kind)
    usable = (variance > 1e-24 * np.nan_to_num(mean) ** 2) & (sample.counts > 1)
    return ArmMeans(mean, np.sqrt(np.where(usable, variance, np.nan)), np.where(usable, df, np.nan))


def _groups(sample: Sample, weight: FloatArray, mean: FloatArray, total: FloatArray) -> _Groups:
    arm = sample.arm
    residual = weight * (sample.outcome - mean[arm])
    if sample.cluster is None:
        return _Groups(arm, weight / total[arm], residual / total[arm])
    n_arms = len(sample.arms)
    cell, keys = renumber(sample.cluster * n_arms + arm)
    arm_of_cell = keys % n_arms
    share = group_sum(cell, weight) / total[arm_of_cell]
    return _Groups(arm_of_cell, share, group_sum(cell, residual) / total[arm_of_cell])


def _by_arm(groups: _Groups, values: FloatArray, n_arms: int) -> FloatArray:
    return group_sum(groups.arm, values, n_arms)


def _factor(sample: Sample, kind: StdErrorKind) -> float:
    n_units, rank = sample.n_units, int((sample.counts > 0).sum())
    if kind == "HC1":
        return n_units / (n_units - rank)
    if kind in {"CR1", "CR1S"} and sample.cluster is not None:
        clusters = int(sample.cluster.max()) + 1
        return clusters / (clusters - 1) * (n_units - 1) / (n_units - rank)
    return 1.0


def _df(sample: Sample, groups: _Groups, free: FloatArray, kind: StdErrorKind) -> FloatArray:
    n_arms = len(sample.arms)
    if kind in {"CR1", "CR1S"} and sample.cluster is not None:
        return np.full(n_arms, float(sample.cluster.max()))
    if kind not in {"HC2", "CR2"}:
        return np.full(n_arms, float(sample.n_units - (sample.counts > 0).sum()))
    # Satterthwaite with one regressor: K_gh = [g = h] d_g - t_g t_h, scaled by the arm's weight
    d = groups.share / free
    own = groups.share * d
    double = _by_arm(groups, own, n_arms) ** 2
    square = _by_arm(groups, d**2 - 2 * d * own, n_arms) + double
    with np.errstate(invalid="ignore"):
        return _by_arm(groups, d - own, n_arms) ** 2 / square
