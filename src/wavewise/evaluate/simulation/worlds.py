"""Worlds with a known truth, many at once: what each arm is worth, and outcomes drawn from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.estimate.binomial.success import over_new_clusters
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["FixedTruth", "PriorTruth", "Truth", "Worlds", "as_truth", "success_over_clusters"]


@dataclass(frozen=True, eq=False)
class Worlds:
    """Several worlds."""

    # (n, n_arms): Of each arm in truth, over clusters that were not seen.
    success_prob: FloatArray
    prob: FloatArray  # (n, n_clusters, n_arms): At each cluster.
    beta: FloatArray | None = None  # (n, n_arms): What the hierarchical estimator calls so.
    control_rate: FloatArray | None = None  # (n,): Success of the control, where it has outcomes.
    # first_successes, first_trials: (n_clusters, n_arms): What was observed before, in all
    # worlds.
    first_successes: FloatArray | None = None
    first_trials: FloatArray | None = None
    # (2, n_arms): Probability of being best, and regret, given that.
    first_belief: FloatArray | None = None
    # (n_clusters, n_arms, most): Successes of observed units, from which outcomes are resampled.
    pools: FloatArray | None = None
    pool_sizes: IntArray | None = None  # (n_clusters, n_arms)

    def successes(self, counts: IntArray, trials: int, rng: np.random.Generator) -> FloatArray:
        """Successes of so many units by cluster and arm, (n, n_clusters, n_arms)."""
        if self.pools is None or self.pool_sizes is None:
            drawn: Any = rng.binomial(trials * counts, self.prob)
            return np.asarray(drawn, dtype=np.float64)
        cell = np.repeat(np.arange(counts.size), counts.ravel())
        place = cell % (counts.shape[1] * counts.shape[2])
        pick = rng.integers(0, self.pool_sizes.ravel()[place])
        drawn = self.pools.reshape(-1, self.pools.shape[2])[place, pick]
        summed: Any = np.bincount(cell, weights=drawn, minlength=counts.size)
        return np.asarray(summed.reshape(counts.shape), dtype=np.float64)


@runtime_checkable
class Truth(Protocol):
    """Where worlds come from."""

    def worlds(
        self, n: int, n_arms: int, n_clusters: int | None, rng: np.random.Generator
    ) -> Worlds:
        """So many worlds."""

    def describe(self) -> str:
        """In words, for reports."""


def success_over_clusters(beta: FloatArray, kappa: FloatArray) -> FloatArray:
    """Mean success probability over new clusters, (n, n_arms)."""
    with np.errstate(divide="ignore"):
        log_kappa = np.maximum(np.log(kappa), -30.0)
    return over_new_clusters(np.column_stack([beta, log_kappa]))


def cluster_worlds(
    beta: FloatArray,
    kappa: FloatArray,
    n_clusters: int | None,
    rng: np.random.Generator,
    control_rate: FloatArray | None = None,
) -> Worlds:
    """Worlds of the hierarchical model; without clusters the mean success probabilities alone."""
    success = success_over_clusters(beta, kappa)
    if n_clusters is None:
        return rate_worlds(success, control_rate)
    effect = kappa[:, None] * rng.standard_normal((beta.shape[0], n_clusters))
    prob = special.expit(beta[:, None, :] + effect[:, :, None])
    return Worlds(success, prob, beta, control_rate)


def rate_worlds(rate: FloatArray, control_rate: FloatArray | None = None) -> Worlds:
    """Worlds without clusters, (n, n_arms) rates."""
    return Worlds(rate, rate[:, None, :], None, control_rate)


# Truths to simulate from: one vector of parameters, or draws from a prior.

_KEYS = ("beta", "kappa", "rate", "control_rate")
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class FixedTruth:
    """The same parameters in every simulation; clusters' effects are drawn anew.

    Parameters
    ----------
    beta : (n_arms,) array of float
        Log odds of a success at a cluster of average effect.
    kappa : float
        Standard deviation of the clusters' effects.
    control_rate : float, optional
        Success of the control, where it has outcomes.
    """

    beta: FloatArray
    kappa: float = 0.0
    control_rate: float | None = None

    def __post_init__(self) -> None:
        beta = np.asarray(self.beta, dtype=np.float64)
        if beta.ndim != 1 or not np.isfinite(beta).all() or not 0 <= self.kappa < np.inf:
            raise InputError(
                f"truth: found beta of shape {beta.shape} and kappa {self.kappa}; needed finite "
                "numbers, one beta an arm, kappa at least 0"
            )
        if self.control_rate is not None and not 0 <= self.control_rate <= 1:
            raise InputError(f"control_rate: found {self.control_rate}; needed a share, 0 to 1")
        object.__setattr__(self, "beta", beta)

    def worlds(
        self, n: int, n_arms: int, n_clusters: int | None, rng: np.random.Generator
    ) -> Worlds:
        """So many worlds."""
        if self.beta.size != n_arms:
            raise InputError(
                f"truth: found {self.beta.size} arms for a design of {n_arms}; needed one each"
            )
        control = None if self.control_rate is None else np.full(n, self.control_rate)
        beta = np.tile(self.beta, (n, 1))
        return cluster_worlds(beta, np.full(n, self.kappa), n_clusters, rng, control)

    def describe(self) -> str:
        """In words."""
        rates = success_over_clusters(self.beta[None], np.array([self.kappa]))[0]
        text = ", ".join(f"{rate:.4g}" for rate in rates)
        return f"success probabilities {text}; standard deviation of clusters {self.kappa:g}"


@dataclass(frozen=True, eq=False)
class PriorTruth:
    """Parameters drawn anew for each simulation, arms alike to the degree that is given.

    Parameters
    ----------
    mean : float or (n_arms,) array of float
        Prior mean of the log odds; `from_rate` takes a success probability.
    sd : float
        Prior standard deviation of one arm's log odds.
    correlation : float
        Of two arms' log odds, in [0, 1). What decides between arms is
        ``sd sqrt(1 - correlation)``.
    kappa : float
        Standard deviation of the clusters' effects.
    uniform : bool
        Success probabilities drawn from [0, 1] instead, independently, as the Kenya study's
        Appendix C.3 does.
    control_rate : float, optional

    Notes
    -----
    beta = mean + sd (sqrt(c) u + sqrt(1 - c) v_k) with u, v_k standard normal. Independent flat
    priors put arms far apart, so that any design finds the best one: a misleading picture, as the
    study says; give the correlation that arms of one programme have.
    """

    mean: npt.ArrayLike = 0.0
    sd: float = 1.0
    correlation: float = 0.0
    kappa: float = 0.0
    uniform: bool = False
    control_rate: float | None = None

    def __post_init__(self) -> None:
        if self.uniform:
            return
        if not (np.isfinite(self.sd) and self.sd > 0):
            raise InputError(
                f"sd: found {self.sd}, a prior with no variance; needed a number above 0, such as "
                "0.2; for fixed parameters give truth={'beta': ...}"
            )
        if not 0 <= self.correlation < 1:
            raise InputError(
                f"correlation: found {self.correlation}, by which no arm differs from another; "
                "needed at least 0 and below 1, such as 0.9"
            )

    @classmethod
    def from_rate(
        cls,
        rate: float,
        sd: float,
        *,
        correlation: float = 0.0,
        kappa: float = 0.0,
        control_rate: float | None = None,
    ) -> "PriorTruth":
        """A prior whose arms have this success probability at their mean, over clusters."""
        if not 0 < rate < 1:
            raise InputError(f"rate: found {rate}; needed a share between 0 and 1, such as 0.08")
        mean = _beta_of_rate(np.array([rate]), kappa)
        return cls(float(mean[0]), sd, correlation, kappa, control_rate=control_rate)

    @classmethod
    def from_pilot(
        cls, successes: float, trials: float, sd: float, *, correlation: float = 0.0,
        kappa: float = 0.0,
    ) -> "PriorTruth":  # fmt: skip
        """One prior for all arms, with the mean that pilot data give."""
        if not 0 < successes < trials:
            raise InputError(
                f"pilot: found {successes} successes of {trials} trials; needed more than none and "
                "fewer than all"
            )
        return cls.from_rate(successes / trials, sd, correlation=correlation, kappa=kappa)

    def worlds(
        self, n: int, n_arms: int, n_clusters: int | None, rng: np.random.Generator
    ) -> Worlds:
        """So many worlds."""
        control = None if self.control_rate is None else np.full(n, self.control_rate)
        kappa = np.full(n, self.kappa)
        if self.uniform:
            rate = rng.random((n, n_arms))
            if n_clusters is None:
                return rate_worlds(rate, control)
            return cluster_worlds(_beta_of_rate(rate, self.kappa), kappa, n_clusters, rng, control)
        shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, n_arms))
        c = self.correlation
        beta = np.asarray(self.mean) + self.sd * (np.sqrt(c) * shared + np.sqrt(1 - c) * own)
        return cluster_worlds(beta, kappa, n_clusters, rng, control)

    def describe(self) -> str:
        """In words."""
        clusters = f"; standard deviation of clusters {self.kappa:g}"
        if self.uniform:
            return f"success probabilities uniform on [0, 1], independent{clusters}"
        mean = np.mean(np.asarray(self.mean))
        return (
            f"log odds of the arms normal, mean {mean:.4g}, standard deviation {self.sd:g}, "
            f"correlation between arms {self.correlation:g}{clusters}"
        )


def as_truth(truth: Truth | Mapping[str, Any]) -> Truth:
    """A truth from what a user gives: one of the classes, or parameters by name."""
    if not isinstance(truth, Mapping):
        if not isinstance(truth, Truth):
            raise InputError(
                f"truth: found {type(truth).__name__}; needed a mapping such as {{'beta': ..., "
                "'kappa': 0.5} or {'rate': ...}, or a truth of ww.evaluate"
            )
        return truth
    foreign = sorted(truth.keys() - set(_KEYS))
    if foreign or ("beta" in truth) == ("rate" in truth):
        raise InputError(
            f"truth: found {', '.join(map(str, truth))}; needed beta (log odds) or rate, and "
            "perhaps kappa, control_rate"
        )
    kappa = float(truth.get("kappa", 0.0))
    if "beta" in truth:
        return FixedTruth(np.asarray(truth["beta"]), kappa, truth.get("control_rate"))
    rate = np.asarray(truth["rate"], dtype=np.float64)
    if rate.ndim != 1 or not ((rate > 0) & (rate < 1)).all():
        raise InputError(f"rate: found {truth['rate']}; needed shares between 0 and 1, one per arm")
    return FixedTruth(_beta_of_rate(rate, kappa), kappa, truth.get("control_rate"))


def _beta_of_rate(rate: FloatArray, kappa: float) -> FloatArray:
    """Log odds whose mean success probability over clusters is the rate, by halving."""
    if kappa == 0:
        return np.asarray(special.logit(rate))
    flat = rate.ravel()[:, None]
    low, high = np.full(flat.shape, -40.0), np.full(flat.shape, 40.0)
    spread = np.full(flat.shape[0], kappa)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = success_over_clusters(middle, spread) > flat
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((0.5 * (low + high)).reshape(rate.shape))
