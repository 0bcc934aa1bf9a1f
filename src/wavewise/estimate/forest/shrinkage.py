"""Loss of predicted effects on units out of bag, and shrinkage towards the average effects.

With known propensities e and an outcome less its mean given covariates, the loss of effects tau is

    L(tau) = mean_i (y_i - m(x_i) - sum_k (1{A_i = k} - e_k(x_i)) tau_k(x_i))^2

(Nie and Wager 2021, eq. 4, for several arms). Effects are shrunk part by part: what all arms share,
what each adds to it, and for ordered pairs the first message, the second, and the pair itself.

Whatever meets unit i's outcome in the loss leaves unit i out: its trees, and the averages too. With
averages of all units, i's outcome would lift its own arm's average and not its own prediction, and
where effects do not differ the share with the least loss would lie below 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from wavewise.shared.results import FloatArray, IntArray

if TYPE_CHECKING:
    from wavewise.estimate.forest.engine import Units

__all__ = [
    "Averages",
    "Shrinkage",
    "average_effects",
    "fit_shrinkage",
    "parts_of_arms",
    "posterior_shares",
    "product",
    "shrunk_averages",
]

_SWEEPS = 200
_ROWS = 2048
_ONE_SIDED = 1.645
_MOST_SPREAD, _GRID = 6.0, 600  # of the prior for the spread of averages, in standard errors


@dataclass(frozen=True, eq=False)
class Averages:
    """Average effects, raw and as rules use them."""

    ate: FloatArray  # (n_effects,): Weighted mean outcome of each arm less the control's.
    # (n_units, n_effects): What leaving the unit (its cluster) out would add to `ate`.
    change: FloatArray
    covariance: FloatArray  # (n_effects, n_effects): Of the arms' means, the control's left out.


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """Effects as average plus shrunk deviations: averages + (tau - centre) keep."""

    # ate, centre: (n_effects,): Average effects; mean of the forest's effects.
    ate: FloatArray
    centre: FloatArray
    # keep, keep_error: (n_effects, n_effects): Sum over parts of the share kept times the
    # projection on the part; the same with the root of the largest share that the data do not
    # rule out, for standard errors.
    keep: FloatArray
    keep_error: FloatArray
    averages: FloatArray  # (n_effects,): Average effects shrunk towards their mean over arms.
    parts: dict[str, float]  # Share of each part's deviations that is kept, in [0, 1].
    # The share with the least loss, without bounds, and its standard error.
    fitted: dict[str, tuple[float, float]]
    # loss, loss_of_averages: Mean squared residual with the shrunk effects, and with the average
    # effects alone.
    loss: float
    loss_of_averages: float

    def effects(self, tau: FloatArray, change: FloatArray | float = 0.0) -> FloatArray:
        """Shrunk effects, (n_units, n_effects); out of bag around a centre without the unit."""
        return self.averages + product(tau - self.centre - change, self.keep)


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Matrix product with sums in a fixed order, which a threaded library does not promise."""
    out = np.zeros((left.shape[0], right.shape[1]))
    for first in range(0, left.shape[0], _ROWS):  # few rows at once stay in fast memory
        rows, sums = left[first : first + _ROWS], out[first : first + _ROWS]
        for k in range(right.shape[0]):
            sums += rows[:, k : k + 1] * right[k]
    return out


def average_effects(units: "Units") -> Averages:
    """Average effects with what each unit, or its cluster, adds to them."""
    n_parts, weight = int(units.part.max()) + 1, units.weight
    means, changes, scores = np.empty(units.n_arms), [], []
    for a in range(units.n_arms):
        own = np.flatnonzero(units.arm == a)
        total = float(weight[own].sum())
        means[a] = float((weight[own] * units.outcome[own]).sum()) / total
        gap = weight[own] * (units.outcome[own] - means[a])
        sums = np.bincount(units.part[own], weights=gap, minlength=n_parts)
        held = np.bincount(units.part[own], weights=weight[own], minlength=n_parts)
        changes.append(-sums / np.maximum(total - held, 1e-300))
        n_held = int((held > 0).sum())
        scores.append(sums / total * np.sqrt(n_held / (n_held - 1)))
    change = np.stack([(part - changes[0])[units.part] for part in changes[1:]], axis=1)
    several = n_parts < units.n_units  # a cluster may hold several arms
    covariance = np.array(
        [[float((a * b).sum()) if several or a is b else 0.0 for b in scores] for a in scores]
    )
    return Averages(means[1:] - means[0], change, covariance[1:, 1:])


def shrunk_averages(averages: Averages, parts: dict[str, FloatArray]) -> FloatArray:
    """The linear map from average effects to their empirical-Bayes form, (n_effects, n_effects).

    With averages y = mean + theta + e, cov(e) = V, theta = U b, b ~ N(0, t^2), and a flat prior for
    the mean: E[y - e | y, t] = y - V U (t^2 + U' V U)^-1 U' y, averaged over the posterior of t,
    which is uniform on 0 to 6 standard errors before. What all arms share is not shrunk.
    """
    keep = np.eye(averages.ate.size)
    for projection in list(parts.values())[1:]:
        span = _orthonormal(projection)
        level, axes = np.linalg.eigh(product(product(span.T, averages.covariance), span))
        if not level.mean() > 0:
            continue
        axes = product(span, axes)
        level = np.maximum(level, 1e-9 * level.mean())
        spread = _MOST_SPREAD * np.sqrt(level.mean()) * (np.arange(_GRID) + 0.5) / _GRID
        total = spread[:, None] ** 2 + level
        found = product(averages.ate[None], axes)[0]
        log = -0.5 * (np.log(total) + found**2 / total).sum(axis=1)
        chance = np.exp(log - log.max())
        inverse = (chance[:, None] / total).sum(axis=0) / chance.sum()
        keep -= product(product(averages.covariance, axes) * inverse, axes.T)
    return keep


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


def fit_shrinkage(
    tau: FloatArray,
    units: "Units",
    propensity: FloatArray,
    parts: dict[str, FloatArray],
    *,
    fixed: Sequence[float] | None = None,
) -> Shrinkage:
    """Shares of the deviations to keep, each in [0, 1]: their mean given the loss out of bag."""
    averages = average_effects(units)
    centre, arm = tau.mean(axis=0), units.arm
    deviation = tau - centre - averages.change
    shrink = np.eye(centre.size) if fixed is not None else shrunk_averages(averages, parts)
    without = product(averages.ate + averages.change, shrink.T)
    target = units.outcome - _regressor(without, arm, propensity)
    z = np.stack(
        [_regressor(product(deviation, part), arm, propensity) for part in parts.values()], axis=1
    )
    fit, errors, shares = posterior_shares(z, target, units.part)
    if fixed is not None:
        shares = highest = np.asarray(fixed, np.float64)
    else:  # a share of 0 says that no difference was found, not that there is none
        highest = np.clip(np.maximum(np.maximum(fit, 0.0) + _ONE_SIDED * errors, shares), 0.0, 1.0)
    rest = target - product(z, shares[:, None])[:, 0]
    return Shrinkage(
        ate=averages.ate,
        centre=centre,
        keep=_mixture(shares, parts),
        keep_error=_mixture(np.sqrt(highest), parts),
        averages=product(averages.ate[None], shrink.T)[0],
        parts=dict(zip(parts, shares.tolist(), strict=True)),
        fitted=dict(zip(parts, zip(fit.tolist(), errors.tolist(), strict=True), strict=True)),
        loss=float((rest**2).mean()),
        loss_of_averages=float((target**2).mean()),
    )


def _mixture(shares: FloatArray, parts: dict[str, FloatArray]) -> FloatArray:
    """Projections on the parts, each times its share."""
    scaled = [share * part for share, part in zip(shares, parts.values(), strict=True)]
    return np.asarray(np.sum(scaled, axis=0), dtype=np.float64)


def _regressor(tau: FloatArray, arm: IntArray, propensity: FloatArray) -> FloatArray:
    """sum_k (1{A = k} - e_k) tau_k for each unit."""
    own = np.where(arm > 0, tau[np.arange(arm.size), np.maximum(arm - 1, 0)], 0.0)
    return np.asarray(own - (propensity[:, 1:] * tau).sum(axis=1), dtype=np.float64)


def posterior_shares(
    z: FloatArray, target: FloatArray, part: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least-squares coefficients, their standard errors, and their means on [0, 1].

    The likelihood is normal with the errors summed by cluster, the prior uniform. Coordinates take
    turns, each given the means of the others: exact where the parts' regressors are orthogonal.
    """
    n, unit = z.shape[1], float(np.abs(target).max())
    z, target = z / unit, target / unit  # fourth powers of outcomes stay within floating point
    gram = np.array([[(z[:, i] * z[:, j]).sum() for j in range(n)] for i in range(n)])
    moment = np.array([(z[:, i] * target).sum() for i in range(n)])
    size = np.diag(gram)
    known = size > 0
    fit, mean, errors = np.zeros(n), np.full(n, 0.5), np.full(n, np.inf)
    fit[known] = np.linalg.lstsq(gram[np.ix_(known, known)], moment[known], rcond=None)[0]
    rest = target - product(z, fit[:, None])[:, 0]
    for i in np.flatnonzero(known):
        errors[i] = np.sqrt((np.bincount(part, weights=z[:, i] * rest) ** 2).sum()) / size[i]
    for _ in range(_SWEEPS):
        for i in np.flatnonzero(known):
            others = float((gram[i] * mean).sum()) - size[i] * mean[i]
            mean[i] = _mean_between(float((moment[i] - others) / size[i]), errors[i])
    return fit, errors, mean


def _mean_between(centre: float, error: float) -> float:
    """Mean of a normal given that it lies in [0, 1]."""
    if centre > 0.5:
        return 1.0 - _mean_between(1.0 - centre, error)
    if error > 1e3 or not error > 0:  # flat, or a point
        return 0.5 if error > 0 else max(centre, 0.0)
    low, high = -centre / error, (1.0 - centre) / error
    if low < -30.0:  # both ends are far: nothing is cut off
        return centre
    # densities and tails, both divided by the density at 0, so that neither vanishes
    fall = np.exp(-(1.0 - 2.0 * centre) / (2.0 * error**2))
    root = np.sqrt(0.5)
    tails = special.erfcx(low * root) - fall * special.erfcx(high * root)
    return float(centre + error * np.sqrt(2.0 / np.pi) * (1.0 - fall) / tails)
