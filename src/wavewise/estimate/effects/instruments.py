"""Complier average causal effects, with assignment as the instrument, beside intent to treat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.results import Effects, table_lines
from wavewise.estimate.effects.sample import Sample, comparable, read_sample
from wavewise.estimate.effects.table import EffectTable, check_level
from wavewise.shared.inputs import MissingRule, aligned, read_outcome
from wavewise.shared.labels import compress, group_sum
from wavewise.shared.renamed import renamed
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    hash_arrays,
    read_only,
)

__all__ = ["Cace", "cace"]


# Two-stage least squares with as many instruments as received exposures.

_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Instrumented:
    """Coefficients of what was received, one per arm."""

    arms: tuple[str, ...]  # The arms, in the order of the arrays.
    effects: FloatArray  # (n_arms,): Coefficients.
    cov: FloatArray  # (n_arms, n_arms): Their covariance.
    df: float  # Degrees of freedom of the standard errors.
    se: Literal["HC1", "CR1"]  # Kind of the covariance.
    # first_stage, first_stage_f: (n_arms,): What assignment adds to the arm's exposure, and its
    # robust F.
    first_stage: FloatArray
    first_stage_f: FloatArray


def instrumented(sample: Sample, dose: FloatArray) -> Instrumented:
    """Effects of the exposure by two-stage least squares, arm indicators as instruments.

    Notes
    -----
    Strata effects are taken out of every column (Frisch-Waugh-Lovell holds for instruments too).
    """
    codes = [k for k in range(1, len(sample.arms)) if (sample.arm == k).any()]
    arms = (sample.arm[:, None] == np.array(codes)).astype(np.float64)
    doses = dose[:, None] if len(codes) == 1 else arms * dose[:, None]
    controls = _controls(sample)
    strata = np.zeros(dose.size, np.int64) if sample.strata is None else compress(sample.strata)[0]
    n_coefficients = int(strata.max()) + 1 + arms.shape[1] + controls.shape[1]
    if dose.size <= n_coefficients:
        raise EstimationError(
            f"found {dose.size:,} units for {n_coefficients:,} coefficients; needed more units"
        )
    weight = np.ones(dose.size) if sample.weights is None else sample.weights
    z, x, y = (
        _within(columns, strata, weight)
        for columns in (
            np.column_stack([arms, controls]),
            np.column_stack([doses, controls]),
            sample.outcome[:, None],
        )
    )
    _check_rank(z)
    cluster = None if sample.cluster is None else compress(sample.cluster)[0]
    scale, df = _small_sample(dose.size, n_coefficients, cluster)
    bread = np.linalg.pinv(z.T @ x)
    beta = bread @ (z.T @ y)[:, 0]
    cov = bread @ _meat(z, y[:, 0] - x @ beta, cluster) @ bread.T * scale
    k = len(codes)
    stage, stage_f = _first_stage(z, x, k, cluster, scale)
    return Instrumented(
        arms=tuple(sample.arms[code] for code in codes),
        effects=beta[:k],
        cov=cov[:k, :k],
        df=df,
        se="HC1" if cluster is None else "CR1",
        first_stage=stage,
        first_stage_f=stage_f,
    )


def _controls(sample: Sample) -> FloatArray:
    if sample.covariates is None:
        return np.empty((sample.n_units, 0))
    means: FloatArray = np.average(sample.covariates, axis=0, weights=sample.weights)
    return sample.covariates - means


def _within(columns: FloatArray, strata: IntArray, weight: FloatArray) -> FloatArray:
    """Deviations from the stratum's weighted mean, scaled by the root of the weight."""
    total = group_sum(strata, weight)
    means = np.column_stack([group_sum(strata, weight * c) / total for c in columns.T])
    scaled: FloatArray = (columns - means[strata]) * np.sqrt(weight)[:, None]
    return scaled


def _check_rank(z: FloatArray) -> None:
    size = np.sqrt((z**2).sum(axis=0))
    if not size.all() or np.linalg.svd(z / size, compute_uv=False)[-1] < _RANK_TOLERANCE:
        raise EstimationError(
            "found arms, strata and covariates that are linear combinations of others; needed "
            "columns that vary by themselves; leave some covariates out, or use coarser strata"
        )


def _small_sample(
    n_units: int, n_coefficients: int, cluster: IntArray | None
) -> tuple[float, float]:
    """Factor of the covariance, and degrees of freedom."""
    if cluster is None:
        return n_units / (n_units - n_coefficients), float(n_units - n_coefficients)
    n_clusters = int(cluster.max()) + 1
    if n_clusters < 2:
        raise EstimationError("found a single cluster; needed two or more")
    factor = n_clusters / (n_clusters - 1) * (n_units - 1) / (n_units - n_coefficients)
    return factor, float(n_clusters - 1)


def _meat(z: FloatArray, residual: FloatArray, cluster: IntArray | None) -> FloatArray:
    scores = z * residual[:, None]
    if cluster is not None:
        scores = np.column_stack([group_sum(cluster, column) for column in scores.T])
    meat: FloatArray = scores.T @ scores
    return meat


def _first_stage(
    z: FloatArray, x: FloatArray, k: int, cluster: IntArray | None, scale: float
) -> tuple[FloatArray, FloatArray]:
    """Coefficient of each arm's own instrument, and its robust F."""
    inverse = np.linalg.inv(z.T @ z)
    stage, f = np.empty(k), np.empty(k)
    for j in range(k):
        pi = inverse @ (z.T @ x[:, j])
        cov = inverse @ _meat(z, x[:, j] - z @ pi, cluster) @ inverse * scale
        stage[j] = pi[j]
        noise = np.finfo(np.float64).eps ** 1.5 * pi[j] ** 2
        f[j] = np.inf if cov[j, j] <= noise else pi[j] ** 2 / cov[j, j]
    return stage, f


WEAK_F = 10.0  # a first stage whose F is below this is called weak


@dataclass(frozen=True, eq=False, kw_only=True)
class Cace(EffectTable, kind="effect table"):
    """Complier average causal effects, one row per arm other than the control; see `EffectTable`.

    Parameters
    ----------
    control : str
        The control.
    first_stage : array of float, shape (n_rows,)
        What assignment to the arm adds to what is received.
    first_stage_f : array of float, shape (n_rows,)
        Its robust F; infinite where all of the arm's units received the same.
    mean_received : mapping of str to float
        Mean of what was received, by arm, of analysed units.
    itt : Effects
        Intent-to-treat effects of the same arrays.
    provenance : Provenance
        Method, data hash and version.
    """

    control: str
    first_stage: FloatArray
    first_stage_f: FloatArray
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

    def _frame(self) -> pl.DataFrame:
        """One row per arm: the complier average causal effect, the first stage, intent to treat."""
        itt = self.itt._frame().select(
            "arm", itt="estimate", itt_low="conf_low", itt_high="conf_high"
        )
        stage = pl.DataFrame(
            {"first_stage": self.first_stage, "first_stage_f": self.first_stage_f}
        ).fill_nan(None)
        own = EffectTable._frame(self).hstack(stage)
        return own.join(itt, on="arm", how="left", maintain_order="left")

    def summary(self) -> str:
        """Table, first stages and assumptions."""
        reasons = [f"'{name}': {why}." for name, why in self.not_estimable.items()]
        stages = (
            f"'{name}': {stage:.4g} (F {f:.4g})"
            for name, stage, f in zip(self.names, self.first_stage, self.first_stage_f, strict=True)
            if np.isfinite(stage)
        )
        return "\n".join(
            [
                f"Complier average causal effects against '{self.control}', per unit received",
                self.provenance.method,
                "",
                *table_lines(EffectTable._frame(self)),
                "",
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
    level: float = 0.95,
    weights: Any = None,
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
    level : float
        Level of the intervals, in (0, 1).

    Returns
    -------
    Cace
        One row per arm, with intent to treat beside it. Where the first stage is weak (F below 10)
        or nobody was reached, the row is `NotEstimable`.

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
    ``b_k`` is the mean effect on the units that arm k reaches. ``b = (Z'X)^-1 Z'y``; the covariance
    is ``(Z'X)^-1 Z'(e e')Z (X'Z)^-1``, HC1 over units or CR1 over clusters, with Student's t. A
    delivered message that does something to units whom it did not reach breaks this; so does a
    exposure that counts what does nothing.

    References
    ----------
    Imbens and Angrist (1994); Angrist, Imbens and Rubin (1996); Staiger and Stock (1997), for 10.

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
    used, dose = _reached_arms(*_with_dose(sample, dose[known]))
    parts = instrumented(used, dose)
    itt = ate(
        outcome,
        arm,
        control=control,
        strata=strata,
        covariates=covariates,
        cluster=cluster,
        level=level,
        interact=False,
        missing_covariates=missing_covariates,
        weights=weights,
        arms=arms,
    )
    data = hash_arrays(sample=np.array(sample.data_hash), received=dose)
    return _result(used, dose, parts, itt, level=level, data_hash=data)


def _read_received(received: Any, n_units: int) -> FloatArray:
    values = read_outcome(received, "received", n_units)
    bad = int((~(np.isfinite(values) & (values >= 0))).sum())
    if bad:
        raise InputError(
            f"received: found {bad:,} values that are missing, infinite or below 0; needed 0 or "
            "more; a unit of which nothing is known has not been shown to be reached: give 0"
        )
    return values


def _with_dose(sample: Sample, dose: FloatArray) -> tuple[Sample, FloatArray]:
    """Comparable units, and what they received."""
    columns = dose[:, None]
    if sample.covariates is not None:
        columns = np.column_stack([sample.covariates, dose])
    carried = comparable(replace(sample, covariates=columns))
    inner = carried.covariates
    if inner is None:
        raise InputError("found no units; needed some")
    rest = None if sample.covariates is None else inner[:, :-1]
    return replace(carried, covariates=rest), inner[:, -1]


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
    parts: Instrumented,
    itt: Effects,
    *,
    level: float,
    data_hash: str,
) -> Cace:
    names = used.arms[1:]
    places = [names.index(name) for name in parts.arms]
    reasons = dict(used.not_estimable)
    for name, f in zip(parts.arms, parts.first_stage_f, strict=True):
        if not f >= WEAK_F:
            reasons[name] = NotEstimable(
                f"assignment hardly changes what is received (first-stage F {f:.2g}, needed "
                f"{WEAK_F:g}): a ratio with so uncertain a divisor has no trustworthy interval"
            )
    keep = np.array([name not in reasons for name in parts.arms])
    n = len(names)
    estimate, df, cov = np.full(n, np.nan), np.full(n, np.nan), np.full((n, n), np.nan)
    stage, stage_f = np.full(n, np.nan), np.full(n, np.nan)
    stage[places], stage_f[places] = parts.first_stage, parts.first_stage_f
    good = np.array(places)[keep]
    estimate[good], df[good] = parts.effects[keep], parts.df
    cov[np.ix_(good, good)] = parts.cov[np.ix_(keep, keep)]
    counts = np.bincount(used.arm, minlength=len(used.arms))
    sums = np.bincount(used.arm, weights=dose, minlength=len(used.arms))
    return Cace(
        names=names,
        estimate=read_only(estimate),
        cov=read_only(cov),
        df=read_only(df),
        n_units=read_only(counts[1:], np.int64),
        level=level,
        se=parts.se,
        not_estimable=reasons,
        control=used.arms[0],
        first_stage=read_only(stage),
        first_stage_f=read_only(stage_f),
        mean_received={
            name: float(sums[k] / counts[k]) for k, name in enumerate(used.arms) if counts[k]
        },
        itt=itt,
        provenance=Provenance(
            f"two-stage least squares, assignment as instrument, {parts.se}", data_hash
        ),
    )
