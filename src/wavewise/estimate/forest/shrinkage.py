"""Loss of predicted effects on units out of bag, and shrinkage towards the average effects.

With known propensities e and an outcome less its mean given covariates, the loss of effects tau is

    L(tau) = mean_i (y_i - m(x_i) - sum_k (1{A_i = k} - e_k(x_i)) tau_k(x_i))^2

(Nie and Wager 2021, eq. 4, for several arms). Effects are shrunk part by part: what all arms share,
what each adds to it, and for ordered pairs the first message, the second, and the pair itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavewise.shared.results import FloatArray, IntArray

__all__ = ["Shrinkage", "arm_loss", "average_effects", "fit_shrinkage", "parts_of_arms", "product"]

_SWEEPS = 200
_ROWS = 2048
_ONE_SIDED = 1.645


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """Effects as average plus shrunk deviations: ate + (tau - centre) keep."""

    # ate, centre: (n_effects,): Average effects; mean of the forest's effects.
    ate: FloatArray
    centre: FloatArray
    # keep, keep_error: (n_effects, n_effects): Sum over parts of the share kept times the
    # projection on the part; the same with the root of the largest share that the data do not
    # rule out, for standard errors.
    keep: FloatArray
    keep_error: FloatArray
    parts: dict[str, float]  # Share of each part's deviations that is kept, in [0, 1].
    # loss, loss_of_averages: Mean squared residual with the shrunk effects, and with the average
    # effects alone.
    loss: float
    loss_of_averages: float

    def effects(self, tau: FloatArray) -> FloatArray:
        """Shrunk effects, (n_units, n_effects)."""
        return self.ate + product(tau - self.centre, self.keep)


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Matrix product with sums in a fixed order, which a threaded library does not promise."""
    out = np.zeros((left.shape[0], right.shape[1]))
    for first in range(0, left.shape[0], _ROWS):  # few rows at once stay in fast memory
        rows, sums = left[first : first + _ROWS], out[first : first + _ROWS]
        for k in range(right.shape[0]):
            sums += rows[:, k : k + 1] * right[k]
    return out


def average_effects(
    outcome: FloatArray, weight: FloatArray, arm: IntArray, n_arms: int
) -> FloatArray:
    """Weighted mean outcome of each arm less the control's, (n_arms - 1,)."""
    total = np.bincount(arm, weights=weight, minlength=n_arms)
    means = np.bincount(arm, weights=weight * outcome, minlength=n_arms) / total
    return np.asarray(means[1:] - means[0], dtype=np.float64)


def parts_of_arms(factor: IntArray | None, n_effects: int) -> dict[str, FloatArray]:
    """Projections that split deviations into parts; they sum to the identity."""
    spans = {"all arms": np.ones((n_effects, 1))}
    if factor is not None:
        for name, row in (("first message", factor[0, 1:]), ("second message", factor[1, 1:])):
            spans[name] = (row[:, None] == np.unique(row)).astype(np.float64)
    spans["each pair" if factor is not None else "each arm"] = np.eye(n_effects)
    parts, before = {}, np.zeros((n_effects, n_effects))
    for name, span in spans.items():
        new = _orthonormal(span - product(before, span))
        if new.shape[1]:
            parts[name] = product(new, new.T)
            before = before + parts[name]
    return parts


def _orthonormal(span: FloatArray) -> FloatArray:
    """Orthonormal basis of the columns, by Gram and Schmidt twice over."""
    basis: list[FloatArray] = []
    for column in span.T:
        left = column.astype(np.float64)
        for _ in range(2):
            for known in basis:
                left = left - float((known * left).sum()) * known
        size = float(np.sqrt((left**2).sum()))
        if size > 1e-9:
            basis.append(left / size)
    return np.stack(basis, axis=1) if basis else np.empty((span.shape[0], 0))


def residuals(
    tau: FloatArray, outcome: FloatArray, arm: IntArray, propensity: FloatArray
) -> FloatArray:
    """What is left of each unit's outcome: y - m - sum_k (1{A = k} - e_k) tau_k."""
    return outcome - _regressor(tau, arm, propensity)


def arm_loss(tau: FloatArray, outcome: FloatArray, arm: IntArray, propensity: FloatArray) -> float:
    """The loss of effects tau: smaller is better."""
    return float((residuals(tau, outcome, arm, propensity) ** 2).mean())


def fit_shrinkage(
    tau: FloatArray,
    outcome: FloatArray,
    arm: IntArray,
    propensity: FloatArray,
    ate: FloatArray,
    parts: dict[str, FloatArray],
    *,
    fixed: Sequence[float] | None = None,
) -> Shrinkage:
    """Shares of the deviations to keep, each in [0, 1], with the least loss out of bag."""
    centre = tau.mean(axis=0)
    deviation = tau - centre
    target = residuals(np.broadcast_to(ate, tau.shape), outcome, arm, propensity)
    z = np.stack(
        [_regressor(product(deviation, part), arm, propensity) for part in parts.values()], axis=1
    )
    shares = _bounded_least_squares(z, target) if fixed is None else np.asarray(fixed, np.float64)
    rest = target - product(z, shares[:, None])[:, 0]
    highest = shares if fixed is not None else _upper_shares(shares, z, rest)
    return Shrinkage(
        ate=ate,
        centre=centre,
        keep=_mixture(shares, parts),
        keep_error=_mixture(np.sqrt(highest), parts),
        parts=dict(zip(parts, shares.tolist(), strict=True)),
        loss=float((rest**2).mean()),
        loss_of_averages=float((target**2).mean()),
    )


def _upper_shares(shares: FloatArray, z: FloatArray, rest: FloatArray) -> FloatArray:
    """Shares that the data do not rule out at 95 %, one-sided, at most 1.

    A share of 0 says that no difference was found, not that there is none.
    """
    sizes = (z**2).sum(axis=0)
    errors = np.sqrt((rest**2).mean() / np.where(sizes > 0, sizes, np.inf))
    upper: FloatArray = np.minimum(shares + _ONE_SIDED * errors, 1.0)
    return upper


def _mixture(shares: FloatArray, parts: dict[str, FloatArray]) -> FloatArray:
    """Projections on the parts, each times its share."""
    scaled = [share * part for share, part in zip(shares, parts.values(), strict=True)]
    return np.asarray(np.sum(scaled, axis=0), dtype=np.float64)


def _regressor(tau: FloatArray, arm: IntArray, propensity: FloatArray) -> FloatArray:
    """sum_k (1{A = k} - e_k) tau_k for each unit."""
    own = np.where(arm > 0, tau[np.arange(arm.size), np.maximum(arm - 1, 0)], 0.0)
    return np.asarray(own - (propensity[:, 1:] * tau).sum(axis=1), dtype=np.float64)


def _bounded_least_squares(z: FloatArray, target: FloatArray) -> FloatArray:
    """Coefficients b in [0, 1] with the least |target - z b|^2, by coordinates."""
    n = z.shape[1]
    gram = np.array([[(z[:, i] * z[:, j]).sum() for j in range(n)] for i in range(n)])
    moment = np.array([(z[:, i] * target).sum() for i in range(n)])
    b = np.zeros(n)
    for _ in range(_SWEEPS):
        for i in range(n):
            if gram[i, i] > 0:
                rest = moment[i] - float((gram[i] * b).sum()) + gram[i, i] * b[i]
                b[i] = min(max(rest / gram[i, i], 0.0), 1.0)
    return b
