"""Complier average causal effects, with assignment as the instrument, beside intent to treat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.covariance import (
    DegreesOfFreedom,
    StdErrorKind,
    WorkingModelName,
    check_working_model,
    corrected,
    group_scores,
    precision,
    resolve_kind,
    small_sample_factor,
)
from wavewise.estimate.effects.least_squares import collapse, fit_outcome, fit_rows
from wavewise.estimate.effects.results import Effects, table_lines
from wavewise.estimate.effects.sample import Sample, comparable_with, read_sample
from wavewise.estimate.effects.table import EffectTable, Estimate, check_level
from wavewise.shared.inputs import MissingRule, aligned, read_outcome
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    FloatArray,
    NotEstimable,
    Provenance,
    Record,
    hash_arrays,
    read_only,
)

__all__ = ["AndersonRubin", "Cace", "cace"]


# Intent-to-treat effects on the outcome and on receipt, with their joint covariance.

# effects on receipt below this, relative to the largest receipt, are rounding
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class Reduced:
    """What assignment does to the outcome and to what is received; entries are arms."""

    arms: tuple[str, ...]
    effects: FloatArray  # (n_arms,): Two-stage estimates; not-a-number where there is none.
    cov: FloatArray  # (n_arms, n_arms): Their covariance.
    # (n_arms, 2): Effects of assignment on the outcome, less what other arms' receipt does to it,
    # and on receipt; their ratio is the two-stage estimate.
    pair: FloatArray
    pair_cov: FloatArray  # (n_arms, 2, 2): Joint covariance of each arm's two.
    df: FloatArray  # (n_arms,): Degrees of freedom of the assignment's coefficient.
    refusals: tuple[str | None, ...]  # Why an arm has no covariance.


def reduced(
    sample: Sample,
    dose: FloatArray,
    *,
    kind: StdErrorKind,
    working_model: WorkingModelName,
    df: DegreesOfFreedom,
) -> Reduced:
    """Effects of assignment on the outcome and on each arm's receipt.

    Notes
    -----
    With b_y the coefficients of assignment in the outcome and P those in the arms' receipts r_j,
    the two-stage estimate is ``beta = P^-1 b_y``. Row k of ``P^-1``, times P_kk, combines
    assignments so that other arms' receipts drop out; it is arm k alone where there is one arm, or
    neither strata nor covariates. The residuals of ``y - sum_j beta_j r_j`` on assignment are those
    of the two-stage regression, since there are as many instruments as receipts.
    """
    codes = [k for k in range(1, len(sample.arms)) if (sample.arm == k).any()]
    rows = collapse(sample, interact=False, merge=False)
    fit = fit_rows(rows)
    doses = [dose] if len(codes) == 1 else [dose * (sample.arm == k) for k in codes]
    receipts = [
        fit_outcome(replace(rows, outcome=rows.means(d)), fit.basis, fit.loading) for d in doses
    ]
    stage = np.column_stack([receipt.effects for receipt in receipts])
    moved = np.abs(np.diag(stage)) > _NOTHING * np.array([np.abs(d).max() for d in doses])
    combine = np.eye(len(codes))
    combine[np.ix_(moved, moved)] = np.linalg.inv(stage[np.ix_(moved, moved)])
    beta = np.where(moved, combine @ np.where(moved, fit.effects, 0.0), 0.0)
    received = np.column_stack([receipt.residual for receipt in receipts])
    found = corrected(rows, fit, kind, working_model)
    precise = precision(rows, fit, kind, found, df)
    model, factor = found.model, small_sample_factor(rows, kind)
    error = group_scores(rows, model, model.loading @ combine.T, fit.residual - received @ beta)
    pair, pair_cov = np.empty((len(codes), 2)), np.empty((len(codes), 2, 2))
    weights = combine * np.where(moved, np.diag(stage), 1.0)[:, None]
    for k, weight in enumerate(weights):
        others = np.where(np.arange(beta.size) == k, 0.0, beta)
        pair[k] = weight @ fit.effects - weight @ stage @ others, weight @ stage[:, k]
        loading = (model.loading @ weight)[:, None]
        parts = [
            group_scores(rows, model, loading, residual)
            for residual in (fit.residual - received @ others, received[:, k])
        ]
        both = np.hstack(parts)
        pair_cov[k] = factor * both.T @ both
    return Reduced(
        arms=tuple(sample.arms[code] for code in codes),
        effects=np.where(moved, beta, np.nan),
        cov=factor * error.T @ error,
        pair=pair,
        pair_cov=pair_cov,
        df=np.array([precise.df(weight) for weight in weights]),
        refusals=tuple(
            precise.refusal(weight) if moves else "assignment changes nothing in what is received"
            for weight, moves in zip(weights, moved.tolist(), strict=True)
        ),
    )


# Anderson and Rubin's set: the effects that the data do not reject.


@dataclass(frozen=True, eq=False)
class AndersonRubin(Record):
    """Effects of receipt that the data do not reject: an interval, two rays, or every number.

    Parameters
    ----------
    kind : {"interval", "two rays", "line"}
        Its form.
    low, high : float
        Ends of the interval; for two rays the ends of the gap between them, which is all that is
        rejected; infinite for the line.
    """

    kind: Literal["interval", "two rays", "line"]
    low: float
    high: float

    @property
    def text(self) -> str:
        """The set in words."""
        if self.kind == "interval":
            return f"{self.low:.4g} to {self.high:.4g}"
        if self.kind == "two rays":
            return f"two rays: anything up to {self.low:.4g}, and anything from {self.high:.4g} on"
        return "line: any number, assignment moved receipt too little to tell"

    @property
    def conf(self) -> tuple[float, float]:
        """The smallest interval around the set."""
        return (self.low, self.high) if self.kind == "interval" else (-np.inf, np.inf)

    def __contains__(self, effect: float) -> bool:
        inside = self.low <= effect <= self.high
        return inside if self.kind != "two rays" else not self.low < effect < self.high


def anderson_rubin(pair: FloatArray, cov: FloatArray, df: float, level: float) -> AndersonRubin:
    """The effects that are not rejected.

    Notes
    -----
    ``(b_y - beta b_r)^2 <= q^2 (V_yy - 2 beta V_yr + beta^2 V_rr)``, with q the quantile of
    Student's t: ``a beta^2 - 2 h beta + c <= 0``. Its discriminant is not negative where a is
    positive, since the ratio ``b_y / b_r`` always belongs to the set.

    References
    ----------
    Anderson and Rubin (1949); Fieller (1954).
    """
    q = float(stdtrit(df, (1 + level) / 2))
    a = pair[1] ** 2 - q**2 * cov[1, 1]
    h = pair[0] * pair[1] - q**2 * cov[0, 1]
    c = pair[0] ** 2 - q**2 * cov[0, 0]
    square = h**2 - a * c
    if a <= 0 and square <= 0:
        return AndersonRubin("line", -np.inf, np.inf)
    root = float(np.sqrt(max(square, 0.0)))
    far = h + root if h >= 0 else h - root
    ends = [
        float(far / a) if a else float(np.copysign(np.inf, far)),
        float(c / far if far else 0.0),
    ]
    return AndersonRubin("interval" if a >= 0 else "two rays", min(ends), max(ends))


Interval = Literal["anderson-rubin", "two-stage"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cace(EffectTable, kind="effect table"):
    """Complier average causal effects, one row per arm other than the control; see `EffectTable`.

    Parameters
    ----------
    control : str
        The control.
    interval : {"anderson-rubin", "two-stage"}
        What the intervals and p values are. Standard errors, and what `adjusted` makes of them,
        are those of two stages.
    first_stage : array of float, shape (n_rows,)
        What assignment to the arm adds to what is received.
    first_stage_f : array of float, shape (n_rows,)
        Its robust F; infinite where all of the arm's units received the same.
    outcome_effect : array of float, shape (n_rows,)
        What assignment to the arm adds to the outcome; over `first_stage` it is the estimate.
    joint_cov : array of float, shape (n_rows, 2, 2)
        Covariance of `outcome_effect` and `first_stage`.
    mean_received : mapping of str to float
        Mean of what was received, by arm, of analysed units.
    itt : Effects
        Intent-to-treat effects of the same arrays.
    provenance : Provenance
        Method, data hash and version.
    """

    control: str
    interval: Interval
    first_stage: FloatArray
    first_stage_f: FloatArray
    outcome_effect: FloatArray
    joint_cov: FloatArray
    mean_received: Mapping[str, float]
    itt: Effects
    provenance: Provenance

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold besides random assignment."""
        return (
            "assignment works only through what was received",
            "what was received is recorded alike for all units",
            "nobody receives less because of the assignment",
        )

    def anderson_rubin(self, level: float | None = None) -> dict[str, AndersonRubin]:
        """The effects that are not rejected, by arm; arms without a standard error are left out.

        Parameters
        ----------
        level : float, optional
            In (0, 1); that of the result by default.
        """
        level = check_level(self.level if level is None else level)
        return {
            name: anderson_rubin(
                np.array([self.outcome_effect[k], self.first_stage[k]]),
                self.joint_cov[k],
                float(self.df[k]),
                level,
            )
            for k, name in enumerate(self.names)
            if name not in self.not_estimable
        }

    def conf_int(self, level: float | None = None) -> FloatArray:
        """Intervals (lower, upper), shape (n_rows, 2); infinite ends where a set is no interval."""
        if self.interval == "two-stage":
            return EffectTable.conf_int(self, level)
        sets = self.anderson_rubin(level)
        missing = (np.nan, np.nan)
        return np.array([sets[n].conf if n in sets else missing for n in self.names])

    @property
    def p_value(self) -> FloatArray:
        """Two-sided p values of no effect, by Student's t, shape (n_rows,)."""
        if self.interval == "two-stage":
            return EffectTable.p_value.fget(self)  # type: ignore[attr-defined, no-any-return]
        ratio = self.outcome_effect / np.sqrt(self.joint_cov[:, 0, 0])
        p_value: FloatArray = 2 * stdtr(self.df, -np.abs(ratio))
        return p_value

    def __getitem__(self, name: str) -> Estimate:
        found = EffectTable.__getitem__(self, name)
        if name in self.not_estimable:
            return found
        row = self.names.index(name)
        low, high = self.conf_int()[row].tolist()
        return replace(found, conf=(low, high), p_value=float(self.p_value[row]))

    def _frame(self) -> pl.DataFrame:
        """One row per arm: the complier average causal effect, the first stage, intent to treat."""
        itt = self.itt._frame().select(
            "arm", itt="estimate", itt_low="conf_low", itt_high="conf_high"
        )
        sets = self.anderson_rubin()
        stage = pl.DataFrame(
            {
                "first_stage": self.first_stage,
                "first_stage_f": self.first_stage_f,
                "conf_set": [sets[name].text if name in sets else None for name in self.names],
            },
            schema_overrides={"conf_set": pl.String},
        ).fill_nan(None)
        own = EffectTable._frame(self).hstack(stage)
        return own.join(itt, on="arm", how="left", maintain_order="left")

    def summary(self) -> str:
        """Table, effects that are not rejected, first stages and assumptions."""
        reasons = [f"'{name}': {why}." for name, why in self.not_estimable.items()]
        stages = (
            f"'{name}': {stage:.4g} (F {f:.4g})"
            for name, stage, f in zip(self.names, self.first_stage, self.first_stage_f, strict=True)
            if np.isfinite(stage)
        )
        sets = (f"'{name}': {found.text}." for name, found in self.anderson_rubin().items())
        shown = {"anderson-rubin": "Anderson and Rubin", "two-stage": "two-stage least squares"}
        return "\n".join(
            [
                f"Complier average causal effects against '{self.control}', per unit received",
                self.provenance.method,
                "",
                *table_lines(EffectTable._frame(self)),
                "",
                f"Intervals and p values at level {self.level:g} by {shown[self.interval]}.",
                "Effects that are not rejected (Anderson and Rubin):",
                *sets,
                f"Assignment adds to what is received: {', '.join(stages) or 'nothing'}.",
                *reasons,
                "Assumptions:",
                *(f"- {text}" for text in self.assumptions),
            ]
        )


@renamed("control", "strata", "covariates", "cluster", "level")
@aligned("outcome", "arm", "received", "strata", "covariates", "cluster", "weights")
def cace(
    outcome: Any,
    arm: Any,
    received: Any,
    *,
    control: Any = "control",
    strata: Any = None,
    covariates: Any = None,
    cluster: Any = None,
    se: Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"] = "HC2",
    interval: Literal["anderson-rubin", "two-stage"] = "anderson-rubin",
    level: float = 0.95,
    weights: Any = None,
    working_model: Literal["identity", "inverse-weights"] = "identity",
    df: Literal["satterthwaite", "smaller-arm"] = "satterthwaite",
    missing_covariates: MissingRule = "error",
    arms: Sequence[Any] | None = None,
) -> Cace:
    """Complier average causal effect, per unit of what is received.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing; such units are left out.
    arm : array-like, shape (n_units,)
        Assigned arm.
    received : array-like, shape (n_units,)
        Whether the unit received its message (0 or 1), or an exposure such as the number or share
        of messages that were delivered; 0 or more. With several arms the control receives nothing.
    control : label
        The arm that the others are compared with.
    strata, covariates, cluster, weights, missing_covariates, arms
        As in :func:`wavewise.estimate.ate`; covariates enter additively.
    se, working_model, df
        As in :func:`wavewise.estimate.ate`: CR2 where there are clusters, with Satterthwaite's
        degrees of freedom of the assignment's coefficient. Where two or three treated clusters may
        vary far more than the others only ``df="smaller-arm"`` holds its level.
    interval : {"anderson-rubin", "two-stage"}
        Intervals and p values: the effects that a test of the intent-to-treat coefficients does not
        reject, which hold however little assignment moves receipt; or the estimate and Student's t
        times its standard error. The former may be two rays or the whole line; ends are infinite
        then, and `anderson_rubin`, ``conf_set`` and the summary say which.
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Cace
        One row per arm, with intent to treat beside it. Where nobody was reached, or an arm is a
        single unit or cluster, the row is `NotEstimable`.

    Raises
    ------
    InputError
        Arrays do not fit together, or `received` holds something else than numbers of 0 or more.
    EstimationError
        The control has no outcome, it received something although there are several arms, or no
        arm can be compared.

    Notes
    -----
    Two-stage least squares, just identified: ``y = sum_k b_k D_k r + C g + e`` with instruments
    ``D_k``, the arm indicators, ``r`` what was received, and ``C`` strata effects and covariates;
    with one arm ``r`` of the control counts too. With 0/1 and a control that receives nothing,
    ``b_k`` is the mean effect on the units that arm k reaches. ``b = (Z'X)^-1 Z'y``. With c_y and
    c_r the coefficients of assignment in the outcome and in receipt, and V their joint covariance
    (HC2, or CR2 over clusters), ``b = c_y / c_r`` has the variance ``(V_yy - 2 b V_yr + b^2 V_rr)
    / c_r^2``, and Anderson and Rubin's set is ``(c_y - beta c_r)^2 <= q^2 (V_yy - 2 beta V_yr +
    beta^2 V_rr)``, q the quantile of Student's t. A delivered message that does something to units
    whom it did not reach breaks this; so does an exposure that counts what does nothing.

    References
    ----------
    Anderson and Rubin (1949); Imbens and Angrist (1994); Angrist, Imbens and Rubin (1996); Staiger
    and Stock (1997); Pustejovsky and Tipton (2018).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> arm = np.repeat(["control", "sms"], 500)
    >>> reached = (arm == "sms") * (rng.random(1000) < 0.5)
    >>> found = cace(rng.normal(size=1000) + 2.0 * reached, arm, reached)
    >>> round(float(found["sms"].estimate), 1), round(float(found.itt["sms"].estimate), 1)
    (2.2, 1.1)
    """
    check_level(level)
    kind = resolve_kind(se, cluster is not None)
    check_working_model(working_model, df)
    if interval not in get_args(Interval):
        raise InputError(f"interval: found {interval!r}; needed 'anderson-rubin' or 'two-stage'")
    sample = read_sample(
        outcome,
        arm,
        control,
        strata=strata,
        covariates=covariates,
        cluster=cluster,
        weights=weights,
        arms=arms,
        missing_covariates=missing_covariates,
    )
    known = ~np.isnan(read_outcome(outcome))
    dose = _read_received(received, known.size)
    carried, columns = comparable_with(sample, dose[known][:, None])
    used, dose = _reached_arms(carried, columns[:, 0])
    parts = reduced(used, dose, kind=kind, working_model=working_model, df=df)
    itt = ate(
        outcome,
        arm,
        control=control,
        strata=strata,
        covariates=covariates,
        cluster=cluster,
        se=se,
        level=level,
        interact=False,
        missing_covariates=missing_covariates,
        weights=weights,
        working_model=working_model,
        df=df,
        arms=arms,
    )
    method = f"two-stage least squares, assignment as instrument, {kind}"
    data = hash_arrays(sample=np.array(sample.data_hash), received=dose)
    provenance = Provenance(method, data)
    return _result(used, dose, parts, itt, kind, interval, level=level, provenance=provenance)


def _read_received(received: Any, n_units: int) -> FloatArray:
    values = read_outcome(received, "received", n_units)
    bad = int((~(np.isfinite(values) & (values >= 0))).sum())
    if bad:
        raise InputError(
            f"received: found {bad:,} values that are missing, infinite or below 0; needed 0 or "
            "more; a unit of which nothing is known has not been shown to be reached: give 0"
        )
    return values


def _reached_arms(sample: Sample, dose: FloatArray) -> tuple[Sample, FloatArray]:
    """Without arms of which nobody was reached; their reason stays."""
    several = len(sample.arms) - len(sample.not_estimable) > 2
    if several and dose[sample.arm == 0].any():
        raise EstimationError(
            f"control '{sample.arms[0]}': found units that received something; needed none where "
            "there are several arms, since it is not known of which; compare one arm at a time"
        )
    total = np.bincount(sample.arm, weights=dose, minlength=len(sample.arms))
    reasons = dict(sample.not_estimable)
    for code, name in enumerate(sample.arms):
        if code and name not in reasons and not total[code]:
            reasons[name] = NotEstimable("none of its units received anything")
    gone = np.array([name in reasons for name in sample.arms])[sample.arm]
    if (sample.arm[~gone] == 0).all():
        raise EstimationError(
            "no arm has units that received something: "
            + "; ".join(f"'{name}': {why.reason}" for name, why in reasons.items())
        )
    keep = ~gone
    smaller = replace(
        sample,
        outcome=sample.outcome[keep],
        arm=sample.arm[keep],
        strata=None if sample.strata is None else sample.strata[keep],
        cluster=None if sample.cluster is None else sample.cluster[keep],
        covariates=None if sample.covariates is None else sample.covariates[keep],
        weights=None if sample.weights is None else sample.weights[keep],
        not_estimable=reasons,
    )
    return smaller, dose[keep]


def _result(
    used: Sample,
    dose: FloatArray,
    parts: Reduced,
    itt: Effects,
    kind: StdErrorKind,
    interval: Interval,
    *,
    level: float,
    provenance: Provenance,
) -> Cace:
    names = used.arms[1:]
    places = np.array([names.index(name) for name in parts.arms])
    refused = zip(parts.arms, parts.refusals, strict=True)
    reasons = dict(used.not_estimable)
    reasons |= {name: NotEstimable(why) for name, why in refused if why}
    keep = np.array([name not in reasons for name in parts.arms])

    def spread(values: FloatArray, on: Any = slice(None)) -> FloatArray:
        """Values of arms at the places of all rows; not-a-number elsewhere."""
        full = np.full((len(names), *values.shape[1:]), np.nan)
        full[places[on]] = values[on]
        return read_only(full)

    good = places[keep]
    cov = np.full((len(names), len(names)), np.nan)
    cov[np.ix_(good, good)] = parts.cov[np.ix_(keep, keep)]
    stage, variance = parts.pair[:, 1], parts.pair_cov[:, 1, 1]
    certain = variance <= np.finfo(np.float64).eps ** 1.5 * stage**2
    stage_f = np.divide(stage**2, variance, out=np.full(stage.size, np.inf), where=~certain)
    counts = np.bincount(used.arm, minlength=len(used.arms))
    sums = np.bincount(used.arm, weights=dose, minlength=len(used.arms))
    return Cace(
        names=names,
        estimate=spread(parts.effects),
        cov=read_only(cov),
        df=spread(parts.df, keep),
        n_units=read_only(counts[1:], np.int64),
        level=level,
        se=kind,
        not_estimable=reasons,
        control=used.arms[0],
        interval=interval,
        first_stage=spread(stage),
        first_stage_f=spread(stage_f),
        outcome_effect=spread(parts.pair[:, 0]),
        joint_cov=spread(parts.pair_cov, keep),
        mean_received={
            name: float(sums[k] / counts[k]) for k, name in enumerate(used.arms) if counts[k]
        },
        itt=itt,
        provenance=provenance,
    )
