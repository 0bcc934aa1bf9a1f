"""Adaptively weighted augmented inverse-propensity estimates of arm means."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.data import (
    Observed,
    Strata,
    ordered_waves,
    parts_of,
    read_observed,
    read_propensities,
    read_strata,
    reasons_of_empty_arms,
    reasons_of_empty_strata,
)
from wavewise.estimate.adaptive.results import (
    CLUSTERS_SPAN_WAVES,
    AdaptiveEstimates,
    adaptive_table,
)
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned, encode
from wavewise.shared.labels import compress, group_sum
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    hash_arrays,
)

__all__ = ["adaptive_aipw", "aipw_scores"]

AipwWeights = Literal["two-point", "constant", "uniform"]
_FLOOR_DECAY = 0.7


@renamed(propensities="propensity", weights="weighting")
@aligned("outcome", "arm", "propensity", "wave", "cluster", "strata")
def adaptive_aipw(
    outcome: Any,
    arm: Any,
    propensity: Any,
    wave: Any,
    *,
    weighting: AipwWeights = "two-point",
    level: float = 0.95,
    floor_decay: float = _FLOOR_DECAY,
    cluster: Any = None,
    strata: Any = None,
    arms: Sequence[Any] | None = None,
    waves: Sequence[Any] | None = None,
) -> AdaptiveEstimates:
    """Arm means, and contrasts with the first arm, by adaptively weighted AIPW.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing.
    arm : array-like, shape (n_units,)
        Label of the arm that was drawn.
    propensity : array-like, shape (n_units, n_arms)
        Probability of every arm for each unit, columns in the order of `arms`.
    wave : array-like, shape (n_units,)
        Label of each unit's wave.
    weighting : {"two-point", "constant", "uniform"}
        Two-point or constant allocation of the variance over time, or no weights (whose
        intervals fail where shares become small).
    level : float
        In (0, 1).
    floor_decay : float
        Exponent in [0, 1) at which the design lets shares fall, as ``t^-floor_decay``, for an arm
        that looks bad; 0 makes two-point weights constant ones.
    cluster : array-like, shape (n_units,), optional
        Label of each unit's cluster: scores are summed within clusters before they are squared.
    strata : array-like, shape (n_units,), optional
        Strata within which shares differ: estimates are made within each and averaged by the
        strata's numbers of units. Weights that follow a unit's own shares would otherwise count
        those strata most in which an arm was drawn most.
    arms : sequence of labels, optional
        All arms; the first is the one that others are compared with. Sorted by default.
    waves : sequence of labels, optional
        The waves in time; by default numbers by size, text by its parts.

    Returns
    -------
    AdaptiveEstimates

    Raises
    ------
    InputError
        Where arrays do not fit together.
    EstimationError
        Where propensity were not stored, that of a drawn arm is 0 or 1, or there are fewer than
        two waves or two clusters.

    Notes
    -----
    With ``G_t(w) = m_t(w) + 1{W_t = w} (Y_t - m_t(w)) / e_t(w)`` the estimate of arm w is
    ``Q_w = sum_t h_t G_t / sum_t h_t`` and its variance ``sum_t h_t^2 (G_t - Q_w)^2 / (sum_t
    h_t)^2``; covariances are sums of the same products over two arms. ``m_t`` is the arm's mean in
    earlier waves; in the first wave its mean without the unit itself, so that shifting all
    outcomes shifts all estimates. Weights solve ``h_t^2 / e_t = lambda_t (1 - sum_{s<t} h_s^2 /
    e_s)``; constant allocation has ``lambda_t = 1 / (T - t + 1)``, that is ``h_t`` in proportion to
    ``e_t^(1/2)``; two-point allocation ``lambda_t = e_t / (T - t + 1) + (1 - e_t) t^-a / (t^-a +
    (T^(1-a) - t^(1-a)) / (1-a))``. All units of a wave share its part of the variance, so that
    results do not depend on the order of rows within waves.

    With G clusters the terms ``h_t (G_t - Q_w)`` of a cluster are summed before they are squared,
    and the variance is multiplied by ``G / (G - 1)``. Clusters that span waves are beyond the
    theory, as shares then follow outcomes of the same cluster; without `cluster` intervals of
    arm means can be far too short there.

    An arm that could not be drawn in some wave has no estimate here; it has one from
    `weighted_m`.

    References
    ----------
    Hadad, Hirshberg, Zhan, Wager and Athey (2021), equations (5), (11), (15) and (18).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wave = np.repeat([1, 2], 200)
    >>> shares = np.where(wave[:, None] == 1, [0.5, 0.5], [0.2, 0.8])
    >>> arm = (rng.random(400) < shares[:, 1]).astype(int)
    >>> means = adaptive_aipw(arm + rng.normal(size=400), arm, shares, wave)
    >>> means.names
    ('0', '1', '1 - 0')
    """
    check_level(level)
    _check_options(weighting, floor_decay)
    observed = read_observed(outcome, arm, arms)
    every = read_propensities(propensity, observed)
    when, names = ordered_waves(wave, observed.arm.size, waves)
    within = read_strata(strata, observed.arm.size)
    reasons = reasons_of_empty_strata(observed, within) | reasons_of_empty_arms(observed)
    reasons |= _never_possible(observed, every, when, names)
    kept = observed.known
    when, names = _present(when[kept], names)
    y, codes, share = observed.outcome[kept], observed.arm[kept], every[kept]
    usable = np.array([name not in reasons for name in observed.arms])
    if not usable.any():
        raise EstimationError("found no arm that could be drawn in all waves; see `weighted_m`")
    estimate, cov = np.zeros(usable.size), np.zeros((usable.size, usable.size))
    part = np.zeros((y.size, int(usable.sum())))
    for rows, weight in parts_of(within, kept):
        scores = aipw_scores(
            y[rows], codes[rows], share[rows][:, usable], moment := _dense(when[rows]),
            np.flatnonzero(usable),
        )  # fmt: skip
        held = _weights(share[rows][:, usable], moment, weighting, floor_decay)
        total = held.sum(axis=0)
        own = (held * scores).sum(axis=0) / total
        estimate[usable] += weight * own
        part[rows] = weight * (held * (scores - own) / total)
    groups = None if cluster is None else _clusters(cluster, kept)
    if groups is not None:
        part = _sums_of_clusters(part, groups)
    cov[np.ix_(usable, usable)] = part.T @ part
    return adaptive_table(
        observed.arms,
        estimate,
        cov,
        observed.counts(kept),
        n_missing=observed.counts(~kept),
        level=level,
        reasons=reasons,
        se="martingale" if groups is None else "martingale, clustered",
        assumptions=_ASSUMPTIONS if groups is None else (*_ASSUMPTIONS, CLUSTERS_SPAN_WAVES),
        provenance=_provenance(weighting, names, groups, y, codes, share, when, within, kept),
    )


def _dense(when: IntArray) -> IntArray:
    """Waves without gaps, in their order: a stratum need not be in all of them."""
    return np.unique(when, return_inverse=True)[1].astype(np.int64)


def _clusters(cluster: Any, kept: BoolArray) -> IntArray:
    """Codes of the clusters of the units with an outcome, without gaps."""
    groups, n_groups = compress(encode(cluster, "cluster", kept.size).codes[kept])
    if n_groups < 2:
        raise EstimationError("cluster: found one; needed two or more")
    return groups


def _sums_of_clusters(part: FloatArray, groups: IntArray) -> FloatArray:
    """Terms summed by cluster, times the root of G / (G - 1); shape (n_clusters, n_arms)."""
    sums = np.column_stack([group_sum(groups, column) for column in part.T])
    return np.asarray(sums * np.sqrt(len(sums) / (len(sums) - 1)))


def _provenance(
    weights: str,
    names: Sequence[str],
    groups: IntArray | None,
    y: FloatArray,
    arm: IntArray,
    share: FloatArray,
    when: IntArray,
    within: Strata | None,
    kept: BoolArray,
) -> Provenance:
    method = f"adaptively weighted AIPW, {weights} weights, {len(names)} waves"
    arrays = {"outcome": y, "arm": arm, "propensities": share, "wave": when}
    if within is not None:
        method += f", averaged over {len(within.names):,} strata"
        arrays["strata"] = within.code[kept]
    if groups is not None:
        method += f", {int(groups.max()) + 1:,} clusters"
        arrays["cluster"] = groups
    return Provenance(method, hash_arrays(**arrays))


_ASSUMPTIONS = (
    "Arms were drawn with the stored probabilities, which may follow earlier outcomes.",
    "The outcome of one unit does not depend on the arms of others.",
    "Whether an outcome is missing does not depend on the arm and the outcome together.",
    "The mean of an arm is the same in all waves, and shares do not fall to zero too fast.",
)


def aipw_scores(
    y: FloatArray, arm: IntArray, share: FloatArray, when: IntArray, columns: IntArray
) -> FloatArray:
    """Scores whose mean, given the past, is the arm's mean; shape (n_units, n_columns)."""
    n_waves, n_codes = int(when.max()) + 1, int(max(arm.max(), columns.max())) + 1
    cell, size = when * n_codes + arm, n_waves * n_codes
    n = group_sum(cell, np.ones_like(y), size).reshape(n_waves, n_codes)
    sums = group_sum(cell, y, size).reshape(n_waves, n_codes)
    scores = _earlier_means(n, sums)[:, columns][when]
    first = when == 0
    scores[first] = _means_of_others(y[first], arm[first], n[0], sums[0], columns)
    place = np.full(n_codes, -1)
    place[columns] = np.arange(columns.size)
    rows = np.flatnonzero(place[arm] >= 0)
    own = place[arm[rows]]
    scores[rows, own] += (y[rows] - scores[rows, own]) / share[rows, own]
    return scores


def _earlier_means(n: FloatArray, sums: FloatArray) -> FloatArray:
    """Mean of each arm before each wave, of all arms where it has none; (n_waves, n_codes)."""
    n, sums = np.cumsum(n, axis=0) - n, np.cumsum(sums, axis=0) - sums
    every = sums.sum(axis=1) / np.maximum(n.sum(axis=1), 1)
    return np.where(n > 0, sums / np.maximum(n, 1), every[:, None])


def _means_of_others(
    y: FloatArray, arm: IntArray, n: FloatArray, sums: FloatArray, columns: IntArray
) -> FloatArray:
    """Mean of each arm's other units in the first wave, of all others where it has none."""
    found = np.broadcast_to(sums[columns] / np.maximum(n[columns], 1), (y.size, columns.size))
    own = arm[:, None] == columns
    less = (sums[arm] - y) / np.maximum(n[arm] - 1, 1)
    left = n[columns] - own
    others = (y.sum() - y) / max(y.size - 1, 1)
    return np.where(left > 0, np.where(own, less[:, None], found), others[:, None])


def _weights(share: FloatArray, when: IntArray, kind: str, decay: float) -> FloatArray:
    if kind == "uniform":
        return np.ones_like(share)
    if kind == "constant":
        return np.sqrt(share)
    size = np.bincount(when)
    mean = np.stack([np.bincount(when, weights=e) / size for e in share.T], axis=1)
    rest = np.cumprod(
        np.vstack([np.ones(share.shape[1]), 1 - _wave_shares(mean, size, decay)]), axis=0
    )
    part = rest[:-1] - rest[1:]  # of the variance, by wave and arm
    return np.asarray(np.sqrt(share * (part / size[:, None])[when]))


def _wave_shares(mean: FloatArray, size: IntArray, decay: float) -> FloatArray:
    """Share of the variance that is left which each wave takes, shape (n_waves, n_arms)."""
    n_units, ends = int(size.sum()), np.cumsum(size)
    taken = np.ones_like(mean)
    for w in range(size.size - 1):
        t = np.arange(ends[w] - size[w] + 1, ends[w] + 1, dtype=np.float64)
        good = 1 / (n_units - t + 1)
        slow = t**-decay
        bad = slow / (slow + (n_units ** (1 - decay) - t ** (1 - decay)) / (1 - decay))
        log_left = np.log1p(-(good[:, None] * mean[w] + bad[:, None] * (1 - mean[w]))).sum(axis=0)
        taken[w] = -np.expm1(log_left)
    return taken


def _never_possible(
    observed: Observed, every: FloatArray, when: IntArray, names: list[str]
) -> dict[str, NotEstimable]:
    found = {}
    for k, name in enumerate(observed.arms):
        zero = every[:, k] <= 0
        if zero.any():
            which = ", ".join(names[w] for w in np.unique(when[zero]).tolist())
            found[name] = NotEstimable(
                f"it could not be drawn by {int(zero.sum()):,} units (waves {which}): its "
                "probability is 0; `weighted_m` uses the waves in which it could"
            )
    return found


def _present(when: IntArray, names: list[str]) -> tuple[IntArray, list[str]]:
    """Waves that have a known outcome, renumbered."""
    found, codes = np.unique(when, return_inverse=True)
    if found.size < 2:
        raise EstimationError(
            f"wave: found known outcomes in one wave, '{names[found[0]]}'; needed two or more"
        )
    return codes.astype(np.int64), [names[w] for w in found.tolist()]


def _check_options(weights: object, floor_decay: object) -> None:
    if weights not in get_args(AipwWeights):
        known = "', '".join(get_args(AipwWeights))
        raise InputError(f"weights: found {weights!r}; needed '{known}'")
    if not isinstance(floor_decay, int | float) or not 0 <= floor_decay < 1:
        raise InputError(f"floor_decay: found {floor_decay!r}; needed a number in [0, 1)")
