"""Adaptively weighted M-estimators: means, linear and binomial models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.data import (
    Observed,
    Strata,
    read_observed,
    read_own_propensity,
    read_strata,
    reasons_of_empty_arms,
    reasons_of_empty_strata,
)
from wavewise.estimate.adaptive.results import (
    CLUSTERS_SPAN_WAVES,
    AdaptiveEstimates,
    adaptive_table,
    arms_and_contrasts,
)
from wavewise.estimate.effects.least_squares import centred, rounding_of
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned, encode, read_covariates, read_outcome
from wavewise.shared.labels import compress, group_sum
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    hash_arrays,
)

__all__ = ["small_sample_sandwich", "weighted_m"]


# Sandwich variances of weighted estimators for small samples: leverage and Student's t.

SmallSample = Literal["none", "hc2-t", "hc3-t"]

_FITTED = 1e-10  # a variance of residuals below this, relative to the outcome's, is rounding
_HEARD = 1e-9  # a loading below this, relative to the estimate's, is rounding


@dataclass(frozen=True, eq=False)
class SmallSampleSandwich:
    """Covariance of estimates, and Satterthwaite degrees of freedom of any combination of them."""

    cov: FloatArray  # (n_columns, n_columns): Covariance of the coefficients.
    # (n_columns,): Coefficients that rest on a unit or cluster which is fitted exactly: no
    # variance is seen.
    silent: BoolArray
    _model: "_Model"
    _loading: FloatArray

    def df(self, weights: FloatArray) -> float:
        """Degrees of freedom of the standard error of a combination of the coefficients.

        Notes
        -----
        The variance is ``sum_g (p_g'y)^2`` with ``p_g = (I - H)_g' q_g``; under independent
        outcomes with the model's variances it is matched in mean and variance to a chi-squared
        with ``(sum_g K_gg)^2 / sum_gh K_gh^2`` degrees of freedom, ``K_gh = p_g'p_h``. As H has
        low rank, K is a diagonal and a product of small factors, and never formed.
        """
        model = self._model
        q = self._loading @ weights
        q = q / np.sqrt((q**2).mean())
        z = np.stack([model.summed(column * q) for column in (*model.left.T, *model.right.T)], 1)
        d = model.summed(q**2)
        inner = model.inner()
        own = ((z @ inner) * z).sum(axis=1)
        crossed = inner @ (z.T @ z)
        double = (d**2).sum() + 2 * d @ own + (crossed * crossed.T).sum()
        return float((d + own).sum() ** 2 / double)


@dataclass(frozen=True, eq=False)
class _Model:
    """Hat matrix ``H = left right'`` of rows divided by their working standard deviation."""

    left: FloatArray
    right: FloatArray
    groups: IntArray | None

    def summed(self, values: FloatArray) -> FloatArray:
        """Sums over groups; the values themselves where units are independent."""
        return values if self.groups is None else group_sum(self.groups, values)

    def inner(self) -> FloatArray:
        """S of ``(I - H)(I - H)' = I + U S U'`` with U the columns of left, then of right."""
        k = self.right.shape[1]
        inner = np.zeros((2 * k, 2 * k))
        inner[:k, :k] = self.right.T @ self.right
        inner[:k, k:] = inner[k:, :k] = -np.eye(k)
        return inner


def small_sample_sandwich(
    design: FloatArray,
    weight: FloatArray,
    slope: FloatArray,
    residual: FloatArray,
    groups: IntArray | None,
    kind: SmallSample,
) -> SmallSampleSandwich:
    """Covariance of a weighted M-estimator, corrected for the leverage of units or clusters.

    Notes
    -----
    With ``B = X'WDX`` the coefficients change by ``B^-1 sum_g X_g'W_g A_g e_g``, and the covariance
    is the sum of squares of its terms. Residuals are ``(I - H) y`` with ``H = D X B^-1 X'W``:
    their variance is ``V = (I - H)(I - H)'`` under the working model (variances in proportion to
    D, in units of which all is written), not that of the outcomes. ``hc2-t`` takes
    ``A_g = V_gg^(-1/2)``, so that the variance is unbiased under the working model (HC2; CR2 over
    clusters). W need not be the inverse of the variances, hence V and not ``I - H``. ``hc3-t``
    takes ``A_g = (I - H_gg)^-1``: the jackknife that leaves out one unit or cluster at a time
    (HC3; CR3), which is too large by about the leverage. Both tend to the plain sandwich as the
    largest leverage tends to 0.

    References
    ----------
    MacKinnon and White (1985); Bell and McCaffrey (2002), section 3; Imbens and Kolesar (2016),
    equation 5; Pustejovsky and Tipton (2018), section 2 (weights that are no inverse variances).
    """
    root = np.sqrt(slope)
    scaled = design * root[:, None]
    right = scaled * weight[:, None]
    bread = scaled.T @ right
    model = _Model(np.asarray(np.linalg.solve(bread, scaled.T).T), right, groups)
    plain: FloatArray = np.asarray(np.linalg.solve(bread, right.T).T)
    if kind == "hc3-t":
        loading, quiet = _leaving_out(model, plain)
    elif groups is None:
        loading, quiet = _inverse_root(model, plain)
    else:
        loading, quiet = _inverse_root_of_groups(model, plain, groups)
    e = residual / root
    parts = np.stack([model.summed(column * e) for column in loading.T], axis=1)
    heard = np.abs(quiet).max(axis=0, initial=0.0)
    silent = heard > _HEARD * np.linalg.norm(plain, axis=0)
    return SmallSampleSandwich(parts.T @ parts, silent, model, loading)


def _inverse_root(model: _Model, plain: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Single units: their residual's variance is a number."""
    left, right = model.left, model.right
    own = 1 - 2 * (left * right).sum(axis=1) + ((left @ (right.T @ right)) * left).sum(axis=1)
    fitted = own < _FITTED
    scale = np.where(fitted, 0.0, np.where(fitted, 1.0, own) ** -0.5)
    return plain * scale[:, None], plain[fitted]


def _inverse_root_of_groups(
    model: _Model, plain: FloatArray, groups: IntArray
) -> tuple[FloatArray, FloatArray]:
    """``V_gg = I + U S U'`` with few columns: only their span is decomposed."""
    inner = model.inner()
    both = np.hstack([model.left, model.right])
    loading, quiet = plain.copy(), [plain[:0]]
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(groups))[:-1]):
        span, small = np.linalg.qr(both[rows])
        change, vectors = np.linalg.eigh(small @ inner @ small.T)
        fitted = 1 + change < _FITTED
        scale = np.where(fitted, 0.0, np.where(fitted, 1.0, 1 + change) ** -0.5)
        span = span @ vectors
        turned = span.T @ plain[rows]
        loading[rows] += span @ ((scale - 1)[:, None] * turned)
        quiet.append(turned[fitted])
    return loading, np.concatenate(quiet)


def _leaving_out(model: _Model, plain: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``(I - L R')^-T q = q + R (I - L'R)^-1 L'q``, all groups at once."""
    left, right, k = model.left, model.right, plain.shape[1]
    pairs = [[model.summed(a * b) for b in right.T] for a in left.T]
    cross = np.eye(k) - np.moveaxis(np.array(pairs), 2, 0)  # (n_groups, k, k)
    pulled = np.moveaxis(np.array([[model.summed(a * q) for q in plain.T] for a in left.T]), 2, 0)
    fitted = np.abs(np.linalg.det(cross)) < _FITTED
    cross[fitted] = np.eye(k)
    lift = np.linalg.solve(cross, pulled)
    lift[fitted] = 0.0
    each = lift if model.groups is None else lift[model.groups]
    gone = fitted if model.groups is None else fitted[model.groups]
    loading = plain + np.einsum("ik,ikq->iq", right, each)
    loading[gone] = 0.0
    return loading, plain[gone]


Family = Literal["gaussian", "binomial"]
Stabilizer = Literal["sqrt", "none"]

_STEPS = 100
_CONVERGED = 1e-12
_MOST_CONDITION = 1e12
_NEW = 1e-8  # what a covariate keeps of itself beside earlier ones, to count as new
_DEPENDENT = (
    "covariates: found columns that follow from others or from the arms, up to the last digit of "
    "their values, or that tell successes from failures completely; needed independent ones; leave "
    "some out"
)


@aligned("outcome", "arm", "propensity", "trials", "covariates", "cluster", "strata")
def weighted_m(
    outcome: Any,
    arm: Any,
    propensity: Any,
    *,
    family: Family = "gaussian",
    trials: Any = None,
    stabilizer: Stabilizer = "sqrt",
    level: float = 0.95,
    covariates: Any = None,
    cluster: Any = None,
    strata: Any = None,
    arms: Sequence[Any] | None = None,
    small_sample: SmallSample = "none",
) -> AdaptiveEstimates:
    """Arm means, and contrasts with the first arm, from adaptively assigned units.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing; counts of successes for ``binomial``.
    arm : array-like, shape (n_units,)
        Label of the arm that was drawn.
    propensity : array-like, shape (n_units,)
        Probability, in (0, 1), with which that arm was drawn, stored when it was drawn.
    family : {"gaussian", "binomial"}
        Least squares, or the binomial likelihood with log odds by arm.
    trials : array-like, shape (n_units,), optional
        Number of trials behind each outcome of ``binomial``; one by default.
    stabilizer : {"sqrt", "none"}
        Weight each unit by one over the square root of its propensity, or not at all.
    level : float
        In (0, 1).
    covariates : array-like, shape (n_units,) or (n_units, n_covariates), optional
        Measured before assignment; they enter centred and additively. Finite numbers.
    cluster : array-like, shape (n_units,), optional
        Groups whose units may be alike; standard errors then sum scores over groups. The theory
        of the weights is for independent units; see the notes.
    strata : array-like, shape (n_units,), optional
        Strata within which shares differ, for ``gaussian``. Means are then taken within strata and
        averaged by the strata's numbers of units: one mean over strata of unequal shares would
        compare different strata, weighted or not.
    arms : sequence of labels, optional
        All arms, the first one that the others are compared with; those found, sorted, by default.
    small_sample : {"none", "hc2-t", "hc3-t"}
        Plain sandwich with normal quantiles, as published; or corrected for leverage, with
        Student's t and Satterthwaite's degrees of freedom. Take ``hc2-t`` where an arm has fewer
        than a few hundred units, ``hc3-t`` if then the least share is below a tenth.

    Returns
    -------
    AdaptiveEstimates
        Arm means (log odds for ``binomial``), then ``arm - first arm``. An arm without known
        outcomes, or whose outcomes do not vary, is `NotEstimable` with its reason.

    Raises
    ------
    InputError
        Where arrays do not fit together or an option is unknown.
    EstimationError
        Where propensities were not stored, are 0 or 1, or no arm can be estimated.

    Notes
    -----
    The estimate solves ``sum_t W_t psi(Y_t, A_t, X_t; theta) = 0`` with psi the score of the model
    and ``W_t = (pi_sta / pi_t)^(1/2)``, pi_sta the same for all arms, so that the conditional
    variance of each term is that of an experiment with fixed shares and the martingale central
    limit theorem holds although shares follow earlier outcomes. Its covariance is
    ``B^-1 (sum_t W_t^2 psi psi') B^-1`` with ``B = sum_t W_t dpsi/dtheta``: the square of the
    weight in the middle, the weight outside. Means without covariates are ``sum W Y / sum W``.
    The plain sandwich takes residuals for errors: it is too small where few units fit a mean. See
    `wavewise.estimate.small_sample` for the corrections, which vanish as arms grow.

    With clusters that span waves, shares follow outcomes of the same cluster and no theorem
    covers the intervals; the coverage table in docs/evidence shows what they do.

    References
    ----------
    Zhang, Janson and Murphy (2021), "Statistical inference with M-estimators on adaptively
    collected data", theorem 1 and section 4; Esposito and Sautmann (2022), Table 5; Bell and
    McCaffrey (2002) and Pustejovsky and Tipton (2018) for small samples.

    Examples
    --------
    >>> means = weighted_m([1, 3, 2, 6], ["a", "a", "b", "b"], [0.5, 0.25, 0.5, 0.75])
    >>> means.to_frame()["estimate"].round(4).to_list()
    [2.1716, 3.798, 1.6264]
    """
    check_level(level)
    _check_options(family, stabilizer, trials, small_sample)
    if strata is not None and family != "gaussian":
        raise InputError("strata: found some for family 'binomial'; needed family='gaussian'")
    observed = read_observed(outcome, arm, arms)
    within = read_strata(strata, observed.arm.size)
    own = read_own_propensity(propensity, observed)
    number = _trials(trials, observed) if family == "binomial" else np.ones(own.size)
    extra, deviations = _covariates(covariates, observed)
    reasons = reasons_of_empty_arms(observed)
    if family == "binomial":
        reasons |= _without_both(observed, number)
    reasons = reasons_of_empty_strata(observed, within) | reasons
    used = observed.known & ~np.isin(np.array(observed.arms)[observed.arm], list(reasons))
    if not used.any():
        raise EstimationError("outcome: found no arm that can be estimated; see the arms' outcomes")
    weight = own**-0.5 if stabilizer == "sqrt" else np.ones_like(own)
    kept = [k for k, name in enumerate(observed.arms) if name not in reasons]
    design, average = _design(observed, extra, used, kept, within)
    theta = _solve(design, observed.outcome[used], number[used], weight[used], family)
    groups = None
    if cluster is not None:
        groups, _ = compress(encode(cluster, "cluster", own.size).codes[used])
    mean, slope = _mean(design @ theta, number[used], family)
    parts = (design, weight[used], slope, observed.outcome[used] - mean, groups)
    small = None if small_sample == "none" else small_sample_sandwich(*parts, small_sample)
    cov = _sandwich(*parts) if small is None else small.cov
    estimate = np.zeros(len(observed.arms))
    full = np.zeros((estimate.size, estimate.size))
    estimate[kept] = average @ theta
    full[np.ix_(kept, kept)] = average @ cov @ average.T
    if small is not None:
        reasons |= _fitted_exactly([observed.arms[k] for k in kept], small, average)
    reasons |= _without_spread(observed, np.diag(full), reasons)
    return adaptive_table(
        observed.arms,
        estimate,
        full,
        observed.counts(observed.known),
        n_missing=observed.counts(~observed.known),
        level=level,
        reasons=reasons,
        df=None if small is None else _degrees_of_freedom(small, kept, len(observed.arms), average),
        se=_kind_of_error(groups is not None, small_sample),
        scale="mean" if family == "gaussian" else "log odds",
        assumptions=_assumptions(stabilizer, groups is not None),
        provenance=Provenance(
            _method(family, stabilizer, extra.shape[1], groups, small_sample, within),
            hash_arrays(outcome=observed.outcome, arm=observed.arm, propensity=own, trials=number,
                        covariates=deviations, cluster=groups,
                        strata=None if within is None else within.code),
        ),
    )  # fmt: skip


def _check_options(
    family: object, stabilizer: object, trials: object, small_sample: object
) -> None:
    if family not in get_args(Family):
        raise InputError(f"family: found {family!r}; needed 'gaussian' or 'binomial'")
    if stabilizer not in get_args(Stabilizer):
        raise InputError(f"stabilizer: found {stabilizer!r}; needed 'sqrt' or 'none'")
    if small_sample not in get_args(SmallSample):
        raise InputError(f"small_sample: found {small_sample!r}; needed 'none', 'hc2-t' or 'hc3-t'")
    if trials is not None and family != "binomial":
        raise InputError("trials: found some for family 'gaussian'; needed family='binomial'")


def _trials(trials: Any, observed: Observed) -> FloatArray:
    n_units = observed.arm.size
    if trials is None or isinstance(trials, int | float | np.number):
        values = np.full(n_units, 1.0 if trials is None else float(trials))
    else:
        values = read_outcome(trials, "trials", n_units)
    y, n = observed.outcome[observed.known], values[observed.known]
    if not (np.isfinite(n) & (n > 0)).all():
        raise InputError("trials: found some that are missing or not positive; needed 1 or more")
    if (y < 0).any() or (y > n).any():
        raise InputError("outcome: found successes below 0 or above the trials; needed 0 to trials")
    return values


def _covariates(covariates: Any, observed: Observed) -> tuple[FloatArray, FloatArray]:
    """Columns of their span, centred and of size one; and what is hashed, their deviations."""
    n_units = observed.arm.size
    if covariates is None:
        return np.zeros((n_units, 0)), np.zeros((n_units, 0))
    given = read_covariates(covariates, n_units, None, "error").values
    values = given[observed.known]
    inner = centred(values)
    size = np.linalg.norm(inner, axis=0)
    basis, triangle = np.linalg.qr(inner / np.where(size, size, 1.0))
    left, rounding = np.abs(np.diag(triangle)), np.linalg.norm(rounding_of(values), axis=0)
    if (left < _NEW).any() or (left * size <= rounding).any():
        raise EstimationError(_DEPENDENT)
    every = np.zeros((n_units, basis.shape[1]))
    every[observed.known] = basis * np.sqrt(values.shape[0])
    return every, given - values.mean(axis=0)


def _without_both(observed: Observed, trials: FloatArray) -> dict[str, NotEstimable]:
    """Arms with successes only or failures only: their log odds are infinite."""
    y, n = np.where(observed.known, observed.outcome, 0.0), np.where(observed.known, trials, 0.0)
    size = len(observed.arms)
    successes = np.bincount(observed.arm, weights=y, minlength=size)
    total = np.bincount(observed.arm, weights=n, minlength=size)
    found = {}
    for k, name in enumerate(observed.arms):
        if total[k] > 0 and successes[k] in {0.0, total[k]}:
            what = "no trial succeeded" if successes[k] == 0 else "every trial succeeded"
            found[name] = NotEstimable(f"{what}: its log odds are infinite")
    return found


def _without_spread(
    observed: Observed, variance: FloatArray, known: dict[str, NotEstimable]
) -> dict[str, NotEstimable]:
    """Arms whose outcomes do not vary, or with one unit: they have no standard error."""
    reason = NotEstimable("its outcomes do not vary, or it is a single unit or cluster")
    scale = np.finfo(float).eps * max(1.0, float(np.nanmax(np.abs(observed.outcome)))) ** 2
    return {
        name: reason
        for k, name in enumerate(observed.arms)
        if name not in known and variance[k] <= scale
    }


def _design(
    observed: Observed,
    extra: FloatArray,
    used: BoolArray,
    kept: list[int],
    strata: Strata | None,
) -> tuple[FloatArray, FloatArray]:
    """Columns of the model, and how its coefficients make the arms' means, (n_kept, n_columns)."""
    n_strata = 1 if strata is None else len(strata.names)
    weight = np.ones(1) if strata is None else strata.weight
    inner = 0 if strata is None else strata.code[used]
    cell = np.searchsorted(kept, observed.arm[used]) * n_strata + inner
    indicators = (cell[:, None] == np.arange(len(kept) * n_strata)).astype(np.float64)
    of_cells = np.kron(np.eye(len(kept)), weight)
    average = np.hstack([of_cells, np.zeros((len(kept), extra.shape[1]))])
    return np.hstack([indicators, extra[used]]), average


def _mean(eta: FloatArray, trials: FloatArray, family: str) -> tuple[FloatArray, FloatArray]:
    """Expected outcome, and its derivative by the linear predictor."""
    if family == "gaussian":
        return eta, np.ones_like(eta)
    prob = 0.5 * (1 + np.tanh(0.5 * eta))
    return trials * prob, trials * prob * (1 - prob)


def _solve(
    design: FloatArray, y: FloatArray, trials: FloatArray, weight: FloatArray, family: str
) -> FloatArray:
    """Root of the weighted score by Newton's method with halved steps."""
    theta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        mean, slope = _mean(design @ theta, trials, family)
        bread = (design * (weight * slope)[:, None]).T @ design
        if np.linalg.cond(bread) > _MOST_CONDITION:
            raise EstimationError(_DEPENDENT)
        step = np.linalg.solve(bread, design.T @ (weight * (y - mean)))
        theta = theta + step / max(1.0, np.abs(step).max() / 5 if family == "binomial" else 1.0)
        if np.abs(step).max() <= _CONVERGED * (1 + np.abs(theta).max()):
            return theta
    raise EstimationError("the weighted likelihood has no maximum that was found in 100 steps")


def _sandwich(
    design: FloatArray,
    weight: FloatArray,
    slope: FloatArray,
    residual: FloatArray,
    groups: IntArray | None,
) -> FloatArray:
    scores = design * (weight * residual)[:, None]
    if groups is not None:
        scores = np.stack([group_sum(groups, column) for column in scores.T], axis=1)
    bread = (design * (weight * slope)[:, None]).T @ design
    half = np.linalg.solve(bread, scores.T)
    cov: FloatArray = half @ half.T
    return cov


def _fitted_exactly(
    names: list[str], small: SmallSampleSandwich, average: FloatArray
) -> dict[str, NotEstimable]:
    """Arms that rest on a unit or cluster without a residual."""
    reason = NotEstimable(
        "a unit or cluster that it rests on is fitted exactly, so that its variance cannot be "
        "seen; needed two or more in the arm"
    )
    gone = ((average != 0) & small.silent).any(axis=1)
    return {name: reason for name, silent in zip(names, gone.tolist(), strict=True) if silent}


def _degrees_of_freedom(
    small: SmallSampleSandwich, kept: list[int], n_arms: int, average: FloatArray
) -> FloatArray:
    """Of each arm and of each contrast with the first arm; not-a-number where there is none."""
    rows = arms_and_contrasts(n_arms)
    found = np.full(rows.shape[0], np.nan)
    for place, row in enumerate(rows):
        weights = row[kept] @ average
        whole = np.abs(row).sum() == np.abs(row[kept]).sum()
        if whole and not small.silent[weights != 0].any():
            found[place] = small.df(weights)
    return found


def _kind_of_error(clustered: bool, small_sample: SmallSample) -> str:
    parts = ["sandwich"]
    if clustered:
        parts.append("clustered")
    if small_sample != "none":
        named = small_sample.replace("hc", "cr") if clustered else small_sample
        parts.append(f"{named[:3].upper()} with Satterthwaite's t")
    return ", ".join(parts)


def _method(
    family: str,
    stabilizer: str,
    n_covariates: int,
    groups: IntArray | None,
    small_sample: str,
    strata: Strata | None,
) -> str:
    weighted = "square-root propensity weights" if stabilizer == "sqrt" else "no weights"
    parts = [f"M-estimator ({family})", weighted]
    if n_covariates:
        parts.append(f"{n_covariates:,} covariates, additive")
    if groups is not None:
        parts.append(f"{np.unique(groups).size:,} clusters")
    if strata is not None:
        parts.append(f"averaged over {len(strata.names):,} strata")
    if small_sample != "none":
        parts.append(f"small samples by {small_sample}")
    return ", ".join(parts)


def _assumptions(stabilizer: str, clustered: bool) -> tuple[str, ...]:
    texts = [
        "Arms were drawn with the stored probabilities, which may follow earlier outcomes.",
        "The outcome of one unit does not depend on the arms of others.",
        "Whether an outcome is missing does not depend on the arm and the outcome together.",
        "The mean of an arm is the same in all waves.",
    ]
    if stabilizer == "none":
        texts.append("Without weights the estimates are not normal where arms are nearly tied.")
    if clustered:
        texts.append(CLUSTERS_SPAN_WAVES)
    return tuple(texts)
