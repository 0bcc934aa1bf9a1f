"""Success probabilities of arms in strata that inform each other: beta-binomial, partly pooled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.shared.labels import label_text
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, hash_arrays, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PooledBeta", "StratumPosterior", "pooled_beta_binomial"]


@dataclass(frozen=True, eq=False)
class StratumPosterior:
    """The arms' posterior in one stratum, as decisions take it."""

    arms: tuple[str, ...]
    mean: FloatArray  # (n_arms,)
    log_prob_optimal: FloatArray  # (n_arms,)
    policy_regret: FloatArray  # (n_arms,)

    @property
    def prob_optimal(self) -> FloatArray:
        """Probability that the arm is best in the stratum, (n_arms,)."""
        return read_only(np.exp(self.log_prob_optimal))

    @property
    def success_prob(self) -> FloatArray:
        """Posterior mean of the success probability, (n_arms,); the same as `mean`."""
        return self.mean


@dataclass(frozen=True, eq=False)
class PooledBeta(Result, kind="pooled beta-binomial posterior"):
    """Posterior of each arm's success probability in each stratum.

    Parameters
    ----------
    strata : (n_strata,) tuple of str
    arms : (n_arms,) tuple of str
    successes, trials : (n_strata, n_arms) array of int
        What was observed.
    mean, sd : (n_strata, n_arms) array of float
        Posterior mean and standard deviation of the success probability.
    log_prob_optimal : (n_strata, n_arms) array of float
        Log probability that the arm is best in the stratum.
    policy_regret : (n_strata, n_arms) array of float
        What choosing the arm in the stratum is expected to lose there.
    level : (n_arms,) array of float
        Posterior mean of the arm's mean over strata.
    spread : (n_arms,) array of float
        Posterior mean of its standard deviation over strata.
    provenance : Provenance
    """

    strata: tuple[str, ...]
    arms: tuple[str, ...]
    successes: IntArray
    trials: IntArray
    mean: FloatArray
    sd: FloatArray
    log_prob_optimal: FloatArray
    policy_regret: FloatArray
    level: FloatArray
    spread: FloatArray
    provenance: Provenance

    @property
    def prob_optimal(self) -> FloatArray:
        """Probability that the arm is best in the stratum, (n_strata, n_arms); rows sum to 1."""
        return read_only(np.exp(self.log_prob_optimal))

    def stratum(self, name: str) -> StratumPosterior:
        """The posterior in one stratum, for `ww.decide.next_shares` and `ww.decide.best_arm`.

        Raises
        ------
        InputError
            A name that is not a stratum.
        """
        if name not in self.strata:
            raise InputError(f"stratum: found {name!r}; needed one of {', '.join(self.strata)}")
        row = self.strata.index(name)
        return StratumPosterior(
            self.arms, self.mean[row], self.log_prob_optimal[row], self.policy_regret[row]
        )

    def _frame(self) -> "pl.DataFrame":
        """One row per stratum and arm."""
        import polars as pl

        n_strata, n_arms = self.mean.shape
        columns = ("successes", "trials", "mean", "sd", "prob_optimal", "policy_regret")
        return pl.DataFrame(
            {
                "stratum": np.repeat(self.strata, n_arms).tolist(),
                "arm": list(self.arms) * n_strata,
                **{name: getattr(self, name).ravel() for name in columns},
            }
        )

    def summary(self) -> str:
        """Tables of the strata, and what is assumed."""
        assumed = (
            "Assumed: an arm's success probabilities in the strata come from one beta "
            "distribution, another for each arm; trials independent within arm and stratum."
        )
        return "\n".join([super().summary(), "", assumed])


def pooled_beta_binomial(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    arms: Sequence[Any] | None = None,
    strata: Sequence[Any] | None = None,
) -> PooledBeta:
    """Posterior of each arm's success probability in each stratum, strata partly pooled.

    Parameters
    ----------
    successes, trials : (n_strata, n_arms) array of int
        Successes out of trials. A cell without trials is known from the arm's other strata only.
    arms, strata : sequence of labels, optional
        Their names; by default numbers.

    Returns
    -------
    PooledBeta

    Raises
    ------
    InputError
        Counts that are not whole numbers with 0 <= successes <= trials, or fewer than two arms.

    Notes
    -----
    For arm k and stratum x::

        y_xk ~ Binomial(n_xk, theta_xk),   theta_xk ~ Beta(m_k c_k, (1 - m_k) c_k)

    with m_k uniform on (0, 1) and (1 + c_k)^(-1/2) uniform on (0, 1): the latter is the standard
    deviation of theta over strata relative to the largest that a mean of m_k allows. The prior is
    proper, so that every table has a posterior. Arms are independent. (m, c) is integrated out on
    a grid that is moved to the posterior; the probability of being best and the regret are
    integrals over success probabilities by Gauss collocation; nothing is drawn.

    A stratum with much data keeps its own rate, one with little is drawn to the arm's mean. It is
    wrong where strata differ by something that is known, such as a trend with age.

    References
    ----------
    Gelman and others (2013), *Bayesian Data Analysis*, section 5.3. Caria, Gordon, Kasy, Quinn,
    Shami and Teytelboym (2020), CESifo working paper 8535, section 4 (the model, for adaptive
    shares by stratum).

    Examples
    --------
    >>> found = pooled_beta_binomial([[12, 30], [2, 1]], [[100, 100], [10, 4]], arms=["a", "b"])
    >>> found.mean.round(2).tolist()
    [[0.13, 0.3], [0.19, 0.3]]
    """
    y, n = _counts(successes, trials)
    n_strata, n_arms = y.shape
    names = _names("arms", arms, n_arms)
    labels = _names("strata", strata, n_strata)
    hyper = [_hyperposterior(y[:, k], n[:, k]) for k in range(n_arms)]
    cells = [[_Mixture.of(one, y[x, k], n[x, k]) for k, one in enumerate(hyper)]
             for x in range(n_strata)]  # fmt: skip
    compared = [_compare(row) for row in cells]
    level, spread = np.array([one.moments() for one in hyper]).T
    moments = np.array([[cell.moments() for cell in row] for row in cells])
    return PooledBeta(
        strata=labels,
        arms=names,
        successes=read_only(y, np.int64),
        trials=read_only(n, np.int64),
        mean=read_only(moments[..., 0]),
        sd=read_only(moments[..., 1]),
        log_prob_optimal=read_only(np.array([one[0] for one in compared])),
        policy_regret=read_only(np.array([one[1] for one in compared])),
        level=read_only(level),
        spread=read_only(spread),
        provenance=Provenance(
            "beta-binomial, strata partly pooled", hash_arrays(successes=y, trials=n)
        ),
    )


def _counts(successes: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    y, n = (np.asarray(values, dtype=np.float64) for values in (successes, trials))
    if y.ndim != 2 or y.shape != n.shape or y.shape[0] < 1 or y.shape[1] < 2:
        raise InputError(
            f"found successes of shape {y.shape} and trials of shape {n.shape}; needed the same, "
            "(n_strata, n_arms), with two arms or more"
        )
    if not ((y >= 0) & (y <= n) & (y == np.floor(y)) & (n == np.floor(n)) & (n < 2**53)).all():
        raise InputError("successes: found some that are not whole numbers from 0 to their trials")
    return y, n


def _names(what: str, given: Sequence[Any] | None, size: int) -> tuple[str, ...]:
    names = tuple(map(label_text, range(size) if given is None else given))
    if len(names) != size or len(set(names)) != size:
        raise InputError(f"{what}: found {len(set(names))} different names; needed {size}")
    return names


# The posterior of an arm's mean m and concentration c over strata, as weighted points.

_LEVELS, _SPREADS = 33, 32  # points in each direction: of u, closer than components are wide
_WIDE = 7.0  # standard deviations of u, given v, that the points reach
_FALL = 25.0  # values of v whose log density is this far below the largest do not count
_KEPT = 1e-6  # weight of a point, relative to the largest
_LEAST = 0.03  # of v: strata alike to 3e-5 of the largest spread; below, rounding decides
_EXTREME = 14.0  # of u: a mean of 1e-6
_GOLDEN, _HALVINGS = 0.6180339887498949, 50


@dataclass(frozen=True, eq=False)
class _Hyper:
    mean: FloatArray  # (n_points,): m.
    size: FloatArray  # (n_points,): c.
    weight: FloatArray  # (n_points,): Sums to 1.

    def moments(self) -> tuple[float, float]:
        """Posterior means of the mean and of the standard deviation over strata."""
        spread = np.sqrt(self.mean * (1 - self.mean) / (1 + self.size))
        return float(self.weight @ self.mean), float(self.weight @ spread)


def _hyperposterior(y: FloatArray, n: FloatArray) -> _Hyper:
    """Weighted points of (m, c), in coordinates u = logit(m) and v with v^3 = (1 + c)^(-1/2).

    The points in u follow its mode and curvature at each v, since u is known far better where
    strata are alike than where they differ.
    """
    y, n = y[n > 0], n[n > 0]
    low, high = _LEAST, 1.0
    for _ in range(3):  # to where v has its mass
        v, mass = _between(low, high)
        mode, sd = _modes(v, y, n)
        log_mass = _log_density(mode, v, y, n) + np.log(sd)
        seen = np.flatnonzero(log_mass > log_mass.max() - _FALL)
        below, above = max(seen[0] - 1, 0), min(seen[-1] + 1, v.size - 1)
        low = low if seen[0] == 0 else float(v[below])
        high = high if seen[-1] == v.size - 1 else float(v[above])
    v, mass = _between(low, high)
    mode, sd = _modes(v, y, n)
    u = mode + sd * np.linspace(-_WIDE, _WIDE, _LEVELS)[:, None]
    log_density = _log_density(u, v, y, n)
    weight = np.exp(log_density - log_density.max()) * sd * mass
    kept = weight > _KEPT * weight.max()
    size = np.broadcast_to(v**-6.0 - 1, weight.shape)[kept]
    return _Hyper(special.expit(u)[kept], size, weight[kept] / weight[kept].sum())


def _between(low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights, (n_v,)."""
    nodes, mass = np.polynomial.legendre.leggauss(_SPREADS)
    return low + (high - low) * (nodes + 1) / 2, mass


def _modes(v: FloatArray, y: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mode of u at each v, by golden sections, and its standard deviation there, (n_v,)."""
    low, high = np.full(v.size, -_EXTREME), np.full(v.size, _EXTREME)
    for _ in range(_HALVINGS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        rises = _log_density(left, v, y, n) < _log_density(right, v, y, n)
        low, high = np.where(rises, left, low), np.where(rises, high, right)
    mode = (low + high) / 2
    step = 0.05 / np.sqrt(1 + n.sum())
    sides = [_log_density(mode + s, v, y, n) for s in (-step, 0.0, step)]
    curvature = -(sides[0] - 2 * sides[1] + sides[2]) / step**2
    return mode, 1 / np.sqrt(np.maximum(curvature, 0.05))


def _log_density(u: FloatArray, v: FloatArray, y: FloatArray, n: FloatArray) -> FloatArray:
    """Log posterior density in (u, v) up to a constant, of the shape of u, whose last is v's."""
    size = v**-6.0 - 1
    a, b = special.expit(u) * size, special.expit(-u) * size
    own = special.betaln(a[..., None] + y, b[..., None] + n - y).sum(axis=-1)
    prior = special.log_expit(u) + special.log_expit(-u)
    return np.asarray(own - y.size * special.betaln(a, b) + prior + 2 * np.log(v))


# One cell: a mixture of beta distributions. The cells of a stratum are compared.

_FAR = 20.7  # logit of 1 - 1e-9: what lies beyond counts as 0 or 1
_REACH, _STEPS = 8.0, 32
_EVEN = 90  # points over all log odds, for cells about which little is known
_ROOT = np.sqrt(15.0)
# Gauss collocation with three nodes: nodes, weights, and weights of integrals up to each node.
_NODES: Final = np.array([0.5 - _ROOT / 10, 0.5, 0.5 + _ROOT / 10])
_MASS: Final = np.array([5 / 18, 4 / 9, 5 / 18])
_UP_TO: Final = np.array(
    [
        [5 / 36, 2 / 9 - _ROOT / 15, 5 / 36 - _ROOT / 30],
        [5 / 36 + _ROOT / 24, 2 / 9, 5 / 36 - _ROOT / 24],
        [5 / 36 + _ROOT / 30, 2 / 9 + _ROOT / 15, 5 / 36],
    ]
)


@dataclass(frozen=True, eq=False)
class _Mixture:
    a: FloatArray
    b: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, hyper: _Hyper, y: float, n: float) -> "_Mixture":
        a, b = hyper.mean * hyper.size + y, (1 - hyper.mean) * hyper.size + n - y
        return cls(a, b, hyper.weight)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation."""
        total = self.a + self.b
        each = self.a / total
        mean = float(self.weight @ each)
        second = self.weight @ (each * (1 - each) / (total + 1) + (each - mean) ** 2)
        return mean, float(np.sqrt(second))

    def breaks(self) -> FloatArray:
        """Points on the log-odds scale that follow the density where it is narrow or wide."""
        center = special.digamma(self.a) - special.digamma(self.b)
        width = np.sqrt(special.polygamma(1, self.a) + special.polygamma(1, self.b))
        middle = float(self.weight @ center)
        sd = np.sqrt(self.weight @ (width**2 + (center - middle) ** 2))
        inner = middle + sd * np.linspace(-_REACH, _REACH, _STEPS)
        peak = int(np.argmax(self.weight))
        narrow = center[peak] + width[peak] * np.linspace(-_REACH, _REACH, _STEPS)
        return np.concatenate([inner, narrow])

    def density(self, z: FloatArray) -> FloatArray:
        """Density on the log-odds scale at points z, of their shape."""
        flat = z.ravel()[:, None]
        log_each = (
            self.a * special.log_expit(flat)
            + self.b * special.log_expit(-flat)
            - special.betaln(self.a, self.b)
        )
        return np.asarray((np.exp(log_each) @ self.weight).reshape(z.shape))

    def below(self, z: float) -> float:
        """Probability below a point on the log-odds scale."""
        return float(self.weight @ special.betainc(self.a, self.b, special.expit(z)))


def _compare(cells: list[_Mixture]) -> tuple[FloatArray, FloatArray]:
    """Log probability of being best and expected regret of each arm, (n_arms,)."""
    own = [np.linspace(-_FAR, _FAR, _EVEN), *(cell.breaks() for cell in cells)]
    breaks = np.unique(np.clip(np.concatenate(own), -_FAR, _FAR))
    width = np.diff(breaks)
    z = breaks[:-1, None] + width[:, None] * _NODES
    density = np.array([cell.density(z) for cell in cells])
    step = width * (density @ _MASS)
    low = np.array([cell.below(breaks[0]) for cell in cells])
    high = np.array([1 - cell.below(breaks[-1]) for cell in cells])
    scale = ((1 - low - high) / step.sum(axis=1))[:, None]
    before = np.cumsum(step * scale, axis=1) - step * scale + low[:, None]
    inside = width[:, None] * (density @ _UP_TO.T) * scale[..., None]
    cdf = np.clip(before[..., None] + inside, 0.0, 1.0)
    others = np.array([np.prod(np.delete(cdf, k, axis=0), axis=0) for k in range(len(cells))])
    top = np.array([np.prod(np.delete(1 - high, k)) for k in range(len(cells))])
    best = (width * scale * ((density * others) @ _MASS)).sum(axis=1) + high * top
    slope = special.expit(z) * special.expit(-z)
    regret = (width * ((cdf * (1 - others) * slope) @ _MASS)).sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.log(best / best.sum()), regret
