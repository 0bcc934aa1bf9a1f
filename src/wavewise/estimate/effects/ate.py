"""Average effects of arms against a control, from arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.effects.by_arm import effects_by_arm
from wavewise.estimate.effects.covariance import (
    Precision,
    StdErrorKind,
    WorkingModelName,
    arm_means,
    check_working_model,
    corrected,
    precision,
    resolve_kind,
)
from wavewise.estimate.effects.least_squares import collapse, fit_rows
from wavewise.estimate.effects.results import Effects, contrast_table
from wavewise.estimate.effects.sample import Sample, comparable, read_sample
from wavewise.estimate.effects.table import EffectTable, check_level
from wavewise.shared.inputs import MissingRule, aligned
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, IntArray, Provenance

__all__ = ["ate"]


@renamed("control", "strata", "covariates", "cluster", "se", "level")
@aligned("outcome", "arm", "strata", "covariates", "cluster", "weights")
def ate(
    outcome: Any,
    arm: Any,
    *,
    control: Any = "control",
    strata: Any = None,
    covariates: Any = None,
    cluster: Any = None,
    se: Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"] = "HC2",
    level: float = 0.95,
    interact: bool = True,
    missing_covariates: MissingRule = "error",
    weights: Any = None,
    working_model: Literal["identity", "inverse-weights"] = "identity",
    df: Literal["satterthwaite", "smaller-arm"] = "satterthwaite",
    arms: Sequence[Any] | None = None,
    contrasts: Mapping[str, Mapping[str, float]] | None = None,
) -> Effects:
    """Average effect of each arm against the control, intent-to-treat.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Binary, count or continuous outcome; not-a-number where it is missing. Units with a
        missing outcome are left out and counted by arm.
    arm : array-like, shape (n_units,)
        Label of each unit's arm.
    control : label
        The arm that the others are compared with.
    strata : array-like, shape (n_units,), optional
        Labels of the cells within which arms were assigned; they enter as absorbed effects.
    covariates : array-like, shape (n_units,) or (n_units, n_covariates); mapping; or frame
        Measured before assignment. Centred, and interacted with the arms unless `interact` is
        false. Text enters as level indicators.
    cluster : array-like, shape (n_units,), optional
        Labels of the groups that were assigned together, within or across strata.
    se : {"HC2", "HC3", "HC0", "HC1", "CR2", "CR1", "CR1S"}
        Kind of standard error. With `cluster` an HC kind becomes its counterpart: HC2 becomes CR2,
        HC0 and HC1 become CR1; the result's `se` says which was used.
    level : float
        Level of the confidence intervals, in (0, 1).
    interact : bool
        Whether covariates are interacted with the arms (Lin 2013) or enter additively.
    missing_covariates : {"error", "indicator"}
        What to do with a missing covariate: refuse, or set it to the mean with an indicator of
        missingness beside it.
    weights : array-like, shape (n_units,), optional
        Positive weights, such as one over the propensity of the arm that was drawn, needed where
        shares differ by stratum or wave.
    working_model : {"identity", "inverse-weights"}
        What HC2, CR2 and Satterthwaite's degrees of freedom take the variances of outcomes to be:
        all equal, right for weights that are one over a probability; or one over the weights,
        right where a unit is a mean of as many as its weight. Without weights they are the same.
    df : {"satterthwaite", "smaller-arm"}
        Degrees of freedom; with ``smaller-arm`` at most one less than the units or clusters of the
        smallest arm compared, for a small arm that may vary far more than the others.
    arms : sequence of labels, optional
        All arms of the design, in the order of the rows; found in `arm` by default, and sorted.
    contrasts : mapping of str to mapping of str to float, optional
        Further rows: weights of each contrast by its name; see `Effects.contrast`.

    Returns
    -------
    Effects
        One row per arm other than the control. An arm that cannot be compared is `NotEstimable`
        with its reason; the others stand.

    Raises
    ------
    InputError
        Where arrays do not fit together, labels are missing, numbers are not finite, or an option
        is unknown.
    EstimationError
        Where the control has no outcome, columns are linear combinations of others, there is a
        single cluster, or no arm can be compared.

    Notes
    -----
    Least squares of the outcome on arm indicators ``D_k``, strata effects and centred covariates:
    ``y_i = a_s(i) + sum_k D_ik (tau_k + (x_i - xbar)'g_k) + (x_i - xbar)'b + e_i``. The effects
    are the ``tau_k``. Random assignment alone makes them consistent; the outcome need not be
    linear in anything. HC2 and CR2 come with Satterthwaite degrees of freedom, CR1 and CR1S with
    one less than the number of clusters, HC0, HC1 and HC3 with those of the residuals.

    References
    ----------
    Neyman (1923); Lin (2013), section 4; Bell and McCaffrey (2002); Pustejovsky and Tipton (2018).

    Examples
    --------
    >>> effects = ate([1, 0, 1, 1, 0, 0, 1, 0], ["sms"] * 4 + ["control"] * 4)
    >>> sms = effects["sms"]
    >>> round(sms.estimate, 6), round(sms.std_error, 6), sms.n_units
    (0.5, 0.353553, 4)
    """
    kind = resolve_kind(se, cluster is not None)
    check_level(level)
    check_working_model(working_model, df)
    _check_options(interact, missing_covariates)
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
    used = comparable(sample)
    found = effects_by_arm(used, kind, working_model, df) if interact else None
    if found is None:
        rows = collapse(used, interact)
        fit = fit_rows(rows)
        influence = corrected(rows, fit, kind, working_model)
        found = fit.effects, precision(rows, fit, kind, influence, df)
    return _result(
        sample,
        used,
        *found,
        kind=kind,
        working_model=working_model,
        level=level,
        interact=interact,
        contrasts=contrasts,
    )


def _check_options(interact: object, missing_covariates: object) -> None:
    if missing_covariates not in get_args(MissingRule):
        raise InputError(
            f"missing_covariates: found {missing_covariates!r}; needed 'error' or 'indicator'"
        )
    if not isinstance(interact, bool):
        raise InputError(f"interact: found {interact!r}; needed True or False")


def _result(
    sample: Sample,
    used: Sample,
    found: FloatArray,
    precise: Precision,
    *,
    kind: StdErrorKind,
    working_model: WorkingModelName,
    level: float,
    interact: bool,
    contrasts: Mapping[str, Mapping[str, float]] | None,
) -> Effects:
    names = used.arms[1:]
    estimable = tuple(name for name in names if name not in used.not_estimable)
    table = _arm_table(used, estimable, found, precise, kind=kind, level=level)
    interacted = interact and bool(used.covariate_names)
    effects = Effects(
        **vars(table),
        control=used.arms[0],
        arms=used.arms,
        arm_counts=dict(zip(used.arms, used.counts.tolist(), strict=True)),
        n_missing=dict(zip(used.arms, used.n_missing.tolist(), strict=True)),
        n_excluded=dict(zip(used.arms, used.n_excluded.tolist(), strict=True)),
        n_strata=_n_codes(used.strata),
        n_clusters=_n_codes(used.cluster),
        covariates=used.covariate_names,
        interacted=interacted,
        weighted=used.weights is not None,
        provenance=Provenance(_method(used, kind, interacted), used.data_hash),
        _means=arm_means(sample, kind, working_model),
        _precision=precise,
        _estimable=estimable,
    )
    return effects if contrasts is None else replace(effects, planned=effects.contrasts(contrasts))


def _arm_table(
    used: Sample,
    estimable: tuple[str, ...],
    found: FloatArray,
    precise: Precision,
    *,
    kind: StdErrorKind,
    level: float,
) -> EffectTable:
    """Effects as contrasts of single arms with the control."""
    names = used.arms[1:]
    estimate = np.full(len(names), np.nan)
    estimate[[names.index(name) for name in estimable]] = found
    bare = EffectTable(
        names=names,
        estimate=estimate,
        cov=np.zeros((len(names), len(names))),
        df=estimate,
        n_units=used.counts[1:],
        level=level,
        se=kind,
        not_estimable=used.not_estimable,
    )
    n_units = used.counts[1:].tolist()
    return contrast_table(
        bare, precise, estimable, names=names, weights=np.eye(len(names)), n_units=n_units
    )


def _n_codes(codes: IntArray | None) -> int | None:
    return None if codes is None else int(codes.max()) + 1


def _method(used: Sample, kind: StdErrorKind, interacted: bool) -> str:
    parts = ["weighted least squares" if used.weights is not None else "least squares", kind]
    if used.strata is not None:
        parts.append(f"{_n_codes(used.strata):,} strata effects")
    if used.covariate_names:
        how = "interacted with the arms" if interacted else "additive"
        parts.append(f"{len(used.covariate_names):,} covariate columns, {how}")
    if used.cluster is not None:
        parts.append(f"{_n_codes(used.cluster):,} clusters")
    return ", ".join(parts)
