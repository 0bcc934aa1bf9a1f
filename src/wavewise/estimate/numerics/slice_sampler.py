"""Slice sampling of a density in few dimensions by many chains: the fallback and a cross-check."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from wavewise.estimate.numerics.importance import Proposal
from wavewise.shared.results import BoolArray, FloatArray

__all__ = ["kernels", "slice_sample"]

LogDensity = Callable[[FloatArray], FloatArray]
_WIDTH = 6.0
_MOST_CUTS = 200


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of independent chains."""

    x: FloatArray  # (n_kept, n_chains, n_dims)

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


# A proposal that follows any shape: Student t kernels at weighted points of an earlier one.

_DF = 5.0
# of four kernels three follow the shape and one covers the tails
_WIDTHS = np.array([0.6, 0.6, 0.6, 2.0])
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Kernels:
    """Equal mixture of products of Student t along common axes."""

    centres: FloatArray  # (n_kernels, n_dims)
    # (n_dims, n_dims): Lower triangle; its columns are the axes, as long as the target is wide.
    root: FloatArray

    @property
    def centre(self) -> FloatArray:
        """Mean of the mixture, (n_dims,)."""
        return np.asarray(self.centres.mean(axis=0))

    @property
    def axes(self) -> FloatArray:
        """Directions, (n_dims, n_dims) by row, as long as the target is wide."""
        return np.asarray(self.root.T)

    @property
    def widths(self) -> FloatArray:
        """Width of each kernel in units of the axes, (n_kernels,)."""
        return np.asarray(np.resize(_WIDTHS, self.centres.shape[0]))

    def points(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points (n_points, n_dims) from uniform numbers, and their log density up to a constant.

        Every kernel gets the same number of points, or one more.
        """
        n_points = uniform.shape[0]
        which = np.arange(n_points) % self.centres.shape[0]
        z = special.stdtrit(_DF, uniform) * self.widths[which, None]
        x = self.centres[which] + (z[:, None, :] * self.root).sum(axis=2)
        parts = [self._log_density(x[i : i + _CHUNK]) for i in range(0, n_points, _CHUNK)]
        return x, np.concatenate(parts)

    def _log_density(self, x: FloatArray) -> FloatArray:
        """Log of the mixture's density, (n_points,), up to a constant."""
        inverse = np.linalg.inv(self.root)
        away = ((x[:, None, :] - self.centres)[:, :, None, :] * inverse).sum(axis=3)
        tail = np.log1p(away**2 / (_DF * self.widths[:, None] ** 2)).sum(axis=2)
        log_kernel = -(_DF + 1) / 2 * tail - away.shape[2] * np.log(self.widths)
        return np.asarray(special.logsumexp(log_kernel, axis=1))


def kernels(centres: FloatArray, root: FloatArray) -> Kernels:
    """Kernels at points that stand for a target whose covariance has this root.

    Notes
    -----
    Most kernels are narrower than the target, so that the mixture can bend with it; the wide ones
    keep the weights bounded where the centres are few.

    References
    ----------
    West (1993), *Journal of the Royal Statistical Society B* 55, 409-422.
    """
    return Kernels(centres, root)
