"""Sandwich variances of weighted estimators for small samples: leverage and Student's t."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavewise.estimate.labels import group_sum
from wavewise.results import BoolArray, FloatArray, IntArray

__all__ = ["SmallSample", "SmallSampleSandwich", "small_sample_sandwich"]

SmallSample = Literal["none", "hc2-t", "hc3-t"]

_FITTED = 1e-10  # a variance of residuals below this, relative to the outcome's, is rounding
_HEARD = 1e-9  # a loading below this, relative to the estimate's, is rounding


@dataclass(frozen=True, eq=False)
class SmallSampleSandwich:
    """Covariance of estimates, and Satterthwaite degrees of freedom of any combination of them.

    Parameters
    ----------
    cov : array of float, shape (n_columns, n_columns)
        Covariance of the coefficients.
    silent : array of bool, shape (n_columns,)
        Coefficients that rest on a unit or cluster which is fitted exactly: no variance is seen.
    """

    cov: FloatArray
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

    Parameters
    ----------
    design : array of float, shape (n_units, n_columns)
    weight, slope, residual : array of float, shape (n_units,)
        Weight of the score; derivative of the mean by the linear predictor, which is the variance
        up to a factor (1 for means); outcome less its fitted mean.
    groups : array of int, shape (n_units,), or None
        Groups without gaps whose units may be alike.
    kind : {"hc2-t", "hc3-t"}
        How much the correction undoes; see the notes.

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
