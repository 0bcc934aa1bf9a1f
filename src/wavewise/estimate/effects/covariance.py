"""Robust covariance of the effects: HC0 to HC3 over units, CR1, CR1S and CR2 over clusters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.least_squares import Fit, Rows
from wavewise.estimate.effects.sample import Sample
from wavewise.shared.labels import group_sum, renumber
from wavewise.shared.results import BoolArray, FloatArray, IntArray, Record

__all__ = ["ArmMeans", "Precision", "StdErrorKind", "arm_means", "precision", "resolve_kind"]


# Satterthwaite degrees of freedom of a robust standard error.


@dataclass(frozen=True, eq=False)
class WorkingModel(Record):
    """The variance estimate as a quadratic form, under independent outcomes of equal variance.

    Notes
    -----
    The estimate of a variance is ``sum_g (p_g'y)^2`` with ``p_g = (I - H)_g' q_g``. Under the
    working model, with ``K_gh = p_g'p_h``, it is matched in mean and variance to a chi-squared
    with ``(sum_g K_gg)^2 / sum_gh K_gh^2`` degrees of freedom. Since ``H = P + QQ'``,
    ``K_gh = [g = h] d_g - u_g'u_h - v_g'v_h`` with ``d_g = q_g'q_g``, ``u_g = Q_g'q_g`` and
    ``v_g`` the sums of ``q_g`` over orthonormal strata indicators, so that the double sum is one
    of small cross products: no matrix with a side of the number of clusters is formed.

    References
    ----------
    Bell and McCaffrey (2002), equation 17; Imbens and Kolesar (2016), equation 5; Pustejovsky
    and Tipton (2018), section 2.3.
    """

    # (n_rows, n_effects): Corrected loadings ``q_g = A_g Z_g`` of one of the groups that the row
    # stands for.
    loading: FloatArray
    # (n_rows, n_columns): Orthonormal basis ``Q`` of the regressors, in the same units.
    basis: FloatArray
    share: FloatArray  # (n_rows,): Entry of the orthonormal strata indicator, in the same units.
    stratum: IntArray  # (n_rows,): Stratum of the row.
    # (n_rows,): Cluster of the row, never decreasing; None where no cluster spans several rows.
    cluster: IntArray | None
    copies: FloatArray  # (n_rows,): Groups that the row stands for.

    @classmethod
    def of(cls, rows: Rows, basis: FloatArray, loading: FloatArray) -> "WorkingModel":
        """The working model of rows, from their scaled basis and the loadings of their groups."""
        scale = np.sqrt(rows.copies)
        share = rows.root / np.sqrt(rows.stratum_weight[rows.stratum])
        return cls(
            loading=loading,
            basis=basis / scale[:, None],
            share=share / scale,
            stratum=rows.stratum,
            cluster=rows.cluster,
            copies=rows.copies,
        )

    def degrees_of_freedom(self, weights: FloatArray) -> float:
        """Satterthwaite degrees of freedom of a combination of the effects."""
        q = self.loading @ weights
        q = q / np.sqrt((q**2).mean())
        if self.cluster is None:
            return self._of_single_rows(q)
        return self._of_grouped_rows(q, self.cluster)

    def _of_single_rows(self, q: FloatArray) -> float:
        """Every cluster lies in one stratum and is one row, maybe several times."""
        copies = self.copies
        d = q**2
        u = self.basis * q[:, None]
        v = self.share * q
        own = (u**2).sum(axis=1) + v**2
        by_stratum = group_sum(self.stratum, copies * v**2)
        mixed = [group_sum(self.stratum, copies * v * u_k) for u_k in u.T]
        cross = u.T @ (copies[:, None] * u)
        double = (cross**2).sum() + 2 * sum(float(m @ m) for m in mixed) + by_stratum @ by_stratum
        return _matched(copies, d, own, float(double))

    def _of_grouped_rows(self, q: FloatArray, cluster: IntArray) -> float:
        """Clusters of several rows, within strata or across them."""
        d = group_sum(cluster, q**2)
        u = np.stack([group_sum(cluster, q * b) for b in self.basis.T], axis=1)
        v = self._sums_by_stratum(q, cluster)
        own = (u**2).sum(axis=1) + np.asarray(v.multiply(v).sum(axis=1)).ravel()
        mixed = v.T @ u
        double = ((u.T @ u) ** 2).sum() + 2 * (mixed**2).sum() + _gram_square(v)
        return _matched(np.ones(d.size), d, own, float(double))

    def _sums_by_stratum(self, q: FloatArray, cluster: IntArray) -> Any:
        """``v_g`` as a sparse matrix, shape (n_clusters, n_strata)."""
        from scipy.sparse import csr_array

        matrix = csr_array((q * self.share, (cluster, self.stratum)))
        matrix.sum_duplicates()
        return matrix


def _gram_square(v: Any) -> float:
    """Sum of squares of ``V'V``, by whichever of ``V'V`` and ``VV'`` has fewer entries."""
    by_row = np.diff(v.indptr).astype(np.float64)
    by_column = np.bincount(v.indices).astype(np.float64)
    gram = v.T @ v if by_row @ by_row <= by_column @ by_column else v @ v.T
    return float((gram.data**2).sum())


def _matched(copies: FloatArray, d: FloatArray, own: FloatArray, double: float) -> float:
    mean = copies @ (d - own)
    square = copies @ (d**2 - 2 * d * own) + double
    return float(mean**2 / square)


# Influence of units and clusters on the effects, corrected for their leverage.

# 1 - leverage below this is zero up to rounding: the residual says nothing
_LEVERAGE_TOLERANCE = 1e-10
# loadings below this, relative to the effect's, are rounding
_ROUNDING = 1e-9
# entries of the hat-matrix blocks that are held at once
_CHUNK = 4_000_000
# side of the largest dense block
_LARGEST = 4_000


@dataclass(frozen=True, eq=False)
class Influence:
    """Corrected loadings ``A_g Z_g``, and the directions in which residuals say nothing."""

    # (n_rows, n_effects): Corrected loadings; of one unit of the row without clusters, of the row
    # with them.
    loading: FloatArray
    # (n_directions, n_effects): Part of each effect's loading, relative to the whole, that lies
    # in a direction where the residual is zero by construction. An effect with such a part has no
    # standard error.
    silent: FloatArray


def group_influence(rows: Rows, fit: Fit, power: float) -> Influence:
    """Loadings of single groups times ``(1 - h)^-power``, with ``h`` the group's leverage.

    ``power`` is 0 for HC0, HC1, CR1 and CR1S, 1/2 for HC2 and CR2, and 1 for HC3. All units of a
    group are alike here, so that its block of the hat matrix has the one eigenvalue ``h``.
    """
    share = np.sqrt(rows.copies)[:, None]
    free = 1 - _leverage(rows, fit) / rows.copies
    silent = free < _LEVERAGE_TOLERANCE
    scale = np.where(silent, 0.0, np.where(silent, 1.0, free) ** -power)
    return Influence(
        loading=fit.loading / share * scale[:, None],
        silent=_relative(fit, (fit.loading / share)[silent]),
    )


def cluster_influence(rows: Rows, fit: Fit, cluster: IntArray, power: float) -> Influence:
    """Loadings of clusters of several rows times ``A_g = (I - H_gg)^-power`` (CR2 at 1/2).

    ``H_gg`` is the cluster's block of the whole hat matrix, strata effects included. Where
    ``I - H_gg`` is singular its Moore-Penrose inverse is used.
    """
    if power == 0:
        return Influence(fit.loading, np.zeros((0, fit.loading.shape[1])))
    loading = np.empty_like(fit.loading)
    silent: list[FloatArray] = []
    for members in _batches(cluster):
        adjusted, quiet = _adjust(rows, fit, members)
        loading[members] = adjusted
        silent.append(quiet)
    return Influence(loading, _relative(fit, np.concatenate(silent)))


def _leverage(rows: Rows, fit: Fit) -> FloatArray:
    """Leverage of scaled rows, strata effects included, shape (n_rows,)."""
    by_strata: FloatArray = rows.root**2 / rows.stratum_weight[rows.stratum]
    by_strata += np.einsum("rp,rp->r", fit.basis, fit.basis)
    return by_strata


def _relative(fit: Fit, loading: FloatArray) -> FloatArray:
    relative = loading / np.linalg.norm(fit.loading, axis=0)
    heard = np.abs(relative).max(axis=1, initial=0.0) > _ROUNDING
    return np.asarray(relative[heard], dtype=np.float64)


def _batches(cluster: IntArray) -> Iterator[IntArray]:
    """Row positions of clusters with equally many rows, shape (n_clusters, n_rows_each)."""
    sizes = np.bincount(cluster)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes):
        first = starts[sizes == size]
        step = max(1, _CHUNK // int(size) ** 2)
        for begin in range(0, first.size, step):
            yield first[begin : begin + step, None] + np.arange(size)


def _adjust(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Corrected loadings of one batch, and what of them lies in silent directions."""
    if members.shape[1] == 1:
        return _adjust_single(rows, fit, members)
    stratum = rows.stratum[members]
    if members.shape[1] > 2 * fit.basis.shape[1] + 64:
        n_factors = fit.basis.shape[1] + max(np.unique(row).size for row in stratum)
        if 2 * n_factors < members.shape[1]:
            return _adjust_tall(rows, fit, members)
    return _adjust_block(rows, fit, members)


def _adjust_single(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Clusters that are one row: the inverse root is a number."""
    row = members[:, 0]
    total = rows.stratum_weight[rows.stratum[row]]
    basis = fit.basis[row]
    free = 1 - np.einsum("rp,rp->r", basis, basis) - rows.root[row] ** 2 / total
    quiet = free < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, free)))
    loading = fit.loading[row]
    return (loading * scale[:, None])[:, None, :], loading[quiet]


def _adjust_block(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Symmetric inverse root of each block, by its eigenvectors."""
    size = members.shape[1]
    if size > _LARGEST:
        raise EstimationError(
            f"CR2: found a cluster of {size:,} rows over many strata; needed at most {_LARGEST:,}; "
            "give se='CR1', or larger strata"
        )
    basis, stratum = fit.basis[members], rows.stratum[members]
    share = rows.root[members] / np.sqrt(rows.stratum_weight[stratum])
    hat = basis @ basis.transpose(0, 2, 1)
    hat += (share[:, :, None] * share[:, None, :]) * (stratum[:, :, None] == stratum[:, None, :])
    values, vectors = np.linalg.eigh(np.eye(size) - hat)
    quiet = values < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, values)))
    turned = vectors.transpose(0, 2, 1) @ fit.loading[members]
    return vectors @ (scale[:, :, None] * turned), turned[quiet]


def _adjust_tall(rows: Rows, fit: Fit, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Clusters with many rows: ``H_gg = FF'`` has low rank, so only ``F'F`` is decomposed."""
    pairs = [_adjust_tall_one(rows, fit, row) for row in members]
    return np.stack([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _adjust_tall_one(rows: Rows, fit: Fit, row: IntArray) -> tuple[FloatArray, FloatArray]:
    factor = _leverage_factor(rows, fit, row)
    values, vectors = np.linalg.eigh(factor.T @ factor)
    used = values > 1e-14
    values, vectors = values[used], vectors[:, used]
    # orthonormal directions of the cluster's rows, one an eigenvalue
    directions = factor @ vectors / np.sqrt(values)
    quiet = 1 - values < _LEVERAGE_TOLERANCE
    scale = np.where(quiet, 0.0, 1 / np.sqrt(np.where(quiet, 1.0, 1 - values)))
    turned = directions.T @ fit.loading[row]
    adjusted = fit.loading[row] + directions @ ((scale - 1)[:, None] * turned)
    return adjusted, turned[quiet]


def _leverage_factor(rows: Rows, fit: Fit, row: IntArray) -> FloatArray:
    """``F`` with ``H_gg = FF'``: scaled strata indicators beside the basis."""
    strata, codes = np.unique(rows.stratum[row], return_inverse=True)
    share = rows.root[row] / np.sqrt(rows.stratum_weight[rows.stratum[row]])
    indicators = np.zeros((row.size, strata.size))
    indicators[np.arange(row.size), codes] = share
    return np.column_stack([indicators, fit.basis[row]])


StdErrorKind = Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"]

_COUNTERPART: dict[str, StdErrorKind] = {"HC0": "CR1", "HC1": "CR1", "HC2": "CR2"}
_POWER = {"HC0": 0, "HC1": 0, "HC2": 0.5, "HC3": 1, "CR1": 0, "CR1S": 0, "CR2": 0.5}
# a loading this small, relative to the effect's, is rounding
_SILENT = 1e-7
# a variance this small, relative to that of outcomes as large as the largest, is rounding
_NO_VARIANCE = 1e-24


@dataclass(frozen=True, eq=False)
class Precision(Record):
    """Covariance of the effects, and the degrees of freedom of any combination of them."""

    cov: FloatArray  # (n_effects, n_effects): Covariance of the effects.
    # Degrees of freedom of every combination; None where they are Satterthwaite's.
    fixed_df: float | None
    model: WorkingModel | None  # What Satterthwaite's degrees of freedom are computed from.
    # (n_directions, n_effects): Directions without a residual; see `Influence`.
    silent: FloatArray
    floor: FloatArray  # (n_effects,): Standard errors not above this are rounding.

    def variance(self, weights: FloatArray) -> float:
        """Variance of a combination of the effects."""
        return float(weights @ self.cov @ weights)

    def df(self, weights: FloatArray) -> float:
        """Degrees of freedom of the standard error of a combination of the effects."""
        if self.fixed_df is not None or self.model is None:
            return float(self.fixed_df or np.inf)
        return self.model.degrees_of_freedom(weights)

    def refusal(self, weights: FloatArray) -> str | None:
        """Why a combination has no standard error, or None where it has one."""
        size = np.abs(weights).max()
        if self.silent.size and np.abs(self.silent @ weights).max() > _SILENT * size:
            return (
                "a unit or cluster that it rests on is fitted exactly (leverage 1), so that its "
                "variance cannot be seen; needed two or more in each arm compared"
            )
        if self.variance(weights) <= float(np.abs(weights) @ self.floor) ** 2:
            return "the outcome does not vary around the fit, so that there is no error to measure"
        return None


def resolve_kind(se: Any, clustered: bool) -> StdErrorKind:
    """The standard error that will be used: an HC kind becomes its counterpart under clusters."""
    kinds = get_args(StdErrorKind)
    if se not in kinds:
        raise InputError(f"se: found {se!r}; needed one of {', '.join(kinds)}")
    kind: StdErrorKind = se
    if not clustered and kind.startswith("CR"):
        raise InputError(f"se: found {kind!r} without clusters; give cluster=, or an HC kind")
    if not clustered or kind.startswith("CR"):
        return kind
    if kind not in _COUNTERPART:
        raise InputError(
            f"se: found {kind!r} with clusters, where it has no counterpart; give 'CR2' or 'CR1'"
        )
    return _COUNTERPART[kind]


def precision(rows: Rows, fit: Fit, kind: StdErrorKind) -> Precision:
    """Covariance of the effects.

    Notes
    -----
    With loadings ``Z`` and residuals ``e``: over units,
    ``V = c sum_i z_i z_i' e_i^2 (1 - h_i)^(-2a)`` with ``a = 0`` (HC0, HC1), 1/2 (HC2), 1 (HC3)
    and ``c = n / (n - k)`` for HC1, else 1. Over clusters,
    ``V = c sum_g Z_g'A_g e_g e_g'A_g Z_g`` with ``A_g = I`` and
    ``c = G / (G - 1) (n - 1) / (n - k)`` (CR1, CR1S), or ``A_g = (I - H_gg)^(-1/2)`` and
    ``c = 1`` (CR2). Leverages hold the strata effects. ``k`` counts strata effects in HC1 and
    CR1S; in CR1 it counts the intercept in their place.

    References
    ----------
    MacKinnon and White (1985); Bell and McCaffrey (2002); Cameron and Miller (2015), equation
    12; Pustejovsky and Tipton (2018), equations 5 to 7.
    """
    if kind.startswith("CR") and (rows.n_clusters or 0) < 2:
        raise EstimationError(
            "cluster: found a single cluster; needed two or more in each arm; give the groups that "
            "were randomized, or cluster=None where units were randomized one by one"
        )
    influence = _influence(rows, fit, _POWER[kind])
    satterthwaite = kind in {"HC2", "CR2"}
    return Precision(
        cov=_factor(rows, kind) * _meat(rows, fit, influence),
        fixed_df=None if satterthwaite else _fixed_df(rows, kind),
        model=WorkingModel.of(rows, fit.basis, influence.loading) if satterthwaite else None,
        silent=_silent(rows, influence),
        floor=_floor(rows, fit),
    )


def _influence(rows: Rows, fit: Fit, power: float) -> Influence:
    if rows.cluster is None:
        return group_influence(rows, fit, power)
    return cluster_influence(rows, fit, rows.cluster, power)


def _meat(rows: Rows, fit: Fit, influence: Influence) -> FloatArray:
    """Sum over groups of the outer product of ``Z_g'A_g e_g``, shape (n_effects, n_effects)."""
    loading = influence.loading
    if rows.cluster is None:
        squares = rows.within + fit.residual**2
        like: FloatArray = loading.T @ (loading * squares[:, None])
        return like
    starts = np.flatnonzero(np.diff(rows.cluster, prepend=-1))
    scores = np.add.reduceat(loading * fit.residual[:, None], starts, axis=0)
    meat: FloatArray = scores.T @ scores
    return meat


def _factor(rows: Rows, kind: StdErrorKind) -> float:
    if kind == "HC1":
        return rows.n_units / (rows.n_units - rows.rank_full)
    if kind not in {"CR1", "CR1S"} or rows.n_clusters is None:
        return 1.0
    rank = rows.rank_full if kind == "CR1S" else len(rows.columns) + 1
    clusters = rows.n_clusters
    return clusters / (clusters - 1) * (rows.n_units - 1) / (rows.n_units - rank)


def _fixed_df(rows: Rows, kind: StdErrorKind) -> float:
    if kind.startswith("CR") and rows.n_clusters is not None:
        return float(rows.n_clusters - 1)
    return float(rows.n_units - rows.rank_full)


def _silent(rows: Rows, influence: Influence) -> FloatArray:
    """Silent directions, with one for each arm that has a single unit or cluster."""
    effects = rows.x[:, : rows.n_effects] == 1
    arms = np.column_stack([~effects.any(axis=1), effects])
    # the control's loading in an effect is minus that of all arms together
    directions = np.vstack([np.ones(rows.n_effects), np.eye(rows.n_effects)])
    alone = [_n_groups(rows, member) < 2 for member in arms.T]
    return np.vstack([influence.silent, directions[alone]])


def _n_groups(rows: Rows, member: BoolArray) -> float:
    if rows.cluster is None:
        return float(rows.copies[member].sum())
    return float(np.unique(rows.cluster[member]).size)


def _floor(rows: Rows, fit: Fit) -> FloatArray:
    largest = float(np.abs(rows.outcome).max())
    floor: FloatArray = np.sqrt(_NO_VARIANCE) * largest * np.linalg.norm(fit.loading, axis=0)
    return floor


# Mean outcome by arm, unadjusted, with its standard error.


@dataclass(frozen=True, eq=False)
class ArmMeans(Record):
    """Mean outcome by arm."""

    # mean, std_error, df: (n_arms,): Weighted mean, its standard error and degrees of freedom;
    # not-a-number where there is none.
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
    variance *= _arm_means_factor(sample, kind)
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


def _arm_means_factor(sample: Sample, kind: StdErrorKind) -> float:
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
