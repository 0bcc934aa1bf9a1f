"""Persistence of effects: a curve by period, and what is left of it once messages end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from wavewise.errors import InputError
from wavewise.estimate.effects.covariance import (
    corrected,
    group_scores,
    precision,
    resolve_kind,
    small_sample_factor,
)
from wavewise.estimate.effects.instruments import AndersonRubin, anderson_rubin
from wavewise.estimate.effects.least_squares import collapse, fit_outcome, fit_rows
from wavewise.estimate.effects.sample import Sample, comparable_with, read_sample
from wavewise.estimate.effects.table import EffectTable, adjust, check_level
from wavewise.shared.inputs import MissingRule, aligned, read_outcomes
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    hash_arrays,
)

__all__ = ["Persistence", "persistence"]

DURING, AFTER, CHANGE = "during messages", "after messages", "after minus during"


@dataclass(frozen=True, eq=False)
class Persistence(Result, kind="persistence"):
    """Effects of each arm by period, with pointwise and joint bands."""

    arms: tuple[str, ...]  # Other than the control, in the order of the first axis.
    periods: tuple[str, ...]  # In the order of time.
    estimate: FloatArray  # (n_arms, n_periods): Effects; not-a-number where there is none.
    cov: FloatArray  # (n_arms, n_periods, n_periods): Covariance of an arm's effects.
    df: FloatArray  # (n_arms,): Degrees of freedom.
    # (n_arms,): Half-width of an arm's joint band, in standard errors.
    critical_value: FloatArray
    # (n_arms, n_periods): P values of no effect adjusted for looking at all periods.
    p_adjusted: FloatArray
    control: str
    control_mean: FloatArray  # (n_periods,): Mean outcome of the control.
    n_during: int | None  # Periods with messages, the first ones; the others come after.
    n_units: IntArray  # (n_arms,): Analysed units.
    n_missing: int  # Units left out since the outcome of some period is missing.
    level: float  # Of the pointwise bands, and of each arm's joint band.
    se: str  # Kind of the standard errors.
    # What has no estimate or no standard error, by arm, or by "arm, period", and why.
    not_estimable: Mapping[str, NotEstimable]
    provenance: Provenance

    @property
    def std_error(self) -> FloatArray:
        """Standard errors, shape (n_arms, n_periods)."""
        return np.sqrt(np.diagonal(self.cov, axis1=1, axis2=2))

    def conf_int(self, *, joint: bool = False) -> FloatArray:
        """Bands (lower, upper), shape (n_arms, n_periods, 2).

        Pointwise ones cover each period's effect with probability `level`, joint ones those of all
        periods of an arm together.
        """
        width = self.critical_value if joint else stdtrit(self.df, (1 + self.level) / 2)
        half = width[:, None] * self.std_error
        return np.stack([self.estimate - half, self.estimate + half], axis=2)

    def phases(self, arm: str) -> EffectTable:
        """Mean effect of an arm during messages, after them, and their difference.

        Raises
        ------
        InputError
            The arm is unknown, or it was not said when messages end.
        """
        row = self._row(arm)
        return EffectTable(
            names=(DURING, AFTER, CHANGE),
            estimate=self._contrasts @ self.estimate[row],
            cov=self._contrasts @ self.cov[row] @ self._contrasts.T,
            df=np.full(3, self.df[row]),
            n_units=np.full(3, self.n_units[row]),
            level=self.level,
            se=self.se,
            not_estimable=self._reasons(arm),
        )

    def kept(self, arm: str) -> AndersonRubin | NotEstimable:
        """The ratios of the mean effect after messages to that during them that are not rejected.

        1 is an effect that persists in full, 0 one that fades out. Where the effect during messages
        may be none, the ratio may be anything.

        References
        ----------
        Fieller (1954).
        """
        table = self.phases(arm)
        if table.not_estimable:
            return next(iter(table.not_estimable.values()))
        pair = table.estimate[[1, 0]]
        cov = table.cov[np.ix_([1, 0], [1, 0])]
        return anderson_rubin(pair, cov, float(table.df[0]), self.level)

    @property
    def _contrasts(self) -> FloatArray:
        if self.n_during is None:
            raise InputError(
                "found no end of messages; needed the number of periods with messages; give "
                "n_during to persistence"
            )
        during = np.arange(len(self.periods)) < self.n_during
        first, later = during / during.sum(), ~during / (~during).sum()
        return np.stack([first, later, later - first])

    def _row(self, arm: str) -> int:
        if arm not in self.arms:
            raise InputError(f"found no arm '{arm}'; the arms are {', '.join(self.arms)}")
        return self.arms.index(arm)

    def _reasons(self, arm: str) -> dict[str, NotEstimable]:
        """Why means over periods of an arm are not estimable, by their names."""
        keys = (arm, *(f"{arm}, {period}" for period in self.periods))
        found = next((self.not_estimable[k] for k in keys if k in self.not_estimable), None)
        return {} if found is None else dict.fromkeys((DURING, AFTER, CHANGE), found)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the curve to mean what it says."""
        out = f"; {self.n_missing:,} without some period are left out" if self.n_missing else ""
        texts = [
            "Intent to treat: every unit counts in the arm that it was assigned to.",
            f"The same units in every period{out}.",
            f"Pointwise bands hold in each period by itself, joint ones in all {len(self.periods)} "
            f"periods of an arm together, each at level {self.level:g}.",
        ]
        return tuple(texts)

    def _frame(self) -> pl.DataFrame:
        """One row per arm and period; null where there is no number."""
        band, joint, n = self.conf_int(), self.conf_int(joint=True), len(self.periods)
        t_value = np.abs(self.estimate / self.std_error)
        columns = {
            "arm": [arm for arm in self.arms for _ in self.periods],
            "period": list(self.periods) * len(self.arms),
            "estimate": self.estimate.ravel(),
            "std_error": self.std_error.ravel(),
            "conf_low": band[:, :, 0].ravel(),
            "conf_high": band[:, :, 1].ravel(),
            "joint_low": joint[:, :, 0].ravel(),
            "joint_high": joint[:, :, 1].ravel(),
            "p_value": (2 * stdtr(self.df[:, None], -t_value)).ravel(),
            "p_adjusted": self.p_adjusted.ravel(),
            "n_units": np.repeat(self.n_units, n),
        }
        text = {"arm": pl.String, "period": pl.String}
        return pl.DataFrame(columns, schema_overrides=text).fill_nan(None)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "control": self.control,
            "periods": self.periods,
            "n_during": self.n_during,
            "level": self.level,
            "se": self.se,
            "control_mean": self.control_mean,
            "n_missing": self.n_missing,
            "rows": self._frame(),
            "not_estimable": {name: why.reason for name, why in self.not_estimable.items()},
            "assumptions": self.assumptions,
        }
        if self.n_during is not None:
            facts["phases"] = {arm: self.phases(arm)._frame() for arm in self.arms}
            facts["kept"] = {arm: self._kept_text(arm) for arm in self.arms}
        return facts

    def _kept_text(self, arm: str) -> str:
        found, share = self.kept(arm), self.phases(arm).estimate
        if isinstance(found, NotEstimable):
            return str(found)
        return f"{share[1] / share[0]:.3g} of the effect is left after messages ({found.text})"

    def _notes(self) -> Sequence[str]:
        lines = [f"'{name}': {why}." for name, why in self.not_estimable.items()]
        if self.n_during is not None:
            lines += [f"'{arm}': {self._kept_text(arm)}." for arm in self.arms]
        return (*lines, *self.assumptions)


@aligned("panel", "arm", "strata", "covariates", "cluster", "weights")
def persistence(
    panel: Any,
    arm: Any,
    *,
    control: Any = "control",
    n_during: int | None = None,
    strata: Any = None,
    covariates: Any = None,
    cluster: Any = None,
    se: Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"] = "HC2",
    level: float = 0.95,
    interact: bool = True,
    missing_covariates: MissingRule = "error",
    weights: Any = None,
    arms: Sequence[Any] | None = None,
    rng: np.random.Generator | None = None,
) -> Persistence:
    """Effects of each arm by period, with pointwise and joint bands.

    Parameters
    ----------
    panel : array, shape (n_units, n_periods); or mapping or frame, period to array (n_units,)
        Outcome of each unit in each period, in the order of time; not-a-number where it is missing.
        Units without some period are left out of all, so that the curve is about the same units.
    arm : array-like, shape (n_units,)
        Label of each unit's arm.
    control : label
        The arm that the others are compared with.
    n_during : int, optional
        Number of periods in which messages went out; those after them show what persists.
    strata, covariates, cluster, se, interact, missing_covariates, weights, arms
        As in :func:`wavewise.estimate.ate`.
    level : float
        Level of the bands, in (0, 1).
    rng : numpy.random.Generator, optional
        For the numerical integration of joint bands; one with a fixed seed by default.

    Returns
    -------
    Persistence
        One row per arm and period; ``phases(arm)`` and ``kept(arm)`` compare before and after the
        end of messages.

    Raises
    ------
    InputError
        Where arrays do not fit together, or `n_during` leaves no period before or after.
    EstimationError
        Where no arm can be compared.

    Notes
    -----
    In period t the effect is the coefficient of :func:`wavewise.estimate.ate`. Over periods, with
    z_g the loadings of a unit or cluster corrected as the kind of standard error has it, and e_gt
    its residuals, ``cov(b_s, b_t) = c sum_g (z_g'e_gs)(z_g'e_gt)``: a unit's outcomes may be alike
    in all periods. The joint band of an arm has the quantile of the largest |t| over periods as its
    half-width, from the multivariate t distribution with that correlation.

    References
    ----------
    Bell and McCaffrey (2002); Hothorn, Bretz and Westfall (2008), section 3; Montiel Olea and
    Plagborg-Moller (2019), the same bands for curves; Fieller (1954), for ``kept``.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> arm = np.repeat(["control", "sms"], 500)
    >>> effect = np.array([1.0, 1.0, 0.5, 0.25])
    >>> panel = rng.normal(size=(1000, 4)) + effect * (arm == "sms")[:, None]
    >>> found = persistence(panel, arm, n_during=2)
    >>> found.estimate.round(2)
    array([[0.94, 0.98, 0.58, 0.28]])
    >>> found.kept("sms").text
    '0.3562 to 0.548'
    """
    check_level(level)
    kind = resolve_kind(se, cluster is not None)
    columns = read_outcomes(panel, "panel")
    periods, values = tuple(columns), np.column_stack(list(columns.values()))
    _check_during(n_during, len(periods))
    known = ~np.isnan(values).any(axis=1)
    sample = read_sample(
        np.where(known, 0.0, np.nan),
        arm,
        control,
        strata=strata,
        covariates=covariates,
        cluster=cluster,
        weights=weights,
        arms=arms,
        missing_covariates=missing_covariates,
    )
    used, panel_used = comparable_with(sample, values[known])
    curves = _curves(used, panel_used, kind, periods, interact)
    critical, p_adjusted = _joint(curves, periods, level, rng)
    n_strata = "" if used.strata is None else f", {int(used.strata.max()) + 1:,} strata effects"
    return Persistence(
        **vars(curves),
        arms=used.arms[1:],
        periods=periods,
        critical_value=critical,
        p_adjusted=p_adjusted,
        control=used.arms[0],
        control_mean=np.average(
            panel_used[used.arm == 0],
            axis=0,
            weights=None if used.weights is None else used.weights[used.arm == 0],
        ),
        n_during=n_during,
        n_units=used.counts[1:],
        n_missing=int((~known).sum()),
        level=level,
        se=kind,
        provenance=Provenance(
            f"least squares by period, {kind}{n_strata}",
            hash_arrays(sample=np.array(sample.data_hash), panel=values),
        ),
    )


def _check_during(n_during: int | None, n_periods: int) -> None:
    if n_during is None:
        return
    if n_during not in range(1, n_periods) or isinstance(n_during, bool):
        raise InputError(
            f"n_during: found {n_during!r}; needed a whole number from 1 to {n_periods - 1}, so "
            f"that some of the {n_periods} periods are with messages and some after them"
        )


@dataclass(frozen=True, eq=False)
class _Curves:
    """Effects by arm and period, as the result has them."""

    estimate: FloatArray
    cov: FloatArray
    df: FloatArray
    not_estimable: Mapping[str, NotEstimable]


def _curves(
    used: Sample, panel: FloatArray, kind: Any, periods: tuple[str, ...], interact: bool
) -> _Curves:
    """One design, one set of loadings; an outcome for each period."""
    names = used.arms[1:]
    rows = collapse(used, interact, merge=False)
    design = fit_rows(rows)
    found = corrected(rows, design, kind, "identity")
    factor = small_sample_factor(rows, kind)
    fits, refusals = [], dict[str, NotEstimable](used.not_estimable)
    places = [k for k, name in enumerate(names) if name not in used.not_estimable]
    shape = (len(names), len(periods))
    estimate, df = np.full(shape, np.nan), np.full(len(names), np.nan)
    cov = np.full((*shape, len(periods)), np.nan)
    for t, period in enumerate(periods):
        of_period = replace(rows, outcome=rows.means(panel[:, t]))
        fit = fit_outcome(of_period, design.basis, design.loading)
        precise = precision(of_period, fit, kind, found)
        fits.append(fit)
        estimate[places, t] = fit.effects
        for k, place in enumerate(places):
            weight = np.eye(len(places))[k]
            why = precise.refusal(weight)
            if why:
                refusals[f"{names[place]}, {period}"] = NotEstimable(why)
            elif np.isnan(df[place]):
                df[place] = precise.df(weight)
    for k, place in enumerate(places):
        loading = found.model.loading[:, [k]]
        scores = np.hstack([group_scores(rows, found.model, loading, f.residual) for f in fits])
        cov[place] = factor * scores.T @ scores
        silent = [f"{names[place]}, {period}" in refusals for period in periods]
        cov[place, silent, :] = np.nan
        cov[place, :, silent] = np.nan
    return _Curves(estimate, cov, df, refusals)


def _joint(
    curves: _Curves, periods: tuple[str, ...], level: float, rng: np.random.Generator | None
) -> tuple[FloatArray, FloatArray]:
    """Half-width of each arm's joint band, and p values adjusted for all periods."""
    critical = np.full(len(curves.df), np.nan)
    p_value = np.full(curves.estimate.shape, np.nan)
    for k, cov in enumerate(curves.cov):
        if np.isnan(np.diag(cov)).all():
            continue
        found = adjust(
            periods,
            curves.estimate[k],
            cov,
            np.full(len(periods), curves.df[k]),
            level=level,
            method="max-t",
            n_units=np.zeros(len(periods), np.int64),
            rng=rng,
        )
        critical[k] = np.nanmax(found.critical_value)
        p_value[k] = found.p_value
    return critical, p_value
