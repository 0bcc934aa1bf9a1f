"""Robust covariance of the effects: HC0 to HC3 over units, CR1, CR1S and CR2 over clusters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.least_squares import Fit, Rows, collapse, scaled_deviations
from wavewise.estimate.effects.sample import Sample
from wavewise.shared.labels import compress, group_sum, renumber
from wavewise.shared.results import BoolArray, FloatArray, IntArray, NotEstimable, Record

__all__ = [
    "POWER",
    "ArmMeans",
    "DegreesOfFreedom",
    "Precision",
    "SeparateArms",
    "StdErrorKind",
    "WorkingModel",
    "WorkingModelName",
    "arm_means",
    "check_working_model",
    "corrected",
    "fixed_df",
    "floor_of",
    "group_scores",
    "influence",
    "precision",
    "resolve_kind",
    "silent_directions",
    "small_sample_factor",
    "working_model_of",
]


# The working model: variances of residuals, and Satterthwaite degrees of freedom.

WorkingModelName = Literal["identity", "inverse-weights"]


@dataclass(frozen=True, eq=False)
class WorkingModel(Record):
    """Variances of residuals where outcomes are independent with the variances of the model.

    Notes
    -----
    Residuals are ``(I - H) y`` with ``H = X (X'WX)^-1 X'W``. In units in which outcomes have
    variance 1 theirs is ``V = (I - H)(I - H)'``. Where variances are one over the weights (and
    where there are none) H is symmetric and ``V = I - QQ' - PP'``, with Q the orthonormal
    regressors and P the strata indicators. Where all are equal, ``H = LR'`` with ``L = Q / r``,
    ``R = Q r`` and r the root of the weight, so ``V = I - LR' - RL' + L R'R L'``, which is
    ``I - FF' + GG'`` with ``F, G = (L +- (R - L R'R / 2)) / sqrt(2)``; strata likewise. So V
    is I and signed squares of a few factors. The estimate of a variance is ``sum_g (p_g'y)^2``
    with ``p_g = (I - H)_g' q_g``; it is matched in mean and variance to a chi-squared with
    ``(sum_g K_gg)^2 / sum_gh K_gh^2`` degrees of freedom, ``K_gh = p_g'p_h = [g = h] d_g +
    sum_k s_k u_gk u_hk`` with ``d_g = q_g'q_g`` and ``u_g`` sums of q_g over factors of sign s, so
    that the double sum is one of small cross products: no matrix with a side of the number of
    clusters is formed.

    References
    ----------
    Bell and McCaffrey (2002), equation 17; Imbens and Kolesar (2016), equation 5; Pustejovsky
    and Tipton (2018), sections 2.2 and 2.3 (weights that are no inverse variances).
    """

    # (n_rows, n_effects): Loadings ``q_g = A_g Z_g`` of one of the groups that the row stands for.
    loading: FloatArray
    factors: FloatArray  # (n_rows, n_factors): Factors of the regressors.
    signs: FloatArray  # (n_factors,): Their signs.
    shares: FloatArray  # (n_rows, n_shares): Entries of the factors of the row's own stratum.
    share_signs: FloatArray  # (n_shares,): Their signs.
    root: FloatArray  # (n_rows,): Root of a unit's weight where all variances are equal; else 1.
    stratum: IntArray  # (n_rows,): Stratum of the row.
    # (n_rows,): Cluster of the row, never decreasing; None where no cluster spans several rows.
    cluster: IntArray | None
    copies: FloatArray  # (n_rows,): Groups that the row stands for.

    @classmethod
    def of(cls, rows: Rows, fit: Fit, name: WorkingModelName) -> "WorkingModel":
        """The working model of rows, with the loadings of their groups."""
        scale = np.sqrt(rows.copies)
        basis = fit.basis / scale[:, None]
        share = rows.root / scale / np.sqrt(rows.stratum_weight[rows.stratum])
        own = (rows.stratum, rows.cluster, rows.copies)
        loading = fit.loading / scale[:, None]
        root = rows.unit_root
        if name == "inverse-weights" or (root == 1).all():
            minus, one = -np.ones(basis.shape[1]), np.ones_like(root)
            return cls(loading, basis, minus, share[:, None], -np.ones(1), one, *own)
        right = basis * root[:, None]
        square = right.T @ (rows.copies[:, None] * right)
        mass = rows.copies * share * root
        common = _sums(rows.stratum, mass, right)
        left, own_left = basis / root[:, None], share / root
        right -= own_left[:, None] * common[rows.stratum] + left @ (square / 2)
        twice = group_sum(rows.stratum, rows.copies * (share * root) ** 2, rows.n_strata)
        own_right = share * root - twice[rows.stratum] * own_left / 2
        left, right = left / np.sqrt(2), right / np.sqrt(2)
        factors = np.hstack([left + right, left - right])
        shares = np.column_stack([own_left + own_right, own_left - own_right]) / np.sqrt(2)
        signs = np.repeat([-1.0, 1.0], basis.shape[1])
        plus_minus = np.array([-1.0, 1.0])
        return cls(loading * root[:, None], factors, signs, shares, plus_minus, root, *own)

    def degrees_of_freedom(self, weights: FloatArray) -> float:
        """Satterthwaite degrees of freedom of a combination of the effects."""
        q = self.loading @ weights
        q = q / np.sqrt((q**2).mean())
        if self.cluster is None:
            return self._of_single_rows(q)
        return self._of_grouped_rows(q, self.cluster)

    @cached_property
    def taken(self) -> FloatArray:
        """What the fit takes out of the variance of each row's residual, negative; (n_rows,)."""
        factors: FloatArray = np.einsum("rk,rk,k->r", self.factors, self.factors, self.signs)
        return factors + self.shares**2 @ self.share_signs

    def _of_single_rows(self, q: FloatArray) -> float:
        """Every cluster lies in one stratum and is one row, maybe several times."""
        s, t, d = self.signs, self.share_signs, q**2
        u = np.sqrt(self.copies * d)[:, None] * self.factors
        double = s @ (u.T @ u) ** 2 @ s
        for sign, share in zip(t, self.shares.T, strict=True):
            weight = self.copies * d * share
            double += 2 * sign * (_sums(self.stratum, weight, self.factors) ** 2 @ s).sum()
            double += sign * (_sums(self.stratum, weight, self.shares) ** 2 @ t).sum()
        return _matched(self.copies, d, d * self.taken, float(double))

    def _of_grouped_rows(self, q: FloatArray, cluster: IntArray) -> float:
        """Clusters of several rows, within strata or across them."""
        s = self.signs
        d = group_sum(cluster, q**2)
        u = _sums(cluster, q, self.factors)
        v, t = self._sums_by_stratum(q, cluster)
        own = u**2 @ s + v.multiply(v) @ t
        double = s @ (u.T @ u) ** 2 @ s + 2 * (t @ (v.T @ u) ** 2 @ s) + _gram_square(v, t)
        return _matched(np.ones(d.size), d, own, float(double))

    def _sums_by_stratum(self, q: FloatArray, cluster: IntArray) -> tuple[Any, FloatArray]:
        """``u_g`` of strata as a sparse matrix (n_clusters, n_strata n_shares), and the signs."""
        from scipy.sparse import csr_array

        n_strata, n_shares = int(self.stratum.max()) + 1, self.share_signs.size
        columns = self.stratum[:, None] * n_shares + np.arange(n_shares)
        values = q[:, None] * self.shares
        where = (np.repeat(cluster, n_shares), columns.ravel())
        matrix = csr_array((values.ravel(), where))
        matrix.sum_duplicates()
        return matrix, np.tile(self.share_signs, n_strata)


@dataclass(frozen=True, eq=False)
class SeparateArms(Record):
    """Satterthwaite's degrees of freedom where residuals of different arms share no coefficient.

    Notes
    -----
    With ``p_g`` as in `WorkingModel` a combination of the arms' means with weights c has
    ``p_g = sum_a c_a p_ga``, and ``p_ga`` holds coefficients of arm a alone. So the sums of
    ``K_gg`` and of ``K_gh^2`` are a linear and a quadratic form of the squares of c.
    """

    mean: FloatArray  # (n_arms,): Sum of ``K_gg`` of each arm's mean, the control's first.
    square: FloatArray  # (n_arms, n_arms): Sum of ``K_gh^2`` by pair of arms.

    def degrees_of_freedom(self, weights: FloatArray) -> float:
        """Satterthwaite degrees of freedom of a combination of the effects."""
        parts = np.concatenate([[weights.sum()], weights]) ** 2
        parts = parts / parts.max()
        return float((self.mean @ parts) ** 2 / (parts @ self.square @ parts))


def _sums(codes: IntArray, weight: FloatArray, columns: FloatArray) -> FloatArray:
    """Weighted sums of each column by code, shape (n_codes, n_columns)."""
    n_codes = int(codes.max()) + 1
    if n_codes == 1:
        return (weight @ columns)[None, :]
    from scipy.sparse import csr_array

    by_row = csr_array((weight, codes, np.arange(codes.size + 1)), (codes.size, n_codes))
    return np.asarray(by_row.T @ columns)


def _gram_square(v: Any, signs: FloatArray) -> float:
    """Signed sum of squares of ``V'V``, by whichever of ``V'V`` and ``VV'`` has fewer entries."""
    by_row = np.diff(v.indptr).astype(np.float64)
    by_column = np.bincount(v.indices).astype(np.float64)
    if by_row @ by_row <= by_column @ by_column:
        gram = v.T @ v
        gram.data = gram.data**2
        return float(signs @ (gram @ signs))
    signed = v.copy()
    signed.data = v.data * signs[v.indices]
    return float(((signed @ v.T).data ** 2).sum())


def _matched(copies: FloatArray, d: FloatArray, own: FloatArray, double: float) -> float:
    mean = copies @ (d + own)
    square = copies @ (d**2 + 2 * d * own) + double
    return float(mean**2 / square)


# Loadings of units and clusters, corrected for what the fit takes out of their residuals.

# a variance of a residual below this, relative to its outcome's, is zero up to rounding
_FITTED = 1e-10
# loadings below this, relative to the effect's, are rounding
_ROUNDING = 1e-9
# a determinant below this, relative to the squared trace, is left to the eigenvectors
_NEAR = 1e-3
# entries of the blocks that are held at once
_CHUNK = 4_000_000
# side of the largest dense block
_LARGEST = 4_000


@dataclass(frozen=True, eq=False)
class Influence:
    """A working model with corrected loadings, and directions in which residuals say nothing."""

    model: WorkingModel  # Its loading is the corrected one.
    # (n_directions, n_effects): Part of each effect's loading, relative to the whole, that lies
    # in a direction where the residual is zero by construction. An effect with such a part has no
    # standard error.
    silent: FloatArray


def influence(model: WorkingModel, power: float) -> Influence:
    """Loadings times ``A_g``: I for power 0, ``V_gg^(-1/2)`` for 1/2 and ``(I - H_gg)^-1`` for 1.

    Power 1 is for single units under inverse-weights, where ``V_gg = I - H_gg``. Where V_gg is
    singular its Moore-Penrose inverse is used.
    """
    plain = model.loading
    if power == 0 and model.cluster is not None:
        return Influence(model, np.zeros((0, plain.shape[1])))
    if model.cluster is None:
        loading, quiet = _single(model, slice(None), power)
        return Influence(replace(model, loading=loading), _relative(model, quiet))
    loading, silent = np.empty_like(plain), []
    for members in _batches(model.cluster):
        loading[members], quiet = _adjust(model, members)
        silent.append(quiet)
    return Influence(replace(model, loading=loading), _relative(model, np.concatenate(silent)))


def _relative(model: WorkingModel, quiet: FloatArray) -> FloatArray:
    relative = quiet / np.sqrt(model.copies @ (model.loading / model.root[:, None]) ** 2)
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


def _single(
    model: WorkingModel, row: IntArray | slice, power: float
) -> tuple[FloatArray, FloatArray]:
    """Groups that are one row: the variance of their residual is a number."""
    free = 1 + model.taken[row]
    fitted = free < _FITTED
    loading = model.loading[row]
    scale = np.where(fitted, 0.0, np.where(fitted, 1.0, free) ** -power)
    return loading * scale[:, None], (loading / model.root[row, None])[fitted]


def _adjust(model: WorkingModel, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Loadings of one batch times ``V_gg^(-1/2)``, and what of them lies in silent directions."""
    size = members.shape[1]
    if size == 1:
        loading, quiet = _single(model, members[:, 0], 0.5)
        return loading[:, None, :], quiet
    n_factors = model.signs.size
    if size > 2 * n_factors + 64:
        most = max(np.unique(row).size for row in model.stratum[members])
        if 2 * (n_factors + most * model.share_signs.size) < size:
            pairs = [_adjust_tall(model, row) for row in members]
            return np.stack([pair[0] for pair in pairs]), np.concatenate(
                [pair[1] for pair in pairs]
            )
    return _adjust_block(model, members)


def _adjust_block(model: WorkingModel, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Symmetric inverse root of each block, by its eigenvectors."""
    size = members.shape[1]
    if size > _LARGEST:
        raise EstimationError(
            f"CR2: found a cluster of {size:,} rows over many strata; needed at most {_LARGEST:,}; "
            "give se='CR1', or larger strata"
        )
    factors, shares, stratum = model.factors[members], model.shares[members], model.stratum[members]
    block = (shares * model.share_signs) @ shares.transpose(0, 2, 1)
    block *= stratum[:, :, None] == stratum[:, None, :]
    block += np.eye(size) + (factors * model.signs) @ factors.transpose(0, 2, 1)
    if size == 2 and (found := _inverse_root_of_pairs(block)) is not None:
        return found @ model.loading[members], np.zeros((0, model.loading.shape[1]))
    values, vectors = np.linalg.eigh(block)
    fitted = values < _FITTED
    scale = np.where(fitted, 0.0, 1 / np.sqrt(np.where(fitted, 1.0, values)))
    loading = model.loading[members]
    turned = vectors.transpose(0, 2, 1) @ loading
    quiet = _absorbed(vectors, loading, model.root[members])[fitted]
    return vectors @ (scale[:, :, None] * turned), quiet


def _inverse_root_of_pairs(block: FloatArray) -> FloatArray | None:
    """Symmetric inverse roots in closed form, ``(adj(V) + r I) / (r sqrt(tr V + 2 r))``, r^2 = |V|.

    None where one of them is near singular.
    """
    a, b, c = block[:, 0, 0], block[:, 0, 1], block[:, 1, 1]
    square = a * c - b**2
    if (square < _NEAR * (a + c) ** 2).any():
        return None
    root = np.sqrt(square)
    entries = np.stack([c + root, -b, -b, a + root], axis=1) / root[:, None]
    entries /= np.sqrt(a + c + 2 * root)[:, None]
    inverse: FloatArray = entries.reshape(-1, 2, 2)
    return inverse


def _adjust_tall(model: WorkingModel, row: IntArray) -> tuple[FloatArray, FloatArray]:
    """A cluster with many rows: only the span of its factors is decomposed."""
    strata, codes = np.unique(model.stratum[row], return_inverse=True)
    n_shares = model.share_signs.size
    shares = np.zeros((row.size, strata.size, n_shares))
    shares[np.arange(row.size), codes] = model.shares[row]
    every = np.column_stack([shares.reshape(row.size, -1), model.factors[row]])
    signs = np.concatenate([np.tile(model.share_signs, strata.size), model.signs])
    span, small = np.linalg.qr(every)
    change, vectors = np.linalg.eigh((small * signs) @ small.T)
    fitted = 1 + change < _FITTED
    scale = np.where(fitted, 0.0, 1 / np.sqrt(np.where(fitted, 1.0, 1 + change)))
    directions = span @ vectors
    loading = model.loading[row]
    adjusted = loading + directions @ ((scale - 1)[:, None] * (directions.T @ loading))
    return adjusted, _absorbed(directions, loading, model.root[row])[fitted]


def _absorbed(vectors: FloatArray, loading: FloatArray, root: FloatArray) -> FloatArray:
    """What the effects change with outcomes in directions that the fit may absorb, ``v / root``."""
    scaled = vectors / root[..., None]
    scaled = scaled / np.linalg.norm(scaled, axis=-2, keepdims=True)
    found: FloatArray = np.swapaxes(scaled, -1, -2) @ (loading / root[..., None])
    return found


StdErrorKind = Literal["HC0", "HC1", "HC2", "HC3", "CR1", "CR1S", "CR2"]
DegreesOfFreedom = Literal["satterthwaite", "smaller-arm"]

_COUNTERPART: dict[str, StdErrorKind] = {"HC0": "CR1", "HC1": "CR1", "HC2": "CR2"}
POWER = {"HC2": 0.5, "HC3": 1.0, "CR2": 0.5}
# a loading this small, relative to the effect's, is rounding
_SILENT = 1e-7
# degrees of freedom of one are known up to this
_ROUNDED = 1e-6
# a variance this small, relative to that of outcomes as large as the largest, is rounding
_NO_VARIANCE = 1e-24


@dataclass(frozen=True, eq=False)
class Precision(Record):
    """Covariance of the effects, and the degrees of freedom of any combination of them."""

    cov: FloatArray  # (n_effects, n_effects): Covariance of the effects.
    # Degrees of freedom of every combination; None where they are Satterthwaite's.
    fixed_df: float | None
    model: (
        WorkingModel | SeparateArms | None
    )  # What Satterthwaite's degrees of freedom are computed from.
    # (n_directions, n_effects): Directions without a residual; see `Influence`.
    silent: FloatArray
    floor: FloatArray  # (n_effects,): Standard errors not above this are rounding.
    # (1 + n_effects,): Units or clusters of the control and of each arm, where degrees of freedom
    # are at most those of the smallest arm compared.
    arm_groups: FloatArray | None = None

    def variance(self, weights: FloatArray) -> float:
        """Variance of a combination of the effects."""
        return float(weights @ self.cov @ weights)

    def df(self, weights: FloatArray) -> float:
        """Degrees of freedom of the standard error of a combination of the effects."""
        found = float(self.fixed_df or np.inf)
        if self.fixed_df is None and self.model is not None:
            found = self.model.degrees_of_freedom(weights)
        if self.arm_groups is None:
            return found
        of_arms = np.concatenate([[-weights.sum()], weights])
        compared = np.abs(of_arms) > _SILENT * np.abs(weights).max()
        return min(found, float(self.arm_groups[compared].min()) - 1)

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


def check_working_model(working_model: object, df: object) -> None:
    """Refuse names of working models and of degrees of freedom that are not known."""
    for name, value, known in (
        ("working_model", working_model, get_args(WorkingModelName)),
        ("df", df, get_args(DegreesOfFreedom)),
    ):
        if value not in known:
            raise InputError(f"{name}: found {value!r}; needed {' or '.join(map(repr, known))}")


def corrected(
    rows: Rows, fit: Fit, kind: StdErrorKind, working_model: WorkingModelName
) -> Influence:
    """Loadings of the effects, corrected as the kind of standard error has it."""
    if kind.startswith("CR") and (rows.n_clusters or 0) < 2:
        raise EstimationError(
            "cluster: found a single cluster; needed two or more in each arm; give the groups that "
            "were randomized, or cluster=None where units were randomized one by one"
        )
    return influence(working_model_of(rows, fit, kind, working_model), POWER.get(kind, 0.0))


def precision(
    rows: Rows,
    fit: Fit,
    kind: StdErrorKind,
    found: Influence,
    df: DegreesOfFreedom = "satterthwaite",
) -> Precision:
    """Covariance of the effects, from corrected loadings.

    Notes
    -----
    With loadings ``Z`` and residuals ``e``: over units,
    ``V = c sum_i z_i z_i' e_i^2 v_i^(-2a)`` with ``a = 0`` (HC0, HC1), 1/2 (HC2), 1 (HC3), v_i the
    variance of the residual under the working model (``1 - h_i`` without weights, and in HC3) and
    ``c = n / (n - k)`` for HC1, else 1. Over clusters, ``V = c sum_g Z_g'A_g e_g e_g'A_g Z_g`` with
    ``A_g = I`` and ``c = G / (G - 1) (n - 1) / (n - k)`` (CR1, CR1S), or ``A_g = V_gg^(-1/2)`` and
    ``c = 1`` (CR2). Leverages hold the strata effects. ``k`` counts strata effects in HC1 and
    CR1S; in CR1 it counts the intercept in their place.

    References
    ----------
    MacKinnon and White (1985); Bell and McCaffrey (2002); Cameron and Miller (2015), equation
    12; Pustejovsky and Tipton (2018), equations 5 to 7.
    """
    satterthwaite = kind in {"HC2", "CR2"}
    return Precision(
        cov=small_sample_factor(rows, kind) * _meat(rows, fit, found.model),
        fixed_df=None if satterthwaite else fixed_df(rows, kind),
        model=found.model if satterthwaite else None,
        silent=silent_directions(found.silent, _arm_groups(rows)),
        floor=floor_of(rows.outcome, np.linalg.norm(fit.loading, axis=0)),
        arm_groups=_arm_groups(rows) if df == "smaller-arm" else None,
    )


def working_model_of(
    rows: Rows, fit: Fit, kind: StdErrorKind, name: WorkingModelName
) -> WorkingModel:
    """The working model that a kind of standard error uses."""
    return WorkingModel.of(rows, fit, name if kind in {"HC2", "CR2"} else "inverse-weights")


def _meat(rows: Rows, fit: Fit, model: WorkingModel) -> FloatArray:
    """Sum over groups of the outer product of ``Z_g'A_g e_g``, shape (n_effects, n_effects)."""
    loading = model.loading
    if rows.cluster is None:
        like: FloatArray = loading.T @ (loading * _squares(rows, fit, model)[:, None])
        return like
    scores = group_scores(rows, model, loading, fit.residual)
    meat: FloatArray = scores.T @ scores
    return meat


def _squares(rows: Rows, fit: Fit, model: WorkingModel) -> FloatArray:
    """Squared residuals of the groups that a row stands for, summed; in units of variance 1."""
    squares: FloatArray = (rows.within + fit.residual**2) / model.root**2
    return squares


def _starts(cluster: IntArray) -> IntArray:
    """The first row of each cluster."""
    return np.flatnonzero(np.diff(cluster, prepend=-1))


def group_scores(
    rows: Rows, model: WorkingModel, loading: FloatArray, residual: FloatArray
) -> FloatArray:
    """Sums of loadings times residuals by group, where every row stands for one at most."""
    scores = loading * (residual / model.root)[:, None]
    if rows.cluster is None:
        return scores
    summed: FloatArray = np.add.reduceat(scores, _starts(rows.cluster), axis=0)
    return summed


class Size(Protocol):
    """Totals of a regression; the intercept counts as a stratum."""

    @property
    def n_units(self) -> int:
        """Units."""

    @property
    def n_clusters(self) -> int | None:
        """Clusters, where there are any."""

    @property
    def n_strata(self) -> int:
        """Strata."""

    @property
    def rank_full(self) -> int:
        """Coefficients, strata effects counted."""


def small_sample_factor(rows: Size, kind: StdErrorKind) -> float:
    """Factor of the covariance; 1 where loadings are corrected."""
    if kind == "HC1":
        return rows.n_units / (rows.n_units - rows.rank_full)
    if kind not in {"CR1", "CR1S"} or rows.n_clusters is None:
        return 1.0
    rank = rows.rank_full if kind == "CR1S" else rows.rank_full - rows.n_strata + 1
    clusters = rows.n_clusters
    return clusters / (clusters - 1) * (rows.n_units - 1) / (rows.n_units - rank)


def fixed_df(rows: Size, kind: StdErrorKind) -> float:
    """Degrees of freedom of kinds without Satterthwaite's."""
    if kind.startswith("CR") and rows.n_clusters is not None:
        return float(rows.n_clusters - 1)
    return float(rows.n_units - rows.rank_full)


def _arms(rows: Rows) -> BoolArray:
    """Whether each row is of the control, then of each arm; (n_rows, 1 + n_effects)."""
    effects = rows.x[:, : rows.n_effects] == 1
    return np.column_stack([~effects.any(axis=1), effects])


def _arm_groups(rows: Rows) -> FloatArray:
    return np.array([_n_groups(rows, member) for member in _arms(rows).T])


def silent_directions(silent: FloatArray, arm_groups: FloatArray) -> FloatArray:
    """Silent directions, with one for each arm that has a single unit or cluster."""
    # the control's loading in an effect is minus that of all arms together
    n_effects = arm_groups.size - 1
    directions = np.vstack([np.ones(n_effects), np.eye(n_effects)])
    return np.vstack([silent, directions[arm_groups < 2]])


def _n_groups(rows: Rows, member: BoolArray) -> float:
    if rows.cluster is None:
        return float(rows.copies[member].sum())
    return float(np.unique(rows.cluster[member]).size)


def floor_of(outcome: FloatArray, norms: FloatArray) -> FloatArray:
    """Standard errors of rounding, by the norm of each effect's loadings."""
    floor: FloatArray = np.sqrt(_NO_VARIANCE) * float(np.abs(outcome).max()) * norms
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


def arm_means(sample: Sample, kind: StdErrorKind, working_model: WorkingModelName) -> ArmMeans:
    """Mean outcome by arm: the regression on arm indicators alone, each arm a stratum of its own.

    Notes
    -----
    Residuals of different arms have no covariance, so that a cluster's units in each arm are a
    group of their own. Under HC2 without weights the variance is ``s^2 / n``.
    """
    codes, n_present = compress(sample.arm)
    if kind == "HC2" and sample.weights is None:
        return _of_arms(sample, *_usual_means(codes, sample.outcome))
    none = dict.fromkeys(sample.arms, NotEstimable("not compared"))
    alone = replace(
        sample,
        strata=codes,
        cluster=None if sample.cluster is None else renumber(sample.cluster * n_present + codes)[0],
        covariates=None,
        covariate_names=(),
        not_estimable=none,
    )
    rows = collapse(alone, interact=False)
    if sample.cluster is not None:
        rows = replace(rows, n_clusters=int(sample.cluster.max()) + 1)
    arm, total = rows.stratum, rows.stratum_weight
    mean = group_sum(arm, rows.root**2 * rows.outcome, n_present) / total
    loading = (rows.root / total[arm])[:, None]  # of each row in its own arm
    if rows.cluster is not None:
        loading = loading * (arm[:, None] == np.arange(n_present))
    fit = Fit(
        effects=mean,
        basis=rows.x,
        loading=loading,
        residual=scaled_deviations(rows, rows.outcome[:, None])[:, 0],
    )
    found = influence(working_model_of(rows, fit, kind, working_model), POWER.get(kind, 0.0))
    model = replace(found.model, loading=found.model.loading.sum(axis=1)[:, None])
    first = np.arange(arm.size) if rows.cluster is None else _starts(rows.cluster)
    n_groups = group_sum(arm[first], rows.copies[first])
    if rows.cluster is None:
        variance = group_sum(arm, _squares(rows, fit, model) * model.loading[:, 0] ** 2)
        silent = np.bincount(arm[1 + model.taken < _FITTED], minlength=n_present) > 0
    else:
        scores = group_scores(rows, model, model.loading, fit.residual)[:, 0]
        variance = group_sum(arm[first], scores**2)
        silent = np.abs(found.silent).max(axis=0, initial=0.0) > _SILENT
    variance = small_sample_factor(rows, "CR1S" if kind == "CR1" else kind) * variance
    usable = (variance > _NO_VARIANCE * mean**2) & (n_groups > 1) & ~silent
    df = np.full(n_present, fixed_df(rows, kind))
    if kind in {"HC2", "CR2"}:
        df = _df_of_means(model, usable)
    return _of_arms(sample, mean, np.where(usable & ~np.isnan(df), variance, np.nan), df)


def _usual_means(codes: IntArray, outcome: FloatArray) -> tuple[FloatArray, ...]:
    """Means by arm, ``s^2 / n`` and ``n - 1``."""
    counts = np.bincount(codes).astype(np.float64)
    mean = group_sum(codes, outcome) / counts
    gap = outcome - mean[codes]
    gap -= (group_sum(codes, gap) / counts)[codes]  # means were rounded
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = group_sum(codes, gap**2) / (counts * (counts - 1))
    variance[~(variance > _NO_VARIANCE * mean**2)] = np.nan
    return mean, variance, counts - 1


def _of_arms(sample: Sample, mean: FloatArray, variance: FloatArray, df: FloatArray) -> ArmMeans:
    """Means of the arms that have units, among all; without a variance there is no error."""
    every = np.full((3, len(sample.arms)), np.nan)
    every[:, np.flatnonzero(sample.counts)] = (
        mean,
        np.sqrt(variance),
        np.where(np.isnan(variance), np.nan, df),
    )
    return ArmMeans(*every)


def _df_of_means(model: WorkingModel, usable: BoolArray) -> FloatArray:
    """Satterthwaite degrees of freedom of each arm's mean; not-a-number where it has none."""
    q, arm = model.loading[:, 0], model.stratum
    d, v = q**2, q[:, None] * model.shares
    if model.cluster is not None:
        starts = _starts(model.cluster)
        d, v, arm = np.add.reduceat(d, starts), np.add.reduceat(v, starts, axis=0), arm[starts]
    copies = model.copies[: d.size]  # 1 each where groups are several rows
    own = v**2 @ model.share_signs
    mean = group_sum(arm, copies * (d + own))
    square = group_sum(arm, copies * (d**2 + 2 * d * own))
    for t_a, a in zip(model.share_signs, v.T, strict=True):
        for t_b, b in zip(model.share_signs, v.T, strict=True):
            square += t_a * t_b * group_sum(arm, copies * a * b) ** 2
    seen = usable & (square > 0)
    found: FloatArray = np.divide(mean**2, square, out=np.full(usable.size, np.nan), where=seen)
    found[found < 1 - _ROUNDED] = np.nan  # one at least, unless rounding is all that is left
    return found
