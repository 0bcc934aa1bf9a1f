"""Intervals that hold at all looks together: confidence sequences for arm means and contrasts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl
from scipy.special import log_ndtr, stdtrit

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.aipw import aipw_scores
from wavewise.estimate.adaptive.betting import (
    Cells,
    bets_on_blocks,
    bets_on_means,
    bets_on_scores,
    estimates,
    invert,
)
from wavewise.estimate.adaptive.data import (
    Observed,
    ordered_waves,
    read_observed,
    read_propensities,
)
from wavewise.estimate.adaptive.group_sequential import (
    obrien_fleming,
    repeated_intervals,
    scores_of_waves,
)
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned, encode, encode_or_one
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    hash_arrays,
    read_only,
)

__all__ = ["ConfidenceSequence", "confidence_sequence"]

Method = Literal["block", "betting", "planned", "asymptotic"]
SmallSample = Literal["none", "t"]

_PROMISES = {
    "block": "Each holds at all looks together at any size, whatever the levels of the waves, if "
    "the difference between arms is the same in all waves (for an arm: its mean) and outcomes "
    "within a wave are independent.",
    "betting": "Each holds at all looks together at any size, if the difference between arms is "
    "the same in all waves (for an arm: its mean), outcomes within a wave are independent, and "
    "propensities are those that arms were drawn with.",
    "planned": "Each holds at the planned looks together and at no others, approximately: every "
    "wave needs enough outcomes for a normal or t approximation.",
    "asymptotic": "Each holds at all looks together if the first look is large; at small first "
    "looks it holds less often than it says.",
}
_LEAST_BLOCK = 10  # units of a stratum in a wave; smaller strata are compared together
_LEAST_WAVE = 4  # units of a wave: two pairs


@dataclass(frozen=True, eq=False, kw_only=True)
class ConfidenceSequence(Result, kind="confidence sequence"):
    """Arm means and contrasts with the first arm, after each wave.

    Parameters
    ----------
    method : str
        ``block``, ``betting``, ``planned`` or ``asymptotic``.
    names : tuple of str
        The arms, then ``arm - first arm``.
    waves : tuple of str
        The looks, in time.
    estimate, conf_low, conf_high : array of float, shape (n_waves, n_names)
        Estimate after each wave and ends of its interval; not-a-number where there is a reason
        instead. Ends may be infinite (``planned``, early looks).
    n_units : array of int, shape (n_waves,)
        Known outcomes so far.
    level : float
        Probability that all intervals of one row of names hold at all looks.
    not_estimable : mapping of (wave, name) to NotEstimable
        Looks that come too early for an arm or contrast, and why.
    provenance : Provenance
    """

    method: str
    names: tuple[str, ...]
    waves: tuple[str, ...]
    estimate: FloatArray
    conf_low: FloatArray
    conf_high: FloatArray
    n_units: IntArray
    level: float
    not_estimable: Mapping[tuple[str, str], NotEstimable]
    provenance: Provenance

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        if "radius" in state:  # as it was written before there were several methods
            radius, middle = state.pop("radius"), state["estimate"]
            ends = {"conf_low": middle - radius, "conf_high": middle + radius}
            state |= {"method": "asymptotic", **ends}
        return cls(**state)

    def conf_int(self) -> FloatArray:
        """Intervals (lower, upper), shape (n_waves, n_names, 2)."""
        return np.stack([self.conf_low, self.conf_high], axis=2)

    @property
    def radius(self) -> FloatArray:
        """Half the length of each interval, shape (n_waves, n_names)."""
        return np.asarray((self.conf_high - self.conf_low) / 2)

    def _frame(self) -> pl.DataFrame:
        """One row per wave and arm or contrast: wave, n_units, arm, estimate, conf_low, conf_high.

        The last column, not_estimable, is the reason where there is no interval.
        """
        n_names = len(self.names)
        return pl.DataFrame(
            {
                "wave": np.repeat(self.waves, n_names),
                "n_units": np.repeat(self.n_units, n_names),
                "arm": list(self.names) * len(self.waves),
                "estimate": self.estimate.ravel(),
                "conf_low": self.conf_low.ravel(),
                "conf_high": self.conf_high.ravel(),
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
        return {"method": self.method, "level": self.level, "rows": self._frame()}

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
                f"confidence sequences, method {self.method}:",
                *lines,
                f"{_PROMISES[self.method]} One may stop when it says enough; the price is that it "
                "is wider than an interval for one look that was fixed before.",
            ]
        )


@renamed(propensities="propensity")
@aligned("outcome", "arm", "propensity", "wave", "strata", "cluster")
def confidence_sequence(
    outcome: Any,
    arm: Any,
    propensity: Any,
    wave: Any,
    *,
    method: Method = "block",
    strata: Any = None,
    cluster: Any = None,
    bounds: tuple[float, float] | None = None,
    baseline: float | None = None,
    planned_sizes: Sequence[int] | None = None,
    tightest_at: int | None = None,
    first_look: int | None = None,
    small_sample: SmallSample = "none",
    level: float = 0.95,
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
    method : {"block", "betting", "planned", "asymptotic"}
        ``block``: bets within waves (and strata); holds at any size whatever the level of each
        wave. ``betting``: bets on doubly robust scores, for propensities that differ by unit. Both
        are for outcomes within bounds. ``planned``: a fixed number of looks, narrower, for any
        outcome. ``asymptotic``: Robbins' normal mixture, for large first looks.
    strata : array-like, shape (n_units,), optional
        Strata within which arms were drawn; not for ``asymptotic``.
    cluster : array-like, shape (n_units,), optional
        Clusters, each within one wave and one arm: their means are the outcomes, each counts once.
        Not for ``asymptotic``.
    bounds : (float, float), optional
        Least and largest outcome that were possible; (0, 1) where all outcomes are 0 or 1. For
        ``block`` and ``betting``.
    baseline : float, optional
        Mean expected before the first wave, in units of the outcome; the middle of the bounds by
        default. A good guess narrows intervals of rare outcomes; a bad one widens them.
    planned_sizes : sequence of int, optional
        Units (with `cluster`, clusters) planned in every wave, later ones included, for
        ``planned``: their number is that of looks. Those of the waves at hand by default.
    tightest_at : int, optional
        Number of units at which the intervals shall be narrowest: the planned size. The number at
        hand by default, which must then be fixed before the first look. Not for ``planned``.
    first_look : int, optional
        For ``asymptotic``: outcomes above an arm's mean, and below it, that its first interval
        needs (for binary ones: events and non-events); 30 by default, fixed before the first look.
    small_sample : {"none", "t"}
        For ``asymptotic``: normal boundary, as published; or Student's with the same tail
        probability at each look.
    level : float
        In (0, 1).
    arms, waves : sequence of labels, optional
        All arms, the first one that others are compared with; the waves in time.

    Returns
    -------
    ConfidenceSequence

    Raises
    ------
    InputError
        Where arrays do not fit together, a probability is 0, outcomes lie outside the bounds, or
        an option belongs to another method.
    EstimationError
        Where propensities were not stored, there are fewer than two waves, a cluster lies in
        several waves or arms, or blocks are too small to bet on.

    Notes
    -----
    ``block``: with counts n_a, n_b of a wave, centres ``c_b = c_a + delta`` and a stake L that
    earlier waves and the counts fix, ``prod_a (1 - L/n_a (Y - c_a)) prod_b (1 + L/n_b (Y - c_b))``
    has an expectation of at most 1 if delta is the difference of the arms' means in that wave. The
    interval holds the delta whose product over waves, averaged over six stakes, is below
    ``1 / (1 - level)``. ``betting``: the same with ``prod (1 + L (psi - delta))`` over doubly
    robust scores psi. ``planned``: `Z_k`, z of waves combined by planned sizes, within
    O'Brien-Fleming bounds. ``asymptotic``: with t scores of variance ``s^2`` the half width is
    ``sqrt((t s^2 r^2 + 1) / (t^2 r^2) log((t s^2 r^2 + 1) / (1 - level)^2))``. Proofs, and where
    each fails: docs/methods/confidence-sequences.md. Keep a least share in the design.

    References
    ----------
    Turner and Gruenwald (2023), "Exact anytime-valid confidence intervals for contingency tables
    and beyond", arXiv 2106.02693 and 2302.11401; Waudby-Smith, Wu, Ramdas, Karampatziakis and
    Mineiro (2022), "Anytime-valid off-policy inference for contextual bandits", arXiv 2210.10768;
    Jennison and Turnbull (1989), "Interim analyses: the repeated confidence interval approach",
    JRSS B 51; Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit
    theory and asymptotic confidence sequences", theorem 2.2 and proposition 2.5.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wave, arm = np.repeat([1, 2, 3], 200), rng.integers(0, 2, 600)
    >>> outcome = rng.random(600) < 0.3
    >>> looks = confidence_sequence(outcome, arm, np.full((600, 2), 0.5), wave)
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
    _check_options(
        method,
        {
            "strata": strata, "cluster": cluster, "bounds": bounds, "baseline": baseline,
            "planned_sizes": planned_sizes, "tightest_at": tightest_at, "first_look": first_look,
            "small_sample": None if small_sample == "none" else small_sample,
        },
    )  # fmt: skip
    if method == "asymptotic":
        found = _asymptotic(
            observed, share, when, names, (tightest_at, first_look), small_sample, level
        )
    else:
        units = _units(observed, share, when, strata, cluster)
        if method == "planned":
            found = _planned(units, names, planned_sizes, level)
        else:
            limits = _read_bounds(observed.outcome[observed.known], bounds)
            found = _bets(units, names, method, limits, baseline, tightest_at, level)
    kept = observed.known
    return ConfidenceSequence(
        method=method,
        names=_rows(observed.arms),
        waves=tuple(names),
        estimate=read_only(found.estimate),
        conf_low=read_only(found.ends[..., 0]),
        conf_high=read_only(found.ends[..., 1]),
        n_units=read_only(np.cumsum(np.bincount(when[kept], minlength=len(names))), np.int64),
        level=level,
        not_estimable=found.reasons,
        provenance=Provenance(
            f"confidence sequence, {found.words}",
            hash_arrays(
                outcome=observed.outcome[kept],
                arm=observed.arm[kept],
                propensities=share[kept],
                wave=when[kept],
            ),
        ),
    )


@dataclass(frozen=True)
class _Looks:
    estimate: FloatArray  # (n_waves, n_names)
    ends: FloatArray  # (n_waves, n_names, 2)
    reasons: dict[tuple[str, str], NotEstimable]
    words: str


def _rows(arms: tuple[str, ...]) -> tuple[str, ...]:
    return (*arms, *(f"{name} - {arms[0]}" for name in arms[1:]))


_OPTIONS = {
    "strata": ("block", "betting", "planned"),
    "cluster": ("block", "betting", "planned"),
    "bounds": ("block", "betting"),
    "baseline": ("block", "betting"),
    "planned_sizes": ("planned",),
    "tightest_at": ("block", "betting", "asymptotic"),
    "first_look": ("asymptotic",),
    "small_sample": ("asymptotic",),
}


def _check_options(method: str, given: Mapping[str, Any]) -> None:
    if method not in get_args(Method):
        raise InputError(f"method: found {method!r}; needed one of {', '.join(get_args(Method))}")
    small_sample = given["small_sample"]
    if small_sample not in (None, *get_args(SmallSample)):
        raise InputError(f"small_sample: found {small_sample!r}; needed 'none' or 't'")
    for name, value in given.items():
        if value is None or method in _OPTIONS[name]:
            continue
        if name == "cluster":
            raise EstimationError(
                "cluster: found clusters with method 'asymptotic', which takes units as "
                "independent; needed 'block', 'betting' or 'planned', with each cluster in one "
                "wave and arm"
            )
        raise InputError(
            f"{name}: found it with method {method!r}; needed method "
            f"{' or '.join(repr(one) for one in _OPTIONS[name])}; leave it out or change the method"
        )


# What is compared: units, or means of clusters, by wave and stratum.


@dataclass(frozen=True, eq=False)
class _Units:
    """Units with a known outcome, or clusters."""

    arms: tuple[str, ...]
    outcome: FloatArray
    arm: IntArray
    wave: IntArray
    stratum: IntArray
    share: FloatArray
    drawn: IntArray  # (n_waves,): Units or clusters, those without an outcome among them.
    noun: str


def _units(
    observed: Observed, share: FloatArray, when: IntArray, strata: Any, cluster: Any
) -> _Units:
    n_units = observed.arm.size
    stratum = encode_or_one(strata, "strata", n_units).codes
    kept = observed.known
    y, arm = observed.outcome[kept], observed.arm[kept]
    wave, stratum, share = when[kept], stratum[kept], share[kept]
    if cluster is None:
        return _Units(observed.arms, y, arm, wave, stratum, share, np.bincount(when), "units")
    labels = encode(cluster, "cluster", n_units)
    for what, codes in (("wave", when), ("arm", observed.arm)):
        cells = np.unique(labels.codes * (int(codes.max()) + 1) + codes)
        n_spread = len(labels.levels) - int(
            (np.bincount(cells // (int(codes.max()) + 1)) == 1).sum()
        )
        if n_spread:
            raise EstimationError(
                f"cluster: found {n_spread:,} of {len(labels.levels):,} clusters in more than one "
                f"{what}; needed each within one, since outcomes of a cluster depend on each other "
                "and looks would share them; draw whole clusters, or take `weighted_m` with "
                "cluster= at one look that was fixed before"
            )
    _, first, codes = np.unique(labels.codes[kept], return_index=True, return_inverse=True)
    if (
        np.ptp(share - share[first][codes], axis=0).max() > 1e-9
        or (stratum != stratum[first][codes]).any()
    ):
        raise InputError(
            "cluster: found clusters whose units have different propensities or strata; needed "
            "the same for all units of one; give the propensities of the cluster"
        )
    mean = np.bincount(codes, y) / np.bincount(codes)
    drawn = np.bincount(
        when[np.unique(labels.codes, return_index=True)[1]], minlength=when.max() + 1
    )
    picked = (arm[first], wave[first], stratum[first], share[first])
    return _Units(observed.arms, mean, *picked, drawn, "clusters")


def _cells(units: _Units, names: list[str], method: str, baseline: float) -> Cells:
    """Outcomes counted by block, arm and value; blocks are waves by stratum and propensities."""
    share, n_arms = units.share, len(units.arms)
    rows = np.zeros(units.arm.size, dtype=np.int64)
    for column in np.round(share, 12).T:
        _, codes = np.unique(column, return_inverse=True)
        _, rows = np.unique(rows * (int(codes.max()) + 1) + codes, return_inverse=True)
    stratum = units.stratum if method == "betting" else _pooled(units, names, rows)
    n_rows, n_strata = int(rows.max()) + 1, int(stratum.max()) + 1
    key = (units.wave * n_strata + stratum) * n_rows + rows
    found, first, block = np.unique(key, return_index=True, return_inverse=True)
    values, value = np.unique(units.outcome, return_inverse=True)
    cell = (block * n_arms + units.arm) * values.size + value
    cells, count = np.unique(cell, return_counts=True)
    return Cells(
        block=cells // values.size // n_arms,
        arm=cells // values.size % n_arms,
        value=values[cells % values.size],
        count=count.astype(np.int64),
        wave=found // n_rows // n_strata,
        stratum=stratum[first],
        share=share[first],
        baseline=baseline,
    )


def _pooled(units: _Units, names: list[str], rows: IntArray) -> IntArray:
    """Strata, as one where one of a wave is small; units with other propensities stay apart."""
    n_rows, n_strata = int(rows.max()) + 1, int(units.stratum.max()) + 1
    group = units.wave * n_rows + rows
    n_groups = int(group.max()) + 1
    _, codes, size = np.unique(
        group * n_strata + units.stratum, return_inverse=True, return_counts=True
    )
    least = np.full(n_groups, np.inf)
    np.minimum.at(least, group, size[codes])
    stratum = np.where(least[group] < _LEAST_BLOCK, n_strata, units.stratum)
    of_group, of_wave = np.bincount(group, minlength=n_groups), np.bincount(units.wave)
    small = (of_group[group] < _LEAST_BLOCK) & (of_group[group] < of_wave[units.wave])
    if small.any():
        bad = units.wave[small].min()
        raise EstimationError(
            f"propensity: found {int(small[units.wave == bad].sum()):,} of {of_wave[bad]:,} "
            f"{units.noun} of {names[bad]} in groups of fewer than {_LEAST_BLOCK} with the same "
            "propensities; needed larger groups to compare arms within; for outcomes in bounds "
            "take method='betting'"
        )
    return np.asarray(stratum)


# Bets on outcomes within bounds.


def _bets(
    units: _Units,
    names: list[str],
    method: str,
    bounds: tuple[float, float],
    baseline: float | None,
    tightest_at: int | None,
    level: float,
) -> _Looks:
    low, high = bounds
    middle = 0.5 if baseline is None else (baseline - low) / (high - low)
    if not 0 < middle < 1:
        raise InputError(
            f"baseline: found {baseline!r}; needed a number between {low:g} and {high:g}"
        )
    scaled = replace(units, outcome=(units.outcome - low) / (high - low))
    if method == "block":
        large = np.bincount(units.wave)[units.wave] >= _LEAST_WAVE
        if not large.any():
            most = np.bincount(units.wave).max()
            raise EstimationError(
                f"wave: found at most {most} {units.noun} in a wave; needed {_LEAST_WAVE} or more "
                "in some, since outcomes of a pair may depend on each other"
            )
        scaled = _some(scaled, large)
    present, wave = np.unique(scaled.wave, return_inverse=True)
    cells = _cells(replace(scaled, wave=wave), [names[w] for w in present], method, middle)
    planned = float(_size(tightest_at, units.arm.size, "tightest_at", 1))
    columns = []
    for row in _pairs(len(units.arms)):
        if method == "betting":
            bets = bets_on_scores(cells, row, planned, 1 - level)
        elif len(row) == 1:
            bets = bets_on_means(cells, row[0], planned, 1 - level)
        else:
            bets = bets_on_blocks(cells, (row[0], row[1]), planned, 1 - level)
        ends = invert(bets, (0.0 if len(row) == 1 else -1.0, 1.0), 1 - level)
        columns.append((estimates(bets), ends))
    scale = high - low
    add = np.array([low] * len(units.arms) + [0.0] * (len(units.arms) - 1))
    estimate = np.stack([one for one, _ in columns], axis=1) * scale + add
    ends = np.stack([one for _, one in columns], axis=1) * scale + add[:, None]
    words = f"{method}, narrowest at {planned:,.0f} {units.noun}"
    return _told(units, names, present, estimate, ends, words)


def _pairs(n_arms: int) -> list[tuple[int, ...]]:
    """Arms of each row of names: one for a mean, two for a contrast with the first."""
    return [(k,) for k in range(n_arms)] + [(0, k) for k in range(1, n_arms)]


def _some(units: _Units, kept: BoolArray) -> _Units:
    return replace(
        units, outcome=units.outcome[kept], arm=units.arm[kept], wave=units.wave[kept],
        stratum=units.stratum[kept], share=units.share[kept],
    )  # fmt: skip


def _read_bounds(y: FloatArray, bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is None:
        if not np.isin(y, (0.0, 1.0)).all():
            raise InputError(
                f"outcome: found values from {y.min():g} to {y.max():g} and no bounds; needed "
                "bounds=(least, largest possible outcome), as known before any outcome was, or "
                "method='planned', which needs none"
            )
        return 0.0, 1.0
    try:
        low, high = (float(end) for end in bounds)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"bounds: found {bounds!r}; needed two numbers, the smaller one first")
    if y.min() < low or y.max() > high:
        raise InputError(
            f"outcome: found values from {y.min():g} to {y.max():g}; needed them within the "
            f"bounds {low:g} and {high:g}; give the bounds that were possible, not those wished for"
        )
    return low, high


def _told(
    units: _Units,
    names: list[str],
    present: IntArray,
    estimate: FloatArray,
    ends: FloatArray,
    words: str,
) -> _Looks:
    """All looks, those of waves without outcomes as the one before; reasons where there is none."""
    n_waves, n_arms = len(names), len(units.arms)
    at = np.searchsorted(present, np.arange(n_waves), side="right") - 1
    estimate = np.where(at[:, None] >= 0, estimate[at], np.nan)
    ends = np.where(at[:, None, None] >= 0, ends[at], np.nan)
    shape = (n_waves, n_arms)
    cell = units.wave * n_arms + units.arm
    so_far = np.cumsum(np.bincount(cell, minlength=n_waves * n_arms).reshape(shape), axis=0)
    reasons = {}
    for w, k in zip(*np.nonzero(np.isnan(estimate) | np.isnan(ends).any(axis=2)), strict=True):
        row = _pairs(n_arms)[k]
        empty = [units.arms[one] for one in row if so_far[w, one] == 0]
        if not np.isnan(estimate[w, k]):
            why = "no value fits all waves so far: it changed between them; compare waves by `ate`"
        elif empty:
            why = f"'{empty[0]}': 0 known outcomes so far; needed 1: look later"
        else:
            both = " and ".join(f"'{units.arms[one]}'" for one in row)
            why = f"no wave so far has enough outcomes of {both} to compare: look later"
        reasons[names[w], _rows(units.arms)[k]] = NotEstimable(why)
        estimate[w, k], ends[w, k] = np.nan, np.nan
    return _Looks(estimate, ends, reasons, words)


# A fixed number of looks.


def _planned(units: _Units, names: list[str], sizes: Sequence[int] | None, level: float) -> _Looks:
    n_waves = len(names)
    planned = units.drawn.astype(np.float64)
    if sizes is not None:
        planned = np.asarray(sizes, dtype=np.float64)
        if planned.ndim != 1 or planned.size < n_waves or not (planned >= 1).all():
            raise InputError(
                f"planned_sizes: found {sizes!r}; needed a number of {units.noun}, 1 at least, for "
                f"each of the {n_waves} waves so far and for those to come"
            )
    present, wave = np.unique(units.wave, return_inverse=True)
    cells = _cells(replace(units, wave=wave), [names[w] for w in present], "planned", 0.5)
    is_binary = bool(np.isin(units.outcome, (0.0, 1.0)).all())
    reach = 1.0 if is_binary else 1e9 * max(float(np.abs(units.outcome).max()), 1e-300)
    bound = obrien_fleming(np.cumsum(planned), 1 - level)[:n_waves]
    estimate, ends = [], []
    for row in _pairs(len(units.arms)):
        scores = scores_of_waves(cells, row, is_binary)

        def every(delta: FloatArray, scores: Any = scores) -> FloatArray:
            z = np.zeros((delta.size, n_waves))
            z[:, present] = scores(delta)
            return z

        middle, interval = repeated_intervals(every, planned, bound, reach)
        silent = (np.cumsum(every(np.full(n_waves, -reach))[0] != 0)) == 0
        middle[silent] = np.nan
        estimate.append(middle)
        if is_binary:
            interval = np.clip(interval, 0.0 if len(row) == 1 else -1.0, 1.0)
        ends.append(interval)
    words = f"planned, {planned.size} looks, O'Brien-Fleming bounds"
    every_wave = np.arange(n_waves)
    return _told(units, names, every_wave, np.stack(estimate, 1), np.stack(ends, 1), words)


# Robbins' normal mixture.


def _asymptotic(
    observed: Observed,
    share: FloatArray,
    when: IntArray,
    names: list[str],
    sizes: tuple[int | None, int | None],
    small_sample: SmallSample,
    level: float,
) -> _Looks:
    kept = observed.known
    y, codes, when, share = observed.outcome[kept], observed.arm[kept], when[kept], share[kept]
    scores = aipw_scores(y, codes, share, _filled(when), np.arange(len(observed.arms)))
    scores = np.hstack([scores, scores[:, 1:] - scores[:, :1]])
    planned = _size(sizes[0], y.size, "tightest_at", 1)
    fewest = _size(sizes[1], 30, "first_look", 1)
    n_units = np.cumsum(np.bincount(when, minlength=len(names)))
    moments = _moments(scores, when, n_units, 4 if small_sample == "t" else 2)
    estimate, radius = _looks(n_units, moments, planned, 1 - level)
    reasons = _too_early(observed.arms, names, y, codes, when, fewest)
    rows = _rows(observed.arms)
    known = np.array([[(wave, row) not in reasons for row in rows] for wave in names])
    ends = np.stack([estimate - radius, estimate + radius], axis=2)
    return _Looks(
        np.where(known, estimate, np.nan),
        np.where(known[:, :, None], ends, np.nan),
        reasons,
        f"normal mixture, narrowest at {planned:,} units"
        + (", Student's boundary" if small_sample == "t" else ""),
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
    """Looks at which too few outcomes of an arm lie above its mean, or below, by wave and row."""
    found: dict[tuple[str, str], NotEstimable] = {}
    is_binary = bool(np.isin(y, (0.0, 1.0)).all())
    words = ("events", "non-events") if is_binary else ("above their mean", "below it")
    for w, wave in enumerate(waves):
        bad = {}
        for k, arm in enumerate(arms):
            own = y[(codes == k) & (when <= w)]
            mean = own.mean() if own.size else 0.0
            above, below = int((own > mean).sum()), int((own < mean).sum())
            if is_binary:
                above, below = int(own.sum()), int(own.size - own.sum())
            if min(above, below) < fewest:
                bad[arm] = (
                    f"{own.size:,} known outcomes so far, {above:,} {words[0]} and {below:,} "
                    f"{words[1]}; needed {fewest:,} of each: look later"
                )
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
