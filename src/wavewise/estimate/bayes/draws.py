"""Quantities of posterior draws, `(n_draws, n_arms)`, plain or weighted.

Every function takes optional `weights`, `(n_draws,)`, that need not sum to 1; without them the
draws count alike. Nothing here depends on the model that the draws are from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, Result, read_only

__all__ = ["DrawsContrast", "IntervalKind", "density_of_draws", "quantile"]

IntervalKind = Literal["hpd", "equal-tailed"]
KINDS = ("hpd", "equal-tailed")


def normalized(weights: FloatArray | None, n_draws: int) -> FloatArray:
    """Weights that sum to 1, (n_draws,); equal ones without `weights`."""
    if weights is None:
        return np.full(n_draws, 1.0 / n_draws)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (n_draws,):
        raise InputError(f"weights: found shape {array.shape}; needed ({n_draws},), one per draw")
    total = float(array.sum())
    if not np.isfinite(total) or total <= 0 or (array < 0).any():
        raise InputError("weights: found one that is negative or not finite, or none above 0")
    return array / total


def _averaged(share: FloatArray, values: FloatArray) -> FloatArray:
    """Weighted sum of each column, in an order that no number of threads changes."""
    return np.asarray(np.einsum("i,ij->j", share, values))


def mean(draws: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Posterior mean by arm, (n_arms,)."""
    return _averaged(normalized(weights, draws.shape[0]), draws)


def sd(draws: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Posterior standard deviation by arm, (n_arms,)."""
    centred = draws - mean(draws, weights)
    return np.sqrt(_averaged(normalized(weights, draws.shape[0]), centred**2))


def prob_optimal(
    draws: FloatArray, weights: FloatArray | None = None, shift: FloatArray | None = None
) -> FloatArray:
    """Posterior probability that the arm is best, (n_arms,); sums to 1.

    `shift`, (n_arms,), is a correction to add where one is known; it sums to 0.

    Notes
    -----
    The weight of the draws in which the arm's value is the largest. Arms that tie in a draw share
    its weight, so that arms which are the same in every draw get the same probability.
    """
    best = draws == draws.max(axis=1, keepdims=True)
    prob = _averaged(normalized(weights, draws.shape[0]), best / best.sum(1, keepdims=True))
    prob = prob if shift is None else np.maximum(prob + shift, 0.0)
    return np.asarray(prob / prob.sum())  # the weights sum to 1 but for rounding


def policy_regret(values: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """E[max_j value_j - value_k] by arm, (n_arms,): what choosing the arm is expected to lose."""
    loss = values.max(axis=1, keepdims=True) - values
    return _averaged(normalized(weights, values.shape[0]), loss)


def checked_prob(prob: float) -> float:
    """The probability of an interval, if it lies between 0 and 1."""
    if not 0 < prob < 1:
        raise InputError(f"prob: found {prob}; needed a probability between 0 and 1, such as 0.95")
    return float(prob)


def quantile(
    column: FloatArray, probs: Sequence[float] | FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Quantiles of one column of draws, as many as `probs`.

    Notes
    -----
    Linear between the draws, each at the middle of its own weight.
    """
    order = np.argsort(column, kind="stable")
    share = normalized(weights, column.size)[order]
    position = np.cumsum(share) - 0.5 * share
    return np.interp(np.asarray(probs, dtype=np.float64), position, column[order])


def equal_tailed(column: FloatArray, prob: float, weights: FloatArray | None = None) -> FloatArray:
    """Interval with equal probability below and above, (2,): lower, upper."""
    tail = (1 - prob) / 2
    return quantile(column, [tail, 1 - tail], weights)


def highest_density(
    column: FloatArray, prob: float, weights: FloatArray | None = None
) -> FloatArray:
    """Shortest interval that holds `prob` of the draws, (2,): lower, upper.

    Notes
    -----
    The interval of highest density where the density has one peak. Every candidate starts at a
    draw and ends where the weight reaches `prob`.
    """
    order = np.argsort(column, kind="stable")
    values = column[order]
    upto = np.concatenate([[0.0], np.cumsum(normalized(weights, column.size)[order])])
    n_starts = int(np.searchsorted(upto, upto[-1] - prob + 1e-12, side="right"))
    ends = np.searchsorted(upto, upto[:n_starts] + prob - 1e-12, side="left") - 1
    ends = np.minimum(ends, column.size - 1)
    shortest = int(np.argmin(values[ends] - values[:n_starts]))
    return np.array([values[shortest], values[ends[shortest]]])


# Quantiles are smoothed between these normal scores, and with this many draws or more.
_SCORES = np.linspace(-3.0, 3.0, 121)
_DEGREE, _LEAST_SMOOTHED = 7, 500
_SHARES_BELOW = np.linspace(0.02, 0.98, 193)  # of the tails together, tried for the shortest


def smooth_interval(
    column: FloatArray,
    prob: float,
    kind: IntervalKind,
    weights: FloatArray | None = None,
    reference: FloatArray | None = None,
) -> FloatArray:
    """Interval from a smoothed quantile function, (2,): lower, upper.

    Notes
    -----
    Ends taken from single draws move with the seed, those of highest density by a tenth of a
    standard deviation. Here the quantiles are a polynomial in the normal score, fitted to all
    draws at once. `reference`, (n_reference,), are values of more points of the distribution that
    the draws were weighted from: its quantiles take the draws' own noise away, ``F = F_reference +
    (F_weighted - F_draws)``. Of an interval of .984 or more, of few draws, or of ones
    that hardly vary, the ends are draws themselves.
    """
    low = (1 - prob) / 2
    few = column.size < _LEAST_SMOOTHED or np.unique(column[:_LEAST_SMOOTHED]).size < 100
    if few or ndtri(low) < _SCORES[0] + 0.6:
        plain = highest_density if kind == "hpd" else equal_tailed
        return plain(column, prob, weights)
    scale = np.polynomial.hermite_e.hermefit(
        _SCORES, _quantiles(column, ndtr(_SCORES), weights, reference), _DEGREE,
        w=np.exp(-(_SCORES**2) / 4),
    )  # fmt: skip

    def at(probs: FloatArray) -> FloatArray:
        return np.asarray(np.polynomial.hermite_e.hermeval(ndtri(probs), scale))

    if kind == "equal-tailed":
        return at(np.array([low, 1 - low]))
    below = (1 - prob) * _SHARES_BELOW
    below = below[(ndtri(below) > _SCORES[0]) & (ndtri(below + prob) < _SCORES[-1])]
    ends = np.stack([at(below), at(below + prob)])
    return np.asarray(ends[:, int(np.argmin(ends[1] - ends[0]))])


def _quantiles(
    column: FloatArray,
    probs: FloatArray,
    weights: FloatArray | None,
    reference: FloatArray | None,
) -> FloatArray:
    share = normalized(weights, column.size)
    if reference is None:
        return quantile(column, probs, share)
    values = np.concatenate([reference, column])
    mass = np.concatenate([
        np.full(reference.size, 1 / reference.size), share - 1 / column.size
    ])  # fmt: skip
    order = np.argsort(values, kind="stable")
    upto = np.maximum.accumulate(np.cumsum(mass[order]) - 0.5 / reference.size)
    ends: FloatArray = np.interp(probs, upto, values[order])
    return ends


def cred_int(
    draws: FloatArray,
    prob: float = 0.95,
    kind: IntervalKind = "hpd",
    weights: FloatArray | None = None,
    reference: FloatArray | None = None,
) -> FloatArray:
    """Credible interval of each column, (n_arms, 2): lower, upper; see `smooth_interval`."""
    if kind not in KINDS:
        raise InputError(f"kind: found {kind!r}; needed one of {', '.join(KINDS)}")
    level = checked_prob(prob)
    others = [None] * draws.shape[1] if reference is None else list(reference.T)
    return read_only(np.array([
        smooth_interval(column, level, kind, weights, other)
        for column, other in zip(draws.T, others, strict=True)
    ]))  # fmt: skip


@dataclass(frozen=True, eq=False)
class DrawsContrast(Result, kind="contrast of draws"):
    """Posterior of one arm's value minus another's, from draws."""

    # arm, against: Names.
    arm: str
    against: str
    # mean, sd: Posterior mean and standard deviation of the difference.
    mean: float
    sd: float
    prob_greater: float  # Posterior probability that the difference is above 0 (ties count half).
    draws: FloatArray  # (n_draws,): The difference in each draw.
    weights: FloatArray | None = None  # (n_draws,)
    reference: FloatArray | None = None  # (n_reference,): See `smooth_interval`.

    def cred_int(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> tuple[float, float]:
        """Credible interval of the difference: lower, upper."""
        more = None if self.reference is None else self.reference[:, None]
        bounds = cred_int(self.draws[:, None], prob, kind, self.weights, more)[0]
        return float(bounds[0]), float(bounds[1])

    def _facts(self) -> dict[str, Any]:
        return {
            "arm": self.arm,
            "against": self.against,
            "mean": self.mean,
            "sd": self.sd,
            "prob_greater": self.prob_greater,
            "cred_int": {"prob": 0.95, "kind": "hpd", "bounds": list(self.cred_int())},
        }


def contrast(
    draws: FloatArray,
    arms: Sequence[str],
    arm: str,
    against: str,
    weights: FloatArray | None = None,
    reference: FloatArray | None = None,
) -> DrawsContrast:
    """Posterior of one arm's value minus another's."""
    for name in (arm, against):
        if name not in arms:
            raise InputError(f"contrast: found {name!r}; needed one of {', '.join(arms)}")
    if arm == against:
        raise InputError(f"contrast: found arm {arm!r} against itself; needed two arms")
    at, other = list(arms).index(arm), list(arms).index(against)
    difference = draws[:, at] - draws[:, other]
    above = (difference > 0) + 0.5 * (difference == 0)
    share = normalized(weights, difference.size)
    return DrawsContrast(
        arm=arm,
        against=against,
        mean=float(mean(difference[:, None], weights)[0]),
        sd=float(sd(difference[:, None], weights)[0]),
        prob_greater=float((share * above).sum()),
        draws=read_only(difference),
        weights=weights,
        reference=None if reference is None else read_only(reference[:, at] - reference[:, other]),
    )


@dataclass(frozen=True)
class SummaryRow:
    """One arm's posterior in numbers."""

    arm: str
    mean: float
    sd: float
    low: float
    high: float
    prob_optimal: float
    policy_regret: float


def summary_rows(
    arms: Sequence[str],
    draws: FloatArray,
    *,
    best: FloatArray,
    regret: FloatArray,
    prob: float = 0.95,
    kind: IntervalKind = "hpd",
    weights: FloatArray | None = None,
) -> tuple[SummaryRow, ...]:
    """One row per arm: mean, sd, interval, probability of being best, policy regret."""
    bounds = cred_int(draws, prob, kind, weights)
    columns = (mean(draws, weights), sd(draws, weights), bounds[:, 0], bounds[:, 1], best, regret)
    numbers = np.column_stack(columns).tolist()
    return tuple(SummaryRow(name, *row) for name, row in zip(arms, numbers, strict=True))


# Posterior densities on a grid, from draws.

_REACH = 3.5  # of bandwidths beyond the draws that are shown
_TAIL = 0.0005
_CHUNK = 4_000_000


def density_of_draws(
    draws: FloatArray, weights: FloatArray | None = None, n_points: int = 161
) -> tuple[FloatArray, FloatArray]:
    """Density of each arm's draws, on a grid of its own.

    Notes
    -----
    A Gaussian kernel with the bandwidth h = 0.9 min(sd, IQR / 1.349) n^(-1/5), where n is the
    number of draws, or with weights the equally good number 1 / sum w^2. The estimate is wider than
    the density by h: with 1,000 draws its standard deviation is 2.5% too large. Intervals and
    medians are taken from the draws, never from it.

    References
    ----------
    Silverman (1986), *Density Estimation*, equation (3.31).

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(2.0, 3.0, (4_000, 1))
    >>> grid, density = density_of_draws(draws)
    >>> float(np.round(grid[density[:, 0].argmax(), 0]))
    2.0
    """
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or n_points < 2:
        raise InputError(
            f"draws: found shape {values.shape} and {n_points} points; needed (n_draws, n_arms) "
            "with two draws or more, and two points or more"
        )
    w = normalized(weights, values.shape[0])
    columns = [_one(values[:, k], w, n_points) for k in range(values.shape[1])]
    return np.stack([c[0] for c in columns], axis=1), np.stack([c[1] for c in columns], axis=1)


def _one(x: FloatArray, w: FloatArray, n_points: int) -> tuple[FloatArray, FloatArray]:
    low, q1, q3, high = quantile(x, [_TAIL, 0.25, 0.75, 1 - _TAIL], w)
    sd = float(np.sqrt(w @ (x - w @ x) ** 2))
    spread = min(sd, (q3 - q1) / 1.349) or sd
    if not spread > 0:
        raise InputError("draws: found an arm whose draws are all the same; needed a density")
    h = 0.9 * spread * float(1 / (w @ w)) ** -0.2
    grid = np.linspace(low - _REACH * h, high + _REACH * h, n_points)
    density = np.empty(n_points)
    step = max(_CHUNK // x.size, 1)
    for a in range(0, n_points, step):
        z = (grid[a : a + step, None] - x) / h
        density[a : a + step] = (np.exp(-0.5 * z * z) * w).sum(axis=1)
    return grid, density / (h * np.sqrt(2 * np.pi))
