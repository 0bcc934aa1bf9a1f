"""The fully interacted regression arm by arm: it has no coefficient that two arms share."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wavewise.estimate.effects.covariance import (
    POWER,
    DegreesOfFreedom,
    Precision,
    SeparateArms,
    StdErrorKind,
    WorkingModelName,
    fixed_df,
    floor_of,
    influence,
    silent_directions,
    small_sample_factor,
    working_model_of,
)
from wavewise.estimate.effects.least_squares import (
    Fit,
    Rows,
    centred,
    estimable_arms,
    mean_one,
    rounding_of,
    scaled_deviations,
)
from wavewise.estimate.effects.sample import Sample
from wavewise.shared.labels import renumber
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["effects_by_arm"]

# what a column must keep of itself within each arm; the regression of all arms judges below it
_CLEAR = 1e-4


@dataclass(frozen=True, eq=False)
class _Arm:
    """The regression of one arm on its covariates."""

    rows: Rows
    fit: Fit  # Its effect is the mean outcome at the covariates' mean over all arms.
    # (n_rows,): Cluster of each row among those of all arms; the row itself without clusters.
    group: IntArray


@dataclass(frozen=True)
class _Size:
    """Totals of the whole regression, for factors and degrees of freedom."""

    n_units: int
    n_clusters: int | None
    n_strata: int
    rank_full: int


@dataclass(frozen=True, eq=False)
class _Found:
    """Sums over one arm's groups, of which covariances and degrees of freedom are made."""

    group: IntArray  # (n_groups,): Which of all groups.
    scores: FloatArray  # (n_groups,): Loadings times residuals.
    d: FloatArray  # (n_groups,): Squared loadings.
    u: FloatArray  # (n_groups, n_factors): Loadings times factors.
    signs: FloatArray  # (n_factors,): Their signs.
    quiet: FloatArray  # (n_directions,): Loadings in directions without a residual.
    size: float  # Root of the sum of squared loadings, in units of outcomes.
    n_groups: int


def effects_by_arm(
    sample: Sample,
    kind: StdErrorKind,
    working_model: WorkingModelName,
    df: DegreesOfFreedom,
) -> tuple[FloatArray, Precision] | None:
    """Effects and their precision from one small regression an arm, covariates interacted.

    None where arms share coefficients (strata effects), where there are no covariates, or where an
    arm's regression is too near to singular for this to be sure: there the regression of all arms
    is made as a whole, which names what is at fault.

    Notes
    -----
    With covariates centred at their mean over all arms and interacted with every arm, the
    regression falls into one per arm (Lin 2013, section 4): ``tau_k = mu_k - mu_0`` with ``mu_a``
    the intercept of arm a. Leverages, residuals and Bell-McCaffrey corrections are those of the
    arms; clusters that span arms add their arms' scores.
    """
    if sample.covariates is None or (sample.strata is not None and sample.strata.max() > 0):
        return None
    codes = np.concatenate([[0], estimable_arms(sample)])
    width, n_units = sample.covariates.shape[1], sample.n_units
    size = _Size(n_units, _n_clusters(sample), 1, codes.size * (width + 1))
    if kind.startswith("CR") and (size.n_clusters or 0) < 2:
        return None
    means, found = [], []
    for arm in _arms(sample, codes):
        if arm is None:
            return None
        means.append(arm.fit.effects[0])
        found.append(_sums(arm, kind, working_model))
    mean = np.array(means)
    n_groups = n_units if size.n_clusters is None else size.n_clusters
    return mean[1:] - mean[0], _precision(sample, found, size, n_groups, kind=kind, df=df)


def _n_clusters(sample: Sample) -> int | None:
    return None if sample.cluster is None else int(sample.cluster.max()) + 1


def _arms(sample: Sample, codes: IntArray) -> Iterator[_Arm | None]:
    """Each arm's regression; None for one that is not clearly of full rank."""
    values: FloatArray = np.asarray(sample.covariates)
    inner = centred(values, sample.weights)
    root = np.ones(sample.n_units) if sample.weights is None else np.sqrt(mean_one(sample.weights))
    order = np.arange(sample.n_units)
    if sample.cluster is not None:
        order = np.argsort(sample.cluster, kind="stable")
    by_arm = order[np.argsort(sample.arm[order], kind="stable")]
    stops = np.cumsum(np.bincount(sample.arm, minlength=len(sample.arms)))
    for code in codes:
        units = by_arm[stops[code] - sample.counts[code] : stops[code]]
        if units.size < values.shape[1] + 3:
            yield None
            return
        rows = _rows(sample, units, inner[units], root[units])
        fit = _fit(rows, np.sqrt(root[units] ** 2 @ rounding_of(values[units]) ** 2))
        group = units if sample.cluster is None else sample.cluster[units]
        yield None if fit is None else _Arm(rows, fit, group)


def _rows(sample: Sample, units: IntArray, x: FloatArray, root: FloatArray) -> Rows:
    """The units of one arm, its intercept taken out as that of a stratum."""
    cluster = None if sample.cluster is None else renumber(sample.cluster[units])[0]
    return Rows(
        x=x,
        columns=(),
        n_effects=0,
        outcome=sample.outcome[units],
        within=np.zeros(units.size),
        root=root,
        unit_root=root,
        copies=np.ones(units.size),
        stratum=np.zeros(units.size, dtype=np.int64),
        cluster=cluster,
        n_strata=1,
        n_clusters=None if cluster is None else int(cluster[-1]) + 1,
        n_units=int(units.size),
        of_unit=np.arange(units.size),
        rounding=np.zeros(x.shape[1]),
    )


def _fit(rows: Rows, rounding: FloatArray) -> Fit | None:
    """The regression of one arm's outcomes, and what each adds to its mean at x = 0."""
    x = scaled_deviations(rows, rows.x)
    size = np.linalg.norm(x, axis=0)
    if (size <= np.maximum(_CLEAR * np.linalg.norm(rows.x * rows.root[:, None], axis=0),
                           rounding / _CLEAR)).any():  # fmt: skip
        return None
    basis, triangle = np.linalg.qr(x / size)
    if (np.abs(np.diag(triangle)) < _CLEAR).any():
        return None
    total = float(rows.stratum_weight[0])
    weight = rows.root**2 / total
    shift = np.linalg.solve(triangle.T, (weight @ rows.x) / size)
    y = scaled_deviations(rows, rows.outcome[:, None])[:, 0]
    scores = basis.T @ y
    return Fit(
        effects=np.array([weight @ rows.outcome - shift @ scores]),
        basis=basis,
        loading=(rows.root / total - basis @ shift)[:, None],
        residual=y - basis @ scores,
    )


def _sums(arm: _Arm, kind: StdErrorKind, name: WorkingModelName) -> _Found:
    """Sums over an arm's groups of corrected loadings."""
    rows, fit = arm.rows, arm.fit
    found = influence(working_model_of(rows, fit, kind, name), POWER.get(kind, 0.0))
    model, size = found.model, float(np.linalg.norm(fit.loading))
    q = model.loading[:, 0]
    scores, d = q * (fit.residual / model.root), q**2
    factors = np.column_stack([model.factors, model.shares])
    factors *= q[:, None]
    group = arm.group
    if rows.cluster is not None:
        starts = np.flatnonzero(np.diff(rows.cluster, prepend=-1))
        scores, d = np.add.reduceat(scores, starts), np.add.reduceat(d, starts)
        factors, group = np.add.reduceat(factors, starts, axis=0), group[starts]
    return _Found(
        group=group,
        scores=scores,
        d=d,
        u=factors,
        signs=np.concatenate([model.signs, model.share_signs]),
        quiet=found.silent[:, 0] * size,
        size=size,
        n_groups=int(group.size),
    )


def _precision(
    sample: Sample,
    found: list[_Found],
    size: _Size,
    n_groups: int,
    *,
    kind: StdErrorKind,
    df: DegreesOfFreedom,
) -> Precision:
    """Covariance and degrees of freedom of the differences from the control."""
    satterthwaite = kind in {"HC2", "CR2"}
    products, model = _pairs(found, n_groups, satterthwaite, spans=sample.cluster is not None)
    cov = products[1:, 1:] - products[1:, :1] - products[:1, 1:] + products[0, 0]
    norms = np.array([one.size for one in found])
    norms = np.hypot(norms[1:], norms[0])
    effects = np.eye(norms.size)
    loadings = [-np.ones(norms.size), *effects]
    quiet = [
        one.quiet[:, None] * (loading / norms) for one, loading in zip(found, loadings, strict=True)
    ]
    groups = np.array([float(one.n_groups) for one in found])
    return Precision(
        cov=small_sample_factor(size, kind) * cov,
        fixed_df=None if satterthwaite else fixed_df(size, kind),
        model=model,
        silent=silent_directions(np.concatenate(quiet), groups),
        floor=floor_of(sample.outcome, norms),
        arm_groups=groups if df == "smaller-arm" else None,
    )


def _pairs(
    found: list[_Found], n_groups: int, satterthwaite: bool, *, spans: bool
) -> tuple[FloatArray, SeparateArms | None]:
    """Cross products of the arms' scores, and what degrees of freedom need, by pair of arms."""
    n_arms = len(found)
    products, square = np.zeros((n_arms, n_arms)), np.zeros((n_arms, n_arms))
    own = [one.u**2 @ one.signs for one in found]
    place = np.full(n_groups, -1)
    for a, one in enumerate(found):
        place[one.group] = np.arange(one.group.size)
        for b in range(a, n_arms if spans else a + 1):
            other = found[b]
            at = place[other.group] if a != b else np.arange(one.group.size)
            shared = np.flatnonzero(at >= 0)
            at = at[shared]
            products[a, b] = products[b, a] = one.scores[at] @ other.scores[shared]
            if not satterthwaite:
                continue
            d, e = one.d[at], other.d[shared]
            cross = one.u[at].T @ other.u[shared]
            square[a, b] = square[b, a] = (
                d @ e + d @ own[b][shared] + own[a][at] @ e + one.signs @ cross**2 @ other.signs
            )
        place[one.group] = -1
    mean = np.array([(one.d + mine).sum() for one, mine in zip(found, own, strict=True)])
    return products, SeparateArms(mean, square) if satterthwaite else None
