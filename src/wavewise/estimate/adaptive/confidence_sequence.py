"""Intervals that hold at all looks together: confidence sequences for arm means and contrasts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from scipy.special import log_ndtr, stdtrit

from wavewise.errors import InputError
from wavewise.estimate.adaptive.aipw import aipw_scores
from wavewise.estimate.adaptive.data import ordered_waves, read_observed, read_propensities
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    hash_arrays,
    read_only,
)

__all__ = ["ConfidenceSequence", "confidence_sequence"]

SmallSample = Literal["none", "t"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ConfidenceSequence(Result, kind="confidence sequence"):
    """Arm means and contrasts with the first arm, after each wave.

    Parameters
    ----------
    names : tuple of str
        The arms, then ``arm - first arm``.
    waves : tuple of str
        The looks, in time.
    estimate, radius : array of float, shape (n_waves, n_names)
        Estimate after each wave and half the width of its interval; not-a-number where there is a
        reason instead.
    n_units : array of int, shape (n_waves,)
        Known outcomes so far.
    level : float
        Probability that all intervals of one row of names hold at all looks.
    not_estimable : mapping of (wave, name) to NotEstimable
        Looks that come too early for an arm or contrast, and why.
    provenance : Provenance
    """

    names: tuple[str, ...]
    waves: tuple[str, ...]
    estimate: FloatArray
    radius: FloatArray
    n_units: IntArray
    level: float
    not_estimable: Mapping[tuple[str, str], NotEstimable]
    provenance: Provenance

    def conf_int(self) -> FloatArray:
        """Intervals (lower, upper), shape (n_waves, n_names, 2)."""
        return np.stack([self.estimate - self.radius, self.estimate + self.radius], axis=2)

    def _frame(self) -> pl.DataFrame:
        """One row per wave and arm or contrast: wave, n_units, arm, estimate, conf_low, conf_high.

        The last column, not_estimable, is the reason where there is no interval.
        """
        n_names = len(self.names)
        bounds = self.conf_int().reshape(-1, 2)
        return pl.DataFrame(
            {
                "wave": np.repeat(self.waves, n_names),
                "n_units": np.repeat(self.n_units, n_names),
                "arm": list(self.names) * len(self.waves),
                "estimate": self.estimate.ravel(),
                "conf_low": bounds[:, 0],
                "conf_high": bounds[:, 1],
                "not_estimable": pl.Series(
                    [
                        None if (why := self.not_estimable.get((w, k))) is None else why.reason
                        for w in self.waves
                        for k in self.names
                    ],
                    dtype=pl.String,
                ),
            }
        ).fill_nan(None)

    def _facts(self) -> dict[str, Any]:
        return {"level": self.level, "rows": self._frame()}

    def summary(self) -> str:
        """The last look, and what may be done with it."""
        rows = self._frame().tail(len(self.names)).rows(named=True)
        lines = [
            f"{row['arm']}: {row['estimate']:.5g} ({row['conf_low']:.5g} to {row['conf_high']:.5g})"
            for row in rows
            if row["estimate"] is not None
        ]
        lines += [f"{row['arm']}: {row['not_estimable']}" for row in rows if row["not_estimable"]]
        return "\n".join(
            [
                f"After {self.waves[-1]} ({self.n_units[-1]:,} outcomes), {self.level:.0%} "
                "confidence sequences:",
                *lines,
                "Each holds at all looks together, so one may stop when it says enough; the price "
                "is that it is wider than an interval for one look that was fixed before.",
            ]
        )


@renamed(propensities="propensity")
@aligned("outcome", "arm", "propensity", "wave")
def confidence_sequence(
    outcome: Any,
    arm: Any,
    propensity: Any,
    wave: Any,
    *,
    level: float = 0.95,
    tightest_at: int | None = None,
    first_look: int = 10,
    small_sample: SmallSample = "none",
    arms: Sequence[Any] | None = None,
    waves: Sequence[Any] | None = None,
) -> ConfidenceSequence:
    """Intervals after each wave that hold at all looks together, adaptive shares included.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing.
    arm : array-like, shape (n_units,)
        Label of the arm that was drawn.
    propensity : array-like, shape (n_units, n_arms)
        Probability of every arm for each unit, above 0 for all, columns in the order of `arms`.
    wave : array-like, shape (n_units,)
        Label of each unit's wave (or look); two or more.
    level : float
        In (0, 1).
    tightest_at : int, optional
        Number of units at which the intervals shall be narrowest: the planned size. The number at
        hand by default, which must then be fixed before the first look.
    first_look : int
        Known outcomes, not all the same, that an arm needs for its first interval, and both arms
        for that of their contrast. Two at least; fixed before the first look too.
    small_sample : {"none", "t"}
        Normal boundary, as published; or Student's with the same tail probability at each look,
        for first looks at fewer than some fifty units per arm.
    arms, waves : sequence of labels, optional
        All arms, the first one that others are compared with; the waves in time.

    Returns
    -------
    ConfidenceSequence

    Raises
    ------
    InputError
        Where arrays do not fit together, or a probability is 0.
    EstimationError
        Where propensities were not stored, or there are fewer than two waves.

    Notes
    -----
    The scores of `adaptive_aipw` (the contrast's are differences) have the mean as their mean given
    the past. With t scores of mean ``m_t`` and variance ``s_t^2`` so far, the interval is ``m_t``
    plus and minus ``sqrt((t s_t^2 r^2 + 1) / (t^2 r^2) log((t s_t^2 r^2 + 1) / (1 - level)^2))``,
    Robbins' normal mixture with the variance estimated: asymptotic in the first look's size, not in
    the number of looks. r makes the interval narrowest where ``t s_t^2`` is that expected at
    `tightest_at`. Keep a least share in the design: scores grow as one over the propensity.

    At a small first look the estimated variance may come out far too small, and 0 where an arm has
    only failures: hence `first_look`. ``small_sample="t"`` puts in the place of the boundary z (in
    standard errors) Student's quantile of the same tail probability, as group-sequential t tests
    do. Its degrees of freedom ``2 t / (kurtosis - 1)`` give a chi-squared the relative variance
    that ``s_t^2`` has; they grow with t, so that both boundaries are the same in the end.

    References
    ----------
    Robbins (1970); Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central
    limit theory and asymptotic confidence sequences", theorem 2.2 and proposition 2.5; Pocock
    (1977), "Group sequential methods in the design and analysis of clinical trials", on t tests.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wave, arm = np.repeat([1, 2, 3], 200), rng.integers(0, 2, 600)
    >>> looks = confidence_sequence(rng.normal(size=600), arm, np.full((600, 2), 0.5), wave)
    >>> looks.names, looks.n_units.tolist()
    (('0', '1', '1 - 0'), [200, 400, 600])
    """
    check_level(level)
    observed = read_observed(outcome, arm, arms)
    share = read_propensities(propensity, observed)
    if (share <= 0).any():
        raise InputError(
            "propensities: found a probability of 0; needed a least share of every arm in all "
            "waves, since its scores grow as one over it"
        )
    when, names = ordered_waves(wave, observed.arm.size, waves)
    kept = observed.known
    y, codes, when, share = observed.outcome[kept], observed.arm[kept], when[kept], share[kept]
    columns = np.arange(len(observed.arms))
    scores = aipw_scores(y, codes, share, _filled(when), columns)
    scores = np.hstack([scores, scores[:, 1:] - scores[:, :1]])
    planned = _size(tightest_at, y.size, "tightest_at", 1)
    fewest = _size(first_look, y.size, "first_look", 2)
    if small_sample not in get_args(SmallSample):
        raise InputError(f"small_sample: found {small_sample!r}; needed 'none' or 't'")
    n_units = np.cumsum(np.bincount(when, minlength=len(names)))
    moments = _moments(scores, when, n_units, 4 if small_sample == "t" else 2)
    estimate, radius = _looks(n_units, moments, planned, 1 - level)
    reasons = _too_early(observed.arms, names, y, codes, when, fewest)
    rows = (*observed.arms, *(f"{name} - {observed.arms[0]}" for name in observed.arms[1:]))
    known = np.array([[(wave, row) not in reasons for row in rows] for wave in names])
    return ConfidenceSequence(
        names=rows,
        waves=tuple(names),
        estimate=read_only(np.where(known, estimate, np.nan)),
        radius=read_only(np.where(known, radius, np.nan)),
        n_units=read_only(n_units, np.int64),
        level=level,
        not_estimable=reasons,
        provenance=Provenance(
            f"confidence sequence, normal mixture, narrowest at {planned:,} units"
            + (", Student's boundary" if small_sample == "t" else ""),
            hash_arrays(outcome=y, arm=codes, propensities=share, wave=when),
        ),
    )


def _filled(when: IntArray) -> IntArray:
    """Waves renumbered without gaps, where one has no known outcome."""
    _, codes = np.unique(when, return_inverse=True)
    return np.asarray(codes, dtype=np.int64)


def _moments(scores: FloatArray, when: IntArray, n_units: IntArray, order: int) -> FloatArray:
    """Mean, then central moments 2 to `order`, of the scores so far; (order, n_waves, n_names)."""
    centre = scores.mean(axis=0)
    left, raw = scores - centre, []
    power = np.ones_like(left)
    for _ in range(order):
        power = power * left
        waves = [np.bincount(when, weights=column, minlength=n_units.size) for column in power.T]
        raw.append(np.cumsum(waves, axis=1).T / np.maximum(n_units, 1)[:, None])
    mean = raw[0]
    found = [mean + centre, raw[1] - mean**2]
    if order == 4:
        third = raw[2] - 3 * mean * raw[1] + 2 * mean**3
        found += [third, raw[3] - 4 * mean * raw[2] + 6 * mean**2 * raw[1] - 3 * mean**4]
    least = np.array([-np.inf, 0, -np.inf, 0])[:order, None, None]
    return np.asarray(np.maximum(np.array(found), least))


def _looks(
    n_units: IntArray, moments: FloatArray, planned: int, alpha: float
) -> tuple[FloatArray, FloatArray]:
    """Means and half widths at each look, shape (n_waves, n_names) each."""
    t = np.maximum(n_units, 2)[:, None].astype(np.float64)
    # the mixture that is narrowest at `planned`: for r^2 = x / (planned s^2), log-concave in x
    x = -2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)
    grown = t * x / planned + 1  # t s^2 r^2 + 1
    boundary = np.sqrt(grown * planned / (t * x) * np.log(grown / alpha**2))
    if moments.shape[0] == 4:
        boundary = _students(boundary, t, moments)
    radius = boundary * np.sqrt(moments[1] / (t - 1))  # moments[1] divides by t, not t - 1
    return moments[0], np.where(n_units[:, None] < 2, np.nan, radius)


def _students(boundary: FloatArray, t: FloatArray, moments: FloatArray) -> FloatArray:
    """Student's quantiles of the boundary's tail probabilities."""
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = moments[3] / moments[1] ** 2
        df = np.maximum(2 * t / (kurtosis - 1), 1.0)
    return np.asarray(-stdtrit(df, np.exp(log_ndtr(-boundary))))


def _too_early(
    arms: tuple[str, ...],
    waves: Sequence[str],
    y: FloatArray,
    codes: IntArray,
    when: IntArray,
    fewest: int,
) -> dict[tuple[str, str], NotEstimable]:
    """Looks at which an arm has too few known outcomes, or only one value, by wave and row."""
    found: dict[tuple[str, str], NotEstimable] = {}
    cell, shape = when * len(arms) + codes, (len(waves), len(arms))
    size = np.cumsum(np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape), axis=0)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    np.minimum.at(low.ravel(), cell, y)
    np.maximum.at(high.ravel(), cell, y)
    same = np.minimum.accumulate(low) >= np.maximum.accumulate(high)
    for w, wave in enumerate(waves):
        bad = {}
        for k, arm in enumerate(arms):
            n = f"{size[w, k]:,} known outcomes so far"
            if size[w, k] < fewest:
                bad[arm] = f"{n}; needed {fewest:,}: look later"
            elif same[w, k]:
                bad[arm] = f"all {n} are the same: look later"
        found |= {(wave, arm): NotEstimable(why) for arm, why in bad.items()}
        for arm in arms[1:]:
            lacking = next((one for one in (arm, arms[0]) if one in bad), None)
            if lacking is not None:
                why = NotEstimable(f"'{lacking}': {bad[lacking]}")
                found[wave, f"{arm} - {arms[0]}"] = why
    return found


def _size(planned: Any, n_units: int, name: str, least: int) -> int:
    if planned is None:
        return n_units
    if not isinstance(planned, int | np.integer) or planned < least:
        raise InputError(
            f"{name}: found {planned!r}; needed a whole number of units, {least} at least"
        )
    return int(planned)
