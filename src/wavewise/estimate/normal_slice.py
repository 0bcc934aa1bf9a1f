"""Slice sampling of a density in few dimensions by many chains: the fallback and a cross-check."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavewise.estimate.normal_importance import Proposal
from wavewise.results import BoolArray, FloatArray

__all__ = ["Chains", "slice_sample"]

LogDensity = Callable[[FloatArray], FloatArray]
_WIDTH = 6.0
_MOST_CUTS = 200


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of independent chains.

    Parameters
    ----------
    x : (n_kept, n_chains, n_dims) array of float
    """

    x: FloatArray

    @property
    def draws(self) -> FloatArray:
        """All draws, (n_kept * n_chains, n_dims)."""
        return self.x.reshape(-1, self.x.shape[2])

    @property
    def split_r_hat(self) -> float:
        """Largest potential scale reduction over dimensions, each chain cut in two.

        References
        ----------
        Gelman, Carlin, Stern, Dunson, Vehtari and Rubin (2013), *Bayesian Data Analysis*, 11.4.
        """
        half = self.x.shape[0] // 2
        halves = np.concatenate([self.x[:half], self.x[half : 2 * half]], axis=1)
        within = halves.var(axis=0, ddof=1).mean(axis=0)
        between = half * halves.mean(axis=0).var(axis=0, ddof=1)
        return float(np.sqrt(((half - 1) / half * within + between / half) / within).max())

    @property
    def ess(self) -> float:
        """Smallest over dimensions of variance over the squared error of the mean.

        Notes
        -----
        The error is read off the chains' means, which are independent; no autocorrelation is
        estimated.
        """
        n_kept, n_chains, _ = self.x.shape
        error2 = self.x.mean(axis=0).var(axis=0, ddof=1) / n_chains
        return float(np.minimum(self.draws.var(axis=0) / error2, n_kept * n_chains).min())


def slice_sample(
    log_density: LogDensity,
    proposal: Proposal,
    *,
    n_chains: int,
    n_warm: int,
    n_kept: int,
    rng: np.random.Generator,
) -> Chains:
    """Draws from the density, one axis of the proposal at a time.

    Notes
    -----
    Each update puts an interval of fixed width at random around the point and shrinks it to the
    slice, which leaves the density invariant whatever the width. Chains start at points of the
    proposal.

    References
    ----------
    Neal (2003), *Annals of Statistics* 31, 705-767, section 4.
    """
    d = proposal.centre.size
    x = _starts(log_density, proposal, n_chains, rng)
    value = log_density(x)
    kept = np.empty((n_kept, n_chains, d))
    for sweep in range(n_warm + n_kept):
        for axis in proposal.axes:
            x, value = _update(log_density, x, value, axis, rng)
        if sweep >= n_warm:
            kept[sweep - n_warm] = x
    return Chains(kept)


def _starts(
    log_density: LogDensity, proposal: Proposal, n_chains: int, rng: np.random.Generator
) -> FloatArray:
    """Points of the proposal with a density; its centre for those without."""
    x, _ = proposal.points(rng.random((n_chains, proposal.centre.size)))
    return np.where(np.isfinite(log_density(x))[:, None], x, proposal.centre)


def _update(
    log_density: LogDensity,
    x: FloatArray,
    value: FloatArray,
    axis: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Every chain moved along one axis, (n_chains, n_dims), and the log density there."""
    n_chains = x.shape[0]
    level = value - rng.exponential(size=n_chains)
    low = np.asarray(-_WIDTH * rng.random(n_chains), dtype=np.float64)
    high = low + _WIDTH
    new, new_value = x.copy(), value.copy()
    open_: BoolArray = np.ones(n_chains, dtype=bool)
    for _ in range(_MOST_CUTS):
        # all chains draw, so that one chain's luck does not move the others' numbers
        at = low + (high - low) * rng.random(n_chains)
        rows = np.flatnonzero(open_)
        trial = x[rows] + at[rows, None] * axis
        trial_value = log_density(trial)
        inside = trial_value >= level[rows]
        new[rows[inside]], new_value[rows[inside]] = trial[inside], trial_value[inside]
        open_[rows[inside]] = False
        low = np.where(open_ & (at < 0), at, low)
        high = np.where(open_ & (at >= 0), at, high)
        if not open_.any():
            break
    return new, new_value
