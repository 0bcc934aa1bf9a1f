"""Coordinates of the four standard deviations in which their posterior is close to normal."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from wavewise.estimate.normal_marginal import log_likelihood
from wavewise.estimate.normal_priors import NormalPriors
from wavewise.estimate.normal_sums import PanelSums
from wavewise.results import BoolArray, FloatArray

__all__ = ["SdPosterior"]

# columns of the sds
CLUSTER, UNIT, NOISE, PERIOD = range(4)


@dataclass(frozen=True, eq=False)
class SdPosterior:
    """Posterior of (kappa, phi, sigma, rho) in free coordinates, (n_points, 4).

    Parameters
    ----------
    sums : PanelSums
    priors : NormalPriors
        For a score in standard deviations.
    order : (int, int, int)
        Columns of kappa, phi and sigma: the two that are joined first, then the third.
    nested : bool
        Whether the third is joined too.

    Notes
    -----
    Two standard deviations a and b that are joined enter as log sqrt(a^2 + b^2) and as the logit of
    a^2 / (a^2 + b^2): where the data know the sum of squares alone the posterior is then long in
    one coordinate, not bent. What is not joined enters as its log. The map from the logs has the
    same determinant everywhere, 1/2 for each joint, so that densities need no more than the logs'
    own Jacobian, the product of the sds.
    """

    sums: PanelSums
    priors: NormalPriors
    order: tuple[int, int, int] = (UNIT, NOISE, CLUSTER)
    nested: bool = False

    @property
    def variants(self) -> "tuple[SdPosterior, ...]":
        """The same posterior in other coordinates, the most likely good ones first.

        Joined first are unit and noise, or cluster and unit where clusters have fewer units than
        units scores.
        """
        scores_per_unit = self.sums.n_rows / self.sums.n_units
        units_per_cluster = self.sums.n_units / self.sums.n_clusters
        orders = [(UNIT, NOISE, CLUSTER), (CLUSTER, UNIT, NOISE)]
        if scores_per_unit > units_per_cluster:
            orders.reverse()
        return tuple(replace(self, order=o, nested=n) for o in orders for n in (False, True))

    @property
    def effect_precision(self) -> float:
        """One over the variance of a normal prior of each arm effect; 0 is flat, or not normal."""
        sd = self.priors.effect_sd
        return 0.0 if sd is None or self.priors.effect_df is not None else 1.0 / sd**2

    def sds(self, x: FloatArray) -> FloatArray:
        """Standard deviations at coordinates, in standard deviations of the score."""
        a, b, c = self.order
        logs = np.array(x, dtype=np.float64)
        both = x[:, b]
        if self.nested:
            logs[:, c], both = _parted(x[:, c], x[:, b])
        logs[:, a], logs[:, b] = _parted(both, x[:, a])
        return np.exp(logs)

    def coordinates(self, sds: FloatArray) -> FloatArray:
        """Coordinates of standard deviations; undoes `sds`."""
        a, b, c = self.order
        logs = np.log(sds)
        x = logs.copy()
        x[:, b], x[:, a] = _joined(logs[:, a], logs[:, b])
        if self.nested:
            x[:, c], x[:, b] = _joined(logs[:, c], x[:, b])
        return x

    def log_density(self, x: FloatArray) -> FloatArray:
        """Log posterior density in these coordinates, (n_points,), up to a constant.

        Minus infinity where a standard deviation is 0 or infinite to the computer, or the density
        is certainly nil; not-a-number where the arithmetic broke down elsewhere, which `importance`
        counts.
        """
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            sds = self.sds(x)
            inside = ((sds > 1e-140) & (sds < 1e140)).all(axis=1)
            out = np.full(x.shape[0], -np.inf)
            kept = sds[inside]
            prior = self.priors.log_density(kept) + np.log(kept).sum(axis=1)
            values = prior + log_likelihood(self.sums, kept, self.effect_precision)
            broken = np.isnan(values)
            if broken.any():
                values[broken] = np.where(
                    self._certainly_nil(prior[broken], kept[broken, NOISE]), -np.inf, np.nan
                )
            out[inside] = values
        return out

    def _certainly_nil(self, log_prior: FloatArray, noise_sd: FloatArray) -> BoolArray:
        """Where even an upper bound is nil, as where rounding breaks down for a tiny noise sd.

        The residual sum of squares is at least that around unit, arm and period effects without
        priors, over sigma^2; log determinants are at most 650 a row, as the sds are bounded.
        """
        n_rows = self.sums.n_rows + self.sums.within.shape[0]
        upper = log_prior + 650 * n_rows - 0.5 * self.sums.within_residual / noise_sd**2
        return np.asarray(upper < -1e4 * n_rows - 1e5)


def _parted(total: FloatArray, logit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logs of two sds from the log of their root sum of squares and the first one's share."""
    return total + 0.5 * special.log_expit(logit), total + 0.5 * special.log_expit(-logit)


def _joined(log_a: FloatArray, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log of the root sum of squares, and logit of the first one's share of it."""
    return 0.5 * np.logaddexp(2 * log_a, 2 * log_b), 2 * (log_a - log_b)
